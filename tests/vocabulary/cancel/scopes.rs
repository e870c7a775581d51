//! Cancel scopes and shields.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::io::Write;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::common::{Gate, Woken, std_pair, turns, until};
use crate::suite::Driver;
use crate::{Body, bodies};
use ringloop::sync::CancellationToken;
use ringloop::task::{cancel_scope, consume_budget, join_all, shielded, unconstrained, yield_now};
use ringloop::{join, select, spawn};

pub(crate) const SHARED: &[Body] = bodies![
    c13_no_operation_completes_after_a_cancel,
    c13_a_shield_runs_to_its_end,
    c13_scopes_and_shields_nest_by_identity,
    c13_a_shield_counts_when_it_is_not_polled,
    c13_shields_of_join_all_run_to_their_ends,
    c13_a_shield_behind_a_spent_budget_is_polled_again,
    c13_a_cancelled_scope_does_not_spin,
    a_scope_without_a_cancel_returns_its_value,
];

/// Goal: after a cancel, no operation in the scope completes, not even one that is ready, and what
/// it would have taken stays (C13).
/// Method: a scope that cancels its own token with bytes waiting, one that is cancelled before it
/// begins, and one without a budget. A second read outside of the scope gets the bytes.
/// Kills: a cancel that is noticed only by waits; a leaf that completes in the last poll.
fn c13_no_operation_completes_after_a_cancel(on: Driver) {
    on.run(async {
        let (mut stream, mut peer) = std_pair();
        peer.write_all(b"bytes").unwrap();
        stream.readable().await.unwrap();
        let token = CancellationToken::new();
        let reached = Cell::new(0);
        let result = cancel_scope(token.clone(), async {
            reached.set(1);
            token.cancel_with("itself");
            drop(stream.recv().await);
            reached.set(2);
        });
        assert_eq!(result.await.unwrap_err().reason(), Some("itself"));
        assert_eq!(reached.get(), 1);

        let result = cancel_scope(token.clone(), async {
            let _ = unconstrained(stream.recv()).await;
            reached.set(2);
        });
        assert_eq!(result.await.unwrap_err().to_string(), "cancelled: itself");
        let result = cancel_scope(token.clone(), async {
            reached.set(3);
            select! {
                _ = stream.recv() => reached.set(4),
                _ = yield_now() => reached.set(5),
            }
        });
        assert!(result.await.is_err());
        assert_eq!(reached.get(), 3);
        assert_eq!(stream.recv().await.unwrap()[..], *b"bytes");
        assert_eq!(cancel_scope(token, async { 7 }).await, Ok(7));
    });
}

/// Goal: a shielded future runs to its end in a cancelled scope, with as many waits as it needs,
/// and the scope ends at the first wait after it (C13).
/// Method: a shield that is active when the cancel comes; one that begins after it, in the branch
/// of a `select!` that waits for the token; two in a `join!`.
/// Kills: a scope that ends during a shield; a shield whose operations are pending; a combinator
/// that is not polled.
fn c13_a_shield_runs_to_its_end(on: Driver) {
    on.run(async {
        let (mut stream, mut peer) = std_pair();
        let token = CancellationToken::new();
        let (reached, cleaned) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let scope = spawn(cancel_scope(token.clone(), {
            let (token, reached, cleaned) = (token.clone(), reached.clone(), cleaned.clone());
            async move {
                shielded(async {
                    reached.set(1);
                    assert_eq!(stream.recv().await.unwrap()[..], *b"bytes");
                    turns(3).await;
                    cleaned.set(cleaned.get() + 1);
                })
                .await;
                select! {
                    _ = pending::<()>() => {}
                    _ = token.cancelled() => {}
                }
                let clean = async || {
                    turns(3).await;
                    cleaned.set(cleaned.get() + 1);
                };
                join!(shielded(clean()), shielded(clean()));
                yield_now().await;
                reached.set(2);
            }
        }));
        until(|| reached.get() == 1).await;
        token.cancel();
        turns(5).await;
        assert!(!scope.is_finished());
        peer.write_all(b"bytes").unwrap();
        assert!(scope.await.unwrap().is_err());
        assert_eq!((reached.get(), cleaned.get()), (1, 3));
    });
}

