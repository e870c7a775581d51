//! Dropping a future at any moment loses nothing: no byte, no connection, no descriptor.

use std::io::{Read, Write};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::common::{
    Dice, Woken, any_addr, assert_coded, coded_bytes, open_fds, poll_once, scaled, std_pair,
    tight_pair, turns, unanswering_addr, until,
};
use crate::{Body, Driver, bodies};
use ringloop::Handle;
use ringloop::net::{TcpListener, TcpStream};
use ringloop::time::timeout;

pub(crate) const SHARED: &[Body] = bodies![
    c1_a_dropped_read_loses_no_byte,
    c1_a_read_that_times_out_loses_no_byte,
    c1_a_dropped_read_exact_puts_bytes_back,
    c2_a_woken_and_dropped_accept_passes_its_wake_on,
    c7_aborting_an_idle_read_is_prompt,
    c11_locals_are_dropped_before_the_handle_returns,
];
pub(crate) const ALONE: &[Body] = bodies![
    c2_a_dropped_accept_loses_no_connection,
    c4_a_result_that_no_future_takes_is_given_back,
    i11_a_dropped_listener_closes_what_it_had_accepted,
    c12_a_dropped_connect_closes_its_socket,
];

/// Goal: a dropped `recv` or `read` loses no byte, whether the drop comes before the bytes, after
/// them, or after their completion (C1).
///
/// Method: 100 000 rounds in which a peer writes a few coded bytes at a random moment around the
/// first poll and the drop of a read; then the missing bytes are read, and every byte is compared.
///
/// Kills: a read that cancels its receive when dropped; bytes that are dropped with the future;
/// `read` losing the bytes that did not fit into its slice.
fn c1_a_dropped_read_loses_no_byte(on: Driver) {
    on.run(async {
        let (mut stream, mut peer) = std_pair();
        let mut dice = Dice::new(1);
        let (mut sent, mut received) = (0_u64, 0_u64);
        let mut dropped_early = 0;
        let rounds = scaled(100_000);
        for _ in 0..rounds {
            let bytes = coded_bytes(sent, 1 + dice.roll(5) as usize);
            let write_at = dice.roll(3);
            let mut write_if = |moment| {
                if write_at == moment {
                    peer.write_all(&bytes).unwrap();
                    sent += bytes.len() as u64;
                }
            };
            let turns_between = dice.roll(3) as usize;
            write_if(0);
            if dice.roll(2) == 0 {
                let mut recv = pin!(stream.recv());
                match poll_once(recv.as_mut()).await {
                    Poll::Ready(buf) => {
                        let buf = buf.unwrap();
                        assert_coded(received, &buf);
                        received += buf.len() as u64;
                    }
                    Poll::Pending => dropped_early += 1,
                }
                write_if(1);
                turns(turns_between).await;
            } else {
                let mut buf = [0; 2];
                let mut read = Box::pin(stream.read(&mut buf));
                let polled = poll_once(read.as_mut()).await;
                write_if(1);
                turns(turns_between).await;
                drop(read);
                match polled {
                    Poll::Ready(count) => {
                        let count = count.unwrap();
                        assert_coded(received, &buf[..count]);
                        received += count as u64;
                    }
                    Poll::Pending => dropped_early += 1,
                }
            }
            write_if(2);
            while received < sent {
                let mut buf = [0; 3];
                let count = stream.read(&mut buf).await.unwrap();
                assert!(count > 0, "an end in the middle");
                assert_coded(received, &buf[..count]);
                received += count as u64;
            }
        }
        assert!(dropped_early > rounds / 10, "{dropped_early} were dropped");
    });
}

