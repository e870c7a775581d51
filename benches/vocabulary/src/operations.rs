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
