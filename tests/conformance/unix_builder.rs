//! The settings of a Unix listener.

use std::fs;
use std::io::ErrorKind;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::unix::Directory;
use crate::{Body, Driver, bodies};
use ringloop::net::{UnixListener, UnixStream};

pub(crate) const SHARED: &[Body] =
    bodies![unix_stale_paths_are_removed_on_request, unix_builder_sets_mode_and_backlog,];

/// Goal: `unlink_existing` removes the file of a socket on which no process listens, and no other.
///
/// Method: the file of a listener that has ended, with and without the setting; then the paths of a
/// listener, of a datagram socket, of a file, and of a link to a stale socket.
///
/// Kills: a listening socket that loses its path; a removed file; a removal without the setting.
fn unix_stale_paths_are_removed_on_request(on: Driver) {
    on.run(async {
        let directory = Directory::new();
        let stale = directory.path("stale");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        assert_eq!(UnixListener::bind(&stale).unwrap_err().kind(), ErrorKind::AddrInUse);
        let builder = || UnixListener::builder().unlink_existing(true);
        let listener = builder().bind(&stale).unwrap();
        let _client = UnixStream::connect(&stale).await.unwrap();
        listener.accept().await.unwrap();

        assert_eq!(builder().bind(&stale).unwrap_err().kind(), ErrorKind::AddrInUse);
        let mut looked = listener.accept().await.unwrap();
        assert!(looked.recv().await.unwrap().is_empty());
        let _client = UnixStream::connect(&stale).await.unwrap();
        listener.accept().await.unwrap();

        let (datagram, file, link) =
            (directory.path("datagram"), directory.path("file"), directory.path("link"));
        let _socket = std::os::unix::net::UnixDatagram::bind(&datagram).unwrap();
        fs::write(&file, "text").unwrap();
        drop(std::os::unix::net::UnixListener::bind(directory.path("target")).unwrap());
        std::os::unix::fs::symlink("target", &link).unwrap();
        for path in [datagram, file, link] {
            assert_eq!(builder().bind(path).unwrap_err().kind(), ErrorKind::AddrInUse);
        }
        assert_eq!(directory.names(), ["datagram", "file", "link", "stale", "target"]);
        drop(listener);
        assert_eq!(directory.names(), ["datagram", "file", "link", "target"]);
    });
}

/// Goal: the file has the given mode, whatever the umask; the kernel holds as many connections as
/// the backlog; a failure leaves no file. Method: a mode that no umask gives; connects that do not
/// wait, until one is refused. Kills: a mode that the umask cuts; the default backlog.
fn unix_builder_sets_mode_and_backlog(on: Driver) {
    on.run(async {
        let directory = Directory::new();
        let path = directory.path("socket");
        let listener = UnixListener::builder().mode(0o602).backlog(1).bind(&path).unwrap();
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o602);
        let addr = SockAddr::unix(&path).unwrap();
        let mut clients = Vec::new();
        let error = loop {
            let client = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
            match client.connect(&addr) {
                Ok(()) => clients.push(client),
                Err(error) => break error,
            }
        };
        assert_eq!((clients.len(), error.kind()), (2, ErrorKind::WouldBlock));
        drop(listener);
        assert!(directory.names().is_empty());
    });
}
