//! Finds the process that listens at an address: from the socket table to sockets, from these to
//! processes.
//!
//! The table covers this network namespace. The processes are those of this process-id namespace
//! whose descriptors are readable. A server may be in one namespace and not in the other.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Limit of descriptors that a search reads. Reading a link takes about a microsecond, and a
/// listener is among a server's first descriptors.
const DESCRIPTORS_MAX: usize = 200_000;

/// Address and inode of a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ListeningSocket {
    addr: SocketAddr,
    inode: u64,
}

/// The inodes of the sockets that a connection to `addr` may reach: several share a port with
/// `SO_REUSEPORT`. Empty if no socket of this network namespace listens there.
pub(crate) fn listening_at(addr: SocketAddr) -> BTreeSet<u64> {
    if !is_ours(addr) {
        return BTreeSet::new();
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let listeners: Vec<ListeningSocket> = tables.into_iter().flat_map(read_listeners).collect();
    matching(&listeners, addr)
}

/// The inodes of the Unix sockets that listen at a path, or at `@` and an abstract name.
pub(crate) fn listening_at_path(path: &str) -> BTreeSet<u64> {
    let Ok(file) = File::open("/proc/net/unix") else { return BTreeSet::new() };
    // A name may be any bytes: one that is not UTF-8 must not end the search.
    let rows = BufReader::new(file).split(b'\n').skip(1).map_while(Result::ok);
    rows.filter_map(|row| parse_unix(str::from_utf8(&row).ok()?, path)).collect()
}

/// The inode in a row, if its socket listens at `path`.
fn parse_unix(row: &str, path: &str) -> Option<u64> {
    const ACCEPTS_CONNECTIONS: &str = "00010000";
    let mut fields = row.split_ascii_whitespace();
    let is_listener = fields.nth(3)? == ACCEPTS_CONNECTIONS;
    let inode = fields.nth(2)?;
    // The path is the rest of the row, including spaces.
    let rest = row.split_once(&format!(" {inode} "))?.1;
    (is_listener && rest == path).then(|| inode.parse().ok())?
}

/// Whether the address belongs to this network namespace. Otherwise a socket that listens at all
/// addresses would be mistaken for a target on another machine.
///
/// The check is a `bind`, which the kernel refuses for foreign addresses unless
/// `net.ipv4.ip_nonlocal_bind` is set.
fn is_ours(mut addr: SocketAddr) -> bool {
    addr.set_port(0);
    UdpSocket::bind(addr).is_ok()
}

/// The listeners that the kernel chooses: a socket at exactly this address precedes a wildcard.
fn matching(listeners: &[ListeningSocket], addr: SocketAddr) -> BTreeSet<u64> {
    const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let ip = addr.ip().to_canonical();
    let places: &[IpAddr] = if ip.is_ipv4() { &[ip, ANY_V4, ANY_V6] } else { &[ip, ANY_V6] };
    let at = |ip: &IpAddr| -> BTreeSet<u64> {
        let is_there = |listener: &&ListeningSocket| {
            listener.addr.port() == addr.port() && listener.addr.ip().to_canonical() == *ip
        };
        listeners.iter().filter(is_there).map(|listener| listener.inode).collect()
    };
    places.iter().map(at).find(|inodes| !inodes.is_empty()).unwrap_or_default()
}

/// Reads only the beginning of a table: the kernel lists the listening sockets first, and tens of
/// thousands of others may follow.
fn read_listeners(table: &str) -> Vec<ListeningSocket> {
    let Ok(file) = File::open(table) else { return Vec::new() };
    let rows = BufReader::new(file).lines().skip(1).map_while(Result::ok);
    rows.map_while(|row| parse(&row)).collect()
}

/// Parses a row. `None` if its socket does not listen.
fn parse(row: &str) -> Option<ListeningSocket> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = row.split_ascii_whitespace().take(10).collect();
    let [_, local, _, LISTEN, _, _, _, _, _, inode] = fields[..] else { return None };
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(ListeningSocket { addr: SocketAddr::new(parse_ip(ip)?, port), inode: inode.parse().ok()? })
}

/// Parses an address, printed as words of four bytes in this machine's byte order.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let mut bytes = [0; 16];
    let words = hex.len() / 8;
    if !hex.is_ascii() || (hex.len() != 8 && hex.len() != 32) {
        return None;
    }
    for (index, place) in bytes.chunks_exact_mut(4).take(words).enumerate() {
        let word = u32::from_str_radix(&hex[index * 8..][..8], 16).ok()?;
        place.copy_from_slice(&word.to_ne_bytes());
    }
    Some(match words {
        1 => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
        _ => Ipv6Addr::from(bytes).into(),
    })
}

/// The processes that hold one of these sockets, ordered by id. Processes with unreadable
/// descriptors are not found.
pub(crate) fn holders_of(inodes: &BTreeSet<u64>) -> Vec<u32> {
    let names: BTreeSet<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let mut left = DESCRIPTORS_MAX;
    let mut pids: Vec<u32> =
        all_processes().into_iter().filter(|pid| holds_one(*pid, &names, &mut left)).collect();
    pids.sort_unstable();
    pids
}

