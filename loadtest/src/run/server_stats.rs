//! Resources of the target during the run, if it is on this machine: the server's process in the
//! measured window, and the kernel's TCP counters from the first connect to the last reply.
//!
//! ```text
//! Sampler::of ▶ begin_window ─── measured ───▶ end_window ─── drain ───▶ finish ▶ ServerStats
//! (finds the processes,          (time, switches)   (and memory, descriptors)
//!  reads the counters)
//! ```
//!
//! **Absent on purpose.** Sampling in between: it would take time from the measured processors, and
//! the difference of both ends is sufficient.

use std::fmt;

use crate::base::address::Address;
use crate::base::driver::DriverUsed;
use crate::base::exit::Error;
use crate::host::procfs::counters::TcpCounters;
use crate::host::procfs::process::{Process, Switches};
use crate::host::procfs::{self, sockets};
use crate::plan::sample_server::SampleServer;
use crate::run::own_server::OwnServer;

/// Limit of sampled processes; further ones are ignored.
const PROCESSES_MAX: usize = 64;

/// Limit of processes that a note names.
const NAMES_MAX: usize = 8;

/// Result of the sampling.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerStats {
    pub(crate) server: Option<ServerSample>,
    /// Counters of this network namespace. Those of listeners are present only if the target
    /// listens in it.
    pub(crate) tcp: TcpCounters,
    pub(crate) notes: Vec<String>,
}

/// Sums over the server's processes: processor time in the measured window, and memory and
/// descriptors at its end.
#[derive(Clone, Debug)]
pub(crate) struct ServerSample {
    pub(crate) pids: Vec<u32>,
    /// Name of the server.
    pub(crate) kind: String,
    /// Driver of the built-in server.
    pub(crate) driver: Option<DriverUsed>,
    pub(crate) ran_ns: Option<u64>,
    pub(crate) switches: Option<Switches>,
    pub(crate) rss_bytes: Option<u64>,
    pub(crate) descriptors: Option<u64>,
}

/// Sampler of the server's processes and of the TCP counters.
#[derive(Debug)]
pub(crate) struct Sampler {
    subjects: Vec<Subject>,
    kind: String,
    driver: Option<DriverUsed>,
    /// Whether the listener is in this network namespace, so that the kernel's counters include it.
    sees_listener: bool,
    tcp_before: TcpCounters,
    was_measured: bool,
    notes: Vec<String>,
}

/// A sampled process.
#[derive(Debug)]
struct Subject {
    pid: u32,
    name: String,
    before: Option<Process>,
    after: Option<Process>,
    rss_bytes: Option<u64>,
    descriptors: Option<u64>,
}

impl Sampler {
    /// Finds the processes and reads the counters, before the first connect to `address`.
    ///
    /// # Errors
    ///
    /// An explicit process id that does not exist.
    pub(crate) fn of(
        choice: SampleServer,
        own: Option<&OwnServer>,
        address: &Address,
    ) -> Result<Sampler, Error> {
        let sockets = match address {
            Address::Tcp(addr) => sockets::listening_at(*addr),
            Address::Unix(path) => sockets::listening_at_path(path),
        };
        let mut sampler = Sampler {
            subjects: Vec::new(),
            kind: String::new(),
            driver: None,
            sees_listener: !sockets.is_empty() && !address.is_unix(),
            tcp_before: TcpCounters::default(),
            was_measured: false,
            notes: Vec::new(),
        };
        match (choice, own) {
            (SampleServer::None, _) => {}
            (SampleServer::Pid(pid), _) => {
                sampler.sample(vec![pid]);
                if sampler.subjects.is_empty() {
                    let line = format!("--sample-server {pid}: no process has this id");
                    return Err(Error::could_not_run(line));
                }
            }
            (SampleServer::Auto, Some(own)) => {
                sampler.sample(vec![own.pid()]);
                sampler.kind = "echo".to_owned();
                sampler.driver = Some(own.driver().clone());
            }
            (SampleServer::Auto, None) if !sockets.is_empty() => {
                sampler.sample(sockets::holders_of(&sockets));
                sampler.add_notes_about_listeners(address);
            }
            (SampleServer::Auto, None) => {} // the target is on another machine
        }
        sampler.tcp_before = TcpCounters::read();
        Ok(sampler)
    }

