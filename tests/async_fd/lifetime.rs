//! Ownership of the descriptor, and the end of a watch.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use ringloop::io::AsyncFd;
use ringloop::net::TcpStream;
use ringloop::{Handle, Runtime};

use super::common::{Woken, blocking_pair, open_fds, poll_once, turns, until};
use super::{fill, in_flight, is_pending, on_each_driver, watched_pair};

/// A descriptor that records its drop, and calls a function then.
struct Dropping<F: FnMut()> {
    socket: UnixStream,
    then: F,
}

impl<F: FnMut()> AsFd for Dropping<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<F: FnMut()> Drop for Dropping<F> {
    fn drop(&mut self) {
        (self.then)();
    }
}

/// Goal: a watch that is dropped with polls in flight drops its value once, at once and on this
/// thread, and soon has no poll and no descriptor.
///
/// Method: wait in both directions, drop or call `into_inner`, compare descriptors. The destructor
/// uses the loop, which must have no `RefCell` borrowed, and then panics.
///
/// Kills: a value that lives until its polls have ended; user code inside the reactor; a poll that
/// is not cancelled; a duplicate that is not closed.
#[test]
fn a_dropped_watch_leaves_nothing() {
    on_each_driver(|runtime| {
        let drops = Rc::new(Cell::new(0));
        let on_drop = || {
            let drops = Rc::clone(&drops);
            move || {
                drops.set(drops.get() + 1);
                let (other, mut peer) = watched_pair();
                ringloop::spawn(async move {
                    let mut readable = pin!(other.readable());
                    assert!(is_pending(readable.as_mut()).await);
                    peer.write_all(b"x").unwrap();
                    readable.await.unwrap();
                });
                assert!(drops.get() < 3, "the third one panics");
            }
        };
        runtime.block_on(async {
            let before = open_fds();
            for round in 1..=4 {
                let (socket, peer) = UnixStream::pair().unwrap();
                fill_blocking(&socket);
                let watched = AsyncFd::new(Dropping { socket, then: on_drop() }).unwrap();
                for is_submitted in [false, true] {
                    let mut readable = pin!(watched.readable());
                    let mut writable = pin!(watched.writable());
                    assert!(poll_once(readable.as_mut()).await.is_pending());
                    assert!(poll_once(writable.as_mut()).await.is_pending());
                    if is_submitted && round != 2 {
                        in_flight(2).await;
                        turns(2).await;
                    }
                }
                assert_eq!(drops.get(), round - 1);
                let dropped = if round == 4 {
                    let inner = watched.into_inner();
                    assert_eq!(drops.get(), 3, "given back");
                    catch_unwind(AssertUnwindSafe(|| drop(inner)))
                } else {
                    catch_unwind(AssertUnwindSafe(|| drop(watched)))
                };
                assert_eq!(dropped.is_err(), round >= 3);
                assert_eq!(drops.get(), round, "dropped once, and at once");
                drop(peer);
            }
            in_flight(0).await;
            until(|| Handle::current().metrics().tasks == 0).await;
            assert_eq!(open_fds(), before);
        });
    });
}

/// Writes until a blocking socket would block.
fn fill_blocking(socket: &UnixStream) {
    socket.set_nonblocking(true).unwrap();
    fill(socket);
    socket.set_nonblocking(false).unwrap();
}

/// Goal: the runtime may be dropped first. A wait that outlives it is woken and fails, and a new
/// one fails.
///
/// Method: wait on a runtime, in its main future and in a task; drop it; await the old wait and a
/// new one on another runtime; drop the watches, and compare descriptors.
///
/// Kills: a wait that hangs; a poll that is armed without a loop; a duplicate that stays open.
#[test]
fn the_runtime_may_go_first() {
    on_each_driver(|runtime| {
        let other = Runtime::new().unwrap();
        other.block_on(turns(3));
        let before = open_fds();
        let woken = Arc::new(Woken::default());
        let (watched, mut waiting, peer) = runtime.block_on(async {
            let (left_over, peer) = watched_pair();
            ringloop::spawn(async move { left_over.readable().await.map(|()| peer) });
            let (watched, peer) = watched_pair();
            let watched = Rc::new(watched);
            let of_main = Rc::clone(&watched);
            let mut waiting = Box::pin(async move { of_main.readable().await });
            assert!(woken.poll(waiting.as_mut()).is_pending());
            turns(3).await;
            (watched, waiting, peer)
        });
        drop(runtime);
        assert!(woken.is_woken());
        other.block_on(async move {
            let _peer = peer;
            let error = waiting.as_mut().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
            let error = watched.writable().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
        });
        let left: Vec<_> =
            open_fds().into_iter().filter(|fd| !before.contains_key(&fd.0)).collect();
        assert!(left.is_empty(), "{left:?}");
    });
}

