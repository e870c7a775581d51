//! Resources of each kind on a loop, in use, and checks that they still work.

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as StdTcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ringloop::buf::RecvBuf;
use ringloop::io::AsyncFd;
use ringloop::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use ringloop::time::{Sleep, sleep};

use crate::common::{Woken, any_addr, turns};

const SOON: Duration = Duration::from_millis(20);

/// More bytes than the buffers of a connection hold.
const QUEUED_BYTES: usize = 16 << 20;

/// Resources of a loop, each in use, and the peers that show whether they still work.
pub(crate) struct Resources {
    pub(crate) tcp: TcpListener,
    pub(crate) unix: UnixListener,
    pub(crate) path: PathBuf,
    pub(crate) reader: TcpStream,
    pub(crate) reader_peer: StdTcpStream,
    /// With more bytes queued than the kernel takes.
    pub(crate) writer: TcpStream,
    pub(crate) writer_peer: StdTcpStream,
    pub(crate) half: ringloop::net::OwnedWriteHalf<UnixStream>,
    pub(crate) other_half: ringloop::net::OwnedReadHalf<UnixStream>,
    pub(crate) half_peer: StdUnixStream,
    pub(crate) watched: AsyncFd<OwnedFd>,
    pub(crate) watched_peer: StdUnixStream,
    /// Known to the driver, and with nothing in flight.
    pub(crate) idle: AsyncFd<OwnedFd>,
    pub(crate) idle_peer: StdUnixStream,
    pub(crate) sleep: Pin<Box<Sleep>>,
    pub(crate) buffer: RecvBuf,
}

pub(crate) fn is_pending<F: Future>(future: F) -> bool {
    Arc::new(Woken::default()).poll(std::pin::pin!(future)).is_pending()
}

pub(crate) async fn connected(listener: &TcpListener) -> (TcpStream, StdTcpStream) {
    let peer = StdTcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().await.unwrap(), peer)
}

pub(crate) async fn make() -> Resources {
    let tcp = TcpListener::bind(any_addr()).unwrap();
    let path = std::env::temp_dir().join(format!("ringloop-forked-{}", std::process::id()));
    let unix = UnixListener::bind(&path).unwrap();
    let (mut reader, mut reader_peer) = connected(&tcp).await;
    reader_peer.write_all(b"kept").unwrap();
    let buffer = reader.recv().await.unwrap();
    let (mut writer, writer_peer) = connected(&tcp).await;
    let (ours, half_peer) = StdUnixStream::pair().unwrap();
    let (other_half, half) = UnixStream::from_std(ours).into_split();
    let (ours, watched_peer) = StdUnixStream::pair().unwrap();
    let watched = AsyncFd::new(OwnedFd::from(ours)).unwrap();
    let mut sleep = Box::pin(sleep(SOON));
    assert!(is_pending(tcp.accept()) && is_pending(unix.accept()) && is_pending(reader.recv()));
    assert!(is_pending(watched.readable()) && is_pending(sleep.as_mut()));
    let (ours, mut idle_peer) = StdUnixStream::pair().unwrap();
    let idle = AsyncFd::new(OwnedFd::from(ours)).unwrap();
    assert!(is_pending(idle.readable()));
    turns(2).await; // all operations are in flight
    idle_peer.write_all(b"!").unwrap();
    idle.readable().await.unwrap();
    (&StdUnixStream::from(idle.as_fd().try_clone_to_owned().unwrap()))
        .read_exact(&mut [0])
        .unwrap();
    writer.send(vec![7; QUEUED_BYTES]).await.unwrap();
    turns(2).await;
    Resources {
        tcp,
        unix,
        path,
        reader,
        reader_peer,
        writer,
        writer_peer,
        half,
        other_half,
        half_peer,
        watched,
        watched_peer,
        idle,
        idle_peer,
        sleep,
        buffer,
    }
}

/// Checks that each resource works as before.
pub(crate) async fn all_work(all: Resources) {
    let Resources {
        tcp,
        unix,
        path,
        mut reader,
        mut reader_peer,
        mut writer,
        mut writer_peer,
        mut half,
        other_half,
        mut half_peer,
        watched,
        mut watched_peer,
        idle,
        mut idle_peer,
        sleep,
        buffer,
    } = all;
    assert_eq!(&*buffer, b"kept");
    let (mut later, mut later_peer) = connected(&tcp).await;
    later_peer.write_all(b"after").unwrap();
    assert_eq!(&*later.recv().await.unwrap(), b"after");
    let mut unix_peer = StdUnixStream::connect(&path).unwrap();
    unix_peer.write_all(b"unix").unwrap();
    let mut accepted = unix.accept().await.unwrap();
    assert_eq!(&*accepted.recv().await.unwrap(), b"unix", "no connection but this one");
    reader_peer.write_all(b"more").unwrap();
    assert_eq!(&*reader.recv().await.unwrap(), b"more");
    let peer = std::thread::spawn(move || {
        let mut bytes = vec![0; QUEUED_BYTES];
        writer_peer.read_exact(&mut bytes).unwrap();
        assert!(bytes.iter().all(|&byte| byte == 7));
        writer_peer.set_nonblocking(true).unwrap();
        let end = writer_peer.read(&mut bytes);
        assert_eq!(end.unwrap_err().kind(), ErrorKind::WouldBlock, "no end");
    });
    writer.flush().await.unwrap();
    peer.join().unwrap();
    let mut bytes = [0; 4];
    half.write_all(b"half").await.unwrap();
    half.flush().await.unwrap();
    half_peer.read_exact(&mut bytes).unwrap();
    watched_peer.write_all(b"!").unwrap();
    watched.readable().await.unwrap();
    let mut readable = Box::pin(idle.readable());
    assert!(is_pending(readable.as_mut()));
    turns(2).await;
    idle_peer.write_all(b"!").unwrap();
    readable.await.unwrap();
    sleep.await;
    drop((unix_peer, other_half));
}
