"""Queues, compiled: first come first served and processor sharing at several servers.

They give the floats of ``simulate.queues``, bit for bit, from times on the grid of its draws.
"""

import numpy as np

from secondorder.arrays import Floats, Integers
from secondorder.simulate.kernels.compilation import announced, compiled, inlined

PLACES = 1024
"""Customers present for whom there is room at first."""


def first_come(arrival: Floats, service: Floats, servers: int) -> Floats:
    """Starts of service: the next in line goes to the server that is free first.

    *Source*: Kiefer and Wolfowitz, On the theory of queues with many servers (1955).

    >>> first_come(np.array([0.0, 1.0, 2.0]), np.array([4.0, 4.0, 1.0]), 2)
    array([0., 1., 4.])
    """
    start = np.empty_like(arrival)
    with announced(serve):
        serve(arrival, service, start, np.zeros(min(servers, max(len(arrival), 1))))
    return start


def sharing(arrival: Floats, service: Floats, servers: int, room: int | None) -> Floats:
    """When each customer leaves under processor sharing; NaN for those who find ``room`` others and are turned away.

    >>> sharing(np.array([0.0, 1.0]), np.array([2.0, 2.0]), 1, None)
    array([3., 4.])
    """
    finish, most = np.full(len(arrival), np.nan), len(arrival) if room is None else min(room, len(arrival))
    state = np.zeros(4)
    with announced(share):
        heap, customers = np.empty(PLACES), np.empty(PLACES, np.int64)
        while not share(arrival, service, servers, most, finish, heap, customers, state):
            heap, customers = (np.concatenate([each, np.empty_like(each)]) for each in (heap, customers))
    return finish


@compiled
def serve(arrival: Floats, service: Floats, start: Floats, free: Floats) -> None:
    """Fill in the starts; ``free`` is a heap of the times at which the servers are free."""
    for n in range(arrival.size):
        begin = max(free[0], arrival[n])
        start[n] = begin
        replace_least(free, begin + service[n])


@inlined
def replace_least(heap: Floats, value: float) -> None:
    place, size = 0, heap.size
    while 2 * place + 1 < size:
        below = 2 * place + 1
        if below + 1 < size and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= value:
            break
        heap[place] = heap[below]
        place = below
    heap[place] = value


@compiled
def share(
    arrival: Floats, service: Floats, servers: int, room: int, finish: Floats, heap: Floats, customers: Integers,
    state: Floats,
) -> bool:  # fmt: skip
    """Serve until the end; False if the heap is full before.

    ``heap`` holds the attained work at which each customer present leaves, ``state`` the time, the attained work,
    the next customer and how many are present.
    """
    now, attained, comer, present = state[0], state[1], int(state[2]), int(state[3])
    while present > 0 or comer < arrival.size:
        each = min(1.0, servers / present) if present > 0 else 0.0
        leaves = now + (heap[0] - attained) / each if present > 0 else np.inf
        if comer < arrival.size and arrival[comer] <= leaves:
            if present == heap.size:
                state[0], state[1], state[2], state[3] = now, attained, comer, present
                return False
            before = now
            now = before + max(arrival[comer] - before, 0.0)
            attained = attained + (now - before) * each if present > 0 else 0.0
            if present < room:
                present = enter(heap, customers, present, attained + service[comer], comer)
            comer += 1
        else:
            now = now + max(leaves - now, 0.0)
            attained = heap[0]
            finish[customers[0]] = now
            present = leave(heap, customers, present)
    return True


@inlined
def enter(heap: Floats, customers: Integers, count: int, value: float, customer: int) -> int:
    """Put a customer in the heap, behind those of the same value."""
    place = count
    while place > 0 and heap[(place - 1) // 2] > value:
        heap[place], customers[place] = heap[(place - 1) // 2], customers[(place - 1) // 2]
        place = (place - 1) // 2
    heap[place], customers[place] = value, customer
    return count + 1


@inlined
def leave(heap: Floats, customers: Integers, count: int) -> int:
    """Take the least out of the heap; among equal ones, the first customer."""
    count -= 1
    value, customer, place = heap[count], customers[count], 0
    while 2 * place + 1 < count:
        below = 2 * place + 1
        if below + 1 < count and precedes(heap, customers, below + 1, heap[below], customers[below]):
            below += 1
        if not precedes(heap, customers, below, value, customer):
            break
        heap[place], customers[place] = heap[below], customers[below]
        place = below
    heap[place], customers[place] = value, customer
    return count


@inlined
def precedes(heap: Floats, customers: Integers, place: int, value: float, customer: int) -> bool:
    return bool(heap[place] < value or (heap[place] == value and customers[place] < customer))
