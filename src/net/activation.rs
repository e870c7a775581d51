//! Socket activation by systemd, or by another supervisor with its protocol (`sd_listen_fds(3)`).
//!
//! The supervisor listens, and starts the program with the sockets as descriptors 3, 4, … and
//! `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` in its environment. Connections wait in the
//! backlog while the program starts or restarts, and a port below 1024 needs no privileges.

use std::env;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

use socket2::{Domain, SockRef, Type};

use crate::sys::inherited;

/// The first descriptor: `SD_LISTEN_FDS_START`.
const FIRST: RawFd = 3;

/// A larger number of descriptors is an invalid value.
const COUNT_MAX: u32 = 4096;

/// The name of a socket without a name from the supervisor.
const UNNAMED: &str = "unknown";

/// Whether the descriptors have been taken. They belong to the process, not to one loop.
static IS_TAKEN: Mutex<bool> = Mutex::new(false);

/// A listening socket that the supervisor has opened. [`activated`] returns it.
#[derive(Debug)]
pub struct Activated {
    /// The name of the socket: `FileDescriptorName=` of the socket unit, or else the name of the
    /// unit. `"unknown"` without `LISTEN_FDNAMES`. Several sockets may have the same name.
    pub name: String,
    /// The socket.
    pub listener: ActivatedListener,
}

/// A listening socket by its family. It can be sent to the thread whose loop will accept.
#[derive(Debug)]
#[non_exhaustive]
pub enum ActivatedListener {
    /// A TCP socket, for [`TcpListener::from_std`](crate::net::TcpListener::from_std).
    Tcp(std::net::TcpListener),
    /// A Unix socket, for [`UnixListener::from_std`](crate::net::UnixListener::from_std). Its file
    /// belongs to the supervisor.
    Unix(std::os::unix::net::UnixListener),
}

/// Takes the listening sockets that the supervisor has opened for this process.
///
/// They are in the order of the systemd unit, which needs `ListenStream=` and `Accept=no`. The list
/// is empty if the process was not started by socket activation: without `LISTEN_FDS`, or if
/// `LISTEN_PID` is another process, from which the environment was inherited. The program then
/// binds an address of its own.
///
/// The sockets become close-on-exec. The environment is not changed; a child process finds that
/// `LISTEN_PID` is another process. This is `sd_listen_fds_with_names(3)`. It needs no loop. Call
/// it before other code opens descriptors by number.
///
/// # Errors
///
/// `InvalidData` with a text that names the variable or the descriptor, for a value that is not a
/// number, for more or fewer names than descriptors, and for a descriptor that is not open, not a
/// socket, a datagram socket, or not listening (`Accept=yes`). No socket is taken then.
/// `AlreadyExists` if an earlier call has taken them.
///
/// ```
/// use ringloop::net::{ActivatedListener, TcpListener, activated};
///
/// # ringloop::run(async {
/// let mut listeners = Vec::new();
/// for activated in activated()? {
///     match activated.listener {
///         ActivatedListener::Tcp(listener) => listeners.push(TcpListener::from_std(listener)),
///         other => eprintln!("{} is not used: {other:?}", activated.name),
///     }
/// }
/// if listeners.is_empty() {
///     listeners.push(TcpListener::bind("127.0.0.1:0")?);
/// }
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub fn activated() -> io::Result<Vec<Activated>> {
    let mut is_taken = IS_TAKEN.lock().expect("nothing panics under this lock");
    let var = |name| env::var_os(name);
    let offered = offered(var("LISTEN_PID"), var("LISTEN_FDS"), var("LISTEN_FDNAMES"))?;
    if offered.is_empty() {
        return Ok(Vec::new());
    }
    if *is_taken {
        let text = "an earlier call has taken the descriptors of LISTEN_FDS";
        return Err(io::Error::new(ErrorKind::AlreadyExists, text));
    }
    let activated = adopt_all(offered)?;
    *is_taken = true;
    Ok(activated)
}

