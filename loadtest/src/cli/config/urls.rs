//! Reads the paths in the file of `--urls`.

use crate::base::exit::{Error, Exit};
use crate::cli::config::payload;
use crate::plan::target_url::{Url, request_target};

/// Limit of the bytes of all requests with their bodies. They are built before the run.
const REQUESTS_LEN_MAX: usize = 64 << 20;

/// The paths in a file, one per line. Empty lines and lines that begin with # are skipped.
pub(crate) fn read(
    file: &str,
    url: &Url,
    url_path: &str,
    body_len: usize,
) -> Result<Vec<String>, Error> {
    let usage = |line: String| Error::new(Exit::Usage, line);
    if url_path != "/" {
        return Err(usage(format!(
            "--urls sets the paths, and {url} has a path too: end the URL with /"
        )));
    }
    let bytes = payload::read("--urls", &format!("@{file}"))?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| usage(format!("--urls {file}: is not UTF-8")))?;
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
        return Err(usage(format!("--urls {file}: contains no path")));
    }
    let len = paths.len().saturating_mul(body_len).saturating_add(bytes.len());
    if len > REQUESTS_LEN_MAX {
        return Err(usage(format!(
            "--urls {file}: the requests take {len} bytes, at most 64MiB are allowed"
        )));
    }
    Ok(paths)
}
