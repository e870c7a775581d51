//! From the options of an echo to what its messages are.

use std::fs;

use crate::base::exit::{Error, Exit};
use crate::base::units::{SIZE_MAX, Sizes};
use crate::cli::args::RunArgs;
use crate::protocol::payload::Payload;

/// What is sent to an echo, over TCP or WebSocket.
pub(crate) fn payload(args: &RunArgs) -> Result<Payload, Error> {
    let Some(text) = &args.payload else {
        let Sizes { min, max } =
            args.size.unwrap_or(Sizes { min: MESSAGE_SIZE, max: MESSAGE_SIZE });
        return Ok(Payload::Pattern { min, max });
    };
    let usage = |line: &str| Err(Error::new(Exit::Usage, line.to_owned()));
    let payload = read("--payload", text)?;
    if payload.is_empty() {
        return usage("--payload is empty: nothing would come back");
    }
    if args.text && std::str::from_utf8(&payload).is_err() {
        return usage("--payload is no text (UTF-8), and --text was given");
    }
    Ok(Payload::Given(payload.into()))
}

/// The text itself, or what is in a file.
pub(crate) fn read(option: &str, text: &str) -> Result<Vec<u8>, Error> {
    let bytes = match text.strip_prefix('@') {
        None => text.as_bytes().to_vec(),
        Some(path) => fs::read(path)
            .map_err(|error| Error::could_not_run(format!("cannot read {path}: {error}")))?,
    };
    if bytes.len() > SIZE_MAX as usize {
        let line = format!("{option} has {} bytes, {SIZE_MAX} are the most", bytes.len());
        return Err(Error::new(Exit::Usage, line));
    }
    Ok(bytes)
}

/// Size of a message to an echo by default.
pub(crate) const MESSAGE_SIZE: u32 = 64;
