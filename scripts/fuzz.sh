#!/usr/bin/env bash
# Runs the seeded fuzzer (src/fuzz/) in release mode: random programs on a random kernel.
#
#   scripts/fuzz.sh [RUNS [SEED]]
#
# RUNS seeds from SEED on; by default 200 000 from 1 on, which take one to two minutes on a machine
# that does nothing else. A finding prints its seed, its shortest input and how to run either again.
#
# With cargo-fuzz (`cargo install cargo-fuzz`, nightly), the same interpreter is guided by coverage:
#
#   cargo +nightly fuzz run ring
set -euo pipefail
cd "$(dirname "$0")/.."

export RINGLOOP_FUZZ_RUNS="${1:-200000}"
export RINGLOOP_FUZZ_SEED="${2:-1}"
cargo test --release -p ringloop --lib fuzz::tests
