//! Entries as the kernel's opcodes.

use io_uring::types::Fd;
use io_uring::{opcode, squeue};

use super::entry::Entry;
use super::timespec::Timeouts;
use crate::driver::request::Request;

/// The one buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// `IORING_RECVSEND_POLL_FIRST` (5.19) and `IORING_RECV_MULTISHOT` (6.0), bits of a receive's
/// `ioprio`.
const RECVSEND_POLL_FIRST: u16 = 1 << 0;
const RECV_MULTISHOT: u16 = 1 << 1;

/// Encodes an entry. Accepted descriptors are close-on-exec.
pub(super) fn encode(entry: Entry, timeouts: &mut Timeouts) -> squeue::Entry {
    match entry {
        Entry::Op(Request::Accept { fd, is_multishot: true }) => {
            opcode::AcceptMulti::new(Fd(fd)).flags(libc::SOCK_CLOEXEC).build()
        }
        Entry::Op(Request::Accept { fd, is_multishot: false }) => {
            let (addr, addr_len) = (std::ptr::null_mut(), std::ptr::null_mut());
            opcode::Accept::new(Fd(fd), addr, addr_len).flags(libc::SOCK_CLOEXEC).build()
        }
        Entry::Op(Request::Recv { fd, poll_first }) => {
            // The crate's `RecvMulti` has no way to ask for a poll first.
            let poll_first = if poll_first { RECVSEND_POLL_FIRST } else { 0 };
            opcode::Recv::new(Fd(fd), std::ptr::null_mut(), 0)
                .buf_group(GROUP)
                .ioprio(RECV_MULTISHOT | poll_first)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        }
        Entry::Op(Request::RecvInto { fd, target, target_len }) => {
            opcode::Recv::new(Fd(fd), target, target_len).flags(libc::MSG_DONTWAIT).build() // H46
        }
        Entry::Op(Request::Send { fd, source, source_len }) => {
            // The ring raises no SIGPIPE (H45). The flag is for the reader.
            opcode::Send::new(Fd(fd), source, source_len).flags(libc::MSG_NOSIGNAL).build()
        }
        Entry::Op(Request::Connect { fd, addr, addr_len }) => {
            opcode::Connect::new(Fd(fd), addr, addr_len).build()
        }
        Entry::Op(Request::Poll { fd, interest }) => {
            opcode::PollAdd::new(Fd(fd), interest.events()).build()
        }
        Entry::Op(Request::PollChanges { fd, interest }) => {
            opcode::PollAdd::new(Fd(fd), interest.events()).multi(true).build()
        }
        Entry::Nop => opcode::Nop::new().build(),
        Entry::Cancel { target } => {
            // By user_data only: a cancel by descriptor can hit a number's next owner (H34).
            opcode::AsyncCancel::new(target).build().flags(squeue::Flags::SKIP_SUCCESS)
        }
        Entry::Timeout { deadline_ns } => {
            let timespec = timeouts.push(deadline_ns);
            opcode::Timeout::new(timespec).flags(timeouts.flags()).build()
        }
        Entry::TimeoutUpdate { target, deadline_ns } => {
            let timespec = timeouts.push(deadline_ns);
            opcode::TimeoutUpdate::new(target, timespec)
                .flags(timeouts.flags())
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS)
        }
        Entry::WakePoll { fd } => {
            opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).multi(true).build()
        }
    }
}
