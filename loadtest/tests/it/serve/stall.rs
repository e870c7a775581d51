//! `serve stall`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::common::{HUNG, within};

use super::{DRIVERS, Target};

/// The clock that the server announces its stalls by.
fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// How far the two clocks may be apart: the server's is monotonic, this one is steered.
const CLOCKS_APART: Duration = Duration::from_millis(2);

/// Goal: what is sent during a stall is answered after it and not before, on all threads and in
/// every stall; what is sent between stalls is answered between them.
///
/// Method: ping-pong over four connections to two threads, against the schedule that the server
/// prints. A message that was sent inside a stall must not be answered before the stall's end,
/// however slow this machine is. It goes on until three stalls have held each connection's message
/// and one message has come back between two stalls: then it was not always stalled.
///
/// Kills: no stall; a stall of one connection or of one thread; a schedule that drifts away from
/// what was printed; a server that stalls for good.
#[test]
fn stalls_are_where_they_were_announced() {
    for driver in DRIVERS {
        let arguments = ["--stall-for", "100ms", "--stall-every", "250ms", "--threads", "2"];
        let mut target = Target::start(&[&["stall", "--driver", driver][..], &arguments].concat());
        let line = target.line();
        let first = line
            .strip_prefix("stalling for 100ms every 250ms, first at ")
            .and_then(|rest| rest.strip_suffix(" ns unix"))
            .unwrap_or_else(|| panic!("it said '{line}'"));
        let first = Duration::from_nanos(first.parse().unwrap());
        for stream in (0..4).map(|_| target.connect()) {
            within("no stalls or nothing but stalls", move || watch(stream, first), || {});
        }
        let counters = target.stop();
        assert_eq!(counters["bytes_in"], counters["bytes_out"]);
    }
}

fn watch(mut stream: TcpStream, first: Duration) {
    let (length, period) = (Duration::from_millis(100), Duration::from_millis(250));
    // The begin of the stall that this moment is in, or has come after.
    let begin_before = |moment: Duration| {
        let count = moment.checked_sub(first)?.as_nanos() / period.as_nanos();
        Some(first + period * u32::try_from(count).unwrap())
    };
    let (mut held, mut free) = (0, 0);
    stream.set_read_timeout(Some(HUNG)).unwrap();
    while held < 3 || free < 1 {
        let sent_at = unix();
        stream.write_all(&[7; 64]).unwrap();
        stream.read_exact(&mut [0; 64]).unwrap();
        let answered_at = unix();
        let Some(begin) = begin_before(sent_at) else { continue };
        let end = begin + length;
        if begin + CLOCKS_APART < sent_at && sent_at + CLOCKS_APART < end {
            assert!(answered_at + CLOCKS_APART > end, "answered {:?} early", end - answered_at);
            held += 1;
        } else if end < sent_at && answered_at < begin + period {
            free += 1;
        }
    }
}
