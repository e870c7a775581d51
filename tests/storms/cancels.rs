//! The storm of cancels.
//!
//! A victim is a resource with one operation in flight: a stream that receives or sends, a listener
//! that accepts, a connect, a descriptor that is polled. Ending it cancels the operation. Most of
//! the sockets are `AF_UNIX` pairs, which are cheap; a part is TCP.

use std::cell::Cell;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use ringloop::io::AsyncFd;
use ringloop::net::{TcpListener, TcpStream};
use ringloop::time::timeout;
use ringloop::{Builder, Handle, Metrics, Unhandled};
use socket2::{SockRef, Socket};

use crate::bystander::Bystander;
use crate::common::{Dice, blocking_pair, open_fds, poll_once, turns, unanswering_addr, until};
use crate::harness::{assert_quiet, assert_sleeps, cancels_total, resident_bytes};
use crate::tape::Tape;

/// Victims of one wave: more than the submission queue has entries, so that some are cancelled
/// before they are submitted.
const VICTIMS: usize = 200;
const SQ_ENTRIES: u32 = 128;

/// The number of waves after which some readers are slow and some reads time out.
const EXTRAS_EVERY: u64 = 16;

/// The limit of the growth of resident memory in the last two thirds: for the allocator, 100 KiB in
/// measurements, and for each cancel less than the smallest box that could leak.
const GROWTH_MAX_BYTES: u64 = 512 << 10;
const GROWTH_MAX_BYTES_PER_CANCEL: u64 = 8;

/// The linger of dropped streams. Short, because many sends are meant to fail.
const LINGER: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Recv,
    Send,
    Accept,
    Connect,
    Poll,
}

const KINDS: [Kind; 5] = [Kind::Recv, Kind::Send, Kind::Accept, Kind::Connect, Kind::Poll];

type Connect = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

/// A resource with an operation in flight.
enum Victim {
    Receiver(TcpStream),
    Sender(TcpStream),
    Listener(TcpListener),
    Connect(Connect),
    Watch(AsyncFd<Socket>),
}

/// The other side of a victim. It stays open until the operation has ended.
type Peer = Socket;

struct Storm {
    dice: Dice,
    /// The cancels of ending victims, by kind.
    cancels: [u64; KINDS.len()],
    cancels_min: u64,
    /// Cancels of receives whose reader was slow.
    slowed: u64,
    full_addr: SocketAddr,
    answering: std::net::TcpListener,
}

pub(crate) fn storm(builder: &dyn Fn() -> Builder, seed: u64) {
    let total = cancels_total();
    let (full_addr, full) = unanswering_addr();
    let unsent = Rc::new(Cell::new(0_u64));
    let lost = Rc::clone(&unsent);
    let builder = builder().ring_entries(SQ_ENTRIES, 1024).recv_buffers(512, 64).linger(LINGER);
    let builder = builder.on_unhandled(move |unhandled| match unhandled {
        Unhandled::BackgroundClose { .. } => lost.set(lost.get() + 1),
        other => panic!("{other}"),
    });
    let runtime = builder.build().expect("a driver");
    let storm = runtime.block_on(rage(seed, total, full_addr));
    drop(full);

    let metrics = runtime.handle().metrics();
    assert_quiet(&metrics);
    assert!(metrics.cancels >= total, "{} cancels, not {total}", metrics.cancels);
    for (kind, count) in KINDS.iter().zip(storm.cancels) {
        assert!(count >= storm.cancels_min, "{count} cancels of {kind:?}");
    }
    assert!(storm.slowed > 0, "no receive was cancelled because its reader was slow");
    println!(
        "{} cancels, {} missed; {:?} {:?}, {} by slow readers; {} lingering closes gave up; \
         {} turns, {} enters",
        metrics.cancels,
        metrics.cancels_missed,
        KINDS,
        storm.cancels,
        storm.slowed,
        unsent.get(),
        metrics.turns,
        metrics.enter_calls
    );
}

async fn rage(seed: u64, total: u64, full_addr: SocketAddr) -> Storm {
    let answering = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    answering.set_nonblocking(true).expect("an option");
    let mut storm = Storm {
        dice: Dice::new(seed),
        cancels: [0; KINDS.len()],
        cancels_min: total.div_ceil(KINDS.len() as u64),
        slowed: 0,
        full_addr,
        answering,
    };
    let before = open_fds();
    let mut bystander = Bystander::new(seed).await.exchange(1).await;
    until(|| metrics().in_flight <= 2).await; // its listener has closed
    let with_bystander = open_fds();
    let mut warm = None;
    for wave in 0.. {
        if storm.is_over() {
            break;
        }
        let exchanging = ringloop::spawn(bystander.exchange(4));
        let peers = storm.wave().await;
        if wave % EXTRAS_EVERY == 0 {
            storm.slow_readers().await;
            storm.late_readers().await;
        }
        bystander = exchanging.await.expect("a bystander");
        // Only the two receives of the bystander.
        until(|| metrics().in_flight <= 2 && metrics().closing_streams == 0).await;
        storm.bury(peers);
        if 3 * storm.progress() >= total {
            warm.get_or_insert_with(|| (resident_bytes(), metrics().cancels));
        }
    }
    assert_sleeps().await;
    assert_eq!(open_fds(), with_bystander, "descriptors that the storm left behind");
    assert_growth(warm.expect("a storm of some length"));
    let echoed = bystander.end().await;
    println!("a bystander has got back {echoed} bytes");
    until(|| metrics().in_flight == 0).await;
    assert_eq!(open_fds(), before, "descriptors that the bystander left behind");
    storm
}

