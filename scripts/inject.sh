#!/usr/bin/env bash
# Makes system calls fail, or take long, under a server that checks itself (`tests/smoke.rs`), on
# both drivers. The server must end without damage or with the expected error, and never by a signal
# or not at all.
#
#   scripts/inject.sh [pattern]      only the rows whose call or fault matches
#
# strace returns the error in place of the kernel, and the call is not made. Faults that no kernel
# produces are left out, because what they would break is not a bug:
#
# - EAGAIN of recvfrom, sendto or accept4 on epoll. The edge that announced the bytes has been
#   taken, and EAGAIN promises another one.
# - EAGAIN of epoll_pwait2, EINTR of a non-blocking connect: there are none.
# - EINTR of the epoll_pwait2 that tests at the start whether the call exists: it does not wait.
# - Short counts. They would report bytes that were not moved.
#
# `when=N+M` is the Nth call and each Mth after it, counted per thread. The test makes two loops,
# and the probes of their rings take about forty enters; the others belong to a running loop.
set -euo pipefail
cd "$(dirname "$0")/.."

pattern="${1:-.}"
command -v strace >/dev/null || { echo "this script needs strace" >&2; exit 1; }
if ! strace -qq -o /dev/null true; then
    echo "SKIP: strace may not trace here"
    exit 0
fi

smoke=$(cargo test --quiet -p ringloop --test smoke --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[[ -x $smoke ]] || { echo "FAILED: no test binary" >&2; exit 1; }

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
rows=0 failures=0 skipped=0
has_ring=yes
RINGLOOP_DRIVER=uring "$smoke" >/dev/null 2>&1 || has_ring=no

hits() { # hits NAME: how often a call with this name, or regular expression, was tampered with
    local name="${1#/}"
    name="${name#^}" name="${name%$}"
    grep -cE "^[0-9]+ +(<\.\.\. )?$name(\(| resumed).*\((INJECTED|DELAYED)\)$" "$scratch/calls" || true
}

# row ASKED EXPECTED FAULT...
#   ASKED     auto, uring or epoll
#   EXPECTED  runs:KIND, it passes on this driver; or fails:TEXT, it ends in order with this error
#   FAULT     what strace is to inject, or on=FILE for calls that name it only
row() {
    local asked=$1 expected=$2 injected status outcome output verdict=ok
    local faults=() names=() fault
    shift 2
    [[ "$asked $*" =~ $pattern ]] || return 0
    if [[ $has_ring == no && "$asked $expected $*" == *uring* ]]; then
        echo "SKIP: no io_uring here: $asked $*"
        skipped=$((skipped + 1))
        return 0
    fi
    for fault in "$@"; do
        case $fault in
            on=*) faults+=(-P "${fault#on=}") ;;
            *) faults+=(-e "inject=$fault") names+=("${fault%%:*}") ;;
        esac
    done
    # A thread of its own for the test, so that calls are counted from its first.
    status=0
    RUST_BACKTRACE=0 RINGLOOP_DRIVER=$asked timeout -k 5 90 \
        strace -f -qq -o "$scratch/calls" -e trace="$(IFS=,; echo "${names[*]}")" "${faults[@]}" \
        "$smoke" --exact bytes_timers_and_wakes_arrive --nocapture --test-threads=2 >"$scratch/output" 2>&1 || status=$?
    injected=$(hits '[a-z0-9_]+')
    output=$(sed -n 's/^smoke: //p' "$scratch/output")
    case $status in
        0) outcome="runs:${output%% *}" ;;
        101) outcome="fails:$(grep -A1 'panicked at' "$scratch/output" | sed -n 2p)" ;;
        124 | 134 | 137) outcome="hangs, or aborts" ;;
        *) outcome="status $status" ;;
    esac
    case $expected in
        runs:*) [[ $outcome == "$expected" ]] || verdict=FAILED ;;
        fails:*) [[ $outcome == fails:* && $outcome == *"${expected#fails:}"* ]] || verdict=FAILED ;;
    esac
    for fault in "${names[@]}"; do # a fault that never happened would have been harmless
        (($(hits "$fault") > 0)) || verdict="FAILED, nothing was injected into $fault"
    done
    rows=$((rows + 1))
    printf '%-6s %-58s %4d  %-44s %s\n' "$asked" "$*" "$injected" "${outcome:0:44}" "$verdict"
    if [[ $verdict != ok ]]; then
        failures=$((failures + 1))
        echo "  expected $expected; its output:"
        grep -v '^$' "$scratch/output" | tail -n 12 | sed 's/^/  | /'
    fi
}

