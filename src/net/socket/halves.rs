//! Reading and writing, for a whole stream and for its halves.
//!
//! The functions are what the methods of streams and of their halves call; the promises are written
//! at [`TcpStream`].

use std::fmt;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::Context;

use super::hang_up::closed;
use super::send::Slices;
use super::stream::Socket;
use crate::buf::{IoBuf, RecvBuf};
use crate::net::{TcpStream, UnixStream};
use crate::task::coop;

pub(in crate::net) async fn recv(socket: &Rc<Socket>) -> io::Result<RecvBuf> {
    coop::leaf_fn(socket.home(), |cx| socket.poll_recv(cx)).await
}

pub(in crate::net) async fn read(socket: &Rc<Socket>, buf: &mut [u8]) -> io::Result<usize> {
    if buf.is_empty() {
        return coop::ready(Ok(0)).await;
    }
    let mut bytes = recv(socket).await?;
    let count = bytes.len().min(buf.len());
    buf[..count].copy_from_slice(&bytes[..count]);
    if count < bytes.len() {
        bytes.advance(count);
        socket.unread(bytes);
    }
    Ok(count)
}

pub(in crate::net) async fn read_exact(socket: &Rc<Socket>, buf: &mut [u8]) -> io::Result<()> {
    if buf.is_empty() {
        return coop::ready(Ok(())).await;
    }
    let mut filling = Filling { socket, buf, filled: 0 };
    while filling.filled < filling.buf.len() {
        let count = read(socket, &mut filling.buf[filling.filled..]).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filling.filled += count;
    }
    filling.filled = 0; // they are the caller's now
    Ok(())
}

/// Puts back what a `read_exact` that did not finish has copied.
struct Filling<'a> {
    socket: &'a Rc<Socket>,
    buf: &'a mut [u8],
    filled: usize,
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        self.socket.unread_copy(&self.buf[..self.filled]);
    }
}

pub(in crate::net) async fn readable(socket: &Rc<Socket>) -> io::Result<()> {
    coop::leaf_fn(socket.home(), |cx| socket.poll_readable(cx)).await
}

pub(in crate::net) async fn peek(socket: &Rc<Socket>, buf: &mut [u8]) -> io::Result<usize> {
    if buf.is_empty() {
        return coop::ready(Ok(0)).await;
    }
    coop::leaf_fn(socket.home(), |cx| socket.poll_peek(cx, buf)).await
}

pub(in crate::net) async fn write_all(socket: &Rc<Socket>, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    loop {
        let count = coop::leaf_fn(socket.home(), |cx| socket.poll_write(cx, rest)).await?;
        rest = &rest[count..];
        if rest.is_empty() {
            return Ok(());
        }
    }
}

pub(in crate::net) async fn write_all_vectored(
    socket: &Rc<Socket>,
    slices: &[IoSlice<'_>],
) -> io::Result<()> {
    let mut rest = Slices::new(slices);
    loop {
        coop::leaf_fn(socket.home(), |cx| socket.poll_write_slices(cx, &mut rest)).await?;
        if rest.is_empty() {
            return Ok(());
        }
    }
}

pub(in crate::net) async fn send(socket: &Rc<Socket>, buf: impl IoBuf) -> io::Result<()> {
    let mut buf = Some(buf.into_out_buf());
    coop::leaf_fn(socket.home(), |cx| socket.poll_send(cx, &mut buf)).await
}

pub(in crate::net) async fn flush(socket: &Rc<Socket>) -> io::Result<()> {
    coop::leaf_fn(socket.home(), |cx| socket.poll_flush(cx)).await
}

pub(in crate::net) async fn shutdown(socket: &Rc<Socket>) -> io::Result<()> {
    let shutdown = |cx: &mut Context<'_>| {
        socket.queue_fin();
        socket.poll_flush(cx)
    };
    coop::leaf_fn(socket.home(), shutdown).await
}

pub(in crate::net) fn borrowed(socket: &Rc<Socket>) -> (ReadHalf<'_>, WriteHalf<'_>) {
    (ReadHalf { socket }, WriteHalf { socket })
}

pub(in crate::net) fn owned<S>(
    socket: Rc<Socket>,
    stream: S,
) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
    let stream = Rc::new(stream);
    let read_half = OwnedReadHalf { socket: Rc::clone(&socket), stream: Rc::clone(&stream) };
    (read_half, OwnedWriteHalf { socket, stream })
}

