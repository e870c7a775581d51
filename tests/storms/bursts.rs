//! One message on each of many connections, all ready when the loop next enters the kernel.

use std::cell::Cell;
use std::fmt;
use std::io::Write;
use std::net::TcpStream as StdStream;
use std::rc::Rc;

use ringloop::net::{TcpListener, TcpStream};
use ringloop::{Handle, JoinHandle, spawn};

use crate::common::{any_addr, until};

pub(crate) const CONNECTIONS: u64 = 1000;
const ROUNDS: u64 = 10;
/// Far less than a buffer of the pool.
const MESSAGE: [u8; 64] = [0x5A; 64];

/// How many receives found no buffer.
pub(crate) struct Tally {
    pub(crate) messages: u64,
    pub(crate) enobufs: u64,
    first_round: u64,
    last_round: u64,
}

/// Figures per message, for `scripts/kernels.sh`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { messages, enobufs, first_round, last_round } = self;
        let per_message = *enobufs as f64 / *messages as f64;
        let per_round = |count: u64| count as f64 / CONNECTIONS as f64;
        let (first, last) = (per_round(*first_round), per_round(*last_round));
        write!(f, "{per_message:.2} (first round {first:.2}, last {last:.2})")
    }
}

/// Sends and receives every round, and closes the connections.
pub(crate) async fn all_at_once() -> Tally {
    let received = Rc::new(Cell::new(0));
    let (mut clients, servers) = connect(&received).await;
    let enobufs = || Handle::current().metrics().enobufs;
    let mut rounds = Vec::new();
    for round in 1..=ROUNDS {
        let before = enobufs();
        // In one poll: the loop does not enter the kernel before the last message is there.
        for client in &mut clients {
            client.write_all(&MESSAGE).expect("a server that reads");
        }
        let expected = round * CONNECTIONS * MESSAGE.len() as u64;
        until(|| received.get() == expected).await;
        rounds.push(enobufs() - before);
    }
    drop(clients);
    for server in servers {
        server.await.expect("no panic");
    }
    Tally {
        messages: ROUNDS * CONNECTIONS,
        enobufs: rounds.iter().sum(),
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
