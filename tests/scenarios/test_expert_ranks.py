"""Claims about data-parallel ranks and expert parallelism: step times by hand and by drawing, memory, refusals."""

from dataclasses import replace

import numpy as np
import pytest

import secondorder as so
from secondorder.cli import main
from secondorder.errors import InputError
from secondorder.scenarios.engine_memory import rank_weights
from secondorder.scenarios.expert_ranks import greatest, rank_coefficients, step_of_loads, together
from secondorder.scenarios.steptime import Placement
from secondorder.simulate.serving.live import LiveEngine

MIXTURE = so.models.qwen3_30b_a3b
"""48 layers, all of 128 experts of which 8 are used, each 3 x 2,048 x 768 values; 4 key-value heads of 128."""
EXPERT = 3 * 2048 * 768


def service(**changes: object) -> so.Serving:
    fields = {
        "model": MIXTURE,
        "accelerator": "h100_sxm",
        "arrivals": "poisson 8 request/s",
        "lengths": "input=200 output=20",
        "step_time": "measured-roofline",
    }
    return so.Serving(**{**fields, **changes})


def test_a_step_of_two_ranks_is_their_own_parts_and_the_experts_that_all_tokens_hit():
    """Twenty decodes on each rank, by hand: experts split over two cards, one exchange of 2 x 20 tokens a layer."""
    found = service(data_parallel_size=2).step_seconds(0, 0, 0, 20, 20 * 500, 20)
    outside = MIXTURE.touched_bytes(0, "bf16") / (3.35e12 * 0.9)
    hit = 128 * (1 - (1 - 8 / 128) ** 40)
    experts = 48 * hit * EXPERT * 2 / (3.35e12 * 0.9 * 2)
    routed = 48 * 8 * EXPERT
    dense = (MIXTURE.flops_per_token - 2 * routed) * 20 / (989e12 * 0.8)
    grouped = 2 * routed * 40 / (989e12 * 0.8 * 0.19 * 2)
    head = 20 * MIXTURE.flops_per_row / (989e12 * 0.8)
    cache = 20 * 500 * MIXTURE.kv_bytes_per_token("bf16") / (3.35e12 * 0.8)
    floors = 48 * (26e-6 + 52e-6) + 1.2e-4 + 20 * 2.8e-6
    exchange = 48 * (2 * 4.5e-6 + 40 * 2048 * 2 * 2 * (1 / 2) / 0.75 / 450e9)
    assert found == pytest.approx(outside + experts + dense + grouped + head + cache + floors + exchange, rel=1e-6)


@pytest.mark.parametrize(("link", "measured"), [("200 GB/s", 191e-6), ("450 GB/s", 96e-6)], ids=["H800", "H20"])
def test_an_exchange_within_a_node_is_within_20_percent_of_deepep(link, measured):
    """128 tokens of 7,168 values on each of eight cards: DeepEP, legacy table (H800) and pull request 173 (H20)."""
    device = replace(so.accelerators.h100_sxm, link_bandwidth=link)
    placement = Placement(
        model=so.models.deepseek_v3, accelerator=device, precision="fp8", kv_precision="bf16", data_parallel_size=8,
        enable_expert_parallel=True,
    )  # fmt: skip
    c = rank_coefficients(so.MeasuredRoofline(), placement)
    assert c.exchange + 8 * 128 * c.exchanged_per_token == pytest.approx(measured, rel=0.2)


def test_a_step_lasts_as_long_as_that_of_the_fullest_rank():
    c = service(data_parallel_size=4).step_seconds.coefficients
    even, uneven = ([(0, 0, 0, n, 500 * n, n) for n in batches] for batches in ((40,) * 4, (100, 20, 20, 20)))
    alone = [(0, 0, 0, 100, 50_000, 100)] * 4
    more = step_of_loads(c, uneven) - step_of_loads(c, even)
    assert more > 0
    experts = together(c, 400) - together(c, 160)
    assert step_of_loads(c, alone) - step_of_loads(c, uneven) == pytest.approx(experts)
    assert step_of_loads(c, even) == pytest.approx(service(data_parallel_size=4).step_seconds(0, 0, 0, 40, 20_000, 40))


def test_the_mean_of_the_greatest_normal_is_that_of_draws():
    draws = np.random.default_rng(1).standard_normal((200_000, 16))
    for count in (2, 4, 8, 16):
        assert greatest(count) == pytest.approx(draws[:, :count].max(axis=1).mean(), rel=0.05)
    assert greatest(1) == 0


