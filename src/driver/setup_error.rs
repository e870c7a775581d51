//! Why a runtime could not start, and what to do about it.
//!
//! Advice depends on the step and the errno together: `ENOMEM` for a ring is about lockable memory,
//! for the receive buffers about address space; `EINVAL` for a ring is about its size or the age of
//! the kernel. [`SetupStep`] has all steps, so the compiler asks for the advice of a new one.

use std::fmt;
use std::io;

use super::info::DriverKind;
use crate::sys::errno;

/// Why a runtime could not start: which driver, at which step, and what to try next.
///
/// `Display` prints all of it on one line, advice included.
#[derive(Debug)]
pub struct SetupError {
    driver: DriverKind,
    step: SetupStep,
    cause: io::Error,
}

impl SetupError {
    pub(crate) fn new(driver: DriverKind, step: SetupStep, cause: io::Error) -> SetupError {
        SetupError { driver, step, cause }
    }

    /// The driver that was tried. For a step that comes before the drivers, the one that was asked
    /// for, or io_uring.
    pub fn driver(&self) -> DriverKind {
        self.driver
    }

    /// Whether descriptors have run out: then no other driver works either.
    pub(crate) fn is_shortage_of_files(&self) -> bool {
        matches!(self.cause.raw_os_error(), Some(errno::EMFILE | errno::ENFILE))
    }

    /// What failed and why, without the advice.
    pub(crate) fn summary(&self) -> String {
        let SetupError { driver, step, cause } = self;
        match step {
            SetupStep::Choice | SetupStep::ReceiveBuffers => format!("{step} failed: {cause}"),
            _ => format!("{driver}: {step} failed: {cause}"),
        }
    }

    /// What usually fixes this, if that is known.
    pub fn advice(&self) -> Option<&'static str> {
        self.step.advice(self.cause.raw_os_error()?)
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        if let Some(advice) = self.advice() {
            write!(f, " ({advice})")?;
        }
        Ok(())
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// A step that has to succeed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SetupStep {
    /// Reading `RINGLOOP_DRIVER`.
    Choice,
    ReceiveBuffers,
    Eventfd,
    Epoll,
    Ring,
    /// Making a ring that is larger than any kernel's.
    LargeRing,
    Features,
    BufferRing,
    Timing,
    ProbeNop,
    ProbeRecv,
    ProbeAccept,
    ProbeEnd,
    WakeBuffer,
}

impl SetupStep {
    pub(crate) fn name(self) -> &'static str {
        match self {
            SetupStep::Choice => "choosing a driver",
            SetupStep::ReceiveBuffers => "mapping receive buffers",
            SetupStep::Eventfd => "eventfd",
            SetupStep::Epoll => "epoll_create1",
            SetupStep::Ring => "io_uring_setup",
            SetupStep::LargeRing => "io_uring_setup with so many entries",
            SetupStep::Features => "checking io_uring features",
            SetupStep::BufferRing => "registering provided buffers",
            SetupStep::Timing => "timing a timeout",
            SetupStep::ProbeNop => "probing a no-op",
            SetupStep::ProbeRecv => "probing a multishot receive",
            SetupStep::ProbeAccept => "probing a multishot accept",
            SetupStep::ProbeEnd => "ending the probe",
            SetupStep::WakeBuffer => "allocating the wake-up buffer",
        }
    }

    fn advice(self, code: i32) -> Option<&'static str> {
        match code {
            errno::EMFILE => {
                return Some("too many open files in this process: raise `ulimit -n`");
            }
            errno::ENFILE => {
                return Some("too many open files on this machine: raise `sysctl fs.file-max`");
            }
            _ => {}
        }
        match self {
            SetupStep::Choice => None,
            SetupStep::ReceiveBuffers => advice_on_mapping(code),
            SetupStep::WakeBuffer => advice_on_mapping(code).map(|_| WAKE_BUFFER),
            SetupStep::Eventfd | SetupStep::Epoll => advice_on_epoll(code),
            SetupStep::Ring => advice_on_ring(code),
            SetupStep::LargeRing => Some(LARGE_RING),
            SetupStep::Features => Some(OLD_KERNEL),
            SetupStep::BufferRing => match code {
                errno::ENOMEM => Some(LOCKABLE_MEMORY),
                errno::EPERM | errno::EACCES | errno::ENOSYS => Some(SANDBOX),
                errno::EINVAL | errno::EOPNOTSUPP => Some(OLD_KERNEL),
                _ => None,
            },
            SetupStep::Timing
            | SetupStep::ProbeNop
            | SetupStep::ProbeRecv
            | SetupStep::ProbeAccept
            | SetupStep::ProbeEnd => advice_on_probe(code),
        }
    }
}

