//! The set-up of a ring: fallbacks of flags and of sizes; then the probe (`super::probe`).
//!
//! Distributions back-port features and containers forbid them, so nothing here depends on the
//! kernel's version. A flag is tried, and dropped if the kernel does not know it. Then the form of
//! the timeouts is measured (`super::timing`), and the probe tests the ring.
//!
//! A ring is small by default. Since 6.14 some kernels charge rings to `RLIMIT_MEMLOCK`, and give
//! the charge back only some 300 ms after a ring was closed (H16). So `ENOMEM` shrinks the ring and
//! waits a little before the next try.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::entry::TimeoutForm;
use super::ring::KernelRing;
use super::{Uring, probe, timing};
use crate::buf::Pool;
use crate::driver::info::RingSizes;
use crate::driver::setup_error::{SetupError, SetupStep};
use crate::driver::steps::{Outcome, Steps};
use crate::sys::errno;
use crate::sys::eventfd::EventFd;
use io_uring::IoUring;

/// The flags that a ring was set up with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SetupFlags {
    single_issuer: bool,
    defer_taskrun: bool,
    coop_taskrun: bool,
    submit_all: bool,
}

impl SetupFlags {
    /// One flag fewer at a time, newest first: DEFER_TASKRUN is 6.1, SINGLE_ISSUER 6.0,
    /// COOP_TASKRUN with its flag 5.19, SUBMIT_ALL 5.18.
    const FALLBACKS: [SetupFlags; 5] = [
        SetupFlags {
            single_issuer: true,
            defer_taskrun: true,
            coop_taskrun: false,
            submit_all: true,
        },
        SetupFlags {
            single_issuer: true,
            defer_taskrun: false,
            coop_taskrun: true,
            submit_all: true,
        },
        SetupFlags {
            single_issuer: false,
            defer_taskrun: false,
            coop_taskrun: true,
            submit_all: true,
        },
        SetupFlags {
            single_issuer: false,
            defer_taskrun: false,
            coop_taskrun: false,
            submit_all: true,
        },
        SetupFlags {
            single_issuer: false,
            defer_taskrun: false,
            coop_taskrun: false,
            submit_all: false,
        },
    ];

    /// The flags in words, for people.
    pub(crate) fn features(self) -> Vec<&'static str> {
        let SetupFlags { single_issuer, defer_taskrun, coop_taskrun, submit_all } = self;
        [
            (single_issuer, "single_issuer"),
            (defer_taskrun, "defer_taskrun"),
            (coop_taskrun, "coop_taskrun"),
            (submit_all, "submit_all"),
        ]
        .into_iter()
        .filter_map(|(present, name)| present.then_some(name))
        .collect()
    }

    fn describe(self, sizes: RingSizes) -> String {
        let flags = match self.features() {
            none if none.is_empty() => "no flags".to_owned(),
            features => features.join(", "),
        };
        let RingSizes { sq_entries, cq_entries } = sizes;
        format!("{} (sq {sq_entries}, cq {cq_entries}; {flags})", SetupStep::Ring)
    }

    fn build(self, sizes: RingSizes) -> io::Result<IoUring> {
        let SetupFlags { single_issuer, defer_taskrun, coop_taskrun, submit_all } = self;
        let mut builder = IoUring::builder();
        builder.dontfork().setup_cqsize(sizes.cq_entries); // H13
        if single_issuer {
            builder.setup_single_issuer();
        }
        if defer_taskrun {
            builder.setup_defer_taskrun();
        }
        if coop_taskrun {
            builder.setup_coop_taskrun();
        }
        if defer_taskrun || coop_taskrun {
            builder.setup_taskrun_flag(); // H08: without it a turn cannot see that it has to enter
        }
        if submit_all {
            builder.setup_submit_all(); // H04
        }
        builder.build(sizes.sq_entries)
    }
}

/// The most entries that kernels take: `IORING_MAX_ENTRIES`, `IORING_MAX_CQ_ENTRIES`. Only the
/// advice depends on them.
const SQ_ENTRIES_MAX: u32 = 32_768;
const CQ_ENTRIES_MAX: u32 = 2 * SQ_ENTRIES_MAX;

/// The smallest ring that the fallbacks for want of memory reach.
const SQ_ENTRIES_MIN: u32 = 32;

