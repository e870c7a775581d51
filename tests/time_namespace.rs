//! Timers in a time namespace, whose monotonic clock differs from that of the initial namespace.
//!
//! Many kernels read absolute io_uring timeouts by the wrong clock of the two. Containers that were
//! restored from a checkpoint run in such a namespace. Making one takes privileges and
//! `unshare(1)`; without them the tests print SKIP.

mod common;

use std::cell::Cell;
use std::process::{Command, Output};
use std::rc::Rc;
use std::time::Duration;

use common::{LIMIT, tight_pair, within};
use ringloop::time::{Instant, interval, sleep, timeout};
use ringloop::{Builder, DriverChoice, Runtime, Unhandled};

/// Ahead by a day, behind by half a minute: seconds.
const OFFSETS: [&str; 2] = ["86400", "-30"];

/// Far more turns than the timers of [`use_timers`] need, and far fewer than those of a loop that
/// does not sleep.
const TURNS_MAX: u64 = 500;

/// Runs one test of this binary in a new time namespace.
fn in_namespace(test: &str, offset: &str) -> Output {
    let exe = std::env::current_exe().expect("this binary");
    let mut command = Command::new("unshare");
    command.args(["--time", "--monotonic", offset, "--"]).arg(exe);
    command.args(["--exact", test, "--nocapture"]).env("RINGLOOP_TEST_AGAIN", "1");
    command.output().expect("output of a child")
}

fn can_make_namespaces() -> bool {
    let tried = Command::new("unshare").args(["--time", "--monotonic", "1", "--", "true"]).output();
    let is_possible = tried.is_ok_and(|output| output.status.success());
    if !is_possible {
        println!("SKIP: no time namespaces for this user");
    }
    is_possible
}

/// A runtime for each driver of this machine.
fn runtimes() -> Vec<Runtime> {
    let forced = std::env::var_os("RINGLOOP_DRIVER");
    let choices = match forced {
        Some(_) => vec![DriverChoice::Auto],
        None => vec![DriverChoice::Auto, DriverChoice::Epoll],
    };
    let lost = |unhandled: &Unhandled| match unhandled {
        Unhandled::BackgroundClose { .. } => LOST.set(LOST.get() + 1),
        other => panic!("{other}"),
    };
    let build = |choice| {
        let builder = Builder::new().driver(choice).linger(Duration::from_millis(30));
        builder.on_unhandled(lost).build().expect("a driver that works")
    };
    choices.into_iter().map(build).collect()
}

thread_local! {
    /// Streams that were cut when their linger ended.
    static LOST: Cell<u32> = const { Cell::new(0) };
}

/// Uses every kind of deadline. None ends early; the watchdog ends one that does not end.
async fn use_timers() {
    for duration_ms in [1, 5, 20, 3] {
        let (began, duration) = (Instant::now(), Duration::from_millis(duration_ms));
        sleep(duration).await;
        assert!(began.elapsed() >= duration, "{:?} for {duration:?}", began.elapsed());
    }
    let began = Instant::now();
    let mut ticks = interval(Duration::from_millis(4));
    for _ in 0..5 {
        ticks.tick().await;
    }
    assert!(began.elapsed() >= Duration::from_millis(16), "{:?}", began.elapsed());
    let limit = Duration::from_millis(10);
    assert!(timeout(limit, std::future::pending::<()>()).await.is_err());
    // A later deadline first: the kernel's timeout is moved to the earlier one.
    let long = Box::pin(timeout(Duration::from_secs(3600), std::future::pending::<()>()));
    assert!(timeout(limit, long).await.is_err());

    let called = Rc::new(Cell::new(false));
    let call = Rc::clone(&called);
    let _handle = ringloop::time::call_later(limit, move || call.set(true));
    while !called.get() {
        sleep(Duration::from_millis(1)).await;
    }
    let before = LOST.get();
    let (mut stream, _peer) = tight_pair();
    // More bytes than the kernel takes, and the peer does not read.
    assert!(timeout(limit, stream.write_all(&vec![7; 4 << 20])).await.is_err());
    drop(stream);
    while LOST.get() == before {
        sleep(Duration::from_millis(5)).await;
    }
}

/// Goal: in a time namespace, ahead or behind, every timer ends in time on both drivers, the loop
/// sleeps in between, a runtime with an armed timeout ends, io_uring is used, and a diagnosis names
/// the namespace.
///
/// Method: this test in a child with such a clock, with all uses of a deadline. The turns are
/// counted, as a timeout that fires at once makes the loop spin. A timeout that is a day late
/// is ended by the watchdog.
///
/// Kills: absolute timeouts on a kernel that reads them by another clock; an update of a timeout,
/// the end of a loop, or the probe with such a timeout.
#[test]
fn timers_work_in_a_time_namespace() {
    let test = "timers_work_in_a_time_namespace";
    if std::env::var_os("RINGLOOP_TEST_AGAIN").is_some() {
        return within(LIMIT, || {
            print!("{}", Builder::new().diagnose());
            for runtime in runtimes() {
                println!("{}", runtime.handle().driver());
                runtime.block_on(use_timers());
                let turns = runtime.handle().metrics().turns;
                assert!(turns < TURNS_MAX, "{turns} turns on {}", runtime.handle().driver());
                // Ends with a timeout in flight.
                runtime.block_on(async { drop(ringloop::spawn(sleep(Duration::from_secs(60)))) });
            }
        });
    }
    if !can_make_namespaces() {
        return;
    }
    for offset in OFFSETS {
        let output = within(LIMIT, || in_namespace(test, offset));
        let text = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{offset} s:\n{text}\n{error}");
        let named = format!("time namespace: monotonic clock shifted by {offset} s\n");
        assert!(text.contains(&named), "no '{named}' in:\n{text}");
        let driver = Runtime::new().expect("a driver").handle().driver().kind();
        assert!(text.contains(&format!("{driver} (")), "not on {driver}:\n{text}");
    }
}
