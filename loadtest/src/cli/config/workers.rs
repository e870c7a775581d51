//! Checks the options of the worker threads.

use std::thread;

use crate::base::exit::{Error, Exit};
use crate::base::units::Threads;
use crate::cli::args::RunArgs;
use crate::run::config::WorkersConfig;

/// The workers. Each one needs a connection and a concurrent connection attempt.
pub(super) fn check(args: &RunArgs, connections: u32) -> Result<WorkersConfig, Error> {
    let usage = |line: String| Err(Error::new(Exit::Usage, line));
    let threads = threads(args, connections);
    if threads > connections {
        return usage(format!(
            "--threads {threads} needs at least as many connections, but there are {connections}"
        ));
    }
    if threads > args.connect_concurrency {
        return usage(format!(
            "--connect-concurrency {} is less than one for each of the {threads} threads",
            args.connect_concurrency
        ));
    }
    let cpus = args.pin.as_ref().map(|cpus| cpus.0.clone()).unwrap_or_default();
    Ok(WorkersConfig { threads, cpus, driver: args.driver })
}

/// Number of workers. With `auto` it is one per available processor, but at most one per
/// connection, per concurrent connection attempt and per message.
fn threads(args: &RunArgs, connections: u32) -> u32 {
    let processors = match (args.threads, &args.pin) {
        (Threads::Count(threads), _) => return threads,
        (Threads::Auto, Some(cpus)) => cpus.0.len(),
        (Threads::Auto, None) => thread::available_parallelism().map_or(1, usize::from),
    };
    let requests = args.requests.map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX));
    let most = connections.min(args.connect_concurrency).min(requests);
    u32::try_from(processors).unwrap_or(u32::MAX).min(most)
}
