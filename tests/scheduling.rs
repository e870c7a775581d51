//! Scheduling: order, turns, fairness.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use common::{Gate, LIMIT, compute, poll_once, run, std_pair, turn, turns, until, within};
use ringloop::task::yield_now;
use ringloop::time::{Instant, sleep, sleep_until, timeout_at};
use ringloop::{Handle, Runtime, call_soon, spawn};

/// Goal: tasks and callbacks run in the order in which they became ready (A1).
///
/// Method: tasks, callbacks and wakes in one poll, in a mixed order.
///
/// Kills: a queue per kind; a slot for the last one woken; wakes before spawns.
#[test]
fn ready_work_runs_in_order() {
    run(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let push = |number| {
            let order = Rc::clone(&order);
            move || order.borrow_mut().push(number)
        };
        let gates: Vec<_> = (0..2).map(|_| Rc::new(Gate::default())).collect();
        for (gate, number) in gates.iter().zip([2, 5]) {
            let (gate, push) = (Rc::clone(gate), push(number));
            spawn(async move {
                gate.wait().await;
                push();
            });
        }
        turns(2).await;

        let spawn_push = |number| {
            let push = push(number);
            spawn(async move { push() });
        };
        spawn_push(0);
        call_soon(push(1));
        gates[0].open();
        spawn_push(3);
        call_soon(push(4));
        gates[1].open();
        let cancelled = call_soon(push(99));
        spawn_push(6);
        cancelled.cancel();
        turns(2).await;
        assert_eq!(*order.borrow(), [0, 1, 2, 3, 4, 5, 6]);
    });
}

/// Goal: work that is scheduled during a turn runs in the next turn (A2).
///
/// Method: chains of callbacks and of tasks that record their turn.
///
/// Kills: running until the queue is empty; a spawn that polls at once.
#[test]
fn new_work_waits_for_the_next_turn() {
    run(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let (in_calls, in_tasks) = (Rc::clone(&seen), Rc::clone(&seen));
        let start = turn();
        call_soon(move || {
            in_calls.borrow_mut().push(turn() - start);
            let in_calls = Rc::clone(&in_calls);
            call_soon(move || in_calls.borrow_mut().push(turn() - start));
        });
        spawn(async move {
            in_tasks.borrow_mut().push(turn() - start);
            let nested = Rc::clone(&in_tasks);
            spawn(async move { nested.borrow_mut().push(turn() - start) });
            yield_now().await;
            in_tasks.borrow_mut().push(turn() - start);
        });
        assert!(seen.borrow().is_empty(), "run inline");
        turns(4).await;
        assert_eq!(*seen.borrow(), [1, 1, 2, 2, 2]);
    });
}

