//! Groups and scopes, polled in a loop.

use std::future::pending;

use crate::common::lets_others_run;
use crate::suite::Driver;
use crate::{Body, bodies};
use ringloop::sync::CancellationToken;
use ringloop::task::{GroupError, cancel_scope, consume_budget, shielded};
use ringloop::task_group;
use ringloop::time::{Instant, deadline_scope};

pub(crate) const SHARED: &[Body] =
    bodies![groups_in_a_loop_let_others_run, scopes_in_a_loop_let_others_run,];

/// Goal: groups without children, waits for a closed group and starts spend the budget.
/// Method: each in a loop.
/// Kills: a group that ends without a leaf; a `start` that is refused without one.
fn groups_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        lets_others_run("task_group", async || {
            let outcome: Result<(), GroupError<()>> = task_group(async |_| Ok(())).await;
            outcome.unwrap();
        })
        .await;
        let outcome: Result<_, GroupError<()>> = task_group(async |g| Ok(g)).await;
        let group = outcome.unwrap();
        let closed = group.clone();
        lets_others_run("closed", async move || closed.closed().await).await;
        lets_others_run("start", async move || {
            let refused = group.start(async |ready| {
                ready.send(());
                Ok(())
            });
            assert!(refused.await.is_err());
        })
        .await;
    });
}

/// Goal: scopes that end at once spend the budget, and shields pass the budget on.
/// Method: a cancelled scope, a deadline in the past and a shield, each in a loop.
/// Kills: a scope that ends without a leaf; a shield with a budget of its own.
fn scopes_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        let token = CancellationToken::new();
        token.cancel();
        let cancelled = token.clone();
        lets_others_run("cancel_scope", async move || {
            assert!(cancel_scope(cancelled.clone(), pending::<()>()).await.is_err());
        })
        .await;
        lets_others_run("shielded in a cancelled scope", async move || {
            let shield = async || shielded(consume_budget()).await;
            assert!(cancel_scope(token.clone(), shield()).await.is_ok());
        })
        .await;
        lets_others_run("shielded", async || shielded(consume_budget()).await).await;
        let past = Instant::now();
        lets_others_run("deadline_scope", async move || {
            assert!(deadline_scope(past, async |_| pending::<()>().await).await.is_err());
        })
        .await;
    });
}
