//! Reads and accepts with a deadline.
//!
//! **Invariant.** What the operation would have taken is not lost: if the deadline passes, bytes
//! stay for the next read and connections for the next accept. The result of the operation wins if
//! it has completed, also when the budget of the poll is spent.

use std::io;

use super::halves::ReadHalf;
use super::owned_halves::OwnedReadHalf;
use super::tcp::{TcpListener, TcpStream};
use super::unix::{UnixListener, UnixStream};
use crate::buf::RecvBuf;
use crate::time::{Instant, op_deadline};

impl TcpStream {
    /// Receives the next bytes, like [`recv`](TcpStream::recv), until `at` at the latest.
    ///
    /// If bytes have arrived when the deadline passes, it returns them.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: neither a drop nor the deadline loses a byte.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the deadline has passed. Otherwise those of [`recv`](TcpStream::recv).
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # use std::time::Duration;
    /// use ringloop::time::Instant;
    ///
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let mut server = listener.accept().await?;
    /// let soon = Instant::now() + Duration::from_millis(1);
    /// let error = server.recv_deadline(soon).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    ///
    /// client.write_all(b"late").await?;
    /// assert_eq!(*server.recv().await?, *b"late");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn recv_deadline(&mut self, at: Instant) -> io::Result<RecvBuf> {
        op_deadline(at, self.recv()).await
    }

    /// Copies received bytes into `buf`, like [`read`](TcpStream::read), until `at` at the latest.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: neither a drop nor the deadline loses a byte.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the deadline has passed. Otherwise those of [`read`](TcpStream::read).
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # use std::time::Duration;
    /// use ringloop::time::Instant;
    ///
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let mut server = listener.accept().await?;
    /// client.write_all(b"hello").await?;
    /// let mut buf = [0; 8];
    /// let in_a_minute = Instant::now() + Duration::from_secs(60);
    /// assert_eq!(server.read_deadline(&mut buf, in_a_minute).await?, 5);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn read_deadline(&mut self, buf: &mut [u8], at: Instant) -> io::Result<usize> {
        op_deadline(at, self.read(buf)).await
    }

    /// Fills `buf` with received bytes, like [`read_exact`](TcpStream::read_exact), until `at` at
    /// the latest.
    ///
    /// If the deadline passes first, the bytes that have arrived stay for the next read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: neither a drop nor the deadline loses a byte.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the deadline has passed. Otherwise those of
    /// [`read_exact`](TcpStream::read_exact).
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # use std::time::Duration;
    /// use ringloop::time::Instant;
    ///
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let mut server = listener.accept().await?;
    /// client.write_all(b"ab").await?;
    /// let mut buf = [0; 4];
    /// let soon = Instant::now() + Duration::from_millis(5);
    /// assert!(server.read_exact_deadline(&mut buf, soon).await.is_err());
    /// client.write_all(b"cd").await?;
    /// server.read_exact(&mut buf).await?;
    /// assert_eq!(buf, *b"abcd");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn read_exact_deadline(&mut self, buf: &mut [u8], at: Instant) -> io::Result<()> {
        op_deadline(at, self.read_exact(buf)).await
    }
}

impl UnixStream {
    /// Receives the next bytes, like [`recv`](UnixStream::recv), until `at` at the latest.
    ///
    /// Details: [`TcpStream::recv_deadline`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: neither a drop nor the deadline loses a byte.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the deadline has passed. Otherwise those of [`recv`](UnixStream::recv).
    pub async fn recv_deadline(&mut self, at: Instant) -> io::Result<RecvBuf> {
        op_deadline(at, self.recv()).await
    }

    /// Copies received bytes into `buf`, like [`read`](UnixStream::read), until `at` at the latest.
    ///
    /// Details: [`TcpStream::read_deadline`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: neither a drop nor the deadline loses a byte.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the deadline has passed. Otherwise those of [`read`](UnixStream::read).
    pub async fn read_deadline(&mut self, buf: &mut [u8], at: Instant) -> io::Result<usize> {
        op_deadline(at, self.read(buf)).await
    }

    /// Fills `buf` with received bytes, like [`read_exact`](UnixStream::read_exact), until `at` at
    /// the latest.
    ///
    /// Details: [`TcpStream::read_exact_deadline`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: neither a drop nor the deadline loses a byte.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the deadline has passed. Otherwise those of
    /// [`read_exact`](UnixStream::read_exact).
    pub async fn read_exact_deadline(&mut self, buf: &mut [u8], at: Instant) -> io::Result<()> {
        op_deadline(at, self.read_exact(buf)).await
    }
}

impl ReadHalf<'_> {
    /// Receives the next bytes, until `at` at the latest.
    ///
    /// Details: [`TcpStream::recv_deadline`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: neither a drop nor the deadline loses a byte.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the deadline has passed. Otherwise those of [`recv`](ReadHalf::recv).
    pub async fn recv_deadline(&mut self, at: Instant) -> io::Result<RecvBuf> {
        op_deadline(at, self.recv()).await
    }

    /// Copies received bytes into `buf`, until `at` at the latest.
    ///
    /// Details: [`TcpStream::read_deadline`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: neither a drop nor the deadline loses a byte.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the deadline has passed. Otherwise those of [`read`](ReadHalf::read).
    pub async fn read_deadline(&mut self, buf: &mut [u8], at: Instant) -> io::Result<usize> {
        op_deadline(at, self.read(buf)).await
    }
}

impl<S> OwnedReadHalf<S> {
    /// Receives the next bytes, until `at` at the latest.
    ///
    /// Details: [`TcpStream::recv_deadline`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: neither a drop nor the deadline loses a byte.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the deadline has passed. Otherwise those of [`recv`](OwnedReadHalf::recv).
    pub async fn recv_deadline(&mut self, at: Instant) -> io::Result<RecvBuf> {
        op_deadline(at, self.recv()).await
    }

    /// Copies received bytes into `buf`, until `at` at the latest.
    ///
    /// Details: [`TcpStream::read_deadline`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: neither a drop nor the deadline loses a byte.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the deadline has passed. Otherwise those of [`read`](OwnedReadHalf::read).
    pub async fn read_deadline(&mut self, buf: &mut [u8], at: Instant) -> io::Result<usize> {
        op_deadline(at, self.read(buf)).await
    }
}

impl TcpListener {
    /// Takes the next connection, like [`accept`](TcpListener::accept), until `at` at the latest.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: neither a drop nor the deadline loses a connection.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the deadline has passed. Otherwise those of [`accept`](TcpListener::accept).
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # use std::time::Duration;
    /// use ringloop::time::Instant;
    ///
    /// # ringloop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let soon = Instant::now() + Duration::from_millis(1);
    /// assert!(listener.accept_deadline(soon).await.is_err());
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn accept_deadline(&self, at: Instant) -> io::Result<TcpStream> {
        op_deadline(at, self.accept()).await
    }
}

impl UnixListener {
    /// Takes the next connection, like [`accept`](UnixListener::accept), until `at` at the latest.
    ///
    /// Details: [`TcpListener::accept_deadline`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: neither a drop nor the deadline loses a connection.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the deadline has passed. Otherwise those of [`accept`](UnixListener::accept).
    pub async fn accept_deadline(&self, at: Instant) -> io::Result<UnixStream> {
        op_deadline(at, self.accept()).await
    }
}
