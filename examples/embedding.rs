//! Embedding: another loop drives a ringloop runtime, and both make progress.
//!
//! `cargo run --example embedding`. The host waits for two things: the descriptor of the guest,
//! and the time of the guest's first timer. Here the host is a second runtime. A graphical program
//! or a game has a loop of its own, which adds the descriptor to its `poll(2)`.

use std::io::{self, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use ringloop::Runtime;
use ringloop::io::AsyncFd;
use ringloop::net::UnixStream;
use ringloop::time::{Instant, sleep, timeout_at};

fn main() -> io::Result<()> {
    let guest = Runtime::new().map_err(io::Error::other)?;
    let host = Runtime::new().map_err(io::Error::other)?;

    // Tasks of the guest: one receives from a socket, one sleeps.
    let (mut sender, receiver) = StdUnixStream::pair()?;
    let receives = guest.handle().spawn(async move {
        let mut stream = UnixStream::from_std(receiver);
        let bytes = stream.recv().await?;
        println!("guest: received {:?}", String::from_utf8_lossy(&bytes));
        stream.close().await
    });
    let sleeps = guest.handle().spawn(async {
        sleep(Duration::from_millis(50)).await;
        println!("guest: slept for 50 ms");
    });

    // A task of the host: it sends to the guest, in the middle of the guest's sleep.
    host.handle().spawn(async move {
        sleep(Duration::from_millis(10)).await;
        println!("host: sends");
        sender.write_all(b"hello").expect("room for five bytes");
    });

    let descriptor = host.block_on(async { AsyncFd::new(guest.poll_fd()?) })?;
    let mut turns = 0;
    loop {
        guest.turn(Some(Duration::ZERO)); // never sleeps
        turns += 1;
        if receives.is_finished() && sleeps.is_finished() {
            break;
        }
        // A time of the guest is a time of the host: one clock for all loops.
        let deadline = guest.next_deadline().unwrap_or(Instant::now() + Duration::from_secs(3600));
        let is_readable =
            host.block_on(async { timeout_at(deadline, descriptor.readable()).await });
        is_readable.unwrap_or(Ok(()))?; // a deadline that has passed is due in the next turn
    }
    guest.block_on(receives).map_err(io::Error::other)??;
    println!("host: done after {}", if turns < 50 { "a few turns" } else { "too many turns" });
    Ok(())
}
