//! Readiness of descriptors, and the waiters that are woken.
#![allow(unsafe_code)] // eventfd(2), pidfd_open(2), inotify_init1(2)

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::rc::Rc;

use ringloop::Handle;
use ringloop::io::AsyncFd;

use super::common::{assert_coded, coded_bytes, poll_once, turns, until};
use super::{fill, in_flight, is_pending, on_each_driver, watched_pair};

fn watched_pipe() -> (AsyncFd<PipeReader>, AsyncFd<PipeWriter>) {
    let (reader, writer) = pipe().expect("a pipe");
    (AsyncFd::new(reader).expect("a duplicate"), AsyncFd::new(writer).expect("a duplicate"))
}

/// A descriptor that a system call has just returned.
fn adopt(fd: libc::c_long) -> OwnedFd {
    let fd = i32::try_from(fd).expect("a small number");
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the callers pass what a call that opens a descriptor has returned, and keep no copy.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn eventfd() -> OwnedFd {
    // SAFETY: no pointers.
    adopt(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }.into())
}

fn pidfd(pid: u32) -> OwnedFd {
    // SAFETY: no pointers.
    adopt(unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) })
}

/// Makes an inotify instance for new files in a directory.
fn inotify(directory: &std::path::Path) -> OwnedFd {
    // SAFETY: no pointers.
    let fd = adopt(unsafe { libc::inotify_init1(libc::IN_CLOEXEC) }.into());
    let path = std::ffi::CString::new(directory.to_str().expect("text")).expect("no zeros");
    // SAFETY: `path` ends with a zero and lives to the end of the call, which copies it.
    let watch = unsafe { libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), libc::IN_CREATE) };
    assert!(watch >= 0, "{}", std::io::Error::last_os_error());
    fd
}

