#!/usr/bin/env bash
# Runs every example as its documentation describes, on each driver, and checks what it prints and
# sends. Python plays the clients.
#
#   scripts/examples.sh [NAME...]
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build -q --examples
for driver in uring epoll; do
    RINGLOOP_DRIVER=$driver timeout 120 python3 scripts/examples.py \
        "${CARGO_TARGET_DIR:-target}/debug/examples" "$@"
    echo "$driver: done"
done
