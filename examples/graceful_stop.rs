//! A graceful stop: stop accepting, let connections finish within a deadline, then end.
//!
//! `cargo run --example graceful_stop -- 127.0.0.1:7000`, connect a few times with
//! `nc 127.0.0.1 7000`, then press Ctrl-C or send SIGTERM. Idle connections end at once, busy ones
//! have five seconds. A second signal ends the program at once. The exit code is 0 if all
//! connections have ended, and 1 if some were cut off.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use ringloop::net::{Server, TcpListener, TcpStream};
use ringloop::signal;
use ringloop::sync::CancellationToken;

/// The time that connections have to finish after the signal.
const GRACE: Duration = Duration::from_secs(5);

fn main() -> io::Result<ExitCode> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".into());
    ringloop::run(async {
        let mut shutdown = signal::shutdown()?; // before the first connection
        let listener = TcpListener::bind(addr)?;
        println!("listening on {}", listener.local_addr()?);

        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let server = Server::new(listener).stop_token(stop.clone()).serve(move |stream| {
            let stopping = stopping.clone();
            async move {
                if let Err(error) = echo(stream, stopping).await {
                    eprintln!("connection: {error}");
                }
            }
        });

        let kind = shutdown.recv().await?;
        println!("{kind}: {} connections open", server.connections());
        stop.cancel();
        match server.shutdown(GRACE).await {
            0 => println!("all connections have ended"),
            cut_off => {
                println!("{cut_off} connections were cut off");
                return Ok(ExitCode::FAILURE);
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Sends back what arrives, until the peer ends or the server stops.
async fn echo(mut stream: TcpStream, stopping: CancellationToken) -> io::Result<()> {
    while let Some(received) = stopping.run_until_cancelled(stream.recv()).await {
        let bytes = received?;
        if bytes.is_empty() {
            break;
        }
        stream.send(bytes).await?;
    }
    stream.close().await // waits until the peer has everything
}
