//! Growth of costs with the number of idle operations, on a scripted ring.
//!
//! `RINGLOOP_GROWTH=1000000 cargo test --release -p ringloop --lib growth -- --nocapture` prints
//! the table for 10³, 10⁴, 10⁵ and 10⁶ operations; without the variable the sizes are smaller.
//! Counts (entries, checks, completions) must keep their bounds; times are printed.
//! `benches/growth` has the same for real descriptors, of which a process has too few for such
//! sizes. This part is here because a bench is linked to a library without test code: the scripted
//! ring would have to be part of every build, behind a hidden function.

#[path = "../../../benches/growth/table.rs"]
mod table;

use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;

use super::*;
use crate::driver::request::{Interest, Key, Request, Tag, Wait};
use crate::driver::uring::scripted::Submitted;
use crate::op::OpResult;
use crate::reactor::{Owner, Reactor};
use crate::sys::clock::thread_ns;
use table::{Cost, Growth, Table};

/// Sizes without `RINGLOOP_GROWTH`.
const SIZES: [u64; 3] = [1_000, 3_000, 10_000];

/// As by default.
const SUBMISSION_ENTRIES: u32 = 256;

/// The limit of pushes of one cancel or close: the request to end an operation, and the next
/// receive.
const ENTRIES_MAX: f64 = 2.0;

/// The limit of pushes of the end of a loop beside a cancel for each operation.
const ENTRIES_OF_DRIVER: u64 = 8;

/// The bounds of the number of operations of one check of the watchdog.
const LOOKS_PER_PASS: u64 = 32;
const LOOKS_MIN: u64 = 256;
const LOOKS_MAX: u64 = 4096;

/// The number of times that each cost is measured.
const REPEATS: u64 = 64;

/// An owner of any number of operations, which counts its calls.
struct Idle {
    fd: UnixStream,
    answers: Cell<u64>,
    looks: Cell<u64>,
}

impl Owner for Idle {
    fn complete(self: Rc<Self>, _tag: Tag, _answer: OpResult) {
        self.answers.set(self.answers.get() + 1);
    }

    fn abandon(self: Rc<Self>, _tag: Tag, _code: i32) {
        self.answers.set(self.answers.get() + 1);
    }

    fn watched(&self, _tag: Tag) -> Option<(RawFd, Interest)> {
        self.looks.set(self.looks.get() + 1);
        Some((self.fd.as_raw_fd(), Interest::Readable))
    }

    fn prepare(self: Rc<Self>) {}
}

/// A loop with `n` idle operations, and the peer of their descriptor.
struct Rig {
    script: Script,
    runtime: Runtime,
    owner: Rc<Idle>,
    /// Oldest first, until `any` mixes them.
    keys: VecDeque<Key>,
    _peer: UnixStream,
}

impl Rig {
    fn new(n: u64) -> Rig {
        let (script, runtime, _reports) =
            scripted_with(|builder| builder.ring_entries(SUBMISSION_ENTRIES, 4096));
        let (fd, peer) = UnixStream::pair().expect("a socket pair");
        let owner = Rc::new(Idle { fd, answers: Cell::new(0), looks: Cell::new(0) });
        let mut rig = Rig { script, runtime, owner, keys: VecDeque::new(), _peer: peer };
        for _ in 0..n {
            rig.add();
        }
        while rig.entries() < n {
            rig.turn();
        }
        rig
    }

    fn reactor(&self) -> &Reactor {
        &self.runtime.core.reactor
    }

    fn request(&self) -> Request {
        Request::Recv { fd: self.owner.fd.as_raw_fd(), poll_first: false }
    }

    fn add(&mut self) {
        let owner = Rc::clone(&self.owner) as Rc<dyn Owner>;
        let key = self.reactor().submit(owner, 1, self.request()).expect("an open loop");
        self.keys.push_back(key);
    }

    fn turn(&self) {
        self.reactor().fill_submission_queue().expect("a ring that works");
        self.reactor().wait(Wait::Poll).expect("a ring that works");
        self.reactor().expire_timers();
    }

    /// Entries that the kernel has consumed.
    fn entries(&self) -> u64 {
        self.script.log_len()
    }

