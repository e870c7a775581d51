//! Unix sockets: addresses, the file of a listener, and a full backlog. Transfers and closing are
//! tested as a whole, as their code is that of TCP.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::common::{any_name, assert_coded, coded_bytes, poll_once, turn, turns, until};
use crate::{Body, Driver, bodies};
use ringloop::net::{UnixListener, UnixStream};
use ringloop::spawn;
use ringloop::time::{Instant, sleep};

pub(crate) const SHARED: &[Body] = bodies![
    unix_streams_carry_bytes_both_ways,
    unix_drops_lose_nothing,
    unix_addresses_are_what_the_program_wrote,
    bad_unix_addresses_are_refused,
    unix_paths_that_are_taken_are_refused,
    i18_a_listener_removes_its_own_path_only,
    a_listeners_path_stays_while_another_listens,
    unix_connects_wait_while_the_backlog_is_full,
    unix_connects_wait_in_a_line,
    unix_connects_let_others_run,
    a_unix_listener_that_ends_refuses_and_closes,
];

/// Far more bytes than the buffers of a Unix socket and the queue hold.
const BIG: usize = 2 << 20;

/// A directory that is removed when this value is dropped.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Directory {
        let path = std::env::temp_dir().join(any_name());
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Goal: bytes arrive, whole and in order, in both directions at once, by every way to send and to
/// receive; ends come after the bytes; closing returns its result.
///
/// Method: an echo of owned halves in two tasks, and a client that sends more than all buffers hold
/// while it reads; then `read_exact`, `read`, `split` and `close` on a pair.
///
/// Kills: a Unix stream whose receive or send is not armed again; an end before the last bytes.
fn unix_streams_carry_bytes_both_ways(on: Driver) {
    on.run(async {
        let name = any_name();
        let listener = UnixListener::bind(&name).unwrap();
        let echo = spawn(async move {
            let (mut reader, mut writer) = listener.accept().await.unwrap().into_split();
            loop {
                let bytes = reader.recv().await.unwrap();
                if bytes.is_empty() {
                    assert!(writer.stream().peer_addr().unwrap().is_unnamed());
                    return writer.shutdown().await.unwrap();
                }
                writer.send(bytes).await.unwrap();
            }
        });
        let (mut reader, mut writer) = UnixStream::connect(&name).await.unwrap().into_split();
        let sending = spawn(async move {
            for start in (0..BIG).step_by(BIG / 8) {
                writer.write_all(&coded_bytes(start as u64, BIG / 8)).await.unwrap();
            }
        });
        let mut received = vec![0; BIG];
        reader.read_exact(&mut received).await.unwrap();
        assert_coded(0, &received);
        assert!(reader.recv().await.unwrap().is_empty());
        sending.await.unwrap();
        echo.await.unwrap();

        let (mut one, mut other) = UnixStream::pair().unwrap();
        one.send("text").await.unwrap();
        one.flush().await.unwrap();
        let mut two = [0; 2];
        assert_eq!(other.read(&mut two).await.unwrap(), 2);
        assert_eq!(&two, b"te");
        let (mut reader, mut writer) = other.split();
        writer.write_all(b"back").await.unwrap();
        assert_eq!(&*reader.recv().await.unwrap(), b"xt");
        one.shutdown().await.unwrap();
        assert!(reader.recv().await.unwrap().is_empty());
        other.close().await.unwrap();
        assert_eq!(&*one.recv().await.unwrap(), b"back");
        assert!(one.recv().await.unwrap().is_empty());
    });
}

/// Goal: a dropped `accept`, `recv` or `connect` loses no connection and no byte.
///
/// Method: poll each once and drop it; then let the other side act, and do it again.
///
/// Kills: an accept or a receive that belongs to its future.
fn unix_drops_lose_nothing(on: Driver) {
    on.run(async {
        let name = any_name();
        let listener = UnixListener::bind(&name).unwrap();
        assert!(poll_once(pin!(listener.accept())).await.is_pending());
        let mut peer = StdStream::connect_addr(&abstract_addr(&name)).unwrap();
        turns(5).await;
        let mut stream = listener.accept().await.unwrap();
        assert!(poll_once(pin!(stream.recv())).await.is_pending());
        peer.write_all(b"late").unwrap();
        turns(5).await;
        assert_eq!(&*stream.recv().await.unwrap(), b"late");
        let mut incoming = listener.incoming();
        assert!(poll_once(pin!(incoming.next())).await.is_pending());
        let _other = UnixStream::connect(&name).await.unwrap();
        incoming.next().await.unwrap();
    });
}

