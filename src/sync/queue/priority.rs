//! [`PriorityQueue`].

use std::fmt;

use super::core::Core;
use super::error::{GetError, PutError, QueueShutDown};
use super::store::Heap;

/// A queue that returns its smallest item first. Equal items are returned in the order in which
/// they were put.
///
/// This is asyncio's `PriorityQueue`. For the greatest item first, put `std::cmp::Reverse(item)`.
/// The `Ord` of the items must not use the queue: that panics.
///
/// ```
/// use ringloop::sync::PriorityQueue;
///
/// ringloop::run(async {
///     let queue = PriorityQueue::new(8);
///     for item in [(2, "later"), (1, "first"), (2, "last")] {
///         queue.put(item).await.expect("the queue is open");
///     }
///     assert_eq!(queue.get().await, Ok((1, "first")));
///     assert_eq!(queue.get().await, Ok((2, "last"))); // "last" is less than "later"
/// });
/// ```
pub struct PriorityQueue<T: Ord> {
    core: Core<Heap<T>>,
}

impl<T: Ord> PriorityQueue<T> {
    /// Makes a queue with room for `maxsize` items.
    ///
    /// # Panics
    ///
    /// If `maxsize` is 0, which is asyncio's form of a queue without a limit: see
    /// [`unbounded`](PriorityQueue::unbounded).
    ///
    /// ```
    /// let queue = ringloop::sync::PriorityQueue::new(1);
    /// queue.put_nowait(1).expect("a free place");
    /// assert!(queue.put_nowait(2).is_err());
    /// ```
    #[track_caller]
    pub fn new(maxsize: usize) -> PriorityQueue<T> {
        PriorityQueue { core: Core::bounded(maxsize) }
    }

    /// Makes a queue without a limit. Use it only where something else limits the number of items.
    ///
    /// ```
    /// let queue = ringloop::sync::PriorityQueue::unbounded();
    /// queue.put_nowait(1).expect("there is always a place");
    /// ```
    pub fn unbounded() -> PriorityQueue<T> {
        PriorityQueue { core: Core::unlimited() }
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
    ///     let queue = ringloop::sync::PriorityQueue::new(1);
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
    /// use ringloop::sync::{PriorityQueue, queue::PutError};
    ///
    /// let queue = PriorityQueue::new(1);
    /// queue.put_nowait(1).expect("a free place");
    /// assert_eq!(queue.put_nowait(2), Err(PutError::Full(2)));
    /// ```
    pub fn put_nowait(&self, item: T) -> Result<(), PutError<T>> {
        self.core.put_nowait(item)
    }

    /// Waits for an item and takes the smallest one. Tasks take items in the order in which they
    /// began to wait.
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
    ///     let queue = ringloop::sync::PriorityQueue::new(2);
    ///     queue.put(1).await.expect("the queue is open");
    ///     queue.shutdown(false);
    ///     assert_eq!(queue.get().await, Ok(1));
    ///     assert!(queue.get().await.is_err());
    /// });
    /// ```
    pub async fn get(&self) -> Result<T, QueueShutDown> {
        self.core.get().await
    }

    /// Takes the smallest one if there is an item. Does not wait, and overtakes no task that waits.
    ///
    /// # Errors
    ///
    /// If there is no item.
    ///
    /// ```
    /// use ringloop::sync::{PriorityQueue, queue::GetError};
    ///
    /// let queue = PriorityQueue::new(1);
    /// assert_eq!(queue.get_nowait(), Err(GetError::Empty));
    /// queue.put_nowait(1).expect("a free place");
    /// assert_eq!(queue.get_nowait(), Ok(1));
    /// ```
    pub fn get_nowait(&self) -> Result<T, GetError> {
        self.core.get_nowait()
    }

    /// Marks one item that was taken as done. [`join`](PriorityQueue::join) waits for all of them.
    ///
    /// # Panics
    ///
    /// If it was called more often than items were put.
    ///
    /// ```
    /// let queue = ringloop::sync::PriorityQueue::new(1);
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

    /// Waits until every item that was put is done: taken, and
    /// [`task_done`](PriorityQueue::task_done) called. Returns at once if no item is unfinished. As
    /// in asyncio, a task that waited when the last item was done returns, even if another item is
    /// put before it runs.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future has no effect.
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// ringloop::run(async {
    ///     let queue = Rc::new(ringloop::sync::PriorityQueue::new(8));
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
    /// let queue = ringloop::sync::PriorityQueue::new(2);
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
    /// let queue = ringloop::sync::PriorityQueue::<u32>::new(1);
    /// queue.shutdown(false);
    /// assert!(queue.is_shut_down());
    /// ```
    pub fn is_shut_down(&self) -> bool {
        self.core.is_shut_down()
    }

    /// The number of items in the queue. asyncio's name is `qsize`.
    ///
    /// ```
    /// assert_eq!(ringloop::sync::PriorityQueue::<u32>::new(1).len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// Whether the queue has no item.
    ///
    /// ```
    /// assert!(ringloop::sync::PriorityQueue::<u32>::new(1).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the queue has no free place.
    ///
    /// ```
    /// let queue = ringloop::sync::PriorityQueue::new(1);
    /// queue.put_nowait(1).expect("a free place");
    /// assert!(queue.is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        self.core.is_full()
    }

    /// The number of places, or `None` if there is no limit.
    ///
    /// ```
    /// assert_eq!(ringloop::sync::PriorityQueue::<u32>::new(1).maxsize(), Some(1));
    /// ```
    pub fn maxsize(&self) -> Option<usize> {
        self.core.maxsize()
    }

    /// The number of items that were put and are not done.
    ///
    /// ```
    /// let queue = ringloop::sync::PriorityQueue::new(1);
    /// queue.put_nowait(1).expect("a free place");
    /// assert_eq!(queue.unfinished(), 1);
    /// ```
    pub fn unfinished(&self) -> usize {
        self.core.unfinished()
    }
}

impl<T: Ord> fmt::Debug for PriorityQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("PriorityQueue");
        text.field("len", &self.len()).field("maxsize", &self.maxsize());
        text.field("unfinished", &self.unfinished()).finish_non_exhaustive()
    }
}
