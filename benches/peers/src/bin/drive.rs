//! The load generator: a closed loop over many connections, with one message in flight on each.
//!
//! # A run
//!
//! 1. **Ramp.** Connections are opened, at most [`RAMP_IN_FLIGHT_MAX`] between their `connect` and
//!    their first echo, so that the server's backlog does not fill. A connection with one echo then
//!    waits for the others.
//! 2. **Warm-up.** All connections start at once, for `--warmup` seconds that are not counted.
//! 3. **Window.** `-d` seconds. The server's CPU time and the number of messages are read at its
//!    start and at its end, with all connections open and busy.
//!
//! The length and the content of every echo are checked: a message carries the number of its
//! connection and its own, so bytes on the wrong connection, duplicates and bytes in the wrong
//! order are errors. A connection with an error is closed and not replaced.
//!
//! **Absent on purpose.** ringloop and io_uring: the generator uses epoll and std only.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use peers::args::{self, Args};
use peers::histogram::Histogram;
use peers::process;
use peers::report::{Report, ServerUse};
use peers::sys::{self, EDGES, Epoll, Events, HUNG_UP};

const USAGE: &str = "usage: drive ADDR [-c CONNECTIONS] [-d SECONDS] [-s BYTES] \
[--warmup SECONDS] [--pid SERVER_PID]";

const EVENTS_MAX: usize = 256;
const RAMP_IN_FLIGHT_MAX: usize = 256;
const RAMP_LIMIT: Duration = Duration::from_secs(30);
const SCRATCH_LEN: usize = 64 * 1024;
/// The number of errors that are printed. Further ones are counted only.
const ERRORS_PRINTED_MAX: u64 = 5;
/// Descriptors that are not connections: standard streams, epoll, `/proc`.
const FILES_RESERVED: u64 = 16;

struct Options {
    addr: SocketAddr,
    connections: usize,
    window: Duration,
    warmup: Duration,
    size: usize,
    pid: Option<u32>,
}

fn main() -> ExitCode {
    args::exit_code(run())
}

fn run() -> io::Result<ExitCode> {
    let options = parse();
    let files_max = sys::raise_open_files()?;
    if options.connections as u64 + FILES_RESERVED > files_max {
        let text = format!(
            "{} connections with {files_max} open files: raise `ulimit -Hn`",
            options.connections
        );
        return Err(io::Error::other(text));
    }
    let report = Drive::new(&options)?.run()?;
    println!("{}", report.to_json());
    let clean = report.errors == 0 && report.served == report.connections;
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn parse() -> Options {
    let mut addr = None;
    let mut connections = 100;
    let (mut window_s, mut warmup_s) = (2.0, 0.5);
    let mut size = 64;
    let mut pid = None;
    let mut args = Args::new(USAGE);
    while let Some(arg) = args.take() {
        match arg.as_str() {
            "-c" => connections = args.value(&arg),
            "-d" => window_s = args.value(&arg),
            "-s" | "--size" => size = args.value(&arg),
            "--warmup" => warmup_s = args.value(&arg),
            "--pid" => pid = Some(args.value(&arg)),
            _ => match arg.parse() {
                Ok(parsed) if addr.is_none() => addr = Some(parsed),
                _ => args.reject(&format!("{arg}?")),
            },
        }
    }
    let Some(addr) = addr else {
        args.reject("ADDR is missing")
    };
    if connections == 0 || size == 0 {
        args.reject("-c and -s must not be 0");
    }
    let seconds = |name: &str, value: f64| match Duration::try_from_secs_f64(value) {
        Ok(duration) => duration,
        Err(error) => args.reject(&format!("{name} {value}: {error}")),
    };
    let (window, warmup) = (seconds("-d", window_s), seconds("--warmup", warmup_s));
    Options {
        addr,
        connections,
        window,
        warmup,
        size,
        pid,
    }
}

struct Drive<'a> {
    options: &'a Options,
    epoll: Epoll,
    /// By token. A token is used once, so an event cannot reach the wrong connection.
    conns: Vec<Option<Conn>>,
    bench: Bench,
}

