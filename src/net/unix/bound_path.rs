//! The file that a listener's `bind` has made.
//!
//! The kernel never removes it, and a path that exists cannot be bound, so a server that left its
//! file behind could not be started again. But by then the path may be somebody else's: a successor
//! that was started before this one ended has removed it and made its own. So it is removed only if
//! it is the very file that `bind` made.
//!
//! **Invariant.** The file's inode number names nobody else: the listening socket holds the inode,
//! so this value must be dropped before the descriptor is closed.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys::fork::Process;

pub(super) struct BoundPath {
    path: PathBuf,
    id: FileId,
    is_kept: bool,
    process: Process,
}

/// Device and inode.
type FileId = (u64, u64);

impl BoundPath {
    /// Call right after `bind`.
    pub(super) fn new(path: &Path) -> io::Result<BoundPath> {
        let id = file_id(path)?;
        // The program may change its directory.
        let path = std::path::absolute(path)?;
        Ok(BoundPath { path, id, is_kept: false, process: Process::current() })
    }

    /// Leaves the file.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }

    /// Removes the file unless something listens there. For a socket that another descriptor may name,
    /// once ours is closed: then a connect is refused if ours was the last.
    ///
    /// A listener that is found gets a connection which ends at once. The inode is not held any more, so
    /// the file of a successor that has bound and does not listen yet could be taken for ours, if it was
    /// given the same inode in between.
    pub(super) fn remove_if_unheld(mut self) {
        self.is_kept = self.is_of_parent() || !is_refused(&self.path);
    }

    /// In a forked child the file is the parent's, which may still listen.
    fn is_of_parent(&self) -> bool {
        !self.process.is_current()
    }
}

/// Removes the file of a socket on which nothing listens. Whether it did.
pub(super) fn remove_stale(path: &Path) -> io::Result<bool> {
    let is_socket = fs::symlink_metadata(path)?.file_type().is_socket();
    let id = file_id(path)?;
    if !is_socket || !is_refused(path) || file_id(path)? != id {
        return Ok(false);
    }
    fs::remove_file(path)?;
    Ok(true)
}

/// Whether a connect finds the file of a socket on which nothing listens.
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
            // It may be gone by now, or the directory be closed to us: nobody could do better.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn file_id(path: &Path) -> io::Result<FileId> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
