//! A graceful stop: stop accepting, let connections finish within a deadline, then end.
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

/// The time that connections have to finish after Ctrl-C.
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
        // Drops the future of the task, and the listener with it. Open connections go on, as they
        // have tasks of their own.
        acceptor.abort();
        println!("stopped accepting; {} connections open", open.count.get());

        match timeout(DRAIN, poll_fn(|cx| open.poll_none(cx))).await {
            Ok(()) => println!("all connections have ended"),
            Err(_) => println!("{} connections are cut off", open.count.get()),
        }
        Ok(()) // the loop drops the rest, and still sends queued bytes
    })
}

async fn accept(listener: TcpListener, open: Rc<Open>) {
    loop {
        match listener.accept().await {
            Ok(stream) => {
                let guard = Open::enter(&open);
                ringloop::spawn(async move {
                    let _guard = guard; // decrements the count when the task ends
                    if let Err(error) = echo(stream).await {
                        eprintln!("connection: {error}");
                    }
                });
            }
            Err(error) => return eprintln!("accept failed: {error}"),
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

/// The number of open connections, and the waker of the task that waits for zero. There is one
/// thread, so cells suffice.
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

/// Ctrl-C: a thread receives the signal, and a task of the loop awaits it. Wakers work from every
/// thread, so a loop needs no channel of its own for this.
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
