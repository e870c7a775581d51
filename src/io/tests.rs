//! Watches on a ring whose kernel is a script.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::AsyncFd;
use crate::Runtime;
use crate::driver::request::{Flags, Interest, OpKind, Request};
use crate::driver::uring::scripted::{CancelPolicy, FailAt, Script, Submitted};
use crate::sys::errno;
use crate::task::yield_now;
use crate::time::timeout;

fn scripted() -> (Script, Runtime) {
    let script = Script::new();
    let runtime = Runtime::builder().ring_entries(8, 16).build_scripted(&script);
    (script, runtime)
}

async fn poll_once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

async fn turns(count: u32) {
    for _ in 0..count {
        yield_now().await;
    }
}

/// A descriptor that counts its drops.
struct Counted {
    socket: UnixStream,
    drops: Rc<Cell<u32>>,
}

impl Counted {
    fn new() -> (Counted, Rc<Cell<u32>>) {
        let (socket, _peer) = UnixStream::pair().expect("a socket pair");
        let drops = Rc::default();
        (Counted { socket, drops: Rc::clone(&drops) }, drops)
    }
}

impl AsFd for Counted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
    }
}

fn watched() -> AsyncFd<Counted> {
    AsyncFd::new(Counted::new().0).expect("a duplicate")
}

/// Which file a descriptor refers to. Unlike a number, its name is not given to another one.
fn file_of(fd: &impl AsFd) -> PathBuf {
    let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    std::fs::read_link(link).expect("an open descriptor")
}

/// How many descriptors refer to it.
fn open_count(file: &PathBuf) -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("procfs");
    let links = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link == file).count()
}

async fn polled(watched: &AsyncFd<Counted>, kind: OpKind) -> io::Result<()> {
    match kind {
        OpKind::PollReadable => watched.readable().await,
        OpKind::PollWritable => watched.writable().await,
        other => panic!("{other:?} is no poll"),
    }
}

fn events(kind: OpKind) -> i32 {
    match kind {
        OpKind::PollReadable => Interest::Readable.events() as i32,
        _ => Interest::Writable.events() as i32,
    }
}

/// When the watch goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    /// In the turn that asked for the poll.
    BeforeSubmission,
    /// The kernel has the poll; the answer comes before the cancel does.
    InFlight,
    /// As before, and the kernel has the cancel as well when the answer comes.
    Cancelling,
    /// The answer has been posted, and the loop has not seen it.
    Posted,
    /// The answer has been handed out and the task woken, but not polled.
    Woken,
    Never,
}

const MOMENTS: [Moment; 6] = [
    Moment::BeforeSubmission,
    Moment::InFlight,
    Moment::Cancelling,
    Moment::Posted,
    Moment::Woken,
    Moment::Never,
];

/// How the poll ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Ready,
    HungUp,
    Cancelled,
    Interrupted,
    /// The errno −512, which no kernel should show (H19).
    Restart,
    Failed,
    /// `POLLRDHUP` to who wants to write.
    SpuriousEvents,
}

const OUTCOMES: [Outcome; 7] = [
    Outcome::Ready,
    Outcome::HungUp,
    Outcome::Cancelled,
    Outcome::Interrupted,
    Outcome::Restart,
    Outcome::Failed,
    Outcome::SpuriousEvents,
];

fn answer(script: &Script, op: Submitted, outcome: Outcome) {
    let result = match outcome {
        Outcome::Ready => events(op.request.op_kind()),
        Outcome::HungUp => i32::from(libc::POLLHUP),
        Outcome::Cancelled => -errno::ECANCELED,
        Outcome::Interrupted => -errno::EINTR,
        Outcome::Restart => -512,
        Outcome::Failed => -errno::ENOMEM,
        Outcome::SpuriousEvents => i32::from(libc::POLLRDHUP),
    };
    script.complete(op, result, Flags::NONE);
}

/// What the wait says, if it is over.
fn expected(kind: OpKind, outcome: Outcome) -> Poll<Result<(), i32>> {
    match (outcome, kind) {
        (Outcome::Ready | Outcome::HungUp, _) => Poll::Ready(Ok(())),
        // The end can be read.
        (Outcome::SpuriousEvents, OpKind::PollReadable) => Poll::Ready(Ok(())),
        (Outcome::Failed, _) => Poll::Ready(Err(errno::ENOMEM)),
        (
            Outcome::Cancelled | Outcome::Interrupted | Outcome::Restart | Outcome::SpuriousEvents,
            _,
        ) => Poll::Pending,
    }
}

