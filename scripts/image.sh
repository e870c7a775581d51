#!/usr/bin/env bash
# Builds what the Dockerfile builds, without Docker. The context goes through `.dockerignore` into a
# directory of its own, and the commands of the build stage run there. Then the script checks the
# final stage: the binary is at the place it is copied from, its libraries are those of the base
# image, the user can be created, and the server answers as that user.
#
#   scripts/image.sh
#
# It does not check the base images themselves, their compiler and their C library.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch="$(mktemp -d)"
server=
trap '[[ -z "$server" ]] || kill "$server" 2>/dev/null; rm -rf "$scratch"' EXIT
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# Libraries that debian:bookworm-slim has because its package manager needs them.
base_libraries=" linux-vdso.so.1 libc.so.6 libm.so.6 libgcc_s.so.1 ld-linux-x86-64.so.2 ld-linux-aarch64.so.1 "

context="$scratch/context"
mkdir "$context"
python3 scripts/lib/context.py copy . "$context"

# Compiled dependencies are kept between calls; the context has no `target` of its own.
target="$PWD/target/image"
workdir=
while read -r instruction rest; do
    case "$instruction" in
    WORKDIR) workdir="$rest" ;;
    COPY) [[ "$rest" == ". ." ]] || fail "COPY $rest: this script knows COPY . . only" ;;
    RUN)
        echo "\$ $rest"
        (cd "$context" && CARGO_TARGET_DIR="$target" sh -c "$rest") || fail "RUN $rest"
        ;;
    *) fail "$instruction: this script does not know it" ;;
    esac
done < <(python3 scripts/lib/context.py stage Dockerfile build)

binary= user=root command=
while read -r instruction rest; do
    case "$instruction" in
    RUN)
        # In a directory that has the files of a new system and nothing else.
        [[ "$rest" == useradd\ * ]] || fail "RUN $rest: this script knows useradd only"
        if [[ "$(id -u)" -eq 0 ]]; then
            mkdir -p "$scratch/root/etc"
            for file in passwd group shadow gshadow; do : >"$scratch/root/etc/$file"; done
            echo "\$ $rest"
            sh -c "${rest/useradd/useradd --prefix $scratch/root}"
        fi
        ;;
    COPY)
        read -r from path to <<<"$rest"
        [[ "$from" == --from=build && "$path" == "$workdir/target/"* ]] || fail "COPY $rest"
        binary="$target/${path#"$workdir/target/"}"
        [[ -x "$binary" ]] || fail "COPY $rest: the build stage has not made it"
        install -D "$binary" "$scratch/run/$(basename "$to")"
        binary="$scratch/run/$(basename "$to")"
        entry="$to"
        ;;
    USER) user="$rest" ;;
    EXPOSE) port="$rest" ;;
    ENTRYPOINT) [[ "$rest" == "[\"$entry\"]" ]] || fail "ENTRYPOINT $rest is not $entry" ;;
    CMD) command="$(python3 -c 'import json,sys; print(*json.loads(sys.argv[1]))' "$rest")" ;;
    *) fail "$instruction: this script does not know it" ;;
    esac
done < <(python3 scripts/lib/context.py stage Dockerfile final)

[[ "$command" == "0.0.0.0:$port" ]] || fail "CMD $command does not listen at the port of EXPOSE $port"
if [[ -f "$scratch/root/etc/passwd" ]]; then
    grep -q "^$user:" "$scratch/root/etc/passwd" || fail "USER $user: there is no such user"
fi
while read -r library _; do
    library="$(basename "$library")"
    [[ "$base_libraries" == *" $library "* ]] || fail "$entry needs $library"
done < <(ldd "$binary")

# As the user of the image, on a free port in place of its own.
as_user=()
if [[ "$(id -u)" -eq 0 ]]; then
    chmod 755 "$scratch" "$scratch/run"
    as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs)
fi
"${as_user[@]}" "$binary" "${command%:*}:0" >"$scratch/out" 2>"$scratch/err" &
server=$!
for _ in $(seq 100); do
    grep -q "listening on" "$scratch/out" && break
    kill -0 "$server" 2>/dev/null || fail "the server ended: $(cat "$scratch/err")"
    sleep 0.1
done
address="$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$scratch/out")"
answer="$(python3 - "$address" <<'PY'
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10) as stream:
    stream.sendall(b"image")
    print(stream.recv(16).decode())
PY
)"
[[ "$answer" == image ]] || fail "the server answers '$answer'"
echo "the image's server answers, as user $user, with $(basename "$entry")"
