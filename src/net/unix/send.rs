//! Sending on a [`UnixStream`].

use std::io::{self, IoSlice};

use super::stream::UnixStream;
use crate::buf::IoBuf;
use crate::net::socket::transfer;
use crate::task::coop;

impl UnixStream {
    /// Queues a copy of `bytes` for sending.
    ///
    /// Returns when all bytes are queued, and waits while 64 KiB (65 536 bytes) or more are queued.
    /// The loop sends them at the end of the turn; small writes of one turn leave together.
    /// [`flush`](UnixStream::flush) waits until the kernel has taken them.
    ///
    /// This is asyncio's `StreamWriter.write` and `drain`. Unlike tokio's
    /// `AsyncWriteExt::write_all`, it does not wait for the kernel.
    ///
    /// # Cancel safety
    ///
    /// Up to 64 KiB are queued as a whole: a dropped `write_all` has queued all of them or none. A
    /// longer slice is queued in pieces, and a dropped future may have queued the first of them.
    ///
    /// # Errors
    ///
    /// Those of earlier sends (`send(2)`: `EPIPE`, `ECONNRESET`), which are final, and `EPIPE`
    /// after [`shutdown`](UnixStream::shutdown).
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (mut client, mut server) = UnixStream::pair()?;
    /// client.write_all(b"two writes, ").await?;
    /// client.write_all(b"one send").await?;
    /// assert_eq!(*server.recv().await?, *b"two writes, one send");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        transfer::write_all(self.socket(), bytes).await
    }

    /// Queues copies of several slices for sending, in order.
    ///
    /// This is [`write_all`](UnixStream::write_all) of all slices together: up to 64 KiB in sum are
    /// queued as a whole or not at all. Compare `writev(2)`.
    ///
    /// # Cancel safety
    ///
    /// That of [`write_all`](UnixStream::write_all), for the sum of the slices.
    ///
    /// # Errors
    ///
    /// Those of [`write_all`](UnixStream::write_all).
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// use std::io::IoSlice;
    ///
    /// # ringloop::run(async {
    /// # let (mut client, mut server) = UnixStream::pair()?;
    /// let body = b"hello";
    /// let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    /// server.write_all_vectored(&[IoSlice::new(head.as_bytes()), IoSlice::new(body)]).await?;
    /// assert!(client.recv().await?.ends_with(b"\r\n\r\nhello"));
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn write_all_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<()> {
        transfer::write_all_vectored(self.socket(), slices).await
    }

    /// Queues `buf` for sending, without copying it.
    ///
    /// Returns when the buffer is queued, and waits while 64 KiB (65 536 bytes) or more are queued.
    /// The stream owns the buffer until the kernel has taken its bytes, and then drops it. `send`
    /// queues the whole buffer, unlike `send(2)`, which may take a part of it.
    ///
    /// A buffer of few bytes is copied if it has to wait behind others, so that a peer that does
    /// not read cannot make the stream hold large buffers for single bytes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped `send` has queued nothing. The buffer is dropped with the future.
    ///
    /// # Errors
    ///
    /// Those of [`write_all`](UnixStream::write_all).
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (mut client, mut server) = UnixStream::pair()?;
    /// client.send(b"hello".to_vec()).await?;
    /// let bytes = server.recv().await?;
    /// server.send(bytes).await?; // an echo: the received buffer is sent again
    /// assert_eq!(*client.recv().await?, *b"hello");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn send(&mut self, buf: impl IoBuf) -> io::Result<()> {
        let socket = self.socket();
        let mut buf = Some(buf.into_out_buf());
        coop::leaf_fn(socket.home(), |cx| socket.poll_send(cx, &mut buf)).await
    }

    /// Waits until the kernel has taken all queued bytes.
    ///
    /// That is not a receipt: the bytes may still be unread. Only a reply of the peer proves more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the queued bytes are sent whether or not the future is polled.
    ///
    /// # Errors
    ///
    /// Those of earlier sends (`send(2)`: `EPIPE`, `ECONNRESET`), which are final.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (mut client, mut server) = UnixStream::pair()?;
    /// client.write_all(b"hello").await?;
    /// client.flush().await?;
    /// assert_eq!(*server.recv().await?, *b"hello");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn flush(&mut self) -> io::Result<()> {
        let socket = self.socket();
        coop::leaf_fn(socket.home(), |cx| socket.poll_flush(cx)).await
    }

    /// Finishes sending: the queued bytes are sent, then the peer reads the end of the stream.
    ///
    /// Receiving goes on. This is `shutdown(2)` with `SHUT_WR`, after the queued bytes. It acts on
    /// the connection, so the peer reads the end even while other descriptors of the connection
    /// are open: a duplicate, or the copy in a child process. [`close`](UnixStream::close) does not
    /// end those.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: once polled, the end is sent whether or not the future is polled again.
    ///
    /// # Errors
    ///
    /// Those of earlier sends (`send(2)`: `EPIPE`, `ECONNRESET`), which are final.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (mut client, mut server) = UnixStream::pair()?;
    /// client.shutdown().await?;
    /// assert!(server.recv().await?.is_empty()); // the end of the client's bytes
    /// server.write_all(b"bye").await?; // the other direction is open
    /// assert_eq!(*client.recv().await?, *b"bye");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn shutdown(&mut self) -> io::Result<()> {
        let socket = self.socket();
        coop::leaf_fn(socket.home(), |cx| socket.poll_shutdown(cx)).await
    }
}