async fn play(kind: OpKind, moment: Moment, outcome: Outcome, script: &Script) {
    let (inner, drops) = Counted::new();
    let file = file_of(&inner);
    let said = Rc::new(Cell::new(Poll::Pending));
    let mut asker: Pin<Box<dyn Future<Output = ()>>> = {
        let watched = AsyncFd::new(inner).unwrap();
        let said = Rc::clone(&said);
        Box::pin(async move {
            let outcome = polled(&watched, kind).await;
            said.set(Poll::Ready(outcome.map_err(|error| error.raw_os_error().unwrap())));
            pending::<()>().await;
        })
    };
    assert!(poll_once(asker.as_mut()).await.is_pending());
    let leave = |asker| {
        drop(asker);
        assert_eq!(drops.get(), 1, "the program's own goes at once");
    };
    if moment == Moment::BeforeSubmission {
        leave(asker);
        turns(1).await;
        answer(script, script.the(kind), outcome);
    } else {
        turns(1).await;
        let op = script.the(kind);
        match moment {
            Moment::InFlight | Moment::Cancelling => {
                leave(asker);
                if moment == Moment::Cancelling {
                    turns(2).await;
                    assert_eq!(script.cancels(), [op.user_data]);
                }
                assert_eq!(open_count(&file), 1, "its duplicate lives as long as the poll (H37)");
                answer(script, op, outcome);
            }
            Moment::Posted | Moment::Woken | Moment::Never | Moment::BeforeSubmission => {
                answer(script, op, outcome);
                if moment != Moment::Posted {
                    turns(2).await;
                }
                if moment == Moment::Never {
                    assert!(poll_once(asker.as_mut()).await.is_pending());
                    assert_eq!(said.get(), expected(kind, outcome));
                    assert_eq!(script.all(kind).len(), usize::from(said.get().is_pending()));
                }
                leave(asker);
            }
        }
    }
    turns(3).await;
    for op in script.in_flight() {
        assert!(script.cancels().contains(&op.user_data), "{op:?} has no owner");
        script.complete(op, -errno::ECANCELED, Flags::NONE);
    }
    turns(2).await;
    assert_eq!((open_count(&file), drops.get()), (0, 1), "descriptors, drops");
}

fn run_cell(kind: OpKind, moment: Moment, outcome: Outcome) {
    let (script, runtime) = scripted();
    script.set_cancel_policy(CancelPolicy::Ignore);
    runtime.block_on(play(kind, moment, outcome, &script));
    assert!(script.in_flight().is_empty(), "{:?}", script.in_flight());
    let metrics = runtime.handle().metrics();
    assert_eq!((metrics.in_flight, metrics.stale_completions), (0, 0), "slots, stale_completions");
    drop(runtime);
    assert!(!script.is_leaked());
}

/// Goal: whenever a watch goes and however its poll ends, nothing is left, lost or answered twice;
/// the program's value goes at once, the duplicate with the poll (H30, H37).
/// Method: every cell of the matrix on a runtime of its own, with real descriptors.
/// Kills: a duplicate closed early or never; a poll that is not cancelled; an interrupted poll that
/// is not asked for again; an answer that meets a watch in a state it does not expect.
#[test]
fn no_poll_leaves_anything_behind() {
    let mut failures = Vec::new();
    for kind in [OpKind::PollReadable, OpKind::PollWritable] {
        for moment in MOMENTS {
            for outcome in OUTCOMES {
                let cell = || run_cell(kind, moment, outcome);
                if catch_unwind(AssertUnwindSafe(cell)).is_err() {
                    failures.push((kind, moment, outcome));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failed: {failures:?}", failures.len());
}

/// Goal: all who wait share one poll, and its answer is for all of them, a failure too.
/// Method: three tasks wait in each direction; one answer each. Kills: a poll per wait; a wake for
/// the first only, whose poll is then asked for again; one direction's answer for the other.
#[test]
fn a_result_is_for_all_waiters() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let watched = Rc::new(watched());
        let spawn = |kind| {
            let watched = Rc::clone(&watched);
            crate::spawn(async move { polled(&watched, kind).await.map_err(|e| e.raw_os_error()) })
        };
        let readers = [OpKind::PollReadable; 3].map(spawn);
        let writers = [OpKind::PollWritable; 3].map(spawn);
        turns(2).await;
        answer(&script, script.the(OpKind::PollReadable), Outcome::Ready);
        turns(2).await;
        assert_eq!(script.all(OpKind::PollReadable), []);
        for reader in readers {
            assert!(reader.is_finished());
            assert_eq!(reader.await.unwrap(), Ok(()));
        }
        answer(&script, script.the(OpKind::PollWritable), Outcome::Failed);
        turns(2).await;
        for writer in writers {
            assert!(writer.is_finished());
            assert_eq!(writer.await.unwrap(), Err(Some(errno::ENOMEM)));
        }
        assert_eq!(script.count_ops(OpKind::PollWritable), 1);
    });
}

/// Goal: a dropped wait leaves its poll to the next one; a result that no task waits for is not
/// kept, because it may be out of date when one does.
/// Method: wait, drop, wait: one poll. Drop, answer, wait: pending, and a second poll.
/// Kills: a cancel for each dropped wait; readiness that is remembered.
#[test]
fn a_dropped_wait_leaves_its_poll_to_the_next() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let watched = watched();
        for _ in 0..2 {
            let mut readable = pin!(watched.readable());
            assert!(poll_once(readable.as_mut()).await.is_pending());
            turns(2).await;
        }
        assert_eq!(script.count_ops(OpKind::PollReadable), 1);
        assert_eq!(script.cancels(), []);
        answer(&script, script.the(OpKind::PollReadable), Outcome::Ready);
        turns(2).await;

        let mut readable = pin!(watched.readable());
        assert!(poll_once(readable.as_mut()).await.is_pending());
        turns(1).await;
        answer(&script, script.the(OpKind::PollReadable), Outcome::Ready);
        readable.await.unwrap();
        assert_eq!(script.count_ops(OpKind::PollReadable), 2);
    });
}

