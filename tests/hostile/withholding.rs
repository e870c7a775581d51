//! Peers that do not read.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use ringloop::{JoinHandle, spawn};
use socket2::SockRef;

use crate::assault::{Attack, Bounds, Case, Stage, Still, run};
use crate::common::{scaled, turns};
use crate::{Body, Driver, bodies, peers, serving};

pub(crate) const ALONE: &[Body] = bodies![
    peers_that_never_read_have_a_bound,
    peers_that_never_read_their_echo_have_a_bound,
    peers_that_send_single_bytes_and_never_read_have_a_bound,
    peers_that_read_one_byte_at_a_time_have_a_bound,
];

/// Twice the high-water mark of a stream, and the tasks, tables and sockets.
const WRITING_BYTES: u64 = 2 * 64 * 1024 + 4 * 1024;

/// Pieces that a peer tries to send before its wave is measured.
const PIECES_SENT: u64 = 4000;

/// A chunk of copies to send, a received one, and a connection. If each byte held a
/// receive buffer, the pool would allow 128 KiB for each of eight peers.
const SINGLE_BYTES: u64 = 32 * 1024;

/// As much again may wait for a reader.
const ECHOING_BYTES: u64 = WRITING_BYTES + 64 * 1024;

/// Goal: peers that request a download and do not read it cost only the queued buffers.
/// Method: each sends one request at the beginning.
///
/// Kills: a send queue without a high-water mark; a bound on operations that blocked sends use up.
fn peers_that_never_read_have_a_bound(on: Driver) {
    let open = |stage: &Stage| {
        let all: Vec<_> = (0..stage.attackers).map(|_| peers::connect_tight(stage.addr)).collect();
        all.iter().for_each(|peer| assert_eq!(peers::write(peer, b"get"), 1));
        Box::new(Still(all)) as Box<dyn Attack>
    };
    let case = Case {
        name: "never read",
        attackers: 64,
        bounds: Bounds { bytes: WRITING_BYTES, slots: 2, completions: 1 },
        serve: serving::download_boxed,
        open,
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}

/// Attackers that go on sending pieces, one each every other turn, until the kernel takes no more.
/// Then they try at every step.
struct Senders {
    all: Rc<Vec<UnixStream>>,
    piece: &'static [u8],
    sending: JoinHandle<()>,
}

impl Senders {
    /// Connections of a Unix socket, whose bytes the kernel does not gather, with little room for
    /// the replies.
    fn open(stage: &Stage, piece: &'static [u8]) -> Box<dyn Attack> {
        let pair = |_| {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            SockRef::from(&ours).set_send_buffer_size(0).expect("an option"); // the least there is
            theirs.set_nonblocking(true).expect("an option");
            stage.spawn(serving::echo_unix(ringloop::net::UnixStream::from_std(ours)));
            theirs
        };
        let all: Rc<Vec<UnixStream>> = Rc::new((0..stage.attackers).map(pair).collect());
        let peers = Rc::clone(&all);
        let sending = spawn(async move {
            for _ in 0..scaled(PIECES_SENT).max(400) {
                peers.iter().for_each(|peer| {
                    write(peer, piece);
                });
                turns(2).await;
            }
        });
        Box::new(Senders { all, piece, sending })
    }
}

impl Attack for Senders {
    fn act(&mut self) -> u64 {
        self.all.iter().map(|peer| write(peer, self.piece)).sum()
    }

    fn is_ready(&self) -> bool {
        self.sending.is_finished()
    }
}

fn write(mut peer: &UnixStream, piece: &[u8]) -> u64 {
    match peer.write(piece) {
        Ok(_count) => 1,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => panic!("an attacker's socket: {error}"),
    }
}

/// Goal: the kernel's buffers stop peers that send to an echo and do not read.
/// Method: 4 KiB from each, repeatedly.
///
/// Kills: reading while the reply cannot be sent; a receive queue without a bound in bytes.
fn peers_that_never_read_their_echo_have_a_bound(on: Driver) {
    let case = Case {
        name: "never read an echo",
        attackers: 16,
        bounds: Bounds { bytes: ECHOING_BYTES, slots: 2, completions: 3 },
        serve: serving::echo_boxed,
        open: |stage| Senders::open(stage, &[b'x'; 4096]),
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}

/// Goal: a single byte that an echo cannot send costs about a byte, not a receive buffer.
/// Method: as above, with single bytes.
///
/// Kills: send queues that are bounded in bytes of payload and hold a whole buffer for each.
fn peers_that_send_single_bytes_and_never_read_have_a_bound(on: Driver) {
    let case = Case {
        name: "single bytes, never read",
        attackers: 8,
        bounds: Bounds { bytes: SINGLE_BYTES, slots: 2, completions: 3 },
        serve: serving::echo_boxed,
        open: |stage| Senders::open(stage, b"x"),
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}

/// Goal: peers that read a download one byte at a time cost no more than those that do not read.
/// Method: each reads one byte at every step.
///
/// Kills: work for each byte that a peer reads.
fn peers_that_read_one_byte_at_a_time_have_a_bound(on: Driver) {
    struct Sippers(Vec<TcpStream>);
    impl Attack for Sippers {
        fn act(&mut self) -> u64 {
            self.0.iter().map(|peer| peers::read(peer, 1)).sum()
        }
    }
    let open = |stage: &Stage| {
        let all: Vec<_> = (0..stage.attackers).map(|_| peers::connect_tight(stage.addr)).collect();
        all.iter().for_each(|peer| assert_eq!(peers::write(peer, b"get"), 1));
        Box::new(Sippers(all)) as Box<dyn Attack>
    };
    let case = Case {
        name: "read single bytes",
        attackers: 64,
        bounds: Bounds { bytes: WRITING_BYTES, slots: 2, completions: 1 },
        serve: serving::download_boxed,
        open,
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}
