//! [`Queue`].

use std::fmt;

use super::core::Core;
use super::error::{GetError, PutError, QueueShutDown};
use super::store::Fifo;

/// A queue of items for the tasks of one loop, first in, first out.
///
/// This is asyncio's `Queue`, with its `join` and `shutdown`. Share it by an `Rc`. Unlike
/// [`mpsc`](crate::sync::mpsc), it may have several consumers, and it ends by
/// [`shutdown`](Queue::shutdown), not by the drop of producers.
///
/// ```
/// use ringloop::sync::Queue;
/// use std::rc::Rc;
///
/// ringloop::run(async {
///     let queue = Rc::new(Queue::new(2));
///     let worker = Rc::clone(&queue);
///     let task = ringloop::spawn(async move {
///         let mut sum = 0;
///         while let Ok(item) = worker.get().await {
///             sum += item;
///             worker.task_done();
///         }
///         sum
///     });
///     for item in 1..=3 {
///         queue.put(item).await.expect("the queue is open");
///     }
///     queue.join().await;
///     queue.shutdown(false);
///     assert_eq!(task.await.expect("no panic"), 6);
/// });
/// ```
pub struct Queue<T> {
    core: Core<Fifo<T>>,
}

impl<T> Queue<T> {
    /// Makes a queue with room for `maxsize` items.
    ///
    /// # Panics
    ///
    /// If `maxsize` is 0, which is asyncio's form of a queue without a limit: see
    /// [`unbounded`](Queue::unbounded).
    ///
    /// ```
    /// let queue = ringloop::sync::Queue::new(1);
    /// queue.put_nowait(1).expect("a free place");
    /// assert!(queue.put_nowait(2).is_err());
    /// ```
    #[track_caller]
    pub fn new(maxsize: usize) -> Queue<T> {
        Queue { core: Core::bounded(maxsize) }
    }

    /// Makes a queue without a limit. Use it only where something else limits the number of items.
    ///
    /// ```
    /// let queue = ringloop::sync::Queue::unbounded();
    /// queue.put_nowait(1).expect("there is always a place");
    /// ```
    pub fn unbounded() -> Queue<T> {
        Queue { core: Core::unlimited() }
    }

    /// Waits for a free place and puts the item there. Tasks take places in the order in which they
    /// began to wait.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has put nothing and takes no place. Its item is dropped with it.
    ///
    /// # Errors
    ///
    /// Returns the item if the queue was shut down.
    ///
    /// ```
    /// ringloop::run(async {
    ///     let queue = ringloop::sync::Queue::new(1);
    ///     queue.put(1).await.expect("the queue is open");
    ///     queue.shutdown(false);
    ///     assert_eq!(queue.put(2).await.expect_err("it was shut down").0, 2);
    /// });
    /// ```
    pub async fn put(&self, item: T) -> Result<(), QueueShutDown<T>> {
        self.core.put(item).await
    }

    /// Puts the item if there is a free place. Does not wait, and overtakes no task that waits.
    ///
    /// # Errors
    ///
    /// Returns the item if there is no free place, or if the queue was shut down.
    ///
    /// ```
    /// use ringloop::sync::{Queue, queue::PutError};
    ///
    /// let queue = Queue::new(1);
    /// queue.put_nowait(1).expect("a free place");
    /// assert_eq!(queue.put_nowait(2), Err(PutError::Full(2)));
    /// ```
    pub fn put_nowait(&self, item: T) -> Result<(), PutError<T>> {
        self.core.put_nowait(item)
    }

    /// Waits for an item and takes the first one. Tasks take items in the order in which they began
    /// to wait.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a future that is dropped has taken no item.
    ///
    /// # Errors
    ///
    /// If the queue was shut down and has no items.
    ///
    /// ```
    /// ringloop::run(async {
    ///     let queue = ringloop::sync::Queue::new(2);
    ///     queue.put(1).await.expect("the queue is open");
    ///     queue.shutdown(false);
    ///     assert_eq!(queue.get().await, Ok(1));
    ///     assert!(queue.get().await.is_err());
    /// });
    /// ```
    pub async fn get(&self) -> Result<T, QueueShutDown> {
        self.core.get().await
    }