impl fmt::Display for SetupStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const OLD_KERNEL: &str = "this kernel's io_uring is too old or restricted: Linux 6.1 or newer has \
                          all that is needed";
const LARGE_RING: &str = "kernels take at most 32768 submission and 65536 completion entries: ask \
                          the builder for fewer `ring_entries`";
const LOCKABLE_MEMORY: &str = "not enough lockable memory: raise `ulimit -l` (RLIMIT_MEMLOCK), or \
                               ask the builder for smaller rings and fewer receive buffers";
const SANDBOX: &str = "a sandbox refuses an operation of io_uring or the Unix sockets that it is \
                       probed with: its seccomp profile must allow io_uring_setup, \
                       io_uring_enter and io_uring_register";
const KERNEL_MEMORY: &str = "the kernel has no memory for this: look at the memory limit of the \
                             container (cgroup) and at the free memory of the machine";
const WAKE_BUFFER: &str = "this process can map no more memory: look at `ulimit -v`, `ulimit -l` \
                           if it locks its memory, and `sysctl vm.max_map_count`";

fn advice_on_mapping(code: i32) -> Option<&'static str> {
    match code {
        errno::ENOMEM => Some(
            "the receive buffers do not fit into the memory that this process may map: ask the \
             builder for fewer or smaller `recv_buffers`, or look at `ulimit -v` and `sysctl \
             vm.overcommit_memory`",
        ),
        errno::EAGAIN | errno::EPERM => Some(
            "this process locks its memory (mlockall) and may not lock that much: ask the builder \
             for fewer or smaller `recv_buffers`, or raise `ulimit -l`",
        ),
        _ => None,
    }
}

fn advice_on_epoll(code: i32) -> Option<&'static str> {
    match code {
        errno::ENOMEM => Some(KERNEL_MEMORY),
        errno::ENOSPC => {
            Some("this user watches too many descriptors: raise `sysctl fs.epoll.max_user_watches`")
        }
        errno::EPERM | errno::EACCES | errno::ENOSYS => Some(
            "a sandbox refuses a call that every event loop needs: its seccomp profile must allow \
             eventfd2, epoll_create1, epoll_ctl, and epoll_pwait2 or timerfd_create",
        ),
        _ => None,
    }
}

fn advice_on_ring(code: i32) -> Option<&'static str> {
    match code {
        errno::EPERM | errno::EACCES => Some(
            "io_uring is switched off here: see `sysctl kernel.io_uring_disabled` (0 allows it) \
             and the container's seccomp profile, which must allow io_uring_setup, \
             io_uring_enter and io_uring_register",
        ),
        errno::ENOSYS => Some(
            "this kernel or sandbox has no io_uring: use Linux 6.1 or newer, and a seccomp \
             profile that allows io_uring_setup, io_uring_enter and io_uring_register",
        ),
        errno::EOPNOTSUPP | errno::EINVAL => Some(OLD_KERNEL),
        errno::ENOMEM | errno::EAGAIN => Some(LOCKABLE_MEMORY),
        _ => None,
    }
}

