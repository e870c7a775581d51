//! The form of timeouts that works on a fresh ring.
//!
//! An absolute timeout names a moment of `CLOCK_MONOTONIC`. In a time namespace many kernels read
//! it by the clock of the initial namespace (H83): with an offset of a day every timeout is a day
//! late, with a negative offset every timeout fires at once and the loop spins. Containers that
//! were restored from a checkpoint run in such a namespace. A relative timeout names no clock and
//! works there.
//!
//! So two timeouts for the same moment are started, first an absolute one, then a relative one, and
//! both are watched without a sleep in the kernel. The absolute one is early if it completes before
//! its moment, and late if the relative one completes first. Both wait in one queue of the kernel's
//! timers, in order, so a busy machine usually delays both and does not change the result. If it
//! does three times in a row, the relative form is taken, which is as good: a little later when
//! many entries are submitted together.

use std::io;
use std::time::Duration;

use super::entry::{Enter, Entry, Ring, TimeoutForm, is_passing};
use super::internal;
use crate::sys::{clock, errno};

/// The timeouts that are measured are due after this time. A start takes that much longer.
const DELAY_NS: u64 = 300_000;

/// Between two looks at the queue.
const LOOK_PAUSE: Duration = Duration::from_micros(50);

/// How long one measurement may take.
const MEASUREMENT_MAX_NS: u64 = 50_000_000;

/// Measurements before the absolute form is given up.
const MEASUREMENTS_MAX: u32 = 3;

/// Looks for the final completions of timeouts that were cancelled.
const ENDING_LOOKS_MAX: u32 = 8;

/// Measures and sets the form of the ring's timeouts. `ETIMEDOUT` if none comes in time.
pub(super) fn choose_form<R: Ring>(ring: &mut R) -> io::Result<TimeoutForm> {
    choose_form_by(ring, &clock::monotonic_ns, &|| std::thread::sleep(LOOK_PAUSE))
}

fn choose_form_by<R: Ring>(
    ring: &mut R,
    now_ns: &dyn Fn() -> u64,
    pause: &dyn Fn(),
) -> io::Result<TimeoutForm> {
    let mut measurement = Measurement { ring, now_ns, pause, absolute: None, relative: None };
    let mut has_relative_come = false;
    for _ in 0..MEASUREMENTS_MAX {
        if measurement.is_absolute_in_time()? {
            return Ok(TimeoutForm::Absolute);
        }
        has_relative_come |= measurement.relative.is_some();
    }
    if !has_relative_come {
        return Err(io::Error::from_raw_os_error(errno::ETIMEDOUT));
    }
    ring.set_timeout_form(TimeoutForm::Relative);
    Ok(TimeoutForm::Relative)
}

struct Measurement<'a, R: Ring> {
    ring: &'a mut R,
    now_ns: &'a dyn Fn() -> u64,
    pause: &'a dyn Fn(),
    /// When each timeout was found to have ended.
    absolute: Option<u64>,
    relative: Option<u64>,
}

const ABSOLUTE: u32 = 0;
const RELATIVE: u32 = 1;

