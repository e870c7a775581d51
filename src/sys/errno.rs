//! The errno values that the loop distinguishes.

pub(crate) use libc::{
    EACCES, EAGAIN, EALREADY, EBADF, EBADR, EBUSY, ECANCELED, ECONNABORTED, ECONNRESET, EHOSTDOWN,
    EHOSTUNREACH, EINPROGRESS, EINTR, EINVAL, EIO, EISCONN, EMFILE, ENETDOWN, ENETUNREACH, ENFILE,
    ENOBUFS, ENOENT, ENOMEM, ENONET, ENOPROTOOPT, ENOSPC, ENOSYS, ENOTCONN, EOPNOTSUPP, EPERM,
    EPIPE, EPROTO, ETIME, ETIMEDOUT,
};

/// The largest errno that the kernel's ABI allows.
const ERRNO_MAX: i32 = 4095;

/// The kernel's internal restart codes. They should not reach user space, but do on some kernels (a
/// cancelled io-wq request on 5.10 and 6.18, H19).
const RESTART_FIRST: i32 = 512;
const RESTART_LAST: i32 = 516;

/// Converts a negative result into an errno, whatever the kernel returned (H19).
///
/// Restart codes become `EINTR`, which is their meaning. Results beyond the errno range become
/// `EIO`.
pub(crate) fn from_result(result: i32) -> i32 {
    assert!(result < 0, "{result} is not an error");
    match result.checked_neg() {
        Some(RESTART_FIRST..=RESTART_LAST) => libc::EINTR,
        Some(errno) if errno <= ERRNO_MAX => errno,
        _ => libc::EIO,
    }
}

/// Whether the error means that the network or the peer has ended the connection. The kernel
/// returns such an error once, to the first call.
pub(crate) fn ends_connection(code: i32) -> bool {
    matches!(
        code,
        ECONNRESET
            | ECONNABORTED
            | ETIMEDOUT
            | EHOSTUNREACH
            | EHOSTDOWN
            | ENETUNREACH
            | ENETDOWN
            | EPROTO
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every negative result becomes a valid errno, without a panic (H19).
    ///
    /// Method: the restart codes, both ends of the range, and the most negative number.
    ///
    /// Kills: negating `i32::MIN`; passing 512 through as an errno.
    #[test]
    fn strange_results_become_errnos() {
        assert_eq!(from_result(-512), libc::EINTR);
        assert_eq!(from_result(-516), libc::EINTR);
        assert_eq!(from_result(-1), libc::EPERM);
        assert_eq!(from_result(-4095), 4095);
        assert_eq!(from_result(-4096), libc::EIO);
        assert_eq!(from_result(i32::MIN), libc::EIO);
    }
}
