"""How many replicas: prompts counted, the tail of the sum, and one replica fewer failing."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_engine import PLAIN

import secondorder as so
from secondorder.analytic.capacity import least, replicas_for_rate, solve_capacity, tail
from secondorder.analytic.queues import multiserver
from secondorder.analytic.serving.capacity import decode_only_rate
from secondorder.analytic.serving.saturation import saturation
from secondorder.errors import InfeasibleError, InputError
from secondorder.scenarios.capacity import Capacity
from secondorder.simulate.capacity import simulate_capacity
from secondorder.simulate.serving import draw, run
from secondorder.workloads.requests import Requests

IDEAL = so.Roofline(compute_efficiency=1, memory_efficiency=1, host_overhead="0 s")


def replica(**changes) -> so.Serving:
    fields = {
        "model": so.models.llama_3_1_8b,
        "accelerator": so.accelerators.h100_sxm,
        "arrivals": so.Poisson("1 request/s"),
        "lengths": so.Lengths(input=1920, output=128),
        "max_num_seqs": 32,
        **PLAIN,
    }
    return so.Serving(**{**fields, **changes})


def capacity(serving: so.Serving | None = None, **changes) -> Capacity:
    fields = {"serving": serving or replica(), "rate": "50 request/s", "e2el_p99": "5 s"}
    return Capacity(**{**fields, **changes})


# The two faults of the first-order answer


@pytest.mark.parametrize(("step_time", "claimed", "true"), [(so.Roofline(), 25.8, 14.1), (IDEAL, 35.9, 20.2)])
def test_prompts_take_almost_half_of_what_the_decode_rate_promises(step_time, claimed, true):
    """1,920 in, 128 out, batch 32: what the reference says (34 request/s), and what an overloaded engine serves."""
    serving = replica(step_time=step_time)
    answer = solve_capacity(capacity(serving))
    first, second = answer["saturation_rate"]
    assert first.amount == pytest.approx(claimed, abs=0.05)
    assert not first.in_domain
    assert second.amount == pytest.approx(true, abs=0.05)
    crowded = replace(
        serving,
        arrivals=so.Poisson(f"{3 * true} request/s"),
        lengths=so.Lengths(input=1920, output=so.Uniform(115, 141)),
    )
    finish = np.sort(run(crowded, draw(crowded, 1500)).requests["finish"].to_numpy())
    throughput = 1000 / (finish[1200] - finish[200])
    assert second.amount == pytest.approx(throughput, rel=0.06)
    assert first.amount > 1.6 * throughput


def test_the_reference_of_34_is_full_batches_of_decodes_on_an_ideal_card():
    """16.06 GB of weights and 32 caches over 3.35 TB/s, 128 steps: 34.4; ours does not read the embedding."""
    weights, cache = 16.06e9, 32 * (1920 + 64) * 131_072
    assert 32 / (128 * (weights + cache) / 3.35e12) == pytest.approx(34.4, abs=0.1)
    assert decode_only_rate(replica(step_time=IDEAL)) == pytest.approx(
        32 / (128 * (weights - 2 * 128_256 * 4096 + cache) / 3.35e12), rel=0.01
    )


def test_two_replicas_of_the_textbook_are_unstable_and_four_do():
    answer = solve_capacity(capacity())
    zero, one, two = answer["replicas"]
    assert [rung.amount for rung in (zero, one, two)] == [2, 4, 4]
    assert not zero.in_domain
    assert "the queue grows" in zero.remark
    simulated = simulate_capacity(capacity(), seed=1, replications=5)
    found = simulated.best("replicas")
    assert (found.low, found.amount, found.high) == (4, 4, 4)
    assert "with 3 the queue grows" in simulated.how
    assert simulated.best("e2el_p99").high < 5


def test_the_p99_of_a_sum_is_not_the_p99_of_the_wait_and_a_mean():
    """M/M/16 at half load, 10 ms of service: the sum of p99 and mean says 10 ms, drawn requests 46 ms."""
    given = {"arrival_rate": 800.0, "service_rate": 100.0, "servers": 16}
    claimed = multiserver.wait_quantile(0.99, **given) + 0.01
    assert claimed == pytest.approx(0.010, abs=1e-4)
    true = multiserver.response_quantile(0.99, **given)
    rng, found = np.random.default_rng(4), []
    for _ in range(12):
        free, times = np.zeros(16), []
        for at, service in zip(np.cumsum(rng.exponential(1 / 800, 12_000)), rng.exponential(0.01, 12_000), strict=True):
            first = int(free.argmin())
            free[first] = max(free[first], at) + service
            times.append(free[first] - at)
        found.append(np.quantile(times[500:], 0.99))
    half = 3.1 * np.std(found, ddof=1) / math.sqrt(12)
    assert true == pytest.approx(np.mean(found), abs=half)
    assert true == pytest.approx(0.0459, abs=2e-4)
    assert abs(claimed - np.mean(found)) > 3 * half


# What binds


def test_the_answer_is_the_least_number_that_keeps_every_objective():
    scenario = capacity(ttft_p99="500 ms", tpot_p99="20 ms", e2el_p99=None)
    answer = solve_capacity(scenario)
    found = int(answer.best("replicas").amount)
    for metric, most in scenario.objectives.items():
        assert answer.best(metric).amount <= most
        assert so.solve(scenario.replica(found)).best(metric).amount == pytest.approx(answer.best(metric).amount)
    assert tail(scenario, found - 1, saturation(scenario.serving)).missed(scenario.objectives)


@pytest.mark.parametrize(
    ("serving", "objectives", "binds"),
    [
        (replica(), {"ttft_p99": "300 ms", "tpot_p99": "1 s"}, "bound by ttft"),
        (replica(), {"ttft_p99": "10 s", "tpot_p99": "18 ms"}, "bound by tpot"),
        (replica(), {"ttft_p99": "60 s"}, r"saturation \(slots\)"),
        (replica(num_gpu_blocks=1500), {"ttft_p99": "60 s"}, r"saturation \(memory"),
    ],
)
def test_what_binds_is_named(serving, objectives, binds):
    answer = solve_capacity(capacity(serving, e2el_p99=None, **objectives))
    assert re.search(binds, answer.how), answer.how


def test_an_objective_that_no_number_of_replicas_keeps_is_refused():
    with pytest.raises(InfeasibleError, match="nearly idle"):
        solve_capacity(capacity(e2el_p99=None, tpot_p99="5 ms"))
    with pytest.raises(InfeasibleError, match="nearly idle"):
        simulate_capacity(capacity(e2el_p99=None, ttft_p99="10 ms", rate="0.5 request/s"), replications=2)


def test_without_an_objective_or_poisson_arrivals_there_is_nothing_to_answer():
    with pytest.raises(InputError, match="no objective"):
        capacity(e2el_p99=None)
    with pytest.raises(InputError, match="Poisson"):
        capacity(replica(arrivals=so.Gamma("1 request/s", burstiness=0.5)))
    with pytest.raises(InputError, match="tpot_p99"):
        capacity(replica(lengths=so.Lengths(input=100, output=1)), tpot_p99="20 ms")


def test_cost_needs_a_price():
    short = capacity(rate="12 request/s")
    assert "cost" not in solve_capacity(short)
    assert short.cost_rate(1) is None
    answer = solve_capacity(capacity(price="3 USD/hour"))
    assert answer.best("cost").amount == pytest.approx(12.0)
    assert answer.best("cost_per_request").amount == pytest.approx(12 / 3600 / 50)
    assert answer.best("cost_per_token").amount == pytest.approx(12 / 3600 / 50 / 128)


# The search, and the split


@given(st.integers(1, 500), st.integers(1, 100_000))
def test_the_search_finds_the_least(start, threshold):
    assert least(lambda n: n >= threshold, start=start) == max(start, threshold)


@given(st.floats(0.1, 1e4), st.floats(0.1, 1e3))
def test_the_least_stable_number_is_stable_and_one_fewer_is_not(rate, each):
    found = replicas_for_rate(rate=rate, replica_rate=each)
    assert found * each > rate * (1 - 1e-12)
    assert (found - 1) * each <= rate * (1 + 1e-12)


def test_one_replica_at_its_share_is_each_of_many_with_a_random_split():
    """Requests of all replicas together, each sent to one of three at random: the p99 of them all."""
    scenario = capacity(rate="30 request/s")
    whole, rng, found = replace(scenario.serving, arrivals=so.Poisson("30 request/s")), np.random.default_rng(8), []
    for seed in range(5):
        requests, latencies = draw(whole, 6000, seed), []
        chosen = rng.integers(3, size=6000)
        for one in range(3):
            mine = chosen == one
            part = Requests(
                arrival=np.asarray(requests.arrival)[mine],
                input_tokens=np.asarray(requests.input_tokens)[mine],
                output_tokens=np.asarray(requests.output_tokens)[mine],
            )
            latencies.append(run(whole, part).requests["ttft"].to_numpy()[150:])
        found.append(np.quantile(np.concatenate(latencies), 0.9))
    alone = so.simulate(scenario.replica(3), seed=3, requests=6000, replications=5).best("ttft_p90")
    half = 2.8 * np.std(found, ddof=1) / math.sqrt(5)
    assert alone.low - half < np.mean(found) < alone.high + half


def test_the_simulated_number_agrees_with_the_closed_form_and_one_fewer_fails():
    scenario = capacity(e2el_p99=None, ttft_p99="500 ms")
    simulated = simulate_capacity(scenario, seed=2, replications=5)
    closed = solve_capacity(scenario).best("replicas")
    found = simulated.best("replicas")
    assert found.low <= closed.amount <= found.high
    assert simulated.best("ttft_p99_one_fewer").low > 0.5 > simulated.best("ttft_p99").high


def test_the_same_seed_gives_the_same_answer():
    scenario = capacity(rate="12 request/s", e2el_p99=None, ttft_p99="10 s")
    once, again = (simulate_capacity(scenario, seed=2, replications=2) for _ in range(2))
    assert once.estimates == again.estimates
