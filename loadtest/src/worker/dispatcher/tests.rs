//! The dispatcher in simulated time: enumeration of all short histories, and single rules.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::time::Duration;

use super::*;
use crate::plan::load::{DispatchRule, OpenLoad};
use crate::plan::schedule::arrivals::Spacing;
use crate::plan::schedule::rate::RateCurve;

const MS: Duration = Duration::from_millis(1);

/// Messages of the schedule, one per millisecond.
const SCHEDULED: u32 = 4;

const CONNS: u32 = 2;

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Flag {
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

fn load(rule: DispatchRule) -> LoadPlan {
    let curve = Arc::new(RateCurve::new(1_000.0, &[]));
    LoadPlan::Open(OpenLoad { curve, spacing: Spacing::Constant, rule, spin: Duration::ZERO })
}

/// A dispatcher with all connections open, whose window begins at `start`.
fn dispatcher(
    load: &LoadPlan,
    limits: ConnLimits,
    quota: Option<u64>,
    start: Instant,
) -> Dispatcher {
    let streams = match load {
        LoadPlan::Closed => Vec::new(),
        LoadPlan::Open(load) => load.streams(0, 1, CONNS, CONNS),
    };
    let mut dispatcher = Dispatcher::new(load, streams, CONNS, limits, quota);
    dispatcher.start(start, Window { from: start, until: start + MS * SCHEDULED });
    for conn in 0..CONNS {
        assert!(!dispatcher.opened(conn));
    }
    dispatcher
}

fn limits(pipeline: u32) -> ConnLimits {
    ConnLimits { pipeline, requests_per_conn: None }
}

/// What can happen to a dispatcher.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// Time passes until the next message is due.
    Wait,
    /// The dispatcher's task runs.
    Dispatch,
    /// The task of a connection runs: it sends if it may.
    Run(u32),
    /// The oldest message of a connection is answered.
    Reply(u32),
    /// A connection fails, and is opened again.
    Fail(u32),
    /// A connection retires. When it has no messages it is opened again.
    Retire(u32),
}

const ACTIONS: [Action; 10] = [
    Action::Wait,
    Action::Dispatch,
    Action::Run(0),
    Action::Run(1),
    Action::Reply(0),
    Action::Reply(1),
    Action::Fail(0),
    Action::Fail(1),
    Action::Retire(0),
    Action::Retire(1),
];

/// Actions of a history. Longer ones found nothing more and take ten times as long each.
const HISTORY_LEN: u32 = 4;

/// A dispatcher, the tasks around it, and where the messages are.
struct World {
    dispatcher: Dispatcher,
    start: Instant,
    now: Instant,
    limits: ConnLimits,
    task: Arc<Flag>,
    /// What the dispatcher's task waits for. `None` if it has not run since it was woken.
    task_waits: Option<Turn>,
    conns: Vec<Arc<Flag>>,
    conns_wait: [bool; CONNS as usize],
    /// Due times of outstanding messages by connection, oldest first.
    outstanding: [Vec<Instant>; CONNS as usize],
    finished: Vec<Instant>,
}

impl World {
    fn new(load: &LoadPlan, limits: ConnLimits) -> World {
        let start = Instant::now();
        let mut dispatcher = dispatcher(load, limits, None, start);
        let task = Arc::new(Flag::default());
        dispatcher.set_task(&Arc::clone(&task).into());
        let conns: Vec<Arc<Flag>> = (0..CONNS).map(|_| Arc::default()).collect();
        for (conn, flag) in (0..).zip(&conns) {
            dispatcher.set_waker(conn, &Arc::clone(flag).into());
        }
        World {
            dispatcher,
            start,
            now: start,
            limits,
            task,
            task_waits: None,
            conns,
            conns_wait: [false; CONNS as usize],
            outstanding: Default::default(),
            finished: Vec::new(),
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Wait => self.now += MS,
            Action::Dispatch => self.dispatch(),
            Action::Run(conn) => self.run(conn),
            Action::Reply(conn) => self.reply(conn),
            Action::Fail(conn) => self.end(conn),
            Action::Retire(conn) => {
                self.dispatcher.retire(conn);
                if self.outstanding[conn as usize].is_empty() {
                    self.end(conn);
                }
            }
        }
        self.check();
    }

