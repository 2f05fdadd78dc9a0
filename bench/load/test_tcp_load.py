"""The load program against servers that answer well, wrongly, and not at all."""

import json
import os
import socket
import subprocess
import threading
import unittest

LOAD = os.environ["RUSM_TCP_LOAD"]


class Server:
    """Serves each connection with `answer(socket)` until it is left."""

    def __init__(self, answer):
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            try:
                self.answer(connection)
            except OSError:
                pass


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def echo_once(connection):
    connection.sendall(connection.recv(1))


def corrupt(connection):
    while data := connection.recv(65536):
        connection.sendall(data[:-1] + b"?")


def run(*arguments):
    return subprocess.run([LOAD, *arguments], capture_output=True, text=True, timeout=60)


def measured(output):
    assert output.returncode == 0, output.stderr
    return json.loads(output.stdout)


class TcpLoad(unittest.TestCase):
    def test_counts_echoes_of_small_and_of_large_messages(self):
        for size in ("1", "64", "1000000"):
            with Server(echo) as server:
                line = measured(run("echo", "--address", server.address, "--connections", "3", "--seconds", "0.1",
                                    "--bytes", size))
            self.assertEqual((line["workload"], line["unit"], line["failures"]), ("tcp-echo", "echoes/s", 0))
            self.assertGreater(line["value"], 0)
            self.assertGreaterEqual(line["p99_ns"], line["p50_ns"])

    def test_counts_connections(self):
        with Server(echo_once) as server:
            line = measured(run("storm", "--address", server.address, "--connections", "4", "--seconds", "0.1"))
        self.assertEqual((line["workload"], line["unit"], line["failures"]), ("connection-storm", "connections/s", 0))
        self.assertGreater(line["value"], 0)

    def test_wrong_bytes_fail_the_run(self):
        for workload in ("echo", "storm"):
            with Server(corrupt) as server:
                output = run(workload, "--address", server.address, "--seconds", "0.1")
            self.assertEqual(output.returncode, 1)
            self.assertIn("not what was sent", output.stderr)

    def test_a_server_that_closes_or_refuses_fails_the_run(self):
        with Server(lambda connection: connection.recv(1)) as server:
            for workload in ("echo", "storm"):
                output = run(workload, "--address", server.address, "--seconds", "0.1")
                self.assertEqual(output.returncode, 1, workload)
                self.assertEqual(output.stdout, "")
        with socket.create_server(("127.0.0.1", 0)) as closed:
            address = "127.0.0.1:%d" % closed.getsockname()[1]
        for workload in ("echo", "storm"):
            self.assertEqual(run(workload, "--address", address, "--seconds", "0.1").returncode, 1, workload)

    def test_misuse_is_said(self):
        self.assertNotEqual(run("echo").returncode, 0)
        self.assertEqual(run("echo", "--address", "localhost").returncode, 2)


if __name__ == "__main__":
    unittest.main()
