//! Short connections that reuse a few descriptor numbers.
//!
//! Each connection has one end on the loop and one that is an ordinary non-blocking socket. Both
//! directions carry tapes of their own, so a byte that moves from one connection to another, or
//! within one, is found where it arrives; and a byte that is stolen is missing where it should be.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use ringloop::net::TcpStream;
use ringloop::{Builder, Handle, Metrics};
use socket2::Socket;

use crate::common::{Dice, blocking_pair, poll_once, turns, until};
use crate::harness::{assert_quiet, assert_sleeps, scaled};
use crate::tape::Tape;

const CONNECTIONS: usize = 48;
const STEPS: u64 = 40_000;

/// The number of turns within which the loop may still have completions for the former owner of a
/// number.
const SOON_TURNS: u64 = 3;

/// One direction of a connection: what was sent, and what has arrived.
#[derive(Debug)]
struct Direction {
    sent: Tape,
    received: Tape,
}

#[derive(Debug)]
struct Connection {
    ours: TcpStream,
    theirs: Socket,
    outward: Direction,
    inward: Direction,
}

/// The peer of a connection whose end on the loop was dropped. It still reads.
struct Remains {
    theirs: Socket,
    outward: Direction,
    /// Whether every byte must arrive, and then the end.
    is_owed_all: bool,
}

#[derive(Default)]
struct Numbers {
    /// The turn in which the last owner of a number was ended.
    ended_at: BTreeMap<RawFd, u64>,
    opened: u64,
    reused: u64,
    reused_soon: u64,
}

struct Storm {
    dice: Dice,
    connections: Vec<Connection>,
    remains: Vec<Remains>,
    numbers: Numbers,
    identity: u64,
}

pub(crate) fn storm(builder: &dyn Fn() -> Builder, seed: u64) {
    let runtime = builder().ring_entries(16, 32).recv_buffers(16, 256).build().expect("a driver");
    let numbers = runtime.block_on(rage(seed));
    let metrics = runtime.handle().metrics();
    assert_quiet(&metrics);
    let Numbers { opened, reused, reused_soon, .. } = numbers;
    println!("{opened} connections, {reused} under a used number, {reused_soon} of them soon");
    println!("{} cancels", metrics.cancels);
    let again = opened - CONNECTIONS as u64; // the first ones find no used number
    assert!(reused * 4 >= again * 3, "{reused} of {again} took a used number");
    assert!(reused_soon * 4 >= again, "{reused_soon} of {again} took one soon");
    assert!(metrics.cancels * 4 >= again, "{} cancels for {again}", metrics.cancels);
}

async fn rage(seed: u64) -> Numbers {
    let mut storm = Storm {
        dice: Dice::new(seed),
        connections: Vec::new(),
        remains: Vec::new(),
        numbers: Numbers::default(),
        identity: seed << 32,
    };
    for _ in 0..CONNECTIONS {
        let connection = storm.open();
        storm.connections.push(connection);
    }
    for _ in 0..scaled(STEPS) {
        storm.step().await;
    }
    for connection in std::mem::take(&mut storm.connections) {
        connection.finish().await;
    }
    for mut remains in std::mem::take(&mut storm.remains) {
        until(|| remains.has_ended()).await;
    }
    until(|| metrics().in_flight == 0).await;
    assert_sleeps().await;
    storm.numbers
}

fn metrics() -> Metrics {
    Handle::current().metrics()
}

impl Storm {
    async fn step(&mut self) {
        let index = self.dice.roll(CONNECTIONS as u64) as usize;
        let connection = &mut self.connections[index];
        match self.dice.roll(16) {
            0..3 => connection.send(&mut self.dice).await,
            3..6 => connection.let_them_send(&mut self.dice),
            6..9 => connection.receive().await,
            9..12 => {
                let _ = receive(&connection.theirs, &mut connection.outward.received);
            }
            12 | 13 => turns(self.dice.roll(3) as usize).await,
            _ => self.replace(index).await,
        }
        if !self.remains.is_empty() {
            let index = self.dice.roll(self.remains.len() as u64) as usize;
            if self.remains[index].has_ended() {
                self.remains.swap_remove(index);
            }
        }
    }

    /// Ends one connection and opens another in its place, without a turn in between.
    async fn replace(&mut self, index: usize) {
        let former = self.connections.swap_remove(index);
        self.numbers.ended_at.insert(former.ours.as_raw_fd(), metrics().turns);
        self.remains.extend(former.end(&mut self.dice));
        let mut next = self.open();
        if self.dice.roll(2) == 0 {
            next.receive().await; // that of the former owner may still be in flight
        }
        self.connections.push(next);
    }