/// Tasks that wake themselves in every turn, until the counter is dropped.
fn spawn_self_wakers(count: usize) -> Rc<()> {
    let alive = Rc::new(());
    for _ in 0..count {
        let alive = Rc::downgrade(&alive);
        spawn(poll_fn(move |cx| {
            if alive.strong_count() == 0 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
    }
    alive
}

/// Goal: a hundred tasks that wake themselves starve no socket (A3), and a yield lets I/O complete
/// within a few turns (A6).
///
/// Method: round trips with a blocking peer; the turns that each side of one takes are counted.
///
/// Kills: reading completions only when no task is ready; submitting only before a sleep.
#[test]
fn busy_tasks_do_not_starve_sockets() {
    run(async {
        let _busy = spawn_self_wakers(100);
        let (mut stream, mut peer) = std_pair();
        for _ in 0..100 {
            peer.write_all(b"ping").unwrap();
            let start = turn();
            assert_eq!(&*stream.recv().await.unwrap(), b"ping");
            assert!(turn() - start <= 3, "{} turns to receive", turn() - start);
            stream.write_all(b"pong").await.unwrap();
            turns(2).await; // enough to send it: the read below blocks this thread
            let mut reply = [0; 4];
            peer.read_exact(&mut reply).unwrap();
        }
    });
}

/// Goal: a hundred tasks that wake themselves delay no timer by more than a turn (A4).
///
/// Method: one of them records the first turn in which a deadline has passed; the sleeper must run
/// in that turn or the next two.
///
/// Kills: expiring timers only after a sleep of the loop.
#[test]
fn busy_tasks_do_not_starve_timers() {
    run(async {
        let _busy = spawn_self_wakers(100);
        for _ in 0..20 {
            let deadline = Instant::now() + Duration::from_millis(2);
            let sleeper = spawn(async move {
                sleep_until(deadline).await;
                turn()
            });
            until(|| Instant::now() >= deadline).await;
            let passed_at = turn();
            let woken_at = sleeper.await.unwrap();
            assert!(woken_at <= passed_at + 2, "{woken_at}, due {passed_at}");
        }
    });
}

/// Goal: a task whose reads are always ready yields after every 128 of them (A7).
///
/// Method: read 4 096 received bytes one at a time, and count per turn; another task counts turns.
///
/// Kills: a read that does not spend the budget; a budget that is not refilled, or is refilled
/// within a poll.
#[test]
fn an_always_ready_task_yields_every_128_operations() {
    run(async {
        let (mut stream, mut peer) = std_pair();
        assert!(poll_once(pin!(stream.recv())).await.is_pending());
        peer.write_all(&[7; 4096]).unwrap();
        turns(3).await;
        let others = Rc::new(Cell::new(0));
        let counter = Rc::clone(&others);
        spawn(async move {
            loop {
                counter.set(counter.get() + 1);
                yield_now().await;
            }
        });
        let reader = spawn(async move {
            let mut per_turn = Vec::<(u64, u32)>::new();
            for _ in 0..4096 {
                stream.read(&mut [0]).await.unwrap();
                match per_turn.last_mut() {
                    Some((number, count)) if *number == turn() => *count += 1,
                    _ => per_turn.push((turn(), 1)),
                }
            }
            per_turn
        });
        let per_turn = reader.await.unwrap();
        let counts: Vec<u32> = per_turn.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [128; 32]);
        assert!(others.get() >= 32, "the other task ran {}×", others.get());
    });
}

/// Goal: a deadline ends a future that uses up its whole budget in every poll (A8), also in a
/// hand-written select.
///
/// Method: a peer that floods; a reader that does not stop, under `timeout` and beside a sleep.
///
/// Kills: a deadline that is pending because the reader has spent the budget.
#[test]
fn a_deadline_ends_an_always_ready_future() {
    run(async {
        let (mut stream, peer) = std_pair();
        let mut writer = peer.try_clone().unwrap();
        let flood = std::thread::spawn(move || while writer.write_all(&[1; 65536]).is_ok() {});
        let deadline = Instant::now() + Duration::from_millis(20);
        let passed_at = Cell::new(None);
        let reading = async {
            loop {
                stream.read(&mut [0]).await.unwrap();
                if passed_at.get().is_none() && Instant::now() >= deadline {
                    passed_at.set(Some(turn()));
                }
            }
        };
        let ended: Result<(), _> = timeout_at(deadline, reading).await;
        assert!(ended.is_err());
        let late = passed_at.get().map_or(0, |at| turn() - at);
        assert!(late <= 2, "{late} turns after its deadline");

        let mut deadline = pin!(sleep(Duration::from_millis(20)));
        loop {
            let mut buf = [0];
            let mut read = pin!(stream.read(&mut buf));
            let is_over = poll_fn(|cx| match deadline.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending => read.as_mut().poll(cx).map(|_| false),
            });
            if is_over.await {
                break;
            }
        }
        peer.shutdown(Shutdown::Both).unwrap();
        flood.join().unwrap();
    });
}

/// Counts the polls of a future.
struct CountPolls<F> {
    future: Pin<Box<F>>,
    polls: Rc<Cell<u32>>,
}

impl<F: Future> Future for CountPolls<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.set(self.polls.get() + 1);
        self.future.as_mut().poll(cx)
    }
}

fn counted<F: Future>(future: F) -> (CountPolls<F>, Rc<Cell<u32>>) {
    let polls = Rc::default();
    let future = Box::pin(future);
    let counting = Rc::clone(&polls);
    (CountPolls { future, polls: counting }, polls)
}

