//! The echo server: every received buffer is sent back as it is, without a copy.

use std::time::Duration;

use ringloop::net::{TcpListener, TcpStream};

use super::{Stopper, announce};
use crate::cli::ServeArgs;
use crate::exit::Stop;

/// Asked of the kernel, which takes it down to `net.core.somaxconn`.
const BACKLOG: u32 = 4_096;

/// A listener that fails is asked again after this, not in a tight loop.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

pub(super) async fn serve(args: &ServeArgs, stop: &Stopper) -> Result<(), Stop> {
    let addr = args.listen;
    let failed =
        |error: std::io::Error| Stop::could_not_run(format!("cannot listen on {addr}: {error}"));
    let listener = TcpListener::builder().backlog(BACKLOG).bind(addr).map_err(failed)?;
    announce(listener.local_addr().map_err(failed)?, args.driver)?;
    drop(ringloop::spawn(accept_all(listener)));
    stop.stopped().await;
    Ok(())
}

async fn accept_all(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok(stream) => drop(ringloop::spawn(echo(stream))),
            Err(error) => {
                eprintln!("loadtest: accept: {error}");
                ringloop::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Serves one peer until it closes or fails. A peer's failure is its own matter: nothing is printed.
async fn echo(mut stream: TcpStream) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    while let Ok(bytes) = stream.recv().await {
        if bytes.is_empty() || stream.send(bytes).await.is_err() {
            return;
        }
    }
}
