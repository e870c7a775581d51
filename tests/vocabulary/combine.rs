//! `select!`, `join!`, `try_join!`, and the order among what is ready at once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{pending, ready};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;

use ringloop::net::UnixStream;
use ringloop::task::yield_now;
use ringloop::{Builder, join, select, spawn, try_join};

use crate::common::{lets_others_run, turn};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    select_runs_one_handler_and_drops_the_other_futures,
    handlers_of_select_are_code_of_the_caller,
    a_pattern_that_does_not_match_disables_its_branch,
    conditions_disable_branches_before_any_future_runs,
    select_without_an_enabled_branch_panics,
    a8_select_is_pending_when_the_budget_is_spent,
    d9_losers_of_select_go_on_when_they_are_polled_again,
    biased_select_polls_in_order_and_a_fair_one_starts_anywhere,
    join_returns_all_outputs_and_drops_each_future_at_its_end,
    join_starves_no_future_when_another_uses_up_the_budget,
    d8_try_join_drops_the_others_at_the_first_error,
    macros_take_sixty_four_branches,
    a_seed_repeats_the_order_of_tasks_and_branches,
    tasks_run_in_order_without_a_seed,
];
pub(crate) const ALONE: &[Body] = bodies![];

/// Counts how often it is dropped.
struct Bystander(Rc<Cell<u32>>);

