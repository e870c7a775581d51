//! Signals.

mod ending;
mod interrupt;

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use futures_core::Stream as _;
use ringloop::signal::{self, SignalKind, ctrl_c, shutdown, signal};
use ringloop::task::yield_now;
use ringloop::time::sleep;
use ringloop::{call_soon, spawn};

use crate::common::{Dice, open_fds, poll_once, scaled, turn, turns};
use crate::raising::{Target, is_handled, raise};
use crate::suite::Driver;
use crate::{Body, bodies};
use ending::{
    further_signals_can_be_awaited, the_first_signal_is_graceful_and_the_second_is_hard,
    the_second_signal_ends_a_blocked_loop, untaken_signals_are_sent_again,
};
use interrupt::{
    g5_an_interrupt_differs_from_a_result_and_another_cancel,
    g5_an_interrupt_that_was_not_seen_is_sent_again,
    g5_the_first_ctrl_c_drops_the_future_inside_the_loop, g5_the_second_ctrl_c_ends_the_process,
};

pub(crate) const SHARED: &[Body] = bodies![signals_that_cannot_be_received_are_refused];
pub(crate) const ALONE: &[Body] = bodies![
    a_signal_ends_the_sleep_and_runs_in_the_loop,
    no_signal_is_lost_on_the_way_to_sleep,
    signals_between_two_turns_of_a_foreign_loop_end_its_sleep,
    every_listener_receives_and_dropping_one_keeps_the_others,
    every_loop_of_the_process_receives,
    signals_before_the_look_are_one,
    a_callback_runs_in_order_and_survives_its_panic,
    a_dropped_guard_cancels_a_call_that_is_due,
    the_last_listener_restores_the_disposition,
    a_dropped_receive_loses_no_signal,
    listeners_of_a_closed_loop_end,
    loops_that_have_closed_keep_one_descriptor,
    untaken_signals_are_sent_again,
    the_first_signal_is_graceful_and_the_second_is_hard,
    the_second_signal_ends_a_blocked_loop,
    further_signals_can_be_awaited,
    g5_the_first_ctrl_c_drops_the_future_inside_the_loop,
    g5_an_interrupt_differs_from_a_result_and_another_cancel,
    g5_the_second_ctrl_c_ends_the_process,
    g5_an_interrupt_that_was_not_seen_is_sent_again,
];

const SIGINT: i32 = 2;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGTERM: i32 = 15;

const USR1: SignalKind = SignalKind::user_defined1();
const USR2: SignalKind = SignalKind::user_defined2();

/// Goal: a signal ends the wait of the loop, and its listeners run in the loop (G1).
///
/// Method: a listener and a callback; another thread sends the signal to the loop's thread, which
/// sleeps or is about to, and to itself.
///
/// Kills: a handler that does not notify the wake fd; a wait that starts again with the old set; a
/// callback that runs in the handler.
fn a_signal_ends_the_sleep_and_runs_in_the_loop(on: Driver) {
    on.run(async {
        let mut signals = signal(USR1).unwrap();
        let ran_in = Rc::new(Cell::new(None));
        let noted = Rc::clone(&ran_in);
        let here = || (thread::current().id(), turn());
        let _guard = signal::on(USR1, move || noted.set(Some(here()))).unwrap();
        let target = Target::this_thread();
        for is_to_the_loop in [true, false, true, false] {
            let sender = thread::spawn(move || match is_to_the_loop {
                true => target.send(SIGUSR1),
                false => raise(SIGUSR1),
            });
            signals.recv().await.unwrap();
            assert_eq!(ran_in.take(), Some(here()));
            sender.join().unwrap();
        }
    });
}

/// Goal: a signal that comes while the loop goes to sleep is not lost.
///
/// Method: a thread sends one signal after the other, each when the one before was received, after
/// a random number of spins.
///
/// Kills: a wake fd that is notified before the bit is set; a set that is cleared after a listener
/// has looked.
fn no_signal_is_lost_on_the_way_to_sleep(on: Driver) {
    on.run(async {
        let mut signals = signal(USR1).unwrap();
        let (request, requests) = channel::<()>();
        let target = Target::this_thread();
        let sender = thread::spawn(move || {
            let mut dice = Dice::new(7);
            for (index, ()) in requests.into_iter().enumerate() {
                for _ in 0..dice.roll(2000) {
                    std::hint::spin_loop();
                }
                match index % 2 {
                    0 => target.send(SIGUSR1),
                    _ => raise(SIGUSR1),
                }
            }
        });
        for _ in 0..scaled(3000) {
            request.send(()).unwrap();
            signals.recv().await.unwrap();
        }
        drop(request);
        sender.join().unwrap();
    });
}

