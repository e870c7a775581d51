//! Timers: not early, in order, removed when cancelled, and cheap to set.

mod common;

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use common::{Dice, compute, poll_once, run, tcp_pair, turn, turns, until};
use ringloop::task::yield_now;
use ringloop::time::{
    Instant, MissedTickBehavior, interval, interval_at, sleep, sleep_until, timeout,
};
use ringloop::{Handle, Metrics, TimerHandle, call_at, call_later, spawn};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

fn metrics() -> Metrics {
    Handle::current().metrics()
}

/// Goal: timers with equal deadlines fire in the order in which they were set, of all kinds (B1).
///
/// Method: sleeps and callbacks in turns, all for the same moment, set in between some that are due
/// earlier and later.
///
/// Kills: a heap without a sequence number; callbacks overtaking sleeps of the same expiry.
#[test]
fn equal_deadlines_keep_their_order() {
    run(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let deadline = Instant::now() + 20 * MS;
        for number in 0..40 {
            let order = Rc::clone(&order);
            if number % 2 == 0 {
                spawn(async move {
                    sleep_until(deadline).await;
                    order.borrow_mut().push(number);
                });
                turns(1).await; // it has set its timer
            } else {
                call_at(deadline, move || order.borrow_mut().push(number));
            }
            call_at(deadline - number * Duration::from_micros(10), || ());
            call_at(deadline + number * Duration::from_micros(10), || ());
        }
        sleep_until(deadline + MS).await;
        turns(2).await;
        assert!(order.borrow().is_sorted(), "{order:?}");
        assert_eq!(order.borrow().len(), 40);
    });
}

/// Goal: a cancelled timer does not fire, also when a callback of the same expiry cancels it (B2).
///
/// Method: five callbacks for one moment; the first cancels the third and drops a sleep.
///
/// Kills: a cancel that looks only at timers that are not due.
#[test]
fn a_cancel_in_the_same_expiry_counts() {
    run(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let deadline = Instant::now() + 5 * MS;
        let handles = Rc::new(RefCell::new(Vec::<TimerHandle>::new()));
        for number in 0..5 {
            let (order, others) = (Rc::clone(&order), Rc::clone(&handles));
            let handle = call_at(deadline, move || {
                order.borrow_mut().push(number);
                if number == 0 {
                    others.borrow()[2].cancel();
                    others.borrow()[2].cancel(); // a second cancel has no effect
                }
            });
            assert!(handle.is_pending());
            handles.borrow_mut().push(handle);
        }
        let aborted = spawn(async move { sleep_until(deadline).await });
        call_at(deadline - Duration::from_nanos(1), move || aborted.abort());
        sleep_until(deadline + MS).await;
        turns(2).await;
        assert_eq!(*order.borrow(), [0, 1, 3, 4]);
        assert!(handles.borrow().iter().all(|handle| !handle.is_pending()));
        handles.borrow()[0].cancel(); // has no effect after the call
        assert_eq!(metrics().timers, 0);
    });
}

