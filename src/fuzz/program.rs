//! The program's side: what it does next, one byte at a time.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use std::time::Duration;

use super::Run;
use super::books::{File, Kind, Listener, Watched};
use super::descriptors;
use super::ending;
use super::endpoints::{End, Endpoint};
use super::kernel::CONNS_MAX;
use super::tasks::{Read, Task, What, Write};
use crate::io::AsyncFd;
use crate::net::{Overflow, TcpListener, TcpStream};
use crate::runtime::context;
use crate::sys::errno;
use crate::task::yield_now;
use crate::time::sleep;
use crate::{Runtime, Unhandled};

/// Listeners, watches and tasks of one run.
const LISTENERS_MAX: usize = 2;
const WATCHES_MAX: usize = 2;
const TASKS_MAX: usize = 48;

/// What the program holds besides streams and buffers.
pub(super) struct Program {
    pub(super) run: Rc<Run>,
    pub(super) tasks: Vec<Task>,
    pub(super) listeners: Vec<(usize, Rc<TcpListener>)>,
    pub(super) watches: Vec<(usize, Rc<AsyncFd<UnixDatagram>>)>,
    can_break: bool,
}

/// What the program does when its main future has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// Enters the loop again.
    Enter,
    /// Drops the runtime as it is.
    Leave,
    /// Lets everything come to its end first.
    Settle,
}

/// Plays one run.
pub(super) fn play(run: &Rc<Run>) {
    let choices = &run.choices;
    let is_mute_at_end = choices.one_in(40);
    let can_break = choices.one_in(12);
    let ending = choices.of(&[Next::Settle, Next::Settle, Next::Leave]);
    let is_watched = choices.one_in(3);
    let runtime = build(run);
    run.connect();
    let mut program = Program {
        run: Rc::clone(run),
        tasks: Vec::new(),
        listeners: Vec::new(),
        watches: Vec::new(),
        can_break,
    };
    run.books.borrow_mut().is_watched = is_watched;
    let loop_left = runtime.block_on(async {
        let core = context::current();
        if is_watched {
            core.reactor.watch_from_now_on();
        }
        ending::LoopLeft::of(&core)
    });
    let mut next = Next::Enter;
    while next == Next::Enter {
        next = runtime.block_on(program.play(ending));
    }
    if next == Next::Settle && !run.has_violation() {
        runtime.block_on(ending::settle(&mut program));
    }
    ending::end(program, runtime, &loop_left, is_mute_at_end && next == Next::Leave);
}

fn build(run: &Rc<Run>) -> Runtime {
    let choices = &run.choices;
    let sq_entries = choices.of(&[8, 1, 2, 4, 64]);
    let cq_entries = sq_entries * choices.of(&[2, 1, 4]);
    let (buffer_count, buffer_len) = choices.of(&[
        (4, 64),
        (1, 64),
        (2, 16),
        (8, 16),
        (8, 1),
        (4, 256),
        (32, 4096), // enough for a queue to be full
        (32, 4096),
    ]);
    let linger_ns = choices.of(&[5_000_000_000, 100_000_000]);
    run.linger_ns.set(linger_ns);
    if choices.one_in(4) {
        run.script.set_profile(crate::driver::uring::scripted::Profile::All);
    }
    run.script.set_cancel_policy(crate::driver::uring::scripted::CancelPolicy::Ignore);
    let hook = Rc::clone(run);
    Runtime::builder()
        .ring_entries(sq_entries, cq_entries)
        .recv_buffers(buffer_count, buffer_len)
        .linger(Duration::from_nanos(linger_ns))
        .on_unhandled(move |unhandled| hook.reported(unhandled))
        .build_scripted(&run.script)
}

impl Run {
    pub(super) fn has_violation(&self) -> bool {
        self.books.borrow().violation.is_some()
    }