@pytest.mark.parametrize("tokens", [8, 64, 512])
def test_the_fullest_accelerator_of_expert_parallelism_is_that_of_drawn_tokens(tokens):
    """Choices drawn evenly without replacement; 300 layers; the normal form is good to 8 %."""
    rng, ranks = np.random.default_rng(2), 8
    hits, loads = [], []
    for _ in range(300):
        chosen = np.argsort(rng.random((tokens, 128)), axis=1)[:, :8]
        counts = np.bincount(chosen.ravel(), minlength=128).reshape(ranks, 16)
        hits.append((counts > 0).sum(axis=1).max())
        loads.append(counts.sum(axis=1).max())
    common = {"tensor_parallel_size": 1, "data_parallel_size": 8}
    even = service(**common).step_seconds.coefficients
    whole = service(**common, enable_expert_parallel=True).step_seconds.coefficients
    hit = 1 - (1 - 8 / 128) ** tokens
    reading = even.experts[0][2] * (np.mean(hits) / 16 - hit)
    computing = even.per_token * tokens * (np.mean(loads) / (tokens * 8 / ranks) - 1)
    drawn = together(even, tokens) + reading + computing
    assert together(whole, tokens) == pytest.approx(drawn, rel=0.08)
    assert together(even, tokens) < drawn


def test_ranks_share_the_experts_and_copy_the_rest():
    outside, experts = MIXTURE.parameters * 2 - 48 * 128 * EXPERT * 2, 48 * 128 * EXPERT * 2
    alone, shared = rank_weights(MIXTURE, "bf16", 1), rank_weights(MIXTURE, "bf16", 1, 8)
    assert alone - shared == pytest.approx(experts * 7 / 8)
    assert shared == pytest.approx(outside + experts / 8, rel=0.01)
    assert service(data_parallel_size=8).kv_blocks > 3 * service().kv_blocks
    assert service(data_parallel_size=8).memory.weights == pytest.approx(shared)


def test_a_quantised_mixture_shares_its_stored_experts():
    model = so.models.gpt_oss_120b
    stored = sum(size for _, _, size in model.expert_bytes("bf16"))
    saved = rank_weights(model, "bf16", 1) - rank_weights(model, "bf16", 1, 2)
    assert saved == pytest.approx(stored / 2, rel=0.07)  # kernels widen 2,880 to 3,072


def test_expert_parallelism_without_ranks_changes_only_the_fullest_accelerator():
    spread = service(tensor_parallel_size=4, enable_expert_parallel=True)
    split = service(tensor_parallel_size=4)
    load = (0, 0, 0, 16, 16 * 500, 16)
    assert split.step_seconds(*load) < spread.step_seconds(*load) < 1.4 * split.step_seconds(*load)
    assert spread.kv_blocks == split.kv_blocks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "llama_3_1_8b", "data_parallel_size": 2}, "take replicas of a deployment"),
        ({"model": "llama_3_1_8b", "enable_expert_parallel": True}, "a model with experts"),
        ({"step_time": "roofline", "data_parallel_size": 2}, "measured-roofline"),
        ({"step_time": "roofline", "enable_expert_parallel": True}, "measured-roofline"),
    ],
)
def test_what_cannot_be_told_of_ranks_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        service(**changes)


def test_ranks_are_refused_inside_another_scenario_and_in_real_time():
    ranks = service(data_parallel_size=2)
    with pytest.raises(InputError, match="2 in a Deployment"):
        so.solve(so.Deployment(serving=ranks))
    with pytest.raises(InputError, match="2 in a Deployment"):
        so.simulate(so.Deployment(serving=ranks), requests=100)
    with pytest.raises(InputError, match="an engine in real time"):
        LiveEngine(ranks)
    with pytest.raises(InputError, match="a partition of latencies"):
        so.partition(ranks, requests=10)


def test_scalars_and_arrays_give_the_same_numbers():
    seconds = service(data_parallel_size=4, enable_expert_parallel=True).step_seconds
    arrays = seconds(np.array([0.0, 64.0]), 5, 7, np.array([3.0, 3.0]), 900, 3)
    assert [seconds(p, 5, 7, 3, 900, 3) for p in (0.0, 64.0)] == pytest.approx(list(arrays), rel=1e-12)
    assert isinstance(seconds(0, 0, 0, 3, 900, 3), float)


def test_slots_are_counted_on_all_ranks():
    ranks = service(data_parallel_size=2)
    assert ranks.accelerators == 2
    assert ranks.most_running == 2 * service(num_gpu_blocks=ranks.kv_blocks).most_running


def test_a_command_takes_both_by_the_names_of_vllm(capsys):
    flags = [
        "--model", "qwen3_30b_a3b", "--accelerator", "h100_sxm", "--arrivals", "poisson 8 request/s", "--no-simulate",
        "--lengths", "input=200 output=20", "--step-time", "measured-roofline", "--data-parallel-size", "2",
        "--enable-expert-parallel",
    ]  # fmt: skip
    assert main(["serve", *flags]) == 0
    assert "of 2 ranks in lockstep" in capsys.readouterr().out
    assert main(["serve", *flags, "--show"]) == 0
    assert "on each of 2 ranks" in capsys.readouterr().out
