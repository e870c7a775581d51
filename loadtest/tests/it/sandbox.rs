//! A process tree in which io_uring is forbidden, as in many containers.

use std::collections::BTreeMap;
use std::thread;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// Runs `body` where `io_uring_setup` is answered with `EPERM`. Processes that it starts inherit that,
/// and theirs do too. A filter is for the thread that installs it, and for good.
pub(crate) fn without_io_uring<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let forbidden = thread::spawn(move || {
        let arch = std::env::consts::ARCH.try_into().expect("an architecture with filters");
        let filter = SeccompFilter::new(
            BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]),
            SeccompAction::Allow,
            SeccompAction::Errno(libc::EPERM as u32),
            arch,
        );
        let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
        apply_filter(&program).expect("a kernel with seccomp");
        body()
    });
    forbidden.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
