//! The ring floor: an echo server on one io_uring, and nothing else.
//!
//! # The turn
//!
//! 1. Publish the buffers that were returned, and arm receives that found no buffer.
//! 2. One `enter`: submit everything, wait for one completion, run deferred work.
//! 3. Copy the completions out: one batch of the kernel, 20 or fewer since 6.13 (H09).
//! 4. Act on them: an accepted connection gets a multishot receive; received bytes are sent from
//!    their buffer; a finished send returns the buffer.
//!
//! Every `enter` has `GETEVENTS`. It runs deferred work even when nothing is submitted (H08), and
//! moves completions that overflowed back into the queue (H01). The kernel does both before it
//! checks whether it must wait, so no turn sleeps while there are completions.
//!
//! # A connection
//!
//! ```text
//!            accept                        end or error
//! (nothing) ────────▶ Armed ─────────────────────────────▶ Ended ──▶ closed, when the last
//!                     │   ▲                                          buffer has been sent
//!             ENOBUFS ▼   │ a buffer is back
//!                    Starved
//! ```
//!
//! Sends of one connection are queued and sent one by one, as two at a time may interleave (H42). A
//! descriptor is closed when no request names it any more (H36, H37): its receive has ended and its
//! queue is empty. A failed send ends the receive with `shutdown`.
//!
//! **Absent on purpose.** A limit per connection: a peer that sends and does not read keeps every
//! buffer, and the others wait. A floor has well-behaved clients.
#![allow(unsafe_code)] // submission entries name memory that the kernel uses later

mod buffers;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;

use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue, types};
use peers::args::{self, Args};
use peers::sys;

use buffers::{Buffers, GROUP};

const USAGE: &str = "usage: ring_floor [--listen 127.0.0.1:0] [--buffers 256] \
[--buffer-size 4096] [--sq 256] [--cq 4096]";

struct Options {
    addr: SocketAddr,
    buffer_count: u16,
    buffer_size: u32,
    sq_entries: u32,
    cq_entries: u32,
}

fn main() -> ExitCode {
    args::exit_code(run())
}

fn run() -> io::Result<ExitCode> {
    let mut options = Options {
        addr: ([127, 0, 0, 1], 0).into(),
        buffer_count: 256,
        buffer_size: 4096,
        sq_entries: 256,
        cq_entries: 4096,
    };
    let mut args = Args::new(USAGE);
    while let Some(arg) = args.take() {
        match arg.as_str() {
            "--listen" => options.addr = args.value(&arg),
            "--buffers" => options.buffer_count = args.value(&arg),
            "--buffer-size" => options.buffer_size = args.value(&arg),
            "--sq" => options.sq_entries = args.value(&arg),
            "--cq" => options.cq_entries = args.value(&arg),
            _ => args.reject(&format!("{arg}?")),
        }
    }
    if !options.buffer_count.is_power_of_two() || options.buffer_size == 0 {
        args.reject("--buffers must be a power of two, --buffer-size must not be 0");
    }
    sys::raise_open_files()?;
    let mut server = Server::new(&options)?;
    server.arm_accept()?;
    loop {
        server.turn()?;
    }
}

struct Server {
    io: IoUring,
    listener: TcpListener,
    accept: Accept,
    buffers: Buffers,
    /// The bytes to send from each buffer, by buffer.
    sends: Vec<Send>,
    /// By descriptor.
    conns: Vec<Option<Conn>>,
    conn_count: usize,
    /// Connections that wait for a buffer, longest first (H47).
    starved: VecDeque<RawFd>,
    batch: Vec<cqueue::Entry>,
}

struct Conn {
    stream: TcpStream,
    recv: Recv,
    health: Health,
    /// Buffers to send. The kernel has the first.
    first: Option<u16>,
    last: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Recv {
    Armed,
    Starved,
    Ended,
}

#[derive(Clone, Copy, PartialEq)]
enum Health {
    Good,
    /// A send has failed. Received bytes are discarded.
    Failed,
}

#[derive(Clone, Copy, PartialEq)]
enum Accept {
    Armed,
    /// Out of descriptors: accept is armed again when a connection has closed (H50).
    Paused,
}

/// The bytes of one buffer that are still to be sent, and the buffer to send after it.
#[derive(Clone, Copy, Default)]
struct Send {
    fd: RawFd,
    start: u32,
    len: u32,
    next: Option<u16>,
}

/// The request of a completion, encoded in its user data.
#[derive(Clone, Copy)]
enum Key {
    Accept,
    Recv(RawFd),
    Send(u16),
}

impl Key {
    fn pack(self) -> u64 {
        match self {
            Self::Accept => 0,
            Self::Recv(fd) => (1 << 32) | u64::from(fd.cast_unsigned()),
            Self::Send(bid) => (2 << 32) | u64::from(bid),
        }
    }

