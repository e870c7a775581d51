//! The waist: requests to a driver and their completions. Data only.
//!
//! Everything above uses these types with every driver; everything below performs them. A new
//! operation is one variant of [`Request`], and the compiler then names every place that has to
//! handle it.

use std::fmt;
use std::num::NonZeroU64;
use std::os::fd::RawFd;

/// The number of an operation among those of its owner. Each owner defines its own tags, from 1 to
/// [`TAG_MAX`].
pub(crate) type Tag = u8;

/// The highest tag. In the lowest byte of `user_data`, 0 is no operation, and the numbers above are
/// the io_uring driver's own entries.
pub(crate) const TAG_MAX: Tag = 0xEF;

/// Names one operation in flight: `generation (32) | slot index (24) | tag (8)`.
///
/// The generation changes each time a slot is freed, so a late completion matches no slot, not even
/// the one that uses the same index now (H35).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(NonZeroU64);

impl Key {
    pub(crate) const INDEX_MAX: u32 = (1 << 24) - 1;

    pub(crate) fn new(index: u32, generation: u32, tag: Tag) -> Key {
        assert!(index <= Key::INDEX_MAX, "slot {index} does not fit in 24 bits");
        assert!((1..=TAG_MAX).contains(&tag), "tag {tag} is not an operation's");
        let raw = u64::from(generation) << 32 | u64::from(index) << 8 | u64::from(tag);
        Key(NonZeroU64::new(raw).expect("no tag is 0"))
    }

    /// The key as the kernel carries it. The lowest byte of a key is never 0.
    pub(crate) fn raw(self) -> u64 {
        self.0.get()
    }

    /// The key in a `user_data`. A value of 0, which is no key, becomes one that no slot ever has.
    pub(crate) fn from_raw(raw: u64) -> Key {
        Key(NonZeroU64::new(raw).unwrap_or(NonZeroU64::MAX))
    }

    pub(crate) fn index(self) -> u32 {
        (self.raw() >> 8) as u32 & Key::INDEX_MAX
    }

    pub(crate) fn generation(self) -> u32 {
        (self.raw() >> 32) as u32
    }

    pub(crate) fn tag(self) -> Tag {
        self.raw() as u8
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}#{}", self.index(), self.generation(), self.tag())
    }
}

/// What an operation does, without its arguments. Names requests in tests.
#[cfg(any(test, fuzzing))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OpKind {
    Accept,
    Recv,
    RecvInto,
    Send,
    Connect,
    PollReadable,
    PollWritable,
    PollHangUp,
}

/// A system call to perform. Plain data: descriptors and pointers, whose owner is in the slot.
///
/// The memory that a request names must stay readable (or writable, for a target) and otherwise
/// untouched until the final completion of its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// `accept4(2)`, once or repeatedly: every completion carries one descriptor.
    Accept { fd: RawFd, is_multishot: bool },
    /// `recv(2)`, repeatedly, into buffers of the pool. With `poll_first` a buffer is looked
    /// for when bytes (or the end) are there, not when the request is made.
    Recv { fd: RawFd, poll_first: bool },
    /// `recv(2)` once, into memory of the caller. Never waits: `EAGAIN` if nothing is there.
    RecvInto { fd: RawFd, target: *mut u8, target_len: u32 },
    /// `send(2)` once. The count may be short (H44).
    Send { fd: RawFd, source: *const u8, source_len: u32 },
    /// `connect(2)`. `addr` points to a `sockaddr` of `addr_len` bytes.
    Connect { fd: RawFd, addr: *const libc::sockaddr, addr_len: u32 },
    /// `poll(2)` once: completes, now or later, with events that meet the interest.
    Poll { fd: RawFd, interest: Interest },
    /// `poll(2)`, repeatedly: completes with the events of now, and after every change.
    PollChanges { fd: RawFd, interest: Interest },
}

/// What a poll waits for. Errors and hang-ups always count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interest {
    Readable,
    Writable,
    /// The end of the peer's bytes, however many are unread, and nothing else.
    HangUp,
}

impl Interest {
    /// As `poll(2)` and io_uring take it.
    pub(crate) fn events(self) -> u32 {
        match self {
            Interest::Readable => libc::POLLIN as u32,
            Interest::Writable => libc::POLLOUT as u32,
            Interest::HangUp => libc::POLLRDHUP as u32,
        }
    }