/// Compares with an earlier resident memory and count of cancels.
fn assert_growth((before_bytes, before_count): (u64, u64)) {
    let grown_bytes = resident_bytes().saturating_sub(before_bytes);
    let count = metrics().cancels - before_count;
    println!("resident memory has grown by {} KiB in {count} cancels", grown_bytes / 1024);
    if std::env::var_os("ASAN_OPTIONS").is_some() {
        println!("SKIP: growth of memory, which the sanitizer keeps in quarantine");
        return;
    }
    let max_bytes = GROWTH_MAX_BYTES + count * GROWTH_MAX_BYTES_PER_CANCEL;
    assert!(grown_bytes <= max_bytes, "{grown_bytes} bytes, not {max_bytes}, in {count} cancels");
}

/// Sends until there is no room, with the smallest send buffer.
fn fill(socket: SockRef<'_>) {
    socket.set_send_buffer_size(1).expect("an option"); // the kernel makes it its minimum
    let filler = [0; 16 * 1024];
    while socket.send_with_flags(&filler, libc::MSG_DONTWAIT).is_ok() {}
}

fn metrics() -> Metrics {
    Handle::current().metrics()
}

impl Storm {
    fn is_over(&self) -> bool {
        self.cancels.iter().all(|&count| count >= self.cancels_min)
    }

    /// Cancels that count towards the goal.
    fn progress(&self) -> u64 {
        self.cancels.iter().map(|&count| count.min(self.cancels_min)).sum()
    }

    /// One wave: many victims start operations, and end in another order. Returns their peers.
    async fn wave(&mut self) -> Vec<Peer> {
        let missing: Vec<Kind> = KINDS.into_iter().filter(|&kind| self.is_missing(kind)).collect();
        let mut victims = Vec::new();
        for _ in 0..VICTIMS {
            let kind = missing[self.dice.roll(missing.len() as u64) as usize];
            victims.push(match kind {
                Kind::Recv => self.receiver().await,
                Kind::Send => self.sender().await,
                Kind::Accept => self.listener().await,
                Kind::Connect => self.connect().await,
                Kind::Poll => self.watch().await,
            });
        }
        let mut peers = Vec::new();
        while !victims.is_empty() {
            if self.one_in(VICTIMS as u64 / 4) {
                turns(1 + self.dice.roll(3) as usize).await;
            }
            let index = self.dice.roll(victims.len() as u64) as usize;
            let (victim, peer) = victims.swap_remove(index);
            peers.extend(self.end(victim, peer));
        }
        peers
    }

    fn is_missing(&self, kind: Kind) -> bool {
        self.cancels[kind as usize] < self.cancels_min
    }

    /// A stream that waits for bytes.
    async fn receiver(&mut self) -> (Victim, Option<Peer>) {
        let (mut stream, peer) = self.pair();
        assert!(poll_once(pin!(stream.recv())).await.is_pending(), "nothing was sent");
        if self.one_in(8) {
            (&peer).write_all(b"bytes that are not read").expect("room");
        }
        (Victim::Receiver(stream), Some(peer))
    }

    /// A stream that waits for room to send.
    async fn sender(&mut self) -> (Victim, Option<Peer>) {
        let (mut stream, peer) = self.pair();
        fill(SockRef::from(&stream));
        stream.write_all(b"bytes that find no room").await.expect("a queue");
        (Victim::Sender(stream), Some(peer))
    }

    /// A listener that waits for connections.
    async fn listener(&self) -> (Victim, Option<Peer>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        assert!(poll_once(pin!(listener.accept())).await.is_pending(), "no connection has come");
        (Victim::Listener(listener), None)
    }

    /// A connect, mostly one without an answer.
    async fn connect(&mut self) -> (Victim, Option<Peer>) {
        let addr = match self.one_in(8) {
            true => self.answering.local_addr().expect("an address"),
            false => self.full_addr,
        };
        let mut connect: Connect = Box::pin(TcpStream::connect(addr));
        assert!(
            poll_once(Pin::new(&mut connect)).await.is_pending(),
            "a connect is never immediate"
        );
        (Victim::Connect(connect), None)
    }

