//! Coordinator of a run, on the main thread: starts the workers, runs the phases, collects the
//! results.
//!
//! ```text
//!           all connects ended         T            T            no reply due, or T
//! ramp ────────────────────▶ warm-up ───▶ measured ───▶ drain ─────────────▶ finish
//!   │                            │            │                                 ▲
//!   └── signal, unreachable ─────┴── signal, ─┴── every connection lost ── drain┘
//! ```
//!
//! The workers know both ends of the window and count by them, so the timing of this thread does
//! not affect the counts.

pub(crate) mod tally;
pub(crate) mod usage;
pub(crate) mod view;

use std::mem;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant, SystemTime};

use crate::base::address::Address;
use crate::base::exit::{Error, Exit};
use crate::base::figures::grouped;
use crate::host::preflight::{self, Admission, Limits};
use crate::host::signals;
use crate::measure::published::{Published, Snapshot};
use crate::measure::stats;
use crate::measure::window::Window;
use crate::plan::load::LoadPlan;
use crate::plan::schedule::{ConnectPace, share, share_of};
use crate::plan::sources::{self, SourceRange};
use crate::plan::target_url::Url;
use crate::report::model::Report;
use crate::report::model::early_end::GaveUp;
use crate::run::abort::{SoFar, Watch};
use crate::run::config::{ConnectionsConfig, ReportContent, RunConfig};
use crate::run::coordinator::tally::WorkerTally;
use crate::run::coordinator::usage::Usage;
use crate::run::coordinator::view::View;
use crate::run::own_server::OwnServer;
use crate::run::progress::{Progress, ProgressStyle};
use crate::run::server_stats::Sampler;
use crate::run::service::Service;
use crate::run::summary;
use crate::run::summary::measurements::{Measurements, PhaseLengths};
use crate::run::timeline::{IntervalTotals, Timeline, WorkerSchedule};
use crate::worker::control::{Control, Ending, Event, Links, WorkerCommand};
use crate::worker::plan::WorkerPlan;
use crate::worker::result::WorkerResult;
use crate::worker::thread;

/// Limit of the wait for the workers' results, which they only have to sum up.
const RESULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Executes the plan and returns its report, with `content`. `watch` can end the run early.
pub(crate) fn run(
    config: &RunConfig,
    content: &ReportContent,
    watch: &Watch,
    progress: ProgressStyle,
) -> Result<Report, Error> {
    let started_at = SystemTime::now();
    let mut limits = Limits::read()?;
    let RunConfig { target, workers, connections, .. } = config;
    let resolve = |url: &Url| url.resolve(connections.connect_timeout);
    let given = target.url.as_ref().map(resolve).transpose()?;
    let sources = sources(connections, given.as_ref(), &limits)?;
    let addresses: Arc<[IpAddr]> = sources.iter().flat_map(SourceRange::addresses).collect();
    limits.sources = (addresses.len() as u64).max(1);
    if given.as_ref().is_some_and(Address::is_unix) {
        limits.ports = None;
    }
    let admission = admit(connections, workers.threads, &limits)?;

    // A worker sends a few events, then one per interval; the signal thread sends two.
    let (events, inbox) = mpsc::sync_channel(workers.threads as usize * 8 + 8);
    let signal_events = events.clone();
    signals::watch(move |signal| _ = signal_events.send(Event::Signal(signal)))?;

    let mut own_server = match target.url {
        None => Some(OwnServer::start(admission.connections + connections.idle, workers.driver)?),
        Some(_) => None,
    };
    let address = match (&own_server, given) {
        (Some(server), _) => server.addr().clone(),
        (None, Some(address)) => address,
        (None, None) => unreachable!("without a URL the built-in server runs"),
    };
    let url = target.url.as_ref().map_or_else(|| format!("tcp://{address}"), ToString::to_string);

    let mut sampler = Sampler::of(target.sample_server, own_server.as_ref(), &address)?;
    let mut coordinator = Coordinator::new(config, &admission, inbox, progress);
    coordinator.start_workers(config, &admission, (&address, addresses), events)?;
    let lengths = coordinator.walk(config, watch, &mut sampler)?;
    let server_stats = sampler.finish();
    let results = coordinator.finish()?;

    let mut notes = server_stats.notes;
    if let Some(status) = own_server.as_mut().and_then(OwnServer::ended) {
        notes.push(format!("the built-in server ended before the test ({status})"));
    }
    let measured = Measurements {
        started_at,
        url,
        address,
        admission,
        sources: sources.iter().map(ToString::to_string).collect(),
        ready: mem::take(&mut coordinator.tally.ready),
        lengths,
        results,
        timeline: coordinator.tally.timeline.take(),
        gave_up: coordinator.tally.gave_up.take(),
        rss_bytes: coordinator.usage.own_rss_bytes,
        worker_times: coordinator.usage.worker_times(),
        server: server_stats.server,
        tcp: server_stats.tcp,
        signal: coordinator.tally.signal,
        aborted: coordinator.tally.aborted.take(),
        notes,
    };
    Ok(summary::build(config, content, measured))
}

