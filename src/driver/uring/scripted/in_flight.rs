//! Operations in flight, in the order of their submission. Each look-up costs O(log n), so that a
//! script can hold a million of them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::RawFd;

use crate::driver::request::Request;

/// An operation that was submitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Submitted {
    pub(crate) user_data: u64,
    pub(crate) request: Request,
}

#[derive(Default, Debug)]
pub(super) struct InFlight {
    ops: BTreeMap<u64, Submitted>,
    /// The place in `ops` of each `user_data`.
    places: BTreeMap<u64, u64>,
    /// The receives of each descriptor, by their place.
    receives: BTreeSet<(RawFd, u64)>,
    next_place: u64,
}

impl InFlight {
    /// Oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Submitted> {
        self.ops.values()
    }

    pub(super) fn push(&mut self, op: Submitted) {
        let place = self.next_place;
        self.next_place += 1;
        let former = self.places.insert(op.user_data, place);
        assert_eq!(former, None, "{:#x} is in flight twice (H35)", op.user_data);
        if let Some(fd) = received_from(&op.request) {
            self.receives.insert((fd, place));
        }
        self.ops.insert(place, op);
    }

    pub(super) fn contains(&self, user_data: u64) -> bool {
        self.places.contains_key(&user_data)
    }

    pub(super) fn remove(&mut self, user_data: u64) -> Option<Submitted> {
        let place = self.places.remove(&user_data)?;
        let op = self.ops.remove(&place).expect("every place has an operation");
        if let Some(fd) = received_from(&op.request) {
            self.receives.remove(&(fd, place));
        }
        Some(op)
    }

    /// Removes the receives of one descriptor.
    pub(super) fn take_receives(&mut self, fd: RawFd) -> Vec<Submitted> {
        let places = self.receives.range((fd, 0)..=(fd, u64::MAX));
        let user_data: Vec<u64> = places.map(|(_, place)| self.ops[place].user_data).collect();
        user_data.into_iter().filter_map(|user_data| self.remove(user_data)).collect()
    }
}

/// The descriptor that a receive reads from.
pub(super) fn received_from(request: &Request) -> Option<RawFd> {
    match *request {
        Request::Recv { fd, .. } | Request::RecvInto { fd, .. } => Some(fd),
        Request::Accept { .. }
        | Request::Send { .. }
        | Request::Connect { .. }
        | Request::Poll { .. }
        | Request::PollChanges { .. } => None,
    }
}
