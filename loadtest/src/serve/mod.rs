//! Built-in reference servers, as targets and for tests of loadtest itself.
//!
//! ```text
//! options ▶ run (main thread) ── starts ──▶ thread × N: a loop, a listener (SO_REUSEPORT), tasks
//!            │   waits for all  ◀────────  stop ◀── SIGINT, SIGTERM, the end of stdin
//!            ▼
//!        one line of JSON: the counters of the threads (tally)
//! ```
//!
//! A server prints its address and driver once all its threads listen, nothing per connection, and
//! its counters when it has stopped.
//!
//! **Absent on purpose.** TLS: its cost depends on the implementation, so it is no useful
//! reference.

pub(crate) mod announcement;
pub(crate) mod echo;
pub(crate) mod fault;
pub(crate) mod http;
pub(crate) mod lingering_close;
pub(crate) mod lossy;
pub(crate) mod options;
pub(crate) mod serving_thread;
pub(crate) mod sink;
pub(crate) mod stall;
pub(crate) mod stop;
pub(crate) mod tally;
pub(crate) mod ws;

use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringloop::Unhandled;
use ringloop::net::{TcpListener, UnixListener};
use serde::Serialize;

use crate::base::address::Address;
use crate::base::driver::DriverUsed;
use crate::base::exit::Error;
use crate::base::print::to_stderr;
use crate::host::signals;
use crate::host::sys::FileLimit;
use crate::net::stream::{Listener, Stream};
use crate::serve::announcement::Announcement;
use crate::serve::http::HttpServer;
use crate::serve::lossy::Lossy;
use crate::serve::options::{ServeKind, ServeOptions, StallOptions};
use crate::serve::serving_thread::ServingThread;
use crate::serve::stall::Stalls;
use crate::serve::stop::Stopper;
use crate::serve::tally::{Board, ServerTotals};

/// Backlog of the listeners. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: u32 = 4_096;

/// Pause after a failed accept, so that the retries do not become a busy loop.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until SIGINT, SIGTERM or, with `exit_with_stdin`, the end of stdin.
pub(crate) fn run(options: &ServeOptions) -> Result<(), Error> {
    raise_file_limit(options)?;
    let threads_count = options.threads as usize;
    let stop = Stopper::new(threads_count);
    let stopper = stop.clone();
    signals::watch(move |_signal| stopper.stop())?;
    if options.exit_with_stdin {
        watch_stdin(stop.clone())?;
    }
    if options.threads > 1 {
        refuse_shared_port(&options.listen)?;
    }
    let board = Board::new(threads_count);
    // Before the threads start, so that all of them stall at the same times.
    let stalls = match &options.kind {
        ServeKind::Stall(stall) => Some(Stalls::from_now(stall.stall_for, stall.stall_every)),
        ServeKind::Echo { .. }
        | ServeKind::Http { .. }
        | ServeKind::Ws
        | ServeKind::Sink { .. }
        | ServeKind::Lossy(_) => None,
    };
    let (announcement, threads) = start_all(options, stalls, &board, &stop)?;
    print(&announcement.to_string())?;
    if let Some(stalls) = stalls {
        print(&format!("{}\n", stalls.describe()))?;
    }
    for thread in threads {
        join(thread)?;
    }
    let end = EndLine { kind: options.kind.name(), totals: board.totals() };
    let end = serde_json::to_string(&end).expect("numbers and names");
    print(&format!("{end}\n"))
}

/// The last line of a server's output.
#[derive(Debug, Serialize)]
struct EndLine {
    kind: &'static str,
    #[serde(flatten)]
    totals: ServerTotals,
}

fn raise_file_limit(options: &ServeOptions) -> Result<(), Error> {
    let files = FileLimit::raise().map_err(|error| {
        Error::could_not_run(format!("cannot raise the limit of open files: {error}"))
    })?;
    if files.soft < u64::from(options.connections) {
        to_stderr(format_args!(
            "loadtest: the limit of {} open files is too low for {} connections",
            files.soft, options.connections
        ));
    }
    Ok(())
}

/// Checks that no other server uses the port.
///
/// Listeners with SO_REUSEPORT could share it with another server, which would silently take a part
/// of the connections. An exclusive bind detects that.
fn refuse_shared_port(address: &Address) -> Result<(), Error> {
    let Address::Tcp(addr) = address else { return Ok(()) };
    std::net::TcpListener::bind(addr).map(drop).map_err(|error| cannot_listen(address, &error))
}

fn cannot_listen(addr: &Address, error: &io::Error) -> Error {
    Error::could_not_run(format!("cannot listen on {addr}: {error}"))
}

/// Parameters of a serving thread.
struct ThreadSpec {
    index: usize,
    address: Address,
    options: ServeOptions,
    stalls: Option<Stalls>,
    board: Board,
    stop: Stopper,
}

type ThreadHandle = JoinHandle<Result<(), Error>>;

fn start_all(
    options: &ServeOptions,
    stalls: Option<Stalls>,
    board: &Board,
    stop: &Stopper,
) -> Result<(Announcement, Vec<ThreadHandle>), Error> {
    let spec = |index, address: &Address| {
        let (options, board, stop) = (options.clone(), board.clone(), stop.clone());
        ThreadSpec { index, address: address.clone(), options, stalls, board, stop }
    };
    let (thread, first) = start(spec(0, &options.listen))?;
    let mut threads = vec![thread];
    for index in 1..options.threads as usize {
        // With port 0 the first thread picks a port, and the others share it.
        let (thread, other) = start(spec(index, &first.addr))?;
        if other.driver.kind != first.driver.kind {
            let (first, other) = (first.driver.headline(), other.driver.headline());
            return Err(Error::could_not_run(format!(
                "thread {index} would run on {other}, but the first one runs on {first} \
                 (see --driver)"
            )));
        }
        threads.push(thread);
    }
    Ok((first, threads))
}

