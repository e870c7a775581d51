//! Peers that pass descriptors to a loop that does not expect any.

use std::io::{ErrorKind, IoSlice, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use socket2::{MsgHdr, SockRef};

use crate::assault::{Attack, Bounds, Case, Stage, run};
use crate::common::open_fds;
use crate::{Body, Driver, bodies, serving};

pub(crate) const ALONE: &[Body] = bodies![peers_that_pass_descriptors_have_a_bound];

/// Descriptors in one message.
const PASSED: usize = 8;

struct Passing {
    all: Vec<UnixStream>,
    /// One end is passed repeatedly; the other shows whether a copy of it is open.
    passed: Option<UnixStream>,
    witness: UnixStream,
    control: Vec<u8>,
    fds_before: usize,
}

/// A control message with copies of one descriptor, as `cmsg(3)` lays it out.
fn rights(fd: RawFd) -> Vec<u8> {
    let mut control = (16 + 4 * PASSED).to_ne_bytes().to_vec();
    control.extend(libc::SOL_SOCKET.to_ne_bytes());
    control.extend(libc::SCM_RIGHTS.to_ne_bytes());
    (0..PASSED).for_each(|_| control.extend(fd.to_ne_bytes()));
    control
}

impl Attack for Passing {
    fn act(&mut self) -> u64 {
        let pass = |peer: &UnixStream| {
            let _ = (&*peer).read(&mut [0; 64]); // the echo
            let bytes = [IoSlice::new(b"x")];
            let message = MsgHdr::new().with_buffers(&bytes).with_control(&self.control);
            match SockRef::from(peer).sendmsg(&message, 0) {
                Ok(_count) => 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => panic!("passing {PASSED} descriptors: {error}"),
            }
        };
        self.all.iter().map(pass).sum()
    }

    fn check(&self) {
        let count = open_fds().len();
        assert!(count <= self.fds_before, "{count} descriptors, {} before", self.fds_before);
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        drop(self.passed.take());
        self.all.clear();
        // Copies in transit are in sockets that the loop closes soon.
        self.witness.set_nonblocking(false).expect("an option");
    }
}

/// Goal: descriptors that a peer passes are not received, and the bytes of their message are read.
/// Method: eight in each message, at every step.
///
/// Kills: a receive that takes control messages and drops them; a receive that stops at one.
fn peers_that_pass_descriptors_have_a_bound(on: Driver) {
    let open = |stage: &Stage| {
        let pair = |_| {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            theirs.set_nonblocking(true).expect("an option");
            stage.spawn(serving::echo_unix(ringloop::net::UnixStream::from_std(ours)));
            theirs
        };
        let all = (0..stage.attackers).map(pair).collect();
        let (passed, witness) = UnixStream::pair().expect("a pair");
        let control = rights(passed.as_raw_fd());
        let fds_before = open_fds().len();
        Box::new(Passing { all, passed: Some(passed), witness, control, fds_before })
            as Box<dyn Attack>
    };
    let case = Case {
        name: "pass descriptors",
        attackers: 16,
        bounds: Bounds { bytes: 8 * 1024, slots: 2, completions: 3 },
        serve: serving::echo_boxed,
        open,
        shares_listener: true,
        ring: None,
    };
    run(on, &case);
}