fn abstract_addr(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(name.strip_prefix('@').unwrap()).unwrap()
}

/// Goal: addresses of every form are those that the program gave.
///
/// Method: a path, a path of 107 bytes, a file that begins with `@`, abstract names of one and of
/// 107 bytes; reached by an ordinary socket, and named by both ends.
///
/// Kills: a name with its zero byte; a path that is cut by one; an `@` in a path taken for a name.
fn unix_addresses_are_what_the_program_wrote(on: Driver) {
    let directory = Directory::new();
    on.run(async {
        let room = 107 - directory.path("").as_os_str().len();
        for path in [directory.path("s"), directory.path(&"l".repeat(room)), directory.path("@s")] {
            let listener = UnixListener::bind(&path).unwrap();
            assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
            let _peer = StdStream::connect(&path).unwrap();
            let stream = UnixStream::connect(&path).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap().as_pathname(), Some(&*path));
            assert!(stream.local_addr().unwrap().is_unnamed());
            let accepted = listener.accept().await.unwrap();
            assert!(accepted.peer_addr().unwrap().is_unnamed());
            assert_eq!(accepted.local_addr().unwrap().as_pathname(), Some(&*path));
        }
        let name = any_name();
        for name in [name.clone(), format!("{name:0<108}")] {
            let listener = UnixListener::bind(&name).unwrap();
            let _peer = StdStream::connect_addr(&abstract_addr(&name)).unwrap();
            let stream = UnixStream::connect(&name).await.unwrap();
            let addr = stream.peer_addr().unwrap();
            assert_eq!(addr.as_abstract_name(), Some(&name.as_bytes()[1..]));
            assert_eq!(listener.local_addr().unwrap().as_abstract_name(), addr.as_abstract_name());
        }
        assert_eq!(directory.names(), [""; 0], "dropped listeners remove their files");
    });
}

/// Goal: an invalid address is refused before a socket is made.
///
/// Method: an empty address, an `@` alone, a path and a name of 108 bytes, zero bytes; to bind and
/// to connect.
///
/// Kills: a path that is cut; an empty path, which the kernel takes for "any name".
fn bad_unix_addresses_are_refused(on: Driver) {
    on.run(async {
        let long = "p".repeat(108);
        let zero = OsStr::from_bytes(b"a\0b");
        for bad in ["", "@", &long, &format!("@{long}")].map(OsStr::new).into_iter().chain([zero]) {
            let bound = UnixListener::bind(bad).unwrap_err();
            assert_eq!(bound.kind(), ErrorKind::InvalidInput, "{bad:?}: {bound}");
            let connected = UnixStream::connect(bad).await.unwrap_err();
            assert_eq!(connected.kind(), ErrorKind::InvalidInput, "{bad:?}: {connected}");
        }
    });
}

/// Goal: a path that exists is in use, whatever it is, and stays.
///
/// Method: bind to a file with contents, to the path of a listener and to a stale one; connect to
/// each, and to a path that does not exist.
///
/// Kills: unlinking before `bind`; removing the path after a `bind` that failed.
fn unix_paths_that_are_taken_are_refused(on: Driver) {
    let directory = Directory::new();
    on.run(async {
        let (file, left) = (directory.path("file"), directory.path("left"));
        fs::write(&file, "mine").unwrap();
        drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
        let live = directory.path("live");
        let _listener = UnixListener::bind(&live).unwrap();
        for taken in [&file, &left, &live] {
            let error = UnixListener::bind(taken).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse, "{taken:?}: {error}");
        }
        assert_eq!(directory.names(), ["file", "left", "live"]);
        assert_eq!(fs::read(&file).unwrap(), b"mine");
        for (path, kind) in [
            (&file, ErrorKind::ConnectionRefused),
            (&left, ErrorKind::ConnectionRefused),
            (&directory.path("nothing"), ErrorKind::NotFound),
        ] {
            assert_eq!(UnixStream::connect(path).await.unwrap_err().kind(), kind, "{path:?}");
        }
        UnixStream::connect(&live).await.unwrap();
    });
}

