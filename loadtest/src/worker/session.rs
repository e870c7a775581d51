//! One session: an open connection sends messages and receives their replies until it ends.
//!
//! Sender and receiver are two futures of the same task. The sender waits for messages of the
//! dispatcher; the receiver takes replies, which makes room for the sender. Neither may wait for
//! the other: a message larger than the sockets' buffers would wait for a peer that waits for this
//! program to read.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use crate::measure::failure::{Class, Example, Failure, Stage, UnexpectedBytes};
use crate::net::tls::{Connection, TlsReader, TlsWriter};
use crate::plan::load::CloseStyle;
use crate::protocol::ConnState;
use crate::protocol::decoded::Decoded;
use crate::worker::dispatcher::Turn;
use crate::worker::message::Outcome;
use crate::worker::reply_timeout::ReplyTimeout;
use crate::worker::shared::Worker;

/// More bytes than the replies have.
pub(super) const SURPLUS: Failure = Failure::of(Stage::Recv, Class::Mismatch);

/// The end of a connection that the peer has announced.
const CLOSED: Failure = Failure::of(Stage::Recv, Class::Closed);

/// How a session has ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// All of its messages have replies (`--requests-per-conn`, `--conn-lifetime`).
    Retired,
    Failed {
        outcome: Outcome,
        was_served: bool,
        unexpected: Option<UnexpectedBytes>,
    },
    /// The run is over. What is outstanding is counted as in flight.
    Over,
}

