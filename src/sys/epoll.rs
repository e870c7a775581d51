//! `epoll(7)`, `timerfd_create(2)`, `poll(2)` and non-blocking socket calls.
#![allow(unsafe_code)] // epoll_*(2), timerfd_*(2), and the calls for sockets

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::clock::timespec;
use super::errno;

/// The number of events that one wait may report.
pub(crate) const EVENTS_MAX: usize = 128;

/// All events, edge-triggered: readable, writable, hung up.
pub(crate) const EVERY_EDGE: u32 =
    (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLET) as u32;
pub(crate) const LEVEL_IN: u32 = libc::EPOLLIN as u32;
pub(crate) const EDGE_IN: u32 = LEVEL_IN | libc::EPOLLET as u32;
pub(crate) const READABLE: u32 =
    (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
pub(crate) const HUNG_UP: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
pub(crate) const WRITABLE: u32 = (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) as u32;
/// After these events a short read does not mean that the socket is empty: the peer has finished,
/// the connection is broken, or there is urgent data, at whose mark `recv(2)` stops.
pub(crate) const MORE_TO_READ: u32 =
    (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLPRI) as u32;

/// An epoll instance.
#[derive(Debug)]
pub(crate) struct Epoll {
    fd: OwnedFd,
}

/// One event, as plain data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) events: u32,
    pub(crate) data: u64,
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers; the result is checked.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: made by the call above, and no other value owns it.
        Ok(Epoll { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Adds a descriptor, or renews its interest if it is already known.
    pub(crate) fn add(&self, fd: RawFd, events: u32, data: u64) -> io::Result<()> {
        match self.control(libc::EPOLL_CTL_ADD, fd, events, data) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                self.control(libc::EPOLL_CTL_MOD, fd, events, data)
            }
            outcome => outcome,
        }
    }

    /// Removes a descriptor. It is not an error if it is not registered.
    pub(crate) fn remove(&self, fd: RawFd) {
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    fn control(&self, op: i32, fd: RawFd, events: u32, data: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: data };
        // SAFETY: `event` is a valid event that the kernel copies.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), op, fd, &mut event) }).map(drop)
    }

    /// Waits for events, for at most `timeout_ns` if given (`epoll_pwait2(2)`).
    pub(crate) fn wait(&self, timeout_ns: Option<u64>, out: &mut Vec<Event>) -> io::Result<()> {
        let timeout = timeout_ns.map(timespec);
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        // SAFETY: the array has `EVENTS_MAX` places, the timespec lives to the end of the call, and
        // no signal mask is passed.
        let count = check(unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                events.as_mut_ptr(),
                EVENTS_MAX as i32,
                timeout,
                std::ptr::null::<libc::sigset_t>(),
                0,
            ) as i32
        })?;
        push_events(&events, count, out);
        Ok(())
    }

    /// Waits for events without a limit, or returns at once (`epoll_wait(2)`).
    ///
    /// For kernels without `epoll_pwait2(2)`. A timerfd among the descriptors ends the sleep.
    pub(crate) fn wait_plain(&self, may_sleep: bool, out: &mut Vec<Event>) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        let timeout_ms = if may_sleep { -1 } else { 0 };
        // SAFETY: the array has `EVENTS_MAX` places.
        let count = check(unsafe {
            let fd = self.fd.as_raw_fd();
            libc::epoll_wait(fd, events.as_mut_ptr(), EVENTS_MAX as i32, timeout_ms)
        })?;
        push_events(&events, count, out);
        Ok(())
    }
}

fn push_events(events: &[libc::epoll_event], count: i32, out: &mut Vec<Event>) {
    let filled = &events[..count as usize];
    out.extend(filled.iter().map(|event| Event { events: event.events, data: event.u64 }));
}

/// A timer with a descriptor (`timerfd_create(2)`).
#[derive(Debug)]
pub(crate) struct TimerFd {
    fd: OwnedFd,
}

