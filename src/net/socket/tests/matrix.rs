//! Every kind of operation × every moment its owner may go × every way it may end.
//!
//! In each cell one operation is started, its owner is dropped at the given moment (or not), and
//! the scripted kernel gives the given answer. Whatever the cell, at its end nothing is left: no
//! slot, no buffer, no descriptor, no stale completion, and every operation had one final
//! completion.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::driver::request::{Flags, OpKind, Request};
use crate::driver::uring::scripted::{CancelPolicy, Submitted};
use crate::sys::errno;

const KINDS: [OpKind; 5] =
    [OpKind::Accept, OpKind::Recv, OpKind::RecvInto, OpKind::Send, OpKind::Connect];

const BYTES: &[u8] = b"twelve bytes";

/// When the owner goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    /// In the turn that asked for the operation.
    BeforeSubmission,
    /// The kernel has the operation; the answer comes before the cancel does.
    InFlight,
    /// As before, and the kernel has the cancel as well when the answer comes.
    Cancelling,
    /// The answer has been posted, and the loop has not seen it.
    Posted,
    /// The answer has been handed out and the task woken, but not polled.
    Woken,
    Never,
}

const MOMENTS: [Moment; 6] = [
    Moment::BeforeSubmission,
    Moment::InFlight,
    Moment::Cancelling,
    Moment::Posted,
    Moment::Woken,
    Moment::Never,
];

/// How the operation ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Success,
    /// A success with MORE, then a last one without.
    MoreThenFinal,
    Cancelled,
    Interrupted,
    /// The errno −512, which no kernel should show (H19).
    Restart,
    Failed,
    /// An error that names a buffer all the same (H58).
    BufferButError,
    NoBuffers,
    /// A private receive found nothing, and another begins.
    NothingThere,
}

fn outcomes(kind: OpKind) -> Vec<Outcome> {
    let mut outcomes = vec![
        Outcome::Success,
        Outcome::Cancelled,
        Outcome::Interrupted,
        Outcome::Restart,
        Outcome::Failed,
    ];
    if matches!(kind, OpKind::Accept | OpKind::Recv) {
        outcomes.push(Outcome::MoreThenFinal);
    }
    if kind == OpKind::RecvInto {
        outcomes.push(Outcome::NothingThere);
    }
    if kind == OpKind::Recv {
        outcomes.extend([Outcome::BufferButError, Outcome::NoBuffers]);
    }
    outcomes
}

/// Who asked for the operation.
enum Asker {
    /// A future that owns its stream or listener, or a connect.
    Future(Pin<Box<dyn Future<Output = ()>>>),
    /// A stream with bytes queued.
    Writer(TcpStream),
}

impl Asker {
    async fn poll(&mut self) {
        if let Asker::Future(future) = self {
            assert!(poll_once(future.as_mut()).await.is_pending());
        }
    }

    /// Goes. Only an abort cancels a send: a dropped stream goes on sending.
    fn leave(self, moment: Moment) {
        match self {
            Asker::Writer(stream) if moment == Moment::Cancelling => stream.abort(),
            asker => drop(asker),
        }
    }
}

/// Asks for the operation. It is pushed, or will be with the next enter, and is not submitted.
async fn ask(kind: OpKind, script: &Script, files: &mut Vec<OpenFile>) -> Asker {
    let asker = match kind {
        OpKind::Accept => {
            let listener = listener();
            files.push(OpenFile::of(listener.as_raw_fd()));
            Asker::Future(Box::pin(async move {
                drop(listener.accept().await);
                pending::<()>().await;
            }))
        }
        OpKind::Recv | OpKind::RecvInto => {
            let (mut stream, _peer) = stream();
            files.push(OpenFile::of(stream.as_raw_fd()));
            Asker::Future(Box::pin(async move {
                drop(stream.recv().await);
                pending::<()>().await;
            }))
        }
        OpKind::Send => {
            let (mut stream, _peer) = stream();
            files.push(OpenFile::of(stream.as_raw_fd()));
            stream.write_all(BYTES).await.unwrap();
            Asker::Writer(stream)
        }
        OpKind::Connect => Asker::Future(Box::pin(async {
            drop(TcpStream::connect("127.0.0.1:9").await);
            pending::<()>().await;
        })),
        OpKind::PollReadable | OpKind::PollWritable | OpKind::PollHangUp => {
            unreachable!("not in this matrix")
        }
    };
    let mut asker = asker;
    asker.poll().await;
    if kind == OpKind::RecvInto {
        // The multishot finds the pool empty, and the private receive is pushed at once.
        turns(1).await;
        script.complete(script.the(OpKind::Recv), -errno::ENOBUFS, Flags::NONE);
        turns(1).await;
        assert_eq!(script.count_ops(OpKind::RecvInto), 0, "not submitted yet");
    }
    asker
}

