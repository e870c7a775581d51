//! The run of a storm: drivers, seeds, limits, and the checks after it.

use std::panic::resume_unwind;
use std::str::FromStr;
use std::time::Duration;

use ringloop::time::sleep;
use ringloop::{Builder, DriverChoice, Handle, Metrics, Runtime};

use crate::common::{LIMIT, open_fds, serial, within};

/// The default number of cancels of the cancel storm.
const CANCELS: u64 = 100_000;

/// The number of cancels of a storm that has the time limit of an ordinary test.
const CANCELS_PER_LIMIT: u64 = 50_000;

/// The linger of dropped streams: without a limit, as the peers read at random times.
const LINGER: Duration = Duration::from_secs(3600);

/// The turns of a loop that waits for one timer: a few for late completions, one for the timer, one
/// for the clock's last nanosecond.
const IDLE_TURNS_MAX: u64 = 8;

/// A number from the environment.
fn from_env<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

/// `size` divided by `RINGLOOP_TEST_SCALE`. At least 1.
pub(crate) fn scaled(size: u64) -> u64 {
    (size / u64::from(scale())).max(1)
}

/// The number of cancels of a cancel storm.
pub(crate) fn cancels_total() -> u64 {
    scaled(from_env("RINGLOOP_STORM").unwrap_or(CANCELS))
}

fn scale() -> u32 {
    from_env("RINGLOOP_TEST_SCALE").unwrap_or(1).max(1)
}

/// Runs `storm` on each driver and with each seed. It gets builders that are set to the driver.
///
/// Each run has a thread with its name, which a failure and a hang print. After it the process has
/// the descriptors that it had before.
pub(crate) fn on_each_driver(
    name: &str,
    seeds: &[u64],
    storm: impl Fn(&dyn Fn() -> Builder, u64) + Sync,
) {
    let _serial = serial();
    let chosen: Option<u64> = from_env("RINGLOOP_STORM_SEED");
    for choice in choices() {
        let kind = match Runtime::builder().driver(choice).build() {
            Ok(runtime) => runtime.handle().driver().kind(),
            Err(error) => {
                println!("SKIP: {name} on {choice:?}: {error}");
                continue;
            }
        };
        for &seed in chosen.as_ref().map_or(seeds, std::slice::from_ref) {
            let before = open_fds();
            println!("{name} on {kind}, RINGLOOP_STORM_SEED={seed}");
            in_thread(&format!("{name} on {kind}, RINGLOOP_STORM_SEED={seed}"), || {
                let builder = || Runtime::builder().driver(choice).linger(LINGER);
                within(limit(), || storm(&builder, seed));
            });
            assert_eq!(open_fds(), before, "{name} on {kind} left descriptors behind");
        }
    }
}

/// The driver of `RINGLOOP_DRIVER`, or every driver.
fn choices() -> Vec<DriverChoice> {
    match std::env::var("RINGLOOP_DRIVER").as_deref() {
        Ok("uring") => vec![DriverChoice::Uring],
        Ok("epoll") => vec![DriverChoice::Epoll],
        _ => vec![DriverChoice::Uring, DriverChoice::Epoll],
    }
}

/// The time limit of one storm. Far more than it needs on a busy machine.
fn limit() -> Duration {
    let limits_count = 2 + cancels_total() / CANCELS_PER_LIMIT;
    LIMIT * scale() * u32::try_from(limits_count).expect("a size")
}

fn in_thread(name: &str, f: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned());
        let outcome = thread.spawn_scoped(scope, f).expect("a thread").join();
        outcome.unwrap_or_else(|payload| resume_unwind(payload));
    });
}

/// Checks that no operation, buffer or report remains, that no completion was stale, and that the
/// loop has not spun.
#[track_caller]
pub(crate) fn assert_quiet(metrics: &Metrics) {
    let left = (metrics.in_flight, metrics.timers, metrics.closing_streams, metrics.buffers_held);
    assert_eq!(left, (0, 0, 0, 0), "operations, timers, closing streams, buffers: {metrics:?}");
    assert_eq!(metrics.stale_completions, 0, "completions that named no operation: {metrics:?}");
    assert_eq!(metrics.spin_backoffs, 0, "turns without progress: {metrics:?}");
    assert!(metrics.cancels_missed <= metrics.cancels, "{metrics:?}");
}

/// Checks that an idle loop sleeps: it turns at most a few times while a timer runs.
pub(crate) async fn assert_sleeps() {
    let turns = || Handle::current().metrics().turns;
    let before = turns();
    sleep(Duration::from_millis(50)).await;
    assert!(turns() - before <= IDLE_TURNS_MAX, "{} turns of an idle loop", turns() - before);
}

/// The memory of this process that is resident, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    let number = line.trim().strip_suffix(" kB").expect("a size in kB");
    number.parse::<u64>().expect("a number") * 1024
}