    fn unpack(data: u64) -> Self {
        match data >> 32 {
            0 => Self::Accept,
            1 => Self::Recv((data as u32).cast_signed()),
            2 => Self::Send(data as u16),
            _ => panic!("a completion without a request: {data:#x}"),
        }
    }
}

impl Server {
    fn new(options: &Options) -> io::Result<Self> {
        let io = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_taskrun_flag()
            .setup_cqsize(options.cq_entries)
            .build(options.sq_entries)?;
        let buffers = Buffers::register(&io, options.buffer_count, options.buffer_size)?;
        Ok(Self {
            listener: sys::listen(options.addr)?,
            accept: Accept::Paused,
            sends: vec![Send::default(); usize::from(buffers.count())],
            buffers,
            conns: Vec::new(),
            conn_count: 0,
            starved: VecDeque::new(),
            batch: Vec::with_capacity(io.params().cq_entries() as usize),
            io,
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        self.buffers.publish();
        self.arm_starved()?;

        // A receive that starves while there are buffers can be armed in the next turn, so this
        // turn must not sleep. That cannot repeat without end: each such turn takes connections off
        // the queue, and one that is queued again found the ring empty, so other completions will
        // come.
        let can_arm_more = !self.starved.is_empty() && self.buffers.in_ring_count() > 0;
        self.enter(if can_arm_more { 0 } else { 1 })?;

        // Copied out first, so that the kernel can use the entries again before the turn acts.
        let mut batch = std::mem::take(&mut self.batch);
        batch.extend(self.io.completion());
        for entry in batch.drain(..) {
            let (result, flags) = (entry.result(), entry.flags());
            match Key::unpack(entry.user_data()) {
                Key::Accept => self.on_accept(result, flags)?,
                Key::Recv(fd) => self.on_recv(fd, result, flags)?,
                Key::Send(bid) => self.on_send(bid, result)?,
            }
        }
        self.batch = batch;
        Ok(())
    }

    fn enter(&mut self, completions_min: u32) -> io::Result<()> {
        let to_submit = self.io.submission().len() as u32;
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: no argument is passed. `push` answers for the memory that the entries name.
        let entered = unsafe {
            self.io
                .submitter()
                .enter::<libc::sigset_t>(to_submit, completions_min, flags, None)
        };
        // The count is not used: the queues are exact (H03, H04).
        match entered.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) => Ok(()),
            // No entry is lost (H05): reap, and enter again in the next turn (H02, H06).
            Err((Some(libc::EINTR | libc::EAGAIN | libc::EBUSY), _)) => Ok(()),
            Err((_, error)) => Err(error),
        }
    }

