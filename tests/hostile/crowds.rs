//! Many peers that only connect, and many operations that peers block.

use std::any::Any;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use ringloop::net::{TcpListener, TcpStream};
use ringloop::{JoinHandle, spawn};
use socket2::{Domain, SockRef, Socket, Type};

use crate::assault::{Attack, Bounds, Case, STEPS, Stage, Still, run};
use crate::common::{any_addr, open_fds, unanswering_addr};
use crate::{Body, Driver, bodies, serving};

pub(crate) const ALONE: &[Body] = bodies![
    ten_thousand_silent_connections_have_a_bound,
    connections_that_are_never_accepted_have_a_bound,
    connects_that_are_never_answered_have_a_bound,
    blocked_operations_fill_a_small_ring_four_times,
    blocked_operations_fill_the_default_ring_twice,
];

/// The environment variable with the listener and the number of connections.
const CROWD: &str = "RINGLOOP_HOSTILE_CROWD";

/// Makes the connections that the environment variable requests, and keeps them until standard
/// input ends. Returns whether there was a request.
pub(crate) fn be_a_crowd() -> bool {
    let Ok(text) = std::env::var(CROWD) else { return false };
    let (addr, count) = text.split_once(' ').expect("an address and a number");
    let (addr, count): (SocketAddr, u64) = (addr.parse().unwrap(), count.parse().unwrap());
    let connect = |_| std::net::TcpStream::connect(addr).expect("a connection");
    let all: Vec<_> = (0..count).map(connect).collect();
    let _ = std::io::stdin().read(&mut [0]);
    drop(all);
    true
}

/// Connections of another process: a process has too few descriptors for both ends of ten thousand.
struct Crowd {
    process: Child,
    stage: Stage,
    served_wanted: u64,
}

impl Attack for Crowd {
    fn act(&mut self) -> u64 {
        0
    }

    fn is_ready(&self) -> bool {
        self.stage.served() >= self.served_wanted
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let status = self.process.wait().expect("a child");
        assert!(status.success(), "the process of the crowd: {status}");
    }
}

