"""ping_pong as its users run it."""

import re

import harness


class PingPong(harness.TestCase):
    def test_prints_what_its_readme_says(self):
        done = harness.run("ping_pong", "20000")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(harness.numberless(done.stdout), harness.numberless(harness.sample_output("ping_pong")))
        self.assertIn("20000 round trips in 1 pairs", done.stdout)

    def test_counts_all_pairs(self):
        done = harness.run("ping_pong", "100", "50")
        self.assertEqual(done.returncode, 0)
        self.assertIn("5000 round trips in 50 pairs", done.stdout)
        self.assertTrue(re.search(r"^10000 messages in ", done.stdout, re.M))

    def test_says_how_it_is_used(self):
        for arguments in (["0"], ["-1"], ["many"], ["10", "x"], ["1", "2", "3"], ["99999999999999999999"]):
            done = harness.run("ping_pong", *arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
            self.assertIn("usage: ping_pong", done.stderr)


if __name__ == "__main__":
    harness.main()
