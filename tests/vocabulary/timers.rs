//! Timers in virtual time, where each end is exact.

use std::cell::RefCell;
use std::future::{pending, ready};
use std::rc::Rc;
use std::time::Duration;

use ringloop::testing::settle;
use ringloop::time::{
    Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout,
};
use ringloop::{Handle, call_at, call_later, spawn};

use crate::clock::paused;
use crate::common::{poll_once, turns};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    b1_equal_deadlines_keep_their_order_in_virtual_time,
    b6_endless_durations_do_not_move_the_clock,
    b10_a_reset_sleep_ends_at_its_new_deadline,
    b12_intervals_keep_their_schedule_in_virtual_time,
    timeouts_are_exact_in_virtual_time,
    a_reset_interval_ticks_from_its_new_start,
    a_timer_handle_separates_cancelled_from_called,
];
pub(crate) const ALONE: &[Body] = bodies![];

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Goal: equal deadlines fire in scheduling order (B1), hours ahead.
///
/// Method: callbacks and sleeps for three moments, set in turns.
///
/// Kills: a heap without a sequence; a jump that reorders.
fn b1_equal_deadlines_keep_their_order_in_virtual_time(on: Driver) {
    paused(on, async || {
        let start = Instant::now();
        let order = Rc::new(RefCell::new(Vec::new()));
        for number in 0..30 {
            let at = start + (1 + number % 3) * HOUR;
            let order = Rc::clone(&order);
            if number % 2 == 0 {
                call_at(at, move || order.borrow_mut().push((at, number)));
            } else {
                spawn(async move {
                    sleep_until(at).await;
                    order.borrow_mut().push((at, number));
                });
                turns(1).await; // it has set its timer
            }
        }
        sleep(4 * HOUR).await;
        assert!(order.borrow().is_sorted(), "{order:?}");
        assert_eq!(order.borrow().len(), 30);
    });
}

/// Goal: timers of endless durations never fire, do not move the clock and can be cancelled (B6).
///
/// Method: several of them beside a sleep of a day.
///
/// Kills: a jump to the end of time.
fn b6_endless_durations_do_not_move_the_clock(on: Driver) {
    paused(on, async || {
        let start = Instant::now();
        let endless = [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(1 << 40)];
        let sleeps: Vec<_> = endless.map(|duration| spawn(sleep(duration))).into();
        let call = call_later(Duration::MAX, || unreachable!());
        sleep(24 * HOUR).await;
        assert_eq!(start.elapsed(), 24 * HOUR);
        assert!(call.is_pending() && sleeps.iter().all(|sleep| !sleep.is_finished()));
        call.cancel();
        sleeps.iter().for_each(|sleep| sleep.abort());
        settle().await;
        assert_eq!(Handle::current().metrics().timers, 0);
    });
}

/// Goal: a sleep that is reset ends at its new deadline (B10): later, earlier, in the past, and
/// after it has ended.
///
/// Method: the exact times of the ends.
///
/// Kills: a reset that keeps the timer; one that does not restart an ended sleep.
fn b10_a_reset_sleep_ends_at_its_new_deadline(on: Driver) {
    paused(on, async || {
        let start = Instant::now();
        let mut nap = Box::pin(sleep(HOUR));
        assert!(poll_once(nap.as_mut()).await.is_pending());
        nap.reset(start + 2 * HOUR);
        assert_eq!(nap.deadline(), start + 2 * HOUR);
        assert!(timeout(HOUR, nap.as_mut()).await.is_err());
        nap.reset(start + HOUR + MS);
        nap.as_mut().await;
        assert_eq!(start.elapsed(), HOUR + MS);
        assert!(nap.is_elapsed());
        nap.reset(start);
        assert!(!nap.is_elapsed());
        nap.as_mut().await;
        assert_eq!(start.elapsed(), HOUR + MS);
        nap.reset(start + 3 * HOUR);
        nap.as_mut().await;
        assert_eq!(start.elapsed(), 3 * HOUR);
    });
}

