#!/usr/bin/env python3
"""Runs our workloads and other programs' in turn, in one series, and prints the ratios.

    bench/compare.py                            # every workload, with the peers in bench/peers that are installed
    bench/compare.py --rounds 5 spawn pingpong

Machines are noisy and drift: what is compared runs interleaved (ours, peer, peer, ours, ...), and the table gives the
best and the median of each and the median of the ratios round by round.

bench/peers/peers.json says which peers there are: {"workload": {"name": "PEER WORKLOAD [FIELD]", ...}, ...}, arguments
of bench/peers/run; FIELD is what to take from its JSON line instead of "value". --peers FILE adds others: {"workload":
[{"peer": "name", "command": "shell command, run in FILE's folder"}, ...]}; for the workload "http" such a peer is a
server: {"peer": ..., "command": ..., "url": ...}, and wrk is the client for all alike.
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench" / "peers"


def last_json(text):
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    raise ValueError(f"no JSON line in: {text[-400:]!r}")


def run_ours(workload, args):
    command = [args.binary, "bench", workload, "--seconds", str(args.seconds), "--json"] + args.ours
    line = last_json(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    args.unit = line["unit"]
    return line["value"]


def wait_for(url, server, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with {server.returncode}")
        try:
            urllib.request.urlopen(url, timeout=1).read()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError(url)


def run_server(peer, args):
    server = subprocess.Popen(peer["command"], shell=True, cwd=peer["folder"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(peer["url"], server)
        output = subprocess.run(["wrk", "-t1", "-c64", f"-d{args.seconds}s", "--latency", peer["url"]],
                                capture_output=True, text=True, check=True).stdout
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    if errors:
        raise RuntimeError(f"{peer['peer']}: {errors.group(0)}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1))


def run_peer(peer, args):
    if "url" in peer:
        return run_server(peer, args)
    output = subprocess.run(peer["command"], shell=True, cwd=peer["folder"], capture_output=True, text=True)
    if output.returncode != 0:
        raise RuntimeError(f"{peer['command']} ended with {output.returncode}: {output.stderr[-400:]}")
    return last_json(output.stdout)[peer.get("field", "value")]


def known_peers(args):
    """What is compared with what: {workload: [peer]}, of the peers that are installed."""
    peers, available = {}, {}
    for workload, named in json.loads((PEERS / "peers.json").read_text()).items():
        for name, arguments in named.items():
            program, its_workload, *field = arguments.split()
            if program not in available:
                available[program] = subprocess.run([PEERS / "run", program, "build"]).returncode == 0
                if not available[program]:
                    print(f"bench: {program} cannot be built here and is left out", file=sys.stderr)
            if available[program]:
                peer = {"peer": name, "command": f"./run {program} {its_workload}", "folder": PEERS}
                peers.setdefault(workload, []).append(peer | ({"field": field[0]} if field else {}))
    for file in args.peers:
        for workload, more in json.loads(pathlib.Path(file).read_text()).items():
            peers.setdefault(workload, []).extend(peer | {"folder": pathlib.Path(file).parent} for peer in more)
    return peers


def all_workloads(args):
    listing = subprocess.run([args.binary, "bench"], capture_output=True, text=True, check=True).stdout
    names = [line.split()[0] for line in listing.splitlines() if line.startswith("  ")]
    return [name for name in names if name != "all"]


def compare(workload, peers, args):
    ours, theirs = [], {peer["peer"]: [] for peer in peers}
    for number in range(args.rounds):
        turns = [None, *peers] if number % 2 == 0 else [*reversed(peers), None]
        for peer in turns:
            if peer is not None and peer["peer"] not in theirs:
                continue
            try:
                value = run_ours(workload, args) if peer is None else run_peer(peer, args)
            except (RuntimeError, ValueError, TimeoutError) as error:
                if peer is None:
                    raise
                print(f"bench: {peer['peer']} is left out: {error}", file=sys.stderr)
                theirs.pop(peer["peer"])
                continue
            (ours if peer is None else theirs[peer["peer"]]).append(value)
            print(f"  round {number + 1}: {'rusm' if peer is None else peer['peer']:24} {value:14,.0f}", file=sys.stderr)
    load = os.getloadavg()[0]
    # Of bytes less is better.
    best = min if args.unit.startswith("bytes") else max
    print(f"\n{workload} ({args.unit}): {args.rounds} rounds of {args.seconds} s, load average {load:.1f}")
    print("| who | best | median | ours / theirs (best) | ours / theirs (median of rounds) |\n|---|---:|---:|---:|---:|")
    print(f"| rusm | {best(ours):,.0f} | {statistics.median(ours):,.0f} | | |")
    for name, values in theirs.items():
        ratio = statistics.median(a / b for a, b in zip(ours, values))
        print(f"| {name} | {best(values):,.0f} | {statistics.median(values):,.0f} | {best(ours) / best(values):.2f} | {ratio:.2f} |")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", help="those of rusm bench; every one if none is named")
    parser.add_argument("--binary", default=str(ROOT / "build/release/rusm"))
    parser.add_argument("--peers", action="append", default=[], metavar="FILE", help="further peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--ours", type=shlex.split, default=[], help="further options for rusm bench")
    args = parser.parse_args()
    known = known_peers(args)
    for workload in args.workloads or all_workloads(args):
        compare(workload, known.get(workload, []), args)


if __name__ == "__main__":
    main()
