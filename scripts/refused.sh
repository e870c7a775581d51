#!/usr/bin/env bash
# Runs the load tester's default workload where io_uring is refused, as in many containers, and
# where epoll was requested. Each of the ten thousand connections must be served without an error,
# and the first line of the summary must name epoll and the reason. The generator may use 6 kB of
# memory for each connection, 60 MB in all.
#
#   scripts/refused.sh [connections]          default 10000
set -euo pipefail
[[ ${UNDER_TIMEOUT:-} ]] || UNDER_TIMEOUT=1 exec timeout 300 "$0" "$@"
cd "$(dirname "$0")/.."

connections="${1:-10000}"
unset RINGLOOP_DRIVER # it would decide before anything is refused
cargo build --quiet --release -p loadtest
cargo build --quiet --release -p ringloop --example without_io_uring
bin="${CARGO_TARGET_DIR:-target}/release"
report="$(mktemp)"
trap 'rm -f "$report"' EXIT

check() { # check REASON COMMAND...: runs it, shows the summary, and checks its text
    local reason=$1 n part
    shift
    # Numbers in the format of the summary.
    n=$(sed ':a;s/\([0-9]\)\([0-9]\{3\}\)\($\| \)/\1 \2\3/;ta' <<<"$connections")
    printf '\n$ %s\n' "$*"
    if ! "$@" >"$report"; then
        cat "$report"
        echo "FAILED: exit code other than 0"
        exit 1
    fi
    cat "$report"
    if ! head -n 1 "$report" | grep -qF "driver epoll, because $reason"; then
        echo "FAILED: the first line does not contain: driver epoll, because $reason"
        exit 1
    fi
    for part in "opened $n/$n in" "served $n/$n   lost 0" "| errors 0 | timed out 0 |" "Errors       none"; do
        grep -qF -- "$part" "$report" || { echo "FAILED: the summary does not contain: $part"; exit 1; }
    done
    if ! sed -n 's/^Generator .* rss \([0-9.]*\) MiB$/\1/p' "$report" |
        awk -v most="$((6000 * connections))" '{ found = 1; exit $1 * 1048576 > most } END { if (!found) exit 1 }'; then
        echo "FAILED: the generator used more than $((6000 * connections / 1000000)) MB of memory, or did not report it"
        exit 1
    fi
}

workload=(-c "$connections" -d 3s --drain 30s)
check "io_uring: io_uring_setup failed: Operation not permitted" \
    "$bin/examples/without_io_uring" "$bin/loadtest" "${workload[@]}"
check "--driver epoll" "$bin/loadtest" --driver epoll "${workload[@]}"
echo "ok: without io_uring, $connections of $connections connections were served, without an error"