    fn dispatch(&mut self) {
        self.task.take();
        loop {
            let free_since = |conn: u32| self.dispatcher.slots[conn as usize].free_since();
            let queue: Vec<_> = self.dispatcher.free.iter().map(|c| (*c, free_since(*c))).collect();
            match self.dispatcher.next(self.now) {
                Turn::Send { conn, due, ready_at } => {
                    assert!(due <= ready_at && ready_at <= self.now);
                    let usable = |(c, _): &&(u32, Option<Instant>)| {
                        *c == conn || self.dispatcher.slots[*c as usize].may_send(self.limits)
                    };
                    assert_eq!(queue.iter().find(usable).unwrap().0, conn, "the first that may");
                }
                wait => break self.task_waits = Some(wait),
            }
        }
    }

    fn run(&mut self, conn: u32) {
        self.conns[conn as usize].take();
        loop {
            match self.dispatcher.next_for(conn, self.now) {
                Turn::Send { conn: sender, due, ready_at } => {
                    assert_eq!(sender, conn);
                    assert!(due <= ready_at && ready_at <= self.now);
                    assert!(self.dispatcher.sent(conn, due, self.now), "it is in the window");
                    self.dispatcher.sent_whole(conn);
                    self.outstanding[conn as usize].push(due);
                }
                Turn::WaitUntil(due) => break assert!(due > self.now),
                Turn::WaitFree => break,
            }
        }
        self.conns_wait[conn as usize] = true;
    }

    fn reply(&mut self, conn: u32) {
        if self.outstanding[conn as usize].is_empty() {
            return;
        }
        let due = self.outstanding[conn as usize].remove(0);
        let replied = self.dispatcher.replied(conn, self.now);
        assert_eq!((replied.message.due, replied.is_early), (due, false));
        let _ = self.dispatcher.finish(1);
        self.finished.push(due);
        // A connection that has a reply asks for its next message in the same poll.
        if self.dispatcher.is_spent(conn, self.now) {
            self.end(conn);
        } else {
            self.run(conn);
        }
    }

    fn end(&mut self, conn: u32) {
        let left = self.dispatcher.ended(conn);
        let due: Vec<Instant> = left.iter().map(|message| message.due).collect();
        assert_eq!(due, self.outstanding[conn as usize]);
        let _ = self.dispatcher.finish(due.len() as u64);
        self.finished.extend(due);
        self.outstanding[conn as usize].clear();
        assert!(self.dispatcher.opened(conn));
        self.conns_wait[conn as usize] = false;
    }

    fn check(&mut self) {
        let slots = &self.dispatcher.slots;
        for (slot, outstanding) in slots.iter().zip(&self.outstanding) {
            let count = slot.assigned.len() + outstanding.len();
            assert!(count <= self.limits.pipeline as usize, "{count} messages");
        }
        let queued: Vec<u32> = self.dispatcher.free.iter().copied().collect();
        for (conn, slot) in (0..).zip(slots) {
            let count = queued.iter().filter(|queued| **queued == conn).count();
            assert_eq!(count, usize::from(slot.is_queued), "connection {conn} in the queue");
        }
        let assigned: usize = slots.iter().map(|slot| slot.assigned.len()).sum();
        let outstanding: usize = self.outstanding.iter().map(Vec::len).sum();
        assert_eq!(self.dispatcher.unfinished, (assigned + outstanding) as u64);
        self.check_wakeups();
    }

