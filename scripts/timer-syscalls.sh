#!/usr/bin/env bash
# Counts the system calls that timeouts cost a server: each of its connections re-arms a 30 s
# timeout with every message (`examples/idle_timeout.rs`). Neither timer system calls nor timeout
# entries of the ring may grow with the number of messages.
#
#   scripts/timer-syscalls.sh [messages]      default 10000; compared with a tenth of them
set -euo pipefail
cd "$(dirname "$0")/.."

many="${1:-10000}"
few=$((many / 10))
connections=5
command -v strace >/dev/null || { echo "this script needs strace" >&2; exit 1; }

cargo build --quiet --release --example idle_timeout
server="${CARGO_TARGET_DIR:-target}/release/examples/idle_timeout"
scratch="$(mktemp -d)"
strace_pid=
trap '[[ -z $strace_pid ]] || kill "$strace_pid" 2>/dev/null || true; rm -rf "$scratch"' EXIT

await() { # await SECONDS COMMAND...: until the command succeeds
    local deadline=$((SECONDS + $1)); shift
    until "$@"; do
        ((SECONDS < deadline)) || { echo "gave up waiting for: $*" >&2; exit 1; }
        read -rt 0.05 <> <(:) || true
    done
}

measure() { # measure MESSAGES: sets timer_calls, arms, enters
    local messages=$1 log="$scratch/log" calls="$scratch/calls" port fd reply i
    : >"$log"
    strace -f -c -U name,calls -o "$calls" "$server" 127.0.0.1:0 >"$log" &
    strace_pid=$!
    await 20 grep -q 'listening on' "$log"
    port=$(sed -n 's/^listening on .*://p' "$log")
    for ((c = 0; c < connections; c++)); do
        exec {fd}<>"/dev/tcp/127.0.0.1/$port"
        for ((i = 0; i < messages / connections; i++)); do
            echo ping >&"$fd"
            read -r -t 20 -u "$fd" reply || { echo "no reply" >&2; exit 1; }
            [[ $reply == ping ]] || { echo "got: $reply" >&2; exit 1; }
        done
        exec {fd}>&-
    done
    all_ended() { [[ $(grep -c '^Ok(()) after' "$log") == "$connections" ]]; }
    await 20 all_ended
    pkill -TERM -P "$strace_pid" # the server; strace then writes its table
    wait "$strace_pid" 2>/dev/null || true
    strace_pid=
    [[ $(grep -c "after $((messages / connections)) messages" "$log") == "$connections" ]]
    arms=$(sed -n 's/.*timeout arms: //p' "$log" | tail -n 1)
    timer_calls=$(awk '$1 ~ /^(timerfd_|timer_|setitimer|alarm|clock_nanosleep|nanosleep)/ { n += $2 } END { print n + 0 }' "$calls")
    enters=$(awk '$1 == "io_uring_enter" { n += $2 } END { print n + 0 }' "$calls")
    ((enters > 0)) || { echo "strace counted nothing" >&2; exit 1; }
}

measure "$few"
few_arms=$arms few_calls=$timer_calls
printf '%7d messages: %d timer system calls, %d timeout entries, %d io_uring_enter\n' \
    "$few" "$timer_calls" "$arms" "$enters"
measure "$many"
printf '%7d messages: %d timer system calls, %d timeout entries, %d io_uring_enter\n' \
    "$many" "$timer_calls" "$arms" "$enters"

# An entry is armed again when it expires. The loop's watchdog causes that once a second, for any
# number of messages.
if ((timer_calls > few_calls || arms > few_arms + 2 + SECONDS)); then
    echo "FAILED: timeouts cost more with more messages"
    exit 1
fi
echo "ok: timeouts cost nothing per message"