/// Goal: ten thousand silent connections cost only their memory.
/// Method: another process makes them.
///
/// Kills: a buffer for each connection; a turn that visits every connection.
fn ten_thousand_silent_connections_have_a_bound(on: Driver) {
    let open = |stage: &Stage| {
        let process = Command::new(std::env::current_exe().unwrap())
            .env(CROWD, format!("{} {}", stage.addr, stage.attackers))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let served_wanted = stage.served() + stage.attackers;
        Box::new(Crowd { process, stage: stage.share(), served_wanted }) as Box<dyn Attack>
    };
    let case = Case {
        name: "connect, send nothing",
        attackers: 10_000,
        bounds: Bounds { bytes: 2 * 1024, slots: 1, completions: 0 },
        serve: serving::echo_boxed,
        open,
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}

/// Listeners from which the program accepts one connection, and none.
struct Unaccepted {
    accepting: JoinHandle<()>,
    addrs: [SocketAddr; 2],
    per_act: u64,
    peers: Vec<Socket>,
    fds_before: usize,
}

/// The backlog of each listener: the program's bound on what the kernel accepts beyond the queue. A
/// multishot accept of io_uring takes the whole backlog before a cancel can reach it.
const BACKLOG: usize = 128;

/// The greatest number of connections that a listener accepts ahead of the program.
const ACCEPTED_MAX: usize = 256 + BACKLOG + 1;

impl Attack for Unaccepted {
    fn act(&mut self) -> u64 {
        for index in 0..self.per_act {
            let peer = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            peer.set_nonblocking(true).expect("an option");
            let _ = peer.connect(&self.addrs[index as usize % 2].into()); // made, or in progress
            self.peers.push(peer);
        }
        self.per_act
    }

    fn check(&self) {
        let accepted = open_fds().len() - self.fds_before - self.peers.len();
        assert!(accepted <= ACCEPTED_MAX, "{accepted} connections accepted without an accept()");
    }
}

impl Drop for Unaccepted {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Goal: the number of connections of a program that does not accept is bounded, and a full backlog
/// costs nothing. Method: eight connects at every step to a listener that is asked for one
/// connection, and eight to one that is asked for none; on slow machines one each. Kills: an accept
/// queue without a bound.
fn connections_that_are_never_accepted_have_a_bound(on: Driver) {
    let open = |stage: &Stage| {
        let bind = || {
            let listener = TcpListener::builder().backlog(BACKLOG as u32).bind(any_addr());
            listener.expect("a listener")
        };
        let (asked, full) = (bind(), bind());
        let fds_before = open_fds().len();
        let addrs = [asked.local_addr().unwrap(), full.local_addr().unwrap()];
        let accepting = spawn(async move {
            let first = asked.accept().await;
            std::future::pending::<()>().await;
            drop((first, asked, full));
        });
        let (per_act, peers) = ((stage.attackers / STEPS).max(2), Vec::with_capacity(2048));
        Box::new(Unaccepted { accepting, addrs, per_act, peers, fds_before }) as Box<dyn Attack>
    };
    let case = Case {
        name: "never accepted",
        attackers: 16 * STEPS,
        bounds: Bounds { bytes: 1024, slots: 1, completions: 1 },
        serve: serving::echo_boxed,
        open,
        shares_listener: false,
        ring: None,
    };
    run(on, &case);
}

/// Tasks of this loop that wait for their peers without end, and the peers.
struct BlockedConnects {
    tasks: Vec<JoinHandle<()>>,
    _held: Box<dyn Any>,
}

impl Attack for BlockedConnects {
    fn act(&mut self) -> u64 {
        0
    }
}

impl Drop for BlockedConnects {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// `count` connects to a listener whose backlog is full.
fn blocked_connects(count: u64) -> BlockedConnects {
    let (addr, full) = unanswering_addr();
    let connect = |_| {
        spawn(async move {
            let connected = TcpStream::connect(addr).await;
            panic!("an answer: {connected:?}");
        })
    };
    BlockedConnects { tasks: (0..count).map(connect).collect(), _held: Box::new(full) }
}

/// `count` sends to peers that do not read.
fn blocked_sends(count: u64) -> BlockedConnects {
    let mut peers = Vec::new();
    let send = |_| {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        SockRef::from(&ours).set_send_buffer_size(0).expect("an option"); // the minimum
        peers.push(theirs);
        let mut ours = ringloop::net::UnixStream::from_std(ours);
        spawn(async move {
            ours.send(serving::PIECE).await.expect("an open stream");
            let flushed = ours.flush().await;
            panic!("{flushed:?}, and the peer has read nothing");
        })
    };
    let tasks = (0..count).map(send).collect();
    BlockedConnects { tasks, _held: Box::new(peers) }
}

/// The cost of a waiting operation: a task, a socket and a slot.
const WAITING_BYTES: u64 = 4 * 1024;

/// Goal: connects without an answer cost a task, a socket and an operation each.
/// Method: connects to a full backlog. Kills: a bound on operations that they use up; a connect
/// that cannot be dropped.
fn connects_that_are_never_answered_have_a_bound(on: Driver) {
    let case = Case {
        name: "connects unanswered",
        attackers: 64,
        bounds: Bounds { bytes: WAITING_BYTES, slots: 1, completions: 0 },
        serve: serving::echo_boxed,
        open: |stage| Box::new(blocked_connects(stage.attackers)),
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}

fn blocked_both(stage: &Stage) -> Box<dyn Attack> {
    let (sends, connects) = (stage.attackers / 2, stage.attackers - stage.attackers / 2);
    Box::new(Still((blocked_sends(sends), blocked_connects(connects))))
}

/// Goal: sends and connects that their peers block leave room for all others.
/// Method: four times as many as the completion queue has entries, half of each kind. Kills: any
/// bound on operations in flight that peers can use up.
fn blocked_operations_fill_a_small_ring_four_times(on: Driver) {
    let case = Case {
        name: "blocked, ring of 8 and 16",
        attackers: 64,
        bounds: Bounds { bytes: WAITING_BYTES, slots: 1, completions: 0 },
        serve: serving::echo_boxed,
        open: blocked_both,
        shares_listener: true,
        ring: Some((8, 16)),
    };
    run(on, &case);
}

/// Goal and kills as above. Method: the default rings, and twice the completion queue's entries. On
/// a slow machine there are fewer than that.
fn blocked_operations_fill_the_default_ring_twice(on: Driver) {
    let case = Case {
        name: "blocked, default ring",
        attackers: 2 * 4096,
        bounds: Bounds { bytes: WAITING_BYTES, slots: 1, completions: 0 },
        serve: serving::echo_boxed,
        open: blocked_both,
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}
