//! `Builder::diagnose` on this machine, and on machines where io_uring is forbidden.

mod common;
#[path = "common/sandbox.rs"]
mod sandbox;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use common::{LIMIT, open_fds, serial, within};
use ringloop::diagnosis::{Candidate, Diagnosis, Outcome};
use ringloop::{Builder, DriverChoice, DriverKind, Runtime};
use sandbox::{kill_for, with_refused};

/// The steps after the flags, on a machine with all features.
const STEPS_OF_URING: [(&str, &str); 11] = [
    ("present", "feature nodrop"),
    ("present", "feature submit_stable"),
    ("present", "feature fast_poll"),
    ("present", "feature ext_arg"),
    ("present", "feature cqe_skip"),
    ("works", "registering provided buffers"),
    ("works", "timing a timeout"),
    ("works", "probing a no-op"),
    ("works", "probing a multishot receive"),
    ("works", "probing a multishot accept"),
    ("works", "allocating the wake-up buffer"),
];

fn is_driver_given() -> bool {
    let is_given = std::env::var_os("RINGLOOP_DRIVER").is_some();
    if is_given {
        println!("SKIP: RINGLOOP_DRIVER leaves no choice");
    }
    is_given
}

fn steps(candidate: &Candidate) -> Vec<(&str, &str)> {
    let steps = candidate.steps().iter();
    steps.map(|step| (step.outcome().word(), step.name())).collect()
}

#[track_caller]
fn driver(diagnosis: &Diagnosis) -> DriverKind {
    diagnosis.verdict().expect("one of the drivers works").kind()
}

/// Goal: on a machine with all features, every step is listed and works, and the verdict is the
/// driver of a runtime, with the sizes of its rings.
///
/// Method: the whole list, for unusual sizes; build with the same settings and compare.
///
/// Kills: a step that is not recorded; a verdict that `build` does not share; settings that are
/// ignored.
#[test]
fn every_step_works_on_a_full_machine() {
    let _serial = serial();
    let builder = || Builder::new().driver(DriverChoice::Uring).ring_entries(64, 512);
    let diagnosis = within(LIMIT, || builder().diagnose());
    let [uring, epoll] = diagnosis.candidates();
    assert!(uring.works() && epoll.works(), "{diagnosis}");
    assert_eq!((uring.kind(), epoll.kind()), (DriverKind::Uring, DriverKind::Epoll));

    let steps_of_uring = steps(uring);
    let flags_at = steps_of_uring.len() - STEPS_OF_URING.len();
    assert_eq!(steps_of_uring[0], ("works", "eventfd"));
    // Older kernels refuse some flags before these.
    let (word, text) = steps_of_uring[flags_at - 1];
    assert!(word == "works" && text.starts_with("io_uring_setup (sq 64, cq 512; "), "{text}");
    assert_eq!(steps_of_uring[flags_at..], STEPS_OF_URING);
    let steps_of_epoll = steps(epoll);
    assert_eq!(steps_of_epoll[..2], [("works", "eventfd"), ("works", "epoll_create1")]);
    assert!(steps_of_epoll.len() > 2, "how it sleeps: {diagnosis}");

    let runtime = builder().build().expect("it works");
    assert_eq!(diagnosis.verdict().ok(), Some(runtime.handle().driver()));
    let text = diagnosis.to_string();
    for line in ["  time namespace: ", "  sandbox: seccomp ", "  fork: ", "  killed process: "] {
        assert!(text.contains(line), "no '{line}' in:\n{text}");
    }
}

/// Goal: a diagnosis leaves no descriptor open, and a runtime starts after it.
///
/// Method: the descriptors before and after, for both verdicts; then a runtime.
///
/// Kills: a ring, a wake fd or an epoll instance that stays open; buffers that stay registered with
/// a closed ring.
#[test]
fn nothing_is_left_behind() {
    let _serial = serial();
    for choice in [DriverChoice::Auto, DriverChoice::Uring, DriverChoice::Epoll] {
        let before = open_fds();
        let diagnosis = within(LIMIT, || Builder::new().driver(choice).diagnose());
        assert!(diagnosis.verdict().is_ok(), "{diagnosis}");
        drop(diagnosis);
        assert_eq!(open_fds(), before);
        drop(Builder::new().driver(choice).build().expect("as the diagnosis says"));
    }
}

