//! Peers that send few bytes, urgent bytes, or none.

use std::net::TcpStream;

use socket2::SockRef;

use crate::assault::{Attack, Bounds, Case, Stage, run};
use crate::{Body, Driver, bodies, peers, serving};

pub(crate) const ALONE: &[Body] = bodies![
    peers_that_send_one_byte_at_a_time_have_a_bound,
    peers_that_send_single_bytes_in_bursts_have_a_bound,
    peers_that_send_bursts_to_a_busy_server_have_a_bound,
    peers_that_send_urgent_data_have_a_bound,
];

/// Attackers that each do the same at every step.
struct Each {
    all: Vec<TcpStream>,
    act: fn(&TcpStream) -> u64,
}

impl Attack for Each {
    fn act(&mut self) -> u64 {
        self.all.iter().map(|peer| (self.act)(peer)).sum()
    }
}

fn open_each(stage: &Stage, act: fn(&TcpStream) -> u64) -> Box<dyn Attack> {
    Box::new(Each { all: peers::connect_all(stage.addr, stage.attackers), act })
}

/// A connection with its task and sockets, and the receive buffer whose byte is being echoed.
const TRICKLE_BYTES: u64 = 4 * 1024 + 4 * 1024;

/// Goal: a peer that sends one byte at a time costs a receive and a send for each, and a small
/// connection. Method: one byte from each at every step, and the echo is read. Kills: a buffer or
/// an operation that stays with a connection after its byte.
fn peers_that_send_one_byte_at_a_time_have_a_bound(on: Driver) {
    let open =
        |stage: &Stage| open_each(stage, |peer| peers::read(peer, 512) + peers::write(peer, b"x"));
    let case = Case {
        name: "send single bytes",
        attackers: 16,
        bounds: Bounds { bytes: TRICKLE_BYTES, slots: 2, completions: 2 },
        serve: serving::echo_boxed,
        open,
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}

fn burst(peer: &TcpStream) -> u64 {
    peers::read(peer, 512) + (0..16).map(|_| peers::write(peer, b"x")).sum::<u64>()
}

/// Goal: sixteen single bytes at once cost what sixteen bytes cost.
/// Method: as above, in bursts.
///
/// Kills: buffers of the pool that single bytes keep.
fn peers_that_send_single_bytes_in_bursts_have_a_bound(on: Driver) {
    let case = Case {
        name: "bursts of single bytes",
        attackers: 16,
        bounds: Bounds { bytes: TRICKLE_BYTES, slots: 2, completions: 2 },
        serve: serving::echo_boxed,
        open: |stage| open_each(stage, burst),
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}

/// Goal: unread single bytes do not use up the pool.
/// Method: bursts to a server that reads the first byte and then is busy until the end of the
/// connection. Kills: receive queues that are bounded in buffers.
fn peers_that_send_bursts_to_a_busy_server_have_a_bound(on: Driver) {
    let case = Case {
        name: "bursts, busy server",
        attackers: 16,
        bounds: Bounds { bytes: TRICKLE_BYTES, slots: 2, completions: 1 },
        serve: serving::busy_boxed,
        open: |stage| open_each(stage, burst),
        shares_listener: false,
        ring: None,
    };
    run(on, &case);
}

/// Goal: urgent data is delivered or dropped as TCP does, and does not stop reads.
/// Method: a byte out of band and one in band from each at every step. Kills: a receive that ends
/// at the urgent mark and is not armed again; a readiness that is not consumed.
fn peers_that_send_urgent_data_have_a_bound(on: Driver) {
    let open = |stage: &Stage| {
        open_each(stage, |peer| {
            let urgent = SockRef::from(peer).send_out_of_band(b"!").is_ok();
            peers::read(peer, 512) + u64::from(urgent) + peers::write(peer, b"x")
        })
    };
    let case = Case {
        name: "urgent data",
        attackers: 16,
        bounds: Bounds { bytes: TRICKLE_BYTES, slots: 2, completions: 3 },
        serve: serving::echo_boxed,
        open,
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}
