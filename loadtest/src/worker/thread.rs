//! The thread of a worker: sets up the loop, follows the commands, and sends the result.

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
use crate::worker::shared::Worker;
use crate::worker::unhandled::Reports;
use crate::worker::{connection, dispatch_task, heartbeat, idle};

/// How long connections may take to close in order, at most.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(500);

/// How often the worker checks whether all are closed.
const CLOSE_POLL_PERIOD: Duration = Duration::from_millis(1);

/// Starts the thread of a worker. Its first event is [`Event::Ready`] or [`Event::SetupFailed`].
///
/// # Errors
///
/// The system cannot start a thread.
pub(crate) fn start(plan: WorkerPlan, links: Links) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(format!("worker-{}", plan.worker)).spawn(move || {
        let _exit_guard = ThreadExitGuard { worker: plan.worker, events: links.events.clone() };
        run(plan, links);
    })
}

/// The settings of a worker's loop, without its hook for errors.
pub(crate) fn builder(driver: Driver, connections: u32) -> ringloop::Builder {
    ringloop::Builder::new().driver(driver.choice()).connections_expected(connections)
}

/// Notifies the main thread that this thread ends, even if it panics.
struct ThreadExitGuard {
    worker: u32,
    events: SyncSender<Event>,
}

impl Drop for ThreadExitGuard {
    fn drop(&mut self) {
        // If the main thread has hung up, it does not wait for this thread.
        let _ = self.events.send(Event::Gone { worker: self.worker });
    }
}

fn run(plan: WorkerPlan, links: Links) {
    if let Some(cpu) = plan.cpu
        && let Err(error) = sys::pin_thread(cpu)
    {
        let line = format!("cannot run on processor {cpu} alone: {error}");
        let _ = links.events.send(Event::SetupFailed(line));
        return;
    }
    // If this is not permitted, messages leave some microseconds later, which the send lag shows.
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
    let mut result = runtime.block_on(follow_commands(plan, links));
    result.reports = reports.lock().map(|reports| reports.clone()).unwrap_or_default();
    // Sent before the loop is shut down: closing thousands of sockets is not part of the run.
    let _ = events.send(Event::Done(Box::new(result)));
}

/// Follows the commands of the main thread until the last one, which asks for the result.
async fn follow_commands(plan: WorkerPlan, links: Links) -> WorkerResult {
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
                // Only the newest command is seen, so a short drain may be missed.
                if !worker.is_draining() {
                    worker.drain(ending);
                }
                let now = Instant::now();
                close_connections(&worker).await;
                let mut result = worker.collect(now);
                let metrics = handle.metrics();
                result.cq_overflows = metrics.cq_overflows;
                result.pool_exhausted = metrics.pool_exhausted;
                return result;
            }
        }
    }
}

/// Starts connects at their pace, with a bounded number in flight.
async fn open_all(worker: Rc<Worker>) {
    let start = ringloop::time::Instant::now();
    let active = worker.plan().connections;
    for conn in 0..active + worker.plan().idle {
        let due = worker.plan().connect_pace.due(conn);
        if start.elapsed() < due {
            ringloop::time::sleep_until(start + due).await;
        }
        let permit = worker.connect_gate().enter().await;
        if worker.gives_up_connecting() {
            break;
        }
        worker.connect_started();
        if conn < active {
            drop(ringloop::spawn(connection::run(Rc::clone(&worker), conn, permit)));
        } else {
            drop(ringloop::spawn(idle::run(Rc::clone(&worker), conn, permit)));
        }
    }
    worker.all_connects_started();
}

/// Begins the load, and starts the tasks that accompany it.
fn drive(worker: &Rc<Worker>, window: Window) {
    worker.drive(window);
    drop(ringloop::spawn(close_intervals(Rc::clone(worker))));
    drop(ringloop::spawn(heartbeat::run(Rc::clone(worker))));
    if let LoadPlan::Open(OpenLoad { rule: DispatchRule::Any, spin, .. }) = worker.plan().load {
        drop(ringloop::spawn(dispatch_task::run(Rc::clone(worker), spin)));
    }
}

/// Closes each interval at its end.
async fn close_intervals(worker: Rc<Worker>) {
    while let Some(until) = worker.close_intervals(Instant::now()) {
        ringloop::time::sleep_until(worker.loop_time(until)).await;
    }
}

/// Closes connections in order whose peers would report the mere end of the stream as an error.
/// This is bounded: a peer that does not answer must not delay the end of the run.
async fn close_connections(worker: &Worker) {
    if !worker.begin_closing() {
        return;
    }
    let deadline = Instant::now() + CLOSE_TIME_MAX;
    while worker.has_open() && Instant::now() < deadline {
        ringloop::time::sleep(CLOSE_POLL_PERIOD).await;
    }
}
