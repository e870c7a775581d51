//! The kernel's ring: the `io-uring` crate behind the seam, and the ring of provided buffers.
//!
//! What lives here: the one system call, pushing entries ([`encode`]) and copying completions out.
//! Decisions are the driver's (`super`).
//!
//! **Memory that the kernel reads late.** Pointers inside requests belong to their slots. The
//! `timespec` of a timeout entry is read when the entry is *submitted* (`FEAT_SUBMIT_STABLE`, which
//! setup demands), so one per ring is enough: the latest deadline overwrites an earlier one that
//! was pushed and not yet submitted, and both entries then mean the latest. Don't be tempted to
//! build it on the stack of `push`: submission happens later. For the same reason a relative
//! timeout is computed in `enter`, each time until it is submitted.
//!
//! **Order of teardown** (H15): closing a ring that is still mapped tears nothing down, and
//! teardown runs in a worker of the kernel. So the driver first drains every operation; then the
//! buffer group is unregistered, the queues are unmapped and closed (field order, and the crate's
//! own `Drop`), and only then the buffer ring's memory is unmapped.
#![allow(unsafe_code)] // pushing SQEs, io_uring_enter(2), close(2)

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::{EnterFlags, IoUring};

use super::buffer_ring::BufferRing;
use super::encode::{GROUP, encode};
use super::entry::{Cqe, Enter, Entry, Full, Ring, RingFlags, TimeoutForm};
use super::timespec::Timeouts;
use crate::buf::Loan;
use crate::sys::socket;

pub(crate) struct KernelRing {
    /// Dropped before `buffers`: the kernel must let go of the group's memory first.
    uring: ManuallyDrop<IoUring>,
    buffers: ManuallyDrop<BufferRing>,
    /// Boxed so that the address of its timespec does not change when the ring moves.
    timeouts: Box<Timeouts>,
}

impl KernelRing {
    /// Registers a ring of `buffer_count` provided buffers on a fresh ring, or of fewer if the
    /// kernel has no memory for so many ([`KernelRing::buffer_entries`]).
    pub(super) fn new(uring: IoUring, buffer_count: u16) -> io::Result<KernelRing> {
        let buffers = BufferRing::register(&uring, GROUP, buffer_count)?;
        Ok(KernelRing {
            uring: ManuallyDrop::new(uring),
            buffers: ManuallyDrop::new(buffers),
            timeouts: Box::default(),
        })
    }

    /// How many buffers may be lent at once.
    pub(super) fn buffer_entries(&self) -> u16 {
        self.buffers.entry_count()
    }
}

impl Ring for KernelRing {
    fn push(&mut self, user_data: u64, entry: Entry) -> Result<(), Full> {
        let sqe = encode(entry, &mut self.timeouts).user_data(user_data);
        // SAFETY: whatever memory the entry names is valid until its final completion: requests
        // are owned by slots that live that long (`reactor::slots`), the eventfd's target by the
        // driver, the timespec by this ring and read at submission (module documentation).
        unsafe { self.uring.submission().push(&sqe) }.map_err(|_| Full)
    }

    fn unsubmitted_count(&mut self) -> u32 {
        self.uring.submission().len() as u32
    }

    fn enter(&mut self, enter: Enter) -> io::Result<()> {
        self.timeouts.renew();
        let to_submit = self.unsubmitted_count();
        let (min_complete, flags) = match enter {
            Enter::Submit => (0, EnterFlags::empty()),
            Enter::Collect => (0, EnterFlags::GETEVENTS),
            Enter::Sleep => (1, EnterFlags::GETEVENTS),
        };
        // SAFETY: no argument is passed besides the counts, and every pushed entry is valid as
        // `push` explains.
        let submitted = unsafe {
            self.uring.submitter().enter::<libc::sigset_t>(
                to_submit,
                min_complete,
                flags.bits(),
                None,
            )
        };
        if self.unsubmitted_count() == 0 {
            self.timeouts.pushed_ns = None;
        }
        // The count hides the wait's result (H03, H04): callers read the queues.
        submitted.map(|_count| ())
    }

    fn reap(&mut self, out: &mut Vec<Cqe>, count_max: usize) {
        // The crate reads the tail once (acquire, pairs with the kernel's release), lets us copy
        // the entries, and publishes the head on drop (release, pairs with the kernel's acquire).
        // Nothing is acted upon in between.
        for cqe in self.uring.completion().take(count_max) {
            out.push(Cqe { user_data: cqe.user_data(), result: cqe.result(), flags: cqe.flags() });
        }
    }

    fn reapable_count(&mut self) -> usize {
        self.uring.completion().len()
    }

    fn flags(&mut self) -> RingFlags {
        let submission = self.uring.submission();
        RingFlags { cq_overflow: submission.cq_overflow(), taskrun: submission.taskrun() }
    }

    fn dropped_count(&mut self) -> u32 {
        self.uring.completion().overflow()
    }

    fn provide(&mut self, loan: Loan) {
        self.buffers.provide(loan);
    }

    fn publish(&mut self) {
        self.buffers.publish();
    }

    fn set_timeout_form(&mut self, form: TimeoutForm) {
        assert_eq!(self.timeouts.pushed_ns, None, "a timeout has not been submitted");
        self.timeouts.form = form;
    }

