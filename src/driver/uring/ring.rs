//! The kernel's ring: the `io-uring` crate behind the seam, and the ring of provided buffers.
//!
//! What lives here: encoding of entries as SQEs, the one system call, copying completions out, and
//! the shared memory of the buffer ring. Decisions are the driver's (`super`).
//!
//! **Memory that the kernel reads late.** Pointers inside requests belong to their slots. The
//! `timespec` of a timeout entry is read when the entry is *submitted* (`FEAT_SUBMIT_STABLE`, which
//! setup demands), so one per ring is enough: the latest deadline overwrites an earlier one that
//! was pushed and not yet submitted, and both entries then mean the latest. Don't be tempted to
//! build it on the stack of `push`: submission happens later. For the same reason a relative
//! timeout is computed in `enter`, each time until it is submitted.
//!
//! **Order of death** (H15): closing a ring that is still mapped tears nothing down, and teardown
//! runs in a worker of the kernel. So the driver first drains every operation; then the buffer
//! group is unregistered, the queues are unmapped and closed (field order, and the crate's own
//! `Drop`), and only then the buffer ring's memory goes.
#![allow(unsafe_code)] // pushing SQEs, io_uring_enter(2), the shared buffer ring, close(2)

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd, TimeoutFlags, Timespec};
use io_uring::{EnterFlags, IoUring, opcode, squeue};

use super::entry::{Cqe, Enter, Entry, Full, Ring, RingFlags, TimeoutForm};
use crate::buf::Loan;
use crate::driver::request::Request;
use crate::sys::clock::{self, NS_PER_S};
use crate::sys::errno;
use crate::sys::memory::Mapping;
use crate::sys::socket;

/// The one buffer group of a ring.
const GROUP: u16 = 0;

/// The smallest ring of provided buffers that is tried for want of memory.
const BUFFER_ENTRIES_MIN: u16 = 32;

/// `IORING_RECVSEND_POLL_FIRST` (5.19) and `IORING_RECV_MULTISHOT` (6.0), bits of a receive's
/// `ioprio`.
const RECVSEND_POLL_FIRST: u16 = 1 << 0;
const RECV_MULTISHOT: u16 = 1 << 1;

pub(crate) struct KernelRing {
    /// Dropped before `buffers`: the kernel must forget the group's memory first.
    uring: ManuallyDrop<IoUring>,
    buffers: ManuallyDrop<BufferRing>,
    /// Boxed so that the address of its timespec does not change when the ring moves.
    timeouts: Box<Timeouts>,
}

#[derive(Default)]
struct Timeouts {
    timespec: Timespec,
    form: TimeoutForm,
    /// The deadline of a timeout that was pushed and may not have been submitted.
    pushed_ns: Option<u64>,
}

impl Timeouts {
    fn flags(&self) -> TimeoutFlags {
        match self.form {
            TimeoutForm::Absolute => TimeoutFlags::ABS,
            TimeoutForm::Relative => TimeoutFlags::empty(),
        }
    }

    fn push(&mut self, deadline_ns: u64) -> *const Timespec {
        self.pushed_ns = Some(deadline_ns);
        self.set(deadline_ns); // `renew` replaces it in the relative form
        &self.timespec
    }

    /// Writes the time that is left of a relative timeout, for the kernel to read in this enter.
    fn renew(&mut self) {
        if let (TimeoutForm::Relative, Some(deadline_ns)) = (self.form, self.pushed_ns) {
            self.set(deadline_ns.saturating_sub(clock::monotonic_ns()));
        }
    }

    fn set(&mut self, ns: u64) {
        self.timespec = Timespec::new().sec(ns / NS_PER_S).nsec((ns % NS_PER_S) as u32);
    }
}

