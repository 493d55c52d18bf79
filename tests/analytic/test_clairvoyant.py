"""The clairvoyant cache against every way to keep blocks, tried one by one, and against the least recently used."""

from itertools import combinations

import numpy as np
import pytest
from shared_data import shared

import secondorder as so
from secondorder.analytic.serving.clairvoyant import clairvoyant_hit_tokens
from secondorder.analytic.serving.stack_distances import hit_tokens
from secondorder.workloads.requests import Requests


def drawn(seed: int, count: int) -> Requests:
    rng = np.random.default_rng(seed)
    trees = [[10 * tree + place for place in range(3)] for tree in range(4)]
    depth, tree = rng.integers(0, 4, size=count), rng.integers(4, size=count)
    return Requests(
        arrival=np.arange(count) * 1.0,
        input_tokens=depth * 4 + rng.integers(0, 4, size=count) + (depth == 0),
        output_tokens=np.ones(count, dtype=np.int64),
        hash_ids=tuple(np.array(trees[t][:d], dtype=np.int64) for t, d in zip(tree, depth, strict=True)),
        hash_block=4,
    )


def most_hits(requests: Requests, room: int) -> int:
    """Leading blocks found by the best of all ways to keep at most ``room`` blocks after each request."""
    best = {frozenset(): 0}
    for index, (_, prompt, _) in enumerate(requests):
        blocks = requests.hash_ids[index].tolist()[: prompt // 4]
        following: dict[frozenset, int] = {}
        for held, hits in best.items():
            found = 0
            while found < (prompt - 1) // 4 and blocks[found] in held:
                found += 1
            there = held | set(blocks)
            for kept in combinations(sorted(there), min(room, len(there))):
                following[frozenset(kept)] = max(following.get(frozenset(kept), 0), hits + found)
        best = following
    return 4 * max(best.values())


@pytest.mark.parametrize(("seed", "room"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)])
def test_no_way_to_keep_blocks_finds_more(seed, room):
    requests = drawn(seed, 14)
    found = clairvoyant_hit_tokens(requests, room)
    assert found.sum() == most_hits(requests, room) > 0
    assert found.sum() > hit_tokens(requests, room).sum()


def test_on_a_real_trace_the_bound_lies_above_and_meets_what_an_endless_cache_finds():
    requests = so.read_trace(str(shared("mooncake_conversation.jsonl"))).head(2_000).requests
    for room in (300, 3_000):
        assert clairvoyant_hit_tokens(requests, room).sum() > 1.5 * hit_tokens(requests, room).sum()
    endless = clairvoyant_hit_tokens(requests, 10**6)
    np.testing.assert_array_equal(endless, hit_tokens(requests, 10**6))


def test_requests_without_prefixes_and_a_cache_without_room_are_refused():
    bare = Requests(arrival=[0.0], input_tokens=[5], output_tokens=[1])
    with pytest.raises(so.InputError, match="no hash_ids"):
        clairvoyant_hit_tokens(bare, 3)
    with pytest.raises(so.InputError, match="capacity"):
        clairvoyant_hit_tokens(drawn(1, 5), 0)
