"""supervised_workers as its users run it, with many seeds, and stopped in the middle."""

import re
import signal

import harness


def expected_total(jobs):
    return sum(100 + number % 7 for number in range(1, jobs + 1))


def lines_of(output):
    # Whether a worker is still there when all is stopped depends on who was quicker.
    return [line for line in harness.numberless(output).splitlines() if not line.startswith("ended: worker shutdown")]


class SupervisedWorkers(harness.TestCase):
    def test_prints_what_its_readme_says(self):
        done = harness.run("supervised_workers")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(lines_of(done.stdout), lines_of(harness.sample_output("supervised_workers")))

    def test_every_job_is_done_once_whatever_fails(self):
        for seed in range(1, 11):
            done = harness.run("supervised_workers", "--jobs", "300", "--workers", "20", "--seed", str(seed))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(f"done: 300 jobs, each once; total {expected_total(300)}\n", done.stdout)
            self.assertGreater(int(re.search(r"worker crashed, (\d+) times", done.stdout).group(1)), 0)
            self.assertIn("processes left: 0\n", done.stdout)

    def test_a_signal_ends_it_in_order(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            running = self.start("supervised_workers", "--jobs", "1000000")
            running.wait_for("supervised_workers: 1000000 jobs")
            self.assertEqual(running.end(number), 0)
            self.assertIn("stopped before the end\n", running.output())
            self.assertIn("processes left: 0\n", running.output())
            self.assertNotIn("done:", running.output())

    def test_says_how_it_is_used(self):
        for arguments in (["--jobs"], ["--jobs", "0"], ["--jobs", "many"], ["--pigs", "1"]):
            done = harness.run("supervised_workers", *arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
            self.assertIn("usage: supervised_workers", done.stderr)


if __name__ == "__main__":
    harness.main()