impl TimerFd {
    pub(crate) fn new() -> io::Result<TimerFd> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: no pointers; the result is checked.
        let fd = check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        // SAFETY: made by the call above, and no other value owns it.
        Ok(TimerFd { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Sets the time at which the descriptor becomes readable. Replaces an earlier setting.
    pub(crate) fn set(&self, deadline_ns: u64) -> io::Result<()> {
        let value = timespec(deadline_ns.max(1)); // zero would disarm the timer
        let setting = libc::itimerspec { it_interval: timespec(0), it_value: value };
        let no_former = std::ptr::null_mut();
        // SAFETY: `setting` is a valid itimerspec; the former one is not asked for.
        check(unsafe {
            libc::timerfd_settime(self.raw(), libc::TFD_TIMER_ABSTIME, &setting, no_former)
        })
        .map(drop)
    }
}

/// Whether a read or an accept would not block.
pub(crate) fn is_readable(fd: RawFd) -> bool {
    poll(fd, libc::POLLIN as u32) > 0
}

/// `poll(2)` of one descriptor, without waiting. Returns the events that hold, or a negated errno.
pub(crate) fn poll(fd: RawFd, events: u32) -> i32 {
    let mut poll = libc::pollfd { fd, events: events as i16, revents: 0 };
    // SAFETY: one valid pollfd, and no waiting.
    match as_result(unsafe { libc::poll(&mut poll, 1, 0) } as isize) {
        0.. if poll.revents & libc::POLLNVAL != 0 => -errno::EBADF,
        0.. => i32::from(poll.revents),
        error => error,
    }
}

/// `poll(2)` of several descriptors, without waiting. Returns for each, in order, whether any of
/// its events holds. If the call fails, none does.
pub(crate) fn poll_each(fds: impl Iterator<Item = (RawFd, u32)>) -> Vec<bool> {
    let entry = |(fd, events)| libc::pollfd { fd, events: events as i16, revents: 0 };
    let mut polls: Vec<libc::pollfd> = fds.map(entry).collect();
    // SAFETY: the pointer and the length are those of `polls`, and a timeout of 0 does not wait.
    let status = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, 0) };
    polls.iter().map(|poll| status > 0 && poll.revents != 0).collect()
}

/// Reads and discards the count of an eventfd or a timerfd. Returns whether there was one.
pub(crate) fn drain_count(fd: RawFd) -> bool {
    let mut count = [0u8; 8];
    if !is_readable(fd) {
        return false;
    }
    // SAFETY: eight writable bytes, and the read does not block.
    unsafe { libc::read(fd, count.as_mut_ptr().cast(), count.len()) > 0 }
}

/// Sets `O_NONBLOCK`: calls on the descriptor return `EAGAIN` instead of waiting.
pub(crate) fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    if flags & libc::O_NONBLOCK == 0 {
        // SAFETY: no pointers.
        check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    }
    Ok(())
}

/// `accept4(2)`. Returns a descriptor or a negated errno, as in a completion.
pub(crate) fn accept(listener: RawFd) -> i32 {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the peer's address is not asked for.
    let fd = unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
    as_result(fd as isize)
}

/// `recv(2)` into `target`, without waiting. Returns a count or a negated errno.
///
/// # Safety
///
/// `target` is valid for writes of `target_len` bytes.
pub(crate) unsafe fn recv(socket: RawFd, target: *mut u8, target_len: u32) -> i32 {
    // SAFETY: the caller's promise.
    as_result(unsafe { libc::recv(socket, target.cast(), target_len as usize, libc::MSG_DONTWAIT) })
}

/// `send(2)` from `source`, without waiting. Returns a count or a negated errno.
///
/// # Safety
///
/// `source` is valid for reads of `source_len` bytes.
pub(crate) unsafe fn send(socket: RawFd, source: *const u8, source_len: u32) -> i32 {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL; // H45
    // SAFETY: the caller's promise.
    as_result(unsafe { libc::send(socket, source.cast(), source_len as usize, flags) })
}

/// `connect(2)` on a non-blocking socket. Returns 0 or a negated errno.
///
/// # Safety
///
/// `addr` points to a `sockaddr` of `addr_len` bytes.
pub(crate) unsafe fn connect(socket: RawFd, addr: *const libc::sockaddr, addr_len: u32) -> i32 {
    // SAFETY: the caller's promise.
    as_result(unsafe { libc::connect(socket, addr, addr_len) } as isize)
}

fn as_result(value: isize) -> i32 {
    if value >= 0 {
        return i32::try_from(value).expect("requests are shorter than 2 GiB (H21)");
    }
    let code = io::Error::last_os_error().raw_os_error().unwrap_or(errno::EIO);
    -code
}

fn check(status: i32) -> io::Result<i32> {
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(status) }
}
