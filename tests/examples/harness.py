"""What the tests of the examples share: running them, waiting for what they say, and comparing it without its numbers."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import waiting

EXAMPLES = os.environ["RUSM_EXAMPLES"]
SOURCES = os.environ["RUSM_EXAMPLE_SOURCES"]
# Long enough for a loaded machine under a sanitizer; a test that waits this long has failed.
DEADLINE_S = float(os.environ.get("RUSM_EXAMPLES_DEADLINE_S", "120"))
SANITIZED = bool(os.environ.get("RUSM_SANITIZER"))


def program(name):
    return os.path.join(EXAMPLES, name)


def numberless(text):
    """The same with each number as N."""
    return re.sub(r"\d+(\.\d+)?", "N", text)


def sample_output(name):
    """The block of the README that follows the words `It prints`."""
    with open(os.path.join(SOURCES, name, "README.md"), encoding="utf-8") as file:
        return re.search(r"It prints[^\n]*\n\n```\n(.*?)```", file.read(), re.S).group(1)


def run(name, *arguments, deadline_s=DEADLINE_S):
    return subprocess.run([program(name), *arguments], capture_output=True, text=True, timeout=deadline_s, check=False)


def wait_until(condition, what, deadline_s=DEADLINE_S):
    return waiting.wait_until(condition, what, deadline_s)


class Running:
    """An example that runs, and what it has printed so far."""

    def __init__(self, name, *arguments):
        self.process = subprocess.Popen(
            [program(name), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._lines = []
        self._condition = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self.process.stdout:
            with self._condition:
                self._lines.append(line)
                self._condition.notify_all()
        self.process.stdout.close()
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def wait_for(self, pattern):
        """The match of the first line that has one."""
        with self._condition:
            ends_at = time.monotonic() + DEADLINE_S
            while True:
                found = next((m for m in (re.search(pattern, line) for line in self._lines) if m), None)
                if found:
                    return found
                left = ends_at - time.monotonic()
                if self._ended or left <= 0:
                    raise AssertionError(f"it did not say {pattern}: " + "".join(self._lines))
                self._condition.wait(left)

    def output(self):
        with self._condition:
            return "".join(self._lines)

    def end(self, number):
        """Sends a signal and waits for the end."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        code = self.process.wait(DEADLINE_S)
        self._thread.join(DEADLINE_S)
        return code

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.wait()


class TestCase(unittest.TestCase):
    maxDiff = None

    def start(self, name, *arguments):
        running = Running(name, *arguments)
        self.addCleanup(running.stop)
        return running

    def folder(self):
        """A folder of the test's own, in memory when there is such a place: no test here cuts the power."""
        path = tempfile.mkdtemp(prefix="rusm-example-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)
        return path


def main():
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
