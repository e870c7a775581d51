//! Process trees in which io_uring is forbidden, as in many containers.

use std::collections::BTreeMap;
use std::thread;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// Runs `body` on a thread on which `io_uring_setup` fails with `EPERM`. Processes that it starts
/// inherit the filter. It cannot be removed, so it gets its own thread.
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