impl KernelRing {
    /// Registers a ring of `buffer_count` provided buffers on a fresh ring, or of fewer if the
    /// kernel has no memory for so many ([`KernelRing::buffer_entries`]).
    pub(super) fn new(uring: IoUring, buffer_count: u16) -> io::Result<KernelRing> {
        let buffers = smaller_on_enomem(buffer_count, |entry_count| {
            let buffers = BufferRing::new(entry_count)?;
            // SAFETY: the mapping holds `entry_count` entries, starts on a page, is zeroed (so its
            // tail is 0), and outlives the registration: `drop` unregisters it first, and an
            // undrained ring leaks it (`leak`). If registering fails, the kernel does not know it.
            unsafe {
                uring.submitter().register_buf_ring_with_flags(
                    buffers.mapping.as_ptr() as u64,
                    entry_count,
                    GROUP,
                    0,
                )?;
            }
            Ok(buffers)
        })?;
        Ok(KernelRing {
            uring: ManuallyDrop::new(uring),
            buffers: ManuallyDrop::new(buffers),
            timeouts: Box::default(),
        })
    }

    /// How many buffers may be lent at once.
    pub(super) fn buffer_entries(&self) -> u16 {
        self.buffers.entry_count
    }

    fn encode(&mut self, entry: Entry) -> squeue::Entry {
        match entry {
            Entry::Nop => opcode::Nop::new().build(),
            Entry::Op(request) => encode_request(request),
            Entry::Cancel { target } => {
                // By user_data only: a cancel by descriptor can hit a number's next owner (H34).
                opcode::AsyncCancel::new(target).build().flags(squeue::Flags::SKIP_SUCCESS)
            }
            Entry::Timeout { deadline_ns } => {
                let timespec = self.timeouts.push(deadline_ns);
                opcode::Timeout::new(timespec).flags(self.timeouts.flags()).build()
            }
            Entry::TimeoutUpdate { target, deadline_ns } => {
                let timespec = self.timeouts.push(deadline_ns);
                opcode::TimeoutUpdate::new(target, timespec)
                    .flags(self.timeouts.flags())
                    .build()
                    .flags(squeue::Flags::SKIP_SUCCESS)
            }
            Entry::WakeRead { fd, target } => {
                opcode::Read::new(Fd(fd), target, size_of::<u64>() as u32).build()
            }
        }
    }
}

/// The requests, as the kernel's opcodes. Accepted descriptors are close-on-exec.
fn encode_request(request: Request) -> squeue::Entry {
    match request {
        Request::Accept { fd, is_multishot: true } => {
            opcode::AcceptMulti::new(Fd(fd)).flags(libc::SOCK_CLOEXEC).build()
        }
        Request::Accept { fd, is_multishot: false } => {
            let (addr, addr_len) = (std::ptr::null_mut(), std::ptr::null_mut());
            opcode::Accept::new(Fd(fd), addr, addr_len).flags(libc::SOCK_CLOEXEC).build()
        }
        Request::Recv { fd, poll_first } => {
            // The crate's `RecvMulti` has no way to ask for a poll first.
            let poll_first = if poll_first { RECVSEND_POLL_FIRST } else { 0 };
            opcode::Recv::new(Fd(fd), std::ptr::null_mut(), 0)
                .buf_group(GROUP)
                .ioprio(RECV_MULTISHOT | poll_first)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        }
        Request::RecvInto { fd, target, target_len } => {
            opcode::Recv::new(Fd(fd), target, target_len).flags(libc::MSG_DONTWAIT).build() // H46
        }
        Request::Send { fd, source, source_len } => {
            // The ring raises no SIGPIPE (H45); the flag says so to the reader.
            opcode::Send::new(Fd(fd), source, source_len).flags(libc::MSG_NOSIGNAL).build()
        }
        Request::Connect { fd, addr, addr_len } => {
            opcode::Connect::new(Fd(fd), addr, addr_len).build()
        }
        Request::Poll { fd, interest } => opcode::PollAdd::new(Fd(fd), interest.events()).build(),
        Request::PollChanges { fd, interest } => {
            opcode::PollAdd::new(Fd(fd), interest.events()).multi(true).build()
        }
    }
}

