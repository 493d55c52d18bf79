"""The parts of a gap sum to it, name what a case was built to show, and do not depend on the order of effects."""

import math
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_engine import PLAIN
from scipy.optimize import brentq

import secondorder as so
from secondorder.cli import main
from secondorder.cli.systems import read
from secondorder.errors import InputError, UnknownName
from secondorder.scenarios.effects.serving import without_prefill_interference
from secondorder.scenarios.scenario import Scenario
from secondorder.simulate.kernels.serving import run as kernel
from secondorder.simulate.serving import draw, single_run
from secondorder.simulate.serving.one_run import latencies
from secondorder.systems.registry import SYSTEMS, system_of
from secondorder.systems.system import loaded
from secondorder.validation.explanation.shapley import closed, shares

ROOFLINE = so.Roofline(compute_efficiency=0.7, memory_efficiency=0.8)


def service(rate: str, lengths: object, **changes: object) -> so.Serving:
    base = so.Serving(
        model="llama_3_1_8b",
        accelerator="h100_sxm",
        arrivals=f"poisson {rate}",
        lengths=lengths,
        step_time=ROOFLINE,
        max_num_seqs=256,
        **PLAIN,
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
        for coalition in map(frozenset, combinations(range(players), size))
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


def test_an_effect_that_is_off_stays_off() -> None:
    scenarios: list[Scenario] = [scenario for scenario, _, _ in CAUSES.values()]
    for scenario in scenarios:
        for effect in system_of(scenario).effects:
            off = loaded(effect.off)
            if effect.name not in ("prefill interference", "rework"):  # these change what a time means, each time
                assert off(off(scenario)) == off(scenario), effect.name


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


def test_the_two_variabilities_of_a_queue_share_as_exact_theory_says() -> None:
    """M/M/1 against M/D/1, D/M/1 and D/D/1, at twice the half-width of each interval."""
    queue = so.Queue(arrivals="poisson 9 request/s", service="exponential 100 ms")
    found = so.explain(queue, "wait_mean", requests=100_000)
    both, arrivals = 0.9, 0.45  # rho s/(1 - rho), and half of it
    sigma = brentq(lambda x: x - math.exp(-(1 - x) / 0.9), 1e-6, 1 - 1e-6)
    services = 0.1 * sigma / (1 - sigma)
    exact = {"arrival variability": (arrivals + both - services) / 2}
    exact["service variability"] = both - exact["arrival variability"]
    for part in found.effects:
        assert part.low is not None
        assert part.high is not None
        assert abs(part.value - exact[part.name]) < part.high - part.low


OUTAGE = so.Outage(begin="20 s", duration="4 s")
CAUSES = {
    "prefill steals the steps of decodes": (
        service("8 request/s", "input=1920 output=128", max_num_seqs=32),
        "tpot_mean",
        "prefill interference",
    ),
    "prompts queue behind prompts at the knee": (
        service("16 request/s", "azure_conv_2023"),
        "ttft_p99",
        "prefill interference",
    ),
    "a cache too small": (
        service("12 request/s", "input=512 output=geometric 256", num_gpu_blocks=1300),
        "ttft_mean",
        "cache limit",
    ),
    "few slots": (
        service("11 request/s", "input=512 output=geometric 256", max_num_seqs=24),
        "ttft_mean",
        "batch limit",
    ),
    "arrivals in bursts": (
        so.Queue(
            arrivals="markov 2 request/s rate_2=14 request/s sojourn_1=10 s sojourn_2=10 s",
            service="exponential 100 ms",
        ),
        "wait_mean",
        "bursts",
    ),
    "blind routing": (
        so.Queue(arrivals="poisson 64 request/s", service="exponential 100 ms", servers=8, routing="random"),
        "wait_mean",
        "routing",
    ),
    "a stall under open arrivals": (
        so.Queue(arrivals="poisson 100 request/s", service="1 ms", outage=OUTAGE),
        "response_p99",
        "outage",
    ),
    "jitter in a ring": (
        so.Collective(ranks=8, size="1 GB", link="50 GB/s latency=5 us", jitter="lognormal scv=0.04"),
        "time_mean",
        "jitter",
    ),
    "one slow link": (
        so.Collective(
            ranks=8, size="1 GB", link="50 GB/s latency=5 us", jitter="lognormal scv=0.0004", slow_links={"3": 2.0}
        ),
        "time_mean",
        "slow links",
    ),
    "jitter in a pipeline": (
        so.Pipeline(stages=8, microbatches=32, forward="1 s", schedule="forward", jitter="lognormal scv=0.09"),
        "time_mean",
        "jitter",
    ),
    "lost work": (
        so.Training(
            failures="exponential 8240 s", checkpoint="blocking 3600 s write=20 s", recovery="120 s", duration="2 day"
        ),
        "goodput",
        "rework",
    ),
}


@pytest.mark.parametrize("case", sorted(CAUSES))
def test_explain_names_the_cause(case: str) -> None:
    scenario, metric, cause = CAUSES[case]
    small = 4_000 if isinstance(scenario, so.Queue) else None
    found = so.explain(scenario, metric, seed=1, replications=4, requests=small)
    assert found.cause == cause
    assert_sums(found)
    assert cause in found.sentence


# Cases of the sheet that need a formula of one's own


def test_a_p99_that_adds_the_mean_service_misses_the_service_variability() -> None:
    # M/M/16 at half load, 10 ms of service: the p99 of the wait plus the mean service says 10 ms, the truth is 46 ms.
    queue = so.Queue(arrivals="poisson 800 request/s", service="exponential 10 ms", servers=16)
    found = so.explain(queue, "response_p99", formula="10 ms", given=["several servers"], requests=20_000)
    assert found.simulated.amount == pytest.approx(0.0459, rel=0.02)
    assert found.cause == "service variability"
    assert found.effects[0].value == pytest.approx(found.gap, rel=0.02)
    assert found.given == ("several servers",)
    assert_sums(found)


def test_short_prompts_wait_for_the_prefill_of_a_few_long_ones() -> None:
    short, long = 1_000, 16_000
    lengths = so.Empirical(input=[short, long], output=[200, 200], weight=[0.99, 0.01])
    mixed, alike = service("5 request/s", lengths), service("5 request/s", "input=1000 output=200")
    without = so.simulate(alike, seed=1, replications=4, requests=8_000).best("ttft_p99").amount
    found = so.explain(
        mixed, "ttft_p99", formula=f"{without} s", longest_prompt=short, seed=1, replications=4, requests=8_000
    )
    assert found.simulated.amount > 5 * without
    assert found.cause == "prefill interference"
    assert found.effects[0].value > 0.9 * found.gap
    assert_sums(found)


def test_a_simulator_without_a_cache_limit_misses_the_cache_limit() -> None:
    # An overload, with the same step times: the sheet's run has TTFT -88 % and TPOT +177 %.
    lengths = "input=geometric 1024 output=geometric 256"
    real = service("50 request/s", lengths, num_gpu_blocks=4_000, max_model_len=32_768, max_num_seqs=1_024)
    free = replace(real, num_gpu_blocks=10**6)
    for metric, least, most in (("ttft_mean", -0.92, -0.84), ("tpot_mean", 1.5, 2.4)):
        said = np.mean([latencies(free, seed=1, replication=k, requests=1_000)[metric] for k in range(4)])
        found = so.explain(real, metric, formula=f"{said} s", seed=1, replications=4, requests=1_000)
        assert least < said / found.simulated.amount - 1 < most
        assert found.cause == "cache limit"
        assert found.effects[0].value == pytest.approx(found.gap, rel=0.35)
        assert_sums(found)


def test_what_waits_for_the_engine_is_no_prefill_interference() -> None:
    # Few slots make the wait; prompts that are computed elsewhere still wait for them.
    scenario = service("11 request/s", "input=512 output=geometric 256", max_num_seqs=24)
    elsewhere = latencies(without_prefill_interference(scenario), seed=1, replication=0, requests=4_000)
    unlimited = without_prefill_interference(replace(scenario, max_num_seqs=4_000))
    alone = latencies(unlimited, seed=1, replication=0, requests=4_000)
    assert alone["ttft_mean"] == pytest.approx(so.solve(scenario)["ttft_mean"][0].amount, rel=1e-6)
    assert elsewhere["ttft_mean"] > 2 * alone["ttft_mean"]
    assert elsewhere["e2el_mean"] > alone["e2el_mean"]


def test_a_ring_of_exponential_hops_costs_what_its_theory_says() -> None:
    # 2 - 1/n means a stage: jitter makes the part (1 - 1/n) of the time without it (collectives.md).
    ring = so.Collective(ranks=8, size="1 GB", link="50 GB/s", jitter="exponential", repeats=20)
    found = so.explain(ring, "time_mean", order=0, seed=2)
    (jitter,) = found.effects
    assert jitter.value / found.formula.amount == pytest.approx(1 - 1 / 8, abs=0.05)


def test_retries_are_named_where_they_keep_the_server_busy() -> None:
    patience = so.Patience(limit="1 s", retries=3, withdrawn=False)
    outage = so.Outage(begin="5 s", duration="5 s")
    storm = so.Queue(arrivals="poisson 7 request/s", service="100 ms", patience=patience, outage=outage)
    found = so.explain(storm, "response_mean", seed=1, replications=3, requests=400)
    assert {"retries", "outage"} <= {part.name for part in found.effects}
    assert_sums(found)


# What is refused


def test_bad_requests_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="an order that ttft_p99 has: 0, 2"):
        so.explain(DEMO, "ttft_p99", order=1)
    with pytest.raises(UnknownName, match="ttft_p99"):
        so.explain(DEMO, "ttft_p9")
    with pytest.raises(InputError, match="replications"):
        so.explain(DEMO, "ttft_p99", replications=1)
    with pytest.raises(InputError, match="not both"):
        so.explain(DEMO, "ttft_p99", order=0, formula="20 ms")
    with pytest.raises(InputError, match="your own value for these requests"):
        so.explain(DEMO, "ttft_p99", longest_prompt=1_000)
    with pytest.raises(InputError, match="a service"):
        so.explain(so.Queue(arrivals="poisson 1 request/s", service="100 ms"), "wait_mean", longest_prompt=9)
    with pytest.raises(UnknownName, match="cache limit"):
        so.explain(DEMO, "ttft_p99", given=["cash limit"])
    with pytest.raises(InputError, match="no request"):
        so.explain(DEMO, "ttft_p99", formula="20 ms", longest_prompt=1, replications=2, requests=50)
    with pytest.raises(InputError, match="whose effects can be turned off"):
        so.explain(read(SYSTEMS["capacity"], SYSTEMS["capacity"].example_values), "replicas")


def test_the_command_prints_the_parts_and_draws_a_waterfall(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        '[serving]\nmodel = "llama_3_1_8b"\naccelerator = "h100_sxm"\n'
        'arrivals = "poisson 8 request/s"\nlengths = "input=1024 output=64"\n'
    )
    figure = tmp_path / "why.svg"
    words = ["explain", str(plan), "--metric", "ttft_p99", "--replications", "2", "--num-prompts", "500"]
    assert main([*words, "--request", "17", "--figure", str(figure), "--report", str(tmp_path)]) == 0
    assert "prefill interference" in (tmp_path / "index.html").read_text()
    shown = capsys.readouterr().out
    assert "prefill interference" in shown
    assert "a quantile is not a sum" in shown
    assert "request 17" in shown
    assert figure.read_text().startswith("<?xml")
    assert main([*words[:3], "ttft_p9"]) == 2
