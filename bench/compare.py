#!/usr/bin/env python3
"""Runs our workloads and other programs' in turn, in one series, and prints the ratios.

    bench/compare.py --rounds 5 spawn pingpong
    bench/compare.py --peers ~/peers --rounds 5 component-spawn http

Machines are noisy and drift: what is compared runs interleaved (ours, peer, peer, ours, ...), and the table gives the
best and the median of each and the median of the ratios round by round.

A peer is a command that prints a JSON line with "value" (per second). Which peers there are is read from
PEERS/peers.json: {"workload": [{"peer": "name", "command": "shell command run in PEERS"}, ...], ...}; for the workload
"http" a peer is a server: {"peer": ..., "command": ..., "url": ...}, and wrk is the client for all alike.
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


def last_json(text):
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    raise ValueError(f"no JSON line in: {text[-400:]!r}")


def run_ours(workload, args):
    command = [args.binary, "bench", workload, "--seconds", str(args.seconds), "--json"] + args.ours
    return last_json(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["value"]


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
    server = subprocess.Popen(peer["command"], shell=True, cwd=args.peers, stdout=subprocess.DEVNULL,
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
    output = subprocess.run(peer["command"], shell=True, cwd=args.peers, capture_output=True, text=True, check=True)
    return last_json(output.stdout)["value"]


def compare(workload, peers, args):
    ours, theirs = [], {peer["peer"]: [] for peer in peers}
    for number in range(args.rounds):
        turns = [None, *peers] if number % 2 == 0 else [*reversed(peers), None]
        for peer in turns:
            value = run_ours(workload, args) if peer is None else run_peer(peer, args)
            (ours if peer is None else theirs[peer["peer"]]).append(value)
            print(f"  round {number + 1}: {'rusm' if peer is None else peer['peer']:24} {value:14,.0f}", file=sys.stderr)
    load = os.getloadavg()[0]
    print(f"\n{workload}: {args.rounds} rounds of {args.seconds} s, load average {load:.1f}")
    print(f"| who | best /s | median /s | ours / theirs (best) | ours / theirs (median of rounds) |\n|---|---:|---:|---:|---:|")
    print(f"| rusm | {max(ours):,.0f} | {statistics.median(ours):,.0f} | | |")
    for name, values in theirs.items():
        ratio = statistics.median(a / b for a, b in zip(ours, values))
        print(f"| {name} | {max(values):,.0f} | {statistics.median(values):,.0f} | {max(ours) / max(values):.2f} | {ratio:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="+")
    parser.add_argument("--binary", default=str(ROOT / "build/release/rusm"))
    parser.add_argument("--peers", default=os.environ.get("RUSM_PEERS", "."), help="folder with peers.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--ours", type=shlex.split, default=[], help="further options for rusm bench")
    args = parser.parse_args()
    known = json.loads((pathlib.Path(args.peers) / "peers.json").read_text())
    for workload in args.workloads:
        compare(workload, known.get(workload, []), args)


if __name__ == "__main__":
    main()
