//! The process that has to live with a denial.
//!
//! It talks to its parent in lines on standard output, each with a mark that tells it from those of
//! the test harness, and ends when its standard input does.
//!
//! ```text
//! denied: skip WHY                     or else
//! denied: thread 1234
//! denied: kind epoll
//! denied: reason io_uring: io_uring_setup failed: …
//! denied: listening 127.0.0.1:40123
//! denied: unhandled …                  any number of them
//! denied: ended
//! ```
#![allow(unsafe_code)] // setrlimit(2), setuid(2), unshare(2), mount(2), gettid(2)

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use ringloop::net::{TcpListener, TcpStream};
use ringloop::{Builder, Handle};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

pub(crate) const MARK: &str = "denied: ";

/// An ordinary user: `nobody`.
const NOBODY: u32 = 65534;

/// Denies itself what `cell` says, and serves.
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
        end_of_input().await;
        assert_eq!(Handle::current().metrics().spin_backoffs, 0, "the loop has spun");
    });
    drop(runtime);
    say("ended", "");
}

async fn serve() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    say("listening", listener.local_addr().expect("an address"));
    loop {
        let stream = listener.accept().await.expect("a listener that goes on");
        ringloop::spawn(echo(stream));
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

/// Ends when the parent closes its end of standard input. Another thread waits for that, so each
/// cell also shows that the loop hears wakes.
async fn end_of_input() {
    #[derive(Default)]
    struct Ending {
        is_over: bool,
        waiter: Option<Waker>,
    }
    let ending = Arc::new(Mutex::new(Ending::default()));
    let theirs = Arc::clone(&ending);
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        let mut ending = theirs.lock().expect("nobody panics with it");
        ending.is_over = true;
        ending.waiter.take().expect("the loop waits").wake();
    });
    poll_fn(|cx| {
        let mut ending = ending.lock().expect("nobody panics with it");
        ending.waiter = Some(cx.waker().clone());
        if ending.is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn say(word: &str, what: impl std::fmt::Display) {
    // On a line of its own: the harness begins some that it does not end.
    let line = format!("\n{MARK}{word} {what}\n");
    io::stdout().write_all(line.as_bytes()).expect("a parent");
}

/// The error says why this process cannot play the cell. It has done nothing that lasts then, or
/// nothing that matters.
fn deny(words: &[&str]) -> Result<(), String> {
    match *words {
        ["nothing"] => Ok(()),
        ["refuse", call, errno] => {
            install(&[number(call)], SeccompAction::Errno(code(errno) as u32))
        }
        ["kill"] => {
            let calls = ["io_uring_setup", "io_uring_register", "io_uring_enter"].map(number);
            install(&calls, SeccompAction::KillProcess)
        }
        ["memlock", bytes] => {
            limit(libc::RLIMIT_MEMLOCK, bytes.parse().expect("a number"));
            become_nobody()
        }
        ["nofile", count] => {
            limit(libc::RLIMIT_NOFILE, count.parse().expect("a number"));
            Ok(())
        }
        ["no-proc"] => cover_proc(),
        _ => panic!("an unknown cell: {words:?}"),
    }
}

/// Installs a filter for this thread and those that it starts, for good.
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

fn code(errno: &str) -> i32 {
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
    // SAFETY: a valid `rlimit`; lowering one takes nothing away that is in use.
    let status = unsafe { libc::setrlimit(resource, &limit) };
    assert_eq!(status, 0, "{}", io::Error::last_os_error());
}

/// Every thread of the process becomes an ordinary user.
fn become_nobody() -> Result<(), String> {
    // SAFETY: an empty list, and no pointers otherwise; the results are looked at.
    let statuses = unsafe {
        [libc::setgroups(0, std::ptr::null()), libc::setgid(NOBODY), libc::setuid(NOBODY)]
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
        // Without this the next mount would be everybody's.
        let private = libc::MS_REC | libc::MS_PRIVATE;
        // SAFETY: valid strings where strings are needed, and null where nothing is.
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
