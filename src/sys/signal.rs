//! `sigaction(2)`, and the handler that notes signals and wakes loops.
//!
//! Some facts that shape this file:
//!
//! - **A handler may run at any time, on any thread, between any two instructions** of the code
//!   below. So it takes no lock and frees nothing. It uses atomics, `write(2)`, `sigaction(2)` and
//!   `raise(3)`, which POSIX allows in handlers (`signal-safety(7)`), and it restores `errno`.
//! - **A number that is sent through a pipe can be lost**, as the pipe may be full. So each loop
//!   has a set of pending signals, and the handler only notifies the loop's wake fd. Signals of one
//!   kind that come before the loop looks are one; none is lost.
//! - **A forked child has the handler, the memory and the descriptors of its parent.** In a child
//!   the handler must not notify the parent's loop, so each slot has the number of its process.
//!
//! **What the handler reads.** [`Slot`]s, each for one loop at a time. A slot is never freed: a
//! loop that closes leaves it to the next one, so there are as many as loops that have listened at
//! the same time. Each has a descriptor of its own, a duplicate of the wake fd of its loop, which
//! is never closed either: `dup3(2)` replaces the open file behind the number in one step. So a
//! handler that is delayed, even until its loop has gone, writes to the eventfd of the old loop,
//! where it does nothing, or to that of the next loop of the slot, where it ends a sleep early.
//!
//! ```text
//!         attach                  listen                    the handler
//!  free ───────────▶ attached ───────────────▶ listening ────────────────▶ pending
//!    ▲                  │  ▲                     │  ▲                         │
//!    └────── drop ──────┘  └────── unlisten ─────┘  └────── take_pending ─────┘
//! ```
//!
//! **No signal is lost between two dispositions.** `listen` marks the slot before it installs the
//! handler. `unlisten` restores the disposition before it clears the mark, and clears the mark
//! before it takes the pending bit. The handler sets the pending bit, then looks at the mark again.
//! All of these are `SeqCst`, so either `unlisten` sees the bit, or the handler sees the cleared
//! mark and raises the signal again, for the disposition that was restored. A handler that finds no
//! mark at all has begun before the disposition was restored, and does so too: once for each
//! restoration. Else a handler of other code that calls this one would receive it without end.
#![allow(unsafe_code)] // sigaction(2), raise(3), kill(2), write(2), the list of the handler

use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::eventfd::EventFd;
use super::fork::Process;

/// The greatest number of a signal on Linux. A set of signals is a `u64`.
pub(crate) const NUMBER_MAX: i32 = 64;

pub(crate) use libc::{
    SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};

/// Signals whose disposition cannot be changed.
pub(crate) const UNCATCHABLE: &[i32] = &[libc::SIGKILL, libc::SIGSTOP];

/// Signals that report a fault of the running instruction. It is repeated when a handler returns.
pub(crate) const FAULTS: &[i32] =
    &[libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];

/// The names of signals, in texts for people.
pub(crate) const NAMES: &[(i32, &str)] = &[
    (SIGHUP, "SIGHUP"),
    (SIGINT, "SIGINT"),
    (SIGQUIT, "SIGQUIT"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGTRAP, "SIGTRAP"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGKILL, "SIGKILL"),
    (SIGUSR1, "SIGUSR1"),
    (libc::SIGSEGV, "SIGSEGV"),
    (SIGUSR2, "SIGUSR2"),
    (SIGPIPE, "SIGPIPE"),
    (SIGALRM, "SIGALRM"),
    (SIGTERM, "SIGTERM"),
    (SIGCHLD, "SIGCHLD"),
    (libc::SIGSTOP, "SIGSTOP"),
    (SIGWINCH, "SIGWINCH"),
    (libc::SIGSYS, "SIGSYS"),
];

/// The place of one loop among those that the handler notifies.
struct Slot {
    /// A duplicate of the wake fd of the loop. The number is never closed.
    fd: RawFd,
    /// The process of the loop, or 0 if the slot is free.
    process: AtomicU64,
    /// The signals that the loop listens for.
    listening: AtomicU64,
    /// Those of them after which another one ends the process if the loop has not looked.
    hard: AtomicU64,
    /// The signals that have come since the loop looked.
    pending: AtomicU64,
    next: Option<&'static Slot>,
}

/// The first slot. The list only grows.
static FIRST: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());

