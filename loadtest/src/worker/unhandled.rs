//! Errors of the loop that no operation returns: which are bugs, and which are notes of the report.

use std::sync::{Arc, Mutex};

use ringloop::Unhandled;

/// The number of different texts that are kept of each kind.
const TEXTS_MAX: usize = 3;

/// The reports of a worker's loop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    /// Panics of tasks, callbacks and wakers, which are bugs of this program.
    pub(crate) panics: UnhandledKind,
    /// Connections that were closed before the kernel had taken all bytes to be sent.
    pub(crate) cut_closes: UnhandledKind,
    pub(crate) cut_bytes: u64,
    pub(crate) others: UnhandledKind,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct UnhandledKind {
    pub(crate) count: u64,
    /// The first different texts.
    pub(crate) texts: Vec<String>,
}

impl UnhandledKind {
    fn add(&mut self, count: u64, texts: impl IntoIterator<Item = String>) {
        self.count += count;
        for text in texts {
            if self.texts.len() < TEXTS_MAX && !self.texts.contains(&text) {
                self.texts.push(text);
            }
        }
    }

    fn merge(&mut self, other: &UnhandledKind) {
        self.add(other.count, other.texts.iter().cloned());
    }

    fn describe(&self) -> String {
        self.texts.join("; ")
    }
}

impl Reports {
    /// A hook for the loop that adds what it reports to `into`.
    pub(super) fn collect(into: &Arc<Mutex<Reports>>) -> impl Fn(&Unhandled) + Send + use<> {
        let reports = Arc::clone(into);
        move |unhandled: &Unhandled| {
            if let Ok(mut reports) = reports.lock() {
                reports.add(unhandled);
            }
        }
    }

    fn add(&mut self, unhandled: &Unhandled) {
        let text = [unhandled.to_string()];
        match unhandled {
            Unhandled::TaskPanic { .. }
            | Unhandled::CallPanic { .. }
            | Unhandled::WakePanic { .. }
            | Unhandled::DropPanic { .. } => self.panics.add(1, text),
            Unhandled::BackgroundClose { unsent_bytes, .. } => {
                // Texts would differ by their number of bytes. The sum is kept instead.
                self.cut_closes.add(1, []);
                self.cut_bytes += *unsent_bytes as u64;
            }
            _ => self.others.add(1, text),
        }
    }

    pub(crate) fn merge(&mut self, other: &Reports) {
        let Reports { panics, cut_closes, cut_bytes, others } = other;
        self.panics.merge(panics);
        self.cut_closes.merge(cut_closes);
        self.cut_bytes += cut_bytes;
        self.others.merge(others);
    }

    /// One line about the bugs, if there are any.
    pub(crate) fn error(&self) -> Option<String> {
        let count = self.panics.count;
        let tasks = if count == 1 { "task" } else { "tasks" };
        (count > 0).then(|| format!("{count} {tasks} panicked: {}", self.panics.describe()))
    }

    /// Lines about everything that is no bug.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.cut_closes.count > 0 {
            notes.push(format!(
                "{} connections were closed before the target had taken what was sent: {} bytes \
                 were cut",
                self.cut_closes.count, self.cut_bytes
            ));
        }
        if self.others.count > 0 {
            let others = &self.others;
            notes.push(format!("the loop reports {} times: {}", others.count, others.describe()));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Goal: a panic is a bug and shows its text. A connection that was cut, or a listener without
    /// descriptors, is none.
    ///
    /// Method: a task that really panics in a loop with this hook; each other kind; two workers
    /// together; more different texts than are kept.
    ///
    /// Kills: every report counted as a panic; a panic without its text; texts without a bound.
    #[test]
    fn panics_are_bugs_and_other_reports_are_notes() {
        let shared = Arc::new(Mutex::new(Reports::default()));
        let runtime =
            ringloop::Builder::new().on_unhandled(Reports::collect(&shared)).build().unwrap();
        runtime.block_on(async {
            drop(ringloop::spawn(async { panic!("of a test") }));
            ringloop::task::yield_now().await;
        });
        drop(runtime);
        let mut reports = shared.lock().unwrap().clone();
        let error = reports.error().unwrap();
        assert!(error.starts_with("1 task panicked: ") && error.contains("of a test"), "{error}");
        assert_eq!(reports.notes(), [""; 0]);

        let mut other = Reports::default();
        assert_eq!(other.error(), None);
        for unsent_bytes in [100, 23] {
            let error = io::ErrorKind::TimedOut.into();
            other.add(&Unhandled::BackgroundClose { unsent_bytes, error });
        }
        other.add(&Unhandled::AcceptCapacity { error: io::Error::other("x") });
        assert_eq!(other.error(), None);
        let notes = other.notes();
        assert!(
            notes[0].starts_with("2 connections") && notes[0].contains(" 123 bytes"),
            "{notes:?}"
        );
        assert!(notes[1].contains("1 times") && notes[1].ends_with('x'), "{notes:?}");

        reports.merge(&other);
        assert_eq!((reports.notes(), reports.panics.count), (notes, 1));
        for number in 0..10 {
            reports.panics.add(1, [number.to_string()]);
        }
        assert_eq!((reports.panics.count, reports.panics.texts.len()), (11, TEXTS_MAX));
    }
}
