//! Connecting a socket to a peer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Poll, Waker, ready};
use std::time::Duration;

use socket2::SockAddr;

use super::stream::Socket;
use crate::driver::request::{Interest, Request};
use crate::op::{OpResult, connect};
use crate::reactor::Reactor;
use crate::reactor::oneshot::{Finished, OneShot, Payload};
use crate::task::coop;

/// What a connect lends to the kernel: the address, and the descriptor by its number.
///
/// If the future is dropped, the operation is cancelled, and keeps the socket until its completion.
/// The kernel may be faster than the cancel, so a connection that is made all the same is reset.
struct Connect {
    socket: Rc<Socket>,
    addr: Box<SockAddr>,
}

impl Payload for Connect {
    fn request(&mut self) -> Request {
        connect::request(&*self.socket, &self.addr)
    }

    fn watched(&self) -> Option<(RawFd, Interest)> {
        Some((self.socket.as_fd().as_raw_fd(), Interest::Writable))
    }

    fn discard(self, _result: OpResult) {
        // A socket that cannot be set to reset closes in the ordinary way.
        let _ = self.socket.options().set_linger(Some(Duration::ZERO));
    }

    fn leak(self) {
        Box::leak(self.addr);
    }
}

/// Connects `fd`, a new socket, to `addr`.
pub(in crate::net) async fn connect(
    reactor: Rc<Reactor>,
    fd: OwnedFd,
    addr: SockAddr,
) -> io::Result<Rc<Socket>> {
    let socket = Socket::new(Rc::clone(&reactor), fd);
    let payload = Connect { socket: Rc::clone(&socket), addr: Box::new(addr) };
    let mut attempt = Attempt { payload: Some(payload), operation: None };
    coop::leaf_fn(reactor.home(), |cx| attempt.poll(&reactor, cx.waker())).await?;
    Ok(socket)
}

/// A connect, started by its first poll.
struct Attempt {
    payload: Option<Connect>,
    operation: Option<OneShot<Connect>>,
}

impl Attempt {
    fn poll(&mut self, reactor: &Rc<Reactor>, waker: &Waker) -> Poll<io::Result<()>> {
        if let Some(payload) = self.payload.take() {
            let operation = OneShot::submit(reactor, payload).map_err(|(error, _)| error)?;
            self.operation = Some(operation);
        }
        let operation = self.operation.as_mut().expect("started by the first poll");
        let outcome = match ready!(operation.poll(waker)) {
            Finished::Completed(result, _payload) => connect::finish(result),
            Finished::Lost(code) => Err(code),
        };
        Poll::Ready(outcome.map_err(|code| reactor.error_of(code)))
    }
}
