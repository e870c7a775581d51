//! A rate limit for the lines about errors: a token bucket for each kind.
//!
//! Peers choose the rate of some kinds (a task that panics on a certain request, a peer that does
//! not read). Reports beyond the limit are counted, and the next line of that kind has the count.

/// The number of lines of one kind that are printed at once after a quiet time.
const BURST_MAX: u32 = 5;

/// The time after which one more line of a kind is printed.
const REFILL_NS: u64 = 1_000_000_000;

/// The reason for the loss of reports that were due.
const WHY: &str = ": standard error was not writable";

/// The buckets of `KINDS` kinds of reports. Times are of the loop's clock.
#[derive(Debug)]
pub(super) struct Limiter<const KINDS: usize> {
    buckets: [Bucket; KINDS],
    /// Reports of any kind that were due and could not be written, since the last written line.
    unwritten: u64,
    total_suppressed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u32,
    /// The time at which the last token was added.
    refilled_ns: u64,
    suppressed: u64,
    /// The time of the first suppressed report.
    suppressed_since_ns: u64,
}

/// The reports that were not printed before a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Omitted {
    /// Reports of the same kind beyond the limit.
    suppressed: u64,
    /// The time since the first of them.
    suppressed_for_ns: u64,
    /// Reports of any kind that were due while standard error was not writable.
    unwritten: u64,
}

impl<const KINDS: usize> Limiter<KINDS> {
    pub(super) fn new() -> Limiter<KINDS> {
        let bucket =
            Bucket { tokens: BURST_MAX, refilled_ns: 0, suppressed: 0, suppressed_since_ns: 0 };
        Limiter { buckets: [bucket; KINDS], unwritten: 0, total_suppressed: 0 }
    }

    /// Decides whether to print one report of `kind`. Returns the omitted reports for the line, and
    /// the caller then calls `printed` or `not_printed`; or returns `None` and counts the report.
    pub(super) fn admit(&mut self, kind: usize, now_ns: u64) -> Option<Omitted> {
        let bucket = &mut self.buckets[kind];
        bucket.refill(now_ns);
        if bucket.tokens > 0 {
            bucket.tokens -= 1;
            return Some(self.omitted(kind, now_ns));
        }
        if bucket.suppressed == 0 {
            bucket.suppressed_since_ns = now_ns;
        }
        bucket.suppressed += 1;
        self.total_suppressed += 1;
        None
    }

    /// Records that a line of `kind` was written, with the count of the omitted reports.
    pub(super) fn printed(&mut self, kind: usize) {
        self.buckets[kind].suppressed = 0;
        self.unwritten = 0;
    }

    /// Records that a report was due and could not be written.
    pub(super) fn not_printed(&mut self) {
        self.unwritten += 1;
        self.total_suppressed += 1;
    }

    /// The reports that were omitted and not counted in a line yet.
    pub(super) fn omitted(&self, kind: usize, now_ns: u64) -> Omitted {
        let bucket = &self.buckets[kind];
        let suppressed_for_ns = match bucket.suppressed {
            0 => 0,
            _ => now_ns.saturating_sub(bucket.suppressed_since_ns),
        };
        Omitted { suppressed: bucket.suppressed, suppressed_for_ns, unwritten: self.unwritten }
    }

    /// The number of reports that were not printed, since the start.
    pub(super) fn total_suppressed(&self) -> u64 {
        self.total_suppressed
    }
}

impl Bucket {
    fn refill(&mut self, now_ns: u64) {
        let added = now_ns.saturating_sub(self.refilled_ns) / REFILL_NS;
        let room = u64::from(BURST_MAX - self.tokens);
        if added >= room {
            (self.tokens, self.refilled_ns) = (BURST_MAX, now_ns);
        } else {
            self.tokens += added as u32; // less than BURST_MAX
            self.refilled_ns += added * REFILL_NS;
        }
    }
}

impl Omitted {
    /// The text after a report. Empty if no report was omitted before it.
    pub(super) fn suffix(self) -> String {
        let mut suffix = String::new();
        if self.suppressed > 0 {
            suffix = format!(", and {} of this kind {}", self.more(), self.period());
        }
        if self.unwritten > 0 {
            suffix += &format!(" ({} reports before this one were lost{WHY})", self.unwritten);
        }
        suffix
    }

    /// A line for the end of the runtime, if reports were omitted.
    pub(super) fn line(self, kind: &str) -> Option<String> {
        let Omitted { suppressed, unwritten, .. } = self;
        match (suppressed, unwritten) {
            (0, 0) => None,
            (0, _) => Some(format!("{unwritten} reports were lost{WHY}")),
            (_, 0) => Some(format!("{} of the kind {kind} {}", self.more(), self.period())),
            (_, _) => Some(format!(
                "{} of the kind {kind} {} ({unwritten} reports were lost{WHY})",
                self.more(),
                self.period()
            )),
        }
    }

