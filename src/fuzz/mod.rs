//! A fuzzer: random programs on a random kernel, checked by an oracle.
//!
//! A string of bytes decides everything: what the program does next ([`program`], [`tasks`],
//! [`endpoints`]), what the kernel answers, in which order and when ([`kernel`], [`answers`]), and
//! how the run ends ([`ending`]). The library runs for real above the ring's seam, on the scripted
//! ring and its clock that stands still. So a run is a function of its bytes: the same bytes give
//! the same trace.
//!
//! The oracle ([`books`], [`outcomes`]) keeps its own account of both sides and checks:
//!
//! - every byte is read once and in order; what is sent is what was queued, once and in order,
//! - every descriptor is closed once, never while an operation names it, and none is left open,
//! - memory is not freed while the kernel has it ([`memory`]); a buffer is lent once,
//! - every task ends once the kernel has answered: no completion, cancel or wake-up is lost,
//! - after the end nothing is in flight, no timer, buffer, socket or loop is left; if the kernel
//!   does not answer, the leak is reported.
//!
//! **The kernel is legal Linux.** One final completion per operation, a buffer only if it was
//! provided, `ECANCELED` only after a cancel, bytes never twice. What it may do at its worst:
//! answer in any order, with any error of the operation, end a multishot at any time with a
//! payload, lose a cancel, answer it too late, answer an operation with an internal errno (H19),
//! fail to enter.
//!
//! `#[test]`s in [`tests`] run seeds; a cargo-fuzz target in `fuzz/` feeds bytes to [`run`].

mod answers;
mod books;
mod choices;
mod descriptors;
mod ending;
mod endpoints;
mod kernel;
mod memory;
mod outcomes;
mod program;
#[cfg(test)]
mod shrink;
mod tasks;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::buf::RecvBuf;
use crate::driver::uring::scripted::Script;
use crate::error::panic_text;
use books::Books;
use choices::Choices;
use endpoints::Endpoint;

/// What a run shares: the kernel, the oracle's books, and what the program holds.
struct Run {
    choices: Choices,
    script: Script,
    books: RefCell<Books>,
    /// The kernel answers everything at once and obeys.
    is_kind: Cell<bool>,
    is_asleep: Cell<bool>,
    /// Streams and halves of the program.
    endpoints: RefCell<Vec<Rc<Endpoint>>>,
    /// Received buffers that the program holds.
    buffers: RefCell<Vec<RecvBuf>>,
    linger_ns: Cell<u64>,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Outcome {
    /// What was wrong.
    violation: Option<String>,
    /// Of everything that happened.
    #[cfg_attr(fuzzing, allow(dead_code))]
    hash: u64,
    #[cfg_attr(fuzzing, allow(dead_code))]
    lines: Vec<String>,
}

/// Whether a run keeps its trace as text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Detail {
    Hash,
    Lines,
}

/// Runs the program and the kernel that `bytes` describe. Call in a thread whose descriptor table
/// is its own ([`descriptors::isolate`]).
fn run(bytes: &[u8], detail: Detail) -> Outcome {
    memory::reset();
    let run = Rc::new(Run {
        choices: Choices::new(bytes),
        script: Script::new(),
        books: RefCell::default(),
        is_kind: Cell::new(false),
        is_asleep: Cell::new(false),
        endpoints: RefCell::default(),
        buffers: RefCell::default(),
        linger_ns: Cell::new(0),
    });
    if detail == Detail::Lines {
        run.books.borrow_mut().trace.lines = Some(Vec::new());
    }
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| program::play(&run))) {
        let text = panic_text(&payload).to_owned();
        run.books.borrow_mut().violated(format_args!("panic: {text}"));
        // Whatever is left may panic again, so it stays.
        std::mem::forget(Rc::clone(&run));
    }
    memory::reset();
    descriptors::close_all();
    let mut books = run.books.borrow_mut();
    Outcome {
        violation: books.violation.take(),
        hash: books.trace.hash,
        lines: books.trace.lines.take().unwrap_or_default(),
    }
}

/// For the fuzzing engine: a violation is a panic.
#[cfg(fuzzing)]
pub fn run_bytes(bytes: &[u8]) {
    thread_local! {
        static ISOLATED: () = descriptors::isolate();
    }
    ISOLATED.with(|()| ());
    let outcome = run(bytes, Detail::Hash);
    if let Some(violation) = outcome.violation {
        panic!("{violation}");
    }
}
