//! `into_std` of streams: it returns the socket with every unread byte, and has no effect on other
//! holders of the socket.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::common::{
    any_addr, any_name, assert_coded, blocking_pair, coded_bytes, poll_once, std_pair, tcp_pair,
    tight_pair, turns,
};
use crate::{Body, Driver, bodies};
use ringloop::net::{Overflow, TcpListener, TcpStream, UnixListener, UnixStream};

pub(crate) const SHARED: &[Body] = bodies![
    into_std_loses_no_byte_in_either_direction,
    into_std_ends_a_receive_that_waits,
    into_std_leaves_a_socket_of_the_program_as_it_was,
    into_std_returns_the_error_of_the_connection,
    into_std_that_is_dropped_closes_the_stream,
    a_listener_from_std_leaves_the_socket_to_others,
];

/// Far more bytes than the buffers of a tight pair and the queue hold.
const BIG: usize = 2 << 20;

/// Goal: the peer's bytes are read once and in order, before and after the handover; queued bytes
/// arrive; the receive takes no bytes of the new owner.
///
/// Method: a peer that sends and reads numbered streams in two threads. The handover happens before
/// a read, after one, and after many, while the peer goes on sending.
///
/// Kills: received bytes that are dropped; a receive that is still armed; a queue that is not
/// flushed.
fn into_std_loses_no_byte_in_either_direction(on: Driver) {
    for reads in [0, 1, 20] {
        on.run(async {
            let (mut ours, theirs) = tight_pair();
            let mut sending = theirs.try_clone().unwrap();
            let sender = thread::spawn(move || sending.write_all(&coded_bytes(0, BIG)));
            let mut receiving = theirs;
            let receiver = thread::spawn(move || {
                let mut received = vec![0; BIG + 4];
                receiving.read_exact(&mut received).map(|()| received)
            });
            let mut received = Vec::new();
            for _ in 0..reads {
                received.extend_from_slice(&ours.recv().await.unwrap());
            }
            assert!(poll_once(pin!(ours.read_exact(&mut vec![0; BIG]))).await.is_pending());
            turns(20).await;
            ours.write_all(&coded_bytes(7, BIG)).await.unwrap();
            let (mut ours, unread) = ours.into_std().await.unwrap();
            received.extend_from_slice(&unread);
            let start = received.len();
            received.resize(BIG, 0);
            ours.read_exact(&mut received[start..]).unwrap();
            assert_coded(0, &received);
            sender.join().unwrap().unwrap();

            ours.write_all(b"heir").unwrap();
            let received = receiver.join().unwrap().unwrap();
            assert_coded(7, &received[..BIG]);
            assert_eq!(&received[BIG..], b"heir");
        });
    }
}

/// Goal: a receive that waits in the kernel ends, the peer reads no end, and the new owner reads
/// later bytes. The receive also ends if its reader was dropped.
///
/// Method: TCP and Unix sockets, with a `recv` that was polled and dropped; the peer sends after
/// the handover.
///
/// Kills: a handover that ends the receive by a shutdown; one that waits for bytes; one that arms
/// the receive again for the reader that was dropped.
fn into_std_ends_a_receive_that_waits(on: Driver) {
    on.run(async {
        let (mut ours, mut theirs) = std_pair();
        assert!(poll_once(pin!(ours.recv())).await.is_pending());
        turns(3).await;
        let (mut ours, unread) = ours.into_std().await.unwrap();
        assert!(unread.is_empty());
        theirs.write_all(b"later").unwrap();
        turns(5).await;
        let mut later = [0; 5];
        ours.read_exact(&mut later).unwrap();
        assert_eq!(&later, b"later");
        ours.write_all(b"back").unwrap();
        theirs.read_exact(&mut later[..4]).unwrap();

        let (ours, mut theirs) = StdUnixStream::pair().unwrap();
        let mut ours = UnixStream::from_std(ours);
        assert!(poll_once(pin!(ours.recv())).await.is_pending());
        turns(3).await;
        let (mut ours, unread) = ours.into_std().await.unwrap();
        assert!(unread.is_empty());
        theirs.write_all(b"later").unwrap();
        turns(5).await;
        ours.read_exact(&mut later).unwrap();
        assert_eq!(&later, b"later");
    });
}

