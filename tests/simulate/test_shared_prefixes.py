"""Prefixes drawn by a law: what is drawn, what a cache finds of it, and what Che's approximation says of that."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest

import secondorder as so
from secondorder.analytic.serving.least_recently_used import characteristic_time, hit_ratio
from secondorder.analytic.serving.stack_distances import hit_tokens
from secondorder.plans.read import read_plan
from secondorder.simulate import serving
from secondorder.simulate.deployment import run
from secondorder.workloads.requests import Requests

SHARING = so.Serving(
    model="llama_3_1_8b",
    accelerator="h100_sxm",
    arrivals="poisson 8 request/s",
    lengths="input=640 output=32",
    prefixes="100 tokens=512 share=0.8 exponent=0.8",
    enable_prefix_caching=True,
    num_gpu_blocks=2_000,
)


def test_prefixes_are_drawn_by_share_and_popularity_and_leave_lengths_alone():
    drawn, bare = serving.draw(SHARING, 20_000, 1), serving.draw(replace(SHARING, prefixes=None), 20_000, 1)
    assert np.array_equal(drawn.input_tokens, bare.input_tokens)
    assert np.array_equal(drawn.arrival, bare.arrival)
    which = np.array([int(ids[0]) for ids in drawn.hash_ids if len(ids)])
    assert len(which) / 20_000 == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / 20_000))
    first = SHARING.prefixes.popularity[0]
    assert (which == 0).mean() == pytest.approx(first, abs=4 * np.sqrt(first / len(which)))


def test_requests_of_one_prefix_share_the_whole_blocks_of_it_and_nothing_else():
    asked = list(serving.asks(replace(SHARING, lengths="input=600 output=32"), serving.draw(SHARING, 400, 1)))
    drawn = [ask for ask in asked if ask.prefix]
    assert {len(ask.prefix) for ask in drawn} == {512 // 16}
    assert len({ask.prefix for ask in drawn}) == len({ask.prefix[0] for ask in drawn}) <= 100


def naive_hits(rates, sizes, capacity, uses, rng):
    """A cache that forgets the least recently used, item by item."""
    cache, held, hits = OrderedDict(), 0, 0
    for item in rng.choice(len(rates), size=uses, p=rates / rates.sum()):
        if item in cache:
            hits += 1
            cache.move_to_end(item)
            continue
        cache[item] = None
        held += sizes[item]
        while held > capacity:
            gone, _ = cache.popitem(last=False)
            held -= sizes[gone]
    return hits / uses


@pytest.mark.parametrize(("exponent", "capacity"), [(0.0, 100), (0.8, 60), (1.2, 200)])
def test_che_agrees_with_a_cache_simulated_item_by_item(exponent, capacity):
    rates = np.arange(1.0, 501) ** -exponent
    time = characteristic_time(rates=rates, sizes=np.ones(500), capacity=capacity)
    expected = float(rates @ -np.expm1(-rates * time) / rates.sum())
    found = naive_hits(rates, np.ones(500), capacity, 60_000, np.random.default_rng(1))
    assert found == pytest.approx(expected, abs=0.01)


def test_a_cache_that_holds_everything_forgets_nothing():
    assert characteristic_time(rates=np.ones(3), sizes=np.ones(3), capacity=3.0) == float("inf")


def test_che_agrees_with_the_engine_on_what_is_found():
    found = so.simulate(SHARING, seed=2, replications=4, requests=4_000).best("prefix_hit_rate")
    expected = hit_ratio(SHARING, held=8.0 * 0.3 * 650)
    assert found.low * 0.95 < expected < found.high * 1.05


def test_prefix_caching_takes_prefixes_and_says_what_is_found():
    answer = so.solve(so.PrefixCaching(serving=SHARING))
    assert answer.best("prefix_hit_rate").source == "Che's approximation (2002)"
    assert answer.best("prefix_hit_rate").amount == pytest.approx(hit_ratio(SHARING), rel=0.05)
    assert answer.best("ttft_mean").amount < so.solve(SHARING).best("ttft_mean").amount
    with pytest.raises(so.InputError, match="a ratio with requests that know their prefixes"):
        so.PrefixCaching(serving=SHARING, hit_ratio=0.5)


def test_on_each_replica_the_hits_are_those_of_its_stack_distances():
    """Requests far apart, so that one is served after the other: Mattson's count, replica by replica.

    Of vLLM before 0.24, which forgets the least recently used alone; later ones reuse blocks that hold nothing first.
    """
    slow = replace(SHARING, engine="vllm 0.19", arrivals="deterministic 0.5 request/s", num_gpu_blocks=1_001)
    requests = serving.draw(slow, 600, 3)
    for router in ("round-robin", "session 4", "prefix-aware 50"):
        found = run(so.Deployment(serving=slow, replicas=3, router=router), requests).requests
        for _, rows in found.groupby("replica"):
            own = rows.index.to_numpy()
            blocks = tuple(_blocks(requests.hash_ids[place], 640) for place in own)
            sent = Requests(
                arrival=np.asarray(requests.arrival)[own],
                input_tokens=np.full(len(own), 640),
                output_tokens=np.full(len(own), 32),
                hash_ids=blocks,
                hash_block=16,
            )
            assert rows["cached_tokens"].tolist() == hit_tokens(sent, 1_000).tolist()


def _blocks(prefix, prompt):
    """A number for each block of the engine within the prefix."""
    return np.arange(512 // 16) + 1_000 * int(prefix[0]) if len(prefix) else np.array([], dtype=np.int64)


def test_prefixes_are_part_of_a_plan(tmp_path):
    file = tmp_path / "plan.toml"
    so.write_plan(SHARING, file=file)
    (planned,) = read_plan(file).chosen(None)
    assert planned.scenario == SHARING