/// Sends and receives until the session ends, and sends the close message of the protocol.
///
/// After the end of the load a session stays open for as long as possible: closing thousands then
/// would disturb the last replies of others.
pub(super) async fn run(
    worker: &Worker,
    conn: u32,
    connection: &mut Connection,
    conn_state: ConnState,
) -> Ended {
    let session = Session {
        worker,
        conn,
        clock: Clock::default(),
        conn_state: RefCell::new(conn_state),
        is_sending: Cell::new(false),
        reply_len: Cell::new(0),
        was_served: Cell::new(false),
        unexpected: Cell::new(None),
    };
    let ended = session.run(connection).await;
    let is_orderly = match &ended {
        Ended::Retired => true,
        // After a part of a message, the peer would take it for the rest of the message.
        Ended::Over => worker.is_whole(conn),
        Ended::Failed { outcome, .. } => matches!(outcome, Outcome::Failed(CLOSED)),
    };
    if is_orderly && worker.plan().churn.close == CloseStyle::Fin {
        let close_message = worker.protocol().close_message(&mut session.conn_state.borrow_mut());
        if let Some(close_message) = close_message {
            let (_, mut writer) = connection.split();
            // Polled once: a peer that does not read must not delay the end.
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

/// One reading of the clock for everything in one poll: the arrival of a reply is the send of the
/// next message.
#[derive(Debug, Default)]
struct Clock(Cell<Option<Instant>>);

impl Clock {
    fn now(&self) -> Instant {
        let now = self.0.get().unwrap_or_else(Instant::now);
        self.0.set(Some(now));
        now
    }

    fn reset(&self) {
        self.0.set(None);
    }
}

struct Session<'a> {
    worker: &'a Worker,
    conn: u32,
    clock: Clock,
    conn_state: RefCell<ConnState>,
    /// Whether a message is being sent: the kernel has not accepted all of it.
    is_sending: Cell<bool>,
    /// Bytes received of the current reply.
    reply_len: Cell<u64>,
    was_served: Cell<bool>,
    /// Received bytes that were not the expected ones.
    unexpected: Cell<Option<UnexpectedBytes>>,
}

impl Session<'_> {
    async fn run(&self, connection: &mut Connection) -> Ended {
        let (worker, conn, clock) = (self.worker, self.conn, &self.clock);
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
            clock.reset();
            if worker.is_closing() {
                return Poll::Ready(Ended::Over);
            }
            // The rest of a request and its reply may complete in one turn of the loop. The sender
            // records first that the request was sent whole, so the reply does not count as early.
            let mut sent = match self.is_sending.get() {
                true => sending.as_mut().poll(cx),
                false => Poll::Pending,
            };
            match receiving.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ended::Retired),
                Poll::Ready(Err(failure)) => return Poll::Ready(failed(Outcome::Failed(failure))),
                Poll::Pending => {}
            }
            if sent.is_pending() {
                sent = sending.as_mut().poll(cx);
            }
            if let Poll::Ready(Err(failure)) = sent {
                return Poll::Ready(failed(Outcome::Failed(failure)));
            }
            if lifetime.as_mut().is_some_and(|timer| Pin::new(timer).poll(cx).is_ready()) {
                lifetime = None;
                worker.retire(conn);
                if worker.is_spent(conn, clock.now()) {
                    return Poll::Ready(Ended::Retired);
                }
            }
            reply_timeout.poll(worker, conn, cx).map(failed)
        })
        .await
    }

    // Sender.

    async fn send(&self, mut writer: TlsWriter<'_>) -> Result<Infallible, Failure> {
        let mut random = self.worker.ids().random_of(self.conn);
        let mut is_first = true;
        loop {
            let due = {
                let mut next = pin!(self.next(&mut random, &mut is_first));
                loop {
                    // Polled after the receiver, in the same task: an answer that it has made for
                    // the protocol is sent now.
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
            let is_measured = self.worker.sent(self.conn, due, self.clock.now());
            let on_taken = |len| self.worker.bytes_taken(is_measured, len);
            self.is_sending.set(true);
            writer.send_counted(message, on_taken).await?;
            self.is_sending.set(false);
            self.worker.sent_whole(self.conn);
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
            self.all_replies().await;
            ringloop::time::sleep(think.draw(random)).await;
            self.clock.reset();
        }
        self.turn().await
    }

    /// Waits until all messages have replies.
    async fn all_replies(&self) {
        // Polled after the receiver, in the same task, so no waker is needed.
        poll_fn(|_| match self.worker.outstanding(self.conn) {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .await;
    }

    /// Waits until the dispatcher has a message for this connection. Returns when it was due.
    async fn turn(&self) -> Instant {
        loop {
            let turn = poll_fn(|cx| match self.worker.next_for(self.conn, self.clock.now(), cx) {
                Turn::Send { due, .. } => Poll::Ready(Ok(due)),
                Turn::WaitUntil(due) => Poll::Ready(Err(due)),
                Turn::WaitFree => Poll::Pending,
            });
            match turn.await {
                Ok(due) => return due,
                Err(due) => {
                    ringloop::time::sleep_until(self.worker.loop_time(due)).await;
                    self.clock.reset();
                }
            }
        }
    }

    // Receiver.

    /// Takes replies until the connection has sent all of its messages.
    async fn receive(&self, mut reader: TlsReader<'_>) -> Result<(), Failure> {
        loop {
            let outcome = match reader.recv().await {
                Ok(bytes) => self.take(&bytes),
                Err(failure) => Err(failure),
            };
            if let Err(failure) = outcome {
                let is_idle = self.worker.outstanding(self.conn) == 0;
                if is_idle && self.worker.is_over(self.clock.now()) {
                    return pending().await;
                }
                return Err(failure);
            }
            if self.worker.is_spent(self.conn, self.clock.now()) {
                return Ok(());
            }
        }
    }

    /// Takes received bytes: parts of replies, several replies, or the end of the stream.
    fn take(&self, mut bytes: &[u8]) -> Result<(), Failure> {
        let protocol = self.worker.protocol();
        let mut conn_state = self.conn_state.borrow_mut();
        if bytes.is_empty() {
            let decoded = protocol.ended(&mut conn_state)?;
            self.finish_reply(decoded, protocol.take_unwanted(&mut conn_state));
            return Err(CLOSED);
        }
        while !bytes.is_empty() {
            let outstanding = self.worker.outstanding(self.conn);
            if outstanding == 0 && !protocol.is_two_way() {
                self.keep(0, bytes);
                return Err(SURPLUS);
            }
            let decoded = protocol.decode(&mut conn_state, bytes);
            let decoded =
                decoded.inspect_err(|_| match protocol.take_unwanted(&mut conn_state) {
                    Some(unwanted) => self.unexpected.set(Some(unwanted)),
                    None => self.keep(protocol.wrong_from(&conn_state, bytes), bytes),
                })?;
            let used = match decoded {
                Decoded::Partial => bytes.len(),
                Decoded::Complete { used } | Decoded::Unexpected { used, .. } => used,
            };
            self.reply_len.set(self.reply_len.get() + used as u64);
            bytes = &bytes[used..];
            // The last reply is wrong if bytes follow it.
            if outstanding == 1 && !bytes.is_empty() && !protocol.is_two_way() {
                self.keep(0, bytes);
                return Err(SURPLUS);
            }
            let unwanted = match decoded {
                Decoded::Unexpected { .. } => protocol.take_unwanted(&mut conn_state),
                Decoded::Partial | Decoded::Complete { .. } => None,
            };
            if self.finish_reply(decoded, unwanted) && protocol.is_over(&conn_state) {
                return Err(CLOSED);
            }
        }
        Ok(())
    }

    /// Keeps `bytes` from `wrong_from` on, which are not the expected ones.
    fn keep(&self, wrong_from: usize, bytes: &[u8]) {
        let position = self.reply_len.get() + wrong_from as u64;
        self.unexpected.set(Some(UnexpectedBytes::of(position, &bytes[wrong_from..])));
    }

    /// Reports the reply to the oldest message if it is complete. Returns whether it is.
    fn finish_reply(&self, decoded: Decoded, unwanted: Option<UnexpectedBytes>) -> bool {
        let wrong = match decoded {
            Decoded::Partial => return false,
            Decoded::Complete { .. } => None,
            Decoded::Unexpected { failure, .. } => {
                let example = self.worker.example_of(self.conn);
                Some((failure, Example { unexpected: unwanted, ..example }))
            }
        };
        let reply_len = self.reply_len.replace(0);
        self.worker.replied(self.conn, reply_len, self.clock.now(), wrong);
        self.was_served.set(true);
        true
    }
}
