//! Reports of errors that no caller awaits: to the program's hook, or to standard error.
//!
//! Lines on standard error are limited in rate ([`limiter`](super::limiter)) and written only if
//! the write does not block the loop. Reports that are not printed are counted; a later line, or
//! the last one of the runtime, has the count.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::limiter::Limiter;
use super::slow_poll::{self, SlowPoll};
use crate::driver::Clock;
use crate::error::{Unhandled, discard, try_drop};
use crate::loop_id::LoopId;
use crate::sys::stderr;
use crate::task::Report;

/// The program's hook for errors that no caller awaits.
pub(super) type Hook = Box<dyn Fn(&Unhandled)>;

/// Writes a line as a whole and without blocking, or not at all. Returns whether it did.
type WriteLine = Box<dyn Fn(&str) -> bool>;

/// The kinds of lines, each with a rate limit of its own: those of `Unhandled`, and slow polls.
const KINDS: usize = SLOW_POLL + 1;
const SLOW_POLL: usize = Unhandled::KINDS.len();

/// Receives the reports of one loop.
pub(crate) struct Reports {
    id: LoopId,
    hook: Option<Hook>,
    slow_poll_hook: Option<slow_poll::Hook>,
    limiter: RefCell<Limiter<KINDS>>,
    clock: Clock,
    write_line: WriteLine,
}

impl Reports {
    pub(super) fn new(
        id: LoopId,
        hook: Option<Hook>,
        slow_poll_hook: Option<slow_poll::Hook>,
        clock: Clock,
    ) -> Rc<Reports> {
        let limiter = RefCell::new(Limiter::new());
        let write_line = Box::new(stderr::try_write_line);
        Rc::new(Reports { id, hook, slow_poll_hook, limiter, clock, write_line })
    }

    /// The number of reports that were neither passed to the hook nor printed.
    pub(super) fn suppressed_count(&self) -> u64 {
        self.limiter.borrow().total_suppressed()
    }

    /// Prints the counts of omitted reports that no line has had yet.
    pub(super) fn print_omitted(&self) {
        let now_ns = self.clock.now_ns();
        let mut limiter = self.limiter.borrow_mut();
        for (kind, name) in Unhandled::KINDS.iter().chain([&"SlowPoll"]).enumerate() {
            if let Some(text) = limiter.omitted(kind, now_ns).line(name) {
                if !self.write(&text, "") {
                    return;
                }
                limiter.printed(kind);
            }
        }
    }

    fn print(&self, unhandled: &Unhandled) {
        self.print_of_kind(unhandled.kind(), unhandled);
    }

    /// Prints one line, unless there were too many of its kind.
    fn print_of_kind(&self, kind: usize, report: &dyn fmt::Display) {
        let Some(omitted) = self.limiter.borrow_mut().admit(kind, self.clock.now_ns()) else {
            return;
        };
        let is_written = self.write(&report.to_string(), &omitted.suffix());
        let mut limiter = self.limiter.borrow_mut();
        if is_written {
            limiter.printed(kind);
        } else {
            limiter.not_printed();
        }
    }

    /// Writes one line. Cuts `text` if the line would be too long to be written as a whole.
    fn write(&self, text: &str, suffix: &str) -> bool {
        const PREFIX: &str = "ringloop: ";
        const CUT: &str = "…";
        let room = stderr::LINE_BYTES_MAX - PREFIX.len() - CUT.len() - suffix.len() - 1;
        let line = if text.len() <= room {
            format!("{PREFIX}{text}{suffix}")
        } else {
            let end = (0..=room).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            format!("{PREFIX}{}{CUT}{suffix}", &text[..end])
        };
        (self.write_line)(&line)
    }
}

impl Reports {
    /// Calls the hook for slow polls. Without one, or if it panics, the text goes to standard
    /// error.
    pub(super) fn report_slow_poll(&self, slow: &SlowPoll) {
        if self.id.is_of_parent() {
            return;
        }
        let call = |hook: &slow_poll::Hook| catch_unwind(AssertUnwindSafe(|| hook(slow)));
        match self.slow_poll_hook.as_ref().map(call) {
            Some(Ok(())) => {}
            Some(Err(payload)) => {
                self.print_of_kind(SLOW_POLL, slow);
                discard(payload);
            }
            None => self.print_of_kind(SLOW_POLL, slow),
        }
    }
}

