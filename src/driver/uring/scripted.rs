//! A ring whose kernel is a script.
//!
//! A test holds the [`Script`], the driver holds the [`ScriptedRing`], and between them is a small
//! world: what was submitted, which completions are to come, which buffers were provided, what time
//! it is. The test decides which completions arrive, in which order, with which result and flags.
//! Everything above the seam runs for real.
//!
//! The world behaves like `DEFER_TASKRUN`: a completion is hidden until an enter collects it, at
//! most [`Script::set_batch_max`] per enter (H08, H09), and those that find the queue full wait in
//! an overflow list (H01). Time stands still until the loop sleeps; then it jumps to the armed
//! timeout. **A sleep that nothing can ever end is a panic**: that is how lost completions, lost
//! cancels and lost wake-ups show themselves in every test that uses this ring.
//!
//! Divergences from Linux: a request completes only when the test says so (cancels are obeyed at
//! once unless [`CancelPolicy::Ignore`] is set); descriptors are not looked at.
#![allow(unsafe_code)] // filling lent memory, as the kernel would

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use super::entry::{Cqe, Enter, Entry, Full, Ring, Signs};
use crate::buf::Loan;
use crate::driver::request::{Flags, Request, Verb};
use crate::driver::{Clock, RingSizes};
use crate::sys::{errno, eventfd};

/// The test's side.
#[derive(Clone, Default)]
pub(crate) struct Script {
    world: Rc<RefCell<World>>,
    now_ns: Rc<Cell<u64>>,
}

/// The driver's side.
pub(crate) struct ScriptedRing {
    script: Script,
    sizes: RingSizes,
}

/// Called when the loop is about to sleep and nothing is to come.
type Director = Box<dyn FnMut(&Script)>;

/// What cancels do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum CancelPolicy {
    /// The target ends with `ECANCELED`; a missing target answers the cancel with `ENOENT`.
    #[default]
    Obey,
    /// Cancels are noted and nothing happens: the test completes the target as it likes.
    Ignore,
}

/// When a scripted enter fails: the difference that H05 is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FailAt {
    BeforeSubmission,
    AfterSubmission,
}

/// One operation that the world knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Submitted {
    pub(crate) user_data: u64,
    pub(crate) request: Request,
}

#[derive(Default)]
struct World {
    pushed: VecDeque<(u64, Entry)>,
    in_flight: Vec<Submitted>,
    /// Every entry in the order in which it was consumed.
    log: Vec<(u64, Entry)>,
    hidden: VecDeque<Cqe>,
    queue: VecDeque<Cqe>,
    overflow: VecDeque<Cqe>,
    timeouts: Vec<(u64, u64)>,
    wake_read: Option<(u64, RawFd)>,
    provided: VecDeque<Loan>,
    unpublished: Vec<Loan>,
    enter_failures: VecDeque<(FailAt, i32)>,
    cancels: Vec<u64>,
    cancel_policy: CancelPolicy,
    batch_max: Option<usize>,
    consume_max: Option<usize>,
    director: Option<Director>,
    enters: u64,
    is_leaked: bool,
}

impl Script {
    pub(crate) fn new() -> Script {
        let script = Script::default();
        script.now_ns.set(1_000_000_000); // not zero: zero is easily mistaken for "unset"
        script
    }

    pub(crate) fn ring(&self, sizes: RingSizes) -> ScriptedRing {
        ScriptedRing {
            script: self.clone(),
            sizes,
        }
    }

    // ---- what the test sees ----------------------------------------------------------------

    /// Operations that were submitted and have not had their final completion.
    pub(crate) fn in_flight(&self) -> Vec<Submitted> {
        self.world.borrow().in_flight.clone()
    }

    /// The one operation of this kind that is in flight.
    #[track_caller]
    pub(crate) fn the(&self, verb: Verb) -> Submitted {
        let all = self.all(verb);
        assert_eq!(all.len(), 1, "{verb:?} in flight: {all:?}");
        all[0]
    }

    pub(crate) fn all(&self, verb: Verb) -> Vec<Submitted> {
        let world = self.world.borrow();
        world
            .in_flight
            .iter()
            .filter(|op| op.request.verb() == verb)
            .copied()
            .collect()
    }