fn all_processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let entries = entries.flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn holds_one(pid: u32, names: &BTreeSet<String>, left: &mut usize) -> bool {
    // The process of another user, or one that has ended since it was listed.
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    for entry in entries.flatten() {
        if *left == 0 {
            return false;
        }
        *left -= 1;
        let link = fs::read_link(entry.path()).ok();
        if link.as_deref().and_then(|link| link.to_str()).is_some_and(|it| names.contains(it)) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Goal: rows of the table are parsed correctly in any byte order.
    ///
    /// Method: addresses of both families in the kernel's format; the row of a connection; a
    /// truncated row.
    ///
    /// Kills: bytes of an address in the wrong order; a connection taken for a listener.
    #[test]
    fn rows_are_parsed_in_any_byte_order() {
        let hex = |ip: IpAddr| -> String {
            let bytes = match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let words = bytes.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
            words.map(|word| format!("{word:08X}")).collect()
        };
        for text in ["127.0.0.1", "10.1.2.3", "::1", "fe80::1:2:3:4"] {
            let ip: IpAddr = text.parse().unwrap();
            let row = |state: &str| {
                let ip = hex(ip);
                format!("  12: {ip}:1B58 00000000:0000 {state} 0:0 00:0 0 1000 0 4711 1 ffff 100")
            };
            let addr = SocketAddr::new(ip, 7_000);
            assert_eq!(parse(&row("0A")), Some(ListeningSocket { addr, inode: 4_711 }));
            assert_eq!(parse(&row("01")), None);
            assert_eq!(parse(row("0A").split(" 4711").next().unwrap()), None);
        }
        assert_eq!(parse_ip("0100007"), None);
    }

    /// Goal: a listening Unix socket is found by its path or its abstract name, others are not.
    ///
    /// Method: a listener and a bound socket, both with a space in their paths, and an abstract
    /// listener, all held by this process. The kernel's order of the table is unspecified, so there
    /// are 100 further sockets whose names are not UTF-8.
    ///
    /// Kills: a bound socket mistaken for a listener; a path that ends at its first space; a
    /// listener whose path is part of another one; a foreign name that ends the search.
    #[test]
    fn unix_sockets_are_found() {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

        let odd = |number: u8| {
            let name = [b"\xff", &std::process::id().to_ne_bytes()[..], &[number]].concat();
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
        };
        let _odd: Vec<UnixListener> = (0..100).map(odd).collect();
        let directory = std::env::temp_dir().join(format!("ringloop-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let (listening, bound) = (path("a listener"), path("a datagram"));
        let _listener = UnixListener::bind(&listening).unwrap();
        let _bound = UnixDatagram::bind(&bound).unwrap();
        let name = format!("ringloop-{}", std::process::id());
        let _abstract =
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();

        for found in [&listening, &format!("@{name}")] {
            let inodes = listening_at_path(found);
            assert_eq!(inodes.len(), 1, "{found}");
            // A child that another test starts holds it too until it executes its program.
            assert!(holders_of(&inodes).contains(&std::process::id()));
        }
        assert!(listening_at_path(&bound).is_empty());
        assert!(listening_at_path(listening.split(' ').next().unwrap()).is_empty());
        std::fs::remove_dir_all(&directory).unwrap();
    }

    /// Goal: the found sockets are those to which the kernel would assign a connection.
    ///
    /// Method: listeners at one address, at all addresses of either family, at another port.
    ///
    /// Kills: a wildcard that hides the exact address; only one of several sockets; ignored ports.
    #[test]
    fn the_exact_address_comes_first() {
        let listener = |addr: &str, inode| ListeningSocket { addr: addr.parse().unwrap(), inode };
        let all = [
            listener("127.0.0.1:80", 1),
            listener("0.0.0.0:80", 2),
            listener("[::]:80", 3),
            listener("127.0.0.1:80", 4),
            listener("0.0.0.0:81", 5),
            listener("[::]:82", 6),
            listener("[::ffff:127.0.0.1]:83", 7),
        ];
        let found = |addr: &str| -> Vec<u64> {
            matching(&all, addr.parse().unwrap()).into_iter().collect()
        };
        assert_eq!(found("127.0.0.1:80"), [1, 4]);
        assert_eq!(found("127.0.0.2:80"), [2]);
        assert_eq!(found("[::1]:80"), [3]);
        assert_eq!(found("127.0.0.1:82"), [6]);
        assert_eq!(found("127.0.0.1:83"), [7]);
        assert_eq!(found("[::1]:81"), [0; 0]);
        assert_eq!(found("127.0.0.1:84"), [0; 0]);
    }

    /// Goal: a listener of this process is found and attributed to it; a closed port has no holder.
    ///
    /// Method: a listener at each loopback address and at the wildcard; search for it there and at
    /// a foreign address; then a port whose listener is closed.
    ///
    /// Kills: a wildcard listener mistaken for another machine's; a skipped row; other states than
    /// listening; a search that ends early.
    #[test]
    fn a_listener_of_this_process_is_found() {
        for ip in ["127.0.0.1", "::1", "0.0.0.0"] {
            let ip: IpAddr = ip.parse().unwrap();
            let listener = match TcpListener::bind((ip, 0)) {
                Ok(listener) => listener,
                Err(error) if ip.is_ipv6() => {
                    eprintln!("skipped: no IPv6 here: {error}");
                    continue;
                }
                Err(error) => panic!("{ip}: {error}"),
            };
            let addr = listener.local_addr().unwrap();
            let inodes = listening_at(addr);
            assert_eq!(inodes.len(), 1, "{addr}");
            assert!(holders_of(&inodes).contains(&std::process::id()));
            let elsewhere = SocketAddr::new("192.0.2.1".parse().unwrap(), addr.port());
            assert!(listening_at(elsewhere).is_empty());
        }
        let gone = TcpListener::bind("127.0.0.3:0").unwrap().local_addr().unwrap();
        assert!(listening_at(gone).is_empty());
        assert_eq!(holders_of(&BTreeSet::new()), [0; 0]);
    }
}
