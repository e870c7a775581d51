//! Callbacks without tasks: `call_soon`, `call_later` and `call_at`.
//!
//! `cargo run --example callbacks`
//!
//! A callback runs once, on the loop's thread, between two tasks. It cannot wait, so it schedules
//! the next one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ringloop::time::{Instant, sleep_until};
use ringloop::{call_at, call_later, call_soon};

const TENTH: Duration = Duration::from_millis(100);

/// The callbacks that have run, in order.
type Log = Rc<RefCell<Vec<String>>>;

fn main() {
    let log = Log::default();
    ringloop::run(async {
        let end = Instant::now() + 5 * TENTH;

        // In the order of the calls, in the next turn of the loop, and never inside `call_soon`.
        for number in 1..=3 {
            note_soon(&log, format!("soon {number}"));
        }
        assert!(log.borrow().is_empty());

        // A callback that schedules itself again until the end, as a clock does.
        tick(Rc::clone(&log), Instant::now(), end);

        // Equal deadlines: in the order in which they were set.
        for name in ["first at the end", "second at the end"] {
            let log = Rc::clone(&log);
            call_at(end, move || note(&log, name.to_owned()));
        }

        // A cancelled callback is dropped at once. Dropping a handle does not cancel.
        let unwanted = call_later(TENTH, || unreachable!("it was cancelled"));
        unwanted.cancel();

        sleep_until(end + TENTH).await;
    });
    assert_eq!(log.borrow()[..3], ["soon 1", "soon 2", "soon 3"]);
    assert_eq!(log.borrow()[7..], ["tick at 400 ms", "first at the end", "second at the end"]);
}

fn note(log: &Log, text: String) {
    println!("{text}");
    log.borrow_mut().push(text);
}

fn note_soon(log: &Log, text: String) {
    let log = Rc::clone(log);
    call_soon(move || note(&log, text));
}

fn tick(log: Log, at: Instant, end: Instant) {
    if at >= end {
        return;
    }
    let begun = end - 5 * TENTH;
    call_at(at, move || {
        note(&log, format!("tick at {} ms", (at - begun).as_millis()));
        tick(log, at + TENTH, end);
    });
}
