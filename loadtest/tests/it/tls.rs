//! Runs over TLS, against servers of rustls on threads of the test, with generated certificates.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{
    HandshakeKind, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};
use serde_json::Value;
use tungstenite::Message;

use crate::common::{assert_exit, json, loadtest, scratch_file, stderr, stdout};
use crate::targets::target;

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// A certificate authority, and the file with its certificate.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Authorities need different names to be distinguished.
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = scratch_file(&format!("{name}.pem"));
        std::fs::write(&file, issuer.pem()).unwrap();
        Authority { issuer, file }
    }

    fn path(&self) -> &str {
        self.file.to_str().unwrap()
    }

    /// The configuration of a server with a certificate for `names`.
    fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.server_with(names, rustls::ALL_VERSIONS, |_| {})
    }

    fn server_with(
        &self,
        names: &[&str],
        versions: &[&'static SupportedProtocolVersion],
        change: impl Fn(&mut CertificateParams),
    ) -> Arc<ServerConfig> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Arc::new(config)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// A server that runs `behave` for each connection, each on its own thread, until the test process
/// ends.
fn serve(
    config: &Arc<ServerConfig>,
    behave: impl Fn(&mut Tls) + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let config = Arc::clone(config);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_nodelay(true);
            let behave = behave.clone();
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            thread::spawn(move || behave(&mut StreamOwned::new(session, stream)));
        }
    });
    addr
}

fn echo(stream: &mut Tls) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

const BODY_LEN: usize = 40_000;

/// Answers each request head with a body of several records.
fn http(stream: &mut Tls) {
    let mut head = Vec::new();
    let mut byte = [0];
    while let Ok(1) = stream.read(&mut byte) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            let lines = String::from_utf8(std::mem::take(&mut head)).unwrap();
            assert!(lines.contains("\r\nHost: 127.0.0.1:"), "{lines}");
            let mut reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_LEN}\r\n\r\n");
            reply.push_str(&"x".repeat(BODY_LEN));
            if stream.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Goal: an echo and HTTP work over TLS as without: complete, in order, verified; in both versions
/// of TLS, on each driver. The report has the times and the number of handshakes, and the agreed
/// parameters.
///
/// Method: servers with a certificate of an authority that the run trusts; messages shorter and
/// longer than a record, several at a time, and idle connections, to which the server sends tickets
/// only.
///
/// Kills: records that are split wrongly; plain bytes counted in place of records; a handshake
/// counted as the connect; tickets read as replies.
#[test]
fn echo_and_http_work_over_tls() {
    let authority = Authority::new("echo-and-http");
    for (driver, version, name) in [
        ("uring", &rustls::version::TLS13, "TLSv1.3"),
        ("epoll", &rustls::version::TLS12, "TLSv1.2"),
    ] {
        let config = authority.server_with(&["127.0.0.1"], &[version], |_| {});
        let addr = serve(&config, echo);
        for (size, messages) in [("64", "200"), ("100k", "40")] {
            let url = format!("tls://{addr}");
            let trust = ["--cacert", authority.path(), "--driver", driver];
            let load =
                ["-c", "4", "-p", "3", "--verify", "--idle", "2", "-s", size, "-n", messages];
            let report = report(&url, &[&trust[..], &load].concat());
            assert_eq!(report["load"]["completed"].to_string(), messages);
            assert_eq!(report["load"]["bytes_sent"], report["load"]["bytes_received"]);
            assert_eq!(report["target"]["protocol"], "tcp echo over tls");
            assert!(report["target"]["tls"].as_str().unwrap().starts_with(name), "{report}");
            assert_eq!(report["config"]["tls"]["name"], "127.0.0.1");
            assert_eq!(report["latency_us"]["tls"]["samples"], 6);
            assert_eq!(report["latency_us"]["connect"]["samples"], 6);
            assert_eq!(report["connections"]["idle"]["open"], 2);
            assert_eq!(report["failures"], Value::Array(Vec::new()));
        }
        let config = authority.server_with(&["else.where"], &[version], |_| {});
        let url = format!("https://{}/a", serve(&config, http));
        let options = ["--cacert", authority.path(), "--sni", "else.where", "--driver", driver];
        let report = report(&url, &[&options[..], &["-c", "3", "-n", "30", "-p", "2"]].concat());
        assert_eq!(report["load"]["completed"], 30);
        assert_eq!(report["target"]["protocol"], "http/1.1 over tls");
        assert_eq!(report["target"]["url"], *url);
        assert!(report["load"]["bytes_received"].as_u64().unwrap() > 30 * BODY_LEN as u64);
    }
}