    /// A task that waits either has a wakeup or nothing to do.
    fn check_wakeups(&mut self) {
        let is_due = |due: Instant| due <= self.now && due < self.start + MS * SCHEDULED;
        for (conn, flag) in self.conns.iter().enumerate() {
            if self.conns_wait[conn] && !self.dispatcher.slots[conn].assigned.is_empty() {
                assert!(flag.0.load(Ordering::Relaxed), "connection {conn} is not woken");
            }
        }
        let has_free = self.dispatcher.free.iter().any(|conn| {
            let slot = &self.dispatcher.slots[*conn as usize];
            slot.is_open() && slot.may_send(self.limits)
        });
        let is_woken = self.task.0.load(Ordering::Relaxed);
        let has_work = has_free && self.dispatcher.schedule.next_shared_due().is_some_and(is_due);
        match self.task_waits {
            Some(Turn::WaitFree) => assert!(!has_work || is_woken, "the task is not woken"),
            Some(Turn::WaitUntil(due)) => assert!(!has_work || is_woken || is_due(due)),
            Some(Turn::Send { .. }) | None => {}
        }
    }

    /// Where each message of the window is at the end.
    fn finish(mut self) {
        let mut places = BTreeMap::<Instant, u32>::new();
        let in_flight = self.dispatcher.in_flight().map(|message| message.due);
        for due in in_flight.chain(self.finished.iter().copied()) {
            *places.entry(due).or_default() += 1;
        }
        let end = self.start + MS * SCHEDULED;
        self.dispatcher.take_unsent(end, |waited_ns, count| {
            let due = end - Duration::from_nanos(waited_ns);
            *places.entry(due).or_default() += count as u32;
        });
        assert_eq!(places.values().sum::<u32>(), SCHEDULED, "{places:?}");
        assert!(places.values().all(|count| *count == 1), "{places:?}");
    }
}

/// Goal: at any time, every message is in one place, no connection has more messages than it may,
/// and no task waits that has something to do.
///
/// Method: all histories of a few actions with two connections, for pipelines of one and two, from
/// three beginnings: nothing has happened; both connections wait and the task has run; messages are
/// late. After each action the slots, the queue of free connections and the wakers are checked; at
/// the end each message of the schedule is looked for.
///
/// Kills: a message lost or doubled when a connection fails or retires; an assignment beyond the
/// pipeline; a connection twice in the queue; a message for a closed connection; a wakeup that is
/// missing after a failure, or when a connection becomes free while a message is late.
#[test]
fn every_message_is_in_one_place_and_no_wakeup_is_lost() {
    let beginnings: [&[Action]; 3] = [
        &[],
        &[Action::Run(0), Action::Run(1), Action::Dispatch],
        &[Action::Run(0), Action::Run(1), Action::Wait, Action::Wait, Action::Dispatch],
    ];
    for pipeline in [1, 2] {
        for beginning in beginnings {
            for number in 0..ACTIONS.len().pow(HISTORY_LEN) {
                let actions = (0..HISTORY_LEN)
                    .map(|place| ACTIONS[number / ACTIONS.len().pow(place) % ACTIONS.len()]);
                let mut world = World::new(&load(DispatchRule::Any), limits(pipeline));
                beginning.iter().copied().chain(actions).for_each(|action| world.perform(action));
                world.finish();
            }
        }
    }
}

