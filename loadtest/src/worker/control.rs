//! Between the main thread and the workers: commands one way, events the other.
//!
//! Commands are a single value that is replaced, not a queue: a worker that is busy sees the newest
//! and may skip the ones before it. Events are rare (a handful per worker, and one per interval) and go through a
//! bounded channel. What changes with every message is in `measure::published`.

use std::future::poll_fn;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use crate::base::driver::DriverUsed;
use crate::measure::published::Published;
use crate::measure::recorder::IntervalPart;
use crate::measure::window::Window;
use crate::worker::result::WorkerResult;

/// What the workers should be doing. Each command includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerCommand {
    /// Nothing yet.
    Idle,
    /// Open the connections.
    Open,
    /// Send messages; those in the window count.
    Drive(Window),
    /// Send nothing new, wait for the replies that are still due.
    Drain(Ending),
    /// Hand in the result.
    Finish(Ending),
}

/// How the load has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At the end of the window, or early because the run was to be as long as it was.
    Asked,
    /// The target is lost: the rest of the schedule is never sent.
    GaveUp,
}

/// The command in force, and who wants to hear of the next.
#[derive(Debug)]
pub(crate) struct Control(Mutex<CommandState>);

#[derive(Debug)]
struct CommandState {
    command: WorkerCommand,
    /// One place per worker.
    waiters: Vec<Option<Waker>>,
}

impl Control {
    pub(crate) fn new(threads: u32) -> Control {
        let waiters = vec![None; threads as usize];
        Control(Mutex::new(CommandState { command: WorkerCommand::Idle, waiters }))
    }

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

    /// Waits until the command is no longer `seen`.
    pub(crate) async fn changed(&self, worker: u32, seen: WorkerCommand) -> WorkerCommand {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.command != seen {
                return Poll::Ready(state.command);
            }
            // Stored under the lock that `issue` takes, so no command slips in between.
            state.waiters[worker as usize] = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CommandState> {
        self.0.lock().expect("no code that can panic runs under this lock")
    }
}

/// What the main thread is told.
#[derive(Debug)]
pub(crate) enum Event {
    /// A worker's loop is up.
    Ready(Ready),
    /// A worker's loop could not be set up; the text says why and what to do.
    SetupFailed(String),
    /// A worker's connects have all ended, one way or the other.
    Ramped,
    /// What a worker did in an interval that is over.
    Interval { worker: u32, part: Box<IntervalPart> },
    /// A worker has sent its share of `--requests`, and all of them have ended.
    Spent,
    /// A worker has no connection left, and opens none again.
    Lost {
        /// Some of them have failed, and were not just closed after their messages.
        by_failure: bool,
    },
    /// A worker waits for no reply any more.
    Drained,
    /// A worker's result.
    Done(Box<WorkerResult>),
    /// A worker's thread ends. Before [`Event::Done`] this is a bug.
    Gone { worker: u32 },
    /// The user or the system wants us to stop.
    Signal(i32),
}

/// What a worker says of itself when it starts.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) worker: u32,
    pub(crate) driver: DriverUsed,
    /// What would bring the first choice back, if this is not it.
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

    /// Goal: a worker hears of a command issued while it waits, and of the newest if it was busy.
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
