//! A file that is known to be writable before the run begins: to find out afterwards would waste it.

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
    /// Opens or creates the file. What it holds stays until a report replaces it.
    pub(crate) fn open(path: &Path) -> Result<OutputFile, Error> {
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        match opened {
            Ok(file) => Ok(OutputFile { path: path.to_owned(), file }),
            Err(error) => Err(OutputFile::failed(path, &error)),
        }
    }

    pub(crate) fn write(mut self, text: &str) -> Result<(), Error> {
        // A pipe or a device (`/dev/stdout`) has no length to set, and needs none.
        let is_file = self.file.metadata().is_ok_and(|metadata| metadata.is_file());
        let emptied = if is_file { self.file.set_len(0) } else { Ok(()) };
        let written = emptied.and_then(|()| self.file.write_all(text.as_bytes()));
        if written.is_err() && is_file {
            // A part must not pass for the whole, and takes the place of others on a full disk.
            let _ = self.file.set_len(0);
        }
        written.map_err(|error| OutputFile::failed(&self.path, &error))
    }

    pub(crate) fn failed(path: &Path, error: &io::Error) -> Error {
        Error::could_not_run(format!("cannot write {}: {error}", path.display()))
    }
}
