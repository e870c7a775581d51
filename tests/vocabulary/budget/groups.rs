//! Groups and scopes, polled in a loop.

use std::future::pending;
use std::time::Duration;

use crate::common::{any_addr, lets_others_run};
use crate::suite::Driver;
use crate::{Body, bodies};
use ringloop::net::{TcpListener, UnixStream};
use ringloop::sync::CancellationToken;
use ringloop::task::{GroupError, cancel_scope, consume_budget, scope, shielded};
use ringloop::task_group;
use ringloop::time::{Instant, deadline_scope};

pub(crate) const SHARED: &[Body] = bodies![
    groups_in_a_loop_let_others_run,
    scopes_in_a_loop_let_others_run,
    operations_with_deadlines_in_a_loop_let_others_run,
];

/// Goal: groups and scopes without children, waits for a closed group and starts spend the budget.
/// Method: each in a loop.
/// Kills: a group that ends without a leaf; a `start` that is refused without one.
fn groups_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        lets_others_run("task_group", async || {
            let outcome: Result<(), GroupError<()>> = task_group(async |_| Ok(())).await;
            outcome.unwrap();
        })
        .await;
        lets_others_run("scope", async || scope(async |_| ()).await).await;
        lets_others_run("a child of a scope", async || {
            scope(async |s| s.spawn(async {}).await).await;
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

/// Goal: operations with a deadline spend the budget, whether they complete or time out.
/// Method: reads at the end of a stream, and an accept whose deadline has passed, in a loop.
/// Kills: a deadline that has passed and ends the operation at once.
fn operations_with_deadlines_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        let later = Instant::now() + Duration::from_secs(3600);
        let ended = || UnixStream::pair().unwrap().0;
        let mut stream = ended();
        lets_others_run("recv_deadline", async move || {
            assert!(stream.recv_deadline(later).await.unwrap().is_empty());
        })
        .await;
        let mut stream = ended();
        lets_others_run("read_deadline", async move || {
            assert_eq!(stream.read_deadline(&mut [0; 8], later).await.unwrap(), 0);
        })
        .await;
        let mut stream = ended();
        lets_others_run("read_exact_deadline", async move || {
            assert!(stream.read_exact_deadline(&mut [0; 8], later).await.is_err());
        })
        .await;
        let listener = TcpListener::bind(any_addr()).unwrap();
        let past = Instant::now();
        lets_others_run("accept_deadline", async move || {
            assert!(listener.accept_deadline(past).await.is_err());
        })
        .await;
    });
}
