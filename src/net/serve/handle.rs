//! [`ServerHandle`].

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::shared::Shared;
use crate::sync::CancellationToken;
use crate::time::timeout;

/// A server that runs. [`serve`](super::serve) returns it.
///
/// Clones refer to the same server. Dropping them all leaves it running.
#[derive(Clone)]
pub struct ServerHandle {
    shared: Rc<Shared>,
}

impl ServerHandle {
    pub(super) fn new(shared: Rc<Shared>) -> ServerHandle {
        ServerHandle { shared }
    }

    /// Stops accepting, in this call. Handlers go on to their end.
    ///
    /// From now on connects are refused. Connections that no handler has received yet, in the
    /// listener's queue or in the kernel's backlog, are closed. [`stopping`](Self::stopping) is
    /// cancelled. A second call has no effect. This is asyncio's `Server.close`.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Stops accepting, waits for the handlers for at most `grace`, and aborts those that are left.
    /// Returns how many were aborted, once the last one has ended.
    ///
    /// Handlers see the begin of the shutdown by [`stopping`](Self::stopping), for example to close
    /// idle connections. A handler whose future does not return to the loop delays the end. Called
    /// in a handler of the same server, it waits for itself and is aborted after `grace`: spawn a
    /// task for it instead.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped `shutdown` has stopped accepting, and aborts no handler. It may be
    /// called again.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream, serve};
    /// # use std::time::Duration;
    /// # ringloop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let addr = listener.local_addr()?;
    /// let server = serve(listener, async |_stream| std::future::pending().await);
    /// let client = TcpStream::connect(addr).await?;
    /// while server.connections() == 0 {
    ///     ringloop::task::yield_now().await;
    /// }
    /// assert_eq!(server.shutdown(Duration::from_millis(1)).await, 1);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn shutdown(&self, grace: Duration) -> usize {
        self.shared.close();
        if timeout(grace, self.shared.done()).await.is_ok() {
            return 0;
        }
        let aborted_count = self.shared.abort_handlers();
        self.shared.done().await;
        aborted_count
    }

    /// Stops accepting and aborts all handlers, without waiting. Returns how many.
    ///
    /// Their futures are dropped in the next turn: [`wait`](Self::wait) returns then.
    pub fn abort(&self) -> usize {
        self.shared.close();
        self.shared.abort_handlers()
    }

    /// Waits until the server is closed and its last handler has ended, in whatever order. Any
    /// number of tasks may wait.
    ///
    /// It does not close the server. This is asyncio's `Server.wait_closed`. Queued bytes of the
    /// connections may still be sent then: see [`TcpStream`](crate::net::TcpStream).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// The error of the listener that has ended accepting, if one has. Every call returns it.
    pub async fn wait(&self) -> io::Result<()> {
        self.shared.done().await;
        self.shared.state().outcome()
    }

    /// A token that is cancelled when the server stops accepting. Cancelling it closes the server.
    pub fn stopping(&self) -> CancellationToken {
        self.shared.stopping.clone()
    }

    /// The number of handlers that have not ended.
    pub fn connections(&self) -> usize {
        self.shared.state().handler_count()
    }

    /// Whether the server has stopped accepting.
    pub fn is_closed(&self) -> bool {
        self.shared.state().is_closed()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("is_closed", &self.is_closed())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}
