"""Identities of prompts' blocks as numbers from 0 on, in the order in which they are first asked for."""

import numpy as np

from secondorder.arrays import Integers
from secondorder.simulate.kernels.compilation import compiled, inlined
from secondorder.simulate.kernels.serving.state import NONE, Small
from secondorder.workloads.requests import Requests


def identities(requests: Requests, block_size: int) -> tuple[Integers, Integers, int]:
    """``starts`` and ``identities`` of a ``Workload``, and how many identities there are."""
    starts = np.zeros(len(requests) + 1, np.int64)
    if not requests.hash_ids:
        return starts, np.zeros(0, np.int64), 0
    np.cumsum([len(ids) for ids in requests.hash_ids], out=starts[1:])
    hashes = np.concatenate(requests.hash_ids)
    places = np.arange(hashes.size) - np.repeat(starts[:-1], np.diff(starts))
    table = np.full(1 << (2 * hashes.size + 16).bit_length(), NONE, np.int32)
    numbers = np.zeros(hashes.size, np.int64)
    return starts, numbers, number(hashes, places, table, numbers, block_size, requests.hash_block)


@compiled
def number(
    hashes: Integers, places: Integers, table: Small, numbers: Integers, block_size: int, hash_block: int
) -> int:
    """Number the blocks of a trace; returns how many numbers are used.

    Blocks with the same hash at the same place are the same. A block gets as many numbers as blocks of the engine end
    in it. ``table`` holds the first number of each block, by its hash.
    """
    count = 0
    for i in range(hashes.size):
        place, at = places[i], scattered(hashes[i], places[i], table.size)
        while table[at] != NONE and (hashes[table[at]] != hashes[i] or places[table[at]] != place):
            at = (at + 1) % table.size
        if table[at] == NONE:
            table[at], numbers[i] = i, count
            count += (place + 1) * hash_block // block_size - place * hash_block // block_size
        numbers[i] = numbers[table[at]]
    return count


@inlined
def scattered(value: int, place: int, size: int) -> int:
    """A place in a table of 2^k, by multiplication with odd constants (Knuth 1998, section 6.4)."""
    mixed = np.uint64(value) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(place) * np.uint64(0xBF58476D1CE4E5B9)
    return int(np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(size - 1)))
