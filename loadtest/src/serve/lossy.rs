//! The lossy server: an echo of whole messages that injects scheduled faults and counts them.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use crate::net::stream::Stream;
use crate::serve::fault::{Fault, Schedule};
use crate::serve::options::LossyOptions;
use crate::serve::serving_thread::ServingThread;

/// State shared by the connections of one thread.
#[derive(Debug)]
pub(super) struct Lossy {
    worker: Rc<ServingThread>,
    options: LossyOptions,
    recent: RefCell<Recent>,
}

impl Lossy {
    pub(super) fn new(worker: Rc<ServingThread>, options: LossyOptions) -> Lossy {
        Lossy { worker, options, recent: RefCell::default() }
    }

    /// Serves one peer until it closes or a fault ends the connection.
    pub(super) async fn serve(self: Rc<Self>, mut stream: Stream, connection: u64) {
        // Failures of peers are not reported.
        let _ = self.echo(&mut stream, connection).await.map(|end| match end {
            LossyEnd::Reset => stream.abort(),
            LossyEnd::Closed => {}
        });
    }

    async fn echo(&self, stream: &mut Stream, connection: u64) -> io::Result<LossyEnd> {
        let tally = self.worker.tally();
        let mut schedule = Schedule::new(&self.options.faults, self.options.seed, connection);
        let mut message = vec![0; self.options.size as usize];
        let mut held_back: Option<Vec<u8>> = None;
        loop {
            // The bytes of an incomplete message are not counted.
            stream.read_exact(&mut message).await?;
            tally.received(message.len());
            tally.messages(1);
            self.recent.borrow_mut().note(connection, &message);
            let fault = schedule.next();
            if let Some(earlier) = held_back.take() {
                // Both replies are one fault. Another fault that is due now is skipped.
                self.send(stream, &message).await?;
                self.send(stream, &earlier).await?;
                tally.injected(Fault::Reorder);
                continue;
            }
            match fault {
                None => self.send(stream, &message).await?,
                Some(Fault::Reorder) => held_back = Some(message.clone()),
                Some(fault) => {
                    if let Some(end) = self.misbehave(stream, connection, fault, &message).await? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Injects a fault into the reply to `message`. Returns how the connection ends, if it does.
    async fn misbehave(
        &self,
        stream: &mut Stream,
        connection: u64,
        fault: Fault,
        message: &[u8],
    ) -> io::Result<Option<LossyEnd>> {
        let tally = self.worker.tally();
        if fault == Fault::CrossTalk {
            let other = self.recent.borrow().of_another(connection);
            // Without a message of another connection there is no fault to count.
            if other.is_some() {
                tally.injected(fault);
            }
            self.send(stream, other.as_deref().unwrap_or(message)).await?;
            return Ok(None);
        }
        tally.injected(fault);
        match fault {
            Fault::Drop => Ok(None),
            Fault::Reset => {
                stream.flush().await?; // the fault does not affect earlier replies
                Ok(Some(LossyEnd::Reset))
            }
            Fault::HalfClose => self.finish(stream).await.map(Some),
            Fault::Short => {
                self.send(stream, &message[..message.len() / 2]).await?;
                self.finish(stream).await.map(Some)
            }
            Fault::Corrupt => {
                let mut reply = message.to_vec();
                *reply.last_mut().expect("a message has bytes") ^= 1;
                self.send(stream, &reply).await?;
                Ok(None)
            }
            Fault::Extra => {
                self.send(stream, &[message, b"!"].concat()).await?;
                Ok(None)
            }
            Fault::Reorder | Fault::CrossTalk => unreachable!("{fault:?} is dealt with above"),
        }
    }

    async fn send(&self, stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
        stream.write_all(bytes).await?;
        self.worker.tally().sent(bytes.len());
        Ok(())
    }

    /// Sends the end of the stream, then reads until the peer closes: closing with unread bytes
    /// would send a reset, which is another fault.
    async fn finish(&self, stream: &mut Stream) -> io::Result<LossyEnd> {
        stream.shutdown().await?;
        loop {
            let bytes = stream.recv().await?;
            if bytes.is_empty() {
                return Ok(LossyEnd::Closed);
            }
            self.worker.tally().received(bytes.len());
        }
    }
}

/// How a fault ends a connection.
enum LossyEnd {
    Reset,
    Closed,
}

/// The last messages of the two connections that sent last. At least one of them is another
/// connection's.
#[derive(Debug, Default)]
struct Recent {
    latest: Option<(u64, Vec<u8>)>,
    before: Option<(u64, Vec<u8>)>,
}

impl Recent {
    fn note(&mut self, connection: u64, message: &[u8]) {
        if self.latest.as_ref().is_none_or(|(latest, _)| *latest != connection) {
            std::mem::swap(&mut self.latest, &mut self.before);
        }
        let (number, bytes) = self.latest.get_or_insert_default();
        *number = connection;
        bytes.clear();
        bytes.extend_from_slice(message);
    }

    fn of_another(&self, connection: u64) -> Option<Vec<u8>> {
        let both = [&self.latest, &self.before].into_iter().flatten();
        let mut others = both.filter(|(number, _)| *number != connection);
        others.next().map(|(_, bytes)| bytes.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: cross-talk uses the last message of another connection.
    ///
    /// Method: three connections send in turn.
    ///
    /// Kills: a message of the same connection; a message older than the other's last one.
    #[test]
    fn cross_talk_uses_the_last_message_of_another() {
        let mut recent = Recent::default();
        assert_eq!(recent.of_another(1), None);
        recent.note(1, b"a");
        assert_eq!(recent.of_another(1), None);
        recent.note(2, b"b");
        recent.note(2, b"c");
        assert_eq!(recent.of_another(1).unwrap(), b"c");
        assert_eq!(recent.of_another(2).unwrap(), b"a");
        recent.note(3, b"d");
        assert_eq!(recent.of_another(3).unwrap(), b"c");
        assert_eq!(recent.of_another(2).unwrap(), b"d");
    }
}
