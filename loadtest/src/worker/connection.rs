//! The task of one connection that sends: connect, session, close, and again if the run reconnects.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::measure::failure::{Example, Local};
use crate::plan::load::CloseStyle;
use crate::worker::backoff::Backoff;
use crate::worker::establish::{Opened, open};
use crate::worker::gates::ConnectPermit;
use crate::worker::ramp::Attempt;
use crate::worker::session::{self, Ended};
use crate::worker::shared::Worker;

/// Connects, waits for the start of the load, and runs sessions until the run or the connection
/// ends.
pub(super) async fn run(worker: Rc<Worker>, conn: u32, permit: ConnectPermit) {
    let churn = worker.plan().churn;
    // Rare parts are boxed: a task keeps room for the largest of its parts, and ten thousand
    // connections are a task each.
    let opening = Box::pin(open(&worker, conn, permit, Attempt::First));
    let mut next = opening.await;
    if next.is_none() && !churn.reconnects {
        return;
    }
    let mut backoff = Backoff::default();
    let mut random = worker.ids().random_of(conn);
    worker.start_gate().pass(conn).await;
    while !worker.is_draining() {
        let Some(Opened { mut connection, conn_state }) = next.take() else {
            let permit = worker.connect_gate().enter().await;
            next = Box::pin(open(&worker, conn, permit, Attempt::Again)).await;
            if next.is_none() {
                pause(&worker, backoff.next(&mut random)).await;
            }
            continue;
        };
        let ended = session::run(&worker, conn, &mut connection, conn_state).await;
        let local = match ended {
            // Asked for before the close, after which there is no address.
            Ended::Failed { .. } => connection.local_addr().map(Local::Socket),
            Ended::Retired | Ended::Over => None,
        };
        match (&ended, churn.close) {
            (Ended::Retired | Ended::Over, CloseStyle::Fin) => {
                let _ = Box::pin(connection.close()).await;
            }
            (Ended::Failed { .. }, CloseStyle::Fin) => drop(connection),
            (_, CloseStyle::Rst) => connection.abort(),
        }
        let needs_pause = match ended {
            Ended::Retired => {
                worker.retired(conn);
                false
            }
            Ended::Over => return worker.closed_at_end(conn),
            Ended::Failed { outcome, was_served, unexpected } => {
                let example = Example { local, unexpected, ..worker.example_of(conn) };
                worker.lost(conn, outcome, Instant::now(), example);
                !was_served
            }
        };
        if !churn.reconnects {
            return;
        }
        match needs_pause {
            true => pause(&worker, backoff.next(&mut random)).await,
            false => backoff.reset(),
        }
    }
}

/// Waits before the next connect of a connection that has failed before its first reply.
async fn pause(worker: &Worker, backoff: Duration) {
    ringloop::time::sleep(backoff).await;
    let pace = worker.retry_pause(Instant::now());
    if !pace.is_zero() {
        ringloop::time::sleep(pace).await;
    }
}
