//! A worker: one thread, one loop, a share of the connections.
//!
//! ```text
//! Open ──▶ connects, paced and bounded ──▶ Ramped
//! Drive ─▶ every connection: send, wait for the reply, again, until the window ends
//! Drain ─▶ nothing new is sent; the last reply ──▶ Drained
//! Finish ▶ result ──▶ Done
//! ```
//!
//! A connection is one task: connect, then one message after the other. What must outlive the task
//! (what it sent, when, how often it was answered) is in the worker's `state`, so a task that
//! is stuck at the end still counts.
//!
//! **One clock.** Latencies are read from `std::time::Instant` and not from the loop's clock: a loop
//! may read its clock once per turn, and the time a reply waits within a turn is part of the answer.

mod state;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringloop::net::TcpStream;

use self::state::Worker;
pub(crate) use self::state::{Accounts, WorkerResult};
use crate::cli::Driver;
use crate::control::{Command, Control, Event, Ready};
use crate::driver::DriverUsed;
use crate::failure::{Failure, Stage};
use crate::procfs;
use crate::published::Published;
use crate::schedule::{ConnectPace, ConnectPermit};

/// What one worker is to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) worker: u32,
    pub(crate) addr: SocketAddr,
    pub(crate) connections: u32,
    pub(crate) message_size: u32,
    pub(crate) connect_pace: ConnectPace,
    pub(crate) connects_in_flight_max: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) timeout: Duration,
    pub(crate) driver: Driver,
}

/// What a worker shares with the main thread.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    pub(crate) control: Arc<Control>,
    pub(crate) published: Arc<Published>,
    pub(crate) events: SyncSender<Event>,
}

/// Starts the thread of a worker. It says [`Event::Ready`] or [`Event::SetupFailed`] first.
pub(crate) fn start(plan: Plan, links: Links) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(format!("worker-{}", plan.worker)).spawn(move || {
        let _farewell = Farewell { worker: plan.worker, events: links.events.clone() };
        work(plan, links);
    })
}

/// Tells the main thread that this thread ends, even when it panics.
struct Farewell {
    worker: u32,
    events: SyncSender<Event>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // If the main thread has hung up, it is not waiting for us.
        let _ = self.events.send(Event::Gone { worker: self.worker });
    }
}

/// What a worker's loop is built with; its hook is the worker's own.
pub(crate) fn builder(driver: Driver, connections: u32) -> ringloop::Builder {
    ringloop::Builder::new().driver(driver.choice()).connections_expected(connections)
}

fn work(plan: Plan, links: Links) {
    let panics = Arc::new(AtomicU64::new(0));
    let hook_panics = Arc::clone(&panics);
    let runtime = builder(plan.driver, plan.connections)
        // Relaxed: a count, read on this same thread.
        .on_unhandled(move |_| _ = hook_panics.fetch_add(1, Ordering::Relaxed))
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = links.events.send(Event::SetupFailed(error.to_string()));
            return;
        }
    };
    let events = links.events.clone();
    let mut result = runtime.block_on(perform(plan, links));
    result.panics = panics.load(Ordering::Relaxed);
    // Sent before the loop is taken down: closing thousands of sockets is not part of the run.
    let _ = events.send(Event::Done(Box::new(result)));
}

/// Follows the commands until the result is due.
async fn perform(plan: Plan, links: Links) -> WorkerResult {
    let handle = ringloop::Handle::current();
    let number = plan.worker;
    let driver = handle.driver();
    let advice = driver.advice();
    let driver = DriverUsed::new(driver, plan.driver);
    let control = Arc::clone(&links.control);
    let worker = Rc::new(Worker::new(plan, links));
    worker.tell(Event::Ready(Ready {
        worker: number,
        driver,
        advice,
        thread_id: procfs::thread_id(),
    }));
    let mut command = Command::Idle;
    loop {
        command = control.changed(number, command).await;
        match command {
            Command::Idle => {}
            Command::Open => drop(ringloop::spawn(open_all(Rc::clone(&worker)))),
            Command::Drive(window) => worker.drive(window),
            Command::Drain => worker.drain(),
            Command::Finish => {
                let mut result = worker.collect(Instant::now());
                let metrics = handle.metrics();
                result.cq_overflows = metrics.cq_overflows;
                result.enobufs = metrics.enobufs;
                return result;
            }
        }
    }
}

/// Starts the connects at their pace, never more in flight than allowed.
async fn open_all(worker: Rc<Worker>) {
    let start = ringloop::time::Instant::now();
    for index in 0..worker.plan().connections {
        let due = worker.plan().connect_pace.due(index);
        if start.elapsed() < due {
            ringloop::time::sleep_until(start + due).await;
        }
        let permit = worker.connect_gate().enter().await;
        if worker.gives_up_connecting() {
            break;
        }
        worker.connect_started();
        drop(ringloop::spawn(connection(Rc::clone(&worker), index, permit)));
    }
    worker.all_connects_started();
}

/// The life of one connection.
async fn connection(worker: Rc<Worker>, index: u32, permit: ConnectPermit) {
    let (addr, patience) = (worker.plan().addr, worker.plan().connect_timeout);
    let started = Instant::now();
    let connected = TcpStream::connect_timeout(addr, patience).await;
    let took = started.elapsed();
    drop(permit);
    // Delayed acknowledgements and Nagle's algorithm together make 40 ms that no server spent.
    let connected = connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    let mut stream = match connected {
        Ok(stream) => stream,
        Err(error) => {
            return worker.connect_failed(Failure::from_io(Stage::Connect, &error));
        }
    };
    worker.opened(index, took);
    worker.start_gate().pass(index).await;
    match converse(&worker, index, &mut stream).await {
        // The connection stays open: closing thousands now would disturb the last replies of the
        // others. The loop closes it when it goes.
        Conversation::Over => std::future::pending::<()>().await,
        Conversation::Failed => {}
    }
}

#[must_use]
enum Conversation {
    Over,
    Failed,
}

/// One message after the other, each sent when the reply to the last is complete.
async fn converse(worker: &Worker, index: u32, stream: &mut TcpStream) -> Conversation {
    // One reading of the clock per message: a reply's arrival is the next message's send.
    let mut now = Instant::now();
    while worker.keeps_sending(now) {
        worker.sent(index, now);
        let exchange = worker.protocol().exchange(stream);
        let outcome = ringloop::time::timeout(worker.plan().timeout, exchange).await;
        now = Instant::now();
        match outcome {
            Ok(Ok(())) => worker.replied(index, now),
            Ok(Err(failure)) => {
                worker.failed(index, failure);
                return Conversation::Failed;
            }
            Err(_elapsed) => {
                worker.timed_out(index, now);
                return Conversation::Failed;
            }
        }
    }
    Conversation::Over
}