fn advice_on_probe(code: i32) -> Option<&'static str> {
    match code {
        errno::EPERM | errno::EACCES | errno::ENOSYS => Some(SANDBOX),
        errno::EINVAL | errno::EOPNOTSUPP => Some(OLD_KERNEL),
        errno::ENOMEM | errno::ENOBUFS => Some(KERNEL_MEMORY),
        errno::ETIMEDOUT | errno::EAGAIN => Some(
            "the ring did not answer in time: try again if the machine is overloaded, or use \
             RINGLOOP_DRIVER=epoll",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every step. The array in `table` and the `match` in `advice` are exhaustive.
    const STEPS: [SetupStep; 14] = [
        SetupStep::Choice,
        SetupStep::ReceiveBuffers,
        SetupStep::Eventfd,
        SetupStep::Epoll,
        SetupStep::Ring,
        SetupStep::LargeRing,
        SetupStep::Features,
        SetupStep::BufferRing,
        SetupStep::Timing,
        SetupStep::ProbeNop,
        SetupStep::ProbeRecv,
        SetupStep::ProbeAccept,
        SetupStep::ProbeEnd,
        SetupStep::WakeBuffer,
    ];

    fn error(step: SetupStep, code: i32) -> SetupError {
        SetupError::new(DriverKind::Uring, step, io::Error::from_raw_os_error(code))
    }

    /// Goal: each error that setup can meet has advice about its own cause.
    /// Method: a table of step, errno and a word of the advice. Kills: advice by the errno alone;
    /// advice lost from `Display`.
    #[test]
    fn advice_fits_the_step_and_the_errno() {
        use SetupStep::*;
        for (step, code, word) in [
            (ReceiveBuffers, errno::ENOMEM, "recv_buffers"),
            (ReceiveBuffers, errno::EAGAIN, "mlockall"),
            (Eventfd, errno::ENOMEM, "cgroup"),
            (Eventfd, errno::EPERM, "eventfd2"),
            (Epoll, errno::ENOSYS, "epoll_create1"),
            (Epoll, errno::ENOSPC, "max_user_watches"),
            (Ring, errno::EPERM, "kernel.io_uring_disabled"),
            (Ring, errno::EPERM, "seccomp"),
            (Ring, errno::ENOSYS, "seccomp"),
            (Ring, errno::EINVAL, "6.1"),
            (Ring, errno::ENOMEM, "ulimit -l"),
            (LargeRing, errno::EINVAL, "fewer `ring_entries`"),
            (Features, errno::EOPNOTSUPP, "6.1"),
            (BufferRing, errno::EINVAL, "6.1"),
            (BufferRing, errno::ENOMEM, "ulimit -l"),
            (BufferRing, errno::EPERM, "io_uring_register"),
            (Timing, errno::ETIMEDOUT, "RINGLOOP_DRIVER=epoll"),
            (ProbeNop, errno::EPERM, "io_uring_enter"),
            (ProbeRecv, errno::ENOMEM, "cgroup"),
            (ProbeAccept, errno::EACCES, "Unix sockets"),
            (ProbeAccept, errno::EOPNOTSUPP, "6.1"),
            (WakeBuffer, errno::ENOMEM, "max_map_count"),
        ] {
            let text = error(step, code).to_string();
            assert!(text.contains(word), "{word}: {text}");
            assert!(text.contains(&format!("{step} failed: ")), "{text}");
        }
    }

    /// Goal: no advice is about something that cannot be the cause.
    ///
    /// Method: every step with every errno. What every driver does is not about io_uring; lockable
    /// memory is for what the kernel charges to it; the kernel's age is for `EINVAL` and
    /// `EOPNOTSUPP`; open files for `EMFILE` and `ENFILE`, at every step.
    ///
    /// Kills: an errno's advice given at each step.
    #[test]
    fn no_advice_is_about_another_cause() {
        use SetupStep::*;
        for step in STEPS {
            for code in 1..=133 {
                let error = error(step, code);
                let advice = error.advice().unwrap_or("");
                let has = |word: &str| advice.contains(word);
                let is_common =
                    matches!(step, Choice | ReceiveBuffers | Eventfd | Epoll | WakeBuffer);
                assert!(!is_common || !has("io_uring"), "{error}");
                let is_locked = matches!(step, ReceiveBuffers | Ring | BufferRing | WakeBuffer);
                assert!(is_locked || !has("ulimit -l"), "{error}");
                let is_age = matches!(code, errno::EINVAL | errno::EOPNOTSUPP) || step == Features;
                assert!(is_age || !has("too old"), "{error}");
                assert!(step != LargeRing || !has("too old"), "{error}");
                let is_files = matches!(code, errno::EMFILE | errno::ENFILE);
                assert_eq!(is_files, has("too many open files"), "{error}");
            }
        }
    }
}