/// Goal: a due message goes to the connection that has been free for the longest time, and the
/// generator is late only from the time at which one was free.
///
/// Method: two connections become free one after the other before a message is due. The task runs
/// late. Then both are late, and the second asks for itself while the first is free.
///
/// Kills: the newest connection first; a lag from the due time although no connection was free; a
/// lag from the time of the connection that happens to send.
#[test]
fn the_longest_free_connection_sends_first() {
    let start = Instant::now();
    let at = |ms: u32| start + MS * ms;
    let mut dispatcher = dispatcher(&load(DispatchRule::Any), limits(1), None, start);
    let first = Turn::Send { conn: 1, due: at(0), ready_at: at(0) };
    assert_eq!(dispatcher.next_for(1, at(0)), first, "message 0 is due at the start");
    dispatcher.sent(1, at(0), at(0));
    assert_eq!(dispatcher.next_for(0, at(0)), Turn::WaitFree);
    let message = dispatcher.replied(1, at(0)).message;
    assert_eq!((message.due, message.sent_at), (at(0), at(0)));
    assert_eq!(dispatcher.next_for(1, at(0)), Turn::WaitFree);
    assert_eq!(dispatcher.next(at(0)), Turn::WaitUntil(at(1)));
    // Connection 1 asks for itself. Connection 0 could have sent message 1 when it was due.
    let late = at(2) + MS / 2;
    assert_eq!(dispatcher.next_for(1, late), Turn::Send { conn: 1, due: at(1), ready_at: at(1) });
    dispatcher.sent(1, at(1), late);
    assert_eq!(dispatcher.next(late), Turn::Send { conn: 0, due: at(2), ready_at: at(2) });
    assert_eq!(dispatcher.next_for(0, late), Turn::Send { conn: 0, due: at(2), ready_at: at(2) });
    dispatcher.sent(0, at(2), late);
    // No connection is free when message 3 is due, until a reply comes.
    assert_eq!(dispatcher.next(at(3)), Turn::WaitFree);
    let free = at(3) + MS / 2;
    let _ = dispatcher.replied(0, free);
    assert_eq!(dispatcher.next_for(0, free), Turn::Send { conn: 0, due: at(3), ready_at: free });
}

/// Goal: a connection that has lost its room leaves the queue of free connections, and one that has
/// room stays.
///
/// Method: both are queued; the first fails. Asked twice, the queue has the second.
///
/// Kills: room that is gone still counted as free, which would blame the generator; a free
/// connection lost from the queue, which would starve it.
#[test]
fn a_connection_without_room_leaves_the_queue() {
    let start = Instant::now();
    let mut dispatcher = dispatcher(&load(DispatchRule::Any), limits(2), None, start);
    let due = dispatcher.next_for(0, start);
    assert!(matches!(due, Turn::Send { conn: 0, .. }));
    for conn in 0..CONNS {
        assert_eq!(dispatcher.next_for(conn, start), Turn::WaitFree);
    }
    assert!(dispatcher.ended(0).is_empty(), "its message was not sent");
    assert_eq!(dispatcher.longest_free_since(), Some(start));
    assert_eq!(dispatcher.longest_free_since(), Some(start));
    assert_eq!(dispatcher.free, [1]);
    assert!(dispatcher.ended(1).is_empty());
    assert_eq!(dispatcher.longest_free_since(), None);
}

/// Goal: with a schedule for each connection, each waits for its own messages, and a closed loop
/// sends whenever there is room, both until the end of the window.
///
/// Method: the turns of both connections over the window, with immediate replies.
///
/// Kills: a message of another connection; a wait without a time, which would never end; a message
/// after the end; a task that has something to assign.
#[test]
fn other_rules_need_no_dispatch() {
    let start = Instant::now();
    let at = |ms: u32| start + MS * ms;
    let mut per_conn = dispatcher(&load(DispatchRule::PerConn), limits(1), None, start);
    for conn in 0..CONNS {
        let mut sent = Vec::new();
        let mut now = start;
        loop {
            match per_conn.next_for(conn, now) {
                Turn::Send { conn: sender, due, ready_at } => {
                    assert_eq!((sender, due), (conn, ready_at));
                    per_conn.sent(conn, due, now);
                    let _ = per_conn.replied(conn, now);
                    sent.push(due);
                }
                Turn::WaitUntil(due) => now = due,
                Turn::WaitFree => break,
            }
        }
        assert_eq!(sent, [at(conn), at(conn + CONNS)]);
    }
    assert_eq!(per_conn.next(at(1)), Turn::WaitFree);

    let mut closed = dispatcher(&LoadPlan::Closed, limits(1), None, start);
    for now in [at(0), at(1)] {
        assert_eq!(closed.next_for(0, now), Turn::Send { conn: 0, due: now, ready_at: now });
        closed.sent(0, now, now);
        assert_eq!(closed.next_for(0, now), Turn::WaitFree, "there is no room");
        let _ = closed.replied(0, now);
    }
    assert_eq!(closed.next_for(0, at(SCHEDULED)), Turn::WaitFree, "the window is over");
    assert_eq!(closed.next(at(1)), Turn::WaitFree);
}