/// Goal: what was not asked for is not asked for again, changes are, and one that matters ends
/// that; who waits while it ends gets a poll of its own.
/// Method: an answer `POLLRDHUP` to a wait for writing; two more from the poll for changes; then
/// `POLLOUT`. A further wait before the last completion.
/// Kills: asking once more; a poll for changes that is not cancelled; a wait that joins it.
#[test]
fn changes_are_waited_for_where_a_poll_says_too_much() {
    let (script, runtime) = scripted();
    script.set_cancel_policy(CancelPolicy::Ignore);
    runtime.block_on(async {
        let watched = watched();
        let mut writable = pin!(watched.writable());
        assert!(poll_once(writable.as_mut()).await.is_pending());
        turns(1).await;
        let besides = i32::from(libc::POLLRDHUP);
        script.complete(script.the(OpKind::PollWritable), besides, Flags::NONE);
        turns(2).await;
        let changes = script.the(OpKind::PollWritable);
        assert!(matches!(changes.request, Request::PollChanges { .. }), "{changes:?}");
        for _ in 0..2 {
            script.complete(changes, besides, Flags::NONE.with_more());
            turns(2).await;
            assert!(poll_once(writable.as_mut()).await.is_pending());
        }
        assert_eq!(script.cancels(), []);
        script.complete(changes, events(OpKind::PollWritable), Flags::NONE.with_more());
        writable.await.unwrap();

        let mut writable = pin!(watched.writable());
        assert!(poll_once(writable.as_mut()).await.is_pending());
        turns(1).await;
        assert_eq!(script.cancels(), [changes.user_data]);
        script.complete(changes, -errno::ECANCELED, Flags::NONE);
        turns(2).await;
        let own = script.the(OpKind::PollWritable);
        assert!(matches!(own.request, Request::Poll { .. }), "{own:?}");
        answer(&script, own, Outcome::Ready);
        writable.await.unwrap();
    });
}

/// Goal: a driver that fails ends every wait with the reason, and every later one; the descriptor
/// goes with the watch.
/// Method: two tasks wait in each direction; the next enter is forbidden. Then one more wait.
/// Kills: a wait that is not woken; a watch that asks again without end; a duplicate that is kept.
#[test]
fn a_failed_driver_ends_every_wait() {
    let (script, runtime) = scripted();
    let (inner, drops) = Counted::new();
    let file = file_of(&inner);
    runtime.block_on(async {
        let watched = Rc::new(AsyncFd::new(inner).unwrap());
        let kinds = [OpKind::PollReadable, OpKind::PollWritable];
        let tasks = kinds.iter().chain(&kinds).map(|&kind| {
            let watched = Rc::clone(&watched);
            crate::spawn(async move { polled(&watched, kind).await.unwrap_err().to_string() })
        });
        let tasks: Vec<_> = tasks.collect();
        turns(2).await;
        assert_eq!(script.in_flight().len(), 2);
        script.fail_enter(FailAt::BeforeSubmission, errno::EPERM);
        for task in tasks {
            // An end in virtual time.
            let ended = timeout(Duration::from_secs(60), task).await.expect("nothing hangs");
            let text = ended.unwrap();
            assert!(text.starts_with("the io_uring driver failed: "), "{text}");
        }
        let text = watched.readable().await.unwrap_err().to_string();
        assert!(text.starts_with("the io_uring driver failed: "), "{text}");
    });
    assert_eq!((open_count(&file), drops.get()), (0, 1), "descriptors, drops");
}

/// Goal: a wait that is leaked keeps neither the poll nor the descriptor of a watch that is
/// dropped.
/// Method: forget a wait that has its poll in flight, drop the watch. Kills: asking again on behalf
/// of a task that can never come back.
#[test]
fn a_forgotten_wait_keeps_nothing() {
    let (script, runtime) = scripted();
    let (inner, _drops) = Counted::new();
    let file = file_of(&inner);
    runtime.block_on(async {
        let watched = AsyncFd::new(inner).unwrap();
        let mut forgotten = Box::pin(watched.readable());
        assert!(poll_once(forgotten.as_mut()).await.is_pending());
        turns(2).await;
        std::mem::forget(forgotten);
        drop(watched);
        turns(4).await;
        assert_eq!(script.in_flight(), []);
        assert_eq!(open_count(&file), 0);
    });
}
