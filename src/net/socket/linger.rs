//! The linger of a closing socket: a state machine without a reactor.
//!
//! A socket that is closed with bytes to send lingers. The loop counts it and waits for it, and a
//! timer bounds how long the peer may take nothing. The timer is lazy: when it expires and the peer
//! has taken something since it was set, it is set again.
//!
//! ```text
//!           begin               expired: nothing was taken
//!  Absent ─────────▶ Lingering ─────────────────────────────▶ Expired
//!                     │  ▲  │                                    │
//!      expired: bytes │  │  │ sent, closed                       │ sent, closed
//!      were taken     └──┘  ▼                                    ▼
//!                          Over ◀──────────────────────────────────
//! ```
//!
//! **Invariant.** The timer is pending and the socket is counted in `Lingering` and in no other
//! state (`tests::a_linger_is_counted_once_and_leaves_no_timer`). The timer holds the socket.
//!
//! **Absent on purpose.** The reactor. [`Socket`](super::stream::Socket) performs what is returned.

use crate::reactor::TimerKey;

#[derive(Default)]
pub(super) enum Linger {
    /// There was nothing to send.
    #[default]
    Absent,
    Lingering {
        timer: TimerKey,
        /// What the peer had not taken when the timer was set.
        untaken_bytes: usize,
    },
    /// The connection is being reset, and the last send has not ended.
    Expired,
    /// The result of the sending has been returned or reported.
    Over,
}

/// What the end of the timer leaves to do.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LingerExpiry {
    /// The peer takes bytes. Set the timer again and call `begin`.
    GoOn,
    /// Reset the connection, and count the socket no longer.
    Reset,
}

/// What the end of a linger leaves to do.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LingerEnd {
    /// It had ended before, or there was none.
    Nothing,
    /// Remove the timer, count the socket no longer, and return or report the error of the sending.
    Sent(TimerKey),
    /// The error is that it has expired.
    Expired,
}

impl Linger {
    /// The timer has been set, for the first time or again. The peer has not taken so many bytes.
    pub(super) fn begin(&mut self, timer: TimerKey, untaken_bytes: usize) {
        assert!(matches!(self, Linger::Absent | Linger::Lingering { .. }), "it has ended");
        *self = Linger::Lingering { timer, untaken_bytes };
    }

    /// The timer has expired. Without `may_go_on` the loop does not wait any longer.
    pub(super) fn expired(&mut self, untaken_now_bytes: usize, may_go_on: bool) -> LingerExpiry {
        let Linger::Lingering { untaken_bytes, .. } = self else {
            unreachable!("a timer is pending while it lingers")
        };
        if untaken_now_bytes < *untaken_bytes && may_go_on {
            return LingerExpiry::GoOn;
        }
        *self = Linger::Expired;
        LingerExpiry::Reset
    }

    /// The last send has ended, well or badly, or nothing names the descriptor any more.
    pub(super) fn end(&mut self) -> LingerEnd {
        match std::mem::replace(self, Linger::Over) {
            Linger::Absent | Linger::Over => LingerEnd::Nothing,
            Linger::Lingering { timer, .. } => LingerEnd::Sent(timer),
            Linger::Expired => LingerEnd::Expired,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enumeration::visit_all;

    #[derive(Clone, Copy, Debug)]
    enum Input {
        Begin,
        /// The peer takes a byte.
        Take,
        TimerFires {
            may_go_on: bool,
        },
        /// The last send ends, or the descriptor is closed.
        End,
    }

    #[derive(Default)]
    struct World {
        linger: Linger,
        timers_set: u64,
        timer: Option<TimerKey>,
        counted: i32,
        untaken_bytes: usize,
        has_taken: bool,
        has_expired: bool,
        ends: u32,
    }

    impl World {
        fn begin(&mut self) {
            self.timers_set += 1;
            let timer = TimerKey::for_tests(self.timers_set);
            assert!(self.timer.replace(timer).is_none(), "two timers");
            self.linger.begin(timer, self.untaken_bytes);
            self.has_taken = false;
        }

        fn apply(&mut self, input: Input) -> bool {
            match input {
                Input::Begin if self.timers_set == 0 => {
                    (self.counted, self.untaken_bytes) = (1, 3);
                    self.begin();
                }
                Input::Take if self.untaken_bytes > 0 && self.ends == 0 => {
                    (self.untaken_bytes, self.has_taken) = (self.untaken_bytes - 1, true);
                }
                Input::TimerFires { may_go_on } if self.timer.take().is_some() => {
                    let goes_on = self.has_taken && may_go_on;
                    match self.linger.expired(self.untaken_bytes, may_go_on) {
                        LingerExpiry::GoOn => {
                            assert!(goes_on, "a peer that takes nothing keeps the socket");
                            self.begin();
                        }
                        LingerExpiry::Reset => {
                            assert!(!goes_on, "a slow peer is reset");
                            (self.counted, self.has_expired) = (self.counted - 1, true);
                        }
                    }
                }
                Input::End if self.timers_set > 0 => {
                    self.ends += 1;
                    match self.linger.end() {
                        LingerEnd::Nothing => assert!(self.ends > 1, "the end is not reported"),
                        LingerEnd::Expired => assert!(self.has_expired && self.ends == 1),
                        LingerEnd::Sent(timer) => {
                            assert!(!self.has_expired, "a loss is reported as sent");
                            assert_eq!(self.timer.take(), Some(timer), "another timer");
                            self.counted -= 1;
                        }
                    }
                    assert_eq!((self.timer, self.counted), (None, 0), "the loop waits for it");
                }
                _impossible => return false,
            }
            let is_lingering = matches!(self.linger, Linger::Lingering { .. });
            assert_eq!((self.timer.is_some(), self.counted == 1), (is_lingering, is_lingering));
            true
        }
    }

    /// Goal: a lingering socket is counted once and has one timer, both until the last send ends or
    /// the peer has taken nothing for as long as the timer; then it is neither. Its end is reported
    /// once, as a loss if it has expired.
    ///
    /// Method: all inputs in all states, breadth first, with three bytes to take.
    ///
    /// Kills: a timer that is not removed by the end; an expiry that goes on without progress, or
    /// on a loop that ends; one that resets in spite of progress; an end that is reported twice.
    #[test]
    fn a_linger_is_counted_once_and_leaves_no_timer() {
        let inputs = [
            Input::Begin,
            Input::Take,
            Input::TimerFires { may_go_on: true },
            Input::TimerFires { may_go_on: false },
            Input::End,
        ];
        let visited = visit_all(&inputs, |path| {
            let mut world = World::default();
            let is_possible = path.iter().all(|&input| world.apply(input));
            let state = matches!(world.linger, Linger::Over);
            is_possible.then_some((
                (state, world.timer.is_some(), world.counted, world.ends.min(2)),
                (world.untaken_bytes, world.has_taken, world.has_expired, world.timers_set > 0),
            ))
        });
        assert!(visited.states > 20, "{visited:?}");
    }
}
