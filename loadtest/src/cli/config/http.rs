//! Builds the HTTP requests of a run from its options.

use std::sync::Arc;

use crate::base::exit::{Error, Exit};
use crate::cli::args::RunArgs;
use crate::cli::args::http::HttpArgs;
use crate::cli::config::payload;
use crate::cli::config::urls;
use crate::protocol::http::exchange::{Exchange, Method};

/// The requests of the run; `None` if the target does not speak HTTP.
pub(crate) fn exchange(args: &RunArgs) -> Result<Option<Arc<Exchange>>, Error> {
    let usage = |line: String| Err(Error::new(Exit::Usage, line));
    let HttpArgs { method, fields, body, expect_status, urls } = &args.http;
    let Some((url, path)) = args.url.as_ref().and_then(|url| Some((url, url.http_path()?))) else {
        let speaks_ws = args.url.as_ref().is_some_and(|url| url.ws_path().is_some());
        let given = [
            ("--method", method.is_some()),
            ("--body", body.is_some()),
            ("--expect-status", expect_status.is_some()),
            ("--urls", urls.is_some()),
        ];
        return match given.iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => usage(format!("{option} needs a target that speaks HTTP")),
            None if !fields.is_empty() && !speaks_ws => {
                usage("--header needs a target that speaks HTTP or WebSocket".to_owned())
            }
            None => Ok(None),
        };
    };
    for (option, is_given) in [
        ("--size", args.size.is_some()),
        ("--payload", args.payload.is_some()),
        ("--verify", args.verify),
    ] {
        if is_given {
            return usage(format!("{option} is for an echo server, and {url} is not one"));
        }
    }
    for name in ["content-length", "transfer-encoding"] {
        if fields.iter().any(|field| field.is(name)) {
            return usage(format!("--header {name}: is set automatically from the --body"));
        }
    }
    let body = body.as_deref().map(|text| payload::read("--body", text)).transpose()?;
    let method = method
        .clone()
        .unwrap_or_else(|| if body.is_some() { Method::post() } else { Method::get() });
    let targets = match urls {
        None => vec![path.to_owned()],
        Some(file) => urls::read(file, url, path, body.as_ref().map_or(0, Vec::len))?,
    };
    let exchange = Exchange::new(
        method,
        &targets,
        &url.http_host(),
        fields.clone(),
        body.as_deref(),
        expect_status.clone().unwrap_or_default(),
    );
    if exchange.closes_connections() && args.pipeline > 1 {
        return usage(format!(
            "--pipeline {}: the requests close the connection, which allows one request at a time",
            args.pipeline
        ));
    }
    Ok(Some(Arc::new(exchange)))
}
