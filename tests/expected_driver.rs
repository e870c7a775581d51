//! The default driver, on a machine that was prepared so that it is known.
//!
//! `scripts/kernels.sh` runs this in guests, once per kernel and once per value of the sysctl
//! `kernel.io_uring_disabled`, and sets the expectation:
//!
//! | variable | meaning |
//! |---|---|
//! | `RINGLOOP_EXPECT_DRIVER` | `uring` or `epoll`; without it each test is a printed skip |
//! | `RINGLOOP_EXPECT_REASON` | words that the reason for epoll must have |

mod common;

use common::{LIMIT, serves_an_echo, within};
use ringloop::{Builder, DriverChoice, DriverKind, Runtime};

/// The expectation for this machine.
struct Expected {
    kind: DriverKind,
    /// Words of the reason, if the driver is not io_uring.
    reason: String,
}

fn expected() -> Option<Expected> {
    let variable = |name| std::env::var(name).ok();
    let kind = match variable("RINGLOOP_EXPECT_DRIVER").as_deref() {
        None => {
            println!("SKIP: RINGLOOP_EXPECT_DRIVER does not say what is right here");
            return None;
        }
        Some("uring") => DriverKind::Uring,
        Some("epoll") => DriverKind::Epoll,
        Some(other) => panic!("RINGLOOP_EXPECT_DRIVER must be uring or epoll, not {other:?}"),
    };
    let reason = variable("RINGLOOP_EXPECT_REASON").unwrap_or_default();
    assert_eq!(reason.is_empty(), kind == DriverKind::Uring, "epoll has a reason to expect");
    Some(Expected { kind, reason })
}

/// Goal: the default is the driver that this machine allows, with the reason if that is epoll, and
/// it works.
///
/// Method: a runtime without a choice; its driver against the expectation; an echo. The
/// line `DRIVER …` is for the caller's table.
///
/// Kills: epoll where io_uring works; a fallback without its reason; a probe that passes on a
/// kernel that then fails the first receive.
#[test]
fn the_default_is_what_this_machine_allows() {
    let Some(Expected { kind, reason }) = expected() else {
        return;
    };
    within(LIMIT, || {
        let runtime = Runtime::new().expect("epoll at least");
        let driver = runtime.handle().driver().clone();
        println!("DRIVER {driver}");
        assert_eq!(driver.kind(), kind, "{driver}");
        match driver.reason() {
            None => assert_eq!(kind, DriverKind::Uring, "epoll, and nothing says why"),
            Some(text) => assert!(text.contains(&reason), "{reason:?} is not in {text:?}"),
        }
        serves_an_echo(&runtime);
    });
}

/// Goal: `DriverChoice::Uring` gives io_uring, or an error with advice.
///
/// Method: the strict choice, where the expectation is known.
///
/// Kills: a fallback in spite of the choice; an error without its cause or without advice.
#[test]
fn the_strict_choice_is_met_or_explained() {
    let Some(Expected { kind, reason }) = expected() else {
        return;
    };
    within(LIMIT, || match (Builder::new().driver(DriverChoice::Uring).build(), kind) {
        (Ok(runtime), DriverKind::Uring) => serves_an_echo(&runtime),
        (Err(error), DriverKind::Epoll) => {
            let text = error.to_string();
            assert!(text.contains(&reason), "{reason:?} is not in {text:?}");
            let advice = error.advice().unwrap_or_else(|| panic!("no advice: {text}"));
            println!("ADVICE {advice}");
        }
        (Ok(runtime), _) => panic!("not expected: {}", runtime.handle().driver()),
        (Err(error), _) => panic!("refused: {error}"),
    });
}
