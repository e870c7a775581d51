//! The echo server: it sends back every received buffer without a copy.

use std::rc::Rc;

use crate::net::stream::Stream;
use crate::serve::serving_thread::ServingThread;
use crate::serve::tally::Messages;

/// Serves one peer until it closes or fails. Failures of peers are not reported.
pub(super) async fn serve(mut stream: Stream, worker: Rc<ServingThread>, size: u32) {
    let tally = worker.tally();
    let mut messages = Messages::new(size);
    while let Ok(bytes) = stream.recv().await {
        let len = bytes.len();
        if len == 0 {
            return;
        }
        tally.received(len);
        tally.messages(messages.completed_by(len));
        if stream.send(bytes).await.is_err() {
            return;
        }
        tally.sent(len);
    }
}
