//! How a ring is made: a ladder of flags, a ladder of sizes, and a probe that does real work.
//!
//! Distributions back-port and containers forbid, so nothing here asks for a kernel's version. A
//! flag is tried and dropped when the kernel does not know it; then the ring has to prove itself:
//! a no-op makes the round trip, a multishot receive fills a provided buffer on a socket pair, and
//! a multishot accept accepts (H25, H28).
//!
//! A ring is small by default. Since 6.14 some kernels charge rings to `RLIMIT_MEMLOCK`, and give
//! the charge back only some 300 ms after a ring was closed (H16). So `ENOMEM` shrinks the ring and
//! waits a little before the next try.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use io_uring::IoUring;
use socket2::{Domain, SockAddr, Socket, Type};

use super::entry::{Cqe, Enter, Entry, Ring};
use super::ring::KernelRing;
use super::{Uring, is_passing};
use crate::buf::Pool;
use crate::driver::RingSizes;
use crate::driver::diagnosis::{Outcome, Steps};
use crate::driver::request::{Flags, Request};
use crate::error::SetupError;
use crate::sys::errno;
use crate::sys::eventfd::EventFd;

/// What a ring was set up with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rung {
    single_issuer: bool,
    defer_taskrun: bool,
    coop_taskrun: bool,
    submit_all: bool,
}

impl Rung {
    /// One flag fewer at a time, newest first: DEFER_TASKRUN is 6.1, SINGLE_ISSUER 6.0,
    /// COOP_TASKRUN with its sign 5.19, SUBMIT_ALL 5.18.
    const LADDER: [Rung; 5] = [
        Rung { single_issuer: true, defer_taskrun: true, coop_taskrun: false, submit_all: true },
        Rung { single_issuer: true, defer_taskrun: false, coop_taskrun: true, submit_all: true },
        Rung { single_issuer: false, defer_taskrun: false, coop_taskrun: true, submit_all: true },
        Rung { single_issuer: false, defer_taskrun: false, coop_taskrun: false, submit_all: true },
        Rung { single_issuer: false, defer_taskrun: false, coop_taskrun: false, submit_all: false },
    ];

    /// The flags in words, for people.
    pub(crate) fn features(self) -> Vec<&'static str> {
        let Rung { single_issuer, defer_taskrun, coop_taskrun, submit_all } = self;
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
        format!("{SETUP} (sq {}, cq {}; {flags})", sizes.sq_entries, sizes.cq_entries)
    }

    fn build(self, sizes: RingSizes) -> io::Result<IoUring> {
        let Rung { single_issuer, defer_taskrun, coop_taskrun, submit_all } = self;
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
            builder.setup_taskrun_flag(); // H08: or a turn cannot know that it has to enter
        }
        if submit_all {
            builder.setup_submit_all(); // H04
        }
        builder.build(sizes.sq_entries)
    }
}

/// The step in which a ring is made.
const SETUP: &str = "io_uring_setup";

/// The smallest ring that the memory ladder goes down to.
const SQ_ENTRIES_MIN: u32 = 32;

/// How long to wait before each retry of a ring that did not fit into the memory limit (H16).
const ENOMEM_RETRIES: [Duration; 3] =
    [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(250)];

/// A ring that has proved itself, and the flags it runs with. Each step is written down.
pub(crate) fn open(
    sizes: RingSizes,
    pool: &Rc<Pool>,
    bell: &Arc<EventFd>,
    steps: &mut Steps,
) -> Result<(Uring<KernelRing>, Rung), SetupError> {
    let (uring, rung) = climb(sizes, steps, Rung::build)?;
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
    let ring = steps.need("registering provided buffers", ring)?;
    let mut prober = Prober { ring, reaped: Vec::new() };
    steps.need("probing a no-op", prober.no_op())?;
    steps.need("probing a multishot receive", prober.multishot_recv())?;
    steps.need("probing a multishot accept", prober.multishot_accept())?;
    let driver = Uring::new(prober.ring, Rc::clone(pool), Arc::clone(bell));
    Ok((steps.need("allocating the wake-up buffer", driver)?, rung))
}

