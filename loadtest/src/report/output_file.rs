//! An output file, opened before the run begins, so that an unwritable file does not waste the run.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::base::exit::Error;

#[derive(Debug)]
pub(crate) struct OutputFile {
    path: PathBuf,
    file: File,
}

impl OutputFile {
    /// Opens or creates the file. Its content stays until a report replaces it.
    pub(crate) fn open(path: &Path) -> Result<OutputFile, Error> {
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        match opened {
            Ok(file) => Ok(OutputFile { path: path.to_owned(), file }),
            Err(error) => Err(OutputFile::failed(path, &error)),
        }
    }

    pub(crate) fn write(mut self, text: &str) -> Result<(), Error> {
        // The length of a pipe or a device (`/dev/stdout`) cannot be set.
        let is_file = self.file.metadata().is_ok_and(|metadata| metadata.is_file());
        let emptied = if is_file { self.file.set_len(0) } else { Ok(()) };
        let written = emptied.and_then(|()| self.file.write_all(text.as_bytes()));
        if written.is_err() && is_file {
            // A partial report could be mistaken for a complete one, and occupies a full disk.
            let _ = self.file.set_len(0);
        }
        written.map_err(|error| OutputFile::failed(&self.path, &error))
    }

    pub(crate) fn failed(path: &Path, error: &io::Error) -> Error {
        Error::could_not_run(format!("cannot write {}: {error}", path.display()))
    }
}