    fn more(self) -> String {
        format!("{} more", self.suppressed)
    }

    fn period(self) -> String {
        format!("in the last {:.1} s", self.suppressed_for_ns as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    /// Admits a report of kind 0 and prints it, if it is due.
    fn report(limiter: &mut Limiter<2>, now_ns: u64) -> Option<String> {
        let omitted = limiter.admit(0, now_ns)?;
        limiter.printed(0);
        Some(omitted.suffix())
    }

    /// Goal: a flood prints a few lines, and the next line has the exact count and time.
    /// Method: 5 + 947 reports at one moment, then one 3.2 s later, then one of a quiet time.
    /// Kills: no limit; a count that is off by one or kept after it was printed; the time of the
    /// last suppressed report in place of the first.
    #[test]
    fn a_flood_is_a_few_lines_and_a_count() {
        let mut limiter = Limiter::new();
        for _ in 0..BURST_MAX {
            assert_eq!(report(&mut limiter, 7 * S).as_deref(), Some(""));
        }
        for _ in 0..947 {
            assert_eq!(report(&mut limiter, 7 * S), None);
        }
        let suffix = report(&mut limiter, 7 * S + 3_200_000_000).unwrap();
        assert_eq!(suffix, ", and 947 more of this kind in the last 3.2 s");
        assert_eq!(report(&mut limiter, 7 * S + 3_200_000_000).as_deref(), Some(""));
        assert_eq!(limiter.total_suppressed(), 947);
    }

    /// Goal: at a steady rate above the limit, one line is printed for each refill, whatever the
    /// rate is, and every report is either printed or counted.
    /// Method: 100 000 reports at 1 000 per second. Kills: a bucket that refills with each report;
    /// one that loses the remainder of a refill.
    #[test]
    fn a_steady_rate_is_one_line_for_each_refill() {
        let mut limiter = Limiter::new();
        let mut printed_count = 0;
        for number in 0..100_000u64 {
            printed_count += u64::from(report(&mut limiter, S + number * S / 1000).is_some());
        }
        assert_eq!(printed_count, u64::from(BURST_MAX) + 99);
        assert_eq!(limiter.total_suppressed() + printed_count, 100_000);
    }

    /// Goal: a quiet time earns no more than one burst.
    /// Method: an hour without reports, then ten at once. Kills: tokens without a maximum.
    #[test]
    fn a_quiet_time_earns_one_burst() {
        let mut limiter = Limiter::new();
        report(&mut limiter, S);
        let printed = (0..10).filter(|_| report(&mut limiter, 3600 * S).is_some());
        assert_eq!(printed.count(), BURST_MAX as usize);
    }

    /// Goal: a flood of one kind does not keep another kind from being printed.
    /// Method: exhaust kind 0, then one report of kind 1. Kills: one bucket for all.
    #[test]
    fn kinds_have_buckets_of_their_own() {
        let mut limiter = Limiter::new();
        while report(&mut limiter, S).is_some() {}
        let omitted = limiter.admit(1, S).unwrap();
        assert_eq!(omitted, Omitted::default());
    }

    /// Goal: what could not be written is mentioned with the next line of any kind, and what that
    /// kind still has to mention stays.
    /// Method: three reports of kind 0 fail, two are suppressed; then a line of kind 1, then the
    /// last line of kind 0. Kills: a failed write that resets a count; a count mentioned twice.
    #[test]
    fn lost_lines_are_mentioned_with_the_next_one() {
        let mut limiter = Limiter::<2>::new();
        for _ in 0..BURST_MAX {
            limiter.admit(0, S).unwrap();
            limiter.not_printed();
        }
        assert_eq!((limiter.admit(0, S), limiter.admit(0, 2 * S - 1)), (None, None));
        let omitted = limiter.admit(1, 2 * S - 1).unwrap();
        let suffix = " (5 reports before this one were lost: standard error was not writable)";
        assert_eq!(omitted.suffix(), suffix);
        limiter.printed(1);
        let line = limiter.omitted(0, 2 * S - 1).line("TaskPanic").unwrap();
        assert_eq!(line, "2 more of the kind TaskPanic in the last 1.0 s");
        limiter.printed(0);
        assert_eq!(limiter.omitted(0, 2 * S).line("TaskPanic"), None);
        assert_eq!(limiter.total_suppressed(), 7);
    }
}
