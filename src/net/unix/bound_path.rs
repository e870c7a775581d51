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
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub(super) struct BoundPath {
    path: PathBuf,
    id: FileId,
}

/// Device and inode.
type FileId = (u64, u64);

impl BoundPath {
    /// Call right after `bind`.
    pub(super) fn new(path: &Path) -> io::Result<BoundPath> {
        let id = file_id(path)?;
        // The program may change its directory.
        Ok(BoundPath { path: std::path::absolute(path)?, id })
    }
}

impl Drop for BoundPath {
    fn drop(&mut self) {
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
