#!/usr/bin/env bash
# The large enumerations of src/sync: the real primitives on a real ready queue, through every
# interleaving of the events of a few waiters, in release mode. `cargo test` runs the small ones.
#
#   scripts/models.sh [NAME...]     with names: only these modules of src/sync
#
# What each enumeration covers, besides polls (also of futures that were not woken), drops, and
# turns with rechecks:
#
#   wait_list   4 waiters, wakes of the first and of all, forgotten waiters
#   semaphore   4 waiters for 1, 2 and 3 permits; requests for 1 to 3 permits; parked futures
#   mutex       2 to 4 waiters; parked futures
#   rwlock      up to 4 readers and writers, for 2 and 3 permits; parked futures
#   notify      3 waiters: both notifications, futures that were not polled, parked futures;
#               4 waiters: notify_one with parked futures, and both notifications without
#   condvar     2 waiters: both notifications, parked futures; 3: both; 4: each by itself
#   event       4 waiters, set and clear; parked futures
#   barrier     4 waiters, 1 to 4 tasks; parked futures
#   once_cell   2 to 4 waiters: success, failure and set; parked futures
#
# A parked future stays alive and nothing polls it. Paths in which it stays so are those of a future
# that is forgotten. Waiters that have not begun are interchangeable, and so are those that differ
# in names only.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR="$PWD/target/models"
# Optimization across crates takes longer than it saves.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
limit_s=900 # for each module

modules=("$@")
if [[ $# -eq 0 ]]; then
    modules=(wait_list semaphore mutex rwlock notify condvar event barrier once_cell)
fi
output=$(mktemp)
trap 'rm -f "$output"' EXIT
cargo test -q --release -p ringloop --lib --no-run
for module in "${modules[@]}"; do
    start_s=$SECONDS
    RINGLOOP_TEST_EXHAUSTIVE=1 timeout "$limit_s" cargo test -q --release -p ringloop --lib \
        "sync::$module::tests" -- --nocapture | tee "$output"
    grep -q ' [1-9][0-9]* passed' "$output" || { echo "$module has no test"; exit 1; }
    echo "$module: $((SECONDS - start_s)) s"
done
