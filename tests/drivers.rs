//! The choice of a driver, and the fallback where io_uring is forbidden.

mod common;
#[path = "common/sandbox.rs"]
mod sandbox;

use std::io::Write;
use std::pin::pin;

use common::{LIMIT, poll_once, serves_an_echo, std_pair, turns, within};
use ringloop::{Builder, DriverChoice, DriverKind, Runtime};
use sandbox::with_refused;

/// Goal: where io_uring is refused in any way, a runtime starts on epoll, has the reason, and
/// works.
///
/// Method: a seccomp filter makes one system call fail with each errno that containers use; build,
/// read the reason, echo.
///
/// Kills: a fallback for `EPERM` only; a probe that stops after `io_uring_setup`; a lost reason.
#[test]
fn epoll_takes_over_where_io_uring_is_refused() {
    if std::env::var_os("RINGLOOP_DRIVER").is_some() {
        println!("SKIP: RINGLOOP_DRIVER leaves no choice");
        return;
    }
    let refusals = [
        (libc::SYS_io_uring_setup, libc::EPERM),
        (libc::SYS_io_uring_setup, libc::ENOSYS),
        (libc::SYS_io_uring_setup, libc::EACCES),
        (libc::SYS_io_uring_setup, libc::EOPNOTSUPP),
        (libc::SYS_io_uring_register, libc::EPERM),
        (libc::SYS_io_uring_enter, libc::EPERM),
    ];
    for (syscall, errno) in refusals {
        with_refused(syscall, errno, move || {
            within(LIMIT, || {
                let runtime = Runtime::new().expect("epoll is there");
                let driver = runtime.handle().driver().clone();
                assert_eq!(driver.kind(), DriverKind::Epoll, "{errno}: {driver}");
                let why = std::io::Error::from_raw_os_error(errno).to_string();
                let reason = driver.reason().expect("a reason");
                assert!(reason.contains(&why), "{errno}: {reason}");
                serves_an_echo(&runtime);
            });
        });
    }
}

/// Goal: `DriverChoice::Uring` without io_uring fails with the cause and advice, and does not fall
/// back.
///
/// Method: the same filter, the strict choice.
///
/// Kills: a fallback in spite of the choice; an error without advice.
#[test]
fn the_strict_choice_names_the_remedy() {
    let error = with_refused(libc::SYS_io_uring_setup, libc::EPERM, || {
        let error = Builder::new().driver(DriverChoice::Uring).build().expect_err("refused");
        assert_eq!(error.driver(), DriverKind::Uring);
        error.to_string()
    });
    for word in ["io_uring_setup failed", "kernel.io_uring_disabled", "seccomp"] {
        assert!(error.contains(word), "{error}");
    }
}

/// Goal: epoll can be chosen, without an io_uring call.
///
/// Method: a filter under which an io_uring call would be visible, and the choice; an echo.
///
/// Kills: probing before choosing.
#[test]
fn epoll_can_be_chosen() {
    with_refused(libc::SYS_io_uring_setup, libc::EMFILE, || {
        within(LIMIT, || {
            let runtime = Builder::new().driver(DriverChoice::Epoll).build().expect("epoll");
            assert_eq!(runtime.handle().driver().kind(), DriverKind::Epoll);
            serves_an_echo(&runtime);
        });
    });
}

/// Goal: urgent data, which any peer may send, does not stop ordinary bytes after it.
///
/// Method: a read that waits; then bytes, an urgent one, bytes, before the loop's next turn; on
/// each driver.
///
/// Kills: taking a read that stops at the urgent mark for one that has emptied the socket.
#[test]
fn urgent_data_does_not_stop_the_rest() {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        let runtime = Builder::new().driver(driver).build().expect("both drivers");
        within(LIMIT, || {
            runtime.block_on(async {
                let (mut stream, mut peer) = std_pair();
                peer.write_all(b"x").unwrap();
                stream.read_exact(&mut [0]).await.unwrap();
                {
                    let mut recv = pin!(stream.recv());
                    assert!(poll_once(recv.as_mut()).await.is_pending());
                    turns(3).await; // the receive waits in the kernel
                }
                peer.write_all(b"ab").unwrap();
                socket2::SockRef::from(&peer).send_out_of_band(b"!").unwrap();
                peer.write_all(b"def").unwrap();
                let mut received = [0; 5];
                stream.read_exact(&mut received).await.unwrap();
                assert_eq!(&received, b"abdef");
            })
        });
    }
}
