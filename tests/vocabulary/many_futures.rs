//! Any number of futures within one task: `join_all`, `try_join_all`, `race`.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use ringloop::spawn;
use ringloop::sync::oneshot;
use ringloop::task::{join_all, race, try_join_all, yield_now};

use crate::common::{Gate, Woken, lets_others_run, turn, turns};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    join_all_returns_outputs_in_the_order_of_the_futures,
    each_wake_of_a_child_costs_one_poll,
    a_spent_budget_stops_the_polls_of_children,
    a_child_that_uses_up_the_budget_does_not_starve_the_others,
    children_are_woken_from_other_threads,
    wakers_of_children_outlive_them,
    d8_try_join_all_drops_the_others_at_the_first_error,
    race_returns_the_first_output_and_drops_the_losers,
    combinators_of_many_futures_in_a_loop_let_others_run,
];
pub(crate) const ALONE: &[Body] = bodies![];

/// More futures than a combinator may poll for each wake.
const MANY: usize = 10_000;

/// Yields `count` times, and returns it.
async fn yields(count: usize) -> usize {
    turns(count).await;
    count
}

/// `future`, whose polls are counted.
fn counted<F: Future>(future: F, polls: &Cell<usize>) -> impl Future<Output = F::Output> {
    let mut future = Box::pin(future);
    poll_fn(move |cx| {
        polls.set(polls.get() + 1);
        future.as_mut().poll(cx)
    })
}

/// Counts its drops.
struct Bystander(Rc<Cell<u32>>);

impl Drop for Bystander {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// A future that never ends and owns a bystander.
async fn stays<T>(dropped: Rc<Cell<u32>>) -> T {
    let _bystander = Bystander(dropped);
    pending().await
}

/// Goal: outputs are in the order of the futures.
/// Method: futures that end in another order, some in the first poll; no futures at all.
/// Kills: outputs in the order of completion; a join of nothing that is pending.
fn join_all_returns_outputs_in_the_order_of_the_futures(on: Driver) {
    on.run(async {
        assert_eq!(join_all([4, 0, 3, 1, 2].map(yields)).await, [4, 0, 3, 1, 2]);
        assert!(join_all::<[std::future::Ready<()>; 0]>([]).await.is_empty());
        let borrowed = String::from("borrowed");
        assert_eq!(join_all([async { borrowed.as_str() }]).await, ["borrowed"]);
    });
}

/// Goal: a wake costs one poll of one child, for any number of children.
/// Method: 10 000 children that wait for a gate each; gates that open in other turns and at once.
/// Kills: a join that polls all children when one is woken; a child that is in the queue twice.
fn each_wake_of_a_child_costs_one_poll(on: Driver) {
    on.run(async {
        let gates: Rc<Vec<Gate>> = Rc::new((0..MANY).map(|_| Gate::default()).collect());
        let opener = Rc::clone(&gates);
        spawn(async move {
            for gate in &opener[..100] {
                turns(1).await;
                gate.open();
            }
            opener[100..].iter().rev().for_each(Gate::open);
        });
        let polls = Cell::new(0);
        join_all(gates.iter().map(|gate| counted(gate.wait(), &polls))).await;
        assert_eq!(polls.get(), 2 * MANY);

        let (polls, kept) = (Cell::new(0), Cell::new(None::<Waker>));
        let keeps = poll_fn(|cx: &mut Context<'_>| {
            kept.set(Some(cx.waker().clone()));
            Poll::<()>::Pending
        });
        let parent = Arc::new(Woken::default());
        let mut joined = pin!(join_all([counted(keeps, &polls)]));
        assert!(parent.poll(joined.as_mut()).is_pending());
        let waker = kept.take().expect("the child was polled");
        (0..3).for_each(|_| waker.wake_by_ref());
        assert!(parent.poll(joined.as_mut()).is_pending());
        assert_eq!(polls.get(), 2, "three wakes before a poll are one");
    });
}

/// Goal: when the budget is spent, the other children wait for the next turn, and are not polled in
/// vain.
/// Method: 10 000 children that need one unit of the budget each, all ready; their polls and turns.
/// Kills: a poll of every child in each of the 79 turns; a join that goes on without budget.
fn a_spent_budget_stops_the_polls_of_children(on: Driver) {
    on.run(async {
        let receivers = (0..MANY).map(|number| {
            let (sender, receiver) = oneshot::channel();
            sender.send(number).unwrap();
            receiver
        });
        let (polls, begun) = (Cell::new(0), turn());
        let numbers = join_all(receivers.map(|receiver| counted(receiver, &polls))).await;
        assert!(numbers.into_iter().map(Result::unwrap).eq(0..MANY));
        assert_eq!(polls.get(), MANY);
        let turns = turn() - begun;
        assert!((78..=80).contains(&turns), "{turns} turns");
    });
}