fn answer(script: &Script, op: Submitted, outcome: Outcome, files: &mut Vec<OpenFile>) {
    let kind = op.request.op_kind();
    match outcome {
        Outcome::Success => succeed(script, op, false, files),
        Outcome::MoreThenFinal => {
            succeed(script, op, true, files);
            succeed(script, op, false, files);
        }
        Outcome::Cancelled => script.complete(op, -errno::ECANCELED, Flags::NONE),
        Outcome::Interrupted => script.complete(op, -errno::EINTR, Flags::NONE),
        Outcome::Restart => script.complete(op, -512, Flags::NONE),
        Outcome::Failed => {
            let code = match kind {
                OpKind::Accept => errno::EINVAL,
                OpKind::Recv | OpKind::RecvInto => ECONNRESET,
                OpKind::Send => errno::EPIPE,
                OpKind::Connect => ECONNREFUSED,
                OpKind::PollReadable | OpKind::PollWritable | OpKind::PollHangUp => {
                    unreachable!("not in this matrix")
                }
            };
            script.complete(op, -code, Flags::NONE);
        }
        Outcome::BufferButError => script.complete_with_buffer(op, -errno::ECANCELED),
        Outcome::NothingThere => script.complete(op, -errno::EAGAIN, Flags::NONE),
        Outcome::NoBuffers => script.complete(op, -errno::ENOBUFS, Flags::NONE),
    }
}

fn succeed(script: &Script, op: Submitted, more: bool, files: &mut Vec<OpenFile>) {
    let flags = if more { Flags::NONE.with_more() } else { Flags::NONE };
    match op.request {
        Request::Accept { .. } => {
            let (fd, file, _peer) = connection();
            files.push(file);
            script.complete(op, fd, flags);
        }
        Request::Recv { .. } | Request::RecvInto { .. } => {
            assert!(script.deliver(op, BYTES, more));
        }
        Request::Send { source_len, .. } => script.complete(op, source_len as i32, flags),
        Request::Connect { .. } => script.complete(op, 0, flags),
        Request::Poll { .. } | Request::PollChanges { .. } => unreachable!("in `io::tests`"),
    }
}

/// Ends what a retry or a second receive has left in flight: sends succeed, the rest obeys.
async fn finish(script: &Script, files: &mut Vec<OpenFile>) {
    for _ in 0..4 {
        turns(2).await;
        for op in script.in_flight() {
            match op.request.op_kind() {
                OpKind::Send => succeed(script, op, false, files),
                _ => {
                    let is_cancelled = script.cancels().contains(&op.user_data);
                    assert!(is_cancelled, "{op:?} has no owner and was not cancelled");
                    script.complete(op, -errno::ECANCELED, Flags::NONE);
                }
            }
        }
    }
}

/// The operation under test, and the file that it names.
fn submitted(script: &Script, kind: OpKind, files: &mut Vec<OpenFile>) -> Submitted {
    let op = script.the(kind);
    if let Request::Connect { fd, .. } = op.request {
        files.push(OpenFile::of(fd));
    }
    op
}

async fn play(kind: OpKind, moment: Moment, outcome: Outcome, script: &Script) {
    let mut files = Vec::new();
    let mut asker = ask(kind, script, &mut files).await;
    if moment == Moment::BeforeSubmission {
        asker.leave(moment);
        turns(1).await;
        let op = submitted(script, kind, &mut files);
        answer(script, op, outcome, &mut files);
    } else {
        turns(1).await;
        let op = submitted(script, kind, &mut files);
        if moment == Moment::InFlight || moment == Moment::Cancelling {
            asker.leave(moment);
            if moment == Moment::Cancelling {
                turns(2).await;
                assert_eq!(script.cancels(), [op.user_data]);
            }
            answer(script, op, outcome, &mut files);
        } else {
            answer(script, op, outcome, &mut files);
            if moment != Moment::Posted {
                turns(2).await;
            }
            if moment == Moment::Never {
                asker.poll().await;
                turns(2).await;
                asker.poll().await;
            }
            asker.leave(moment);
        }
    }
    finish(script, &mut files).await;
    assert!(script.in_flight().is_empty(), "{:?}", script.in_flight());
    let left: Vec<&OpenFile> = files.iter().filter(|file| file.is_open()).collect();
    assert!(left.is_empty(), "open at the end: {left:?}");
}

fn run_cell(kind: OpKind, moment: Moment, outcome: Outcome) {
    let (script, runtime, _reports) = reporting();
    script.set_cancel_policy(CancelPolicy::Ignore);
    runtime.block_on(play(kind, moment, outcome, &script));
    let metrics = runtime.handle().metrics();
    let left = (metrics.in_flight, metrics.buffers_held, metrics.stale_completions);
    assert_eq!(left, (0, 0, 0), "slots, buffers, stale_completions");
    assert_eq!((metrics.closing_streams, metrics.timers), (0, 0), "closing, timers");
    drop(runtime);
    assert!(!script.is_leaked());
}

/// Goal: whenever an owner goes and however its operation ends, nothing is left, lost or answered
/// twice (H29, H30, H31, H36, H38, H58).
/// Method: every cell of the matrix on a runtime of its own, with real descriptors.
/// Kills: a slot that is never freed; a descriptor or buffer of an unwanted answer kept; an answer
/// that meets an owner in a state it does not expect.
#[test]
fn no_operation_leaves_anything_behind() {
    let mut cell_count = 0;
    let mut failures = Vec::new();
    for kind in KINDS {
        for moment in MOMENTS {
            for outcome in outcomes(kind) {
                cell_count += 1;
                let cell = || run_cell(kind, moment, outcome);
                if catch_unwind(AssertUnwindSafe(cell)).is_err() {
                    failures.push((kind, moment, outcome));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failed: {failures:?}", failures.len());
    // 5 outcomes for each of 5 kinds, 1 more for accept, 3 more for recv, 1 more for a private
    // receive; 6 moments each.
    assert_eq!(cell_count, 180, "cells covered");
}
