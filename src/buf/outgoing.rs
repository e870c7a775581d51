//! Bytes that a stream may send without copying them.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::recv_buf::RecvBuf;

/// Owned bytes that can be handed to a stream: `Vec<u8>`, `Box<[u8]>`, `String`, `Rc<[u8]>`,
/// `Arc<[u8]>`, `&'static [u8]`, `&'static str` and [`RecvBuf`].
///
/// The kernel reads the bytes some time after [`send`](crate::net::TcpStream::send) has returned,
/// so the stream keeps the value until then. That is why a borrowed slice is not on the list;
/// [`write_all`](crate::net::TcpStream::write_all) takes one and copies it.
///
/// Sealed: each implementation is a promise that the bytes do not move or change while the value
/// is kept.
pub trait IoBuf: sealed::Sealed + 'static {
    /// Wraps the bytes, without copying them.
    fn into_out_buf(self) -> OutBuf;
}

/// Bytes to send, of any kind of owner.
pub struct OutBuf(pub(crate) OutBytes);

/// The address of the bytes is the same for as long as the value lives and is not written through,
/// wherever the value itself is moved to: each of these owns or shares a separate allocation.
pub(crate) enum OutBytes {
    Vec(Vec<u8>),
    Rc(Rc<[u8]>),
    Arc(Arc<[u8]>),
    Static(&'static [u8]),
    Recv(RecvBuf),
}

impl OutBytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            OutBytes::Vec(bytes) => bytes,
            OutBytes::Rc(bytes) => bytes,
            OutBytes::Arc(bytes) => bytes,
            OutBytes::Static(bytes) => bytes,
            OutBytes::Recv(bytes) => bytes,
        }
    }
}

impl fmt::Debug for OutBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutBuf({} bytes)", self.0.as_slice().len())
    }
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! io_buf {
    ($($type:ty => |$value:ident| $bytes:expr;)*) => {$(
        impl sealed::Sealed for $type {}
        impl IoBuf for $type {
            fn into_out_buf(self) -> OutBuf {
                let $value = self;
                OutBuf($bytes)
            }
        }
    )*};
}

io_buf! {
    Vec<u8> => |bytes| OutBytes::Vec(bytes);
    // As a `Vec`: a box is the one owner whose move may invalidate pointers into it.
    Box<[u8]> => |bytes| OutBytes::Vec(bytes.into_vec());
    String => |text| OutBytes::Vec(text.into_bytes());
    Rc<[u8]> => |bytes| OutBytes::Rc(bytes);
    Arc<[u8]> => |bytes| OutBytes::Arc(bytes);
    &'static [u8] => |bytes| OutBytes::Static(bytes);
    &'static str => |text| OutBytes::Static(text.as_bytes());
    RecvBuf => |bytes| OutBytes::Recv(bytes);
    OutBuf => |buf| buf.0;
}

impl<const N: usize> sealed::Sealed for &'static [u8; N] {}
impl<const N: usize> IoBuf for &'static [u8; N] {
    fn into_out_buf(self) -> OutBuf {
        OutBuf(OutBytes::Static(self))
    }
}
