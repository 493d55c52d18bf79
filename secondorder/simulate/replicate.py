"""The only place that shares work among processes, and the only loop over replications."""

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from functools import cache, partial
from typing import TypeVar

from secondorder.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHECK = 0.5
"""Seconds between two looks of a worker at whether its parent still runs."""


def replicated(
    measure: Callable[[int], Result], replications: int, jobs: int = 1, *, first: int = 0, least: int = 1
) -> list[Result]:
    """``measure`` of each replication, ``first`` on, by ``jobs`` processes; the result does not depend on ``jobs``.

    Errors: ``InputError`` for fewer than ``least`` replications or for less than one process; those of ``measure``.
    """
    if replications < least:
        expected = "at least 2, for an interval" if least == 2 else f"at least {least}"
        raise InputError("replications", given=replications, expected=expected)
    return list(run_each(measure, range(first, first + replications), jobs))


def run_each(action: Callable[[Item], Result], items: Collection[Item], jobs: int = 1) -> Iterator[Result]:
    """``action`` of each item as the results come, in the order of the items, by ``jobs`` processes.

    There are never more processes than items, or than cores. They end when the parent ends, however it ends.
    Errors: ``InputError`` for less than one process; those of ``action``.

    >>> list(run_each(lambda k: k * k, range(4), jobs=2))
    [0, 1, 4, 9]
    """
    if jobs < 1:
        raise InputError("jobs", given=jobs, expected="at least 1 process")
    jobs = min(jobs, len(items), os.cpu_count() or 1)
    if jobs <= 1:
        return map(action, items)
    from joblib import Parallel, delayed

    task = delayed(partial(_in_worker, action, os.getpid()))
    found: Iterator[Result] = Parallel(n_jobs=jobs, return_as="generator")(task(item) for item in items)
    return found


def _in_worker(action: Callable[[Item], Result], parent: int, item: Item) -> Result:
    if os.getpid() != parent:
        _end_with(parent)
    return action(item)


@cache
def _end_with(parent: int) -> None:
    """End this worker soon after its parent has ended."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(CHECK)
    os._exit(1)