    /// Every entry that has been submitted so far.
    pub(crate) fn log(&self) -> Vec<(u64, Entry)> {
        self.world.borrow().log.clone()
    }

    /// The targets of all cancels so far.
    pub(crate) fn cancels(&self) -> Vec<u64> {
        self.world.borrow().cancels.clone()
    }

    pub(crate) fn enters(&self) -> u64 {
        self.world.borrow().enters
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

    /// What a `Send` in flight would send.
    pub(crate) fn bytes_of(&self, send: Submitted) -> Vec<u8> {
        let Request::Send {
            source, source_len, ..
        } = send.request
        else {
            panic!("{send:?} is no send");
        };
        // SAFETY: the request is in flight, so its owner keeps the source valid and unchanged.
        unsafe { std::slice::from_raw_parts(source, source_len as usize) }.to_vec()
    }

    // ---- what the test decides -------------------------------------------------------------

    /// Completes an operation, once or for good, as `flags` say.
    #[track_caller]
    pub(crate) fn complete(&self, op: Submitted, result: i32, flags: Flags) {
        if !flags.more() {
            self.forget(op);
        }
        self.post(Cqe {
            user_data: op.user_data,
            result,
            flags: flags.raw(),
        });
    }

    /// Posts a completion for whatever `user_data` says, known or not.
    pub(crate) fn post(&self, cqe: Cqe) {
        self.world.borrow_mut().hidden.push_back(cqe);
    }

    /// Delivers bytes to a receive, into the next provided buffer or into its own, and ends it
    /// unless `more`. Without a buffer it ends with `ENOBUFS` (H47); returns whether it had one.
    #[track_caller]
    pub(crate) fn deliver(&self, op: Submitted, bytes: &[u8], more: bool) -> bool {
        let flags = if more {
            Flags::NONE.with_more()
        } else {
            Flags::NONE
        };
        match op.request {
            Request::Recv { .. } => {
                let Some(loan) = self.world.borrow_mut().provided.pop_front() else {
                    self.complete(op, -errno::ENOBUFS, Flags::NONE);
                    return false;
                };
                fill(loan.target, loan.target_len, bytes);
                self.complete(op, bytes.len() as i32, flags.with_buffer(loan.id));
            }
            Request::RecvInto {
                target, target_len, ..
            } => {
                fill(target, target_len, bytes);
                self.complete(op, bytes.len() as i32, Flags::NONE);
            }
            _ => panic!("{op:?} receives nothing"),
        }
        true
    }

    /// Picks a provided buffer and names it in a completion with this result (H58).
    pub(crate) fn complete_with_buffer(&self, op: Submitted, result: i32) {
        let loan = self
            .world
            .borrow_mut()
            .provided
            .pop_front()
            .expect("a provided buffer");
        self.complete(op, result, Flags::NONE.with_buffer(loan.id));
    }

    pub(crate) fn set_cancel_policy(&self, policy: CancelPolicy) {
        self.world.borrow_mut().cancel_policy = policy;
    }

    /// At most this many completions per enter.
    pub(crate) fn set_batch_max(&self, count: usize) {
        self.world.borrow_mut().batch_max = Some(count);
    }

    /// At most this many entries consumed per enter; `None` for no limit (H04).
    pub(crate) fn set_consume_max(&self, count: Option<usize>) {
        self.world.borrow_mut().consume_max = count;
    }

    /// The next enter fails.
    pub(crate) fn fail_enter(&self, at: FailAt, errno: i32) {
        self.world
            .borrow_mut()
            .enter_failures
            .push_back((at, errno));
    }

    /// Is called whenever the loop would sleep with nothing to come.
    pub(crate) fn direct(&self, director: impl FnMut(&Script) + 'static) {
        self.world.borrow_mut().director = Some(Box::new(director));
    }

    #[track_caller]
    fn forget(&self, op: Submitted) {
        let mut world = self.world.borrow_mut();
        let place = world
            .in_flight
            .iter()
            .position(|known| known.user_data == op.user_data);
        let place = place.unwrap_or_else(|| panic!("{op:?} is not in flight"));
        world.in_flight.remove(place);
    }

    /// Posts what can end a sleep: a timeout that is due, or a rung bell.
    fn end_sleep(&self) {
        if self.collectable() {
            return;
        }
        let director = self.world.borrow_mut().director.take();
        if let Some(mut director) = director {
            director(self);
            self.world.borrow_mut().director.get_or_insert(director);
        }
        if self.collectable() || self.answer_bell() {
            return;
        }
        let earliest_ns = self
            .world
            .borrow()
            .timeouts
            .iter()
            .map(|&(_, at_ns)| at_ns)
            .min();
        match earliest_ns {
            Some(at_ns) => self.now_ns.set(self.now_ns.get().max(at_ns)),
            None => panic!(
                "the loop sleeps for ever; in flight: {:?}",
                self.world.borrow().in_flight
            ),
        }
        self.expire();
    }

    fn collectable(&self) -> bool {
        let world = self.world.borrow();
        !(world.hidden.is_empty() && world.queue.is_empty() && world.overflow.is_empty())
    }

    fn expire(&self) {
        let now_ns = self.now_ns.get();
        let mut world = self.world.borrow_mut();
        let (due, pending) = world
            .timeouts
            .iter()
            .partition(|&&(_, at_ns)| at_ns <= now_ns);
        let due: Vec<(u64, u64)> = due;
        world.timeouts = pending;
        for (user_data, _) in due {
            world.hidden.push_back(Cqe {
                user_data,
                result: -errno::ETIME,
                flags: 0,
            });
        }
    }

    fn answer_bell(&self) -> bool {
        let mut world = self.world.borrow_mut();
        let Some((user_data, fd)) = world.wake_read else {
            return false;
        };
        if !eventfd::try_take(fd) {
            return false;
        }
        world.wake_read = None;
        world.hidden.push_back(Cqe {
            user_data,
            result: 8,
            flags: 0,
        });
        true
    }

    fn consume(&self, user_data: u64, entry: Entry) {
        let mut world = self.world.borrow_mut();
        world.log.push((user_data, entry));
        match entry {
            Entry::Nop => world.hidden.push_back(Cqe {
                user_data,
                result: 0,
                flags: 0,
            }),
            Entry::Op(request) => {
                let is_known = world.in_flight.iter().any(|op| op.user_data == user_data);
                assert!(!is_known, "{user_data:#x} is in flight twice (H35)");
                world.in_flight.push(Submitted { user_data, request });
            }
            Entry::Cancel { target } => {
                world.cancels.push(target);
                if world.cancel_policy == CancelPolicy::Obey {
                    world.obey_cancel(user_data, target);
                }
            }
            Entry::Timeout { deadline_ns } => world.timeouts.push((user_data, deadline_ns)),
            Entry::TimeoutUpdate {
                target,
                deadline_ns,
            } => {
                let pending = world
                    .timeouts
                    .iter_mut()
                    .find(|(known, _)| *known == target);
                match pending {
                    Some((_, at_ns)) => *at_ns = deadline_ns,
                    None => {
                        let result = -errno::ENOENT;
                        world.hidden.push_back(Cqe {
                            user_data,
                            result,
                            flags: 0,
                        });
                    }
                }
            }
            Entry::WakeRead { fd, target: _ } => world.wake_read = Some((user_data, fd)),
        }
    }
}

impl World {
    fn obey_cancel(&mut self, user_data: u64, target: u64) {
        let canceled = Cqe {
            user_data: target,
            result: -errno::ECANCELED,
            flags: 0,
        };
        if let Some(place) = self.in_flight.iter().position(|op| op.user_data == target) {
            self.in_flight.remove(place);
            self.hidden.push_back(canceled);
        } else if let Some(place) = self.timeouts.iter().position(|&(known, _)| known == target) {
            self.timeouts.remove(place);
            self.hidden.push_back(canceled);
        } else {
            self.hidden.push_back(Cqe {
                user_data,
                result: -errno::ENOENT,
                flags: 0,
            });
        }
    }

