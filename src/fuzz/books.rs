//! The oracle's books: what each side has done, and what must therefore be true.
//!
//! Nothing here is learned from the library. Bytes that the kernel delivers follow a pattern of
//! their connection and position, so a byte that is lost, doubled or out of order is the wrong
//! byte. The first contradiction is kept, and ends the run.

use std::fmt;
use std::os::fd::RawFd;
use std::sync::OnceLock;

use super::choices::Random;
use super::{descriptors, memory};
use crate::driver::request::{OpKind, Request};
use crate::driver::uring::scripted::Submitted;
use crate::net::Overflow;

const PATTERN_LEN: usize = 1 << 18;

/// `len` bytes of the stream that connection `conn` receives, from `position` on.
pub(super) fn pattern(conn: usize, position: usize, len: usize) -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = PATTERN.get_or_init(|| {
        let mut random = Random::new(1);
        (0..PATTERN_LEN).map(|_| random.next() as u8).collect()
    });
    let start = conn * 977 + position;
    &bytes[start..start + len]
}

/// One connection, from both sides.
#[derive(Default, Debug)]
pub(super) struct Conn {
    /// The kernel has dropped a completion of it.
    pub(super) is_damaged: bool,
    pub(super) fd: RawFd,
    pub(super) inode: u64,
    /// The listener that it was accepted by.
    pub(super) listener: Option<usize>,
    /// The other end, the model's.
    pub(super) peer: Option<RawFd>,
    /// Other descriptors may name the same open file.
    pub(super) is_exposed: bool,
    /// The library has shut down the receiving side.
    pub(super) is_shut: bool,
    /// The program has been given it.
    pub(super) is_handed_over: bool,

    /// Bytes that the kernel has delivered, and how they ended.
    pub(super) in_delivered: usize,
    pub(super) in_end: Option<InEnd>,
    /// Bytes that the program has read.
    pub(super) in_read: usize,

    /// Bytes that the program has queued, and perhaps some that it is about to.
    pub(super) out: Vec<u8>,
    /// How many of them are queued for certain.
    pub(super) out_confirmed: usize,
    /// How many the kernel has taken.
    pub(super) out_taken: usize,
    /// The kernel has refused to send. What it has not taken is lost.
    pub(super) out_error: Option<i32>,
    /// A long write was dropped in the middle. The program writes no more.
    pub(super) is_cut: bool,
    pub(super) is_fin_asked: bool,

    pub(super) is_aborted: bool,
    /// `close()` has returned an error.
    pub(super) is_loss_known: bool,
    /// Handles of the program, and when the last one went.
    pub(super) handles_count: u32,
    pub(super) dropped_at_ns: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InEnd {
    Eof,
    Failed(i32),
}

/// A descriptor that operations may name.
#[derive(Debug)]
pub(super) struct File {
    pub(super) fd: RawFd,
    pub(super) inode: u64,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Conn(usize),
    Listener(usize),
    /// A duplicate that the library has made.
    Watch(usize),
}

/// An operation that the kernel has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    pub(super) submitted: Submitted,
    pub(super) inode: u64,
    pub(super) kind: Kind,
    /// The kernel has been asked to cancel it.
    pub(super) is_cancelled: bool,
    /// It has not heeded that yet, and only another cancel will end the operation.
    pub(super) is_cancel_lost: bool,
    /// Cancels that it has not heeded.
    pub(super) cancels_lost: u32,
}

impl Op {
    pub(super) fn op_kind(&self) -> OpKind {
        self.submitted.request.op_kind()
    }

    pub(super) fn conn(&self) -> usize {
        match self.kind {
            Kind::Conn(conn) => conn,
            _ => panic!("{self:?} is for no connection"),
        }
    }
}