impl<R: Ring> Measurement<'_, R> {
    fn is_absolute_in_time(&mut self) -> io::Result<bool> {
        (self.absolute, self.relative) = (None, None);
        let began_ns = (self.now_ns)();
        let deadline_ns = began_ns + DELAY_NS;
        let outcome = self.measure(deadline_ns, began_ns + MEASUREMENT_MAX_NS);
        let is_in_time = self.absolute.is_some_and(|seen_ns| seen_ns >= deadline_ns);
        let has_relative_come = self.relative;
        let ended = self.end();
        self.relative = has_relative_come; // and not that of a cancelled one
        outcome.and(ended).map(|()| is_in_time)
    }

    /// Starts both timeouts, and looks until the result is clear.
    fn measure(&mut self, deadline_ns: u64, until_ns: u64) -> io::Result<()> {
        self.start(ABSOLUTE, TimeoutForm::Absolute, deadline_ns)?;
        self.start(RELATIVE, TimeoutForm::Relative, deadline_ns)?;
        self.ring.set_timeout_form(TimeoutForm::Absolute);
        loop {
            let is_last = (self.now_ns)() >= until_ns;
            self.look()?;
            if self.absolute.is_some() {
                let is_early = self.absolute < Some(deadline_ns);
                // An early absolute one does not show that relative ones work: wait for that one.
                if !is_early || self.relative.is_some() {
                    return Ok(());
                }
            } else if self.relative.is_some() {
                return self.look(); // both may have come, one behind the last look
            }
            if is_last {
                return Ok(());
            }
            (self.pause)();
        }
    }

    /// Submits a timeout by itself: the memory of its moment is the ring's, and there is one.
    fn start(&mut self, round: u32, form: TimeoutForm, deadline_ns: u64) -> io::Result<()> {
        self.ring.set_timeout_form(form);
        self.push(internal::user_data(internal::TIMING, round), Entry::Timeout { deadline_ns })?;
        for _ in 0..ENDING_LOOKS_MAX {
            self.enter(Enter::Submit)?;
            if self.ring.unsubmitted_count() == 0 {
                return Ok(());
            }
            (self.pause)();
        }
        Err(io::Error::from_raw_os_error(errno::EAGAIN))
    }

    /// Cancels the timeouts that are left and takes their final completions.
    fn end(&mut self) -> io::Result<()> {
        for (round, seen) in [(ABSOLUTE, self.absolute), (RELATIVE, self.relative)] {
            if seen.is_none() {
                let target = internal::user_data(internal::TIMING, round);
                let cancel = internal::user_data(internal::PROBE_CANCEL, round);
                self.push(cancel, Entry::Cancel { target })?;
            }
        }
        for _ in 0..ENDING_LOOKS_MAX {
            self.look()?;
            if self.absolute.is_some() && self.relative.is_some() {
                return Ok(());
            }
            (self.pause)();
        }
        Err(io::Error::from_raw_os_error(errno::ETIMEDOUT))
    }

    fn look(&mut self) -> io::Result<()> {
        self.enter(Enter::Collect)?;
        let mut reaped = Vec::new();
        self.ring.reap(&mut reaped, usize::MAX);
        let seen_ns = (self.now_ns)();
        for cqe in reaped {
            match (cqe.user_data as u8, internal::round(cqe.user_data)) {
                (internal::TIMING, ABSOLUTE) => self.absolute = Some(seen_ns),
                (internal::TIMING, RELATIVE) => self.relative = Some(seen_ns),
                (internal::PROBE_CANCEL, _) => {} // the target's own completion counts (H30)
                _ => unreachable!("{cqe:?} on a ring that has no driver"),
            }
        }
        Ok(())
    }

    fn push(&mut self, user_data: u64, entry: Entry) -> io::Result<()> {
        if self.ring.push(user_data, entry).is_err() {
            self.enter(Enter::Submit)?; // a queue of one entry is full with the first
            let pushed = self.ring.push(user_data, entry);
            return pushed.map_err(|_full| io::Error::from_raw_os_error(errno::EAGAIN));
        }
        Ok(())
    }

    fn enter(&mut self, enter: Enter) -> io::Result<()> {
        match self.ring.enter(enter) {
            Err(error) if !is_passing(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::RingSizes;
    use crate::driver::uring::scripted::Script;

    fn chosen(script: &Script, sq_entries: u32) -> io::Result<TimeoutForm> {
        let mut ring = script.ring(RingSizes { sq_entries, cq_entries: 8 });
        let now_ns = || script.now_ns();
        let chosen = choose_form_by(&mut ring, &now_ns, &|| script.advance_ns(50_000));
        script.advance_ns(1 << 62); // whatever is left fires
        ring.enter(Enter::Collect).unwrap();
        assert_eq!(ring.reapable_count(), 0, "a timeout is left");
        chosen
    }

    /// Goal: timeouts that come in time keep the absolute form; those that the kernel reads by
    /// another clock, late or early, by a little or by a day, give the relative form.
    ///
    /// Method: a scripted kernel that shifts absolute timeouts; also with a queue of one entry.
    ///
    /// Kills: a check for lateness alone, or for earliness alone; a verdict that waits for the late
    /// timeout; a timeout that is left for the driver.
    #[test]
    fn shifted_timeouts_give_the_relative_form() {
        const DAY_NS: i64 = 86_400_000_000_000;
        for sq_entries in [1, 8] {
            let script = Script::new();
            assert_eq!(chosen(&script, sq_entries).unwrap(), TimeoutForm::Absolute);
            assert!(script.now_ns() < (1 << 62) + 1_002_000_000, "more than 2 ms");
            for shift_ns in [DAY_NS, 5_000_000, 200_000, -200_000, -30_000_000_000, -DAY_NS] {
                let script = Script::new();
                script.shift_timeouts_ns(shift_ns);
                let form = chosen(&script, sq_entries).unwrap();
                assert_eq!(form, TimeoutForm::Relative, "{shift_ns} ns");
                let took_ns = script.now_ns() - (1 << 62) - 1_000_000_000;
                assert!(took_ns < 10_000_000, "{shift_ns} ns: {took_ns} ns");
            }
        }
    }

    /// Goal: a kernel whose timeouts never come is refused, in bounded time.
    ///
    /// Method: a scripted kernel without timeouts. Kills: a measurement that sleeps until one
    /// comes; the relative form without a look at it.
    #[test]
    fn timeouts_that_never_come_are_an_error() {
        let script = Script::new();
        script.lose_timeouts();
        let error = chosen(&script, 8).expect_err("no timeout came");
        assert_eq!(error.raw_os_error(), Some(errno::ETIMEDOUT));
        let took_ns = script.now_ns() - (1 << 62) - 1_000_000_000;
        assert!(took_ns < u64::from(MEASUREMENTS_MAX) * 2 * MEASUREMENT_MAX_NS, "{took_ns} ns");
    }
}
