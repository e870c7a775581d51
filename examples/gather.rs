//! Concurrent requests: two slow requests at once take as long as one.
//!
//! `cargo run --example gather`
//!
//! The program requests `/delay/1` twice, one after the other, and then both at once. Then one of
//! two requests fails: its error is there at once, and the other request goes on to its end, as in
//! asyncio. `try_join!` would cancel it. The slow server is part of the example.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ringloop::net::{TcpListener, TcpStream};
use ringloop::sync::oneshot;
use ringloop::task::gather_results;
use ringloop::time::{Instant, sleep};

fn main() -> io::Result<()> {
    ringloop::run(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let server = ringloop::spawn(serve(listener));

        let start = Instant::now();
        fetch(addr, "/delay/1").await?;
        fetch(addr, "/delay/1").await?;
        println!("one after the other: {:.2?}", start.elapsed());

        let start = Instant::now();
        // Both run before the gather is awaited: the loop polls tasks, not handles.
        let tasks = ["/delay/1", "/delay/1"].map(|path| ringloop::spawn(fetch(addr, path)));
        let replies = gather_results(tasks).await?;
        println!("both at once:        {:.2?}", start.elapsed());

        for reply in replies {
            println!("{}", reply.lines().last().unwrap_or_default());
        }

        let start = Instant::now();
        let (sender, ended) = oneshot::channel();
        let slow = ringloop::spawn(async move {
            let reply = fetch(addr, "/delay/1").await;
            let _ = sender.send(reply.is_ok());
            reply
        });
        let missing = ringloop::spawn(fetch(addr, "/missing"));
        let error = gather_results([slow, missing]).await.expect_err("one is missing");
        println!("one of two fails:    {:.2?}, {error}", start.elapsed());
        let is_ok = ended.await.expect("the other task runs on");
        println!("the other one ends:  {:.2?}, ok: {is_ok}", start.elapsed());
        server.abort();
        Ok(())
    })
}

/// Requests `path` and returns the reply, head and body. Another status than 200 is an error.
async fn fetch(addr: SocketAddr, path: &'static str) -> io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.send(request).await?;
    let mut reply = Vec::new();
    loop {
        let bytes = stream.recv().await?;
        if bytes.is_empty() {
            break;
        }
        reply.extend_from_slice(&bytes);
    }
    stream.close().await?;
    let reply = String::from_utf8(reply).map_err(io::Error::other)?;
    match reply.lines().next() {
        Some("HTTP/1.1 200 OK") => Ok(reply),
        status => Err(io::Error::other(format!("{path}: {}", status.unwrap_or("no reply")))),
    }
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let stream = listener.accept().await?;
        ringloop::spawn(async move {
            if let Err(error) = answer(stream).await {
                eprintln!("server: {error}");
            }
        });
    }
}

/// The greatest length of a request head.
const HEAD_MAX_BYTES: usize = 8 * 1024;

/// Serves one request. The reply to `/delay/{n}` is sent after `n` seconds.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let bytes = stream.recv().await?;
        if bytes.is_empty() || head.len() + bytes.len() > HEAD_MAX_BYTES {
            return Ok(()); // not a request; dropping the stream closes it
        }
        head.extend_from_slice(&bytes);
    }
    let (status, body) = match delay(&head) {
        Some(seconds) => {
            sleep(Duration::from_secs(seconds)).await;
            ("200 OK", format!("waited for {seconds} s\n"))
        }
        None => ("404 Not Found", "try /delay/1\n".to_owned()),
    };
    let len = body.len();
    let reply =
        format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}");
    stream.send(reply).await?;
    stream.close().await
}

/// The `n` of `GET /delay/{n} HTTP/1.1`.
fn delay(head: &[u8]) -> Option<u64> {
    let head = str::from_utf8(head).ok()?;
    let path = head.strip_prefix("GET ")?.split(' ').next()?;
    path.strip_prefix("/delay/")?.parse().ok()
}
