//! Limits, processors, timer slack, signals and one socket option: the only calls in this crate
//! that need unsafe code.
//!
//! **Absent on purpose.** Readings from `/proc` need no unsafe code and are in `procfs`.
#![allow(unsafe_code)] // none of these calls has a safe form in std or socket2

use std::os::fd::{AsRawFd, BorrowedFd};
use std::{io, mem};

use crate::base::units::CPUS_MAX;

/// The limit of open files: the soft one applies, and may be raised to the hard one.
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

    /// Raises the soft limit to the hard one and returns the resulting limits.
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

/// Restricts the calling thread to one processor.
pub(crate) fn pin_thread(cpu: u32) -> io::Result<()> {
    assert!(cpu < CPUS_MAX, "processor {cpu} of {CPUS_MAX}");
    // SAFETY: a `cpu_set_t` is an array of integers, for which all zeros is a value.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is live, and `cpu` is within it (asserted above).
    unsafe { libc::CPU_SET(cpu as usize, &mut set) };
    // SAFETY: `set` is a live set of the size that is given; the call only reads it. Zero is the
    // calling thread.
    checked(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) })
}

/// Sets the timer slack of the calling thread, which is 50 µs by default: the kernel may delay a
/// timer by that much.
pub(crate) fn set_timer_slack_ns(slack_ns: u32) -> io::Result<()> {
    let slack_ns = libc::c_ulong::from(slack_ns);
    // SAFETY: this operation takes one integer and no pointer.
    checked(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack_ns) })
}

/// Makes `bind` with port 0 defer the choice of the port to `connect`. The port then has to be free
/// for this peer only, not for every peer.
pub(crate) fn bind_address_no_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open as long as it is borrowed; the value is a live `int` of the
    // size that is given, and the call only reads it.
    checked(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    })
}

/// Number of columns of a terminal; `None` if the descriptor is no terminal or the size is unknown.
pub(crate) fn terminal_columns(terminal: BorrowedFd<'_>) -> Option<u16> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open as long as it is borrowed; `size` is a live `winsize` that the
    // call fills in, and it keeps no pointer to it.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(size.ws_col)
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends a signal to a child process. Does nothing if `pid` is 0 or the process has ended.
pub(crate) fn signal(pid: u32, signal: i32) {
    send(libc::pid_t::try_from(pid).expect("process ids are positive"), signal);
}

/// Sends a signal to the process group of a child.
pub(crate) fn signal_group(pid: u32, signal: i32) {
    send(-libc::pid_t::try_from(pid).expect("process ids are positive"), signal);
}

fn send(to: libc::pid_t, signal: i32) {
    // 0 would be the caller's own group, and -1 every process.
    if !(-1..=0).contains(&to) {
        // SAFETY: the call takes two integers and accesses no memory of this process.
        let _ = unsafe { libc::kill(to, signal) };
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

    /// Goal: a pinned thread runs on its processor, its timer slack is set, and a socket bound to
    /// an address has no port yet.
    ///
    /// Method: set each on a new thread and read it back through `/proc` and the socket.
    ///
    /// Kills: an empty set or one of another processor; a wrong option number.
    #[test]
    fn the_kernel_applies_pinning_slack_and_late_ports() {
        let on_thread = std::thread::spawn(|| {
            let allowed = |status: &str| {
                let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list:"));
                line.unwrap().split_ascii_whitespace().nth(1).unwrap().to_owned()
            };
            let status = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let before = allowed(&status());
            let first: u32 = before.split([',', '-']).next().unwrap().parse().unwrap();
            pin_thread(first).unwrap();
            assert_eq!(allowed(&status()), first.to_string());
            set_timer_slack_ns(1).unwrap();
            let thread_id = crate::host::procfs::thread_id().unwrap();
            let slack = std::fs::read_to_string(format!("/proc/{thread_id}/timerslack_ns"));
            assert_eq!(slack.unwrap().trim(), "1");
        });
        on_thread.join().unwrap();

        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bind_address_no_port(std::os::fd::AsFd::as_fd(&socket)).unwrap();
        let address: std::net::SocketAddr = "127.0.0.2:0".parse().unwrap();
        socket.bind(&address.into()).unwrap();
        assert_eq!(socket.local_addr().unwrap().as_socket(), Some(address));
    }
}
