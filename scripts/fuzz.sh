#!/usr/bin/env bash
# Runs the seeded fuzzer (src/fuzz/) in release mode: random programs on a random kernel.
#
#   scripts/fuzz.sh [RUNS [SEED]]
#
# RUNS seeds from SEED on; by default 200 000 from 1 on, which take one to two minutes on an idle
# machine. A finding prints its seed, its shortest input and how to run either again.
#
# With cargo-fuzz (`cargo install cargo-fuzz`, nightly), the same interpreter is guided by coverage:
#
#   cargo +nightly fuzz run -s none ring -- -max_len=1500 -detect_leaks=0
set -euo pipefail
cd "$(dirname "$0")/.."

runs="${1:-200000}"
seed="${2:-1}"
# A few of a hundred runs leak mappings on purpose, as the library must when the kernel does not
# answer. A process may have 65 530 mappings, so the runs are shared among several.
chunk=250000
[[ "$runs" -gt 0 ]] || { echo "FAILED: no run was asked for"; exit 1; }
output=$(mktemp)
trap 'rm -f "$output"' EXIT

while [[ "$runs" -gt 0 ]]; do
    count=$((runs < chunk ? runs : chunk))
    RINGLOOP_FUZZ_RUNS="$count" RINGLOOP_FUZZ_SEED="$seed" \
        cargo test --release -p ringloop --lib fuzz::tests | tee "$output"
    # A filter without a match passes as well.
    grep -q '^test result: ok. 1 passed' "$output" || { echo "FAILED: nothing has run"; exit 1; }
    runs=$((runs - count))
    seed=$((seed + count))
done
