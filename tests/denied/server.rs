//! The server process of a cell.
//!
//! It reports to its parent in lines on standard output, with a prefix that distinguishes them from
//! those of the test harness. The parent writes single bytes, for which some cells wait
//! (`later.rs`); the end of standard input ends the server.
//!
//! ```text
//! denied: skip WHY                     or these:
//! denied: thread 1234
//! denied: kind epoll
//! denied: reason io_uring: io_uring_setup failed: …
//! denied: listening 127.0.0.1:40123
//! denied: unhandled …                  any number of them
//! denied: refused …                    an accept has failed; there are no more
//! denied: ended
//! ```
#![allow(unsafe_code)] // setrlimit(2), setuid(2), unshare(2), mount(2), gettid(2)

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use crate::later;
use ringloop::net::{TcpListener, TcpStream};
use ringloop::{Builder, Handle};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

pub(crate) const MARK: &str = "denied: ";

/// The number of an ordinary user.
const ORDINARY_USER: u32 = 65534;

/// Restricts itself as `cell` requires, and serves.
pub(crate) fn run(cell: &str) {
    let words: Vec<&str> = cell.split(' ').collect();
    if let Err(why) = deny(&words) {
        say("skip", why);
        return;
    }
    let hook = |unhandled: &ringloop::Unhandled| say("unhandled", unhandled);
    let runtime = Builder::new().on_unhandled(hook).build().expect("some driver");
    let handle = runtime.handle();
    // SAFETY: no arguments, cannot fail.
    say("thread", unsafe { libc::gettid() });
    say("kind", handle.driver().kind());
    say("reason", handle.driver().reason().unwrap_or_default());
    runtime.block_on(async {
        ringloop::spawn(serve());
        let input = Input::listen();
        match *words {
            ["later", errno] => later::while_it_runs(&input, errno).await,
            ["last", _] => return later::before_it_ends(&input).await,
            _ => {}
        }
        assert_eq!(input.next().await, None);
        assert_eq!(Handle::current().metrics().spin_backoffs, 0, "the loop has spun");
    });
    if let ["last", errno] = *words {
        refuse_enter(errno);
    }
    drop(runtime);
    say("ended", "");
}