/// Goal: the end of a listener removes the file that its `bind` made, and no other (I18).
///
/// Method: a listener whose path was given to a successor, to a plain file, or to nothing; one
/// whose file was renamed; the end of the loop in place of a drop.
///
/// Kills: removing by name only; leaving the file behind.
fn i18_a_listener_removes_its_own_path_only(on: Driver) {
    let directory = Directory::new();
    let path = directory.path("s");
    on.run(async {
        drop(UnixListener::bind(&path).unwrap());
        assert!(!path.exists());

        let former = UnixListener::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let successor = UnixListener::bind(&path).unwrap();
        drop(former);
        UnixStream::connect(&path).await.expect("the successor's file is still there");
        drop(successor);
        assert!(!path.exists());

        let listener = UnixListener::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(listener);
        assert_eq!(fs::read(&path).unwrap(), b"another's");
        fs::remove_file(&path).unwrap();

        let listener = UnixListener::bind(&path).unwrap();
        fs::rename(&path, directory.path("renamed")).unwrap();
        drop(listener);
        assert_eq!(directory.names(), ["renamed"], "it may be in use under its new name");

        let listener = UnixListener::bind(&path).unwrap();
        spawn(async move { listener.accept().await.map(drop) });
        turns(2).await;
        assert!(path.exists());
    });
    assert!(!path.exists(), "the task and its listener ended with the loop");
}

/// Goal: the file of a listener stays while another descriptor listens, or with `keep_path`, and is
/// removed with the last descriptor.
///
/// Method: an open duplicate, a closed one, `keep_path`, and a socket that is handed over with its
/// queued connections.
///
/// Kills: removing the path while a duplicate listens; not removing it after the descriptor was
/// seen; a path that `into_std` removes.
fn a_listeners_path_stays_while_another_listens(on: Driver) {
    on.run(async {
        let directory = Directory::new();
        let path = directory.0.join("listener");
        for lives in [true, false] {
            let listener = UnixListener::bind(&path).unwrap();
            let heir = listener.as_fd().try_clone_to_owned().unwrap();
            let heir = lives.then(|| std::os::unix::net::UnixListener::from(heir));
            drop(listener);
            turns(2).await;
            assert_eq!(path.exists(), lives);
            if let Some(heir) = heir {
                StdStream::connect(&path).unwrap();
                drop(heir);
                fs::remove_file(&path).unwrap();
            }
        }

        let mut listener = UnixListener::bind(&path).unwrap();
        listener.keep_path();
        drop(listener);
        turns(2).await;
        fs::remove_file(&path).expect("it was kept");

        let listener = UnixListener::bind(&path).unwrap();
        let _clients = [StdStream::connect(&path).unwrap(), StdStream::connect(&path).unwrap()];
        drop(listener.accept().await.unwrap());
        turns(3).await;
        let (heir, given) = listener.into_std().await.unwrap();
        let _late = StdStream::connect(&path).expect("it listens");
        heir.set_nonblocking(true).unwrap();
        let waiting_count = std::iter::from_fn(|| heir.accept().ok()).count();
        assert_eq!(given.len() + waiting_count, 2);
    });
}

/// A listening socket whose backlog is full.
fn full_listener(name: &str) -> (Socket, StdStream) {
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let name = OsStr::new(name.strip_prefix('@').unwrap());
    let addr = SockAddr::unix(Path::new(&[OsStr::new("\0"), name].join(OsStr::new("")))).unwrap();
    listener.bind(&addr).unwrap();
    listener.listen(0).unwrap(); // room for one
    let first = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    first.connect(&addr).unwrap();
    (listener, first.into())
}

/// Goal: a connect waits while the backlog is full, at most for its timeout, and the wait ends with
/// the listener.
///
/// Method: connect to a listener with a full backlog of one: no result within many turns, then
/// `TimedOut` where there is a limit, the connection once the listener accepts, and a refusal when
/// the listener closes. The loop sleeps meanwhile.
///
/// Kills: `WouldBlock` returned to the program; a retry without a pause; a wait for an edge that
/// does not come.
fn unix_connects_wait_while_the_backlog_is_full(on: Driver) {
    on.run(async {
        let name = any_name();
        let (listener, _first) = full_listener(&name);
        let patience = Duration::from_millis(5);
        let error = UnixStream::connect_timeout(&name, patience).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);

        let (start, turns_before) = (Instant::now(), turn());
        let waits = spawn({
            let name = name.clone();
            async move { UnixStream::connect(&name).await }
        });
        sleep(Duration::from_millis(200)).await;
        assert!(!waits.is_finished());
        let (turns, waited_ms) = (turn() - turns_before, start.elapsed().as_millis() as u64);
        assert!(turns < 50 + waited_ms / 10, "{turns} turns in {waited_ms} ms for one connect");

        listener.accept().unwrap();
        let mut stream = waits.await.unwrap().unwrap();
        let (accepted, _) = listener.accept().unwrap();
        (&accepted).write_all(b"at last").unwrap();
        assert_eq!(&*stream.recv().await.unwrap(), b"at last");

        let again = UnixStream::connect(&name).await.unwrap();
        let waits = spawn(async move { UnixStream::connect(&name).await });
        sleep(patience).await;
        assert!(!waits.is_finished());
        drop(listener);
        assert_eq!(waits.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionRefused);
        drop(again);
    });
}

