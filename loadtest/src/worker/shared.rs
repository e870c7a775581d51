//! What the tasks of one worker share.
//!
//! [`Worker`] connects its parts: the dispatcher decides, the ramp counts connects, the outcomes
//! are counted and recorded. Each part is a plain value in a `RefCell` that is borrowed for one
//! call. All tasks of a worker run on one thread.

mod collect;
mod connects;
mod messages;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::measure::window::Window;
use crate::plan::load::{CloseStyle, LoadPlan};
use crate::protocol::Protocol;
use crate::worker::connect_times::ConnectTimes;
use crate::worker::control::{Ending, Event, Links};
use crate::worker::dispatcher::slot::ConnLimits;
use crate::worker::dispatcher::{Dispatcher, LoadProgress, Turn};
use crate::worker::gates::{ConnectGate, StartGate};
use crate::worker::ids::ConnIds;
use crate::worker::loop_health::LoopHealth;
use crate::worker::outcomes::Outcomes;
use crate::worker::plan::WorkerPlan;
use crate::worker::ramp::Ramp;

/// One worker, as its tasks see it.
#[derive(Debug)]
pub(super) struct Worker {
    plan: WorkerPlan,
    links: Links,
    handle: ringloop::Handle,
    protocol: Protocol,
    ids: ConnIds,
    connect_gate: Rc<ConnectGate>,
    start_gate: StartGate,
    /// The same time on both clocks.
    clocks: (Instant, ringloop::time::Instant),
    dispatcher: RefCell<Dispatcher>,
    ramp: RefCell<Ramp>,
    connect_times: RefCell<ConnectTimes>,
    outcomes: RefCell<Outcomes>,
    loop_health: RefCell<LoopHealth>,
    notified: Notified,
    /// The run is over, and connections are to be closed in order.
    is_closing: Cell<bool>,
}

/// Events that the main thread counts once for each worker.
#[derive(Debug, Default)]
struct Notified {
    ramped: Cell<bool>,
    /// [`Event::Lost`] or [`Event::Spent`], whichever comes first: a worker that is spent may lose
    /// its connections later, and the run is over when each worker has sent one of the two.
    over: Cell<bool>,
    drained: Cell<bool>,
}

impl Worker {
    pub(super) fn new(plan: WorkerPlan, links: Links) -> Worker {
        let streams = match &plan.load {
            LoadPlan::Closed => Vec::new(),
            LoadPlan::Open(load) => {
                load.streams(plan.worker, plan.threads, plan.connections, plan.connections_total)
            }
        };
        let limits =
            ConnLimits { pipeline: plan.pipeline, requests_per_conn: plan.churn.requests_per_conn };
        let dispatcher =
            Dispatcher::new(&plan.load, streams, plan.connections, limits, plan.requests_max);
        let is_open_loop = matches!(plan.load, LoadPlan::Open(_));
        let retry_spacing = Duration::from_secs(1) * plan.threads / plan.retries_per_second;
        Worker {
            handle: ringloop::Handle::current(),
            protocol: Protocol::new(&plan.protocol, plan.run_id, plan.seed, plan.worker),
            ids: ConnIds::new(&plan),
            connect_gate: ConnectGate::new(plan.connects_in_flight_max),
            start_gate: StartGate::new(plan.connections),
            clocks: (Instant::now(), ringloop::time::Instant::now()),
            dispatcher: RefCell::new(dispatcher),
            ramp: RefCell::new(Ramp::new(retry_spacing, Instant::now())),
            connect_times: RefCell::default(),
            outcomes: RefCell::new(Outcomes::new(plan.worker, is_open_loop, &links)),
            loop_health: RefCell::default(),
            notified: Notified::default(),
            is_closing: Cell::new(false),
            plan,
            links,
        }
    }

    pub(super) fn plan(&self) -> &WorkerPlan {
        &self.plan
    }

    pub(super) fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    pub(super) fn ids(&self) -> &ConnIds {
        &self.ids
    }

    pub(super) fn connect_gate(&self) -> Rc<ConnectGate> {
        Rc::clone(&self.connect_gate)
    }

    pub(super) fn start_gate(&self) -> &StartGate {
        &self.start_gate
    }

    /// `at` on the clock of the loop's timers, never earlier.
    pub(super) fn loop_time(&self, at: Instant) -> ringloop::time::Instant {
        self.clocks.1 + at.saturating_duration_since(self.clocks.0)
    }

    pub(super) fn window(&self) -> Option<Window> {
        self.dispatcher.borrow().window()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.dispatcher.borrow().drained_at().is_some()
    }

