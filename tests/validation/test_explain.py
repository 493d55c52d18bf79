"""The parts of a gap sum to it, name what a case was built to show, and do not depend on the order of effects."""

import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secondorder as so
from secondorder.errors import InputError, UnknownName
from secondorder.scenarios.effects.serving import PrefillElsewhere, without_prefill_interference
from secondorder.simulate.kernels.serving import run as kernel
from secondorder.simulate.serving import draw, single_run
from secondorder.systems.registry import SYSTEMS
from secondorder.systems.system import loaded
from secondorder.validation.explanation.shapley import closed, shares

ROOFLINE = so.Roofline(compute_efficiency=0.7, memory_efficiency=0.8)


def service(rate: str, lengths: object, **changes: object) -> so.Serving:
    base = so.Serving(
        model="llama_3_1_8b", accelerator="h100_sxm", arrivals=f"poisson {rate}", lengths=lengths, step_time=ROOFLINE
    )
    return replace(base, **changes)


DEMO = service("8 request/s", "azure_conv_2023")


def assert_sums(found: so.Explanation) -> None:
    assert math.fsum(part.value for part in found.parts) == found.gap


# The Shapley value


@given(st.integers(1, 4), st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_shares_are_the_mean_over_all_orders(players: int, data: st.DataObject) -> None:
    worth = {
        coalition: data.draw(st.floats(-10, 10))
        for size in range(players + 1)
        for coalition in map(frozenset, __import__("itertools").combinations(range(players), size))
    }
    told = np.zeros(players)
    for order in permutations(range(players)):
        for place, player in enumerate(order):
            before = frozenset(order[:place])
            told[player] += (worth[before | {player}] - worth[before]) / math.factorial(players)
    found = shares(players, lambda who: np.array([worth[who]]))
    assert np.allclose([share[0] for share in found], told)


def test_sampled_shares_of_an_additive_game_are_exact_and_sum() -> None:
    weights = np.arange(1.0, 9.0)
    found = shares(8, lambda who: np.array([sum(weights[i] for i in who)]))
    assert np.allclose([share[0] for share in found], weights)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_parts_are_closed_to_the_last_digit(parts: list[float]) -> None:
    total = sum(parts) * (1 + 1e-12)
    assert math.fsum(closed(parts, total)) == pytest.approx(total, rel=1e-15, abs=1e-300)


# What is simulated without an effect


@pytest.mark.parametrize("name", sorted(word for word, system in SYSTEMS.items() if system.effects))
def test_every_effect_can_be_turned_off_twice(name: str) -> None:
    system = SYSTEMS[name]
    scenario = system.type(**system.example_values) if name in ("queue", "pipeline") else DEMO
    for effect in SYSTEMS["serving" if scenario is DEMO else name].effects:
        off = loaded(effect.off)(scenario)
        assert loaded(effect.off)(off) == off or isinstance(off.step_time, PrefillElsewhere), effect.name


def test_the_kernel_and_simpy_agree_where_prompts_are_computed_elsewhere() -> None:
    scenario = without_prefill_interference(service("20 request/s", "azure_conv_2023", max_num_seqs=8))
    requests = draw(scenario, 500, 3)
    _, recorder = single_run.record(scenario, requests)
    assert kernel.record(scenario, requests).finish.tolist() == list(recorder.finish)


def test_a_service_without_any_effect_is_the_idle_engine() -> None:
    # Equal prompts at equal intervals, each computed alone: the time to first token is that of order 0.
    found = so.explain(DEMO, "ttft_p99", seed=1, replications=2, requests=800)
    assert found.parts[0].value == pytest.approx(0, abs=1e-9)


# What explain says


def test_the_parts_of_the_demo_sum_and_are_the_same_for_the_same_seed() -> None:
    for order in (0, 2):
        found = so.explain(DEMO, "ttft_p99", order=order, seed=1, replications=4, requests=2_000)
        assert_sums(found)
        assert found == so.explain(DEMO, "ttft_p99", order=order, seed=1, replications=4, requests=2_000)
    assert found.parts != so.explain(DEMO, "ttft_p99", order=2, seed=2, replications=4, requests=2_000).parts


def test_turning_the_named_effect_off_closes_its_part() -> None:
    heavy = so.Queue(arrivals="poisson 8 request/s", service="lognormal 100 ms scv=9")
    found = so.explain(heavy, "wait_mean", seed=3)
    without = so.explain(replace(heavy, service="100 ms"), "wait_mean", seed=3)
    assert found.cause == "service variability"
    last = found.effects[0].last
    assert last is not None
    assert without.simulated.amount == pytest.approx(found.simulated.amount - last, rel=1e-9)


def test_the_two_variabilities_of_a_queue_share_as_kingman_says() -> None:
    # Heavy traffic: the wait is in proportion to ca2 + cs2, so that equal ones have equal parts.
    found = so.explain(so.Queue(arrivals="poisson 9 request/s", service="exponential 100 ms"), "wait_mean", requests=100_000)
    parts = {part.name: part for part in found.effects}
    one, other = parts["arrival variability"], parts["service variability"]
    assert one.low is not None
    assert one.high is not None
    assert abs(one.value - other.value) < (one.high - one.low)


CAUSES = {
    "prefill steals the steps": (
        service("8 request/s", "input=1920 output=128", max_num_seqs=32), "tpot_mean", 0, "prefill interference"),
    "the tail of M/M/16": (
        so.Queue(arrivals="poisson 800 request/s", service="exponential 10 ms", servers=16), "wait_p99", 0, "arrival variability"),
    "the knee": (service("24 request/s", "input=512 output=128"), "ttft_p99", 0, "arrival variability"),
    "long prompts block short ones": (
        service("5 request/s", "input=512 output=64"), "tpot_p99", 0, "prefill interference"),
    "the cache is the cliff": (
        service("12 request/s", "input=512 output=geometric 512", num_gpu_blocks=5_000), "ttft_mean", 0, "cache limit"),
    "retries keep the servers busy": (
        so.Queue(arrivals="poisson 70 request/s", service="exponential 100 ms", servers=10,
            patience=so.Patience(limit="2 s", retries=3, withdrawn=False), outage=so.Outage(begin="30 s", duration="30 s")),
        "response_mean", None, "outage"),
    "bursts": (
        so.Queue(arrivals="mmpp 2 request/s 14 request/s 10 s 10 s", service="exponential 100 ms"), "wait_mean", 0, "bursts"),
    "blind routing": (
        so.Queue(arrivals="poisson 64 request/s", service="exponential 100 ms", servers=8, routing="random"), "wait_mean", 0, "routing"),
}  # fmt: skip
