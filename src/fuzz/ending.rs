//! The end of a run: everything is answered, everything ends, nothing is left.

use std::rc::{Rc, Weak};
use std::time::Duration;

use super::Run;
use super::descriptors;
use super::endpoints::End;
use super::program::Program;
use super::tasks::{Read, Task, What, Write};
use crate::Runtime;
use crate::buf::Pool;
use crate::reactor::Reactor;
use crate::runtime::Core;
use crate::runtime::context;
use crate::task::yield_now;
use crate::time::sleep;

/// Rounds in which the kernel answers everything. A queue of 300 000 bytes needs less than ten.
const ROUNDS_MAX: u32 = 200;

/// Every so many rounds the clock moves, so that timers, pauses and lingering end.
const SLEEP_EVERY: u32 = 4;

/// What must be gone when the runtime is.
pub(super) struct LoopLeft {
    reactor: Weak<Reactor>,
    pool: Weak<Pool>,
}

impl LoopLeft {
    pub(super) fn of(core: &Rc<Core>) -> LoopLeft {
        let reactor = &core.reactor;
        LoopLeft { reactor: Rc::downgrade(reactor), pool: Rc::downgrade(reactor.pool()) }
    }
}

/// Has the kernel answer everything until all tasks have ended, then ends what the program holds.
pub(super) async fn settle(program: &mut Program) {
    let run = Rc::clone(&program.run);
    run.is_kind.set(true);
    run.script.set_consume_max(None);
    run.script.clear_enter_failures();
    // Accepts that nothing is owed: polled once, or perhaps beyond a limit.
    let may_wait = |task: &Task| match task.what {
        What::Neglect(_) => true,
        What::Accept(number) => run.books.borrow().listeners[number].limit.is_some(),
        _ => false,
    };
    rounds(program, "tasks", |program| program.tasks.iter().all(may_wait)).await;
    sleep(Duration::from_millis(800)).await; // longer than the backoff of a listener, or is silent
    for _ in 0..4 + run.script.pending_count() {
        yield_now().await;
    }
    run.books.borrow_mut().check_limits();
    program.tasks.iter().for_each(|task| task.handle.abort());
    let endpoints = run.endpoints.borrow().clone();
    for endpoint in &endpoints {
        let is_cut = run.books.borrow().conns[endpoint.conn].is_cut;
        if endpoint.can_write && !is_cut {
            program.tasks.extend(run.spawn_write(endpoint, Write::Flush));
        }
    }
    rounds(program, "flushes", |program| program.tasks.is_empty()).await;
    for endpoint in &endpoints {
        if endpoint.can_read {
            program.tasks.extend(run.spawn_read(endpoint, Read::All));
        }
    }
    rounds(program, "reads", |program| program.tasks.is_empty()).await;
    drop(endpoints);
    for endpoint in run.endpoints.take() {
        match run.spawn_close(&endpoint) {
            Some(task) => program.tasks.push(task),
            None => {
                let end = endpoint.place.take();
                end.into_iter().for_each(|end| run.drop_end(endpoint.conn, end));
            }
        }
    }
    run.buffers.take();
    program.listeners.clear();
    run.books.borrow_mut().listeners.iter_mut().for_each(|listener| listener.is_dropped = true);
    run.books.borrow_mut().watches.iter_mut().for_each(|watch| watch.is_dropped = true);
    program.watches.clear();
    rounds(program, "closes", |program| {
        let stats = context::current().reactor.stats();
        program.tasks.is_empty() && (stats.in_flight, stats.closing_streams) == (0, 0)
    })
    .await;
    check_settled(&run);
}

