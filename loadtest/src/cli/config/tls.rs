//! Builds the TLS configuration of a run from its options.

use std::sync::Arc;

use crate::base::exit::{Error, Exit};
use crate::cli::args::RunArgs;
use crate::cli::args::tls::TlsArgs;
use crate::net::tls_config::{Tls, Trust};

/// The TLS configuration of the connections; `None` if the target does not speak TLS.
pub(crate) fn of(args: &RunArgs) -> Result<Option<Arc<Tls>>, Error> {
    let usage = |line: String| Err(Error::new(Exit::Usage, line));
    let TlsArgs { insecure, cacert, sni } = &args.tls;
    let Some((url, host)) = args.url.as_ref().and_then(|url| Some((url, url.tls_host()?))) else {
        let given =
            [("--insecure", *insecure), ("--cacert", cacert.is_some()), ("--sni", sni.is_some())];
        return match given.iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => usage(format!("{option} needs a target that speaks TLS")),
            None => Ok(None),
        };
    };
    let trust = match cacert {
        _ if *insecure => Trust::All,
        Some(file) => Trust::File(file.clone()),
        None => Trust::WebRoots,
    };
    let name = sni.as_deref().unwrap_or(host);
    // A WebSocket handshake is an HTTP request.
    let is_http = url.http_path().or(url.ws_path()).is_some();
    Tls::new(&trust, name, is_http).map(|tls| Some(Arc::new(tls)))
}
