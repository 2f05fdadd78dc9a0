"""A command with what Python programs use: arguments, environment, streams, files, clocks, random numbers, exceptions."""
import collections
import hashlib
import json
import os
import random
import re
import sys
import time

from wit_world import exports
from componentize_py_types import Err


def words():
    counts = collections.Counter(re.findall(r"\w+", sys.stdin.read().lower()))
    print(json.dumps(sorted(counts.items())))


def files():
    with open("/data/in.txt", encoding="utf-8") as file:
        text = file.read()
    with open("/data/out.txt", "w", encoding="utf-8") as file:
        file.write(hashlib.sha256(text.encode()).hexdigest())
    print(sorted(os.listdir("/data")))


def clocks():
    before = time.monotonic()
    time.sleep(0.02)
    print(time.monotonic() - before >= 0.02, time.time() > 1_577_836_800, random.random() != random.random())


def hoard():
    kept = []
    while True:
        kept.append(bytearray(1 << 20))


CASES = {
    "args": lambda: print(json.dumps([*sys.argv[2:], os.environ.get("GIVEN"), os.environ.get("HOME")])),
    "words": words,
    "files": files,
    "clocks": clocks,
    "hoard": hoard,
    "stderr": lambda: print("to stderr", file=sys.stderr),
}


class Run(exports.Run):
    def run(self):
        name = sys.argv[1]
        if name == "fail":
            raise Err(None)
        if name == "raise":
            raise ValueError("nobody catches this")
        CASES[name]()