    fn collect(&mut self, cq_entries: usize) {
        while self.queue.len() < cq_entries {
            let Some(cqe) = self.overflow.pop_front() else {
                break;
            };
            self.queue.push_back(cqe);
        }
        for _ in 0..self.batch_max.unwrap_or(usize::MAX) {
            let Some(cqe) = self.hidden.pop_front() else {
                break;
            };
            match self.queue.len() < cq_entries && self.overflow.is_empty() {
                true => self.queue.push_back(cqe),
                false => self.overflow.push_back(cqe),
            }
        }
    }

    fn take_failure(&mut self, at: FailAt) -> io::Result<()> {
        match self.enter_failures.front() {
            Some(&(when, code)) if when == at => {
                self.enter_failures.pop_front();
                Err(io::Error::from_raw_os_error(code))
            }
            _ => Ok(()),
        }
    }
}

fn fill(target: *mut u8, target_len: u32, bytes: &[u8]) {
    assert!(
        bytes.len() <= target_len as usize,
        "{} bytes into {target_len}",
        bytes.len()
    );
    // SAFETY: the memory was lent for a receive that is in flight, or as a provided buffer that
    // was taken from the list just now, so this side alone may write to it; the length was checked.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
}

impl ScriptedRing {
    pub(crate) fn clock(&self) -> Clock {
        Clock::Virtual(Rc::clone(&self.script.now_ns))
    }
}

impl Ring for ScriptedRing {
    fn push(&mut self, user_data: u64, entry: Entry) -> Result<(), Full> {
        let mut world = self.script.world.borrow_mut();
        if world.pushed.len() == self.sizes.sq_entries as usize {
            return Err(Full);
        }
        world.pushed.push_back((user_data, entry));
        Ok(())
    }

