//! Reaching a listener.
//!
//! **`connect(2)` is called here, not by the driver.** On a Unix socket there is nothing to wait
//! for: it connects or fails within the call. One case is left, a listener whose backlog is full. A
//! blocking connect sleeps then, one that must not block gets `EAGAIN`, and nothing in between
//! exists: a socket that has not connected polls as writable (`POLLOUT | POLLHUP`), so there is no
//! event that says "now". Asked to wait all the same (Linux 6.18), io_uring tries 128 times in a
//! row and then gives every such connect a kernel thread of its own, up to `RLIMIT_NPROC`; if the
//! socket has `O_NONBLOCK`, it answers `EAGAIN` after as many tries. epoll would wait for an edge
//! that never comes. So: ask, and ask again after a pause, which is the same on every driver.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::addr;
use crate::reactor::Reactor;
use crate::task::coop;
use crate::time;

/// The pause doubles from the one to the other, so that a thousand connects which wait cost
/// little, and one that waits for a server which is about to accept loses little.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(64);

pub(super) async fn connect(reactor: &Rc<Reactor>, path: &Path) -> io::Result<OwnedFd> {
    let (socket, addr) = match socket_for(path) {
        Ok(made) => made,
        Err(error) => return coop::ready(Err(error)).await,
    };
    let mut pause = PAUSE_MIN;
    loop {
        match coop::leaf_fn(|_| Poll::Ready(socket.connect(&addr))).await {
            Ok(()) => return Ok(socket.into()),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        time::pause(reactor, pause).await?;
        pause = PAUSE_MAX.min(2 * pause);
    }
}

fn socket_for(path: &Path) -> io::Result<(Socket, SockAddr)> {
    let addr = addr::to_addr(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    Ok((socket, addr))
}