/// Goal: intervals tick on schedule, and late ticks come as the behaviour requires (B12).
///
/// Method: the exact times of five ticks of each behaviour, with a wait of 2.5 periods after the
/// first.
///
/// Kills: one behaviour in place of another; a schedule that drifts.
fn b12_intervals_keep_their_schedule_in_virtual_time(on: Driver) {
    let cases = [
        (MissedTickBehavior::Burst, [0, 250, 250, 300, 400]),
        (MissedTickBehavior::Delay, [0, 250, 350, 450, 550]),
        (MissedTickBehavior::Skip, [0, 250, 300, 400, 500]),
    ];
    paused(on, async || {
        for (behavior, expected) in cases {
            let start = Instant::now();
            let mut interval = interval(100 * MS);
            interval.set_missed_tick_behavior(behavior);
            let mut ticks = Vec::new();
            for number in 0..5 {
                interval.tick().await;
                ticks.push(start.elapsed().as_millis());
                if number == 0 {
                    sleep(250 * MS).await;
                }
            }
            assert_eq!(ticks, expected, "{behavior:?}");
        }
    });
}

/// Goal: a timeout ends exactly at its deadline, a value of the same moment wins, and a timeout of
/// no time polls once.
///
/// Method: values before, at and after the deadline, set before and after the timeout.
///
/// Kills: a deadline that is polled first; an early end.
fn timeouts_are_exact_in_virtual_time(on: Driver) {
    paused(on, async || {
        let start = Instant::now();
        assert!(timeout(HOUR, pending::<()>()).await.is_err());
        assert_eq!(start.elapsed(), HOUR);
        assert!(timeout(HOUR, sleep(HOUR - MS)).await.is_ok());
        assert!(timeout(HOUR, sleep(HOUR)).await.is_ok(), "the value wins");
        assert!(timeout(HOUR - MS, sleep(HOUR)).await.is_err());
        assert_eq!(timeout(Duration::ZERO, ready(7)).await, Ok(7));
        assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
        assert_eq!(timeout(Duration::MAX, sleep(HOUR)).await, Ok(()));
    });
}

/// Goal: a reset moves the next tick, and the later ones follow it at full periods.
///
/// Method: the exact ticks after each form of reset, in the middle of a period and when a tick is
/// late.
///
/// Kills: a reset that keeps the old schedule; a period that is added where it is not due.
fn a_reset_interval_ticks_from_its_new_start(on: Driver) {
    paused(on, async || {
        type Reset = fn(&mut Interval);
        let resets: [(Reset, u32); 4] = [
            (|interval| interval.reset(), 13),
            (|interval| interval.reset_immediately(), 3),
            (|interval| interval.reset_after(2 * SECOND), 5),
            (|interval| interval.reset_at(Instant::now() + 4 * SECOND), 7),
        ];
        for (reset, next) in resets {
            let start = Instant::now();
            let mut interval = interval(10 * SECOND);
            assert_eq!(interval.period(), 10 * SECOND);
            interval.tick().await;
            sleep(3 * SECOND).await;
            reset(&mut interval);
            assert_eq!(interval.tick().await, start + next * SECOND);
            assert_eq!(start.elapsed(), next * SECOND);
            assert_eq!(interval.tick().await, start + (next + 10) * SECOND);
        }
    });
}

/// Goal: a handle of a callback shows whether it was called or cancelled, and only the first of
/// both counts.
///
/// Method: one that is cancelled twice, one that is called and then cancelled.
///
/// Kills: a cancel after the call that shows as cancelled.
fn a_timer_handle_separates_cancelled_from_called(on: Driver) {
    paused(on, async || {
        let cancelled = call_later(SECOND, || unreachable!());
        let called = call_later(SECOND, || ());
        assert!(!cancelled.is_cancelled() && cancelled.is_pending());
        cancelled.cancel();
        cancelled.cancel();
        sleep(2 * SECOND).await;
        called.cancel();
        assert_eq!((cancelled.is_cancelled(), cancelled.is_pending()), (true, false));
        assert_eq!((called.is_cancelled(), called.is_pending()), (false, false));
    });
}