    /// Whether these events meet the interest.
    pub(crate) fn is_met_by(self, events: u32) -> bool {
        let always = (libc::POLLERR | libc::POLLHUP) as u32;
        let besides = match self {
            Interest::Readable => libc::POLLRDHUP as u32, // the end can be read
            Interest::Writable | Interest::HangUp => 0,
        };
        events & (self.events() | always | besides) != 0
    }

    #[cfg(any(test, fuzzing))]
    fn op_kind(self) -> OpKind {
        match self {
            Interest::Readable => OpKind::PollReadable,
            Interest::Writable => OpKind::PollWritable,
            Interest::HangUp => OpKind::PollHangUp,
        }
    }
}

/// Which results of an operation are progress of the loop: the operation has moved something.
/// Errors, ends and readiness are not. If they matter to a task, its poll is the progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// Any success: a descriptor, a connection.
    Success,
    /// A count of bytes that is not 0.
    Bytes,
    Never,
}

impl Progress {
    pub(crate) fn is_made_by(self, result: i32) -> bool {
        match self {
            Progress::Success => result >= 0,
            Progress::Bytes => result > 0,
            Progress::Never => false,
        }
    }
}

impl Request {
    pub(crate) fn progress(&self) -> Progress {
        match self {
            Request::Accept { .. } | Request::Connect { .. } => Progress::Success,
            Request::Recv { .. } | Request::RecvInto { .. } | Request::Send { .. } => {
                Progress::Bytes
            }
            Request::Poll { .. } | Request::PollChanges { .. } => Progress::Never,
        }
    }

    /// Whether the operation can be cancelled and submitted again without a loss. A cancelled send
    /// may have sent bytes (H32), and a cancelled connect may have connected.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            Request::Accept { .. }
            | Request::Recv { .. }
            | Request::RecvInto { .. }
            | Request::Poll { .. }
            | Request::PollChanges { .. } => true,
            Request::Send { .. } | Request::Connect { .. } => false,
        }
    }

    /// Whether a paused clock stands still while the operation is in flight, because it completes
    /// by itself. The others are *passive*: they may wait for another process without end.
    pub(crate) fn holds_clock(&self) -> bool {
        match self {
            Request::Send { .. } | Request::Connect { .. } | Request::RecvInto { .. } => true,
            Request::Accept { .. }
            | Request::Recv { .. }
            | Request::Poll { .. }
            | Request::PollChanges { .. } => false,
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn op_kind(&self) -> OpKind {
        match self {
            Request::Accept { .. } => OpKind::Accept,
            Request::Recv { .. } => OpKind::Recv,
            Request::RecvInto { .. } => OpKind::RecvInto,
            Request::Send { .. } => OpKind::Send,
            Request::Connect { .. } => OpKind::Connect,
            Request::Poll { interest, .. } | Request::PollChanges { interest, .. } => {
                interest.op_kind()
            }
        }
    }
}

/// The result of a request, or one of several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Completion {
    pub(crate) key: Key,
    /// A count or a descriptor, or a negated errno (and on some kernels stranger things, H19).
    pub(crate) result: i32,
    pub(crate) flags: Flags,
}

/// The flags of a completion. The bits are those of a CQE.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags(u32);

impl Flags {
    const BUFFER: u32 = 1 << 0;
    const MORE: u32 = 1 << 1;
    const BUFFER_SHIFT: u32 = 16;

    /// A final completion without a buffer.
    pub(crate) const NONE: Flags = Flags(0);

    pub(crate) fn from_raw(raw: u32) -> Flags {
        Flags(raw)
    }

    pub(crate) fn with_more(self) -> Flags {
        Flags(self.0 | Flags::MORE)
    }

    pub(crate) fn with_buffer(self, id: u16) -> Flags {
        Flags(self.0 | Flags::BUFFER | u32::from(id) << Flags::BUFFER_SHIFT)
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn raw(self) -> u32 {
        self.0
    }

    /// Whether further completions will follow for the same key. Independent of success: a last
    /// completion can carry bytes or a live descriptor (H49).
    pub(crate) fn more(self) -> bool {
        self.0 & Flags::MORE != 0
    }

    /// The pool buffer that this completion hands over, whatever its result (H58).
    pub(crate) fn buffer(self) -> Option<u16> {
        (self.0 & Flags::BUFFER != 0).then_some((self.0 >> Flags::BUFFER_SHIFT) as u16)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        if self.more() {
            list.entry(&format_args!("MORE"));
        }
        if let Some(id) = self.buffer() {
            list.entry(&format_args!("BUFFER {id}"));
        }
        list.finish()
    }
}

/// The outcome of a push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum PushOutcome {
    Taken,
    /// Nothing happened. There is room after a flush.
    Full,
}

