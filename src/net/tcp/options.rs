//! The options of a TCP connection.
//!
//! **Absent on purpose.** `SO_LINGER`: `net::socket::close` sets it to reset a connection that has
//! lost bytes. The builder's `linger` limits how long a close takes, and [`TcpStream::abort`]
//! resets.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::stream::TcpStream;

/// Settings of the probes that the kernel sends to a silent peer (`tcp(7)`).
///
/// The kernel keeps whole seconds; fractions are rounded up. The defaults are those of Linux: the
/// first probe after two hours, then one every 75 seconds, nine in all.
///
/// ```
/// use ringloop::net::Keepalive;
/// use std::time::Duration;
///
/// let keepalive = Keepalive { time: Duration::from_secs(30), ..Keepalive::default() };
/// assert_eq!((keepalive.interval.as_secs(), keepalive.retries), (75, 9));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// How long the connection is silent before the first probe (`TCP_KEEPIDLE`).
    pub time: Duration,
    /// The time between two probes (`TCP_KEEPINTVL`).
    pub interval: Duration,
    /// The number of probes without an answer after which the connection fails with `ETIMEDOUT`
    /// (`TCP_KEEPCNT`).
    pub retries: u32,
}

impl Default for Keepalive {
    fn default() -> Keepalive {
        let (time, interval) = (Duration::from_secs(7200), Duration::from_secs(75));
        Keepalive { time, interval, retries: 9 }
    }
}

impl Keepalive {
    pub(super) fn set(self, socket: &SockRef<'_>) -> io::Result<()> {
        let params = TcpKeepalive::new()
            .with_time(in_units(self.time, Duration::from_secs(1)))
            .with_interval(in_units(self.interval, Duration::from_secs(1)))
            .with_retries(self.retries);
        let was_on = socket.keepalive()?;
        socket.set_tcp_keepalive(&params).inspect_err(|_| {
            let _ = socket.set_keepalive(was_on); // the error of the settings is the one to return
        })
    }
}

