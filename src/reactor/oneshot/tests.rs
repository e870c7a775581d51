//! Operations with one completion, on a ring whose kernel is a script.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};

use super::{Finished, OneShot, Payload};
use crate::Builder;
use crate::driver::request::{Flags, Interest, OpKind, Request};
use crate::driver::uring::scripted::{CancelPolicy, FailAt, Script};
use crate::op::OpResult;
use crate::reactor::Reactor;
use crate::runtime::context;
use crate::sys::errno;
use crate::task::yield_now;

/// What happened to a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    Discarded(i32),
    Leaked,
    Dropped,
}

type Events = Rc<RefCell<Vec<Event>>>;

/// A payload that sends some bytes and records what happens to it.
#[derive(Debug)]
struct Recorded {
    bytes: Vec<u8>,
    events: Events,
}

impl Payload for Recorded {
    fn request(&mut self) -> Request {
        let Recorded { bytes, .. } = self;
        Request::Send { fd: -1, source: bytes.as_ptr(), source_len: bytes.len() as u32 }
    }

    fn watched(&self) -> Option<(i32, Interest)> {
        None
    }

    fn discard(self, result: OpResult) {
        self.events.borrow_mut().push(Event::Discarded(result.result));
    }

    fn leak(mut self) {
        self.events.borrow_mut().push(Event::Leaked);
        std::mem::forget(std::mem::take(&mut self.bytes));
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.events.borrow_mut().push(Event::Dropped);
    }
}

/// Counts its wakes.
#[derive(Default)]
struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn reactor() -> Rc<Reactor> {
    Rc::clone(&context::current().reactor)
}

fn payload() -> (Recorded, Events) {
    let events = Events::default();
    (Recorded { bytes: b"bytes".to_vec(), events: Rc::clone(&events) }, events)
}

/// Starts an operation, polls it once, and lets the kernel have it.
async fn started() -> (OneShot<Recorded>, Events) {
    let (payload, events) = payload();
    let mut operation = OneShot::submit(&reactor(), payload).expect("an open loop");
    let is_pending = poll_fn(|cx| Poll::Ready(operation.poll(cx.waker()).is_pending())).await;
    assert!(is_pending);
    yield_now().await;
    (operation, events)
}

fn scripted(test: impl AsyncFnOnce(&Script)) {
    let script = Script::new();
    let runtime = Builder::default().on_unhandled(|_| {}).build_scripted(&script);
    runtime.block_on(test(&script));
}

/// Goal: the completion wakes the future, which takes the result and the payload.
/// Method: complete a send; compare both and the events. Kills: a waker that is not woken (the test
/// does not end); a payload that is discarded although its future waits.
#[test]
fn the_future_takes_the_result_and_the_payload() {
    scripted(async |script| {
        let (mut operation, events) = started().await;
        script.complete(script.the(OpKind::Send), 5, Flags::NONE);
        let Finished::Completed(result, payload) = poll_fn(|cx| operation.poll(cx.waker())).await
        else {
            panic!("the operation has completed");
        };
        assert_eq!((result.result, &payload.bytes[..]), (5, &b"bytes"[..]));
        drop(operation);
        assert_eq!(*events.borrow(), [], "the payload is the caller's");
        drop(payload);
    });
}

/// Goal: the completion wakes the task that polled last, once.
/// Method: poll with the waker of another task, twice; complete the send; count its wakes.
/// Kills: a first waker that stays.
#[test]
fn a_later_poll_replaces_the_waker() {
    scripted(async |script| {
        let (mut operation, _events) = started().await;
        let woken = Arc::new(CountWakes::default());
        let waker = Waker::from(Arc::clone(&woken));
        for _ in 0..2 {
            assert!(operation.poll(&waker).is_pending());
        }
        script.complete(script.the(OpKind::Send), 5, Flags::NONE);
        yield_now().await;
        yield_now().await;
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(operation.poll(&waker).is_ready());
    });
}

/// Goal: dropping the handle cancels the operation, and the payload lives until the completion,
/// whatever its result is.
/// Method: drop the handle; the kernel ignores the cancel and completes the send later.
/// Kills: dropping the payload with the handle; a handle that does not cancel; a result that is not
/// discarded.
#[test]
fn a_dropped_handle_cancels_and_the_result_is_discarded() {
    scripted(async |script| {
        script.set_cancel_policy(CancelPolicy::Ignore);
        let (operation, events) = started().await;
        let op = script.the(OpKind::Send);
        drop(operation);
        yield_now().await;
        assert_eq!(script.cancels(), [op.user_data]);
        assert_eq!(*events.borrow(), [], "the kernel may still read the bytes");
        script.complete(op, 5, Flags::NONE);
        yield_now().await;
        yield_now().await;
        assert_eq!(*events.borrow(), [Event::Discarded(5), Event::Dropped]);
    });
}

/// Goal: a result that no poll has taken is discarded when the handle is dropped.
/// Method: complete the send, let the loop run, drop the handle. Kills: a descriptor in such a
/// result that stays open; a cancel of an operation that has ended.
#[test]
fn a_result_that_was_not_taken_is_discarded() {
    scripted(async |script| {
        let (operation, events) = started().await;
        script.complete(script.the(OpKind::Send), 3, Flags::NONE);
        yield_now().await;
        yield_now().await;
        drop(operation);
        assert_eq!(*events.borrow(), [Event::Discarded(3), Event::Dropped]);
        assert_eq!(script.cancels(), []);
    });
}

/// Goal: when the driver fails, the operation ends with the reason, its memory is leaked, whether
/// the handle is alive or not, and a later operation is refused.
/// Method: two sends, one without its handle; the next enter fails. Kills: freeing memory that the
/// kernel may read; a future that waits for a completion that does not come; a refused payload that
/// is lost.
#[test]
fn a_failed_driver_ends_the_operation_and_leaks_the_payload() {
    scripted(async |script| {
        script.set_cancel_policy(CancelPolicy::Ignore);
        let (dropped, orphan_events) = started().await;
        drop(dropped);
        let (mut operation, events) = started().await;
        script.fail_enter(FailAt::BeforeSubmission, errno::EPERM);
        let end = poll_fn(|cx| operation.poll(cx.waker())).await;
        assert!(matches!(end, Finished::Lost(errno::ECANCELED)), "{end:?}");
        for events in [events, orphan_events] {
            assert_eq!(*events.borrow(), [Event::Leaked, Event::Dropped]);
        }

        let (late, _events) = payload();
        let (error, late) = OneShot::submit(&reactor(), late).err().expect("a refusal");
        assert!(error.to_string().starts_with("the io_uring driver failed"), "{error}");
        assert_eq!(late.bytes, b"bytes");
    });
}

/// Goal: a loop that ends while the kernel keeps the operation leaks all of the payload, with the
/// descriptors in it, and the future returns the reason.
///
/// Method: the kernel ignores every cancel until the loop has ended; then poll the handle.
///
/// Kills: a payload that is dropped, in part or whole; a future that never ends.
#[test]
fn an_undrained_loop_leaks_the_whole_payload() {
    let script = Script::new();
    script.set_cancel_policy(CancelPolicy::Ignore);
    let runtime = Builder::default().on_unhandled(|_| {}).build_scripted(&script);
    let (mut operation, events) = runtime.block_on(started());
    drop(runtime);
    let end = operation.poll(Waker::noop());
    assert!(matches!(end, Poll::Ready(Finished::Lost(errno::ECANCELED))), "{end:?}");
    drop(operation);
    assert_eq!(*events.borrow(), []);
    assert_eq!(Rc::strong_count(&events), 2, "the payload exists");
}
