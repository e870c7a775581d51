//! Opening a connection: connect, TLS handshake, and the handshake of the protocol.

use std::rc::Rc;
use std::time::Instant;

use crate::measure::failure::{Class, Failure, Stage, UnexpectedBytes};
use crate::net::connect::{self, ConnectTimings, Connected};
use crate::net::tls::Connection;
use crate::protocol::ConnState;
use crate::worker::gates::ConnectPermit;
use crate::worker::ramp::Attempt;
use crate::worker::shared::Worker;

/// A connection on which messages may be sent.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) conn_state: ConnState,
}

/// Opens connection `conn`, which is counted as opened or failed.
pub(super) async fn open(
    worker: &Worker,
    conn: u32,
    permit: ConnectPermit,
    attempt: Attempt,
) -> Option<Opened> {
    match establish(worker, conn, permit).await {
        Ok((opened, timings)) => {
            worker.opened(conn, &opened.connection, timings, attempt);
            Some(opened)
        }
        Err((failure, unexpected)) => {
            worker.connect_failed(conn, failure, unexpected, attempt);
            None
        }
    }
}

/// Connects and performs all handshakes. Returns how long they took, or the failure with the
/// received bytes if they were not the expected ones.
pub(super) async fn establish(
    worker: &Worker,
    conn: u32,
    permit: ConnectPermit,
) -> Result<(Opened, ConnectTimings), (Failure, Option<UnexpectedBytes>)> {
    let plan = worker.plan();
    let (source, tls) = (worker.ids().source_of(conn), plan.tls.as_deref());
    let connected =
        connect::connect(&plan.address, source, plan.socket, tls, plan.connect_timeout).await;
    let Connected { mut connection, mut timings } = connected.map_err(|failure| (failure, None))?;
    let mut conn_state = worker.protocol().begin(worker.ids().next_conn_id());
    if let Some(opening) = worker.protocol().open(&mut conn_state) {
        let started = Instant::now();
        let agreed = agree(worker, &mut connection, &mut conn_state, opening);
        let in_time = ringloop::time::timeout(plan.connect_timeout, agreed).await;
        let late = |_| Failure::of(Stage::Handshake, Class::Timeout);
        if let Err(failure) = in_time.map_err(late).and_then(|agreed| agreed) {
            return Err((failure, worker.protocol().take_unwanted(&mut conn_state)));
        }
        timings.handshake = Some(started.elapsed());
    }
    // The permit covers the handshakes: more connects would slow down a target that is slow here.
    drop(permit);
    Ok((Opened { connection, conn_state }, timings))
}

/// Sends the opening of a protocol and waits until the peer has agreed.
async fn agree(
    worker: &Worker,
    connection: &mut Connection,
    conn_state: &mut ConnState,
    opening: Rc<[u8]>,
) -> Result<(), Failure> {
    let failed = |failure| Failure { stage: Stage::Handshake, ..failure };
    let (mut reader, mut writer) = connection.split();
    writer.send(opening).await.map_err(failed)?;
    loop {
        let bytes = reader.recv().await.map_err(failed)?;
        if bytes.is_empty() {
            return Err(Failure::of(Stage::Handshake, Class::Eof));
        }
        if worker.protocol().is_open(conn_state, &bytes)? {
            return Ok(());
        }
    }
}