/// Goal: a cancel ends the scopes of its token and no others, and a shield protects from the
/// scopes around it and from no others (C13).
/// Method: an inner scope that is cancelled alone; an outer one; a scope inside of a shield, of
/// which both are cancelled.
/// Kills: a shield that protects from scopes inside of it; an inner scope that takes the cancel of
/// the outer one for its own.
fn c13_scopes_and_shields_nest_by_identity(on: Driver) {
    on.run(async {
        let (outer, inner) = (CancellationToken::new(), CancellationToken::new());
        let result = cancel_scope(outer.clone(), async {
            let result = cancel_scope(inner.clone(), async {
                inner.cancel_with("inner");
                yield_now().await;
            });
            assert_eq!(result.await.unwrap_err().reason(), Some("inner"));
            turns(2).await;
            5
        });
        assert_eq!(result.await, Ok(5));

        let inner = CancellationToken::new();
        let reached = Cell::new(0);
        let result = cancel_scope(outer.clone(), async {
            let result = cancel_scope(inner.clone(), async {
                outer.cancel_with("outer");
                yield_now().await;
            });
            let _ = result.await;
            reached.set(1);
        });
        assert_eq!(result.await.unwrap_err().reason(), Some("outer"));
        assert_eq!(reached.get(), 0);

        let result = cancel_scope(outer.clone(), async {
            shielded(async {
                let result = cancel_scope(inner.clone(), async {
                    turns(2).await; // the outer scope is shielded off
                    reached.set(1);
                    inner.cancel_with("inner");
                    yield_now().await;
                    reached.set(2);
                });
                assert_eq!(result.await.unwrap_err().reason(), Some("inner"));
                turns(2).await;
                reached.set(reached.get() + 10);
            })
            .await;
            6
        });
        assert_eq!(result.await, Ok(6));
        assert_eq!(reached.get(), 11);
    });
}

/// Polls its future only when its own waker was woken, as `FuturesUnordered` does.
struct WhenWoken<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
    is_begun: bool,
}

impl<F: Future> Future for WhenWoken<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if this.is_begun && !this.woken.is_woken() {
            return Poll::Pending;
        }
        this.is_begun = true;
        this.woken.poll(this.future.as_mut())
    }
}

/// Goal: an active shield holds its scope although it is not polled when the scope is (C13).
/// Method: a shield in a combinator that polls it only when it is woken. Then the shield is moved
/// out of the scope and dropped, which ends the scope.
/// Kills: a shield that is noticed only when it is polled; a scope that is not woken at its end.
fn c13_a_shield_counts_when_it_is_not_polled(on: Driver) {
    on.run(async {
        let gate = Rc::new(Gate::default());
        let token = CancellationToken::new();
        let opened = Rc::clone(&gate);
        let future = Box::pin(shielded(async move { opened.wait().await }));
        let hidden = WhenWoken { future, woken: Arc::default(), is_begun: false };
        let hidden = Rc::new(Cell::new(Some(hidden)));
        let place = Rc::clone(&hidden);
        let scope = spawn(cancel_scope(
            token.clone(),
            poll_fn(move |cx| {
                let Some(mut shield) = place.take() else { return Poll::Pending };
                let polled = Pin::new(&mut shield).poll(cx);
                place.set(Some(shield));
                polled
            }),
        ));
        turns(2).await;
        token.cancel();
        turns(5).await;
        assert!(!scope.is_finished());
        drop(hidden.take());
        assert!(scope.await.unwrap().is_err());
    });
}

/// Goal: shields among the futures of `join_all` run to their ends in a cancelled scope (C13).
/// Method: two shields that wait when the cancel comes, and one that begins in a cancelled scope.
/// Kills: a combinator of many futures for which the budget of a cancelled scope is spent.
fn c13_shields_of_join_all_run_to_their_ends(on: Driver) {
    on.run(async {
        let gates: Rc<[Gate; 3]> = Rc::default();
        let (cleaned, token) = (Rc::new(Cell::new(0)), CancellationToken::new());
        let (opened, counted) = (Rc::clone(&gates), Rc::clone(&cleaned));
        let scope = spawn(cancel_scope(token.clone(), async move {
            let clean = async |gate: usize| {
                opened[gate].wait().await;
                turns(2).await;
                counted.set(counted.get() + 1);
            };
            let token = CancellationToken::new();
            token.cancel();
            let inner = cancel_scope(token, join_all([shielded(clean(0))]));
            join!(join_all([shielded(clean(1)), shielded(clean(2))]), inner).1.unwrap();
        }));
        turns(2).await;
        token.cancel();
        turns(3).await;
        assert!(!scope.is_finished());
        gates.iter().for_each(Gate::open);
        turns(20).await;
        assert!(scope.is_finished());
        assert_eq!(cleaned.get(), 3);
    });
}