/// How long to wait before each retry of a ring that did not fit into the memory limit (H16).
const ENOMEM_RETRIES: [Duration; 3] =
    [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(250)];

/// The settings of a ring that works, beside its sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Made {
    flags: SetupFlags,
    timeout_form: TimeoutForm,
}

impl Made {
    /// The settings in words, for people.
    pub(crate) fn features(self) -> Vec<&'static str> {
        let mut features = self.flags.features();
        features.push("multishot");
        if self.timeout_form == TimeoutForm::Relative {
            features.push("relative timeouts");
        }
        features
    }
}

/// Makes a ring and tests it. Each step is written down.
pub(crate) fn open(
    sizes: RingSizes,
    pool: &Rc<Pool>,
    wake_fd: &Arc<EventFd>,
    steps: &mut Steps,
) -> Result<(Uring<KernelRing>, Made), SetupError> {
    let (uring, flags) = try_in_order(sizes, steps, SetupFlags::build)?;
    let params = uring.params();
    let features = [
        ("feature nodrop", params.is_feature_nodrop()),
        ("feature submit_stable", params.is_feature_submit_stable()),
        ("feature fast_poll", params.is_feature_fast_poll()),
        ("feature ext_arg", params.is_feature_ext_arg()),
        ("feature cqe_skip", params.is_feature_skip_cqe_on_success()),
    ];
    need_features(&features, steps)?;
    let ring = KernelRing::new(uring, pool.count());
    let mut ring = steps.need(SetupStep::BufferRing, ring)?;
    if ring.buffer_entries() < pool.count() {
        steps.note(format!("at most {} of them at once", ring.buffer_entries()), Outcome::Works);
    }
    pool.lend_at_most(ring.buffer_entries());
    // Before the probe, as the probe's own timeout has to fire.
    let timeout_form = steps.need(SetupStep::Timing, timing::choose_form(&mut ring))?;
    if timeout_form == TimeoutForm::Relative {
        steps.note("absolute timeouts in time", Outcome::Absent);
    }
    let ring = probe::prove(ring, steps)?;
    let driver = Uring::new(ring, Rc::clone(pool), Arc::clone(wake_fd));
    Ok((steps.need(SetupStep::WakeBuffer, driver)?, Made { flags, timeout_form }))
}

/// Tries both kinds of fallbacks in order: flags on `EINVAL`, sizes on `ENOMEM`.
fn try_in_order<T>(
    mut sizes: RingSizes,
    steps: &mut Steps,
    build: impl Fn(SetupFlags, RingSizes) -> io::Result<T>,
) -> Result<(T, SetupFlags), SetupError> {
    let mut fallbacks = SetupFlags::FALLBACKS.into_iter();
    let mut flags = fallbacks.next().expect("the list is not empty");
    let mut retries = ENOMEM_RETRIES.into_iter();
    loop {
        let error = match build(flags, sizes) {
            Ok(uring) => {
                steps.note(flags.describe(sizes), Outcome::Works);
                return Ok((uring, flags));
            }
            Err(error) => error,
        };
        steps.note(flags.describe(sizes), Outcome::Failed(error.to_string()));
        match error.raw_os_error() {
            Some(errno::EINVAL) => match fallbacks.next() {
                Some(next) => flags = next,
                None => return Err(steps.fail(step_of(sizes), error)),
            },
            Some(errno::ENOMEM) if sizes.sq_entries > SQ_ENTRIES_MIN => sizes = sizes.halved(),
            Some(errno::ENOMEM) => match retries.next() {
                // The kernel does not signal that it has freed memory, so this can only wait.
                Some(pause) => std::thread::sleep(pause),
                None => return Err(steps.fail(SetupStep::Ring, error)),
            },
            _ => return Err(steps.fail(SetupStep::Ring, error)),
        }
    }
}

/// The step that has failed with `EINVAL` with every combination of flags.
fn step_of(sizes: RingSizes) -> SetupStep {
    let is_large = sizes.sq_entries > SQ_ENTRIES_MAX || sizes.cq_entries > CQ_ENTRIES_MAX;
    if is_large { SetupStep::LargeRing } else { SetupStep::Ring }
}