/// Goal: one file may have several watches, and a stream beside them, and each of them works.
///
/// Method: a TCP stream that waits for bytes, two watches that borrow its descriptor, and one that
/// is dropped while the others wait; then bytes come.
///
/// Kills: two owners of one place in the epoll driver; a watch that ends the stream's interest.
#[test]
fn one_file_may_be_watched_by_many() {
    on_each_driver(|runtime| {
        runtime.block_on(async {
            let (ours, mut theirs) = blocking_pair();
            let same = ours.try_clone().unwrap();
            let mut stream = TcpStream::from_std(ours);
            let first = AsyncFd::new(same.as_fd()).unwrap();
            let second = AsyncFd::new(same.as_fd()).unwrap();
            let third = AsyncFd::new(same.as_fd()).unwrap();
            let received = ringloop::spawn(async move { stream.recv().await.map(|b| b.to_vec()) });
            let mut waits = [pin!(first.readable()), pin!(second.readable())];
            for wait in &mut waits {
                assert!(is_pending(wait.as_mut()).await);
            }
            {
                let mut readable = Box::pin(third.readable());
                assert!(is_pending(readable.as_mut()).await);
            }
            drop(third);
            turns(3).await;
            theirs.write_all(b"news").unwrap();
            assert_eq!(received.await.unwrap().unwrap(), b"news");
            // The stream may have read the bytes first.
            theirs.write_all(b"more").unwrap();
            for wait in waits {
                wait.await.unwrap();
            }
        });
    });
}

/// Goal: watches and streams with the number of a former watch get their own events and no others,
/// and the epoll driver keeps no interest in files that stay open.
///
/// Method: watch a file, drop the watch, and use the number again for another file, for a stream
/// and for the same file; each waits and is woken. `/proc` lists the files of an epoll instance.
///
/// Kills: a number that is not deregistered; an interest that stays.
#[test]
fn numbers_are_used_again() {
    on_each_driver(|runtime| {
        runtime.block_on(async {
            let interests = epoll_interests();
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            for round in 0..6 {
                let (other, mut others_peer) = UnixStream::pair().unwrap();
                {
                    let watched = AsyncFd::new(ours.as_fd()).unwrap();
                    let mut readable = pin!(watched.readable());
                    assert!(is_pending(readable.as_mut()).await);
                    if round % 2 == 0 {
                        theirs.write_all(b"x").unwrap();
                        readable.await.unwrap();
                        (&ours).read_exact(&mut [0]).unwrap();
                    }
                }
                in_flight(0).await;
                assert_eq!(epoll_interests(), interests, "round {round}");
                let watched = AsyncFd::new(other.as_fd()).unwrap();
                let mut readable = pin!(watched.readable());
                assert!(is_pending(readable.as_mut()).await);
                theirs.write_all(b"x").unwrap();
                assert!(is_pending(readable.as_mut()).await, "that was for another");
                others_peer.write_all(b"y").unwrap();
                readable.await.unwrap();
                (&ours).read_exact(&mut [0]).unwrap();
            }
        });
    });
}

/// The number of files in the epoll instances of this process.
fn epoll_interests() -> usize {
    let fds = open_fds().into_iter().filter(|(_, target)| target.contains("eventpoll"));
    let texts = fds.map(|(fd, _)| std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")));
    texts.map(|text| text.unwrap().lines().filter(|line| line.starts_with("tfd")).count()).sum()
}

/// Goal: the loop does not change the flags of the descriptor, and does not make it non-blocking.
///
/// Method: wait for a blocking socket, then look at its flags. Kills: `O_NONBLOCK` set through the
/// duplicate, which shares it.
#[test]
fn flags_are_the_owners() {
    on_each_driver(|runtime| {
        runtime.block_on(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let flags = || {
                let path = format!("/proc/self/fdinfo/{}", ours.as_raw_fd());
                let text = std::fs::read_to_string(path).unwrap();
                text.lines().find(|line| line.starts_with("flags")).unwrap().to_owned()
            };
            let before = flags();
            let watched = AsyncFd::new(ours.as_fd()).unwrap();
            let mut readable = pin!(watched.readable());
            assert!(is_pending(readable.as_mut()).await);
            theirs.write_all(b"x").unwrap();
            readable.await.unwrap();
            assert_eq!(flags(), before);
        });
    });
}