#[derive(Default, Debug)]
pub(super) struct Listener {
    /// The kernel has dropped a completion of it.
    pub(super) is_damaged: bool,
    pub(super) is_dropped: bool,
    pub(super) errors: Vec<i32>,
    /// Connections that may be open at once, and whether more are accepted and reset.
    pub(super) limit: Option<(usize, Overflow)>,
    /// Tasks that wait in an `accept()`.
    pub(super) waiting_count: usize,
    /// Connections that the kernel has accepted and the program has not been given.
    pub(super) untaken_count: usize,
}

#[derive(Default, Debug)]
pub(super) struct Watched {
    /// The kernel has dropped a completion of it.
    pub(super) is_damaged: bool,
    pub(super) inode: u64,
    pub(super) is_dropped: bool,
    /// Answers that the kernel has given, for reading and for writing.
    pub(super) answers: [u32; 2],
    pub(super) errors: Vec<i32>,
}

#[derive(Default)]
pub(super) struct Books {
    pub(super) conns: Vec<Conn>,
    pub(super) listeners: Vec<Listener>,
    pub(super) watches: Vec<Watched>,
    pub(super) files: Vec<File>,
    pub(super) ops: Vec<Op>,
    /// Cancels that the kernel has not looked at: their own `user_data`, and the target's.
    pub(super) cancels: Vec<(u64, u64)>,
    /// The library's watchdog is on.
    pub(super) is_watched: bool,
    /// Completions that the kernel has dropped.
    pub(super) dropped_count: u32,
    /// The driver has been failed.
    pub(super) is_broken: bool,
    /// The runtime is ending or has ended.
    pub(super) is_over: bool,
    /// The kernel answers nothing any more.
    pub(super) is_mute: bool,
    pub(super) exhausted_errors: u32,
    pub(super) undrained_reports: u32,
    pub(super) loss_reports: u32,
    pub(super) violation: Option<String>,
    pub(super) trace: Trace,
}

/// What happened, as a hash, and as text on request.
#[derive(Default)]
pub(super) struct Trace {
    pub(super) hash: u64,
    pub(super) lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn note(&mut self, what: &str, number: u64, value: i64) {
        for word in [what.len() as u64 ^ u64::from(what.as_bytes()[0]), number, value as u64] {
            self.hash = (self.hash ^ word).wrapping_mul(0x0100_0000_01B3).rotate_left(17);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{what} {number:#x} {value}"));
        }
    }

    /// Something that only a reader of the text needs.
    pub(super) fn remark(&mut self, remark: fmt::Arguments<'_>) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("  {remark}"));
        }
    }
}

impl Books {
    /// Keeps the first violation.
    pub(super) fn violated(&mut self, what: fmt::Arguments<'_>) {
        if self.violation.is_none() {
            self.trace.note("violation", 0, 0);
            self.trace.remark(what);
            self.violation = Some(what.to_string());
        }
    }

    pub(super) fn check_memory(&mut self) {
        if let Some(user_data) = memory::freed() {
            self.violated(format_args!("memory lent to operation {user_data:#x} was freed"));
        }
    }

    pub(super) fn find_op(&self, user_data: u64) -> Option<usize> {
        self.ops.iter().position(|op| op.submitted.user_data == user_data)
    }

    pub(super) fn find_conn(&self, fd: RawFd) -> Option<usize> {
        let inode = descriptors::inode(fd)?;
        self.conns.iter().position(|conn| conn.fd == fd && conn.inode == inode)
    }

    /// The receiving side of a socket is shut down.
    pub(super) fn shut_down(&mut self, fd: RawFd) {
        self.trace.note("shut down", 0, i64::from(fd));
        match self.find_conn(fd) {
            Some(number) if self.conns[number].is_exposed => self.violated(format_args!(
                "connection {number} is shut down for reading, and others may hold it"
            )),
            Some(number) => self.conns[number].is_shut = true,
            None => self.violated(format_args!("{fd} is shut down and is no connection")),
        }
    }