    /// A descriptor that waits to be readable or writable.
    async fn watch(&mut self) -> (Victim, Option<Peer>) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let (ours, peer) = (OwnedFd::from(ours).into(), OwnedFd::from(theirs).into());
        let is_for_room = self.one_in(4);
        if is_for_room {
            fill(SockRef::from(&ours));
        }
        let watch: AsyncFd<Socket> = AsyncFd::new(ours).expect("a descriptor");
        let early = match is_for_room {
            true => poll_once(pin!(watch.writable())).await,
            false => poll_once(pin!(watch.readable())).await,
        };
        assert!(early.is_pending(), "nothing to read, no room to write");
        (Victim::Watch(watch), Some(peer))
    }

    /// Ends a victim in a random way, often when the completion is due. Counts the cancels that it
    /// causes.
    fn end(&mut self, victim: Victim, peer: Option<Peer>) -> Option<Peer> {
        let before = metrics().cancels;
        let (kind, peer) = match victim {
            Victim::Receiver(stream) => {
                let peer = peer.expect("a receiver has a peer");
                if self.one_in(4) {
                    (&peer).write_all(b"too late").expect("room");
                }
                self.end_stream(stream);
                (Kind::Recv, Some(peer))
            }
            Victim::Sender(stream) => {
                let peer = peer.expect("a sender has a peer");
                if self.one_in(4) {
                    let _ = (&peer).read(&mut [0; 64 * 1024]).expect("bytes");
                }
                match self.one_in(64) {
                    true => drop(stream), // lingers, for as long as the builder allows
                    false => stream.abort(),
                }
                (Kind::Send, Some(peer))
            }
            Victim::Listener(listener) => {
                let client = self.one_in(8).then(|| {
                    let addr = listener.local_addr().expect("an address");
                    std::net::TcpStream::connect(addr).expect("a backlog").into()
                });
                drop(listener);
                (Kind::Accept, client)
            }
            Victim::Connect(connect) => {
                drop(connect);
                (Kind::Connect, None)
            }
            Victim::Watch(watch) => {
                let peer = peer.expect("a watch has a peer");
                if self.one_in(4) {
                    (&peer).write_all(b"too late").expect("room");
                }
                drop(watch);
                (Kind::Poll, Some(peer))
            }
        };
        let count = metrics().cancels - before;
        assert!(count <= 1, "{count} cancels of one operation");
        self.cancels[kind as usize] += count;
        peer
    }

    fn end_stream(&mut self, stream: TcpStream) {
        match self.dice.roll(4) {
            0 => drop(stream),
            1 => stream.abort(),
            2 => {
                // Polled once and dropped: it goes on in the background.
                let mut close = pin!(stream.close());
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                let _ = close.as_mut().poll(&mut cx);
            }
            _ => {
                let (reader, writer) = stream.into_split();
                drop(reader);
                drop(writer);
            }
        }
    }

    /// Checks the peers of the victims, and closes them.
    fn bury(&self, peers: Vec<Peer>) {
        for mut peer in &peers {
            // The end or a reset; a connection that is kept open would hang here.
            let _ = peer.read_to_end(&mut Vec::new());
        }
        drop(peers);
        while self.answering.accept().is_ok() {}
    }

    /// Readers that pause, so that their receives are cancelled, and that then get every byte.
    async fn slow_readers(&mut self) {
        let before = metrics().cancels;
        for identity in 0..4 {
            let (mut stream, peer) = self.pair();
            let (mut sent, mut received) = (Tape::new(identity), Tape::new(identity));
            for _ in 0..4 {
                assert!(poll_once(pin!(stream.recv())).await.is_pending(), "nothing was sent");
                turns(1 + self.dice.roll(2) as usize).await;
                (&peer)
                    .write_all(&sent.play(64 * 20 + self.dice.roll(2000) as usize))
                    .expect("room");
                turns(self.dice.roll(12) as usize).await;
                while received.position < sent.position {
                    received.check(&stream.recv().await.expect("bytes"));
                }
            }
        }
        self.slowed += metrics().cancels - before;
    }

    /// Reads that a timeout ends, each with its stream.
    async fn late_readers(&mut self) {
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let (mut stream, peer) = self.pair();
                ringloop::spawn(async move {
                    let outcome = timeout(Duration::from_millis(1), stream.recv()).await;
                    assert!(outcome.is_err(), "nothing was sent");
                    peer
                })
            })
            .collect();
        let mut peers = Vec::new();
        for reader in readers {
            peers.push(reader.await.expect("a reader"));
        }
        until(|| metrics().in_flight <= 4).await;
    }

    fn pair(&mut self) -> (TcpStream, Peer) {
        if self.one_in(16) {
            let (ours, theirs) = blocking_pair();
            return (TcpStream::from_std(ours), theirs.into());
        }
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        (TcpStream::from_std(OwnedFd::from(ours).into()), OwnedFd::from(theirs).into())
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.dice.roll(sides) == 0
    }
}
