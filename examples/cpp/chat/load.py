#!/usr/bin/env python3
"""Puts a chat server under load, checks what everybody receives, and prints one line of JSON.

Everybody takes a name, joins a room and, once all are there, says numbered lines. Meanwhile connections are broken at
random, here (RST) and, when the server runs with --chaos, there. Checked is, of everybody who lives to the end:
  - the lines of each other come in order, without a gap, and none twice;
  - all lines of those who lived to the end have come;
  - of those who did not, all in the room have heard the same lines, then that they are gone, and then nothing more.
With --server-pid: when all are gone the server has the processes and descriptors that it had before.

Exit code 0: nothing was wrong.
"""

import argparse
import asyncio
import json
import os
import random
import re
import resource
import socket
import ssl
import struct
import sys
import time

PORTS_OF_ONE_ADDRESS = 20_000
CUT_OFF = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)


class Member(asyncio.Protocol):
    """One connection, and what it has heard."""

    __slots__ = ("number", "room", "joined", "transport", "rest", "heard", "ended", "gone", "lost", "load")

    def __init__(self, load, number):
        self.load = load
        self.number = number
        self.room = load.rooms[number // load.options.room]
        self.joined = False
        self.transport = None
        self.rest = b""
        self.heard = {}  # who -> how many lines
        self.ended = set()  # who has said all
        self.gone = set()
        self.lost = False

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"/name u%d\n/join %s\n" % (self.number, self.room.name))

    def connection_lost(self, _error):
        self.lost = True
        self.room.progress(self)
        self.load.changed()

    def data_received(self, data):
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            if line.startswith(b"<u"):
                self.hear(line)
            elif line.startswith(b"* u"):
                self.notice(line)
            elif line.startswith(b"!"):
                self.load.error(f"u{self.number} was told {line!r}")
        self.room.progress(self)

    def hear(self, line):
        name, _, text = line.partition(b"> ")
        who = int(name[2:])
        self.load.received += 1
        if who in self.gone:
            self.load.error(f"u{self.number} heard {line!r} of one that is gone")
        if text == b"end":
            self.ended.add(who)
            return
        count = self.heard.get(who, 0)
        if int(text.split(b" ", 1)[0]) != count:
            self.load.error(f"u{self.number} heard {line!r} after {count} lines")
        self.heard[who] = count + 1

    def notice(self, line):
        who = int(line[3:].split(b" ", 1)[0])
        if line.endswith(b" has joined"):
            if who == self.number:
                self.joined = True
                self.load.joined += 1
                self.load.changed()
        else:
            self.gone.add(who)

    def say(self, text):
        if not self.transport.is_closing():
            self.transport.write(text)

    def reset(self):
        """So that the server sees a connection that broke."""
        linger = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()


class Room:
    def __init__(self, load, number):
        self.load = load
        self.name = b"r%d" % number
        self.speakers = set()  # those who were there when talking began
        self.waiting = set()  # members who have not heard the end of everybody

    def begin(self, members):
        self.speakers = {member.number for member in members}
        self.waiting = set(members)
        for member in members:
            self.progress(member)

    def progress(self, member):
        if member in self.waiting and (member.lost or self.speakers <= member.ended | member.gone):
            self.waiting.discard(member)
            if not self.waiting:
                self.load.changed()


