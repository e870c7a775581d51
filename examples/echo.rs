//! An echo server: one task per connection, and no copy of the received bytes.
//!
//! `cargo run --release --example echo -- 127.0.0.1:7000`, then `nc 127.0.0.1 7000`.

use std::io;

use ringloop::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".into());
    ringloop::run(async {
        let listener = TcpListener::bind(addr)?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let stream = listener.accept().await?;
            ringloop::spawn(echo(stream));
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let bytes = stream.recv().await?;
        if bytes.is_empty() {
            return stream.close().await;
        }
        stream.send(bytes).await?;
    }
}
