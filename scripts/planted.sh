#!/usr/bin/env bash
# Plants the bugs of tests/planted one at a time and has the fuzzer find each.
#
#   scripts/planted.sh [NAME...]
#
# Each patch is applied to a copy of the sources in `PLANTED_TARGET` (by default target/planted),
# which is the build directory of all of them. A patch that does not apply, and a bug that is not
# found within RUNS_MAX seeds, is a failure. Prints how many runs each one took.
set -euo pipefail
cd "$(dirname "$0")/.."

RUNS_MAX=20000 # the slowest needs some thousand

root="$PWD"
target="${PLANTED_TARGET:-$root/target/planted}"
copy="$target/copy"

# The manifest names benches and examples, so they are copied as well.
copy_tree() {
    rm -rf "$copy" && mkdir -p "$copy"
    tar -C "$root" -cf - --exclude=./target --exclude=./.git . | tar -C "$copy" -xf -
    find "$copy/src" -name '*.rs' -exec touch {} + # newer than the last build, which was patched
}

# Builds the copy's library tests, so that a patch that does not compile is no finding.
build() {
    (cd "$copy" && cargo test -q -p ringloop --lib --no-run --target-dir "$target") 2>&1
}

fuzz() {
    (cd "$copy" && RINGLOOP_FUZZ_SHRINK=0 RINGLOOP_FUZZ_SEED=1 RINGLOOP_FUZZ_RUNS="$RUNS_MAX" \
        RUST_BACKTRACE=0 cargo test -q -p ringloop --lib --target-dir "$target" fuzz::tests) 2>&1
}

copy_tree
names=("$@")
failures=0
count=0
for patch in tests/planted/*.patch; do
    name="$(basename "$patch" .patch)"
    if [[ ${#names[@]} -gt 0 && ! " ${names[*]} " == *" $name "* ]]; then
        continue
    fi
    count=$((count + 1))
    if ! (cd "$copy" && patch -s -p1 --no-backup-if-mismatch <"$root/$patch"); then
        echo "FAILED  $name: the patch does not apply"
        failures=$((failures + 1))
        copy_tree
        continue
    fi
    if ! output="$(build)"; then
        echo "FAILED  $name: does not compile"
        echo "$output" | tail -20
        failures=$((failures + 1))
    elif output="$(fuzz)"; then
        echo "FAILED  $name: not found in $RUNS_MAX runs"
        failures=$((failures + 1))
    else
        runs="$(sed -n 's/^fuzz: found after \([0-9]*\) runs$/\1/p' <<<"$output" | head -1)"
        what="$(sed -n 's/^fuzz: seed [0-9]*: //p' <<<"$output" | head -1)"
        if [[ -z "$runs" ]]; then
            echo "FAILED  $name: the fuzzer ended without a finding"
            echo "$output" | tail -20
            failures=$((failures + 1))
        else
            printf 'found   %-28s after %5d runs: %.100s\n' "$name" "$runs" "$what"
        fi
    fi
    (cd "$copy" && patch -s -R -p1 --no-backup-if-mismatch <"$root/$patch")
done
echo "$((count - failures)) of $count planted bugs were found"
[[ "$count" -gt 0 && "$failures" -eq 0 ]]
