"""Guests that nobody wrote for RUSM, made by the tools that people use for each language, with the limits that a user has
who sets none. A guest that this machine could not make is skipped; the reason is the one that its build gave.

Exit code 77 says that there was nothing to test."""

import hashlib
import json
import os
import re
import sys
import unittest

import harness

# Compiling 10 to 20 MB takes up to half a minute of a core, once: what is compiled is kept.
COMPILE_DEADLINE_S = 4 * harness.DEADLINE_S


def why_not(name):
    """Why there is no such guest; None when there is one."""
    if os.path.exists(harness.guest(name)):
        return None
    try:
        with open(os.path.join(harness.GUESTS, name + ".why"), encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        raise AssertionError(f"{name} was neither made, nor is there a reason") from None


GUEST_SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guests", "stock")


def frames_of(result):
    """The lines of a backtrace: "   0: NAME at FILE:LINE:COLUMN"."""
    return [line for line in result.stderr.decode().splitlines() if re.match(r" +\d+: ", line)]


def assert_frame(test, frame, function, path, code):
    """That the frame names the function, and the line of the file in which `code` stands."""
    found = re.fullmatch(r" +\d+: (.*) at (.*):(\d+):\d+", frame)
    test.assertTrue(found, frame)
    test.assertIn(function, found[1])
    test.assertTrue(found[2].endswith(os.path.relpath(path, os.path.join(GUEST_SOURCES, ".."))), frame)
    with open(path, encoding="utf-8") as file:
        test.assertIn(code, file.read().splitlines()[int(found[3]) - 1], frame)


class Stock(harness.TestCase):
    """The tests of one guest."""

    @classmethod
    def setUpClass(cls):
        reason = why_not(cls.NAME)
        if reason:
            raise unittest.SkipTest(reason)

    def run_guest(self, *arguments, options=(), **more):
        return self.rusm("run", *options, harness.guest(self.NAME), *arguments, deadline_s=COMPILE_DEADLINE_S, **more)

    def folder_with_a_text(self):
        return os.path.dirname(self.write("data/in.txt", "some text"))

    def data(self, name):
        with open(os.path.join(self.folder, "data", name), encoding="utf-8") as file:
            return file.read()

    def assert_ran(self, result, output):
        self.assertEqual((result.returncode, result.stdout.decode()), (0, output), result.stderr.decode())


class PlainC(Stock):
    NAME = "stock-c"

    def test_standard_input_and_environment(self):
        self.assert_ran(self.run_guest(stdin=b"one Two, two; 3"), "1 3\n1 one\n2 two\n")
        self.assert_ran(self.run_guest(stdin=b"x", options=["--env", "PREFIX=- "]), "- 1 x\n")
        many = b"".join(b"w%d " % (i % 5000) for i in range(100_000))
        self.assertEqual(self.run_guest(stdin=many).stdout.count(b"20 w"), 5000)

    def test_files_that_it_is_given_and_others(self):
        folder = self.folder_with_a_text()
        options = ["--dir", f"{folder}::/data:ro"]
        self.assert_ran(self.run_guest("/data/in.txt", "/data/in.txt", options=options), "2 some\n2 text\n")
        result = self.run_guest("/data/none", options=options)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(b"/data/none: No such file or directory", result.stderr)
        self.assertNotEqual(self.run_guest("/etc/passwd").returncode, 0)

    def test_exit_code(self):
        self.assertEqual(self.run_guest("nothing").returncode, 3)


class PlainCpp(Stock):
    NAME = "stock-cpp"

    def test_streams_and_containers(self):
        self.assert_ran(self.run_guest(stdin=b"add nut 5\nadd bolt 7\ntake nut\n"), "left: 4\n7 bolt\n4 nut\n")
        many = b"".join(b"add thing%d 1\n" % i for i in range(20_000))
        self.assertEqual(self.run_guest(stdin=many).stdout.count(b"1 thing"), 20_000)

    def test_exit_code(self):
        result = self.run_guest(stdin=b"steal nut\n")
        self.assertEqual((result.returncode, result.stderr), (4, b"no such command: steal\n"))

    def test_a_trap_names_functions_files_and_lines(self):
        result = self.run_guest(stdin=b"take nut\n")
        self.assertEqual(result.returncode, 134)
        frames = frames_of(result)
        self.assert_frame(frames[0], "Inventory::take(", "stock.cc", "__builtin_trap()")
        self.assert_frame(frames[1], "Take::run(", "stock.cc", "inventory.take(what)")
        self.assert_frame(frames[2], "main", "stock.cc", "command->second->run(")

    def assert_frame(self, frame, function, file, code):
        assert_frame(self, frame, function, os.path.join(GUEST_SOURCES, "cpp", file), code)


class Rust(Stock):
    NAME = "stock-rust"

    def test_arguments_and_environment(self):
        result = self.run_guest("args", "a", "b c", options=["--env", "GIVEN=x"])
        self.assert_ran(result, '["a", "b c"] Some("x") None\n')

    def test_streams(self):
        self.assert_ran(self.run_guest("words", stdin=b"b a B"), '{"a": 1, "b": 2}\n')
        self.assertEqual(self.run_guest("stderr").stderr, b"to stderr\n")

    def test_files(self):
        result = self.run_guest("files", options=["--dir", f"{self.folder_with_a_text()}::/data"])
        # Its last call fails on purpose: main returns the error.
        self.assertEqual((result.returncode, result.stdout), (1, b'["in.txt", "out.txt"]\n'), result.stderr)
        self.assertIn(b"NotFound", result.stderr)
        self.assertEqual(self.data("out.txt"), "SOME TEXT")

    def test_clocks_and_threads(self):
        self.assert_ran(self.run_guest("clocks"), "true true\n")
        self.assert_ran(self.run_guest("thread"), "true\n")

    def test_exit_code_and_panic(self):
        self.assertEqual(self.run_guest("exit").returncode, 7)
        result = self.run_guest("panic")
        self.assertEqual(result.returncode, 134)
        self.assertIn(b"panicked at src/main.rs", result.stderr)
        # The innermost frame is who panicked, not how Rust panics.
        frames = frames_of(result)
        main = os.path.join(GUEST_SOURCES, "rust", "src", "main.rs")
        assert_frame(self, frames[0], "fail_deep", main, 'panic!("on purpose")')
        for frame in frames[1:4]:
            assert_frame(self, frame, "fail_deep", main, "fail_deep(depth - 1)")


class Go(Stock):
    NAME = "stock-go"

    def test_a_command(self):
        result = self.run_guest("go on", options=["--env", "GIVEN=by name"])
        self.assert_ran(result, "go: 7000 [go on] by name\n")

    def test_exit_code(self):
        self.assertEqual(self.run_guest("fail").returncode, 3)


class Python(Stock):
    NAME = "stock-python"

    def run_guest(self, *arguments, options=(), **more):
        # What a sandboxed component has.
        return super().run_guest(*arguments, options=["--max-memory-mb", "64", *options], **more)

    def test_arguments_and_environment(self):
        result = self.run_guest("args", "a", "b c", options=["--env", "GIVEN=x"])
        self.assert_ran(result, '["a", "b c", "x", null]\n')

    def test_streams(self):
        self.assert_ran(self.run_guest("words", stdin=b"b a B"), '[["a", 1], ["b", 2]]\n')
        self.assertEqual(self.run_guest("stderr").stderr, b"to stderr\n")

    def test_files(self):
        result = self.run_guest("files", options=["--dir", f"{self.folder_with_a_text()}::/data"])
        self.assert_ran(result, "['in.txt', 'out.txt']\n")
        self.assertEqual(self.data("out.txt"), hashlib.sha256(b"some text").hexdigest())

    def test_clocks_and_random_numbers(self):
        self.assert_ran(self.run_guest("clocks"), "True True True\n")

    def test_ends(self):
        self.assertEqual(self.run_guest("fail").returncode, 1)
        result = self.run_guest("raise")
        self.assertEqual(result.returncode, 134)
        self.assertIn(b"ValueError: nobody catches this", result.stderr)
        result = self.run_guest("hoard")
        self.assertEqual(result.returncode, 137)
        self.assertIn(b"MemoryError", result.stderr)
        self.assertIn(b"limit (memory)", result.stderr)


class JavaScript(Stock):
    NAME = "stock-javascript"

    def setUp(self):
        super().setUp()
        # Compiles within the node's own limits, while the server starts.
        self.server = self.serve({"/*": self.NAME}, components=[self.NAME], start_deadline_s=COMPILE_DEADLINE_S)

    def test_a_request(self):
        answer = self.server.ask("GET", "/hello?q=a%20b", headers=[("x-agent", "tester")])
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(json.loads(answer.body), {"method": "GET", "query": "a b", "agent": "tester"})
        self.assertEqual(self.server.ask("GET", "/none").status, 404)

    def test_bodies(self):
        body = os.urandom(2_000_000)
        answer = self.server.ask("POST", "/echo", body)
        self.assertEqual((answer.status, len(answer.body), answer.headers.get("x-echo")), (200, len(body), "yes"))
        self.assertTrue(answer.body == body, "the body came back changed")
        self.assertEqual(self.server.ask("POST", "/count", body).body, b"2000000")

    def test_clocks_and_random_numbers(self):
        self.assertGreaterEqual(float(self.server.ask("GET", "/wait").body), 19)
        # Instances start from the same memory, not from the same seed.
        self.assertEqual(len({self.server.ask("GET", "/random").body.split()[0] for _ in range(3)}), 3)

    def test_what_it_may_not(self):
        answer = self.server.ask("GET", "/fetch?url=http://127.0.0.1:1/")
        self.assertEqual((answer.status, answer.body), (502, b"refused: TypeError"))
        self.assertEqual(self.server.ask("GET", "/hoard").status, 500)
        self.assertEqual(self.server.ask("GET", "/hello").status, 200)


# By name on the command line, one of them; in the order of their guests' names.
LANGUAGES = {
    "c": (PlainC,),
    "cpp": (PlainCpp,),
    "go": (Go,),
    "javascript": (JavaScript,),
    "python": (Python,),
    "rust": (Rust,),
}


def main(language):
    tests = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromTestCase(case) for case in LANGUAGES[language])
    result = unittest.TextTestRunner(verbosity=2).run(tests)
    if not result.wasSuccessful():
        return 1
    return 77 if result.testsRun == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
