"""`rusm run`: commands as components and as core modules, and what they are not allowed; the rest of the command line."""

import json
import os
import unittest

import harness


class Command:
    """The tests of one form of the same command."""

    def run_guest(self, *arguments, options=(), **more):
        return self.rusm("run", *options, harness.guest(self.NAME), *arguments, **more)

    def test_arguments(self):
        result = self.run_guest("args", "one", "--help", "two words", "")
        self.assertEqual(result.returncode, 0, result)
        self.assertEqual(result.stdout, b"one\n--help\ntwo words\n\n")

    def test_standard_streams(self):
        data = os.urandom(300_000)
        result = self.run_guest("echo", stdin=data)
        self.assertEqual((result.returncode, result.stdout), (0, data), result.stderr)
        result = self.run_guest("stderr", "a line")
        self.assertEqual((result.stdout, result.stderr), (b"", b"a line\n"))

    def test_exit_code(self):
        for code in (0, 1, 3):
            result = self.run_guest("exit", str(code))
            self.assertEqual(result.returncode, self.exit_code(code), result)
            self.assertEqual(result.stderr, b"")

    def test_environment_is_granted_by_name(self):
        environment = harness.environment_for(self.folder, SECRET="x", WANTED="here")
        self.assertEqual(self.run_guest("env", "SECRET", environment=environment).stdout, b"(not set)\n")
        result = self.run_guest("env", "WANTED", options=["--env", "WANTED"], environment=environment)
        self.assertEqual(result.stdout, b"here\n")
        self.assertEqual(self.run_guest("env", "A", options=["--env", "A=b=c"]).stdout, b"b=c\n")

    def test_files_are_granted_by_folder(self):
        path = self.write("data/in.txt", "content")
        folder = os.path.dirname(path)
        self.assertNotEqual(self.run_guest("read", path).returncode, 0)
        self.assertNotEqual(self.run_guest("read", "/data/in.txt").returncode, 0)
        result = self.run_guest("read", "/data/in.txt", options=["--dir", f"{folder}::/data:ro"])
        self.assertEqual((result.returncode, result.stdout), (0, b"content"), result.stderr)
        result = self.run_guest("write", "/data/out.txt", "new", options=["--dir", f"{folder}::/data:ro"])
        self.assertNotEqual(result.returncode, 0)
        self.assertFalse(os.path.exists(os.path.join(folder, "out.txt")))
        result = self.run_guest("write", "/data/out.txt", "new", options=["--dir", f"{folder}::/data"])
        self.assertEqual(result.returncode, 0, result)
        with open(os.path.join(folder, "out.txt"), "rb") as file:
            self.assertEqual(file.read(), b"new")

    def test_a_way_out_of_the_folder(self):
        self.write("data/in.txt", "content")
        self.write("secret.txt", "secret")
        os.symlink("../secret.txt", os.path.join(self.folder, "data/link.txt"))
        for name in ("../secret.txt", "link.txt"):
            result = self.run_guest("read", "/data/" + name, options=["--dir", "data::/data"])
            self.assertNotEqual(result.returncode, 0, name)
            self.assertNotIn(b"secret\n", result.stdout)

    def test_a_trap_has_a_backtrace(self):
        result = self.run_guest("trap")
        self.assertEqual(result.returncode, 134, result)
        self.assertIn(b"fail_on_purpose", result.stderr)

    def test_timeout(self):
        result = self.run_guest("spin", options=["--timeout", "300ms"])
        self.assertEqual(result.returncode, 124, result)
        self.assertIn(b"did not end in 300 ms", result.stderr)

    def test_memory(self):
        result = self.run_guest("hog", options=["--max-memory-mb", "32"])
        self.assertEqual(result.returncode, 137, result)
        self.assertIn(b"memory", result.stderr)


class ComponentTest(Command, harness.TestCase):
    NAME = "cli"

    def exit_code(self, code):
        # WASI 0.2 commands can only say success or failure.
        return min(code, 1)


class CoreModuleTest(Command, harness.TestCase):
    NAME = "cli-core"

    def exit_code(self, code):
        return code


class RunTest(harness.TestCase):
    def fails(self, *arguments):
        result = self.rusm("run", *arguments)
        self.assertEqual(result.returncode, 1, result)
        return result.stderr.decode()

    def test_files_that_cannot_be_run(self):
        self.assertIn("there is no such file", self.fails("none.wasm"))
        self.assertIn("text.wasm", self.fails(self.write("text.wasm", "hello")))
        self.assertIn("hello.wasm", self.fails(harness.guest("hello")))

    def test_a_folder_that_is_not_there(self):
        self.assertIn("nowhere", self.fails("--dir", "nowhere::/data", harness.guest("cli"), "args"))


class CommandLineTest(harness.TestCase):
    def test_version(self):
        self.assertRegex(self.rusm("--version").stdout.decode(), r"^rusm \d+\.\d+\.\d+\n$")

    def test_help(self):
        for command in ((), ("serve",), ("run",), ("check",), ("bench",)):
            result = self.rusm(*command, "--help")
            self.assertEqual(result.returncode, 0)
            self.assertIn(b"rusm", result.stdout)

    def test_misuse(self):
        for arguments in ((), ("sreve",), ("serve", "--confg", "x"), ("run",), ("bench", "no-such-workload")):
            result = self.rusm(*arguments)
            self.assertEqual(result.returncode, 2, result)
            self.assertNotEqual(result.stderr, b"")

    def test_bench(self):
        self.assertIn(b"pingpong", self.rusm("bench").stdout)
        result = self.rusm("bench", "pingpong", "--seconds", "0.1", "--workers", "1", "--json")
        self.assertEqual(result.returncode, 0, result)
        measured = json.loads(result.stdout)
        self.assertEqual(measured["workload"], "pingpong")
        self.assertGreater(measured["value"], 0)


if __name__ == "__main__":
    unittest.main()
