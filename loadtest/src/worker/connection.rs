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
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ringloop::net::{ReadHalf, TcpStream, WriteHalf};
use ringloop::time::Sleep;

use super::dispatch::Turn;
use super::state::{Fate, Worker};
use crate::failure::{Class, Failure, Stage};
use crate::protocol::{Conversation, Step};
use crate::schedule::ConnectPermit;

/// Connects, waits for the start, talks.
pub(super) async fn live(worker: Rc<Worker>, index: u32, permit: ConnectPermit) {
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
    let fate = talk(&worker, index, &mut stream).await;
    worker.lost(index, fate, Instant::now());
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

/// Sends and receives until the connection ends. After the end of the run it stays open for as long
/// as it can: closing thousands then would disturb the last replies of the others.
async fn talk(worker: &Worker, index: u32, stream: &mut TcpStream) -> Fate {
    let clock = Clock::default();
    let conversation = RefCell::new(worker.protocol().begin());
    let link = Link { worker, index, clock: &clock, conversation: &conversation };
    let (reader, writer) = stream.split();
    let mut receiving = pin!(link.receive(reader));
    let mut sending = pin!(link.send(writer));
    let mut patience = Patience { timer: ringloop::time::sleep(Duration::ZERO), is_set: false };
    poll_fn(|cx| {
        clock.forget();
        if let Poll::Ready(Err(failure)) = receiving.as_mut().poll(cx) {
            return Poll::Ready(Fate::Failed(failure));
        }
        if let Poll::Ready(Err(failure)) = sending.as_mut().poll(cx) {
            return Poll::Ready(Fate::Failed(failure));
        }
        patience.poll(worker, index, cx)
    })
    .await
}

struct Link<'a> {
    worker: &'a Worker,
    index: u32,
    clock: &'a Clock,
    conversation: &'a RefCell<Conversation>,
}

impl Link<'_> {
    async fn send(&self, mut writer: WriteHalf<'_>) -> Result<Infallible, Failure> {
        let mut random = fastrand::Rng::with_seed(self.worker.seed_of(self.index));
        let mut is_first = true;
        loop {
            if let Some(think) = self.worker.plan().think
                && !mem::take(&mut is_first)
            {
                self.place().await;
                ringloop::time::sleep(think.draw(&mut random)).await;
                self.clock.forget();
            }
            let due = self.turn().await;
            let message = self.worker.protocol().encode(&mut self.conversation.borrow_mut());
            self.worker.sent(self.index, due, self.clock.now());
            writer.send(message).await.map_err(|error| Failure::from_io(Stage::Send, &error))?;
        }
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

    async fn receive(&self, mut reader: ReadHalf<'_>) -> Result<Infallible, Failure> {
        loop {
            let received = reader.recv().await;
            let outcome = match received {
                Ok(bytes) => self.take(&bytes),
                Err(error) => Err(Failure::from_io(Stage::Recv, &error)),
            };
            if let Err(failure) = outcome {
                let is_idle = self.worker.outstanding(self.index) == 0;
                if is_idle && self.worker.is_over(self.clock.now()) {
                    return pending().await;
                }
                return Err(failure);
            }
        }
    }

    /// Takes what has arrived: parts of replies, several of them, or the end of the stream.
    fn take(&self, mut bytes: &[u8]) -> Result<(), Failure> {
        let mut conversation = self.conversation.borrow_mut();
        if bytes.is_empty() {
            return Err(self.worker.protocol().ended(&conversation));
        }
        while !bytes.is_empty() {
            let outstanding = self.worker.outstanding(self.index);
            if outstanding == 0 {
                return Err(Failure::of(Stage::Recv, Class::Mismatch));
            }
            match self.worker.protocol().decode(&mut conversation, bytes)? {
                Step::Partial => return Ok(()),
                // Bytes after the last reply that was asked for spoil it.
                Step::Complete { used } if outstanding == 1 && used < bytes.len() => {
                    return Err(Failure::of(Stage::Recv, Class::Mismatch));
                }
                Step::Complete { used } => {
                    self.worker.replied(self.index, self.clock.now());
                    bytes = &bytes[used..];
                }
            }
        }
        Ok(())
    }
}

/// Ends a connection whose oldest message has waited for too long.
///
/// The timer is not set anew for each message, only when it has gone off: it then looks how long the
/// message that is the oldest by now has waited.
struct Patience {
    timer: Sleep,
    is_set: bool,
}

impl Patience {
    fn poll(&mut self, worker: &Worker, index: u32, cx: &mut Context<'_>) -> Poll<Fate> {
        let timeout = worker.plan().timeout;
        loop {
            if !self.is_set {
                let Some(sent_at) = worker.oldest_sent_at(index) else { return Poll::Pending };
                self.timer.reset(worker.loop_time(sent_at + timeout));
                self.is_set = true;
            }
            if Pin::new(&mut self.timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.is_set = false;
            let oldest = worker.oldest_sent_at(index);
            if oldest.is_some_and(|sent_at| sent_at.elapsed() >= timeout) {
                return Poll::Ready(Fate::TimedOut);
            }
        }
    }
}
