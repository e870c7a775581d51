//! The descriptors that epoll watches, and the operations that wait on them.
//!
//! **Interest is per open file, and goes away with it.** A descriptor is added once, for every
//! edge, at its first request: one system call per connection, not per operation. An edge that
//! finds nothing pending removes it, as others may be busy with the file. The kernel drops the
//! interest when the last descriptor of the file closes, not when ours does: a duplicate, in this
//! process or in a child, would continue to wake a loop that no longer knows the descriptor. So the
//! owner that closes a socket calls [`Interests::deregister`] first, which removes it. The next
//! owner of the number is then new here as well.

use std::io;
use std::os::fd::RawFd;

use crate::driver::request::{Interest, Key, Request};
use crate::sys::epoll::{self, Event};
use crate::sys::socket::is_plain_tcp;

/// A direction of a descriptor, where one operation can wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) fd: RawFd,
    pub(super) direction: Direction,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    In,
    Out,
    /// The end of the peer's bytes. Apart from `In`, as a receive may be pending beside it.
    HangUp,
}

pub(super) struct Interests {
    pub(super) epoll: epoll::Epoll,
    /// By descriptor number. Numbers are small: the kernel gives out the lowest that is free.
    sockets: Vec<Socket>,
    /// Where the operation of each slot is, by the key's index.
    places: Vec<Place>,
}

/// A descriptor.
#[derive(Default)]
pub(super) struct Socket {
    is_added: bool,
    pub(super) short_read: ShortRead,
    input: InterestSide,
    output: InterestSide,
    hang_up: InterestSide,
}

/// What a read that fills less than its buffer means.
#[derive(Clone, Copy, Default)]
pub(super) enum ShortRead {
    #[default]
    NotAsked,
    /// Nothing is left: the socket is plain TCP.
    Empty,
    /// Something may be left. Stays until the descriptor is closed.
    MayHaveMore,
}

/// One direction of a descriptor.
#[derive(Default)]
pub(super) struct InterestSide {
    pub(super) pending: Option<(Key, Request)>,
    pub(super) is_on_run_list: bool,
}

impl Place {
    /// Where a request waits.
    pub(super) fn of(request: &Request) -> Place {
        let (fd, direction) = match *request {
            Request::Accept { fd, .. }
            | Request::Recv { fd, .. }
            | Request::RecvInto { fd, .. } => (fd, Direction::In),
            Request::Send { fd, .. } | Request::Connect { fd, .. } => (fd, Direction::Out),
            Request::Poll { fd, interest } | Request::PollChanges { fd, interest } => {
                let direction = match interest {
                    Interest::Readable => Direction::In,
                    Interest::Writable => Direction::Out,
                    Interest::HangUp => Direction::HangUp,
                };
                (fd, direction)
            }
        };
        Place { fd, direction }
    }
}

impl Interests {
    pub(super) fn new(epoll: epoll::Epoll) -> Interests {
        Interests { epoll, sockets: Vec::new(), places: Vec::new() }
    }

    /// Notes where the operation of a key is.
    pub(super) fn set_place(&mut self, key: Key, place: Place) {
        let index = key.index() as usize;
        if index >= self.places.len() {
            self.places.resize(index + 1, place);
        }
        self.places[index] = place;
    }

    pub(super) fn place_of(&self, key: Key) -> Place {
        self.places[key.index() as usize]
    }

    /// Has a descriptor watched, and makes it non-blocking where a flag of the call cannot.
    pub(super) fn add(&mut self, fd: RawFd, request: &Request) -> io::Result<()> {
        if self.socket_or_new(fd).is_added {
            return Ok(());
        }
        match request {
            Request::Accept { .. } | Request::Connect { .. } => epoll::set_nonblocking(fd)?,
            Request::Recv { .. } | Request::RecvInto { .. } | Request::Send { .. } => {}
            Request::Poll { .. } | Request::PollChanges { .. } => {} // the flags are its owner's
        }
        self.epoll.add(fd, epoll::EVERY_EDGE, fd as u64)?;
        self.socket_or_new(fd).is_added = true;
        Ok(())
    }

    /// Removes a descriptor that is about to be closed. No operation names it any more.
    pub(super) fn deregister(&mut self, fd: RawFd) {
        if let Some(socket) = self.sockets.get_mut(fd as usize) {
            let pending = socket.pending();
            assert!(pending == [None; 3], "descriptor {fd} is closed with {pending:?} pending");
            if std::mem::take(socket).is_added {
                self.epoll.remove(fd);
            }
        }
    }

    /// Notes that the program has seen the descriptor: the socket may become something else than
    /// plain TCP at any time.
    pub(super) fn expose(&mut self, fd: RawFd) {
        self.socket_or_new(fd).short_read = ShortRead::MayHaveMore;
    }

    /// A descriptor that was added.
    pub(super) fn socket(&mut self, fd: RawFd) -> &mut Socket {
        &mut self.sockets[fd as usize]
    }

    pub(super) fn side(&mut self, place: Place) -> &mut InterestSide {
        self.socket(place.fd).side(place.direction)
    }

    /// Handles an event of a descriptor. Returns the directions whose pending operation is to be
    /// tried.
    pub(super) fn directions_of(&mut self, event: Event) -> [Option<Direction>; 3] {
        let fd = event.data as RawFd;
        let Some(socket) = self.sockets.get_mut(fd as usize) else { return [None; 3] };
        if event.events & epoll::MORE_TO_READ != 0 {
            socket.short_read = ShortRead::MayHaveMore;
        }
        let pending = socket.pending();
        if pending == [None; 3] {
            socket.is_added = false; // its next request adds it again
            self.epoll.remove(fd);
            return [None; 3];
        }
        let [input, output, hang_up] = pending.map(|pending| pending.is_some());
        [
            (input && event.events & epoll::READABLE != 0).then_some(Direction::In),
            (output && event.events & epoll::WRITABLE != 0).then_some(Direction::Out),
            (hang_up && event.events & epoll::HUNG_UP != 0).then_some(Direction::HangUp),
        ]
    }

    fn socket_or_new(&mut self, fd: RawFd) -> &mut Socket {
        let index = usize::try_from(fd).expect("descriptors are not negative");
        if index >= self.sockets.len() {
            self.sockets.resize_with(index + 1, Socket::default);
        }
        &mut self.sockets[index]
    }
}

impl Socket {
    fn side(&mut self, direction: Direction) -> &mut InterestSide {
        match direction {
            Direction::In => &mut self.input,
            Direction::Out => &mut self.output,
            Direction::HangUp => &mut self.hang_up,
        }
    }

    /// What is pending: in, out, and for the peer's end.
    fn pending(&self) -> [Option<(Key, Request)>; 3] {
        [self.input.pending, self.output.pending, self.hang_up.pending]
    }

    /// Whether a short read means that nothing is left (`perform`). Asks the kernel for the kind of
    /// the socket at the first short read.
    pub(super) fn is_empty_after_short_read(&mut self, fd: RawFd) -> bool {
        if matches!(self.short_read, ShortRead::NotAsked) {
            self.short_read = match is_plain_tcp(fd) {
                true => ShortRead::Empty,
                false => ShortRead::MayHaveMore,
            };
        }
        matches!(self.short_read, ShortRead::Empty)
    }
}