/// Goal: where a step is refused, the list ends with that step and its error, epoll is shown to
/// work, and the verdict, its reason and the advice are those of a runtime.
///
/// Method: a filter that makes one call fail with one errno; the step that uses the call. Compare
/// with a runtime that is built under the same filter.
///
/// Kills: steps after the failure; a diagnosis that stops at io_uring; lost advice; a reason that
/// differs from the runtime's.
#[test]
fn the_refused_step_is_named() {
    let _serial = serial();
    if is_driver_given() {
        return;
    }
    let refusals = [
        (libc::SYS_io_uring_setup, libc::EPERM, "io_uring_setup (sq 256, ", "seccomp"),
        (libc::SYS_io_uring_setup, libc::ENOSYS, "io_uring_setup (sq 256, ", "seccomp"),
        (libc::SYS_io_uring_register, libc::EPERM, "registering provided buffers", "seccomp"),
        (libc::SYS_io_uring_enter, libc::EPERM, "timing a timeout", "seccomp"),
        (libc::SYS_socketpair, libc::ENOMEM, "probing a multishot receive", "cgroup"),
        (libc::SYS_accept4, libc::EPERM, "", ""), // not needed here: io_uring does it
    ];
    for (syscall, errno, step, advice) in refusals {
        let (diagnosis, info) = with_refused(syscall, errno, || {
            within(LIMIT, || {
                let diagnosis = Builder::new().diagnose();
                let runtime = Runtime::new().expect("epoll is there");
                (diagnosis, runtime.handle().driver().clone())
            })
        });
        assert_eq!(diagnosis.verdict().ok(), Some(&info));
        assert_eq!(diagnosis.environment().seccomp(), Some("filter"), "{diagnosis}");
        let [uring, epoll] = diagnosis.candidates();
        assert!(epoll.works(), "{diagnosis}");
        if step.is_empty() {
            assert!(uring.works(), "{diagnosis}");
            continue;
        }
        assert_eq!(driver(&diagnosis), DriverKind::Epoll);
        let why = std::io::Error::from_raw_os_error(errno).to_string();
        let last = uring.steps().last().expect("a step that failed");
        assert!(last.name().starts_with(step), "{step}: {diagnosis}");
        assert_eq!(last.outcome(), &Outcome::Failed(why.clone()), "{diagnosis}");
        let failed = uring.steps().iter().filter(|step| step.outcome().word() == "failed");
        assert_eq!(failed.count(), 1, "{diagnosis}");
        assert!(uring.advice().is_some_and(|text| text.contains(advice)), "{diagnosis}");
        assert_eq!((uring.failure(), uring.advice()), (info.reason(), info.advice()));
        let text = diagnosis.to_string();
        for line in ["io_uring: cannot be used\n", "epoll: works\n", &format!(": {why}\n")] {
            assert!(text.contains(line), "no '{line}' in:\n{text}");
        }
        assert!(text.ends_with(&format!("a runtime gets {info}\n")), "{text}");
    }
}

/// Goal: with `DriverChoice::Uring` and without io_uring, the verdict is an error, although epoll
/// works.
///
/// Method: the strict choice under a filter. Kills: a verdict that falls back; epoll left out.
#[test]
fn the_strict_choice_has_no_fallback() {
    let _serial = serial();
    let diagnosis = with_refused(libc::SYS_io_uring_setup, libc::EPERM, || {
        Builder::new().driver(DriverChoice::Uring).diagnose()
    });
    let [uring, epoll] = diagnosis.candidates();
    assert!(!uring.works() && epoll.works(), "{diagnosis}");
    let error = diagnosis.verdict().expect_err("io_uring or nothing");
    assert_eq!(error.driver(), DriverKind::Uring);
    assert_eq!(uring.advice(), error.advice());
    assert!(diagnosis.to_string().ends_with(&format!("a runtime cannot start: {error}\n")));
}

