//! Operations that are dropped while they wait, or when they were woken.

use std::future::Future;
use std::io::Read;
use std::pin::{Pin, pin};
use std::rc::Rc;

use crate::common::{poll_once, tight_pair, turns};
use crate::suite::Driver;
use crate::{Body, bodies};
use ringloop::spawn;
use ringloop::sync::{RwLock, broadcast, mpsc, oneshot, watch};

pub(crate) const SHARED: &[Body] = bodies![
    a_dropped_write_queues_nothing_of_a_short_slice,
    a_dropped_receive_of_a_channel_takes_no_value,
    e2_a_cancelled_writer_passes_the_lock_on,
];

/// Polls a future once. It waits.
async fn waits<F: Future>(future: Pin<&mut F>) {
    assert!(poll_once(future).await.is_pending());
}

/// Goal: a dropped `write_all` or `send` of a short slice has queued nothing of it, and a dropped
/// `flush` takes nothing back.
/// Method: writes to a peer that does not read, until one waits; then a `send` and a `flush` that
/// wait too. All are dropped, and the peer reads to the end.
/// Kills: bytes that are queued before the write waits; a flush that ends the sending.
fn a_dropped_write_queues_nothing_of_a_short_slice(on: Driver) {
    on.run(async {
        let (mut stream, mut peer) = tight_pair();
        let mut written = 0;
        let mut pending_count = 0;
        while pending_count < 50 {
            let is_pending = poll_once(pin!(stream.write_all(&[1; 4096]))).await.is_pending();
            (pending_count, written) =
                if is_pending { (pending_count + 1, written) } else { (0, written + 4096) };
            turns(1).await;
        }
        waits(pin!(stream.send(vec![2; 100]))).await;
        waits(pin!(stream.flush())).await;
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).map(|_| received)
        });
        stream.close().await.unwrap();
        let received = reading.join().unwrap().unwrap();
        assert_eq!(received.len(), written);
        assert!(received.iter().all(|&byte| byte == 1));
    });
}

/// Goal: a receive that is dropped, before or after it was woken, takes no value.
/// Method: on each kind of channel, a receive waits, a value is sent, and the receive is dropped
/// before its next poll; another one gets the value.
/// Kills: a value that belongs to the future.
fn a_dropped_receive_of_a_channel_takes_no_value(on: Driver) {
    on.run(async {
        let (sender, mut receiver) = mpsc::channel(1);
        {
            let mut dropped = pin!(receiver.recv());
            waits(dropped.as_mut()).await;
            sender.send(1).await.unwrap();
        }
        assert_eq!(receiver.recv().await, Some(1));

        let (sender, mut receiver) = oneshot::channel();
        {
            let mut dropped = pin!(&mut receiver);
            waits(dropped.as_mut()).await;
            sender.send(2).unwrap();
        }
        assert_eq!(receiver.await, Ok(2));

        let (sender, mut receiver) = broadcast::channel(1);
        {
            let mut dropped = pin!(receiver.recv());
            waits(dropped.as_mut()).await;
            sender.send(3).unwrap();
        }
        assert_eq!(receiver.recv().await, Ok(3));

        let (sender, mut receiver) = watch::channel(0);
        {
            let mut dropped = pin!(receiver.changed());
            waits(dropped.as_mut()).await;
            sender.send(4).unwrap();
        }
        receiver.changed().await.unwrap();
        assert_eq!(*receiver.borrow(), 4);
    });
}

/// Goal: a writer that is cancelled after it was woken passes the lock on to readers.
/// Method: a writer and a reader wait; the guard is dropped and the writer is aborted before it
/// runs.
/// Kills: a dropped future that takes its wake with it.
fn e2_a_cancelled_writer_passes_the_lock_on(on: Driver) {
    on.run(async {
        let lock = Rc::new(RwLock::new(0));
        let guard = lock.write().await;
        let (for_writer, for_reader) = (Rc::clone(&lock), Rc::clone(&lock));
        let writer = spawn(async move { *for_writer.write().await += 1 });
        turns(1).await;
        let reader = spawn(async move { *for_reader.read().await });
        turns(1).await;
        drop(guard);
        writer.abort();
        assert_eq!(reader.await.unwrap(), 0);
        assert!(writer.await.unwrap_err().is_cancelled());
    });
}
