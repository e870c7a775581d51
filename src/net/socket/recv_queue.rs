//! What a socket has received and no reader has taken yet.
//!
//! A peer pays in bytes, so the bounds are in bytes: [`QUEUED_BYTES_MAX`] of payload. The memory
//! behind it is bounded as well, [`QUEUED_MEMORY_MAX`], because a pooled buffer counts as a whole
//! however little it carries. A short payload that no reader waits for does not stay in its buffer:
//! it is copied to the end of an owned chunk, and the buffer is free for other sockets. So sixteen
//! single bytes cost a few dozen bytes, not sixteen buffers.
//!
//! ```text
//!  buffers:  [ pooled 4096 ] [ pooled 3000 ] [ owned: 1 + 1 + 70 + … ]
//!                                                ▲ short payloads are appended here
//! ```
//!
//! The queue only counts. What happens at the bound is the socket's decision (`reading`): it looks
//! once a turn, so what one turn brings may come on top. That is no more than the buffers that were
//! lent, 1 MiB by default, and the kernel's own queue is behind them
//! (`socket::tests::backpressure::a_flood_is_bounded_in_bytes`).

use crate::buf::{RecvBuf, ShortQueue};

/// Queued payload from which on a socket receives no more.
pub(in crate::net) const QUEUED_BYTES_MAX: usize = 64 * 1024;

/// Memory behind queued payload from which on a socket receives no more.
pub(in crate::net) const QUEUED_MEMORY_MAX: usize = 128 * 1024;

/// As what a buffer counts at most. So the memory of one alone is never too much, whatever its
/// size, and `u32` is enough for as many as a pool can have.
const COUNTED_MAX: usize = 64 * 1024;

/// The most bytes of one chunk that is put back. A chunk's length is a `u32`.
const CHUNK_LEN_MAX: usize = 1 << 30;

#[derive(Default)]
pub(super) struct RecvQueue {
    buffers: ShortQueue<RecvBuf>,
    /// `u32`, as every idle socket has these.
    payload_bytes: u32,
    memory_bytes: u32,
}

impl RecvQueue {
    /// Queues what has arrived. Unless `may_keep`, a short payload is copied and its buffer given
    /// back.
    pub(super) fn push(&mut self, buffer: RecvBuf, may_keep: bool) {
        self.payload_bytes += payload_of(&buffer);
        if may_keep || !buffer.is_short() {
            self.memory_bytes += memory_of(&buffer);
            return self.buffers.push_back(buffer);
        }
        if let Some(last) = self.buffers.back_mut() {
            let before_bytes = memory_of(last);
            if last.append(&buffer) {
                self.memory_bytes += memory_of(last) - before_bytes;
                return;
            }
        }
        let chunk = copy_of(&buffer);
        self.memory_bytes += memory_of(&chunk);
        self.buffers.push_back(chunk);
    }

    pub(super) fn pop(&mut self) -> Option<RecvBuf> {
        let buffer = self.buffers.pop_front()?;
        self.payload_bytes -= payload_of(&buffer);
        self.memory_bytes -= memory_of(&buffer);
        Some(buffer)
    }

    /// Puts back what a reader has not used, to be read next. Unless `may_keep`, a short rest is
    /// copied and its buffer given back.
    pub(super) fn unread(&mut self, buffer: RecvBuf, may_keep: bool) {
        let buffer = if may_keep || !buffer.is_short() { buffer } else { copy_of(&buffer) };
        self.payload_bytes += payload_of(&buffer);
        self.memory_bytes += memory_of(&buffer);
        self.buffers.push_front(buffer);
    }

    /// Puts back a copy of what a reader has copied out.
    pub(super) fn unread_copy(&mut self, bytes: &[u8]) {
        self.unread_chunks(bytes, CHUNK_LEN_MAX);
    }

    fn unread_chunks(&mut self, bytes: &[u8], len_max: usize) {
        for chunk in bytes.rchunks(len_max) {
            self.unread(copy_of(chunk), true);
        }
    }

    /// Copies the first bytes into `target`, as many as there are, and leaves them in place.
    pub(super) fn copy_to(&self, target: &mut [u8]) -> usize {
        let mut count = 0;
        for buffer in self.buffers.iter() {
            let rest = &mut target[count..];
            let len = rest.len().min(buffer.len());
            rest[..len].copy_from_slice(&buffer[..len]);
            count += len;
        }
        count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffers.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        let (payload, memory) = (self.payload_bytes as usize, self.memory_bytes as usize);
        payload >= QUEUED_BYTES_MAX || memory >= QUEUED_MEMORY_MAX
    }
}

fn copy_of(bytes: &[u8]) -> RecvBuf {
    RecvBuf::private(bytes.to_vec(), bytes.len())
}

fn payload_of(buffer: &RecvBuf) -> u32 {
    buffer.len().min(COUNTED_MAX) as u32
}