/// Goal: one wake is one poll: several wakes before the poll are one, and no poll is without a wake
/// (A10).
///
/// Method: count polls of a task that is woken three times at once, of a `recv` for which three
/// packets arrive in one turn, of a sleep, and of an idle `recv` while others work.
///
/// Kills: a task queued per wake; a wake per completion; polling all tasks each turn.
#[test]
fn one_wake_is_one_poll() {
    run(async {
        let gate = Rc::new(Gate::default());
        let waiting = Rc::clone(&gate);
        let (task, polls) = counted(async move { waiting.wait().await });
        let task = spawn(task);
        turns(3).await;
        gate.open();
        gate.open();
        gate.open();
        task.await.unwrap();
        assert_eq!(polls.get(), 2, "a task");

        let (mut stream, mut peer) = std_pair();
        let (mut idle, _idle_peer) = std_pair();
        let (idle, idle_polls) = counted(async move { idle.recv().await.map(drop) });
        spawn(idle);
        let (task, polls) = counted(async move { stream.recv().await.map(|buf| buf.len()) });
        let task = spawn(task);
        turns(3).await;
        for _ in 0..3 {
            peer.write_all(b"?").unwrap();
        }
        task.await.unwrap().unwrap();
        assert_eq!(polls.get(), 2, "a recv");

        let (task, polls) = counted(sleep(Duration::from_millis(3)));
        spawn(task).await.unwrap();
        assert_eq!(polls.get(), 2, "a sleep");
        assert_eq!(idle_polls.get(), 1, "an idle recv");
    });
}

/// Goal: when several computing handlers become ready together, the reply of the first is sent
/// before the second begins (A11).
///
/// Method: three requests in one turn; each handler computes for a millisecond and replies; each
/// handler but the first checks, within its poll, for the reply of the one before.
///
/// Kills: submitting at the end of the turn only.
#[test]
fn a_reply_does_not_wait_for_the_next_handler() {
    run(async {
        let mut tasks = Vec::new();
        let mut peers = Vec::new();
        let mut former: Option<std::net::TcpStream> = None;
        for _ in 0..3 {
            let (mut stream, peer) = std_pair();
            stream.set_nodelay(true).unwrap();
            let mut before = former.replace(peer.try_clone().unwrap());
            tasks.push(spawn(async move {
                stream.recv().await.unwrap();
                let began_at = turn();
                if let Some(peer) = &mut before {
                    peer.set_nonblocking(true).unwrap();
                    let seen = peer.read(&mut [0; 8]);
                    assert_eq!(seen.expect("the former reply is still here"), 5);
                }
                compute(Duration::from_millis(1));
                stream.write_all(b"reply").await.unwrap();
                (stream, began_at)
            }));
            peers.push(peer);
        }
        turns(3).await;
        for peer in &mut peers {
            peer.write_all(b"request").unwrap();
        }
        let mut began_at = Vec::new();
        for task in tasks {
            began_at.push(task.await.unwrap().1);
        }
        assert!(began_at.iter().all(|at| *at == began_at[0]), "in one turn");
    });
}

/// Goal: a loop inside a loop panics with a message that has the place of the outer one, and the
/// outer one goes on (A12).
///
/// Method: `run` and `block_on` inside a task and inside the main future.
///
/// Kills: a nested loop that starves the outer one; a context that the panic has cleared.
#[test]
fn a_nested_run_is_refused() {
    fn refusal(nested: impl FnOnce()) -> String {
        let panic = catch_unwind(AssertUnwindSafe(nested)).expect_err("refused");
        panic.downcast_ref::<String>().cloned().expect("a message")
    }
    within(LIMIT, || {
        let runtime = Rc::new(Runtime::new().unwrap());
        let same = Rc::clone(&runtime);
        runtime.block_on(async move {
            let text = refusal(|| ringloop::run(async {}));
            assert!(text.contains("already running on this thread"), "{text}");
            assert!(text.contains(file!()), "{text}");
            let task = spawn(async move { refusal(|| same.block_on(async {})) });
            assert!(task.await.unwrap().contains("already running"));
            spawn(sleep(Duration::from_millis(1))).await.unwrap();
            Handle::current().spawn(async {}).await.unwrap();
        });
        assert!(Handle::try_current().is_none());
        runtime.block_on(async {});
    });
}