/// Goal: the quota bounds the messages that are sent, and a message that comes back may be sent
/// by another connection.
///
/// Method: a quota of two, of which one message is assigned to a connection that fails; the
/// progress after each step, up to the drain.
///
/// Kills: a quota that counts a returned message twice; a worker that is spent while a message is
/// outstanding; a progress that never ends.
#[test]
fn the_quota_bounds_the_messages() {
    let start = Instant::now();
    let mut dispatcher = dispatcher(&load(DispatchRule::Any), limits(1), Some(2), start);
    for conn in 0..CONNS {
        dispatcher.set_waker(conn, Waker::noop());
    }
    let at = |ms: u32| start + MS * ms;
    assert!(matches!(dispatcher.next_for(0, at(0)), Turn::Send { .. }));
    dispatcher.sent(0, at(0), at(0));
    assert_eq!(dispatcher.next_for(1, at(0)), Turn::WaitFree);
    assert!(matches!(dispatcher.next(at(1)), Turn::Send { conn: 1, .. }));
    assert_eq!(dispatcher.next(at(2)), Turn::WaitFree, "the quota is used");
    assert!(dispatcher.ended(1).is_empty());
    assert_eq!(dispatcher.progress(), Progress::Unfinished);
    let _ = dispatcher.replied(0, at(2));
    assert_eq!(dispatcher.finish(1), Progress::Idle, "one message may be sent again");
    let again = Turn::Send { conn: 0, due: at(1), ready_at: at(2) };
    assert_eq!(dispatcher.next_for(0, at(2)), again);
    dispatcher.sent(0, at(1), at(2));
    let _ = dispatcher.replied(0, at(3));
    assert_eq!(dispatcher.finish(1), Progress::Spent);
    assert_eq!(dispatcher.next_for(0, at(3)), Turn::WaitFree);
    dispatcher.drain(at(3), true);
    assert_eq!(dispatcher.progress(), Progress::Drained);
}

/// Goal: a connection sends as many messages as `--requests-per-conn` allows, and is spent after
/// its last reply.
///
/// Method: two messages per connection in a closed loop with a pipeline of two, twice.
///
/// Kills: a third message; a connection that is spent before a reply; a count that a reconnect
/// does not reset.
#[test]
fn a_connection_is_spent_after_its_last_reply() {
    let start = Instant::now();
    let limits = ConnLimits { pipeline: 2, requests_per_conn: Some(2) };
    let mut dispatcher = dispatcher(&LoadPlan::Closed, limits, None, start);
    for _ in 0..2 {
        for _ in 0..2 {
            assert!(matches!(dispatcher.next_for(0, start), Turn::Send { .. }));
            dispatcher.sent(0, start, start);
        }
        let _ = dispatcher.replied(0, start);
        assert_eq!(dispatcher.next_for(0, start), Turn::WaitFree);
        assert!(!dispatcher.is_spent(0, start));
        let _ = dispatcher.replied(0, start);
        assert!(dispatcher.is_spent(0, start));
        assert!(!dispatcher.is_spent(0, start + MS * SCHEDULED), "the window is over");
        assert!(dispatcher.ended(0).is_empty());
        assert!(dispatcher.opened(0));
        assert!(!dispatcher.is_spent(0, start));
    }
}