    fn unsubmitted_count(&mut self) -> u32 {
        self.script.world.borrow().pushed.len() as u32
    }

    fn enter(&mut self, enter: Enter) -> io::Result<()> {
        let script = &self.script;
        script.world.borrow_mut().enters += 1;
        script
            .world
            .borrow_mut()
            .take_failure(FailAt::BeforeSubmission)?;
        let consume_max = script.world.borrow().consume_max.unwrap_or(usize::MAX);
        for _ in 0..consume_max {
            let Some((user_data, entry)) = script.world.borrow_mut().pushed.pop_front() else {
                break;
            };
            script.consume(user_data, entry);
        }
        script
            .world
            .borrow_mut()
            .take_failure(FailAt::AfterSubmission)?;
        script.expire();
        // A submission that was cut short does not wait (H04).
        if enter == Enter::Sleep && script.world.borrow().pushed.is_empty() {
            script.end_sleep();
        }
        if enter != Enter::Submit {
            script
                .world
                .borrow_mut()
                .collect(self.sizes.cq_entries as usize);
        }
        Ok(())
    }

    fn reap(&mut self, out: &mut Vec<Cqe>, count_max: usize) {
        let mut world = self.script.world.borrow_mut();
        let count = count_max.min(world.queue.len());
        out.extend(world.queue.drain(..count));
    }

    fn reapable_count(&mut self) -> usize {
        self.script.world.borrow().queue.len()
    }

    fn signs(&mut self) -> Signs {
        let world = self.script.world.borrow();
        Signs {
            cq_overflow: !world.overflow.is_empty(),
            taskrun: !world.hidden.is_empty(),
        }
    }

    fn provide(&mut self, loan: Loan) {
        self.script.world.borrow_mut().unpublished.push(loan);
    }

    fn publish(&mut self) {
        let mut world = self.script.world.borrow_mut();
        let unpublished = std::mem::take(&mut world.unpublished);
        world.provided.extend(unpublished);
    }

    fn cancel_everything(&mut self) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(errno::ETIME))
    }

    fn leak(self) {
        self.script.world.borrow_mut().is_leaked = true;
    }

    fn sq_entries(&self) -> u32 {
        self.sizes.sq_entries
    }

    fn cq_entries(&self) -> u32 {
        self.sizes.cq_entries
    }
}
