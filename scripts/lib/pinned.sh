# shellcheck shell=bash
# Sourced by scripts that measure: a server on one processor, its clients on another.
#
#   start_server KIND     starts `loadtest serve KIND`; sets loadtest, server_cpu, client_cpu,
#                         address and out, a directory that is removed, with the server, at the end

start_server() {
    cargo build --quiet --release -p loadtest
    loadtest="${CARGO_TARGET_DIR:-target}/release/loadtest"

    # The first two processors that we may use; with a single one they share it.
    local allowed cpus deadline=$((SECONDS + 20))
    allowed=$(taskset -cp $$ | sed 's/.*: //')
    mapfile -t cpus < <(tr ',' '\n' <<<"$allowed" | while IFS=- read -r from to; do seq "$from" "${to:-$from}"; done)
    server_cpu=${cpus[0]}
    client_cpu=${cpus[1]:-${cpus[0]}}

    out="$(mktemp -d)"
    server_pid=
    trap '[[ -z $server_pid ]] || kill "$server_pid" 2>/dev/null || true; rm -rf "$out"' EXIT
    taskset -c "$server_cpu" "$loadtest" serve "$1" --listen 127.0.0.1:0 >"$out/server" &
    server_pid=$!
    until grep -q 'listening on' "$out/server"; do
        ((SECONDS < deadline)) || { echo "FAILED: the server does not start"; exit 1; }
        read -rt 0.05 <> <(:) || true
    done
    address=$(sed -n 's/^listening on //p' "$out/server")
}
