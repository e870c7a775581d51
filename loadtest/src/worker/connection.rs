//! The life of one connection: one task.
//!
//! Its two halves run beside each other in that task. The sender asks for turns and sends; the
//! receiver takes replies, which makes places for the sender. They must not take turns with each
//! other: a message larger than the sockets' buffers would wait for a peer that itself waits for us
//! to read.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::measure::failure::{Class, Example, Failure, Local, Stage, UnexpectedBytes};
use crate::net::tls::{Connection, TlsReader, TlsWriter};
use crate::plan::load::CloseStyle;
use crate::plan::schedule::ConnectPermit;
use crate::protocol::ConnState;
use crate::protocol::decoded::Decoded;
use crate::worker::backoff::Backoff;
use crate::worker::dispatch::Turn;
use crate::worker::establish::{Opened, establish, open};
use crate::worker::reply_timeout::ReplyTimeout;
use crate::worker::state::connecting::Attempt;
use crate::worker::state::{Outcome, Worker};

/// Connects, waits for the start, talks; again and again if the run wants that.
pub(super) async fn live(worker: Rc<Worker>, index: u32, permit: ConnectPermit) {
    let churn = worker.plan().churn;
    // What only the beginning and the end need is in boxes: a task keeps room for the largest of its
    // steps, and ten thousand connections are one task each.
    let opening = Box::pin(open(&worker, index, permit, Attempt::First));
    let mut next = opening.await;
    if next.is_none() && !churn.reconnects {
        return;
    }
    let mut backoff = Backoff::default();
    let mut random = worker.random_of(index);
    worker.start_gate().pass(index).await;
    while !worker.is_draining() {
        let Some(Opened { mut connection, conn_state }) = next.take() else {
            let permit = worker.connect_gate().enter().await;
            next = Box::pin(open(&worker, index, permit, Attempt::Again)).await;
            if next.is_none() {
                pause(&worker, backoff.next(&mut random)).await;
            }
            continue;
        };
        let ended = run_connection(&worker, index, &mut connection, conn_state).await;
        let local = match ended {
            Ended::Failed { .. } => connection.local_addr().map(Local::Socket), // while there is one
            Ended::Retired | Ended::Over => None,
        };
        match (&ended, churn.close) {
            (Ended::Retired | Ended::Over, CloseStyle::Fin) => {
                let _ = Box::pin(connection.close()).await;
            }
            (Ended::Failed { .. }, CloseStyle::Fin) => drop(connection),
            (_, CloseStyle::Rst) => connection.abort(),
        }
        let needs_pause = match ended {
            Ended::Retired => {
                worker.retired(index);
                false
            }
            Ended::Over => return worker.closed(index),
            Ended::Failed { outcome, was_served, unexpected } => {
                let example = Example { local, unexpected, ..worker.example_of(index) };
                worker.lost(index, outcome, Instant::now(), example);
                !was_served
            }
        };
        if !churn.reconnects {
            return;
        }
        match needs_pause {
            true => pause(&worker, backoff.next(&mut random)).await,
            false => backoff.reset(),
        }
    }
}

/// Waits before a connection is tried again that has failed before it had a reply.
async fn pause(worker: &Worker, backoff: Duration) {
    ringloop::time::sleep(backoff).await;
    let pace = worker.retry_pause(Instant::now());
    if !pace.is_zero() {
        ringloop::time::sleep(pace).await;
    }
}

/// Connects and stays silent. Whatever comes is not expected.
pub(super) async fn idle(worker: Rc<Worker>, index: u32, permit: ConnectPermit) {
    let (opened, timings) = match Box::pin(establish(&worker, index, permit)).await {
        Ok(connected) => connected,
        Err((failure, unexpected)) => return worker.idle_failed(index, failure, unexpected),
    };
    worker.idle_opened(timings);
    let mut example = worker.example_of(index);
    let Opened { mut connection, mut conn_state } = opened;
    let kept =
        keep_silent(&worker, &mut connection, &mut conn_state, &mut example.unexpected).await;
    let Err(failure) = kept;
    example.local = connection.local_addr().map(Local::Socket);
    worker.idle_lost(failure, example);
}

/// Answers what a peer may ask, until something else comes.
async fn keep_silent(
    worker: &Worker,
    connection: &mut Connection,
    conn_state: &mut ConnState,
    unexpected: &mut Option<UnexpectedBytes>,
) -> Result<Infallible, Failure> {
    let protocol = worker.protocol();
    let (mut reader, mut writer) = connection.split();
    loop {
        if let Some(answer) = protocol.take_owed(conn_state) {
            writer.send(answer).await?;
        }
        let bytes = reader.recv().await?;
        if bytes.is_empty() {
            return Err(Failure::of(Stage::Recv, Class::Eof));
        }
        let step = match protocol.is_two_way() {
            true => protocol.decode(conn_state, &bytes),
            false => Err(SURPLUS),
        };
        if step != Ok(Decoded::Partial) {
            *unexpected = Some(UnexpectedBytes::of(0, &bytes));
            return Err(step.err().unwrap_or(SURPLUS));
        }
    }
}

