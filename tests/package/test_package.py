"""The libraries as other projects use them: installed into a prefix of their own, found by CMake and by pkg-config,
compiled with the compiler that RUSM_CXX names; and the guides, whose blocks are what is built and run."""

import json
import os
import re
import subprocess
import tempfile
import unittest

CXX = os.environ["RUSM_CXX"]
BUILD_DIR = os.environ["RUSM_BUILD_DIR"]
CMAKE = os.environ["RUSM_CMAKE"]
HERE = os.path.dirname(os.path.abspath(__file__))
CONSUMER = os.path.join(HERE, "consumer")
DOCS = os.path.join(HERE, "..", "..", "docs")
DEADLINE_S = 480

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror"]
# What public headers may include beside each other and the standard's and the system's headers.
FOREIGN = ("mimalloc.h",)
FOLDERS = ("boost/", "sys/")


def is_gcc():
    out = subprocess.run([CXX, "--version"], capture_output=True, text=True, check=True).stdout
    return "Free Software Foundation" in out


class Blocks:
    """The fenced blocks of a guide: (language, file name or "", lines)."""

    def __init__(self, name):
        self.all = []
        inside = None
        with open(os.path.join(DOCS, name), encoding="utf-8") as file:
            for line in file.read().splitlines():
                fence = re.match(r"^```(\S*) ?(.*)$", line)
                if not fence:
                    if inside is not None:
                        inside.append(line)
                elif inside is None:
                    inside = []
                    self.all.append((fence.group(1), fence.group(2), inside))
                else:
                    inside = None

    def of(self, language):
        return [(name, lines) for lang, name, lines in self.all if lang == language]


class PackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls._temporary = tempfile.TemporaryDirectory(prefix="rusm-package-")
        cls.root = cls._temporary.name
        cls.home = os.path.join(cls.root, "home")
        cls.prefix = os.path.join(cls.home, ".local")
        bin_dir = os.path.join(cls.root, "bin")
        os.makedirs(bin_dir)
        os.symlink(CXX, os.path.join(bin_dir, "c++"))  # what CMake and a user's shell find first
        cls.env = {k: v for k, v in os.environ.items() if k not in ("CXX", "CXXFLAGS", "LDFLAGS", "CMAKE_PREFIX_PATH")}
        cls.env.update(HOME=cls.home, PATH=bin_dir + ":" + os.environ["PATH"], CMAKE_GENERATOR="Ninja",
                       PKG_CONFIG_PATH=os.path.join(cls.prefix, "lib", "pkgconfig"))
        cls.run_command([CMAKE, "--install", BUILD_DIR, "--prefix", cls.prefix, "--component", "libraries"])

    @classmethod
    def tearDownClass(cls):
        cls._temporary.cleanup()

    @classmethod
    def run_command(cls, command, cwd=None, fails=False):
        """What it printed. Fails unless its end is as expected."""
        done = subprocess.run(command, cwd=cwd or cls.root, env=cls.env, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE_S)
        if (done.returncode != 0) != fails:
            raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def pkg_config(self, *arguments):
        return self.run_command(["pkg-config", *arguments]).split()

    def compile(self, source, *arguments, fails=False):
        flags = self.pkg_config("--cflags", "rusm-net", "rusm-kv")
        return self.run_command(["c++", "-fsyntax-only", *WARNINGS, source, *flags, *arguments], fails=fails)

    def write(self, folder, name, lines):
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return path


class Consumer(PackageTest):
    def test_a_project_that_finds_the_package(self):
        build = os.path.join(self.root, "build")
        self.run_command([CMAKE, "-S", CONSUMER, "-B", build, "-DCMAKE_PREFIX_PATH=" + self.prefix])
        self.run_command([CMAKE, "--build", build])
        self.assertEqual(self.run_command([os.path.join(build, "processes")]).splitlines(), [
            "calls: normal", "receives: normal", "timers: normal", "tasks: normal", "kills: normal",
            "supervisors: normal", "crashed (exception): std::runtime_error: told to break", "alive 0, mistakes 0"])
        self.assertEqual(self.run_command([os.path.join(build, "echo")]), "hello over TCP\n")

    def test_another_minor_version_is_refused(self):
        folder = os.path.join(self.root, "older")
        self.write(folder, "CMakeLists.txt", ["cmake_minimum_required(VERSION 3.25)", "project(older LANGUAGES CXX)",
                                              "find_package(rusm 0.0 REQUIRED)"])
        out = self.run_command([CMAKE, "-S", folder, "-B", folder, "-DCMAKE_PREFIX_PATH=" + self.prefix], fails=True)
        self.assertRegex(out, r"compatible\s+with\s+requested\s+version")

    @unittest.skipIf(is_gcc(), "RUSM itself is built by clang")
    def test_inside_another_project(self):
        folder = os.path.join(self.root, "parent")
        self.write(folder, "CMakeLists.txt", [
            "cmake_minimum_required(VERSION 3.25)", "project(parent LANGUAGES CXX)", "set(CMAKE_EXPORT_COMPILE_COMMANDS ON)",
            f"add_subdirectory({os.path.dirname(os.path.dirname(HERE))} rusm EXCLUDE_FROM_ALL)",
            "add_library(user OBJECT user.cc)", "target_link_libraries(user PRIVATE rusm::net rusm::kv)",
            "get_property(options DIRECTORY PROPERTY LINK_OPTIONS)", "get_property(tests DIRECTORY PROPERTY TESTS)",
            'message(STATUS "parent has <${options}${tests}${CMAKE_CXX_STANDARD}${CMAKE_CXX_COMPILER_LAUNCHER}>")'])
        self.write(folder, "user.cc", ["#include <rusm/kv.h>", "#include <rusm/net.h>", "#include <rusm/otp.h>"])
        build = os.path.join(folder, "build")
        out = self.run_command([CMAKE, "-S", folder, "-B", build])
        self.assertIn("parent has <>", out)
        self.run_command([CMAKE, "--build", build, "--target", "user"])
        with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
            command = next(c["command"] for c in json.load(file) if c["file"].endswith("user.cc"))
        self.assertNotRegex(command, r" -W|/src( |$)")

    def test_pkg_config_alone(self):
        store = os.path.join(self.root, "store")
        source = os.path.join(CONSUMER, "store.cc")
        for static in ([], ["--static"]):
            flags = self.pkg_config("--cflags", "--libs", *static, "rusm-otp", "rusm-kv")
            self.run_command(["c++", *WARNINGS, source, "-o", store, *flags])
            self.assertEqual(self.run_command([store]), "invalid\nred\na second later\n")