    fn on_accept(&mut self, result: i32, flags: u32) -> io::Result<()> {
        // A final completion may have a connection (H49), so the result is used first.
        if result >= 0 {
            // SAFETY: the completion has this new descriptor, and no other value owns it.
            let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(result) });
            self.insert(result, stream)?;
        }
        if cqueue::more(flags) {
            return Ok(());
        }
        self.accept = Accept::Paused;
        match -result {
            // Arming again at once would fail at once, without end (H50). `close_if_done` does it;
            // the clients wait in the backlog meanwhile.
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM if self.conn_count > 0 => {
                Ok(())
            }
            // A client that has left while it waited, or a success on a full queue.
            ..=0 | libc::ECONNABORTED | libc::EPROTO | libc::EINTR => self.arm_accept(),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn on_recv(&mut self, fd: RawFd, result: i32, flags: u32) -> io::Result<()> {
        // The buffer comes first, whatever the result is (H58); then the result; then whether
        // the receive is still armed, which the result does not show (H49).
        if let Some(bid) = cqueue::buffer_select(flags) {
            self.buffers.take(bid);
            if result > 0 && self.conn(fd).health == Health::Good {
                self.queue_send(fd, bid, result.cast_unsigned())?;
            } else {
                self.buffers.give(bid);
            }
        }
        if cqueue::more(flags) {
            return Ok(());
        }
        match result {
            1.. => self.arm_recv(fd),
            error if error == -libc::ENOBUFS => {
                // It may hide the end of the stream (H48), which the next receive reports.
                self.conn(fd).recv = Recv::Starved;
                self.starved.push_back(fd);
                Ok(())
            }
            _ => {
                self.conn(fd).recv = Recv::Ended;
                self.close_if_done(fd)
            }
        }
    }

    fn on_send(&mut self, bid: u16, result: i32) -> io::Result<()> {
        let send = &mut self.sends[usize::from(bid)];
        let fd = send.fd;
        if result > 0 {
            send.start += result.cast_unsigned();
            send.len -= result.cast_unsigned();
        } else if result != -libc::EINTR {
            return self.fail(fd);
        }
        if send.len > 0 {
            return self.push_send(bid);
        }
        self.give_first(fd);
        match self.conn(fd).first {
            Some(next) => self.push_send(next),
            None => self.close_if_done(fd),
        }
    }

    fn insert(&mut self, fd: RawFd, stream: TcpStream) -> io::Result<()> {
        let index = fd as usize;
        if index >= self.conns.len() {
            self.conns.resize_with(index + 1, || None);
        }
        assert!(
            self.conns[index].is_none(),
            "descriptor {fd} is already in use"
        );
        let (recv, health) = (Recv::Ended, Health::Good);
        self.conns[index] = Some(Conn {
            stream,
            recv,
            health,
            first: None,
            last: None,
        });
        self.conn_count += 1;
        self.arm_recv(fd)
    }

    fn conn(&mut self, fd: RawFd) -> &mut Conn {
        self.conns[fd as usize]
            .as_mut()
            .expect("a completion for a closed connection")
    }

    /// Appends a buffer to the queue of `fd`, and sends it if it is the only one.
    fn queue_send(&mut self, fd: RawFd, bid: u16, len: u32) -> io::Result<()> {
        self.sends[usize::from(bid)] = Send {
            fd,
            start: 0,
            len,
            next: None,
        };
        let before = self.conn(fd).last.replace(bid);
        match before {
            Some(before) => {
                self.sends[usize::from(before)].next = Some(bid);
                Ok(())
            }
            None => {
                self.conn(fd).first = Some(bid);
                self.push_send(bid)
            }
        }
    }

    /// Takes the first buffer off the queue of `fd`, and returns it to the kernel's pool.
    fn give_first(&mut self, fd: RawFd) {
        let bid = self.conn(fd).first.expect("a send that was not queued");
        let next = self.sends[usize::from(bid)].next;
        let conn = self.conn(fd);
        conn.first = next;
        if next.is_none() {
            conn.last = None;
        }
        self.buffers.give(bid);
    }

    /// Handles a failed send: drops the queue and ends the receive.
    fn fail(&mut self, fd: RawFd) -> io::Result<()> {
        while self.conn(fd).first.is_some() {
            self.give_first(fd);
        }
        let conn = self.conn(fd);
        conn.health = Health::Failed;
        // After a reset the receive ends by itself, and then this call may fail. After `ENOMEM` the
        // connection still lives, and only this ends its receive, or the next one if it starves.
        let _ = conn.stream.shutdown(std::net::Shutdown::Both);
        self.close_if_done(fd)
    }

    fn close_if_done(&mut self, fd: RawFd) -> io::Result<()> {
        let conn = self.conn(fd);
        if conn.recv != Recv::Ended || conn.first.is_some() {
            return Ok(());
        }
        self.conns[fd as usize] = None;
        self.conn_count -= 1;
        match self.accept {
            Accept::Armed => Ok(()),
            Accept::Paused => self.arm_accept(),
        }
    }

    fn arm_accept(&mut self) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(types::Fd(self.listener.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC);
        self.accept = Accept::Armed;
        self.push(accept.build(), Key::Accept)
    }

    fn arm_recv(&mut self, fd: RawFd) -> io::Result<()> {
        self.conn(fd).recv = Recv::Armed;
        self.push(
            opcode::RecvMulti::new(types::Fd(fd), GROUP).build(),
            Key::Recv(fd),
        )
    }

    /// Arms as many starved receives as there are buffers. More would starve again.
    fn arm_starved(&mut self) -> io::Result<()> {
        for _ in 0..self.buffers.in_ring_count() {
            let Some(fd) = self.starved.pop_front() else {
                break;
            };
            assert_eq!(self.conn(fd).recv, Recv::Starved, "descriptor {fd}");
            self.arm_recv(fd)?;
        }
        Ok(())
    }

    fn push_send(&mut self, bid: u16) -> io::Result<()> {
        let Send {
            fd,
            start,
            len,
            next: _,
        } = self.sends[usize::from(bid)];
        let address = self.buffers.address(bid, start, len);
        self.push(
            opcode::Send::new(types::Fd(fd), address, len).build(),
            Key::Send(bid),
        )
    }

    fn push(&mut self, entry: squeue::Entry, key: Key) -> io::Result<()> {
        let entry = entry.user_data(key.pack());
        // SAFETY: sends name a buffer that is ours until their completion gives it back, in memory
        // that is never freed; accepts and receives name no memory. A descriptor stays open until
        // no request names it: `close_if_done` is the only place that closes one.
        if unsafe { self.io.submission().push(&entry) }.is_ok() {
            return Ok(());
        }
        self.enter(0)?;
        // SAFETY: as above.
        unsafe { self.io.submission().push(&entry) }
            .map_err(|_| io::Error::other("the kernel took nothing from a full submission queue"))
    }
}
