#!/usr/bin/env bash
# Measures the cost of the load tester itself on this machine. It prints figures and judges nothing,
# because a busy machine would decide.
#
#   scripts/generator.sh [rounds [seconds]]         default 5 rounds of 5 s each
#
#  1. The live line: 10 000 connections, with and without it, in turn. Per pair: messages per s,
#     and the worker's processor time per message.
#  2. Punctuality: the rate that a closed loop reaches with one worker, then an open loop at half of
#     that rate: how late messages leave.
#
# The server has one processor and the generator's worker another.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds="${1:-5}"
seconds="${2:-5}"

ulimit -n "$(ulimit -Hn)"
. scripts/lib/pinned.sh
start_server echo
url="tcp://$address"

run() { # run FILE OPTIONS...
    local report=$1
    shift
    "$loadtest" -t 1 --pin "$client_cpu" -d "${seconds}s" --json "$report" --format quiet "$@" "$url" 2>/dev/null
}

echo "1. the live line, 10 000 connections, $rounds pairs of $seconds s"
for ((round = 0; round < rounds; round++)); do
    order=(none live)
    ((round % 2 == 0)) || order=(live none)
    for progress in "${order[@]}"; do
        run "$out/$progress.$round" -c 10k --progress "$progress"
    done
done

echo "2. send lag at half of what one worker can send, $rounds runs of $seconds s each"
for connections in 50 1000 10000; do
    run "$out/full.$connections" -c "$connections" --progress none
    half=$(python3 -c 'import json, sys
print(int(json.load(open(sys.argv[1]))["load"]["achieved_rate"] / 2))' "$out/full.$connections")
    for arrivals in constant poisson; do
        for ((round = 0; round < rounds; round++)); do
            run "$out/$arrivals.$connections.$round" -c "$connections" -R "$half" --arrivals "$arrivals" --progress none
        done
    done
done

python3 - "$out" "$rounds" <<'PYTHON'
import json, statistics, sys

out, rounds = sys.argv[1], int(sys.argv[2])
load = lambda name: json.load(open(f"{out}/{name}"))

def figures(report):
    generator, load = report["generator"], report["load"]
    busy_s = generator["cpu_percent"][0] / 100 * next(
        phase["seconds"] for phase in report["phases"] if phase["name"] == "measured")
    return (load["achieved_rate"], busy_s * 1e6 / load["completed"], generator["rss_bytes"] / 1e6)

pairs = [(figures(load(f"none.{n}")), figures(load(f"live.{n}"))) for n in range(rounds)]
for index, name in enumerate(["messages/s", "processor, µs per message", "memory, MB"]):
    ratios = [live[index] / none[index] for none, live in pairs]
    print(f"  {name:26} none {statistics.median(p[0][index] for p in pairs):10.2f}   live "
          f"{statistics.median(p[1][index] for p in pairs):10.2f}   live / none: median "
          f"{statistics.median(ratios):.3f}, min {min(ratios):.3f}, max {max(ratios):.3f}")

print("  connections   rate/s  arrivals  send lag p50   p99 (median, min, max of runs)   loop lag p99   verdicts")
for connections in [50, 1000, 10000]:
    for arrivals in ["constant", "poisson"]:
        runs = [load(f"{arrivals}.{connections}.{n}") for n in range(rounds)]
        lag = lambda kind, figure: [run["generator"][kind][figure] for run in runs]
        p99 = lag("send_lag_us", "p99")
        verdicts = ", ".join(run["generator"]["verdict"] for run in runs)
        print(f"  {connections:11} {runs[0]['load']['offered_rate']:8.0f}  {arrivals:8}"
              f"{statistics.median(lag('send_lag_us', 'p50')):10.1f} µs {statistics.median(p99):7.0f} "
              f"µs ({min(p99):.0f}, {max(p99):.0f}){statistics.median(lag('loop_lag_us', 'p99')):14.0f} µs   {verdicts}")
PYTHON
