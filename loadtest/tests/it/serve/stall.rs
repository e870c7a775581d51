//! `serve stall`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{DRIVERS, Target};
use crate::common::{HUNG, within};

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
/// however slow this machine is. Each goes on until three stalls have held a message and one
/// has come back between two stalls: then it was not always stalled.
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
        // The begin of the last stall, and of the next one.
        let begin = match sent_at.checked_sub(first) {
            Some(since) => first + period * (since.as_nanos() / period.as_nanos()) as u32,
            None => first - period,
        };
        let (end, next) = (begin + length, begin + period);
        let is_inside = begin + CLOCKS_APART < sent_at && sent_at + CLOCKS_APART < end;
        let is_beginning = begin <= sent_at && sent_at <= begin + CLOCKS_APART;
        if sent_at + length / 4 > next || is_beginning {
            // A message that is under way when a stall begins says nothing, and would keep us from
            // sending one in the stall. So does one that the clocks may disagree about.
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
