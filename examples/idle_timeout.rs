//! A timeout per message. Setting it again costs no system call.
//!
//! `cargo run --release --example idle_timeout -- 127.0.0.1:7000`, then `nc 127.0.0.1 7000`. Each
//! connection may be silent for 30 seconds. When it ends, the server prints how many timeouts were
//! set in the kernel.
//!
//! For a limit on silence alone, `TcpStream::set_idle_timeout` needs less code.

use std::io;
use std::time::Duration;

use ringloop::Handle;
use ringloop::net::{TcpListener, TcpStream};
use ringloop::time::timeout;

const IDLE_MAX: Duration = Duration::from_secs(30);

fn main() -> io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".into());
    ringloop::run(async {
        let listener = TcpListener::bind(addr)?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let stream = listener.accept().await?;
            ringloop::spawn(async {
                let mut messages_count = 0;
                let end = serve(stream, &mut messages_count).await;
                let arms = Handle::current().metrics().timeout_arms;
                println!("{end:?} after {messages_count} messages, timeout arms: {arms}");
            });
        }
    })
}

async fn serve(mut stream: TcpStream, messages_count: &mut u64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let bytes = timeout(IDLE_MAX, stream.recv()).await??;
        if bytes.is_empty() {
            return stream.close().await;
        }
        *messages_count += 1;
        stream.send(bytes).await?;
    }
}
