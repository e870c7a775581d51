//! One message on each of many connections, all ready when the loop next enters the kernel.
//!
//! A binary of its own: the storms measure the memory of their process.

mod common;
#[path = "common/limits.rs"]
mod limits;

use std::cell::Cell;
use std::fmt;
use std::io::Write;
use std::net::TcpStream as StdStream;
use std::rc::Rc;

use ringloop::net::{TcpListener, TcpStream};
use ringloop::{DriverChoice, Handle, JoinHandle, Runtime, spawn};

use common::{LIMIT, any_addr, until, within};

const CONNECTIONS: u64 = 1000;
const ROUNDS: u64 = 10;
/// Far fewer bytes than a buffer of the pool has.
const MESSAGE: [u8; 64] = [0x5A; 64];

/// Goal: a thousand messages that are ready at once all arrive, with any size of the pool.
///
/// Method: every connection's message is sent before the loop next enters the kernel, ten times,
/// with 4, 256 and 1024 buffers, on each driver. A kernel before 6.13 runs all those receives in
/// one enter, a later one twenty or forty. Receives that found the pool empty are counted: at most
/// one per message.
///
/// Kills: a stream that stays without a receive after `ENOBUFS`; bytes that are lost between a
/// receive of the pool and a private one; a receive that uses an empty pool again.
#[test]
fn a_burst_on_every_connection_arrives() {
    limits::raise(4 * CONNECTIONS);
    for choice in [DriverChoice::Uring, DriverChoice::Epoll] {
        for buffer_count in [4, 256, 1024] {
            within(LIMIT, move || burst(choice, buffer_count));
        }
    }
}

fn burst(choice: DriverChoice, buffer_count: u16) {
    let builder = Runtime::builder().driver(choice).recv_buffers(buffer_count, 4096);
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) if choice == DriverChoice::Uring => {
            return println!("SKIP: {choice:?}: {error}");
        }
        Err(error) => panic!("{choice:?}: {error}"),
    };
    let tally = runtime.block_on(all_at_once());
    let metrics = runtime.handle().metrics();
    assert_eq!(
        (metrics.in_flight, metrics.buffers_held, metrics.stale_completions),
        (0, 0, 0),
        "{metrics:?}"
    );
    assert!(tally.pool_exhausted <= tally.messages, "{} ENOBUFS: {tally}", tally.pool_exhausted);
    println!("\nBURST {} {buffer_count} {tally}", runtime.handle().driver().kind());
}

/// The number of receives that found no buffer.
struct Tally {
    messages: u64,
    pool_exhausted: u64,
    first_round: u64,
    last_round: u64,
}

/// Prints figures per message, for `scripts/kernels.sh`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { messages, pool_exhausted, first_round, last_round } = self;
        let per_message = *pool_exhausted as f64 / *messages as f64;
        let per_round = |count: u64| count as f64 / CONNECTIONS as f64;
        let (first, last) = (per_round(*first_round), per_round(*last_round));
        write!(f, "{per_message:.2} (first round {first:.2}, last {last:.2})")
    }
}

/// Sends and receives every round, and closes the connections.
async fn all_at_once() -> Tally {
    let received = Rc::new(Cell::new(0));
    let (mut clients, servers) = connect(&received).await;
    let pool_exhausted = || Handle::current().metrics().pool_exhausted;
    let mut rounds = Vec::new();
    for round in 1..=ROUNDS {
        let before = pool_exhausted();
        // In one poll: the loop does not enter the kernel before the last message is sent.
        for client in &mut clients {
            client.write_all(&MESSAGE).expect("a server that reads");
        }
        let expected = round * CONNECTIONS * MESSAGE.len() as u64;
        until(|| received.get() == expected).await;
        rounds.push(pool_exhausted() - before);
    }
    drop(clients);
    for server in servers {
        server.await.expect("no panic");
    }
    Tally {
        messages: ROUNDS * CONNECTIONS,
        pool_exhausted: rounds.iter().sum(),
        first_round: rounds[0],
        last_round: rounds[rounds.len() - 1],
    }
}

/// Connections whose servers have all armed a receive.
async fn connect(received: &Rc<Cell<u64>>) -> (Vec<StdStream>, Vec<JoinHandle<()>>) {
    let listener = TcpListener::bind(any_addr()).unwrap();
    let addr = listener.local_addr().unwrap();
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        clients.push(StdStream::connect(addr).unwrap());
        let stream = listener.accept().await.unwrap();
        servers.push(spawn(receive_all(stream, Rc::clone(received))));
    }
    drop(listener);
    until(|| Handle::current().metrics().in_flight == CONNECTIONS).await;
    (clients, servers)
}

async fn receive_all(mut stream: TcpStream, received: Rc<Cell<u64>>) {
    loop {
        let bytes = stream.recv().await.expect("a client that closes");
        if bytes.is_empty() {
            return;
        }
        assert!(bytes.iter().all(|byte| *byte == MESSAGE[0]), "{bytes:?}");
        received.set(received.get() + bytes.len() as u64);
    }
}
