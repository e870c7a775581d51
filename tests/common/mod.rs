//! Code that the integration tests share: a watchdog, socket pairs, open descriptors, small steps.
//!
//! No test sleeps to synchronise, and no verdict depends on how fast this machine is: a test waits
//! for a condition, and the watchdog turns a wait without end into a failure.
#![allow(dead_code)] // each test binary uses its own part
#![allow(unreachable_pub)] // a module of each test binary, shared by all

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hasher};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ringloop::net::{TcpListener, TcpStream};
use ringloop::task::yield_now;
use ringloop::time::sleep;
use ringloop::{Runtime, spawn};

/// The time after which a test counts as hung. All tests need far less.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How many times slower than a workstation this machine is (`RINGLOOP_TEST_SCALE`). Limits are
/// multiplied by it, and the rounds of long tests divided.
pub fn scale() -> u32 {
    let text = std::env::var("RINGLOOP_TEST_SCALE").unwrap_or_else(|_| "1".into());
    let scale = text.parse().ok().filter(|scale| *scale > 0);
    scale.unwrap_or_else(|| panic!("RINGLOOP_TEST_SCALE must be a positive number, not {text:?}"))
}

/// `rounds`, or fewer on a slow machine, but at least one.
pub fn scaled(rounds: u64) -> u64 {
    (rounds / u64::from(scale())).max(1)
}

/// Runs `f` on this thread. If it takes longer than `limit`, prints that and ends the process, so
/// that a hang cannot block a build.
pub fn within<T>(limit: Duration, f: impl FnOnce() -> T) -> T {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    within_as(&name, limit, f)
}

/// Like [`within`], for a test whose thread does not have its name.
pub fn within_as<T>(name: &str, limit: Duration, f: impl FnOnce() -> T) -> T {
    let (name, limit) = (name.to_owned(), limit * scale());
    let (done, is_done) = channel::<()>();
    std::thread::spawn(move || {
        if is_done.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            // Not `eprintln!`: the harness would capture the text.
            let text = format!("\n{name}: hangs, not done after {limit:?}\n");
            let _ = std::io::stderr().write_all(text.as_bytes());
            std::process::abort();
        }
    });
    let result = f();
    drop(done);
    result
}

/// Runs `future` on a fresh loop, under the watchdog.
pub fn run<F: Future>(future: F) -> F::Output {
    within(LIMIT, || ringloop::run(future))
}

/// One test of this binary at a time: for those that count the process's descriptors.
pub fn serial() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The descriptors of this process and what they refer to.
pub fn open_fds() -> BTreeMap<i32, String> {
    let mut fds = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/fd").expect("procfs") {
        let path = entry.expect("an entry").path();
        // The descriptor of this listing is closed when its link is read.
        if let Ok(target) = std::fs::read_link(&path) {
            let number = path.file_name().and_then(|name| name.to_str());
            let number = number.and_then(|name| name.parse().ok()).expect("a number");
            fds.insert(number, target.display().to_string());
        }
    }
    fds.retain(|_, target| !target.starts_with("/proc/"));
    fds
}

/// Polls `future` once.
pub async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Lets the loop turn until `condition` holds.
pub async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        yield_now().await;
    }
}

/// Lets the loop turn `count` times.
pub async fn turns(count: usize) {
    for _ in 0..count {
        yield_now().await;
    }
}

/// More operations than a poll may complete: the budget is 128.
const IN_A_ROW_MAX: u32 = 1000;

/// Runs `leaf` in a loop, beside a task that counts turns and a timer, and panics if it does not
/// yield.
pub async fn lets_others_run(name: &str, mut leaf: impl AsyncFnMut() + 'static) {
    let turn = Rc::new(Cell::new(0_u32));
    let counter = spawn({
        let turn = Rc::clone(&turn);
        async move {
            loop {
                turn.set(turn.get() + 1);
                yield_now().await;
            }
        }
    });
    let looping = spawn({
        let turn = Rc::clone(&turn);
        async move {
            let (mut seen, mut in_a_row) = (0, 0);
            while in_a_row < IN_A_ROW_MAX {
                leaf().await;
                in_a_row = if turn.replace(turn.get()) == seen { in_a_row + 1 } else { 1 };
                seen = turn.get();
            }
        }
    });
    sleep(Duration::from_millis(1)).await;
    until(|| turn.get() >= 10 || looping.is_finished()).await;
    turns(3).await;
    assert!(!looping.is_finished(), "{name}: {IN_A_ROW_MAX} times in a row, or a panic");
    looping.abort();
    counter.abort();
}

/// A waker that records whether it was woken.
#[derive(Default)]
pub struct Woken(AtomicBool);

impl Woken {
    pub fn is_woken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Polls `future` once, with this waker.
    pub fn poll<F: Future + ?Sized>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A gate that tasks wait for and that opens once.
#[derive(Default)]
pub struct Gate {
    is_open: Cell<bool>,
    waiter: Cell<Option<Waker>>,
}

impl Gate {
    pub fn open(&self) {
        self.is_open.set(true);
        if let Some(waker) = self.waiter.take() {
            waker.wake();
        }
    }

