//! Reference targets: servers to test against, and to test the tester with.
//!
//! ```text
//! options ▶ run (main thread) ── starts ──▶ thread × N: a loop, a listener (SO_REUSEPORT), tasks
//!            │   waits for all  ◀────────  stop ◀── SIGINT, SIGTERM, the end of stdin
//!            ▼
//!        one line of JSON: what the threads have counted (tally)
//! ```
//!
//! A server prints where it listens and on which driver once all of its threads do, nothing per
//! connection, and its counters when it has stopped.
//!
//! **Absent on purpose.** TLS: its cost is the server's, and no reference for anybody.

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

/// Asked of the kernel, which takes it down to `net.core.somaxconn`.
const BACKLOG: u32 = 4_096;

/// A listener that fails is asked again after this, not in a tight loop.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until SIGINT, SIGTERM or, if asked, the end of stdin.
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

/// The line that a server ends with.
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
            "loadtest: the limit of {} open files holds fewer than {} connections",
            files.soft, options.connections
        ));
    }
    Ok(())
}

/// A port that several listeners share may be shared with another server too, which would then take
/// a part of the connections without anybody noticing. So somebody must once have had it alone.
fn refuse_shared_port(address: &Address) -> Result<(), Error> {
    let Address::Tcp(addr) = address else { return Ok(()) };
    std::net::TcpListener::bind(addr).map(drop).map_err(|error| cannot_listen(address, &error))
}

fn cannot_listen(addr: &Address, error: &io::Error) -> Error {
    Error::could_not_run(format!("cannot listen on {addr}: {error}"))
}

/// What a thread needs to start.
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
        // Port 0: the first thread has picked one, the others join it there.
        let (thread, other) = start(spec(index, &first.addr))?;
        if other.driver.kind != first.driver.kind {
            let (first, other) = (first.driver.headline(), other.driver.headline());
            return Err(Error::could_not_run(format!(
                "thread {index} would run on {other}; the first one is on {first} (see --driver)"
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
            // However this thread ends, a server that serves in part must not go on.
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

/// A thread's work: listen, say where, accept until the server stops.
fn serve(spec: &ThreadSpec, ready: SyncSender<Announcement>) -> Result<(), Error> {
    let ThreadSpec { index, address, options, stalls: _, board, stop } = spec;
    let threads_count = options.threads as usize;
    let runtime = ringloop::Builder::new()
        .driver(options.driver.choice())
        .connections_expected(options.connections.div_ceil(options.threads))
        .on_unhandled(|unhandled| match unhandled {
            // The peer went away before it had read everything. That is its own matter.
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

/// Runs `serve` as a task for every connection that comes. Its last argument is a number that no
/// other connection has.
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

/// On stdout at once, even through a pipe, and in one piece: who reads the first line only may hang
/// up after it.
fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    match printed {
        // Whoever started us reads no more. That is no reason to fail.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|error| Error::could_not_run(format!("cannot print: {error}"))),
    }
}

/// Stops the server when stdin ends: whoever started us is gone, or wants the counters.
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
