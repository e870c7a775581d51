//! Counts the system calls of another process's thread, by tracing it (ptrace(2)).
//!
//! Context switches and processor time are only hints of a loop that spins; system calls are proof.
#![allow(unsafe_code)] // ptrace(2), waitpid(2)

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use libc::{c_void, pid_t};

/// The pause between two checks of a thread that has not stopped.
const LOOK_AGAIN: Duration = Duration::from_micros(50);

/// A traced thread. It stops at the beginning and the end of each system call until this is used
/// or dropped.
pub(crate) struct Tracer {
    thread: pid_t,
    has_ended: bool,
    /// The kernel takes requests from the thread that attached only.
    _stays_on_its_thread: PhantomData<*mut ()>,
}

impl Tracer {
    /// Interrupts the thread's sleep, if it sleeps.
    pub(crate) fn attach(thread: pid_t) -> io::Result<Tracer> {
        request(libc::PTRACE_SEIZE, thread, libc::PTRACE_O_TRACESYSGOOD as usize)?;
        let mut tracer = Tracer { thread, has_ended: false, _stays_on_its_thread: PhantomData };
        request(libc::PTRACE_INTERRUPT, thread, 0)?;
        tracer.wait(0);
        tracer.resume(0);
        Ok(tracer)
    }

    /// The numbers of the system calls that begin within `window`.
    pub(crate) fn calls_in(&mut self, window: Duration) -> Vec<u64> {
        let start = Instant::now();
        self.calls_until(|| start.elapsed() >= window)
    }

    /// The numbers of the system calls that begin until `condition` holds or the thread ends.
    pub(crate) fn calls_until(&mut self, mut condition: impl FnMut() -> bool) -> Vec<u64> {
        let mut calls = Vec::new();
        while !self.has_ended && !condition() {
            match self.wait(libc::WNOHANG) {
                None => std::thread::sleep(LOOK_AGAIN),
                Some(_) if self.has_ended => {}
                Some(status) => {
                    calls.extend(self.begun_call(status));
                    self.resume(signal_to_deliver(status));
                }
            }
        }
        calls
    }

    /// The status of the thread's stop, if it has stopped.
    fn wait(&mut self, options: i32) -> Option<i32> {
        let mut status = 0;
        // SAFETY: a valid place for the status.
        let waited = unsafe { libc::waitpid(self.thread, &mut status, options | libc::__WALL) };
        assert!(waited >= 0, "waitpid: {}", io::Error::last_os_error());
        self.has_ended = waited > 0 && !libc::WIFSTOPPED(status);
        (waited > 0).then_some(status)
    }

    /// The number of the call at whose beginning the thread has stopped.
    fn begun_call(&self, status: i32) -> Option<u64> {
        if libc::WSTOPSIG(status) != libc::SIGTRAP | 0x80 {
            return None; // a signal, or the stop of the attach request
        }
        let mut info = MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
        let info_len = size_of_val(&info);
        // SAFETY: the thread is stopped and traced by us; the kernel writes at most `info_len`
        // bytes.
        let written = unsafe {
            libc::ptrace(
                libc::PTRACE_GET_SYSCALL_INFO,
                self.thread,
                info_len as *mut c_void,
                info.as_mut_ptr(),
            )
        };
        assert!(written > 0, "a stop without its call: {}", io::Error::last_os_error());
        // SAFETY: plain integers, zeroed, so every byte has a value.
        let info = unsafe { info.assume_init() };
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return None;
        }
        // SAFETY: the kernel has filled the variant that `op` names.
        Some(unsafe { info.u.entry.nr })
    }

    fn resume(&self, signal: i32) {
        // It may have been killed in between, which the next wait reports.
        let _ = request(libc::PTRACE_SYSCALL, self.thread, signal as usize);
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // A thread can be detached only when it has stopped. A failure means that it has ended.
        if !self.has_ended && request(libc::PTRACE_INTERRUPT, self.thread, 0).is_ok() {
            let status = self.wait(0).expect("a wait without a limit");
            let _ = request(libc::PTRACE_DETACH, self.thread, signal_to_deliver(status) as usize);
        }
    }
}

/// The signal that a stopped thread is about to receive, if that is why it has stopped.
fn signal_to_deliver(status: i32) -> i32 {
    let is_event = status >> 16 != 0;
    match libc::WSTOPSIG(status) {
        signal if is_event || signal == libc::SIGTRAP | 0x80 => 0,
        signal => signal,
    }
}

fn request(what: libc::c_uint, thread: pid_t, data: usize) -> io::Result<()> {
    // SAFETY: these requests take numbers, no pointers.
    let status = unsafe { libc::ptrace(what, thread, null_mut::<c_void>(), data as *mut c_void) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
