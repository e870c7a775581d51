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

/// The name of the open file, which no other file is given later, unlike its number.
fn file_of(fd: &impl AsFd) -> PathBuf {
    let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    std::fs::read_link(link).expect("an open descriptor")
}

/// The number of descriptors of this process that refer to `file`.
fn open_count(file: &PathBuf) -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("procfs");
    let links = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link == file).count()
}

async fn polled(watched: &AsyncFd<Counted>, kind: OpKind) -> io::Result<()> {
    match kind {
        OpKind::PollReadable => watched.readable().await,
        OpKind::PollWritable => watched.writable().await,
        other => panic!("{other:?} is not a poll"),
    }
}

fn events(kind: OpKind) -> i32 {
    match kind {
        OpKind::PollReadable => Interest::Readable.events() as i32,
        _ => Interest::Writable.events() as i32,
    }
}

/// The moment at which the watch is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    /// In the turn in which the poll was requested.
    BeforeSubmission,
    /// The kernel has the poll. The result comes before the cancel.
    InFlight,
    /// The kernel has the poll, and the cancel as well when the result comes.
    Cancelling,
    /// The result has been posted, and the loop has not read it.
    Posted,
    /// The result has been dispatched and the task woken, but not polled.
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
    /// The errno −512, which no kernel should return (H19).
    Restart,
    Failed,
    /// `POLLRDHUP` for a poll for writing.
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

fn complete(script: &Script, op: Submitted, outcome: Outcome) {
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

/// The result of the wait, if it has ended.
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
    let returned = Rc::new(Cell::new(Poll::Pending));
    let mut waiter: Pin<Box<dyn Future<Output = ()>>> = {
        let watched = AsyncFd::new(inner).unwrap();
        let returned = Rc::clone(&returned);
        Box::pin(async move {
            let outcome = polled(&watched, kind).await;
            returned.set(Poll::Ready(outcome.map_err(|error| error.raw_os_error().unwrap())));
            pending::<()>().await;
        })
    };
    assert!(poll_once(waiter.as_mut()).await.is_pending());
    let leave = |waiter| {
        drop(waiter);
        assert_eq!(drops.get(), 1, "the program's value is dropped at once");
    };
    if moment == Moment::BeforeSubmission {
        leave(waiter);
        turns(1).await;
        complete(script, script.the(kind), outcome);
    } else {
        turns(1).await;
        let op = script.the(kind);
        match moment {
            Moment::InFlight | Moment::Cancelling => {
                leave(waiter);
                if moment == Moment::Cancelling {
                    turns(2).await;
                    assert_eq!(script.cancels(), [op.user_data]);
                }
                assert_eq!(open_count(&file), 1, "the duplicate lives as long as the poll (H37)");
                complete(script, op, outcome);
            }
            Moment::Posted | Moment::Woken | Moment::Never | Moment::BeforeSubmission => {
                complete(script, op, outcome);
                if moment != Moment::Posted {
                    turns(2).await;
                }
                if moment == Moment::Never {
                    assert!(poll_once(waiter.as_mut()).await.is_pending());
                    assert_eq!(returned.get(), expected(kind, outcome));
                    assert_eq!(script.all(kind).len(), usize::from(returned.get().is_pending()));
                }
                leave(waiter);
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

/// Goal: whenever a watch is dropped and however its poll ends, nothing is left, lost or returned
/// twice. The program's value is dropped at once, the duplicate with the poll (H30, H37).
///
/// Method: every cell of the matrix on a runtime of its own, with real descriptors.
///
/// Kills: a duplicate that is closed early or never; a poll that is not cancelled; an interrupted
/// poll that is not repeated; a result that a watch in some state does not expect.
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

/// Goal: all waiters of a direction share one poll and its result, also if it is an error.
///
/// Method: three tasks wait in each direction; one result for each direction.
///
/// Kills: a poll per wait; a wake for the first waiter only; a result for the other direction.
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
        complete(&script, script.the(OpKind::PollReadable), Outcome::Ready);
        turns(2).await;
        assert_eq!(script.all(OpKind::PollReadable), []);
        for reader in readers {
            assert!(reader.is_finished());
            assert_eq!(reader.await.unwrap(), Ok(()));
        }
        complete(&script, script.the(OpKind::PollWritable), Outcome::Failed);
        turns(2).await;
        for writer in writers {
            assert!(writer.is_finished());
            assert_eq!(writer.await.unwrap(), Err(Some(errno::ENOMEM)));
        }
        assert_eq!(script.count_ops(OpKind::PollWritable), 1);
    });
}

/// Goal: a dropped wait leaves its poll to the next one. A result that no task waits for is not
/// kept, because it may be out of date when one does.
///
/// Method: wait, drop, wait: one poll. Drop, complete, wait: pending, and a second poll.
///
/// Kills: a cancel for each dropped wait; readiness that is kept.
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
        complete(&script, script.the(OpKind::PollReadable), Outcome::Ready);
        turns(2).await;

        let mut readable = pin!(watched.readable());
        assert!(poll_once(readable.as_mut()).await.is_pending());
        turns(1).await;
        complete(&script, script.the(OpKind::PollReadable), Outcome::Ready);
        readable.await.unwrap();
        assert_eq!(script.count_ops(OpKind::PollReadable), 2);
    });
}

/// Goal: after spurious events the watch polls for changes, until one makes the descriptor ready.
/// A wait that begins while that poll ends gets a poll of its own.
///
/// Method: `POLLRDHUP` for a wait for writing; two more from the poll for changes; then `POLLOUT`.
/// A further wait before the last completion.
///
/// Kills: an ordinary poll after spurious events; a poll for changes that is not cancelled; a wait
/// that shares it.
#[test]
fn spurious_events_are_followed_by_a_poll_for_changes() {
    let (script, runtime) = scripted();
    script.set_cancel_policy(CancelPolicy::Ignore);
    runtime.block_on(async {
        let watched = watched();
        let mut writable = pin!(watched.writable());
        assert!(poll_once(writable.as_mut()).await.is_pending());
        turns(1).await;
        let spurious = i32::from(libc::POLLRDHUP);
        script.complete(script.the(OpKind::PollWritable), spurious, Flags::NONE);
        turns(2).await;
        let changes = script.the(OpKind::PollWritable);
        assert!(matches!(changes.request, Request::PollChanges { .. }), "{changes:?}");
        for _ in 0..2 {
            script.complete(changes, spurious, Flags::NONE.with_more());
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
        complete(&script, own, Outcome::Ready);
        writable.await.unwrap();
    });
}

/// Goal: a driver that fails ends every wait with the reason, and every later one. The descriptor
/// is closed with the watch.
///
/// Method: two tasks wait in each direction; the next enter is forbidden. Then one more wait.
///
/// Kills: a wait that is not woken; a watch that polls again without end; a duplicate that is kept.
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
            // In virtual time.
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
///
/// Method: forget a wait that has its poll in flight, drop the watch.
///
/// Kills: a poll that is repeated for a waiter that can never be polled.
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
