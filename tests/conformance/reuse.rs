//! Reused descriptor numbers: operations of a former owner do not reach the new one.
//!
//! The kernel uses the lowest free number, so a new socket often has the number of a closed one.
//! Operations and cancels of the closed one may still be in progress.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;

use crate::common::{Code, Dice, any_addr, poll_once, scaled, tight_pair, turns};
use crate::{Body, Driver, bodies};
use ringloop::net::{TcpListener, TcpStream};

pub(crate) const ALONE: &[Body] = bodies![
    c12_a_number_that_comes_back_is_the_new_streams,
    c12_a_number_that_comes_back_as_a_file_is_left_alone,
    c12_a_number_that_comes_back_is_the_new_listeners,
];

/// The bytes of an old connection in each direction. More than a tight pair holds.
fn unread_bytes() -> Rc<[u8]> {
    Code(0).bytes(0, 512 << 10).into()
}

/// Turns after which the number of a closed socket must be free. Far more than a close takes.
const TURNS_MAX: usize = 300;

/// Makes a stream, puts operations in flight on it, and closes it in one of several ways. Returns
/// its number and its peer.
async fn close_a_busy_stream(unread: &Rc<[u8]>, dice: &mut Dice) -> (RawFd, std::net::TcpStream) {
    let (mut old, mut peer) = tight_pair();
    let number = old.as_raw_fd();
    let must_send = dice.roll(3) == 0;
    if must_send {
        old.send(Rc::clone(unread)).await.unwrap();
    }
    if dice.roll(4) > 0 {
        assert!(poll_once(pin!(old.recv())).await.is_pending());
    }
    turns(dice.roll(4) as usize).await;
    if dice.roll(2) == 0 {
        peer.write_all(&unread[..100]).unwrap();
        turns(dice.roll(2) as usize).await;
    }
    match dice.roll(2) {
        0 if !must_send => drop(old),
        _ => old.abort(),
    }
    peer.set_nonblocking(true).unwrap();
    (number, peer)
}

/// Makes values until one has `number`. Waits until the number is free, and holds the values with
/// lower numbers meanwhile.
async fn taking<T>(number: RawFd, mut make: impl FnMut() -> T, is_it: impl Fn(&T) -> bool) -> T {
    let mut others = Vec::new();
    for _ in 0..TURNS_MAX {
        let one = make();
        if is_it(&one) {
            return one;
        }
        others.push(one);
        turns(1).await;
    }
    panic!("the closed number {number} does not become free");
}

/// Goal: no operation, cancel, edge or byte of a closed stream reaches the stream that has its
/// number now (C12).
///
/// Method: 2 000 streams closed with a receive, a send or both in flight, at a random stage; as
/// soon as the number is free, a new connection takes it and exchanges bytes with the number of
/// their connection, while the old peer goes on writing.
///
/// Kills: `close(2)` before the final completion; a cancel by number; a driver with state of the
/// former owner.
fn c12_a_number_that_comes_back_is_the_new_streams(on: Driver) {
    on.run(async {
        let source = std::net::TcpListener::bind(any_addr()).unwrap();
        let unread = unread_bytes();
        let mut dice = Dice::new(51);
        for round in 1..=scaled(2_000) {
            let (number, mut old_peer) = close_a_busy_stream(&unread, &mut dice).await;
            let connect = || {
                let one = std::net::TcpStream::connect(source.local_addr().unwrap()).unwrap();
                let (other, _) = source.accept().unwrap();
                if other.as_raw_fd() == number { (other, one) } else { (one, other) }
            };
            let (ours, mut peer) =
                taking(number, connect, |(ours, _)| ours.as_raw_fd() == number).await;
            let mut stream = TcpStream::from_std(ours);
            let (inward, outward) = (Code(2 * round), Code(2 * round + 1));

            let mut received = 0;
            for _ in 0..3 {
                let _refused = old_peer.write(&unread[..100]);
                let bytes = inward.bytes(received, 1 + dice.roll(300) as usize);
                if dice.roll(2) == 0 {
                    assert!(poll_once(pin!(stream.recv())).await.is_pending());
                    turns(dice.roll(3) as usize).await;
                }
                peer.write_all(&bytes).unwrap();
                let mut buf = vec![0; bytes.len()];
                stream.read_exact(&mut buf).await.unwrap();
                inward.check(received, &buf);
                received += buf.len() as u64;
            }
            stream.write_all(&outward.bytes(0, 1_000)).await.unwrap();
            stream.close().await.unwrap();
            let mut sent = Vec::new();
            peer.read_to_end(&mut sent).unwrap();
            assert_eq!(sent.len(), 1_000);
            outward.check(0, &sent);

            let mut leftovers = [0; 4096];
            let mut position = 0;
            while let Ok(count @ 1..) = old_peer.read(&mut leftovers) {
                assert_eq!(leftovers[..count], unread[position..position + count], "not its bytes");
                position += count;
            }
        }
    });
}

