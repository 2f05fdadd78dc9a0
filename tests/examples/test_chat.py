"""The chat server as people and programs use it, well and badly."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import harness

CONNECTIONS = os.environ.get("RUSM_CHAT_CONNECTIONS", "100" if harness.SANITIZED else "300")


class Person:
    """One connection, line by line."""

    def __init__(self, address, receive_buffer=None):
        self.socket = socket.socket()
        self.socket.settimeout(harness.DEADLINE_S)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(address)
        self.file = self.socket.makefile("rb")

    def say(self, *lines):
        self.socket.sendall("".join(line + "\n" for line in lines).encode())

    def line(self):
        """The next line, None at the end."""
        try:
            line = self.file.readline()
        except ConnectionError:
            return None
        return line.decode("utf-8", "replace").rstrip("\n") if line else None

    def until(self, wanted):
        """The lines up to the one that is wanted."""
        lines = []
        while (line := self.line()) is not None:
            lines.append(line)
            if line == wanted:
                return lines
        raise AssertionError(f"no {wanted!r} among {lines[-20:]}")

    def rest(self):
        lines = []
        while (line := self.line()) is not None:
            lines.append(line)
        return lines

    def close(self):
        self.file.close()
        self.socket.close()


class Chat(harness.TestCase):
    def serve(self, *arguments):
        self.server = self.start("chat", "--listen", "127.0.0.1:0", *arguments)
        host, port = self.server.wait_for(r"chat listens on (\S+)").group(1).rsplit(":", 1)
        self.address = (host, int(port))

    def connect(self, name=None, room=None, **options):
        person = Person(self.address, **options)
        self.addCleanup(person.close)
        if name:
            person.say(f"/name {name}")
            person.until(f"* you are {name}")
        if room:
            person.say(f"/join {room}")
            person.until(f"* {name} has joined")
        return person

    def end(self):
        self.assertEqual(self.server.end(signal.SIGTERM), 0)
        self.assertIn("processes left: 0\n", self.server.output())

    def load(self, *arguments):
        done = subprocess.run(
            [sys.executable, "-B", os.path.join(harness.SOURCES, "chat", "load.py"), f"{self.address[0]}:{self.address[1]}",
             "--server-pid", str(self.server.process.pid), *arguments],
            capture_output=True, text=True, timeout=5 * harness.DEADLINE_S, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def test_people_talk_in_rooms(self):
        self.serve()
        ada, bob = self.connect("ada", "den"), self.connect("bob", "den")
        ada.until("* bob has joined")
        ada.say("hello", "bell\x07 and tab\t")
        for person in (ada, bob):
            person.until("<ada> hello")
            self.assertEqual(person.line(), "<ada> bell? and tab?")
        ada.say("/who")
        self.assertEqual(ada.line(), "* in den: ada bob")
        cid = self.connect("cid", "attic")
        cid.say("/msg bob psst", "/msg dora psst", "only for the attic")
        self.assertEqual(bob.line(), "[cid] psst")
        self.assertEqual(cid.until("<cid> only for the attic"), ["! nobody is called dora", "<cid> only for the attic"])
        bob.say("/name rob")
        ada.until("* bob is now rob")
        bob.until("* you are rob")
        bob.say("/leave")
        ada.until("* rob has left")
        bob.until("* you are in no room")
        bob.say("anybody?", "/quit")
        self.assertEqual(bob.rest(), ["! you are in no room: /join ROOM", "* good bye"])
        ada.close()
        self.end()

    def test_what_is_not_allowed_is_said(self):
        self.serve()
        ada = self.connect("ada")
        eve = self.connect()
        eve.say("/join den", "/name ada", "/name a b", "/name " + "x" * 33, "/dance", "/msg ada x", "/who", "")
        eve.until("! you have no name: /name NAME")
        self.assertEqual(eve.line(), "! ada is taken")
        for _ in range(2):
            self.assertEqual(eve.line(), "! a name has 1 to 32 letters, digits, - or _")
        self.assertEqual(eve.line(), "! there is no /dance; see /help")
        eve.until("! you are in no room")
        eve.say("x" * 600)
        self.assertEqual(eve.rest(), ["! a line has at most 512 bytes; good bye"])
        endless = self.connect()
        endless.socket.sendall(b"x" * 100_000)
        endless.rest()  # it is cut off, perhaps before it could read why
        ada.say("/name ada")  # the name of one that is gone is free again, that of one that is there is not
        ada.until("! ada is taken")
        ada.close()
        again = harness.wait_until(lambda: self.try_name("ada"), "the name is free again")
        again.close()
        self.end()

    def try_name(self, name):
        person = self.connect()
        person.say(f"/name {name}")
        person.line()
        if person.line() == f"* you are {name}":
            return person
        person.close()
        return None

    def test_bytes_of_any_kind_harm_nobody(self):
        self.serve()
        for data in (b"\0" * 300 + b"\n", b"\xff\xfe\n" * 50, b"/name \xc3\n/join \0\n", b"\n" * 30, b"\r\n\r", b"/\n/ \n"):
            person = self.connect()
            person.socket.sendall(data)
            person.socket.shutdown(socket.SHUT_WR)
            person.rest()
            person.close()
        self.connect("ada", "den").say("still here")
        self.end()

    def test_whoever_says_too_much_is_slowed_down_and_loses_nothing(self):
        self.serve("--lines-per-second", "50")
        ada = self.connect("ada", "den")
        ada.say(*(f"line {i}" for i in range(150)))
        self.assertEqual([ada.line() for _ in range(150)], [f"<ada> line {i}" for i in range(150)])
        self.end()

    def test_whoever_says_nothing_is_sent_away(self):
        self.serve("--idle-seconds", "1")
        ada = self.connect("ada", "den")
        self.assertEqual(ada.rest(), ["* you have said nothing for a long time; good bye"])
        self.end()

    def test_whoever_reads_too_slowly_is_cut_off_and_holds_nobody_up(self):
        self.serve("--lines-per-second", "1000000")
        slow = self.connect("slow", "den", receive_buffer=4096)
        ada = self.connect("ada", "den")
        sent, cut = 0, False
        while not cut:
            ada.say(*(f"{sent + i} {'x' * 480}" for i in range(200)))
            for i in range(200):
                line = ada.line()
                if line == "* slow was cut off":
                    cut = True
                    line = ada.line()
                self.assertTrue(line.startswith(f"<ada> {sent + i} "), line)
            sent += 200
            self.assertLess(sent, 200_000)
        heard = [int(line.split(" ")[1]) for line in slow.rest() if line.startswith("<ada> ") and len(line) > 480]
        self.assertEqual(heard, list(range(len(heard))))  # without a gap until it was cut off
        self.end()

    def test_a_stop_is_told_to_everybody(self):
        self.serve()
        people = [self.connect(f"p{i}", "den") for i in range(5)]
        self.server.process.send_signal(signal.SIGINT)
        for person in people:
            self.assertEqual(person.rest()[-1], "* the server is shutting down; good bye")
        self.assertEqual(self.server.wait(), 0)
        self.assertIn("processes left: 0\n", self.server.output())

    def test_under_load_and_kills_from_both_sides_nothing_is_lost_or_left(self):
        self.serve("--chaos", "7", "--chaos-every", "20")
        result = self.load("--connections", CONNECTIONS, "--rounds", "2", "--reset-percent", "10")
        self.assertEqual(result["processes_after"], result["processes_before"])
        self.assertEqual(result["descriptors_after"], result["descriptors_before"])
        self.assertGreater(result["reset_here"], 0)
        if not harness.SANITIZED:  # which keeps what was freed, to recognise its use
            self.assertLess(result["memory_kb"][1], result["memory_kb"][0] * 1.25 + 8192)
        print(json.dumps(result))
        self.end()

    def test_the_same_over_tls(self):
        folder = self.folder()
        key, certificate = os.path.join(folder, "key.pem"), os.path.join(folder, "cert.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                        "-subj", "/CN=chat", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                       check=True, capture_output=True)
        self.serve("--chaos", "7", "--tls-cert", certificate, "--tls-key", key)
        result = self.load("--connections", "60", "--tls-ca", certificate)
        self.assertEqual(result["processes_after"], result["processes_before"])
        self.end()
        missing = harness.run("chat", "--tls-cert", certificate, "--tls-key", os.path.join(folder, "none.pem"))
        self.assertEqual(missing.returncode, 1)
        self.assertIn("none.pem", missing.stderr)
        self.assertEqual(harness.run("chat", "--tls-key", key).returncode, 2)

    def test_a_port_that_is_taken_is_said(self):
        self.serve()
        done = harness.run("chat", "--listen", f"127.0.0.1:{self.address[1]}")
        self.assertEqual(done.returncode, 1)
        self.assertTrue(re.search("listen", done.stderr), done.stderr)
        for arguments in (["--listen", "nowhere"], ["--chaos", "0"], ["--what", "1"]):
            self.assertEqual(harness.run("chat", *arguments).returncode, 2)
        self.end()


if __name__ == "__main__":
    harness.main()
