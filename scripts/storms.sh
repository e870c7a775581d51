#!/usr/bin/env bash
# The storms (`tests/storms.rs`) at their full size, in a release build: a million cancels over all
# kinds of operations on each driver, descriptors reused by the thousand, the smallest rings, and
# pools of one buffer.
#
#   scripts/storms.sh [cancels]      default 1000000
set -euo pipefail
cd "$(dirname "$0")/.."

export RINGLOOP_STORM="${1:-1000000}"
exec cargo test --release -p ringloop --test storms -- --nocapture --test-threads=1
