//! The decision of an idle loop, for every combination of what it depends on.

use super::{IdleLoop, IdleStep};

const NOW_NS: u64 = 100;

/// Every idle loop, up to the distances of times.
fn all() -> Vec<IdleLoop> {
    let mut all = Vec::new();
    let flags = [false, true];
    for paused_ns in [None, Some(NOW_NS)] {
        for timer_ns in [None, Some(NOW_NS - 1), Some(NOW_NS), Some(NOW_NS + 10)] {
            for target_ns in [None, Some(NOW_NS), Some(NOW_NS + 10), Some(NOW_NS + 11)] {
                for bits in 0..16 {
                    let [is_quiet, has_settlers, is_held, was_held] =
                        [1, 2, 4, 8].map(|bit| flags[usize::from(bits & bit != 0)]);
                    all.push(IdleLoop {
                        is_quiet,
                        has_settlers,
                        paused_ns,
                        timer_ns,
                        target_ns,
                        is_held,
                        was_held,
                    });
                }
            }
        }
    }
    all
}

/// Goal: the clock moves only when it is paused, the loop is quiet, no task waits in `settle`, and
/// nothing holds it; and it moves to the next timer and no further. A call of `advance` overrides
/// the holds, up to its target.
///
/// Method: all 512 idle loops.
///
/// Kills: a jump while an operation or a job is in flight; a jump without a look behind the last
/// request; a jump before `settle`; a jump over a timer; an advance beyond its target.
#[test]
fn the_clock_moves_only_when_nothing_else_can_happen() {
    let mut moves = 0;
    for idle in all() {
        match idle.next_step() {
            IdleStep::Jump(at_ns) => {
                assert_eq!(
                    (Some(at_ns), idle.paused_ns),
                    (idle.timer_ns, Some(NOW_NS)),
                    "{idle:?}"
                );
                assert!(at_ns > NOW_NS && idle.is_quiet && !idle.has_settlers, "{idle:?}");
                assert!(!idle.is_held && !idle.was_held, "{idle:?}");
                moves += 1;
            }
            IdleStep::Advance(at_ns) => {
                assert_eq!(
                    (Some(at_ns), idle.paused_ns),
                    (idle.timer_ns, Some(NOW_NS)),
                    "{idle:?}"
                );
                assert!(at_ns > NOW_NS && idle.is_quiet && !idle.has_settlers, "{idle:?}");
                assert!(idle.target_ns >= Some(at_ns), "{idle:?}");
                moves += 1;
            }
            IdleStep::Look | IdleStep::Settle | IdleStep::Sleep => {}
        }
    }
    // Quiet, paused, a timer ahead, no settler: by itself 2 targets × no hold, else 2 × 4.
    assert_eq!(moves, 2 + 2 * 4);
}

/// Goal: no idle loop sleeps that has something to do: a paused loop with a timer that is due, a
/// task that waits in `settle`, a timer that nothing holds, or an `advance`.
///
/// Method: all idle loops that sleep.
///
/// Kills: a loop that sleeps after a job was released before the clock was paused (`was_held`); a
/// settler that waits for an operation in flight.
#[test]
fn an_idle_loop_sleeps_only_if_nothing_is_left_to_do() {
    for idle in all().into_iter().filter(|idle| idle.next_step() == IdleStep::Sleep) {
        assert!(!idle.has_settlers, "{idle:?}");
        let IdleLoop { paused_ns: Some(now_ns), timer_ns: Some(timer_ns), .. } = idle else {
            continue; // the timers of a running clock end the sleep, or there are none
        };
        assert!(timer_ns > now_ns && idle.is_held, "{idle:?}");
        assert!(idle.target_ns.is_none_or(|target_ns| target_ns < timer_ns), "{idle:?}");
    }
}

/// Goal: a look is followed by another step: once the loop is quiet, nothing is looked for twice.
///
/// Method: all quiet idle loops whose timers are not due and that no job held.
///
/// Kills: a loop that enters the kernel again and again and never moves its clock.
#[test]
fn a_quiet_loop_does_not_look_again() {
    for idle in all().into_iter().filter(|idle| idle.is_quiet && !idle.was_held) {
        let is_due = idle.paused_ns.is_some() && idle.timer_ns.is_some_and(|at| at <= NOW_NS);
        let is_look = idle.next_step() == IdleStep::Look;
        assert_eq!(is_look, is_due, "{idle:?}");
    }
}
