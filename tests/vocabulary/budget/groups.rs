//! Groups and scopes, polled in a loop.

use crate::common::lets_others_run;
use crate::suite::Driver;
use crate::{Body, bodies};
use ringloop::task::GroupError;
use ringloop::task_group;

pub(crate) const SHARED: &[Body] = bodies![groups_in_a_loop_let_others_run];

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