impl Report for Reports {
    fn loop_id(&self) -> &LoopId {
        &self.id
    }

    /// Calls the hook. Without one, or if it panics, the text goes to standard error.
    fn report(&self, unhandled: &Unhandled) {
        if self.id.is_of_parent() {
            return; // in a forked child: the parent reports its own errors
        }
        let call = |hook: &Hook| catch_unwind(AssertUnwindSafe(|| hook(unhandled)));
        match self.hook.as_ref().map(call) {
            Some(Ok(())) => {}
            Some(Err(payload)) => {
                self.print(unhandled);
                discard(payload);
            }
            None => self.print(unhandled),
        }
    }
}

/// Join handles that outlive the runtime can still report.
impl Drop for Reports {
    fn drop(&mut self) {
        if self.id.is_of_parent() {
            return;
        }
        let dropped = [try_drop(self.hook.take()), try_drop(self.slow_poll_hook.take())];
        for payload in dropped.into_iter().filter_map(Result::err) {
            let unhandled = Unhandled::DropPanic { payload };
            self.print(&unhandled);
            discard(unhandled);
        }
        self.print_omitted();
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports").field("hook", &self.hook.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{PollKind, Polled};
    use std::cell::Cell;

    /// Reports, with the lines that they wrote, a clock, and whether writes succeed.
    struct Printer {
        reports: Rc<Reports>,
        lines: Rc<RefCell<Vec<String>>>,
        now_ns: Rc<Cell<u64>>,
        is_writable: Rc<Cell<bool>>,
    }

    fn printer() -> Printer {
        let lines = Rc::new(RefCell::new(Vec::new()));
        let (now_ns, is_writable) = (Rc::new(Cell::new(1)), Rc::new(Cell::new(true)));
        let (kept, open) = (Rc::clone(&lines), Rc::clone(&is_writable));
        let reports = Rc::new(Reports {
            id: LoopId::new(),
            hook: None,
            slow_poll_hook: None,
            limiter: RefCell::new(Limiter::new()),
            clock: Clock::Virtual(Rc::clone(&now_ns)),
            write_line: Box::new(move |line| {
                if open.get() {
                    kept.borrow_mut().push(line.to_owned());
                }
                open.get()
            }),
        });
        Printer { reports, lines, now_ns, is_writable }
    }

    fn shortage() -> Unhandled {
        Unhandled::AcceptCapacity { error: std::io::ErrorKind::OutOfMemory.into() }
    }

    /// Goal: what is not printed is counted, and printed with the next line or at the end, once.
    /// Method: 1 000 reports at one moment, one 3 s later, ten more, the end; then none is left.
    /// Kills: a printer without the limit; counts that the end forgets or repeats.
    #[test]
    fn omitted_reports_are_printed_as_counts() {
        let Printer { reports, lines, now_ns, .. } = printer();
        (0..1000).for_each(|_| reports.report(&shortage()));
        let first = "ringloop: a listener pauses accepting: out of memory";
        assert_eq!(lines.take(), [first; 5]);
        now_ns.set(3_000_000_001);
        (0..13).for_each(|_| reports.report(&shortage()));
        let counted = format!("{first}, and 995 more of this kind in the last 3.0 s");
        assert_eq!(lines.take(), [counted.as_str(), first, first]);
        now_ns.set(3_500_000_001);
        assert_eq!(reports.suppressed_count(), 1005);
        drop(reports);
        assert_eq!(
            lines.take(),
            ["ringloop: 10 more of the kind AcceptCapacity in the last 0.5 s"]
        );
    }

    /// Goal: lines that cannot be written are counted, and the next one that can mentions them.
    /// Method: three reports to an output that is full, one when it is not, of another kind.
    /// Kills: a failed write that counts as printed.
    #[test]
    fn lines_that_could_not_be_written_are_counted() {
        let Printer { reports, lines, is_writable, .. } = printer();
        is_writable.set(false);
        (0..3).for_each(|_| reports.report(&shortage()));
        reports.print_omitted();
        is_writable.set(true);
        reports.report(&Unhandled::WakePanic { payload: Box::new("why") });
        let line = "ringloop: a waker panicked: why \
                    (3 reports before this one were lost: standard error was not writable)";
        assert_eq!(lines.take(), [line]);
        drop(reports);
        assert_eq!(lines.take(), [""; 0]);
    }

    /// Goal: a slow poll is one line, with the same limits as other reports and a count of its own.
    ///
    /// Method: the text of each kind; seven at one moment, then a report of another kind; the end.
    ///
    /// Kills: a slow poll without a limit; one that shares the bucket of another kind.
    #[test]
    fn slow_polls_are_lines_within_limits() {
        let Printer { reports, lines, .. } = printer();
        let place = std::panic::Location::caller();
        let slow = |kind, name: Option<&str>| {
            let polled = Polled { kind, id: None, name: name.map(Into::into), place };
            SlowPoll::new(polled, std::time::Duration::from_micros(120_340))
        };
        for (slow, what) in [
            (slow(PollKind::Task, Some("parser")), "task \"parser\" spawned at"),
            (slow(PollKind::Task, None), "a task spawned at"),
            (slow(PollKind::Main, None), "the main future of `block_on` at"),
            (slow(PollKind::Call, None), "a callback from"),
            (slow(PollKind::Timer, None), "a timer's callback from"),
        ] {
            reports.report_slow_poll(&slow);
            let text = "blocked the loop for 120.3ms: move long computations to a thread";
            assert_eq!(lines.take(), [format!("ringloop: {what} {place} {text}")]);
        }
        (0..2).for_each(|_| reports.report_slow_poll(&slow(PollKind::Task, None)));
        reports.report(&shortage());
        assert_eq!(lines.take(), ["ringloop: a listener pauses accepting: out of memory"]);
        drop(reports);
        assert_eq!(lines.take(), ["ringloop: 2 more of the kind SlowPoll in the last 0.0 s"]);
    }

    /// Goal: each kind of report has a place in the limiter, and its own name.
    /// Method: print one of each kind, and compare its name with the table. Kills: a variant
    /// without an entry, which panics when it is printed; two variants that share one.
    #[test]
    fn every_kind_has_its_name() {
        let Printer { reports, lines, .. } = printer();
        let error = || std::io::ErrorKind::Other.into();
        let at = std::panic::Location::caller();
        let all = [
            (
                "TaskPanic",
                Unhandled::TaskPanic { name: None, spawned_at: at, payload: Box::new("") },
            ),
            ("CallPanic", Unhandled::CallPanic { scheduled_at: at, payload: Box::new("") }),
            ("WakePanic", Unhandled::WakePanic { payload: Box::new("") }),
            ("BackgroundClose", Unhandled::BackgroundClose { unsent_bytes: 1, error: error() }),
            ("AcceptCapacity", Unhandled::AcceptCapacity { error: error() }),
            ("DriverFailed", Unhandled::DriverFailed { error: error() }),
            ("UndrainedShutdown", Unhandled::UndrainedShutdown { in_flight_count: 1 }),
            (
                "BindWaited",
                Unhandled::BindWaited { addr: String::new(), waited: std::time::Duration::ZERO },
            ),
            ("DropPanic", Unhandled::DropPanic { payload: Box::new("") }),
            ("BlockingJobsLeft", Unhandled::BlockingJobsLeft { running_count: 1 }),
        ];
        for (name, unhandled) in &all {
            assert_eq!(Unhandled::KINDS[unhandled.kind()], *name);
            reports.report(unhandled);
        }
        assert_eq!((all.len(), lines.take().len()), (Unhandled::KINDS.len(), all.len()));
    }

    /// Goal: a line fits into what a pipe takes at once, whatever a panic's message is, and keeps
    /// its count.
    /// Method: messages of two-byte characters around the limit. Kills: a line that is too long;
    /// a cut within a character; a cut of the count.
    #[test]
    fn long_messages_are_cut() {
        let Printer { reports, lines, now_ns, .. } = printer();
        for len in [1000, 2030, 2031, 2032, 2040, 9000] {
            now_ns.set(now_ns.get() + 10_000_000_000);
            let payload = || Box::new("é".repeat(len));
            (0..6).for_each(|_| reports.report(&Unhandled::WakePanic { payload: payload() }));
        }
        for line in lines.take() {
            assert!(line.len() < stderr::LINE_BYTES_MAX, "{} bytes", line.len());
        }
        assert!(reports.suppressed_count() > 0);
    }
}
