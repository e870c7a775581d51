//! Values whose destructors panic, in every place where the loop drops a value of the program.
//!
//! The payload of a panic is a value of the program too. So a bomb panics with another bomb, which
//! does so again, for a few levels.

mod common;

use std::cell::RefCell;
use std::future::{Future, pending};
use std::panic::panic_any;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Once};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::{LIMIT, any_addr, std_pair, tight_pair, turns, within};
use ringloop::net::TcpListener;
use ringloop::task::yield_now;
use ringloop::time::{Instant, call_at, call_later, sleep};
use ringloop::{Runtime, call_soon, spawn};

/// Panics when it is dropped, with a bomb of one level less. One of level 0 panics with a text.
struct Bomb(u32);

const TEXT: &str = "the last of the bombs";

/// Bombs in bombs. The first is one too few for a payload that is a bomb itself.
const LEVELS: std::ops::Range<u32> = 0..3;

impl Drop for Bomb {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // a second panic while unwinding ends the process
        }
        match self.0.checked_sub(1) {
            Some(level) => panic_any(Bomb(level)),
            None => panic!("{TEXT}"),
        }
    }
}

/// A waker that panics when it wakes, when it is dropped, or both.
struct BadWaker {
    level: u32,
    wakes_badly: bool,
    _bomb: Option<Bomb>,
}

impl Wake for BadWaker {
    fn wake(self: Arc<Self>) {
        if self.wakes_badly {
            panic_any(Bomb(self.level));
        }
    }
}

fn good_to_wake(level: u32) -> Waker {
    Waker::from(Arc::new(BadWaker { level, wakes_badly: false, _bomb: Some(Bomb(level)) }))
}

fn bad_to_wake(level: u32) -> Waker {
    Waker::from(Arc::new(BadWaker { level, wakes_badly: true, _bomb: None }))
}

/// Polls `future` once with a waker and leaks the future, so that the loop keeps the waker.
fn wait_and_forget(future: impl Future, waker: Waker) {
    let mut future = Box::pin(future);
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    std::mem::forget(future);
    std::mem::forget(waker); // the loop has the last reference
}

async fn spawn_and_run<F: Future + 'static>(future: F) {
    drop(spawn(future));
    turns(3).await;
}

type Place = fn(level: u32) -> Pin<Box<dyn Future<Output = ()>>>;

