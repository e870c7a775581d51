//! What a Unix socket is called: a path, or a name of its own with an `@` before it.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::SockAddr;

/// Bytes of a path or a name: `sun_path`, less the zero that ends the one and begins the other.
const NAME_BYTES_MAX: usize = 107;

/// The address that `text` means.
pub(super) fn to_addr(text: &Path) -> io::Result<SockAddr> {
    let bytes = text.as_os_str().as_bytes();
    let abstract_name = bytes.strip_prefix(b"@");
    let name = abstract_name.unwrap_or(bytes);
    if name.is_empty() {
        return refuse("a Unix socket has a path, or a name after an @, and this is empty".into());
    }
    if name.contains(&0) {
        return refuse(format!("{text:?}: there is a zero byte in it"));
    }
    if name.len() > NAME_BYTES_MAX {
        let len = name.len();
        return refuse(format!("{text:?}: {len} bytes, and a Unix socket's address holds 107"));
    }
    match abstract_name {
        None => SockAddr::unix(text),
        Some(name) => SockAddr::unix(OsStr::from_bytes(&[&[0], name].concat())),
    }
}

/// As std says it.
pub(super) fn from_addr(addr: &SockAddr) -> io::Result<SocketAddr> {
    if !addr.is_unix() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    match addr.as_abstract_namespace() {
        Some(name) => SocketAddr::from_abstract_name(name),
        // The path of a socket without an address is empty, as std has it.
        None => SocketAddr::from_pathname(addr.as_pathname().unwrap_or(Path::new(""))),
    }
}

fn refuse(reason: String) -> io::Result<SockAddr> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
}
