"""Proves that each rule of check.py catches what it is there for, and lets good files pass."""

import os
import tempfile
import unittest

import check

ROOMS = "base:\notp: base\nwasm: base otp\n"


class CheckTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.write("cmake/rooms.txt", ROOMS)

    def write(self, path, text):
        full = os.path.join(self.folder.name, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)

    def expect(self, *findings):
        found = check.check(self.folder.name)
        self.assertEqual(len(found), len(findings), found)
        for line, start in zip(found, findings):
            self.assertIn(start, line)

    def test_good_files_pass(self):
        self.write("src/otp/a.h", '// A.\n#pragma once\n\n#include <vector>\n\n#include "base/b.h"\n')
        self.write("src/otp/a.cc", '#include "otp/a.h"\n\n#include <vector>\n\n#include "base/b.h"\n#include "otp/c.h"\n')
        self.write("src/otp/a_test.cc", '#include "otp/a.h"\n\n#include <gtest/gtest.h>\n')
        self.write("src/otp/main_test.cc", "#include <gtest/gtest.h>\n")
        self.write("README.md", "See https://github.com/x and curl http://127.0.0.1:8080/ and build/work/x.\n")
        self.expect()

    def test_wrong_edge(self):
        self.write("src/otp/a.cc", '#include <vector>\n#include "wasm/engine.h"\n')
        self.expect("src/otp/a.cc:2: src/otp must not include src/wasm")

    def test_wrong_edge_in_angle_brackets(self):
        self.write("src/base/a.cc", "#include <otp/process.h>\n")
        self.expect("src/base/a.cc:1: src/base must not include src/otp")

    def test_unknown_room(self):
        self.write("src/attic/a.cc", "\n")
        self.expect("src/attic/a.cc:1: src/attic is not listed")

    def test_engine_header_only_in_wasm(self):
        self.write("src/wasm/a.cc", '#include "rusm_bridge.h"\n')
        self.write("src/otp/a.cc", '#include "rusm_bridge.h"\n')
        self.expect("src/otp/a.cc:1: only src/wasm may include")

    def test_include_path_from_the_root(self):
        self.write("src/otp/a.cc", '#include "b.h"\n')
        self.expect('src/otp/a.cc:1: "b.h" must be written from the root')

    def test_own_header_first(self):
        self.write("src/otp/a.h", "#pragma once\n")
        self.write("src/otp/a.cc", '#include <vector>\n#include "otp/a.h"\n')
        self.write("src/otp/a_test.cc", '#include <gtest/gtest.h>\n#include "otp/a.h"\n')
        self.expect("src/otp/a.cc:1: the first include", "src/otp/a_test.cc:1: the first include")

    def test_pragma_once(self):
        self.write("src/otp/a.h", "#include <vector>\n#pragma once\n")
        self.write("src/otp/b.h", "// nothing\n")
        self.write("examples/c.h", "#ifndef C\n#define C\n#endif\n")
        self.expect("examples/c.h:1: a header starts", "src/otp/a.h:1: a header starts", "src/otp/b.h:1: a header starts")

    def test_length(self):
        self.write("src/otp/a.cc", "\n" * 601)
        self.write("src/otp/b.cc", "\n" * 600)
        self.write("docs/long.md", "\n" * 700)
        self.expect("src/otp/a.cc:601: 601 lines")

    def test_machine_path(self):
        folder = "/" + "home" + "/someone/x"
        self.write("docs/a.md", f"fine\nsee {folder}\n")
        self.expect("docs/a.md:2: /")

    def test_unknown_host(self):
        self.write("tools/a.sh", "curl https:" + "//mirror.invalid/x\n")
        self.expect("tools/a.sh:1: mirror.invalid is not on the list")

    def test_build_folders_are_skipped(self):
        self.write("build/dev/a.h", "\n")
        self.write("bridge/target/b.h", "\n")
        self.expect()


if __name__ == "__main__":
    unittest.main()
