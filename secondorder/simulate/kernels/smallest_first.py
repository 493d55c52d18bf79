"""One server that serves the job of the smallest key first, compiled."""

import numpy as np

from secondorder.arrays import Floats, Integers
from secondorder.simulate.kernels.compilation import announced, compiled
from secondorder.simulate.kernels.queues import enter, leave


def finishes(arrival: Floats, size: Floats, key: Floats, *, preempts: bool) -> Floats:
    """When each job ends.

    With ``preempts`` a job's key falls by its service, below 0 too, and a job with a smaller one takes over.

    >>> arrival, size = np.array([0.0, 1.0, 2.0]), np.array([4.0, 2.0, 1.0])
    >>> finishes(arrival, size, size, preempts=False), finishes(arrival, size, size, preempts=True)
    (array([4., 7., 5.]), array([7., 3., 4.]))
    """
    count = len(arrival)
    finish = np.empty(count)
    with announced(serve_smallest):
        serve_smallest(arrival, size.copy(), key.copy(), preempts, finish, np.empty(count), np.empty(count, np.int64))
    return finish


@compiled
def serve_smallest(
    arrival: Floats, left: Floats, key: Floats, preempts: bool, finish: Floats, heap: Floats, waiting: Integers
) -> None:
    """Fill in ``finish``; ``heap`` and ``waiting`` hold the keys and numbers of those that wait."""
    now, count, comer, current = 0.0, 0, 0, -1
    while comer < arrival.size or current >= 0:
        end = now + left[current] if current >= 0 else arrival[comer]
        if current >= 0 and comer < arrival.size and arrival[comer] < end:
            passed = arrival[comer] - now
            now = arrival[comer]
            left[current] -= passed
            if preempts:
                key[current] -= passed
            if preempts and key[comer] < key[current]:
                count = enter(heap, waiting, count, key[current], current)
                current = comer
            else:
                count = enter(heap, waiting, count, key[comer], comer)
            comer += 1
            continue
        now = end
        if current >= 0:
            finish[current] = now
            current = -1
        while comer < arrival.size and arrival[comer] <= now:
            count = enter(heap, waiting, count, key[comer], comer)
            comer += 1
        if count > 0:
            current = waiting[0]
            count = leave(heap, waiting, count)
