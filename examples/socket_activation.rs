//! Socket activation: serves sockets that systemd has opened, so that a restart refuses no
//! connection.
//!
//! `systemd-socket-activate -l 127.0.0.1:7000 target/debug/examples/socket_activation`, then `nc
//! 127.0.0.1 7000`. Each connection receives the name of its socket, and then its own bytes. For a
//! pair of units, put `ListenStream=7000` and `FileDescriptorName=echo` into `example.socket`, and
//! `ExecStart=` with this program into `example.service`. Without a supervisor the program binds an
//! address of its own.

use std::io;

use ringloop::net::{ActivatedListener, TcpListener, UnixListener, activated};
use ringloop::spawn;

pub(crate) fn main() -> io::Result<()> {
    let sockets = activated()?; // before any thread is started or file is opened
    ringloop::run(async {
        let mut tasks = Vec::new();
        if sockets.is_empty() {
            let listener = TcpListener::bind("127.0.0.1:7000")?;
            println!("not activated; listening on {}", listener.local_addr()?);
            tasks.push(spawn(serve_tcp("own".into(), listener)));
        }
        for socket in sockets {
            let name = socket.name;
            tasks.push(match socket.listener {
                ActivatedListener::Tcp(socket) => {
                    spawn(serve_tcp(name, TcpListener::from_std(socket)))
                }
                ActivatedListener::Unix(socket) => {
                    spawn(serve_unix(name, UnixListener::from_std(socket)))
                }
                other => return Err(io::Error::other(format!("{name}: {other:?}"))),
            });
        }
        for task in tasks {
            task.await.map_err(io::Error::other)??;
        }
        Ok(())
    })
}

/// Defines a server for one kind of listener.
macro_rules! serve {
    ($serve:ident: $listener:ty) => {
        async fn $serve(name: String, listener: $listener) -> io::Result<()> {
            loop {
                let mut stream = listener.accept().await?;
                let greeting = format!("{name}\n");
                spawn(async move {
                    stream.write_all(greeting.as_bytes()).await?;
                    loop {
                        let bytes = stream.recv().await?;
                        if bytes.is_empty() {
                            return stream.close().await;
                        }
                        stream.send(bytes).await?;
                    }
                });
            }
        }
    };
}

serve!(serve_tcp: TcpListener);
serve!(serve_unix: UnixListener);
