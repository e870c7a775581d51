//! [`TaskGroup::start`]: waits until a child is ready.
//!
//! ```text
//!             send             taken by the caller
//!  Starting ───────▶ Sent ────────────────────────▶ Taken
//!     │ the child fails, ends, is aborted, or drops `Ready`
//!     └─────────────▶ Failed ─────────────────────▶ Taken
//! ```
//!
//! Until `Sent`, an error of the child is that of its start, and does not fail the group.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::child::ChildHandle;
use super::handle::TaskGroup;
use crate::sync::waker_cell::WakerCell;
use crate::task::coop;
use crate::task::join_error::PanicPayload;

impl<E: 'static> TaskGroup<E> {
    /// Spawns a child, and waits until it is ready. Returns what the child passes to
    /// [`Ready::send`].
    ///
    /// Until then, an error or a panic of the child is returned here, and does not fail the group.
    /// After that, the child is a child like others. This is trio's `nursery.start`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the child is ready aborts the child.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the child fails, ends or is aborted before it is ready, and if the group
    /// takes no children.
    ///
    /// ```
    /// use ringloop::net::{TcpListener, TcpStream};
    /// use ringloop::task::GroupError;
    ///
    /// ringloop::run(async {
    ///     let result: Result<(), GroupError<std::io::Error>> = ringloop::task_group(async |g| {
    ///         let server = g.start(async |ready| {
    ///             let listener = TcpListener::bind("127.0.0.1:0")?; // or a start-up error
    ///             ready.send(listener.local_addr()?);
    ///             listener.accept().await?;
    ///             Ok(())
    ///         });
    ///         let addr = server.await.expect("a free port");
    ///         TcpStream::connect(addr).await?;
    ///         Ok(())
    ///     })
    ///     .await;
    ///     assert!(result.is_ok());
    /// });
    /// ```
    pub async fn start<V, F>(&self, child: F) -> Result<V, StartError<E>>
    where
        V: 'static,
        F: AsyncFnOnce(Ready<V>) -> Result<(), E> + 'static,
    {
        let start = Rc::new(Start::new());
        let ready = Ready { signal: Rc::clone(&start.signal) };
        let future = async move { child(ready).await };
        let starting = Starting { future, start: Rc::clone(&start) };
        let task = self.spawn(starting);
        Started { start, task }.await
    }
}

/// With this a child of [`TaskGroup::start`] reports that it is ready.
///
/// A child that drops it without sending has not started: it is ended, with
/// [`StartError::NotReady`].
pub struct Ready<V> {
    signal: Rc<Signal<V>>,
}

impl<V> Ready<V> {
    /// Passes `value` to the caller of [`TaskGroup::start`], which continues in the next turn.
    pub fn send(self, value: V) {
        self.signal.phase.replace(Phase::Sent(value));
        self.signal.wake_caller();
    }
}

impl<V> Drop for Ready<V> {
    fn drop(&mut self) {
        self.signal.is_ready_dropped.set(true);
    }
}

impl<V> fmt::Debug for Ready<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

/// The error of [`TaskGroup::start`]: the child has not become ready.
pub enum StartError<E> {
    /// The child returned this error before it was ready.
    Failed(E),
    /// The child panicked before it was ready, with this payload.
    Panicked(PanicPayload),
    /// The child ended, or dropped [`Ready`], without sending.
    NotReady,
    /// The child was aborted before it was ready, or the group takes no children any more.
    Cancelled,
}

impl<E: fmt::Display> fmt::Display for StartError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Failed(error) => write!(f, "the task failed to start: {error}"),
            StartError::Panicked(payload) => write!(f, "the task panicked at its start: {payload}"),
            StartError::NotReady => f.write_str("the task ended without being ready"),
            StartError::Cancelled => f.write_str("the task was cancelled before it was ready"),
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for StartError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
            StartError::Panicked(payload) => f.debug_tuple("Panicked").field(payload).finish(),
            StartError::NotReady => f.write_str("NotReady"),
            StartError::Cancelled => f.write_str("Cancelled"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for StartError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Failed(error) => Some(error),
            StartError::Panicked(_) | StartError::NotReady | StartError::Cancelled => None,
        }
    }
}

