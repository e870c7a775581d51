#!/usr/bin/env bash
# Measures the cost of idle connections: 10 000 of them, each served once, may add at most 10 MB to
# the resident memory of the server (`examples/echo.rs`).
#
#   scripts/idle-rss.sh [connections]         default 10000
#
# Server and client are separate processes, and each needs one descriptor per connection. The soft
# limit is raised to the hard limit; if that is too low, the script reports it and fails.
set -euo pipefail
# bash's own `read -t` ends at descriptor 1023, so one limit holds for everything.
[[ ${UNDER_TIMEOUT:-} ]] || UNDER_TIMEOUT=1 exec timeout 600 "$0" "$@"
cd "$(dirname "$0")/.."

connections="${1:-10000}"
growth_max_kb=$((10 * 1024))
ulimit -n "$(ulimit -Hn)"
limit=$(ulimit -n)
if [[ $limit != unlimited ]] && ((limit < connections + 100)); then
    echo "FAILED: $connections connections need $((connections + 100)) descriptors, the limit is $limit"
    exit 1
fi

cargo build --quiet --release --example echo
server="${CARGO_TARGET_DIR:-target}/release/examples/echo"
log="$(mktemp)"
server_pid=
trap '[[ -z $server_pid ]] || kill "$server_pid" 2>/dev/null || true; rm -f "$log"' EXIT
"$server" 127.0.0.1:0 >"$log" &
server_pid=$!

deadline=$((SECONDS + 20))
until grep -q 'listening on' "$log"; do
    ((SECONDS < deadline)) || { echo "FAILED: the server does not start"; exit 1; }
    read -rt 0.05 <> <(:) || true
done
port=$(sed -n 's/^listening on .*://p' "$log")

rss_kb() { awk '$1 == "VmRSS:" { print $2 }' "/proc/$server_pid/status"; }
before_kb=$(rss_kb)

message=$(printf 'x%.0s' {1..63}) # 64 bytes with the newline
for ((i = 0; i < connections; i++)); do
    exec {fd}<>"/dev/tcp/127.0.0.1/$port" # stays open; bash picks the number
    echo "$message" >&"$fd"
    read -r -u "$fd" reply || { echo "FAILED: connection $i was not served"; exit 1; }
    [[ $reply == "$message" ]] || { echo "FAILED: connection $i got: $reply"; exit 1; }
done

open=$(find "/proc/$server_pid/fd" -lname 'socket:*' | wc -l)
after_kb=$(rss_kb)
growth_kb=$((after_kb - before_kb))
echo "$connections connections, each served once; the server has $open sockets"
echo "VmRSS before $before_kb kB, after $after_kb kB: +$growth_kb kB, $((growth_kb * 1024 / connections)) bytes each"
if ((open <= connections)); then
    echo "FAILED: not all of them are open"
    exit 1
fi
if ((growth_kb > growth_max_kb)); then
    echo "FAILED: more than $growth_max_kb kB"
    exit 1
fi
echo "ok: at most $growth_max_kb kB"