    fn shut_down_reading(&mut self, fd: RawFd) -> io::Result<()> {
        socket::shut_down_reading(fd)
    }

    fn register_eventfd(&mut self, fd: RawFd) -> io::Result<()> {
        self.uring.submitter().register_eventfd(fd)
    }

    fn leak(mut self) {
        // SAFETY: `self` is leaked below, so nothing uses or drops `uring` again. The buffer
        // ring and the timespec stay mapped, as the kernel may still read them.
        unsafe { ManuallyDrop::drop(&mut self.uring) };
        std::mem::forget(self);
    }

    fn disown(self) {
        // SAFETY: the number is this process's own and is not used again, as `self` is leaked.
        // Nothing is unmapped: the queues are not mapped here, and their addresses may be in use.
        let _ = unsafe { libc::close(self.uring.as_raw_fd()) };
        std::mem::forget(self);
    }

    fn sq_entries(&self) -> u32 {
        self.uring.params().sq_entries()
    }

    fn cq_entries(&self) -> u32 {
        self.uring.params().cq_entries()
    }
}

impl AsRawFd for KernelRing {
    fn as_raw_fd(&self) -> RawFd {
        self.uring.as_raw_fd()
    }
}

impl Drop for KernelRing {
    fn drop(&mut self) {
        // A failure means that the kernel keeps the group until the ring is gone, which is next.
        let _ = self.uring.submitter().unregister_buf_ring(GROUP);
        // SAFETY: each is dropped once, here, in this order, and not used again: the ring
        // first, so that the kernel has let go of the buffer ring when its memory is unmapped.
        unsafe {
            ManuallyDrop::drop(&mut self.uring);
            ManuallyDrop::drop(&mut self.buffers);
        }
    }
}

#[cfg(test)]
mod tests {
    use io_uring::types::Timespec;

    use super::*;
    use crate::driver::request::Request;
    use crate::sys::{clock, errno};

    /// Goal: a relative timeout that waited on the submission queue fires no later for it.
    ///
    /// Method: a deadline that passes between the push and the enter; the timeout then fires inside
    /// the enter, as its time is zero. Without io_uring nothing is tested. Kills: a time that is
    /// computed at the push.
    #[test]
    fn relative_timeouts_are_computed_when_they_are_submitted() {
        let Ok(uring) = IoUring::new(8) else { return };
        let Ok(mut ring) = KernelRing::new(uring, 1) else { return };
        ring.set_timeout_form(TimeoutForm::Relative);
        let deadline_ns = clock::monotonic_ns() + 10_000_000;
        ring.push(1, Entry::Timeout { deadline_ns }).expect("room");
        while clock::monotonic_ns() < deadline_ns {
            std::thread::yield_now();
        }
        ring.timeouts.renew();
        assert_eq!(format!("{:?}", ring.timeouts.timespec), format!("{:?}", Timespec::new()));
        ring.enter(Enter::Sleep).expect("a timeout");
        assert_eq!((ring.reapable_count(), ring.timeouts.pushed_ns), (1, None));
    }

    /// Goal: what the two kinds of receive do on a socket with nothing in it, on the kernel's own
    /// ring: the private one answers `EAGAIN` (H46), and the multishot without a buffer waits if it
    /// polls first and answers `ENOBUFS` otherwise (H47).
    /// Method: one of each on a socket pair, no buffer provided; then a byte. Where the kernel
    /// makes no ring, the test prints so and ends.
    /// Kills: a private receive without `MSG_DONTWAIT`; a flag in the wrong bit; a multishot that
    /// does not select buffers.
    #[test]
    fn a_receive_on_an_empty_socket_waits_only_if_it_polls_first() {
        let ring = IoUring::new(8).and_then(|uring| KernelRing::new(uring, 2));
        let mut ring = match ring {
            Ok(ring) => ring,
            Err(error) => return println!("SKIP: no ring of the kernel's: {error}"),
        };
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let fd = ours.as_raw_fd();
        let mut buffer = [0; 8];
        let (target, target_len) = (buffer.as_mut_ptr(), buffer.len() as u32);
        let mut answers = |requests: &[Request]| {
            let mut cqes = Vec::new();
            for (user_data, request) in (1..).zip(requests) {
                ring.push(user_data, Entry::Op(*request)).unwrap();
            }
            for _ in 0..3 {
                ring.enter(Enter::Collect).unwrap();
                ring.reap(&mut cqes, usize::MAX);
            }
            cqes.into_iter().map(|cqe| (cqe.user_data, cqe.result)).collect::<Vec<_>>()
        };
        let into = Request::RecvInto { fd, target, target_len };
        let plain = Request::Recv { fd, poll_first: false };
        assert_eq!(answers(&[into]), [(1, -errno::EAGAIN)]);
        assert_eq!(answers(&[plain]), [(1, -errno::ENOBUFS)]);
        assert_eq!(answers(&[Request::Recv { fd, poll_first: true }]), []);
        std::io::Write::write_all(&mut theirs, b"!").unwrap();
        assert_eq!(answers(&[]), [(1, -errno::ENOBUFS)]);
        assert_eq!(answers(&[into]), [(1, 1)]);
        assert_eq!(buffer[0], b'!');
    }
}
