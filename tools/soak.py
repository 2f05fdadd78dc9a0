#!/usr/bin/env python3
"""Serves examples/hello under mixed load for a while, and fails if an answer is wrong, memory or descriptors grow,
or the server does not drain at the end.

Clients run at the same time: greetings whose count must be 1, echoes of random bodies compared byte by byte, guests
that crash, hog memory or spin, and clients that hang up in the middle of a body."""

import argparse
import collections
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

TRAP = {500}
CUT = {500, 503, 504}
RSS_GROWTH_MAX = 1.25  # of the level after the first third
RSS_SLACK_KB = 32 * 1024
FD_SLACK = 64
DRAIN_S = 30


class Soak:
    def __init__(self, host, port, seconds):
        self.address = (host, port)
        self.ends_at = time.monotonic() + seconds
        self.counts = collections.Counter()
        self.wrong = []
        self.lock = threading.Lock()

    def running(self):
        return time.monotonic() < self.ends_at and not self.wrong

    def connect(self):
        return http.client.HTTPConnection(*self.address, timeout=60)

    def ask(self, connection, method, path, body=None):
        connection.request(method, path, body=body)
        response = connection.getresponse()
        return response.status, response.read()

    def loop(self, name, turn):
        """Calls turn(connection) until the end. An overloaded server may say so; anything else unexpected is noted."""
        connection = self.connect()
        while self.running():
            try:
                problem = turn(connection)
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error}"
            if problem == "again":
                connection.close()
                connection = self.connect()
                problem = None
            with self.lock:
                self.counts[name] += 1
                if problem:
                    self.wrong.append(f"{name}: {problem}")

    def greet(self, path):
        def turn(connection):
            status, body = self.ask(connection, "GET", path)
            if status == 503:
                return None
            return None if status == 200 and body.rstrip().endswith(b" 1") else f"{status} {body[:200]!r}"

        return turn

    def echo(self, connection):
        sent = random.randbytes(random.choice([0, 1, 1000, 70_000, 1_000_000, 8_000_000]))
        status, body = self.ask(connection, "POST", "/echo", sent)
        if status == 503:
            return None
        return None if status == 200 and body == sent else f"{status}, {len(body)} of {len(sent)} bytes"

    def fail(self, path, statuses):
        def turn(connection):
            status, _ = self.ask(connection, "GET", path)
            if status != 503 and status not in statuses:
                return f"{status}"
            return "again"

        return turn

    def hang_up(self, _connection):
        with socket.create_connection(self.address, timeout=60) as client:
            client.sendall(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 5000)
            client.recv(random.choice([1, 200, 4000]))
        return None

    def start(self):
        plan = [("greet", self.greet("/"))] * 8 + [("rust", self.greet("/rust"))] * 2 + [("echo", self.echo)] * 2
        plan += [("crash", self.fail("/crash", TRAP)), ("hog", self.fail("/hog", CUT)), ("spin", self.fail("/spin", CUT))]
        plan += [("hang-up", self.hang_up)]
        threads = [threading.Thread(target=self.loop, args=item, daemon=True) for item in plan]
        for thread in threads:
            thread.start()
        return threads


def rss_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def wait_for_server(address, server):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"soak: the server ended with {server.returncode} before it served")
        try:
            socket.create_connection(address, timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("soak: the server did not listen within a minute")


def watch(soak, pid):
    """Memory and descriptors once a second; returns the largest of the second third, and of the last."""
    samples = []
    begin = time.monotonic()
    while soak.running():
        time.sleep(1)
        samples.append((rss_kb(pid), fds(pid)))
        if len(samples) % 30 == 0:
            print(f"soak: {time.monotonic() - begin:.0f} s, {samples[-1][0] // 1024} MB, {samples[-1][1]} descriptors, "
                  f"{sum(soak.counts.values())} requests", flush=True)
    third = max(1, len(samples) // 3)
    largest = lambda part: tuple(max(column) for column in zip(*part))
    return largest(samples[third:2 * third] or samples), largest(samples[-third:])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--port", type=int, default=8080, help="where the configuration makes it listen")
    arguments = parser.parse_args()
    with subprocess.Popen([arguments.binary, "serve", "--config", arguments.config], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as server:
        try:
            wait_for_server(("127.0.0.1", arguments.port), server)
            soak = Soak("127.0.0.1", arguments.port, arguments.seconds)
            threads = soak.start()
            (rss_before, fds_before), (rss_after, fds_after) = watch(soak, server.pid)
            for thread in threads:
                thread.join(timeout=90)
            if rss_after > rss_before * RSS_GROWTH_MAX + RSS_SLACK_KB:
                soak.wrong.append(f"memory grew from {rss_before} to {rss_after} KB")
            if fds_after > fds_before + FD_SLACK:
                soak.wrong.append(f"descriptors grew from {fds_before} to {fds_after}")
            server.send_signal(signal.SIGTERM)
            try:
                if server.wait(timeout=DRAIN_S) != 0:
                    soak.wrong.append(f"the server ended with {server.returncode} after SIGTERM")
            except subprocess.TimeoutExpired:
                soak.wrong.append(f"the server did not end within {DRAIN_S} s of SIGTERM")
        finally:
            server.kill()
    print("soak:", ", ".join(f"{name} {count}" for name, count in sorted(soak.counts.items())))
    print(f"soak: memory {rss_before // 1024} MB, then {rss_after // 1024} MB; descriptors {fds_before}, then {fds_after}")
    for problem in soak.wrong[:20]:
        print("soak: WRONG:", problem, file=sys.stderr)
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