    pub async fn wait(&self) {
        poll_fn(|cx| {
            if self.is_open.get() {
                return Poll::Ready(());
            }
            self.waiter.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// Computes for `duration`: no other task of this thread runs.
pub fn compute(duration: Duration) {
    let start = ringloop::time::Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// The number of turns that the current loop has begun.
pub fn turn() -> u64 {
    ringloop::Handle::current().metrics().turns
}

/// A loopback address with port 0, and most likely not in use: neither another test's nor that
/// of another process on this machine. So a port that is closed there stays closed.
pub fn any_addr() -> SocketAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let host = ((process % 0x3FFE + 1) << 10) | (count % 0x400);
    let [_, a, b, c] = host.to_be_bytes();
    (Ipv4Addr::new(127, a, b, c), 0).into()
}

/// An abstract name that no other listener has, not even one of a process with the same number in
/// another container that shares the network namespace.
pub fn any_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let chance = RandomState::new().build_hasher().finish();
    format!("@ringloop-{chance:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Two ends of one connection, both on this loop. The first is the one that connected.
pub async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(any_addr()).expect("a listener");
    let addr = listener.local_addr().expect("an address");
    let client = TcpStream::connect(addr).await.expect("a connection");
    let server = listener.accept().await.expect("its other end");
    (client, server)
}

/// A stream of this loop and its peer, an ordinary blocking socket.
pub fn std_pair() -> (TcpStream, std::net::TcpStream) {
    let (ours, theirs) = blocking_pair();
    (TcpStream::from_std(ours), theirs)
}

/// Two ends of one connection, both ordinary blocking sockets.
pub fn blocking_pair() -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind(any_addr()).expect("a listener");
    let addr = listener.local_addr().expect("an address");
    let theirs = std::net::TcpStream::connect(addr).expect("a connection");
    theirs.set_nodelay(true).expect("an option");
    let from = theirs.local_addr().expect("an address");
    // Another process may connect to this port first.
    let ours = loop {
        let (ours, peer) = listener.accept().expect("its other end");
        if peer == from {
            break ours;
        }
    };
    (ours, theirs)
}

/// Like [`std_pair`], with kernel buffers that hold far less than 1 MiB in each direction.
pub fn tight_pair() -> (TcpStream, std::net::TcpStream) {
    let (ours, theirs) = blocking_pair();
    for socket in [&ours, &theirs] {
        let socket = socket2::SockRef::from(socket);
        socket.set_send_buffer_size(64 << 10).expect("an option");
        socket.set_recv_buffer_size(64 << 10).expect("an option");
    }
    (TcpStream::from_std(ours), theirs)
}

/// Echoes bytes on one connection of `runtime`, to its end.
pub fn serves_an_echo(runtime: &Runtime) {
    let echoed = runtime.block_on(async {
        let (mut stream, mut peer) = std_pair();
        peer.write_all(b"ping").expect("a peer that lives");
        let bytes = stream.recv().await.expect("four bytes");
        stream.send(bytes).await.expect("an open stream");
        stream.close().await.expect("a peer that reads");
        let mut echoed = Vec::new();
        peer.read_to_end(&mut echoed).expect("the echo, and the end");
        echoed
    });
    assert_eq!(echoed, b"ping");
}

/// A listening socket whose backlog is full, so that connecting to it neither succeeds nor fails.
/// It exists as long as the value that is returned with the address.
pub fn unanswering_addr() -> (SocketAddr, impl Drop) {
    struct Full {
        _listener: socket2::Socket,
        _clients: Vec<socket2::Socket>,
    }
    impl Drop for Full {
        fn drop(&mut self) {}
    }
    let new = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let listener = new().expect("a socket");
    let any = any_addr();
    listener.bind(&any.into()).expect("a port");
    listener.listen(0).expect("a listener");
    let addr = listener.local_addr().expect("an address");
    let clients = (0..4).map(|_| {
        let client = new().expect("a socket");
        client.set_nonblocking(true).expect("an option");
        let _ = client.connect(&addr); // the first are made, the others stay in progress
        client
    });
    let full = Full { _clients: clients.collect(), _listener: listener };
    (addr.as_socket().expect("an IP address"), full)
}

/// A stream of bytes of one connection: bytes of another connection, and missing, doubled or
/// reordered bytes are detected.
#[derive(Clone, Copy, Debug)]
pub struct Code(pub u64);

impl Code {
    /// `len` bytes of this stream from `start` on.
    pub fn bytes(self, start: u64, len: usize) -> Vec<u8> {
        let skipped = (start % 8) as usize;
        let mut bytes = Vec::with_capacity(len + 16);
        let words = (start / 8..).map(|index| self.word(index));
        for word in words.take((skipped + len).div_ceil(8)) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.truncate(skipped + len);
        bytes.drain(..skipped);
        bytes
    }

    /// Checks that `bytes` are those of this stream from `start` on.
    #[track_caller]
    pub fn check(self, start: u64, bytes: &[u8]) {
        let expected = self.bytes(start, bytes.len());
        if bytes != expected {
            let offset = bytes.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            panic!("byte {} of {self:?} is another", start + offset as u64);
        }
    }

    /// Eight bytes at once, which is eight times as fast in a debug build (splitmix64).
    fn word(self, index: u64) -> u64 {
        let Code(id) = self;
        let mixed = (index ^ (id << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// `len` bytes from `start` on of the stream for tests that have only one.
pub fn coded_bytes(start: u64, len: usize) -> Vec<u8> {
    Code(0).bytes(start, len)
}

/// Checks that `bytes` are those of [`coded_bytes`].
#[track_caller]
pub fn assert_coded(start: u64, bytes: &[u8]) {
    Code(0).check(start, bytes);
}

/// Pseudo-random numbers, the same in each run (xorshift).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        assert_ne!(seed, 0, "zero stays zero");
        Dice(seed)
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}
