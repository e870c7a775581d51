//! A process that has forked. A file of its own, because forking changes the whole process.
#![allow(unsafe_code)] // CommandExt::pre_exec

mod common;

use std::os::unix::process::CommandExt;
use std::pin::pin;
use std::process::Command;

use common::{poll_once, until};
use ringloop::net::{TcpListener, TcpStream};
use ringloop::{DriverKind, Handle, Runtime};

/// The loop's end of a connection, with a receive armed on it, and the peer.
async fn armed(listener: &TcpListener) -> (TcpStream, std::net::TcpStream) {
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut stream = listener.accept().await.unwrap();
    assert!(poll_once(pin!(stream.recv())).await.is_pending());
    (stream, peer)
}

/// Cancels that closing one connection takes.
async fn cancels_of_a_close(listener: &TcpListener) -> u64 {
    let (stream, peer) = armed(listener).await;
    ringloop::task::yield_now().await; // the receive is submitted
    let before_count = Handle::current().metrics().cancels;
    let in_flight_count = Handle::current().metrics().in_flight;
    drop(stream);
    until(|| Handle::current().metrics().in_flight < in_flight_count).await;
    drop(peer);
    Handle::current().metrics().cancels - before_count
}

/// Goal: a connection whose descriptor a forked child may hold is not shut down for both.
///
/// Method: on the ring, closing ends an armed receive without a cancel (by `shutdown(2)`, which acts
/// on the open file) until the process forks, and with a cancel from then on. On epoll a cancel makes
/// no system call, so it is always used.
///
/// Kills: a handler that is not registered, or does not store; `may_shut_down_reading` without a
/// look at it.
#[test]
fn a_fork_ends_the_cheap_way_to_close() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let is_ring = Handle::current().driver().kind() == DriverKind::Uring;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(cancels_of_a_close(&listener).await, u64::from(!is_ring));

        let mut command = Command::new("true");
        // SAFETY: the closure does nothing. Its presence makes the standard library fork.
        unsafe { command.pre_exec(|| Ok(())) };
        assert!(command.status().unwrap().success());
        assert_eq!(cancels_of_a_close(&listener).await, 1);
    });
}
