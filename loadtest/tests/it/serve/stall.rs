//! `serve stall`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{DRIVERS, Target};
use crate::common::{HUNG, within};

/// The clock of the announced stalls.
fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Maximum difference of the two clocks: the server's is monotonic, this one is adjusted by NTP.
const CLOCKS_APART: Duration = Duration::from_millis(2);

/// Goal: a message that is sent during a stall is answered after it, on all threads and in every
/// stall. A message between stalls is answered between them.
///
/// Method: ping-pong over four connections to two threads, compared with the schedule that the
/// server prints. A message sent in a stall must not be answered before the end of the stall,
/// however slow the machine is. Each connection goes on until three stalls have held a message and
/// one message was answered between two stalls, so the server does not always stall.
///
/// Kills: no stall; a stall of one connection or of one thread; a schedule that drifts from the
/// printed one; a server that stalls permanently.
#[test]
fn stalls_follow_the_announced_schedule() {
    for driver in DRIVERS {
        let arguments = ["--stall-for", "100ms", "--stall-every", "250ms", "--threads", "2"];
        let mut target = Target::start(&[&["stall", "--driver", driver][..], &arguments].concat());
        let line = target.line();
        let first = line
            .strip_prefix("stalling for 100ms every 250ms, first at ")
            .and_then(|rest| rest.strip_suffix(" ns unix"))
            .unwrap_or_else(|| panic!("second line: '{line}'"));
        let first = Duration::from_nanos(first.parse().unwrap());
        let streams: Vec<_> = (0..4).map(|_| target.connect()).collect();
        let watch_all = move || {
            let watchers =
                streams.into_iter().map(|stream| thread::spawn(move || watch(stream, first)));
            watchers.collect::<Vec<_>>().into_iter().for_each(|watcher| watcher.join().unwrap());
        };
        within("no stalls, or nothing but stalls", watch_all, || {});
        let counters = target.stop();
        assert_eq!(counters["bytes_in"], counters["bytes_out"]);
    }
}

fn watch(mut stream: TcpStream, first: Duration) {
    let (length, period) = (Duration::from_millis(100), Duration::from_millis(250));
    let (mut held, mut free) = (0, 0);
    stream.set_read_timeout(Some(HUNG)).unwrap();
    while held < 3 || free < 1 {
        let sent_at = unix();
        // The starts of the last and the next stall.
        let begin = match sent_at.checked_sub(first) {
            Some(since) => first + period * (since.as_nanos() / period.as_nanos()) as u32,
            None => first - period,
        };
        let (end, next) = (begin + length, begin + period);
        let is_inside = begin + CLOCKS_APART < sent_at && sent_at + CLOCKS_APART < end;
        let is_beginning = begin <= sent_at && sent_at <= begin + CLOCKS_APART;
        if sent_at + length / 4 > next || is_beginning {
            // A message in flight at the start of a stall gives no result and would prevent one in
            // the stall. The same holds for one within the difference of the clocks.
            thread::yield_now();
            continue;
        }
        stream.write_all(&[7; 64]).unwrap();
        stream.read_exact(&mut [0; 64]).unwrap();
        let answered_at = unix();
        if is_inside && begin >= first {
            assert!(answered_at + CLOCKS_APART > end, "answered {:?} early", end - answered_at);
            held += 1;
        } else if end < sent_at && answered_at < next {
            free += 1;
        }
    }
}