/// Walks down both ladders: flags on `EINVAL`, sizes on `ENOMEM`.
fn climb<T>(
    mut sizes: RingSizes,
    steps: &mut Steps,
    build: impl Fn(Rung, RingSizes) -> io::Result<T>,
) -> Result<(T, Rung), SetupError> {
    let mut rungs = Rung::LADDER.into_iter();
    let mut rung = rungs.next().expect("the ladder has rungs");
    let mut retries = ENOMEM_RETRIES.into_iter();
    loop {
        let error = match build(rung, sizes) {
            Ok(uring) => {
                steps.note(rung.describe(sizes), Outcome::Works);
                return Ok((uring, rung));
            }
            Err(error) => error,
        };
        steps.note(rung.describe(sizes), Outcome::Failed(error.to_string()));
        match error.raw_os_error() {
            Some(errno::EINVAL) => match rungs.next() {
                Some(next) => rung = next,
                None => return Err(steps.fail(SETUP, error)),
            },
            Some(errno::ENOMEM) if sizes.sq_entries > SQ_ENTRIES_MIN => sizes = sizes.halved(),
            Some(errno::ENOMEM) => match retries.next() {
                // Nothing signals that the kernel has given memory back; there is only time.
                Some(pause) => std::thread::sleep(pause),
                None => return Err(steps.fail(SETUP, error)),
            },
            _ => return Err(steps.fail(SETUP, error)),
        }
    }
}

