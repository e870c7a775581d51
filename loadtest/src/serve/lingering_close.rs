//! How a server takes leave of a peer that may still be sending.

use std::io;
use std::time::Duration;

use ringloop::time::timeout;

use crate::net::stream::Stream;
use crate::serve::tally::ServerTally;

/// After the last reply we read on for so long and so far. Closing with unread bytes would be a
/// reset, and the reset could overtake the reply.
const TIMEOUT: Duration = Duration::from_secs(5);
const LEN: usize = 1 << 20;

/// Sends the end of the stream behind what was sent before, and lets the peer read it.
pub(super) async fn part(stream: &mut Stream, tally: &ServerTally) -> io::Result<()> {
    stream.shutdown().await?;
    let mut left = LEN;
    let read_on = async {
        while left > 0 {
            let bytes = stream.recv().await?;
            if bytes.is_empty() {
                break;
            }
            tally.received(bytes.len());
            left = left.saturating_sub(bytes.len());
        }
        Ok(())
    };
    timeout(TIMEOUT, read_on).await.unwrap_or(Ok(()))
}
