//! A connection that a storm must not affect.

use ringloop::JoinHandle;
use ringloop::net::TcpStream;

use crate::common::{Dice, tcp_pair};
use crate::tape::Tape;

/// Bytes of a message at most. More than a small buffer of the pool.
const LEN_MAX: u64 = 300;

pub(crate) struct Bystander {
    client: TcpStream,
    echo: JoinHandle<()>,
    sent: Tape,
    received: Tape,
    dice: Dice,
}

impl Bystander {
    pub(crate) async fn new(seed: u64) -> Bystander {
        let (client, server) = tcp_pair().await;
        for end in [&client, &server] {
            end.set_nodelay(true).expect("an option"); // an echo in pieces would wait for ACKs
        }
        let echo = ringloop::spawn(echo(server));
        let (sent, received) = (Tape::new(seed), Tape::new(seed));
        Bystander { client, echo, sent, received, dice: Dice::new(seed) }
    }

    /// Sends `count` messages and checks the echoes. When it returns, only the two receives of this
    /// connection are in flight.
    pub(crate) async fn exchange(mut self, count: usize) -> Bystander {
        for _ in 0..count {
            let message = self.sent.play_some(LEN_MAX, &mut self.dice);
            self.client.write_all(&message).await.expect("a bystander's connection");
            while self.received.position < self.sent.position {
                let bytes = self.client.recv().await.expect("a bystander's connection");
                assert!(!bytes.is_empty(), "a bystander's connection has ended");
                self.received.check(&bytes);
            }
        }
        self
    }

    /// Closes the connection in order. Returns the number of echoed bytes.
    pub(crate) async fn end(mut self) -> u64 {
        self.client.shutdown().await.expect("a bystander's connection");
        assert!(self.client.recv().await.expect("its end").is_empty(), "bytes that were not sent");
        self.client.close().await.expect("a bystander's connection");
        self.echo.await.expect("the echo");
        self.received.position
    }
}

/// Sends received bytes back until the end of the stream.
pub(crate) async fn echo(mut stream: TcpStream) {
    loop {
        let bytes = stream.recv().await.expect("an echo's connection");
        if bytes.is_empty() {
            break;
        }
        stream.send(bytes).await.expect("an echo's connection");
    }
    stream.close().await.expect("an echo's connection");
}