/// The source addresses: those of `--source`, or enough of the loopback network.
fn sources(
    connections: &ConnectionsConfig,
    given: Option<&Address>,
    limits: &Limits,
) -> Result<Vec<SourceRange>, Error> {
    let target = match given.map(Address::ip) {
        None => Ipv4Addr::LOCALHOST.into(), // the built-in server
        Some(Some(ip)) => ip,
        Some(None) => return Ok(Vec::new()), // a Unix socket; `cli::config` has refused sources
    };
    if let Some(other) =
        connections.sources.iter().find(|range| range.is_ipv4() != target.is_ipv4())
    {
        let line =
            format!("--source {other} and the target {target} have different address families");
        return Err(Error::new(Exit::Usage, line));
    }
    if !connections.sources.is_empty() {
        return Ok(connections.sources.clone());
    }
    let all = u64::from(connections.count) + u64::from(connections.idle);
    let automatic = sources::automatic(target, all, limits.ports_available());
    Ok(automatic.into_iter().collect())
}

fn cpu_of(cpus: &[u32], worker: u32) -> Option<u32> {
    (!cpus.is_empty()).then(|| cpus[worker as usize % cpus.len()])
}

/// Admits active and idle connections together. With `--fit`, only the active ones are reduced.
fn admit(
    connections: &ConnectionsConfig,
    threads: u32,
    limits: &Limits,
) -> Result<Admission, Error> {
    let all = connections.count.saturating_add(connections.idle);
    let admission = preflight::check(limits, all, threads, connections.fit)?;
    match admission.connections.checked_sub(connections.idle) {
        Some(active) if active >= threads => Ok(Admission { connections: active, ..admission }),
        _ => Err(Error::new(
            Exit::Preflight,
            format!(
                "{} connections fit, fewer than {} idle ones and one for each of {} threads",
                grouped(admission.connections.into()),
                grouped(connections.idle.into()),
                threads
            ),
        )),
    }
}

fn load_plan(config: &RunConfig) -> LoadPlan {
    match &config.load.open_loop {
        None => LoadPlan::Closed,
        Some(open) => LoadPlan::Open(open.load(config.phases.warmup, config.phases.duration)),
    }
}

struct Coordinator {
    threads: u32,
    connections: u32,
    control: Arc<Control>,
    inbox: Receiver<Event>,
    published: Vec<Arc<Published>>,
    progress: Progress,
    tally: WorkerTally,
    usage: Usage,
    /// Gates that end the measured window early; empty outside of it.
    watch: Watch,
    /// Detector of a lost target, present during the load.
    service: Option<Service>,
    /// Reason of the load's end.
    ending: Ending,
}

#[must_use]
#[derive(Debug, PartialEq, Eq)]
enum Waited {
    Met,
    Deadline,
}

impl Coordinator {
    fn new(
        config: &RunConfig,
        admission: &Admission,
        inbox: Receiver<Event>,
        progress: ProgressStyle,
    ) -> Coordinator {
        Coordinator {
            threads: config.workers.threads,
            connections: admission.connections,
            control: Arc::new(Control::new(config.workers.threads)),
            inbox,
            published: (0..config.workers.threads).map(|_| Arc::new(Published::new())).collect(),
            progress: Progress::new(progress),
            tally: WorkerTally::default(),
            usage: Usage::default(),
            watch: Watch::default(),
            service: None,
            ending: Ending::Asked,
        }
    }