    /// Runs `f` `REPEATS` times. It returns how long its part took; the median counts.
    fn measure(&mut self, count: fn(&Rig) -> u64, mut f: impl FnMut(&mut Rig) -> f64) -> Cost {
        let before = count(self);
        let mut all: Vec<f64> = (0..REPEATS).map(|_| f(self)).collect();
        all.sort_by(f64::total_cmp);
        let count = (count(self) - before) as f64 / REPEATS as f64;
        Cost { count, ns: all[all.len() / 2] }
    }

    /// Cancels an operation and waits for its end; then starts another.
    fn cancel(&mut self, key: Key) -> f64 {
        let answers = self.owner.answers.get();
        let ns = timed(|| {
            self.reactor().cancel(key);
            while self.owner.answers.get() == answers {
                self.turn();
            }
        });
        self.add();
        self.turn();
        ns
    }

    /// A stream that reads, from its `close()` to its end.
    fn close(&self, connect: impl AsyncFn(&Script) -> (TcpStream, UnixStream)) -> f64 {
        self.runtime.block_on(async {
            let (mut stream, _peer) = connect(&self.script).await;
            {
                let mut reading = pin!(stream.recv());
                let polled = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx).is_ready())).await;
                assert!(!polled, "nothing has been sent");
            }
            yield_now().await;
            let start_ns = thread_ns();
            stream.close().await.expect("an orderly end");
            (thread_ns() - start_ns) as f64
        })
    }
}

fn timed(f: impl FnOnce()) -> f64 {
    let start_ns = thread_ns();
    f();
    (thread_ns() - start_ns) as f64
}

/// A stream whose descriptor the program has never had.
async fn connected(script: &Script) -> (TcpStream, UnixStream) {
    let connecting = crate::spawn(TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, 9)));
    // Not by a search, which would leave a cold cache.
    let is_connect = |op: &Submitted| op.request.op_kind() == OpKind::Connect;
    let connect = loop {
        match script.newest().filter(is_connect) {
            Some(op) => break op,
            None => yield_now().await,
        }
    };
    script.complete(connect, 0, Flags::NONE);
    let stream = connecting.await.expect("a task that ends").expect("a connection");
    (stream, UnixStream::pair().expect("a socket pair").0)
}

fn measure_operations(table: &mut Table, n: u64) {
    use Growth::{Constant, Linear};
    let mut rig = Rig::new(n);

    let cost = rig.measure(Rig::entries, |rig| timed(|| rig.turn()));
    table.add(("a turn, nothing to do", "entries", Constant), n, cost);
    let cost = rig.measure(Rig::entries, |rig| {
        let key = rig.keys[rig.keys.len() / 2];
        let op = Submitted { user_data: key.raw(), request: rig.request() };
        rig.script.complete(op, 0, Flags::NONE.with_more());
        timed(|| rig.turn())
    });
    table.add(("a turn, one completion", "entries", Constant), n, cost);

    let cost = rig.measure(Rig::entries, |rig| {
        let key = rig.keys.pop_front().expect("many");
        rig.cancel(key)
    });
    table.add(("a cancel, the oldest", "entries", Constant), n, cost);
    let cost = rig.measure(Rig::entries, |rig| {
        let key = rig.keys.pop_back().expect("many");
        rig.cancel(key)
    });
    table.add(("a cancel, the newest", "entries", Constant), n, cost);
    let mut place = 12_345;
    let cost = rig.measure(Rig::entries, |rig| {
        place = (place * 7_919 + 1) % rig.keys.len();
        let key = rig.keys.swap_remove_back(place).expect("within the length");
        rig.cancel(key)
    });
    table.add(("a cancel, any", "entries", Constant), n, cost);

    let cost = rig.measure(Rig::entries, |rig| rig.close(connected));
    table.add(("a close, by shutdown", "entries", Constant), n, cost);
    let cost = rig.measure(Rig::entries, |rig| rig.close(async |_| stream()));
    table.add(("a close, by cancel", "entries", Constant), n, cost);
    assert!(table.count_max("entries") <= ENTRIES_MAX, "a cancel or a close\n{table}");

    rig.reactor().watch_from_now_on();
    rig.turn();
    let looks = |rig: &Rig| rig.owner.looks.get();
    let cost = rig.measure(looks, |rig| {
        rig.script.advance_ns(1_000 * MS);
        timed(|| rig.turn())
    });
    table.add(("a look of the watchdog", "looks", Linear), n, cost);
    let share = (n / LOOKS_PER_PASS).clamp(LOOKS_MIN, LOOKS_MAX);
    assert!(cost.count <= share as f64, "{} looks at once, not {share}", cost.count);

    let (script, owner) = (rig.script.clone(), Rc::clone(&rig.owner));
    let (entries, answers) = (rig.entries(), owner.answers.get());
    let ns = timed(|| drop(rig));
    assert_eq!(owner.answers.get() - answers, n, "an answer for each operation");
    let count = (script.log_len() - entries) as f64;
    assert!(count <= (n + ENTRIES_OF_DRIVER) as f64, "{count} entries to cancel {n} operations");
    table.add(("the end of the loop", "entries", Linear), n, Cost { count, ns });
}