    /// The loop reports an error that nothing awaits.
    fn reported(&self, unhandled: &Unhandled) {
        let mut books = self.books.borrow_mut();
        books.trace.note("reported", 0, 0);
        let is_right = match unhandled {
            Unhandled::TaskPanic { .. }
            | Unhandled::CallPanic { .. }
            | Unhandled::WakePanic { .. }
            | Unhandled::DropPanic { .. }
            | Unhandled::BindWaited { .. }
            | Unhandled::BlockingJobsLeft { .. } => false,
            Unhandled::DriverFailed { .. } => books.is_broken,
            Unhandled::UndrainedShutdown { .. } => {
                books.undrained_reports += 1;
                books.is_mute || books.is_broken || books.dropped_count > 0
            }
            Unhandled::AcceptCapacity { .. } => books.exhausted_errors > 0,
            Unhandled::BackgroundClose { .. } => {
                books.loss_reports += 1;
                true // the end compares it with what was lost
            }
        };
        if !is_right {
            books.violated(format_args!("reported: {unhandled}"));
        }
    }
}

impl Program {
    async fn play(&mut self, ending: Next) -> Next {
        while !self.run.choices.is_over() && !self.run.has_violation() {
            if self.run.choices.one_in(200) {
                return [Next::Enter, Next::Leave][self.run.choices.below(2)];
            }
            self.act().await;
            self.run.look();
            match self.run.choices.below(8) {
                0..=3 => yield_now().await,
                4 => {
                    yield_now().await;
                    yield_now().await;
                }
                _ => {}
            }
            self.tasks.retain(|task| !task.is_done());
        }
        ending
    }

    /// One action.
    async fn act(&mut self) {
        let run = Rc::clone(&self.run);
        match run.choices.byte() % 64 {
            0..=17 => run.step(),
            18..=20 => self.listen(),
            21..=24 => self.accept(),
            25..=26 => self.connect(),
            27 => self.adopt(),
            28..=35 => self.read(),
            36..=43 => self.write(),
            44..=45 => self.split(),
            46..=48 => self.drop_end(),
            49 => self.abort_stream(),
            50..=51 => self.close(),
            52..=54 => self.abort_task(),
            55 if run.choices.one_in(4) => self.expose(),
            55 => self.drop_buffer(),
            56 => self.push(Some(run.spawn_sleep())),
            57 => self.watch(),
            58..=59 => self.ready(),
            60 => self.drop_listener(),
            61 => self.drop_watch(),
            62 => sleep(Duration::from_millis(run.choices.of(&[1, 0, 30, 200, 1_500]))).await,
            _ => self.disturb(),
        }
    }

    fn push(&mut self, task: Option<Task>) {
        if let Some(task) = task {
            if run_is_full(&self.tasks) {
                task.handle.abort();
            }
            self.tasks.push(task);
        }
    }

    fn endpoint(&self) -> Option<Rc<Endpoint>> {
        let endpoints = self.run.endpoints.borrow();
        if endpoints.is_empty() {
            return None;
        }
        Some(Rc::clone(&endpoints[self.run.choices.below(endpoints.len())]))
    }

    fn listen(&mut self) {
        let number = self.run.books.borrow().listeners.len();
        if number >= LISTENERS_MAX {
            return self.accept();
        }
        let limit = self.run.choices.of(&[None, None, Some(1), Some(3)]);
        let overflow = self.run.choices.of(&[Overflow::LeaveInBacklog, Overflow::Shed]);
        let mut builder = TcpListener::builder().overflow(overflow);
        if let Some(max) = limit {
            builder = builder.max_connections(max);
        }
        let listener = builder.bind("127.0.0.1:0").expect("a free port");
        let fd = listener.as_raw_fd();
        let inode = descriptors::inode(fd).expect("just opened");
        let mut books = self.run.books.borrow_mut();
        let limit = limit.map(|max| (max, overflow));
        books.listeners.push(Listener { limit, ..Listener::default() });
        books.files.push(File { fd, inode, kind: Kind::Listener(number) });
        drop(books);
        self.listeners.push((number, Rc::new(listener)));
        self.accept();
    }