/// Goal: children behind one that uses up the budget in every poll go on. (R10)
/// Method: such a child, first, beside two that need a unit of the budget in each of five turns.
/// Kills: a child that was woken by itself and goes in front of the others.
fn a_child_that_uses_up_the_budget_does_not_starve_the_others(on: Driver) {
    async fn receive() {
        let (sender, receiver) = oneshot::channel();
        sender.send(()).unwrap();
        receiver.await.unwrap();
    }
    on.run(async {
        let ended = Cell::new(0);
        let child = async |is_first: bool| {
            if is_first {
                while ended.get() < 2 {
                    receive().await;
                }
                return;
            }
            for _ in 0..5 {
                receive().await;
                yield_now().await;
            }
            ended.set(ended.get() + 1);
        };
        join_all([true, false, false].map(child)).await;
    });
}

/// Goal: a child that another thread wakes is polled.
/// Method: 16 children, each of which starts a thread that sets a flag and wakes it.
/// Kills: a wake that is lost between the look into the queue and the sleep of the loop.
fn children_are_woken_from_other_threads(on: Driver) {
    async fn set_by_a_thread() {
        let is_set = Arc::new(AtomicBool::new(false));
        let mut thread = None;
        poll_fn(|cx| {
            if is_set.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            thread.get_or_insert_with(|| {
                let (is_set, waker) = (Arc::clone(&is_set), cx.waker().clone());
                std::thread::spawn(move || {
                    is_set.store(true, Ordering::Release);
                    waker.wake();
                })
            });
            Poll::Pending
        })
        .await;
    }
    on.run(async {
        for _ in 0..4 {
            join_all((0..16).map(|_| set_by_a_thread())).await;
        }
    });
}

/// Goal: wakers of children may be used after their children have ended and after the combinator is
/// dropped. They do not keep the task's waker.
/// Method: keep the waker of a child that ends, and use it before and after the drop.
/// Kills: a wake of an ended child that is polled; a waker that is held by a clone of a child's.
fn wakers_of_children_outlive_them(on: Driver) {
    on.run(async {
        let kept = Cell::new(None::<Waker>);
        let keeps = poll_fn(|cx: &mut Context<'_>| {
            kept.set(Some(cx.waker().clone()));
            Poll::Ready(())
        });
        let futures: [std::pin::Pin<Box<dyn Future<Output = ()>>>; 2] =
            [Box::pin(keeps), Box::pin(pending())];
        let parent = Arc::new(Woken::default());
        let mut joined = Box::pin(join_all(futures));
        assert!(parent.poll(joined.as_mut()).is_pending());
        let waker = kept.take().expect("the first child was polled");
        waker.wake_by_ref();
        assert!(parent.is_woken());
        assert!(parent.poll(joined.as_mut()).is_pending());
        drop(joined);
        assert_eq!(Arc::strong_count(&parent), 1);
        waker.wake_by_ref();
    });
}

/// Goal: the first error is returned at once, and the other futures are dropped before it. (D8)
/// Method: an error in the second turn between futures that never end, and a value.
/// Kills: an error that waits for the others; a future that lives until the combinator is dropped.
fn d8_try_join_all_drops_the_others_at_the_first_error(on: Driver) {
    on.run(async {
        let dropped = Rc::new(Cell::new(0));
        let run = async |number: usize| match number {
            1 => Ok(1),
            2 => {
                yield_now().await;
                Err("an error")
            }
            _ => stays(Rc::clone(&dropped)).await,
        };
        let mut joined = pin!(try_join_all([0, 1, 2, 3].map(run)));
        assert_eq!(joined.as_mut().await, Err("an error"));
        assert_eq!(dropped.get(), 2);
        let values: Result<Vec<usize>, ()> = try_join_all([3, 1].map(async |n| Ok(n))).await;
        assert_eq!(values, Ok(vec![3, 1]));
    });
}

/// Goal: the first output is returned, and the losers are dropped before it. (D9)
/// Method: a future that ends in the second turn between two that never end; two that are ready; a
/// race without futures.
/// Kills: losers that are dropped with the race; a race of nothing that is pending.
fn race_returns_the_first_output_and_drops_the_losers(on: Driver) {
    on.run(async {
        let dropped = Rc::new(Cell::new(0));
        let run = async |number: u32| match number {
            1 => {
                yield_now().await;
                number
            }
            _ => stays(Rc::clone(&dropped)).await,
        };
        let mut winner = pin!(race([0, 1, 2].map(run)));
        assert_eq!((winner.as_mut().await, dropped.get()), (1, 2));
        assert_eq!(race([5, 6].map(ready)).await, 5);
        let nothing = || drop(race::<[std::future::Ready<()>; 0]>([]));
        assert!(catch_unwind(AssertUnwindSafe(nothing)).is_err());
    });
}

/// Goal: each combinator spends the budget, also if its futures do not. (A8)
/// Method: each in a loop, over futures that are ready and do not know the budget.
/// Kills: a combinator that spends nothing.
fn combinators_of_many_futures_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        lets_others_run("join_all", async || drop(join_all([ready(())]).await)).await;
        lets_others_run("try_join_all", async || {
            try_join_all([ready(Ok::<_, ()>(()))]).await.unwrap();
        })
        .await;
        lets_others_run("race", async || race([ready(())]).await).await;
    });
}
