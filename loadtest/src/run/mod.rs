//! One run, on the main thread: starts the workers, runs the phases, builds the report.

pub(crate) mod abort;
pub(crate) mod config;
pub(crate) mod coordinator;
pub(crate) mod own_server;
pub(crate) mod progress;
pub(crate) mod server_stats;
pub(crate) mod service;
pub(crate) mod summary;
pub(crate) mod timeline;
