//! Streams and listeners on a ring whose kernel is a script.
//!
//! The helpers are here. The tests are one file per side of a socket, and the matrix.

mod accept;
mod admission;
mod backpressure;
mod close;
mod driver_failure;
mod idle;
mod matrix;
mod recv;
mod send;
mod watchdog;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::driver::uring::scripted::Script;
use crate::net::{TcpListener, TcpStream};
use crate::runtime::context;
use crate::task::yield_now;
use crate::{Builder, Handle, Metrics, Runtime};

const ECONNRESET: i32 = 104;
const ECONNREFUSED: i32 = 111;

/// A runtime on a scripted ring with small queues and four small buffers.
fn scripted() -> (Script, Runtime) {
    scripted_with(|builder| builder)
}

fn scripted_with(set: impl FnOnce(Builder) -> Builder) -> (Script, Runtime) {
    let script = Script::new();
    let builder = Runtime::builder().ring_entries(8, 16).recv_buffers(4, 64);
    let runtime = set(builder).build_scripted(&script);
    (script, runtime)
}

/// A scripted runtime, and the texts of what it reports.
fn reporting() -> (Script, Runtime, Reports) {
    let reports = Reports::default();
    let heard = Rc::clone(&reports.0);
    let (script, runtime) = scripted_with(|builder| {
        builder.on_unhandled(move |unhandled| heard.borrow_mut().push(unhandled.to_string()))
    });
    (script, runtime, reports)
}

#[derive(Clone, Default)]
struct Reports(Rc<RefCell<Vec<String>>>);

impl Reports {
    /// What has been reported since the last call.
    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// A stream on one end of a real socket pair, and the other end.
fn stream() -> (TcpStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    theirs.set_nonblocking(true).expect("an open socket");
    let reactor = Rc::clone(&context::current().reactor);
    (TcpStream::adopt(&reactor, OwnedFd::from(ours).into()), theirs)
}

/// As [`stream`], with a descriptor that the program has seen: its receives are cancelled, never
/// shut down.
fn shared_stream() -> (TcpStream, UnixStream) {
    let (stream, peer) = stream();
    let _ = stream.as_fd();
    (stream, peer)
}

/// Polls a `recv` once and drops it. The receive stays armed.
async fn arm(stream: &mut TcpStream) {
    let mut recv = pin!(stream.recv());
    assert!(poll_once(recv.as_mut()).await.is_pending());
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

/// What the peer of a stream reads, without waiting.
#[derive(PartialEq, Eq, Debug)]
enum Peer {
    /// Nothing came: the other side is open.
    Open,
    Closed,
}

fn peer_sees(mut peer: &UnixStream) -> Peer {
    match peer.read(&mut [0; 8]) {
        Ok(0) => Peer::Closed,
        Err(error) if error.kind() == ErrorKind::WouldBlock => Peer::Open,
        other => panic!("the scripted kernel sends nothing: {other:?}"),
    }
}

/// A file that is open now. Unlike its number, its name is not given to another one.
#[derive(Debug)]
struct OpenFile(std::path::PathBuf);

impl OpenFile {
    fn of(fd: RawFd) -> OpenFile {
        let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        OpenFile(link.expect("an open descriptor"))
    }

    fn is_open(&self) -> bool {
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("procfs");
        let links = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.into_iter().any(|link| link == self.0)
    }
}

/// A connection as an accept delivers it: a descriptor without an owner, and its peer.
fn connection() -> (RawFd, OpenFile, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    theirs.set_nonblocking(true).expect("an open socket");
    let file = OpenFile::of(ours.as_raw_fd());
    (std::os::fd::IntoRawFd::into_raw_fd(ours), file, theirs)
}

async fn poll_once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// A waker that remembers whether it was woken since the last poll, and wakes nothing.
#[derive(Default)]
struct Woken(AtomicBool);

impl Woken {
    fn is_woken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn poll<F: Future + ?Sized>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        self.0.store(false, Ordering::Relaxed);
        future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn until_woken(woken: &Woken) {
    for _turn in 0..20 {
        if woken.is_woken() {
            return;
        }
        yield_now().await;
    }
    panic!("not woken");
}

/// Lets the loop enter the kernel and hand out what came.
async fn turns(count: u32) {
    for _ in 0..count {
        yield_now().await;
    }
}

fn metrics() -> Metrics {
    Handle::current().metrics()
}

fn errno_of<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    let error = result.expect_err("an error");
    error.raw_os_error().expect("an errno")
}
