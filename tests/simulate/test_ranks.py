"""Data-parallel ranks: the run against loops written out by hand, and the closed form against the run."""

from dataclasses import replace

import numpy as np
import pytest

import secondorder as so
from secondorder.analytic.serving import saturation
from secondorder.analytic.serving.ranks import rank_of
from secondorder.scenarios.expert_ranks import step_of_loads
from secondorder.simulate.serving import draw, run
from secondorder.workloads.requests import Requests


def service(**changes: object) -> so.Serving:
    fields = {
        "model": "qwen3_30b_a3b",
        "accelerator": "h100_sxm",
        "arrivals": "poisson 24 request/s",
        "lengths": "input=600 output=geometric 60",
        "step_time": "measured-roofline",
        "data_parallel_size": 4,
        "enable_expert_parallel": True,
        "max_num_seqs": 64,
    }
    return so.Serving(**{**fields, **changes})


def requests(arrival: list[float], prompts: list[int], outputs: list[int]) -> Requests:
    return Requests(arrival=np.array(arrival), input_tokens=np.array(prompts), output_tokens=np.array(outputs))


def test_three_requests_on_two_ranks_are_served_as_a_plain_loop_says():
    """At once: the first and the third on rank 0. Steps in turn, each as long as that of the fuller rank."""
    scenario = service(data_parallel_size=2, async_scheduling=False, enable_prefix_caching=False)
    found = run(scenario, requests([0.0, 0.0, 0.0], [100, 300, 50], [3, 5, 4])).requests
    c = scenario.step_seconds.coefficients
    ranks, now = [[[100, 3, 0], [50, 4, 0]], [[300, 5, 0]]], 0.0  # prompt, output, tokens so far
    first, finish = {}, {}
    while any(ranks):
        loads = []
        for rank in ranks:
            begun = [r for r in rank if not r[2]]
            going = [r for r in rank if r[2]]
            P = sum(r[0] for r in begun)  # noqa: N806
            A = sum(r[0] * (r[0] + 1) // 2 for r in begun)  # noqa: N806
            K = sum(r[0] + r[2] for r in going)  # noqa: N806
            loads.append((P, A, P, len(going), K, len(begun) + len(going)))
        now += step_of_loads(c, loads)
        for rank in ranks:
            for r in list(rank):
                r[2] += 1
                first.setdefault(r[0], now)
                if r[2] == r[1]:
                    finish[r[0]] = now
                    rank.remove(r)
    for place, prompt in enumerate((100, 300, 50)):
        assert found["first_token"][place] == pytest.approx(first[prompt], abs=1e-10)
        assert found["finish"][place] == pytest.approx(finish[prompt], abs=1e-10)


def test_each_rank_has_slots_of_its_own():
    scenario = service(data_parallel_size=2, max_num_seqs=1, async_scheduling=False)
    found = run(scenario, requests([0.0] * 4, [100] * 4, [10] * 4)).requests
    assert len(set(found["first_token"].round(9))) == 2  # two at once, then two


def test_a_prompt_on_one_rank_delays_the_tokens_of_the_other():
    scenario = service(data_parallel_size=2)
    calm = run(scenario, requests([0.0], [100], [200])).requests["finish"][0]
    met = run(scenario, requests([0.0, 0.5], [100, 8000], [200, 2])).requests["finish"][0]
    dense = scenario.step_seconds(8000, 8000 * 8001 / 2, 8000, 0, 0, 1)
    assert met - calm > 0.5 * dense


@pytest.fixture(scope="module")
def simulated():
    scenario = service()
    found = run(scenario, draw(scenario, 1_200, 3)).requests.iloc[200:1_000]
    return {"ttft_mean": found["ttft"].mean(), "tpot_mean": found["tpot"].mean(), "e2el_mean": found["e2el"].mean()}


def test_the_closed_form_of_ranks_is_near_the_run(simulated):
    solved = so.solve(service())
    for metric, value in simulated.items():
        assert solved.best(metric).amount == pytest.approx(value, rel=0.12), metric


def test_ranks_that_did_not_wait_for_each_other_would_be_far_too_fast(simulated):
    """The barrier shows: without the prompts of the others, tokens come more than a tenth too early."""
    scenario = service()
    alone = replace(rank_of(scenario, 6.0), step_time=replace(rank_of(scenario, 6.0).step_time, rate=0.0))
    assert so.solve(alone).best("tpot_mean").amount < 0.9 * simulated["tpot_mean"]


def test_the_saturation_rate_of_ranks_is_that_of_a_flooded_engine():
    scenario = service(lengths="input=600 output=uniform 40 high=80", max_num_seqs=16)
    count = 1_000
    found = run(scenario, replace(draw(scenario, count, 1), arrival=np.zeros(count))).requests
    ended = np.sort(found["finish"].to_numpy())
    measured = (count * 0.6) / (ended[int(0.8 * count)] - ended[int(0.2 * count)])
    assert saturation(scenario).rate == pytest.approx(measured, rel=0.10)


def test_throughputs_are_of_all_ranks_and_latencies_of_one():
    scenario = service()
    solved, one = so.solve(scenario), so.solve(rank_of(scenario, 6.0))
    assert solved.best("request_throughput").amount == pytest.approx(24)
    assert solved.best("running_mean").amount == pytest.approx(4 * one.best("running_mean").amount)
    assert solved.best("tpot_mean").amount == pytest.approx(one.best("tpot_mean").amount)
