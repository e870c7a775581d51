//! From the options of a `ws://` target to the opening that is sent.

use std::sync::Arc;

use crate::base::exit::{Error, Exit};
use crate::cli::args::RunArgs;
use crate::protocol::ws::upgrade::Upgrade;

/// What is asked of the target; `None` if it does not speak WebSocket.
pub(crate) fn upgrade(args: &RunArgs) -> Result<Option<Arc<Upgrade>>, Error> {
    let usage = |line: String| Error::new(Exit::Usage, line);
    let Some((url, path)) = args.url.as_ref().and_then(|url| Some((url, url.ws_path()?))) else {
        return match args.text {
            true => Err(usage("--text needs a target that is ws://".to_owned())),
            false => Ok(None),
        };
    };
    let upgrade = Upgrade::new(path, &url.http_host(), args.http.fields.clone(), args.text);
    Ok(Some(Arc::new(upgrade.map_err(usage)?)))
}