class Load:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.received = self.sent = self.reset = self.cut = self.joined = 0
        self.errors = []
        self.rooms = []
        self._changed = asyncio.Event()

    def error(self, text):
        if len(self.errors) < 20:
            self.errors.append(text)

    def changed(self):
        self._changed.set()

    async def until(self, condition, what):
        ends_at = time.monotonic() + self.options.deadline
        while not condition():
            left = ends_at - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"not within {self.options.deadline} s: {what}")
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except asyncio.TimeoutError:
                pass

    async def connect(self, members):
        loop = asyncio.get_running_loop()
        host, port = self.options.address
        gate = asyncio.Semaphore(256)

        async def one(member):
            source = None
            if len(members) > PORTS_OF_ONE_ADDRESS:
                source = (f"127.0.0.{1 + member.number // PORTS_OF_ONE_ADDRESS}", 0)
            async with gate:
                try:
                    await loop.create_connection(lambda: member, host, port, local_addr=source, ssl=self.options.tls)
                except CUT_OFF:  # during the handshake of TLS
                    member.lost = True

        await asyncio.gather(*(one(member) for member in members))
        await self.until(lambda: all(member.joined or member.lost for member in members), "everybody joins")

    async def talk(self, members):
        """Everybody says their lines, in an order of chance, and some are broken off before they have."""
        options = self.options
        alive = [member for member in members if not member.lost]
        for room, there in by_room(alive).items():
            room.begin(there)
        doomed = self.random.sample(alive, len(alive) * options.reset_percent // 100)
        orders = [(self.random.random(), member, line) for member in alive for line in range(options.lines)]
        orders += [(self.random.random(), member, None) for member in doomed]
        orders.sort(key=lambda order: order[0])
        next_line = dict.fromkeys(alive, 0)
        for count, (_, member, line) in enumerate(orders):
            if count % 500 == 0:
                await asyncio.sleep(0)  # let answers in
            if member.transport.is_closing():
                continue
            if line is None:
                member.reset()
                self.reset += 1
                continue
            number = next_line[member]
            next_line[member] = number + 1
            text = b"%d %s\n" % (number, b"x" * options.bytes)
            member.say(text + b"end\n" if number + 1 == options.lines else text)
            self.sent += 1
        await self.until(lambda: not any(room.waiting for room in self.rooms), "everybody hears everybody")

    def check(self, members):
        for room, there in by_room(members).items():
            listeners = [member for member in there if not member.lost]
            for who in room.speakers:
                counts = {member.heard.get(who, 0) for member in listeners}
                lives = any(member.number == who for member in listeners)
                if len(counts) > 1 or (lives and counts != {self.options.lines}):
                    self.error(f"of u{who} its room has heard {sorted(counts)} lines")

    async def leave(self, members):
        alive = [member for member in members if not member.lost]
        self.cut += len(members) - len(alive)
        for member in alive:
            if self.random.random() < 0.5:
                member.say(b"/quit\n")
            else:
                member.reset()
        await self.until(lambda: all(member.lost for member in members), "all connections end")

    async def round(self):
        count = self.options.connections
        self.joined = 0
        self.rooms = [Room(self, i) for i in range((count + self.options.room - 1) // self.options.room)]
        members = [Member(self, number) for number in range(count)]
        begin = time.monotonic()
        await self.connect(members)
        connected = time.monotonic()
        await self.talk(members)
        talked = time.monotonic()
        self.check(members)
        await self.leave(members)
        return connected - begin, talked - connected


def by_room(members):
    rooms = {}
    for member in members:
        rooms.setdefault(member.room, []).append(member)
    return rooms


async def stats(load):
    """What /stats says, as seen by a connection of its own. Chaos may cut that too: then once more."""
    async def ask():
        reader, writer = await asyncio.open_connection(*load.options.address, ssl=load.options.tls)
        try:
            writer.write(b"/stats\n")
            while line := await reader.readline():
                if match := re.match(rb"\* processes (\d+), people (\d+), rooms (\d+)", line):
                    return tuple(int(number) for number in match.groups())
        finally:
            writer.close()
        return None

    while True:
        try:
            if (answer := await ask()) is not None:
                return answer
        except CUT_OFF:
            pass


class Server:
    """What the system knows of the server's process."""

    def __init__(self, pid):
        self.pid = pid

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory_kb(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


async def settle(load, look, wanted, what):
    """Waits until look() is what it was before; the last of it in any case."""
    ends_at = time.monotonic() + load.options.deadline
    while (now := await look()) != wanted and time.monotonic() < ends_at:
        await asyncio.sleep(0.02)  # between two looks
    if now != wanted:
        load.error(f"{what}: {wanted} before, {now} after")
    return now


async def run(options):
    load = Load(options)
    server = Server(options.server_pid) if options.server_pid else None

    async def descriptors():
        return server.descriptors()

    first = await stats(load)
    result = {"connections": options.connections, "rounds": options.rounds, "lines": options.lines, "room": options.room}
    # Without connections: that of stats() has to be gone as well. The listener takes its own time to see that.
    fewest = min([await descriptors() for _ in range(20) if not await asyncio.sleep(0.02)]) if server else 0
    memory, times, last = [], [], first
    for _ in range(options.rounds):
        times.append(await load.round())
        last = await settle(load, lambda: stats(load), first, "processes, people, rooms")
        if server:
            now = await settle(load, descriptors, fewest, "descriptors")
            memory.append(server.memory_kb())
    if server:
        result |= {"descriptors_before": fewest, "descriptors_after": now, "memory_kb": memory}
    result |= {
        "processes_before": first[0], "processes_after": last[0], "sent": load.sent, "received": load.received,
        "reset_here": load.reset, "cut_there": load.cut - load.reset,
        "connect_s": [round(spans[0], 2) for spans in times], "talk_s": [round(spans[1], 2) for spans in times],
        "errors": load.errors}
    print(json.dumps(result), flush=True)
    return 1 if load.errors else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("address", help="of the server: 127.0.0.1:7000")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--room", type=int, default=10, help="so many are in one room")
    parser.add_argument("--lines", type=int, default=10, help="that each of them says")
    parser.add_argument("--bytes", type=int, default=40, help="of padding in each line")
    parser.add_argument("--reset-percent", type=int, default=5, help="of the connections are broken off")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deadline", type=float, default=120, help="seconds that one phase may take")
    parser.add_argument("--server-pid", type=int)
    parser.add_argument("--tls-ca", help="TLS, with a certificate that this one (PEM) vouches for")
    options = parser.parse_args()
    host, port = options.address.rsplit(":", 1)
    options.address = (host, int(port))
    options.tls = ssl.create_default_context(cafile=options.tls_ca) if options.tls_ca else None
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        return asyncio.run(run(options))
    except (OSError, TimeoutError) as error:
        print(json.dumps({"errors": [repr(error)]}), flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
