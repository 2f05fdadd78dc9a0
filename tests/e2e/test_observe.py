"""Looking into a running node: rusm top, tree, exits and process."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
import unittest

import harness


class Screen:
    """A command on a terminal of its own."""

    def __init__(self, *arguments, folder, rows, columns):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen([harness.BINARY, *arguments], stdin=slave, stdout=slave, stderr=slave,
                                        env=harness.environment_for(folder), start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.slave = slave
        self.text = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, pattern):
        """Everything up to the first match, which is taken."""
        ends_at = time.monotonic() + harness.DEADLINE_S
        while True:
            match = re.search(pattern, self.text, re.DOTALL)
            if match:
                seen, self.text = self.text[:match.end()], self.text[match.end():]
                return seen
            if not select.select([self.master], [], [], max(0, ends_at - time.monotonic()))[0]:
                raise AssertionError(f"not on the screen: {pattern}\n{self.text!r}")
            self.text += os.read(self.master, 65536).decode()

    def type(self, keys):
        os.write(self.master, keys.encode())

    def end(self):
        """The exit code; the terminal has to be as it was."""
        code = self.process.wait(harness.DEADLINE_S)
        if termios.tcgetattr(self.slave) != self.before:
            raise AssertionError("the terminal was not put back")
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)


class ObserveTest(harness.TestCase):
    def screen(self, *arguments, rows=24, columns=80):
        screen = Screen(*arguments, folder=self.folder, rows=rows, columns=columns)
        self.addCleanup(screen.close)
        return screen

    def output(self, *arguments):
        result = self.rusm(*arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, b"")
        return result.stdout.decode()

    def serve_hostile(self):
        return self.serve({"/*": "hostile"}, components=("hostile",))

    def test_top(self):
        server = self.serve()
        text = self.output("top", "--once")
        lines = text.splitlines()
        self.assertRegex(lines[0], rf"^node {server.process.pid}  up \d.*workers?  cpu \d+%  memory \d.* MiB$")
        self.assertRegex(lines[1], r"^processes \d+: ")
        self.assertRegex(lines[2], r"^per second, over \d+\.\ds: spawns ")
        self.assertEqual(lines[4], "limits met: none")
        self.assertRegex(lines[5], r"^PID +NAME +STATE +MAILBOX +BYTES +RED/S +MSG/S +PARENT$")
        self.assertRegex(text, r"\n<0\.\d+\.\d+> listener 127\.0\.0\.1:\d+ ")
        top = json.loads(self.output("top", "--json", "--sort", "pid", "--node", str(server.process.pid)))
        self.assertEqual(top["node"], server.process.pid)
        self.assertTrue(any(row["label"].startswith("listener 127.0.0.1:") for row in top["top"]), top)

    def test_tree_and_process(self):
        self.serve()
        self.assertRegex(self.output("tree"), r"(?m)^listener 127\.0\.0\.1:\d+ <0\.\d+\.\d+>  \w+$")
        tree = json.loads(self.output("tree", "--json"))
        pid = next(row["pid"] for row in tree["tree"] if row["label"].startswith("listener "))
        self.assertRegex(self.output("process", pid), r"(?m)^label       listener 127\.0\.0\.1:\d+$")
        self.assertEqual(json.loads(self.output("process", "--json", pid.strip("<>")))["label"][:9], "listener ")
        nobody = self.rusm("process", "nobody")
        self.assertEqual(nobody.returncode, 1)
        self.assertIn(b"nobody: no process has this name", nobody.stderr)

    def test_exits_after_a_trap(self):
        server = self.serve_hostile()
        self.assertEqual(self.output("exits"), "no process has ended other than normally\n")
        self.assertEqual(server.ask("GET", "/stack").status, 500)
        text = harness.wait_until(lambda: (lambda t: t if "crashed" in t else "")(self.output("exits")), "the crash")
        self.assertRegex(text, r"(?m)^ +\d+\.\ds <0\.\d+\.\d+> hostile +crashed \(trap\): ")
        self.assertRegex(text, r"(?m)^ +0: .*recurse")
        exits = json.loads(self.output("exits", "--json", "--rows", "1"))
        self.assertEqual(exits["exits"][0]["kind"], "crashed")
        self.assertGreater(len(exits["exits"][0]["backtrace"]), 0)
        pid = exits["exits"][0]["pid"]
        gone = self.rusm("process", pid)
        self.assertEqual(gone.returncode, 1)
        self.assertRegex(gone.stderr, rb"it ended .* ago: crashed")

    def test_top_shows_the_limits_that_were_met_and_the_last_ends(self):
        server = self.serve({"/*": "hello"}, components=(), extra="[capabilities.brief]\nmax-cpu-ms = 20\n"
                            f'[components.hello]\ncapability = "brief"\nsource = "{harness.guest("hostile")}"')
        self.assertIn("\nlimits met: none\nPID", self.output("top", "--once"))
        server.ask("GET", "/spin-late")
        text = harness.wait_until(lambda: (lambda t: t if "ended " in t else "")(self.output("top", "--once")), "the end")
        self.assertRegex(text, r"(?m)^limits met: cpu 1$")
        self.assertRegex(text, r"(?m)^ended .* ago: <0\.\d+\.\d+> hello  limit \(cpu\): .* 0: .*\S$")
        top = json.loads(self.output("top", "--json"))
        self.assertEqual(top["limits"]["cpu"], 1)
        self.assertEqual(top["exits"][0]["label"], "hello")

    def test_under_load(self):
        server = self.serve()
        with server.connect() as connection:
            for _ in range(200):
                self.assertEqual(connection.ask("GET", "/").status, 200)
            top = json.loads(self.output("top", "--json"))
        self.assertGreaterEqual(top["total"]["spawns"], 200)

    def test_no_node_or_several(self):
        for command in ("top", "tree", "exits"):
            none = self.rusm(command)
            self.assertEqual(none.returncode, 1)
            self.assertIn(b"start one with rusm serve", none.stderr)
        first = self.serve()
        second = self.serve()
        result = self.rusm("tree")
        self.assertEqual(result.returncode, 1)
        pids = sorted([first.process.pid, second.process.pid])
        self.assertIn(f"choose with --node: {pids[0]}, {pids[1]}", result.stderr.decode())
        self.assertTrue(self.output("top", "--once", "--node", str(pids[1])).startswith(f"node {pids[1]} "))
        first.process.kill()
        first.process.wait()
        self.assertTrue(self.output("top", "--once").startswith(f"node {second.process.pid} "), "the dead one is no node")
        third = self.serve()
        names = set(os.listdir(os.path.join(self.folder, "rusm")))
        self.assertEqual(names, {f"{node.process.pid}.sock" for node in (second, third)}, "its socket was removed")

    def test_the_socket_goes_with_the_node(self):
        server = self.serve()
        path = os.path.join(self.folder, "rusm", f"{server.process.pid}.sock")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        server.signal(harness.SIGTERM)
        self.assertEqual(server.wait(), 0)
        self.assertFalse(os.path.exists(path))

    def test_it_can_be_turned_off(self):
        self.serve(extra="[node]\ncontrol = false")
        self.assertFalse(os.path.exists(os.path.join(self.folder, "rusm")))
        self.assertEqual(self.rusm("tree").returncode, 1)

    def test_a_node_without_its_socket_serves(self):
        self.write("rusm", "not a folder")
        server = self.serve()
        server.log.wait_for(lambda line: "no control socket" in line.get("msg", ""), "a warning")
        self.assertEqual(server.ask("GET", "/").status, 200)

    def test_top_on_a_terminal(self):
        self.serve()
        for keys, code in (("q", 0), ("\x03", 0)):
            with self.subTest(keys):
                screen = self.screen("top", "--interval", "100ms", rows=12, columns=60)
                shown = screen.wait_for("q quit")
                self.assertIn("\x1b[?1049h", shown)
                self.assertIn("> listene", shown)
                for line in re.sub(r"\x1b\[[0-9?]*[A-Za-z]", "", shown).splitlines():
                    self.assertLessEqual(len(line), 60)
                screen.wait_for("q quit")  # it refreshes
                screen.resize(8, 30)
                screen.wait_for(r"processes \d+: [^\r]{1,16}\x1b\[K.*q quit[^\r]*…")
                screen.type("m" + keys)
                screen.wait_for(re.escape("\x1b[?1049l"))
                self.assertEqual(screen.end(), code)

    def test_top_ends_with_its_node(self):
        server = self.serve()
        screen = self.screen("top", "--interval", "100ms")
        screen.wait_for("q quit")
        server.process.kill()
        screen.wait_for("has ended")
        self.assertEqual(screen.end(), 1)

    def test_top_stopped_by_a_signal_puts_the_terminal_back(self):
        self.serve()
        screen = self.screen("top")
        screen.wait_for("q quit")
        screen.process.terminate()
        screen.wait_for(re.escape("\x1b[?1049l"))
        self.assertEqual(screen.end(), 0)


if __name__ == "__main__":
    unittest.main()
