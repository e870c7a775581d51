//! What a server's tasks and its handles share.

use std::cell::{Ref, RefCell};
use std::convert::Infallible;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::state::{Closed, ServerState};
use crate::reactor::Reactor;
use crate::runtime::context;
use crate::sync::CancellationToken;
use crate::sync::wait_list::{self, WaiterId, Woken};
use crate::task::{AbortHandle, coop, is_large};

/// Accepts connections and starts handlers. It owns the listener.
type Accepting = Pin<Box<dyn Future<Output = io::Result<Infallible>>>>;

pub(super) struct Shared {
    reactor: Rc<Reactor>,
    state: RefCell<ServerState>,
    /// Dropped by the close, and with it the listener, so that connects are refused at once. It is
    /// out of its place while the acceptor's task polls it.
    accepting: RefCell<Option<Accepting>>,
    /// The tasks of the server itself, which end with accepting.
    own_tasks: RefCell<Vec<AbortHandle>>,
    pub(super) stopping: CancellationToken,
}

impl Shared {
    pub(super) fn new(stopping: CancellationToken) -> Rc<Shared> {
        Rc::new(Shared {
            reactor: Rc::clone(&context::current().reactor),
            state: RefCell::default(),
            accepting: RefCell::default(),
            own_tasks: RefCell::default(),
            stopping,
        })
    }

    /// Sets the future that accepts, before its task is spawned.
    pub(super) fn set_accepting(&self, accepting: Accepting) {
        *self.accepting.borrow_mut() = Some(accepting);
    }

    pub(super) fn state(&self) -> Ref<'_, ServerState> {
        self.state.borrow()
    }

    pub(super) fn add_own_task(&self, task: AbortHandle) {
        self.own_tasks.borrow_mut().push(task);
    }

    /// Spawns a handler, whose future has been made by no user code yet.
    pub(super) fn start_handler(
        self: &Rc<Self>,
        handler: impl Future<Output = ()> + 'static,
        spawned_at: &'static Location<'static>,
    ) {
        let index = self.state.borrow_mut().add_handler();
        let running = Running { shared: Rc::clone(self), index };
        let handler = async move {
            let _running = running; // dropped after the handler's future, and in an abort too
            handler.await;
        };
        let task = spawn(handler, spawned_at);
        self.state.borrow_mut().set_task(index, task);
    }

    /// Stops accepting, in this call.
    pub(super) fn close(&self) {
        let (closed, woken) = self.state.borrow_mut().close();
        self.wake(woken);
        if closed == Closed::Now {
            let _closing = Closing(self);
            let accepting = self.accepting.take();
            // After the borrow, and before waiters run: it owns the listener, and values of the
            // program, whose destructors may panic.
            drop(accepting);
        }
    }

    pub(super) fn fail(&self, error: &io::Error) {
        self.state.borrow_mut().fail(error);
        self.close();
    }

    /// Aborts the handlers that have not ended. Returns how many.
    pub(super) fn abort_handlers(&self) -> usize {
        let tasks = self.state.borrow().tasks();
        tasks.iter().for_each(AbortHandle::abort);
        tasks.len()
    }

    /// Waits until the server is closed and its last handler has ended.
    pub(super) async fn done(&self) {
        let mut wait = DoneWait { shared: self, waiter_id: WaiterId::default() };
        coop::leaf_fn(self.reactor.home(), |cx| wait.poll(cx.waker())).await;
    }

    fn wake(&self, woken: Woken) {
        woken.for_each(|waker| self.reactor.wake_deferred(Some(waker)));
    }
}

/// Spawns a task on the loop of this thread, and detaches it.
pub(super) fn spawn<F>(future: F, spawned_at: &'static Location<'static>) -> AbortHandle
where
    F: Future<Output = ()> + 'static,
{
    let executor = &context::current().executor;
    let task = match const { is_large::<F>() } {
        true => executor.spawn(Box::pin(future), spawned_at),
        false => executor.spawn(future, spawned_at),
    };
    task.abort_handle()
}

/// A wait for the end of a server. Dropping it removes the waiter.
struct DoneWait<'a> {
    shared: &'a Shared,
    waiter_id: WaiterId,
}

impl DoneWait<'_> {
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        if self.shared.state.borrow().is_done() {
            return Poll::Ready(());
        }
        let waiters = ServerState::waiters;
        wait_list::wait_in(&self.shared.state, waiters, &mut self.waiter_id, waker);
        // Cloning the waker is user code, which may have ended the last handler.
        match self.shared.state.borrow().is_done() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for DoneWait<'_> {
    fn drop(&mut self) {
        let waker = self.shared.state.borrow_mut().waiters().leave(&mut self.waiter_id);
        drop(waker); // user code: after the borrow
    }
}

/// The rest of a close, which runs also if a destructor of the program panics.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.own_tasks.take().iter().for_each(AbortHandle::abort);
        self.0.stopping.cancel();
    }
}

/// A handler that has not ended.
struct Running {
    shared: Rc<Shared>,
    index: usize,
}

impl Drop for Running {
    fn drop(&mut self) {
        let woken = self.shared.state.borrow_mut().handler_ended(self.index);
        self.shared.wake(woken);
    }
}

/// The task that accepts. Its end, also by a panic or with the loop, closes the server.
pub(super) struct Acceptor(pub(super) Rc<Shared>);

impl Future for Acceptor {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = &self.0;
        let Some(mut accepting) = shared.accepting.take() else {
            return Poll::Ready(()); // closed
        };
        if let Poll::Ready(Err(error)) = accepting.as_mut().poll(cx) {
            drop(accepting); // before the waiters are woken
            shared.fail(&error);
            return Poll::Ready(());
        }
        if shared.state().is_closed() {
            return Poll::Ready(()); // in this poll
        }
        *shared.accepting.borrow_mut() = Some(accepting);
        Poll::Pending
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.0.close();
    }
}