/// Goal: when a descriptor outside of the loop reuses a number, the loop neither reads from it nor
/// writes to it nor closes it (C12).
///
/// Method: as above, but a local socket takes the number; its bytes are all there at the end.
///
/// Kills: a receive or a send that is retried on a number; a descriptor closed twice.
fn c12_a_number_that_comes_back_as_a_file_is_left_alone(on: Driver) {
    on.run(async {
        let unread = unread_bytes();
        let mut dice = Dice::new(52);
        for round in 1..=scaled(2_000) {
            let (number, mut old_peer) = close_a_busy_stream(&unread, &mut dice).await;
            let pair = || {
                let (one, other) = UnixStream::pair().unwrap();
                if other.as_raw_fd() == number { (other, one) } else { (one, other) }
            };
            let (mut one, mut other) =
                taking(number, pair, |(one, _)| one.as_raw_fd() == number).await;
            let bytes = Code(round).bytes(0, 200);
            other.write_all(&bytes).unwrap();
            let _refused = old_peer.write(&unread[..100]);
            turns(1 + dice.roll(8) as usize).await;

            let mut buf = [0; 200];
            one.read_exact(&mut buf).expect("open, with all its bytes");
            Code(round).check(0, &buf);
            other.set_nonblocking(true).unwrap();
            let nothing = other.read(&mut buf).unwrap_err();
            assert_eq!(nothing.kind(), ErrorKind::WouldBlock, "no bytes were written");
        }
    });
}

/// Goal: no accept or cancel of a dropped listener reaches the listener that has its number now
/// (C12), and neither accepts clients of the other.
///
/// Method: 1 000 listeners dropped with an accept at a random stage and connects in progress; the
/// next listener takes the number, refuses clients of the old address and accepts its own.
///
/// Kills: `close(2)` before the final completion of the accept; a stale cancel that ends the new
/// accept for good.
fn c12_a_number_that_comes_back_is_the_new_listeners(on: Driver) {
    on.run(async {
        let mut dice = Dice::new(53);
        for round in 0..scaled(1_000) {
            let old = TcpListener::bind(any_addr()).unwrap();
            let (number, old_addr) = (old.as_raw_fd(), old.local_addr().unwrap());
            let _old_client = std::net::TcpStream::connect(old_addr).unwrap();
            if dice.roll(3) > 0 {
                assert!(poll_once(pin!(old.accept())).await.is_pending());
                turns(dice.roll(3) as usize).await;
            }
            drop(old);
            let refused = std::net::TcpStream::connect(old_addr).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

            let listen = || TcpListener::bind(any_addr()).unwrap();
            let new = taking(number, listen, |new| new.as_raw_fd() == number).await;
            for client_number in [2 * round, 2 * round + 1] {
                if dice.roll(2) == 0 {
                    assert!(poll_once(pin!(new.accept())).await.is_pending());
                    turns(dice.roll(3) as usize).await;
                }
                let addr = new.local_addr().unwrap();
                let mut client = std::net::TcpStream::connect(addr).unwrap();
                client.write_all(&client_number.to_ne_bytes()).unwrap();
                let mut stream = new.accept().await.unwrap();
                let mut said = [0; 8];
                stream.read_exact(&mut said).await.unwrap();
                assert_eq!(u64::from_ne_bytes(said), client_number);
            }
        }
    });
}