/// The process that the handlers belong to.
static OWNER: AtomicU64 = AtomicU64::new(0);

/// The signals whose dispositions were restored, without those that were raised again since then
/// because the handler had begun before.
static RESTORED: AtomicU64 = AtomicU64::new(0);

static REGISTRY: Mutex<Registry> = Mutex::new(Registry::new());

/// The loops that listen for each signal, and the dispositions of before. Never locked by the
/// handler.
struct Registry {
    process: u64,
    /// The number of loops that listen, by signal.
    counts: [u32; NUMBER_MAX as usize + 1],
    /// The former dispositions, by signal.
    saved: [Option<libc::sigaction>; NUMBER_MAX as usize + 1],
}

impl Registry {
    const fn new() -> Registry {
        let places = NUMBER_MAX as usize + 1;
        assert!(places == 65);
        Registry { process: 0, counts: [0; 65], saved: [None; 65] }
    }

    /// Takes the lock. In a forked child, which has no loop that listens, the first call restores
    /// the dispositions that its parent saved.
    fn lock() -> MutexGuard<'static, Registry> {
        // A poisoned registry is consistent: nothing that can panic runs under the lock.
        let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        let process = Process::current().number();
        if registry.process != process {
            registry.process = process;
            registry.counts = [0; 65];
            (1..=NUMBER_MAX).for_each(|number| registry.restore(number));
            OWNER.store(process, Ordering::SeqCst);
        }
        registry
    }

    /// Installs the handler, unless it is installed.
    fn install(&mut self, number: i32) -> io::Result<()> {
        let former = disposition(number)?;
        if is_ours(&former) {
            return Ok(()); // other code has restored it
        }
        // SAFETY: an all-zero `sigaction` is valid: no flags, an empty mask.
        let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
        ours.sa_sigaction = handler_address();
        ours.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        // SAFETY: `ours` is a valid disposition, and its handler lives as long as the program and
        // does only what a handler may do (see `note_signal`).
        check(unsafe { libc::sigaction(number, &ours, ptr::null_mut()) })?;
        self.saved[number as usize] = Some(former);
        Ok(())
    }

    /// Restores the former disposition, unless other code has installed its own meanwhile.
    fn restore(&mut self, number: i32) {
        let Some(saved) = self.saved[number as usize].take() else { return };
        if disposition(number).is_ok_and(|current| is_ours(&current)) {
            // SAFETY: `saved` is the disposition that `sigaction` returned for this signal.
            let _ = unsafe { libc::sigaction(number, &saved, ptr::null_mut()) };
            RESTORED.fetch_or(bit(number), Ordering::SeqCst);
        } else {
            RESTORED.fetch_and(!bit(number), Ordering::SeqCst); // that code may call the handler
        }
    }
}

/// A loop's place among those that the handler notifies. Dropping it leaves the place to others.
pub(crate) struct Attachment {
    slot: &'static Slot,
}

impl Attachment {
    /// Makes the handler notify this wake fd, for signals that are listened for.
    pub(crate) fn new(wake_fd: &EventFd) -> io::Result<Attachment> {
        let registry = Registry::lock();
        let is_free = |slot: &&Slot| slot.process.load(Ordering::SeqCst) != registry.process;
        let slot = match slots().find(is_free) {
            Some(slot) => {
                wake_fd.replace(slot.fd)?;
                slot
            }
            None => push_slot(wake_fd.duplicate()?),
        };
        slot.listening.store(0, Ordering::SeqCst);
        slot.hard.store(0, Ordering::SeqCst);
        slot.pending.store(0, Ordering::SeqCst);
        slot.process.store(registry.process, Ordering::SeqCst);
        Ok(Attachment { slot })
    }

    /// Begins to listen for a signal, which this loop does not do yet.
    pub(crate) fn listen(&self, number: i32) -> io::Result<()> {
        let mut registry = Registry::lock();
        self.slot.listening.fetch_or(bit(number), Ordering::SeqCst);
        if registry.counts[number as usize] == 0
            && let Err(error) = registry.install(number)
        {
            self.slot.listening.fetch_and(!bit(number), Ordering::SeqCst);
            return Err(error);
        }
        registry.counts[number as usize] += 1;
        Ok(())
    }

