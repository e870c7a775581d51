#!/usr/bin/env bash
# Checks that our closed loop measures the same as wrk. Both drive the same HTTP server with 50
# connections from one thread, in turn, and their requests per second and median latencies must
# agree within 10 %.
#
#   scripts/wrk.sh [rounds [seconds]]         default 9 rounds of 1 s each
#
# The server works for 50 µs on each request, so that the server is the bottleneck: at most 20 000
# requests a second for any tool. Where a request costs the server next to nothing, the tools are
# compared instead of their figures: the one that needs less processor time gets more replies, and
# one that sends many requests by one system call makes a server faster that finds many at a time.
# Such a target, bodies of 10 000 bytes, is shown too and not judged.
#
# The server has one processor and the tools another. The medians of the rounds' ratios are judged,
# because adjacent rounds have run under the same conditions. Other users of the machine can spoil
# that as well, so one of three attempts must pass: tools that differ by more fail all of them.
set -euo pipefail
[[ ${UNDER_TIMEOUT:-} ]] || UNDER_TIMEOUT=1 exec timeout 600 "$0" "$@"
cd "$(dirname "$0")/.."

rounds="${1:-9}"
seconds="${2:-1}"
connections=50
difference_max_percent=10
attempts=3

if ! command -v wrk >/dev/null; then
    root=()
    [[ "$(id -u)" -eq 0 ]] || root=(sudo)
    "${root[@]}" apt-get update -q
    DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -q --no-install-recommends wrk
fi
. scripts/lib/pinned.sh
start_server http
base="http://$address"

# Both print "REQUESTS_PER_SECOND MEDIAN_US". A run with errors does not count.
by_wrk() {
    taskset -c "$client_cpu" wrk -t 1 -c "$connections" -d "${seconds}s" --latency "$1" >"$out/wrk"
    if grep -q 'Socket errors\|Non-2xx' "$out/wrk"; then
        cat "$out/wrk" >&2
        return 1
    fi
    awk '$1 == "Requests/sec:" { rate = $2 }
        $1 == "50%" { us = $2 * ($2 ~ /us$/ ? 1 : $2 ~ /ms$/ ? 1e3 : 1e6) }
        END { print rate, us }' "$out/wrk"
}

by_loadtest() {
    taskset -c "$client_cpu" "$loadtest" -t 1 -c "$connections" -d "${seconds}s" --warmup 0 \
        --threshold 'errors count<1' --progress none --format json "$1" >"$out/loadtest"
    python3 -c 'import json, sys
report = json.load(sys.stdin)
print(report["load"]["achieved_rate"], report["latency_us"]["service"]["percentiles"]["p50"])' <"$out/loadtest"
}

describe() { # describe NAME UNIT FORMAT < figures, one a line; the median is left in $median
    sort -g >"$out/sorted"
    median=$(awk -v format="$3" '{ v[NR] = $1 } END { printf format, v[int((NR + 1) / 2)] }' "$out/sorted")
    printf "  %-26s median $3%s   min $3   max $3\n" "$1" "$median" "$2" "$(sed -n 1p "$out/sorted")" "$(sed -n '$p' "$out/sorted")"
}

ratio_of() { # ratio_of COLUMN: loadtest / wrk, round by round
    paste -d' ' "$out/loadtest.figures" "$out/wrk.figures" | awk -v at="$1" '{ print $at / $(at + 2) }'
}

measure() { # measure PATH: leaves the medians of the ratios in $rate_ratio and $latency_ratio
    : >"$out/wrk.figures"
    : >"$out/loadtest.figures"
    echo "$base$1, $connections connections, $rounds rounds of $seconds s; server on processor $server_cpu, tools on $client_cpu"
    for ((round = 0; round < rounds; round++)); do
        local order=(wrk loadtest)
        ((round % 2 == 0)) || order=(loadtest wrk)
        for tool in "${order[@]}"; do
            "by_$tool" "$base$1" >>"$out/$tool.figures"
        done
    done
    for tool in wrk loadtest; do
        if [[ $(grep -cE '^[1-9][0-9.e+]* [1-9][0-9.e+]*$' "$out/$tool.figures") != "$rounds" ]]; then
            echo "FAILED: $tool has not $rounds figures:"
            cat "$out/$tool.figures"
            exit 1
        fi
        cut -d' ' -f1 "$out/$tool.figures" | describe "$tool" "/s" %.0f
        cut -d' ' -f2 "$out/$tool.figures" | describe "$tool" " µs" %.0f
    done
    describe "loadtest / wrk, rate" "" %.3f < <(ratio_of 1)
    rate_ratio=$median
    describe "loadtest / wrk, latency" "" %.3f < <(ratio_of 2)
    latency_ratio=$median
}

agrees() {
    awk -v ratio="$1" -v most="$difference_max_percent" \
        'BEGIN { percent = (ratio - 1) * 100; exit !(percent <= most && percent >= -most) }'
}

measure /bytes/10000
echo "  (not judged: what is compared here are two clients)"
for ((attempt = 1; attempt <= attempts; attempt++)); do
    measure /busy/50
    if agrees "$rate_ratio" && agrees "$latency_ratio"; then
        echo "ok: they agree within $difference_max_percent %"
        exit 0
    fi
    echo "  attempt $attempt: not within $difference_max_percent %"
done
echo "FAILED: not within $difference_max_percent % in any of $attempts attempts"
exit 1
