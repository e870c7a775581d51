//! Reference targets: servers to test against.
//!
//! A server prints two lines, where it listens and on which driver, and nothing per connection.

mod echo;

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use crate::cli::{Driver, ServeArgs, ServeKind};
use crate::driver::DriverUsed;
use crate::exit::{Exit, Stop};
use crate::signals;
use crate::sys::FileLimit;
use crate::target::Announcement;

/// Serves until SIGINT or SIGTERM.
pub(crate) fn run(args: &ServeArgs) -> Result<(), Stop> {
    let files = FileLimit::raise().map_err(|error| {
        Stop::could_not_run(format!("cannot raise the limit of open files: {error}"))
    })?;
    if files.soft < u64::from(args.connections) {
        eprintln!(
            "loadtest: the limit of {} open files holds fewer than {} connections",
            files.soft, args.connections
        );
    }
    let stop = Stopper::new();
    let stopper = stop.clone();
    signals::watch(move |_signal| stopper.stop())?;
    if args.exit_with_stdin {
        watch_stdin()?;
    }
    let runtime = ringloop::Builder::new()
        .driver(args.driver.choice())
        .connections_expected(args.connections)
        .build()
        .map_err(|error| Stop::could_not_run(error.to_string()))?;
    match args.kind {
        ServeKind::Echo => runtime.block_on(echo::serve(args, &stop)),
    }
}

/// Says where the server listens, at once even through a pipe, and in one piece: who reads the first
/// line only may hang up after it.
fn announce(addr: SocketAddr, asked: Driver) -> Result<(), Stop> {
    let driver = DriverUsed::new(ringloop::Handle::current().driver(), asked);
    let text = Announcement { addr, driver }.to_string();
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Stop::could_not_run(format!("cannot print the address: {error}")))
}

/// Ends the process when stdin does: whoever started us is gone.
fn watch_stdin() -> Result<(), Stop> {
    let watcher = || {
        let mut scratch = [0; 64];
        while io::stdin().lock().read(&mut scratch).is_ok_and(|len| len > 0) {}
        process::exit(Exit::Ok.code().into());
    };
    match thread::Builder::new().name("stdin".to_owned()).spawn(watcher) {
        Ok(_) => Ok(()),
        Err(error) => Err(Stop::could_not_run(format!("cannot watch stdin: {error}"))),
    }
}

/// Lets another thread end the server's main future.
#[derive(Clone, Debug)]
struct Stopper(Arc<Mutex<StopState>>);

#[derive(Debug)]
enum StopState {
    Running(Option<Waker>),
    Stopped,
}

impl Stopper {
    fn new() -> Stopper {
        Stopper(Arc::new(Mutex::new(StopState::Running(None))))
    }

    fn stop(&self) {
        let before = std::mem::replace(&mut *self.lock(), StopState::Stopped);
        if let StopState::Running(Some(waker)) = before {
            waker.wake();
        }
    }

    /// Waits for [`Stopper::stop`]. Only one future may wait.
    async fn stopped(&self) {
        poll_fn(|cx| match &mut *self.lock() {
            StopState::Stopped => Poll::Ready(()),
            StopState::Running(waiter) => {
                *waiter = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, StopState> {
        self.0.lock().expect("no code that can panic runs under this lock")
    }
}
