//! Taking connections from a listener: one `accept()`, and all of them as a stream.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::admission::Connection;
use super::listener::{AcceptWaiter, Listening};
use crate::net::TcpStream;
use crate::reactor::Reactor;
use crate::task::coop;

/// Makes a stream of a connection that was accepted.
pub(in crate::net) type Adopt<S> = fn(&Rc<Reactor>, Connection) -> S;

/// Waits for a connection.
pub(in crate::net) async fn accept<S>(listening: &Rc<Listening>, adopt: Adopt<S>) -> io::Result<S> {
    let mut waiting = AcceptWait::new(listening, adopt);
    coop::leaf_fn(listening.reactor().home(), |cx| waiting.poll(cx)).await
}

/// One `accept()`: its place in the line, given up when it is dropped.
struct AcceptWait<'a, S> {
    listening: &'a Rc<Listening>,
    adopt: Adopt<S>,
    place: AcceptWaiter,
}

impl<'a, S> AcceptWait<'a, S> {
    fn new(listening: &'a Rc<Listening>, adopt: Adopt<S>) -> AcceptWait<'a, S> {
        AcceptWait { listening, adopt, place: AcceptWaiter::default() }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<S>> {
        let accepted = ready!(self.listening.poll_accept(&mut self.place, cx.waker()));
        self.listening.leave(&mut self.place);
        Poll::Ready(accepted.map(|connection| (self.adopt)(self.listening.reactor(), connection)))
    }
}

impl<S> Drop for AcceptWait<'_, S> {
    fn drop(&mut self) {
        self.listening.leave(&mut self.place);
    }
}

/// The connections of a listener, as a `Stream`. See [`TcpListener::incoming`].
///
/// [`TcpListener::incoming`]: crate::net::TcpListener::incoming
pub struct Incoming<'a, S = TcpStream> {
    waiting: AcceptWait<'a, S>,
}

impl<'a, S> Incoming<'a, S> {
    pub(in crate::net) fn new(listening: &'a Rc<Listening>, adopt: Adopt<S>) -> Incoming<'a, S> {
        Incoming { waiting: AcceptWait::new(listening, adopt) }
    }

    /// The next connection. As [`TcpListener::accept`].
    ///
    /// [`TcpListener::accept`]: crate::net::TcpListener::accept
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn next(&mut self) -> io::Result<S> {
        // A place of its own, so that dropping the future gives it up.
        accept(self.waiting.listening, self.waiting.adopt).await
    }
}

impl<S> Stream for Incoming<'_, S> {
    type Item = io::Result<S>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let listening = self.waiting.listening;
        coop::leaf(listening.reactor().home(), cx, |cx| self.waiting.poll(cx)).map(Some)
    }
}

impl<S> fmt::Debug for Incoming<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}
