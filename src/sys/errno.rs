//! Names for the errno values that the loop tells apart.

pub(crate) use libc::{
    EACCES, EAGAIN, EALREADY, EBADF, EBADR, EBUSY, ECANCELED, ECONNABORTED, ECONNRESET, EHOSTDOWN,
    EHOSTUNREACH, EINPROGRESS, EINTR, EINVAL, EIO, EISCONN, EMFILE, ENETDOWN, ENETUNREACH, ENFILE,
    ENOBUFS, ENOENT, ENOMEM, ENONET, ENOPROTOOPT, ENOSPC, ENOSYS, ENOTCONN, EOPNOTSUPP, EPERM,
    EPIPE, EPROTO, ETIME, ETIMEDOUT,
};

/// The largest errno that the kernel's ABI allows.
const ERRNO_MAX: i32 = 4095;

/// Kernel-internal restart codes. They should never reach user space, and on some kernels they do
/// (a cancelled io-wq request on 5.10 and 6.18, H19).
const RESTART_FIRST: i32 = 512;
const RESTART_LAST: i32 = 516;

/// Makes an errno out of a negative result, whatever the kernel put there (H19).
///
/// Restart codes become `EINTR`, which is what they mean. Anything beyond the errno range becomes
/// `EIO`: the raw number is not lost, the caller counts it.
pub(crate) fn from_result(result: i32) -> i32 {
    assert!(result < 0, "{result} is not an error");
    match result.checked_neg() {
        Some(RESTART_FIRST..=RESTART_LAST) => libc::EINTR,
        Some(errno) if errno <= ERRNO_MAX => errno,
        _ => libc::EIO,
    }
}

/// Whether the network or the peer has ended the connection. The kernel returns such an error once,
/// to whichever call comes first.
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

    /// Goal: no result, however strange, panics or leaves the errno range (H19).
    /// Method: the restart codes, both ends of the range, and the most negative number.
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