/// Goal: no timer fires early, with any rounding (B3).
///
/// Method: 2 000 sleeps of random lengths down to nanoseconds, many at once, measured with the
/// clock of std as well.
///
/// Kills: rounding down to µs or ms; comparing with a time of before the wait.
#[test]
fn timers_are_never_early() {
    run(async {
        let mut dice = Dice::new(6);
        for _ in 0..20 {
            let tasks: Vec<_> = (0..100)
                .map(|_| {
                    let duration = Duration::from_nanos(dice.roll(4_000_000));
                    spawn(async move {
                        let (start, start_std) = (Instant::now(), std::time::Instant::now());
                        sleep(duration).await;
                        assert!(start.elapsed() >= duration);
                        assert!(start_std.elapsed() >= duration);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        }
    });
}

/// Goal: very short sleeps, and the last nanosecond of a sleep, do not spin the loop (B4).
///
/// Method: count turns and system calls of a thousand short sleeps and of one longer one.
///
/// Kills: a deadline rounded down for the kernel, so that the loop wakes too early and again.
#[test]
fn short_sleeps_do_not_spin() {
    run(async {
        let before = metrics();
        for nanos in 0..1000 {
            sleep(Duration::from_nanos(nanos)).await;
        }
        let after = metrics();
        assert!(after.turns - before.turns <= 3 * 1000, "{after:?}");
        assert!(after.enter_calls - before.enter_calls <= 3 * 1000, "{after:?}");

        let before = metrics();
        for micros in 0..20 {
            sleep(MS + micros * Duration::from_micros(1)).await;
        }
        let after = metrics();
        assert!(after.turns - before.turns <= 4 * 20, "{after:?}");
        assert_eq!(after.spin_backoffs, 0);
    });
}

/// Goal: a deadline that has passed fires in the next turn (B5).
///
/// Method: callbacks and sleeps for the past and for now record their turn.
///
/// Kills: calling back inline; a past deadline that waits for another timer.
#[test]
fn a_past_deadline_fires_in_the_next_turn() {
    run(async {
        for past in [Duration::ZERO, MS, HOUR, Duration::MAX] {
            let (start, fired) = (turn(), Rc::new(Cell::new(0)));
            let firing = Rc::clone(&fired);
            call_at(Instant::now() - past, move || firing.set(turn()));
            assert_eq!(fired.get(), 0, "inline");
            let mut sleep = pin!(sleep_until(Instant::now() - past));
            assert!(poll_once(sleep.as_mut()).await.is_pending(), "inline");
            sleep.await;
            assert_eq!(turn(), start + 1);
            turns(1).await;
            assert_eq!(fired.get(), start + 1);
        }
    });
}

/// Goal: durations without end do not panic, do not fire and can be cancelled (B6).
///
/// Method: the longest ones, as sleep, timeout, callback and interval, beside a short sleep.
///
/// Kills: overflow of a deadline; `EINVAL` from the kernel for a far one.
#[test]
fn endless_durations_never_fire() {
    run(async {
        let ages = [
            Duration::MAX,
            Duration::from_nanos(u64::MAX),
            Duration::from_nanos(u64::MAX / 2),
            Duration::from_secs(u32::MAX.into()),
        ];
        for age in ages {
            let handle = call_later(age, || panic!("the end of time"));
            let asleep = spawn(sleep(age));
            let ticking = spawn(async move { interval_at(Instant::now() + age, age).tick().await });
            assert!(timeout(age, sleep(MS)).await.is_ok());
            assert!(timeout(MS, sleep(age)).await.is_err());
            assert!(handle.is_pending());
            handle.cancel();
            asleep.abort();
            ticking.abort();
            asleep.await.unwrap_err();
            ticking.await.unwrap_err();
            assert_eq!(metrics().timers, 0);
        }
    });
}

/// Goal: a timer of zero that its own callback sets again runs once per turn, and other tasks go on
/// (B7).
///
/// Method: such a callback, and a task that counts turns beside it.
///
/// Kills: calling back within the expiry, so that the timer that the callback sets is due at once.
#[test]
fn a_zero_timer_does_not_take_over_a_turn() {
    fn again(left: u32, seen: Rc<RefCell<Vec<u64>>>) {
        seen.borrow_mut().push(turn());
        if left > 0 {
            call_later(Duration::ZERO, move || again(left - 1, seen));
        }
    }
    run(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        again(100, Rc::clone(&seen));
        let mut own = 0;
        while seen.borrow().len() <= 100 {
            own += 1;
            yield_now().await;
        }
        let seen = seen.borrow();
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
        assert!(own >= 100, "the other task ran {own}×");
    });
}

/// Goal: timers that are set and cancelled leave no memory and cause no wake-ups (B8).
///
/// Method: 10⁶ of them, single and in crowds; then a sleep, whose turns are counted.
///
/// Kills: lazy removal; a `Sleep` without its `Drop`.
#[test]
fn a_million_cancelled_timers_leave_nothing() {
    run(async {
        let before = metrics();
        for round in 0..1_000_u32 {
            let handles: Vec<_> =
                (0..900).map(|number| call_later(HOUR - (number + round) * MS, || ())).collect();
            assert_eq!(metrics().timers, 900);
            handles.iter().for_each(TimerHandle::cancel);
            for _ in 0..100 {
                let mut sleep = pin!(sleep(HOUR));
                assert!(poll_once(sleep.as_mut()).await.is_pending());
            }
            assert_eq!(metrics().timers, 0);
        }
        sleep(5 * MS).await;
        let after = metrics();
        assert!(after.turns - before.turns <= 10, "{}", after.turns - before.turns);
        assert!(after.timeout_arms - before.timeout_arms <= 10);
    });
}

/// Goal: a timeout per message costs no kernel timeout per message, as its deadline only moves
/// later. (`scripts/timer-syscalls.sh` counts system calls as well.)
///
/// Method: a thousand round trips, each under a new timeout, and the count of kernel timeouts.
///
/// Kills: a kernel timeout that follows every change.
#[test]
fn a_timeout_per_message_sets_no_kernel_timeout() {
    run(async {
        let (mut client, mut server) = tcp_pair().await;
        let before = metrics();
        let echo = spawn(async move {
            while let Ok(Ok(bytes)) = timeout(HOUR, server.recv()).await {
                if bytes.is_empty() || server.send(bytes).await.is_err() {
                    return;
                }
            }
        });
        for _ in 0..1000 {
            client.write_all(b"ping").await.unwrap();
            timeout(HOUR, client.recv()).await.unwrap().unwrap();
        }
        client.close().await.unwrap();
        echo.await.unwrap();
        let arms = metrics().timeout_arms - before.timeout_arms;
        assert!(arms <= 2, "{arms} kernel timeouts");
    });
}

/// Goal: `reset` moves a deadline either way, before and after it fired (B10).
///
/// Method: a sleep that is pending for an hour made to end now; one made to end later; one in the
/// past; one that has ended used again.
///
/// Kills: a reset that keeps the old timer; a kernel timeout not moved to an earlier deadline.
#[test]
fn reset_moves_a_deadline() {
    run(async {
        let mut pending = pin!(sleep(HOUR));
        assert!(poll_once(pending.as_mut()).await.is_pending());
        turns(2).await; // the kernel's timeout is set for it, and the loop has slept on it or could
        let soon = Instant::now() + 2 * MS;
        pending.as_mut().get_mut().reset(soon);
        assert_eq!(pending.deadline(), soon);
        pending.as_mut().await;
        assert!(Instant::now() >= soon && pending.is_elapsed());

        let mut later = sleep(MS);
        assert!(poll_once(Pin::new(&mut later)).await.is_pending());
        let moved = Instant::now() + 10 * MS;
        later.reset(moved);
        until(|| Instant::now() >= moved - 5 * MS).await;
        turns(2).await;
        let polled = poll_once(Pin::new(&mut later)).await;
        assert!(polled.is_pending() || Instant::now() >= moved, "early");
        (&mut later).await;
        assert!(Instant::now() >= moved);

        assert!(!{
            later.reset(Instant::now() - HOUR);
            later.is_elapsed()
        });
        let start = turn();
        (&mut later).await;
        assert_eq!(turn(), start + 1, "the past is the next turn");
        assert_eq!(metrics().timers, 0);
    });
}

/// Goal: aborting a task that sleeps removes its timer, and so does the end of a future under a
/// timeout (B11).
///
/// Method: the count of timers after each.
///
/// Kills: a `Sleep` without its `Drop`.
#[test]
fn an_aborted_sleep_takes_its_timer_along() {
    run(async {
        let tasks: Vec<_> = (0..100).map(|_| spawn(sleep(HOUR))).collect();
        turns(2).await;
        assert_eq!(metrics().timers, 100);
        for task in tasks {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
        assert_eq!(metrics().timers, 0);
        timeout(HOUR, yield_now()).await.unwrap();
        assert_eq!(metrics().timers, 0);
    });
}

/// Goal: after missed ticks an interval bursts, delays or skips, as it is set (B12).
///
/// Method: compute for three and a half periods and compare the times at which the ticks were due.
///
/// Kills: one behaviour for all; a schedule that drifts.
#[test]
fn a_delayed_interval_bursts_delays_or_skips() {
    const PERIOD: Duration = Duration::from_millis(4);
    run(async {
        let mut burst = interval(PERIOD);
        let first = burst.tick().await;
        compute(PERIOD * 7 / 2);
        for number in 1..=6 {
            assert_eq!(burst.tick().await, first + number * PERIOD);
            assert!(Instant::now() >= first + number * PERIOD);
        }

        let mut delay = interval(PERIOD);
        delay.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let first = delay.tick().await;
        let taken = Instant::now(); // later than `first`, on a machine that stalls
        compute(PERIOD * 7 / 2);
        let second = delay.tick().await;
        assert!(second >= first + PERIOD && second <= taken + PERIOD);
        let taken = Instant::now();
        let next = delay.tick().await;
        assert!(next >= first + PERIOD * 9 / 2 && next <= taken + PERIOD);
        assert!(delay.tick().await >= next + PERIOD);

        let mut skip = interval(PERIOD);
        skip.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let first = skip.tick().await;
        compute(PERIOD * 7 / 2);
        let second = skip.tick().await;
        let next = skip.tick().await;
        assert!(second >= first + PERIOD && next >= first + 4 * PERIOD);
        for tick in [second, next] {
            assert_eq!((tick - first).as_nanos() % PERIOD.as_nanos(), 0, "off the schedule");
        }
    });
}