    /// Ends listening for a signal. The last loop restores the former disposition.
    ///
    /// Returns whether the signal is pending, and must be sent again to be handled at all.
    pub(crate) fn unlisten(&self, number: i32) -> bool {
        let mut registry = Registry::lock();
        let count = &mut registry.counts[number as usize];
        *count = count.checked_sub(1).expect("this loop listens");
        let is_last = *count == 0;
        if is_last {
            registry.restore(number);
        }
        self.slot.hard.fetch_and(!bit(number), Ordering::SeqCst);
        self.slot.listening.fetch_and(!bit(number), Ordering::SeqCst);
        let pending = self.slot.pending.fetch_and(!bit(number), Ordering::SeqCst);
        is_last && pending & bit(number) != 0
    }

    /// Sets whether a signal ends the process if another such signal is still pending.
    pub(crate) fn set_hard(&self, number: i32, is_hard: bool) {
        match is_hard {
            true => self.slot.hard.fetch_or(bit(number), Ordering::SeqCst),
            false => self.slot.hard.fetch_and(!bit(number), Ordering::SeqCst),
        };
    }

    /// Whether signals have come that were not taken.
    pub(crate) fn has_pending(&self) -> bool {
        self.slot.pending.load(Ordering::SeqCst) != 0
    }

    /// Takes the set of signals that have come. Signal `n` is bit `n - 1`.
    pub(crate) fn take_pending(&self) -> u64 {
        // Relaxed: the wake fd orders nothing either, and a bit that is missed here is found in the
        // turn that the notification of the handler causes.
        if self.slot.pending.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.slot.pending.swap(0, Ordering::SeqCst)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let registry = Registry::lock();
        // In a forked child the slot may have a loop of the child's own.
        if self.slot.process.load(Ordering::SeqCst) == registry.process {
            assert_eq!(self.slot.listening.load(Ordering::SeqCst), 0, "a loop that still listens");
            self.slot.process.store(0, Ordering::SeqCst);
        }
    }
}

/// Sends a signal to this process, if no loop of it listens for the signal.
pub(crate) fn redeliver(number: i32) {
    let is_listened_for = Registry::lock().counts[number as usize] > 0;
    if !is_listened_for {
        // SAFETY: no pointers.
        let _ = unsafe { libc::kill(libc::getpid(), number) };
    }
}

/// The set that contains one signal.
pub(crate) fn bit(number: i32) -> u64 {
    1 << (number - 1)
}

fn slots() -> impl Iterator<Item = &'static Slot> {
    // SAFETY: null, or a slot that was leaked when it was made. Acquire: pairs with the release of
    // `push_slot`, so its fields are visible.
    let first = unsafe { FIRST.load(Ordering::Acquire).as_ref() };
    std::iter::successors(first, |slot| slot.next)
}

/// Adds a free slot to the list. The caller holds the lock of the registry.
fn push_slot(fd: RawFd) -> &'static Slot {
    let slot = Box::leak(Box::new(Slot {
        fd,
        process: AtomicU64::new(0),
        listening: AtomicU64::new(0),
        hard: AtomicU64::new(0),
        pending: AtomicU64::new(0),
        next: slots().next(),
    }));
    FIRST.store(slot, Ordering::Release);
    slot
}

fn handler_address() -> libc::sighandler_t {
    let handler: extern "C" fn(libc::c_int) = note_signal;
    handler as libc::sighandler_t
}

fn is_ours(disposition: &libc::sigaction) -> bool {
    disposition.sa_sigaction == handler_address()
}

fn disposition(number: i32) -> io::Result<libc::sigaction> {
    // SAFETY: an all-zero `sigaction` is valid, and the call overwrites it.
    let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: no new disposition, and a valid place for the current one.
    check(unsafe { libc::sigaction(number, ptr::null(), &mut current) })?;
    Ok(current)
}

/// The handler: notes the signal for each loop that listens for it, and notifies its wake fd.
///
/// It may interrupt any instruction of any thread, so it does only what `signal-safety(7)` allows.
/// It cannot panic: there is no indexing and no arithmetic that can overflow, as the kernel passes
/// a number from 1 to 64.
extern "C" fn note_signal(number: libc::c_int) {
    // SAFETY: the address of this thread's `errno`, which the calls below may change.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved_errno = unsafe { *errno };
    if Process::from_number(OWNER.load(Ordering::SeqCst)).is_current() {
        let mut is_noted = false;
        for slot in slots() {
            is_noted |= note_in(slot, number);
        }
        if !is_noted && RESTORED.fetch_and(!bit(number), Ordering::SeqCst) & bit(number) != 0 {
            // No loop listens any more, since after this handler began.
            // SAFETY: no pointers.
            let _ = unsafe { libc::raise(number) };
        }
    } else {
        end_by_default(number); // a forked child, in which no loop listens
    }
    // SAFETY: as above.
    unsafe { *errno = saved_errno };
}