/// What the kernel says of itself. Each is written down, so that a diagnosis names all that is
/// missing and not only the first.
fn need_features(features: &[(&'static str, bool)], steps: &mut Steps) -> Result<(), SetupError> {
    for (name, is_present) in features {
        steps.note(*name, if *is_present { Outcome::Present } else { Outcome::Absent });
    }
    if features.iter().all(|(_, is_present)| *is_present) {
        return Ok(());
    }
    let cause = io::Error::from_raw_os_error(errno::EOPNOTSUPP);
    Err(steps.fail("checking io_uring features", cause))
}

/// Runs real operations on a ring that has no driver yet.
struct Prober<R: Ring> {
    ring: R,
    reaped: Vec<Cqe>,
}

/// Enters before a probe that brings nothing is given up. Each brings something, or fails for now.
const PROBE_ENTERS_MAX: u32 = 8;

/// Ends a probe whose completion does not come.
const PROBE_TIMEOUT_NS: u64 = 1_000_000_000;

const PROBE_BUFFER_LEN: u32 = 64;

const PROBE: u64 = 1;
const PROBE_TIMEOUT: u64 = 2;
/// That of a driver's cancel: reaped late, a failure is counted there and nothing else.
const PROBE_CANCEL: u64 = super::internal::CANCEL as u64;

impl<R: Ring> Prober<R> {
    fn no_op(&mut self) -> io::Result<()> {
        self.push(PROBE, Entry::Nop)?;
        self.next_answer().and_then(success).map(drop)
    }

    /// Into a pool of its own. A receive that has not ended when the probe fails may write to it
    /// later, even after the ring is closed (H15): then its page is leaked, and nobody else's.
    fn multishot_recv(&mut self) -> io::Result<()> {
        // Before anything is lent: running out of descriptors leaks nothing.
        let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
        let pool = Pool::new(1, PROBE_BUFFER_LEN)?;
        let outcome = self.multishot_recv_into(&pool, &ours, theirs);
        if outcome.is_err() {
            std::mem::forget(pool);
        }
        outcome
    }

    fn multishot_recv_into(
        &mut self,
        pool: &Rc<Pool>,
        ours: &Socket,
        theirs: Socket,
    ) -> io::Result<()> {
        let loan = pool.lend().expect("a fresh pool has a free buffer");
        self.ring.provide(loan);
        self.ring.publish();
        self.push(PROBE, Entry::Op(Request::Recv { fd: ours.as_raw_fd(), poll_first: false }))?;
        theirs.send(b"?")?;
        let first = self.next_answer();
        // Whatever came, the peer's end makes the receive finish, so nothing stays armed.
        drop(theirs);
        let flags = first.as_ref().map(|cqe| Flags::from_raw(cqe.flags)).unwrap_or_default();
        if flags.more() {
            self.next_answer()?;
        }
        let Some(id) = flags.buffer() else {
            first.and_then(success)?;
            return Err(io::Error::from_raw_os_error(errno::EOPNOTSUPP));
        };
        drop(pool.filled(id, 1));
        match flags.more() {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(errno::EOPNOTSUPP)),
        }
    }

    fn multishot_accept(&mut self) -> io::Result<()> {
        // An abstract Unix socket needs no port, no path and no network.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed); // a unique number, ordered with nothing
        let name = format!("\0ringloop-probe-{}-{number}", std::process::id());
        let addr = SockAddr::unix(name)?;
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        listener.bind(&addr)?;
        listener.listen(1)?;
        let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        client.connect(&addr)?;
        self.push(PROBE, Entry::Op(Request::Accept { fd: listener.as_raw_fd() }))?;
        let answer = self.next_answer()?;
        if Flags::from_raw(answer.flags).more() {
            self.push(PROBE_CANCEL, Entry::Cancel { target: PROBE })?;
            self.next_answer()?;
        }
        let fd = success(answer)?;
        let accepted: OwnedFd = crate::op::accept::adopt(fd);
        drop(accepted);
        match Flags::from_raw(answer.flags).more() {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(errno::EOPNOTSUPP)),
        }
    }

    fn push(&mut self, user_data: u64, entry: Entry) -> io::Result<()> {
        if self.ring.push(user_data, entry).is_ok() {
            return Ok(());
        }
        self.ring.enter(Enter::Submit)?; // a queue of one entry is full with the first
        let pushed = self.ring.push(user_data, entry);
        pushed.map_err(|_full| io::Error::from_raw_os_error(errno::EAGAIN))
    }

    /// The next completion of the probing entry, within a second.
    fn next_answer(&mut self) -> io::Result<Cqe> {
        // Some kernels, 6.1 and 6.12 among them, post the bytes and the end of the receive at once.
        // Sleeping here would then be sleeping until the timeout.
        if let Some(answer) = self.take(PROBE) {
            return Ok(answer);
        }
        let deadline_ns = crate::sys::clock::monotonic_ns() + PROBE_TIMEOUT_NS;
        self.push(PROBE_TIMEOUT, Entry::Timeout { deadline_ns })?;
        let mut answer = None;
        for _ in 0..PROBE_ENTERS_MAX {
            self.collect()?;
            answer = answer.or_else(|| self.take(PROBE));
            if answer.is_some() {
                break;
            }
            if self.take(PROBE_TIMEOUT).is_some() {
                return Err(io::Error::from_raw_os_error(errno::ETIMEDOUT));
            }
        }
        self.end_timeout()?;
        answer.ok_or_else(|| io::Error::from_raw_os_error(errno::ETIMEDOUT))
    }

    fn end_timeout(&mut self) -> io::Result<()> {
        if self.take(PROBE_TIMEOUT).is_some() {
            return Ok(()); // it came with the answer
        }
        self.push(PROBE_CANCEL, Entry::Cancel { target: PROBE_TIMEOUT })?;
        for _ in 0..PROBE_ENTERS_MAX {
            if self.take(PROBE_TIMEOUT).is_some() {
                return Ok(());
            }
            self.collect()?;
        }
        Err(io::Error::from_raw_os_error(errno::ETIMEDOUT))
    }

    fn collect(&mut self) -> io::Result<()> {
        match self.ring.enter(Enter::Sleep) {
            Err(error) if !is_passing(&error) => return Err(error),
            _ => self.ring.reap(&mut self.reaped, usize::MAX),
        }
        Ok(())
    }

    fn take(&mut self, user_data: u64) -> Option<Cqe> {
        let index = self.reaped.iter().position(|cqe| cqe.user_data == user_data)?;
        Some(self.reaped.remove(index))
    }
}

