//! All operations of a server, in one process that checks itself.
//!
//! It is an ordinary test, and `scripts/inject.sh` runs it while system calls fail or are slow. So
//! errors end the test with their own text, and the result must not depend on the number or the
//! speed of turns.

mod common;

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use common::{LIMIT, assert_coded, coded_bytes, within};
use ringloop::net::{TcpListener, TcpStream};
use ringloop::time::{Instant, sleep, timeout};
use ringloop::{Builder, spawn};

const CONNECTIONS: u64 = 8;
const ROUNDS: u64 = 10;
const WAKES: u32 = 20;
const NAP: Duration = Duration::from_millis(3);

/// Goal: bytes arrive unchanged and in order in both directions, timers do not fire early, waits
/// end, and wakes from another thread arrive, whatever single system calls return (G2).
///
/// Method: connections with requests and replies of many sizes, each direction with coded bytes;
/// sleeps and a timeout; a thread whose next wake waits until the last one arrived. All at once,
/// and sleeps and wakes again when no other event ends the loop's sleep. With queues of ordinary
/// size, and with the smallest.
///
/// Kills: bytes lost, repeated or swapped by a repeated call; a timer that is armed only once; an
/// eventfd that is read once too often.
#[test]
fn bytes_timers_and_wakes_arrive() {
    within(LIMIT, || {
        let builders = [Builder::new(), Builder::new().ring_entries(2, 4).recv_buffers(4, 512)];
        let build = |builder: Builder| builder.build().unwrap_or_else(|e| panic!("smoke: {e}"));
        for runtime in builders.map(build) {
            println!("\nsmoke: {}", runtime.handle().driver());
            let outcome = runtime.block_on(everything());
            drop(runtime);
            outcome.unwrap_or_else(|error| panic!("smoke: {error}"));
        }
    });
}

async fn everything() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = listener.local_addr()?;
    let server = spawn(serve(listener));
    let clients: Vec<_> = (0..CONNECTIONS).map(|number| spawn(ask(addr, number))).collect();
    let naps = spawn(take_naps());
    let wakes = spawn(hear_wakes());
    for client in clients {
        client.await.expect("no panic")?;
    }
    for ended in [server, naps] {
        ended.await.expect("no panic")?;
    }
    wakes.await.expect("no panic");
    take_naps().await?;
    hear_wakes().await;
    Ok(())
}

/// The lengths of a round's request and reply: from one byte to more than a receive buffer.
fn lengths(number: u64, round: u64) -> (usize, usize) {
    let len = |seed: u64| 1 + (seed * 2_654_435_761 % (4_000 << (round % 3))) as usize;
    (len(number * ROUNDS + round + 1), len(number + round * CONNECTIONS + 7))
}

/// The starts of the codes of a connection's two directions.
fn codes(number: u64) -> (u64, u64) {
    (number << 32, number << 32 | 1 << 31)
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(spawn(answer(listener.accept().await?)));
    }
    for connection in connections {
        connection.await.expect("no panic")?;
    }
    Ok(())
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut number = [0];
    stream.read_exact(&mut number).await?;
    let number = u64::from(number[0]);
    let (mut theirs, mut ours) = codes(number);
    for round in 0..ROUNDS {
        let (question_len, answer_len) = lengths(number, round);
        let mut question = vec![0; question_len];
        stream.read_exact(&mut question).await?;
        assert_coded(theirs, &question);
        stream.write_all(&coded_bytes(ours, answer_len)).await?;
        stream.flush().await?; // returns errors, on which both sides would wait
        (theirs, ours) = (theirs + question_len as u64, ours + answer_len as u64);
    }
    let end = stream.recv().await?;
    assert!(end.is_empty(), "{} bytes too many", end.len());
    stream.close().await
}

async fn ask(addr: SocketAddr, number: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(&[number as u8]).await?;
    let (mut ours, mut theirs) = codes(number);
    for round in 0..ROUNDS {
        let (question_len, answer_len) = lengths(number, round);
        // In two pieces, so that the other side waits for the second.
        let (first, second) = (question_len / 2, question_len - question_len / 2);
        stream.write_all(&coded_bytes(ours, first)).await?;
        stream.flush().await?;
        stream.write_all(&coded_bytes(ours + first as u64, second)).await?;
        stream.flush().await?;
        let mut answer = vec![0; answer_len];
        stream.read_exact(&mut answer).await?;
        assert_coded(theirs, &answer);
        (ours, theirs) = (ours + question_len as u64, theirs + answer_len as u64);
    }
    stream.shutdown().await?;
    let end = stream.recv().await?;
    assert!(end.is_empty(), "{} bytes too many", end.len());
    stream.close().await
}

async fn take_naps() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    for _ in 0..10 {
        let start = Instant::now();
        sleep(NAP).await;
        assert!(start.elapsed() >= NAP, "woken after {:?}", start.elapsed());
        let start = Instant::now();
        let outcome = timeout(NAP, listener.accept()).await;
        // An error of the accept is possible; a connection is not.
        if let Ok(accepted) = outcome {
            accepted?;
            panic!("a connection without a client");
        }
        assert!(start.elapsed() >= NAP, "given up after {:?}", start.elapsed());
    }
    Ok(())
}

#[derive(Default)]
struct Notified {
    notified_count: u32,
    heard_count: u32,
    waiter: Option<Waker>,
}

async fn hear_wakes() {
    let shared = Arc::new((Mutex::new(Notified::default()), Condvar::new()));
    let theirs = Arc::clone(&shared);
    let ringer = std::thread::spawn(move || {
        let (wake_fd, has_changed) = &*theirs;
        for _ in 0..WAKES {
            let wake_fd = wake_fd.lock().unwrap();
            let is_waiting = |wake_fd: &mut Notified| wake_fd.waiter.is_none();
            let mut wake_fd = has_changed.wait_while(wake_fd, is_waiting).unwrap();
            wake_fd.notified_count += 1;
            wake_fd.waiter.take().unwrap().wake();
        }
    });
    let (wake_fd, has_changed) = &*shared;
    poll_fn(|cx| {
        let mut wake_fd = wake_fd.lock().unwrap();
        wake_fd.heard_count = wake_fd.notified_count;
        if wake_fd.heard_count == WAKES {
            return Poll::Ready(());
        }
        wake_fd.waiter = Some(cx.waker().clone());
        has_changed.notify_one();
        Poll::Pending
    })
    .await;
    ringer.join().expect("no panic");
}
