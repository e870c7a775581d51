//! Turns without progress.

use std::future::pending;
use std::time::Duration;

use super::{MS, scripted, stream};
use crate::Handle;
use crate::driver::request::{Flags, OpKind};
use crate::driver::uring::scripted::{CancelPolicy, FailAt};
use crate::sys::errno;
use crate::task::yield_now;
use crate::time::sleep;

/// Goal: waits that return without events do not use a whole core, and are counted (H78).
/// Method: 1 100 interrupted sleeps, then the timer. Kills: the guard; a guard that counts turns
/// with progress.
#[test]
fn spinning_is_slowed_down_and_counted() {
    let (script, runtime, _reports) = scripted();
    runtime.block_on(async {
        for _ in 0..1_100 {
            script.fail_enter(FailAt::AfterSubmission, errno::EINTR);
        }
        sleep(Duration::from_millis(5)).await;
        let backoffs = Handle::current().metrics().spin_backoffs;
        assert!((90..=101).contains(&backoffs), "{backoffs}");
        for _ in 0..2_000 {
            yield_now().await;
        }
        assert_eq!(Handle::current().metrics().spin_backoffs, backoffs);
    });
}

/// Goal: an operation that fails at once and is submitted again, without a wake, is a spin. Method:
/// an accept that completes with `ECONNABORTED` in each turn, and a send with `EINTR`, which is
/// submitted again in the next turn; 1 100 times each. Kills: every completion counts as progress;
/// fewer operations after a completion count, although the next turn submits again.
#[test]
fn an_operation_that_fails_again_and_again_is_a_spin() {
    for op_kind in [OpKind::Accept, OpKind::Send] {
        let (script, runtime, _reports) = scripted();
        let mut failures_left = 1_100;
        script.direct(move |script| {
            if failures_left > 0 {
                failures_left -= 1;
                let code =
                    if op_kind == OpKind::Accept { errno::ECONNABORTED } else { errno::EINTR };
                script.complete(script.the(op_kind), -code, Flags::NONE);
            }
        });
        runtime.block_on(async {
            let (mut stream, _peer) = stream();
            let task = match op_kind {
                OpKind::Accept => crate::spawn(async {
                    let listener = crate::net::TcpListener::bind("127.0.0.1:0").unwrap();
                    listener.accept().await.map(drop)
                }),
                _ => crate::spawn(async move {
                    stream.write_all(b"never sent").await?;
                    pending().await
                }),
            };
            sleep(Duration::from_millis(5)).await;
            let backoffs = Handle::current().metrics().spin_backoffs;
            assert!((90..=101).contains(&backoffs), "{op_kind:?}: {backoffs}");
            task.abort();
        });
    }
}

/// Goal: turns that only send bytes of a dropped stream, or only end operations, are not a spin.
/// Method: 3 000 sends of one byte each; then 3 000 dropped readers whose cancels complete one per
/// turn. Kills: counting polls and timers only; counting bytes only.
#[test]
fn lingering_and_closing_are_no_spin() {
    const TURNS: usize = 3_000;
    let (script, runtime, _reports) = scripted();
    script.direct(|script| {
        for send in script.all(OpKind::Send) {
            script.complete(send, 1, Flags::NONE);
        }
    });
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        stream.write_all(&[7; TURNS]).await.unwrap();
        drop(stream);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(script.count_ops(OpKind::Send), TURNS);
        assert_eq!(Handle::current().metrics().spin_backoffs, 0);
    });

    let (script, runtime, _reports) = scripted();
    script.set_cancel_policy(CancelPolicy::Ignore);
    script.direct(|script| {
        if let Some(&recv) = script.all(OpKind::Recv).first() {
            script.complete(recv, -errno::ECANCELED, Flags::NONE);
        }
    });
    runtime.block_on(async {
        let readers = [(); TURNS].map(|()| {
            let (mut stream, _peer) = stream();
            crate::spawn(async move { stream.recv().await.map(drop) })
        });
        yield_now().await;
        readers.iter().for_each(crate::JoinHandle::abort);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(script.all(OpKind::Recv), []);
        assert_eq!(Handle::current().metrics().spin_backoffs, 0);
    });
}

/// Goal: spurious wakes that are far apart are not a spin, for any number in a row.
/// Method: 3 000 sleeps that the wake fd ends for another thread, 1 ms of virtual time apart.
/// Kills: counting turns without looking at the clock.
#[test]
fn spurious_wakes_are_no_spin() {
    let (script, runtime, _reports) = scripted();
    let mut bells_left = 3_000;
    script.direct(move |script| {
        if bells_left > 0 {
            bells_left -= 1;
            script.advance_ns(MS);
            script.notify();
        }
    });
    runtime.block_on(async {
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(Handle::current().metrics().spin_backoffs, 0);
        assert!(Handle::current().metrics().turns > 3_000);
    });
}