/// Goal: a WebSocket is opened inside TLS, both handshakes are timed, and no byte is sent
/// unencrypted.
///
/// Method: `tungstenite` over TLS, which pings first and reports how each connection ended; frames
/// longer than a record, several at a time, an idle connection, and others that are reopened.
///
/// Kills: an opening that is sent before TLS is established; one handshake counted as the other;
/// losing replies that arrive with the reply to the opening; a pong or a close frame that is
/// omitted.
#[test]
fn a_websocket_works_over_tls() {
    let authority = Authority::new("websocket");
    let (sender, ends) = mpsc::channel();
    let addr = serve(&authority.server(&["127.0.0.1"]), move |stream| {
        let _ = sender.send(echo_ws(stream));
    });
    let url = format!("wss://{addr}/a");
    let options = ["--cacert", authority.path(), "-c", "3", "-n", "60", "-r", "6", "--idle", "1"];
    let messages = ["-p", "2", "-s", "20k", "--verify"];
    let report = report(&url, &[&options[..], &messages].concat());
    assert_eq!(report["load"]["completed"], 60);
    assert_eq!(report["failures"], Value::Array(Vec::new()));
    assert_eq!(report["target"]["protocol"], "websocket echo over tls");
    assert_eq!(report["target"]["url"], *url);
    assert_eq!(report["connections"]["idle"]["open"], 1);
    let reconnects = report["connections"]["reconnects"].as_u64().unwrap();
    for of in ["connect", "tls", "handshake"] {
        assert_eq!(report["latency_us"][of]["samples"], reconnects + 4, "{of}");
    }
    let (mut pongs, mut closes) = (0, 0);
    for _ in 0..reconnects + 4 {
        let (pongs_here, has_closed) = ends.recv_timeout(Duration::from_secs(60)).unwrap();
        pongs += pongs_here;
        closes += u64::from(has_closed);
    }
    // A connection that was being opened at the end of the run sends none.
    assert!(closes >= reconnects && reconnects >= 7, "{closes} of {reconnects}");
    assert!(pongs >= reconnects, "{pongs} of {reconnects}");
}

/// Echoes messages. Returns the number of pongs, and whether a close frame was received.
fn echo_ws(stream: &mut Tls) -> (u64, bool) {
    let mut pongs = 0;
    let Ok(mut socket) = tungstenite::accept(stream) else { return (0, false) };
    let _ = socket.send(Message::Ping("?".into()));
    loop {
        match socket.read() {
            Ok(Message::Pong(_)) => pongs += 1,
            Ok(Message::Close(_)) => return (pongs, true),
            Ok(message) => _ = socket.send(message), // after a failure, the read returns an error
            Err(_) => return (pongs, false),
        }
    }
}

fn report(url: &str, options: &[&str]) -> Value {
    let common = [url, "--warmup", "0", "--drain", "60s", "--format", "json"];
    let output = loadtest(&[&common[..], options].concat());
    assert_exit(&output, 0);
    json(&output)
}

/// Goal: at its end, a run closes every TLS connection in order.
///
/// Method: an echo that reads until the end, which is an error of rustls if it is not announced.
///
/// Kills: connections that are cut at the end of the run, which looks like a truncation.
#[test]
fn the_end_of_a_run_is_announced() {
    let authority = Authority::new("announced");
    let (end, ends) = std::sync::mpsc::channel();
    let addr = serve(&authority.server(&["127.0.0.1"]), move |stream| {
        let mut bytes = vec![0; 64 << 10];
        let is_announced = loop {
            match stream.read(&mut bytes) {
                Ok(0) => break true,
                Ok(count) => stream.write_all(&bytes[..count]).unwrap(),
                Err(_) => break false,
            }
        };
        end.send(is_announced).unwrap();
    });
    let url = format!("tls://{addr}");
    report(&url, &["-c", "4", "-n", "40", "--cacert", authority.path()]);
    for _ in 0..4 {
        assert!(ends.recv_timeout(Duration::from_secs(60)).unwrap(), "cut");
    }
}

/// Goal: an invalid certificate ends the run with exit code 3 and one line with the reason. With
/// `--insecure` it is accepted.
///
/// Method: certificates of an authority that is not trusted, neither by default nor by `--cacert`;
/// for another name; expired; self-signed. Each with and without `-k`.
///
/// Kills: a certificate that is not checked; a lost reason; `-k` without an effect.
#[test]
fn bad_certificates_end_the_run() {
    let trusted = Authority::new("trusted");
    let other = Authority::new("other");
    // Like a certificate of `openssl req -x509`, which is an authority and its own issuer.
    let own = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let past = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    };
    let good = trusted.server(&["127.0.0.1"]);
    let elsewhere = trusted.server(&["else.where"]);
    let expired = trusted.server_with(&["127.0.0.1"], rustls::ALL_VERSIONS, past);
    let itself = trusted.server_with(&["127.0.0.1"], rustls::ALL_VERSIONS, own);
    let cacert = |authority: &Authority| vec!["--cacert".to_owned(), authority.path().to_owned()];
    for (config, trust, reason) in [
        (&good, vec![], "certificate of an unknown issuer"),
        (&good, cacert(&other), "certificate of an unknown issuer"),
        (&elsewhere, cacert(&trusted), "certificate for another name; see --sni"),
        (&expired, cacert(&trusted), "certificate has expired; see --insecure"),
        (&itself, cacert(&trusted), "self-signed certificate, or"),
    ] {
        let url = format!("tls://{}", serve(config, echo));
        let options: Vec<&str> = trust.iter().map(String::as_str).collect();
        let output = loadtest(&[&[&*url, "-c", "3"], &options[..]].concat());
        assert_exit(&output, 3);
        let line = stderr(&output);
        assert!(line.starts_with(&format!("loadtest: no TLS with {url}: 3 of 3 failed")), "{line}");
        assert!(line.contains(reason) && line.lines().count() == 1, "no '{reason}' in: {line}");
        assert_eq!(stdout(&output), "");
        let report = report(&url, &["-k", "-c", "3", "-n", "9"]);
        assert_eq!(report["load"]["completed"], 9);
        assert!(report["config"]["tls"]["trust"].as_str().unwrap().contains("not verified"));
    }
}

