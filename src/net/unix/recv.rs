//! Receiving on a [`UnixStream`].

use std::io;
use std::time::Duration;

use super::stream::UnixStream;
use crate::buf::RecvBuf;
use crate::net::socket::{peer_end, transfer};
use crate::task::coop;

impl UnixStream {
    /// Receives the next bytes, without copying them.
    ///
    /// Waits until bytes have arrived, and returns them in the buffer that the kernel has filled,
    /// usually one of the loop's pool. An empty buffer is the end of the stream: the peer has
    /// finished sending. How many bytes one call returns depends on the kernel, and is not
    /// related to the writes of the peer.
    ///
    /// This is `recv(2)`, except that the buffer comes from the loop.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped `recv` loses no byte, before or after bytes have arrived.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`: `ECONNRESET` if the peer has closed without reading all bytes. They are
    /// final: every later read returns the same error. `TimedOut` if
    /// [`set_idle_timeout`](UnixStream::set_idle_timeout) has set a limit; that error is not final.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (mut client, mut server) = UnixStream::pair()?;
    /// client.write_all(b"hello").await?;
    /// assert_eq!(*server.recv().await?, *b"hello");
    ///
    /// client.close().await?;
    /// assert!(server.recv().await?.is_empty());
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn recv(&mut self) -> io::Result<RecvBuf> {
        let socket = self.socket();
        coop::leaf_fn(socket.home(), |cx| socket.poll_recv(cx)).await
    }