/// How a connection ended.
#[derive(Debug)]
enum Ended {
    /// It has done its part (`--requests-per-conn`, `--conn-lifetime`).
    Retired,
    Failed {
        outcome: Outcome,
        was_served: bool,
        unexpected: Option<UnexpectedBytes>,
    },
    /// The run is over: it stays in the books as it is.
    Over,
}

/// One reading of the clock for all that happens in one poll: a reply's arrival is the next
/// message's send.
#[derive(Debug, Default)]
struct Clock(Cell<Option<Instant>>);

impl Clock {
    fn now(&self) -> Instant {
        let now = self.0.get().unwrap_or_else(Instant::now);
        self.0.set(Some(now));
        now
    }

    fn forget(&self) {
        self.0.set(None);
    }
}

/// Sends and receives until the connection ends, and says goodbye. After the end of the run it stays
/// open for as long as it can: closing thousands then would disturb the last replies of the others.
async fn run_connection(
    worker: &Worker,
    index: u32,
    connection: &mut Connection,
    conn_state: ConnState,
) -> Ended {
    let clock = Clock::default();
    let conn_state = RefCell::new(conn_state);
    let was_served = Cell::new(false);
    let unexpected = Cell::new(None);
    let link = Link {
        worker,
        index,
        clock: &clock,
        conn_state: &conn_state,
        reply_len: Cell::new(0),
        was_served: &was_served,
        unexpected: &unexpected,
    };
    let ended = link.run(connection).await;
    let is_orderly = match &ended {
        Ended::Retired => true,
        // Behind a part of a message it would be taken for the rest of it.
        Ended::Over => worker.is_whole(index),
        Ended::Failed { outcome, .. } => matches!(outcome, Outcome::Failed(CLOSED)),
    };
    if is_orderly && worker.plan().churn.close == CloseStyle::Fin {
        let close_message = worker.protocol().close_message(&mut conn_state.borrow_mut());
        if let Some(close_message) = close_message {
            let (_, mut writer) = connection.split();
            // Queued at once or not at all: a peer that has stopped reading must not hold us up.
            let mut sending = pin!(writer.send(close_message));
            poll_fn(|cx| {
                let _ = sending.as_mut().poll(cx);
                Poll::Ready(())
            })
            .await;
        }
    }
    ended
}

struct Link<'a> {
    worker: &'a Worker,
    index: u32,
    clock: &'a Clock,
    conn_state: &'a RefCell<ConnState>,
    /// Bytes of the reply that is being read.
    reply_len: Cell<u64>,
    was_served: &'a Cell<bool>,
    /// What came and was not expected.
    unexpected: &'a Cell<Option<UnexpectedBytes>>,
}