/// Goal: a turn does not sleep over signals that came before it, where a foreign loop drives it.
///
/// Method: two signals between two turns of a loop that has given its descriptor away; then a turn
/// that may sleep for a second. On io_uring two writes to the wake fd are one event, which the
/// kernel drops if the count was reset meanwhile.
///
/// Kills: a turn that resets the wake fd and does not look for signals before it sleeps.
fn signals_between_two_turns_of_a_foreign_loop_end_its_sleep(on: Driver) {
    let runtime = on.runtime();
    runtime.poll_fd().unwrap();
    let (mut first, mut second) = runtime.block_on(async { (signal(USR1), signal(USR2)) });
    let task = runtime.handle().spawn(async move {
        first.as_mut().unwrap().recv().await.unwrap();
        second.as_mut().unwrap().recv().await.unwrap();
    });
    runtime.turn(Some(Duration::ZERO));
    runtime.turn(Some(Duration::ZERO));
    let sleeps = runtime.handle().metrics().sleeps;
    raise(SIGUSR1);
    raise(SIGUSR2);
    runtime.turn(Some(Duration::from_secs(1)));
    assert_eq!(runtime.handle().metrics().sleeps, sleeps, "it must not sleep");
    runtime.turn(Some(Duration::ZERO));
    assert!(task.is_finished());
}

/// Goal: all listeners receive a signal, and dropping one keeps the others (G3).
///
/// Method: two listeners for one signal and one for another; then one is dropped.
///
/// Kills: one waiter per signal; a drop that ends the listening of the loop; a signal that reaches
/// listeners of another.
fn every_listener_receives_and_dropping_one_keeps_the_others(on: Driver) {
    on.run(async {
        let (mut first, mut second) = (signal(USR1).unwrap(), signal(USR1).unwrap());
        let mut other = signal(USR2).unwrap();
        raise(SIGUSR1);
        first.recv().await.unwrap();
        second.recv().await.unwrap();
        assert!(poll_once(pin!(other.recv())).await.is_pending());
        drop(first);
        raise(SIGUSR1);
        raise(SIGUSR2);
        second.recv().await.unwrap();
        other.recv().await.unwrap();
        turns(3).await;
        assert!(poll_once(pin!(second.recv())).await.is_pending(), "each signal once");
        drop(other);
        assert!(is_handled(SIGUSR1) && !is_handled(SIGUSR2));
    });
}

