//! Servers for single tests, with one thread per connection that runs a given closure.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

pub(crate) const SIZE: usize = 64; // the program's default message

/// A server that runs `behave` for each connection, each on its own thread, until the test process
/// ends.
pub(crate) fn target(behave: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    target_in_order(move |stream, _| behave(stream))
}

/// Like [`target`], with the number of each connection in the order of the accepts.
pub(crate) fn target_in_order(behave: impl Fn(TcpStream, u64) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (number, stream) in (0..).zip(listener.incoming().flatten()) {
            let behave = behave.clone();
            thread::spawn(move || behave(stream, number));
        }
    });
    url
}

pub(crate) fn read_message(stream: &mut TcpStream) -> [u8; SIZE] {
    let mut message = [0; SIZE];
    stream.read_exact(&mut message).unwrap();
    message
}

pub(crate) fn echo_times(stream: &mut TcpStream, times: usize) {
    for _ in 0..times {
        let message = read_message(stream);
        stream.write_all(&message).unwrap();
    }
}

/// Keeps the connection open without a reply until the peer closes it.
pub(crate) fn hold(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}

/// Counts the messages received on all connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Echoes messages one by one until the peer closes. Counts each message and calls
    /// `before_reply` before its reply.
    pub(crate) fn echo(&self, mut stream: TcpStream, before_reply: impl Fn()) {
        let mut message = [0; SIZE];
        while stream.read_exact(&mut message).is_ok() {
            self.0.fetch_add(1, Ordering::SeqCst);
            before_reply();
            if stream.write_all(&message).is_err() {
                return;
            }
        }
    }
}