/// Goal: the descriptor keeps its number, and the mode that the program had set; a socket that the
/// loop made is blocking, on every driver.
///
/// Method: sockets of both modes through a stream and back; sockets that were accepted, connected
/// and paired. Each has received and sent.
///
/// Kills: `O_NONBLOCK` left behind by accept or connect on epoll; a mode that is set on a socket of
/// the program; a handover that returns a duplicate.
fn into_std_leaves_a_socket_of_the_program_as_it_was(on: Driver) {
    let is_nonblocking = |socket: SockRef<'_>| socket.nonblocking().unwrap();
    on.run(async {
        for mode in [false, true] {
            let (ours, mut theirs) = blocking_pair();
            ours.set_nonblocking(mode).unwrap();
            let fd = ours.as_raw_fd();
            let mut ours = TcpStream::from_std(ours);
            theirs.write_all(b"x").unwrap();
            let bytes = ours.recv().await.unwrap();
            ours.send(bytes).await.unwrap();
            let (ours, _) = ours.into_std().await.unwrap();
            assert_eq!((ours.as_raw_fd(), is_nonblocking(SockRef::from(&ours))), (fd, mode));
        }
        let (mut client, mut server) = tcp_pair().await;
        client.write_all(b"x").await.unwrap();
        server.recv().await.unwrap();
        for stream in [client, server] {
            let (stream, _) = stream.into_std().await.unwrap();
            assert!(!is_nonblocking(SockRef::from(&stream)));
        }
        let name = any_name();
        let listener = UnixListener::bind(&name).unwrap();
        let mut client = UnixStream::connect(&name).await.unwrap();
        let mut server = listener.accept().await.unwrap();
        client.write_all(b"x").await.unwrap();
        server.recv().await.unwrap();
        for stream in [client, server] {
            let (stream, _) = stream.into_std().await.unwrap();
            assert!(!is_nonblocking(SockRef::from(&stream)));
        }
    });
}

/// Goal: a reset that a receive has found is not lost with the handover.
/// Method: a receive that waits, a peer that resets, then `into_std`; and a peer that resets before
/// the queue is sent.
/// Kills: a new owner that reads an orderly end of a connection that was reset.
fn into_std_returns_the_error_of_the_connection(on: Driver) {
    on.run(async {
        let (mut ours, theirs) = std_pair();
        assert!(poll_once(pin!(ours.recv())).await.is_pending());
        turns(3).await;
        SockRef::from(&theirs).set_linger(Some(Duration::ZERO)).unwrap();
        drop(theirs);
        turns(5).await;
        let error = ours.into_std().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);

        let (mut ours, theirs) = tight_pair();
        ours.send(vec![1; BIG]).await.unwrap();
        turns(3).await;
        SockRef::from(&theirs).set_linger(Some(Duration::ZERO)).unwrap();
        drop(theirs);
        let error = ours.into_std().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

/// Goal: dropping `into_std` closes the stream, and queued bytes are still sent.
/// Method: a queue that the peer reads only after the future was polled and dropped, while a
/// receive is armed.
/// Kills: a socket that is never closed; a reset in place of the end.
fn into_std_that_is_dropped_closes_the_stream(on: Driver) {
    on.run(async {
        let (mut ours, mut theirs) = tight_pair();
        assert!(poll_once(pin!(ours.recv())).await.is_pending());
        ours.send(coded_bytes(0, BIG)).await.unwrap();
        let mut into_std = Box::pin(ours.into_std());
        assert!(poll_once(into_std.as_mut()).await.is_pending());
        turns(3).await;
        drop(into_std);
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).map(|_| received)
        });
        while !reader.is_finished() {
            turns(1).await;
        }
        let received = reader.join().unwrap().unwrap();
        assert_eq!(received.len(), BIG);
        assert_coded(0, &received);
    });
}

/// Goal: a listener of a socket that has another holder accepts, keeps its builder's limit, and its
/// end leaves the socket and its file to the other holder.
///
/// Method: TCP and Unix, with a duplicate that accepts after the listener was dropped.
///
/// Kills: a shutdown of the shared socket; a file that is removed; a limit that is dropped.
fn a_listener_from_std_leaves_the_socket_to_others(on: Driver) {
    on.run(async {
        let theirs = std::net::TcpListener::bind(any_addr()).unwrap();
        let addr = theirs.local_addr().unwrap();
        let builder = TcpListener::builder().max_connections(1).overflow(Overflow::Shed);
        let ours = builder.adopt(theirs.try_clone().unwrap());
        let _kept = std::net::TcpStream::connect(addr).unwrap();
        let _open = ours.accept().await.unwrap();
        let mut shed = std::net::TcpStream::connect(addr).unwrap();
        assert!(poll_once(pin!(ours.accept())).await.is_pending());
        turns(5).await;
        assert_eq!(shed.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        drop(ours);
        turns(5).await;
        let client = std::net::TcpStream::connect(addr).unwrap();
        theirs.set_nonblocking(false).unwrap();
        assert_eq!(theirs.accept().unwrap().1, client.local_addr().unwrap());

        let path = std::env::temp_dir().join(&any_name()[1..]);
        let theirs = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let ours = UnixListener::from_std(theirs.try_clone().unwrap());
        let _client = UnixStream::connect(&path).await.unwrap();
        drop(ours.accept().await.unwrap());
        drop(ours);
        turns(5).await;
        let _client = StdUnixStream::connect(&path).unwrap();
        theirs.set_nonblocking(false).unwrap();
        theirs.accept().unwrap();
        std::fs::remove_file(&path).unwrap();
    });
}
