#!/bin/sh
# The first process of a guest, under busybox. Runs the test binaries in /tests, a cell each, and
# prints lines on the console that the host reads:
#
#   GUEST release seconds                         the kernel, and the time until here
#   DRIVER text                                   the default driver, with its flags
#   SKIP driver: reason                           trials that were left out
#   RESULT cell status passed failed skipped seconds
#   DMESG line                                    a warning of the kernel
#   DONE seconds
#
# From the kernel's command line come EXPECT (the default driver: uring or epoll) and SCALE (how
# many times slower than a workstation this is).

/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs tmp /tmp
mount -t tmpfs shm /dev/shm
ip link set lo up
ulimit -Hn 20000
ulimit -n 20000
echo "root:x:0:0::/:/bin/sh" >/etc/passwd
echo "nobody:x:65534:65534::/:/bin/sh" >>/etc/passwd

now() { cut -d. -f1 /proc/uptime; }

# Describes a process that hangs: its output, the kernel stack of each thread, its rings.
describe() {
    echo "HANG $1"
    cat /tmp/output
    for thread in /proc/"$2"/task/*; do
        echo "$(cat "$thread/comm"): $(sed -n 's/^State:\t//p' "$thread/status")"
        cat "$thread/syscall" "$thread/stack"
    done
    for file in /proc/"$2"/fdinfo/*; do
        grep -q '^SqHead' "$file" && cat "$file"
    done
    cat /proc/net/tcp
}

# cell NAME COMMAND...: the command's output, and then its RESULT.
cell() {
    name=$1
    shift
    began=$(now)
    echo "---- $name: $*"
    "$@" >/tmp/output 2>&1 &
    process=$!
    (
        sleep 150
        describe "$name" $process
        kill -KILL $process
    ) &
    watchdog=$!
    wait $process
    status=$?
    kill $watchdog
    wait $watchdog 2>/dev/null
    grep -v '\.\.\. ok$' /tmp/output | grep -v '^$'
    # Of `test result: ok. 7 passed; 0 failed; 1 ignored; …`, of which there may be several.
    counts=$(awk '/^test result: / { passed += $4; failed += $6; skipped += $8 }
        END { print passed + 0, failed + 0, skipped + 0 }' /tmp/output)
    echo "RESULT $name $status $counts $(($(now) - began))"
}

# expect NAME DRIVER REASON PREFIX...: compares the default and the strict choice with the expected.
expect() {
    name=$1 driver=$2 reason=$3
    shift 3
    cell "$name" "$@" env RINGLOOP_EXPECT_DRIVER="$driver" ${reason:+RINGLOOP_EXPECT_REASON="$reason"} \
        /tests/expected_driver --nocapture
}

echo "GUEST $(uname -r) $(now)"
export RINGLOOP_TEST_SCALE="$SCALE" RUST_BACKTRACE=0

# The reason on an old kernel: the errno of the check of its features.
reason=
[ "$EXPECT" = uring ] || reason="Operation not supported"
expect default "$EXPECT" "$reason"

sysctl=/proc/sys/kernel/io_uring_disabled
if [ -e $sysctl ]; then
    refused="Operation not permitted"
    expect sysctl-0 uring ""
    echo 1 >$sysctl
    expect sysctl-1-root uring ""
    # `su` keeps the variables and takes one string.
    cell sysctl-1-user su nobody -c "RINGLOOP_EXPECT_DRIVER=epoll RINGLOOP_EXPECT_REASON='$refused' \
        /tests/expected_driver --nocapture"
    echo 2 >$sysctl
    expect sysctl-2 epoll "$refused"
    echo 0 >$sysctl
fi

cell uring /tests/conformance uring::
cell epoll /tests/conformance epoll::
cell hostile /tests/hostile
cell storms /tests/storms --nocapture --test-threads=1
cell bursts /tests/bursts --nocapture
cell readiness /tests/async_fd --nocapture
cell timers /tests/timers

dmesg | grep -E 'WARNING:|BUG:|Oops|general protection|KASAN|refcount_t|INFO: task .* blocked' |
    sed 's/^/DMESG /'
echo "DONE $(now)"
poweroff -f
