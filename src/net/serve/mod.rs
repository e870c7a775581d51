//! Servers: a task for each connection of a listener, and a shutdown in order.
//!
//! What lives here: [`serve`] and [`Server`], which begin; [`ServerHandle`], which ends; and the
//! state of a server (`state.rs`), as plain data.
//!
//! A limit on connections, the back-off when descriptors run out, and connections that peers have
//! given up are the listener's: see [`TcpListener`](crate::net::TcpListener).
//!
//! **Invariant.** A handler counts as running until its future has been dropped.

mod handle;
mod listener;
mod shared;
mod state;

use std::fmt;
use std::panic::Location;
use std::rc::Rc;

pub use handle::ServerHandle;
pub use listener::Listener;
use shared::{Acceptor, Shared, spawn};

use crate::sync::CancellationToken;

/// Accepts connections, and runs a task for each.
///
/// `handler` makes the future of a connection, on the loop of this thread. It decides what an error
/// of the connection means. A panic of a handler is reported to
/// [`on_unhandled`](crate::Builder::on_unhandled), and the server goes on.
///
/// The server runs until it is closed by the handle, the listener fails, or the runtime ends.
/// **Dropping the handle leaves it running.** This is asyncio's `start_server` for streams; there,
/// a server ends when it is garbage.
///
/// A builder of listeners sets a limit on connections
/// ([`max_connections`](crate::net::TcpListenerBuilder::max_connections)); to pass a token that
/// closes the server, see [`Server`].
///
/// # Panics
///
/// If no loop runs on this thread.
///
/// ```
/// use ringloop::net::{TcpListener, TcpStream, serve};
/// use std::time::Duration;
///
/// async fn echo(mut stream: TcpStream) {
///     while let Ok(bytes) = stream.recv().await {
///         if bytes.is_empty() || stream.send(bytes).await.is_err() {
///             return;
///         }
///     }
/// }
///
/// ringloop::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let addr = listener.local_addr()?;
///     let server = serve(listener, echo);
///
///     let mut client = TcpStream::connect(addr).await?;
///     client.write_all(b"hello").await?;
///     assert_eq!(*client.recv().await?, *b"hello");
///     drop(client);
///     let aborted = server.shutdown(Duration::from_secs(5)).await;
///     assert_eq!(aborted, 0);
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn serve<L, H, F>(listener: L, handler: H) -> ServerHandle
where
    L: Listener,
    H: Fn(L::Stream) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    Server::new(listener).serve(handler)
}

/// A server that has not begun to accept.
///
/// ```
/// use ringloop::net::{Server, UnixListener};
/// use ringloop::sync::CancellationToken;
///
/// ringloop::run(async {
///     let listener = UnixListener::bind(format!("@ringloop-doc-server-{}", std::process::id()))?;
///     let stop = CancellationToken::new();
///     let stopping = stop.child_token();
///     let server = Server::new(listener).stop_token(stop.clone()).serve(move |mut stream| {
///         let stopping = stopping.clone();
///         async move {
///             // Between two requests, a handler ends when the server stops.
///             let _ = stopping.run_until_cancelled(stream.recv()).await;
///         }
///     });
///     stop.cancel(); // closes this server, and whatever else has the token
///     server.wait().await
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a server does nothing until `serve`"]
pub struct Server<L> {
    listener: L,
    stop_token: Option<CancellationToken>,
}

impl<L: Listener> Server<L> {
    /// A server for this listener.
    pub fn new(listener: L) -> Server<L> {
        Server { listener, stop_token: None }
    }

    /// Sets a token whose cancel closes the server, as [`ServerHandle::close`] does.
    ///
    /// Handlers that have a clone see by it that the server stops. The server does not cancel it:
    /// [`ServerHandle::stopping`] is a child of this token, which the server cancels.
    pub fn stop_token(mut self, token: CancellationToken) -> Server<L> {
        self.stop_token = Some(token);
        self
    }

    /// Begins to accept. Details: [`serve`].
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    #[track_caller]
    pub fn serve<H, F>(self, handler: H) -> ServerHandle
    where
        H: Fn(L::Stream) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        let spawned_at = Location::caller();
        let stopping = match &self.stop_token {
            Some(token) => token.child_token(),
            None => CancellationToken::new(),
        };
        let shared = Shared::new(stopping.clone());
        let to_close = Rc::downgrade(&shared);
        let (listener, handler) = (self.listener, Rc::new(handler));
        let to_start = Rc::downgrade(&shared); // which owns the future
        shared.set_accepting(Box::pin(async move {
            loop {
                let stream = listener.next_connection().await?;
                let shared = to_start.upgrade().expect("its task holds a reference");
                let handler = Rc::clone(&handler);
                // The handler is called in its own task, where its panic ends no other.
                shared.start_handler(async move { handler(stream).await }, spawned_at);
            }
        }));
        shared.add_own_task(spawn(Acceptor(Rc::clone(&shared)), spawned_at));
        let watcher = async move {
            stopping.cancelled().await;
            if let Some(shared) = to_close.upgrade() {
                shared.close();
            }
        };
        shared.add_own_task(spawn(watcher, spawned_at));
        ServerHandle::new(shared)
    }
}

impl<L> fmt::Debug for Server<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_token = self.stop_token.is_some();
        f.debug_struct("Server").field("stop_token", &has_token).finish_non_exhaustive()
    }
}