/// Reads the descriptors and names for this process from the environment.
fn offered(
    pid: Option<OsString>,
    count: Option<OsString>,
    names: Option<OsString>,
) -> io::Result<Vec<(RawFd, String)>> {
    let (Some(pid), Some(count)) = (pid, count) else { return Ok(Vec::new()) };
    if number("LISTEN_PID", &pid)? != std::process::id() {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS", &count)?;
    if count > COUNT_MAX {
        return Err(invalid(format!("LISTEN_FDS={count}: more than {COUNT_MAX}")));
    }
    let names = match &names {
        None => None,
        Some(names) => {
            let text = names
                .to_str()
                .ok_or_else(|| invalid(format!("LISTEN_FDNAMES={}: not UTF-8", names.display())))?;
            let names_count = if count == 0 { 0 } else { text.split(':').count() };
            if names_count != count as usize {
                return Err(invalid(format!(
                    "LISTEN_FDNAMES={text}: {names_count} names for LISTEN_FDS={count}"
                )));
            }
            Some(text.split(':'))
        }
    };
    let mut names = names.into_iter().flatten().map(str::to_owned);
    let numbers = FIRST..FIRST + count as RawFd;
    Ok(numbers.map(|fd| (fd, names.next().unwrap_or_else(|| UNNAMED.to_owned()))).collect())
}

fn number(name: &str, value: &OsString) -> io::Result<u32> {
    let parsed = value.to_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| invalid(format!("{name}={}: not a number", value.display())))
}

fn adopt_all(offered: Vec<(RawFd, String)>) -> io::Result<Vec<Activated>> {
    let mut owned = Vec::new();
    let mut failure = None;
    for (fd, name) in offered {
        let described = inherited::adopt(fd).and_then(|socket| {
            let kind = kind(&socket);
            owned.push((socket, name.clone()));
            kind
        });
        if let Err(error) = described {
            failure = Some(invalid(format!("descriptor {fd} of LISTEN_FDS ({name}) {error}")));
            break;
        }
    }
    if let Some(error) = failure {
        // The descriptors stay open: the program may want to examine them.
        for (socket, _) in owned {
            let _ = socket.into_raw_fd();
        }
        return Err(error);
    }
    owned
        .into_iter()
        .map(|(socket, name)| Ok(Activated { name, listener: typed(socket)? }))
        .collect()
}

/// The family of a listening stream socket. The error is the reason why it is not one.
fn kind(socket: &OwnedFd) -> io::Result<Domain> {
    let options = SockRef::from(socket);
    let kind = options.r#type().map_err(|_| io::Error::other("is not a socket"))?;
    if kind != Type::STREAM {
        return Err(io::Error::other("is not a stream socket: the unit needs ListenStream="));
    }
    if !options.is_listener()? {
        return Err(io::Error::other("does not listen: the unit needs Accept=no"));
    }
    match options.domain()? {
        domain @ (Domain::IPV4 | Domain::IPV6 | Domain::UNIX) => Ok(domain),
        other => Err(io::Error::other(format!("has an unknown address family, {other:?}"))),
    }
}

fn typed(socket: OwnedFd) -> io::Result<ActivatedListener> {
    Ok(match kind(&socket)? {
        Domain::UNIX => ActivatedListener::Unix(socket.into()),
        _inet => ActivatedListener::Tcp(socket.into()),
    })
}

fn invalid(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(pid: &str, count: &str, names: Option<&str>) -> Result<Vec<(RawFd, String)>, String> {
        let own = std::process::id().to_string();
        let pid = if pid == "own" { own } else { pid.to_owned() };
        offered(Some(pid.into()), Some(count.into()), names.map(OsString::from))
            .map_err(|error| error.to_string())
    }

    /// Goal: the environment is read as `sd_listen_fds(3)` reads it, and an invalid value is an
    /// error that names the variable.
    ///
    /// Method: valid values, those of another process, and invalid ones.
    ///
    /// Kills: descriptors of another process; a first number other than 3; a name that is given to
    /// the wrong socket; a panic or an empty list for a bad value.
    #[test]
    fn the_environment_is_read() {
        let named = |fd, name: &str| (fd, name.to_owned());
        assert_eq!(offered(None, Some("1".into()), None).unwrap(), []);
        assert_eq!(offered(Some("1".into()), None, None).unwrap(), []);
        assert_eq!(offer("1", "1", None).unwrap(), []);
        assert_eq!(offer("own", "0", Some("")).unwrap(), []);
        let unnamed = [named(3, "unknown"), named(4, "unknown")];
        assert_eq!(offer("own", "2", None).unwrap(), unnamed);
        assert_eq!(offer("own", "2", Some("web:")).unwrap(), [named(3, "web"), named(4, "")]);
        for (pid, count, names, variable) in [
            ("x", "1", None, "LISTEN_PID=x"),
            ("own", "", None, "LISTEN_FDS="),
            ("own", "-1", None, "LISTEN_FDS=-1"),
            ("own", "4294967295", None, "LISTEN_FDS=4294967295"),
            ("own", "2", Some("web"), "LISTEN_FDNAMES=web"),
            ("own", "1", Some("a:b"), "LISTEN_FDNAMES=a:b"),
        ] {
            let text = offer(pid, count, names).unwrap_err();
            assert!(text.starts_with(variable), "{text}");
        }
    }
}
