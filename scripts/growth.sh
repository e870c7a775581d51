#!/usr/bin/env bash
# Prints how costs grow with the number of idle operations, connections and timers, and fails if a
# count (entries, looks, bytes) grows faster than its limit. Times are printed, marked "ABOVE" where
# they exceed theirs, and never fail. Rows that count completed work are printed for their times.
#
#   scripts/growth.sh [LARGEST]     default: 100000 operations on the scripted ring
#
#   RINGLOOP_GROWTH_PROFILE    default dev. Use release for meaningful times
#
# For the documents: RINGLOOP_GROWTH_PROFILE=release scripts/growth.sh 1000000
set -euo pipefail
cd "$(dirname "$0")/.."

largest=${1:-100000}
profile=${RINGLOOP_GROWTH_PROFILE:-dev}

echo "scripted ring, up to $largest operations and timers, profile $profile"
output=$(RINGLOOP_GROWTH=$largest cargo test --quiet --profile "$profile" -p ringloop --lib \
    runtime::tests::growth -- --nocapture)
grep ' | ' <<<"$output"
# A filter without a match passes as well.
grep -q '^test result: ok. 1 passed' <<<"$output" || {
    echo "FAILED: the test of growth has not run"
    exit 1
}

for driver in auto epoll; do
    echo "real descriptors, $driver"
    RINGLOOP_DRIVER=$driver cargo bench --quiet --profile "$profile" -p ringloop --bench growth
done
echo "ok: no count grows faster than it may"
