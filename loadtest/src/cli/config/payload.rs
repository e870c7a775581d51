//! Builds the payload of echo messages from the options of a run.

use std::fs;

use crate::base::exit::{Error, Exit};
use crate::base::units::{SIZE_MAX, Sizes};
use crate::cli::args::RunArgs;
use crate::protocol::payload::Payload;

/// The payload of echo messages, over TCP or WebSocket.
pub(crate) fn payload(args: &RunArgs) -> Result<Payload, Error> {
    let Some(text) = &args.payload else {
        let Sizes { min, max } =
            args.size.unwrap_or(Sizes { min: MESSAGE_SIZE, max: MESSAGE_SIZE });
        return Ok(Payload::Pattern { min, max });
    };
    let usage = |line: &str| Err(Error::new(Exit::Usage, line.to_owned()));
    let payload = read("--payload", text)?;
    if payload.is_empty() {
        return usage("--payload is empty: an echo of it cannot be received");
    }
    if args.text && std::str::from_utf8(&payload).is_err() {
        return usage("--payload is not UTF-8, which --text requires");
    }
    Ok(Payload::Given(payload.into()))
}

/// The bytes of a value `TEXT` or `@FILE`.
pub(crate) fn read(option: &str, text: &str) -> Result<Vec<u8>, Error> {
    let bytes = match text.strip_prefix('@') {
        None => text.as_bytes().to_vec(),
        Some(path) => fs::read(path)
            .map_err(|error| Error::could_not_run(format!("cannot read {path}: {error}")))?,
    };
    if bytes.len() > SIZE_MAX as usize {
        let line = format!("{option} has {} bytes, at most {SIZE_MAX} are allowed", bytes.len());
        return Err(Error::new(Exit::Usage, line));
    }
    Ok(bytes)
}

/// Default size of an echo message in bytes.
pub(crate) const MESSAGE_SIZE: u32 = 64;