/// Whether nothing of a driver is in flight any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Drained {
    Yes,
    /// Something is still in flight: the memory that it names must be leaked.
    No,
}

/// How long [`wait`](super::Driver::wait) may sleep.
///
/// A shorter sleep is less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Wait {
    /// Not at all: there is work.
    Poll,
    /// Until this moment of the driver's clock, in nanoseconds.
    Until(u64),
    /// Until something completes.
    Forever,
}

impl Wait {
    pub(crate) fn may_sleep(self) -> bool {
        self != Wait::Poll
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: only what has moved something is progress, so that a poll that is ready in every turn
    /// and is not handled shows as a spin (H78).
    /// Method: a success without bytes, a success with bytes and an error of each form.
    /// Kills: readiness, the end of a stream or an error that counts.
    #[test]
    fn readiness_and_ends_are_no_progress() {
        let made_by = |request: Request| {
            [0, 1, -libc::EPIPE].map(|result| request.progress().is_made_by(result))
        };
        let (fd, interest) = (0, Interest::Readable);
        assert_eq!(made_by(Request::Accept { fd, is_multishot: true }), [true, true, false]);
        assert_eq!(made_by(Request::Recv { fd, poll_first: false }), [false, true, false]);
        assert_eq!(made_by(Request::Poll { fd, interest }), [false; 3]);
        assert_eq!(made_by(Request::PollChanges { fd, interest }), [false; 3]);
    }

    /// One request of each variant.
    fn each_variant() -> Vec<Request> {
        let (fd, interest) = (0, Interest::Readable);
        let (target, source, addr) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
        let all = vec![
            Request::Accept { fd, is_multishot: true },
            Request::Recv { fd, poll_first: false },
            Request::RecvInto { fd, target, target_len: 0 },
            Request::Send { fd, source, source_len: 0 },
            Request::Connect { fd, addr, addr_len: 0 },
            Request::Poll { fd, interest },
            Request::PollChanges { fd, interest },
        ];
        // A variant that is missing above is a compile error here.
        let name = |request: &Request| match request {
            Request::Accept { .. } => "accept",
            Request::Recv { .. } => "recv",
            Request::RecvInto { .. } => "recv into",
            Request::Send { .. } => "send",
            Request::Connect { .. } => "connect",
            Request::Poll { .. } => "poll",
            Request::PollChanges { .. } => "poll changes",
        };
        let names: std::collections::BTreeSet<&str> = all.iter().map(name).collect();
        assert_eq!(names.len(), all.len());
        all
    }

    /// Goal: a paused clock waits for the operations that complete by themselves, and for no other.
    ///
    /// Method: one request of each variant, against the list of those that wait for others.
    ///
    /// Kills: a connect or a send that does not hold the clock; an accept, a receive or a poll that
    /// holds it, maybe without end.
    #[test]
    fn operations_that_complete_by_themselves_hold_the_clock() {
        for request in each_variant() {
            let is_passive = matches!(
                request.op_kind(),
                OpKind::Accept
                    | OpKind::Recv
                    | OpKind::PollReadable
                    | OpKind::PollWritable
                    | OpKind::PollHangUp
            );
            assert_eq!(request.holds_clock(), !is_passive, "{request:?}");
        }
    }

    /// Goal: the sizes that the hot path counts on.
    /// Method: pin them. Kills: a field added to `Completion` without thought.
    #[test]
    fn completions_are_sixteen_bytes() {
        assert_eq!(size_of::<Completion>(), 16);
        assert_eq!(size_of::<Request>(), 24);
    }

    /// Goal: a key's parts survive the trip through the kernel.
    /// Method: both ends of each field. Kills: a shift or mask off by one.
    #[test]
    fn keys_keep_their_parts() {
        for (index, generation) in [(0, 0), (Key::INDEX_MAX, u32::MAX), (1, 7)] {
            let key = Key::from_raw(Key::new(index, generation, TAG_MAX).raw());
            assert_eq!((key.index(), key.generation()), (index, generation));
            assert_eq!(key.tag(), TAG_MAX);
        }
    }
}
