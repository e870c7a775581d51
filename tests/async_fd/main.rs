//! `AsyncFd`: readiness of descriptors that the loop did not make, on each driver.

#[path = "../common/mod.rs"]
mod common;
mod lifetime;
mod readiness;

use std::future::Future;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::pin::Pin;

use common::{LIMIT, poll_once, serial, turns, until, within};
use ringloop::io::AsyncFd;
use ringloop::{Builder, DriverChoice, Handle, Runtime};

/// Runs `body` with a new runtime on each driver of this machine, with small queues. One test at a
/// time, because some count the descriptors of the process.
fn on_each_driver(body: impl Fn(Runtime)) {
    let _serial = serial();
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        let builder = Builder::new().driver(driver).ring_entries(8, 16);
        let runtime = match (builder.build(), driver) {
            (Ok(runtime), _) => runtime,
            (Err(error), DriverChoice::Uring) => {
                println!("SKIP uring: {error}");
                continue;
            }
            (Err(error), _) => panic!("{error}"),
        };
        within(LIMIT, || body(runtime));
    }
}

/// A watched socket and its peer. Neither ever blocks.
fn watched_pair() -> (AsyncFd<UnixStream>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    ours.set_nonblocking(true).expect("an option");
    theirs.set_nonblocking(true).expect("an option");
    (AsyncFd::new(ours).expect("a duplicate"), theirs)
}

/// Writes until there is no room.
fn fill(mut socket: &UnixStream) {
    loop {
        match socket.write(&[7; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Polls a wait and lets the kernel have its poll: `turns` turns later it is still pending.
async fn is_pending<F: Future>(mut wait: Pin<&mut F>) -> bool {
    for _ in 0..5 {
        if poll_once(wait.as_mut()).await.is_ready() {
            return false;
        }
        turns(1).await;
    }
    true
}

async fn in_flight(count: u64) {
    until(|| Handle::current().metrics().in_flight == count).await;
}
