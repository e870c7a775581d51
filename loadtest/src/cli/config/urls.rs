//! From the file of `--urls` to the paths that are asked for in turn.

use crate::base::exit::{Error, Exit};
use crate::cli::config::payload;
use crate::plan::target_url::{Url, request_target};

/// All requests are made before the run. So many bytes of them, with their bodies.
const REQUESTS_LEN_MAX: usize = 64 << 20;

/// The paths in a file, one on a line; empty lines and those that begin with # do not count.
pub(crate) fn read(
    file: &str,
    url: &Url,
    url_path: &str,
    body_len: usize,
) -> Result<Vec<String>, Error> {
    let usage = |line: String| Error::new(Exit::Usage, line);
    if url_path != "/" {
        return Err(usage(format!(
            "--urls says what is asked for, and so does {url}: end it with /"
        )));
    }
    let bytes = payload::read("--urls", &format!("@{file}"))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| usage(format!("--urls {file}: is no text (UTF-8)")))?;
    let mut paths = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if !line.starts_with('/') {
            let line = format!("--urls {file}, line {number}: '{line}' does not begin with /");
            return Err(usage(line));
        }
        paths.push(
            request_target(line)
                .map_err(|error| usage(format!("--urls {file}, line {number}: {error}")))?,
        );
    }
    if paths.is_empty() {
        return Err(usage(format!("--urls {file}: has no path in it")));
    }
    let len = paths.len().saturating_mul(body_len).saturating_add(bytes.len());
    if len > REQUESTS_LEN_MAX {
        return Err(usage(format!(
            "--urls {file}: makes {len} bytes of requests, 64MiB are the most"
        )));
    }
    Ok(paths)
}