/// Goal: a read that times out loses no byte (C1), with the real `timeout`.
///
/// Method: as above, with deadlines of zero, so that the drop falls on the turn after the first
/// poll, when the completion arrives.
///
/// Kills: `Timeout` dropping a future that has a value; a byte lost with a reader that was woken
/// and dropped.
fn c1_a_read_that_times_out_loses_no_byte(on: Driver) {
    on.run(async {
        let (mut stream, mut peer) = std_pair();
        let mut dice = Dice::new(5);
        let (mut sent, mut received) = (0_u64, 0_u64);
        let mut timed_out = 0_u32;
        for _ in 0..scaled(10_000) {
            if dice.roll(2) == 0 {
                peer.write_all(&coded_bytes(sent, 3)).unwrap();
                sent += 3;
            }
            match timeout(Duration::ZERO, stream.recv()).await {
                Ok(buf) => {
                    let buf = buf.unwrap();
                    assert_coded(received, &buf);
                    received += buf.len() as u64;
                }
                Err(_elapsed) => timed_out += 1,
            }
        }
        while received < sent {
            let buf = stream.recv().await.unwrap();
            assert_coded(received, &buf);
            received += buf.len() as u64;
        }
        assert!(timed_out > 0, "no deadline came first");
    });
}

/// Goal: a `read_exact` that is dropped midway puts back the bytes that it had copied.
///
/// Method: 10 000 rounds: part of a record arrives, the read takes it and is dropped after a random
/// number of turns, the rest arrives, and a second read must see the whole record.
///
/// Kills: `Filling` without its `Drop`; `unread` at the wrong end of the queue.
fn c1_a_dropped_read_exact_puts_bytes_back(on: Driver) {
    on.run(async {
        let (mut stream, mut peer) = std_pair();
        let mut dice = Dice::new(2);
        let mut position = 0_u64;
        for _ in 0..scaled(10_000) {
            let record = coded_bytes(position, 8);
            let (first, rest) = record.split_at(dice.roll(8) as usize);
            let (second, third) = rest.split_at(dice.roll(rest.len() as u64) as usize);
            peer.write_all(first).unwrap();
            {
                let mut buf = [0; 8];
                let mut read = pin!(stream.read_exact(&mut buf));
                let mut is_pending = poll_once(read.as_mut()).await.is_pending();
                turns(dice.roll(3) as usize).await;
                is_pending &= poll_once(read.as_mut()).await.is_pending();
                peer.write_all(second).unwrap();
                turns(dice.roll(3) as usize).await;
                is_pending &= poll_once(read.as_mut()).await.is_pending();
                assert!(is_pending, "{} bytes of 8", first.len() + second.len());
            }
            peer.write_all(third).unwrap();
            let mut buf = [0; 8];
            stream.read_exact(&mut buf).await.unwrap();
            assert_coded(position, &buf);
            position += 8;
        }
    });
}

/// Goal: a dropped `accept` loses no connection, resets no client and leaks no descriptor (C2).
///
/// Method: 2 000 rounds in which a client connects at a random moment around the first poll and the
/// drop of an `accept`; the next `accept` must return that client, which sends its number.
/// Descriptors before and after are compared.
///
/// Kills: an accept that belongs to its future; a connection that is closed or leaked with it.
fn c2_a_dropped_accept_loses_no_connection(on: Driver) {
    let before = open_fds();
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut dice = Dice::new(3);
        for round in 0..scaled(2_000) {
            let connect = || std::net::TcpStream::connect(addr).unwrap();
            let (connect_early, turns_between) = (dice.roll(2) == 0, dice.roll(3) as usize);
            let mut client = None;
            let accepted = {
                let mut accept = pin!(listener.accept());
                if dice.roll(2) == 0 {
                    assert!(poll_once(accept.as_mut()).await.is_pending());
                }
                if connect_early {
                    client = Some(connect());
                }
                turns(turns_between).await;
                match dice.roll(2) {
                    0 => poll_once(accept.as_mut()).await,
                    _ => Poll::Pending,
                }
            };
            let mut client = client.unwrap_or_else(connect);
            client.write_all(&round.to_ne_bytes()).unwrap();
            let mut stream = match accepted {
                Poll::Ready(stream) => stream.unwrap(),
                Poll::Pending => listener.accept().await.unwrap(),
            };
            let mut number = [0; 8];
            stream.read_exact(&mut number).await.unwrap();
            assert_eq!(u64::from_ne_bytes(number), round, "another client");
            stream.write_all(b"!").await.unwrap();
            stream.close().await.unwrap();
            let mut reply = Vec::new();
            client.read_to_end(&mut reply).expect("no reset");
            assert_eq!(reply, b"!");
        }
    });
    assert_eq!(open_fds(), before);
}

