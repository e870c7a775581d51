//! Every order of events of a listener, without a ring.

mod world;

use super::*;
use crate::enumeration::visit_all;
use crate::net::Overflow;
use world::World;

const WAITERS: usize = 3;
const QUEUE_MAX: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    Poll(usize),
    Drop(usize),
    /// The future is forgotten: it waits, and is never polled or dropped.
    Forget(usize),
    Arrive {
        more: bool,
    },
    /// A completion without a connection: the peer gave up, or the accept was cancelled.
    Nothing,
    Exhausted,
    Failed,
    Expire,
    Prepare,
    /// The program closes the connection that it took first.
    CloseConnection,
    Close,
    /// The release is polled.
    Release,
    /// From now on the reactor refuses requests.
    EndLoop,
}

/// Events of the kernel, the loop and the program, without those of the waiters.
const OTHERS: [Event; 11] = [
    Event::Arrive { more: true },
    Event::Arrive { more: false },
    Event::Nothing,
    Event::Exhausted,
    Event::Failed,
    Event::Expire,
    Event::Prepare,
    Event::CloseConnection,
    Event::Close,
    Event::Release,
    Event::EndLoop,
];

/// Visits every state of a listener with three waiters.
fn visit(limit: Option<(usize, Overflow)>) {
    let mut events = OTHERS.to_vec();
    events.push(Event::Forget(0));
    events.extend((0..WAITERS).flat_map(|waiter| [Event::Poll(waiter), Event::Drop(waiter)]));
    let visited = visit_all(&events, |path| {
        let mut world = World::new(limit);
        for &event in path {
            if !world.is_possible(event) {
                return None;
            }
            world.apply(event);
            world.check();
        }
        Some(world.into_key())
    });
    assert!(visited.states > 3000, "{visited:?}");
}

/// Goal: connections are neither lost nor reordered, and each is taken or closed once. At most one
/// accept or one timer is pending, and while an `accept()` waits, something will wake it. A
/// connection wakes the first waiter; the first poll takes it. A full queue ends the accept. A
/// shortage is reported once and its pause ends. A closed or released listener arms nothing.
///
/// Method: every order of polls, drops, a forgotten future, completions, timers, turns, close,
/// release and the end of the loop, for three waiters and a queue of two.
///
/// Kills: a queue that is taken from the back; a completion that does not look at the waiters, or
/// arms beside a pause; `prepared` that wakes for two or more connections only, or does not arm; a
/// cancel that is requested twice; a connection of a closed listener that is queued or dropped in
/// the transition; an error that is returned twice, or not to every waiter; a release without its
/// waker.
#[test]
fn every_order_of_events_keeps_the_queue() {
    visit(None);
}

/// Goal: as [`every_order_of_events_keeps_the_queue`]; also the number of open connections never
/// exceeds the limit, no accept is in flight while it is reached, and room is noticed.
///
/// Method: the same events, with limits of one and two and both kinds of overflow.
///
/// Kills: a multishot accept at an exact limit; a count without the connections in the queue, or
/// without those that are reset; a closed connection that arms nothing; a timer that stays set.
#[test]
fn every_order_of_events_keeps_the_limit() {
    visit(Some((1, Overflow::LeaveInBacklog)));
    visit(Some((2, Overflow::LeaveInBacklog)));
    visit(Some((1, Overflow::Shed)));
}
