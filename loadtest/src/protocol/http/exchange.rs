//! The requests of a run, encoded once, and which replies are expected.
//!
//! The parts from the command line are checked here for bytes that would make another request of
//! them, such as a line break in a field.

use std::fmt;
use std::str::FromStr;

use crate::protocol::http::statuses::Statuses;

/// The requests and the expected replies.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// At least one.
    requests: Vec<Box<[u8]>>,
    method: Method,
    fields: Vec<Field>,
    body_len: Option<u64>,
    expected: Statuses,
}

/// The method of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Method(String);

/// A field of the head (`--header`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    name: String,
    value: String,
}

impl Exchange {
    /// A request for each of `targets` at `host`. A `Host` among the fields replaces the default.
    pub(crate) fn new(
        method: Method,
        targets: &[String],
        host: &str,
        fields: Vec<Field>,
        body: Option<&[u8]>,
        expected: Statuses,
    ) -> Exchange {
        assert!(!targets.is_empty(), "no request");
        let mut rest = String::new();
        if !fields.iter().any(|field| field.is("host")) {
            rest += &format!("Host: {host}\r\n");
        }
        for Field { name, value } in &fields {
            rest += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            rest += &format!("Content-Length: {}\r\n", body.len());
        }
        rest += "\r\n";
        let request = |target: &String| {
            let line = format!("{} {target} HTTP/1.1\r\n", method.0);
            [line.as_bytes(), rest.as_bytes(), body.unwrap_or_default()].concat().into()
        };
        let requests = targets.iter().map(request).collect();
        let body_len = body.map(|body| body.len() as u64);
        Exchange { requests, method, fields, body_len, expected }
    }

    pub(crate) fn requests(&self) -> &[Box<[u8]>] {
        &self.requests
    }

    pub(crate) fn method(&self) -> &str {
        &self.method.0
    }

    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub(crate) fn body_len(&self) -> Option<u64> {
        self.body_len
    }

    pub(crate) fn expected(&self) -> &Statuses {
        &self.expected
    }

    /// Whether the request asks the peer to close the connection after its reply.
    pub(crate) fn closes_connections(&self) -> bool {
        self.fields.iter().any(Field::closes_connections)
    }

    /// Whether replies have no body, whatever the fields of their heads are.
    pub(crate) fn is_head(&self) -> bool {
        self.method.0 == "HEAD"
    }

    pub(crate) fn expects(&self, status: u16) -> bool {
        self.expected.contain(status)
    }
}

impl Method {
    pub(crate) fn get() -> Method {
        Method("GET".to_owned())
    }

    pub(crate) fn post() -> Method {
        Method("POST".to_owned())
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Method, String> {
        match text {
            "CONNECT" => Err("CONNECT makes a tunnel and is not supported".to_owned()),
            text if is_token(text) => Ok(Method(text.to_owned())),
            text => Err(format!("'{text}' is not a method")),
        }
    }
}

impl Field {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    fn closes_connections(&self) -> bool {
        let is_close = |option: &str| option.trim().eq_ignore_ascii_case("close");
        self.is("connection") && self.value.split(',').any(is_close)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value)
    }
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Field, String> {
        let Some((name, value)) = text.split_once(':') else {
            return Err("is not of the form 'Name: value'".to_owned());
        };
        if !is_token(name) {
            return Err(format!("'{name}' is not the name of a header"));
        }
        let value = value.trim_matches([' ', '\t']);
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(format!("the value of {name} has a line break or a control character"));
        }
        Ok(Field { name: name.to_owned(), value: value.to_owned() })
    }
}

/// Whether `text` has only characters that a method or the name of a field may have.
fn is_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[&str], body: Option<&[u8]>) -> String {
        let fields: Vec<Field> = fields.iter().map(|text| text.parse().unwrap()).collect();
        let method = body.map_or_else(Method::get, |_| Method::post());
        let exchange = Exchange::new(
            method,
            &["/a?b".to_owned()],
            "host:81",
            fields,
            body,
            Statuses::default(),
        );
        String::from_utf8(exchange.requests()[0].to_vec()).unwrap()
    }

    /// Goal: a request has exactly the expected bytes.
    ///
    /// Method: without fields, with fields, with a `Host`, with a body, with an empty one.
    ///
    /// Kills: two hosts; a body without its length; `Content-Length` on every GET.
    #[test]
    fn requests_have_exactly_these_bytes() {
        assert_eq!(request(&[], None), "GET /a?b HTTP/1.1\r\nHost: host:81\r\n\r\n");
        assert_eq!(
            request(&["X-A:  1 2\t", "x-b:"], None),
            "GET /a?b HTTP/1.1\r\nHost: host:81\r\nX-A: 1 2\r\nx-b: \r\n\r\n"
        );
        assert_eq!(request(&["HOST: other"], None), "GET /a?b HTTP/1.1\r\nHOST: other\r\n\r\n");
        let head = "POST /a?b HTTP/1.1\r\nHost: host:81\r\nContent-Length: ";
        assert_eq!(request(&[], Some(b"body\0")), format!("{head}5\r\n\r\nbody\0"));
        assert_eq!(request(&[], Some(b"")), format!("{head}0\r\n\r\n"));
    }

    /// Goal: no argument can end a line of the head or become another part of the request.
    ///
    /// Method: methods and fields that would.
    ///
    /// Kills: a check of the value alone, or of the name alone; splitting at the last colon.
    #[test]
    fn arguments_that_would_change_the_request_are_refused() {
        for bad in ["", "GET /x", "G\r\n", "CONNECT", "GÉT"] {
            assert!(bad.parse::<Method>().is_err(), "{bad:?}");
        }
        for bad in ["", "name", ": value", "na me: x", "name : x", "name: a\r\nb: c", "n: a\0"] {
            assert!(bad.parse::<Field>().is_err(), "{bad:?}");
        }
        let field: Field = "A: b: c".parse().unwrap();
        assert_eq!((field.name.as_str(), field.value.as_str()), ("A", "b: c"));
        assert!("connection: x, Close".parse::<Field>().unwrap().closes_connections());
        assert!(!"connection: closed".parse::<Field>().unwrap().closes_connections());
    }
}