/// The places where a running loop drops a value of the program, and the kinds of reports.
const WHILE_RUNNING: &[(&str, &[&str], Place)] = &[
    ("a detached task's panic", &["task", "destructor"], |level| {
        Box::pin(spawn_and_run(async move { panic_any(Bomb(level)) }))
    }),
    ("a panic that is not joined", &["task", "destructor"], |level| {
        Box::pin(async move {
            let task = spawn(async move { panic_any(Bomb(level)) });
            turns(3).await;
            drop(task);
        })
    }),
    ("a joiner that panics with what it has joined", &["task", "destructor?"], |level| {
        Box::pin(spawn_and_run(async move {
            let task = spawn(async move { panic_any(Bomb(level)) });
            drop(task.await);
        }))
    }),
    ("a result of a detached task", &["destructor"], |level| {
        Box::pin(spawn_and_run(async move { Bomb(level) }))
    }),
    ("a result that is not joined", &["destructor"], |level| {
        Box::pin(async move {
            let task = spawn(async move { Bomb(level) });
            turns(3).await;
            drop(task);
        })
    }),
    ("a local at the end of a task", &["task", "destructor?"], |level| {
        Box::pin(spawn_and_run(async move {
            let _bomb = Bomb(level);
            yield_now().await;
        }))
    }),
    ("a local of an aborted task", &["task", "destructor?"], |level| {
        Box::pin(async move {
            let bomb = Bomb(level);
            let task = spawn(async move {
                let _bomb = bomb;
                pending::<()>().await;
            });
            turns(2).await;
            task.abort();
            drop(task);
            turns(2).await;
        })
    }),
    ("a future and its result", &["task", "destructor", "destructor?"], |level| {
        struct Both(Bomb);
        impl Future for Both {
            type Output = Bomb;
            fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Bomb> {
                Poll::Ready(Bomb(self.0.0))
            }
        }
        Box::pin(spawn_and_run(Both(Bomb(level))))
    }),
    (
        "a future that panics, and then when it is dropped",
        &["task", "destructor", "destructor", "destructor?"],
        |level| {
            struct Both(Bomb);
            impl Future for Both {
                type Output = ();
                fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
                    panic_any(Bomb(self.0.0))
                }
            }
            Box::pin(spawn_and_run(Both(Bomb(level))))
        },
    ),
    ("a waker of a joiner", &["waker", "destructor"], |level| {
        Box::pin(async move {
            let task = spawn(async {});
            wait_and_forget(task, bad_to_wake(level));
            turns(3).await;
        })
    }),
    ("a waker of a joiner that is dropped", &["destructor"], |level| {
        Box::pin(async move {
            let mut task = spawn(pending::<()>());
            let waker = good_to_wake(level);
            assert!(pin!(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
            drop_quietly(waker);
            drop(task);
            turns(3).await;
        })
    }),
    ("call_soon", &["callback", "destructor"], |level| {
        Box::pin(async move {
            call_soon(move || panic_any(Bomb(level)));
            turns(3).await;
        })
    }),
    ("captures of call_soon", &["callback", "destructor?"], |level| {
        Box::pin(async move {
            let bomb = Bomb(level);
            call_soon(move || drop(bomb));
            turns(3).await;
        })
    }),
    ("call_later", &["callback", "destructor"], |level| {
        Box::pin(async move {
            call_later(Duration::ZERO, move || panic_any(Bomb(level)));
            turns(4).await;
        })
    }),
    ("call_at", &["callback", "destructor"], |level| {
        Box::pin(async move {
            call_at(Instant::now(), move || panic_any(Bomb(level)));
            turns(4).await;
        })
    }),
    ("a timer's waker", &["waker", "destructor"], |level| {
        Box::pin(async move {
            wait_and_forget(sleep(Duration::ZERO), bad_to_wake(level));
            turns(4).await;
        })
    }),
    ("a timer's waker, dropped when it has woken", &["waker", "destructor?"], |level| {
        Box::pin(async move {
            let waker = good_to_wake(level);
            let mut sleep = Box::pin(sleep(Duration::ZERO));
            assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            std::mem::forget(sleep);
            drop_quietly(waker);
            turns(4).await;
        })
    }),
    ("a reader's waker", &["waker", "destructor?"], |level| {
        Box::pin(async move {
            let (mut stream, peer) = std_pair();
            let waker = good_to_wake(level);
            let mut recv = Box::pin(stream.recv());
            assert!(recv.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            drop(recv);
            drop_quietly(waker);
            drop((stream, peer));
            turns(4).await;
        })
    }),
    ("a writer's waker", &["waker", "destructor?"], |level| {
        Box::pin(async move {
            let (mut stream, peer) = tight_pair();
            stream.send(vec![1; 4 << 20]).await.unwrap();
            let waker = good_to_wake(level);
            let mut flush = Box::pin(stream.flush());
            assert!(flush.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            drop(flush);
            drop_quietly(waker);
            stream.abort();
            drop(peer);
            turns(8).await;
        })
    }),
];

/// Drops a reference that is not the last.
fn drop_quietly(waker: Waker) {
    drop(waker);
}

/// The places where the loop drops a value of the program when the runtime ends.
const AT_THE_END: &[(&str, &[&str], Place)] = &[
    ("a local of a task", &["task", "destructor?"], |level| {
        Box::pin(async move {
            let bomb = Bomb(level);
            drop(spawn(async move {
                let _bomb = bomb;
                pending::<()>().await;
            }));
            turns(2).await;
        })
    }),
    ("captures of a callback", &["destructor"], |level| {
        Box::pin(async move {
            let bomb = Bomb(level);
            call_soon(move || drop(bomb));
        })
    }),
    ("captures of a timed callback", &["destructor"], |level| {
        Box::pin(async move {
            let bomb = Bomb(level);
            call_later(Duration::from_secs(3600), move || drop(bomb));
        })
    }),
    ("a timer's waker", &["waker", "destructor"], |level| {
        Box::pin(async move {
            wait_and_forget(sleep(Duration::from_secs(3600)), bad_to_wake(level));
        })
    }),
    ("the waker of an accept that was forgotten", &["waker", "destructor"], |level| {
        Box::pin(async move {
            let listener = Box::leak(Box::new(TcpListener::bind(any_addr()).unwrap()));
            wait_and_forget(listener.accept(), bad_to_wake(level));
            turns(2).await;
        })
    }),
];

type Reports = Rc<RefCell<Vec<String>>>;

/// A runtime, and its reports.
fn runtime() -> (Runtime, Reports) {
    let reports = Reports::default();
    let kept = Rc::clone(&reports);
    let keep = move |what: &ringloop::Unhandled| kept.borrow_mut().push(what.to_string());
    (Runtime::builder().on_unhandled(keep).build().unwrap(), reports)
}

/// Disables the printing of panics of bombs.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let former = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            if !payload.is::<Bomb>() && payload.downcast_ref::<&str>() != Some(&TEXT) {
                former(info);
            }
        }));
    });
}

