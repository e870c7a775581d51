//! Commands from the main thread to the workers, and events from the workers.
//!
//! The command is a single value that is replaced, not a queue: a busy worker sees the newest one
//! and may skip those before it. Events are rare (a handful for each worker, and one for each
//! interval) and use a bounded channel. Counters that change with every message are in
//! `measure::published`.

use std::future::poll_fn;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use crate::base::driver::DriverUsed;
use crate::measure::published::Published;
use crate::measure::recorder::IntervalPart;
use crate::measure::window::Window;
use crate::worker::result::WorkerResult;

/// What the workers are to do. Each command includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerCommand {
    /// Nothing yet.
    Idle,
    /// Open the connections.
    Open,
    /// Send messages. Those in the window are measured.
    Drive(Window),
    /// Send nothing new, and wait for outstanding replies.
    Drain(Ending),
    /// Send the result.
    Finish(Ending),
}

/// How the load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At the end of the window, or at an early end that was asked for. The window ends here.
    Asked,
    /// The target is lost. The rest of the window counts as never sent.
    GaveUp,
}

/// The current command, and the wakers of the workers that wait for the next.
#[derive(Debug)]
pub(crate) struct Control(Mutex<CommandState>);

#[derive(Debug)]
struct CommandState {
    command: WorkerCommand,
    /// By worker.
    waiters: Vec<Option<Waker>>,
}

impl Control {
    pub(crate) fn new(threads: u32) -> Control {
        let waiters = vec![None; threads as usize];
        Control(Mutex::new(CommandState { command: WorkerCommand::Idle, waiters }))
    }

    /// Replaces the command and wakes the workers.
    pub(crate) fn issue(&self, command: WorkerCommand) {
        let waiters: Vec<Waker> = {
            let mut state = self.lock();
            state.command = command;
            state.waiters.iter_mut().filter_map(Option::take).collect()
        };
        for waker in waiters {
            waker.wake();
        }
    }

    /// Waits until the command differs from `seen`, and returns it.
    pub(crate) async fn changed(&self, worker: u32, seen: WorkerCommand) -> WorkerCommand {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.command != seen {
                return Poll::Ready(state.command);
            }
            // Stored under the lock that `issue` takes, so that no command is missed.
            state.waiters[worker as usize] = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CommandState> {
        self.0.lock().expect("no code that can panic runs under this lock")
    }
}

/// An event for the main thread.
#[derive(Debug)]
pub(crate) enum Event {
    /// A worker's loop is up.
    Ready(Ready),
    /// A worker's loop could not be set up. The text has the reason and what to do.
    SetupFailed(String),
    /// All connects of a worker have succeeded or failed.
    Ramped,
    /// The records of a worker's interval that is over.
    Interval { worker: u32, part: Box<IntervalPart> },
    /// A worker has sent its share of `--requests`, and all messages have an outcome.
    Spent,
    /// A worker has no connection left, and does not reconnect.
    Lost {
        /// Some have failed. Otherwise all were closed after their messages.
        by_failure: bool,
    },
    /// A worker in the drain has no outstanding message left.
    Drained,
    /// A worker's result.
    Done(Box<WorkerResult>),
    /// A worker's thread ends. Before [`Event::Done`] this is a bug.
    Gone { worker: u32 },
    /// A signal asks for the end of the run.
    Signal(i32),
}

/// The loop of a worker that has started.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) worker: u32,
    pub(crate) driver: DriverUsed,
    /// What to change so that the first choice of driver is used, if it is not.
    pub(crate) advice: Option<&'static str>,
    pub(crate) thread_id: Option<u32>,
}

/// What a worker shares with the main thread.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    pub(crate) control: Arc<Control>,
    pub(crate) published: Arc<Published>,
    pub(crate) events: SyncSender<Event>,
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    /// Goal: a worker is woken by a command that is issued while it waits, and gets the newest if
    /// it was busy.
    ///
    /// Method: poll, issue two commands, poll again; then ask with an outdated command.
    ///
    /// Kills: waiting although the command has changed already; delivering stale commands.
    #[test]
    fn the_newest_command_arrives() {
        let control = Control::new(2);
        let mut cx = Context::from_waker(Waker::noop());
        let mut waiting = pin!(control.changed(1, WorkerCommand::Idle));
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        control.issue(WorkerCommand::Open);
        control.issue(WorkerCommand::Drain(Ending::Asked));
        assert_eq!(
            waiting.as_mut().poll(&mut cx),
            Poll::Ready(WorkerCommand::Drain(Ending::Asked))
        );
        let mut late = pin!(control.changed(0, WorkerCommand::Open));
        assert_eq!(late.as_mut().poll(&mut cx), Poll::Ready(WorkerCommand::Drain(Ending::Asked)));
    }
}
