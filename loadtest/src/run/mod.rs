//! One run, on the main thread: start the workers, walk through the phases, build the report.

pub(crate) mod abort;
pub(crate) mod config;
pub(crate) mod coordinator;
pub(crate) mod own_server;
pub(crate) mod progress;
pub(crate) mod server_stats;
pub(crate) mod service;
pub(crate) mod summary;
pub(crate) mod timeline;
