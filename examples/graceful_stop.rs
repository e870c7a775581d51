//! Teaches: ending a server well: stop accepting, let connections finish within a deadline, end.
//!
//! `cargo run --example graceful_stop -- 127.0.0.1:7000`, connect a few times with
//! `nc 127.0.0.1 7000`, then press Ctrl-C. Open connections have five seconds to end. A second
//! Ctrl-C ends the program at once.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringloop::net::{TcpListener, TcpStream};
use ringloop::time::timeout;
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

/// How long connections may take to finish once the server stops.
const DRAIN: Duration = Duration::from_secs(5);

fn main() -> io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".into());
    let ctrl_c = CtrlC::listen()?;
    ringloop::run(async {
        let listener = TcpListener::bind(addr)?;
        println!("listening on {}", listener.local_addr()?);
        let open = Rc::new(Open::default());
        let acceptor = ringloop::spawn(accept(listener, Rc::clone(&open)));

        poll_fn(|cx| ctrl_c.poll(cx)).await;
        // The task's future is dropped and its listener with it. Connections that are open go on:
        // they are tasks of their own.
        acceptor.abort();
        println!("stopped accepting; {} connections open", open.count.get());

        match timeout(DRAIN, poll_fn(|cx| open.poll_none(cx))).await {
            Ok(()) => println!("all connections have ended"),
            Err(_) => println!("{} connections are cut off", open.count.get()),
        }
        Ok(()) // what is left is dropped with the loop, which still sends what was queued
    })
}

async fn accept(listener: TcpListener, open: Rc<Open>) {
    loop {
        match listener.accept().await {
            Ok(stream) => {
                let guard = Open::enter(&open);
                ringloop::spawn(async move {
                    let _guard = guard; // counts out when the task ends, however it ends
                    if let Err(error) = echo(stream).await {
                        eprintln!("connection: {error}");
                    }
                });
            }
            Err(error) => return eprintln!("accepting has failed: {error}"),
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    loop {
        let bytes = stream.recv().await?;
        if bytes.is_empty() {
            return stream.close().await;
        }
        stream.send(bytes).await?;
    }
}

/// How many connections there are, and who waits for the last to end. One thread: cells will do.
#[derive(Default)]
struct Open {
    count: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
}

struct OpenGuard(Rc<Open>);

impl Open {
    fn enter(open: &Rc<Open>) -> OpenGuard {
        open.count.set(open.count.get() + 1);
        OpenGuard(Rc::clone(open))
    }

    fn poll_none(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.count.get() == 0 {
            return Poll::Ready(());
        }
        self.waiting.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        let Open { count, waiting } = &*self.0;
        count.set(count.get() - 1);
        if count.get() == 0
            && let Some(waker) = waiting.take()
        {
            waker.wake();
        }
    }
}

/// Ctrl-C, heard by a thread and awaited on the loop. Every waker works from every thread, so this
/// is all it takes to hand something to a loop.
#[derive(Default)]
struct CtrlC {
    state: Mutex<Pressed>,
}

#[derive(Default)]
struct Pressed {
    is_pressed: bool,
    waiting: Option<Waker>,
}

impl CtrlC {
    fn listen() -> io::Result<Arc<CtrlC>> {
        let ctrl_c = Arc::new(CtrlC::default());
        let mut signals = Signals::new([SIGINT])?;
        let pressing = Arc::clone(&ctrl_c);
        std::thread::spawn(move || {
            for _ in signals.forever() {
                pressing.press();
            }
        });
        Ok(ctrl_c)
    }

    fn press(&self) {
        let mut state = self.state.lock().expect("nothing panics under this lock");
        if std::mem::replace(&mut state.is_pressed, true) {
            std::process::exit(130); // 128 + SIGINT, as shells expect
        }
        if let Some(waker) = state.waiting.take() {
            waker.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock().expect("nothing panics under this lock");
        if state.is_pressed {
            return Poll::Ready(());
        }
        state.waiting = Some(cx.waker().clone());
        Poll::Pending
    }
}
