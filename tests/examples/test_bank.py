"""The bank under kills of its processes, and of the whole program by kill -9."""

import os
import random
import re
import signal

import harness

ROUNDS = 6 if harness.SANITIZED else int(os.environ.get("RUSM_BANK_ROUNDS", "30"))
ROUNDS_OF_A_STORE = 50  # verifying reads all that was ever done
SMALL = ("--accounts", "8", "--cents", "1000", "--tellers", "6")


class Bank(harness.TestCase):
    def test_prints_what_its_readme_says(self):
        done = harness.run("bank", "--chaos", "1", "--orders", "100", "--chaos-every", "200")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(harness.numberless(done.stdout), harness.numberless(harness.sample_output("bank")))
        self.assertIn("acknowledged: 1600 orders", done.stdout)

    def test_a_durable_store_keeps_what_was_done(self):
        store = os.path.join(self.folder(), "store")
        for number in (1, 2):
            done = harness.run("bank", "--store", store, "--orders", "20", "--chaos", "1", "--chaos-every", "200", *SMALL)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(f"run {number}\n", done.stdout)
        self.assertIn("0.00 on its way, of 80.00", self.verify(store))

    def verify(self, store, acknowledged=None):
        done = harness.run("bank", "verify", "--store", store, *(("--acknowledged", acknowledged) if acknowledged else ()))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_kill_9_at_any_moment_loses_nothing(self):
        """Again and again on the same store: killed after some acknowledgments more, at whatever is being done then."""
        chance = random.Random(1)
        was_open = done = 0
        for first in range(0, ROUNDS, ROUNDS_OF_A_STORE):
            folder = self.folder()
            store, acknowledged = os.path.join(folder, "store"), os.path.join(folder, "acknowledged")
            for number in range(first, min(ROUNDS, first + ROUNDS_OF_A_STORE)):
                before = self.size(acknowledged)
                more = chance.randrange(1, 4000)
                running = self.start("bank", "--store", store, "--acknowledged", acknowledged, "--orders", "100000",
                                     "--seed", str(number + 1), "--chaos", str(number + 1), *SMALL)
                harness.wait_until(lambda: self.size(acknowledged) >= before + more, "orders are acknowledged")
                self.assertEqual(running.end(signal.SIGKILL), -signal.SIGKILL, running.output())
                output = self.verify(store, acknowledged)
                was_open += int(re.search(r"(\d+) open", output).group(1))
                done = int(re.search(r"(\d+) done", output).group(1))
                self.assertGreater(int(re.search(r"acknowledged: (\d+)", output).group(1)), 0)
            # What was open is brought to its end by the next run, also without a teller that asks for it.
            finished = harness.run("bank", "--store", store, "--acknowledged", acknowledged, "--orders", "50",
                                   "--seed", "999", *SMALL)
            self.assertEqual(finished.returncode, 0, finished.stdout + finished.stderr)
            self.assertIn(", 0 open\n", self.verify(store, acknowledged))
        self.assertGreater(was_open, 0)
        self.assertGreater(done, 0)

    def size(self, path):
        return os.path.getsize(path) if os.path.exists(path) else 0

    def test_books_that_are_wrong_are_found(self):
        store = os.path.join(self.folder(), "store")
        acknowledged = os.path.join(self.folder(), "acknowledged")
        harness.run("bank", "--store", store, "--acknowledged", acknowledged, "--orders", "5", *SMALL)
        self.verify(store, acknowledged)
        with open(acknowledged, "a", encoding="ascii") as file:
            file.write("77777777777 done 0 1 5\n")
        done = harness.run("bank", "verify", "--store", store, "--acknowledged", acknowledged)
        self.assertEqual(done.returncode, 1)
        self.assertIn("WRONG: order 77777777777 was acknowledged and is not in the books", done.stdout)

    def test_a_signal_ends_it_in_order(self):
        running = self.start("bank", "--orders", "10000000")
        running.wait_for("run 1")
        self.assertEqual(running.end(signal.SIGTERM), 0, running.output())
        self.assertIn("stopped before the end\n", running.output())
        self.assertIn("each is in the books once", running.output())

    def test_says_how_it_is_used(self):
        for arguments in (["--accounts", "1"], ["--orders"], ["--chaos", "x"], ["--vault", "1"], ["verify"]):
            done = harness.run("bank", *arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
            self.assertIn("usage: bank", done.stderr)


if __name__ == "__main__":
    harness.main()
