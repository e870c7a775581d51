//! Sandboxes that forbid io_uring, as containers do.
#![allow(dead_code)] // each test binary uses its own part
#![allow(unreachable_pub)] // a module of each test binary, shared by all

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// Runs `body` on a thread whose `syscall` fails with `errno`. A filter cannot be removed from its
/// thread, so the thread ends with the body.
pub fn with_refused<T: Send + 'static>(
    syscall: libc::c_long,
    errno: i32,
    body: impl FnOnce() -> T + Send + 'static,
) -> T {
    let refusing = std::thread::spawn(move || {
        install(syscall, SeccompAction::Errno(errno as u32));
        body()
    });
    refusing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Installs a filter: the first `syscall` of this thread kills the process.
pub fn kill_for(syscall: libc::c_long) {
    install(syscall, SeccompAction::KillProcess);
}

fn install(syscall: libc::c_long, action: SeccompAction) {
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with filters");
    let rules = BTreeMap::from([(syscall, Vec::new())]);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch);
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    apply_filter(&program).expect("a kernel with seccomp");
}