/// The buffer and its place in the queue.
fn memory_of(buffer: &RecvBuf) -> u32 {
    (buffer.storage_len().min(COUNTED_MAX) + size_of::<RecvBuf>()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::Pool;
    use std::rc::Rc;

    fn fill(pool: &Rc<Pool>, len: u32) -> RecvBuf {
        let loan = pool.lend().expect("a free buffer");
        pool.filled(loan.id, len)
    }

    fn drain(queue: &mut RecvQueue) -> Vec<usize> {
        std::iter::from_fn(|| queue.pop()).map(|buffer| buffer.len()).collect()
    }

    /// Goal: short payloads give their buffers back and share a chunk; the order stays.
    ///
    /// Method: three shorts, a long one, two shorts; the buffers held after each; then all bytes.
    ///
    /// Kills: a chunk per payload; appending to a buffer of the pool, or in front of a longer one;
    /// a long payload copied.
    #[test]
    fn short_payloads_share_a_chunk() {
        let pool = Pool::new(4, 64).unwrap();
        let mut queue = RecvQueue::default();
        for (len, held_count) in [(1, 0), (16, 0), (3, 0), (17, 1), (2, 1), (16, 1)] {
            queue.push(fill(&pool, len), false);
            assert_eq!(pool.held_count(), held_count, "after a payload of {len}");
        }
        assert_eq!(queue.payload_bytes, 55);
        assert_eq!(drain(&mut queue), [20, 17, 18]);
        assert_eq!((queue.payload_bytes, queue.memory_bytes), (0, 0));
    }

    /// Goal: a payload that a reader waits for is handed over in the buffer it came in, and the
    /// next is not added to it.
    ///
    /// Method: one that may stay, one that may not. Kills: a copy on the way to a waiting reader.
    #[test]
    fn an_awaited_payload_is_not_copied() {
        let pool = Pool::new(4, 64).unwrap();
        let mut queue = RecvQueue::default();
        queue.push(fill(&pool, 1), true);
        queue.push(fill(&pool, 2), false);
        assert_eq!(pool.held_count(), 1);
        assert_eq!(drain(&mut queue), [1, 2]);
    }

    /// Goal: the queue is full at its bound of payload, and at its bound of memory, not before.
    ///
    /// Method: payload in full buffers, payload that wastes most of its buffers, one byte after the
    /// other; then one buffer larger than both bounds, with little in it.
    ///
    /// Kills: a bound in buffers; memory that does not count; one large buffer that is too much; a
    /// count that overflows.
    #[test]
    fn a_queue_is_full_by_its_bytes() {
        let pool = Pool::new(64, 4096).unwrap();
        for (len, full_at) in [(4096, 16), (2048, 32), (1025, 32)] {
            let mut queue = RecvQueue::default();
            let counts = (1..).take_while(|_| {
                queue.push(fill(&pool, len), false);
                !queue.is_full()
            });
            assert_eq!(counts.count() + 1, full_at, "payloads of {len}");
        }
        let mut queue = RecvQueue::default();
        for count in 0..QUEUED_BYTES_MAX {
            assert!(!queue.is_full(), "{count} single bytes, {} held", queue.memory_bytes);
            queue.push(fill(&pool, 1), false);
        }
        assert!(queue.is_full());
        assert_eq!(pool.held_count(), 0);

        let pool = Pool::new(1, 1 << 20).unwrap();
        let mut queue = RecvQueue::default();
        queue.push(fill(&pool, 1), true);
        assert!(!queue.is_full());

        let most = u64::from(Pool::COUNT_MAX) * (COUNTED_MAX + size_of::<RecvBuf>()) as u64;
        assert!(u32::try_from(most).is_ok(), "a whole pool in one queue is {most}");
    }

    /// Goal: a short rest that is put back keeps its buffer only if it may.
    ///
    /// Method: a rest of one byte and one of many, both ways. Kills: a buffer kept for what a
    /// reader has left over; a long rest copied.
    #[test]
    fn a_short_rest_gives_its_buffer_back() {
        let pool = Pool::new(4, 64).unwrap();
        for (len, may_keep, held_count) in [(1, true, 1), (1, false, 0), (17, false, 1)] {
            let mut queue = RecvQueue::default();
            queue.push(fill(&pool, 20), true);
            let mut buffer = queue.pop().unwrap();
            buffer.advance(20 - len);
            queue.unread(buffer, may_keep);
            assert_eq!(pool.held_count(), held_count, "a rest of {len}");
            assert_eq!(drain(&mut queue), [len]);
            assert_eq!((queue.payload_bytes, queue.memory_bytes), (0, 0));
        }
    }

    /// Goal: what is put back in several chunks is read in its order.
    ///
    /// Method: ten bytes in chunks of four, in front of another. Kills: chunks in reverse; a rest
    /// that is lost; a length cut to the width of a chunk's.
    #[test]
    fn chunks_that_are_put_back_keep_their_order() {
        let mut queue = RecvQueue::default();
        queue.push(RecvBuf::private(vec![10], 1), false);
        queue.unread_chunks(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 4);
        assert_eq!(queue.payload_bytes, 11);
        let bytes: Vec<u8> =
            std::iter::from_fn(|| queue.pop()).flat_map(|buffer| buffer.to_vec()).collect();
        assert_eq!(bytes, Vec::from_iter(0..=10));
    }
}
