//! What the program's tasks do. Each checks what it is given.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::Run;
use super::descriptors;
use super::endpoints::{End, Endpoint, Held, Offer};
use super::kernel::CONNS_MAX;
use crate::JoinHandle;
use crate::io::AsyncFd;
use crate::net::{TcpListener, TcpStream};
use crate::time::timeout;

/// A task of the program.
pub(super) struct Task {
    pub(super) handle: JoinHandle<()>,
    pub(super) what: What,
    is_done: Rc<Cell<bool>>,
    /// Whether an aborted task gives its end back or drops it.
    pub(super) gives_back: Rc<Cell<bool>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Accept(usize),
    /// An `accept()` that is polled once.
    Neglect(usize),
    Connect,
    Read(Read, usize),
    Write(Write, usize),
    Sleep,
    Ready(usize),
    Close(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Read {
    /// Keeps the buffer, or not.
    Recv(bool),
    Some(usize),
    Exact(usize),
    /// Everything up to the end.
    All,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Write {
    All(usize),
    /// An owned buffer.
    Send(usize),
    /// A buffer that was received.
    Echo,
    Flush,
    Shutdown,
}

impl Task {
    pub(super) fn is_done(&self) -> bool {
        self.is_done.get()
    }
}

/// Notes that a task's future is gone.
struct Done(Rc<Cell<bool>>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// Slices up to this length are queued as a whole.
const WHOLE_MAX: usize = 64 * 1024;

impl Run {
    pub(super) fn spawn<F>(
        self: &Rc<Run>,
        what: What,
        make: impl FnOnce(Rc<Cell<bool>>) -> F,
    ) -> Task
    where
        F: Future<Output = ()> + 'static,
    {
        let (is_done, gives_back) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(true)));
        let done = Done(Rc::clone(&is_done));
        let future = make(Rc::clone(&gives_back));
        self.books.borrow_mut().trace.note("spawned", 0, 0);
        self.books.borrow_mut().trace.remark(format_args!("{what:?}"));
        let handle = crate::spawn(async move {
            let _done = done;
            future.await;
        });
        Task { handle, what, is_done, gives_back }
    }

    pub(super) fn spawn_accept(self: &Rc<Run>, number: usize, listener: Rc<TcpListener>) -> Task {
        let run = Rc::clone(self);
        let limit = self.choices.of(&[None, None, None, Some(0), Some(50)]);
        self.spawn(What::Accept(number), move |_| async move {
            let _counted = Counted::new(&run, number);
            let accepted = match limit {
                Some(ms) => match timeout(Duration::from_millis(ms), listener.accept()).await {
                    Ok(accepted) => accepted,
                    Err(_elapsed) => return,
                },
                None => listener.accept().await,
            };
            match accepted {
                Ok(stream) => run.adopt(stream),
                Err(error) => {
                    let mut books = run.books.borrow_mut();
                    let code = error.raw_os_error().unwrap_or(0);
                    let listener = &books.listeners[number];
                    let is_known = listener.is_damaged || listener.errors.contains(&code);
                    if !(is_known || books.is_broken || books.is_over) {
                        books.violated(format_args!("listener {number} fails: {error}"));
                    }
                }
            }
        })
    }

    /// Polls an `accept()` once and then keeps it, as a `select!` in a loop may. What it is woken
    /// for belongs to the others.
    pub(super) fn spawn_neglect(self: &Rc<Run>, number: usize, listener: Rc<TcpListener>) -> Task {
        let run = Rc::clone(self);
        self.spawn(What::Neglect(number), move |_| async move {
            let mut accept = pin!(listener.accept());
            match poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx))).await {
                Poll::Ready(Ok(stream)) => run.adopt(stream),
                Poll::Ready(Err(_)) => {}
                Poll::Pending => pending().await,
            }
        })
    }

    pub(super) fn spawn_connect(self: &Rc<Run>) -> Option<Task> {
        if self.books.borrow().conns.len() >= CONNS_MAX {
            return None;
        }
        let run = Rc::clone(self);
        let limit = self.choices.of(&[None, None, Some(20)]);
        Some(self.spawn(What::Connect, move |_| async move {
            let addr = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
            let connected = match limit {
                Some(ms) => TcpStream::connect_timeout(addr, Duration::from_millis(ms)).await,
                None => TcpStream::connect(addr).await,
            };
            run.books.borrow_mut().trace.note("connected", u64::from(connected.is_ok()), 0);
            if let Ok(stream) = connected {
                run.adopt(stream);
            }
        }))
    }

    pub(super) fn spawn_read(self: &Rc<Run>, endpoint: &Rc<Endpoint>, read: Read) -> Option<Task> {
        if !endpoint.can_read || endpoint.place.borrow().is_none() {
            return None;
        }
        let (run, endpoint) = (Rc::clone(self), Rc::clone(endpoint));
        let conn = endpoint.conn;
        let limit = self.choices.of(&[None, None, None, Some(0), Some(5)]);
        Some(self.spawn(What::Read(read, conn), move |gives_back| async move {
            let Some(mut held) = Held::take(&run, &endpoint, &gives_back) else { return };
            let reading = run.read(conn, &mut held, read);
            match limit {
                Some(ms) => drop(timeout(Duration::from_millis(ms), reading).await),
                None => reading.await,
            }
        }))
    }

    async fn read(&self, conn: usize, held: &mut Held, read: Read) {
        let end = held.end.as_mut().expect("taken at the start");
        let outcome = match read {
            Read::Recv(_) => end.recv().await.map(|buffer| {
                self.books.borrow_mut().read(conn, &buffer);
                if read == Read::Recv(true) {
                    self.buffers.borrow_mut().push(buffer);
                }
            }),
            Read::Some(len) => {
                let mut target = vec![0; len];
                end.read(&mut target).await.map(|count| {
                    self.books.borrow_mut().read(conn, &target[..count]);
                })
            }
            Read::Exact(len) => {
                let mut target = vec![0; len];
                end.read_exact(&mut target).await.map(|()| {
                    self.books.borrow_mut().read(conn, &target);
                })
            }
            Read::All => loop {
                match end.recv().await {
                    Ok(buffer) => {
                        self.books.borrow_mut().read(conn, &buffer);
                        if buffer.is_empty() {
                            break Ok(());
                        }
                    }
                    Err(error) => break Err(error),
                }
            },
        };
        if let Err(error) = outcome {
            let asked = if let Read::Exact(len) = read { len } else { 1 };
            self.books.borrow_mut().read_failed(conn, asked, &error);
        }
    }

    pub(super) fn spawn_write(
        self: &Rc<Run>,
        endpoint: &Rc<Endpoint>,
        write: Write,
    ) -> Option<Task> {
        let conn = endpoint.conn;
        if !endpoint.can_write
            || endpoint.place.borrow().is_none()
            || self.books.borrow().conns[conn].is_cut
        {
            return None;
        }
        let (run, endpoint) = (Rc::clone(self), Rc::clone(endpoint));
        let limit = self.choices.of(&[None, None, None, Some(0), Some(5)]);
        Some(self.spawn(What::Write(write, conn), move |gives_back| async move {
            let Some(mut held) = Held::take(&run, &endpoint, &gives_back) else { return };
            let end = held.end.as_mut().expect("taken just now");
            let writing = run.write(conn, end, write);
            let outcome = match limit {
                Some(ms) => match timeout(Duration::from_millis(ms), writing).await {
                    Ok(outcome) => outcome,
                    Err(_elapsed) => return,
                },
                None => writing.await,
            };
            if let Err(error) = outcome {
                run.books.borrow_mut().write_failed(conn, &error);
            }
        }))
    }

    async fn write(&self, conn: usize, end: &mut End, write: Write) -> io::Result<()> {
        match write {
            Write::All(len) => {
                let bytes = self.next_out(conn, len);
                let offer = Offer::new(self, conn, &bytes, len > WHOLE_MAX);
                end.write_all(&bytes).await.map(|()| offer.confirm())
            }
            Write::Send(len) => {
                let bytes = self.next_out(conn, len);
                let offer = Offer::new(self, conn, &bytes, false);
                end.send(bytes).await.map(|()| offer.confirm())
            }
            Write::Echo => {
                let Some(buffer) = self.buffers.borrow_mut().pop() else { return Ok(()) };
                let offer = Offer::new(self, conn, &buffer, false);
                end.send_buffer(buffer).await.map(|()| offer.confirm())
            }
            Write::Flush => {
                end.flush().await?;
                self.books.borrow_mut().flushed(conn);
                Ok(())
            }
            Write::Shutdown => {
                self.books.borrow_mut().conns[conn].is_fin_asked = true;
                end.shutdown().await?;
                let mut books = self.books.borrow_mut();
                books.flushed(conn);
                books.check_ended(conn);
                Ok(())
            }
        }
    }

    /// Bytes that follow the pattern of what the connection sends.
    fn next_out(&self, conn: usize, len: usize) -> Vec<u8> {
        let start = self.books.borrow().conns[conn].out.len();
        (start..start + len).map(|at| (at ^ (at >> 7) ^ (conn * 41)) as u8).collect()
    }

    pub(super) fn spawn_close(self: &Rc<Run>, endpoint: &Rc<Endpoint>) -> Option<Task> {
        let is_whole = matches!(*endpoint.place.borrow(), Some(End::Whole(_)));
        if !is_whole {
            return None;
        }
        let Some(End::Whole(stream)) = endpoint.place.take() else { unreachable!("seen above") };
        let (run, conn) = (Rc::clone(self), endpoint.conn);
        self.handle_gone_whole(conn); // the task may be aborted before it runs
        Some(self.spawn(What::Close(conn), move |_| async move {
            let closed = stream.close().await;
            let mut books = run.books.borrow_mut();
            books.trace.note("closed", conn as u64, i64::from(closed.is_ok()));
            let now_ns = run.script.now_ns();
            match closed {
                Ok(()) if !books.is_broken && !books.is_over => {
                    books.flushed(conn);
                    let (fd, inode) = (books.conns[conn].fd, books.conns[conn].inode);
                    if descriptors::inode(fd) == Some(inode) {
                        books.violated(format_args!("connection {conn} is closed, {fd} is open"));
                    }
                }
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    let since_ns = books.conns[conn].dropped_at_ns.expect("noted above");
                    books.conns[conn].is_loss_known = true;
                    let is_late = now_ns >= since_ns + run.linger_ns.get();
                    if !is_late && books.conns[conn].out_error.is_none() && !books.is_over {
                        books.violated(format_args!("connection {conn} lingered too short"));
                    }
                }
                Err(error) => books.write_failed(conn, &error),
            }
        }))
    }

    pub(super) fn spawn_sleep(self: &Rc<Run>) -> Task {
        let run = Rc::clone(self);
        let ms = self.choices.of(&[0, 1, 10, 500, 3_000]);
        self.spawn(What::Sleep, move |_| async move {
            let deadline_ns = run.script.now_ns() + ms * 1_000_000;
            crate::time::sleep(Duration::from_millis(ms)).await;
            let now_ns = run.script.now_ns();
            let mut books = run.books.borrow_mut();
            books.trace.note("slept", now_ns, ms as i64);
            if now_ns < deadline_ns && !books.is_over {
                books.violated(format_args!("a sleep of {ms} ms ended too early"));
            }
        })
    }

    pub(super) fn spawn_ready(
        self: &Rc<Run>,
        number: usize,
        watched: Rc<AsyncFd<UnixDatagram>>,
    ) -> Task {
        let run = Rc::clone(self);
        let side = self.choices.below(2);
        let limit = self.choices.of(&[None, None, Some(7)]);
        self.spawn(What::Ready(number), move |_| async move {
            let ready = async {
                match side {
                    0 => watched.readable().await,
                    _ => watched.writable().await,
                }
            };
            let outcome = match limit {
                Some(ms) => match timeout(Duration::from_millis(ms), ready).await {
                    Ok(outcome) => outcome,
                    Err(_elapsed) => return,
                },
                None => ready.await,
            };
            let mut books = run.books.borrow_mut();
            books.trace.note("ready", number as u64, i64::from(outcome.is_ok()));
            let watch = &books.watches[number];
            let is_right = match &outcome {
                _ if watch.is_damaged => true,
                Ok(()) => watch.answers[side] > 0,
                Err(error) => error.raw_os_error().is_some_and(|code| watch.errors.contains(&code)),
            };
            if !(is_right || books.is_broken || books.is_over) {
                books.violated(format_args!(
                    "watch {number} is ready without an answer: {outcome:?}"
                ));
            }
        })
    }
}

/// A task that waits in an `accept()`.
struct Counted {
    run: Rc<Run>,
    listener: usize,
}

impl Counted {
    fn new(run: &Rc<Run>, listener: usize) -> Counted {
        run.books.borrow_mut().listeners[listener].waiting_count += 1;
        Counted { run: Rc::clone(run), listener }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.run.books.borrow_mut().listeners[self.listener].waiting_count -= 1;
    }
}
