//! The choice of a driver: the one that was asked for, or the best that works.

use std::io;
use std::rc::Rc;
use std::sync::{Arc, Once};

use super::epoll::Epoll;
use super::steps::{Outcome, Steps, Trail};
#[cfg(any(test, fuzzing))]
use super::uring::{Uring, scripted::ring::ScriptedRing};
use super::{
    Clock, Driver, DriverChoice, DriverInfo, DriverKind, Opened, RingSizes, SetupError, SetupStep,
    Unparker, uring,
};
use crate::buf::Pool;
use crate::sys::eventfd::EventFd;
use crate::sys::{fork, stderr};

/// Opens the driver that was asked for, or the best that works. A fallback is reported once, on
/// standard error.
pub(crate) fn open(
    choice: DriverChoice,
    sizes: RingSizes,
    pool: &Rc<Pool>,
) -> Result<Opened, SetupError> {
    static REPORTED: Once = Once::new();
    fork::watch(); // before the first descriptor
    let mut trail = Trail::new();
    let opened = choose(choice, sizes, pool, &mut trail)?;
    if opened.info.kind == DriverKind::Epoll && trail.uring.has_failed() {
        REPORTED.call_once(|| {
            // If the line cannot be written without blocking, `Handle::driver` still has the
            // reason.
            stderr::try_write_line(&format!("ringloop: running on {}", opened.info));
        });
    }
    Ok(opened)
}

pub(super) fn choose(
    choice: DriverChoice,
    sizes: RingSizes,
    pool: &Rc<Pool>,
    trail: &mut Trail,
) -> Result<Opened, SetupError> {
    match choice {
        DriverChoice::Auto => match choice_of_environment()? {
            DriverChoice::Auto => open_best(sizes, pool, trail),
            DriverChoice::Uring => open_uring(sizes, pool, &mut trail.uring),
            DriverChoice::Epoll => open_only_epoll(pool, "RINGLOOP_DRIVER=epoll", trail),
        },
        DriverChoice::Uring => open_uring(sizes, pool, &mut trail.uring),
        DriverChoice::Epoll => open_only_epoll(pool, "the program asks for epoll", trail),
    }
}

/// Opens io_uring, and epoll where io_uring cannot be used (H24).
fn open_best(sizes: RingSizes, pool: &Rc<Pool>, trail: &mut Trail) -> Result<Opened, SetupError> {
    let refused = match open_uring(sizes, pool, &mut trail.uring) {
        // Out of descriptors: epoll would need one too, and the cause is not io_uring.
        Err(error) if !error.is_shortage_of_files() => error,
        outcome => return outcome,
    };
    let mut opened = open_epoll(pool, refused.summary(), &mut trail.epoll)?;
    opened.info.advice = refused.advice();
    Ok(opened)
}

fn open_only_epoll(pool: &Rc<Pool>, reason: &str, trail: &mut Trail) -> Result<Opened, SetupError> {
    trail.uring.skip(reason);
    open_epoll(pool, reason.to_owned(), &mut trail.epoll)
}

fn open_uring(sizes: RingSizes, pool: &Rc<Pool>, steps: &mut Steps) -> Result<Opened, SetupError> {
    let wake_fd = open_wake_fd(steps)?;
    let (driver, made) = uring::setup::open(sizes, pool, &wake_fd, steps)?;
    let features = made.features();
    let sizes = RingSizes { sq_entries: driver.sq_entries(), cq_entries: driver.cq_entries() };
    let kind = DriverKind::Uring;
    Ok(Opened {
        driver: Driver::Uring(driver),
        info: DriverInfo { kind, features, sizes: Some(sizes), reason: None, advice: None },
        unparker: Unparker { wake_fd },
        clock: Clock::Monotonic,
    })
}

pub(super) fn open_epoll(
    pool: &Rc<Pool>,
    reason: String,
    steps: &mut Steps,
) -> Result<Opened, SetupError> {
    let kind = DriverKind::Epoll;
    let wake_fd = open_wake_fd(steps)?;
    let driver = Epoll::new(Rc::clone(pool), Arc::clone(&wake_fd));
    let driver = steps.need(SetupStep::Epoll, driver)?;
    let features = driver.features();
    if !features.contains(&"epoll_pwait2") {
        steps.note("epoll_pwait2", Outcome::Absent);
    }
    features.iter().for_each(|feature| steps.note(*feature, Outcome::Works));
    Ok(Opened {
        driver: Driver::Epoll(driver),
        info: DriverInfo { kind, features, sizes: None, reason: Some(reason), advice: None },
        unparker: Unparker { wake_fd },
        clock: Clock::Monotonic,
    })
}

fn open_wake_fd(steps: &mut Steps) -> Result<Arc<EventFd>, SetupError> {
    steps.need(SetupStep::Eventfd, EventFd::new()).map(Arc::new)
}

/// Reads `RINGLOOP_DRIVER`, before the first io_uring call, as some sandboxes kill for one (H24).
pub(crate) fn choice_of_environment() -> Result<DriverChoice, SetupError> {
    match std::env::var("RINGLOOP_DRIVER").as_deref() {
        Err(_) | Ok("" | "auto") => Ok(DriverChoice::Auto),
        Ok("uring") => Ok(DriverChoice::Uring),
        Ok("epoll") => Ok(DriverChoice::Epoll),
        Ok(_) => {
            let cause = io::Error::new(
                io::ErrorKind::InvalidInput,
                "the environment variable RINGLOOP_DRIVER must be auto, uring or epoll",
            );
            Err(SetupError::new(DriverKind::Uring, SetupStep::Choice, cause))
        }
    }
}

/// A driver whose kernel is a script.
#[cfg(any(test, fuzzing))]
pub(crate) fn open_scripted(ring: ScriptedRing, pool: &Rc<Pool>) -> Opened {
    let wake_fd = Arc::new(EventFd::new().expect("an eventfd"));
    let clock = ring.clock();
    let driver = Uring::new(ring, Rc::clone(pool), Arc::clone(&wake_fd)).expect("a mapping");
    let sizes = RingSizes { sq_entries: driver.sq_entries(), cq_entries: driver.cq_entries() };
    Opened {
        driver: Driver::Scripted(driver),
        info: DriverInfo {
            kind: DriverKind::Uring,
            features: vec!["scripted"],
            sizes: Some(sizes),
            reason: None,
            advice: None,
        },
        unparker: Unparker { wake_fd },
        clock,
    }
}
