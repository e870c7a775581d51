//! Binding a listening socket, with retries while its address is in use.
//!
//! When a process with a ring is killed, the kernel removes the ring in a worker. Until then the
//! accept in flight holds the listening socket: for 4 to 16 ms, and 53 to 93 ms with 8 000
//! connections (H84). A supervisor may restart the server faster than that. So a bind that fails
//! with `EADDRINUSE` is repeated for a while.
//!
//! The thread sleeps between two attempts, and the loop with it: a program binds when it starts,
//! and the callers are not futures.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use socket2::{SockAddr, Socket};

use crate::error::Unhandled;
use crate::primitives;
use crate::reactor::Reactor;

/// The default time for which a bind is repeated.
pub(in crate::net) const PATIENCE: Duration = Duration::from_secs(1);

/// The first and the longest pause between two attempts. The pause doubles.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(16);

/// Binds `socket` to `addr` and listens.
///
/// Repeats the attempt for `patience` while the address is in use. If a later attempt succeeds,
/// reports [`Unhandled::BindWaited`].
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
