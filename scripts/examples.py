"""Runs the examples and checks them. Called by examples.sh: examples.py DIRECTORY [NAME...]"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading

LIMIT_S = 30  # after which a wait counts as hung


def path(name):
    return os.path.join(sys.argv[1], name)


def output_of(name, *args):
    """Runs an example to its end and returns what it printed."""
    done = subprocess.run([path(name), *args], stdout=subprocess.PIPE, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, f"{name} exited with {done.returncode}"
    return done.stdout


@contextlib.contextmanager
def server(name, *args):
    """Starts an example that listens on a port, and yields it and its address."""
    process = subprocess.Popen([path(name), *args], stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(LIMIT_S, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on "), f"{name}: {line!r}"
        host, port = line.removeprefix("listening on ").strip().rsplit(":", 1)
        yield process, (host, int(port))
    finally:
        process.kill()
        process.wait()
        watchdog.cancel()


def connect(address):
    return socket.create_connection(address, timeout=LIMIT_S)


def read_all(client):
    return b"".join(iter(lambda: client.recv(65536), b""))


def lines_of(client):
    return client.makefile("r", encoding="utf-8", newline="\n")


ANY_PORT = "127.0.0.1:0"


def echo():
    with server("echo", ANY_PORT) as (_, address), connect(address) as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"hello"


def proxy():
    with server("echo", ANY_PORT) as (_, target):
        with server("proxy", ANY_PORT, "%s:%d" % target) as (_, address):
            for size in (0, 1, 1_000_000):
                with connect(address) as client:
                    sender = threading.Thread(
                        target=lambda: (client.sendall(b"x" * size), client.shutdown(socket.SHUT_WR))
                    )
                    sender.start()
                    # The reply comes whole although the client's direction has ended.
                    assert len(read_all(client)) == size
                    sender.join()
    done = subprocess.run([path("proxy")], stderr=subprocess.PIPE, text=True, timeout=LIMIT_S)
    assert done.returncode == 2 and "usage" in done.stderr


def chat():
    with server("chat", ANY_PORT) as (_, address):
        with connect(address) as ann, connect(address) as bob:
            from_ann, from_bob = lines_of(ann), lines_of(bob)
            ann.sendall(b"Ann\n")
            assert from_ann.readline() == "welcome, Ann\n"
            bob.sendall(b"Bob\n")
            assert from_bob.readline() == "welcome, Bob\n"
            assert from_ann.readline() == "Bob: has joined\n"
            ann.sendall(b"hello\nin par")
            ann.sendall(b"ts\n")
            assert from_bob.readline() == "Ann: hello\n"
            assert from_bob.readline() == "Ann: in parts\n"
            bob.shutdown(socket.SHUT_WR)
            assert from_ann.readline() == "Bob: has left\n", "and no message of Ann's own"
            assert from_bob.readline() == "", "the server has ended its direction as well"


def blocking():
    text = output_of("blocking")
    found = re.findall(r"on the (\w+): ([0-9.]+) s, (\d+) ticks", text)
    (place, long, few), (other, short, many) = found
    assert (place, other) == ("loop", "pool"), text
    # The sleeps are the subject: two seconds and one, and a ticker that stands still or runs.
    assert float(long) >= 2.0 and 1.0 <= float(short) < float(long), text
    assert int(few) < int(many), text


def workers():
    assert output_of("workers").endswith("98610 primes below 1280000\n")


def callbacks():
    lines = output_of("callbacks").splitlines()
    assert lines[:3] == ["soon 1", "soon 2", "soon 3"], lines
    assert lines[-2:] == ["first at the end", "second at the end"], lines


def embedding():
    lines = output_of("embedding").splitlines()
    assert lines == [
        "host: sends",
        'guest: received "hello"',
        "guest: slept for 50 ms",
        "host: done after a few turns",
    ], lines


def timers():
    assert "call_later: the callback ran" in output_of("timers")


def gather():
    assert "waited for 1 s" in output_of("gather")


def graceful_stop():
    for number in (signal.SIGTERM, signal.SIGINT):
        with server("graceful_stop", ANY_PORT) as (process, address), connect(address) as client:
            client.sendall(b"hello")
            assert client.recv(5, socket.MSG_WAITALL) == b"hello"
            process.send_signal(number)
            assert client.recv(1) == b"", "an idle connection ends in order, without a reset"
            rest = process.stdout.read()
            assert "1 connections open" in rest and "all connections have ended" in rest, rest
            assert process.wait(LIMIT_S) == 0


ALL = [echo, proxy, chat, blocking, workers, callbacks, embedding, timers, gather, graceful_stop]

wanted = sys.argv[2:]
unknown = set(wanted) - {example.__name__ for example in ALL}
assert not unknown, f"no such example: {unknown}"
for example in ALL:
    if not wanted or example.__name__ in wanted:
        example()
        print(f"  {example.__name__}: passed", flush=True)
