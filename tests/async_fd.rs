//! Readiness of descriptors that the loop did not make, on each driver.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::pin;

use common::{LIMIT, poll_once, turns, within};
use ringloop::io::AsyncFd;
use ringloop::{Builder, DriverChoice, Handle, Runtime};

/// Runs `body` with a fresh runtime on each driver.
fn on_each_driver(body: impl Fn(&Runtime)) {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        let runtime = Builder::new().driver(driver).build().expect("both drivers");
        within(LIMIT, || body(&runtime));
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

/// Goal: a peer that has shut down its sending side does not make a full socket writable, and the
/// loop does not spin over it.
///
/// Method: fill a socket, have its peer finish sending and not read; wait for writing for a
/// hundred turns, with an eye on the completions; then the peer reads.
///
/// Kills: taking `POLLRDHUP` for writable; asking anew for what is answered at once; waiting for
/// changes and missing the one that matters.
#[test]
fn a_peer_that_has_finished_sending_makes_nothing_writable() {
    on_each_driver(|runtime| {
        runtime.block_on(async {
            let (watched, mut peer) = watched_pair();
            fill(watched.get_ref());
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            watched.readable().await.unwrap();
            let mut writable = pin!(watched.writable());
            assert!(poll_once(writable.as_mut()).await.is_pending());
            let completions = Handle::current().metrics().completions;
            turns(100).await;
            let completions = Handle::current().metrics().completions - completions;
            assert!(completions < 10, "{completions} completions of nothing");
            assert!(poll_once(writable.as_mut()).await.is_pending());
            while peer.read(&mut [0; 65536]).is_ok() {}
            writable.await.unwrap();
            assert!(watched.get_ref().write(b"x").is_ok());
        });
    });
}
