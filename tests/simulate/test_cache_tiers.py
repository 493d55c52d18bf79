"""Tiers below the prefix cache: what each finds against naive lists, and how long it takes to come."""

from dataclasses import replace

import numpy as np
import pytest
from shared_data import shared

import secondorder as so
from secondorder.analytic.serving.stack_distances import hit_tokens
from secondorder.simulate.deployment import run as run_deployment
from secondorder.simulate.serving import draw, run
from secondorder.simulate.serving.measures import measure
from secondorder.workloads.requests import Requests

BLOCK, BYTES = 16, 2_097_152
"""Tokens of a block of Llama 3.1 8B, and its bytes."""
SIZES = ((8, 5, 7), (12, 20, 9), (25, 3, 60))


def conversations(seed: int, count: int = 300, apart: float = 10.0, whole: bool = False) -> Requests:
    """Prompts that share their beginnings; ``whole``: the last block of each answer is full."""
    rng = np.random.default_rng(seed)
    trees = [[int(rng.integers(10**9)) for _ in range(6)] for _ in range(10)]
    depth, tree = rng.integers(0, 5, size=count), rng.integers(10, size=count)
    prompts = depth * BLOCK + (1 if whole else rng.integers(1, BLOCK, size=count))
    outputs = BLOCK * rng.integers(1, 3, size=count) if whole else rng.integers(1, 40, size=count)
    return Requests(
        arrival=np.arange(count) * apart,
        input_tokens=prompts,
        output_tokens=outputs,
        hash_ids=tuple(np.array(trees[t][:d], dtype=np.int64) for t, d in zip(tree, depth, strict=True)),
        hash_block=BLOCK,
    )


def service(requests: Requests, blocks: int, tiers: str | None, **fields) -> so.Serving:
    """One that serves them one after the other, if they come one after the other."""
    engine = {"engine": "vllm 0.19", "max_num_seqs": 1, "async_scheduling": False} | fields
    return so.Serving(
        model="llama_3_1_8b", accelerator="h100_sxm", arrivals=so.Trace(name="conversations", requests=requests),
        block_size=BLOCK, num_gpu_blocks=blocks + 1, enable_prefix_caching=True, cache_tiers=tiers,
        step_time=so.Affine(per_step=1e-3, per_prefill_token=1e-5, per_decode=1e-5), **engine,
    )  # fmt: skip


def tier(name: str, blocks: int, *more: str, bandwidth: str = "25 GB/s") -> str:
    return " ".join([name, f"{(blocks + 0.5) * BYTES:.0f} byte", bandwidth, *more])


