//! The sink: receives every byte and sends nothing.

use std::rc::Rc;

use crate::net::stream::Stream;
use crate::serve::serving_thread::ServingThread;
use crate::serve::tally::Messages;

/// Reads one peer until it closes or fails.
pub(super) async fn serve(mut stream: Stream, worker: Rc<ServingThread>, size: u32) {
    let mut messages = Messages::new(size);
    while let Ok(bytes) = stream.recv().await {
        if bytes.is_empty() {
            return;
        }
        worker.tally().received(bytes.len());
        worker.tally().messages(messages.completed_by(bytes.len()));
    }
}
