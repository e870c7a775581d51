//! Listeners that limit the number of open connections.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::pin;

use ringloop::Handle;
use ringloop::net::{Overflow, TcpListener, UnixListener};

use crate::common::{any_addr, open_fds, poll_once, turns, until};
use crate::{Body, Driver, bodies};

pub(crate) const ALONE: &[Body] = bodies![
    connections_beyond_the_limit_wait_in_the_backlog,
    connections_beyond_the_limit_are_shed,
    a_unix_listener_has_a_limit_too,
    a_limited_listener_leaves_nothing,
];

fn client(addr: std::net::SocketAddr, number: u8) -> std::net::TcpStream {
    let mut client = std::net::TcpStream::connect(addr).unwrap();
    client.write_all(&[number]).unwrap();
    client
}

/// Goal: with a limit of two, five clients are served two at a time, in order, and each close
/// admits one.
///
/// Method: five clients connect before the first accept; count the descriptors of the process while
/// the third accept waits; close one at a time.
///
/// Kills: a limit that counts accepts and not connections; one that the kernel's accepts exceed
/// meanwhile; a close that admits no other connection.
fn connections_beyond_the_limit_wait_in_the_backlog(on: Driver) {
    on.run(async {
        let listener = TcpListener::builder().max_connections(2).bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..5).map(|number| client(addr, number)).collect();
        let before = open_fds().len();
        let mut open = std::collections::VecDeque::new();
        for number in 0..5 {
            if open.len() == 2 {
                let mut next = pin!(listener.accept());
                assert!(poll_once(next.as_mut()).await.is_pending());
                turns(10).await;
                assert!(poll_once(next.as_mut()).await.is_pending(), "two are open");
                assert_eq!(open_fds().len(), before + 2);
                drop(open.pop_front());
            }
            let mut stream = listener.accept().await.unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            assert_eq!(byte, [number], "in order");
            open.push_back(stream);
        }
        drop(clients);
        assert_eq!(Handle::current().metrics().connections_shed, 0);
    });
}

/// Goal: with `Shed`, clients beyond the limit are reset at once and counted.
///
/// Method: two accepted, three more: each reads a reset. Then close one, and the next is served.
///
/// Kills: a shed connection that is not reset; one that is not counted; a limit that stays full.
fn connections_beyond_the_limit_are_shed(on: Driver) {
    on.run(async {
        let builder = TcpListener::builder().max_connections(2).overflow(Overflow::Shed);
        let listener = builder.bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let kept = [client(addr, 0), client(addr, 1)];
        let mut open = Vec::new();
        for _ in 0..2 {
            open.push(listener.accept().await.unwrap());
        }
        let metrics = || Handle::current().metrics();
        for count in 1..=3 {
            let mut shed = std::net::TcpStream::connect(addr).unwrap();
            until(|| metrics().connections_shed == count).await;
            let error = shed.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        open.remove(0).close().await.unwrap();
        let _next = client(addr, 2);
        let mut stream = listener.accept().await.unwrap();
        assert_eq!(&*stream.recv().await.unwrap(), [2]);
        assert_eq!(metrics().connections_shed, 3);
        drop(kept);
    });
}

/// Goal: a Unix listener keeps its limit in both ways.
/// Method: room for one, two clients; close the first; then the same with `Shed`.
/// Kills: a builder that forgets a setting.
fn a_unix_listener_has_a_limit_too(on: Driver) {
    on.run(async {
        for overflow in [Overflow::LeaveInBacklog, Overflow::Shed] {
            let name = format!("ringloop-admission-{}-{overflow:?}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let builder = UnixListener::builder().max_connections(1).overflow(overflow);
            let listener = builder.bind(&path).unwrap();
            let _first = StdUnixStream::connect(&path).unwrap();
            let stream = listener.accept().await.unwrap();
            let mut second = StdUnixStream::connect(&path).unwrap();
            let mut accept = pin!(listener.accept());
            assert!(poll_once(accept.as_mut()).await.is_pending());
            turns(5).await;
            if overflow == Overflow::Shed {
                until(|| Handle::current().metrics().connections_shed == 1).await;
                assert_eq!(second.read(&mut [0]).unwrap(), 0, "closed");
                second = StdUnixStream::connect(&path).unwrap();
                until(|| Handle::current().metrics().connections_shed == 2).await;
            }
            assert!(poll_once(accept.as_mut()).await.is_pending());
            drop(stream);
            turns(3).await;
            let third = StdUnixStream::connect(&path).unwrap();
            drop(accept.await.unwrap());
            drop((second, third));
        }
    });
}

/// Goal: a limited listener that is dropped before its connections leaves no descriptor open, and
/// they go on.
///
/// Method: both kinds of overflow, full, with an accept that waits and a client in the backlog;
/// drop the listener, use the connection, drop the loop; compare descriptors.
///
/// Kills: a count that keeps the listener or the loop alive; a queue that keeps a connection.
fn a_limited_listener_leaves_nothing(on: Driver) {
    let before = open_fds();
    for overflow in [Overflow::LeaveInBacklog, Overflow::Shed] {
        on.run(async {
            let builder = TcpListener::builder().max_connections(1).overflow(overflow);
            let listener = builder.bind(any_addr()).unwrap();
            let addr = listener.local_addr().unwrap();
            let mut first = client(addr, 1);
            let mut stream = listener.accept().await.unwrap();
            let second = std::net::TcpStream::connect(addr).unwrap();
            assert!(poll_once(pin!(listener.accept())).await.is_pending());
            turns(5).await;
            drop(listener);
            until(|| std::net::TcpStream::connect(addr).is_err()).await;
            let bytes = stream.recv().await.unwrap();
            stream.send(bytes).await.unwrap();
            stream.close().await.unwrap();
            let mut echoed = Vec::new();
            first.read_to_end(&mut echoed).unwrap();
            assert_eq!(echoed, [1]);
            drop(second);
        });
        assert_eq!(open_fds(), before, "{overflow:?}");
    }
}
