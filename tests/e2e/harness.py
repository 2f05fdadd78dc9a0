"""What the end-to-end tests share: the real binary, servers started with a configuration of their own, raw HTTP, and
waiting for conditions instead of sleeping."""

import collections
import contextlib
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import waiting

BINARY = os.environ["RUSM_BINARY"]
GUESTS = os.environ["RUSM_GUESTS"]
# Long enough for a loaded machine under a sanitizer; a test that waits this long has failed.
DEADLINE_S = float(os.environ.get("RUSM_E2E_DEADLINE_S", "60"))

Response = collections.namedtuple("Response", "status headers body")


def guest(name):
    return os.path.join(GUESTS, name + ".wasm")


def wait_until(condition, what, deadline_s=DEADLINE_S):
    return waiting.wait_until(condition, what, deadline_s)


class Log:
    """Lines of a server's log, parsed as they come, on a thread of its own."""

    def __init__(self, stream):
        self.lines = []
        self.raw = []
        self._condition = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream):
        for raw in stream:
            text = raw.decode("utf-8", "replace").rstrip("\n")
            try:
                line = json.loads(text)
            except ValueError:
                line = {"msg": text}
            with self._condition:
                self.raw.append(text)
                self.lines.append(line)
                self._condition.notify_all()
        stream.close()
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def find(self, predicate):
        with self._condition:
            return next((line for line in self.lines if predicate(line)), None)

    def wait_for(self, predicate, what, deadline_s=DEADLINE_S):
        ends_at = time.monotonic() + deadline_s
        with self._condition:
            while True:
                line = next((line for line in self.lines if predicate(line)), None)
                if line is not None:
                    return line
                left = ends_at - time.monotonic()
                if left <= 0 or self._ended:
                    raise AssertionError(f"not in the log: {what}\n" + "\n".join(self.raw))
                self._condition.wait(left)

    def text(self):
        with self._condition:
            return "\n".join(self.raw)


class Server:
    """`rusm serve` with a rusm.toml of its own, in a folder of its own, on a free port."""

    def __init__(self, folder, routes, serve="", extra="", components=("hello",), environment=None, limits=None,
                 start_deadline_s=DEADLINE_S):
        self.folder = folder
        self.config = os.path.join(folder, "rusm.toml")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write('[log]\nlevel = "debug"\nformat = "json"\n')
            file.write(f'{extra}\n[[serve]]\nlisten = "127.0.0.1:0"\n{serve}\n[serve.routes]\n')
            for pattern, component in routes.items():
                file.write(f'"{pattern}" = "{component}"\n')
            for component in components:
                file.write(f'[components.{component}]\nsource = "{guest(component)}"\n')
        self.process = subprocess.Popen(
            [BINARY, "serve", "--config", self.config], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=environment or environment_for(folder), preexec_fn=limits)
        self.log = Log(self.process.stderr)
        self._output = []
        self._output_thread = threading.Thread(target=lambda: self._output.append(self.process.stdout.read()), daemon=True)
        self._output_thread.start()
        line = self.log.wait_for(lambda line: line.get("msg") == "listening", "listening", start_deadline_s)
        host, port = line["address"].rsplit(":", 1)
        self.address = (host, int(port))

    def connect(self):
        return Connection(self.address)

    def ask(self, method, path, body=None, headers=()):
        """One request on a connection of its own."""
        with self.connect() as connection:
            return connection.ask(method, path, body, headers)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, deadline_s=DEADLINE_S):
        code = self.process.wait(deadline_s)
        self._output_thread.join(deadline_s)
        return code

    def output(self):
        return b"".join(self._output).decode()

    def memory_kb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._output_thread.join()
        self.process.stdout.close()


class Connection:
    """HTTP/1.1 by hand, so that the tests see the bytes."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, DEADLINE_S)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_head(self, method, path, headers=()):
        lines = [f"{method} {path} HTTP/1.1", "host: test"] + [f"{name}: {value}" for name, value in headers]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def ask(self, method, path, body=None, headers=()):
        headers = list(headers)
        if body is not None:
            headers.append(("content-length", len(body)))
        self.send_head(method, path, headers)
        if body:
            self.send(body)
        return self.read_response(method)

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"the server closed the connection after {self.buffer[:200]!r}")
        self.buffer += data

    def _take(self, count):
        while len(self.buffer) < count:
            self._more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def read_head(self):
        status_line = self._line().decode("latin-1")
        headers = {}
        while True:
            line = self._line().decode("latin-1")
            if not line:
                return int(status_line.split(" ")[1]), headers
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()

    def read_response(self, method="GET"):
        status, headers = self.read_head()
        while 100 <= status < 200:
            status, headers = self.read_head()
        if method == "HEAD" or status in (204, 304):
            return Response(status, headers, b"")
        if "content-length" in headers:
            return Response(status, headers, self._take(int(headers["content-length"])))
        if headers.get("transfer-encoding") == "chunked":
            return Response(status, headers, b"".join(self.chunks()))
        return Response(status, headers, self.rest())

    def chunks(self):
        while True:
            size = int(self._line().split(b";")[0], 16)
            data = self._take(size)
            if self._take(2) != b"\r\n":
                raise AssertionError("a chunk without its end")
            if size == 0:
                return
            yield data

    def complete_response(self, method, path):
        """The response, or None when it did not come to its end: cut, reset, or never begun."""
        try:
            self.send_head(method, path)
            return self.read_response(method)
        except (EOFError, ConnectionResetError, BrokenPipeError):
            return None

    def rest(self):
        """Everything until the server closes the connection."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                self._more()
        data, self.buffer = self.buffer, b""
        return data

    def has_answer(self):
        """Whether the server has sent something, or closed the connection."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def is_closed(self):
        """Waits until the server has closed the connection."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def environment_for(folder, **more):
    """Nothing of the tester's environment, and a code cache that the tests share, so that each component compiles once."""
    cache = os.environ.get("RUSM_E2E_CACHE", os.path.join(folder, "cache"))
    return {"PATH": "/usr/bin:/bin", "HOME": folder, "XDG_CACHE_HOME": cache, "XDG_RUNTIME_DIR": folder, **more}


def limit(what, value):
    return lambda: resource.setrlimit(what, (value, value))


class TestCase(unittest.TestCase):
    """A test with a folder of its own. Servers that it starts are ended with it."""

    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rusm-e2e-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def serve(self, routes=None, **options):
        server = Server(self.folder, routes or {"/*": "hello"}, **options)
        self.addCleanup(server.stop)
        return server

    def rusm(self, *arguments, stdin=b"", environment=None, limits=None, deadline_s=DEADLINE_S):
        """Runs the binary to its end."""
        return subprocess.run([BINARY, *arguments], input=stdin, capture_output=True, timeout=deadline_s, cwd=self.folder,
                              env=environment or environment_for(self.folder), preexec_fn=limits)

    def write(self, name, content):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path


SIGINT = signal.SIGINT
SIGTERM = signal.SIGTERM
