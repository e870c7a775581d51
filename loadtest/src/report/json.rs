//! The report as JSON, and the file it goes to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Report;
use crate::exit::Stop;

pub(super) fn render(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("all keys are strings");
    text.push('\n');
    text
}

/// A file that is known to be writable before the run begins: to find out afterwards would waste it.
#[derive(Debug)]
pub(crate) struct JsonFile {
    path: PathBuf,
    file: File,
}

impl JsonFile {
    /// Opens or creates the file. What it holds stays until a report replaces it.
    pub(crate) fn open(path: &Path) -> Result<JsonFile, Stop> {
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        match opened {
            Ok(file) => Ok(JsonFile { path: path.to_owned(), file }),
            Err(error) => Err(JsonFile::failed(path, &error)),
        }
    }

    pub(crate) fn write(mut self, text: &str) -> Result<(), Stop> {
        // A pipe or a device (`/dev/stdout`) has no length to set, and needs none.
        if self.file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            self.file.set_len(0).map_err(|error| JsonFile::failed(&self.path, &error))?;
        }
        self.file.write_all(text.as_bytes()).map_err(|error| JsonFile::failed(&self.path, &error))
    }

    fn failed(path: &Path, error: &io::Error) -> Stop {
        Stop::could_not_run(format!("cannot write {}: {error}", path.display()))
    }
}