    /// Starts the worker threads and waits until every event loop runs.
    fn start_workers(
        &mut self,
        config: &RunConfig,
        admission: &Admission,
        (address, sources): (&Address, Arc<[IpAddr]>),
        events: SyncSender<Event>,
    ) -> Result<(), Error> {
        let RunConfig { target, workers, connections, load, phases } = config;
        let threads = workers.threads;
        let run_id = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
        let (connects, period) = connections.connect_speed.connects_in(admission.connections);
        for worker in 0..threads {
            let plan = WorkerPlan {
                worker,
                threads,
                address: address.clone(),
                sources: Arc::clone(&sources),
                cpu: cpu_of(&workers.cpus, worker),
                connections: share(admission.connections, worker, threads),
                connections_total: admission.connections,
                protocol: target.protocol.clone(),
                tls: target.tls.clone(),
                load: load_plan(config),
                pipeline: load.pipeline,
                think: load.think,
                seed: load.seed,
                churn: connections.churn,
                socket: connections.socket,
                idle: share(connections.idle, worker, threads),
                run_id: load.verify.then_some(run_id),
                requests_max: load.requests_max.map(|total| share_of(total, worker, threads)),
                deadline: load.deadline,
                warmup: phases.warmup,
                interval: phases.interval,
                connect_pace: ConnectPace { connects, period, worker, threads },
                connects_in_flight_max: share(connections.connects_in_flight_max, worker, threads),
                retries_per_second: connections.connect_speed.retries_per_second(),
                connect_timeout: connections.connect_timeout,
                timeout: load.reply_timeout,
                driver: workers.driver,
            };
            let links = Links {
                control: Arc::clone(&self.control),
                published: Arc::clone(&self.published[worker as usize]),
                events: events.clone(),
            };
            // Threads are not joined: each one sends an event at its end. After its result it only
            // closes sockets, which the end of the process does as well.
            drop(thread::start(plan, links).map_err(|error| {
                Error::could_not_run(format!("cannot start a worker thread: {error}"))
            })?);
        }
        let met = self.wait(None, None, |tally, threads| tally.ready.len() == threads)?;
        debug_assert_eq!(met, Waited::Met);
        self.tally.ready.sort_by_key(|ready| ready.worker);
        Ok(())
    }

    /// Runs the phases and returns their lengths.
    fn walk(
        &mut self,
        config: &RunConfig,
        watch: &Watch,
        sampler: &mut Sampler,
    ) -> Result<PhaseLengths, Error> {
        let mut lengths = PhaseLengths::default();
        let begun = Instant::now();
        self.control.issue(WorkerCommand::Open);
        let ramp = View::Ramp { requested: self.connections };
        let ramped = |tally: &WorkerTally, threads| {
            tally.signal.is_some() || tally.ramped as usize == threads
        };
        let _ = self.wait(Some(ramp), None, ramped)?;
        let driven_at = Instant::now();
        lengths.ramp = driven_at - begun;

        let opened = Snapshot::take(self.published.iter().map(Arc::as_ref)).opened;
        if self.tally.signal.is_none() && opened > 0 {
            let from = driven_at + config.phases.warmup;
            let mut window = Window { from, until: from + config.phases.duration };
            self.tally.timeline = Some(self.timeline(config, window));
            self.control.issue(WorkerCommand::Drive(window));
            let over = |tally: &WorkerTally, threads| {
                tally.signal.is_some()
                    || tally.aborted.is_some()
                    || tally.gave_up.is_some()
                    || (tally.lost + tally.spent) as usize >= threads
            };
            self.service = config.phases.give_up.map(Service::new);

            let warmup = View::Warmup { from: driven_at, of: config.phases.warmup };
            let waited = self.wait(Some(warmup), Some(window.from), over)?;
            self.usage.begin(&self.tally.ready);
            sampler.begin_window();
            if waited == Waited::Deadline {
                let measured = View::Measured { from, of: config.phases.duration };
                self.watch = watch.clone();
                let _ = self.wait(Some(measured), Some(window.until), over)?;
                self.watch = Watch::default();
            }
            self.usage.end(&self.tally.ready);
            sampler.end_window();
            self.service = None;
            let planned = window;
            let now = Instant::now();
            window.cut(now);
            self.give_up_if_lost(config, now - driven_at);
            lengths.measured_from = Some(window.from);
            lengths.warmup = window.from - driven_at;
            lengths.measured = window.len();
            lengths.scheduled = window.len();
            if self.ending == Ending::GaveUp && config.load.open_loop.is_some() {
                // The whole window counts, even if the run gave up in the warm-up.
                lengths.measured_from = Some(planned.from);
                lengths.scheduled = planned.len();
                lengths.never_reached = Some(planned.until);
            }
            let open = Snapshot::take(self.published.iter().map(Arc::as_ref)).alive;
            // A run that has sent its `--requests` needs no open connection.
            lengths.ended_without_connections = open == 0 && self.tally.spent < self.threads;
        }

        lengths.drain = self.drain(config.phases.drain)?;
        Ok(lengths)
    }

    /// Stops the load, waits for the last replies, and returns how long that took.
    fn drain(&mut self, drain_max: Duration) -> Result<Duration, Error> {
        let from = Instant::now();
        self.control.issue(WorkerCommand::Drain(self.ending));
        // A signal during the drain ends it; a signal that started the drain does not.
        let was_signalled = self.tally.signal.is_some();
        let drained = |tally: &WorkerTally, threads| {
            tally.drained as usize == threads || (tally.signal.is_some() && !was_signalled)
        };
        let view = View::Drain { from, of: drain_max };
        let _ = self.wait(Some(view), Some(from + drain_max), drained)?;
        Ok(from.elapsed())
    }