/// Goal: when an `accept` that was woken is dropped, the next waiting `accept` gets its connection.
///
/// Method: two waiting, one client; drop the first before its wake, after it and before its poll,
/// or a few turns later, when the second may have been woken already.
///
/// Kills: one wake per connection.
fn c2_a_woken_and_dropped_accept_passes_its_wake_on(on: Driver) {
    on.run(async {
        let listener = Rc::new(TcpListener::bind(any_addr()).unwrap());
        let addr = listener.local_addr().unwrap();
        for round in 0..scaled(200) {
            let mut first = Box::pin(listener.accept());
            assert!(poll_once(first.as_mut()).await.is_pending());
            let waiting = Rc::clone(&listener);
            let second = ringloop::spawn(async move { waiting.accept().await.map(drop) });
            turns(2).await;
            let _client = std::net::TcpStream::connect(addr).unwrap();
            turns(round as usize % 5).await;
            drop(first);
            second.await.unwrap().unwrap();
        }
    });
}

/// Goal: dropping a listener closes the connections that were not taken, and its port.
///
/// Method: queue ten connections, drop the listener, and check every client's end, the descriptors
/// and the port.
///
/// Kills: connections left in the queue; the accept left armed.
fn i11_a_dropped_listener_closes_what_it_had_accepted(on: Driver) {
    let before = open_fds();
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        assert!(poll_once(pin!(listener.accept())).await.is_pending());
        let connect = |_| std::net::TcpStream::connect(addr).unwrap();
        let clients: Vec<_> = (0..10).map(connect).collect();
        turns(5).await;
        drop(listener);
        until(|| Handle::current().metrics().in_flight == 0).await;
        for mut client in clients {
            // The end or a reset, depending on whether the connection had been accepted.
            assert!(!matches!(client.read(&mut [0]), Ok(1..)));
        }
        TcpListener::bind(addr).expect("the port is free");
    });
    assert_eq!(open_fds(), before);
}

/// Goal: aborting a task with an idle `recv` ends the task at once, and its operation ends (C7).
///
/// Method: abort, count the turns until the joiner is woken and until no operation is in flight.
///
/// Kills: an abort that waits for the operation; a cancel that is never sent.
fn c7_aborting_an_idle_read_is_prompt(on: Driver) {
    on.run(async {
        let (mut stream, mut peer) = std_pair();
        let metrics = || Handle::current().metrics();
        let task = ringloop::spawn(async move { stream.recv().await.map(|buf| buf.len()) });
        until(|| metrics().in_flight == 1).await;
        turns(3).await;

        let turns_before = metrics().turns;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(metrics().turns - turns_before <= 3, "the joiner waited");
        until(|| metrics().in_flight == 0).await;
        assert!(metrics().turns - turns_before <= 8, "the operation stayed");
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "and the peer sees the end");
    });
}

/// Goal: a dropped or timed-out `connect` closes its socket, before or after its completion (C12).
///
/// Method: connects that never end and connects that succeed at once, dropped after a random number
/// of turns; then no descriptor is left.
///
/// Kills: an attempt without its `Drop`; a connection that is made after the cancel and stays open.
fn c12_a_dropped_connect_closes_its_socket(on: Driver) {
    let before = open_fds();
    let (full_addr, full) = unanswering_addr();
    let runtime = on.runtime();
    runtime.block_on(async {
        let answering = std::net::TcpListener::bind(any_addr()).unwrap();
        let answering_addr = answering.local_addr().unwrap();
        let mut dice = Dice::new(4);
        for round in 0..scaled(500) {
            let addr = if round % 2 == 0 { full_addr } else { answering_addr };
            {
                let mut connect = pin!(TcpStream::connect(addr));
                assert!(poll_once(connect.as_mut()).await.is_pending());
                turns(dice.roll(3) as usize).await;
            }
            if round % 2 == 1 {
                // Made and reset, or never made: in both cases the socket is closed. Accept what
                // came.
                answering.set_nonblocking(true).unwrap();
                while answering.accept().is_ok() {}
            }
        }
        let too_late = TcpStream::connect_timeout(full_addr, Duration::from_millis(1)).await;
        assert_eq!(
            too_late.unwrap_err().kind(),
            std::io::ErrorKind::TimedOut,
            "a full backlog does not answer"
        );
        until(|| Handle::current().metrics().in_flight == 0).await;
    });
    drop(runtime);
    drop(full);
    assert_eq!(open_fds(), before);
}