/// The cost of cancelling `n` operations that wait for room in the submission queue.
fn measure_withdrawing(table: &mut Table, n: u64) {
    let mut rig = Rig::new(0);
    for _ in 0..n {
        rig.add();
    }
    let ns = timed(|| {
        rig.keys.iter().for_each(|&key| rig.reactor().cancel(key));
        while rig.owner.answers.get() < n {
            rig.turn();
        }
    });
    let entries_max = 4 * SUBMISSION_ENTRIES;
    assert!(rig.entries() <= entries_max.into(), "{} entries for nothing", rig.entries());
    let cost = Cost { count: n as f64, ns };
    table.add(("cancels of all that wait", "answers", Growth::Linear), n, cost);
}

/// The costs of one timer of `n`, the best of three runs.
fn measure_timers(table: &mut Table, n: u64) {
    let runs = [(); 3].map(|()| timers_ns(n));
    for (place, name) in ["a timer set", "a timer removed", "a timer expired"].iter().enumerate() {
        let ns = runs.iter().map(|run| run[place]).fold(f64::INFINITY, f64::min);
        table.add((name, "timers", Growth::Logarithmic), n, Cost { count: 1.0, ns });
    }
}

/// Sets `n` timers in a scattered order, removes half of them, and lets the others expire. Returns
/// the time per timer.
fn timers_ns(n: u64) -> [f64; 3] {
    let (script, runtime, _reports) = scripted();
    let reactor = &runtime.core.reactor;
    let start_ns = reactor.now_ns();
    let mut keys = VecDeque::new();
    let mut place = 12_345;
    let set_ns = timed(|| {
        for _ in 0..n {
            place = (place * 7_919 + 1) % n;
            keys.push_back(reactor.wake_at(start_ns + (1 + place) * US, Waker::noop()));
        }
    });
    let removed_count = keys.len() / 2;
    let removed_ns =
        timed(|| keys.drain(..removed_count).for_each(|key| reactor.remove_timer(key)));
    script.advance_ns((n + 1) * US);
    let expired_ns = timed(|| {
        let mut expired_count = 0;
        while expired_count < keys.len() {
            reactor.wait(Wait::Poll).expect("a ring that works");
            expired_count += reactor.expire_timers();
            reactor.deferred.run_wakers();
        }
    });
    let (removed, expired) = (removed_count as f64, keys.len() as f64);
    [set_ns / n as f64, removed_ns / removed, expired_ns / expired]
}

/// Goal: idle operations cost nothing: a turn, a cancel, a close and a check of the watchdog do the
/// same work with a million operations in flight as with a thousand, and the end of the loop the
/// same for each.
///
/// Method: count entries, checks and completions at three sizes or more; the exponent by least
/// squares.
///
/// Kills: a watchdog that checks all operations; a teardown that repeats every cancel; a cancel or
/// a close that submits twice.
#[test]
fn idle_operations_cost_nothing() {
    let largest = std::env::var("RINGLOOP_GROWTH").ok();
    let largest = largest.map(|text| text.parse::<u64>().expect("RINGLOOP_GROWTH is a number"));
    let sizes = match largest {
        None => SIZES.to_vec(),
        Some(largest) => {
            (3..).map(|power| 10u64.pow(power)).take_while(|&n| n <= largest).collect()
        }
    };
    assert!(sizes.len() > 1, "one size has no growth: RINGLOOP_GROWTH is 10000 or more");
    let mut table = Table::default();
    for n in sizes {
        measure_operations(&mut table, n);
        measure_withdrawing(&mut table, n);
        measure_timers(&mut table, n);
    }
    if largest.is_some() {
        println!("{table}");
    }
    table.check();
}
