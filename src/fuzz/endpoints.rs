//! Streams and halves as the program holds them, and the bytes that it queues.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use super::Run;
use crate::buf::RecvBuf;
use crate::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream};

/// A stream, or one half of one.
pub(super) enum End {
    Whole(TcpStream),
    Read(OwnedReadHalf),
    Write(OwnedWriteHalf),
}

/// Where the program keeps an end while no task uses it.
pub(super) struct Endpoint {
    pub(super) conn: usize,
    pub(super) place: RefCell<Option<End>>,
    pub(super) can_read: bool,
    pub(super) can_write: bool,
}

/// An end that a task uses.
pub(super) struct Held {
    run: Rc<Run>,
    endpoint: Rc<Endpoint>,
    pub(super) end: Option<End>,
    gives_back: Rc<Cell<bool>>,
}

impl Held {
    pub(super) fn take(
        run: &Rc<Run>,
        endpoint: &Rc<Endpoint>,
        gives_back: &Rc<Cell<bool>>,
    ) -> Option<Held> {
        let end = endpoint.place.take()?;
        let (run, endpoint) = (Rc::clone(run), Rc::clone(endpoint));
        Some(Held { run, endpoint, end: Some(end), gives_back: Rc::clone(gives_back) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(end) = self.end.take() else { return };
        if self.gives_back.get() {
            *self.endpoint.place.borrow_mut() = Some(end);
        } else {
            self.run.drop_end(self.endpoint.conn, end);
        }
    }
}

impl End {
    pub(super) async fn recv(&mut self) -> io::Result<RecvBuf> {
        match self {
            End::Whole(stream) => stream.recv().await,
            End::Read(half) => half.recv().await,
            End::Write(_) => panic!("a writing half does not read"),
        }
    }

    pub(super) async fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        match self {
            End::Whole(stream) => stream.read(target).await,
            End::Read(half) => half.read(target).await,
            End::Write(_) => panic!("a writing half does not read"),
        }
    }

    pub(super) async fn read_exact(&mut self, target: &mut [u8]) -> io::Result<()> {
        match self {
            End::Whole(stream) => stream.read_exact(target).await,
            End::Read(half) => half.read_exact(target).await,
            End::Write(_) => panic!("a writing half does not read"),
        }
    }

    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            End::Whole(stream) => stream.write_all(bytes).await,
            End::Write(half) => half.write_all(bytes).await,
            End::Read(_) => panic!("a reading half does not write"),
        }
    }

    pub(super) async fn send_buffer(&mut self, buffer: RecvBuf) -> io::Result<()> {
        match self {
            End::Whole(stream) => stream.send(buffer).await,
            End::Write(half) => half.send(buffer).await,
            End::Read(_) => panic!("a reading half does not write"),
        }
    }

    pub(super) async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            End::Whole(stream) if bytes.len().is_multiple_of(2) => {
                stream.send(Rc::<[u8]>::from(bytes)).await
            }
            End::Whole(stream) => stream.send(bytes).await,
            End::Write(half) => half.send(bytes).await,
            End::Read(_) => panic!("a reading half does not write"),
        }
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        match self {
            End::Whole(stream) => stream.flush().await,
            End::Write(half) => half.flush().await,
            End::Read(_) => panic!("a reading half does not write"),
        }
    }

    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            End::Whole(stream) => stream.shutdown().await,
            End::Write(half) => half.shutdown().await,
            End::Read(_) => panic!("a reading half does not write"),
        }
    }
}

/// Bytes that are being queued: certain once the call has returned.
pub(super) struct Offer<'a> {
    run: &'a Run,
    conn: usize,
    is_long: bool,
    is_confirmed: bool,
}

impl<'a> Offer<'a> {
    pub(super) fn new(run: &'a Run, conn: usize, bytes: &[u8], is_long: bool) -> Offer<'a> {
        run.books.borrow_mut().conns[conn].out.extend_from_slice(bytes);
        Offer { run, conn, is_long, is_confirmed: false }
    }

    pub(super) fn confirm(mut self) {
        self.is_confirmed = true;
        let conn = &mut self.run.books.borrow_mut().conns[self.conn];
        conn.out_confirmed = conn.out.len();
    }
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        if self.is_confirmed {
            return;
        }
        let conn = &mut self.run.books.borrow_mut().conns[self.conn];
        if self.is_long {
            conn.is_cut = true; // some pieces may be queued
        } else {
            conn.out.truncate(conn.out_confirmed); // all or nothing, and it was nothing
        }
    }
}

/// The number of a stream's descriptor, without exposing it: `as_raw_fd` would make the library
/// assume that others share the socket.
fn fd_of(stream: &TcpStream) -> RawFd {
    let text = format!("{stream:?}");
    let digits = text.chars().filter(char::is_ascii_digit).collect::<String>();
    digits.parse().unwrap_or_else(|_| panic!("no number in {text}"))
}

impl Run {
    /// The program's last handle to an end goes.
    pub(super) fn drop_end(&self, conn: usize, end: End) {
        self.handle_gone(conn, &end);
        drop(end);
    }

    fn handle_gone(&self, conn: usize, end: &End) {
        let mut books = self.books.borrow_mut();
        books.trace.note("dropped", conn as u64, 0);
        let now_ns = self.script.now_ns();
        let conn = &mut books.conns[conn];
        conn.handles_count -= 1;
        if matches!(end, End::Write(_)) {
            conn.is_fin_asked = true;
        }
        if conn.handles_count == 0 {
            conn.dropped_at_ns = Some(now_ns);
        }
    }

    /// The program has been given a stream.
    pub(super) fn adopt(&self, stream: TcpStream) {
        let mut books = self.books.borrow_mut();
        let fd = fd_of(&stream);
        let Some(conn) = books.find_conn(fd) else {
            return books.violated(format_args!("{fd} is no connection of the kernel's"));
        };
        books.trace.note("adopted", conn as u64, i64::from(fd));
        if std::mem::replace(&mut books.conns[conn].is_handed_over, true) {
            books.violated(format_args!("connection {conn} was handed out twice"));
        }
        books.conns[conn].handles_count = 1;
        if let Some(listener) = books.conns[conn].listener {
            books.listeners[listener].untaken_count -= 1;
        }
        drop(books);
        let place = RefCell::new(Some(End::Whole(stream)));
        let endpoint = Endpoint { conn, place, can_read: true, can_write: true };
        self.endpoints.borrow_mut().push(Rc::new(endpoint));
    }

    pub(super) fn handle_gone_whole(&self, conn: usize) {
        let mut books = self.books.borrow_mut();
        books.trace.note("closing", conn as u64, 0);
        books.conns[conn].handles_count -= 1;
        books.conns[conn].dropped_at_ns = Some(self.script.now_ns());
    }
}