    /// Whether the program has dropped what a receive or a poll belongs to.
    pub(super) fn is_orphan(&self, op: Op) -> bool {
        match op.kind {
            Kind::Conn(number) => {
                let conn = &self.conns[number];
                let reads = matches!(op.op_kind(), OpKind::Recv | OpKind::RecvInto);
                reads && conn.is_handed_over && conn.handles_count == 0
            }
            Kind::Watch(number) => self.watches[number].is_dropped,
            Kind::Listener(_) => false,
        }
    }

    /// Connections of a listener that are open.
    pub(super) fn open_count(&self, listener: usize) -> usize {
        let is_its = |conn: &&Conn| conn.listener == Some(listener);
        let is_open = |conn: &&Conn| descriptors::inode(conn.fd) == Some(conn.inode);
        self.conns.iter().filter(is_its).filter(is_open).count()
    }

    /// A listener below its limit asks for the connection that a task waits for.
    pub(super) fn check_limits(&mut self) {
        for number in 0..self.listeners.len() {
            let listener = &self.listeners[number];
            let Some((max, _)) = listener.limit else { continue };
            let is_wanted = listener.waiting_count > 0 && !listener.is_dropped;
            let is_asked = self.ops.iter().any(|op| op.kind == Kind::Listener(number));
            let has_room = self.open_count(number) < max;
            if is_wanted && has_room && !is_asked && !self.is_broken {
                self.violated(format_args!("listener {number} has room and does not accept"));
            }
        }
    }

    pub(super) fn listener_of(&self, op: Op) -> Option<&Listener> {
        match op.kind {
            Kind::Listener(number) if !self.is_over => Some(&self.listeners[number]),
            _ => None,
        }
    }

    /// The kernel has consumed an operation.
    pub(super) fn submitted(&mut self, user_data: u64, request: Request) {
        let op_kind = request.op_kind();
        let fd = fd_of(request);
        self.trace.note("submitted", user_data, i64::from(fd));
        self.trace.remark(format_args!("{request:?}"));
        let Some(inode) = descriptors::inode(fd) else {
            return self.violated(format_args!("{op_kind:?} names {fd}, which is closed"));
        };
        let known = self.files.iter().find(|file| file.fd == fd && file.inode == inode);
        let kind = match known {
            Some(file) => file.kind,
            None => match self.adopt(fd, inode, request) {
                Some(kind) => kind,
                None => {
                    return self.violated(format_args!("{op_kind:?} names {fd}, which is unknown"));
                }
            },
        };
        let is_double = |op: &&Op| op.kind == kind && side(op.op_kind()) == side(op_kind);
        if let Some(other) = self.ops.iter().find(is_double).copied() {
            self.violated(format_args!("{op_kind:?} on {kind:?} beside {:?}", other.op_kind()));
        }
        let submitted = Submitted { user_data, request };
        let (is_cancelled, is_cancel_lost, cancels_lost) = (false, false, 0);
        self.ops.push(Op { submitted, inode, kind, is_cancelled, is_cancel_lost, cancels_lost });
        if let Request::Send { source, source_len, .. } = request {
            self.check_memory();
            self.check_source(kind, source, source_len as usize);
        }
    }

    /// The kernel is given what an operation names. It may read or write it from now on.
    pub(super) fn pushed(&mut self, user_data: u64, request: Request) {
        match request {
            Request::RecvInto { target, target_len, .. } => {
                memory::lend(user_data, target, target_len as usize);
            }
            Request::Connect { addr, addr_len, .. } => {
                memory::lend(user_data, addr.cast(), addr_len as usize);
            }
            Request::Send { source, source_len, .. } => {
                memory::lend(user_data, source, source_len as usize);
            }
            Request::Accept { .. }
            | Request::Recv { .. }
            | Request::Poll { .. }
            | Request::PollChanges { .. } => {}
        }
    }

