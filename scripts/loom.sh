#!/usr/bin/env bash
# Checks how threads meet in the task layer: models in tests/loom, run by loom through every
# interleaving within a bound, on the library's own source files. Then each planted mistake
# (tests/loom/planted) must be found by the model that its first line names.
#
#   scripts/loom.sh [NAME...]     with names: only the models that contain one, and no mistakes
#
# The bounds are in tests/loom/src/main.rs: four involuntary switches in one execution, and two or
# three threads. Some seconds for the models, two for each mistake.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR="$PWD/target/loom"
limit_s=200 # for all models; none needs a tenth of that
manifest=tests/loom/Cargo.toml

cargo fmt --manifest-path "$manifest" --check
cargo clippy -q --locked --manifest-path "$manifest" -- -D warnings
cargo build -q --locked --manifest-path "$manifest"
timeout "$limit_s" "$CARGO_TARGET_DIR/debug/ringloop-loom" "$@"
[[ $# -eq 0 ]] || exit 0

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export GIT_CEILING_DIRECTORIES="$copy/.." # the copy is not part of a repository
ulimit -c 0 # some mistakes end in an abort
found=0
for patch in "$PWD"/tests/loom/planted/*.patch; do
    name=$(basename "$patch" .patch)
    model=$(sed -n '1s/^model: //p' "$patch")
    [[ -n $model ]] || { echo "planted mistake $name: its first line names no model"; exit 1; }
    rm -rf "${copy:?}"/*
    mkdir "$copy/tests"
    cp -r src "$copy/src"
    cp -r tests/loom "$copy/tests/loom"
    (cd "$copy" && git apply "$patch")
    cargo build -q --locked --manifest-path "$copy/$manifest"
    # In a subshell, where the shell's line about an aborted process can be discarded.
    status=$( (timeout 60 "$CARGO_TARGET_DIR/debug/ringloop-loom" "$model" &>"$copy/output"
        echo $?) 2>/dev/null)
    # 101 is a panic (an assertion, or loom's deadlock), 134 one that met another while unwinding.
    if [[ $status -ne 101 && $status -ne 134 ]]; then
        echo "planted mistake $name: not found by $model (exit $status)"
        tail -n 5 "$copy/output"
        exit 1
    fi
    echo "planted mistake $name: found by $model"
    found=$((found + 1))
done
if [[ $found -eq 0 ]]; then
    echo "no planted mistake was tried"
    exit 1
fi
echo "$found planted mistakes found"