/// Compares reports with the beginnings of their texts. One that ends in `?` is left out at level
/// 0, where a destructor panics with a text.
fn check(name: &str, level: u32, reports: &Reports, kinds: &[&str]) {
    let kind_of = |text: String| text.split([' ', ':']).nth(1).map(str::to_owned);
    let mut found: Vec<String> = reports.take().into_iter().filter_map(kind_of).collect();
    let wanted = kinds.iter().filter(|kind| level > 0 || !kind.ends_with('?'));
    let mut wanted: Vec<&str> = wanted.map(|kind| kind.trim_end_matches('?')).collect();
    found.sort();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "{name}, level {level}");
}

/// Goal: a panic of the destructor of any value that the loop drops does not leave the loop:
/// `block_on` goes on, and the panic is reported once.
///
/// Method: each place, with bombs of several levels; then a timer and a task on the same loop.
///
/// Kills: a reported payload that is dropped without a guard; the payload of that drop; a result, a
/// local, a capture or a waker that is dropped in a turn without a guard.
#[test]
fn bombs_do_not_end_the_loop() {
    quiet();
    within(LIMIT, || {
        for (name, kinds, place) in WHILE_RUNNING {
            for level in LEVELS {
                let (runtime, reports) = runtime();
                runtime.block_on(async {
                    place(level).await;
                    sleep(Duration::from_millis(1)).await;
                    assert_eq!(spawn(async { 7 }).await.unwrap(), 7, "{name}");
                });
                check(name, level, &reports, kinds);
            }
        }
    });
}

/// Goal: the end of a runtime drops all values and reports the panics of their destructors.
///
/// Method: each place, with bombs of several levels; the drop of the runtime does not panic.
///
/// Kills: a shutdown that drops captures, or the payloads of its reports, without a guard.
#[test]
fn bombs_do_not_end_the_end() {
    quiet();
    within(LIMIT, || {
        for (name, kinds, place) in AT_THE_END {
            for level in LEVELS {
                let (runtime, reports) = runtime();
                runtime.block_on(place(level));
                drop(runtime);
                check(name, level, &reports, kinds);
            }
        }
    });
}

/// Goal: the loop goes on if the hook panics, or if its captures panic when it is dropped.
///
/// Method: a hook that panics with a bomb for each report, and has captured one. Kills: a payload
/// of a hook that is dropped without a guard; a hook that is.
#[test]
fn a_hook_may_be_a_bomb() {
    quiet();
    within(LIMIT, || {
        for level in LEVELS {
            let captured = Bomb(level);
            let hook = move |_: &ringloop::Unhandled| {
                let whole = &captured; // captures the whole value, not its field
                panic_any(Bomb(whole.0))
            };
            let runtime = Runtime::builder().on_unhandled(hook).build().unwrap();
            runtime.block_on(async {
                drop(spawn(async { panic!("{TEXT}") }));
                sleep(Duration::from_millis(1)).await;
                assert_eq!(spawn(async { 7 }).await.unwrap(), 7);
            });
            drop(runtime);
        }
    });
}