impl Drop for Bystander {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// A future that never ends and owns a bystander.
async fn stays(bystander: Bystander) {
    let _bystander = bystander;
    pending().await
}

/// A stream whose peer has finished sending: each read is ready, and spends the budget.
fn ended() -> UnixStream {
    let (ours, _theirs) = StdUnixStream::pair().unwrap();
    UnixStream::from_std(ours)
}

/// Goal: one branch wins, and the futures of the others are dropped before its handler runs.
/// Method: a branch that is ready in the second poll, beside two that own a bystander; one of them
/// comes before it and one after it, one is polled and one has a false condition.
/// Kills: futures that live until the end of the handlers; a disabled future that is leaked.
fn select_runs_one_handler_and_drops_the_other_futures(on: Driver) {
    on.run(async {
        let dropped = Rc::new(Cell::new(0));
        let (one, other) = (Bystander(Rc::clone(&dropped)), Bystander(Rc::clone(&dropped)));
        let text = select! {
            () = stays(one) => "a future that never ends",
            () = yield_now() => {
                assert_eq!(dropped.get(), 2);
                "the yield"
            }
            () = stays(other), if dropped.get() > 0 => "a disabled branch",
        };
        assert_eq!(text, "the yield");
    });
}

/// Goal: handlers use what the futures have borrowed, and await, break, continue and return.
/// Method: a function whose `select!` does each of them, in a loop.
/// Kills: handlers in a closure, in a loop of the macro or under a borrow of a future.
fn handlers_of_select_are_code_of_the_caller(on: Driver) {
    async fn collect(limit: usize) -> Result<Vec<usize>, std::num::ParseIntError> {
        let mut numbers = Vec::new();
        loop {
            let len = numbers.len();
            select! {
                biased;
                () = async { numbers.push(len) }, if len < 3 => {
                    numbers.push("10".parse()?);
                    yield_now().await;
                    continue;
                }
                () = ready(()), if limit == 1 => return Ok(vec![]),
                () = ready(()), if limit == 2 => { numbers.push("x".parse()?); }
                else => break,
            }
        }
        Ok(numbers)
    }
    on.run(async {
        assert_eq!(collect(0).await, Ok(vec![0, 10, 2, 10]));
        assert_eq!(collect(1).await, Ok(vec![]));
        assert!(collect(2).await.is_err());
    });
}

/// Goal: a branch whose output does not match its pattern is disabled and not polled again. The
/// variables of a pattern that matches are bound by value, whatever their modifiers.
/// Method: patterns with `mut`, `ref`, `ref mut`, `|`, and of values that are not `Clone`.
/// Kills: a mismatch that ends the select; a future that is polled after its end, which panics.
fn a_pattern_that_does_not_match_disables_its_branch(on: Driver) {
    struct Owned(String);
    on.run(async {
        let text = select! {
            biased;
            Some(Owned(text)) = async { None } => text,
            Ok(mut number) | Err(mut number) = async { yield_now().await; Ok::<_, u32>(7) } => {
                number += 1;
                number.to_string()
            }
        };
        assert_eq!(text, "8");
        let mut text = select! {
            Some(Owned(mut text)) = ready(Some(Owned("a".into()))) => { text.push('b'); text }
        };
        text = select! { Owned(ref text) = ready(Owned(text)) => text.clone() };
        text = select! {
            Some(ref mut text) = ready(Some(text)) => { text.push('c'); std::mem::take(text) }
        };
        assert_eq!(text, "abc");
        let word = select! { Some(1) = ready(Some(2)) => "one", else => "none" };
        assert_eq!(word, "none");
    });
}

/// Goal: all conditions are evaluated before the first future expression.
/// Method: a future that borrows what the condition of a later branch reads; the order of effects.
/// Kills: a condition that is evaluated beside its future, which does not compile here.
fn conditions_disable_branches_before_any_future_runs(on: Driver) {
    on.run(async {
        let mut numbers = Vec::new();
        let effects = RefCell::new(Vec::new());
        let effect = |name, value: bool| {
            effects.borrow_mut().push(name);
            value
        };
        select! {
            () = {
                effect("future 1", true);
                async { numbers.push(1) }
            }, if effect("if 1", true) => {}
            () = {
                effect("future 2", true);
                ready(())
            }, if numbers.len() > 9 => panic!("disabled"),
        }
        assert_eq!(numbers, [1]);
        assert_eq!(effects.take(), ["if 1", "future 1", "future 2"]);
    });
}

/// Goal: a select that can never end panics with the reason.
/// Method: one disabled branch without `else`, and one whose pattern fails.
/// Kills: a select that is pending without end.
fn select_without_an_enabled_branch_panics(on: Driver) {
    let runtime = on.runtime();
    for is_enabled in [false, true] {
        let run = || {
            runtime.block_on(async {
                select! { Some(()) = ready(None), if is_enabled => {} }
            });
        };
        let payload = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        let text = payload.downcast_ref::<&str>().expect("a text");
        assert_eq!(*text, "select!: all branches are disabled, and there is no else branch");
    }
}

/// Goal: a select in a loop yields when the budget is spent, also if a branch that does not know
/// the budget is ready; and a select of such branches only yields too. (A8)
/// Method: a read that is always ready before a future that is; the rounds of one turn.
/// Kills: a select that goes on with the second branch once the first is out of budget, so that no
/// other task runs again; a select that spends nothing.
fn a8_select_is_pending_when_the_budget_is_spent(on: Driver) {
    on.run(async {
        let mut stream = ended();
        stream.recv().await.unwrap(); // the end has arrived
        let second_count = Rc::new(Cell::new(0));
        let count = Rc::clone(&second_count);
        lets_others_run("select with a read", async move || {
            select! {
                biased;
                bytes = stream.recv() => assert!(bytes.unwrap().is_empty()),
                () = ready(()) => count.set(count.get() + 1),
            }
        })
        .await;
        assert_eq!(second_count.get(), 0);
        lets_others_run("select", async || select! { () = ready(()) => {} }).await;
        lets_others_run("join", async || _ = join!(ready(()))).await;
        lets_others_run("try_join", async || _ = try_join!(ready(Ok::<(), ()>(())))).await;
    });
}

/// Goal: a future that is selected by reference and loses keeps its state. (D9)
/// Method: two pinned futures that count their polls, selected in a loop until both have ended.
/// Kills: a select that consumes or restarts a loser; a poll after the end.
fn d9_losers_of_select_go_on_when_they_are_polled_again(on: Driver) {
    async fn yields(count: u32) -> u32 {
        for _ in 0..count {
            yield_now().await;
        }
        count
    }
    on.run(async {
        let (mut short, mut long) = (pin!(yields(2)), pin!(yields(5)));
        let (mut short_ended, mut long_ended) = (None, None);
        let begun = turn();
        while long_ended.is_none() {
            select! {
                count = &mut short, if short_ended.is_none() => short_ended = Some(count),
                count = &mut long => long_ended = Some(count),
            }
        }
        assert_eq!((short_ended, long_ended), (Some(2), Some(5)));
        assert!(turn() - begun <= 5, "{} turns", turn() - begun);
    });
}

/// Goal: `biased;` polls in the order of the branches. Without it each branch is sometimes first.
/// Method: three branches that are always ready, 300 times.
/// Kills: a bias that is ignored; a start that is always the same, or never one of the branches.
fn biased_select_polls_in_order_and_a_fair_one_starts_anywhere(on: Driver) {
    on.run(async {
        let mut counts = [0; 3];
        for _ in 0..300 {
            let biased = select! {
                biased;
                () = pending() => 3,
                () = ready(()) => 0,
                () = ready(()) => 1,
            };
            assert_eq!(biased, 0);
            let fair = select! {
                () = ready(()) => 0,
                () = ready(()) => 1,
                () = ready(()) => 2,
            };
            counts[fair] += 1;
        }
        assert!(counts.iter().all(|&count| count > 50), "{counts:?}");
    });
}

/// Goal: the outputs are in the order of the futures, and a future that has ended is dropped while
/// the others run.
/// Method: futures of different types, the first of which ends at once.
/// Kills: outputs in the order of completion; a future that is dropped with the join only.
fn join_returns_all_outputs_and_drops_each_future_at_its_end(on: Driver) {
    on.run(async {
        let dropped = Rc::new(Cell::new(0));
        let mut bystander = Some(Bystander(Rc::clone(&dropped)));
        let (count, text, ()) = join!(
            async {
                yield_now().await;
                yield_now().await;
                dropped.get()
            },
            ready("text"),
            std::future::poll_fn(move |_| {
                let _owned = &mut bystander; // dropped with the future
                std::task::Poll::Ready(())
            }),
        );
        assert_eq!((count, text, dropped.get()), (1, "text", 1));
        let () = join!();
        assert_eq!(join!(biased; ready(1), async { 2 }), (1, 2));
    });
}

/// Goal: a future that uses up the budget in every poll does not starve the others. (R10)
/// Method: such a future, first and last, beside one that needs a unit of the budget in each of
/// five turns.
/// Kills: a join that starts each poll with its first future.
fn join_starves_no_future_when_another_uses_up_the_budget(on: Driver) {
    on.run(async {
        for is_first in [true, false] {
            let has_ended = Cell::new(false);
            let burn = async {
                let mut stream = ended();
                while !has_ended.get() {
                    stream.recv().await.unwrap();
                }
            };
            let other = async {
                let mut stream = ended();
                for _ in 0..5 {
                    stream.recv().await.unwrap();
                    yield_now().await;
                }
                has_ended.set(true);
            };
            match is_first {
                true => _ = join!(burn, other),
                false => _ = join!(other, burn),
            }
        }
    });
}

/// Goal: the first error returns at once, and drops the other futures. (D8)
/// Method: an error in the second turn, beside futures that never end, first and last; then values
/// only.
/// Kills: a join that waits for the others; an error that leaves a future alive.
fn d8_try_join_drops_the_others_at_the_first_error(on: Driver) {
    on.run(async {
        let dropped = Rc::new(Cell::new(0));
        let stays = || {
            let bystander = Bystander(Rc::clone(&dropped));
            async {
                stays(bystander).await;
                Ok::<_, &str>(())
            }
        };
        let failed: Result<((), u32, ()), &str> = try_join!(
            stays(),
            async {
                yield_now().await;
                Err("an error")
            },
            stays(),
        );
        assert_eq!((failed, dropped.get()), (Err("an error"), 2));
        let values: Result<_, &str> = try_join!(ready(Ok(1)), async { Ok("two") });
        assert_eq!(values, Ok((1, "two")));
        assert_eq!(try_join!(biased; ready(Err::<(), _>(1)), ready(Err::<(), _>(2))), Err(1));
    });
}

macro_rules! with_64 {
    ($call:ident) => {
        $call! {
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
            32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60
            61 62 63
        }
    };
}

macro_rules! select_one {
    ($($number:literal)*) => {
        async |wanted: u32| select! {
            $($number = async { if wanted == $number { $number } else { pending().await } }
                => $number,)*
        }
    };
}

macro_rules! join_all_of {
    ($($number:literal)*) => {{
        let joined = join!($(ready($number)),*);
        let tried = try_join!($(ready(Ok::<u32, ()>($number))),*);
        format!("{:?} {:?}", debug(&joined), tried.as_ref().map(debug))
    }};
}

/// Goal: the macros take as many branches as they document, within the recursion limit.
/// Method: 64 branches, each of which wins once.
/// Kills: a pattern that is bound to another branch.
fn macros_take_sixty_four_branches(on: Driver) {
    fn debug<T>(_: &T) -> usize {
        size_of::<T>()
    }
    on.run(async {
        let select_one = with_64!(select_one);
        for wanted in 0..64 {
            assert_eq!(select_one(wanted).await, wanted);
        }
        assert_eq!(with_64!(join_all_of), "256 Ok(256)");
    });
}

/// The order in which eight tasks run, and the branches that win eight selects.
fn order(builder: Builder) -> Vec<u32> {
    let order = Rc::new(RefCell::new(Vec::new()));
    builder.build().unwrap().block_on(async {
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let order = Rc::clone(&order);
                spawn(async move { order.borrow_mut().push(number) })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        for _ in 0..8 {
            let branch = select! {
                () = ready(()) => 0,
                () = ready(()) => 1,
            };
            order.borrow_mut().push(branch);
        }
    });
    order.take()
}

/// Goal: a seed determines the order of a ready batch and the starts of selects.
/// Method: eight tasks that are ready at once, then eight selects, twice for each of 20 seeds.
/// Kills: an order that depends on the clock or an address; batches that are not permuted; a seed
/// that is ignored.
fn a_seed_repeats_the_order_of_tasks_and_branches(on: Driver) {
    let seeded = |seed| order(on.builder().shuffle_seed(seed));
    let orders: BTreeSet<Vec<u32>> = (0..20)
        .map(|seed| {
            let first = seeded(seed);
            assert_eq!(first, seeded(seed));
            first
        })
        .collect();
    assert!(orders.len() > 15, "{orders:?}");
    let tasks: BTreeSet<&[u32]> = orders.iter().map(|order| &order[..8]).collect();
    assert!(tasks.len() > 15, "{tasks:?}");
}

/// Goal: without a seed, tasks run in the order in which they became ready.
/// Method: eight tasks that are ready at once, on several loops.
/// Kills: batches that are always permuted.
fn tasks_run_in_order_without_a_seed(on: Driver) {
    for _ in 0..8 {
        assert_eq!(order(on.builder())[..8], [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