async fn serve() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    say("listening", listener.local_addr().expect("an address"));
    loop {
        match listener.accept().await {
            Ok(stream) => drop(ringloop::spawn(echo(stream))),
            Err(error) => return say("refused", error),
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    loop {
        let bytes = stream.recv().await?;
        if bytes.is_empty() {
            return stream.close().await;
        }
        stream.send(bytes).await?;
    }
}

/// The bytes of the parent. Another thread reads them, so each cell also tests wakes.
pub(crate) struct Input {
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    bytes: VecDeque<u8>,
    is_over: bool,
    waiter: Option<Waker>,
}

impl Input {
    fn listen() -> Input {
        let heard = Arc::<Mutex<Heard>>::default();
        let theirs = Arc::clone(&heard);
        std::thread::spawn(move || {
            for byte in io::stdin().lock().bytes().map(Result::ok).chain([None]) {
                let mut heard = theirs.lock().expect("no thread panics with it");
                heard.bytes.extend(byte);
                heard.is_over |= byte.is_none();
                if let Some(waiter) = heard.waiter.take() {
                    waiter.wake();
                }
            }
        });
        Input { heard }
    }

    /// The next byte, or `None` when the parent has closed its end.
    pub(crate) async fn next(&self) -> Option<u8> {
        poll_fn(|cx| {
            let mut heard = self.heard.lock().expect("no thread panics with it");
            match heard.bytes.pop_front() {
                Some(byte) => Poll::Ready(Some(byte)),
                None if heard.is_over => Poll::Ready(None),
                None => {
                    heard.waiter = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

pub(crate) fn say(word: &str, what: impl std::fmt::Display) {
    // On a line of its own: the harness begins lines that it does not end.
    let line = format!("\n{MARK}{word} {what}\n");
    io::stdout().write_all(line.as_bytes()).expect("a parent");
}

/// Restricts the process. The error is the reason why it cannot; then no restriction of importance
/// is in force.
fn deny(words: &[&str]) -> Result<(), String> {
    match *words {
        ["nothing"] | ["later" | "last", _] => Ok(()),
        ["refuse", call, errno] => {
            install(&[number(call)], SeccompAction::Errno(code(errno) as u32))
        }
        ["kill"] => {
            let calls = ["io_uring_setup", "io_uring_register", "io_uring_enter"].map(number);
            install(&calls, SeccompAction::KillProcess)
        }
        ["memlock", bytes] => {
            limit(libc::RLIMIT_MEMLOCK, bytes.parse().expect("a number"));
            become_ordinary_user()
        }
        ["nofile", count] => {
            limit(libc::RLIMIT_NOFILE, count.parse().expect("a number"));
            Ok(())
        }
        ["no-proc"] => cover_proc(),
        _ => panic!("an unknown cell: {words:?}"),
    }
}

/// Makes `io_uring_enter` of this thread fail with `errno` from now on.
pub(crate) fn refuse_enter(errno: &str) {
    let action = SeccompAction::Errno(code(errno) as u32);
    install(&[libc::SYS_io_uring_enter], action).expect("filters");
}

/// Installs a filter for this thread and those that it starts. It cannot be removed.
fn install(calls: &[libc::c_long], action: SeccompAction) -> Result<(), String> {
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with filters");
    let rules: BTreeMap<_, _> = calls.iter().map(|&call| (call, Vec::new())).collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch);
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    apply_filter(&program).map_err(|error| format!("no filters here: {error}"))
}

fn number(call: &str) -> libc::c_long {
    match call {
        "io_uring_setup" => libc::SYS_io_uring_setup,
        "io_uring_register" => libc::SYS_io_uring_register,
        "io_uring_enter" => libc::SYS_io_uring_enter,
        _ => panic!("{call}"),
    }
}

pub(crate) fn code(errno: &str) -> i32 {
    match errno {
        "EPERM" => libc::EPERM,
        "ENOSYS" => libc::ENOSYS,
        "EACCES" => libc::EACCES,
        "EOPNOTSUPP" => libc::EOPNOTSUPP,
        _ => panic!("{errno}"),
    }
}

fn limit(resource: libc::__rlimit_resource_t, value: libc::rlim_t) {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: a valid `rlimit`; lowering a limit does not affect what is in use.
    let status = unsafe { libc::setrlimit(resource, &limit) };
    assert_eq!(status, 0, "{}", io::Error::last_os_error());
}

/// Makes every thread of the process that of an ordinary user.
fn become_ordinary_user() -> Result<(), String> {
    // SAFETY: an empty list, and no pointers otherwise; the results are checked.
    let statuses = unsafe {
        [
            libc::setgroups(0, std::ptr::null()),
            libc::setgid(ORDINARY_USER),
            libc::setuid(ORDINARY_USER),
        ]
    };
    if statuses != [0; 3] {
        return Err(format!("cannot become another user: {}", io::Error::last_os_error()));
    }
    Ok(())
}

/// Puts an empty directory over `/proc`, for this thread only.
fn cover_proc() -> Result<(), String> {
    let none = std::ptr::null();
    // SAFETY: no pointers.
    let mut status = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    if status == 0 {
        // Without this the next mount would be shared.
        let private = libc::MS_REC | libc::MS_PRIVATE;
        // SAFETY: valid strings where strings are needed, and null where none is.
        status = unsafe { libc::mount(none, c"/".as_ptr(), none, private, none.cast()) };
    }
    if status == 0 {
        let (target, kind) = (c"/proc".as_ptr(), c"tmpfs".as_ptr());
        // SAFETY: as above.
        status = unsafe { libc::mount(kind, target, kind, 0, none.cast()) };
    }
    if status != 0 {
        return Err(format!("cannot mount over /proc: {}", io::Error::last_os_error()));
    }
    assert!(!std::fs::exists("/proc/self").expect("an empty /proc"), "/proc is still there");
    Ok(())
}