    /// Records that the run gave up, if no connection is left.
    fn give_up_if_lost(&mut self, config: &RunConfig, since_driven: Duration) {
        let tally = &mut self.tally;
        let ended_otherwise = tally.signal.is_some() || tally.aborted.is_some();
        let is_lost = tally.lost > 0
            && (tally.lost + tally.spent) >= self.threads
            // A closed loop is complete when its connections were closed after their messages.
            && (tally.lost_by_failure || config.load.open_loop.is_some());
        if tally.gave_up.is_none() && is_lost && !ended_otherwise {
            tally.gave_up = Some(GaveUp {
                at_s: since_driven.as_secs_f64() - config.phases.warmup.as_secs_f64(),
                reason: "no connection was left, and --reconnect is never".to_owned(),
            });
        }
        if tally.gave_up.is_some() {
            self.ending = Ending::GaveUp;
        }
    }

    /// An empty timeline, with the schedules that the workers follow.
    fn timeline(&self, config: &RunConfig, window: Window) -> Timeline {
        let schedules = match load_plan(config) {
            LoadPlan::Closed => None,
            LoadPlan::Open(load) => {
                let (threads, total) = (self.threads, self.connections);
                let schedule = |worker| WorkerSchedule {
                    streams: load.streams(worker, threads, share(total, worker, threads), total),
                    requests_max: config.load.requests_max.map(|n| share_of(n, worker, threads)),
                };
                Some((0..threads).map(schedule).collect())
            }
        };
        Timeline::new(self.threads, window, config.phases.warmup, schedules)
    }

    fn finish(&mut self) -> Result<Vec<WorkerResult>, Error> {
        self.progress.finish();
        self.control.issue(WorkerCommand::Finish(self.ending));
        let deadline = Instant::now() + RESULT_TIMEOUT;
        let done = |tally: &WorkerTally, threads| tally.results.len() == threads;
        match self.wait(None, Some(deadline), done)? {
            Waited::Met => Ok(mem::take(&mut self.tally.results)),
            Waited::Deadline => {
                Err(Error::could_not_run("internal error: a worker did not send its result"))
            }
        }
    }

    /// Handles events and draws the progress until `met` returns true or `deadline` passes.
    fn wait(
        &mut self,
        view: Option<View>,
        deadline: Option<Instant>,
        met: impl Fn(&WorkerTally, usize) -> bool,
    ) -> Result<Waited, Error> {
        self.draw(view);
        loop {
            if met(&self.tally, self.threads as usize) {
                return Ok(Waited::Met);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(Waited::Deadline);
            }
            let draw_at = view.and_then(|_| self.progress.due());
            if draw_at.is_some_and(|due| now >= due) {
                self.draw(view);
                continue;
            }
            let look_at = self.service.as_ref().map(|service| service.look_at);
            if look_at.is_some_and(|due| now >= due) {
                self.look_for_service(now);
                continue;
            }
            let event = match [deadline, draw_at, look_at].into_iter().flatten().min() {
                None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => self.inbox.recv_timeout(at - now),
            };
            match event {
                Ok(event) => {
                    self.tally.take(event)?;
                    self.check_watch();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    unreachable!("the signal thread holds a sender")
                }
            }
        }
    }

    /// Checks the gates of `--abort-on`, if a further interval is complete.
    fn check_watch(&mut self) {
        let Some(elapsed) = self.tally.measured.take() else { return };
        let timeline = self.tally.timeline.as_ref().expect("it has measured something");
        let IntervalTotals { latency, counts, send_lag: _ } = timeline.so_far();
        let served = Snapshot::take(self.published.iter().map(Arc::as_ref)).served;
        let connections = self.connections;
        let so_far = SoFar { elapsed, counts, latency, served, connections };
        self.tally.aborted = self.tally.aborted.take().or_else(|| self.watch.check(&so_far));
    }

    /// Checks whether the target has been lost for `--give-up`.
    fn look_for_service(&mut self, now: Instant) {
        let Some(service) = &mut self.service else { return };
        let snapshot = Snapshot::take(self.published.iter().map(Arc::as_ref));
        if service.is_lost(&snapshot, now) && self.tally.gave_up.is_none() {
            let from = self.tally.timeline.as_ref().map_or(now, Timeline::measured_from);
            let give_up_after = crate::base::figures::seconds(service.give_up_after.as_secs_f64());
            self.tally.gave_up = Some(GaveUp {
                at_s: stats::seconds_from(from, now),
                reason: format!("no reply for {give_up_after} (--give-up)"),
            });
        }
    }

    fn draw(&mut self, view: Option<View>) {
        if let (Some(view), Some(_)) = (view, self.progress.due()) {
            let snapshot = Snapshot::take(self.published.iter().map(Arc::as_ref));
            self.progress.draw(view.stage(), snapshot);
        }
    }
}
