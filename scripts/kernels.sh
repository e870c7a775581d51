#!/usr/bin/env bash
# Boots Debian's kernels in an emulator, runs the tests inside, checks the kernel's log, and prints
# one table, which is also the table of docs/KERNELS.md.
#
#   scripts/kernels.sh [SERIES...]     default: 5.10 6.1 6.12 6.18 newest
#
#   RINGLOOP_KERNELS_DIR    kernels, package lists and logs, kept between runs;
#                           default target/kernels
#   RINGLOOP_KERNELS_JOBS   guests that run at a time; default 2
#   RINGLOOP_TEST_SCALE     how many times slower than a workstation the guests are; default 20
#
# The script needs no virtualisation, no root (except to install three packages) and no modules. The
# guests have loopback, and each of their processors is one thread of the host. The binaries are
# linked statically, so the same ones run on every kernel.
#
# A series that cannot be found is a printed SKIP. Fewer than three kernels are a failure, as is any
# failed or skipped trial, a guest that hangs, and any warning of a kernel. The document is written
# only if everything was run and passed. It has no durations, so it changes only with a kernel's
# release or the number of trials.
set -euo pipefail
cd "$(dirname "$0")/.."

series_all=(5.10 6.1 6.12 6.18 newest)
guest_seconds_max=450
kernels_min=3