/// The state that all connections share.
struct Bench {
    phase: Phase,
    /// Connections that have received one echo, or have failed before it.
    settled_count: usize,
    served: u64,
    messages: u64,
    errors: u64,
    latencies_ns: Histogram,
    message: Message,
    scratch: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// A connection pauses after its first echo.
    Ramp,
    /// A connection sends its next message at once.
    Loop,
}

struct Conn {
    token: usize,
    stream: TcpStream,
    stage: Stage,
    /// Number and start time of the message in flight.
    sequence: u32,
    started: Instant,
    sent_len: usize,
    received_len: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Connecting,
    /// Connected, before the first echo.
    Fresh,
    Served,
}

impl<'a> Drive<'a> {
    fn new(options: &'a Options) -> io::Result<Self> {
        Ok(Self {
            options,
            epoll: Epoll::new()?,
            conns: Vec::with_capacity(options.connections),
            bench: Bench {
                phase: Phase::Ramp,
                settled_count: 0,
                served: 0,
                messages: 0,
                errors: 0,
                latencies_ns: Histogram::default(),
                message: Message::new(options.size),
                scratch: vec![0; SCRATCH_LEN],
            },
        })
    }

    fn run(mut self) -> io::Result<Report> {
        self.ramp()?;

        self.bench.phase = Phase::Loop;
        for token in 0..self.conns.len() {
            self.with_conn(token, |conn, bench| conn.start(bench, Instant::now()));
        }
        self.pump_until(Instant::now() + self.options.warmup)?;

        self.bench.messages = 0;
        self.bench.latencies_ns.clear();
        let cpu_begin_ns = self.options.pid.map(process::cpu_ns).transpose()?;
        let begin = Instant::now();
        self.pump_until(begin + self.options.window)?;
        let window = begin.elapsed();
        let server = match (self.options.pid, cpu_begin_ns) {
            (Some(pid), Some(cpu_begin_ns)) => Some(ServerUse {
                cpu_ns: process::cpu_ns(pid)?.saturating_sub(cpu_begin_ns),
                rss_kib: process::rss_kib(pid)?,
            }),
            _ => None,
        };

        let percentile_us = |share| self.bench.latencies_ns.percentile(share) as f64 / 1e3;
        Ok(Report {
            connections: self.options.connections as u64,
            served: self.bench.served,
            messages: self.bench.messages,
            errors: self.bench.errors,
            seconds: window.as_secs_f64(),
            p50_us: percentile_us(0.50),
            p99_us: percentile_us(0.99),
            p999_us: percentile_us(0.999),
            server,
        })
    }

    /// Opens all connections and waits until each has received one echo, or has failed.
    fn ramp(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let deadline = Instant::now() + RAMP_LIMIT;
        loop {
            while self.conns.len() < self.options.connections
                && self.conns.len() - self.bench.settled_count < RAMP_IN_FLIGHT_MAX
            {
                self.connect();
            }
            if self.bench.settled_count == self.options.connections {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.epoll.wait(&mut events, whole_ms(left))?;
            self.act(&events);
        }
        for token in 0..self.conns.len() {
            self.with_conn(token, |conn, _| match conn.stage {
                Stage::Served => Ok(()),
                Stage::Connecting | Stage::Fresh => {
                    Err(io::Error::other("no echo in the time of the ramp"))
                }
            });
        }
        Ok(())
    }

    fn connect(&mut self) {
        let token = self.conns.len();
        let opened = sys::start_connect(self.options.addr).and_then(|stream| {
            self.epoll.add(stream.as_raw_fd(), EDGES, token as u64)?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => self.conns.push(Some(Conn {
                token,
                stream,
                stage: Stage::Connecting,
                sequence: 0,
                started: Instant::now(),
                sent_len: 0,
                received_len: 0,
            })),
            Err(error) => {
                self.conns.push(None);
                self.bench.note_error(token, Stage::Connecting, &error);
            }
        }
    }

    fn pump_until(&mut self, end: Instant) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.epoll.wait(&mut events, whole_ms(left))?;
            self.act(&events);
        }
    }

    fn act(&mut self, events: &Events) {
        for (token, bits) in events.iter() {
            self.with_conn(token as usize, |conn, bench| conn.on_ready(bits, bench));
        }
    }

