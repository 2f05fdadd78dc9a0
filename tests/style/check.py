#!/usr/bin/env python3
"""Reads the source tree and reports every line that breaks a rule of the house.

Usage: check.py ROOT
Prints file:line: what is wrong, one a line; exit code 1 when there is any.

Rules
  edge       a file under src/ROOM includes only rooms that cmake/rooms.txt names for it, and the engine's C header
             only from src/wasm
  path       a quoted include starts at the root of src/ (in src/)
  once       a header starts with #pragma once, before any other directive
  own        x.cc and x_test.cc include their own header x.h first, when there is one
  length     no file has more than 600 lines
  machine    no text names a folder of one person's machine
  host       every URL points to a host on the list below, so that no private mirror gets in
"""

import os
import re
import sys

LINES_MAX = 600
SKIPPED_FOLDERS = {".git", "build", "target", "node_modules", "__pycache__", ".cache"}
CODE_SUFFIXES = (".h", ".cc", ".cpp", ".c", ".rs", ".py", ".sh", ".cmake", ".ts", ".go", ".wit")
TEXT_SUFFIXES = CODE_SUFFIXES + (".md", ".toml", ".json", ".txt", ".yml", ".yaml", ".lock", ".wat")
TEXT_NAMES = {"Makefile", "LICENSE", "CMakeLists.txt", "run", ".clang-format", ".clang-tidy", ".editorconfig", ".gitignore"}
GENERATED = {"bridge/include/rusm_bridge.h"}
ENGINE_HEADER = "rusm_bridge.h"

# Written in pieces, so that this file obeys its own rule.
MACHINE_PATH = re.compile(r"(?<![\w.~$}-])/(?:" + "|".join(("wor" + "k", "roo" + "t", "hom" + "e", "User" + "s")) + r")/")
URL_HOST = re.compile(r"\bhttps?://([A-Za-z0-9][A-Za-z0-9.-]*)")
HOSTS = {
    "127.0.0.1", "0.0.0.0", "localhost", "example.com", "example.org", "h", "host", "server", "addr",
    "github.com", "docs.rs", "crates.io", "doc.rust-lang.org", "rustup.rs", "sh.rustup.rs", "static.rust-lang.org",
    "deb.debian.org", "security.debian.org", "www.debian.org", "wiki.debian.org",
    "www.rfc-editor.org", "datatracker.ietf.org", "www.w3.org", "webassembly.org", "wasi.dev", "bytecodealliance.org",
    "component-model.bytecodealliance.org", "docs.wasmtime.dev", "www.erlang.org", "erlang.org", "toml.io",
    "opensource.org", "no-color.org", "google.github.io", "keepachangelog.com", "semver.org",
}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
DIRECTIVE = re.compile(r"^\s*#\s*(\w+)\s*(\S*)")


def read_rooms(root):
    rooms = {}
    with open(os.path.join(root, "cmake", "rooms.txt"), encoding="utf-8") as file:
        for line in file:
            match = re.match(r"^([a-z]+):(.*)$", line)
            if match:
                rooms[match.group(1)] = set(match.group(2).split())
    return rooms


def text_files(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS)
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)
            if name.endswith(TEXT_SUFFIXES) or name in TEXT_NAMES:
                yield path


def own_header(root, path):
    """The header that `path` must include first, as it is written in an include, or None."""
    stem = re.sub(r"(_test|_bench)?\.cc$", "", path)
    if path.endswith(".cc") and os.path.exists(os.path.join(root, stem + ".h")):
        return stem[len("src/"):] + ".h"
    return None


def check_includes(root, path, lines, rooms):
    room = path.split("/")[1]
    if room not in rooms:
        yield 1, f"src/{room} is not listed in cmake/rooms.txt"
        return
    wanted_first = own_header(root, path)
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quoted, name = match.group(1) == '"', match.group(2)
        if wanted_first and name != wanted_first:
            yield number, f'the first include must be the own header, "{wanted_first}"'
        wanted_first = None
        target = name.split("/")[0]
        if os.path.basename(name) == ENGINE_HEADER:
            if room != "wasm":
                yield number, f"only src/wasm may include {ENGINE_HEADER}"
        elif "/" in name and target in rooms:
            if target != room and target not in rooms[room]:
                yield number, f"src/{room} must not include src/{target}; cmake/rooms.txt allows: {' '.join(sorted(rooms[room])) or 'nothing'}"
        elif quoted:
            yield number, f'"{name}" must be written from the root of src, as "room/file.h"'


def check_pragma(lines):
    for number, line in enumerate(lines, 1):
        match = DIRECTIVE.match(line)
        if match:
            if match.groups() != ("pragma", "once"):
                yield number, "a header starts with #pragma once"
            return
    yield 1, "a header starts with #pragma once"


def check_words(lines):
    for number, line in enumerate(lines, 1):
        match = MACHINE_PATH.search(line)
        if match:
            yield number, f"{match.group(0)} names a folder of one machine"
        for host in URL_HOST.findall(line):
            if host.rstrip(".") not in HOSTS:
                yield number, f"{host} is not on the list of hosts (HOSTS in tests/style/check.py)"


def check_file(root, path, rooms):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    if path in GENERATED:
        return
    if path.endswith(CODE_SUFFIXES) and len(lines) > LINES_MAX:
        yield len(lines), f"{len(lines)} lines; at most {LINES_MAX} are allowed: split it"
    if path.endswith(".h"):
        yield from check_pragma(lines)
    if path.startswith("src/") and path.endswith((".h", ".cc")):
        yield from check_includes(root, path, lines, rooms)
    yield from check_words(lines)


def check(root):
    rooms = read_rooms(root)
    return [f"{path}:{number}: {text}" for path in text_files(root) for number, text in check_file(root, path, rooms)]


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    findings = check(sys.argv[1])
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
