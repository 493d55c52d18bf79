"""Requests that wait, the most urgent first: a skew heap of the requests' numbers, one for each engine.

*Source*: Sleator and Tarjan, Self-adjusting heaps, SIAM Journal on Computing 15 (1986): a merge takes ``log n`` steps
on average over many merges.
"""

from secondorder.arrays import Integers
from secondorder.simulate.kernels.compilation import called, compiled, inlined
from secondorder.simulate.kernels.serving.state import NONE, Engine, Workload


@inlined
def sooner(work: Workload, one: int, other: int) -> bool:
    """Whether a request is more urgent than another: by priority, then by arrival, which is the order of numbers."""
    if work.priority[one] == work.priority[other]:
        return one < other
    return bool(work.priority[one] < work.priority[other])


@called
def merged_heap(work: Workload, one: int, other: int) -> int:
    """Merge two heaps, either of which may be NONE, into one."""
    root = last = NONE
    while one != NONE and other != NONE:
        if sooner(work, other, one):
            one, other = other, one
        if last == NONE:
            root = one
        else:
            work.behind[last] = one
        last = one
        one = int(work.beside[last])
        work.beside[last] = work.behind[last]
    rest = one if other == NONE else other
    if last == NONE:
        return rest
    work.behind[last] = rest
    return root


@inlined
def stand_in_line(e: Engine, work: Workload, index: int) -> bool:
    """Let a request wait from now on; returns whether it is the next one."""
    work.behind[index] = work.beside[index] = NONE
    e.queued = merged_heap(work, e.queued, index)
    return bool(e.queued == index)


@inlined
def leave_line(e: Engine, work: Workload) -> None:
    """Take the next request out of the heap."""
    e.queued = merged_heap(work, int(work.behind[e.queued]), int(work.beside[e.queued]))


@inlined
def overtakes(e: Engine, work: Workload, first: int) -> int:
    """The first request, from this one on, that goes before those that wait; the number of requests if none does."""
    while first < e.requests and work.priority[first] >= work.priority[e.queued]:
        first = int(work.sooner[first])
    return first


@compiled
def find_sooner(priority: Integers, found: Integers) -> None:
    """For each request, the next one with a lower priority number; the number of requests where there is none."""
    for index in range(priority.size - 1, -1, -1):
        next_one = index + 1
        while next_one < priority.size and priority[next_one] >= priority[index]:
            next_one = found[next_one]
        found[index] = next_one