    fn open(&mut self) -> Connection {
        let (mut ours, mut theirs): (Socket, Socket) = match self.dice.roll(4) {
            0 => {
                let (ours, theirs) = blocking_pair();
                (ours.into(), theirs.into())
            }
            _ => {
                let (ours, theirs) = UnixStream::pair().expect("a socket pair");
                (OwnedFd::from(ours).into(), OwnedFd::from(theirs).into())
            }
        };
        // The loop gets the number that it had before.
        if self.numbers.ended_at.contains_key(&theirs.as_raw_fd()) {
            std::mem::swap(&mut ours, &mut theirs);
        }
        self.numbers.note(ours.as_raw_fd());
        theirs.set_nonblocking(true).expect("an option");
        self.identity += 2;
        Connection {
            ours: TcpStream::from_std(ours.into()),
            theirs,
            outward: Direction::new(self.identity),
            inward: Direction::new(self.identity + 1),
        }
    }
}

impl Numbers {
    fn note(&mut self, number: RawFd) {
        self.opened += 1;
        if let Some(ended_at) = self.ended_at.remove(&number) {
            self.reused += 1;
            self.reused_soon += u64::from(metrics().turns - ended_at <= SOON_TURNS);
        }
    }
}

impl Direction {
    fn new(identity: u64) -> Direction {
        Direction { sent: Tape::new(identity), received: Tape::new(identity) }
    }

    fn is_level(&self) -> bool {
        self.sent.position == self.received.position
    }
}

impl Connection {
    async fn send(&mut self, dice: &mut Dice) {
        let bytes = self.outward.sent.play_some(600, dice);
        match poll_once(pin!(self.ours.write_all(&bytes))).await {
            Poll::Ready(outcome) => outcome.expect("a peer that lives"),
            Poll::Pending => self.outward.sent.rewind(bytes.len()), // no room: none of it is queued
        }
    }

    fn let_them_send(&mut self, dice: &mut Dice) {
        let bytes = self.inward.sent.play_some(600, dice);
        let count = match (&self.theirs).write(&bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("{error}"),
        };
        self.inward.sent.rewind(bytes.len() - count);
    }

    /// Takes received bytes, or leaves a receive armed.
    async fn receive(&mut self) {
        let early = poll_once(pin!(self.ours.recv())).await;
        if let Poll::Ready(bytes) = early {
            let bytes = bytes.unwrap_or_else(|error| panic!("{error} on {self:?}"));
            assert!(!bytes.is_empty(), "an end that was not sent on {self:?}");
            self.inward.received.check(&bytes);
        }
    }

    /// Ends it in a random way.
    fn end(self, dice: &mut Dice) -> Option<Remains> {
        let Connection { ours, theirs, outward, inward } = self;
        let mut is_owed_all = inward.is_level(); // otherwise unread bytes reset the connection
        match dice.roll(6) {
            0 | 1 => drop(ours),
            2 => {
                // Polled once and dropped: it goes on in the background.
                let close = pin!(ours.close());
                let _ = close.poll(&mut Context::from_waker(Waker::noop()));
            }
            3 => {
                let (reader, writer) = ours.into_split();
                drop(reader);
                drop(writer);
            }
            4 => {
                ours.abort();
                is_owed_all = false;
            }
            _ => {
                drop(theirs);
                ours.abort();
                return None;
            }
        }
        Some(Remains { theirs, outward, is_owed_all })
    }

    /// Reads the bytes in transit in both directions, to the last one, then the end.
    async fn finish(mut self) {
        while !self.inward.is_level() {
            let bytes = self.ours.recv().await.expect("a peer that lives");
            assert!(!bytes.is_empty(), "an end that was not sent");
            self.inward.received.check(&bytes);
        }
        let Connection { ours, theirs, outward, .. } = self;
        let close = ringloop::spawn(ours.close());
        let mut remains = Remains { theirs, outward, is_owed_all: true };
        until(|| remains.has_ended()).await;
        close.await.expect("a task").expect("a peer that reads");
    }
}

impl Remains {
    /// Reads on. At the end, checks that no expected byte is missing.
    fn has_ended(&mut self) -> bool {
        loop {
            match receive(&self.theirs, &mut self.outward.received) {
                Received::Bytes => {}
                Received::NotYet => return false,
                Received::End(is_clean) => {
                    let is_whole = is_clean && self.outward.is_level();
                    assert!(is_whole || !self.is_owed_all, "lost: {:?}", self.outward.received);
                    return true;
                }
            }
        }
    }
}

enum Received {
    Bytes,
    NotYet,
    End(bool),
}

fn receive(mut theirs: &Socket, tape: &mut Tape) -> Received {
    let mut bytes = [0; 1024];
    match theirs.read(&mut bytes) {
        Ok(0) => Received::End(true),
        Ok(count) => {
            tape.check(&bytes[..count]);
            Received::Bytes
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Received::NotYet,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Received::End(false),
        Err(error) => panic!("{error}"),
    }
}