    /// Copies received bytes into `buf` and returns how many.
    ///
    /// Waits until bytes have arrived. Returns 0 at the end of the stream, and for an empty `buf`.
    /// Bytes that do not fit stay readable.
    ///
    /// This is `read(2)` and tokio's `AsyncReadExt::read`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped `read` loses no byte.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](UnixStream::recv).
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (mut client, mut server) = UnixStream::pair()?;
    /// client.write_all(b"hello").await?;
    /// let mut buf = [0; 4];
    /// let count = server.read(&mut buf).await?;
    /// assert_eq!(buf[..count], *b"hell");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let socket = self.socket();
        coop::leaf_fn(socket.home(), |cx| socket.poll_read(cx, buf)).await
    }

    /// Fills `buf` with received bytes.
    ///
    /// Waits until as many bytes have arrived as `buf` is long. This is tokio's
    /// `AsyncReadExt::read_exact`, but cancel safe.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the bytes that a dropped `read_exact` has copied are put back, and the next
    /// read returns them.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the peer finishes sending before `buf` is full. Otherwise those of
    /// [`recv`](UnixStream::recv). The bytes that came before the error stay readable.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (mut client, mut server) = UnixStream::pair()?;
    /// client.write_all(&[0, 3]).await?; // a length in two bytes
    /// client.write_all(b"abc").await?;
    ///
    /// let mut len = [0; 2];
    /// server.read_exact(&mut len).await?;
    /// let mut body = vec![0; u16::from_be_bytes(len).into()];
    /// server.read_exact(&mut body).await?;
    /// assert_eq!(body, b"abc");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        transfer::read_exact(self.socket(), buf).await
    }

    /// Waits until a read will not wait.
    ///
    /// Returns when bytes have arrived, when the peer has finished sending, or when an error has
    /// ended the connection. It takes nothing: the next [`recv`](UnixStream::recv) or
    /// [`read`](UnixStream::read) is ready at once.
    ///
    /// This is `poll(2)` for `POLLIN`, and tokio's `UnixStream::readable` without false alarms.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it takes nothing.
    ///
    /// # Errors
    ///
    /// `TimedOut` if [`set_idle_timeout`](UnixStream::set_idle_timeout) has set a limit, and an
    /// error if the runtime has been closed. An error of the connection is not returned here; the
    /// next read returns it.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (mut client, mut server) = UnixStream::pair()?;
    /// client.write_all(b"hello").await?;
    /// server.readable().await?;
    /// assert_eq!(*server.recv().await?, *b"hello");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn readable(&mut self) -> io::Result<()> {
        let socket = self.socket();
        coop::leaf_fn(socket.home(), |cx| socket.poll_readable(cx)).await
    }

    /// Copies the next bytes into `buf` without taking them, and returns how many.
    ///
    /// Waits until bytes have arrived. Returns 0 at the end of the stream, and for an empty `buf`.
    /// It copies what has arrived, up to the length of `buf`, and cannot wait for more: a second
    /// `peek` is ready at once and copies the same bytes. To wait for more bytes, read.
    ///
    /// This is `recv(2)` with `MSG_PEEK`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it takes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](UnixStream::recv).
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (mut client, mut server) = UnixStream::pair()?;
    /// client.write_all(b"GET / HTTP/1.1\r\n").await?;
    /// let mut first = [0];
    /// match (server.peek(&mut first).await?, first) {
    ///     (1, [0x16]) => println!("a TLS handshake"),
    ///     (1, _) => println!("plain text"),
    ///     _ => println!("closed without a byte"),
    /// }
    /// assert_eq!(server.recv().await?[0], first[0]);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let socket = self.socket();
        coop::leaf_fn(socket.home(), |cx| socket.poll_peek(cx, buf)).await
    }

    /// Waits until the peer has finished sending, or the connection has ended.
    ///
    /// Returns when the peer has closed the connection or has shut down its sending side
    /// (`shutdown(2)`), also while bytes before the end are unread. It reads nothing: unread bytes
    /// stay readable, and bytes that the peer sends meanwhile stay in the kernel. After the end,
    /// every call is ready at once. Several tasks may wait, and each half has this method.
    ///
    /// This is `poll(2)` for `POLLRDHUP`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it takes nothing.
    ///
    /// # Errors
    ///
    /// An error if the kernel has no memory to watch the socket, or if the runtime has been
    /// closed. A failed connection is not an error here; the next read or write returns it.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # async fn look_up() -> Vec<u8> { std::future::pending().await }
    /// use std::{future::{Future, poll_fn}, pin::pin, task::Poll};
    ///
    /// # ringloop::run(async {
    /// # let (client, mut server) = UnixStream::pair()?;
    /// # client.close().await?;
    /// let reply = {
    ///     let (mut reply, mut closed) = (pin!(look_up()), pin!(server.closed()));
    ///     poll_fn(|cx| match reply.as_mut().poll(cx) {
    ///         Poll::Ready(reply) => Poll::Ready(Some(reply)),
    ///         Poll::Pending => closed.as_mut().poll(cx).map(|_ended| None),
    ///     })
    ///     .await
    /// };
    /// if let Some(reply) = reply {
    ///     server.send(reply).await?;
    /// } // else the client has gone, and the search has been dropped
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn closed(&self) -> io::Result<()> {
        peer_end::closed(self.socket()).await
    }

    /// Limits how long a read may wait without receiving a byte. Then it fails with `TimedOut`.
    ///
    /// `None`, the default, is no limit. The time counts from the last byte, or from the moment a
    /// read began to wait if that is later: what the program does between two reads is not idle
    /// time. A read that is dropped and started again continues the same wait. After the error the
    /// stream is unchanged: no byte is lost, and the next read begins another wait.
    ///
    /// No timer is set per message, unlike with a [`timeout`](crate::time::timeout) around each
    /// read. Not related to `SO_RCVTIMEO`, which the loop does not use.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// use std::io::ErrorKind;
    /// use std::time::Duration;
    ///
    /// # ringloop::run(async {
    /// # let (client, mut server) = UnixStream::pair()?;
    /// server.set_idle_timeout(Some(Duration::from_millis(5)));
    /// let error = server.recv().await.unwrap_err(); // the client is silent
    /// assert_eq!(error.kind(), ErrorKind::TimedOut);
    /// # drop(client);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn set_idle_timeout(&self, timeout: Option<Duration>) {
        self.socket().set_idle_timeout(timeout);
    }
}
