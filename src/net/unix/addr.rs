//! Addresses of Unix sockets: a path, or an abstract name with an `@` before it.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::SockAddr;

/// Bytes of a path or a name: `sun_path` without the zero byte that ends a path or begins a name.
const NAME_BYTES_MAX: usize = 107;

/// Converts a path, or an abstract name after an `@`, into an address.
pub(super) fn to_addr(text: &Path) -> io::Result<SockAddr> {
    let bytes = text.as_os_str().as_bytes();
    let abstract_name = bytes.strip_prefix(b"@");
    let name = abstract_name.unwrap_or(bytes);
    if name.is_empty() {
        return refuse("empty address: a Unix socket needs a path, or a name after an @".into());
    }
    if name.contains(&0) {
        return refuse(format!(
            "{text:?} has a zero byte, which a path of a Unix socket cannot have"
        ));
    }
    if name.len() > NAME_BYTES_MAX {
        let len = name.len();
        return refuse(format!(
            "{text:?} has {len} bytes, more than the {NAME_BYTES_MAX} of a Unix socket's address"
        ));
    }
    match abstract_name {
        None => SockAddr::unix(text),
        Some(name) => SockAddr::unix(OsStr::from_bytes(&[&[0], name].concat())),
    }
}

/// Converts an address of socket2 into one of std.
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
