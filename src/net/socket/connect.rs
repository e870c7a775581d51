//! Reaching a peer.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Poll, Waker};

use socket2::SockAddr;

use super::close::Close;
use super::stream::{Socket, SocketOp, SocketPhase};
use crate::driver::request::Key;
use crate::op::{OpResult, connect};
use crate::reactor::Reactor;
use crate::task::coop;

/// What a socket remembers while it connects.
pub(super) struct Connecting {
    /// Lent to the kernel until the answer: this value is boxed, and no code touches the address.
    addr: SockAddr,
    key: Option<Key>,
    result: Option<Result<(), i32>>,
    waker: Option<Waker>,
}

impl Connecting {
    pub(super) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }
}

/// Closes the socket if the future that connects it is dropped, so that a connection which is
/// made all the same is not left open (the kernel may be faster than our cancel).
struct Attempt {
    socket: Option<Rc<Socket>>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.begin_close(Close::Reset, None);
        }
    }
}

/// Connects `fd`, a new socket, to `addr`.
pub(in crate::net) async fn connect(
    reactor: Rc<Reactor>,
    fd: OwnedFd,
    addr: SockAddr,
) -> io::Result<Rc<Socket>> {
    let socket = Socket::new(reactor, fd, SocketPhase::Connecting);
    let mut attempt = Attempt { socket: Some(Rc::clone(&socket)) };
    let mut addr = Some(addr);
    coop::leaf_fn(socket.home(), |cx| socket.poll_connect(&mut addr, cx.waker())).await?;
    socket.phase.set(SocketPhase::Open);
    attempt.socket = None;
    Ok(socket)
}

impl Socket {
    /// Starts to connect to the address that is left in `addr`, then waits for the answer.
    fn poll_connect(
        self: &Rc<Self>,
        addr: &mut Option<SockAddr>,
        waker: &Waker,
    ) -> Poll<io::Result<()>> {
        if let Some(addr) = addr.take() {
            self.start_connect(addr)?;
        }
        self.poll_connected(waker)
    }

    fn start_connect(self: &Rc<Self>, addr: SockAddr) -> io::Result<()> {
        let connecting = Box::new(Connecting { addr, key: None, result: None, waker: None });
        *self.connecting.borrow_mut() = Some(connecting);
        // Taken from where the address stays: inside the box.
        let request = {
            let connecting = self.connecting.borrow();
            connect::request(&**self, &connecting.as_ref().expect("set above").addr)
        };
        let key =
            self.reactor.submit(Rc::clone(self) as Rc<_>, SocketOp::Connect.tag(), request)?;
        self.connecting.borrow_mut().as_mut().expect("set above").key = Some(key);
        Ok(())
    }

    /// The answer to `connect(2)`.
    pub(super) fn connected(&self, answer: OpResult) {
        let waker = {
            let mut connecting = self.connecting.borrow_mut();
            let connecting = connecting.as_mut().expect("a connect was in flight");
            connecting.key = None;
            connecting.result = Some(connect::finish(answer));
            connecting.waker.take()
        };
        self.reactor.wake_deferred(waker);
    }

    /// There will be no answer: the box with the address is the kernel's for good.
    pub(super) fn connect_abandoned(&self, answer: OpResult) {
        {
            let mut slot = self.connecting.borrow_mut();
            let lent = slot.as_mut().expect("a connect was in flight");
            let (addr, waker) = (lent.addr.clone(), lent.waker.take());
            let own = Box::new(Connecting { addr, key: None, result: None, waker });
            std::mem::forget(slot.replace(own));
        }
        self.connected(answer);
    }

    pub(super) fn cancel_connect(&self) {
        let key = self.connecting.borrow().as_ref().and_then(|connecting| connecting.key);
        if let Some(key) = key {
            self.reactor.cancel(key);
        }
    }

    fn poll_connected(&self, waker: &Waker) -> Poll<io::Result<()>> {
        let waker = waker.clone(); // user code: not under the borrow
        let mut slot = self.connecting.borrow_mut();
        let connecting = slot.as_mut().expect("polled while connecting");
        if let Some(result) = connecting.result.take() {
            let done = slot.take();
            drop(slot);
            drop(done);
            return Poll::Ready(result.map_err(|code| self.reactor.error_of(code)));
        }
        let former = connecting.waker.replace(waker);
        drop(slot);
        drop(former);
        Poll::Pending
    }
}
