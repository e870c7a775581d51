//! Builds the WebSocket handshake of a run from its options.

use std::sync::Arc;

use crate::base::exit::{Error, Exit};
use crate::cli::args::RunArgs;
use crate::protocol::ws::upgrade::Upgrade;

/// The handshake of the run; `None` if the target does not speak WebSocket.
pub(crate) fn upgrade(args: &RunArgs) -> Result<Option<Arc<Upgrade>>, Error> {
    let usage = |line: String| Error::new(Exit::Usage, line);
    let Some((url, path)) = args.url.as_ref().and_then(|url| Some((url, url.ws_path()?))) else {
        return match args.text {
            true => Err(usage("--text needs a ws:// or wss:// target".to_owned())),
            false => Ok(None),
        };
    };
    let upgrade = Upgrade::new(path, &url.http_host(), args.http.fields.clone(), args.text);
    Ok(Some(Arc::new(upgrade.map_err(usage)?)))
}