/// Goal: a shield that is not polled because another one has spent the budget is polled in the
/// next turn (C13).
/// Method: two shields in combinators, woken in one turn. The first uses up exactly the budget of
/// a poll, and ends.
/// Kills: a combinator of a cancelled scope that does not wake its task when the budget is spent.
fn c13_a_shield_behind_a_spent_budget_is_polled_again(on: Driver) {
    on.run(async {
        let (gate, cleaned) = (Rc::new(Gate::default()), Rc::new(Cell::new(0)));
        let token = CancellationToken::new();
        let (opened, counted) = (Rc::clone(&gate), Rc::clone(&cleaned));
        let scope = spawn(cancel_scope(token.clone(), async move {
            let spend = shielded(async {
                opened.wait().await;
                while ringloop::task::has_budget_remaining() {
                    consume_budget().await;
                }
            });
            let clean = shielded(async {
                opened.wait().await;
                counted.set(counted.get() + 1);
            });
            join!(biased; spend, async { join!(clean, pending::<()>()) });
        }));
        turns(2).await;
        token.cancel();
        turns(3).await;
        gate.open();
        turns(5).await;
        assert_eq!(cleaned.get(), 1);
        assert!(scope.await.unwrap().is_err());
    });
}

/// Goal: a cancelled scope that waits for a shield is not polled again and again (C13).
/// Method: polls of a scope with a shield and a pending leaf, over a hundred turns.
/// Kills: a leaf of a cancelled scope that wakes its task.
fn c13_a_cancelled_scope_does_not_spin(on: Driver) {
    on.run(async {
        let (gate, polls) = (Rc::new(Gate::default()), Rc::new(Cell::new(0)));
        let token = CancellationToken::new();
        let (stream, _peer) = std_pair();
        let (opened, counted) = (Rc::clone(&gate), Rc::clone(&polls));
        let scope = spawn(cancel_scope(token.clone(), async move {
            let mut stream = stream;
            let counting = poll_fn(move |_| {
                counted.set(counted.get() + 1);
                Poll::<()>::Pending
            });
            let shield = shielded(opened.wait());
            join!(shield, stream.recv(), counting).1.unwrap();
        }));
        turns(2).await;
        token.cancel();
        turns(100).await;
        assert!(polls.get() <= 5, "{} polls", polls.get());
        gate.open();
        assert!(scope.await.unwrap().is_err());
    });
}

/// Goal: a scope that is not cancelled is transparent: its value, its waits, its budget, its panic.
/// Method: each; a value that comes in the turn of the cancel; a scope outside of a loop.
/// Kills: a budget or a scope that is left behind by a panic; a cancel that wins over the value.
fn a_scope_without_a_cancel_returns_its_value(on: Driver) {
    let token = CancellationToken::new();
    let mut scope = pin!(cancel_scope(token.clone(), async { 1 }));
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(scope.as_mut().poll(&mut cx), Poll::Ready(Ok(1)));
    on.run(async {
        let result = cancel_scope(token.clone(), async {
            turns(3).await;
            2
        });
        assert_eq!(result.await, Ok(2));
        let (stop, ending) = (token.clone(), token.clone());
        let panicked = spawn(cancel_scope(token.clone(), async move {
            stop.cancel();
            shielded(async { panic!("in a shield of a cancelled scope") }).await
        }));
        assert!(panicked.await.unwrap_err().is_panic());
        turns(3).await;
        let result = cancel_scope(CancellationToken::new(), async {
            ending.cancelled().await;
            3
        });
        assert_eq!(result.await, Ok(3));
        assert_eq!(shielded(async { 4 }).await, 4);
    });
}
