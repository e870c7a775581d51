//! The system calls that std does not wrap, each behind a safe function.
//!
//! **Absent on purpose.** Policy: the binaries decide which process is pinned to which core, and
//! what to do with events.
#![allow(unsafe_code)] // this is where the package calls libc

use std::io::{self, Write};
use std::mem;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// The backlog of a listener. All contestants use this number.
pub const BACKLOG: i32 = 4096;

/// Raises the limit of open files to its maximum, and returns it.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a live `rlimit`; the calls read and write nothing else.
    let result = unsafe {
        match libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) {
            0 => {
                limit.rlim_cur = limit.rlim_max;
                libc::setrlimit(libc::RLIMIT_NOFILE, &limit)
            }
            error => error,
        }
    };
    check(result)?;
    Ok(limit.rlim_cur)
}

/// Pins the calling thread, and the threads and processes that it starts later, to one core.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: a `cpu_set_t` is a bit field, for which zeroes are the empty set; `core` is inside
    // it, as checked above; the call reads as many bytes as the set has.
    let result = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set)
    };
    check(result)?;
    Ok(())
}

/// Makes `command` start on one core and end with this process, so that an interrupted comparison
/// leaves no server behind.
pub fn bind_child(command: &mut Command, core: usize) {
    let parent = std::process::id();
    let in_child = move || {
        pin_to_core(core)?;
        // SAFETY: both calls take and return plain numbers.
        let (result, parent_now) = unsafe {
            (
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL),
                libc::getppid().cast_unsigned(),
            )
        };
        check(result)?;
        if parent_now != parent {
            // The parent ended before the call.
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes three plain system calls; it takes no lock
    // and allocates nothing, as its errors are plain numbers.
    unsafe { command.pre_exec(in_child) };
}

/// Opens a listener and prints its address to standard output.
///
/// `TCP_NODELAY` is set on the listener: accepted sockets inherit it, which saves a call for each
/// (`tests::accepted_sockets_inherit_nodelay`).
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SockAddr::from(addr))?;
    socket.listen(BACKLOG)?;

    let listener = TcpListener::from(socket);
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on {}", listener.local_addr()?)?;
    stdout.flush()?;
    Ok(listener)
}

/// Takes one waiting connection, or fails with `WouldBlock` if the listener is non-blocking. It is
/// one call, where std would need a second one for the non-blocking mode.
pub fn accept_nonblocking(listener: &TcpListener) -> io::Result<TcpStream> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: with null pointers the kernel does not write the peer's address.
    let result = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            flags,
        )
    };
    let fd = check(result)?;
    // SAFETY: the call above made this descriptor, and no other value owns it.
    Ok(TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Starts a connection, with `TCP_NODELAY`, and does not wait for it. When epoll reports the socket
/// as writable, the connection is made or has failed.
pub fn start_connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(addr), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&SockAddr::from(addr)) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from(socket)),
    }
}

/// Waits until `file` is readable or at its end. Returns `false` after `limit`.
pub fn wait_readable(file: &impl AsRawFd, limit: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one live `pollfd`, and the count is one.
    let count = check(unsafe { libc::poll(&mut poll, 1, limit_ms) })?;
    Ok(count > 0)
}

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
}

/// Both directions and the end of the stream, edge-triggered.
pub const EDGES: i32 = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;

/// The peer has finished sending, or the connection has ended.
pub const HUNG_UP: i32 = libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes and returns plain numbers.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the call above made this descriptor, and no other value owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd })
    }

    /// Watches `fd` until it is closed; its events carry `token`.
    pub fn add(&self, fd: RawFd, events: i32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events.cast_unsigned(),
            u64: token,
        };
        // SAFETY: `event` is live; the kernel copies it.
        let result = unsafe {
            libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event)
        };
        check(result)?;
        Ok(())
    }

    /// Waits for events, for at most `timeout_ms` (−1: no limit). A signal ends the wait without
    /// events.
    pub fn wait(&self, events: &mut Events, timeout_ms: i32) -> io::Result<()> {
        events.ready_count = 0;
        let entries = &mut events.entries;
        // SAFETY: the kernel writes at most as many entries as the slice has.
        let result = unsafe {
            libc::epoll_wait(
                self.fd.as_raw_fd(),
                entries.as_mut_ptr(),
                entries.len() as i32,
                timeout_ms,
            )
        };
        match check(result) {
            Ok(count) => events.ready_count = count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The events of one `Epoll::wait`.
pub struct Events {
    entries: Vec<libc::epoll_event>,
    ready_count: usize,
}

impl Events {
    pub fn with_capacity(capacity: usize) -> Self {
        let empty = libc::epoll_event { events: 0, u64: 0 };
        Self {
            entries: vec![empty; capacity],
            ready_count: 0,
        }
    }

    /// Token and event bits of each ready file.
    pub fn iter(&self) -> impl Iterator<Item = (u64, i32)> + '_ {
        self.entries[..self.ready_count]
            .iter()
            .map(|entry| (entry.u64, entry.events as i32))
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            entries,
            ready_count,
        } = self;
        write!(f, "Events({ready_count} of {})", entries.len())
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: accepted sockets have `TCP_NODELAY`.
    ///
    /// Method: one connection, and the option of the accepted end.
    ///
    /// Kills: leaving `set_tcp_nodelay` out of `listen`.
    #[test]
    fn accepted_sockets_inherit_nodelay() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let _client = start_connect(listener.local_addr().unwrap()).unwrap();
        let accepted = accept_nonblocking(&listener).unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
