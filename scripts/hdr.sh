#!/usr/bin/env bash
# Whether others read our histograms as we do: a short run's report, interval log and percentile text
# against the Python package `hdrhistogram`, which shares no code with the crate we use. Then the check
# itself is checked: with one percentile off by half a percent, or a line of the log missing, it has to
# fail.
set -euo pipefail
[[ ${UNDER_TIMEOUT:-} ]] || UNDER_TIMEOUT=1 exec timeout 300 "$0" "$@"
cd "$(dirname "$0")/.."

target="${CARGO_TARGET_DIR:-target}"
venv="$target/hdr-venv"
if ! "$venv/bin/python" -c 'import hdrh' 2>/dev/null; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check hdrhistogram==0.10.8
fi
cargo build --quiet --release -p loadtest
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT

compare() { # compare JSON HLOG HGRM
    "$venv/bin/python" scripts/hdr-independent.py "$@"
}

has_to_fail() { # has_to_fail WHAT JSON HLOG HGRM
    local what=$1
    shift
    if compare "$@" >"$out/said"; then
        echo "FAILED: the comparison did not notice $what"
        exit 1
    fi
    sed -n "s/^/noticed $what: /;1p" "$out/said"
}

check() { # check ARGUMENTS...: a run with them, compared
    printf '\n$ loadtest %s\n' "$*"
    "$target/release/loadtest" -d 3s --warmup 500ms --format quiet --out-dir "$out" "$@"
    compare "$out/run.json" "$out/run.hlog" "$out/run.hgrm"
}

# Response times, of which some are ages of messages that never left.
check -c 4 -R 1m --warmup 0 --drain 100ms
check -c 50
python3 - "$out" <<'PYTHON'
import json, sys
out = sys.argv[1]
report = json.load(open(f"{out}/run.json"))
report["latency_us"]["service"]["percentiles"]["p99"] *= 1.005
json.dump(report, open(f"{out}/wrong.json", "w"))
lines = open(f"{out}/run.hlog").readlines()
last = max(index for index, line in enumerate(lines) if line.startswith("Tag=service,"))
open(f"{out}/wrong.hlog", "w").writelines(lines[:last] + lines[last + 1:])
PYTHON
has_to_fail "a wrong percentile" "$out/wrong.json" "$out/run.hlog" "$out/run.hgrm"
has_to_fail "a missing line" "$out/run.json" "$out/wrong.hlog" "$out/run.hgrm"
