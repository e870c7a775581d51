//! Signals that tests send to their own process, and what it does with them.
#![allow(unsafe_code)] // raise(3), signal(3), pthread_kill(3), pthread_self(3)
#![allow(dead_code)] // each test binary uses a part

/// Sends a signal to this thread. A handler has run when this returns.
pub(crate) fn raise(number: i32) {
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::raise(number) }, 0);
}

/// Gives the signals that a shell may have ignored for this process their default action: SIGINT is
/// ignored in a command that runs in the background. For the beginning of a process.
pub(crate) fn restore_defaults() {
    let signals = [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];
    for number in signals {
        // SAFETY: no handler is installed, and no other thread of this process does so meanwhile.
        assert_ne!(unsafe { libc::signal(number, libc::SIG_DFL) }, libc::SIG_ERR);
    }
}

/// A thread that a signal can be sent to.
#[derive(Clone, Copy)]
pub(crate) struct Target(libc::pthread_t);

impl Target {
    /// This thread, which outlives the use of the value.
    pub(crate) fn this_thread() -> Target {
        // SAFETY: no preconditions.
        Target(unsafe { libc::pthread_self() })
    }

    /// Sends a signal to the thread, which has not ended.
    pub(crate) fn send(self, number: i32) {
        // SAFETY: the thread lives, by the condition above.
        assert_eq!(unsafe { libc::pthread_kill(self.0, number) }, 0);
    }
}

/// Whether this process has a handler for the signal.
pub(crate) fn is_handled(number: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a line");
    let mask = u64::from_str_radix(mask.trim(), 16).expect("a hexadecimal number");
    mask & (1 << (number - 1)) != 0
}
