//! A ring whose kernel is a script.
//!
//! A test holds the [`Script`], the driver holds the [`ScriptedRing`](ring::ScriptedRing), and
//! between them is a small world: what was submitted, which completions are to come, which buffers
//! were provided, and the time. The test decides which completions arrive, in which order, with
//! which result and flags. Everything above the seam runs for real.
//!
//! The world behaves like `DEFER_TASKRUN`: a completion is hidden, and the `TASKRUN` flag is set,
//! until an enter with `GETEVENTS` runs it (H08). The [`Profile`] decides how many one enter runs,
//! by the source of the kernel and by measurement (H09, H81). Those that find the queue full wait
//! in an overflow list (H01). A completion that the kernel loses is counted at once and reported as
//! `EBADR` late ([`Script::drop_completion`], H02). Time stands still until the loop sleeps; then
//! it jumps to the armed timeout. **A sleep that nothing can end is a panic**: so lost completions,
//! cancels and wake-ups fail every test that uses this ring.
//!
//! Divergences from Linux:
//!
//! - A request completes only when the test decides so (cancels are obeyed at once unless
//!   [`CancelPolicy::Ignore`] is set), never inside the enter that submits it.
//! - Descriptors are not looked at.
//! - Each completion is one item of task work. The kernel's item may post several, such as the
//!   first bytes of a multishot receive and its end.
//! - A completion is lost when the test asks for it. The kernel loses one only while the queue is
//!   full and it has no memory for the overflow list.
//! - Failures set by [`Script::fail_enter`] are returned also after a submission. The kernel
//!   returns the count then.
#![allow(unsafe_code)] // filling lent memory, as the kernel would

mod in_flight;
pub(crate) mod ring;
#[cfg(test)]
mod tests;
mod world;

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;

use super::entry::{Cqe, Entry};
use crate::driver::request::{Flags, OpKind, Request};
use crate::sys::errno;
pub(crate) use in_flight::Submitted;
use world::World;
pub(crate) use world::{CancelPolicy, FailAt, Profile, Seen};

/// The test's handle to the world.
#[derive(Clone, Default)]
pub(crate) struct Script {
    world: Rc<RefCell<World>>,
    now_ns: Rc<Cell<u64>>,
    director: Rc<RefCell<Option<Director>>>,
}

/// A callback for when the loop is about to sleep and nothing is to come.
type Director = Box<dyn FnMut(&Script)>;

impl Script {
    pub(crate) fn new() -> Script {
        let script = Script::default();
        script.now_ns.set(1_000_000_000); // not zero: zero is easily mistaken for "unset"
        script
    }

    // ---- what the test reads ---------------------------------------------------------------

    /// Operations that were submitted and have not had their final completion.
    pub(crate) fn in_flight(&self) -> Vec<Submitted> {
        self.world.borrow().in_flight.iter().copied().collect()
    }

    /// The one operation of this kind that is in flight.
    #[track_caller]
    pub(crate) fn the(&self, op_kind: OpKind) -> Submitted {
        let all = self.all(op_kind);
        assert_eq!(all.len(), 1, "{op_kind:?} in flight: {all:?}");
        all[0]
    }

    pub(crate) fn all(&self, op_kind: OpKind) -> Vec<Submitted> {
        let world = self.world.borrow();
        world.in_flight.iter().filter(|op| op.request.op_kind() == op_kind).copied().collect()
    }

    /// The operation in flight that was submitted last.
    pub(crate) fn newest(&self) -> Option<Submitted> {
        self.world.borrow().in_flight.iter().next_back().copied()
    }

    /// Every entry that has been submitted so far.
    pub(crate) fn log(&self) -> Vec<(u64, Entry)> {
        self.world.borrow().log.clone()
    }

    /// How many entries have been submitted so far.
    pub(crate) fn log_len(&self) -> u64 {
        self.world.borrow().log.len() as u64
    }

    /// The targets of all cancels so far.
    pub(crate) fn cancels(&self) -> Vec<u64> {
        self.world.borrow().cancels.clone()
    }

    /// The sockets whose receiving side has been shut down so far.
    pub(crate) fn shutdowns(&self) -> Vec<RawFd> {
        self.world.borrow().shutdowns.clone()
    }

    pub(crate) fn enter_calls(&self) -> u64 {
        self.world.borrow().enter_calls
    }

    /// Calls `observer` with what reaches the kernel. The script is borrowed meanwhile.
    pub(crate) fn observe(&self, observer: impl FnMut(Seen) + 'static) {
        self.world.borrow_mut().observer = Some(Box::new(observer));
    }

    /// The buffers that the kernel has, next one first.
    pub(crate) fn provided_ids(&self) -> Vec<u16> {
        self.world.borrow().provided.iter().map(|loan| loan.id).collect()
    }

