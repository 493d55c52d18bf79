"""Progress on standard error: a bar where that is a terminal, and lines now and then."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress(what: str, total: int) -> Iterator[Any]:
    """A bar on standard error, if that is a terminal; the function to call after each step."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


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
        from secondorder.quantities import pretty

        left = (now - self.began) / (done - self.before) * (of - done)
        print(f"{done} of {of} points, about {pretty(left, 's')} left", file=sys.stderr, flush=True)
        self.due = now + NEXT
