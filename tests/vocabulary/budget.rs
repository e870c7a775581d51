//! Each async function, polled in a loop: it yields when the budget of the poll is spent.

pub(crate) mod groups;

use std::collections::VecDeque;
use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use ringloop::net::{TcpListener, serve};
use ringloop::signal::{SignalKind, ctrl_c, on as on_signal, shutdown, signal};
use ringloop::sync::CancellationToken;
use ringloop::task::{JoinSet, When, wait, wait_results};
use ringloop::testing::settle;
use ringloop::time::{advance, pause};
use ringloop::{BlockingHandle, Handle, RemoteJoinHandle, gather, spawn_blocking};

use crate::common::{any_addr, lets_others_run, poll_once, turns, until};
use crate::raising::raise;
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    waiting_for_a_server_in_a_loop_lets_others_run,
    waiting_for_a_token_in_a_loop_lets_others_run,
    settling_and_advancing_in_a_loop_let_others_run,
    consuming_budget_in_a_loop_lets_others_run,
    sets_in_a_loop_let_others_run,
    results_of_other_threads_in_a_loop_let_others_run,
];
pub(crate) const ALONE: &[Body] = bodies![signals_in_a_loop_let_others_run];

/// Goal: waits for a token that is cancelled spend the budget.
/// Method: each way to wait, in a loop.
/// Kills: a future that is ready without `coop::leaf`.
fn waiting_for_a_token_in_a_loop_lets_others_run(on: Driver) {
    on.run(async {
        let token = CancellationToken::new();
        token.cancel();
        let wait = token.clone();
        lets_others_run("cancelled", async move || wait.cancelled().await).await;
        let wait = token.clone();
        lets_others_run("cancelled_owned", async move || wait.clone().cancelled_owned().await)
            .await;
        let wait = token.clone();
        lets_others_run("run_until_cancelled", async move || {
            assert_eq!(wait.run_until_cancelled(pending::<()>()).await, None);
        })
        .await;
        lets_others_run("run_until_cancelled_owned", async move || {
            let token = token.clone();
            assert_eq!(token.run_until_cancelled_owned(pending::<()>()).await, None);
        })
        .await;
    });
}

/// Goal: `settle` and `advance` yield each time.
/// Method: `settle` in a loop beside a task that is always ready; the turns of 200 calls of
/// `advance` by nothing.
/// Kills: an `advance` by zero that is ready at once; a `settle` that is ready in its first poll.
fn settling_and_advancing_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        lets_others_run("settle", async || settle().await).await;
        pause();
        let turns = Handle::current().metrics().turns;
        for _ in 0..200 {
            advance(Duration::ZERO).await;
        }
        assert!(Handle::current().metrics().turns - turns >= 200);
    });
}

/// Goal: waits for a server that has ended spend the budget.
/// Method: each way to wait, in a loop.
/// Kills: a wait that returns before its leaf.
fn waiting_for_a_server_in_a_loop_lets_others_run(on: Driver) {
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let server = serve(listener, async |_| {});
        server.close();
        let ended = server.clone();
        lets_others_run("wait", async move || ended.wait().await.unwrap()).await;
        lets_others_run("shutdown of a server", async move || {
            assert_eq!(server.shutdown(Duration::ZERO).await, 0);
        })
        .await;
    });
}

/// Goal: receiving signals spends the budget.
/// Method: a thousand listeners for one signal, which are all ready in one poll; `ctrl_c` and
/// `shutdown`, with a signal each time.
/// Kills: a receive that is ready without `coop::leaf`.
fn signals_in_a_loop_let_others_run(on: Driver) {
    const SIGINT: i32 = 2;
    const SIGUSR1: i32 = 10;
    on.run(async {
        let user = SignalKind::user_defined1();
        let listeners: Vec<_> = (0..1000).map(|_| signal(user).unwrap()).collect();
        let mut ready = VecDeque::from(listeners);
        raise(SIGUSR1);
        turns(2).await;
        lets_others_run("a signal", async move || {
            let mut listener = ready.pop_front().expect("a listener");
            listener.recv().await.unwrap();
            if ready.is_empty() {
                pending::<()>().await;
            }
        })
        .await;
        // The tasks are aborted between two steps, with a signal that they have not taken.
        let other_listener = on_signal(SignalKind::interrupt(), || {}).unwrap();
        lets_others_run("ctrl_c", async || {
            let mut waiting = pin!(ctrl_c());
            assert!(poll_once(waiting.as_mut()).await.is_pending());
            raise(SIGINT);
            waiting.await.unwrap();
        })
        .await;
        let mut request = shutdown().unwrap();
        lets_others_run("shutdown", async move || {
            {
                let mut waiting = pin!(request.recv());
                assert!(poll_once(waiting.as_mut()).await.is_pending());
            }
            raise(SIGINT);
            request.recv().await.unwrap();
        })
        .await;
        turns(3).await;
        drop(other_listener);
    });
}

/// Goal: `consume_budget` yields, wherever it is called.
/// Method: in a loop, in a task that does nothing else.
/// Kills: a function that is ready without `coop::leaf`.
fn consuming_budget_in_a_loop_lets_others_run(on: Driver) {
    on.run(lets_others_run("consume_budget", async || ringloop::task::consume_budget().await));
}

/// Goal: results of tasks that have ended spend the budget, one by one and several at once.
/// Method: each way to wait for a set and for gathered tasks, in a loop.
/// Kills: an empty set that is ready without `coop::leaf`.
fn sets_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        let mut set = JoinSet::<()>::new();
        lets_others_run("join_next", async move || assert!(set.join_next().await.is_none())).await;
        let mut set = JoinSet::<()>::new();
        lets_others_run("join_next_with_id", async move || {
            assert!(set.join_next_with_id().await.is_none());
        })
        .await;
        let mut set = JoinSet::<()>::new();
        lets_others_run("shutdown", async move || set.shutdown().await).await;
        lets_others_run("join_all", async || drop(JoinSet::<()>::new().join_all().await)).await;
        let mut set = JoinSet::<()>::new();
        lets_others_run("wait", async move || drop(wait(&mut set, When::All).await)).await;
        let mut set = JoinSet::<Result<(), ()>>::new();
        lets_others_run("wait_results", async move || {
            drop(wait_results(&mut set, When::All).await);
        })
        .await;
        lets_others_run("gather", async || drop(gather::<()>([]).await)).await;
    });
}

/// Goal: results that other threads or other loops may produce spend the budget.
/// Method: a thousand handles of jobs, and of remote tasks, that have ended, awaited one by one.
/// Kills: a handle that is ready without `coop::leaf_anywhere`.
fn results_of_other_threads_in_a_loop_let_others_run(on: Driver) {
    /// Returns the results one by one, and then waits without end.
    fn each<T, E>(mut handles: VecDeque<T>) -> impl AsyncFnMut()
    where
        T: Future<Output = Result<(), E>>,
    {
        async move || {
            let Some(handle) = handles.pop_front() else { return pending().await };
            assert!(handle.await.is_ok());
        }
    }
    on.run(async {
        let jobs: VecDeque<_> = (0..1000).map(|_| spawn_blocking(|| ())).collect();
        until(|| jobs.iter().all(BlockingHandle::is_finished)).await;
        lets_others_run("a blocking job", each(jobs)).await;
        let remote = Handle::current().remote();
        let tasks: VecDeque<_> = (0..1000).map(|_| remote.spawn(async || ()).unwrap()).collect();
        until(|| tasks.iter().all(RemoteJoinHandle::is_finished)).await;
        lets_others_run("a remote task", each(tasks)).await;
    });
}