/// Goal: the result for a future that is dropped between its wake and its next poll is released:
/// the connection is closed, the buffer returned (C4).
///
/// Method: poll once, wait for the wake, drop the future and then its resource: an accept, a
/// connect, a receive. The peer sees the end; descriptors and buffers are counted.
///
/// Kills: a result that belongs to the future's next poll; a queue that is not emptied on drop.
fn c4_a_result_that_no_future_takes_is_given_back(on: Driver) {
    let before = open_fds();
    on.run(async {
        for _ in 0..scaled(200) {
            let listener = TcpListener::bind(any_addr()).unwrap();
            let woken = Arc::new(Woken::default());
            let mut accept = Box::pin(listener.accept());
            assert!(woken.poll(accept.as_mut()).is_pending());
            let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            until(|| woken.is_woken()).await;
            drop(accept);
            drop(listener);
            assert!(!matches!(client.read(&mut [0]), Ok(1..)), "who was accepted is closed");

            let listener = std::net::TcpListener::bind(any_addr()).unwrap();
            let woken = Arc::new(Woken::default());
            let mut connect = Box::pin(TcpStream::connect(listener.local_addr().unwrap()));
            assert!(woken.poll(connect.as_mut()).is_pending());
            until(|| woken.is_woken()).await;
            drop(connect);
            let (mut accepted, _) = listener.accept().unwrap();
            assert!(!matches!(accepted.read(&mut [0]), Ok(1..)), "who connected is closed");

            let (mut stream, mut peer) = std_pair();
            let woken = Arc::new(Woken::default());
            let mut recv = Box::pin(stream.recv());
            assert!(woken.poll(recv.as_mut()).is_pending());
            peer.write_all(b"bytes").unwrap();
            until(|| woken.is_woken()).await;
            drop(recv);
            assert_eq!(Handle::current().metrics().buffers_held, 1, "kept for the next reader");
            drop(stream);
            assert_eq!(Handle::current().metrics().buffers_held, 0);
            until(|| Handle::current().metrics().in_flight == 0).await;
            assert!(!matches!(peer.read(&mut [0]), Ok(1..)));
        }
    });
    assert_eq!(open_fds(), before);
}

/// Goal: the locals of an aborted task are dropped before its `JoinHandle` returns (C11).
///
/// Method: tasks that have not begun, sleep, read, accept, connect, or are blocked in a write; each
/// owns a value that records its drop. Abort, await, and check at once.
///
/// Kills: a joiner that is woken before the future has been dropped; a future kept by a waker.
fn c11_locals_are_dropped_before_the_handle_returns(on: Driver) {
    // The blocked writes cannot be sent when the loop ends, which is reported.
    let runtime = on.builder().linger(Duration::ZERO).on_unhandled(|_| {}).build().unwrap();
    runtime.block_on(async {
        let (full_addr, _full) = unanswering_addr();
        for kind in 0..6 {
            for turns_before in [0, 1, 20] {
                let witness = Rc::new(());
                let local = Rc::clone(&witness);
                let (mut stream, _peer) = tight_pair();
                let task = ringloop::spawn(async move {
                    let _local = local;
                    match kind {
                        0 => std::future::pending().await,
                        1 => ringloop::time::sleep(Duration::from_secs(3600)).await,
                        2 => drop(stream.recv().await),
                        3 => {
                            let listener = TcpListener::bind(any_addr()).unwrap();
                            drop(listener.accept().await);
                        }
                        4 => drop(TcpStream::connect(full_addr).await),
                        _ => loop {
                            stream.write_all(&[0; 65536]).await.unwrap();
                        },
                    }
                });
                turns(turns_before).await;
                task.abort();
                assert!(task.await.unwrap_err().is_cancelled());
                assert_eq!(Rc::strong_count(&witness), 1, "kind {kind} after {turns_before}");
            }
        }
    });
}
