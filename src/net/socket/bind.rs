//! Binding a listening socket whose address is about to become free.
//!
//! After a process with a ring was killed, the kernel takes the ring down in a worker, and until
//! then the accept that was in flight holds the listening socket: 4 to 16 ms, 53 to 93 ms with 8
//! 000 connections (H84). A supervisor that restarts a server is faster than that.
//!
//! So `EADDRINUSE` is tried again for a while. The thread sleeps meanwhile, and the loop with it:
//! binding is part of starting, and its callers are not futures.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use socket2::{SockAddr, Socket};

use crate::error::Unhandled;
use crate::primitives;
use crate::reactor::Reactor;

/// How long a bind waits for its address by default.
pub(in crate::net) const PATIENCE: Duration = Duration::from_secs(1);

/// The pause doubles from the one to the other.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(16);

/// Binds `socket` to `addr` and listens. Retries for `patience` while the address is in use, and
/// reports it if that was necessary and helped.
pub(in crate::net) fn bind_and_listen(
    reactor: &Rc<Reactor>,
    socket: &Socket,
    addr: &SockAddr,
    backlog: i32,
    patience: Duration,
) -> io::Result<()> {
    let mut is_bound = false;
    let mut try_once = || {
        if !is_bound {
            socket.bind(addr)?;
            is_bound = true;
        }
        socket.listen(backlog)
    };
    let is_taken = |result: &io::Result<()>| {
        result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    };
    let mut result = try_once();
    let (mut waited, mut pause) = (Duration::ZERO, PAUSE_MIN);
    while is_taken(&result) && waited < patience {
        let next = pause.min(patience - waited);
        primitives::pause(next);
        waited += next;
        pause = PAUSE_MAX.min(2 * pause);
        result = try_once();
    }
    if result.is_ok() && !waited.is_zero() {
        reactor.report(Unhandled::BindWaited { addr: describe(addr), waited });
    }
    result
}

fn describe(addr: &SockAddr) -> String {
    match addr.as_socket() {
        Some(addr) => addr.to_string(),
        None => format!("{:?}", addr.as_abstract_namespace().map(String::from_utf8_lossy)),
    }
}