printf '%-6s %-58s %4s  %-44s\n' asked fault hits outcome

# A ring that is hard to get.
row auto runs:epoll io_uring_setup:error=EPERM
row auto runs:epoll io_uring_register:error=EAGAIN:when=1
row auto runs:epoll io_uring_enter:error=EBUSY
row auto runs:io_uring io_uring_enter:error=EBUSY:when=1+2
row auto runs:io_uring io_uring_enter:error=ENOMEM:when=7+3
row auto runs:io_uring io_uring_setup:error=EINVAL:when=1
row auto runs:io_uring io_uring_setup:error=ENOMEM:when=1..4
row uring 'fails:raise `ulimit -l`' io_uring_setup:error=ENOMEM
row uring runs:io_uring io_uring_enter:error=EINTR:when=1+2

# A ring that works, with trouble. EBADR reports a dropped completion; here none is missing.
for errno in EINTR EAGAIN EBUSY ENOMEM EBADR; do
    row uring runs:io_uring "io_uring_enter:error=$errno:when=60+5"
    row uring runs:io_uring "io_uring_enter:error=$errno:when=61+2"
    row uring runs:io_uring "io_uring_enter:error=$errno:when=70..110"
done
row uring runs:io_uring io_uring_enter:delay_enter=5ms:when=1+20
row uring runs:io_uring io_uring_enter:delay_exit=5ms:when=1+20
row uring runs:io_uring write:delay_exit=5ms:when=1+3 'on=anon_inode:[eventfd]'

# A ring that breaks.
row uring 'fails:io_uring driver failed' io_uring_enter:error=ENXIO:when=70
row uring 'fails:io_uring driver failed' io_uring_enter:error=EPERM:when=70+
row uring 'fails:io_uring driver failed' io_uring_enter:error=EBADF:when=150
row uring 'fails:io_uring driver failed' io_uring_enter:error=EFAULT:when=90+

# epoll.
row epoll 'fails:epoll_create1 failed' epoll_create1:error=EMFILE
row epoll 'fails:epoll' epoll_ctl:error=ENOMEM:when=1
row epoll runs:epoll epoll_pwait2:error=EINTR:when=3+5
row epoll runs:epoll epoll_pwait2:error=EINTR:when=4+2
row epoll runs:epoll epoll_pwait2:delay_enter=5ms:when=1+20
row epoll runs:epoll epoll_pwait2:delay_exit=5ms:when=1+20
for errno in ENOSYS EPERM; do
    row epoll runs:epoll "epoll_pwait2:error=$errno"
    row epoll runs:epoll "epoll_pwait2:error=$errno" "/^epoll_p?wait$:error=EINTR:when=3+5"
done
row epoll 'fails:epoll driver failed' epoll_pwait2:error=EBADF:when=20+
# An error of the operation that needs the descriptor watched.
row epoll 'fails:No space left' epoll_ctl:error=ENOSPC:when=5
row epoll runs:epoll accept4:error=EMFILE:when=1+3
row epoll runs:epoll accept4:error=ENOBUFS:when=2+3
row epoll runs:epoll accept4:error=ECONNABORTED:when=1+3
row epoll runs:epoll accept4:error=EINTR:when=1+2
row epoll runs:epoll accept4:delay_exit=5ms
row epoll runs:epoll recvfrom:error=EINTR:when=1+3
row epoll runs:epoll recvfrom:error=EINTR:when=20..40
row epoll runs:epoll recvfrom:delay_exit=2ms:when=1+5
row epoll 'fails:Connection reset' recvfrom:error=ECONNRESET:when=50
row epoll runs:epoll sendto:error=EINTR:when=1+3
row epoll runs:epoll sendto:delay_enter=2ms:when=1+5
# One end reports the error, and the other the reset that follows. Either may come first.
row epoll 'fails:os error' sendto:error=EPIPE:when=50

((rows + skipped > 0)) || { echo "FAILED: no row matches $pattern"; exit 1; }
if ((failures > 0)); then
    echo "FAILED: $failures of $rows rows"
    exit 1
fi
echo "ok: $rows rows, $skipped skipped"