impl Ring for KernelRing {
    fn push(&mut self, user_data: u64, entry: Entry) -> Result<(), Full> {
        let sqe = self.encode(entry).user_data(user_data);
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

    fn leak(mut self) {
        // SAFETY: `self` is forgotten below, so nothing uses or drops `uring` again. The buffer
        // ring and the timespec stay mapped, as the kernel may still read them.
        unsafe { ManuallyDrop::drop(&mut self.uring) };
        std::mem::forget(self);
    }

    fn disown(self) {
        // SAFETY: the number is this process's own and is not used again, as `self` is forgotten.
        // Nothing is unmapped: the queues are not mapped here, and what is may be another's.
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

/// Makes something of `count` entries, or of half as many as long as there is no memory for them
/// (H16: some kernels charge them to `RLIMIT_MEMLOCK`).
fn smaller_on_enomem<T>(count: u16, mut make: impl FnMut(u16) -> io::Result<T>) -> io::Result<T> {
    let mut count = count;
    loop {
        match make(count) {
            Err(error)
                if error.raw_os_error() == Some(errno::ENOMEM) && count > BUFFER_ENTRIES_MIN =>
            {
                count /= 2;
            }
            outcome => return outcome,
        }
    }
}

/// Memory shared with the kernel: `io_uring_buf_ring`, of which we write and the kernel reads.
struct BufferRing {
    mapping: Mapping,
    entry_count: u16,
    /// Runs freely over `u16`, as the kernel's copy does.
    tail: u16,
}

impl BufferRing {
    fn new(entry_count: u16) -> io::Result<BufferRing> {
        assert!(entry_count.is_power_of_two(), "{entry_count} entries");
        let mapping =
            Mapping::hidden_from_children(usize::from(entry_count) * size_of::<BufRingEntry>())?;
        Ok(BufferRing { mapping, entry_count, tail: 0 })
    }

    /// Writes one entry behind the published ones.
    ///
    /// There is always room: the pool lends at most as many buffers at once as the ring has entries
    /// ([`Pool::lend_at_most`](crate::buf::Pool::lend_at_most)).
    fn provide(&mut self, loan: Loan) {
        let index = usize::from(self.tail & (self.entry_count - 1));
        let base = self.mapping.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the mask keeps `index` inside the mapping, which is page-aligned and zeroed, so
        // the entry is valid. The kernel reads entries only below the published tail; this one
        // lies at the unpublished end. The setters leave the field that doubles as the tail alone.
        let entry = unsafe { &mut *base.add(index) };
        entry.set_addr(loan.target as u64);
        entry.set_len(loan.target_len);
        entry.set_bid(loan.id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        let base = self.mapping.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the tail lies inside the first entry of the mapping, is aligned for `AtomicU16`
        // (offset 14 of a page), and no reference to that entry is alive.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        // Release: pairs with the kernel's acquire; the entries are written before it reads them.
        tail.store(self.tail, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// Goal: a ring of provided buffers is made smaller for want of memory, to a smallest size, and
    /// for nothing else.
    /// Method: a kernel with room for some entries; one with another error.
    /// Kills: giving up at the first ENOMEM; going down without an end; going down on EINVAL.
    #[test]
    fn buffer_rings_shrink_for_want_of_memory() {
        let with_room_for = |room: u16, code: i32, count: u16| {
            let mut tried = Vec::new();
            let made = smaller_on_enomem(count, |count| {
                tried.push(count);
                let error = || io::Error::from_raw_os_error(code);
                (count <= room).then_some(count).ok_or_else(error)
            });
            (made.ok(), tried)
        };
        let enomem = errno::ENOMEM;
        assert_eq!(with_room_for(200, enomem, 512), (Some(128), vec![512, 256, 128]));
        assert_eq!(with_room_for(16, enomem, 128), (None, vec![128, 64, 32]));
        assert_eq!(with_room_for(0, enomem, 4), (None, vec![4]));
        assert_eq!(with_room_for(200, errno::EINVAL, 512), (None, vec![512]));
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