/// What a starting child and the caller of `start` share.
struct Start<V, E> {
    signal: Rc<Signal<V>>,
    error: RefCell<Option<StartError<E>>>,
}

/// The part of it that `Ready` uses.
struct Signal<V> {
    phase: RefCell<Phase<V>>,
    is_ready_dropped: Cell<bool>,
    caller: WakerCell,
}

enum Phase<V> {
    Starting,
    Sent(V),
    Taken,
    Failed,
}

impl<V, E> Start<V, E> {
    fn new() -> Start<V, E> {
        let signal = Signal {
            phase: RefCell::new(Phase::Starting),
            is_ready_dropped: Cell::new(false),
            caller: WakerCell::default(),
        };
        Start { signal: Rc::new(signal), error: RefCell::new(None) }
    }

    /// Ends the start, unless the child is ready.
    fn fail(&self, error: StartError<E>) {
        self.signal.phase.replace(Phase::Failed);
        self.error.replace(Some(error));
        self.signal.wake_caller();
    }

    fn take(&self) -> Option<Result<V, StartError<E>>> {
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        let mut phase = self.signal.phase.borrow_mut();
        match &*phase {
            Phase::Starting => None,
            Phase::Sent(_) => match std::mem::replace(&mut *phase, Phase::Taken) {
                Phase::Sent(value) => Some(Ok(value)),
                _ => unreachable!("matched above"),
            },
            Phase::Taken | Phase::Failed => panic!("`start` was polled after its end"),
        }
    }
}

impl<V> Signal<V> {
    fn is_starting(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Starting)
    }

    fn wake_caller(&self) {
        if let Some(waker) = self.caller.take() {
            waker.wake();
        }
    }
}

pin_project! {
    /// The future of a child. Until it is ready, its failures go to the caller of `start`.
    struct Starting<F, V, E> {
        #[pin]
        future: F,
        start: Rc<Start<V, E>>,
    }

    impl<F, V, E> PinnedDrop for Starting<F, V, E> {
        fn drop(this: Pin<&mut Self>) {
            if this.start.signal.is_starting() {
                this.start.fail(StartError::Cancelled);
            }
        }
    }
}

impl<F, V, E> Future for Starting<F, V, E>
where
    F: Future<Output = Result<(), E>>,
{
    type Output = Result<(), E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        let this = self.project();
        let outcome = catch_unwind(AssertUnwindSafe(|| this.future.poll(cx)));
        let is_starting = this.start.signal.is_starting();
        let error = match outcome {
            Err(payload) if is_starting => StartError::Panicked(PanicPayload::new(payload)),
            Err(payload) => resume_unwind(payload),
            Ok(Poll::Ready(Err(error))) if is_starting => StartError::Failed(error),
            Ok(Poll::Ready(Ok(()))) if is_starting => StartError::NotReady,
            Ok(Poll::Pending) if is_starting && this.start.signal.is_ready_dropped.get() => {
                StartError::NotReady
            }
            Ok(other) => return other,
        };
        this.start.fail(error);
        Poll::Ready(Ok(()))
    }
}

/// Waits for the child. If it is dropped before the child is ready, the child is aborted.
struct Started<V, E> {
    start: Rc<Start<V, E>>,
    task: ChildHandle<()>,
}

impl<V, E> Future for Started<V, E> {
    type Output = Result<V, StartError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        coop::leaf_anywhere(cx, |cx| {
            let _ = self.start.signal.caller.wait(cx.waker());
            // After the clone of the waker, which is user code.
            self.start.take().map_or(Poll::Pending, Poll::Ready)
        })
    }
}

impl<V, E> Drop for Started<V, E> {
    fn drop(&mut self) {
        if self.start.signal.is_starting() {
            self.task.abort();
        }
    }
}
