//! All short histories of a dispatcher with two connections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use super::*;

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

/// What can happen to a dispatcher.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// Time passes until the next message is due.
    Wait,
    /// The dispatcher's task runs.
    Dispatch,
    /// The task of a connection runs: it sends if it may. A closed connection is opened.
    Run(u32),
    /// The oldest message of a connection is answered.
    Reply(u32),
    /// A connection fails.
    Fail(u32),
    /// A connection retires. When it has no messages it is closed.
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
    quota: Option<u64>,
    task: Arc<Flag>,
    /// What the dispatcher's task waits for. `None` if it has not run since it was woken.
    task_waits: Option<Turn>,
    conns: Vec<Arc<Flag>>,
    conns_wait: [bool; CONNS as usize],
    is_open: [bool; CONNS as usize],
    /// Due times of outstanding messages by connection, oldest first.
    outstanding: [Vec<Instant>; CONNS as usize],
    finished: Vec<Instant>,
}

impl World {
    fn new(load: &LoadPlan, limits: ConnLimits, quota: Option<u64>) -> World {
        let start = Instant::now();
        let mut dispatcher = dispatcher(load, limits, quota, start);
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
            quota,
            task,
            task_waits: None,
            conns,
            conns_wait: [false; CONNS as usize],
            is_open: [true; CONNS as usize],
            outstanding: Default::default(),
            finished: Vec::new(),
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Wait => self.now += MS,
            Action::Dispatch => self.dispatch(),
            Action::Run(conn) if self.is_open[conn as usize] => self.run(conn),
            Action::Run(conn) => {
                assert!(self.dispatcher.opened(conn), "it was opened before");
                self.is_open[conn as usize] = true;
            }
            Action::Reply(_) | Action::Fail(_) | Action::Retire(_) if !self.is_open(action) => {}
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

    /// Whether the connection of `action` is open.
    fn is_open(&self, action: Action) -> bool {
        match action {
            Action::Run(conn) | Action::Reply(conn) | Action::Fail(conn) | Action::Retire(conn) => {
                self.is_open[conn as usize]
            }
            Action::Wait | Action::Dispatch => true,
        }
    }

    fn dispatch(&mut self) {
        self.task.take();
        loop {
            let queue = self.dispatcher.free.clone();
            match self.dispatcher.next(self.now) {
                Turn::Send { conn, due, ready_at } => {
                    assert!(due <= ready_at && ready_at <= self.now);
                    assert!(self.is_open[conn as usize], "connection {conn} is closed");
                    for earlier in queue.into_iter().take_while(|queued| *queued != conn) {
                        let slot = &self.dispatcher.slots[earlier as usize];
                        assert!(!slot.is_open() || !slot.may_send(self.limits), "{earlier} first");
                    }
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
        self.is_open[conn as usize] = false;
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
        let has_free = (0..CONNS as usize).any(|conn| {
            let waits = self.conns_wait[conn] && !self.conns[conn].0.load(Ordering::Relaxed);
            waits && self.dispatcher.slots[conn].may_send(self.limits)
        });
        let is_woken = self.task.0.load(Ordering::Relaxed);
        let may_send = has_free && self.dispatcher.quota != Some(0);
        let has_work = may_send && self.dispatcher.schedule.next_shared_due().is_some_and(is_due);
        match self.task_waits {
            Some(Turn::WaitFree) => assert!(!has_work || is_woken, "the task is not woken"),
            Some(Turn::WaitUntil(due)) => assert!(!has_work || is_woken || is_due(due)),
            Some(Turn::Send { .. }) | None => {}
        }
    }

    /// Where each message of the window is at the end.
    fn finish(mut self) {
        if self.task.0.load(Ordering::Relaxed) {
            self.dispatch();
            self.check();
        }
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
        let expected = self.quota.map_or(SCHEDULED, |quota| quota as u32);
        assert_eq!(places.values().sum::<u32>(), expected, "{places:?}");
        assert!(places.values().all(|count| *count == 1), "{places:?}");
    }
}

/// Goal: at any time, every message is in one place, no connection has more messages than it may,
/// and no task waits that has something to do.
///
/// Method: all histories of a few actions with two connections, for pipelines of one and two, the
/// former also with a quota, from three beginnings: nothing has happened; both connections wait and
/// the task has run; messages are late. After each action the slots, the queue of free connections
/// and the wakers are checked; at the end a woken task runs, and each message of the schedule is
/// looked for.
///
/// Kills: a message lost or doubled when a connection fails or retires; an assignment beyond the
/// pipeline; a connection twice in the queue; a message for a closed connection; a wakeup that is
/// missing after a failure, or when a connection becomes free while a message is late; a connection
/// that is not found when a message comes back after the quota was used.
#[test]
fn every_message_is_in_one_place_and_no_wakeup_is_lost() {
    let beginnings: [&[Action]; 3] = [
        &[],
        &[Action::Run(0), Action::Run(1), Action::Dispatch],
        &[Action::Run(0), Action::Run(1), Action::Wait, Action::Wait, Action::Dispatch],
    ];
    for (pipeline, quota) in [(1, None), (2, None), (1, Some(2))] {
        for beginning in beginnings {
            for number in 0..ACTIONS.len().pow(HISTORY_LEN) {
                let actions = (0..HISTORY_LEN)
                    .map(|place| ACTIONS[number / ACTIONS.len().pow(place) % ACTIONS.len()]);
                let mut world = World::new(&load(DispatchRule::Any), limits(pipeline), quota);
                beginning.iter().copied().chain(actions).for_each(|action| world.perform(action));
                world.finish();
            }
        }
    }
}
