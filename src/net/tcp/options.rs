//! The options of a TCP connection.
//!
//! **Absent on purpose.** `SO_LINGER`: closing is the loop's (`net::socket::close`), which sets it to
//! reset a connection that has lost bytes. The builder's `linger` bounds a close, and
//! [`TcpStream::abort`] resets.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::TcpStream;

/// When the kernel asks a silent peer whether it is still there: the settings of
/// [`TcpStream::set_keepalive`]. The kernel keeps whole seconds; fractions are rounded up.
///
/// The default is Linux's: after two hours, every 75 seconds, nine times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// How long the connection is silent before the first probe (`TCP_KEEPIDLE`).
    pub time: Duration,
    /// The time between two probes (`TCP_KEEPINTVL`).
    pub interval: Duration,
    /// After how many probes without an answer the connection fails with `ETIMEDOUT`
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

pub(super) fn set_user_timeout(socket: &SockRef<'_>, limit: Option<Duration>) -> io::Result<()> {
    let limit = limit.map(|limit| in_units(limit, Duration::from_millis(1)));
    socket.set_tcp_user_timeout(limit)
}

/// The least multiple of `unit` that is not shorter. What the kernel keeps would be less otherwise, and
/// zero has a meaning of its own.
fn in_units(duration: Duration, unit: Duration) -> Duration {
    let units = duration.as_nanos().div_ceil(unit.as_nanos());
    unit.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX))
}

impl TcpStream {
    /// Sets `TCP_NODELAY`: small packets leave at once instead of waiting for an acknowledgement.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
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

    /// Has the kernel probe a peer that is silent, or with `None` not (the default). A peer that does not
    /// answer ends the connection: reads and writes fail with `TimedOut`, and
    /// [`closed`](TcpStream::closed) is done.
    ///
    /// Probes are sent only while nothing else is unacknowledged. What has been sent and is not
    /// acknowledged is limited by [`set_user_timeout`](TcpStream::set_user_timeout).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`: `EINVAL` for zero, for more than 32 767 seconds, and for more than 127
    /// retries. Keepalive is then on or off as before.
    ///
    /// ```no_run
    /// use ringloop::net::{Keepalive, TcpStream};
    /// use std::time::Duration;
    ///
    /// # async fn example() -> std::io::Result<()> {
    /// let stream = TcpStream::connect("10.0.0.5:5432").await?;
    /// stream.set_keepalive(Some(Keepalive {
    ///     time: Duration::from_secs(30),
    ///     interval: Duration::from_secs(10),
    ///     retries: 3, // a silent peer is given up after a minute
    /// }))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        let socket = self.socket().options();
        match keepalive {
            Some(keepalive) => keepalive.set(&socket),
            None => socket.set_keepalive(false),
        }
    }

    /// The settings of keepalive, if it is on.
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

    /// Limits how long sent bytes may stay unacknowledged, or how long the peer may keep its window
    /// closed, before the kernel ends the connection with `ETIMEDOUT` (`TCP_USER_TIMEOUT`). `None` is
    /// the system's limit, about 15 minutes. Milliseconds; fractions are rounded up. With keepalive on
    /// it also replaces the number of retries.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`: `EINVAL` for more than 2³¹ milliseconds.
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
    /// (`SO_RCVBUF`). The kernel doubles the value for its own bookkeeping, and cuts it at
    /// `net.core.rmem_max`.
    ///
    /// A buffer beyond 64 KiB has to be set before the connection is made, for the window to be
    /// scaled: see [`TcpStreamBuilder::recv_buffer_size`](super::TcpStreamBuilder::recv_buffer_size)
    /// and [`TcpListenerBuilder::recv_buffer_size`](super::TcpListenerBuilder::recv_buffer_size).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket().options().set_recv_buffer_size(bytes)
    }

    /// The size of the kernel's receive buffer as the kernel counts it: twice what was set.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        self.socket().options().recv_buffer_size()
    }

    /// Sets the size of the kernel's send buffer, in bytes, and ends its automatic growth (`SO_SNDBUF`).
    /// The kernel doubles the value, and cuts it at `net.core.wmem_max`. The stream's own queue of 64
    /// KiB comes on top.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket().options().set_send_buffer_size(bytes)
    }

    /// The size of the kernel's send buffer as the kernel counts it: twice what was set.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        self.socket().options().send_buffer_size()
    }

    /// Sets the type of service of the packets: the differentiated services code point in the upper six
    /// bits (`IP_TOS`, or `IPV6_TCLASS` on IPv6). The kernel keeps the lower two for congestion
    /// notification.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`, and of [`local_addr`](TcpStream::local_addr).
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
    /// As [`set_tos`](TcpStream::set_tos).
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
    /// Those of `setsockopt(2)`: `EINVAL` for other values; and of
    /// [`local_addr`](TcpStream::local_addr).
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
    /// As [`set_ttl`](TcpStream::set_ttl).
    pub fn ttl(&self) -> io::Result<u32> {
        let socket = self.socket().options();
        match self.is_over_ipv4()? {
            true => socket.ttl_v4(),
            false => socket.unicast_hops_v6(),
        }
    }

    /// Whether to acknowledge at once, or later with data (`TCP_QUICKACK`). The kernel changes it by
    /// itself as the connection goes on, so it has to be set again after reads to last.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
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

    /// The error that has ended the connection, if there is one: the socket's pending error
    /// (`SO_ERROR`), or one that a receive or a send of the stream has found before. Nothing is lost by
    /// asking: reads and writes return the error as well, and so does a second call.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket().take_error()
    }

    /// An IPv6 socket may have an IPv4 peer, whose packets IPv4's options are for.
    fn is_over_ipv4(&self) -> io::Result<bool> {
        Ok(self.local_addr()?.ip().to_canonical().is_ipv4())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: no duration becomes shorter on its way to the kernel, least of all zero, which would
    /// switch the limit off.
    /// Method: durations around whole units. Kills: truncation; an overflow.
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
