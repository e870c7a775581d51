//! The run of a case: a loop that serves, a polite bystander, two waves of attackers, and the three
//! bounds.
//!
//! Everything runs on one thread. The attackers are plain sockets that act between the steps of the
//! bystander, so a turn of the loop happens only because something completed, and the number of
//! turns depends on the loop and not on the machine.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use ringloop::net::{TcpListener, TcpStream};
use ringloop::{Handle, Metrics, spawn};
use socket2::SockRef;

use crate::Driver;
use crate::common::{any_addr, open_fds, scaled, until};
use crate::counting::{live_bytes, peak_bytes, reset_peak};
use crate::serving;

/// The greatest factor of the bystander's latency.
const LATENCY_FACTOR: u64 = 2;

/// Exchanges of the bystander per measurement.
const ROUNDS: u64 = 16;

/// The number of acts of the attackers per exchange.
pub(crate) const STEPS: u64 = 4 * ROUNDS;

/// Size of the loop's receive buffers. A buffer that the program holds counts with its whole size.
const BUFFER_LEN: u32 = 4096;
const BUFFER_COUNT: u16 = 256;

/// The linger of closing streams: longer than any case, as every peer ends.
const LINGER: Duration = Duration::from_secs(3600);

/// The kernel's send buffer for an attacker. The kernel doubles it.
const SEND_BUFFER_BYTES: usize = 16 * 1024;

/// Operations of the bystander's last connection, which may still be closing when others are
/// counted.
const BYSTANDER_SLOTS: u64 = 4;

/// The bytes that a second wave may leave beyond the first: capacity of tables that grew because
/// operations overlapped in another order.
const SECOND_WAVE_BYTES: i64 = 16 * 1024;

/// One kind of attack.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) attackers: u64,
    pub(crate) bounds: Bounds,
    /// The function that serves an accepted connection.
    pub(crate) serve: fn(TcpStream) -> Pin<Box<dyn Future<Output = ()>>>,
    pub(crate) open: fn(&Stage) -> Box<dyn Attack>,
    /// Whether the bystander connects to the listener that is attacked.
    pub(crate) shares_listener: bool,
    /// Entries of the submission and the completion queue, if not the default.
    pub(crate) ring: Option<(u32, u32)>,
}

/// The greatest cost of one attacker.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes allocated, and of receive buffers that the program holds.
    pub(crate) bytes: u64,
    /// Operations in flight.
    pub(crate) slots: u64,
    /// Completions for each act of an attacker, beyond the bystander's.
    pub(crate) completions: u64,
}

/// The attackers of one wave. Dropping them ends what they have open.
pub(crate) trait Attack {
    /// Acts, between the steps of the bystander. Returns the number of acts: system calls that the
    /// loop can notice.
    fn act(&mut self) -> u64;

    /// Whether all attackers are connected.
    fn is_ready(&self) -> bool {
        true
    }

    /// Checks for traces of this kind of attack. Called at the end of a wave.
    fn check(&self) {}
}

/// Attackers that only open connections.
pub(crate) struct Still<T>(pub(crate) T);

impl<T> Attack for Still<T> {
    fn act(&mut self) -> u64 {
        0
    }
}

/// The target of an attack.
pub(crate) struct Stage {
    /// The listener to attack.
    pub(crate) addr: SocketAddr,
    pub(crate) attackers: u64,
    served: Rc<Cell<u64>>,
    serving: Rc<Cell<u64>>,
}

impl Stage {
    /// Runs a server's task and counts it.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let serving = Rc::clone(&self.serving);
        serving.set(serving.get() + 1);
        self.served.set(self.served.get() + 1);
        drop(spawn(async move {
            future.await;
            serving.set(serving.get() - 1);
        }));
    }

    /// The number of connections that have been served.
    pub(crate) fn served(&self) -> u64 {
        self.served.get()
    }

    pub(crate) fn share(&self) -> Stage {
        let (served, serving) = (Rc::clone(&self.served), Rc::clone(&self.serving));
        Stage { addr: self.addr, attackers: self.attackers, served, serving }
    }
}

/// The cost of the bystander's exchanges.
#[derive(Clone, Copy, Default)]
struct Cost {
    turns: u64,
    turns_worst: u64,
    completions: u64,
    acts: u64,
    /// The maximum between two exchanges.
    held_max: u64,
    in_flight_max: u64,
}

/// The measured cost of a case.
struct Measured {
    quiet: Cost,
    attacked: Cost,
    /// Per attacker.
    bytes: u64,
    slots: u64,
    pool_exhausted: u64,
    left_bytes: i64,
    reports: u64,
}

static ROWS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Adds a line to the table.
pub(crate) fn add_row(row: String) {
    ROWS.lock().unwrap_or_else(PoisonError::into_inner).push(row);
}