    fn accept(&mut self) {
        if self.listeners.is_empty() {
            return self.adopt();
        }
        let (number, listener) = &self.listeners[self.run.choices.below(self.listeners.len())];
        let task = match self.run.choices.one_in(8) {
            true => self.run.spawn_neglect(*number, Rc::clone(listener)),
            false => self.run.spawn_accept(*number, Rc::clone(listener)),
        };
        self.push(Some(task));
    }

    fn connect(&mut self) {
        let task = self.run.spawn_connect();
        self.push(task);
    }

    /// A connection from elsewhere.
    fn adopt(&mut self) {
        if self.run.books.borrow().conns.len() >= CONNS_MAX {
            return;
        }
        let number = self.run.new_conn();
        let fd = self.run.books.borrow().conns[number].fd;
        self.run.books.borrow_mut().conns[number].is_exposed = true;
        let owned: OwnedFd = crate::op::accept::adopt(fd);
        self.run.adopt(TcpStream::from_std(std::net::TcpStream::from(owned)));
    }

    fn read(&mut self) {
        let Some(endpoint) = self.endpoint() else { return self.adopt() };
        let len = self.run.choices.of(&[1, 7, 64, 200]);
        let read = match self.run.choices.below(8) {
            0..=1 => Read::Recv(false),
            2 => Read::Recv(true),
            3..=4 => Read::Some(len),
            5..=6 => Read::Exact(len),
            _ => Read::All,
        };
        let task = self.run.spawn_read(&endpoint, read);
        self.push(task);
    }

    fn write(&mut self) {
        let Some(endpoint) = self.endpoint() else { return self.connect() };
        if self.run.books.borrow().conns[endpoint.conn].out.len() > 300_000 {
            return;
        }
        let write = match self.run.choices.byte() % 32 {
            0..=12 => Write::All(self.run.choices.of(&[1, 5, 100])),
            13..=18 => Write::Send(self.run.choices.of(&[1, 6, 300])),
            19..=22 => Write::Echo,
            23..=27 => Write::Flush,
            28 => Write::Shutdown,
            29 => Write::All(self.run.choices.of(&[60_000, 70_000, 140_000])),
            30 => Write::Send(70_000),
            _ => Write::All(0),
        };
        let task = self.run.spawn_write(&endpoint, write);
        self.push(task);
    }

    fn split(&mut self) {
        let Some(endpoint) = self.endpoint() else { return };
        let end = endpoint.place.take();
        let Some(End::Whole(stream)) = end else {
            *endpoint.place.borrow_mut() = end;
            return;
        };
        let conn = endpoint.conn;
        let (reading, writing) = stream.into_split();
        self.run.books.borrow_mut().conns[conn].handles_count = 2;
        let half = |end, can_read| {
            let place = std::cell::RefCell::new(Some(end));
            Rc::new(Endpoint { conn, place, can_read, can_write: !can_read })
        };
        let halves = [half(End::Read(reading), true), half(End::Write(writing), false)];
        let mut endpoints = self.run.endpoints.borrow_mut();
        endpoints.retain(|other| !Rc::ptr_eq(other, &endpoint));
        endpoints.extend(halves);
    }

    /// Drops a stream or a half, now or, if a task uses it, with the task.
    fn drop_end(&mut self) {
        let Some(endpoint) = self.endpoint() else { return };
        let end = endpoint.place.take();
        self.remove_endpoint(&endpoint);
        if let Some(end) = end {
            self.run.drop_end(endpoint.conn, end);
            return;
        }
        let uses_it = |task: &&Task| match task.what {
            What::Read(_, conn) | What::Write(_, conn) => conn == endpoint.conn,
            _ => false,
        };
        for task in self.tasks.iter().filter(uses_it) {
            task.gives_back.set(false);
            task.handle.abort();
        }
    }

    fn remove_endpoint(&self, endpoint: &Rc<Endpoint>) {
        let mut endpoints = self.run.endpoints.borrow_mut();
        endpoints.retain(|other| !Rc::ptr_eq(other, endpoint));
    }

