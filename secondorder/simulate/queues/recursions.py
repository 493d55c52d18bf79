"""First come, first served without events: when each service starts, straight from the draws."""

from heapq import heapreplace

import numpy as np

from secondorder.simulate.queues.records import Floats


def lindley(arrival: Floats, service: Floats) -> Floats:
    """Starts of service at one server: ``start_n = max(arrival_n, start_{n-1} + service_{n-1})``.

    With ``W_n`` the work of those before n, ``start_n = W_n + max_{k <= n} (arrival_k - W_k)``: two
    running sums over the whole array. *Exact* on the grid of ``draws``.

    *Source*: Lindley, The theory of queues with a single server (1952).

    >>> lindley(np.array([0.0, 1.0, 5.0]), np.array([3.0, 1.0, 1.0]))
    array([0., 3., 5.])
    """
    work = np.cumsum(service) - service
    start: Floats = np.maximum.accumulate(arrival - work)
    return start + work


def kiefer_wolfowitz(arrival: Floats, service: Floats, servers: int) -> Floats:
    """Starts of service at several servers: the next in line goes to the server that is free first.

    *Source*: Kiefer and Wolfowitz, On the theory of queues with many servers (1955).

    >>> kiefer_wolfowitz(np.array([0.0, 1.0, 2.0]), np.array([4.0, 4.0, 1.0]), 2)
    array([0., 1., 4.])
    """
    free, starts = [0.0] * servers, []
    for come, work in zip(arrival.tolist(), service.tolist(), strict=True):
        start = max(free[0], come)
        starts.append(start)
        heapreplace(free, start + work)
    return np.array(starts)
