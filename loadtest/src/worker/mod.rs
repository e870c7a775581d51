//! A worker: one thread, one loop, a share of the connections.
//!
//! ```text
//! Open ──▶ connects, paced and bounded ──▶ Ramped
//! Drive ─▶ every connection: a message at each turn it gets (`dispatch`), until the window ends
//! Drain ─▶ nothing new is sent; the last reply ──▶ Drained
//! Finish ▶ result ──▶ Done
//! ```
//!
//! A connection is one task (`connection`). What must outlive it (what it sent, when, how often it was
//! answered) is in the worker's `state`, so a task that is stuck at the end still counts. Latencies
//! go to the main thread by intervals (`intervals`).
//!
//! **One clock.** Latencies are read from `std::time::Instant` and not from the loop's clock: a loop
//! may read its clock once per turn, and the time a reply waits within a turn is part of the answer.

pub(crate) mod backoff;
pub(crate) mod connection;
pub(crate) mod control;
pub(crate) mod dispatch;
pub(crate) mod dispatcher;
pub(crate) mod establish;
pub(crate) mod heartbeat;
pub(crate) mod plan;
pub(crate) mod ramp;
pub(crate) mod reply_timeout;
pub(crate) mod result;
pub(crate) mod state;
pub(crate) mod unhandled;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::base::driver::{Driver, DriverUsed};
use crate::host::{procfs, sys};
use crate::measure::window::Window;
use crate::plan::load::{DispatchRule, LoadPlan, OpenLoad};
use crate::worker::control::{Event, Links, Ready, WorkerCommand};
use crate::worker::plan::WorkerPlan;
use crate::worker::result::WorkerResult;
use crate::worker::state::Worker;
use crate::worker::unhandled::Reports;

/// How long connections may take to say that they end, and between two looks whether they have.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(500);
const CLOSE_POLL_PERIOD: Duration = Duration::from_millis(1);

/// Starts the thread of a worker. It says [`Event::Ready`] or [`Event::SetupFailed`] first.
pub(crate) fn start(plan: WorkerPlan, links: Links) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(format!("worker-{}", plan.worker)).spawn(move || {
        let _exit_guard = ThreadExitGuard { worker: plan.worker, events: links.events.clone() };
        work(plan, links);
    })
}

/// Tells the main thread that this thread ends, even when it panics.
struct ThreadExitGuard {
    worker: u32,
    events: SyncSender<Event>,
}

impl Drop for ThreadExitGuard {
    fn drop(&mut self) {
        // If the main thread has hung up, it is not waiting for us.
        let _ = self.events.send(Event::Gone { worker: self.worker });
    }
}

/// What a worker's loop is built with; its hook is the worker's own.
pub(crate) fn builder(driver: Driver, connections: u32) -> ringloop::Builder {
    ringloop::Builder::new().driver(driver.choice()).connections_expected(connections)
}

fn work(plan: WorkerPlan, links: Links) {
    if let Some(cpu) = plan.cpu
        && let Err(error) = sys::pin_thread(cpu)
    {
        let line = format!("cannot run on processor {cpu} alone: {error}");
        let _ = links.events.send(Event::SetupFailed(line));
        return;
    }
    // Where it is forbidden messages leave some microseconds later, and the send lag says so.
    let _ = sys::set_timer_slack_ns(1);
    let reports = Arc::default();
    let runtime =
        builder(plan.driver, plan.connections).on_unhandled(Reports::collect(&reports)).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = links.events.send(Event::SetupFailed(error.to_string()));
            return;
        }
    };
    let events = links.events.clone();
    let mut result = runtime.block_on(perform(plan, links));
    result.reports = reports.lock().map(|reports| reports.clone()).unwrap_or_default();
    // Sent before the loop is taken down: closing thousands of sockets is not part of the run.
    let _ = events.send(Event::Done(Box::new(result)));
}

/// Follows the commands until the result is due.
async fn perform(plan: WorkerPlan, links: Links) -> WorkerResult {
    let handle = ringloop::Handle::current();
    let number = plan.worker;
    let driver = handle.driver();
    let advice = driver.advice();
    let driver = DriverUsed::new(driver, plan.driver);
    let control = Arc::clone(&links.control);
    let worker = Rc::new(Worker::new(plan, links));
    worker.send_event(Event::Ready(Ready {
        worker: number,
        driver,
        advice,
        thread_id: procfs::thread_id(),
    }));
    let mut command = WorkerCommand::Idle;
    loop {
        command = control.changed(number, command).await;
        match command {
            WorkerCommand::Idle => {}
            WorkerCommand::Open => drop(ringloop::spawn(open_all(Rc::clone(&worker)))),
            WorkerCommand::Drive(window) => drive(&worker, window),
            WorkerCommand::Drain(ending) => worker.drain(ending),
            WorkerCommand::Finish(ending) => {
                // A worker hears of the newest command only, and a drain may be as short as it likes.
                if !worker.is_draining() {
                    worker.drain(ending);
                }
                let now = Instant::now();
                close_connections(&worker).await;
                let mut result = worker.collect(now);
                let metrics = handle.metrics();
                result.cq_overflows = metrics.cq_overflows;
                result.enobufs = metrics.pool_exhausted;
                return result;
            }
        }
    }
}

/// Closes connections in order whose peers would take the bare end of the stream for an accident.
/// What they do about it does not hold the run up.
async fn close_connections(worker: &Worker) {
    if !worker.begin_closing() {
        return;
    }
    let deadline = Instant::now() + CLOSE_TIME_MAX;
    while !worker.all_closed() && Instant::now() < deadline {
        ringloop::time::sleep(CLOSE_POLL_PERIOD).await;
    }
}

fn drive(worker: &Rc<Worker>, window: Window) {
    worker.drive(window);
    drop(ringloop::spawn(close_intervals(Rc::clone(worker))));
    drop(ringloop::spawn(heartbeat::run(Rc::clone(worker))));
    if let LoadPlan::Open(OpenLoad { rule: DispatchRule::Any, spin, .. }) = worker.plan().load {
        drop(ringloop::spawn(dispatcher::run(Rc::clone(worker), spin)));
    }
}

/// Closes the intervals as they end.
async fn close_intervals(worker: Rc<Worker>) {
    while let Some(until) = worker.close_intervals(Instant::now()) {
        ringloop::time::sleep_until(worker.loop_time(until)).await;
    }
}

/// Starts the connects at their pace, never more in flight than allowed.
async fn open_all(worker: Rc<Worker>) {
    let start = ringloop::time::Instant::now();
    let active = worker.plan().connections;
    for index in 0..active + worker.plan().idle {
        let due = worker.plan().connect_pace.due(index);
        if start.elapsed() < due {
            ringloop::time::sleep_until(start + due).await;
        }
        let permit = worker.connect_gate().enter().await;
        if worker.gives_up_connecting() {
            break;
        }
        worker.connect_started();
        if index < active {
            drop(ringloop::spawn(connection::live(Rc::clone(&worker), index, permit)));
        } else {
            drop(ringloop::spawn(connection::idle(Rc::clone(&worker), index, permit)));
        }
    }
    worker.all_connects_started();
}