    /// Whether a connection without outstanding messages may end unnoticed.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.dispatcher.borrow().is_over(now)
    }

    /// A number that changes with everything sent or received, by this program or by the kernel on
    /// its behalf.
    pub(super) fn activity(&self) -> u64 {
        let metrics = self.handle.metrics();
        self.dispatcher.borrow().activity() + metrics.submissions + metrics.completions
    }

    pub(super) fn loop_health(&self, record: impl FnOnce(&mut LoopHealth)) {
        record(&mut self.loop_health.borrow_mut());
    }

    // Events.

    pub(super) fn send_event(&self, event: Event) {
        // If the main thread has hung up, the process is about to end.
        let _ = self.links.events.send(event);
    }

    fn notify_once(&self, notified: &Cell<bool>, event: Event) {
        if !notified.replace(true) {
            self.send_event(event);
        }
    }

    fn notify_progress(&self, progress: LoadProgress) {
        match progress {
            LoadProgress::Unfinished => {}
            LoadProgress::Drained => self.notify_once(&self.notified.drained, Event::Drained),
            LoadProgress::Spent => self.notify_once(&self.notified.over, Event::Spent),
            LoadProgress::Idle => self.notify_if_lost(),
        }
    }

    fn notify_if_ramped(&self) {
        if self.ramp.borrow().is_over() {
            self.notify_once(&self.notified.ramped, Event::Ramped);
        }
    }

    /// Notifies the main thread if there is no connection and none will be opened again.
    fn notify_if_lost(&self) {
        let has_none = self.links.published.alive.get() == 0;
        let (progress, has_started) = {
            let dispatcher = self.dispatcher.borrow();
            (dispatcher.progress(), dispatcher.window().is_some())
        };
        let is_lost = has_none && has_started && progress != LoadProgress::Unfinished;
        if is_lost && !self.plan.churn.reconnects {
            let by_failure = self.ramp.borrow().counts().lost > 0;
            self.notify_once(&self.notified.over, Event::Lost { by_failure });
        }
    }

    // Phases of the run.

    /// Begins the load: first the warm-up, then the measured window.
    pub(super) fn drive(&self, window: Window) {
        let start = window.from - self.plan.warmup;
        self.dispatcher.borrow_mut().start(start, window);
        self.outcomes.borrow_mut().start(start, window, self.plan.interval);
        self.start_gate.open();
        self.notify_if_lost();
    }

    /// Assigns all messages that are due. Returns what to wait for.
    pub(super) fn dispatch(&self, now: Instant) -> Turn {
        let mut dispatcher = self.dispatcher.borrow_mut();
        loop {
            match dispatcher.next(now) {
                Turn::Send { .. } => {}
                wait @ (Turn::WaitUntil(_) | Turn::WaitFree) => return wait,
            }
        }
    }

    /// Lets the dispatcher wake `waker` when it has something to assign.
    pub(super) fn set_dispatch_task(&self, waker: &Waker) {
        self.dispatcher.borrow_mut().set_task(waker);
    }

    /// Sends the intervals that are over. Returns the end of the running one, if it is known.
    pub(super) fn close_intervals(&self, now: Instant) -> Option<Instant> {
        self.outcomes.borrow_mut().intervals.close_until(now)
    }

    /// Ends the load. Only replies are waited for.
    pub(super) fn drain(&self, ending: Ending) {
        let now = Instant::now();
        if let Some(window) = self.window()
            && ending == Ending::Asked
        {
            // Messages that became due just before had no time to be assigned.
            let _ = self.dispatch(now.min(window.until));
        }
        // If the target was lost, the rest of the schedule counts as never sent.
        let is_cut = ending == Ending::Asked;
        let progress = {
            let mut dispatcher = self.dispatcher.borrow_mut();
            dispatcher.drain(now, is_cut);
            dispatcher.progress()
        };
        self.outcomes.borrow_mut().drain(now);
        self.notify_progress(progress);
    }

    /// Asks all connections to close in order, if the protocol or TLS have a message for it.
    /// Returns whether there is anything to wait for.
    pub(super) fn begin_closing(&self) -> bool {
        let has_close_message = self.protocol.is_two_way() || self.plan.tls.is_some();
        let dispatcher = self.dispatcher.borrow();
        if !has_close_message || !dispatcher.has_open() || self.plan.churn.close == CloseStyle::Rst
        {
            return false;
        }
        self.is_closing.set(true);
        dispatcher.wake_open();
        true
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    /// Connection `conn` was closed at the end of the run.
    pub(super) fn closed_at_end(&self, conn: u32) {
        self.dispatcher.borrow_mut().closed_at_end(conn);
    }

    pub(super) fn has_open(&self) -> bool {
        self.dispatcher.borrow().has_open()
    }
}