    fn sample(&mut self, pids: Vec<u32>) {
        // A process may have ended since it was listed.
        let subject = |pid: u32| Some(Subject::new(pid, Process::read(pid)?.name));
        self.subjects = pids.into_iter().filter_map(subject).take(PROCESSES_MAX).collect();
        self.kind = self.subjects.first().map(|first| first.name.clone()).unwrap_or_default();
    }

    fn add_notes_about_listeners(&mut self, address: &Address) {
        if self.subjects.is_empty() {
            self.notes.push(format!(
                "the process that listens at {address} is not visible (it belongs to another user \
                 or container): there are no figures of the server; see --sample-server PID"
            ));
        }
        if self.subjects.len() > 1 {
            let names: Vec<String> = self.subjects.iter().map(Subject::to_string).collect();
            let others = names.len().saturating_sub(NAMES_MAX);
            let others = if others > 0 { format!(" and {others} more") } else { String::new() };
            self.notes.push(format!(
                "{} processes share the socket at {address}: {}{others}; the server's figures are \
                 their sums, which count shared memory more than once",
                names.len(),
                names[..names.len().min(NAMES_MAX)].join(", ")
            ));
        }
    }

    pub(crate) fn begin_window(&mut self) {
        self.was_measured = true;
        for subject in &mut self.subjects {
            subject.before = Process::read(subject.pid);
        }
    }

    pub(crate) fn end_window(&mut self) {
        // First the counters that grow with time, then the states.
        for subject in &mut self.subjects {
            subject.after = Process::read(subject.pid);
        }
        for subject in &mut self.subjects {
            subject.rss_bytes = procfs::resident_bytes(subject.pid);
            subject.descriptors = procfs::descriptors(subject.pid);
        }
    }

    /// Reads the final counters: after the last reply, before the connections are closed.
    pub(crate) fn finish(self) -> ServerStats {
        let mut tcp = TcpCounters::read().since(self.tcp_before);
        if !self.sees_listener {
            (tcp.listen_overflows, tcp.listen_drops) = (None, None);
        }
        let mut notes = self.notes;
        // The coordinator reports the end of the built-in server.
        if self.was_measured && self.driver.is_none() {
            let ended = self.subjects.iter().filter(|subject| subject.used().is_none());
            notes.extend(ended.map(|subject| {
                format!(
                    "the server's process {subject} ended before the end of the measured window: \
                     its usage is not included in the figures"
                )
            }));
        }
        let server = (!self.subjects.is_empty()).then(|| ServerSample {
            pids: self.subjects.iter().map(|subject| subject.pid).collect(),
            kind: self.kind,
            driver: self.driver,
            ran_ns: sum(&self.subjects, |subject| Some(subject.used()?.ran_ns)),
            switches: self
                .subjects
                .iter()
                .filter_map(|subject| subject.used()?.switches)
                .reduce(Switches::plus),
            rss_bytes: sum(&self.subjects, |subject| subject.rss_bytes),
            descriptors: sum(&self.subjects, |subject| subject.descriptors),
        });
        ServerStats { server, tcp, notes }
    }
}

/// Sum over the processes that have the figure; `None` if there are none.
fn sum(subjects: &[Subject], figure: fn(&Subject) -> Option<u64>) -> Option<u64> {
    subjects.iter().filter_map(figure).reduce(|sum, one| sum + one)
}

impl Subject {
    fn new(pid: u32, name: String) -> Subject {
        Subject { pid, name, before: None, after: None, rss_bytes: None, descriptors: None }
    }

