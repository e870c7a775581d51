#!/usr/bin/env bash
# Checks that other programs read our files as we do. A short run's report, interval log and
# percentile text are compared with the Python package `hdrhistogram`, which shares no code with the
# crate that loadtest uses. Then the check itself is checked: with one percentile off by half a
# percent, or a line of the log missing, it must fail. Finally the package `jsonschema` compares
# reports of several kinds of run with `loadtest/schema/`, and must refuse invalid ones.
set -euo pipefail
[[ ${UNDER_TIMEOUT:-} ]] || UNDER_TIMEOUT=1 exec timeout 300 "$0" "$@"
cd "$(dirname "$0")/.."

target="${CARGO_TARGET_DIR:-target}"
venv="$target/hdr-venv"
if ! "$venv/bin/python" -c 'import hdrh, jsonschema' 2>/dev/null; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check hdrhistogram==0.10.8 jsonschema==4.23.0
fi
cargo build --quiet --release -p loadtest
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT

compare() { # compare JSON HLOG HGRM
    "$venv/bin/python" scripts/hdr-independent.py "$@"
}

valid() { # valid SCHEMA FILE...
    "$venv/bin/python" scripts/schema-check.py "loadtest/schema/$1-v1.json" "${@:2}"
}

has_to_fail() { # has_to_fail WHAT compare|valid ARGUMENTS...
    local what=$1
    shift
    if "$@" >"$out/printed"; then
        echo "FAILED: nothing noticed $what"
        exit 1
    fi
    sed -n "s/^/noticed $what: /;1p" "$out/printed"
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
has_to_fail "a wrong percentile" compare "$out/wrong.json" "$out/run.hlog" "$out/run.hgrm"
has_to_fail "a missing line" compare "$out/run.json" "$out/wrong.hlog" "$out/run.hgrm"

run() { # run NAME ARGUMENTS...: a short run's report
    "$target/release/loadtest" --warmup 100ms --interval 100ms --format quiet --json "$out/$1.json" "${@:2}"
}

printf '\nschemas\n'
run closed -c 5 -d 1s --threshold 'p(99)<60s' --label a=b
run reps -c 3 -d 500ms --reps 3 2>/dev/null
run baseline -c 5 -d 1s --baseline "$out/closed.json"
run find-max -c 3 --find-max --slo 'served>=0' --find-range 20:50 --find-step 300ms 2>/dev/null
run aborted -c 3 -d 10s --abort-on 'served<3' 2>/dev/null || [[ $? == 99 ]]
coproc lossy { exec "$target/release/loadtest" serve lossy --fault reset:7,drop:11 --seed 3 --listen 127.0.0.1:0 --exit-with-stdin; }
read -r _ _ address <&"${lossy[0]}"
run errors -c 4 -R 500 -d 1s --timeout 200ms --reconnect always "tcp://$address"
exec {lossy[1]}>&-
python3 - "$out" <<'PYTHON'
import copy, json, sys
out = sys.argv[1]
report = json.load(open(f"{out}/errors.json"))
assert report["load"]["errors"]["reset"] > 0 and report["load"]["timed_out"] > 0, report["load"]
def spoil(name, change):
    spoilt = copy.deepcopy(report)
    change(spoilt)
    json.dump(spoilt, open(f"{out}/{name}.json", "w"))
spoil("without", lambda report: report["load"].pop("completed"))
spoil("type", lambda report: report["intervals"][0].update(p99="fast"))
spoil("class", lambda report: report["load"]["errors"].update(reset=-1))
spoil("version", lambda report: report.update(schema_version=2))
PYTHON
valid report "$out"/{run,closed,reps,baseline,find-max,aborted,errors}.json
has_to_fail "a field that is missing" valid report "$out/without.json"
has_to_fail "a field of another type" valid report "$out/type.json"
has_to_fail "a count below 0" valid report "$out/class.json"
has_to_fail "another version" valid report "$out/version.json"
"$target/release/loadtest" compare "$out/closed.json" "$out/reps.json" "$out/errors.json" --format json >"$out/compared.json"
valid compared "$out/compared.json"
has_to_fail "a report that is no comparison" valid compared "$out/closed.json"
