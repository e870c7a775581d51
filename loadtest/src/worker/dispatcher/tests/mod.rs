//! The dispatcher in simulated time: single rules here, and all short histories in `histories`.

mod histories;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::plan::load::{DispatchRule, OpenLoad};
use crate::plan::schedule::arrivals::Spacing;
use crate::plan::schedule::rate::RateCurve;

const MS: Duration = Duration::from_millis(1);

/// Messages of the schedule, one per millisecond.
const SCHEDULED: u32 = 4;

const CONNS: u32 = 2;

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

/// Goal: a connection with room for several messages gets all that are due, before its task runs.
///
/// Method: a pipeline of three, with one connection in the queue and two messages due.
///
/// Kills: a connection that leaves the queue with its first message, so that the second waits.
#[test]
fn a_connection_stays_queued_while_it_has_room() {
    let start = Instant::now();
    let mut dispatcher = dispatcher(&load(DispatchRule::Any), limits(3), None, start);
    assert!(matches!(dispatcher.next_for(0, start), Turn::Send { .. }));
    dispatcher.sent(0, start, start);
    assert_eq!(dispatcher.next_for(0, start), Turn::WaitFree);
    for _ in 0..2 {
        assert!(matches!(dispatcher.next(start + MS * 2), Turn::Send { conn: 0, .. }));
    }
    assert_eq!(dispatcher.next(start + MS * 3), Turn::WaitFree, "the pipeline is full");
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
    assert_eq!(dispatcher.progress(), LoadProgress::Unfinished);
    let _ = dispatcher.replied(0, at(2));
    assert_eq!(dispatcher.finish(1), LoadProgress::Idle, "one message may be sent again");
    let again = Turn::Send { conn: 0, due: at(1), ready_at: at(2) };
    assert_eq!(dispatcher.next_for(0, at(2)), again);
    dispatcher.sent(0, at(1), at(2));
    let _ = dispatcher.replied(0, at(3));
    assert_eq!(dispatcher.finish(1), LoadProgress::Spent);
    assert_eq!(dispatcher.next_for(0, at(3)), Turn::WaitFree);
    dispatcher.drain(at(3), true);
    assert_eq!(dispatcher.progress(), LoadProgress::Drained);
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

/// A dispatcher with all connections open, whose window begins after a warm-up of two messages.
fn dispatcher_in_warmup(quota: Option<u64>, start: Instant) -> Dispatcher {
    let mut dispatcher = dispatcher(&load(DispatchRule::Any), limits(1), quota, start);
    dispatcher.start(start, Window { from: start + MS * 2, until: start + MS * SCHEDULED });
    dispatcher
}

/// Goal: messages that are too old leave the schedule. Those of the window are recorded with their
/// waits and use the quota, those of the warm-up do neither.
///
/// Method: two messages of the warm-up and one of the window are before the cutoff; one is not.
///
/// Kills: a dropped message that may be sent too; a message of the warm-up that is recorded; a
/// quota that dropped messages do not use, so that more than `--requests` are counted.
#[test]
fn old_messages_leave_the_schedule_and_use_the_quota() {
    let start = Instant::now();
    let at = |ms: u32| start + MS * ms;
    let mut dispatcher = dispatcher_in_warmup(Some(2), start);
    let mut waits = Vec::new();
    let shed = dispatcher.shed(0, at(3), at(5), |waited_ns, count| waits.push((waited_ns, count)));
    assert_eq!((shed, waits), (1, vec![(3_000_000, 1)]));
    assert_eq!(dispatcher.quota, Some(1));
    let last = Turn::Send { conn: 0, due: at(3), ready_at: at(5) };
    assert_eq!(dispatcher.next_for(0, at(3) + MS * 2), last);
    assert_eq!(dispatcher.quota, Some(0));
}

/// Goal: messages of the warm-up use no quota, and are not among those that were not sent, also if
/// they came back from a connection.
///
/// Method: one message of the warm-up is sent, another is assigned to a connection that fails. At
/// the end the two of the window remain.
///
/// Kills: a quota used up by the warm-up; a message of the warm-up counted as never sent.
#[test]
fn the_warm_up_uses_no_quota_and_leaves_nothing() {
    let start = Instant::now();
    let at = |ms: u32| start + MS * ms;
    let mut dispatcher = dispatcher_in_warmup(Some(9), start);
    assert!(matches!(dispatcher.next_for(0, at(0)), Turn::Send { .. }));
    assert!(!dispatcher.sent(0, at(0), at(0)));
    assert_eq!(dispatcher.next_for(1, at(0)), Turn::WaitFree);
    assert!(matches!(dispatcher.next(at(1)), Turn::Send { conn: 1, .. }));
    assert!(dispatcher.ended(1).is_empty());
    assert_eq!(dispatcher.quota, Some(9));
    assert_eq!(dispatcher.in_flight().count(), 0);
    let mut waits = Vec::new();
    dispatcher.take_unsent(at(4), |waited_ns, count| waits.push((waited_ns, count)));
    waits.sort_unstable();
    assert_eq!(waits, [(1_000_000, 1), (2_000_000, 1)]);
}

/// Goal: an early end takes the rest of the schedule out of the window, except if the target was
/// lost.
///
/// Method: both ends after the second of four messages; nothing was sent.
///
/// Kills: messages after an interrupt counted as never sent; a lost target that has fewer messages
/// to answer.
#[test]
fn only_a_lost_target_keeps_the_rest_of_the_window() {
    for (is_cut, unsent) in [(true, 2), (false, u64::from(SCHEDULED))] {
        let start = Instant::now();
        let mut dispatcher = dispatcher(&load(DispatchRule::Any), limits(1), None, start);
        dispatcher.drain(start + MS * 2, is_cut);
        assert_eq!(dispatcher.next_for(0, start + MS * 2), Turn::WaitFree);
        let mut found = 0;
        dispatcher.take_unsent(start + MS * SCHEDULED, |_, count| found += count);
        assert_eq!(found, unsent, "cut: {is_cut}");
    }
}

/// Goal: a message that comes back after the quota was used goes to a connection that asked before,
/// and the generator is late with it only from the time at which that connection was free.
///
/// Method: both messages of the quota are taken. Connection 0 has a reply and asks for more. Then
/// connection 1 fails with its message, which was due before connection 0 became free.
///
/// Kills: a connection that the dispatcher forgets while the quota is used, so that the run waits
/// without an end; the wait of a returned message counted as a lag from its due time.
#[test]
fn a_message_that_comes_back_finds_a_free_connection() {
    let start = Instant::now();
    let at = |ms: u32| start + MS * ms;
    let mut dispatcher = dispatcher(&load(DispatchRule::Any), limits(1), Some(2), start);
    assert!(matches!(dispatcher.next_for(0, at(0)), Turn::Send { .. }));
    dispatcher.sent(0, at(0), at(0));
    assert_eq!(dispatcher.next_for(1, at(0)), Turn::WaitFree);
    assert!(matches!(dispatcher.next(at(1)), Turn::Send { conn: 1, .. }));
    let _ = dispatcher.replied(0, at(2));
    assert_eq!(dispatcher.finish(1), LoadProgress::Unfinished);
    assert_eq!(dispatcher.next_for(0, at(2)), Turn::WaitFree, "the quota is used");
    assert!(dispatcher.ended(1).is_empty());
    let again = Turn::Send { conn: 0, due: at(1), ready_at: at(2) };
    assert_eq!(dispatcher.next(at(3)), again);
    assert_eq!(dispatcher.next_for(0, at(3)), again);
}

/// Goal: a reply that is complete before its message was sent completely is found on each
/// connection, also on one that was opened again.
///
/// Method: a whole message and a part of one, on the first and on the second connect.
///
/// Kills: the whole messages of the last connect counted for this one.
#[test]
fn early_replies_are_found_after_a_reconnect() {
    let start = Instant::now();
    let mut dispatcher = dispatcher(&LoadPlan::Closed, limits(1), None, start);
    for _ in 0..2 {
        for is_whole in [false, true] {
            dispatcher.sent(0, start, start);
            if is_whole {
                dispatcher.sent_whole(0);
            }
            assert_eq!(dispatcher.is_whole(0), is_whole);
            assert_eq!(dispatcher.replied(0, start).is_early, !is_whole);
        }
        assert!(dispatcher.ended(0).is_empty());
        assert!(dispatcher.opened(0));
    }
}
