//! [`ToAddr`]: the addresses to connect to and to listen on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A type that can be a socket address: `SocketAddr`, an `(IpAddr, u16)` pair, or text such as
/// `"127.0.0.1:8080"`.
///
/// Unlike [`std::net::ToSocketAddrs`], it does not look up host names, which would block the loop.
/// Look them up on another thread, for example with that trait.
///
/// ```
/// use ringloop::net::ToAddr;
///
/// assert!("127.0.0.1:8080".to_addr()?.is_ipv4());
/// assert!("localhost:8080".to_addr().is_err());
/// # std::io::Result::Ok(())
/// ```
pub trait ToAddr: sealed::Sealed {
    /// Returns the address.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for text that is not `ip:port`.
    fn to_addr(&self) -> io::Result<SocketAddr>;
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for SocketAddr {}
impl ToAddr for SocketAddr {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        Ok(*self)
    }
}

impl sealed::Sealed for SocketAddrV4 {}
impl ToAddr for SocketAddrV4 {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(*self))
    }
}

impl sealed::Sealed for SocketAddrV6 {}
impl ToAddr for SocketAddrV6 {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(*self))
    }
}

impl sealed::Sealed for (IpAddr, u16) {}
impl ToAddr for (IpAddr, u16) {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(*self))
    }
}

impl sealed::Sealed for (Ipv4Addr, u16) {}
impl ToAddr for (Ipv4Addr, u16) {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(*self))
    }
}

impl sealed::Sealed for (Ipv6Addr, u16) {}
impl ToAddr for (Ipv6Addr, u16) {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(*self))
    }
}

impl sealed::Sealed for str {}
impl ToAddr for str {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        self.parse().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{self:?} is not an address like 127.0.0.1:8080 or [::1]:8080 (host names are \
                     not looked up here)"
                ),
            )
        })
    }
}

impl sealed::Sealed for String {}
impl ToAddr for String {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        self.as_str().to_addr()
    }
}

impl<A: ToAddr + ?Sized> sealed::Sealed for &A {}
impl<A: ToAddr + ?Sized> ToAddr for &A {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        (**self).to_addr()
    }
}
