//! The task of one idle connection (`--idle`), which sends no messages.

use std::convert::Infallible;
use std::rc::Rc;

use crate::measure::failure::{Class, Failure, Local, Stage, UnexpectedBytes};
use crate::net::tls::Connection;
use crate::protocol::ConnState;
use crate::protocol::decoded::Decoded;
use crate::worker::establish::{Opened, establish};
use crate::worker::gates::ConnectPermit;
use crate::worker::session::SURPLUS;
use crate::worker::shared::Worker;

/// Connects and sends no message. Any message of the peer is a failure.
pub(super) async fn run(worker: Rc<Worker>, conn: u32, permit: ConnectPermit) {
    let (opened, timings) = match Box::pin(establish(&worker, conn, permit)).await {
        Ok(connected) => connected,
        Err((failure, unexpected)) => return worker.idle_failed(conn, failure, unexpected),
    };
    worker.idle_opened(timings);
    let mut example = worker.example_of(conn);
    let Opened { mut connection, mut conn_state } = opened;
    let kept = keep_idle(&worker, &mut connection, &mut conn_state, &mut example.unexpected).await;
    let Err(failure) = kept;
    example.local = connection.local_addr().map(Local::Socket);
    worker.idle_lost(failure, example);
}

/// Answers what the protocol requires an answer to, such as a ping, until anything else arrives.
async fn keep_idle(
    worker: &Worker,
    connection: &mut Connection,
    conn_state: &mut ConnState,
    unexpected: &mut Option<UnexpectedBytes>,
) -> Result<Infallible, Failure> {
    let protocol = worker.protocol();
    let (mut reader, mut writer) = connection.split();
    loop {
        if let Some(answer) = protocol.take_owed(conn_state) {
            writer.send(answer).await?;
        }
        let bytes = reader.recv().await?;
        if bytes.is_empty() {
            return Err(Failure::of(Stage::Recv, Class::Eof));
        }
        let decoded = match protocol.is_two_way() {
            true => protocol.decode(conn_state, &bytes),
            false => Err(SURPLUS),
        };
        if decoded != Ok(Decoded::Partial) {
            *unexpected = Some(UnexpectedBytes::of(0, &bytes));
            return Err(decoded.err().unwrap_or(SURPLUS));
        }
    }
}