/// Goal: a target that does not finish a TLS handshake is reported as a failure of TLS, not of the
/// connect.
///
/// Method: a plain echo, a plain HTTP server, one that closes, and one that is silent.
///
/// Kills: a panic on bytes that are no record; waiting without a limit; a failed connect.
#[test]
fn a_target_without_tls_fails_the_handshake() {
    let plain_echo = target(|mut stream| {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            let _ = stream.write_all(&bytes[..count]);
        }
    });
    let plain_http = target(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let closing = target(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
    });
    let silent = target(crate::targets::hold);
    for (url, timeout, reason) in [
        (plain_echo, "60s", "tls: the target does not speak TLS: 2"),
        (plain_http, "60s", "tls: the target does not speak TLS: 2"),
        (closing, "60s", "tls eof 2"),
        (silent, "50ms", "tls timeout 2"),
    ] {
        let url = url.replace("tcp://", "tls://");
        let output = loadtest(&[&*url, "-k", "-c", "2", "--connect-timeout", timeout]);
        assert_exit(&output, 3);
        let line = stderr(&output);
        let wanted = format!("loadtest: no TLS with {url}: 2 of 2 failed ({reason})\n");
        assert_eq!(line, wanted);
    }
}

/// Goal: a connection that is closed after its messages sends a notice first, and the next one
/// makes a full handshake.
///
/// Method: a connection per message; the server counts orderly ends and kinds of handshakes.
///
/// Kills: a close without notice, which a server may treat as an attack; a resumed session.
#[test]
fn each_connection_has_its_own_session() {
    let authority = Authority::new("in-full");
    let (orderly, abrupt) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let kinds = Arc::new(Mutex::new(Vec::new()));
    let counts = (Arc::clone(&orderly), Arc::clone(&abrupt), Arc::clone(&kinds));
    let addr = serve(&authority.server(&["127.0.0.1"]), move |stream| {
        let mut bytes = [0; 4096];
        let end = loop {
            match stream.read(&mut bytes) {
                Ok(count @ 1..) => stream.write_all(&bytes[..count]).unwrap(),
                end => break end,
            }
        };
        counts.2.lock().unwrap().push(stream.conn.handshake_kind());
        match end {
            Ok(_) => counts.0.fetch_add(1, Ordering::SeqCst),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                counts.1.fetch_add(1, Ordering::SeqCst)
            }
            Err(_) => 0,
        };
    });
    let url = format!("tls://{addr}");
    let options = ["--cacert", authority.path(), "-c", "2", "-n", "20", "-r", "1"];
    let report = report(&url, &options);
    assert_eq!(report["load"]["completed"], 20);
    let connects = report["connections"]["reconnects"].as_u64().unwrap() + 2;
    assert_eq!(report["latency_us"]["tls"]["samples"], connects);
    // Connections without a message at the end of the program end without a notice.
    assert!(orderly.load(Ordering::SeqCst) >= 16, "{orderly:?} orderly, {abrupt:?} abrupt");
    let kinds = kinds.lock().unwrap();
    let is_full = |kind: &Option<HandshakeKind>| {
        matches!(kind, Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest))
    };
    assert!(kinds.iter().all(is_full), "{kinds:?}");
}

/// Goal: a file of authorities that cannot be used is one line and exit code 1, before a connect.
///
/// Method: a missing file, and one without a certificate.
///
/// Kills: silently trusting no authority; trusting the built-in authorities instead.
#[test]
fn bad_authorities_prevent_the_run() {
    for (file, wanted) in [("/nonexistent/ca.pem", "No such file"), ("Cargo.toml", "has none")] {
        let output = loadtest(&["tls://127.0.0.1:1", "--cacert", file]);
        assert_exit(&output, 1);
        let line = stderr(&output);
        let start = format!("loadtest: cannot read certificates from {file}: ");
        assert!(line.starts_with(&start) && line.contains(wanted), "{line}");
        assert_eq!(line.lines().count(), 1);
    }
}
