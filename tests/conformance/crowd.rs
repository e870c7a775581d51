//! Many connections at once, on a loop with small queues and few buffers.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::common::{Code, Dice, any_addr, open_fds, poll_once, scaled, turns, until};
use crate::{Body, Driver, bodies};
use ringloop::net::{TcpListener, TcpStream};
use ringloop::time::timeout;
use ringloop::{Handle, JoinHandle, spawn};

pub(crate) const ALONE: &[Body] = bodies![a_crowd_with_random_cancels_loses_nothing];

/// Goal: among connections that end well, are dropped, reset or aborted at any moment, each byte
/// arrives once, in order, and on its own connection, and in the end no operation is in flight.
///
/// Method: 200 connections to an echo on small queues and few buffers; coded bytes of random
/// lengths in random pieces; reads that are dropped or time out and are started again; a third of
/// the clients end early. Operations, buffers and descriptors are counted at the end.
///
/// Kills: bytes on another connection; a buffer returned twice or never; an operation that outlives
/// its socket; a task that is not woken.
fn a_crowd_with_random_cancels_loses_nothing(on: Driver) {
    let before = open_fds();
    // Bytes of clients that end early are lost.
    let builder = on.builder().ring_entries(16, 32).recv_buffers(16, 512).on_unhandled(|_| {});
    let runtime = builder.linger(Duration::from_millis(100)).build().unwrap();
    let crowd = scaled(200).max(20);
    runtime.block_on(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let served = Rc::new(Cell::new(0));
        let serving = spawn(serve(listener, Rc::clone(&served)));
        let clients: Vec<_> = (1..=crowd)
            .map(|id| {
                let mut dice = Dice::new(1000 + id);
                let ending = Ending::roll(&mut dice);
                (
                    ending,
                    spawn(async move {
                        let stream = TcpStream::connect(addr).await.unwrap();
                        converse(stream, Code(id), ending, dice).await;
                    }),
                )
            })
            .collect();
        let mut dice = Dice::new(999);
        let mut well_ended = 0;
        for (ending, client) in clients {
            if ending == Ending::TaskAborted {
                turns(dice.roll(20) as usize).await;
                client.abort();
                assert!(client.await.unwrap_err().is_cancelled(), "it never ends by itself");
                continue;
            }
            client.await.expect("each byte came back");
            well_ended += 1;
        }
        assert!(well_ended > crowd / 2, "{well_ended} of {crowd}");
        serving.abort();
        let metrics = || Handle::current().metrics();
        until(|| metrics().tasks == 0 && metrics().in_flight == 0).await;
        let (buffers, stale_completions) = (metrics().buffers_held, metrics().stale_completions);
        assert_eq!((buffers, stale_completions, metrics().spin_backoffs), (0, 0, 0));
        assert!(served.get() > crowd / 2, "{} served", served.get());
    });
    drop(runtime);
    assert_eq!(open_fds(), before);
}

/// The way in which a client ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    Complete,
    Reset,
    Dropped,
    TaskAborted,
}

impl Ending {
    fn roll(dice: &mut Dice) -> Ending {
        match dice.roll(9) {
            0 => Ending::Reset,
            1 => Ending::Dropped,
            2 => Ending::TaskAborted,
            _ => Ending::Complete,
        }
    }
}

async fn serve(listener: TcpListener, served: Rc<Cell<u64>>) {
    let mut id = 0;
    loop {
        let accepted = match poll_once(pin!(listener.accept())).await {
            Poll::Ready(accepted) => accepted,
            Poll::Pending => listener.accept().await, // the first one has been dropped
        };
        id += 1;
        served.set(id);
        let _detached: JoinHandle<()> = spawn(echo(accepted.unwrap(), Dice::new(5000 + id)));
    }
}

/// Sends received bytes back, with reads that are dropped and started again. Errors are caused by
/// the clients.
async fn echo(mut stream: TcpStream, mut dice: Dice) {
    loop {
        let bytes = match dice.roll(3) {
            0 => stream.recv().await,
            1 => match timeout(Duration::ZERO, stream.recv()).await {
                Ok(bytes) => bytes,
                Err(_elapsed) => continue,
            },
            _ => match poll_once(pin!(stream.recv())).await {
                Poll::Ready(bytes) => bytes,
                Poll::Pending => {
                    turns(dice.roll(3) as usize).await;
                    continue;
                }
            },
        };
        let Ok(bytes) = bytes else { return };
        if bytes.is_empty() {
            let _ = stream.close().await;
            return;
        }
        turns(dice.roll(3) as usize).await; // holds the buffer for a while
        if stream.send(bytes).await.is_err() {
            return;
        }
    }
}

/// Sends coded bytes, checks that they come back, and ends in the given way.
async fn converse(mut stream: TcpStream, code: Code, ending: Ending, mut dice: Dice) {
    let len = dice.roll(32 * 1024);
    let stop_at = if ending == Ending::Complete { len } else { dice.roll(len + 1) };
    {
        let (mut reader, mut writer) = stream.split();
        let (mut sent, mut received) = (0, 0);
        while received < stop_at {
            if sent < len && dice.roll(2) == 0 {
                let piece = code.bytes(sent, (1 + dice.roll(3_000)).min(len - sent) as usize);
                sent += piece.len() as u64;
                writer.write_all(&piece).await.unwrap();
            }
            if received < sent {
                let mut buf = vec![0; (1 + dice.roll(2_000)).min(sent - received) as usize];
                match dice.roll(4) {
                    0 => {
                        let count = reader.read(&mut buf).await.unwrap();
                        assert!(count > 0, "an end in the middle of {code:?}");
                        code.check(received, &buf[..count]);
                        received += count as u64;
                    }
                    1 => {
                        if let Poll::Ready(bytes) = poll_once(pin!(reader.recv())).await {
                            let bytes = bytes.unwrap();
                            code.check(received, &bytes);
                            received += bytes.len() as u64;
                        }
                    }
                    2 => {
                        let reading = timeout(Duration::ZERO, reader.read_exact(&mut buf));
                        if let Ok(read) = reading.await {
                            read.unwrap();
                            code.check(received, &buf);
                            received += buf.len() as u64;
                        }
                    }
                    _ => {
                        reader.read_exact(&mut buf).await.unwrap();
                        code.check(received, &buf);
                        received += buf.len() as u64;
                    }
                }
            }
        }
    }
    match ending {
        Ending::Complete => {
            stream.shutdown().await.unwrap();
            let end = stream.recv().await.unwrap();
            assert!(end.is_empty(), "{} bytes too many of {code:?}", end.len());
            stream.close().await.unwrap();
        }
        Ending::Reset => stream.abort(),
        Ending::Dropped => drop(stream),
        Ending::TaskAborted => std::future::pending().await,
    }
}