/// Goal: a shortage of descriptors is reported at its step, and is the verdict, even if epoll works
/// with the remaining ones.
///
/// Method: a filter on the first step of both drivers; one on io_uring's second. Kills: a fallback
/// for a shortage that io_uring has not caused; a list that ends with the first driver.
#[test]
fn a_shortage_of_descriptors_is_the_verdict_for_both() {
    let _serial = serial();
    if is_driver_given() {
        return;
    }
    let diagnosis = with_refused(libc::SYS_eventfd2, libc::EMFILE, || Builder::new().diagnose());
    for candidate in diagnosis.candidates() {
        assert_eq!(steps(candidate), [("failed", "eventfd")], "{diagnosis}");
    }
    let diagnosis =
        with_refused(libc::SYS_io_uring_setup, libc::EMFILE, || Builder::new().diagnose());
    assert!(diagnosis.candidates()[1].works(), "{diagnosis}");
    let error = diagnosis.verdict().expect_err("a shortage is no reason to fall back");
    assert!(error.advice().is_some_and(|advice| advice.contains("ulimit -n")), "{error}");
}

/// Goal: with `DriverChoice::Epoll` no io_uring call is made.
///
/// Method: refuse io_uring with an errno that the diagnosis would show.
///
/// Kills: probing io_uring.
#[test]
fn a_choice_of_epoll_is_kept() {
    let _serial = serial();
    let diagnosis = with_refused(libc::SYS_io_uring_setup, libc::EPERM, || {
        Builder::new().driver(DriverChoice::Epoll).diagnose()
    });
    let [uring, epoll] = diagnosis.candidates();
    assert!(uring.steps().is_empty() && epoll.works() && !uring.works(), "{diagnosis}");
    assert_eq!(uring.untried(), Some("the program asks for epoll"));
    assert_eq!((driver(&diagnosis), uring.advice()), (DriverKind::Epoll, None));
}

/// This test binary again, in an environment of its own, running `test` only.
fn again(test: &str, driver: Option<&str>) -> Output {
    let exe = std::env::current_exe().expect("this binary");
    // A kill by a filter would leave a core file.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c 0; exec \"$0\" \"$@\""]).arg(exe);
    command.args(["--exact", test, "--nocapture"]).env("RINGLOOP_TEST_AGAIN", "1");
    match driver {
        Some(driver) => command.env("RINGLOOP_DRIVER", driver),
        None => command.env_remove("RINGLOOP_DRIVER"),
    };
    command.output().expect("this binary runs")
}

fn is_again() -> bool {
    std::env::var_os("RINGLOOP_TEST_AGAIN").is_some()
}

/// Goal: in a sandbox that kills for io_uring calls, a diagnosis is safe with
/// `RINGLOOP_DRIVER=epoll`, and with an invalid value, which may be a misspelt `epoll`.
///
/// Method: this test again as a child process with such a filter. Without the variable the child is
/// killed, so the filter is one that kills.
///
/// Kills: an io_uring call before, or in spite of, the environment.
#[test]
fn a_sandbox_that_kills_is_survived() {
    let _serial = serial();
    if is_again() {
        kill_for(libc::SYS_io_uring_setup);
        print!("{}", Builder::new().diagnose());
        return;
    }
    let test = "a_sandbox_that_kills_is_survived";
    let killed = within(LIMIT, || again(test, None));
    assert_eq!(killed.status.signal(), Some(libc::SIGSYS), "{killed:?}");

    for (value, wanted) in [
        ("epoll", "io_uring: not tried, RINGLOOP_DRIVER=epoll\nepoll: works\n"),
        ("epol", "io_uring: not tried, the choice of a driver is not clear\nepoll: works\n"),
    ] {
        let output = within(LIMIT, || again(test, Some(value)));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{value}: {output:?}");
        assert!(text.contains(wanted), "{value}: {text}");
    }
}
