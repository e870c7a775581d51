//! The file of a Unix listener, and its removal.
//!
//! The kernel does not remove the file when the socket is closed, and a path that exists cannot be
//! bound. So a server that left its file behind could not be started again. But the path may
//! already lead to the file of a successor, which has removed the old one and bound its own before
//! this server ended. So the file is removed only if it is the one that `bind` made.
//!
//! **Invariant.** While this value lives, no other file has the inode number: the listening socket
//! holds the inode. So this value must be dropped before the descriptor is closed.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys::fork::Process;

/// The file that `bind` made. Dropping the value removes it.
pub(super) struct BoundPath {
    path: PathBuf,
    id: FileId,
    is_kept: bool,
    process: Process,
}

/// Device and inode.
type FileId = (u64, u64);

impl BoundPath {
    /// Remembers the file at `path`. Call right after `bind`.
    pub(super) fn new(path: &Path) -> io::Result<BoundPath> {
        let id = file_id(path)?;
        // Absolute, because the program may change its directory.
        let path = std::path::absolute(path)?;
        Ok(BoundPath { path, id, is_kept: false, process: Process::current() })
    }

    /// Leaves the file in place.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }

    /// Removes the file unless a socket listens there.
    ///
    /// For a socket that another descriptor may name, after ours has been closed: a connect is
    /// refused if ours was the last. A listener that is found gets a connection which ends at once.
    /// The inode is not held any more, so the file of a successor that has bound and does not
    /// listen yet could be taken for ours, if it got the same inode number.
    pub(super) fn remove_if_unheld(mut self) {
        self.is_kept = self.is_of_parent() || !is_refused(&self.path);
    }

    /// Whether this is a forked child. The file belongs to the parent, which may still listen.
    fn is_of_parent(&self) -> bool {
        !self.process.is_current()
    }
}

/// Removes the file of a socket on which no process listens. Returns whether it did.
pub(super) fn remove_stale(path: &Path) -> io::Result<bool> {
    let is_socket = fs::symlink_metadata(path)?.file_type().is_socket();
    let id = file_id(path)?;
    if !is_socket || !is_refused(path) || file_id(path)? != id {
        return Ok(false);
    }
    fs::remove_file(path)?;
    Ok(true)
}

/// Whether `path` is a socket on which no process listens.
fn is_refused(path: &Path) -> bool {
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    connect().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

impl Drop for BoundPath {
    fn drop(&mut self) {
        if self.is_kept || self.is_of_parent() {
            return;
        }
        if file_id(&self.path).is_ok_and(|id| id == self.id) {
            // An error is ignored: the file may be gone, or the directory not writable.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn file_id(path: &Path) -> io::Result<FileId> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
