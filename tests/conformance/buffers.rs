//! The cost of received bytes: buffers for small messages, operations for large ones.

use std::io::{Read, Write};
use std::pin::pin;

use crate::common::{
    assert_coded, coded_bytes, poll_once, scaled, std_pair, tcp_pair, turns, until,
};
use crate::{Body, Driver, bodies};
use ringloop::Handle;

pub(crate) const SHARED: &[Body] = bodies![
    few_bytes_do_not_hold_the_pool,
    large_messages_cost_no_cancels,
    closing_ends_a_receive_without_a_pool,
];

/// Goal: single bytes that no reader waits for hold at most half of the pool, and other connections
/// are served from it; no byte is lost.
///
/// Method: 100 readers that have waited once; 16 single bytes to each, and turns of the loop in
/// between; the buffers held; a connection that sends as much as a buffer has; then all is read.
///
/// Kills: a buffer for each byte; a pool that unread bytes can empty.
fn few_bytes_do_not_hold_the_pool(on: Driver) {
    let runtime = on.builder().recv_buffers(128, 512).build().unwrap();
    runtime.block_on(async {
        let metrics = || Handle::current().metrics();
        let mut pairs: Vec<_> = (0..100).map(|_| std_pair()).collect();
        for (stream, _) in &mut pairs {
            assert!(poll_once(pin!(stream.recv())).await.is_pending());
        }
        turns(4).await;
        for number in 0..16 {
            for (_, peer) in &mut pairs {
                peer.write_all(&coded_bytes(number, 1)).unwrap();
            }
            turns(10).await;
            let held = metrics().buffers_held;
            assert!(held <= 64, "{held} of 128 buffers for {} single bytes", 100 * (number + 1));
        }
        let (mut other, mut peer) = std_pair();
        let before = metrics().pool_exhausted;
        peer.write_all(&coded_bytes(0, 512)).unwrap();
        assert_coded(0, &other.recv().await.unwrap());
        assert_eq!(metrics().pool_exhausted, before, "the pool has buffers");
        for (stream, _) in &mut pairs {
            let mut bytes = [0; 16];
            stream.read_exact(&mut bytes).await.unwrap();
            assert_coded(0, &bytes);
        }
        assert_eq!(metrics().buffers_held, 0);
    });
}

/// Goal: a message of many times the queue limit of a connection costs neither cancels nor further
/// receives, as long as its reader keeps up.
///
/// Method: messages of 256 KiB, each with a reply of one byte; compare cancels and submissions.
///
/// Kills: backpressure that is decided before the reader has run.
fn large_messages_cost_no_cancels(on: Driver) {
    const MESSAGE_LEN: usize = 256 * 1024;
    on.run(async {
        let messages = scaled(20);
        let (mut stream, mut peer) = std_pair();
        let sender = std::thread::spawn(move || {
            for _ in 0..messages {
                peer.write_all(&coded_bytes(0, MESSAGE_LEN)).unwrap();
                peer.read_exact(&mut [0]).unwrap();
            }
        });
        let before = Handle::current().metrics();
        for _ in 0..messages {
            let mut position = 0;
            while position < MESSAGE_LEN as u64 {
                let buf = stream.recv().await.unwrap();
                assert_coded(position, &buf);
                position += buf.len() as u64;
            }
            stream.write_all(b"!").await.unwrap();
        }
        stream.flush().await.unwrap();
        let after = Handle::current().metrics();
        let cancels = after.cancels - before.cancels;
        let submissions = after.submissions - before.submissions;
        // One send each, one receive, and the requests of the loop itself.
        assert!(cancels <= messages / 8, "{cancels} cancels for {messages} messages");
        assert!(submissions <= 2 * messages + 8, "{submissions} for {messages} messages");
        sender.join().unwrap();
    });
}

/// Goal: a stream closes while its receive waits and the program holds the whole pool, whether the
/// receive is ended by a shutdown or by a cancel.
///
/// Method: hold both buffers; a stream that the loop made and one from std wait, each armed before
/// and after the pool was empty; close them, and count the operations in flight.
///
/// Kills: a receive that polls first and does not end; an end that needs a buffer.
fn closing_ends_a_receive_without_a_pool(on: Driver) {
    let runtime = on.builder().recv_buffers(2, 64).build().unwrap();
    runtime.block_on(async {
        let (mut hoarder, mut hoarders_peer) = std_pair();
        let mut hoard = Vec::new();
        let (mut early_own, _own_peer) = tcp_pair().await;
        let (mut early_other, _other_peer) = std_pair();
        for stream in [&mut early_own, &mut early_other] {
            assert!(poll_once(pin!(stream.recv())).await.is_pending());
        }
        turns(4).await;
        while Handle::current().metrics().buffers_held < 2 {
            hoarders_peer.write_all(&coded_bytes(0, 64)).unwrap();
            hoard.push(hoarder.recv().await.unwrap());
        }
        drop(hoarder);
        until(|| Handle::current().metrics().in_flight == 2).await;
        let (mut late_own, _own_peer) = tcp_pair().await;
        let (mut late_other, _other_peer) = std_pair();
        for stream in [&mut late_own, &mut late_other] {
            assert!(poll_once(pin!(stream.recv())).await.is_pending());
        }
        turns(4).await;
        for stream in [late_own, late_other, early_own, early_other] {
            stream.close().await.unwrap();
        }
        until(|| Handle::current().metrics().in_flight == 0).await;
        assert_eq!(Handle::current().metrics().buffers_held, 2);
    });
}