impl Link<'_> {
    async fn run(&self, connection: &mut Connection) -> Ended {
        let (worker, index, clock) = (self.worker, self.index, self.clock);
        let failed = |outcome| Ended::Failed {
            outcome,
            was_served: self.was_served.get(),
            unexpected: self.unexpected.get(),
        };
        let mut lifetime = worker.plan().churn.lifetime.map(ringloop::time::sleep);
        let (reader, writer) = connection.split();
        let mut receiving = pin!(self.receive(reader));
        let mut sending = pin!(self.send(writer));
        let mut reply_timeout = ReplyTimeout::new();
        poll_fn(|cx| {
            clock.forget();
            if worker.is_closing() {
                return Poll::Ready(Ended::Over);
            }
            match receiving.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ended::Retired),
                Poll::Ready(Err(failure)) => return Poll::Ready(failed(Outcome::Failed(failure))),
                Poll::Pending => {}
            }
            if let Poll::Ready(Err(failure)) = sending.as_mut().poll(cx) {
                return Poll::Ready(failed(Outcome::Failed(failure)));
            }
            if lifetime.as_mut().is_some_and(|timer| Pin::new(timer).poll(cx).is_ready()) {
                lifetime = None;
                worker.retire(index);
                if worker.is_spent(index, clock.now()) {
                    return Poll::Ready(Ended::Retired);
                }
            }
            reply_timeout.poll(worker, index, cx).map(failed)
        })
        .await
    }

    async fn send(&self, mut writer: TlsWriter<'_>) -> Result<Infallible, Failure> {
        let mut random = self.worker.random_of(self.index);
        let mut is_first = true;
        loop {
            let due = {
                let mut next = pin!(self.next(&mut random, &mut is_first));
                loop {
                    // Polled after the receiver, in the same task: what it owes goes out now.
                    let wanted = poll_fn(|cx| match self.take_owed() {
                        Some(answer) => Poll::Ready(Err(answer)),
                        None => next.as_mut().poll(cx).map(Ok),
                    });
                    match wanted.await {
                        Ok(due) => break due,
                        Err(answer) => writer.send(answer).await?,
                    }
                }
            };
            let message = self.worker.protocol().encode(&mut self.conn_state.borrow_mut());
            let is_measured = self.worker.sent(self.index, due, self.clock.now());
            let on_taken = |len| self.worker.bytes_taken(is_measured, len);
            writer.send_counted(message, on_taken).await?;
            self.worker.sent_whole(self.index);
        }
    }

    fn take_owed(&self) -> Option<Rc<[u8]>> {
        self.worker.protocol().take_owed(&mut self.conn_state.borrow_mut())
    }

    /// Waits until the next message may be sent. Returns when it was due.
    async fn next(&self, random: &mut fastrand::Rng, is_first: &mut bool) -> Instant {
        if let Some(think) = self.worker.plan().think
            && !mem::take(is_first)
        {
            self.place().await;
            ringloop::time::sleep(think.draw(random)).await;
            self.clock.forget();
        }
        self.turn().await
    }

    /// Waits until the replies to all messages are there.
    async fn place(&self) {
        // Polled after the receiver, in the same task: no reply goes unnoticed.
        poll_fn(|_| match self.worker.outstanding(self.index) {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .await;
    }

    /// Waits until there is a place for a message, and one is due.
    async fn turn(&self) -> Instant {
        loop {
            let turn = poll_fn(|cx| match self.worker.turn(self.index, self.clock.now(), cx) {
                Turn::Later => Poll::Pending,
                turn => Poll::Ready(turn),
            });
            match turn.await {
                Turn::Now { due } => return due,
                Turn::At(due) => {
                    ringloop::time::sleep_until(self.worker.loop_time(due)).await;
                    self.clock.forget();
                }
                Turn::Later => unreachable!("it is waited for"),
            }
        }
    }

    /// Takes replies until the connection has done its part.
    async fn receive(&self, mut reader: TlsReader<'_>) -> Result<(), Failure> {
        loop {
            let outcome = match reader.recv().await {
                Ok(bytes) => self.take(&bytes),
                Err(failure) => Err(failure),
            };
            if let Err(failure) = outcome {
                let is_idle = self.worker.outstanding(self.index) == 0;
                if is_idle && self.worker.is_over(self.clock.now()) {
                    return pending().await;
                }
                return Err(failure);
            }
            if self.worker.is_spent(self.index, self.clock.now()) {
                return Ok(());
            }
        }
    }

    /// Takes what has arrived: parts of replies, several of them, or the end of the stream.
    fn take(&self, mut bytes: &[u8]) -> Result<(), Failure> {
        let protocol = self.worker.protocol();
        let mut conn_state = self.conn_state.borrow_mut();
        if bytes.is_empty() {
            let step = protocol.ended(&mut conn_state)?;
            self.finish_reply(step, protocol.take_unwanted(&mut conn_state));
            return Err(CLOSED);
        }
        while !bytes.is_empty() {
            let outstanding = self.worker.outstanding(self.index);
            if outstanding == 0 && !protocol.is_two_way() {
                self.keep(0, bytes);
                return Err(SURPLUS);
            }
            let decoded = protocol.decode(&mut conn_state, bytes);
            let step = decoded.inspect_err(|_| match protocol.take_unwanted(&mut conn_state) {
                Some(unwanted) => self.unexpected.set(Some(unwanted)),
                None => self.keep(protocol.wrong_from(&conn_state, bytes), bytes),
            })?;
            let used = match step {
                Decoded::Partial => bytes.len(),
                Decoded::Complete { used } | Decoded::Unexpected { used, .. } => used,
            };
            self.reply_len.set(self.reply_len.get() + used as u64);
            bytes = &bytes[used..];
            // Bytes after the last reply that was asked for spoil it.
            if outstanding == 1 && !bytes.is_empty() && !protocol.is_two_way() {
                self.keep(0, bytes);
                return Err(SURPLUS);
            }
            let unwanted = match step {
                Decoded::Unexpected { .. } => protocol.take_unwanted(&mut conn_state),
                Decoded::Partial | Decoded::Complete { .. } => None,
            };
            if self.finish_reply(step, unwanted) && protocol.is_over(&conn_state) {
                return Err(CLOSED);
            }
        }
        Ok(())
    }

    /// Keeps what came from `wrong_from` on, where nothing or something else was to come.
    fn keep(&self, wrong_from: usize, bytes: &[u8]) {
        let position = self.reply_len.get() + wrong_from as u64;
        self.unexpected.set(Some(UnexpectedBytes::of(position, &bytes[wrong_from..])));
    }

    /// Says whether the oldest message has found its fate.
    fn finish_reply(&self, step: Decoded, unwanted: Option<UnexpectedBytes>) -> bool {
        let (index, now) = (self.index, self.clock.now());
        let failure = match step {
            Decoded::Partial => return false,
            Decoded::Complete { .. } => None,
            Decoded::Unexpected { failure, .. } => Some(failure),
        };
        let reply_len = self.reply_len.replace(0);
        match failure {
            None => self.worker.replied(index, reply_len, now),
            Some(failure) => {
                let unexpected = unwanted;
                let example = Example { unexpected, ..self.worker.example_of(index) };
                self.worker.replied_wrong(index, reply_len, failure, now, example);
            }
        }
        self.was_served.set(true);
        true
    }
}

/// More bytes than were asked for.
const SURPLUS: Failure = Failure::of(Stage::Recv, Class::Mismatch);

/// The end of a connection that the peer has announced.
const CLOSED: Failure = Failure::of(Stage::Recv, Class::Closed);