/// The reading half of a borrowed stream.
pub struct ReadHalf<'a> {
    socket: &'a Rc<Socket>,
}

/// The writing half of a borrowed stream.
pub struct WriteHalf<'a> {
    socket: &'a Rc<Socket>,
}

/// The reading half of a stream that was split for good. Dropping it throws away what has
/// arrived and receives nothing more.
pub struct OwnedReadHalf<S = TcpStream> {
    socket: Rc<Socket>,
    /// Closes the socket with the last half.
    stream: Rc<S>,
}

/// The writing half of a stream that was split for good. Dropping it finishes sending: what
/// is queued goes out, then the peer reads the end.
pub struct OwnedWriteHalf<S = TcpStream> {
    socket: Rc<Socket>,
    /// Closes the socket with the last half.
    stream: Rc<S>,
}

impl ReadHalf<'_> {
    fn socket(&self) -> &Rc<Socket> {
        self.socket
    }
}

impl WriteHalf<'_> {
    fn socket(&self) -> &Rc<Socket> {
        self.socket
    }
}

impl<S> OwnedReadHalf<S> {
    fn socket(&self) -> &Rc<Socket> {
        &self.socket
    }

    /// The stream, for its addresses and options.
    pub fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S> OwnedWriteHalf<S> {
    fn socket(&self) -> &Rc<Socket> {
        &self.socket
    }

    /// The stream, for its addresses and options.
    pub fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S> Drop for OwnedReadHalf<S> {
    fn drop(&mut self) {
        // Or what arrives would sit in the queue, in buffers that other sockets could use.
        self.socket().stop_reading(false); // the writing half goes on
    }
}

impl<S> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        self.socket().queue_fin();
    }
}

macro_rules! reading {
    ([$($generics:tt)*] $stream:ty) => {
        impl<$($generics)*> $stream {
            /// As [`TcpStream::recv`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn recv(&mut self) -> io::Result<RecvBuf> {
                recv(self.socket()).await
            }

            /// As [`TcpStream::read`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                read(self.socket(), buf).await
            }

            /// As [`TcpStream::read_exact`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
                read_exact(self.socket(), buf).await
            }

            /// As [`TcpStream::readable`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn readable(&mut self) -> io::Result<()> {
                readable(self.socket()).await
            }

            /// As [`TcpStream::peek`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                peek(self.socket(), buf).await
            }
        }
    };
}

macro_rules! writing {
    ([$($generics:tt)*] $stream:ty) => {
        impl<$($generics)*> $stream {
            /// As [`TcpStream::write_all`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
                write_all(self.socket(), bytes).await
            }

            /// As [`TcpStream::write_all_vectored`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn write_all_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<()> {
                write_all_vectored(self.socket(), slices).await
            }

            /// As [`TcpStream::send`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn send(&mut self, buf: impl IoBuf) -> io::Result<()> {
                send(self.socket(), buf).await
            }

            /// As [`TcpStream::flush`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn flush(&mut self) -> io::Result<()> {
                flush(self.socket()).await
            }

            /// As [`TcpStream::shutdown`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn shutdown(&mut self) -> io::Result<()> {
                shutdown(self.socket()).await
            }
        }
    };
}

macro_rules! either {
    ([$($generics:tt)*] $stream:ty) => {
        impl<$($generics)*> $stream {
            /// As [`TcpStream::closed`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn closed(&self) -> io::Result<()> {
                closed(self.socket()).await
            }
        }
    };
}

either!([] ReadHalf<'_>);
either!([] WriteHalf<'_>);
either!([S] OwnedReadHalf<S>);
either!([S] OwnedWriteHalf<S>);
either!([] UnixStream);
reading!([] ReadHalf<'_>);
reading!([S] OwnedReadHalf<S>);
reading!([] UnixStream);
writing!([] WriteHalf<'_>);
writing!([S] OwnedWriteHalf<S>);
writing!([] UnixStream);

macro_rules! debug {
    ($($name:literal: [$($generics:tt)*] $half:ty),*) => {$(
        impl<$($generics)*> fmt::Debug for $half {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name).finish_non_exhaustive()
            }
        }
    )*};
}

debug!("ReadHalf": [] ReadHalf<'_>, "OwnedReadHalf": [S] OwnedReadHalf<S>);
debug!("WriteHalf": [] WriteHalf<'_>, "OwnedWriteHalf": [S] OwnedWriteHalf<S>);