async fn rounds(program: &mut Program, what: &str, is_done: impl Fn(&Program) -> bool) {
    let run = Rc::clone(&program.run);
    for round in 0..ROUNDS_MAX {
        program.tasks.retain(|task| !task.is_done());
        if is_done(program) || run.has_violation() {
            return;
        }
        run.look();
        run.answer_everything();
        let pending_count = run.script.pending_count();
        for _ in 0..pending_count + 2 {
            yield_now().await;
        }
        if run.script.pending_count() > 0 && !run.books.borrow().is_broken {
            let left_count = run.script.pending_count();
            let text =
                format_args!("{left_count} of {pending_count} completions are not collected");
            return run.books.borrow_mut().violated(text);
        }
        if round % SLEEP_EVERY == SLEEP_EVERY - 1 {
            sleep(Duration::from_millis(200)).await;
        }
    }
    let stuck: Vec<What> = program.tasks.iter().map(|task| task.what).collect();
    let stats = context::current().reactor.stats();
    let left = (stats.in_flight, stats.closing_streams, stats.timers);
    let mut books = run.books.borrow_mut();
    let ops: Vec<_> = books.ops.iter().map(|op| (op.op_kind(), op.kind, op.is_cancelled)).collect();
    books.violated(format_args!(
        "{what} do not end: {stuck:?}; in flight, closing, timers: {left:?}; the kernel has {ops:?}"
    ));
}

fn check_settled(run: &Run) {
    let stats = context::current().reactor.stats();
    let mut books = run.books.borrow_mut();
    if stats.timers > 0 {
        books.violated(format_args!("{} timers of nothing", stats.timers));
    }
    // A driver that has failed leaks what it was lent.
    if stats.stale_completions > 0 || (stats.buffers_held > 0 && !books.is_broken) {
        let (stale_completions, held) = (stats.stale_completions, stats.buffers_held);
        books.violated(format_args!("{stale_completions} stale_completions, {held} buffers held"));
    }
    for number in 0..books.conns.len() {
        check_sent(&mut books, number);
    }
}

/// A connection that the program has closed or dropped has sent all that was queued, unless there
/// is a reason.
fn check_sent(books: &mut super::books::Books, number: usize) {
    let conn = &books.conns[number];
    let lost_count = conn.out_confirmed.saturating_sub(conn.out_taken);
    if conn.is_handed_over && lost_count > 0 && !books.may_lose(number) && books.loss_reports == 0 {
        books
            .violated(format_args!("connection {number} lost {lost_count} bytes without a report"));
    }
}

/// Drops the runtime, before or after what the program still holds, and looks for what is left.
pub(super) fn end(program: Program, runtime: Runtime, loop_left: &LoopLeft, is_mute: bool) {
    let run = Rc::clone(&program.run);
    {
        let mut books = run.books.borrow_mut();
        books.is_over = true;
        books.is_mute = is_mute;
    }
    if run.choices.one_in(2) {
        drop_all(&run, program);
        drop(runtime);
    } else {
        drop(runtime);
        drop_all(&run, program);
    }
    run.look();
    check_left(&run, loop_left);
}

fn drop_all(run: &Run, program: Program) {
    run.buffers.take();
    for endpoint in run.endpoints.take() {
        let end: Option<End> = endpoint.place.take();
        end.into_iter().for_each(|end| run.drop_end(endpoint.conn, end));
    }
    drop(program);
}

fn check_left(run: &Run, loop_left: &LoopLeft) {
    let is_leaked = run.script.is_leaked();
    let mut books = run.books.borrow_mut();
    let books = &mut *books;
    books.trace.note("end", u64::from(is_leaked), 0);
    let ops_count = books.ops.len();
    if is_leaked {
        let is_reported = books.undrained_reports == 1 || books.is_broken;
        let may_leak = books.is_mute || books.is_broken || books.dropped_count > 0;
        if !is_reported || !may_leak {
            books.violated(format_args!("the ring was leaked, with {ops_count} in flight"));
        }
        return;
    }
    if ops_count > 0 {
        let kinds: Vec<_> = books.ops.iter().map(|op| (op.op_kind(), op.kind)).collect();
        books.violated(format_args!("in flight after the end: {kinds:?}"));
    }
    let peers: Vec<_> = books.conns.iter().filter_map(|conn| conn.peer).collect();
    peers.into_iter().for_each(descriptors::close);
    let number_max = books.files.iter().map(|file| file.fd).max().unwrap_or(2) + 64;
    let open = descriptors::open_now(number_max);
    if !open.is_empty() {
        books.violated(format_args!("descriptors left: {open:?}"));
    }
    let (reactors, pools) = (loop_left.reactor.strong_count(), loop_left.pool.strong_count());
    if (reactors, pools) != (0, 0) {
        books
            .violated(format_args!("left: {reactors} references to the loop, {pools} to the pool"));
    }
}
