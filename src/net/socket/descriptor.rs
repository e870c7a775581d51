//! The descriptor of a connected socket, and the facts that belong to it.
//!
//! ```text
//!        dropped, close()                nothing in flight
//!  Open ────────────────────▶ Closing ───────────────────────▶ closed
//!                                        (the last Rc of the socket drops the descriptor)
//! ```
//!
//! **Absent on purpose.** The reactor and the operations. [`Socket`](super::stream::Socket) has one
//! of these, and deregisters the descriptor before it is closed or given away.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use socket2::{Domain, SockRef};

use crate::sys::{errno, fork};

/// A descriptor and its state. It is kept small, because every idle socket has one.
pub(super) struct Descriptor {
    /// `None` once it has been given away, which happens only while the socket is dropped.
    fd: Option<OwnedFd>,
    /// The error that has ended the connection, or 0. The kernel returns it to one operation only;
    /// the next send fails with `EPIPE`, and the next receive finds the end of the stream.
    broken: Cell<u16>,
    holders: Cell<Holders>,
    is_closing: Cell<bool>,
}

/// The holders of descriptors of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holders {
    /// The loop has made the socket and holds its only descriptor.
    Loop,
    /// The loop has made the socket, and the program has seen the number.
    Program,
    /// The program has made the socket. Its `O_NONBLOCK` flag is not changed.
    Foreign,
}

impl Descriptor {
    pub(super) fn new(fd: OwnedFd) -> Descriptor {
        Descriptor {
            fd: Some(fd),
            broken: Cell::new(0),
            holders: Cell::new(Holders::Loop),
            is_closing: Cell::new(false),
        }
    }

    /// Returns the number, unless the descriptor has been given away.
    pub(super) fn number(&self) -> Option<RawFd> {
        self.fd.as_ref().map(AsRawFd::as_raw_fd)
    }

    pub(super) fn options(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    pub(super) fn is_unix(&self) -> bool {
        self.options().domain().is_ok_and(|domain| domain == Domain::UNIX)
    }

    /// Takes the descriptor, to be given away.
    ///
    /// # Errors
    ///
    /// Those of `fcntl(2)`. The descriptor is then closed.
    pub(super) fn take(&mut self) -> io::Result<OwnedFd> {
        let fd = self.fd.take().expect("taken once");
        if self.holders.get() != Holders::Foreign {
            // On some drivers, accepting and connecting set the flag.
            SockRef::from(&fd).set_nonblocking(false)?;
        }
        Ok(fd)
    }

    // ---- holders ---------------------------------------------------------------------------

    /// Records that another descriptor may name this socket from now on.
    pub(super) fn share(&self) {
        if self.holders.get() == Holders::Loop {
            self.holders.set(Holders::Program);
        }
    }

    /// Records that the program has made this socket, and may have other descriptors of it.
    pub(super) fn mark_foreign(&self) {
        self.holders.set(Holders::Foreign);
    }

    /// Whether no other descriptor, of this process or of a forked child, names this socket.
    pub(super) fn is_exclusive(&self) -> bool {
        self.holders.get() == Holders::Loop && !fork::may_have_happened()
    }

    // ---- closing ---------------------------------------------------------------------------

    /// Records that the program has dropped or closed the socket. Queued bytes are still sent.
    pub(super) fn begin_closing(&self) {
        assert!(!self.is_closing.replace(true), "closed twice");
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    // ---- errors ----------------------------------------------------------------------------

    /// Returns the error that has ended the connection, if the kernel has returned one.
    pub(super) fn broken(&self) -> Option<i32> {
        Some(i32::from(self.broken.get())).filter(|&code| code != 0)
    }

    /// Returns the result of a send or a receive, with the error to report.
    pub(super) fn known_result(&self, result: i32) -> i32 {
        match result {
            0.. => result,
            failure => -self.connection_error(errno::from_result(failure)),
        }
    }

    /// Returns the error that has ended the connection. It is kept, because the kernel returns an
    /// error to one call only: a later receive or send would not get it.
    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let pending = self.options().take_error()?.and_then(|error| error.raw_os_error());
        let pending = pending.map(|code| self.connection_error(code));
        Ok(pending.or(self.broken()).map(io::Error::from_raw_os_error))
    }

    /// Returns the error to report for a send or a receive that has failed with `code`.
    fn connection_error(&self, code: i32) -> i32 {
        match code {
            errno::EPIPE => self.broken().unwrap_or(errno::EPIPE),
            _ => {
                if errno::ends_connection(code) {
                    self.broken.set(code as u16); // an errno
                }
                code
            }
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("taken by `take` only, before the socket is dropped").as_fd()
    }
}
