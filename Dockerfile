# A small image with the echo server.
#
#   docker build -t ringloop-echo .
#   docker run --rm --init -p 7000:7000 --security-opt seccomp=io_uring.json ringloop-echo
#
# The option is for io_uring. Without it the image works too: Docker's default seccomp profile
# refuses the three system calls of io_uring, and the server runs on epoll and prints the reason to
# standard error. Make a profile that allows them from the default one
# (`profiles/seccomp/default.json` in the sources of moby, for your version of Docker):
#
#   jq '.syscalls += [{"names": ["io_uring_setup", "io_uring_enter", "io_uring_register"],
#                      "action": "SCMP_ACT_ALLOW"}]' default.json > io_uring.json
#
# For a quick look on a machine of your own, `--security-opt seccomp=unconfined` does as well; it
# switches the whole filter off. No capability is needed, and no `--privileged`.
#
# io_uring also needs Linux 6.1 or newer on the host, `sysctl kernel.io_uring_disabled` at 0 (or
# absent), and on some kernels from 6.14 on lockable memory for the rings
# (`--ulimit memlock=8388608:8388608`). The server runs on epoll otherwise. On either driver, ten
# thousand connections need descriptors: `--ulimit nofile=20000:20000`.
#
# `--init` because a first process without signal handlers ignores the signal of `docker stop`.

FROM rust:1-slim-bookworm AS build
WORKDIR /ringloop
COPY . .
RUN cargo build --release --locked --example echo

FROM debian:bookworm-slim
# No package is installed: the binary needs the C library and libgcc, which this image has.
RUN useradd --system --user-group --no-create-home --shell /usr/sbin/nologin ringloop
COPY --from=build /ringloop/target/release/examples/echo /usr/local/bin/ringloop-echo
USER ringloop
EXPOSE 7000
ENTRYPOINT ["/usr/local/bin/ringloop-echo"]
CMD ["0.0.0.0:7000"]