    /// Runs `step` on a connection that is open, and closes the connection if it fails.
    fn with_conn(
        &mut self,
        token: usize,
        step: impl FnOnce(&mut Conn, &mut Bench) -> io::Result<()>,
    ) {
        let Some(conn) = self.conns[token].as_mut() else {
            return;
        };
        if let Err(error) = step(conn, &mut self.bench) {
            self.bench.note_error(token, conn.stage, &error);
            self.conns[token] = None;
        }
    }
}

impl Conn {
    fn on_ready(&mut self, bits: i32, bench: &mut Bench) -> io::Result<()> {
        if self.stage == Stage::Connecting {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            self.stage = Stage::Fresh;
            self.start(bench, Instant::now())?;
        } else {
            self.send(bench)?;
        }
        self.receive(bits, bench)
    }

    fn start(&mut self, bench: &mut Bench, now: Instant) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.started = now;
        self.sent_len = 0;
        self.received_len = 0;
        self.send(bench)
    }

    /// Sends the rest of the message, until all of it is sent or the socket blocks.
    fn send(&mut self, bench: &mut Bench) -> io::Result<()> {
        if self.sent_len == bench.message.len() {
            return Ok(());
        }
        let bytes = bench.message.of(self.token, self.sequence);
        while self.sent_len < bytes.len() {
            match self.stream.write(&bytes[self.sent_len..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => self.sent_len += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Receives until the socket is empty.
    fn receive(&mut self, bits: i32, bench: &mut Bench) -> io::Result<()> {
        loop {
            let len = match self.stream.read(&mut bench.scratch) {
                Ok(0) => return Err(io::Error::other("closed by the server")),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.check(len, bench)?;
            // A partly filled buffer has emptied the socket, and later bytes are a new edge; but
            // an end of the stream that came with these bytes is not.
            if len < bench.scratch.len() && bits & HUNG_UP == 0 {
                return Ok(());
            }
        }
    }

    /// Compares `len` received bytes with the sent ones. A complete echo is counted, and followed
    /// by the next message unless connections are still being opened.
    fn check(&mut self, len: usize, bench: &mut Bench) -> io::Result<()> {
        let end = self.received_len + len;
        if end > self.sent_len {
            let sent_len = self.sent_len;
            return Err(io::Error::other(format!(
                "{end} bytes echoed of {sent_len} sent"
            )));
        }
        let sent = bench.message.of(self.token, self.sequence);
        if bench.scratch[..len] != sent[self.received_len..end] {
            return Err(io::Error::other("the echo differs from the sent bytes"));
        }
        self.received_len = end;
        if end < sent.len() {
            return Ok(());
        }
        let now = Instant::now();
        bench.note_echo(now - self.started, self.stage);
        self.stage = Stage::Served;
        match bench.phase {
            Phase::Ramp => Ok(()),
            Phase::Loop => self.start(bench, now),
        }
    }
}

impl Bench {
    fn note_echo(&mut self, latency: Duration, stage: Stage) {
        if stage == Stage::Fresh {
            self.served += 1;
            self.settled_count += 1;
        }
        self.messages += 1;
        self.latencies_ns
            .record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    fn note_error(&mut self, token: usize, stage: Stage, error: &io::Error) {
        if stage != Stage::Served {
            self.settled_count += 1;
        }
        self.errors += 1;
        if self.errors <= ERRORS_PRINTED_MAX {
            eprintln!("drive: connection {token}: {error}");
        }
    }
}

/// The bytes of a message: a pattern with the numbers of the connection and of the message.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(size: usize) -> Self {
        Self {
            bytes: (0..size).map(|index| (index % 251) as u8).collect(),
        }
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn of(&mut self, token: usize, sequence: u32) -> &[u8] {
        let mark = ((token as u64) << 32) | u64::from(sequence);
        let mark_len = self.bytes.len().min(size_of_val(&mark));
        // Little-endian, so that a message shorter than the mark has the bytes that change.
        self.bytes[..mark_len].copy_from_slice(&mark.to_le_bytes()[..mark_len]);
        &self.bytes
    }
}

/// Rounds up to milliseconds, so that the last wait is not a loop of zero timeouts.
fn whole_ms(left: Duration) -> i32 {
    i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
}
