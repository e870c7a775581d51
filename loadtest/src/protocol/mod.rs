//! What one message is: the only part of a run that knows what travels over a connection.
//!
//! A protocol sends one message and waits for its whole reply. It measures nothing, counts nothing
//! and has no deadline: that is the worker's matter. A new protocol is a file here and a variant of
//! [`Protocol`].

mod echo;

use ringloop::net::TcpStream;

use self::echo::Echo;
use crate::failure::Failure;

/// Which protocol a worker speaks. One value per worker, shared by its connections.
#[derive(Debug)]
pub(crate) enum Protocol {
    TcpEcho(Echo),
}

impl Protocol {
    pub(crate) fn tcp_echo(message_size: u32) -> Protocol {
        Protocol::TcpEcho(Echo::new(message_size as usize))
    }

    /// Sends one message and waits until its reply is complete and checked.
    pub(crate) async fn exchange(&self, stream: &mut TcpStream) -> Result<(), Failure> {
        match self {
            Protocol::TcpEcho(echo) => echo.exchange(stream).await,
        }
    }
}
