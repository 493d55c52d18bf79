"""Hits of each replica's cache against stack distances: how many blocks were used since a block was used last.

One pass over the requests of a replica gives the hits of every size of its cache (Mattson, Gecsei, Slutz, Traiger,
Evaluation techniques for storage hierarchies, IBM Systems Journal 9(2), 1970). It shares no code with the engine.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from shared_data import shared

import secondorder as so
from secondorder.simulate.deployment import serve
from secondorder.workloads.requests import Requests

BLOCK = 512
SIZES = (300, 1_000, 3_000)


@pytest.fixture(scope="module")
def conversations() -> Requests:
    return so.read_trace(str(shared("mooncake_conversation.jsonl"))).head(2_000).requests


def replica(blocks: int) -> so.Serving:
    return so.Serving(
        model="llama_3_1_8b", accelerator="h100_sxm", arrivals="poisson 1 request/s", lengths="input=512 output=64",
        enable_prefix_caching=True, block_size=BLOCK, num_gpu_blocks=blocks, max_model_len=130_000,
    )  # fmt: skip


def distances(requests: Requests) -> Iterator[list[int]]:
    """Of each leading block of each prompt: how many blocks would have to be kept for it to be found.

    After a request its blocks are the last ones used, its first block the very last; its answer's blocks too, of which
    the one that is not full cannot be found again and is the first to be used for something else.
    """
    stack: list[object] = []  # the one used last is at the end
    spare = 0  # the block of the request before that was not full
    for index, (_, prompt, output) in enumerate(requests):
        hashes = requests.hash_ids[index].tolist()[: prompt // BLOCK]
        named = hashes + [(index, place) for place in range((prompt + output - 1) // BLOCK - len(hashes))]
        places = {block: len(stack) - place for place, block in enumerate(stack)}
        yield [places.get(block, 10**9) + spare for block in hashes[: (prompt - 1) // BLOCK]]
        used = set(named)
        stack = [block for block in stack if block not in used] + named[::-1]
        spare = 1 if (prompt + output - 1) % BLOCK else 0


def found_at(blocks: int, needed: list[int]) -> int:
    """Leading tokens that a cache of so many blocks finds."""
    count = 0
    while count < len(needed) and needed[count] <= blocks:
        count += 1
    return count * BLOCK


def part(requests: Requests, which: np.ndarray, apart: float) -> Requests:
    """Some of the requests, so far apart that they are served one after the other."""
    return Requests(
        arrival=np.arange(len(which)) * apart,
        input_tokens=np.asarray(requests.input_tokens)[which],
        output_tokens=np.asarray(requests.output_tokens)[which],
        hash_ids=tuple(requests.hash_ids[index] for index in which),
        hash_block=requests.hash_block,
    )


@pytest.mark.parametrize("router", ["round-robin", "prefix-aware 50"])
def test_hits_at_every_cache_size_are_those_of_stack_distances_on_each_replica(conversations, router):
    deployment = so.Deployment(serving=replica(700), replicas=8, router=router)
    sent = serve(deployment, conversations, seed=1).requests["replica"].to_numpy()
    rates = []
    for number in range(8):
        own = part(conversations, np.flatnonzero(sent == number), apart=100.0)
        needed = list(distances(own))
        for size in SIZES:
            alone = serve(so.Deployment(serving=replica(size), replicas=1), own).requests["cached_tokens"]
            assert alone.tolist() == [found_at(size - 1, each) for each in needed], (number, size)
        rates.append([sum(found_at(size - 1, each) for each in needed) for size in SIZES])
    assert (np.diff(np.sum(rates, axis=0)) > 0).all()  # every larger cache finds more


def test_a_stack_that_counts_the_blocks_of_answers_as_nothing_is_found_out(conversations):
    own = part(conversations, np.arange(2_000), apart=100.0)
    shorter = replace(own, output_tokens=np.ones(len(own), int))
    alone = serve(so.Deployment(serving=replica(1_000), replicas=1), own).requests["cached_tokens"]
    assert alone.tolist() != [found_at(999, each) for each in distances(shorter)]