/// Prints the cost of every case.
pub(crate) fn print_table() {
    let rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    if rows.is_empty() {
        return;
    }
    println!(
        "\n| driver | case | attackers | bytes each (bound) | slots each (bound) \
         | turns, quiet → attacked (bound) | worst exchange (bound) \
         | completions for an act (bound) | ENOBUFS | reports | left |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    rows.iter().for_each(|row| println!("{row}"));
}

/// Runs a case on one driver.
pub(crate) fn run(on: Driver, case: &Case) {
    drop(on.runtime()); // allocates what is allocated once per thread or process
    let (fds, bytes) = (open_fds(), live_bytes());
    let reports = Rc::new(Cell::new(0));
    let counter = Rc::clone(&reports);
    let mut builder = on.builder();
    if let Some((submission, completion)) = case.ring {
        builder = builder.ring_entries(submission, completion);
    }
    let runtime = builder
        .recv_buffers(BUFFER_COUNT, BUFFER_LEN)
        .linger(LINGER)
        .on_unhandled(move |_| counter.set(counter.get() + 1))
        .build()
        .unwrap();
    let mut measured = runtime.block_on(conduct(case));
    measured.reports = reports.get();
    drop((runtime, reports));
    let left_bytes = live_bytes() - bytes;
    add_row(measured.row(on, case, left_bytes));
    assert_eq!(open_fds(), fds, "{}: descriptors are left", case.name);
    assert_eq!(left_bytes, 0, "{}: bytes are left", case.name);
    measured.check(case);
}

/// The main future of the case.
async fn conduct(case: &Case) -> Measured {
    let listener = TcpListener::bind(any_addr()).unwrap();
    // Accepted sockets inherit it. Otherwise the kernel would take megabytes for a peer that does
    // not read.
    SockRef::from(&listener).set_send_buffer_size(SEND_BUFFER_BYTES).unwrap();
    let (served, serving) = Default::default();
    let attackers = scaled(case.attackers).max(8);
    let stage = Stage { addr: listener.local_addr().unwrap(), attackers, served, serving };
    let accepting = spawn(accept(listener, case.serve, stage.share()));
    let polite = TcpListener::bind(any_addr()).unwrap();
    let own_addr = polite.local_addr().unwrap();
    let polite_stage = Stage { addr: own_addr, ..stage.share() };
    let accepting_polite = spawn(accept(polite, serving::echo_boxed, polite_stage));
    let addr = if case.shares_listener { stage.addr } else { own_addr };
    let mut bystander = Bystander::new(own_addr, addr).await;

    bystander.watch(&mut Still(())).await;
    reset_peak();
    let quiet = bystander.watch(&mut Still(())).await;
    let own_bytes = peak_bytes();
    until(|| stage.serving.get() == 1 && metrics().closing_streams == 0).await;
    let (before, live) = (metrics(), live_bytes());
    let mut measured = Measured::new(quiet);
    for wave in 0..2 {
        reset_peak();
        let mut attack = (case.open)(&stage);
        until(|| attack.is_ready()).await;
        settle().await;
        let cost = bystander.watch(&mut *attack).await;
        measured.take(cost, own_bytes, attackers);
        settle().await; // the last of the bystander's connections is being closed
        attack.check();
        drop(attack);
        end_wave();
        until(|| stage.serving.get() == 1 && is_within(&before, &metrics())).await;
        settle().await; // aborted tasks of the attack drop their locals
        let left = live_bytes() - live;
        if wave == 0 {
            measured.left_bytes = left;
        }
        let growth = left - measured.left_bytes;
        assert!(growth <= SECOND_WAVE_BYTES, "{}: {growth} bytes more a wave", case.name);
    }
    bystander.end().await;
    accepting.abort();
    accepting_polite.abort();
    until(|| is_within(&Metrics::default(), &metrics())).await;
    assert_eq!((metrics().stale_completions, metrics().spin_backoffs), (0, 0), "{}", case.name);
    measured
}

/// Serves every connection of a listener.
async fn accept(
    listener: TcpListener,
    serve: fn(TcpStream) -> Pin<Box<dyn Future<Output = ()>>>,
    stage: Stage,
) {
    loop {
        match listener.accept().await {
            Ok(stream) => stage.spawn(serve(stream)),
            Err(error) => panic!("accepting: {error}"),
        }
    }
}

thread_local! {
    static WAVES: Cell<u64> = const { Cell::new(0) };
    static WAITING: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// The current wave.
pub(crate) fn wave() -> u64 {
    WAVES.get()
}

/// Waits until the attackers of a wave have ended.
pub(crate) async fn end_of(wave: u64) {
    poll_fn(|cx| {
        if WAVES.get() != wave {
            return Poll::Ready(());
        }
        WAITING.with_borrow_mut(|waiting| waiting.push(cx.waker().clone()));
        Poll::Pending
    })
    .await;
}

fn end_wave() {
    WAVES.set(WAVES.get() + 1);
    WAITING.take().into_iter().for_each(Waker::wake);
}

fn metrics() -> Metrics {
    Handle::current().metrics()
}

/// Whether the numbers of operations, closing streams, timers and buffers are at most `before`.
fn is_within(before: &Metrics, now: &Metrics) -> bool {
    now.in_flight <= before.in_flight
        && now.closing_streams <= before.closing_streams
        && now.timers <= before.timers
        && now.buffers_held <= before.buffers_held
}

/// Lets the loop turn until there is no new completion twice in a row.
async fn settle() {
    let (mut last, mut same) = (metrics().completions, 0);
    while same < 16 {
        ringloop::task::yield_now().await;
        let now = metrics().completions;
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
}

/// A client that sends a request and reads the reply, repeatedly.
struct Bystander {
    stream: TcpStream,
    addr: SocketAddr,
}

impl Bystander {
    async fn new(own_addr: SocketAddr, addr: SocketAddr) -> Bystander {
        let mut stream = TcpStream::connect(own_addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for _ in 0..ROUNDS {
            exchange(&mut stream).await;
        }
        Bystander { stream, addr }
    }

    /// Exchanges, each with an attack at every step: on a connection that has been there all the
    /// time, and the life of another one.
    async fn watch(&mut self, attack: &mut dyn Attack) -> Cost {
        let mut cost = Cost::default();
        for _ in 0..ROUNDS {
            let before = metrics();
            cost.acts += attack.act();
            exchange(&mut self.stream).await;
            cost.acts += attack.act();
            let mut stream = TcpStream::connect(self.addr).await.unwrap();
            cost.acts += attack.act();
            stream.write_all(b"hello").await.unwrap();
            let first = stream.recv().await.unwrap();
            assert!(!first.is_empty(), "a bystander's connection has ended");
            drop(first);
            cost.acts += attack.act();
            stream.close().await.unwrap();
            let turns = metrics().turns - before.turns;
            cost.turns += turns;
            cost.turns_worst = cost.turns_worst.max(turns);
            let now = metrics();
            cost.completions += now.completions - before.completions;
            cost.held_max = cost.held_max.max(now.buffers_held);
            cost.in_flight_max = cost.in_flight_max.max(now.in_flight);
        }
        cost
    }

    async fn end(self) {
        self.stream.close().await.unwrap();
    }
}

async fn exchange(stream: &mut TcpStream) {
    let mut reply = [0; 64];
    stream.write_all(&[7; 64]).await.unwrap();
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, [7; 64], "a bystander's reply");
}

impl Measured {
    fn new(quiet: Cost) -> Measured {
        let attacked = Cost::default();
        Measured {
            quiet,
            attacked,
            bytes: 0,
            slots: 0,
            pool_exhausted: 0,
            left_bytes: 0,
            reports: 0,
        }
    }

    /// Adds the cost of one wave. The worse of two counts.
    fn take(&mut self, cost: Cost, own_bytes: i64, attackers: u64) {
        let held = cost.held_max.saturating_sub(self.quiet.held_max) * u64::from(BUFFER_LEN);
        let allocated = u64::try_from(peak_bytes() - own_bytes).unwrap_or(0);
        self.bytes = self.bytes.max((allocated + held).div_ceil(attackers));
        let quiet_slots = self.quiet.in_flight_max + BYSTANDER_SLOTS;
        let slots = cost.in_flight_max.saturating_sub(quiet_slots);
        self.slots = self.slots.max(slots.div_ceil(attackers));
        self.pool_exhausted = metrics().pool_exhausted;
        if cost.turns > self.attacked.turns {
            self.attacked = cost;
        }
    }

    /// Completions beyond twice the bystander's, for each act.
    fn completions_per_act(&self) -> u64 {
        let beyond =
            self.attacked.completions.saturating_sub(LATENCY_FACTOR * self.quiet.completions);
        beyond.div_ceil(self.attacked.acts.max(1))
    }

    fn row(&self, on: Driver, case: &Case, left_bytes: i64) -> String {
        let Bounds { bytes, slots, completions } = case.bounds;
        format!(
            "| {} | {} | {} | {} ({bytes}) | {} ({slots}) | {} → {} ({}) | {} → {} ({}) \
             | {} ({completions}) | {} | {} | {left_bytes} |",
            on.name(),
            case.name,
            scaled(case.attackers).max(8),
            self.bytes,
            self.slots,
            self.quiet.turns,
            self.attacked.turns,
            LATENCY_FACTOR * self.quiet.turns,
            self.quiet.turns_worst,
            self.attacked.turns_worst,
            LATENCY_FACTOR * self.quiet.turns_worst,
            self.completions_per_act(),
            self.pool_exhausted,
            self.reports,
        )
    }

    #[track_caller]
    fn check(&self, case: &Case) {
        let Bounds { bytes, slots, completions } = case.bounds;
        let name = case.name;
        assert!(self.bytes <= bytes, "{name}: {} bytes per attacker, not {bytes}", self.bytes);
        assert!(self.slots <= slots, "{name}: {} slots per attacker, not {slots}", self.slots);
        let per_act = self.completions_per_act();
        assert!(
            per_act <= completions,
            "{name}: {per_act} completions for an act, not {completions}"
        );
        let (quiet, attacked) = (self.quiet, self.attacked);
        for (what, quiet, attacked) in [
            ("turns of all exchanges", quiet.turns, attacked.turns),
            ("turns of the worst exchange", quiet.turns_worst, attacked.turns_worst),
        ] {
            assert!(
                attacked <= LATENCY_FACTOR * quiet,
                "{name}: {what}: {attacked} under attack, {quiet} without"
            );
        }
    }
}
