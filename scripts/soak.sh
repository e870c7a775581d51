#!/usr/bin/env bash
# The soaks (`tests/soak`) at their full size, in a release build, on each driver: a million rounds,
# after which nothing is lost and the memory is that of the start.
#
#   scripts/soak.sh [NAME]...     default: all soaks of the table below
#
# RINGLOOP_SOAK_ROUNDS changes the number of rounds.
set -euo pipefail
cd "$(dirname "$0")/.."

# Each name is a row of SOAKS in tests/soak/main.rs.
soaks=(
    select        # rounds of select! over channels and timers
    remote_wakes  # wakes and calls from another thread, at random phases
    blocking_jobs # jobs that are awaited, aborted or detached
)

export RINGLOOP_SOAK_ROUNDS="${RINGLOOP_SOAK_ROUNDS:-1000000}"
(($#)) || set -- "${soaks[@]}"
for name in "$@"; do
    # A process for each, so that the memory of one is not that of another.
    output=$(cargo test --release -p ringloop --test soak -- "$name" | tee /dev/stderr)
    if grep -q '^0 passed' <<<"$output"; then
        echo "FAILED: no soak is called $name"
        exit 1
    fi
done