    fn used(&self) -> Option<procfs::process::Used> {
        self.after.as_ref()?.since(self.before.as_ref()?)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::process::{Child, Command};

    use super::*;

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn auto(addr: std::net::SocketAddr) -> Sampler {
        Sampler::of(SampleServer::Auto, None, &Address::Tcp(addr)).unwrap()
    }

    /// Goal: a printed choice can be parsed again, and other texts are refused.
    ///
    /// Method: print and parse each kind; four mistakes.
    ///
    /// Kills: process 0, which does not exist; a name treated as `none`.
    #[test]
    fn the_choice_survives_a_round_trip() {
        for text in ["auto", "none", "4242"] {
            assert_eq!(text.parse::<SampleServer>().unwrap().to_string(), text);
        }
        for bad in ["0", "-1", "nginx", ""] {
            assert!(bad.parse::<SampleServer>().is_err(), "{bad:?}");
        }
    }

    /// Goal: a remote target has no server figures and no counters of listeners.
    ///
    /// Method: a foreign address; a listener of this process.
    ///
    /// Kills: this machine's accept queues attributed to the target; a note for every remote
    /// target.
    #[test]
    fn a_remote_target_has_no_server_figures() {
        let server_stats = auto("192.0.2.1:80".parse().unwrap()).finish();
        assert!(server_stats.server.is_none() && server_stats.notes.is_empty(), "{server_stats:?}");
        assert_eq!(
            (server_stats.tcp.listen_overflows, server_stats.tcp.listen_drops),
            (None, None)
        );
        assert!(server_stats.tcp.retransmits.is_some());

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sampler = auto(listener.local_addr().unwrap());
        sampler.begin_window();
        sampler.end_window();
        let server_stats = sampler.finish();
        let server = server_stats.server.unwrap();
        assert!(server.pids.contains(&std::process::id()), "{server:?}");
        assert!(server.ran_ns.zip(server.switches).zip(server.rss_bytes).is_some(), "{server:?}");
        assert!(server_stats.tcp.listen_overflows.zip(server_stats.tcp.listen_drops).is_some());
    }

    /// Goal: the counters are differences over the run.
    ///
    /// Method: two refused connects between the two readings; the kernel sends a reset for each.
    /// The test compares with its own readings around these, because other processes of the
    /// namespace may add to the counters.
    ///
    /// Kills: absolute counters; a difference to another moment than the start.
    #[test]
    fn counters_are_differences() {
        let closed = TcpListener::bind("127.0.0.4:0").unwrap().local_addr().unwrap();
        let refused = || assert!(TcpStream::connect(closed).is_err());
        refused();
        let before = TcpCounters::read();
        let sampler = auto(closed);
        refused();
        refused();
        let added = sampler.finish().tcp.resets_sent.unwrap();
        let around = TcpCounters::read().since(before).resets_sent.unwrap();
        assert!((2..=around).contains(&added), "{added} of {around}");
    }

    /// Goal: a process that ends has no figures, and a note only if there was a measured window.
    ///
    /// Method: a child that ends before the window, in it, and without any window.
    ///
    /// Kills: a panic at a missing process; a figure of another process with the same id.
    #[test]
    fn a_server_that_ends_has_a_note() {
        for (ends_at, has_note) in [(0, true), (1, true), (2, false)] {
            let child = Command::new("sleep").arg("1000").spawn().unwrap();
            let choice = SampleServer::Pid(child.id());
            let mut child = Some(child);
            let mut sampler = Sampler::of(choice, None, &"192.0.2.1:80".parse().unwrap()).unwrap();
            let mut end_at = |moment| {
                if moment == ends_at {
                    child.take().into_iter().for_each(end);
                }
            };
            end_at(0);
            if ends_at < 2 {
                sampler.begin_window();
                end_at(1);
                sampler.end_window();
            }
            end_at(2);
            let server_stats = sampler.finish();
            let server = server_stats.server.unwrap();
            assert_eq!((server.kind.as_str(), server.ran_ns), ("sleep", None));
            let found =
                server_stats.notes.iter().filter(|note| note.contains("sleep ended before"));
            assert_eq!(found.count(), usize::from(has_note), "{:?}", server_stats.notes);
        }
    }
}
