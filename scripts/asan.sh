#!/usr/bin/env bash
# Runs the library's unit and integration tests under AddressSanitizer, on the stable toolchain.
#
#   scripts/asan.sh [arguments of the test binaries...]
#
# What it sees: use after free, double free, overflows, and leaks at the end of each test binary.
# What it does not see: the kernel writing. A completion into freed memory is noticed only when our
# own code reads it, which is why the op table and the pool assert in release builds too.
#
# Naming the target keeps the flags away from build scripts. The standard library is the ordinary
# one, uninstrumented.
#
# There are no suppressions. A suppression names where memory was allocated, and what an undrained
# teardown leaks on purpose was allocated all over. So the two tests that provoke one, and whose names
# begin with `an_undrained_`, are skipped here; `cargo test` runs them.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTC_BOOTSTRAP=1 # `-Z` flags on a stable compiler
export RUSTFLAGS="-Zsanitizer=address -Cdebuginfo=1 ${RUSTFLAGS:-}"
export RINGLOOP_STORM="${RINGLOOP_STORM:-20000}" # the sanitizer looks closer, not longer
export ASAN_OPTIONS="detect_leaks=1:halt_on_error=1:${ASAN_OPTIONS:-}"

target=x86_64-unknown-linux-gnu
if [[ "$(uname -m)" != x86_64 ]]; then
    echo "SKIP: the sanitizer's target is $target, this machine is $(uname -m)"
    exit 0
fi

exec cargo test -p ringloop --lib --tests --no-fail-fast \
    --target "$target" --target-dir target/asan -- --skip an_undrained_ "$@"
