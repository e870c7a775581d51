//! Checks the options of the target and of the messages.

use crate::base::exit::Error;
use crate::cli::args::RunArgs;
use crate::cli::config::{http, payload, tls, ws};
use crate::protocol::ProtocolConfig;
use crate::run::config::TargetConfig;

/// The target. Reads the files that the options name.
pub(super) fn check(args: &RunArgs) -> Result<TargetConfig, Error> {
    Ok(TargetConfig {
        url: args.url.clone(),
        protocol: protocol(args)?,
        tls: tls::of(args)?,
        sample_server: args.sample_server,
    })
}

/// The protocol spoken with the target.
fn protocol(args: &RunArgs) -> Result<ProtocolConfig, Error> {
    let (http, ws) = (http::exchange(args)?, ws::upgrade(args)?);
    let payload = payload::payload(args)?;
    Ok(match (http, ws) {
        (Some(exchange), _) => ProtocolConfig::Http(exchange),
        (None, Some(upgrade)) => ProtocolConfig::Ws(payload, upgrade),
        (None, None) => ProtocolConfig::Echo(payload),
    })
}
