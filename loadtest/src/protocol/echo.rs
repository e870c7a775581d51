//! TCP echo: the reply to a message is the message.
//!
//! Every byte of the reply is compared with what was sent, so a server that answers fast and wrong
//! is not a fast server.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ringloop::net::{ReadHalf, TcpStream};

use crate::failure::{Class, Failure, Stage};

/// The message that all connections of one worker send.
#[derive(Debug)]
pub(crate) struct Echo {
    message: Rc<[u8]>,
}

impl Echo {
    pub(super) fn new(message_size: usize) -> Echo {
        // 61 is prime, so a reply that is shifted or cut at a power of two does not match by luck.
        let message = (0..message_size).map(|index| b'!' + (index % 61) as u8).collect();
        Echo { message }
    }

    /// Sends and receives at the same time.
    ///
    /// Not one after the other: a message larger than the sockets' buffers would wait for a peer that
    /// itself waits for us to read. For a small message the send is done at its first poll, and only
    /// the receive is polled from then on.
    pub(super) async fn exchange(&self, stream: &mut TcpStream) -> Result<(), Failure> {
        let (mut reader, mut writer) = stream.split();
        let mut sending = pin!(writer.send(Rc::clone(&self.message)));
        let mut receiving = pin!(receive(&mut reader, &self.message));
        let mut is_sent = false;
        let mut is_received = false;
        poll_fn(|cx| {
            if !is_sent && let Poll::Ready(result) = sending.as_mut().poll(cx) {
                result.map_err(|error| Failure::from_io(Stage::Send, &error))?;
                is_sent = true;
            }
            if !is_received && let Poll::Ready(result) = receiving.as_mut().poll(cx) {
                result?;
                is_received = true;
            }
            if is_sent && is_received { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }
}

async fn receive(reader: &mut ReadHalf<'_>, message: &[u8]) -> Result<(), Failure> {
    let mut check = Check { message, received_len: 0 };
    loop {
        let piece = reader.recv().await;
        match check.take(piece.as_deref())? {
            Progress::Partial => {}
            Progress::Complete => return Ok(()),
        }
    }
}

/// Compares a reply, piece by piece, with the message it should repeat.
#[derive(Debug)]
struct Check<'a> {
    message: &'a [u8],
    received_len: usize,
}

#[must_use]
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Partial,
    Complete,
}

impl Check<'_> {
    fn take(&mut self, piece: Result<&[u8], &io::Error>) -> Result<Progress, Failure> {
        let missing = &self.message[self.received_len..];
        match piece {
            Err(error) => Err(Failure::from_io(Stage::Recv, error)),
            Ok([]) if self.received_len == 0 => Err(Failure::of(Stage::Recv, Class::Eof)),
            Ok([]) => Err(Failure::of(Stage::Recv, Class::Short)),
            Ok(bytes) if !missing.starts_with(bytes) => {
                Err(Failure::of(Stage::Recv, Class::Mismatch))
            }
            Ok(bytes) => {
                self.received_len += bytes.len();
                if bytes.len() == missing.len() {
                    Ok(Progress::Complete)
                } else {
                    Ok(Progress::Partial)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]]) -> Result<Progress, Class> {
        let mut check = Check { message: b"abcdef", received_len: 0 };
        let mut last = Ok(Progress::Partial);
        for piece in pieces {
            last = check.take(Ok(piece));
            if last.is_err() {
                break;
            }
        }
        last.map_err(|failure| failure.class)
    }

    /// Goal: a reply counts only when every byte is back, however it is cut up.
    ///
    /// Method: whole, in pieces, one byte missing.
    ///
    /// Kills: completing at the first piece; comparing a piece with the start of the message.
    #[test]
    fn a_reply_is_complete_when_all_bytes_are_back() {
        assert_eq!(check(&[b"abcdef"]), Ok(Progress::Complete));
        assert_eq!(check(&[b"ab", b"cd", b"ef"]), Ok(Progress::Complete));
        assert_eq!(check(&[b"abcde"]), Ok(Progress::Partial));
    }

    /// Goal: the ways a reply can be wrong are told apart.
    ///
    /// Method: one reply of each kind.
    ///
    /// Kills: taking an end of stream in mid-reply for one between messages; ignoring surplus bytes.
    #[test]
    fn wrong_replies_have_classes() {
        assert_eq!(check(&[b""]), Err(Class::Eof));
        assert_eq!(check(&[b"abc", b""]), Err(Class::Short));
        assert_eq!(check(&[b"abcdefg"]), Err(Class::Mismatch));
        assert_eq!(check(&[b"abX"]), Err(Class::Mismatch));
        assert_eq!(check(&[b"ab", b"ab"]), Err(Class::Mismatch));
    }
}
