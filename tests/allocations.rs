//! The cost of one message: no allocation, and two enter calls.
#![allow(unsafe_code)] // a global allocator that counts

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::rc::Rc;
use std::time::Duration;

use common::{LIMIT, std_pair, until, within};
use ringloop::net::TcpStream;
use ringloop::time::{sleep, timeout};
use ringloop::{DriverChoice, Handle, Runtime, spawn};

const MESSAGE: [u8; 64] = [7; 64];
/// Fewer connections than the pool has buffers.
const CONNECTIONS: usize = 50;
/// Queues and the heap of timers grow in the first rounds.
const ROUNDS_BEFORE: u64 = 20;
const ROUNDS: u64 = 200;

/// Counts the allocations of each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it came. The counter is const and
// has no destructor, so counting neither allocates nor meets the end of its thread. The default
// `realloc` and `alloc_zeroed` call `alloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the same promises about the layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `alloc` above got `ptr` from the system's allocator with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// Runs a body on each driver that works on this machine.
fn on_each_driver(body: impl AsyncFn() + Copy + Send + 'static) {
    for choice in [DriverChoice::Uring, DriverChoice::Epoll] {
        within(LIMIT, move || match Runtime::builder().driver(choice).build() {
            Ok(runtime) => runtime.block_on(body()),
            Err(error) if choice == DriverChoice::Uring => println!("SKIP: {choice:?}: {error}"),
            Err(error) => panic!("{choice:?}: {error}"),
        });
    }
}

/// Sends one message and receives its echo.
async fn echo(stream: &mut TcpStream, peer: &mut StdStream) {
    peer.write_all(&MESSAGE).unwrap();
    let bytes = stream.recv().await.unwrap();
    stream.send(bytes).await.unwrap();
    stream.flush().await.unwrap();
    peer.read_exact(&mut [0; MESSAGE.len()]).unwrap();
}

/// Echoes with the kernel's buffers and with copies in turn, and counts.
async fn serve(mut stream: TcpStream, served: Rc<Cell<usize>>) {
    let limit = Duration::from_secs(600);
    let mut target = [0; MESSAGE.len()];
    loop {
        let bytes = timeout(limit, stream.recv()).await.unwrap().unwrap();
        stream.send(bytes).await.unwrap();
        served.set(served.get() + 1);
        timeout(limit, stream.read_exact(&mut target)).await.unwrap().unwrap();
        stream.write_all(&target).await.unwrap();
        served.set(served.get() + 1);
    }
}

/// Goal: receives with a waiting reader, sends, writes, sleeps and timeouts do not allocate once
/// the loop's queues have grown.
///
/// Method: an allocator that counts. Fifty tasks each echo and copy in turn, each message within a
/// timeout; a sleep; twenty rounds, and then 200 that are counted. On each driver.
///
/// Kills: a boxed operation, waker or chunk; a new buffer for each write; a timer that is
/// allocated.
#[test]
fn operations_allocate_nothing() {
    on_each_driver(async || {
        let served = Rc::new(Cell::new(0));
        let (streams, mut peers): (Vec<_>, Vec<_>) = (0..CONNECTIONS).map(|_| std_pair()).unzip();
        let servers: Vec<_> =
            streams.into_iter().map(|stream| spawn(serve(stream, Rc::clone(&served)))).collect();
        let mut round = async || {
            served.set(0);
            peers.iter_mut().for_each(|peer| peer.write_all(&MESSAGE).unwrap());
            until(|| served.get() == CONNECTIONS).await;
            sleep(Duration::from_micros(50)).await; // its enter submits the queued sends
            peers.iter_mut().for_each(|peer| peer.read_exact(&mut [0; MESSAGE.len()]).unwrap());
        };
        for _ in 0..ROUNDS_BEFORE {
            round().await;
        }
        let before = ALLOCATIONS.get();
        for _ in 0..ROUNDS {
            round().await;
        }
        let count = ALLOCATIONS.get() - before;
        servers.iter().for_each(|server| server.abort());
        let kind = Handle::current().driver().kind();
        // The watchdog allocates a few times per second, for any number of operations.
        assert!(count < ROUNDS, "{kind}: {count} allocations in {ROUNDS} rounds");
    });
}

/// Goal: an echo on one connection enters the kernel twice: once for the message, once to send.
///
/// Method: the peer is a socket of this thread, so nothing depends on the time; one enter is
/// allowed for what the driver arms once. On each driver. Kills: an enter of its own to arm, to
/// lend, or to look whether more is there.
#[test]
fn an_echo_enters_the_kernel_twice() {
    on_each_driver(async || {
        let (mut stream, mut peer) = std_pair();
        for _ in 0..ROUNDS_BEFORE {
            echo(&mut stream, &mut peer).await;
        }
        let enters = || Handle::current().metrics().enter_calls;
        let before = enters();
        for _ in 0..ROUNDS {
            echo(&mut stream, &mut peer).await;
        }
        let count = enters() - before;
        let kind = Handle::current().driver().kind();
        assert!(count <= 2 * ROUNDS + 1, "{kind}: {count} enters for {ROUNDS} echoes");
    });
}
