//! Processes: starting this binary again, and forking.
#![allow(unsafe_code)] // fork(2), clone(2), waitpid(2), alarm(2), _exit(2), fcntl(2), mmap(2)

use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitStatus, Stdio};

/// The environment variable that names the cell that [`ENTRY`](crate::ENTRY) runs.
pub(crate) const CELL: &str = "RINGLOOP_FORKED_CELL";

/// Seconds after which a process of these tests counts as hung and is killed.
const LIMIT_S: u32 = 60;

/// The way in which a child is made.
#[derive(Clone, Copy)]
pub(crate) enum How {
    /// `fork(2)` of libc, which calls the handlers of `pthread_atfork`.
    Fork,
    /// The system call, which calls no handler in the process.
    Clone,
}

/// Starts this binary again, on one thread, and waits for its end. What it printed is in the panic
/// if it fails.
pub(crate) fn run_cell(cell: &str, driver: &str) {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args([crate::ENTRY, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(CELL, cell).env("RINGLOOP_DRIVER", driver).env("RUST_BACKTRACE", "0");
    let output = command.stdin(Stdio::null()).output().expect("a process");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let has_run = text(&output.stdout).contains("1 passed");
    assert!(
        output.status.success() && has_run,
        "{cell} on {driver}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// Limits the life of this process.
pub(crate) fn limit() {
    // SAFETY: no pointers.
    unsafe { libc::alarm(LIMIT_S) };
}

/// Forks, has the child run `run` and end, and waits for it. Panics if the child's `run` does, or
/// if a signal kills the child.
pub(crate) fn fork(how: How, run: impl FnOnce()) {
    let status = fork_to_end(how, run);
    assert!(status.success(), "the child: {status}");
}

/// Like [`fork`]. Returns how the child has ended: with 1 if its `run` has panicked.
pub(crate) fn fork_to_end(how: How, run: impl FnOnce()) -> ExitStatus {
    // SAFETY: the child runs on in a copy of this thread, the only one that uses the loop or any
    // lock of the test. Threads of the parent hold no lock that the child takes.
    let child = unsafe {
        match how {
            How::Fork => libc::fork(),
            How::Clone => libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t,
        }
    };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        limit();
        let is_done = catch_unwind(AssertUnwindSafe(run)).is_ok();
        exit(i32::from(!is_done));
    }
    let mut status = 0;
    // SAFETY: a child of this process, and a status that the call writes.
    unsafe { libc::waitpid(child, &mut status, 0) };
    ExitStatus::from_raw(status)
}

/// Forks. Returns whether this is the child.
pub(crate) fn may_fork() -> bool {
    // SAFETY: as in `fork`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        limit();
    }
    child == 0
}

/// Waits for the child of `may_fork`, which must succeed.
pub(crate) fn wait_for_children() {
    let mut status = 0;
    // SAFETY: a status that the call writes.
    unsafe { libc::waitpid(-1, &mut status, 0) };
    assert_eq!(status, 0, "the child: signal {}", libc::WTERMSIG(status));
}

/// The number of this thread.
pub(crate) fn gettid() -> libc::pid_t {
    // SAFETY: no arguments.
    unsafe { libc::gettid() }
}

/// Whether a thread of this process sleeps in the kernel.
pub(crate) fn is_asleep(thread: libc::pid_t) -> bool {
    let path = format!("/proc/self/task/{thread}/stat");
    let stat = std::fs::read_to_string(path).expect("procfs");
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
}

/// The counts of the eventfds of this process.
pub(crate) fn eventfd_counts() -> Vec<u64> {
    let infos = std::fs::read_dir("/proc/self/fdinfo").expect("procfs");
    let texts = infos.filter_map(|info| std::fs::read_to_string(info.ok()?.path()).ok());
    let count = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("eventfd-count:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    texts.filter_map(count).collect()
}

/// The mappings of the queues of rings: start and length.
pub(crate) fn ring_mappings() -> Vec<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
    let range = |line: &str| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).expect("an address");
        Some((address(start), address(end) - address(start)))
    };
    maps.lines().filter(|line| line.ends_with("[io_uring]")).filter_map(range).collect()
}

/// Memory of this process at addresses where its parent has other mappings.
pub(crate) struct Occupied {
    mark: *mut u8,
}

const MARK: u8 = 0x5A;

/// Maps memory at these addresses, which are free.
pub(crate) fn occupy(places: &[(usize, usize)]) -> Vec<Occupied> {
    let map = |&(start, len): &(usize, usize)| {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let at = std::ptr::without_provenance_mut(start);
        // SAFETY: with the flag, the call fails where memory is mapped.
        let mapped = unsafe { libc::mmap(at, len, protection, flags, -1, 0) };
        assert_eq!(mapped, at, "the parent's queues are mapped in the child");
        let mark = mapped.cast::<u8>();
        // SAFETY: the first byte of the mapping above.
        unsafe { mark.write_volatile(MARK) };
        Occupied { mark }
    };
    places.iter().map(map).collect()
}

impl Occupied {
    /// Reads the mark. A fault if it has been unmapped.
    pub(crate) fn is_intact(&self) -> bool {
        // SAFETY: mapped by `occupy` and not unmapped by the test.
        unsafe { self.mark.read_volatile() == MARK }
    }
}

/// Ends this process at once, without destructors.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Whether the number is a descriptor of this process.
pub(crate) fn is_open(fd: i32) -> bool {
    // SAFETY: no pointers; a number that is no descriptor gives an error.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}
