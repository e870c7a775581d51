//! A chat server: each line that a client sends goes to all others, with the name of the sender.
//!
//! `cargo run --example chat -- 127.0.0.1:7000`, then `nc 127.0.0.1 7000` several times. The first
//! line is the name.

use std::io;
use std::rc::Rc;

use ringloop::net::{self, ReadHalf, TcpListener, TcpStream};
use ringloop::select;
use ringloop::sync::broadcast::{self, error::RecvError};

/// Messages that a slow client may be behind before it misses some.
const BACKLOG: usize = 256;

/// The greatest length of a line, in bytes. A client that sends a longer one is disconnected.
const LINE_MAX_BYTES: usize = 4096;

type Message = (Rc<str>, Rc<str>); // the name and the line

fn main() -> io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".into());
    ringloop::run(async {
        let listener = TcpListener::bind(addr)?;
        println!("listening on {}", listener.local_addr()?);
        let (messages, _) = broadcast::channel(BACKLOG);
        net::serve(listener, move |stream| talk(stream, messages.clone())).wait().await
    })
}

async fn talk(mut stream: TcpStream, messages: broadcast::Sender<Message>) {
    if let Err(error) = exchange(&mut stream, &messages).await {
        eprintln!("connection: {error}");
    }
}

async fn exchange(stream: &mut TcpStream, messages: &broadcast::Sender<Message>) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = Lines { reader, bytes: Vec::new() };
    let Some(name) = lines.next().await? else { return Ok(()) };
    let mut others = messages.subscribe();
    let send = |text: &str| drop(messages.send((Rc::clone(&name), text.into())));
    writer.send(format!("welcome, {name}\n")).await?;
    send("has joined");
    loop {
        // Both branches are safe to drop: a line that has arrived in part stays in `lines`, and a
        // message that was not taken stays in the channel.
        select! {
            line = lines.next() => match line? {
                Some(line) => send(&line),
                None => break,
            },
            message = others.recv() => match message {
                Ok((sender, _)) if Rc::ptr_eq(&sender, &name) => {}
                Ok((sender, text)) => writer.send(format!("{sender}: {text}\n")).await?,
                Err(RecvError::Lagged(count)) => {
                    writer.send(format!("({count} messages missed)\n")).await?;
                }
                Err(RecvError::Closed) => break,
            },
        }
    }
    send("has left");
    writer.shutdown().await
}

/// Lines of a stream.
struct Lines<'a> {
    reader: ReadHalf<'a>,
    bytes: Vec<u8>,
}

impl Lines<'_> {
    async fn next(&mut self) -> io::Result<Option<Rc<str>>> {
        loop {
            if let Some(end) = self.bytes.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().into()));
            }
            let bytes = self.reader.recv().await?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if self.bytes.len() + bytes.len() > LINE_MAX_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
            }
            self.bytes.extend_from_slice(&bytes);
        }
    }
}
