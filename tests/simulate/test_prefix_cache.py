"""Prefix caching meets an independent computation by stack distances (Mattson et al. 1970)."""

import numpy as np
import pytest
from shared_data import shared

import secondorder as so
from secondorder.simulate.serving import draw, run
from secondorder.workloads.requests import Requests

BLOCK = 512


def hit_tokens_by_stack_distance(requests: Requests, capacities: list[int]) -> dict[int, np.ndarray]:
    """Cached tokens of each request served one after the other, for each capacity in blocks.

    One list, most recently released first, serves every capacity: a block is cached in a
    cache of ``C`` blocks if fewer than ``C`` blocks have been released since. A request
    releases its last block first; blocks of the output belong to it alone.
    """
    stack: list[tuple] = []
    found = {capacity: np.zeros(len(requests), int) for capacity in capacities}
    for k in range(len(requests)):
        prompt, output = int(requests.input_tokens[k]), int(requests.output_tokens[k])
        used = -(-(prompt + output - 1) // BLOCK)
        hashes = requests.hash_ids[k]
        blocks = [("shared", int(hashes[i])) if i < prompt // BLOCK else ("own", k, i) for i in range(used)]
        wanted = set(blocks)
        depth = {block: place for place, block in enumerate(stack) if block in wanted}
        for capacity in capacities:
            hits = 0
            while hits < (prompt - 1) // BLOCK and depth.get(blocks[hits], capacity) < capacity:
                hits += 1
            found[capacity][k] = hits * BLOCK
        stack = (blocks + [block for block in stack if block not in wanted])[: max(capacities)]
    return found


def one_after_the_other(trace: so.Trace, blocks: int) -> so.Serving:
    return so.Serving(
        model=so.models.llama_3_1_8b,
        accelerator=so.accelerators.h100_sxm,
        arrivals=trace,
        max_num_seqs=1,
        max_num_batched_tokens=131_072,
        block_size=BLOCK,
        num_gpu_blocks=blocks + 1,  # one is the null block
        enable_prefix_caching=True,
        engine="vllm 0.19",  # later ones reuse unnamed blocks first: no plain queue of the least recently used
        step_time=so.Affine(per_step=1e-3, per_prefill_token=0, per_decode=0),
    )


def test_hits_on_a_real_trace_are_those_of_stack_distances_at_every_cache_size():
    trace = so.read_trace(shared("mooncake_conversation.jsonl")).head(600)
    capacities = [300, 1_000, 3_000, 10_000]
    expected = hit_tokens_by_stack_distance(trace.requests, capacities)
    rates = []
    for capacity in capacities:
        scenario = one_after_the_other(trace, capacity)
        cached = run(scenario, draw(scenario, 600)).requests["cached_tokens"].to_numpy()
        np.testing.assert_array_equal(cached, expected[capacity])
        rates.append(cached.sum() / trace.requests.input_tokens.sum())
    assert rates == sorted(rates)
    assert rates[-1] > 2 * rates[0]


@pytest.mark.parametrize("blocks", [4, 7, 12])
def test_hits_on_random_shared_prefixes_are_those_of_stack_distances(blocks):
    rng = np.random.default_rng(blocks)
    conversations = [[rng.integers(1_000_000) for _ in range(3)] for _ in range(5)]
    chosen = rng.integers(5, size=400)
    depth = rng.integers(1, 4, size=400)
    requests = Requests(
        arrival=np.arange(400.0),
        input_tokens=[int(d) * BLOCK + 1 for d in depth],
        output_tokens=rng.integers(1, BLOCK, size=400),
        hash_ids=tuple(np.array(conversations[c][:d]) for c, d in zip(chosen, depth, strict=True)),
        hash_block=BLOCK,
    )
    trace = so.Trace(name="conversations", requests=requests)
    scenario = one_after_the_other(trace, blocks)
    cached = run(scenario, requests).requests["cached_tokens"].to_numpy()
    np.testing.assert_array_equal(cached, hit_tokens_by_stack_distance(requests, [blocks])[blocks])
    assert cached.any()


def test_the_engine_block_need_not_be_the_trace_block():
    requests = Requests(
        arrival=[0.0, 100.0],
        input_tokens=[1100, 1100],
        output_tokens=[1, 1],
        hash_ids=(np.array([7, 8]), np.array([7, 9])),
        hash_block=512,
    )
    trace = so.Trace(name="pair", requests=requests)
    scenario = so.Serving(
        model=so.models.llama_3_1_8b,
        accelerator=so.accelerators.h100_sxm,
        arrivals=trace,
        enable_prefix_caching=True,
        block_size=16,
    )
    assert run(scenario, requests).requests["cached_tokens"].tolist() == [0, 512]