class Examples(PackageTest):
    """Each of examples/cpp as a project by itself."""

    def test_they_build_and_run(self):
        examples = os.path.join(os.path.dirname(os.path.dirname(HERE)), "examples", "cpp")
        runs = {"ping_pong": ["100"], "supervised_workers": ["--jobs", "50"], "bank": ["--orders", "5", "--chaos", "1"],
                "chat": None}
        names = {name for name in os.listdir(examples) if os.path.isdir(os.path.join(examples, name))}
        self.assertEqual(names, set(runs))
        for name, arguments in runs.items():
            build = os.path.join(self.root, name)
            self.run_command([CMAKE, "-S", os.path.join(examples, name), "-B", build, "-DCMAKE_PREFIX_PATH=" + self.prefix])
            self.run_command([CMAKE, "--build", build])
            if arguments:
                self.run_command([os.path.join(build, name), *arguments])


class Headers(PackageTest):
    def headers(self):
        include = os.path.join(self.prefix, "include")
        for folder, _, names in os.walk(include):
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), include)

    def test_they_include_only_what_is_there(self):
        headers = set(self.headers())
        self.assertIn("rusm/otp/supervisor.h", headers)
        self.assertNotIn("rusm/otp/worker.h", headers)
        wrong = []
        for header in sorted(headers):
            with open(os.path.join(self.prefix, "include", header), encoding="utf-8") as file:
                for opening, name in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)', file.read(), re.MULTILINE):
                    ours = opening == '"' and name in headers
                    theirs = opening == "<" and ("/" not in name and not name.endswith(".h")
                                                 or name in FOREIGN or name.startswith(FOLDERS))
                    if not ours and not theirs:
                        wrong.append(f"{header} includes {name}")
        self.assertEqual(wrong, [])

    def test_all_compile_without_a_warning(self):
        lines = [f"#include <{header}>" for header in sorted(self.headers())]
        self.compile(self.write(self.root, "all.cc", lines))


class Refused(PackageTest):
    def test_a_value_without_a_codec(self):
        out = self.compile(os.path.join(CONSUMER, "no_codec.cc"), fails=True)
        self.assertRegex(out, "no codec can be found for this type, so it could not leave its node")

    def test_what_the_compiler_would_destroy_twice(self):
        out = self.compile(os.path.join(CONSUMER, "unnamed_request.cc"), fails=is_gcc())
        if is_gcc():
            self.assertIn("would destroy this request or function twice", out)


class Guides(PackageTest):
    def run_console(self, lines, folder):
        """Runs each line after "$ " in one shell and holds what is printed against the lines below it."""
        steps = []
        for line in lines:
            if line.startswith("$ "):
                steps.append((line[2:], []))
            else:
                steps[-1][1].append(line)
        shell = "set -e\n" + "\n".join(f"echo '<step>'\n{command} 2>&1" for command, _ in steps)
        printed = self.run_command(["bash", "-c", shell], cwd=folder).split("<step>\n")[1:]
        for (command, expected), actual in zip(steps, printed):
            if expected:
                self.assertEqual(actual.splitlines(), expected, command)

    def test_getting_started(self):
        blocks = Blocks("getting-started.md")
        folder = os.path.join(self.root, "first")
        for language in ("cmake", "c++"):
            for name, lines in blocks.of(language):
                self.assertTrue(name, "each file of the guide has its name behind the language of its block")
                self.write(folder, name, lines)
        consoles = blocks.of("console")
        self.assertEqual(len(consoles), 2)
        for _, lines in consoles:
            self.run_console(lines, folder)

    def test_from_erlang(self):
        includes, body = ["#include <rusm/otp.h>", "#include <cstdio>"], []
        blocks = Blocks("from-erlang.md").of("c++")
        self.assertGreater(len(blocks), 4)
        for number, (_, lines) in enumerate(blocks):
            includes += [line for line in lines if line.startswith("#include")]
            code = [line for line in lines if not line.startswith("#include")]
            body += [f"namespace block_{number} {{", *code, "}"]
        usings = ["using namespace rusm;", "using namespace rusm::otp;"]
        self.compile(self.write(self.root, "erlang.cc", includes + usings + body))


if __name__ == "__main__":
    unittest.main()