    /// A descriptor that the library has opened itself.
    fn adopt(&mut self, fd: RawFd, inode: u64, request: Request) -> Option<Kind> {
        let kind = match request {
            Request::Connect { .. } => {
                self.conns.push(Conn { fd, inode, ..Conn::default() });
                Kind::Conn(self.conns.len() - 1)
            }
            Request::Poll { .. } | Request::PollChanges { .. } => {
                Kind::Watch(self.watches.iter().position(|watch| watch.inode == inode)?)
            }
            Request::Accept { .. }
            | Request::Recv { .. }
            | Request::RecvInto { .. }
            | Request::Send { .. } => return None,
        };
        self.files.push(File { fd, inode, kind });
        Some(kind)
    }

    /// What a send in flight would send is what the program queued next.
    pub(super) fn check_source(&mut self, kind: Kind, source: *const u8, len: usize) {
        let Kind::Conn(number) = kind else {
            return self.violated(format_args!("a send on {kind:?}"));
        };
        if memory::freed().is_some() {
            return; // reported by `check_memory`
        }
        let conn = &self.conns[number];
        let bytes = memory::read(source, len);
        let start = conn.out_taken;
        if conn.out.get(start..start + len) != Some(&bytes[..]) {
            let queued = conn.out.len() - start;
            self.violated(format_args!(
                "connection {number} sends {len} bytes from {start} on that are not what was \
                 queued next ({queued} bytes)"
            ));
        } else if conn.peer.is_some_and(descriptors::has_ended) && !self.is_broken {
            self.violated(format_args!("connection {number} sends behind its end"));
        }
    }

    /// A cancel has a reason: the future or the resource that asked for the operation has gone.
    /// Receives are cancelled for backpressure as well, and polls once they have been answered.
    pub(super) fn check_cancel(&mut self, op: &Op, now_ns: u64, linger_ns: u64) {
        let has_reason = match (op.op_kind(), op.kind) {
            (OpKind::Send, Kind::Conn(number)) => {
                let conn = &self.conns[number];
                let has_expired = conn.dropped_at_ns.is_some_and(|at| now_ns >= at + linger_ns);
                conn.is_aborted || has_expired
            }
            (OpKind::Accept, Kind::Listener(number)) => self.listeners[number].is_dropped,
            (OpKind::Connect, Kind::Conn(number)) => !self.conns[number].is_handed_over,
            _ => true,
        };
        // The watchdog cancels what is silent while its descriptor is ready, and the model's are.
        if !(has_reason || self.is_over || self.is_broken || self.is_watched) {
            self.violated(format_args!(
                "{:?} on {:?} is cancelled by mistake",
                op.op_kind(),
                op.kind
            ));
        }
    }

    /// The descriptor of an operation is still the one that it was submitted with.
    pub(super) fn check_open(&mut self, op: &Op) {
        let fd = fd_of(op.submitted.request);
        // A driver that has failed submits nothing more, and what is in flight holds the open file.
        if descriptors::inode(fd) != Some(op.inode) && !self.is_broken {
            let op_kind = op.op_kind();
            self.violated(format_args!(
                "{fd} was closed while {op_kind:?} on {:?} named it",
                op.kind
            ));
        }
    }
}

pub(super) fn fd_of(request: Request) -> RawFd {
    match request {
        Request::Accept { fd, .. }
        | Request::Recv { fd, .. }
        | Request::RecvInto { fd, .. }
        | Request::Send { fd, .. }
        | Request::Connect { fd, .. }
        | Request::Poll { fd, .. }
        | Request::PollChanges { fd, .. } => fd,
    }
}

/// Operations of the same side of a file exclude each other.
fn side(op_kind: OpKind) -> u8 {
    match op_kind {
        OpKind::Accept | OpKind::Recv | OpKind::RecvInto | OpKind::PollReadable => 0,
        OpKind::Send | OpKind::PollWritable => 1,
        OpKind::Connect => 2,
        OpKind::PollHangUp => 3,
    }
}