/// Notes the signal in one slot, if its loop listens. Returns whether it does. Part of the handler.
fn note_in(slot: &Slot, number: i32) -> bool {
    let bit = bit(number);
    let process = Process::from_number(slot.process.load(Ordering::SeqCst));
    if !process.is_current() || slot.listening.load(Ordering::SeqCst) & bit == 0 {
        return false;
    }
    let former = slot.pending.fetch_or(bit, Ordering::SeqCst);
    let hard = slot.hard.load(Ordering::SeqCst);
    if hard & bit != 0 && former & hard != 0 {
        end_by_default(number); // the loop has not looked since the first one
    } else if slot.listening.load(Ordering::SeqCst) & bit != 0 {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight readable bytes, and a descriptor that is never closed. The write does not
        // block: the count of an eventfd would have to be at its maximum of 2⁶⁴ − 2.
        let _ = unsafe { libc::write(slot.fd, one.as_ptr().cast(), one.len()) };
    } else if slot.pending.fetch_and(!bit, Ordering::SeqCst) & bit != 0 {
        // `unlisten` has restored the disposition, and has not taken the bit.
        // SAFETY: no pointers.
        let _ = unsafe { libc::raise(number) };
    }
    true
}

/// Handles the signal as if no handler had been installed. Part of the handler: the signal that is
/// raised is blocked until the handler returns.
fn end_by_default(number: i32) {
    // SAFETY: an all-zero `sigaction` is valid: `SIG_DFL` is 0.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a valid disposition; no pointers in the second call.
    unsafe {
        libc::sigaction(number, &default, ptr::null_mut());
        libc::raise(number);
    }
}

fn check(status: i32) -> io::Result<()> {
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    /// A real-time signal, which nothing else here uses.
    const NUMBER: i32 = 40;

    static CALLS: AtomicU32 = AtomicU32::new(0);

    /// A handler of other code, from before.
    extern "C" fn count(_number: libc::c_int) {
        CALLS.fetch_add(1, Ordering::SeqCst);
    }

    /// A handler of other code that calls the former one.
    extern "C" fn count_and_pass_on(number: libc::c_int) {
        count(number);
        note_signal(number);
    }

    fn handle_by(handler: extern "C" fn(libc::c_int)) {
        // SAFETY: an all-zero `sigaction` is valid.
        let mut disposition: libc::sigaction = unsafe { std::mem::zeroed() };
        disposition.sa_sigaction = handler as libc::sighandler_t;
        // SAFETY: a valid disposition, whose handlers above do only what a handler may do.
        check(unsafe { libc::sigaction(NUMBER, &disposition, ptr::null_mut()) }).unwrap();
    }

    /// Goal: a signal whose handler begins before the disposition is restored, and looks at the
    /// slots after it, reaches the restored disposition. It never goes round in circles.
    ///
    /// Method: the handler is called when no loop listens, as a thread does that was delayed at its
    /// first instruction: after a restoration, and from a handler that was installed meanwhile.
    ///
    /// Kills: a handler that returns when it finds no mark; one that raises the signal each time.
    #[test]
    fn a_delayed_handler_finds_the_restored_disposition() {
        let wake_fd = EventFd::new().unwrap();
        let attachment = Attachment::new(&wake_fd).unwrap();
        handle_by(count);
        attachment.listen(NUMBER).unwrap();
        assert!(!attachment.unlisten(NUMBER));
        note_signal(NUMBER);
        assert_eq!(CALLS.swap(0, Ordering::SeqCst), 1);
        note_signal(NUMBER);
        assert_eq!(CALLS.load(Ordering::SeqCst), 0, "once for each restoration");

        attachment.listen(NUMBER).unwrap();
        assert!(!attachment.unlisten(NUMBER));
        attachment.listen(NUMBER).unwrap();
        handle_by(count_and_pass_on);
        assert!(!attachment.unlisten(NUMBER));
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::raise(NUMBER) }, 0);
        assert_eq!(CALLS.load(Ordering::SeqCst), 1);
    }
}
