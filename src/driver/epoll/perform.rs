//! Requests as non-blocking system calls.
//!
//! Multishot requests are emulated: the request stays until it is cancelled or ends, and each call
//! that brings something posts a completion with MORE.
//!
//! - **A short read means "empty" on plain TCP only** (H86), and there not after an event with
//!   `RDHUP`, `HUP` or `ERR` (one more read returns the end) or `PRI` (a read stops at the mark of
//!   urgent data). On any other socket a read also stops where the kernel cuts: at descriptors or
//!   credentials on a Unix socket, at a record under kTLS. Such a socket is read until `EAGAIN`.
//!   A descriptor that the program has seen may get kTLS at any time, so its socket counts as
//!   another kind from then on (`Epoll::expose`).
//! - **A failed connect is writable**, and so, for a moment, is one that has not begun. A second
//!   `connect` returns which it is: `EISCONN`, `EALREADY`, or the error.
//! - **A file that epoll refuses is always ready.** `EPERM` means that the file (a regular one) has
//!   no notion of readiness, and `poll(2)` reports every event of such a file.
#![allow(unsafe_code)] // socket calls on lent memory

use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use super::interest::Socket;
use crate::buf::{Loan, Pool};
use crate::driver::request::{Completion, Flags, Key, Request};
use crate::sys::{epoll, errno};

/// Completions that one multishot operation may post in one go, so that a busy socket does not
/// starve the others (H53).
pub(super) const SHOTS_PER_TRY_MAX: usize = 4;

/// The same for accepts, which bring little each.
const ACCEPTS_PER_TRY_MAX: usize = 32;

/// What one try has brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Tried {
    /// The operation is over, with this result.
    Ended(i32),
    WaitsForEdge,
    /// A multishot operation that would bring more right now.
    HasMore,
}

pub(super) struct Performer {
    pub(super) pool: Rc<Pool>,
    /// A buffer that was lent for a call which brought nothing. The next call gets it.
    spare: Option<Loan>,
}

impl Performer {
    pub(super) fn new(pool: Rc<Pool>) -> Performer {
        Performer { pool, spare: None }
    }

    /// Tries a request once, or some times if it is a multishot one. Completions but the last are
    /// appended to `out`.
    pub(super) fn perform(
        &mut self,
        key: Key,
        request: Request,
        socket: &mut Socket,
        out: &mut Vec<Completion>,
    ) -> Tried {
        match request {
            Request::Accept { fd, is_multishot } => accept(key, fd, is_multishot, out),
            // A buffer is looked for when bytes are there, whether asked to or not.
            Request::Recv { fd, poll_first: _ } => self.recv(key, fd, socket, out),
            Request::RecvInto { fd, target, target_len } => {
                // SAFETY: the slot's owner keeps the target valid and untouched until the final
                // completion, which has not been posted.
                at_once(unsafe { epoll::recv(fd, target, target_len) })
            }
            Request::Send { fd, source, source_len } => {
                // SAFETY: as above, for a source that is read.
                once(unsafe { epoll::send(fd, source, source_len) })
            }
            Request::Connect { fd, addr, addr_len } => {
                // SAFETY: as above, for an address that is read.
                connected(unsafe { epoll::connect(fd, addr, addr_len) })
            }
            // Changes are asked for where a poll reports more than was asked, which is not here.
            Request::Poll { fd, interest } | Request::PollChanges { fd, interest } => {
                polled(epoll::poll(fd, interest.events()))
            }
        }
    }

    /// Multishot `recv(2)` into buffers of the pool.
    fn recv(
        &mut self,
        key: Key,
        fd: RawFd,
        socket: &mut Socket,
        out: &mut Vec<Completion>,
    ) -> Tried {
        for _ in 0..SHOTS_PER_TRY_MAX {
            let Some(loan) = self.spare.take().or_else(|| self.pool.lend()) else {
                // Without a byte or an end to be read, no buffer is missing.
                return match epoll::is_readable(fd) {
                    true => Tried::Ended(-errno::ENOBUFS),
                    false => Tried::WaitsForEdge,
                };
            };
            // SAFETY: the loan is `target_len` writable bytes of the pool, which are used nowhere
            // else while they are lent (`buf::pool`).
            let result = unsafe { epoll::recv(fd, loan.target, loan.target_len) };
            if result <= 0 {
                self.spare = Some(loan);
                return once(result);
            }
            let flags = Flags::NONE.with_more().with_buffer(loan.id);
            out.push(Completion { key, result, flags });
            let is_short = (result as u32) < loan.target_len;
            if is_short && socket.is_empty_after_short_read(fd) {
                return Tried::WaitsForEdge;
            }
        }
        Tried::HasMore
    }
}

/// Multishot `accept4(2)`.
fn accept(key: Key, fd: RawFd, is_multishot: bool, out: &mut Vec<Completion>) -> Tried {
    for _ in 0..ACCEPTS_PER_TRY_MAX {
        let result = epoll::accept(fd);
        if result < 0 {
            // The kernel looks for a free number first and for a connection second, so a shortage
            // is one only if a connection waits.
            let is_shortage = matches!(-result, errno::EMFILE | errno::ENFILE);
            let is_real = !is_shortage || epoll::is_readable(fd);
            return if is_real { once(result) } else { Tried::WaitsForEdge };
        }
        if !is_multishot {
            return Tried::Ended(result);
        }
        out.push(Completion { key, result, flags: Flags::NONE.with_more() });
    }
    Tried::HasMore
}

/// The outcome of a single call.
fn once(result: i32) -> Tried {
    match -result {
        errno::EAGAIN => Tried::WaitsForEdge,
        errno::EINTR => Tried::HasMore,
        _ => Tried::Ended(result),
    }
}

/// The outcome of a call that does not wait for an edge.
fn at_once(result: i32) -> Tried {
    if result == -errno::EINTR { Tried::HasMore } else { Tried::Ended(result) }
}

fn polled(result: i32) -> Tried {
    if result == 0 { Tried::WaitsForEdge } else { once(result) }
}

fn connected(result: i32) -> Tried {
    match -result {
        errno::EINPROGRESS | errno::EALREADY => Tried::WaitsForEdge,
        errno::EISCONN => Tried::Ended(0),
        errno::EAGAIN => Tried::Ended(result), // not begun, so no edge will come
        _ => once(result),
    }
}

/// The result of a request for a descriptor that epoll does not take.
pub(super) fn refused(error: &io::Error, request: &Request) -> i32 {
    match (error.raw_os_error(), request) {
        (
            Some(errno::EPERM),
            Request::Poll { interest, .. } | Request::PollChanges { interest, .. },
        ) => interest.events() as i32,
        (code, _) => -code.unwrap_or(errno::EIO),
    }
}