/// Goal: every loop of the process that listens receives a signal, whichever thread it comes to; a
/// loop that closes keeps those of the others.
///
/// Method: two further loops on threads of their own, which each receive two signals; one of them
/// ends in between.
///
/// Kills: a handler that notifies one loop; a close that restores the disposition of another's.
fn every_loop_of_the_process_receives(on: Driver) {
    let (ready, is_ready) = channel();
    let threads: Vec<_> = [2, 3]
        .map(|count| {
            let ready = ready.clone();
            thread::spawn(move || {
                on.run(async {
                    let mut signals = signal(USR1).unwrap();
                    for _ in 0..count {
                        ready.send(()).unwrap();
                        signals.recv().await.unwrap();
                    }
                });
            })
        })
        .into();
    on.run(async {
        let mut signals = signal(USR1).unwrap();
        for listeners in [2, 2, 1] {
            (0..listeners).for_each(|_| is_ready.recv().unwrap());
            raise(SIGUSR1);
            signals.recv().await.unwrap();
        }
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(!is_handled(SIGUSR1));
}

/// Goal: signals that come before the loop looks are one, and the next one is another.
///
/// Method: a thousand signals without a turn; one is received. Then one more.
///
/// Kills: a count instead of a set; a bit that is not cleared.
fn signals_before_the_look_are_one(on: Driver) {
    on.run(async {
        let mut signals = signal(USR1).unwrap();
        for _ in 0..2 {
            (0..1000).for_each(|_| raise(SIGUSR1));
            signals.recv().await.unwrap();
            turns(3).await;
            assert!(poll_once(pin!(signals.recv())).await.is_pending());
        }
    });
}

/// Goal: a callback is called in order with the ready work, once per signal; its panic is reported
/// and it is called again.
///
/// Method: two callbacks, the first of which panics at its first call, and a `call_soon` of the
/// turn before.
///
/// Kills: a panic that ends the loop, loses the function, or skips the second callback; callbacks
/// in another order.
fn a_callback_runs_in_order_and_survives_its_panic(on: Driver) {
    let reports: Rc<RefCell<Vec<String>>> = Rc::default();
    let kept = Rc::clone(&reports);
    let runtime = on
        .builder()
        .on_unhandled(move |unhandled| kept.borrow_mut().push(unhandled.to_string()))
        .build()
        .unwrap();
    let seen: Rc<RefCell<Vec<&str>>> = Rc::default();
    let note = |name| {
        let seen = Rc::clone(&seen);
        move || seen.borrow_mut().push(name)
    };
    let line = line!() + 3;
    runtime.block_on(async {
        let (first, mut calls) = (note("first"), 0);
        let _first = signal::on(USR1, move || {
            first();
            calls += 1;
            assert!(calls != 1, "at the first call");
        })
        .unwrap();
        let _second = signal::on(USR1, note("second")).unwrap();
        for _ in 0..2 {
            raise(SIGUSR1);
            call_soon(note("soon"));
            turns(3).await;
        }
    });
    let round = ["soon", "first", "second"];
    assert_eq!(*seen.borrow(), [round, round].concat());
    let expected = format!("a callback from {}:{line}:22 panicked: at the first call", file!());
    assert_eq!(*reports.borrow(), [expected]);
}

/// Goal: dropping the guard cancels a call that is due, drops the function, and works inside of the
/// function.
///
/// Method: a guard that an earlier callback for the same signal drops; then one that its own
/// function drops.
///
/// Kills: a call after the drop; a function that is put back after the guard was dropped.
fn a_dropped_guard_cancels_a_call_that_is_due(on: Driver) {
    on.run(async {
        let kept = Rc::new(());
        let held = Rc::clone(&kept);
        let later: Rc<RefCell<Option<signal::SignalGuard>>> = Rc::default();
        let to_drop = Rc::clone(&later);
        let earlier = signal::on(USR1, move || drop(to_drop.take())).unwrap();
        *later.borrow_mut() = signal::on(USR1, move || unreachable!("{held:?}")).ok();
        raise(SIGUSR1);
        turns(3).await;
        assert_eq!((later.take().is_none(), Rc::strong_count(&kept)), (true, 1));

        let slot: Rc<RefCell<Option<signal::SignalGuard>>> = Rc::default();
        let (own, held, count) = (Rc::clone(&slot), Rc::clone(&kept), Rc::new(Cell::new(0)));
        let counter = Rc::clone(&count);
        let guard = signal::on(USR1, move || {
            counter.set(counter.get() + 1);
            drop(own.take());
            assert_eq!(Rc::strong_count(&held), 2, "alive while it runs");
        });
        *slot.borrow_mut() = Some(guard.unwrap());
        for _ in 0..2 {
            raise(SIGUSR1); // `earlier` keeps the second one from ending the process
            turns(3).await;
        }
        drop(earlier);
        assert_eq!((count.get(), Rc::strong_count(&kept)), (1, 1));
    });
}

/// Goal: the disposition of before is restored with the last listener, and Ctrl-C ends the process
/// again once `ctrl_c` has returned.
///
/// Method: the signals that the process handles, as the kernel lists them.
///
/// Kills: a restore with the first listener, or with none; a `ctrl_c` that listens on.
fn the_last_listener_restores_the_disposition(on: Driver) {
    on.run(async {
        assert!(!is_handled(SIGUSR1));
        let (first, second) = (signal(USR1).unwrap(), signal::on(USR1, || {}).unwrap());
        drop(first);
        assert!(is_handled(SIGUSR1));
        drop(second);
        assert!(!is_handled(SIGUSR1));

        let mut waiting = Box::pin(ctrl_c());
        assert!(!is_handled(SIGINT));
        assert!(poll_once(waiting.as_mut()).await.is_pending());
        assert!(is_handled(SIGINT));
        raise(SIGINT);
        waiting.await.unwrap();
        assert!(!is_handled(SIGINT));
        let _left = Box::leak(Box::new(signal(USR1).unwrap()));
        let _shutdown = Box::leak(Box::new(shutdown().unwrap()));
    });
    // The loop has closed, and with it the listeners that were leaked.
    assert!(![SIGUSR1, SIGINT, SIGTERM].into_iter().any(is_handled));
}

/// Goal: a `recv` that is dropped loses no signal, before and after it has come.
///
/// Method: one that is dropped while it waits, one that is dropped when it was woken; then one that
/// returns the signal, and a stream that returns the next.
///
/// Kills: a signal that belongs to the future.
fn a_dropped_receive_loses_no_signal(on: Driver) {
    on.run(async {
        let mut signals = signal(USR1).unwrap();
        assert!(poll_once(pin!(signals.recv())).await.is_pending());
        raise(SIGUSR1);
        {
            let mut receive = pin!(signals.recv());
            assert!(poll_once(receive.as_mut()).await.is_pending());
            turns(2).await;
        }
        assert!(poll_once(pin!(signals.recv())).await.is_ready());
        raise(SIGUSR1);
        let next = std::future::poll_fn(|cx| pin!(&mut signals).poll_next(cx));
        assert_eq!(next.await, Some(()));
    });
}

/// Goal: listeners of a closed loop end, and new ones are never called.
///
/// Method: a listener that outlives its runtime; one that a destructor makes while the loop ends.
///
/// Kills: a wait without end; a listening that the end of the loop leaves behind.
fn listeners_of_a_closed_loop_end(on: Driver) {
    struct Late(Rc<RefCell<Option<signal::Signal>>>);
    impl Drop for Late {
        fn drop(&mut self) {
            *self.0.borrow_mut() = signal(USR2).ok();
        }
    }
    let runtime = on.runtime();
    let late: Rc<RefCell<Option<signal::Signal>>> = Rc::default();
    let slot = Late(Rc::clone(&late));
    let (mut signals, mut request) = runtime.block_on(async {
        spawn(async move {
            let _slot = slot;
            sleep(Duration::MAX).await;
        });
        yield_now().await;
        (signal(USR1).unwrap(), shutdown().unwrap())
    });
    drop(runtime);
    assert!(![SIGUSR1, SIGUSR2, SIGINT, SIGTERM].into_iter().any(is_handled));
    on.run(async {
        assert_eq!(signals.recv().await, None);
        assert_eq!(request.recv().await.unwrap_err().kind(), io::ErrorKind::NotConnected);
        let late = late.take();
        assert_eq!(late.expect("a listener").recv().await, None);
    });
}

/// Goal: loops that have listened and closed leave one descriptor, whatever their number, and
/// signals do not reach them.
///
/// Method: many loops, one after the other; the descriptors of the process. A signal is sent by a
/// thread all the time, so handlers run while loops close.
///
/// Kills: a descriptor per loop; a handler that writes to a descriptor that was closed.
fn loops_that_have_closed_keep_one_descriptor(on: Driver) {
    on.run(async {
        let mut outer = signal(USR1).unwrap(); // the signal is handled all the time
        let (stop, is_stopped) = channel::<()>();
        let sender = thread::spawn(move || {
            while is_stopped.try_recv().is_err() {
                raise(SIGUSR1);
            }
        });
        let rounds = move || {
            for _ in 0..20 {
                on.run(async { signal(USR1).unwrap().recv().await.unwrap() });
            }
            open_fds().into_values().filter(|target| target.contains("eventfd")).count()
        };
        let counts = thread::spawn(move || (rounds(), rounds())).join().unwrap();
        assert_eq!(counts.0, counts.1, "eventfds after twenty loops, and after forty");
        stop.send(()).unwrap();
        sender.join().unwrap();
        outer.recv().await.unwrap();
    });
}

/// Goal: signals that no handler can receive, or may not return from, and numbers that are no
/// signals are refused with the reason.
///
/// Method: each of them, by each way to listen.
///
/// Kills: a list without one of them; an error of the system call in place of the reason.
fn signals_that_cannot_be_received_are_refused(on: Driver) {
    on.run(async {
        for (number, part) in [
            (9, "cannot listen for SIGKILL: the kernel lets no process handle it"),
            (19, "SIGSTOP"),
            (11, "cannot listen for SIGSEGV: it reports a fault of the instruction that runs"),
            (4, "SIGILL"),
            (8, "SIGFPE"),
            (7, "SIGBUS"),
            (0, "cannot listen for signal 0: signals have the numbers 1 to 64"),
            (-1, "signal -1"),
            (65, "signal 65"),
            (i32::MAX, "1 to 64"),
        ] {
            let kind = SignalKind::from_raw(number);
            for error in [signal(kind).unwrap_err(), signal::on(kind, || {}).unwrap_err()] {
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
                assert!(error.to_string().contains(part), "{error}");
            }
        }
    });
}
