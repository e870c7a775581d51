//! An HTTP/1.1 server with keep-alive, pipelining, and bodies with a length or in chunks.
//!
//! ```text
//! bytes ──▶ request (head; body skipped) ──▶ route ──▶ reply ──▶ out, sent once per receive
//! ```
//!
//! Replies to pipelined requests are collected in one buffer, which is sent when it is full or all
//! received bytes are used. A connection keeps at most a head (16 KiB), a full buffer (64 KiB and
//! one piece) and the queue of the stream.
//!
//! **Absent on purpose.** `Date`: replies would differ, and a tester could not compare them. Time
//! limits for slow peers: the tester decides how slow to be.

pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod route;

use std::rc::Rc;
use std::time::{Duration, Instant};
use std::{io, mem};

use crate::net::stream::Stream;
use crate::serve::http::reply::{Framing, Reply, ReplyBody, write_head};
use crate::serve::http::request::{ReadStep, Refusal, Request, RequestMethod, RequestReader};
use crate::serve::http::route::Route;
use crate::serve::lingering_close;
use crate::serve::serving_thread::ServingThread;

/// Length at which a buffer of replies is sent before all received bytes are used.
const OUT_LEN: usize = 64 << 10;

/// Length of the pieces in which a body is generated.
const PIECE_LEN: usize = 16 << 10;

/// Positions are encoded modulo this prime, so that a shift by a power of two is detected.
const CODE_PERIOD: usize = 251;

/// State shared by the connections of one thread.
#[derive(Debug)]
pub(super) struct HttpServer {
    worker: Rc<ServingThread>,
    /// The body of `/`.
    root: Rc<[u8]>,
    /// Byte `at` of every coded body is `at % CODE_PERIOD`, so any piece is a slice of this.
    code: Vec<u8>,
}

impl HttpServer {
    pub(super) fn new(worker: Rc<ServingThread>, size: u32) -> HttpServer {
        let code = (0..PIECE_LEN + CODE_PERIOD).map(|at| (at % CODE_PERIOD) as u8).collect();
        let root = vec![b'x'; size as usize].into();
        HttpServer { worker, root, code }
    }

    /// Serves one peer until either side ends the connection.
    pub(super) async fn serve(self: Rc<Self>, stream: Stream) {
        let out = Vec::new();
        let mut connection = HttpConnection { http: &self, stream, out };
        // Failures of peers are not reported.
        let _ = connection.run().await;
    }
}

/// Busy-waits like a handler that computes. The thread serves no other connection meanwhile.
fn work_for(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

struct HttpConnection<'a> {
    http: &'a HttpServer,
    stream: Stream,
    /// Replies to be sent.
    out: Vec<u8>,
}

/// Whether a connection stays open after a reply.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    GoOn,
    Close,
}

impl HttpConnection<'_> {
    async fn run(&mut self) -> io::Result<()> {
        let tally = self.http.worker.tally();
        let mut reader = RequestReader::default();
        loop {
            let bytes = self.stream.recv().await?;
            if bytes.is_empty() {
                return Ok(());
            }
            tally.received(bytes.len());
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (used, step) = match reader.advance(rest) {
                    Ok(progress) => progress,
                    Err(refusal) => return self.refuse(refusal).await,
                };
                rest = &rest[used..];
                match step {
                    ReadStep::More => {}
                    ReadStep::Continue => {
                        self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n")
                    }
                    ReadStep::Request(request) => {
                        if self.answer(&request).await? == After::Close {
                            return self.close().await;
                        }
                    }
                }
            }
            self.send().await?;
        }
    }

    async fn answer(&mut self, request: &Request) -> io::Result<After> {
        let HttpServer { worker, root, code: _ } = self.http;
        let route = Route::of(&request.target);
        if let Route::Busy { us } = route {
            work_for(Duration::from_micros(us));
        }
        let reply = match request.method {
            RequestMethod::Get | RequestMethod::Head | RequestMethod::Post => match route {
                Route::Root | Route::Busy { .. } => Reply::ok(ReplyBody::Fixed(Rc::clone(root))),
                Route::Bytes(len) => Reply::ok(ReplyBody::Coded { len }),
                Route::Chunked(len) => Reply::ok(ReplyBody::Chunks { len }),
                Route::Status(code) => Reply::of_status(code),
                Route::Count => Reply::ok(ReplyBody::json(&worker.board.totals())),
                Route::Unknown => Reply::of_status(404),
            },
            RequestMethod::Other => Reply::of_status(405),
        };
        // Requests for the counters are not counted.
        if route != Route::Count {
            worker.tally().messages(1);
        }
        let framing = reply.framing(request.minor_version);
        let is_kept = request.is_keep_alive && framing != Framing::UntilClose;
        write_head(&mut self.out, &reply, framing, request.minor_version, is_kept);
        if request.method != RequestMethod::Head {
            self.write_body(&reply.body, framing).await?;
        }
        Ok(if is_kept { After::GoOn } else { After::Close })
    }

    async fn write_body(&mut self, body: &ReplyBody, framing: Framing) -> io::Result<()> {
        match *body {
            ReplyBody::Empty => Ok(()),
            ReplyBody::Fixed(ref bytes) => {
                self.out.extend_from_slice(bytes);
                self.send_if_full().await
            }
            ReplyBody::Coded { len } | ReplyBody::Chunks { len } => {
                self.write_coded(len, framing).await
            }
        }
    }

    async fn write_coded(&mut self, len: u64, framing: Framing) -> io::Result<()> {
        let mut at = 0;
        while at < len {
            let piece_len = (len - at).min(PIECE_LEN as u64) as usize;
            let phase = (at % CODE_PERIOD as u64) as usize;
            let piece = &self.http.code[phase..phase + piece_len];
            framing.write_piece(&mut self.out, piece);
            at += piece_len as u64;
            self.send_if_full().await?;
        }
        framing.write_end(&mut self.out);
        Ok(())
    }

    /// Replies to an invalid request and ends the connection.
    async fn refuse(&mut self, refusal: Refusal) -> io::Result<()> {
        self.http.worker.tally().bad_request();
        let reply = Reply::of_status(match refusal {
            Refusal::Malformed => 400,
            Refusal::TooLarge => 431,
        });
        let framing = reply.framing(1);
        write_head(&mut self.out, &reply, framing, 1, false);
        self.write_body(&reply.body, framing).await?;
        self.close().await
    }

    async fn send_if_full(&mut self) -> io::Result<()> {
        if self.out.len() < OUT_LEN { Ok(()) } else { self.send().await }
    }

    async fn send(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let len = self.out.len();
        self.stream.send(mem::take(&mut self.out)).await?;
        self.http.worker.tally().sent(len);
        Ok(())
    }

    /// Sends the last bytes and the end of the stream, and waits until the peer has read them.
    async fn close(&mut self) -> io::Result<()> {
        self.send().await?;
        lingering_close::close(&mut self.stream, self.http.worker.tally()).await
    }
}