wanted=("$@")
((${#wanted[@]})) || wanted=("${series_all[@]}")
target_directory=${CARGO_TARGET_DIR:-target}
directory=${RINGLOOP_KERNELS_DIR:-$target_directory/kernels}
jobs_max=${RINGLOOP_KERNELS_JOBS:-2}
scale=${RINGLOOP_TEST_SCALE:-20}
suites=(conformance hostile storms bursts expected_driver async_fd timers)
target=x86_64-unknown-linux-gnu

if [[ "$(uname -m)" != x86_64 ]]; then
    echo "SKIP: the guests are x86_64, this machine is $(uname -m)"
    exit 0
fi

install_tools() {
    local root=()
    if [[ -x /bin/busybox ]] && command -v qemu-system-x86_64 cpio >/dev/null; then
        return
    fi
    [[ "$(id -u)" -eq 0 ]] || root=(sudo)
    "${root[@]}" apt-get update -q
    DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -q --no-install-recommends \
        qemu-system-x86 busybox-static cpio
}

# The initial file system of every guest: busybox, the tests, and a first process that runs them.
build_initrd() {
    local root=$directory/root suite arguments=() executable
    rm -rf "$root"
    mkdir -p "$root"/{bin,dev,etc,proc,sys,tests,tmp}
    cp /bin/busybox "$root/bin/"
    ln -s busybox "$root/bin/sh"
    cp scripts/kernels/init.sh "$root/init"

    for suite in "${suites[@]}"; do
        arguments+=(--test "$suite")
    done
    # Slightly optimised, because the guests are slow; the checks of debug builds stay. In a
    # directory of its own, because other flags would invalidate the ordinary build.
    RUSTFLAGS="-C target-feature=+crt-static" cargo test --no-run --package ringloop --target $target \
        --target-dir "$directory/build" --config profile.dev.opt-level=1 \
        --config profile.dev.debug=false --message-format=json "${arguments[@]}" >"$directory/build.json"
    for suite in "${suites[@]}"; do
        executable=$(sed -n "s/.*\"executable\":\"\([^\"]*\/$suite-[^\"]*\)\".*/\1/p" "$directory/build.json")
        cp "$executable" "$root/tests/$suite"
    done
    chmod -R a+rX "$root" # a cell runs as nobody
    (cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$directory/initrd"
}

# boot SERIES: runs one guest to its end. Its output is in the log, and the duration beside it.
boot() {
    local log=$directory/logs/$1.log began=$SECONDS expect=uring
    # A busy host looks like a stuck processor to a guest.
    local no_watchdogs="nowatchdog rcupdate.rcu_cpu_stall_suppress=1"
    # A decision: see "Old kernels" in ARCHITECTURE.md.
    [[ $1 != 5.10 ]] || expect=epoll
    timeout --kill-after=5 $guest_seconds_max qemu-system-x86_64 -accel tcg -m 1G -smp 2 \
        -nodefaults -display none -serial stdio -no-reboot \
        -kernel "$directory/boot/$1/vmlinuz" -initrd "$directory/initrd" \
        -append "console=ttyS0 quiet panic=-1 log_buf_len=1M $no_watchdogs EXPECT=$expect SCALE=$scale" \
        </dev/null 2>&1 | tr -d '\r' >"$log" || true
    echo "$expect $((SECONDS - began))" >"$directory/logs/$1.host"
}

# value SERIES PATTERN: the text behind a word at the beginning of a line of a guest's output.
value() {
    sed -n "s/^$2 //p" "$directory/logs/$1.log"
}

# count SERIES CELL: "passed", "failed" and "skipped" of one cell, in words for the table.
count() {
    value "$1" "RESULT $2" | awk '
        { n++; status = $1; text = $2 " passed" }
        $3 > 0 { text = text ", " $3 " FAILED" }
        $4 > 0 { text = $2 == 0 ? "skipped" : text ", " $4 " skipped" }
        $1 != 0 && $3 == 0 { text = text ", FAILED with " $1 }
        END { print n ? text : "not run" }'
}

# verdict SERIES CELL...: one word for each cell that stands for yes or no.
verdict() {
    local series=$1 cell result text=()
    shift
    for cell in "$@"; do
        result=$(value "$series" "RESULT $cell")
        case $result in
        "0 "*) text+=(ok) ;;
        "") text+=("-") ;;
        *) text+=(FAILED) ;;
        esac
    done
    echo "${text[*]}" | sed 's/ / · /g'
}

# problems SERIES: a line for each unexpected result.
problems() {
    local series=$1 log=$directory/logs/$1.log expect seconds
    read -r expect seconds <"$directory/logs/$1.host"
    if ! grep -q '^DONE ' "$log"; then
        if ((seconds >= guest_seconds_max)); then
            echo "TIMEOUT: not done after $seconds s"
        else
            echo "the guest ended early; see the end of $log"
        fi
    fi
    value "$series" RESULT | awk '$2 != 0 || $4 > 0 { print "cell " $1 ": status " $2 ", " $4 " failed" }
        $2 == 0 && $3 + $5 == 0 { print "cell " $1 ": nothing was run" }'
    if [[ $expect == uring ]]; then
        value "$series" RESULT | awk '$5 > 0 { print "cell " $1 ": " $5 " skipped" }'
        grep -o 'SKIP.*' "$log" | sort -u || true
    fi
    grep '^DMESG ' "$log" || true
}

# bursts SERIES: receives of a message that found no buffer, with few buffers and with enough.
bursts() {
    local series=$1 count text=()
    for count in 256 1024; do
        text+=("$(value "$series" "BURST io_uring $count" | head -n 1 | sed 's/ .*//')")
    done
    echo "${text[0]:--} · ${text[1]:--}"
}

# row SERIES: the kernel's line of the table.
row() {
    local series=$1 complaints release boot
    complaints=$(value "$series" DMESG | wc -l)
    read -r release boot < <(value "$series" GUEST) || release="$series, did not boot"
    printf '| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |' \
        "$release" "$(value "$series" DRIVER | head -n 1 | sed 's/ (this kernel.*//')" \
        "$(count "$series" uring)" "$(count "$series" epoll)" \
        "$(verdict "$series" sysctl-0 sysctl-1-root sysctl-1-user sysctl-2)" \
        "$(count "$series" hostile)" "$(count "$series" storms)" "$(bursts "$series")" "$(count "$series" readiness)" "$(count "$series" timers)" \
        "$( ((complaints)) && echo "$complaints lines" || echo clean)"
}

columns="kernel|default driver|conformance, io_uring|conformance, epoll|\`io_uring_disabled\` 0 · 1, root · 1, user · 2|hostile peers|storms|\`ENOBUFS\` per message, 256 · 1024 buffers|\`AsyncFd\`|timers|dmesg"

# table [timed]: the table, with durations if requested.
table() {
    local series seconds boot timed=${1:-}
    echo "| ${columns//|/ | } |${timed:+ boot | total |}"
    echo "|$(sed 's/[^|]*/---/g' <<<"$columns")|${timed:+---|---|}"
    for series in "${booted[@]}"; do
        row "$series"
        if [[ $timed ]]; then
            read -r _ seconds <"$directory/logs/$series.host"
            read -r _ boot < <(value "$series" GUEST) || boot='?'
            printf ' %s s | %s s |' "$boot" "$seconds"
        fi
        echo
    done
}

mkdir -p "$directory/logs"
rm -f "$directory"/logs/*
install_tools
scripts/kernels/fetch.sh "$directory" "${wanted[@]}"
build_initrd

booted=()
for series in "${wanted[@]}"; do
    if [[ ! -s $directory/boot/$series/vmlinuz ]]; then
        echo "SKIP $series: no suite of this machine's archive has that kernel"
        continue
    fi
    booted+=("$series")
    while (($(jobs -rp | wc -l) >= jobs_max)); do
        wait -n
    done
    echo "booting $series"
    boot "$series" &
done
wait

echo
table timed
failed=0
for series in "${booted[@]}"; do
    found=$(problems "$series")
    [[ $found ]] || continue
    failed=1
    printf '\nFAILED on %s:\n%s\n' "$series" "$found"
    echo "---- the end of $directory/logs/$series.log"
    tail -n 40 "$directory/logs/$series.log"
done
if ((${#booted[@]} < kernels_min && ${#wanted[@]} >= kernels_min)); then
    printf '\nFAILED: %s kernels, and %s are the least\n' "${#booted[@]}" "$kernels_min"
    exit 1
fi
((!failed)) || exit 1

if [[ "${booted[*]}" == "${series_all[*]}" ]]; then
    document=docs/KERNELS.md
    {
        sed '/^<!-- table -->$/q' "$document"
        table
        sed -n '/^<!-- end of table -->$/,$p' "$document"
    } >"$directory/document"
    cp "$directory/document" "$document"
    echo "wrote $document"
fi
echo "ok: ${#booted[@]} kernels in $SECONDS s"
