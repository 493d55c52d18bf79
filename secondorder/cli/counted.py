"""How far a study is, on standard error."""

import sys
import time

from secondorder.quantities import pretty

FIRST, NEXT = 2.0, 10.0
"""Seconds to the first line, and between two of them."""


class Counted:
    """Called with the points that are done and all of them; prints a line now and then, with the time that is left."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.due = self.began + FIRST
        self.before: int | None = None

    def __call__(self, done: int, of: int) -> None:
        if self.before is None:
            self.before = done - 1  # taken over from a store, at no cost
        now = time.monotonic()
        if now < self.due or done == of:
            return
        left = (now - self.began) / (done - self.before) * (of - done)
        print(f"{done} of {of} points, about {pretty(left, 's')} left", file=sys.stderr, flush=True)
        self.due = now + NEXT
