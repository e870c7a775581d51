//! Names of errno values: a report shows `ECONNRESET`, not 104.

/// The symbolic name of `errno`, or `errno N` for one that sockets do not return.
pub(crate) fn name(errno: i32) -> String {
    match known(errno) {
        Some(name) => name.to_owned(),
        None => format!("errno {errno}"),
    }
}

fn known(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::EACCES => "EACCES",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EAGAIN => "EAGAIN",
        libc::EBADF => "EBADF",
        libc::ECANCELED => "ECANCELED",
        libc::ECONNABORTED => "ECONNABORTED",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::ECONNRESET => "ECONNRESET",
        libc::EFAULT => "EFAULT",
        libc::EHOSTDOWN => "EHOSTDOWN",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        libc::EINTR => "EINTR",
        libc::EINVAL => "EINVAL",
        libc::EIO => "EIO",
        libc::ELOOP => "ELOOP",
        libc::EMFILE => "EMFILE",
        libc::ENETDOWN => "ENETDOWN",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ENFILE => "ENFILE",
        libc::ENOBUFS => "ENOBUFS",
        libc::ENOENT => "ENOENT",
        libc::ENOMEM => "ENOMEM",
        libc::ENOTCONN => "ENOTCONN",
        libc::ENOTDIR => "ENOTDIR",
        libc::EPERM => "EPERM",
        libc::EPIPE => "EPIPE",
        libc::EPROTO => "EPROTO",
        libc::EPROTOTYPE => "EPROTOTYPE",
        libc::ETIMEDOUT => "ETIMEDOUT",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a known errno is printed by name, an unknown one by number.
    ///
    /// Method: one of each.
    ///
    /// Kills: a table whose neighbours are swapped at the reset; losing the number.
    #[test]
    fn names_what_is_known_and_numbers_the_rest() {
        assert_eq!(name(104), "ECONNRESET");
        assert_eq!(name(111), "ECONNREFUSED");
        assert_eq!(name(4000), "errno 4000");
    }
}
