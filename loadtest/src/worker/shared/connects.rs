//! Connects: what a connection's task reports, and what is counted for it.

use std::time::{Duration, Instant};

use crate::measure::failure::{Example, Failure, Local, UnexpectedBytes};
use crate::net::connect::ConnectTimings;
use crate::net::tls::Connection;
use crate::worker::ramp::Attempt;
use crate::worker::shared::Worker;

impl Worker {
    /// A first connect begins.
    pub(in crate::worker) fn connect_started(&self) {
        self.ramp.borrow_mut().connect_started(Instant::now());
    }

    /// No more first connects begin.
    pub(in crate::worker) fn all_connects_started(&self) {
        self.ramp.borrow_mut().all_started();
        self.notify_if_ramped();
    }

    /// Whether the rest of the ramp is to be left out.
    pub(in crate::worker) fn gives_up_connecting(&self) -> bool {
        self.is_draining() || self.ramp.borrow().is_hopeless()
    }

    /// Connection `conn` is open.
    pub(in crate::worker) fn opened(
        &self,
        conn: u32,
        connection: &Connection,
        timings: ConnectTimings,
        attempt: Attempt,
    ) {
        let mut connect_times = self.connect_times.borrow_mut();
        connect_times.record(timings);
        connect_times.note_suite(connection);
        let was_opened = self.dispatcher.borrow_mut().opened(conn);
        let published = &self.links.published;
        published.alive.add_one();
        if self.ramp.borrow_mut().opened(attempt, was_opened, Instant::now()) {
            published.opened.add_one();
        }
        self.notify_if_ramped();
    }

    /// A connect of connection `conn` has failed.
    pub(in crate::worker) fn connect_failed(
        &self,
        conn: u32,
        failure: Failure,
        unexpected: Option<UnexpectedBytes>,
        attempt: Attempt,
    ) {
        self.count_failed_connect(conn, failure, unexpected);
        self.outcomes.borrow_mut().note_outage(Instant::now());
        self.ramp.borrow_mut().failed(attempt);
        self.notify_if_ramped();
        self.notify_if_lost();
    }

    /// An idle connection is open.
    pub(in crate::worker) fn idle_opened(&self, timings: ConnectTimings) {
        self.connect_times.borrow_mut().record(timings);
        self.ramp.borrow_mut().idle_opened();
        self.notify_if_ramped();
    }

    /// The connect of an idle connection has failed.
    pub(in crate::worker) fn idle_failed(
        &self,
        conn: u32,
        failure: Failure,
        unexpected: Option<UnexpectedBytes>,
    ) {
        self.ramp.borrow_mut().idle_failed();
        self.count_failed_connect(conn, failure, unexpected);
        self.notify_if_ramped();
    }

    /// An idle connection has received something, or has ended. After the run that is no failure.
    pub(in crate::worker) fn idle_lost(&self, failure: Failure, example: Example) {
        if !self.is_draining() {
            self.ramp.borrow_mut().idle_lost();
            self.outcomes.borrow_mut().conn_failed(failure, Instant::now(), example);
        }
    }

    fn count_failed_connect(
        &self,
        conn: u32,
        failure: Failure,
        unexpected: Option<UnexpectedBytes>,
    ) {
        let local = self.ids.source_of(conn).map(Local::Source);
        let example = Example { local, unexpected, ..self.example_of(conn) };
        self.outcomes.borrow_mut().connect_failed(failure, Instant::now(), example);
    }

    /// The example of a failure of connection `conn`, as far as every failure has one.
    pub(in crate::worker) fn example_of(&self, conn: u32) -> Example {
        Example { connection: self.ids.number_of(conn), ..Example::default() }
    }

    /// How long to wait before a connect that follows a failed one.
    pub(in crate::worker) fn retry_pause(&self, now: Instant) -> Duration {
        self.ramp.borrow_mut().retry_pause(now)
    }
}
