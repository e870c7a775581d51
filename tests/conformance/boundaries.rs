//! Reads that the kernel cuts short although the socket has more bytes.
//!
//! On a Unix socket one read never crosses a message with descriptors, a change of credentials or
//! the mark of urgent data, whether or not the reader asks for them. The peer chooses where they
//! are, so a peer can stop a loop that takes a short read for an empty socket.

use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream as StdStream;
use std::pin::pin;

use socket2::{MsgHdr, SockRef};

use crate::common::{Dice, assert_coded, coded_bytes, open_fds, poll_once, scaled, turns};
use crate::{Body, Driver, bodies};
use ringloop::Handle;
use ringloop::net::UnixStream;

pub(crate) const SHARED: &[Body] = bodies![
    reads_go_on_after_a_change_of_credentials,
    reads_go_on_after_urgent_data,
    reads_go_on_after_many_cuts,
    the_end_behind_a_long_burst_is_seen,
];

pub(crate) const ALONE: &[Body] = bodies![reads_go_on_after_descriptors];

/// The number of messages of one burst.
const MESSAGES: usize = 4;

/// A stream of this loop, whose receive waits, and its peer.
async fn waiting_pair() -> (UnixStream, StdStream) {
    let (ours, theirs) = StdStream::pair().expect("a pair");
    let mut ours = UnixStream::from_std(ours);
    assert!(poll_once(pin!(ours.recv())).await.is_pending());
    turns(3).await; // the receive has found no bytes and waits in the kernel
    (ours, theirs)
}

/// A control message with one descriptor, in the layout of `cmsg(3)`.
fn rights(fd: RawFd) -> Vec<u8> {
    let mut control = 20_usize.to_ne_bytes().to_vec();
    control.extend(libc::SOL_SOCKET.to_ne_bytes());
    control.extend(libc::SCM_RIGHTS.to_ne_bytes());
    control.extend(fd.to_ne_bytes());
    control.extend([0; 4]);
    control
}

fn send_with(peer: &StdStream, bytes: &[u8], control: &[u8]) {
    let slices = [IoSlice::new(bytes)];
    let message = MsgHdr::new().with_buffers(&slices).with_control(control);
    assert_eq!(SockRef::from(peer).sendmsg(&message, 0).expect("room"), bytes.len());
}

/// Sends one burst while the receive waits, and reads it. `before` runs before each message and
/// returns its control bytes.
async fn check_burst(
    (ours, theirs): (&mut UnixStream, &StdStream),
    lens: &[usize],
    mut before: impl FnMut(usize) -> Vec<u8>,
) {
    let mut start = 0;
    for (index, len) in lens.iter().enumerate() {
        let control = before(index);
        send_with(theirs, &coded_bytes(start, *len), &control);
        start += *len as u64;
    }
    let mut received = vec![0; start as usize];
    ours.read_exact(&mut received).await.expect("all bytes are in the kernel");
    assert_coded(0, &received);
}

/// Goal: descriptors in any of several messages do not stop reads, and no received descriptor stays
/// open.
///
/// Method: every subset of a burst's messages carries a descriptor; sizes below, at and above a
/// receive buffer. The peer stays open, so no hang-up starts another read.
///
/// Kills: a short read taken for an empty socket; a receive that installs descriptors.
fn reads_go_on_after_descriptors(on: Driver) {
    on.run(async {
        let (passed, _other) = StdStream::pair().unwrap();
        let control = rights(passed.as_raw_fd());
        for len in [1, 10, 4095, 4096, 5000, 20_000] {
            for with_rights in 0..1_u32 << MESSAGES {
                let (mut ours, theirs) = waiting_pair().await;
                let before = open_fds();
                check_burst((&mut ours, &theirs), &[len; MESSAGES], |index| {
                    if with_rights >> index & 1 == 1 { control.clone() } else { Vec::new() }
                })
                .await;
                assert_eq!(open_fds(), before, "{len} bytes, messages {with_rights:#b}");
            }
        }
    });
}

/// Goal: a socket that takes credentials is read to the end where they change.
///
/// Method: the reader sets `SO_PASSCRED` before the burst, or between two of its messages, so that
/// the messages before have no credentials and those after have some. Kills: as above.
fn reads_go_on_after_a_change_of_credentials(on: Driver) {
    on.run(async {
        for change_at in 0..MESSAGES {
            for len in [1, 4096, 9000] {
                let (mut ours, theirs) = waiting_pair().await;
                let receiver = ours.as_fd().try_clone_to_owned().expect("a descriptor");
                check_burst((&mut ours, &theirs), &[len; MESSAGES], |index| {
                    if index == change_at {
                        SockRef::from(&receiver).set_passcred(true).expect("an option");
                    }
                    Vec::new()
                })
                .await;
            }
        }
    });
}

/// Goal: urgent data of a Unix peer does not stop reads.
///
/// Method: an urgent byte between the messages. The kernel keeps it out of the ordinary bytes, or
/// refuses to send it (before 5.15). Kills: a read that stops at the mark.
fn reads_go_on_after_urgent_data(on: Driver) {
    on.run(async {
        for urgent_at in 0..MESSAGES {
            let (mut ours, theirs) = waiting_pair().await;
            check_burst((&mut ours, &theirs), &[10; MESSAGES], |index| {
                if index == urgent_at {
                    let _ = SockRef::from(&theirs).send_out_of_band(b"!");
                }
                Vec::new()
            })
            .await;
        }
    });
}

/// Goal: a long connection with many cuts, in bursts of many sizes, goes on, also after reads that
/// emptied the socket.
///
/// Method: random sizes and cuts, with a reply to each burst.
///
/// Kills: a kind of socket that is forgotten or changed.
fn reads_go_on_after_many_cuts(on: Driver) {
    on.run(async {
        let (passed, _other) = StdStream::pair().unwrap();
        let control = rights(passed.as_raw_fd());
        let (mut ours, theirs) = waiting_pair().await;
        let mut dice = Dice::new(0x5EED);
        for _ in 0..scaled(500) {
            let len_max = if dice.roll(4) == 0 { 9000 } else { 40 };
            let lens: Vec<usize> =
                (0..MESSAGES * 2).map(|_| 1 + dice.roll(len_max) as usize).collect();
            check_burst((&mut ours, &theirs), &lens, |_index| match dice.roll(3) {
                0 => control.clone(),
                _ => Vec::new(),
            })
            .await;
        }
    });
}

/// Goal: the end of a Unix stream is seen at once, after any number of bytes.
///
/// Method: bytes for many buffers, and the end, are in the socket before the first read. The
/// watchdog, which would find the end some seconds later, must find nothing.
///
/// Kills: a receive that stays armed after the kernel has filled 32 buffers in a row (Linux
/// 6.18.44).
fn the_end_behind_a_long_burst_is_seen(on: Driver) {
    let runtime = on.builder().recv_buffers(256, 64).build().unwrap();
    runtime.block_on(async {
        for len in [31 * 64, 32 * 64, 33 * 64, 4096, 10_000] {
            let (ours, mut peer) = StdStream::pair().unwrap();
            peer.write_all(&coded_bytes(7, len)).unwrap();
            drop(peer);
            let mut stream = UnixStream::from_std(ours);
            let mut received = vec![0; len];
            stream.read_exact(&mut received).await.unwrap();
            assert_coded(7, &received);
            assert!(stream.recv().await.unwrap().is_empty());
        }
        assert_eq!(Handle::current().metrics().lost_wakeups, 0);
    });
}
