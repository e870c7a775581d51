//! Growth of costs with the number of idle connections and timers, on the real kernel.
//!
//! `cargo bench --bench growth` prints a table for up to 9 000 connections (both ends are in this
//! process, which has 20 000 descriptors) and 10⁶ timers. `cargo test` runs it with small numbers.
//! Counts (cancels, submissions, bytes) must keep their bounds; times are printed and marked. It
//! uses the public interface only. Costs at 10⁵ operations and more are measured on a scripted
//! ring, in `src/runtime/tests/growth.rs`.
//!
//! `RINGLOOP_DRIVER` chooses the driver.

#[path = "../../tests/hostile/counting.rs"]
#[allow(dead_code)] // the peak is not used here
mod counting;
#[path = "../../tests/common/limits.rs"]
mod limits;
mod table;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use ringloop::net::{TcpListener, TcpStream};
use ringloop::task::yield_now;
use ringloop::time::{TimerHandle, call_later};
use ringloop::{Handle, Metrics, Runtime};

use counting::live_bytes;
use table::{Cost, Growth, Table};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

const DESCRIPTORS: u64 = 20_000;

/// The number of times that each cost is measured.
const REPEATS: usize = 64;

/// The number of turns whose cost is measured.
const TURNS: u32 = 2_000;

fn main() {
    limits::raise(DESCRIPTORS);
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (connections, timers): (&[u64], &[u64]) = match is_bench {
        true => (&[300, 1_000, 3_000, 9_000], &[1_000, 10_000, 100_000, 1_000_000]),
        false => (&[100, 200, 400], &[100, 1_000]),
    };
    let mut table = Table::default();
    println!("{:?}", Runtime::new().expect("a driver").handle().driver());
    for &n in connections {
        measure_connections(&mut table, n);
    }
    for &n in timers {
        measure_timers(&mut table, n);
    }
    if is_bench {
        println!("{table}");
    }
    table.check();
}

fn metrics() -> Metrics {
    Handle::current().metrics()
}

/// A stream of the loop and its blocking peer. The stream waits for bytes.
async fn armed(listener: &TcpListener) -> (TcpStream, std::net::TcpStream) {
    let peer = std::net::TcpStream::connect(listener.local_addr().expect("an address"));
    let mut stream = listener.accept().await.expect("a connection");
    arm(&mut stream).await;
    (stream, peer.expect("a connection"))
}

async fn arm(stream: &mut TcpStream) {
    let mut reading = pin!(stream.recv());
    let is_ready = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx).is_ready())).await;
    assert!(!is_ready, "the read is ready although the peer has sent nothing");
}

/// Like [`armed`], but the program has made the descriptor.
async fn exposed() -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let peer = std::net::TcpStream::connect(listener.local_addr().expect("an address"));
    let mut stream = TcpStream::from_std(listener.accept().expect("a connection").0);
    arm(&mut stream).await;
    (stream, peer.expect("a connection"))
}

/// Runs `f` several times. Returns the median of the times and the mean of the counts.
async fn repeat(count: fn(&Metrics) -> u64, mut f: impl AsyncFnMut() -> f64) -> Cost {
    let before = count(&metrics());
    let mut all = Vec::with_capacity(REPEATS);
    for _ in 0..REPEATS {
        all.push(f().await);
    }
    all.sort_by(f64::total_cmp);
    let count = (count(&metrics()) - before) as f64 / REPEATS as f64;
    Cost { count, ns: all[REPEATS / 2] }
}

async fn close(stream: TcpStream) -> f64 {
    let start = Instant::now();
    stream.close().await.expect("an orderly end");
    start.elapsed().as_nanos() as f64
}

fn measure_connections(table: &mut Table, n: u64) {
    use Growth::{Constant, Linear};
    let runtime = Runtime::builder().connections_expected(n as u32).build().expect("a driver");
    let idle = runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        drop(armed(&listener).await);
        let mut idle = VecDeque::with_capacity(2 * n as usize);
        let live = live_bytes();
        let start = Instant::now();
        for _ in 0..n {
            idle.push_back(armed(&listener).await);
            yield_now().await;
        }
        let ns = start.elapsed().as_nanos() as f64 / n as f64;
        let count = (live_bytes() - live) as f64 / n as f64;
        table.add(("an idle connection", "bytes", Constant), n, Cost { count, ns });

        let (before, start) = (metrics().submissions, Instant::now());
        for _ in 0..TURNS {
            yield_now().await;
        }
        let ns = start.elapsed().as_nanos() as f64 / f64::from(TURNS);
        let count = (metrics().submissions - before) as f64 / f64::from(TURNS);
        table.add(("a turn", "submissions", Constant), n, Cost { count, ns });

        let submissions = |metrics: &Metrics| metrics.submissions;
        let mut taken = Vec::new();
        let cost = repeat(submissions, async || {
            let (stream, peer) = idle.pop_front().expect("many");
            taken.push(peer);
            close(stream).await
        })
        .await;
        table.add(("a close, the oldest", "submissions", Constant), n, cost);
        let cost = repeat(submissions, async || {
            let (stream, _peer) = armed(&listener).await;
            yield_now().await;
            close(stream).await
        })
        .await;
        table.add(("a close, the newest", "submissions", Constant), n, cost);
        let cost = repeat(submissions, async || {
            let (stream, _peer) = exposed().await;
            yield_now().await;
            close(stream).await
        })
        .await;
        table.add(("a close by cancel, the newest", "submissions", Constant), n, cost);
        idle
    });
    let start = Instant::now();
    drop(runtime);
    let ns = start.elapsed().as_nanos() as f64;
    drop(idle);
    table.add(("the end of the loop", "connections", Linear), n, Cost { count: n as f64, ns });
}

fn measure_timers(table: &mut Table, n: u64) {
    let runtime = Runtime::new().expect("a driver");
    runtime.block_on(async {
        let mut place = 12_345;
        let mut timers: Vec<TimerHandle> = Vec::with_capacity(n as usize);
        let (live, start) = (live_bytes(), Instant::now());
        for _ in 0..n {
            place = (place * 7_919 + 1) % n;
            timers.push(call_later(Duration::from_secs(3600 + place), || {}));
        }
        let ns = start.elapsed().as_nanos() as f64 / n as f64;
        let count = (live_bytes() - live) as f64 / n as f64;
        table.add(("a timer set", "bytes", Growth::Constant), n, Cost { count, ns });
        let (before, start) = (metrics().timers, Instant::now());
        timers.iter().for_each(TimerHandle::cancel);
        let ns = start.elapsed().as_nanos() as f64 / n as f64;
        let count = (before - metrics().timers) as f64 / n as f64;
        table.add(("a timer removed", "timers", Growth::Logarithmic), n, Cost { count, ns });
    });
}
