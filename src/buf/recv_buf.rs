//! Received bytes, as the program holds them.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use super::pool::Pool;

/// Bytes are short if they fill at most one part in this many of their memory.
const SHORT_DIVISOR: usize = 4;

/// The longest that a buffer may become when short payloads are added to it.
const APPENDED_LEN_MAX: usize = 4096;

/// Bytes that arrived on a socket, without a copy.
///
/// Dereferences to `&[u8]`. Usually the bytes lie in a buffer of the loop's pool, which goes back
/// to the pool when this value is dropped. Holding many of them is fine: when the pool runs dry,
/// streams receive into buffers of their own, which costs an allocation per receive and nothing
/// else.
///
/// An empty `RecvBuf` from [`TcpStream::recv`](crate::net::TcpStream::recv) means that the peer has
/// finished sending, as a `recv(2)` of zero bytes does.
///
/// Not `Send`: the pool belongs to one loop. [`to_vec`](slice::to_vec) makes a copy that can leave.
pub struct RecvBuf {
    storage: Storage,
    start: u32,
    end: u32,
}

enum Storage {
    /// A buffer in state `User`, and this is its one owner.
    Pooled { pool: Rc<Pool>, id: u16 },
    /// A buffer that one stream received into while the pool was empty.
    Private(Vec<u8>),
}

impl RecvBuf {
    /// The first `len` bytes of a buffer that the stream owned.
    pub(crate) fn private(bytes: Vec<u8>, len: usize) -> RecvBuf {
        assert!(len <= bytes.len(), "{len} bytes in a buffer of {}", bytes.len());
        let end = u32::try_from(len).expect("streams cut what is longer into pieces");
        RecvBuf { storage: Storage::Private(bytes), start: 0, end }
    }

    pub(crate) fn empty() -> RecvBuf {
        RecvBuf::private(Vec::new(), 0)
    }

    /// The size of the memory that this value keeps.
    pub(crate) fn storage_len(&self) -> usize {
        match &self.storage {
            Storage::Pooled { pool, .. } => pool.buffer_len() as usize,
            Storage::Private(bytes) => bytes.capacity(),
        }
    }

    /// Whether the bytes use so little of their memory that copying them is better than keeping it.
    pub(crate) fn is_short(&self) -> bool {
        self.len() <= self.storage_len() / SHORT_DIVISOR
    }

    /// Adds a copy of `bytes` at the end. Returns whether it did: not to a buffer of the pool, nor
    /// beyond [`APPENDED_LEN_MAX`].
    pub(crate) fn append(&mut self, bytes: &[u8]) -> bool {
        let Storage::Private(storage) = &mut self.storage else { return false };
        let len = self.end as usize + bytes.len();
        if len > APPENDED_LEN_MAX {
            return false;
        }
        storage.truncate(self.end as usize);
        storage.extend_from_slice(bytes);
        self.end = len as u32;
        true
    }

    /// Removes the first `count` bytes, so that the rest can be kept or sent.
    ///
    /// # Panics
    ///
    /// If there are fewer than `count` bytes.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "cannot advance {count} of {} bytes", self.len());
        self.start += count as u32;
    }

    /// Keeps the first `len` bytes and removes the rest. Does nothing if there are no more.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.end = self.start + len as u32;
        }
    }
}

impl Pool {
    /// The bytes of buffer `id`, which the kernel has handed back with `len` bytes in it.
    pub(crate) fn filled(self: &Rc<Self>, id: u16, len: u32) -> RecvBuf {
        self.take_filled(id, len);
        RecvBuf { storage: Storage::Pooled { pool: Rc::clone(self), id }, start: 0, end: len }
    }
}

impl Deref for RecvBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.storage {
            Storage::Pooled { pool, id } => pool.bytes(*id, self.start, self.end),
            Storage::Private(bytes) => &bytes[self.start as usize..self.end as usize],
        }
    }
}

impl AsRef<[u8]> for RecvBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for RecvBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecvBuf({} bytes)", self.len())
    }
}

impl Drop for RecvBuf {
    fn drop(&mut self) {
        if let Storage::Pooled { pool, id } = &self.storage {
            pool.release(*id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: `advance` and `truncate` cut the right end, on both kinds of storage.
    /// Method: cut both ends and compare. Kills: a `truncate` that ignores `start`.
    #[test]
    fn a_buffer_is_cut_at_either_end() {
        let mut buf = RecvBuf::private(b"0123456789".to_vec(), 8);
        buf.advance(2);
        buf.truncate(4);
        assert_eq!(&*buf, b"2345");
        buf.truncate(9);
        assert_eq!(&*buf, b"2345");
        buf.advance(4);
        assert!(buf.is_empty());
    }
}
