//! The cell's process, for a loop whose `io_uring_enter` is refused after it has served.

use std::future::pending;
use std::io;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::time::Duration;

use ringloop::net::TcpListener;
use ringloop::time::{sleep, timeout};
use ringloop::{Handle, JoinHandle, spawn};

use crate::common::{poll_once, std_pair, turns, unanswering_addr, until};
use crate::server::{Input, code, refuse_enter, say};

const MOMENT: Duration = Duration::from_millis(20);

/// The parent's byte for "now".
pub(crate) const NOW: u8 = b'!';
/// The parent's byte that requests a reply.
pub(crate) const ASK: u8 = b'?';

/// Operations that wait for the driver, and the values that must live as long.
struct WaitingOps {
    operations: Vec<(&'static str, JoinHandle<io::Result<()>>)>,
    timer: JoinHandle<()>,
    peers: Vec<Box<dyn std::any::Any>>,
}

/// One operation of each kind, none of which can end.
async fn one_of_each() -> WaitingOps {
    let mut operations = Vec::new();

    let (mut reader, readers_peer) = std_pair();
    operations.push(("recv", spawn(async move { reader.recv().await.map(drop) })));

    let (mut writer, writers_peer) = std_pair();
    operations.push((
        "send",
        spawn(async move {
            loop {
                writer.write_all(&[0; 16 * 1024]).await?;
            }
        }),
    ));

    let (mut flusher, flushers_peer) = std_pair();
    while poll_once(pin!(flusher.write_all(&[0; 16 * 1024]))).await.is_ready() {
        turns(1).await;
    }
    operations.push(("flush", spawn(async move { flusher.flush().await })));

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    operations.push(("accept", spawn(async move { listener.accept().await.map(drop) })));

    let (addr, full) = unanswering_addr();
    let connect = async move { ringloop::net::TcpStream::connect(addr).await.map(drop) };
    operations.push(("connect", spawn(connect)));

    // These five, and those of the parent's connection and the server.
    until(|| Handle::current().metrics().in_flight == 7).await;
    WaitingOps {
        operations,
        timer: spawn(sleep(MOMENT)),
        peers: vec![
            Box::new(readers_peer),
            Box::new(writers_peer),
            Box::new(flushers_peer),
            Box::new(full),
        ],
    }
}

/// Checks that every operation ends with the reason, and that timers and tasks go on.
pub(crate) async fn while_it_runs(input: &Input, errno: &str) {
    assert_eq!(input.next().await, Some(NOW));
    let waiting = one_of_each().await;
    refuse_enter(errno);
    let cause = io::Error::from_raw_os_error(code(errno));
    let failed = |what: &str, result: io::Result<()>| {
        let error = result.expect_err(what).to_string();
        assert_eq!(error, format!("the io_uring driver failed: {cause}"), "{what}");
    };
    for (what, operation) in waiting.operations {
        failed(what, operation.await.expect("no panic"));
    }
    waiting.timer.await.expect("no panic");

    let (mut stream, _peer) = std_pair();
    failed("a new recv", stream.recv().await.map(drop));
    failed("a new send", stream.write_all(b"?").await);
    stream.close().await.expect("a close with nothing left to send");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let addr = listener.local_addr().expect("an address");
    failed("a new connect", ringloop::net::TcpStream::connect(addr).await.map(drop));
    failed("a new accept", listener.accept().await.map(drop));
    sleep(MOMENT).await;
    timeout(MOMENT, pending::<()>()).await.expect_err("a timeout that fires");
    assert_eq!(Handle::current().metrics().in_flight, 0);

    say("broken", "");
    assert_eq!(input.next().await, Some(ASK));
    say("heard", "");
}

/// Leaves the operations in flight. The end of the loop follows.
pub(crate) async fn before_it_ends(input: &Input) {
    assert_eq!(input.next().await, Some(NOW));
    std::mem::forget(one_of_each().await.peers);
}
