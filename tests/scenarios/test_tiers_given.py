"""Tiers of the cache as a user writes them, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

import secondorder as so
from secondorder.scenarios.cache_tiers import CacheTiers, read_tiers

SERVING = so.Serving(
    model="llama_3_1_8b", accelerator="h100_sxm", arrivals="poisson 8 request/s", lengths="input=640 output=32",
    prefixes="100 tokens=512",
)  # fmt: skip


def test_positions_names_and_a_list_spell_the_same_tiers():
    named = "host capacity=200 GB bandwidth=25 GB/s; disk capacity=2 TB bandwidth=5 GB/s latency=1 ms"
    short = "host 200 GB 25 GB/s, disk 2 TB 5 GB/s latency=1 ms"
    assert read_tiers(named, "tiers") == read_tiers(short, "tiers") == CacheTiers(tiers=short.split(", "))
    assert replace(SERVING, cache_tiers=short.split(", ")) == replace(SERVING, cache_tiers=short)
    assert read_tiers(str(read_tiers(short, "tiers")), "tiers") == read_tiers(short, "tiers")


def test_a_tier_holds_whole_blocks_of_all_accelerators():
    assert replace(SERVING, cache_tiers="host 10 MB 1 GB/s").tier_blocks == (4,)  # of 2 MiB
    two = replace(SERVING, cache_tiers="host 10 MB 1 GB/s", tensor_parallel_size=2)
    assert two.tier_blocks == (4,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("host 200 GB", 'a name, a capacity and a bandwidth, such as "host 200 GB 25 GB/s"'),
        ("host 200 GB 25 GB", "a name, a capacity and a bandwidth"),
        ("host 200 GB 25 GB/s,", "a name, a capacity and a bandwidth"),
        ("", "a name, a capacity and a bandwidth"),
        ("gpu 200 GB 25 GB/s", "other than gpu"),
        ("host 1 MB 25 GB/s", "room for a block of 2.1 MB"),
        ("host 0 GB 25 GB/s", "a positive quantity in byte"),
        ("host 9 GB 0 GB/s", "a positive quantity in byte/s"),
        ("host 9 GB 1 GB/s latency=-1 s", "a non-negative quantity in s"),
        ("host 9 GB 1 GB/s, host 9 GB 1 GB/s", "a different name for each"),
        ("host 9 GB 1 GB/s sharde=true", "did you mean shared"),
    ],
)
def test_what_is_no_tier_is_refused_in_one_line(text, said):
    with pytest.raises(so.InputError) as error:
        replace(SERVING, cache_tiers=text)
    assert said in str(error.value)
    assert str(error.value).startswith("cache_tiers")
    assert "\n" not in str(error.value)


def test_tiers_are_refused_where_nothing_would_use_them():
    tiers = "host 200 GB 25 GB/s"
    with pytest.raises(so.InputError, match="prefix caching; set enable_prefix_caching"):
        replace(SERVING, cache_tiers=tiers, enable_prefix_caching=False)
    tiered = replace(SERVING, cache_tiers=tiers)
    with pytest.raises(so.InputError, match="hit_ratio"):
        so.PrefixCaching(serving=replace(tiered, prefixes=None), hit_ratio=0.5)
    split = so.Disaggregated(serving=tiered, prefill_replicas=1, decode_replicas=1, link="50 GB/s")
    with pytest.raises(so.InputError, match=r"cache_tiers: got .* in a Disaggregated"):
        so.solve(split)
    with pytest.raises(so.InputError, match=r"cache_tiers: got .* in a partition of latencies"):
        so.partition(tiered, requests=100)
    with pytest.raises(so.InputError, match="blocks of one size"):
        so.Deployment(serving=replace(tiered, cache_tiers=f"{tiers} shared=true"), others="1 tensor_parallel_size=16")


def test_a_link_that_cannot_carry_what_goes_down_is_named():
    with pytest.raises(so.Unstable, match="the link to disk is asked for"):
        so.solve(so.PrefixCaching(serving=replace(SERVING, num_gpu_blocks=1_000, cache_tiers="disk 200 GB 10 MB/s")))


def test_a_trace_has_its_hits_by_tier_and_the_bound_of_any_rule():
    drawn = replace(SERVING, num_gpu_blocks=400)
    requests = drawn.requests(300, *map(np.random.default_rng, (1, 2)))
    requests = replace(requests, arrival=requests.arrival - requests.arrival[0])
    trace = so.Trace(name="drawn", requests=requests)
    replayed = replace(
        drawn, arrivals=trace, lengths=None, prefixes=None, cache_tiers="host 1 GB 25 GB/s, disk 4 GB 1 GB/s"
    )
    for answer in (so.solve(replayed), so.solve(so.PrefixCaching(serving=replayed))):
        found = [answer.best(f"prefix_hit_rate_tier_{name}").amount for name in ("gpu", "host", "disk")]
        assert min(found) > 0
        assert sum(found) == pytest.approx(answer.best("prefix_hit_rate").amount)
        assert answer.best("clairvoyant_hit_rate").amount >= answer.best("prefix_hit_rate").amount
