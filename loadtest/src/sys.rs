//! Resource limits: the only calls in this crate that need unsafe code.
//!
//! **Absent on purpose.** Everything else about the machine is read from `/proc` (`procfs`), which
//! needs no unsafe code.
#![allow(unsafe_code)] // getrlimit and setrlimit have no safe form in std

use std::io;

/// The limit of open files: what applies now, and how far it may be raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileLimit {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

impl FileLimit {
    /// Reads the limit of this process.
    pub(crate) fn read() -> io::Result<FileLimit> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is a live `rlimit` that the call fills in; it keeps no pointer to it.
        let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(FileLimit { soft: limit.rlim_cur, hard: limit.rlim_max })
    }

    /// Raises the soft limit to the hard one and returns what is in force afterwards.
    pub(crate) fn raise() -> io::Result<FileLimit> {
        let FileLimit { soft, hard } = FileLimit::read()?;
        if soft < hard {
            let limit = libc::rlimit { rlim_cur: hard, rlim_max: hard };
            // SAFETY: `limit` is a live, initialised `rlimit` that the call only reads.
            let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        FileLimit::read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: raising leaves the soft limit at the hard one.
    ///
    /// Method: raise, then read back through a second call.
    ///
    /// Kills: passing the soft limit back to `setrlimit`; returning the limit read before raising.
    #[test]
    fn raising_reaches_the_hard_limit() {
        let raised = FileLimit::raise().unwrap();
        assert_eq!(raised.soft, raised.hard);
        assert_eq!(FileLimit::read().unwrap(), raised);
    }
}
