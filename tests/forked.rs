//! A process that has forked, and the child. A file of its own, because forking changes the whole
//! process.
//!
//! After a fork of a process with several threads, the child may call few functions. So the tests
//! start this binary again for each cell (`forked/cells.rs`), which has one thread, builds a loop,
//! and forks.
#![allow(unsafe_code)] // CommandExt::pre_exec

#[path = "forked/cells.rs"]
mod cells;
mod common;
#[path = "forked/process.rs"]
mod process;
#[path = "common/raising.rs"]
mod raising;
#[path = "forked/resources.rs"]
mod resources;
#[path = "forked/signals.rs"]
mod signals;
#[path = "forked/threads.rs"]
mod threads;

use std::os::unix::process::CommandExt;
use std::pin::pin;
use std::process::Command;

use common::{LIMIT, poll_once, until, within};
use ringloop::net::{TcpListener, TcpStream};
use ringloop::{DriverChoice, DriverKind, Handle, Runtime};

/// The loop's end of a connection, with a receive armed on it, and the peer.
async fn armed(listener: &TcpListener) -> (TcpStream, std::net::TcpStream) {
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut stream = listener.accept().await.unwrap();
    assert!(poll_once(pin!(stream.recv())).await.is_pending());
    (stream, peer)
}

/// The number of cancels of closing one connection.
async fn cancels_of_a_close(listener: &TcpListener) -> u64 {
    let (stream, peer) = armed(listener).await;
    ringloop::task::yield_now().await; // the receive is submitted
    let before_count = Handle::current().metrics().cancels;
    let in_flight_count = Handle::current().metrics().in_flight;
    drop(stream);
    until(|| Handle::current().metrics().in_flight < in_flight_count).await;
    drop(peer);
    Handle::current().metrics().cancels - before_count
}

/// Goal: a connection whose descriptor a forked child may hold is not shut down for both.
///
/// Method: on the ring, closing ends an armed receive without a cancel (by `shutdown(2)`, which
/// acts on the open file) until the process forks, and with a cancel from then on. On epoll a
/// cancel makes no system call, so it is always used.
///
/// Kills: a handler that is not registered, or does not store; `may_shut_down_reading` that does
/// not read it.
#[test]
fn a_fork_ends_the_cheap_way_to_close() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let is_ring = Handle::current().driver().kind() == DriverKind::Uring;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(cancels_of_a_close(&listener).await, u64::from(!is_ring));

        let mut command = Command::new("true");
        // SAFETY: the closure does nothing. Its presence makes the standard library fork.
        unsafe { command.pre_exec(|| Ok(())) };
        assert!(command.status().unwrap().success());
        assert_eq!(cancels_of_a_close(&listener).await, 1);
    });
}

/// The test that is started again for each cell.
const ENTRY: &str = "what_a_child_drops_is_its_own";

/// In a process that was started for a cell, runs the cell.
fn run_named_cell(name: &str) {
    process::limit();
    let (_, run) = cells::ALL.iter().find(|(known, _)| *known == name).expect("a cell");
    run();
}

/// Runs a cell on each driver of this machine.
fn on_each_driver(cells: &[&str]) {
    within(LIMIT, || {
        for (choice, driver) in [(DriverChoice::Uring, "uring"), (DriverChoice::Epoll, "epoll")] {
            match Runtime::builder().driver(choice).build() {
                Ok(_works) => cells.iter().for_each(|cell| process::run_cell(cell, driver)),
                Err(error) if choice == DriverChoice::Uring => println!("SKIP uring: {error}"),
                Err(error) => panic!("{error}"),
            }
        }
    });
}

/// Goal: the parent's loop goes on, whatever the child drops or keeps of it, and the child can run
/// a loop of its own before and after.
///
/// Method: resources of each kind in use, bytes queued; the child drops all of them and the
/// runtime, then runs an echo; the child of a task exits with everything alive. Then each resource
/// of the parent does its work. With `fork(2)` and with a raw `clone(2)`. With a cell in the
/// environment this is the cell's process.
///
/// Kills: a destructor that unmaps, enters the ring, calls `epoll_ctl`, `shutdown(2)`, or removes a
/// listener's path; a socket of the child that stays open; a receive buffer that faults; a process
/// that is detected by a handler of libc's `fork` alone.
#[test]
fn what_a_child_drops_is_its_own() {
    if let Ok(name) = std::env::var(process::CELL) {
        return run_named_cell(&name);
    }
    on_each_driver(&["drops fork", "drops clone", "drops nothing"]);
}

/// Goal: using the parent's loop in a child panics with the reason, and the parent goes on.
///
/// Method: every way to use it, some on a loop of the child's and some on none; a task that forks
/// and goes on in both processes, with another task ready behind it.
///
/// Kills: an entry point without the check; a loop that turns in the child, or polls one more task.
#[test]
fn a_child_may_not_use_its_parents_loop() {
    on_each_driver(&["uses fork", "uses clone", "goes on"]);
}

/// Goal: a child that is forked inside a task, or in the main future, finds no loop, and builds and
/// runs its own; so does its own child.
///
/// Method: both; the child of the main future returns from `block_on` first.
///
/// Kills: a thread-local that still has the parent's loop, or has it again later.
#[test]
fn a_child_of_a_task_runs_a_loop_of_its_own() {
    on_each_driver(&["in a task fork", "in a task clone", "returns"]);
}

/// Goal: wakers and abort handles in a child do nothing.
///
/// Method: another thread forks while the loop sleeps; the child wakes the main future and a task,
/// and aborts the task. The count of the eventfd, which both share, stays 0.
///
/// Kills: a wake that notifies, or that takes the inbox's lock first.
#[test]
fn wakes_in_a_child_do_nothing() {
    on_each_driver(&["wakes"]);
}

/// Goal: a signal that only the parent listens for has its default effect in a child, and never
/// reaches the parent's loop. A child's own loop listens for itself.
///
/// Method: two loops that listen, and children that send a signal to themselves: without a loop,
/// while a loop of theirs listens, after that has ended, and a signal for which only the parent's
/// loops listen. The counts of the eventfds, which both processes share, stay 0, and the parent's
/// listeners receive only the parent's signals.
///
/// Kills: a handler that does not compare the process; a slot of the parent that the child's
/// handler uses; a registry that counts the parent's listeners in the child.
#[test]
fn signals_of_a_child_do_not_reach_its_parents_loop() {
    on_each_driver(&["signals fork", "signals clone"]);
}

/// Goal: blocking jobs and remote handles of the parent are out of reach of a child, which has a
/// pool of its own for its own loop; the parent's jobs and tasks end as if there were no child.
///
/// Method: a job that runs, a job that waits and a task that is to be spawned; the child uses,
/// aborts and drops their handles. A closure that a child drops ends it with an error.
///
/// Kills: a method without the check, which takes a lock that a thread of the parent may hold; an
/// abort that reaches the copied queue.
#[test]
fn a_child_may_not_use_the_threads_of_its_parent() {
    on_each_driver(&["jobs", "remote"]);
}