/// The result of a completion, with a negated errno as the error it is.
fn success(cqe: Cqe) -> io::Result<i32> {
    match cqe.result {
        result if result < 0 => Err(io::Error::from_raw_os_error(errno::from_result(result))),
        result => Ok(result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::DriverKind;
    use crate::driver::request::Verb;
    use crate::driver::uring::scripted::{CancelPolicy, Script};
    use std::cell::RefCell;

    const SIZES: RingSizes = RingSizes { sq_entries: 64, cq_entries: 256 };

    /// A kernel that answers each attempt with the next errno, and with success after the last.
    fn climb_past(errnos: &[i32]) -> (Result<((), Rung), SetupError>, Steps, Vec<RingSizes>) {
        let mut steps = Steps::new(DriverKind::Uring);
        let tried = RefCell::new(Vec::new());
        let outcome = climb(SIZES, &mut steps, |_rung, sizes| {
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

    /// Goal: each rung of both ladders is tried once, in order, and written down.
    ///
    /// Method: a kernel that does not know the two newest flags, then has too little memory for the
    /// ring, and for the smallest one at first.
    ///
    /// Kills: giving up at the first `EINVAL`; fewer flags for want of memory; a rung that is
    /// missing from the list.
    #[test]
    fn both_ladders_are_climbed_down() {
        let script = [errno::EINVAL, errno::EINVAL, errno::ENOMEM, errno::ENOMEM];
        let (outcome, steps, tried) = climb_past(&script);
        let ((), rung) = outcome.expect("the fifth attempt");
        assert_eq!(rung, Rung::LADDER[2]);
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

    /// Goal: a ladder ends: with the last rung, and at once on an errno that no rung mends.
    ///
    /// Method: a kernel that knows no flag; one that forbids io_uring. Kills: climbing for ever;
    /// trying four more times what is forbidden.
    #[test]
    fn the_ladder_ends() {
        let (outcome, steps, tried) = climb_past(&[errno::EINVAL; 9]);
        assert_eq!(tried.len(), Rung::LADDER.len());
        let error = outcome.expect_err("no rung holds").to_string();
        assert!(error.starts_with("io_uring: io_uring_setup failed: Invalid argument"), "{error}");
        assert!(error.starts_with(steps.candidate().failure().expect("the same")));
        let (outcome, _steps, tried) = climb_past(&[errno::EPERM; 9]);
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

    /// Goal: a probe whose answers have come does not wait for its own timeout.
    ///
    /// Method: a scripted kernel that posts the bytes and the end of a receive together, as those
    /// up to 6.12 do. Its clock moves only when somebody sleeps with nothing to come.
    ///
    /// Kills: entering before looking at what was reaped.
    #[test]
    fn answers_that_come_together_are_both_taken() {
        let script = Script::new();
        script.direct(|script| {
            for recv in script.all(Verb::Recv) {
                assert!(script.deliver(recv, b"?", true), "the probe lends a buffer");
                script.complete(recv, -errno::ENOBUFS, Flags::NONE);
            }
        });
        let ring = script.ring(RingSizes { sq_entries: 8, cq_entries: 16 });
        let mut prober = Prober { ring, reaped: Vec::new() };
        let began_ns = script.now_ns();
        prober.multishot_recv().expect("a receive that works");
        assert_eq!(script.now_ns(), began_ns, "slept until the timeout");
    }

    /// Goal: a receive that outlives its probe writes into nobody's memory.
    ///
    /// Method: a scripted kernel that says nothing until the probe has given up; then the allocator is
    /// asked for pages, and the bytes arrive. Kills: a pool that is given back after a failure (also
    /// found by AddressSanitizer, or by a fault).
    #[test]
    fn a_receive_may_outlive_its_probe() {
        let script = Script::new();
        script.set_cancel_policy(CancelPolicy::Ignore);
        let ring = script.ring(RingSizes { sq_entries: 8, cq_entries: 16 });
        let mut prober = Prober { ring, reaped: Vec::new() };
        assert!(prober.multishot_recv().is_err(), "it has no answer");
        drop(prober);
        let busy: Vec<_> = (0..64).map(|_| Pool::new(1, PROBE_BUFFER_LEN).unwrap()).collect();
        assert!(script.deliver(script.the(Verb::Recv), &[0x55; 64], false));
        for pool in busy {
            assert!(pool.lend().is_some());
            assert_eq!(*pool.filled(0, 64), [0; 64], "written to somebody else's memory");
        }
    }

    /// Goal: a probe leaves nothing behind, which would be an answer to the operation in slot 0.
    ///
    /// Method: a scripted kernel whose answer and timeout come together, as to a thread that was
    /// stopped for a second. Kills: a cancel of a timeout that has been seen to end.
    #[test]
    fn a_probe_leaves_nothing_behind() {
        let script = Script::new();
        script.direct(|script| {
            script.post(Cqe { user_data: PROBE, result: 0, flags: 0 });
            script.stall_ns(crate::sys::clock::monotonic_ns() + 2 * PROBE_TIMEOUT_NS);
        });
        let ring = script.ring(RingSizes { sq_entries: 8, cq_entries: 16 });
        let mut prober = Prober { ring, reaped: Vec::new() };
        prober.next_answer().expect("an answer");
        assert_eq!(prober.ring.unsubmitted_count(), 0, "an entry is left for the driver");
        prober.ring.enter(Enter::Collect).unwrap();
        assert_eq!(prober.ring.reapable_count(), 0, "a completion is left for the driver");
    }
}
