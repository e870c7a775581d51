//! The epoll floor: an echo server on edge-triggered epoll, and nothing else.
//!
//! # The turn
//!
//! 1. `epoll_wait` for up to [`EVENTS_MAX`] events.
//! 2. The listener is ready: accept until `EAGAIN`.
//! 3. A connection is ready: send the rest of a short send, then receive and send in turn.
//!
//! In the closed loop this makes one `recv` and one `send` per message.
//!
//! # Some facts about edges
//!
//! An edge is reported once, so a connection must be used until it blocks. A stream that fills only
//! a part of the buffer is empty: later bytes make a new edge, and the `recv` that would return
//! `EAGAIN` is not needed (epoll(7)). A FIN that came *with* the bytes makes no further edge; the
//! event has `EPOLLRDHUP` then, and the read goes on to the end.
//!
//! Each event has all the bits that hold at that moment, not only the one that changed. So a
//! hang-up that is seen while a reply is blocked is seen again with the `EPOLLOUT` that resumes the
//! reply.
//!
//! **Absent on purpose.** Fairness: a peer that sends without a pause keeps the turn to itself.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use peers::args::{self, Args};
use peers::sys::{self, EDGES, Epoll, Events, HUNG_UP};

const USAGE: &str = "usage: epoll_floor [--listen 127.0.0.1:0] [--buffer-size 4096]";

const EVENTS_MAX: usize = 1024;

fn main() -> ExitCode {
    args::exit_code(run())
}

fn run() -> io::Result<ExitCode> {
    let mut addr: SocketAddr = ([127, 0, 0, 1], 0).into();
    let mut buffer_size: usize = 4096;
    let mut args = Args::new(USAGE);
    while let Some(arg) = args.take() {
        match arg.as_str() {
            "--listen" => addr = args.value(&arg),
            "--buffer-size" => buffer_size = args.value(&arg),
            _ => args.reject(&format!("{arg}?")),
        }
    }
    if buffer_size == 0 {
        args.reject("--buffer-size must not be 0");
    }
    sys::raise_open_files()?;
    Server::new(sys::listen(addr)?, buffer_size)?.run()
}

struct Server {
    epoll: Epoll,
    listener: TcpListener,
    accept: Accept,
    /// By descriptor, which is also the token.
    ///
    /// A number is used again after a close, even within one batch of events. That is safe:
    /// a batch holds one event per descriptor, and a connection is closed only by its own.
    conns: Vec<Option<Conn>>,
    conn_count: usize,
    buffer: Vec<u8>,
}

struct Conn {
    stream: TcpStream,
    /// The rest of a short send. The connection does not receive while there is one.
    unsent: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum Accept {
    Running,
    /// Out of descriptors: accepting goes on when a connection has closed (H50).
    Paused,
}

#[must_use]
enum Outcome {
    Keep,
    Close,
}

impl Server {
    fn new(listener: TcpListener, buffer_size: usize) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new()?;
        epoll.add(listener.as_raw_fd(), EDGES, listener.as_raw_fd() as u64)?;
        Ok(Self {
            epoll,
            listener,
            accept: Accept::Running,
            conns: Vec::new(),
            conn_count: 0,
            buffer: vec![0; buffer_size],
        })
    }

    fn run(&mut self) -> io::Result<ExitCode> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let listener_token = self.listener.as_raw_fd() as u64;
        loop {
            self.epoll.wait(&mut events, -1)?;
            for (token, bits) in events.iter() {
                if token == listener_token {
                    self.accept_all()?;
                } else {
                    self.serve(token as usize, bits)?;
                }
            }
        }
    }

    fn accept_all(&mut self) -> io::Result<()> {
        loop {
            let error = match sys::accept_nonblocking(&self.listener) {
                Ok(stream) => {
                    self.accept = Accept::Running;
                    self.insert(stream)?;
                    continue;
                }
                Err(error) => error,
            };
            match error.raw_os_error() {
                Some(libc::EAGAIN) => return Ok(()),
                // The client has left while it waited; another one may wait.
                Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO) => {}
                // There will be no further edge, and the client still waits: `close` accepts again.
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
                    if self.conn_count > 0 =>
                {
                    self.accept = Accept::Paused;
                    return Ok(());
                }
                _ => return Err(error),
            }
        }
    }

    fn insert(&mut self, stream: TcpStream) -> io::Result<()> {
        let fd = stream.as_raw_fd();
        // Bytes that arrived before make an event too: adding a descriptor is an edge.
        self.epoll.add(fd, EDGES, fd as u64)?;
        let index = fd as usize;
        if index >= self.conns.len() {
            self.conns.resize_with(index + 1, || None);
        }
        assert!(
            self.conns[index].is_none(),
            "descriptor {fd} is already in use"
        );
        self.conns[index] = Some(Conn {
            stream,
            unsent: Vec::new(),
        });
        self.conn_count += 1;
        Ok(())
    }

    fn serve(&mut self, index: usize, bits: i32) -> io::Result<()> {
        let conn = self.conns[index]
            .as_mut()
            .expect("an event for a closed connection");
        match conn.echo(bits, &mut self.buffer) {
            Outcome::Keep => Ok(()),
            Outcome::Close => self.close(index),
        }
    }

    fn close(&mut self, index: usize) -> io::Result<()> {
        self.conns[index] = None;
        self.conn_count -= 1;
        match self.accept {
            Accept::Running => Ok(()),
            Accept::Paused => self.accept_all(),
        }
    }
}

impl Conn {
    fn echo(&mut self, bits: i32, buffer: &mut [u8]) -> Outcome {
        if !self.unsent.is_empty() {
            match send_until_blocked(&self.stream, &self.unsent) {
                Ok(sent_len) => drop(self.unsent.drain(..sent_len)),
                Err(_) => return Outcome::Close,
            }
            if !self.unsent.is_empty() {
                return Outcome::Keep;
            }
        }
        loop {
            let len = match (&self.stream).read(buffer) {
                Ok(0) => return Outcome::Close,
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Outcome::Keep,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Outcome::Close,
            };
            match send_until_blocked(&self.stream, &buffer[..len]) {
                Ok(sent_len) if sent_len < len => {
                    self.unsent.extend_from_slice(&buffer[sent_len..len]);
                    return Outcome::Keep;
                }
                Ok(_) => {}
                Err(_) => return Outcome::Close,
            }
            if len < buffer.len() && bits & HUNG_UP == 0 {
                return Outcome::Keep;
            }
        }
    }
}

/// Sends until all bytes are sent or the socket returns `EAGAIN`. Only after `EAGAIN` does the
/// kernel report the edge that resumes.
fn send_until_blocked(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent_len = 0;
    while sent_len < bytes.len() {
        match stream.write(&bytes[sent_len..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(len) => sent_len += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent_len)
}