/// Goal: a pipe is readable when it holds bytes or its writer is closed, writable when it has room
/// or its reader is closed, and not before.
///
/// Method: both ends of pipes, watched, through these states one after the other.
///
/// Kills: exchanged directions; a hang-up or an error that is not ready; a result that does not
/// depend on the descriptor.
#[test]
fn both_ends_of_a_pipe_become_ready() {
    on_each_driver(|runtime| {
        runtime.block_on(async {
            let (reader, writer) = watched_pipe();
            {
                let mut readable = pin!(reader.readable());
                assert!(is_pending(readable.as_mut()).await);
                writer.writable().await.unwrap();
                assert_eq!(writer.get_ref().write(b"1").unwrap(), 1);
                readable.await.unwrap();
            }
            reader.readable().await.unwrap(); // still, until the bytes are read
            assert_eq!(reader.get_ref().read(&mut [0; 9]).unwrap(), 1);
            let mut readable = pin!(reader.readable());
            assert!(is_pending(readable.as_mut()).await);
            drop(writer);
            readable.await.unwrap();
            reader.readable().await.unwrap();
            assert_eq!(reader.get_ref().read(&mut [0; 9]).unwrap(), 0);

            let (reader, writer) = watched_pipe();
            assert_eq!(writer.get_ref().write(&[1; 65536]).unwrap(), 65536);
            let mut writable = pin!(writer.writable());
            assert!(is_pending(writable.as_mut()).await);
            drop(reader);
            writable.await.unwrap();
            writer.writable().await.unwrap();
            assert_eq!(writer.get_ref().write(b"2").unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
    });
}

/// Goal: files that `poll(2)` does not support are always ready.
///
/// Method: a regular file, which epoll refuses, and a directory; each way, twice.
///
/// Kills: returning the `EPERM` of epoll; a wait for an edge that does not come.
#[test]
fn regular_files_are_always_ready() {
    on_each_driver(|runtime| {
        runtime.block_on(async {
            // A file that exists wherever this runs.
            let program = std::env::current_exe().unwrap();
            for path in [program.as_path(), program.parent().unwrap()] {
                let watched = AsyncFd::new(std::fs::File::open(path).unwrap()).unwrap();
                for _ in 0..2 {
                    watched.readable().await.unwrap();
                    watched.writable().await.unwrap();
                }
            }
        });
    });
}

/// Goal: an eventfd, an inotify instance and a pidfd of a child can be awaited.
///
/// Method: wait for each; then write, make a file, let the child end.
///
/// Kills: a driver that polls for events that these files do not support.
#[test]
fn eventfds_inotify_and_pidfds_become_readable() {
    on_each_driver(|runtime| {
        runtime.block_on(async {
            let wake_fd = AsyncFd::new(eventfd()).unwrap();
            wake_fd.writable().await.unwrap();
            let mut readable = pin!(wake_fd.readable());
            assert!(is_pending(readable.as_mut()).await);
            let mut wake_file = std::fs::File::from(wake_fd.get_ref().try_clone().unwrap());
            wake_file.write_all(&1_u64.to_ne_bytes()).unwrap();
            readable.await.unwrap();

            let directory = tempdir();
            let news = AsyncFd::new(inotify(&directory)).unwrap();
            let mut readable = pin!(news.readable());
            assert!(is_pending(readable.as_mut()).await);
            std::fs::write(directory.join("file"), b"").unwrap();
            readable.await.unwrap();
            std::fs::remove_dir_all(&directory).unwrap();

            let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            let ended = AsyncFd::new(pidfd(child.id())).unwrap();
            let mut readable = pin!(ended.readable());
            assert!(is_pending(readable.as_mut()).await);
            drop(child.stdin.take());
            readable.await.unwrap();
            assert!(child.try_wait().unwrap().is_some(), "ready, so nothing to wait for");
        });
    });
}

fn tempdir() -> std::path::PathBuf {
    let number = {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    };
    let name = format!("ringloop-async-fd-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir(&path).unwrap();
    path
}

/// Goal: bytes go both ways, at full speed, with the pattern of the documentation, and bytes from
/// another thread wake a loop that sleeps.
///
/// Method: a thread writes a megabyte of the coded stream to a small socket and reads it back.
///
/// Kills: an edge that is missed between the call that would block and the wait.
#[test]
fn bytes_go_both_ways() {
    const LEN: usize = 1 << 20;
    on_each_driver(|runtime| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let peer = std::thread::spawn(move || {
            let mut theirs = theirs;
            let mut received = Vec::new();
            for start in (0..LEN).step_by(1 << 16) {
                let sent = coded_bytes(start as u64, 1 << 16);
                theirs.write_all(&sent).unwrap();
                let mut piece = vec![0; 1 << 16];
                theirs.read_exact(&mut piece).unwrap();
                received.extend(piece);
            }
            received
        });
        runtime.block_on(async {
            let echoed = AsyncFd::new(ours).unwrap();
            let mut buffer = [0; 5000];
            loop {
                echoed.readable().await.unwrap();
                let count = match echoed.get_ref().read(&mut buffer) {
                    Ok(0) => return,
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => panic!("{error}"),
                };
                let mut rest = &buffer[..count];
                while !rest.is_empty() {
                    match echoed.get_ref().write(rest) {
                        Ok(count) => rest = &rest[count..],
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            echoed.writable().await.unwrap();
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        assert_coded(0, &peer.join().unwrap());
    });
}

/// Goal: every waiter is woken, also if others have been dropped.
///
/// Method: four waits for one descriptor, one of them dropped while it waits, one after it was
/// woken; then the bytes come.
///
/// Kills: a wake for one only; a dropped wait that cancels the poll of the others.
#[test]
fn every_waiter_is_woken() {
    on_each_driver(|runtime| {
        runtime.block_on(async {
            let (watched, mut peer) = watched_pair();
            let watched = Rc::new(watched);
            let events = Rc::new(Cell::new(0));
            for _ in 0..2 {
                let (watched, events) = (Rc::clone(&watched), Rc::clone(&events));
                ringloop::spawn(async move {
                    watched.readable().await.unwrap();
                    events.set(events.get() + 1);
                });
            }
            let mut woken = Box::pin(watched.readable());
            let mut waiting = Box::pin(watched.readable());
            assert!(is_pending(waiting.as_mut()).await);
            assert!(poll_once(woken.as_mut()).await.is_pending());
            drop(waiting);
            peer.write_all(b"x").unwrap();
            until(|| events.get() > 0).await;
            drop(woken);
            until(|| events.get() == 2).await;
        });
    });
}

/// Goal: with many more watches than queue entries, each is woken by its own events only.
///
/// Method: three hundred pairs on queues of 8 and 16; wait for all; write to every third, in a
/// mixed-up order; those and no others are woken. Then drop all of them.
///
/// Kills: a poll lost in a full queue; a cap that counts polls; a result for another watch.
#[test]
fn many_watches_work_on_small_queues() {
    const COUNT: usize = 300;
    on_each_driver(|runtime| {
        runtime.block_on(async {
            let events = Rc::new(RefCell::new(Vec::new()));
            let mut peers = Vec::new();
            let mut tasks = Vec::new();
            for number in 0..COUNT {
                let (watched, peer) = watched_pair();
                peers.push(peer);
                let events = Rc::clone(&events);
                tasks.push(ringloop::spawn(async move {
                    watched.readable().await.unwrap();
                    events.borrow_mut().push(number);
                }));
            }
            in_flight(COUNT as u64).await;
            let mut written: Vec<usize> =
                (0..COUNT).map(|i| i * 7 % COUNT).filter(|number| number % 3 == 0).collect();
            for &number in &written {
                peers[number].write_all(b"x").unwrap();
            }
            until(|| events.borrow().len() == written.len()).await;
            turns(10).await;
            events.borrow_mut().sort_unstable();
            written.sort_unstable();
            assert_eq!(*events.borrow(), written);
            for task in &tasks {
                task.abort();
            }
            in_flight(0).await;
        });
    });
}

/// Goal: a peer that has shut down its sending side does not make a full socket writable, and the
/// loop does not spin over it.
///
/// Method: fill a socket, have its peer finish sending and not read; wait for writing for a
/// hundred turns, with an eye on the completions; then the peer reads.
///
/// Kills: taking `POLLRDHUP` for writable; polling again for an event that holds; waiting for an
/// edge and missing the right one.
#[test]
fn a_peer_that_has_finished_sending_makes_nothing_writable() {
    on_each_driver(|runtime| {
        runtime.block_on(async {
            let (watched, mut peer) = watched_pair();
            fill(watched.get_ref());
            peer.shutdown(Shutdown::Write).unwrap();
            watched.readable().await.unwrap();
            let mut writable = pin!(watched.writable());
            assert!(poll_once(writable.as_mut()).await.is_pending());
            let completions = Handle::current().metrics().completions;
            turns(100).await;
            let completions = Handle::current().metrics().completions - completions;
            assert!(completions < 10, "{completions} completions of nothing");
            assert!(poll_once(writable.as_mut()).await.is_pending());
            while peer.read(&mut [0; 65536]).is_ok() {}
            writable.await.unwrap();
            assert!(watched.get_ref().write(b"x").is_ok());
        });
    });
}
