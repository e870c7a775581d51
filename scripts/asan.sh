#!/usr/bin/env bash
# Runs the library's unit and integration tests under AddressSanitizer, on the stable toolchain.
#
#   scripts/asan.sh [arguments of the test binaries...]
#
# It detects use after free, double free, overflows, and leaks at the end of each test binary. It
# does not detect writes of the kernel: a completion into freed memory is noticed only when the
# library reads it, which is why the op table and the pool assert in release builds too.
#
# Naming the target keeps the flags away from build scripts. The standard library is not
# instrumented.
#
# There are no suppressions. A suppression names the place of an allocation, and the leaks on
# purpose (an undrained teardown, a failed driver, an abandoned probe) contain memory from many
# places. So the tests that provoke such a leak run separately, where leaks are not counted.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTC_BOOTSTRAP=1 # `-Z` flags on a stable compiler
export RUSTFLAGS="-Zsanitizer=address -Cdebuginfo=1 ${RUSTFLAGS:-}"
export RINGLOOP_STORM="${RINGLOOP_STORM:-20000}" # the sanitizer looks closer, not longer
ASAN_OPTIONS_OWN="halt_on_error=1:${ASAN_OPTIONS:-}"
export ASAN_OPTIONS="detect_leaks=1:$ASAN_OPTIONS_OWN"

target=x86_64-unknown-linux-gnu
if [[ "$(uname -m)" != x86_64 ]]; then
    echo "SKIP: the sanitizer's target is $target, this machine is $(uname -m)"
    exit 0
fi

leaky=(fuzz:: an_undrained_ a_drain_keeps_its_deadline socket::tests::driver_failure::
    a_failed_driver_ends_every_wait a_failed_driver_ends_the_operation
    a_receive_may_outlive_its_probe a_forgotten_wait_keeps_nothing
    a_listener_that_ends_among_answers forgotten_accepts_do_not_fill
    a_dropped_completion_of_a_private_receive keeps_its_invariants_in_every_state
    every_order_of_events_shows_the_last_value every_order_of_events_moves_the_value_once
    every_order_of_events_passes_each_value)
# Tests whose values panic when they are dropped, tests that fork (a child does not free what
# belongs to its parent), one that leaks a handle in a child whose standard error is a pipe, and
# tests of listeners and waits that are leaked.
leaky_binaries=(--test bombs --test forked --test reports --test vocabulary)
apart=(a_full_standard_error bombs_do_not_end a_hook_may_be_a_bomb a_fork_ends_the_cheap
    what_a_child_drops a_child_may_not_use a_child_of_a_task wakes_in_a_child
    signals_of_a_child the_last_listener_restores what_the_clone_of_a_waker
    a_waker_may_use_the_tree)
skips=()
for name in "${leaky[@]}" "${apart[@]}"; do
    skips+=(--skip "$name")
done

suite() {
    cargo test -p ringloop --no-fail-fast --target "$target" --target-dir target/asan "$@"
}

# A name that matches nothing skips nothing, and the test that it meant would count as a leak.
check_names() { # check_names LIST NAME...
    local list="$1" name
    shift
    for name in "$@"; do
        grep -qF "$name" <<<"$list" || { echo "FAILED: no test is called $name"; exit 1; }
    done
}

suite --lib --tests -- "${skips[@]}" "$@"
tests=$(ASAN_OPTIONS="detect_leaks=0:$ASAN_OPTIONS_OWN" suite --lib -- --list)
check_names "$tests" "${leaky[@]}"
tests=$(ASAN_OPTIONS="detect_leaks=0:$ASAN_OPTIONS_OWN" suite "${leaky_binaries[@]}" -- --list)
check_names "$tests" "${apart[@]}"
ASAN_OPTIONS="detect_leaks=0:$ASAN_OPTIONS_OWN" suite --lib -- "${leaky[@]}"
ASAN_OPTIONS="detect_leaks=0:$ASAN_OPTIONS_OWN" suite "${leaky_binaries[@]}"
