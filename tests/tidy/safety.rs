//! Unsafe code: the files that have any.

use super::source::{everything, line_of, words};
use super::{assert_all_exist, assert_none};

/// The files with unsafe code. Each says `#![allow(unsafe_code)]` and why.
const UNSAFE_FILES: &[&str] = &[
    "benches/peers/src/bin/ring_floor/buffers.rs",
    "benches/peers/src/bin/ring_floor/main.rs",
    "benches/peers/src/sys.rs",
    "loadtest/src/host/sys.rs",
    "src/buf/pool.rs",
    "src/driver/epoll/perform.rs",
    "src/driver/uring/buffer_ring.rs",
    "src/driver/uring/ring.rs",
    "src/driver/uring/scripted.rs",
    "src/fuzz/descriptors.rs",
    "src/fuzz/memory.rs",
    "src/op/accept.rs",
    "src/sys/clock.rs",
    "src/sys/epoll.rs",
    "src/sys/eventfd.rs",
    "src/sys/fork.rs",
    "src/sys/inherited.rs",
    "src/sys/memory.rs",
    "src/sys/signal.rs",
    "src/sys/stderr.rs",
    "src/sys/socket.rs",
    "tests/allocations.rs",
    "tests/async_fd/readiness.rs",
    "tests/common/limits.rs",
    "tests/common/polling.rs",
    "tests/common/raising.rs",
    "tests/denied/server.rs",
    "tests/denied/syscalls.rs",
    "tests/races/primitives.rs",
    "tests/hostile/counting.rs",
    "tests/forked.rs",
    "tests/forked/process.rs",
    "tests/vocabulary/hostile_wakers.rs",
];

/// Goal: unsafe code is in the files that the list names, and nowhere else.
///
/// Method: the keyword in the code of every file of the repository, and the attribute that allows
/// it, against [`UNSAFE_FILES`].
///
/// Kills: an unsafe block in another file, with or without the attribute; the attribute on a file
/// that does not need it; an entry that is no longer true.
#[test]
fn unsafe_code_is_in_named_files() {
    let mut wrong = Vec::new();
    for file in everything() {
        let is_named = UNSAFE_FILES.contains(&file.path.as_str());
        let has_unsafe = line_of(&file.code, "unsafe").is_some();
        let has_attribute = file.code.contains("#![allow(unsafe_code)]");
        // Anything narrower than a file would hide in it.
        let mentions = words(&file.code, "unsafe_code").len();
        if (has_unsafe, has_attribute, mentions) != (is_named, is_named, usize::from(is_named)) {
            wrong.push(format!(
                "{}: on the list {is_named}, unsafe {has_unsafe}, file attribute {has_attribute}, \
                 {mentions} mentions of the lint",
                file.path
            ));
        }
    }
    assert_all_exist(UNSAFE_FILES, &mut wrong);
    assert_none(&wrong);
}
