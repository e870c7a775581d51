//! What the target did while it was tested, as far as this machine can see: the server's process in
//! the measured window, and what the kernel counted about TCP from the first connect to the last
//! reply.
//!
//! ```text
//! Sampler::of ▶ begin_window ─── measured ───▶ end_window ─── drain ───▶ finish ▶ ServerStats
//! (finds the processes,          (time, switches)   (and memory, descriptors)
//!  reads the counters)
//! ```
//!
//! **Absent on purpose.** Sampling in between: it would take time from the processors that are
//! measured, and both ends say what was used.

use std::fmt;

use crate::base::address::Address;
use crate::base::driver::DriverUsed;
use crate::base::exit::Error;
use crate::host::procfs::counters::TcpCounters;
use crate::host::procfs::process::{Process, Switches};
use crate::host::procfs::{self, sockets};
use crate::plan::sample_server::SampleServer;
use crate::run::own_server::OwnServer;

/// More processes than this are a herd of which a sample has to do.
const PROCESSES_MAX: usize = 64;

/// How many of them a note names.
const NAMES_MAX: usize = 8;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerStats {
    pub(crate) server: Option<ServerSample>,
    /// Of this network namespace. What is about listeners is there only if the target's is one of
    /// them.
    pub(crate) tcp: TcpCounters,
    pub(crate) notes: Vec<String>,
}

/// The server's processes, added up: what they used in the measured window, and what they held at its
/// end.
#[derive(Clone, Debug)]
pub(crate) struct ServerSample {
    pub(crate) pids: Vec<u32>,
    /// What it is called.
    pub(crate) kind: String,
    /// Of our own server.
    pub(crate) driver: Option<DriverUsed>,
    pub(crate) ran_ns: Option<u64>,
    pub(crate) switches: Option<Switches>,
    pub(crate) rss_bytes: Option<u64>,
    pub(crate) descriptors: Option<u64>,
}

/// Reads at the right moments.
#[derive(Debug)]
pub(crate) struct Sampler {
    subjects: Vec<Subject>,
    kind: String,
    driver: Option<DriverUsed>,
    /// The listener is a socket of our network namespace, so the kernel's counters include it.
    sees_listener: bool,
    tcp_before: TcpCounters,
    was_measured: bool,
    notes: Vec<String>,
}

/// A process that is sampled.
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
    /// Finds the processes and begins to count, before anything is sent to `addr`. The only error is
    /// an explicit id that is nobody's.
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
                    let line = format!("--sample-server {pid}: there is no such process");
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
                sampler.note_who_listens(address);
            }
            (SampleServer::Auto, None) => {} // it is elsewhere
        }
        sampler.tcp_before = TcpCounters::read();
        Ok(sampler)
    }

    fn sample(&mut self, pids: Vec<u32>) {
        // One that has ended since is none.
        let subject = |pid: u32| Some(Subject::new(pid, Process::read(pid)?.name));
        self.subjects = pids.into_iter().filter_map(subject).take(PROCESSES_MAX).collect();
        self.kind = self.subjects.first().map(|first| first.name.clone()).unwrap_or_default();
    }

    fn note_who_listens(&mut self, address: &Address) {
        if self.subjects.is_empty() {
            self.notes.push(format!(
                "who listens at {address} is not to be seen from here (another user's process, or \
                 another container's): no figures of the server; see --sample-server PID"
            ));
        }
        if self.subjects.len() > 1 {
            let names: Vec<String> = self.subjects.iter().map(Subject::to_string).collect();
            let others = names.len().saturating_sub(NAMES_MAX);
            let others = if others > 0 { format!(" and {others} more") } else { String::new() };
            self.notes.push(format!(
                "{} processes share the socket at {address}: {}{others}; the server's figures are \
                 their sums, in which memory that they share counts more than once",
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
        // First what grows, then what stands.
        for subject in &mut self.subjects {
            subject.after = Process::read(subject.pid);
        }
        for subject in &mut self.subjects {
            subject.rss_bytes = procfs::resident_bytes(subject.pid);
            subject.descriptors = procfs::descriptors(subject.pid);
        }
    }

    /// After the last reply, before the connections are closed.
    pub(crate) fn finish(self) -> ServerStats {
        let mut tcp = TcpCounters::read().since(self.tcp_before);
        if !self.sees_listener {
            (tcp.listen_overflows, tcp.listen_drops) = (None, None);
        }
        let mut notes = self.notes;
        // How our own server ended, whoever started it says.
        if self.was_measured && self.driver.is_none() {
            let ended = self.subjects.iter().filter(|subject| subject.used().is_none());
            notes.extend(ended.map(|subject| {
                format!(
                    "the server's process {subject} ended before the measured window did: what it \
                     used is in no figure"
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

/// Of those that have the figure; `None` if nobody has.
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

    /// Goal: the choice is read as it is printed, and what is none is refused.
    ///
    /// Method: each kind, there and back; four mistakes.
    ///
    /// Kills: process 0, which is nobody's; a name that passes for none.
    #[test]
    fn the_choice() {
        for text in ["auto", "none", "4242"] {
            assert_eq!(text.parse::<SampleServer>().unwrap().to_string(), text);
        }
        for bad in ["0", "-1", "nginx", ""] {
            assert!(bad.parse::<SampleServer>().is_err(), "{bad:?}");
        }
    }

    /// Goal: of a target elsewhere there is no server, and nothing about listeners that are not its.
    ///
    /// Method: an address that is nobody's; a listener of this process.
    ///
    /// Kills: this machine's accept queues as the target's; a note for every remote target.
    #[test]
    fn a_target_elsewhere() {
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

    /// Goal: counters are what was added during the run.
    ///
    /// Method: two refused connects, each of which the kernel answers with a reset, between the two
    /// readings; and a reading of our own around these. Others of this namespace may add to all.
    ///
    /// Kills: the counters as they stand; the difference to something else than the beginning.
    #[test]
    fn counters_are_differences() {
        let nobody = TcpListener::bind("127.0.0.4:0").unwrap().local_addr().unwrap();
        let refused = || assert!(TcpStream::connect(nobody).is_err());
        refused();
        let before = TcpCounters::read();
        let sampler = auto(nobody);
        refused();
        refused();
        let added = sampler.finish().tcp.resets_sent.unwrap();
        let around = TcpCounters::read().since(before).resets_sent.unwrap();
        assert!((2..=around).contains(&added), "{added} of {around}");
    }

    /// Goal: without a look at the measured window there are no figures of it, and a process that has
    /// ended is told only if it was to be looked at.
    ///
    /// Method: a child that ends before the window begins, within it, and when there is none.
    ///
    /// Kills: a panic about a process that is gone; a figure of a process that is another by now.
    #[test]
    fn a_server_that_ends() {
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