def naive_tiers(requests: Requests, sizes: tuple[int, ...]) -> list[list[int]]:
    """Tokens of each request that each tier has, on plain lists of blocks, the least recently used first.

    The first is the engine's own cache, which holds blocks without a name too; None stands for one that was never used.
    """
    tiers: list[list[object]] = [[None] * sizes[0], *([] for _ in sizes[1:])]
    found = []
    for index, (_, prompt, output) in enumerate(requests):
        used = -(-(prompt + output - 1) // BLOCK)
        shared = requests.hash_ids[index].tolist()[: prompt // BLOCK]
        blocks = shared + [(index, place) for place in range(len(shared), used)]
        where = []
        for block in shared[: (prompt - 1) // BLOCK]:
            if not any(block in held for held in tiers):
                break
            where.append(next(place for place, held in enumerate(tiers) if block in held))
        for block, place in zip(blocks, where, strict=False):
            tiers[place].remove(block)
        for number, block in enumerate(blocks):
            if number >= len(where) or where[number]:
                push_down(tiers, sizes)
            for held in tiers[1:]:
                if block in held:
                    held.remove(block)
        named = (prompt + output - 1) // BLOCK
        tiers[0] += [block if place < named else None for place, block in reversed(list(enumerate(blocks)))]
        found.append([where.count(place) * BLOCK for place in range(len(sizes))])
    return found


def push_down(tiers: list[list[object]], sizes: tuple[int, ...]) -> None:
    """The first block of the engine's cache is used for something else."""
    gone = tiers[0].pop(0)
    for held, room in zip(tiers[1:], sizes[1:], strict=True):
        if gone is None:
            return
        held.append(gone)
        gone = held.pop(0) if len(held) > room else None


def by_tier(frame, *names: str) -> list[list[int]]:
    below = [frame[f"{name}_tokens"].to_numpy() for name in names]
    return np.transpose([frame["cached_tokens"].to_numpy() - sum(below), *below]).tolist()


@pytest.mark.parametrize("sizes", SIZES)
def test_each_tier_finds_what_plain_lists_find(sizes):
    requests = conversations(sum(sizes))
    tiers = f"{tier('host', sizes[1])}, {tier('disk', sizes[2])}"
    found = by_tier(run(service(requests, sizes[0], tiers), requests).requests, "host", "disk")
    assert found == naive_tiers(requests, sizes)
    assert min(np.sum(found, axis=0)) > 0


def test_on_a_real_trace_each_tier_finds_what_plain_lists_find():
    requests = so.read_trace(str(shared("mooncake_conversation.jsonl"))).head(300).requests
    size = 512 // BLOCK
    short = Requests(
        arrival=np.arange(300) * 100.0,
        input_tokens=np.asarray(requests.input_tokens) // size + 1,
        output_tokens=np.maximum(np.asarray(requests.output_tokens) // size, 1),
        hash_ids=requests.hash_ids,
        hash_block=BLOCK,
    )
    sizes = (1_500, 2_500, 3_000)
    tiers = f"{tier('host', sizes[1])}, {tier('disk', sizes[2])}"
    frame = run(service(short, sizes[0], tiers, max_num_batched_tokens=8192), short).requests
    assert by_tier(frame, "host", "disk") == naive_tiers(short, sizes)
    assert frame["host_tokens"].sum() > 0 < frame["disk_tokens"].sum()


@pytest.mark.parametrize("sizes", SIZES)
def test_the_first_tiers_together_find_what_one_cache_of_their_joint_size_does(sizes):
    """With whole blocks alone; stack distances (Mattson 1970) give the hits of every size."""
    requests = conversations(sum(sizes), whole=True)
    tiers = f"{tier('host', sizes[1])}, {tier('disk', sizes[2])}"
    found = by_tier(run(service(requests, sizes[0], tiers), requests).requests, "host", "disk")
    expected = [hit_tokens(requests, capacity) for capacity in np.cumsum(sizes)]
    assert np.cumsum(found, axis=1).tolist() == np.transpose(expected).tolist()


def test_a_tier_that_keeps_copies_holds_less_than_the_joint_size():
    requests = conversations(7, whole=True)
    frame = run(service(requests, 12, tier("host", 20, "shared=true")), requests).requests
    assert 0 < frame["cached_tokens"].sum() < hit_tokens(requests, 32).sum()


def two_that_return(**fields) -> tuple[so.Serving, Requests]:
    """Four blocks of A, four of B, three others that push them out, then A and B again, at the same time."""
    first, second, none = np.arange(4), np.arange(4) + 4, np.array([], dtype=np.int64)
    requests = Requests(
        arrival=[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.0],
        input_tokens=[65, 65, 200, 200, 200, 65, 65],
        output_tokens=[1] * 7,
        hash_ids=(first, second, none, none, none, first, second),
        hash_block=BLOCK,
    )
    return service(requests, 14, tier("disk", 100, "latency=1 ms", bandwidth="1 GB/s"), **fields), requests


def test_a_fetch_takes_the_latency_and_its_bytes_and_the_second_waits_for_the_link():
    scenario, requests = two_that_return(max_num_seqs=4)
    frame = run(scenario, requests).requests
    bytes_of_four = 4 * BYTES / 1e9
    assert frame["disk_tokens"].tolist() == [0] * 5 + [64, 64]
    assert frame["fetch"].tolist() == pytest.approx(
        [0] * 5 + [bytes_of_four + 1e-3, 2 * bytes_of_four + 1e-3], abs=1e-11
    )
    alone = 1e-3 + 1e-5  # a step with the one token that is left
    assert frame["ttft"].iloc[5] == pytest.approx(bytes_of_four + 1e-3 + alone, abs=1e-11)


def test_writes_delay_fetches_only_on_a_link_that_is_not_duplex():
    scenario, requests = two_that_return(max_num_seqs=4)
    slow = replace(scenario, cache_tiers=tier("disk", 100, bandwidth="50 MB/s"))
    both = [run(replace(slow, cache_tiers=f"{slow.cache_tiers}{more}"), requests) for more in ("", " duplex=false")]
    beside, behind = (one.requests["fetch"].iloc[6] for one in both)
    assert beside == pytest.approx(8 * BYTES / 50e6, abs=1e-11)
    assert behind == pytest.approx(
        11 * BYTES / 50e6, abs=1e-11
    )  # three of the blocks that the first fetch takes had a name
    spans = [sum(np.diff(each, axis=0).sum() for each in (one.links["disk"], one.writes["disk"])) for one in both]
    assert spans[1] / 2 == pytest.approx(spans[0])  # the same bytes; the one link is counted as both


def test_a_request_waits_for_blocks_that_are_being_fetched_for_another_one():
    scenario, requests = two_that_return(max_num_seqs=4)
    same = replace(requests, hash_ids=(*requests.hash_ids[:6], requests.hash_ids[5]))
    frame = run(replace(scenario, arrivals=so.Trace(name="same", requests=same)), same).requests
    assert frame["disk_tokens"].tolist() == [0] * 5 + [64, 0]
    assert frame["cached_tokens"].tolist()[5:] == [64, 64]
    assert frame["fetch"].iloc[6] == frame["fetch"].iloc[5] > 0


@pytest.mark.parametrize("ahead", [False, True])
def test_without_a_block_that_is_found_below_tiers_change_no_time(ahead):
    requests = conversations(3, 200, apart=0.01)
    bare = service(requests, 40, None, max_num_seqs=8, async_scheduling=ahead)
    own = replace(requests, hash_ids=tuple(np.arange(len(ids)) + 100 * k for k, ids in enumerate(requests.hash_ids)))
    tiers = replace(bare, cache_tiers=tier("host", 50))
    without, beside = run(bare, own, leaps=False).requests, run(tiers, own).requests
    assert beside[without.columns].equals(without)
    assert not beside["fetch"].any()


@pytest.mark.parametrize("seed", range(4))
def test_requests_end_and_give_back_all_blocks_whatever_happens_while_they_are_away(seed):
    """A cache of a few requests, slow links, a replica that fails, clients that give up."""
    rng = np.random.default_rng(seed)
    requests = conversations(seed, 120, apart=0.003)
    tiers = f"{tier('host', 9, bandwidth='0.3 GB/s')}, {tier('store', 30, 'shared=true', bandwidth='0.5 GB/s')}"
    fields = {"engine": "vllm 0.33", "max_num_seqs": int(rng.integers(1, 12)), "async_scheduling": bool(seed % 2)}
    scenario = service(requests, 10, tiers, scheduler_reserve_full_isl=bool(seed % 3), **fields)
    alone = run(scenario, requests).requests
    assert (alone["finish"] > 0).all()
    assert alone["fetch"].gt(0).sum() > 10
    fleet = so.Deployment(
        serving=scenario, replicas=2, timeout="0.05 s", retries=1, faults="kill 0 at=0.1 s restart=50 ms",
        after_failure="moved", withdraw=bool(seed < 2),
    )  # fmt: skip
    found = run_deployment(fleet, requests, seed=seed)
    assert found.blocks_held == 0
    assert found.requests["fate"].notna().all()
    assert found.recomputed >= 0


def test_replicas_find_in_a_shared_tier_what_another_one_has_computed():
    requests = conversations(5, 200)
    shares, own = (
        so.Deployment(serving=service(requests, 12, tier("store", 400, more)), replicas=2, router="round-robin")
        for more in ("shared=true", "shared=false")
    )
    found = [run_deployment(each, requests).requests["store_tokens"].sum() for each in (shares, own)]
    assert found[0] > 1.1 * found[1]


def test_the_closed_form_of_each_tier_agrees_with_simulated_requests():
    """Within four standard errors of three runs and 3 % of the value; the share of a tier by itself is far off."""
    serving = so.Serving(
        model="llama_3_1_8b", accelerator="h100_sxm", arrivals="poisson 8 request/s", lengths="input=2048 output=8",
        prefixes="200 tokens=1792 exponent=0.5", block_size=64, num_gpu_blocks=2_250,
        cache_tiers="host 10 GB 25 GB/s, disk 200 GB 5 GB/s",
    )  # fmt: skip
    runs = [measure(serving, run(serving, draw(serving, 1_600, 1, k)), 600, 1_600) for k in range(3)]
    solved = so.solve(so.PrefixCaching(serving=serving))
    for metric in [name for name in runs[0] if "_tier_" in name] + ["prefix_hit_rate", "fetch_mean", "ttft_mean"]:
        values = [one[metric] for one in runs]
        margin = 4 * np.std(values, ddof=1) / np.sqrt(3) + 0.03 * np.mean(values)
        assert solved.best(metric).amount == pytest.approx(np.mean(values), abs=margin), metric
    alone = so.solve(so.PrefixCaching(serving=replace(serving, num_gpu_blocks=300, cache_tiers="disk 200 GB 5 GB/s")))
    disk = "prefix_hit_rate_tier_disk"
    assert alone.best(disk).amount > 1.5 * solved.best(disk).amount