/// Starts a thread and waits until it listens.
fn start(spec: ThreadSpec) -> Result<(ThreadHandle, Announcement), Error> {
    let (ready, announcement) = mpsc::sync_channel(1);
    let name = format!("serve-{}", spec.index);
    let thread = thread::Builder::new()
        .name(name)
        .spawn(move || {
            // If this thread ends for any reason, the whole server stops.
            let _stop_with_me = StopOnDrop(spec.stop.clone());
            serve(&spec, ready)
        })
        .map_err(|error| Error::could_not_run(format!("cannot start a thread: {error}")))?;
    match announcement.recv() {
        Ok(announcement) => Ok((thread, announcement)),
        Err(_gone) => Err(join(thread).expect_err("it ended before it listened")),
    }
}

struct StopOnDrop(Stopper);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn join(thread: ThreadHandle) -> Result<(), Error> {
    thread.join().unwrap_or_else(|_panic| Err(Error::could_not_run("a serving thread panicked")))
}

/// The body of a thread: listens, sends its announcement, accepts until the server stops.
fn serve(spec: &ThreadSpec, ready: SyncSender<Announcement>) -> Result<(), Error> {
    let ThreadSpec { index, address, options, stalls: _, board, stop } = spec;
    let threads_count = options.threads as usize;
    let runtime = ringloop::Builder::new()
        .driver(options.driver.choice())
        .connections_expected(options.connections.div_ceil(options.threads))
        .on_unhandled(|unhandled| match unhandled {
            // The peer closed before it had read everything. That is not reported.
            Unhandled::BackgroundClose { .. } => {}
            unhandled => to_stderr(format_args!("loadtest: {unhandled}")),
        })
        .build()
        .map_err(|error| Error::could_not_run(error.to_string()))?;
    runtime.block_on(async {
        let failed = |error: io::Error| cannot_listen(address, &error);
        let listener = listen(address, options.threads > 1).map_err(failed)?;
        let addr = listener.address(address).map_err(failed)?;
        let driver = DriverUsed::new(ringloop::Handle::current().driver(), options.driver);
        ready.send(Announcement { addr, driver }).expect("`start` waits");
        let worker = Rc::new(ServingThread { index: *index, threads_count, board: board.clone() });
        spawn_acceptor(spec, listener, worker);
        stop.stopped(*index).await;
        Ok(())
    })
}

fn listen(address: &Address, is_shared: bool) -> io::Result<Listener> {
    match address {
        Address::Tcp(addr) => {
            let builder = TcpListener::builder().backlog(BACKLOG).reuse_port(is_shared);
            builder.bind(*addr).map(Listener::Tcp)
        }
        Address::Unix(path) => UnixListener::bind(path).map(Listener::Unix),
    }
}

fn spawn_acceptor(spec: &ThreadSpec, listener: Listener, worker: Rc<ServingThread>) {
    match spec.options.kind.clone() {
        ServeKind::Echo { size } => {
            accept(listener, worker, move |stream, worker, _| echo::serve(stream, worker, size));
        }
        ServeKind::Http { size } => {
            let http = Rc::new(HttpServer::new(Rc::clone(&worker), size));
            accept(listener, worker, move |stream, _, _| Rc::clone(&http).serve(stream));
        }
        ServeKind::Ws => accept(listener, worker, |stream, worker, _| ws::serve(stream, worker)),
        ServeKind::Sink { size } => {
            accept(listener, worker, move |stream, worker, _| sink::serve(stream, worker, size));
        }
        ServeKind::Stall(StallOptions { size, .. }) => {
            let stalls = spec.stalls.expect("`run` has made the schedule");
            accept(listener, worker, move |stream, worker, _| {
                stall::serve(stream, worker, size, stalls)
            });
        }
        ServeKind::Lossy(options) => {
            let lossy = Rc::new(Lossy::new(Rc::clone(&worker), options));
            accept(listener, worker, move |stream, _, connection| {
                Rc::clone(&lossy).serve(stream, connection)
            });
        }
    }
}

/// Runs `serve` as a task for every accepted connection. Its last argument is the unique number of
/// the connection.
fn accept<S, F>(listener: Listener, worker: Rc<ServingThread>, serve: S)
where
    S: Fn(Stream, Rc<ServingThread>, u64) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let accept_all = async move {
        let mut number = worker.index as u64;
        loop {
            match listener.accept().await {
                Ok(stream) => {
                    worker.tally().connected();
                    drop(ringloop::spawn(serve(stream, Rc::clone(&worker), number)));
                    number += worker.threads_count as u64;
                }
                Err(error) => {
                    to_stderr(format_args!("loadtest: accept: {error}"));
                    ringloop::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    };
    drop(ringloop::spawn(accept_all));
}

/// Prints a text on stdout and flushes it, also to a pipe. The text is written in one piece,
/// because a reader may close the pipe after the first line.
fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    match printed {
        // The reader has closed the pipe, which is not a failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|error| Error::could_not_run(format!("cannot print: {error}"))),
    }
}

/// Stops the server when stdin ends: the parent process has ended, or it requests the counters.
fn watch_stdin(stop: Stopper) -> Result<(), Error> {
    let watcher = move || {
        let mut scratch = [0; 64];
        while io::stdin().lock().read(&mut scratch).is_ok_and(|len| len > 0) {}
        stop.stop();
    };
    match thread::Builder::new().name("stdin".to_owned()).spawn(watcher) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::could_not_run(format!("cannot watch stdin: {error}"))),
    }
}