    /// Takes the first one if there is an item. Does not wait, and overtakes no task that waits.
    ///
    /// # Errors
    ///
    /// If there is no item.
    ///
    /// ```
    /// use ringloop::sync::{Queue, queue::GetError};
    ///
    /// let queue = Queue::new(1);
    /// assert_eq!(queue.get_nowait(), Err(GetError::Empty));
    /// queue.put_nowait(1).expect("a free place");
    /// assert_eq!(queue.get_nowait(), Ok(1));
    /// ```
    pub fn get_nowait(&self) -> Result<T, GetError> {
        self.core.get_nowait()
    }

    /// Marks one item that was taken as done. [`join`](Queue::join) waits for all of them.
    ///
    /// # Panics
    ///
    /// If it was called more often than items were put.
    ///
    /// ```
    /// let queue = ringloop::sync::Queue::new(1);
    /// queue.put_nowait(1).expect("a free place");
    /// queue.get_nowait().expect("an item");
    /// assert_eq!(queue.unfinished(), 1);
    /// queue.task_done();
    /// assert_eq!(queue.unfinished(), 0);
    /// ```
    #[track_caller]
    pub fn task_done(&self) {
        self.core.task_done();
    }

    /// Waits until every item that was put is done: taken, and [`task_done`](Queue::task_done)
    /// called. Returns at once if no item is unfinished. As in asyncio, a task that waited when the
    /// last item was done returns, even if another item is put before it runs.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future has no effect.
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// ringloop::run(async {
    ///     let queue = Rc::new(ringloop::sync::Queue::new(8));
    ///     let worker = Rc::clone(&queue);
    ///     ringloop::spawn(async move {
    ///         while let Ok(_item) = worker.get().await {
    ///             worker.task_done();
    ///         }
    ///     });
    ///     for item in 0..3 {
    ///         queue.put(item).await.expect("the queue is open");
    ///     }
    ///     queue.join().await;
    ///     assert!(queue.is_empty());
    /// });
    /// ```
    pub async fn join(&self) {
        self.core.join().await;
    }

    /// Refuses further items and ends the waits of `put`. Tasks take the items that are left, and
    /// then `get` fails.
    ///
    /// With `immediate`, the items that are left are dropped and count as done, so `get` fails at
    /// once. Items that were taken before still have to be marked as done.
    ///
    /// ```
    /// let queue = ringloop::sync::Queue::new(2);
    /// queue.put_nowait(1).expect("a free place");
    /// queue.shutdown(true);
    /// assert!(queue.get_nowait().is_err());
    /// assert_eq!(queue.unfinished(), 0);
    /// ```
    pub fn shutdown(&self, immediate: bool) {
        self.core.shutdown(immediate);
    }

    /// Whether the queue was shut down.
    ///
    /// ```
    /// let queue = ringloop::sync::Queue::<u32>::new(1);
    /// queue.shutdown(false);
    /// assert!(queue.is_shut_down());
    /// ```
    pub fn is_shut_down(&self) -> bool {
        self.core.is_shut_down()
    }

    /// The number of items in the queue. asyncio's name is `qsize`.
    ///
    /// ```
    /// assert_eq!(ringloop::sync::Queue::<u32>::new(1).len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// Whether the queue has no item.
    ///
    /// ```
    /// assert!(ringloop::sync::Queue::<u32>::new(1).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the queue has no free place.
    ///
    /// ```
    /// let queue = ringloop::sync::Queue::new(1);
    /// queue.put_nowait(1).expect("a free place");
    /// assert!(queue.is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        self.core.is_full()
    }

    /// The number of places, or `None` if there is no limit.
    ///
    /// ```
    /// assert_eq!(ringloop::sync::Queue::<u32>::new(1).maxsize(), Some(1));
    /// ```
    pub fn maxsize(&self) -> Option<usize> {
        self.core.maxsize()
    }

    /// The number of items that were put and are not done.
    ///
    /// ```
    /// let queue = ringloop::sync::Queue::new(1);
    /// queue.put_nowait(1).expect("a free place");
    /// assert_eq!(queue.unfinished(), 1);
    /// ```
    pub fn unfinished(&self) -> usize {
        self.core.unfinished()
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Queue");
        text.field("len", &self.len()).field("maxsize", &self.maxsize());
        text.field("unfinished", &self.unfinished()).finish_non_exhaustive()
    }
}
