//! [`AsyncFd`]: readiness of a descriptor that other code made.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::poll_side::PollWaiter;
use super::watch::Watch;
use crate::driver::request::Interest;
use crate::runtime::context;
use crate::task::coop;

/// Waits until a descriptor can be read or written, for descriptors that the loop has no operation
/// for: a pidfd, an inotify instance, a terminal, the socket of a C library.
///
/// Readiness is that of `poll(2)`, on every driver: a call would not wait. That includes errors,
/// hang-ups and the end of a stream. A regular file is always ready.
///
/// [`readable`](AsyncFd::readable) and [`writable`](AsyncFd::writable) poll the descriptor anew
/// each time. No readiness is kept between two calls, so there is nothing to clear; tokio's
/// `AsyncFd` has a guard for that.
///
/// **Readiness is a hint.** Another reader may read between the result and the call that follows.
/// So set the descriptor to `O_NONBLOCK`, and wait again when a call fails with `WouldBlock`:
///
/// ```
/// use ringloop::io::AsyncFd;
/// use std::io::{ErrorKind, Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// /// Reads once from a socket that other code has made.
/// async fn read_some(socket: &AsyncFd<UnixStream>, target: &mut [u8]) -> std::io::Result<usize> {
///     loop {
///         socket.readable().await?;
///         match socket.get_ref().read(target) {
///             Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
///             result => return result,
///         }
///     }
/// }
///
/// # ringloop::run(async {
/// let (socket, mut peer) = UnixStream::pair()?;
/// socket.set_nonblocking(true)?;
/// let socket = AsyncFd::new(socket)?;
/// peer.write_all(b"hello")?;
/// let mut target = [0; 16];
/// assert_eq!(read_some(&socket, &mut target).await?, 5);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Ownership of the descriptor
///
/// The loop polls a duplicate (`F_DUPFD_CLOEXEC`) and does not use the original. So `T` may be
/// owned or borrowed, may be used by other watches and streams at the same time, and is dropped or
/// returned at once, whatever is in flight. Each `AsyncFd` costs a second descriptor, which keeps
/// the open file alive until its polls have ended, one or two turns after the `AsyncFd` was
/// dropped.
pub struct AsyncFd<T> {
    /// First, so that the polls are cancelled before user code, the destructor of `T`, runs.
    watching: Watching,
    inner: T,
}

/// Cancels the polls when no task can wait any more.
struct Watching(Rc<Watch>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<T: AsFd> AsyncFd<T> {
    /// Duplicates the descriptor that `inner` has now, for the loop to poll.
    ///
    /// # Errors
    ///
    /// Those of `fcntl(2)` with `F_DUPFD_CLOEXEC`, such as `EMFILE`.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    #[track_caller]
    pub fn new(inner: T) -> io::Result<AsyncFd<T>> {
        let reactor = Rc::clone(&context::current().reactor);
        let fd = inner.as_fd().try_clone_to_owned()?;
        Ok(AsyncFd { watching: Watching(Watch::new(reactor, fd)), inner })
    }
}

impl<T> AsyncFd<T> {
    /// Waits until a read would not wait: there are bytes, the end of the stream, or an error.
    ///
    /// Several tasks may wait at once, and all of them are woken.
    ///
    /// Cancel safe: a dropped `readable` reads nothing, and the next one shares its poll.
    ///
    /// # Errors
    ///
    /// If the kernel cannot poll the descriptor: no memory, or the limit
    /// `fs.epoll.max_user_watches`; and if the runtime has been closed. An error of the file makes
    /// it ready, and the read returns the error.
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::Readable).await
    }

    /// Waits until a write would not wait: there is room, no reader is left, or an error.
    ///
    /// Several tasks may wait at once, and all of them are woken.
    ///
    /// Cancel safe: a dropped `writable` writes nothing, and the next one shares its poll.
    ///
    /// # Errors
    ///
    /// If the kernel cannot poll the descriptor: no memory, or the limit
    /// `fs.epoll.max_user_watches`; and if the runtime has been closed. An error of the file makes
    /// it ready, and the write returns the error.
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Interest::Writable).await
    }

    /// The value that was given to [`new`](AsyncFd::new).
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The value that was given to [`new`](AsyncFd::new), to change it. The open file that is
    /// polled stays the one that `new` has duplicated.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// Ends the polls and returns the value that was given to [`new`](AsyncFd::new).
    pub fn into_inner(self) -> T {
        let AsyncFd { watching, inner } = self;
        drop(watching);
        inner
    }

    async fn ready(&self, interest: Interest) -> io::Result<()> {
        let watch = &self.watching.0;
        let mut wait = ReadyWait { watch, interest, waiter: PollWaiter::default() };
        coop::leaf_fn(watch.home(), |cx| wait.poll(cx)).await
    }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<T: AsFd> AsRawFd for AsyncFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<T: fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFd").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// One `readable()` or `writable()`. Dropping it gives up its place among the waiters.
struct ReadyWait<'a> {
    watch: &'a Rc<Watch>,
    interest: Interest,
    waiter: PollWaiter,
}

impl ReadyWait<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(self.watch.poll_ready(self.interest, &mut self.waiter, cx.waker()));
        self.watch.leave(self.interest, &mut self.waiter);
        Poll::Ready(result)
    }
}

impl Drop for ReadyWait<'_> {
    fn drop(&mut self) {
        self.watch.leave(self.interest, &mut self.waiter);
    }
}