/// Requires the features that the kernel reports. Each is written down, so that a diagnosis names
/// all that are missing and not only the first.
fn need_features(features: &[(&'static str, bool)], steps: &mut Steps) -> Result<(), SetupError> {
    for (name, is_present) in features {
        steps.note(*name, if *is_present { Outcome::Present } else { Outcome::Absent });
    }
    if features.iter().all(|(_, is_present)| *is_present) {
        return Ok(());
    }
    let cause = io::Error::from_raw_os_error(errno::EOPNOTSUPP);
    Err(steps.fail(SetupStep::Features, cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::DriverKind;
    use std::cell::RefCell;

    const SIZES: RingSizes = RingSizes { sq_entries: 64, cq_entries: 256 };

    /// A kernel that answers each attempt with the next errno, and with success after the last.
    fn try_past(errnos: &[i32]) -> (Result<((), SetupFlags), SetupError>, Steps, Vec<RingSizes>) {
        let mut steps = Steps::new(DriverKind::Uring);
        let tried = RefCell::new(Vec::new());
        let outcome = try_in_order(SIZES, &mut steps, |_size, sizes| {
            let mut tried = tried.borrow_mut();
            tried.push(sizes);
            match errnos.get(tried.len() - 1) {
                Some(errno) => Err(io::Error::from_raw_os_error(*errno)),
                None => Ok(()),
            }
        });
        (outcome, steps, tried.into_inner())
    }

    fn words(steps: &Steps) -> Vec<&'static str> {
        steps.candidate().steps().iter().map(|step| step.outcome().word()).collect()
    }

    /// Goal: each fallback of both lists is tried once, in order, and written down.
    ///
    /// Method: a kernel that does not know the two newest flags, then has too little memory for the
    /// ring, and for the smallest one at first.
    ///
    /// Kills: giving up at the first `EINVAL`; fewer flags for want of memory; flags that are
    /// missing from the list.
    #[test]
    fn both_lists_of_fallbacks_are_tried_in_order() {
        let script = [errno::EINVAL, errno::EINVAL, errno::ENOMEM, errno::ENOMEM];
        let (outcome, steps, tried) = try_past(&script);
        let ((), flags) = outcome.expect("the fifth attempt");
        assert_eq!(flags, SetupFlags::FALLBACKS[2]);
        assert_eq!(
            tried.iter().map(|sizes| sizes.sq_entries).collect::<Vec<_>>(),
            [64, 64, 64, 32, 32]
        );
        assert_eq!(words(&steps), ["failed", "failed", "failed", "failed", "works"]);
        assert_eq!(
            steps.candidate().steps()[4].name(),
            "io_uring_setup (sq 32, cq 128; coop_taskrun, submit_all)"
        );
    }

    /// Goal: the fallbacks end: with the last one, and at once on an errno that none of them helps
    /// against.
    ///
    /// Method: a kernel that knows no flag; one that forbids io_uring. Kills: a loop over the
    /// fallbacks that does not end; four more attempts at what is forbidden.
    #[test]
    fn the_fallbacks_end_at_an_error_that_they_do_not_mend() {
        let (outcome, steps, tried) = try_past(&[errno::EINVAL; 9]);
        assert_eq!(tried.len(), SetupFlags::FALLBACKS.len());
        let error = outcome.expect_err("no combination works").to_string();
        assert!(error.starts_with("io_uring: io_uring_setup failed: Invalid argument"), "{error}");
        assert!(error.starts_with(steps.candidate().failure().expect("the same")));
        let (outcome, _steps, tried) = try_past(&[errno::EPERM; 9]);
        assert_eq!((outcome.is_err(), tried.len()), (true, 1));
    }

    /// Goal: every feature that is missing is named, and one is enough to refuse.
    ///
    /// Method: the second and the third of four. Kills: stopping at the first; refusing only when
    /// all are missing.
    #[test]
    fn missing_features_are_named() {
        let mut steps = Steps::new(DriverKind::Uring);
        let features = [("one", true), ("two", false), ("three", false), ("four", true)];
        let error = need_features(&features, &mut steps).expect_err("two are missing");
        assert!(error.advice().is_some_and(|advice| advice.contains("6.1")), "{error}");
        assert_eq!(words(&steps), ["present", "absent", "absent", "present"]);
    }
}