    /// The length of the buffer that the next receive is given, or 0.
    pub(crate) fn provided_len(&self) -> usize {
        self.world.borrow().provided.front().map_or(0, |loan| loan.target_len as usize)
    }

    /// Completions that the driver has not reaped.
    pub(crate) fn pending_count(&self) -> usize {
        let world = self.world.borrow();
        world.hidden.len() + world.overflow.len() + world.queue.len()
    }

    /// Buffers that the kernel could fill now.
    pub(crate) fn provided_count(&self) -> usize {
        self.world.borrow().provided.len()
    }

    pub(crate) fn is_leaked(&self) -> bool {
        self.world.borrow().is_leaked
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    /// How often entries of this kind have been submitted.
    pub(crate) fn count(&self, is_meant: impl Fn(&Entry) -> bool) -> usize {
        let world = self.world.borrow();
        let entries = world.log.iter().map(|(_, entry)| entry);
        entries.filter(|entry| is_meant(entry)).count()
    }

    /// How often operations of this kind have been submitted.
    pub(crate) fn count_ops(&self, op_kind: OpKind) -> usize {
        self.count(|entry| matches!(entry, Entry::Op(request) if request.op_kind() == op_kind))
    }

    /// The bytes that a `Send` in flight would send.
    pub(crate) fn bytes_of(&self, send: Submitted) -> Vec<u8> {
        let Request::Send { source, source_len, .. } = send.request else {
            panic!("{send:?} is no send");
        };
        // SAFETY: the request is in flight, so its owner keeps the source valid and unchanged.
        unsafe { std::slice::from_raw_parts(source, source_len as usize) }.to_vec()
    }

    /// The port that a `Connect` in flight names.
    pub(crate) fn port_of(&self, connect: Submitted) -> u16 {
        let Request::Connect { addr, .. } = connect.request else {
            panic!("{connect:?} is no connect");
        };
        // SAFETY: the request is in flight, so its owner keeps the address valid and unchanged; the
        // tests connect to IPv4 addresses.
        let addr = unsafe { addr.cast::<libc::sockaddr_in>().read_unaligned() };
        u16::from_be(addr.sin_port)
    }

    // ---- what the test decides -------------------------------------------------------------

    /// Completes an operation. It ends unless `flags` have MORE.
    #[track_caller]
    pub(crate) fn complete(&self, op: Submitted, result: i32, flags: Flags) {
        if !flags.more() {
            self.remove_op(op);
        }
        self.post(Cqe { user_data: op.user_data, result, flags: flags.raw() });
    }

    /// Posts a completion with any `user_data`, known or not.
    pub(crate) fn post(&self, cqe: Cqe) {
        self.world.borrow_mut().hidden.push_back(cqe);
    }

    /// Posts a final completion without flags.
    pub(crate) fn post_result(&self, user_data: u64, result: i32) {
        self.world.borrow_mut().post(user_data, result);
    }

    /// Delivers bytes to a receive, into the next provided buffer or into its own, and ends it
    /// unless `more`. Without a buffer it ends with `ENOBUFS` (H47); returns whether it had one.
    #[track_caller]
    pub(crate) fn deliver(&self, op: Submitted, bytes: &[u8], more: bool) -> bool {
        let flags = if more { Flags::NONE.with_more() } else { Flags::NONE };
        match op.request {
            Request::Recv { .. } => {
                let Some(loan) = self.world.borrow_mut().provided.pop_front() else {
                    self.complete(op, -errno::ENOBUFS, Flags::NONE);
                    return false;
                };
                fill(loan.target, loan.target_len, bytes);
                self.complete(op, bytes.len() as i32, flags.with_buffer(loan.id));
            }
            Request::RecvInto { target, target_len, .. } => {
                fill(target, target_len, bytes);
                self.complete(op, bytes.len() as i32, Flags::NONE);
            }
            _ => panic!("{op:?} receives nothing"),
        }
        true
    }

    /// Delivers bytes to a multishot receive if there is a buffer for them, and goes on.
    pub(crate) fn deliver_if_lent(&self, op: Submitted, bytes: &[u8]) -> bool {
        self.provided_count() > 0 && self.deliver(op, bytes, true)
    }

    /// Picks a provided buffer and names it in a completion with this result (H58).
    pub(crate) fn complete_with_buffer(&self, op: Submitted, result: i32) {
        let loan = self.world.borrow_mut().provided.pop_front().expect("a provided buffer");
        self.complete(op, result, Flags::NONE.with_buffer(loan.id));
    }

    /// Ends an operation without a completion, as a kernel does that has neither room in the queue
    /// nor memory for its overflow list. The ring's count rises at once. `EBADR` comes from the
    /// first enter that submits nothing, is to sleep and finds the queue empty, and once (H02).
    #[track_caller]
    pub(crate) fn drop_completion(&self, op: Submitted) {
        self.remove_op(op);
        self.world.borrow_mut().lose_one();
    }

    /// Makes the completions that are to come visible now, as a kernel does without DEFER_TASKRUN.
    pub(crate) fn show(&self) {
        self.world.borrow_mut().run_all();
    }

    pub(crate) fn set_cancel_policy(&self, policy: CancelPolicy) {
        self.world.borrow_mut().cancel_policy = policy;
    }

    /// Carries out a cancel that [`CancelPolicy::Ignore`] has left to the test.
    pub(crate) fn obey_cancel(&self, user_data: u64, target: u64) {
        self.world.borrow_mut().obey_cancel(user_data, target);
    }

    pub(crate) fn set_profile(&self, profile: Profile) {
        self.world.borrow_mut().profile = profile;
    }

    /// The wake fd is written to and the poll of it does not complete, until the test allows it
    /// (H55).
    pub(crate) fn lose_wake_ups(&self) {
        self.world.borrow_mut().loses_wake_ups = true;
    }

    /// At most this many entries consumed per enter; `None` for no limit (H04).
    pub(crate) fn set_consume_max(&self, count: Option<usize>) {
        self.world.borrow_mut().consume_max = count;
    }

    /// The next enter fails.
    pub(crate) fn fail_enter(&self, at: FailAt, errno: i32) {
        self.world.borrow_mut().enter_failures.push_back((at, errno));
    }

    /// Removes the failures that no enter has returned.
    pub(crate) fn clear_enter_failures(&self) {
        self.world.borrow_mut().enter_failures.clear();
    }

    /// Every enter fails from now on, before it submits, as in a sandbox.
    pub(crate) fn forbid_enter(&self, errno: i32) {
        self.world.borrow_mut().forbidden = Some(errno);
    }

    /// The next update of a timeout fails and moves nothing.
    pub(crate) fn fail_timeout_update(&self, errno: i32) {
        self.world.borrow_mut().update_failure = Some(errno);
    }

    /// Absolute timeouts fire this much later than meant, as in a time namespace (H83).
    pub(crate) fn shift_timeouts_ns(&self, shift_ns: i64) {
        self.world.borrow_mut().timeout_shift_ns = shift_ns;
    }

    /// Timeouts of both forms never fire.
    pub(crate) fn lose_timeouts(&self) {
        self.world.borrow_mut().loses_timeouts = true;
    }

    /// Ends the loop's sleep with nothing to do, as a wake does that came too late.
    pub(crate) fn notify(&self) {
        let mut world = self.world.borrow_mut();
        world.answer_wake_poll();
    }

    /// Ends the poll of the wake fd, as the kernel does when the completion queue overflows.
    pub(crate) fn end_wake_poll(&self) {
        self.world.borrow_mut().end_wake_poll();
    }

    /// Lets time pass without a sleep, as computing does.
    pub(crate) fn advance_ns(&self, duration_ns: u64) {
        self.now_ns.set(self.now_ns.get() + duration_ns);
    }

    /// Lets time pass while the thread is not running: what is due fires meanwhile.
    pub(crate) fn stall_ns(&self, duration_ns: u64) {
        self.advance_ns(duration_ns);
        self.world.borrow_mut().expire(self.now_ns());
    }

    /// Sets the callback for when the loop would sleep with nothing to come.
    pub(crate) fn direct(&self, director: impl FnMut(&Script) + 'static) {
        *self.director.borrow_mut() = Some(Box::new(director));
    }

    #[track_caller]
    fn remove_op(&self, op: Submitted) {
        let mut world = self.world.borrow_mut();
        let ended = world.in_flight.remove(op.user_data);
        assert!(ended.is_some(), "{op:?} is not in flight");
    }

    /// Posts what can end a sleep: what the director decides, a notified wake fd, a timeout that is
    /// due.
    fn end_sleep(&self) {
        let director = self.director.take();
        if let Some(mut director) = director {
            director(self);
            self.director.borrow_mut().get_or_insert(director);
        }
        let mut world = self.world.borrow_mut();
        if world.can_wake() || world.complete_wake_poll() {
            return;
        }
        let Some(at_ns) = world.next_timeout_ns() else {
            panic!("the loop sleeps without a deadline; in flight: {:?}", world.in_flight);
        };
        self.now_ns.set(self.now_ns.get().max(at_ns));
        world.expire(at_ns);
    }
}

fn fill(target: *mut u8, target_len: u32, bytes: &[u8]) {
    assert!(bytes.len() <= target_len as usize, "{} bytes into {target_len}", bytes.len());
    // SAFETY: the memory was lent for a receive that is in flight, or as a provided buffer that
    // was taken from the list just now, so this side alone may write to it; the length was checked.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
}
