//! A mixed load: connections that are made, accepted, echo and end; timers; reads that are dropped;
//! operations that are cancelled.

use std::cell::RefCell;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringloop::Handle;
use ringloop::net::{OwnedReadHalf, TcpListener, TcpStream};
use ringloop::task::yield_now;
use ringloop::time::{sleep, timeout};

use crate::common::{Dice, poll_once, turns, unanswering_addr, until};
use crate::harness::{assert_sleeps, scaled};
use crate::tape::Tape;

const CLIENTS: u64 = 64;
/// Connections that each client makes, one after the other.
const VISITS: u64 = 2;
const MESSAGES: u64 = 12;
const LEN_MAX: u64 = 1500;
const CANCELS: u64 = 150;

/// The counts of the load.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    /// The number of results of `recv`, with ends.
    pub(crate) chunks: u64,
    pub(crate) streams: u64,
    pub(crate) timers: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { messages, chunks, streams, timers } = self;
        write!(f, "{messages} messages in {chunks} chunks, {streams} streams, {timers} timers")
    }
}

type Shared = Rc<RefCell<Tally>>;

/// Runs the load on the current loop, which then has no operation in flight and sleeps.
pub(crate) async fn mixed(seed: u64) -> Tally {
    let (full_addr, _full) = unanswering_addr();
    let tally = Shared::default();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let addr = listener.local_addr().expect("an address");
    let clients_count = scaled(CLIENTS);
    let server = ringloop::spawn(serve(listener, clients_count * VISITS, Rc::clone(&tally)));
    let nuisance = ringloop::spawn(cancel(full_addr, Dice::new(seed), Rc::clone(&tally)));
    let clients: Vec<_> = (1..=clients_count)
        .map(|number| ringloop::spawn(visit(addr, seed << 32 | number << 8, Rc::clone(&tally))))
        .collect();
    for client in clients {
        client.await.expect("a client");
    }
    server.await.expect("the server");
    nuisance.await.expect("the nuisance");
    until(|| Handle::current().metrics().in_flight == 0).await;
    assert_sleeps().await;
    tally.take()
}

async fn serve(listener: TcpListener, count: u64, tally: Shared) {
    let mut echoes = Vec::new();
    for _ in 0..count {
        let stream = listener.accept().await.expect("a connection");
        echoes.push(ringloop::spawn(echo(stream, Rc::clone(&tally))));
    }
    drop(listener);
    for echo in echoes {
        echo.await.expect("an echo");
    }
}

/// Sends received bytes back. Every read is dropped once, which must lose no byte.
async fn echo(mut stream: TcpStream, tally: Shared) {
    stream.set_nodelay(true).expect("an option");
    tally.borrow_mut().streams += 1;
    loop {
        let early = poll_once(pin!(stream.recv())).await;
        let bytes = match early {
            Poll::Ready(bytes) => bytes,
            Poll::Pending => stream.recv().await,
        };
        let bytes = bytes.expect("a client that lives");
        tally.borrow_mut().chunks += 1;
        if bytes.is_empty() {
            break;
        }
        stream.send(bytes).await.expect("a client that lives");
    }
    stream.close().await.expect("a client that reads");
}

/// Connects, sends messages with pauses between some of them, and reads them all back.
async fn visit(addr: SocketAddr, seed: u64, tally: Shared) {
    let mut dice = Dice::new(seed);
    for visit in 0..VISITS {
        let stream = TcpStream::connect(addr).await.expect("a server");
        stream.set_nodelay(true).expect("an option");
        tally.borrow_mut().streams += 1;
        let identity = seed | visit;
        let (mut reader, mut writer) = stream.into_split();
        let (mut sent, mut received) = (Tape::new(identity), Tape::new(identity));
        for _ in 0..MESSAGES {
            let message = sent.play_some(LEN_MAX, &mut dice);
            writer.write_all(&message).await.expect("a server that lives");
            tally.borrow_mut().messages += 1;
            match dice.roll(4) {
                0 => pause(&mut dice, &tally).await,
                1 => {
                    tally.borrow_mut().timers += 1;
                    let patience = Duration::from_micros(dice.roll(300));
                    let _ = timeout(patience, read(&mut reader, &mut received, &tally)).await;
                }
                2 => {
                    while received.position < sent.position {
                        read(&mut reader, &mut received, &tally).await;
                    }
                }
                _ => {}
            }
        }
        writer.shutdown().await.expect("a server that lives");
        while received.position < sent.position {
            read(&mut reader, &mut received, &tally).await;
        }
        assert!(reader.recv().await.expect("the end").is_empty(), "bytes that were not sent");
        tally.borrow_mut().chunks += 1;
    }
}

async fn read(reader: &mut OwnedReadHalf, received: &mut Tape, tally: &Shared) {
    let bytes = reader.recv().await.expect("a server that lives");
    assert!(!bytes.is_empty(), "the end comes after {}", received.position);
    received.check(&bytes);
    tally.borrow_mut().chunks += 1;
}

async fn pause(dice: &mut Dice, tally: &Shared) {
    tally.borrow_mut().timers += 1;
    sleep(Duration::from_micros(dice.roll(500))).await;
}

/// Starts operations and drops them, repeatedly.
async fn cancel(full_addr: SocketAddr, mut dice: Dice, tally: Shared) {
    for _ in 0..scaled(CANCELS) {
        match dice.roll(3) {
            0 => {
                let (ours, _theirs) = UnixStream::pair().expect("a socket pair");
                let mut stream = TcpStream::from_std(OwnedFd::from(ours).into());
                tally.borrow_mut().streams += 1;
                assert!(poll_once(pin!(stream.recv())).await.is_pending());
                turns(dice.roll(3) as usize).await;
            }
            1 => {
                let mut connect = Box::pin(TcpStream::connect(full_addr));
                assert!(poll_once(Pin::new(&mut connect)).await.is_pending());
                turns(dice.roll(3) as usize).await;
            }
            _ => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
                assert!(poll_once(pin!(listener.accept())).await.is_pending());
                turns(dice.roll(3) as usize).await;
            }
        }
        yield_now().await;
    }
}
