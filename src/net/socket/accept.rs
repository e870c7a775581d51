//! `accept()`, and the connections of a listener as a `Stream`.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::accept_side::AcceptWaiter;
use super::listener::{Connection, ListenerSocket};
use crate::net::tcp::stream::TcpStream;
use crate::reactor::Reactor;
use crate::task::coop;

/// Makes a stream of an accepted connection.
pub(in crate::net) type Adopt<S> = fn(&Rc<Reactor>, Connection) -> S;

/// Waits for a connection.
pub(in crate::net) async fn accept<S>(
    listener: &Rc<ListenerSocket>,
    adopt: Adopt<S>,
) -> io::Result<S> {
    let mut wait = AcceptWait::new(listener, adopt);
    coop::leaf_fn(listener.reactor().home(), |cx| wait.poll(cx)).await
}

/// One `accept()`. Dropping it gives up its place among the others.
struct AcceptWait<'a, S> {
    listener: &'a Rc<ListenerSocket>,
    adopt: Adopt<S>,
    waiter: AcceptWaiter,
}

impl<'a, S> AcceptWait<'a, S> {
    fn new(listener: &'a Rc<ListenerSocket>, adopt: Adopt<S>) -> AcceptWait<'a, S> {
        AcceptWait { listener, adopt, waiter: AcceptWaiter::default() }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<S>> {
        let accepted = ready!(self.listener.poll_accept(&mut self.waiter, cx.waker()));
        self.listener.leave(&mut self.waiter);
        Poll::Ready(accepted.map(|connection| (self.adopt)(self.listener.reactor(), connection)))
    }
}

impl<S> Drop for AcceptWait<'_, S> {
    fn drop(&mut self) {
        self.listener.leave(&mut self.waiter);
    }
}

/// The connections of a listener, as a `Stream`. [`TcpListener::incoming`] returns it.
///
/// [`TcpListener::incoming`]: crate::net::TcpListener::incoming
pub struct Incoming<'a, S = TcpStream> {
    wait: AcceptWait<'a, S>,
}

impl<'a, S> Incoming<'a, S> {
    pub(in crate::net) fn new(
        listener: &'a Rc<ListenerSocket>,
        adopt: Adopt<S>,
    ) -> Incoming<'a, S> {
        Incoming { wait: AcceptWait::new(listener, adopt) }
    }

    /// Waits for the next connection.
    ///
    /// Cancel safe: the next accept returns the connection that a dropped `next` has not returned.
    ///
    /// # Errors
    ///
    /// Those of [`TcpListener::accept`].
    ///
    /// [`TcpListener::accept`]: crate::net::TcpListener::accept
    pub async fn next(&mut self) -> io::Result<S> {
        // A place of its own, so that dropping the future gives it up.
        accept(self.wait.listener, self.wait.adopt).await
    }
}

impl<S> Stream for Incoming<'_, S> {
    type Item = io::Result<S>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let listener = self.wait.listener;
        coop::leaf(listener.reactor().home(), cx, |cx| self.wait.poll(cx)).map(Some)
    }
}

impl<S> fmt::Debug for Incoming<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}
