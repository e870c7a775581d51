//! Peers that end in unusual ways, or do not end.

use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::assault::{Attack, Bounds, Case, Stage, Still, run};
use crate::{Body, Driver, bodies, peers, serving};

pub(crate) const ALONE: &[Body] = bodies![
    peers_that_connect_and_send_nothing_have_a_bound,
    peers_that_half_close_and_stay_have_a_bound,
    peers_that_reset_at_each_step_have_a_bound,
    peers_that_flood_while_the_server_closes_have_a_bound,
];

/// A connection that has been served, or is being served, without bytes in a queue.
const IDLE_BYTES: u64 = 4 * 1024;

/// Goal: a silent connection costs a socket, a task and one receive.
/// Method: connections that send no bytes.
///
/// Kills: a buffer for each connection.
fn peers_that_connect_and_send_nothing_have_a_bound(on: Driver) {
    let open = |stage: &Stage| {
        Box::new(Still(peers::connect_all(stage.addr, stage.attackers))) as Box<dyn Attack>
    };
    let case = Case {
        name: "never speak",
        attackers: 256,
        bounds: Bounds { bytes: IDLE_BYTES, slots: 1, completions: 1 },
        serve: serving::echo_boxed,
        open,
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}

/// Each attacker opens sixteen connections in a wave. The tables of the loop grow with the numbers
/// of their descriptors.
const STAYING_BYTES: u64 = 2 * IDLE_BYTES;

/// Goal: a peer that half closes and stays connected does not keep the server's resources.
/// Method: at each step new peers connect, send, half close and stay; their server closes. Kills: a
/// close that waits for the peer's end; a descriptor that is kept.
fn peers_that_half_close_and_stay_have_a_bound(on: Driver) {
    struct Staying {
        addr: SocketAddr,
        per_act: u64,
        all: Vec<TcpStream>,
    }
    impl Attack for Staying {
        fn act(&mut self) -> u64 {
            for _ in 0..self.per_act {
                let peer = peers::connect(self.addr);
                peers::write(&peer, b"x");
                peer.shutdown(Shutdown::Write).expect("an open socket");
                self.all.push(peer);
            }
            3 * self.per_act
        }
    }
    let open = |stage: &Stage| {
        let all = Vec::with_capacity(16 * 4 * 2);
        Box::new(Staying { addr: stage.addr, per_act: 2, all }) as Box<dyn Attack>
    };
    let case = Case {
        name: "half close and stay",
        attackers: 8,
        bounds: Bounds { bytes: STAYING_BYTES, slots: 2, completions: 2 },
        serve: serving::echo_boxed,
        open,
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}

/// Goal: a reset at any step ends only its connection.
/// Method: at each step one peer each that resets after connecting, after its request, while the
/// server writes, and while it closes. Kills: an error that ends the listener; a send or a receive
/// that outlives its connection; a closing stream that waits for its linger.
fn peers_that_reset_at_each_step_have_a_bound(on: Driver) {
    #[derive(Default)]
    struct Resetting {
        addr: Option<SocketAddr>,
        /// To be reset at the next step, and at the one after it.
        writing: Vec<TcpStream>,
        closing: Vec<TcpStream>,
    }
    impl Attack for Resetting {
        fn act(&mut self) -> u64 {
            let addr = self.addr.expect("an address");
            let mut acts: u64 = self.writing.drain(..).map(peers::reset).sum();
            // It has read all but the tail of the download: the server is closing.
            for peer in self.closing.drain(..) {
                while peers::read(&peer, 512) > 0 {}
                acts += peers::reset(peer);
            }
            peers::reset(peers::connect(addr));
            let asking = peers::connect(addr);
            peers::write(&asking, b"get");
            peers::reset(asking);
            for list in [&mut self.writing, &mut self.closing] {
                let peer = peers::connect(addr);
                peers::write(&peer, b"get");
                list.push(peer);
            }
            acts + 9
        }
    }
    let open = |stage: &Stage| {
        let addr = Some(stage.addr);
        Box::new(Resetting { addr, ..Resetting::default() }) as Box<dyn Attack>
    };
    let case = Case {
        name: "reset at each step",
        attackers: 8,
        bounds: Bounds { bytes: 2 * 64 * 1024 + IDLE_BYTES, slots: 2, completions: 2 },
        serve: serving::download_boxed,
        open,
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}

/// Goal: a peer that goes on sending does not delay a server that closes.
/// Method: the server answers the first bytes and drops the stream; each peer sends 16 KiB at every
/// step, and connects again when it has been reset. Kills: a close that reads until the end;
/// reports or descriptors that accumulate.
fn peers_that_flood_while_the_server_closes_have_a_bound(on: Driver) {
    struct Flooding {
        addr: SocketAddr,
        all: Vec<TcpStream>,
    }
    impl Attack for Flooding {
        fn act(&mut self) -> u64 {
            let mut acts = 0;
            for peer in &mut self.all {
                if peers::write(peer, serving::PIECE) == 0 {
                    *peer = peers::connect(self.addr);
                    acts += 2 + peers::write(peer, serving::PIECE);
                }
                acts += 1;
            }
            acts
        }
    }
    let open = |stage: &Stage| {
        let all = peers::connect_all(stage.addr, stage.attackers);
        Box::new(Flooding { addr: stage.addr, all }) as Box<dyn Attack>
    };
    let case = Case {
        name: "flood while closing",
        attackers: 8,
        bounds: Bounds { bytes: 64 * 1024 + IDLE_BYTES, slots: 2, completions: 4 },
        serve: serving::answer_boxed,
        open,
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}
