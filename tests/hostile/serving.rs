//! Functions that serve a connection. An error is caused by the peer and ends the connection.

use std::future::Future;
use std::pin::Pin;

use ringloop::net::{TcpStream, UnixStream};

use crate::assault;

type Serving = Pin<Box<dyn Future<Output = ()>>>;

/// The size and the number of pieces of a download.
pub(crate) const PIECE: &[u8] = &[b'd'; 16 * 1024];
pub(crate) const PIECES: usize = 64;

/// Sends received bytes back, without a copy.
pub(crate) fn echo_boxed(stream: TcpStream) -> Serving {
    Box::pin(echo(stream))
}

async fn echo(mut stream: TcpStream) {
    while let Ok(bytes) = stream.recv().await {
        if bytes.is_empty() {
            let _ = stream.close().await;
            return;
        }
        if stream.send(bytes).await.is_err() {
            return;
        }
    }
}

/// Like [`echo_boxed`], on a Unix socket.
pub(crate) async fn echo_unix(mut stream: UnixStream) {
    while let Ok(bytes) = stream.recv().await {
        if bytes.is_empty() || stream.send(bytes).await.is_err() {
            return;
        }
    }
}

/// Replies to the first bytes with a download of 1 MiB, then closes in order.
pub(crate) fn download_boxed(mut stream: TcpStream) -> Serving {
    Box::pin(async move {
        if !matches!(stream.recv().await, Ok(request) if !request.is_empty()) {
            return;
        }
        for _ in 0..PIECES {
            if stream.write_all(PIECE).await.is_err() {
                return;
            }
        }
        let _ = stream.close().await;
    })
}

/// Replies to the first bytes and drops the stream at once. More bytes may be in transit.
pub(crate) fn answer_boxed(mut stream: TcpStream) -> Serving {
    Box::pin(async move {
        if let Ok(request) = stream.recv().await {
            let _ = stream.send(request).await;
        }
    })
}

/// Reads once, and does not read again until the peer has ended, like a handler that waits for a
/// database.
pub(crate) fn busy_boxed(mut stream: TcpStream) -> Serving {
    Box::pin(async move {
        let wave = assault::wave();
        let first = stream.recv().await;
        drop(first);
        assault::end_of(wave).await;
        while let Ok(bytes) = stream.recv().await {
            if bytes.is_empty() {
                return;
            }
        }
    })
}
