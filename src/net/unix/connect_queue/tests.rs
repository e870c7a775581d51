//! Every order of events of a queue, without sockets.

use super::*;
use crate::enumeration::{task_of, task_wakers, visit_all};

const WAITERS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    /// A connect is polled. If it is its turn, it meets a full backlog or is done.
    Poll {
        waiter: usize,
        is_full: bool,
    },
    Drop(usize),
    /// The future is forgotten: it stays a member, and is never polled or dropped.
    Forget(usize),
    Expire,
    /// From now on the reactor refuses requests, and the polls of connects fail.
    EndLoop,
}

/// A member, in the order of places.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Member {
    waiter: usize,
    is_woken: bool,
    is_forgotten: bool,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
struct Expected {
    members: Vec<Member>,
    is_timer_set: bool,
    /// The pause of the next timer.
    pause_ns: u64,
    has_ended: bool,
}

struct World {
    queue: ConnectQueue,
    ids: [WaiterId; WAITERS],
    wakers: Vec<Waker>,
    expected: Expected,
}

impl World {
    fn new() -> World {
        World {
            queue: ConnectQueue::default(),
            ids: Default::default(),
            wakers: task_wakers(WAITERS),
            expected: Expected { pause_ns: PAUSE_MIN_NS, ..Expected::default() },
        }
    }

    fn member(&self, waiter: usize) -> Option<&Member> {
        self.expected.members.iter().find(|member| member.waiter == waiter)
    }

    fn is_possible(&self, event: Event) -> bool {
        match event {
            Event::Poll { waiter, .. } => self.member(waiter).is_none_or(|it| !it.is_forgotten),
            Event::Drop(waiter) | Event::Forget(waiter) => {
                self.member(waiter).is_some_and(|it| !it.is_forgotten)
            }
            Event::Expire => self.expected.is_timer_set,
            Event::EndLoop => !self.expected.has_ended,
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Poll { waiter, is_full } => self.poll(waiter, is_full),
            Event::Drop(waiter) => self.leave(waiter),
            Event::Forget(waiter) => {
                self.ids[waiter] = WaiterId::default();
                let mut members = self.expected.members.iter_mut();
                members.find(|it| it.waiter == waiter).expect("possible").is_forgotten = true;
            }
            Event::Expire => {
                self.expected.is_timer_set = false;
                let has_ended = self.expected.has_ended;
                let woken = if has_ended { self.waiting() } else { self.first() };
                let effects = self.queue.expired(!has_ended);
                self.perform(effects, &woken);
            }
            Event::EndLoop => self.expected.has_ended = true,
        }
    }

    fn poll(&mut self, waiter: usize, is_full: bool) {
        if self.expected.has_ended {
            return if self.member(waiter).is_some() {
                self.leave(waiter)
            };
        }
        let is_member = self.member(waiter).is_some();
        let is_turn = match is_member {
            true => self.queue.is_turn(&self.ids[waiter]),
            false => self.expected.members.is_empty(),
        };
        let mut before = self.expected.members.iter().take_while(|it| it.is_woken);
        let is_expected = before.any(|it| it.waiter == waiter);
        assert!(!is_member || is_turn == is_expected, "the turn of {waiter}");
        if is_turn && !is_full {
            if is_member {
                self.expected.pause_ns = PAUSE_MIN_NS;
                let woken = self.first();
                let effects = self.queue.succeeded();
                self.perform(effects, &woken);
                self.leave(waiter);
            }
            return;
        }
        if !is_member {
            self.queue.join();
            self.expected.members.push(Member { waiter, is_woken: false, is_forgotten: false });
        }
        drop(self.queue.waiters().wait(&mut self.ids[waiter], self.wakers[waiter].clone()));
        let mut members = self.expected.members.iter_mut();
        members.find(|it| it.waiter == waiter).expect("joined").is_woken = false;
        let effects = self.queue.waits();
        self.perform(effects, &[]);
    }

    fn leave(&mut self, waiter: usize) {
        self.expected.members.retain(|it| it.waiter != waiter);
        let LeaveEffects { waker: _, is_empty, remove_timer } =
            self.queue.leave(&mut self.ids[waiter]);
        assert_eq!(is_empty, self.expected.members.is_empty());
        assert_eq!(remove_timer, is_empty && self.expected.is_timer_set);
        if is_empty {
            self.queue = ConnectQueue::default();
            self.expected.is_timer_set = false;
            self.expected.pause_ns = PAUSE_MIN_NS;
        }
    }

    fn perform(&mut self, effects: QueueEffects, expected_woken: &[usize]) {
        let QueueEffects { woken, set_timer_ns } = effects;
        let woken: Vec<usize> = woken.map(|waker| task_of(&self.wakers, &waker)).collect();
        assert_eq!(woken, expected_woken);
        for member in &mut self.expected.members {
            member.is_woken |= woken.contains(&member.waiter);
        }
        if let Some(pause_ns) = set_timer_ns {
            assert!(!self.expected.is_timer_set, "one timer");
            assert_eq!(pause_ns, self.expected.pause_ns, "it doubles, and a success resets it");
            self.expected.pause_ns = PAUSE_MAX_NS.min(2 * pause_ns);
            self.expected.is_timer_set = true;
        }
    }

    fn waiting(&self) -> Vec<usize> {
        let waiting = self.expected.members.iter().filter(|it| !it.is_woken);
        waiting.map(|it| it.waiter).collect()
    }

    fn first(&self) -> Vec<usize> {
        self.waiting().into_iter().take(1).collect()
    }

    fn check(&self) {
        let is_waiting = !self.waiting().is_empty();
        assert_eq!(self.queue.waiters.is_waiting(), is_waiting);
        assert!(!is_waiting || self.expected.is_timer_set, "a connect that nothing wakes");
        assert_eq!(self.queue.is_timer_set, self.expected.is_timer_set);
        assert_eq!(self.queue.members_count, self.expected.members.len());
    }
}

/// Goal: connects retry in the order in which they met a full backlog, one after a success or a
/// pause. While one waits the timer is set, once; the pause doubles up to its limit, and a success
/// makes it short. The last connect that leaves takes the timer with it.
///
/// Method: every order of polls that find room or none, drops, a forgotten future, the timer and
/// the end of the loop, for three connects.
///
/// Kills: a timer that is set twice, or not when a connect waits again; a woken connect that passes
/// one that waits before it; a success that wakes none, or keeps the long pause; a pause without a
/// limit; a queue that is removed while it has members; the end of the loop that wakes one connect.
#[test]
fn every_order_of_events_moves_the_queue() {
    let mut events = vec![Event::Expire, Event::EndLoop, Event::Forget(0)];
    for waiter in 0..WAITERS {
        events.extend([true, false].map(|is_full| Event::Poll { waiter, is_full }));
        events.push(Event::Drop(waiter));
    }
    let visited = visit_all(&events, |path| {
        let mut world = World::new();
        for &event in path {
            if !world.is_possible(event) {
                return None;
            }
            world.apply(event);
            world.check();
        }
        Some((world.queue.pause_ns, world.expected))
    });
    assert!(visited.states > 1000, "{visited:?}");
}
