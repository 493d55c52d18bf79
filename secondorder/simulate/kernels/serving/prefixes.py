"""Identities of prompts' blocks as numbers from 0 on, in the order in which they are first asked for."""

import numpy as np

from secondorder.simulate.kernels.compilation import compiled
from secondorder.simulate.kernels.serving.state import NONE, Integers
from secondorder.workloads.requests import Requests


def identities(requests: Requests, block_size: int) -> tuple[Integers, Integers, int]:
    """``starts`` and ``identities`` of a ``Workload``, and how many identities there are."""
    hash_ids = requests.hash_ids
    if not hash_ids:
        return np.zeros(len(requests) + 1, np.int64), np.zeros(0, np.int64), 0
    starts = np.zeros(len(requests) + 1, np.int64)
    np.cumsum([len(ids) for ids in hash_ids], out=starts[1:])
    hashes = np.concatenate(hash_ids)
    numbers, count = numbered(hashes, starts, block_size, requests.hash_block)
    return starts, numbers, count


def numbered(hashes: Integers, starts: Integers, block_size: int, hash_block: int) -> tuple[Integers, int]:
    """The first identity of each of the trace's blocks: two are the same at the same place with the same hash.

    As many numbers are left for a block as blocks of the engine end in it.
    """
    size = 16
    while size < 2 * hashes.size:
        size *= 2
    table, numbers, places = np.full(size, NONE), np.zeros(hashes.size, np.int64), np.zeros(hashes.size, np.int64)
    count = 0
    for request in range(starts.size - 1):
        for i in range(starts[request], starts[request + 1]):
            place = i - starts[request]
            places[i] = place
            at = scattered(hashes[i], place) & (size - 1)
            while table[at] != NONE and (hashes[table[at]] != hashes[i] or places[table[at]] != place):
                at = (at + 1) & (size - 1)
            if table[at] == NONE:
                table[at] = i
                numbers[i] = count
                count += (place + 1) * hash_block // block_size - place * hash_block // block_size
            else:
                numbers[i] = numbers[table[at]]
    return numbers, count


from secondorder.simulate.kernels.compilation import inlined  # noqa: E402


@inlined
def scattered(value: int, place: int) -> int:
    mixed = np.uint64(value) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(place) * np.uint64(0xBF58476D1CE4E5B9)
    return np.int64((mixed ^ (mixed >> np.uint64(29))) >> np.uint64(1))