impl TcpStream {
    /// Sets `TCP_NODELAY`: small packets leave at once instead of waiting for an acknowledgement.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_nodelay(true)?;
    /// assert!(stream.nodelay()?);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn set_nodelay(&self, is_on: bool) -> io::Result<()> {
        self.socket().options().set_tcp_nodelay(is_on)
    }

    /// Whether `TCP_NODELAY` is set.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket().options().tcp_nodelay()
    }

    /// Sets whether, and when, the kernel probes a silent peer (`SO_KEEPALIVE`).
    ///
    /// `None`, the default, sends no probes. A peer that does not answer ends the connection: reads
    /// and writes fail with `TimedOut`, and [`closed`](TcpStream::closed) returns.
    ///
    /// The kernel sends probes only while no sent bytes are unacknowledged.
    /// [`set_user_timeout`](TcpStream::set_user_timeout) limits how long sent bytes may stay
    /// unacknowledged.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`: `EINVAL` for a time of zero, for more than 32 767 seconds, and for
    /// more than 127 retries. Keepalive is then on or off as before.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// use ringloop::net::Keepalive;
    /// use std::time::Duration;
    ///
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let keepalive = Keepalive {
    ///     time: Duration::from_secs(30),
    ///     interval: Duration::from_secs(10),
    ///     retries: 3, // a silent peer is given up after a minute
    /// };
    /// stream.set_keepalive(Some(keepalive))?;
    /// assert_eq!(stream.keepalive()?, Some(keepalive));
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        let socket = self.socket().options();
        match keepalive {
            Some(keepalive) => keepalive.set(&socket),
            None => socket.set_keepalive(false),
        }
    }

    /// The settings of keepalive, or `None` if it is off.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn keepalive(&self) -> io::Result<Option<Keepalive>> {
        let socket = self.socket().options();
        if !socket.keepalive()? {
            return Ok(None);
        }
        Ok(Some(Keepalive {
            time: socket.tcp_keepalive_time()?,
            interval: socket.tcp_keepalive_interval()?,
            retries: socket.tcp_keepalive_retries()?,
        }))
    }

    /// Limits how long sent bytes may stay unacknowledged (`TCP_USER_TIMEOUT`).
    ///
    /// After that time, or if the peer keeps its window closed for that time, the kernel ends the
    /// connection with `ETIMEDOUT`. `None` is the limit of the system, about 15 minutes. The unit
    /// is milliseconds; fractions are rounded up. With keepalive on, the limit also replaces the
    /// number of retries.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`: `EINVAL` for more than 2³¹ milliseconds.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_user_timeout(Some(Duration::from_secs(20)))?;
    /// assert_eq!(stream.user_timeout()?, Some(Duration::from_secs(20)));
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn set_user_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        set_user_timeout(&self.socket().options(), limit)
    }

    /// The limit of [`set_user_timeout`](TcpStream::set_user_timeout).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        self.socket().options().tcp_user_timeout()
    }

    /// Sets the size of the kernel's receive buffer, in bytes, and ends its automatic growth
    /// (`SO_RCVBUF`).
    ///
    /// The kernel doubles the value for its own bookkeeping, and limits it to `net.core.rmem_max`.
    ///
    /// The kernel scales the TCP window when it connects. So a buffer of more than 64 KiB must be
    /// set before: see
    /// [`TcpStreamBuilder::recv_buffer_size`](super::TcpStreamBuilder::recv_buffer_size) and
    /// [`TcpListenerBuilder::recv_buffer_size`](super::TcpListenerBuilder::recv_buffer_size).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_recv_buffer_size(16 * 1024)?;
    /// assert_eq!(stream.recv_buffer_size()?, 32 * 1024);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket().options().set_recv_buffer_size(bytes)
    }

    /// The size of the kernel's receive buffer, in bytes: twice the value that was set.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        self.socket().options().recv_buffer_size()
    }

    /// Sets the size of the kernel's send buffer, in bytes, and ends its automatic growth
    /// (`SO_SNDBUF`).
    ///
    /// The kernel doubles the value, and limits it to `net.core.wmem_max`. The stream's own queue
    /// of 64 KiB is not part of it.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_send_buffer_size(16 * 1024)?;
    /// assert_eq!(stream.send_buffer_size()?, 32 * 1024);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket().options().set_send_buffer_size(bytes)
    }

    /// The size of the kernel's send buffer, in bytes: twice the value that was set.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        self.socket().options().send_buffer_size()
    }

    /// Sets the type of service of the packets (`IP_TOS`, or `IPV6_TCLASS` on IPv6).
    ///
    /// The upper six bits are the differentiated services code point. The kernel keeps the lower
    /// two for congestion notification.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`, and of [`local_addr`](TcpStream::local_addr).
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_tos(46 << 2)?; // expedited forwarding
    /// assert_eq!(stream.tos()?, 46 << 2);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn set_tos(&self, tos: u8) -> io::Result<()> {
        let socket = self.socket().options();
        match self.is_over_ipv4()? {
            true => socket.set_tos_v4(tos.into()),
            false => socket.set_tclass_v6(tos.into()),
        }
    }

    /// The type of service of the packets.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`, and of [`local_addr`](TcpStream::local_addr).
    pub fn tos(&self) -> io::Result<u8> {
        let socket = self.socket().options();
        let tos = match self.is_over_ipv4()? {
            true => socket.tos_v4()?,
            false => socket.tclass_v6()?,
        };
        Ok(tos as u8)
    }

    /// Sets how many routers the packets may pass, 1 to 255 (`IP_TTL`, or `IPV6_UNICAST_HOPS` on
    /// IPv6).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`: `EINVAL` for other values; and those of
    /// [`local_addr`](TcpStream::local_addr).
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_ttl(5)?;
    /// assert_eq!(stream.ttl()?, 5);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let socket = self.socket().options();
        match self.is_over_ipv4()? {
            true => socket.set_ttl_v4(ttl),
            false => socket.set_unicast_hops_v6(ttl),
        }
    }

    /// How many routers the packets may pass.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`, and of [`local_addr`](TcpStream::local_addr).
    pub fn ttl(&self) -> io::Result<u32> {
        let socket = self.socket().options();
        match self.is_over_ipv4()? {
            true => socket.ttl_v4(),
            false => socket.unicast_hops_v6(),
        }
    }

    /// Sets whether the kernel acknowledges at once, or later with data (`TCP_QUICKACK`).
    ///
    /// The kernel changes the option by itself as the connection goes on. To keep it, set it again
    /// after reads.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_quickack(true)?;
    /// assert!(stream.quickack()?);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn set_quickack(&self, is_on: bool) -> io::Result<()> {
        self.socket().options().set_tcp_quickack(is_on)
    }

    /// Whether the kernel acknowledges at once now.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn quickack(&self) -> io::Result<bool> {
        self.socket().options().tcp_quickack()
    }

    /// The error that ended the connection, if there is one.
    ///
    /// That is the socket's pending error (`SO_ERROR`), or one that an earlier receive or send has
    /// returned. Unlike `getsockopt(2)` it does not clear the error: reads, writes and a second
    /// call return it as well.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert!(stream.take_error()?.is_none());
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket().take_error()
    }

    /// Whether the packets are those of IPv4: an IPv6 socket may have an IPv4 peer.
    fn is_over_ipv4(&self) -> io::Result<bool> {
        Ok(self.local_addr()?.ip().to_canonical().is_ipv4())
    }
}

pub(super) fn set_user_timeout(socket: &SockRef<'_>, limit: Option<Duration>) -> io::Result<()> {
    let limit = limit.map(|limit| in_units(limit, Duration::from_millis(1)));
    socket.set_tcp_user_timeout(limit)
}

/// The least multiple of `unit` that is not shorter than `duration`. The kernel would round down,
/// and zero has a meaning of its own.
fn in_units(duration: Duration, unit: Duration) -> Duration {
    let units = duration.as_nanos().div_ceil(unit.as_nanos());
    unit.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a duration is not shortened on its way to the kernel, and a positive one does not
    /// become zero, which would switch the limit off.
    ///
    /// Method: durations around whole units.
    ///
    /// Kills: truncation; an overflow.
    #[test]
    fn units_are_rounded_up() {
        let (second, ns) = (Duration::from_secs(1), Duration::from_nanos(1));
        assert_eq!(in_units(Duration::ZERO, second), Duration::ZERO);
        assert_eq!(in_units(ns, second), second);
        assert_eq!(in_units(second, second), second);
        assert_eq!(in_units(second + ns, second), 2 * second);
        assert!(in_units(Duration::MAX, second) >= Duration::from_secs(u32::MAX.into()));
    }
}
