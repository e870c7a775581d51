//! Lingering close: closes a connection whose peer may still be sending, without a reset.

use std::io;
use std::time::Duration;

use ringloop::time::timeout;

use crate::net::stream::Stream;
use crate::serve::tally::ServerTally;

/// Limits of reading after the last reply. Closing with unread bytes would send a reset, which
/// could overtake the reply.
const TIMEOUT: Duration = Duration::from_secs(5);
const LEN: usize = 1 << 20;

/// Sends the end of the stream, then reads until the peer closes.
pub(super) async fn close(stream: &mut Stream, tally: &ServerTally) -> io::Result<()> {
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
