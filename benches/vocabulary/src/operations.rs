// The operations, written once.
//
// Each contestant's module defines `spawn`, `yield_now` and `block_on`, and includes this file.

/// Spawns a task and awaits it.
pub(crate) fn spawn_join(count: u32) -> Duration {
    block_on(timed(async move {
        for _ in 0..count {
            black_box(spawn(async { 1_u32 }).await.expect("the task ends"));
        }
    }))
}

/// Spawns a thousand tasks, then awaits them.
pub(crate) fn spawn_many(count: u32) -> Duration {
    block_on(timed(async move {
        for _ in 0..count / 1000 {
            let tasks: Vec<_> = (0..1000).map(|index| spawn(async move { index })).collect();
            for task in tasks {
                black_box(task.await.expect("the task ends"));
            }
        }
    }))
}

/// Yields in the only task.
pub(crate) fn yield_alone(count: u32) -> Duration {
    block_on(async move {
        let task = spawn(timed(async move {
            for _ in 0..count {
                yield_now().await;
            }
        }));
        task.await.expect("the task ends")
    })
}

/// Yields in each of a hundred tasks.
pub(crate) fn yield_among(count: u32) -> Duration {
    block_on(timed(async move {
        let yields = || async move {
            for _ in 0..count / 100 {
                yield_now().await;
            }
        };
        let tasks: Vec<_> = (0..100).map(|_| spawn(yields())).collect();
        for task in tasks {
            task.await.expect("the task ends");
        }
    }))
}

/// Gives another thread a waker, and waits for the wake.
pub(crate) fn remote_wake(count: u32) -> Duration {
    let (requests, inbox) = channel::<(Waker, Arc<AtomicBool>)>();
    let thread = std::thread::spawn(move || {
        for (waker, is_done) in inbox {
            is_done.store(true, Ordering::Release);
            waker.wake();
        }
    });
    let took = block_on(timed(async move {
        let is_done = Arc::new(AtomicBool::new(false));
        for _ in 0..count {
            let mut is_sent = false;
            poll_fn(|cx| {
                if is_done.swap(false, Ordering::Acquire) {
                    return Poll::Ready(());
                }
                if !is_sent {
                    is_sent = true;
                    let request = (cx.waker().clone(), Arc::clone(&is_done));
                    requests.send(request).expect("the thread runs");
                }
                Poll::Pending
            })
            .await;
        }
    }));
    thread.join().expect("the thread ends");
    took
}

/// Takes a permit that is free, and releases it.
pub(crate) fn semaphore_free(count: u32) -> Duration {
    block_on(timed(async move {
        let semaphore = Semaphore::new(1);
        for _ in 0..count {
            drop(black_box(semaphore.acquire().await.expect("not closed")));
        }
    }))
}

/// Passes one permit among four tasks, each of which yields while it has it.
pub(crate) fn semaphore_contended(count: u32) -> Duration {
    block_on(timed(async move {
        let semaphore = Shared::new(Semaphore::new(1));
        let turns = || take_turns(Shared::clone(&semaphore), count / 4);
        let tasks: Vec<_> = (0..4).map(|_| spawn(turns())).collect();
        for task in tasks {
            task.await.expect("the task ends");
        }
    }))
}

async fn take_turns(semaphore: Shared<Semaphore>, count: u32) {
    for _ in 0..count {
        let _permit = semaphore.acquire().await.expect("not closed");
        yield_now().await;
    }
}

/// Sends a value to another task, which answers: two channels for one value each.
pub(crate) fn oneshot_round(count: u32) -> Duration {
    block_on(timed(async move {
        for _ in 0..count {
            let (request, received) = oneshot::channel::<oneshot::Sender<u32>>();
            let (reply, answer) = oneshot::channel();
            let answering = async move { received.await.expect("sent").send(1).expect("awaited") };
            let task = spawn(answering);
            request.send(reply).expect("awaited");
            black_box(answer.await.expect("sent"));
            task.await.expect("the task ends");
        }
    }))
}

/// Sends values through a bounded channel to another task.
pub(crate) fn mpsc_stream(count: u32) -> Duration {
    block_on(timed(async move {
        let (sender, mut receiver) = mpsc::channel(64);
        let task = spawn(async move {
            for value in 0..count {
                sender.send(value).await.expect("the receiver is alive");
            }
        });
        while let Some(value) = receiver.recv().await {
            black_box(value);
        }
        task.await.expect("the task ends");
    }))
}

/// Selects among two channels, one of which has a value.
pub(crate) fn select_of_two(count: u32) -> Duration {
    block_on(timed(async move {
        let (first, mut from_first) = mpsc::channel(1);
        let (second, mut from_second) = mpsc::channel(1);
        for value in 0..count {
            let sender = if value % 2 == 0 { &first } else { &second };
            sender.try_send(value).expect("there is room");
            let received = select! {
                value = from_first.recv() => value,
                value = from_second.recv() => value,
            };
            black_box(received);
        }
    }))
}

/// Runs an empty job on the blocking pool and awaits it.
pub(crate) fn blocking_round(count: u32) -> Duration {
    block_on(timed(async move {
        for _ in 0..count {
            black_box(spawn_blocking(|| 1).await.expect("the job ends"));
        }
    }))
}
