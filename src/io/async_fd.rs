//! `AsyncFd`.

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

/// Tells when a descriptor could be read or written: a pidfd, an inotify instance, a terminal, the
/// socket of a C library.
///
/// Readiness is that of `poll(2)`, on every driver. [`readable`](AsyncFd::readable) and
/// [`writable`](AsyncFd::writable) are done if the descriptor is ready *now*, else as soon as it
/// is. Nothing is remembered between two calls, so there is nothing to clear: who is tokio's user
/// does without the guard of its `AsyncFd`. Errors, hang-ups and the end of a stream are ready too,
/// because a call would not wait; what `poll(2)` knows nothing of, such as a regular file, always
/// is.
///
/// **Readiness is a hint.** Between the answer and the call that follows, another reader may have
/// been faster. So set the descriptor to `O_NONBLOCK`, and wait again when a call says
/// `WouldBlock`:
///
/// ```no_run
/// use std::io::{ErrorKind, Read};
/// use std::os::unix::net::UnixStream;
/// use ringloop::io::AsyncFd;
///
/// /// Reads once from a socket that other code has made.
/// async fn read_some(socket: &AsyncFd<UnixStream>, target: &mut [u8]) -> std::io::Result<usize> {
///     loop {
///         socket.readable().await?;
///         match socket.get_ref().read(target) {
///             Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
///             outcome => return outcome,
///         }
///     }
/// }
/// ```
///
/// # Whose descriptor
///
/// The loop polls a duplicate (`F_DUPFD_CLOEXEC`) and never touches the original. So `T` may be
/// owned or borrowed, may be in use by other watches and streams at the same time, and is dropped
/// or given back at once, whatever is in flight. The price is a second descriptor for each
/// `AsyncFd`, which keeps the open file alive until its polls have ended, at most a turn or two
/// after the `AsyncFd` was dropped.
pub struct AsyncFd<T> {
    /// First, so that the polls are cancelled before user code, the destructor of `T`, runs.
    watching: Watching,
    inner: T,
}

/// The polls end when no task can wait any more.
struct Watching(Rc<Watch>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<T: AsFd> AsyncFd<T> {
    /// Watches the descriptor that `inner` has now.
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
    /// Waits until a read would not wait: there is something to read, or the end, or an error.
    ///
    /// Several tasks may wait at once, and all of them are woken. Cancel safe: a dropped `readable`
    /// takes nothing from the descriptor, and leaves what it has asked of the kernel to the next
    /// one.
    ///
    /// # Errors
    ///
    /// Only if the kernel cannot watch the descriptor, for want of memory or because a limit
    /// (`fs.epoll.max_user_watches`) is reached, and if the runtime has been closed. Errors of the
    /// file itself are for the read to find.
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::Readable).await
    }

    /// Waits until a write would not wait: there is room, or no reader is left, or an error.
    ///
    /// Several tasks may wait at once, and all of them are woken. Cancel safe: a dropped `writable`
    /// leaves the descriptor as it is, and what it has asked of the kernel to the next one.
    ///
    /// # Errors
    ///
    /// Only if the kernel cannot watch the descriptor, for want of memory or because a limit
    /// (`fs.epoll.max_user_watches`) is reached, and if the runtime has been closed. Errors of the
    /// file itself are for the write to find.
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Interest::Writable).await
    }

    /// What was given to [`new`](AsyncFd::new).
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// As [`get_ref`](AsyncFd::get_ref), to change it. Which open file is watched was decided by
    /// [`new`](AsyncFd::new) and does not change.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// Ends the watch and gives back what was given to [`new`](AsyncFd::new).
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

/// One `readable()` or `writable()`: its place among those that wait, given up when it is dropped.
struct ReadyWait<'a> {
    watch: &'a Rc<Watch>,
    interest: Interest,
    waiter: PollWaiter,
}

impl ReadyWait<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = ready!(self.watch.poll_ready(self.interest, &mut self.waiter, cx.waker()));
        self.watch.leave(self.interest, &mut self.waiter);
        Poll::Ready(outcome)
    }
}

impl Drop for ReadyWait<'_> {
    fn drop(&mut self) {
        self.watch.leave(self.interest, &mut self.waiter);
    }
}
