//! A TCP proxy: both directions at once, and each end of a direction is passed on by itself.
//!
//! `cargo run --example proxy -- 127.0.0.1:7001 127.0.0.1:7000` forwards the first address to the
//! second, for example to `cargo run --example echo`.

use std::io;

use ringloop::net::{ReadHalf, TcpListener, TcpStream, WriteHalf};
use ringloop::try_join;

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(from), Some(to)) = (args.next(), args.next()) else {
        eprintln!("usage: proxy LISTEN-ADDRESS TARGET-ADDRESS");
        std::process::exit(2);
    };
    ringloop::run(async {
        let listener = TcpListener::bind(from)?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let client = listener.accept().await?;
            let to = to.clone();
            ringloop::spawn(async move {
                if let Err(error) = forward(client, &to).await {
                    eprintln!("connection: {error}");
                }
            });
        }
    })
}

/// Forwards both directions until both have ended. An error in one drops the other.
async fn forward(mut client: TcpStream, to: &str) -> io::Result<()> {
    let mut server = TcpStream::connect(to).await?;
    {
        let (client_reader, client_writer) = client.split();
        let (server_reader, server_writer) = server.split();
        try_join!(copy(client_reader, server_writer), copy(server_reader, client_writer))?;
    }
    client.close().await?;
    server.close().await
}

/// Copies one direction. At its end only this direction is shut down: a client that has sent its
/// request and closed its writing side still receives the whole reply.
async fn copy(mut reader: ReadHalf<'_>, mut writer: WriteHalf<'_>) -> io::Result<()> {
    loop {
        let bytes = reader.recv().await?;
        if bytes.is_empty() {
            return writer.shutdown().await;
        }
        writer.send(bytes).await?; // the received buffer itself; no copy
    }
}