/// Goal: connects that wait for a full backlog all get their turn, before any newcomer. One that is
/// alive but not polled again, or was dropped, does not delay those behind it.
///
/// Method: 20 connects to a listener with room for one, behind one that was polled once and is kept
/// and one that is dropped; accept one at a time, and note which connect is made.
///
/// Kills: a turn that a connect keeps while it is not polled; a newcomer that takes room that
/// others wait for.
fn unix_connects_wait_in_a_line(on: Driver) {
    on.run(async {
        let name = any_name();
        let (listener, _first) = full_listener(&name);
        let mut kept = Box::pin(UnixStream::connect(name.clone()));
        assert!(poll_once(kept.as_mut()).await.is_pending());
        let mut dropped = Box::pin(UnixStream::connect(name.clone()));
        assert!(poll_once(dropped.as_mut()).await.is_pending());
        let made = Rc::new(RefCell::new(Vec::new()));
        for number in 0..20 {
            let (made, name) = (Rc::clone(&made), name.clone());
            spawn(async move {
                let stream = UnixStream::connect(&name).await.unwrap();
                made.borrow_mut().push((number, stream));
            });
        }
        turns(3).await;
        drop(dropped);
        for number in 0..20 {
            listener.accept().unwrap();
            if number == 10 {
                let mut newcomer = Box::pin(UnixStream::connect(name.clone()));
                assert!(poll_once(newcomer.as_mut()).await.is_pending(), "others were first");
            }
            until(|| made.borrow().len() > number).await;
        }
        let made = made.take().into_iter().map(|(number, _stream)| number);
        let mut numbers: Vec<_> = made.collect();
        numbers.sort_unstable(); // on a slow machine some overtake others
        assert_eq!(numbers, Vec::from_iter(0..20));
        listener.accept().unwrap();
        kept.await.unwrap();
    });
}

/// Goal: a task whose connects all succeed at once yields to other tasks.
///
/// Method: more connects in a row than a poll's budget, and a task beside them.
///
/// Kills: a connect that does not spend the budget.
fn unix_connects_let_others_run(on: Driver) {
    on.run(async {
        let name = any_name();
        let _listener = UnixListener::bind(&name).unwrap();
        let has_run = Rc::new(Cell::new(false));
        spawn({
            let has_run = Rc::clone(&has_run);
            async move { has_run.set(true) }
        });
        for _ in 0..130 {
            UnixStream::connect(&name).await.unwrap();
        }
        assert!(has_run.get());
    });
}

/// Goal: a dropped listener refuses connects and closes connections that were not taken; `abort`
/// drops queued bytes and ends the connection, with a reset if the peer's bytes were not read.
///
/// Method: both, with an ordinary socket as the peer.
///
/// Kills: a listener that goes on accepting; an `abort` that goes on sending.
fn a_unix_listener_that_ends_refuses_and_closes(on: Driver) {
    on.run(async {
        let name = any_name();
        let listener = UnixListener::bind(&name).unwrap();
        let mut waiting = StdStream::connect_addr(&abstract_addr(&name)).unwrap();
        assert!(poll_once(pin!(listener.accept())).await.is_pending());
        drop(listener);
        let error = UnixStream::connect(&name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let ended = std::thread::spawn(move || waiting.read(&mut [0; 8]));
        until(|| ended.is_finished()).await;
        let outcome = ended.join().unwrap();
        let is_end = |outcome: &std::io::Result<usize>| match outcome {
            Ok(count) => *count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        };
        assert!(is_end(&outcome), "{outcome:?}");

        for has_unread in [false, true] {
            let (ours, mut peer) = StdStream::pair().unwrap();
            let mut stream = UnixStream::from_std(ours);
            if has_unread {
                peer.write_all(b"unread").unwrap();
            }
            stream.write_all(&coded_bytes(0, 1000)).await.unwrap();
            stream.abort();
            let ended = std::thread::spawn(move || peer.read(&mut [0; 8]));
            until(|| ended.is_finished()).await;
            match ended.join().unwrap() {
                Err(error) if has_unread => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                outcome => assert_eq!(outcome.unwrap(), 0),
            }
        }
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(matches!(poll_once(pin!(one.close())).await, Poll::Ready(Ok(()))));
    });
}
