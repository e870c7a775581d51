#!/usr/bin/env bash
# Runs tests/races under ThreadSanitizer, on the stable toolchain: wakes and aborts from other
# threads, and wakes during and after the end of a loop, on each driver of this machine. Then a
# planted race must be found.
#
# The standard library is the ordinary one, uninstrumented, and rebuilding it needs its sources,
# which the toolchain does not contain. The sanitizer sees its generic and inlined code (atomics,
# `Arc`, `Vec`), and threads, descriptors and memory by interception. It does not see:
# - how a contended lock or a channel orders memory. So the check runs on a copy of the sources in
#   which tests/races/primitives.rs, a lock of atomics, takes the place of src/primitives.rs, and
#   the program uses neither locks nor channels of std.
# - the fence of an `Arc`'s last drop. The same file wraps `fetch_sub`, which precedes that fence.
# - the kernel. A read of the eventfd through the ring orders nothing in its eyes, so it may report
#   too much, never too little.
set -euo pipefail
cd "$(dirname "$0")/.."

target=x86_64-unknown-linux-gnu
if [[ "$(uname -m)" != x86_64 ]]; then
    echo "SKIP: the sanitizer's target is $target, this machine is $(uname -m)"
    exit 0
fi

export RUSTC_BOOTSTRAP=1 # `-Z` flags on a stable compiler
flags=(-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer -Cdebuginfo=1
    -Clink-arg=-Wl,--wrap=__tsan_atomic64_fetch_sub)
export RUSTFLAGS="${flags[*]} ${RUSTFLAGS:-}"
export CARGO_TARGET_DIR="$PWD/target/tsan"
export TSAN_OPTIONS="halt_on_error=1:${TSAN_OPTIONS:-}" # and no suppressions
planted="$PWD/tests/races/planted.patch"

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export GIT_CEILING_DIRECTORIES="$copy/.." # the copy is not part of a repository
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"
cp tests/races/primitives.rs "$copy/src/primitives.rs"

races() {
    (cd "$copy" && timeout 300 cargo test -q -p ringloop --target "$target" --test races)
}

races | tee "$copy/output"
if [[ "${RINGLOOP_DRIVER:-}" == epoll ]] || grep -q '^SKIP uring' "$copy/output"; then
    # On epoll the loop's own read of the eventfd orders the ring before the close.
    echo "SKIP: the planted race needs the io_uring driver"
    exit 0
fi

(cd "$copy" && git apply "$planted")
status=0
RINGLOOP_DRIVER=uring races &>"$copy/output" || status=$?
if [[ $status -eq 0 ]] || ! grep -q 'WARNING: ThreadSanitizer: ' "$copy/output"; then
    tail -n 20 "$copy/output"
    echo "the planted race was not found (exit $status)"
    exit 1
fi
echo "the planted race was found: $(grep -m 1 '^SUMMARY' "$copy/output")"