    /// Looks at a stream's descriptor, so that it may have been duplicated.
    fn expose(&mut self) {
        let Some(endpoint) = self.endpoint() else { return };
        if let Some(End::Whole(stream)) = &*endpoint.place.borrow() {
            let _ = stream.as_raw_fd();
            self.run.books.borrow_mut().conns[endpoint.conn].is_exposed = true;
        }
    }

    fn abort_stream(&mut self) {
        let Some(endpoint) = self.endpoint() else { return };
        let end = endpoint.place.take();
        let Some(End::Whole(stream)) = end else {
            *endpoint.place.borrow_mut() = end;
            return;
        };
        self.remove_endpoint(&endpoint);
        {
            let mut books = self.run.books.borrow_mut();
            books.trace.note("aborted", endpoint.conn as u64, 0);
            let conn = &mut books.conns[endpoint.conn];
            conn.is_aborted = true;
            conn.handles_count = 0;
            conn.dropped_at_ns = Some(self.run.script.now_ns());
        }
        stream.abort();
    }

    fn close(&mut self) {
        let Some(endpoint) = self.endpoint() else { return };
        if let Some(task) = self.run.spawn_close(&endpoint) {
            self.remove_endpoint(&endpoint);
            self.push(Some(task));
        }
    }

    /// Drops the future of a task, and perhaps the stream that it uses.
    fn abort_task(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        let task = &self.tasks[self.run.choices.below(self.tasks.len())];
        task.handle.abort();
    }

    fn drop_buffer(&mut self) {
        let mut buffers = self.run.buffers.borrow_mut();
        if !buffers.is_empty() {
            let place = self.run.choices.below(buffers.len());
            let buffer = buffers.remove(place);
            drop(buffers);
            drop(buffer);
        }
    }

    fn watch(&mut self) {
        let number = self.run.books.borrow().watches.len();
        if number < WATCHES_MAX {
            let socket = UnixDatagram::unbound().expect("a socket");
            let inode = descriptors::inode(socket.as_raw_fd()).expect("just opened");
            self.run.books.borrow_mut().watches.push(Watched { inode, ..Watched::default() });
            let watched = AsyncFd::new(socket).expect("a duplicate");
            self.watches.push((number, Rc::new(watched)));
        }
        self.ready();
    }

    fn ready(&mut self) {
        if self.watches.is_empty() {
            return;
        }
        let (number, watched) = &self.watches[self.run.choices.below(self.watches.len())];
        let task = self.run.spawn_ready(*number, Rc::clone(watched));
        self.push(Some(task));
    }

    fn drop_listener(&mut self) {
        if self.listeners.is_empty() {
            return;
        }
        // Tasks that wait hold it, so they go as well.
        let (number, listener) = self.listeners.remove(0);
        self.run.books.borrow_mut().listeners[number].is_dropped = true;
        let whats = [What::Accept(number), What::Neglect(number)];
        let tasks = self.tasks.iter().filter(|task| whats.contains(&task.what));
        tasks.for_each(|task| task.handle.abort());
        drop(listener);
    }

    fn drop_watch(&mut self) {
        if self.watches.is_empty() {
            return;
        }
        let (number, watched) = self.watches.remove(0);
        self.run.books.borrow_mut().watches[number].is_dropped = true;
        let tasks = self.tasks.iter().filter(|task| task.what == What::Ready(number));
        tasks.for_each(|task| task.handle.abort());
        drop(watched);
    }

    fn disturb(&mut self) {
        let is_broken = self.run.books.borrow().is_broken;
        if self.can_break && !is_broken && self.run.choices.one_in(4) {
            self.run.books.borrow_mut().is_broken = true;
            let code = self.run.choices.of(&[errno::EPERM, errno::ENOSYS]);
            self.run.books.borrow_mut().trace.note("forbidden", 0, i64::from(code));
            self.run.script.forbid_enter(code);
        } else if self.run.books.borrow().is_watched {
            self.run.lose_completion();
        }
    }
}

fn run_is_full(tasks: &[Task]) -> bool {
    tasks.len() >= TASKS_MAX
}
