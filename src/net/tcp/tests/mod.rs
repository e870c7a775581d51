//! Streams and listeners on a ring whose kernel is a script.

use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use super::{TcpListener, TcpStream};
use crate::Runtime;
use crate::driver::request::{Flags, Verb};
use crate::driver::uring::scripted::Script;
use crate::runtime::context;
use crate::task::yield_now;

/// A runtime on a scripted ring with small queues and four small buffers.
fn scripted() -> (Script, Runtime) {
    let script = Script::new();
    let builder = Runtime::builder().ring_entries(8, 16).recv_buffers(4, 64);
    let runtime = builder.build_scripted(&script);
    (script, runtime)
}

/// A stream on one end of a real socket pair, and the other end.
fn stream() -> (TcpStream, std::os::unix::net::UnixStream) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    let reactor = Rc::clone(&context::current().reactor);
    (TcpStream::adopt(&reactor, OwnedFd::from(ours)), theirs)
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Lets the loop enter the kernel and hand out what came.
async fn turns(count: u32) {
    for _ in 0..count {
        yield_now().await;
    }
}

/// Goal: a dropped `recv` loses nothing, whether its bytes come before or after.
/// Method: drop a pending `recv`, deliver, drop one that is woken but not polled, read.
/// Kills: cancelling the receive with the future; keeping bytes in the future.
#[test]
fn a_dropped_recv_loses_no_byte() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        {
            let mut recv = pin!(stream.recv());
            assert!(poll_once(recv.as_mut()).await.is_pending());
        }
        turns(2).await;
        let op = script.the(Verb::Recv);
        {
            let mut recv = pin!(stream.recv());
            assert!(poll_once(recv.as_mut()).await.is_pending());
            assert!(script.deliver(op, b"one", true));
            turns(2).await;
        }
        assert!(script.deliver(op, b"two", true));
        assert_eq!(&*stream.recv().await.unwrap(), b"one");
        assert_eq!(&*stream.recv().await.unwrap(), b"two");
        assert!(script.cancels().is_empty(), "nobody cancelled");
    });
}

/// Goal: the last completion of a multishot accept can carry a connection (H49).
/// Method: complete with a descriptor and without MORE; the accept is armed again.
/// Kills: looking at MORE before the result.
#[test]
fn a_final_accept_carries_a_connection() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut accept = pin!(listener.accept());
        assert!(poll_once(accept.as_mut()).await.is_pending());
        turns(1).await;
        let (_ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let fd = std::os::fd::IntoRawFd::into_raw_fd(theirs);
        script.complete(script.the(Verb::Accept), fd, Flags::NONE);
        let accepted = accept.await.unwrap();
        assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&accepted), fd);
    });
}
