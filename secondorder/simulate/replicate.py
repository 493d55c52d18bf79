"""The one place that shares work among processes."""

import os
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_each(action: Callable[[Item], Result], items: Collection[Item], jobs: int = 1) -> Iterator[Result]:
    """``action`` of each item, in their order, by ``jobs`` processes; the results do not depend on ``jobs``.

    There are never more processes than items, or than cores.

    >>> list(run_each(lambda k: k * k, range(4), jobs=2))
    [0, 1, 4, 9]
    """
    jobs = min(jobs, len(items), os.cpu_count() or 1)
    if jobs <= 1:
        yield from map(action, items)
        return
    from joblib import Parallel, delayed

    yield from Parallel(n_jobs=jobs, return_as="generator")(delayed(action)(item) for item in items)
