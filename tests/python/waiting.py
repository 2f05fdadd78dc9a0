"""Waiting for a condition, for every test that drives a program from outside."""

import time


def wait_until(condition, what, deadline_s):
    """The first true value of condition(); fails after the deadline."""
    ends_at = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > ends_at:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(0.002)  # between two looks; no test depends on its length
