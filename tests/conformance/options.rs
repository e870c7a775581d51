//! Options of connections, settings before the connect, and writes of several slices.

use std::io::{ErrorKind, IoSlice, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::common::{
    any_addr, coded_bytes, poll_once, std_pair, tight_pair, turns, unanswering_addr,
};
use crate::{Body, Driver, bodies};
use ringloop::net::{Keepalive, TcpListener, TcpStream, UnixStream};

pub(crate) const SHARED: &[Body] = bodies![
    options_are_read_back,
    keepalive_is_rounded_up_and_checked,
    buffer_sizes_hold_before_the_connection_is_made,
    a_bound_connection_comes_from_its_address,
    a_connection_that_cannot_be_bound_fails,
    take_error_takes_nothing_from_the_reader,
    slices_are_written_in_order,
    slices_up_to_64_kib_are_written_whole_or_not_at_all,
];

const SECOND: Duration = Duration::from_secs(1);

/// Goal: every option is set in the kernel, on IPv4, IPv6, and IPv4 through an IPv6 socket.
///
/// Method: set and get each; `tos` and `ttl` also through socket2, by the family of the packets.
///
/// Kills: a setter of another option; IPv6's options for packets of IPv4.
fn options_are_read_back(on: Driver) {
    on.run(async {
        for (bind, connect) in [("127.0.0.1:0", None), ("[::1]:0", None), ("[::]:0", Some(()))] {
            let listener = match TcpListener::builder().v6_only(false).bind(bind) {
                Ok(listener) => listener,
                Err(error) if bind.starts_with('[') => {
                    println!("no IPv6 here: {error}");
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let port = listener.local_addr().unwrap().port();
            let addr = match connect {
                None => SocketAddr::new(listener.local_addr().unwrap().ip(), port),
                Some(()) => (Ipv4Addr::LOCALHOST, port).into(),
            };
            let client = TcpStream::connect(addr).await.unwrap();
            let server = listener.accept().await.unwrap();
            for stream in [&client, &server] {
                for is_on in [true, false] {
                    stream.set_nodelay(is_on).unwrap();
                    assert_eq!(stream.nodelay().unwrap(), is_on);
                    stream.set_quickack(is_on).unwrap();
                    assert_eq!(stream.quickack().unwrap(), is_on);
                }
                stream.set_tos(0xb8).unwrap();
                assert_eq!(stream.tos().unwrap(), 0xb8, "{bind}");
                stream.set_ttl(17).unwrap();
                assert_eq!(stream.ttl().unwrap(), 17, "{bind}");
                let socket = SockRef::from(stream);
                let (tos, ttl) = match addr.is_ipv4() {
                    true => (socket.tos_v4().unwrap(), socket.ttl_v4().unwrap()),
                    false => (socket.tclass_v6().unwrap(), socket.unicast_hops_v6().unwrap()),
                };
                assert_eq!((tos, ttl), (0xb8, 17), "{bind}");
                stream.set_user_timeout(Some(Duration::from_micros(1500))).unwrap();
                assert_eq!(stream.user_timeout().unwrap(), Some(Duration::from_millis(2)));
                stream.set_user_timeout(None).unwrap();
                assert_eq!(stream.user_timeout().unwrap(), None);
                stream.set_recv_buffer_size(20_000).unwrap();
                assert_eq!(stream.recv_buffer_size().unwrap(), 40_000);
                stream.set_send_buffer_size(30_000).unwrap();
                assert_eq!(stream.send_buffer_size().unwrap(), 60_000);
            }
        }
        let (one, _other) = UnixStream::pair().unwrap();
        one.set_recv_buffer_size(20_000).unwrap();
        one.set_send_buffer_size(30_000).unwrap();
        let sizes = (one.recv_buffer_size().unwrap(), one.send_buffer_size().unwrap());
        assert_eq!(sizes, (40_000, 60_000));
        assert!(one.take_error().unwrap().is_none());
    });
}

/// Goal: keepalive has the three values, rounded up to seconds; bad values leave it as it was.
/// Method: set, get, disable; zero with keepalive off and on.
///
/// Kills: half a second that becomes zero; a keepalive that is on after an error.
fn keepalive_is_rounded_up_and_checked(on: Driver) {
    on.run(async {
        let (stream, _peer) = std_pair();
        assert_eq!(stream.keepalive().unwrap(), None);
        let zero = Keepalive { time: Duration::ZERO, ..Keepalive::default() };
        assert_eq!(stream.set_keepalive(Some(zero)).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(stream.keepalive().unwrap(), None);
        let (time, interval) = (SECOND / 2, SECOND * 3 / 2);
        let keepalive = Keepalive { time, interval, retries: 4 };
        stream.set_keepalive(Some(keepalive)).unwrap();
        let rounded = Keepalive { time: SECOND, interval: 2 * SECOND, retries: 4 };
        assert_eq!(stream.keepalive().unwrap(), Some(rounded));
        stream.set_keepalive(Some(zero)).unwrap_err();
        assert_eq!(stream.keepalive().unwrap().map(|keepalive| keepalive.time), Some(SECOND));
        stream.set_keepalive(None).unwrap();
        assert_eq!(stream.keepalive().unwrap(), None);
    });
}

/// Goal: connections have the settings of their builder from the start.
/// Method: both buffer sizes on both sides, and the other settings of the client.
/// Kills: a setting that is not applied; sizes of the listener that connections do not inherit.
fn buffer_sizes_hold_before_the_connection_is_made(on: Driver) {
    on.run(async {
        let listener = TcpListener::builder()
            .recv_buffer_size(21_000)
            .send_buffer_size(22_000)
            .bind(any_addr())
            .unwrap();
        let keepalive = Keepalive { time: SECOND, interval: SECOND, retries: 2 };
        let builder = TcpStream::builder()
            .nodelay(true)
            .recv_buffer_size(23_000)
            .send_buffer_size(24_000)
            .keepalive(keepalive)
            .user_timeout(SECOND);
        for _ in 0..2 {
            let client = builder.clone().connect(listener.local_addr().unwrap()).await.unwrap();
            let server = listener.accept().await.unwrap();
            assert_eq!(server.recv_buffer_size().unwrap(), 42_000);
            assert_eq!(server.send_buffer_size().unwrap(), 44_000);
            assert_eq!(client.recv_buffer_size().unwrap(), 46_000);
            assert_eq!(client.send_buffer_size().unwrap(), 48_000);
            assert!(client.nodelay().unwrap() && !server.nodelay().unwrap());
            assert_eq!(client.keepalive().unwrap(), Some(keepalive));
            assert_eq!(client.user_timeout().unwrap(), Some(SECOND));
        }
    });
}

/// Goal: a connection has the local address of its builder, with a port of the kernel's choice or
/// the given one, which can be used again after a connection from it has ended.
///
/// Method: an address of its own with port 0; then that port, twice in a row, the client closing
/// first.
///
/// Kills: a `bind` that is dropped; `SO_REUSEADDR` set too late or not at all.
fn a_bound_connection_comes_from_its_address(on: Driver) {
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let to = listener.local_addr().unwrap();
        let from = any_addr();
        let client = TcpStream::builder().bind(from).reuse_address(true).connect(to).await.unwrap();
        let server = listener.accept().await.unwrap();
        let chosen = client.local_addr().unwrap();
        assert_eq!(server.peer_addr().unwrap(), chosen);
        assert!(chosen.ip() == from.ip() && chosen.port() != 0, "{chosen}");
        client.close().await.unwrap();
        drop(server);
        for _ in 0..2 {
            let builder = TcpStream::builder().bind(chosen).reuse_address(true);
            let mut client = builder.connect_timeout(to, 60 * SECOND).await.unwrap();
            let server = listener.accept().await.unwrap();
            assert_eq!(server.peer_addr().unwrap(), chosen);
            client.shutdown().await.unwrap();
            drop(server);
            assert!(client.recv().await.unwrap().is_empty());
        }
    });
}

/// Goal: an address that cannot be bound is an error of the connect, which leaves no descriptor.
/// Method: text, an address of another machine, a port that is taken, a peer that does not answer.
/// Kills: a panic; an error that is ignored.
fn a_connection_that_cannot_be_bound_fails(on: Driver) {
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let to = listener.local_addr().unwrap();
        let kind = async |builder: ringloop::net::TcpStreamBuilder| {
            builder.connect(to).await.unwrap_err().kind()
        };
        let builder = TcpStream::builder;
        assert_eq!(kind(builder().bind("nowhere")).await, ErrorKind::InvalidInput);
        let documentation = (IpAddr::from([192, 0, 2, 1]), 0);
        assert_eq!(kind(builder().bind(documentation)).await, ErrorKind::AddrNotAvailable);
        assert_eq!(kind(builder().bind(to)).await, ErrorKind::AddrInUse);
        let (addr, _full) = unanswering_addr();
        let limit = Duration::from_millis(1);
        let error = builder().nodelay(true).connect_timeout(addr, limit).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

/// Goal: `take_error` returns a reset every time, whether or not a receive has found it, and the
/// reader gets it too.
/// Method: a reset with no receive armed, and one with.
///
/// Kills: an error that the reader does not get; one that a receive has taken and `take_error` does
/// not return.
fn take_error_takes_nothing_from_the_reader(on: Driver) {
    on.run(async {
        for is_armed in [false, true] {
            let (mut stream, peer) = std_pair();
            assert!(stream.take_error().unwrap().is_none());
            if is_armed {
                assert!(poll_once(pin!(stream.recv())).await.is_pending());
                turns(3).await;
            }
            SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            stream.closed().await.unwrap();
            turns(3).await;
            for _ in 0..2 {
                let error = stream.take_error().unwrap().expect("a reset");
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            }
            assert_eq!(stream.recv().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert!(stream.take_error().unwrap().is_some());
        }
    });
}

/// Goal: slices of every length arrive once and in order, also empty ones, and more than the queue
/// holds.
/// Method: a numbered stream, cut in many ways.
///
/// Kills: an empty slice that ends the write; bytes that are lost or repeated at the bound of
/// 64 KiB.
fn slices_are_written_in_order(on: Driver) {
    const LEN: usize = 300_000;
    on.run(async {
        for cut in [1000, 65_536, 70_000, LEN] {
            let (ours, mut theirs) = StdUnixStream::pair().unwrap();
            let (mut reader, mut writer) = UnixStream::from_std(ours).into_split();
            let receiver = thread::spawn(move || {
                let mut received = Vec::new();
                theirs.read_to_end(&mut received).map(|_| received)
            });
            let bytes = coded_bytes(0, LEN);
            let mut slices = vec![IoSlice::new(&[])];
            for piece in bytes.chunks(cut) {
                slices.extend([IoSlice::new(piece), IoSlice::new(&[]), IoSlice::new(&[])]);
            }
            writer.write_all_vectored(&slices).await.unwrap();
            writer.write_all_vectored(&[IoSlice::new(&[])]).await.unwrap();
            writer.shutdown().await.unwrap();
            assert!(reader.recv().await.unwrap().is_empty());
            assert_eq!(receiver.join().unwrap().unwrap(), bytes, "pieces of {cut}");
        }
    });
}

/// Goal: a write that was dropped while it waited has queued no byte; one that was ready has queued
/// all.
/// Method: a queue that is full, two slices of 32 KiB behind it, dropped; then the peer reads.
/// Kills: slices queued one by one as room appears.
fn slices_up_to_64_kib_are_written_whole_or_not_at_all(on: Driver) {
    on.run(async {
        let (mut stream, mut peer) = tight_pair();
        let (filling, half) = (vec![1; 2 << 20], vec![2; 32 << 10]);
        stream.send(filling.clone()).await.unwrap();
        {
            let slices = [IoSlice::new(&half), IoSlice::new(&half)];
            let mut write = pin!(stream.write_all_vectored(&slices));
            assert!(poll_once(write.as_mut()).await.is_pending());
            turns(3).await;
            assert!(poll_once(write.as_mut()).await.is_pending());
        }
        let receiver = thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).map(|_| received)
        });
        stream.flush().await.unwrap();
        let slices = [IoSlice::new(b"a"), IoSlice::new(b"bc")];
        assert!(poll_once(pin!(stream.write_all_vectored(&slices))).await.is_ready());
        // Below the bound of 64 KiB there is room for one slice alone.
        stream.write_all(&vec![3; 40 << 10]).await.unwrap();
        let slices = [IoSlice::new(&half), IoSlice::new(&half)];
        assert!(poll_once(pin!(stream.write_all_vectored(&slices))).await.is_ready());
        stream.close().await.unwrap();
        let received = receiver.join().unwrap().unwrap();
        let expected = [&filling[..], b"abc", &[3; 40 << 10], &half, &half].concat();
        assert!(received == expected, "{} bytes", received.len());
    });
}
