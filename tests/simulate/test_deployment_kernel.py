"""Several compiled engines behind the compiled router against those on SimPy: the same integers in every case."""

import os
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_services import Case, cases, examples

import secondorder as so
from secondorder.errors import InputError
from secondorder.scenarios.router import LeastOutstanding, LeastTokens, PrefixAware, RandomReplica
from secondorder.simulate import serving
from secondorder.simulate.deployment.compiled import by_events, run_compiled, serve, witness_of
from secondorder.simulate.deployment.router import Load, Rule, rule_of
from secondorder.simulate.kernels.coefficients import shortest_step, step_times
from secondorder.simulate.kernels.deployment import run as kernel
from secondorder.workloads.requests import Requests

EXAMPLES = int(os.environ.get("SECONDORDER_KERNEL_EXAMPLES", "40"))
"""Random deployments of each kind; more by `make validate`."""
BLIND = ("random", "round-robin", "least-outstanding", "power-of-d 2", "power-of-d 3", "least-tokens", "session 2")
KNOWING = ("prefix-aware 0", "prefix-aware 1.5", "prefix-aware 50", "session 1", "session 32", "least-outstanding")
INTERVALS = ("0 s", "0 s", "0.5 ms", "3.141592653 ms", "20 ms")

SERVING = so.Serving(
    model="llama_3_1_8b",
    accelerator="h100_sxm",
    arrivals="poisson 40 request/s",
    lengths="input=geometric 600 output=geometric 60",
    max_num_seqs=16,
)
AGENTS = replace(
    SERVING, lengths="input=2048 output=geometric 64", prefixes="60 tokens=1792 exponent=0.5", num_gpu_blocks=1_500,
    enable_prefix_caching=True,
)  # fmt: skip


def assert_same(deployment: so.Deployment, requests: Requests, seed: int = 0) -> None:
    expected, found = (serve(deployment, requests, seed=seed, witness=witness) for witness in ("events", "kernel"))
    for column in expected.requests:
        assert found.requests[column].equals(expected.requests[column]), column
    assert found.series.equals(expected.series)
    assert (found.computed, found.delivered, found.wasted) == (expected.computed, expected.delivered, expected.wasted)
    assert (found.paid, found.downtime) == (expected.paid, expected.downtime)
    assert found.blocks_held == expected.blocks_held == 0


def deployment_of(case: Case, replicas: int, router: str, interval: str) -> so.Deployment:
    return so.Deployment(serving=case.scenario, replicas=replicas, router=router, report_interval=interval)


@given(
    cases(caching=False, most_requests=20)
    | cases(cadence=True, caching=False, most_requests=20)
    | cases(urgent=True, caching=False, most_requests=20),
    st.integers(3, 5),
    st.sampled_from(BLIND),
    st.sampled_from(INTERVALS),
    st.integers(0, 99),
)
@examples(EXAMPLES)
def test_the_kernel_gives_the_integers_of_several_engines(case, replicas, router, interval, seed):
    assert_same(deployment_of(case, replicas, router, interval), case.requests, seed)


@given(
    cases(caching=True, most_requests=20)
    | cases(cadence=True, caching=True, most_requests=20)
    | cases(urgent=True, caching=True, most_requests=20),
    st.integers(1, 3),
    st.sampled_from(KNOWING),
    st.sampled_from(INTERVALS),
    st.integers(0, 99),
)
@examples(2 * EXAMPLES)
def test_the_kernel_gives_the_integers_of_routers_that_know_prefixes(case, replicas, router, interval, seed):
    assert_same(deployment_of(case, replicas, router, interval), case.requests, seed)


@pytest.mark.parametrize("changes", [{}, {"async_scheduling": True}], ids=["plain", "asynchronous"])
@pytest.mark.parametrize("router", ["power-of-d 2", "prefix-aware 50"])
def test_the_kernel_gives_the_integers_of_busy_replicas(router, changes):
    agents = replace(AGENTS, **changes)
    deployment = so.Deployment(serving=agents, replicas=3, router=router, report_interval="200 ms")
    assert_same(deployment, serving.draw(agents, 500, 3), seed=5)


@given(cases(most_requests=1), *[st.integers(0, 40)] * 3, st.integers(0, 5_000), st.integers(0, 5_000))
@examples(2 * EXAMPLES)
def test_no_step_is_shorter_than_the_shortest(case, tokens, decodes, rows, before, context):
    """A load that cannot have changed is not looked at: that rests on this bound."""
    times, decodes = step_times(case.scenario), max(decodes, tokens == 0)
    assert times is not None
    pairs, after = tokens * before + tokens * (tokens + 1) // 2, (before + tokens) * (tokens > 0)
    try:
        seconds = case.scenario.step_seconds(tokens, pairs, after, decodes, decodes + context * (decodes > 0), rows)
    except InputError:
        return  # outside the grids of a table
    assert round(seconds * 1e12) >= shortest_step(times)


def test_the_shortest_step_is_that_of_one_token():
    alone = SERVING.step_seconds(0, 0, 0, 1, 1, 0)
    times = step_times(SERVING)
    assert times is not None
    assert 0.99 * alone < shortest_step(times) * 1e-12 <= alone


def test_the_prefixes_that_a_router_remembers_are_as_many_as_a_cache_holds():
    """So few that most are forgotten: the kernel forgets the same ones."""
    agents = replace(AGENTS, num_gpu_blocks=300, max_model_len=4_000)
    assert_same(so.Deployment(serving=agents, replicas=2, router="prefix-aware 5"), serving.draw(agents, 400, 2))


@pytest.mark.parametrize("interval", ["0 s", "50 ms"])
@pytest.mark.parametrize("router", ["round-robin", "least-outstanding", "power-of-d 2", "prefix-aware 50"])
def test_a_run_that_stops_often_is_the_same_run(monkeypatch, router, interval):
    """Also where it stops between the choice of some replicas and that of one of them, or gets more slots."""
    monkeypatch.setattr(kernel, "PORTION", 7)
    monkeypatch.setattr(kernel, "ROWS", 3)
    monkeypatch.setattr(kernel, "SLOTS", 1)
    deployment = so.Deployment(serving=AGENTS, replicas=3, router=router, report_interval=interval)
    assert_same(deployment, serving.draw(AGENTS, 100, 1))


@pytest.mark.parametrize("router", ["least-outstanding", "least-tokens", "power-of-d 70", "prefix-aware 2"])
def test_more_replicas_than_a_heat_or_a_word_have_room_for_are_the_same(router):
    agents = replace(AGENTS, arrivals="poisson 900 request/s")
    assert_same(so.Deployment(serving=agents, replicas=70, router=router), serving.draw(agents, 500, 4), seed=3)


def test_one_request_and_none_are_runs_too():
    deployment, one = so.Deployment(serving=SERVING, replicas=2), serving.draw(SERVING, 2)[:1]
    assert_same(deployment, one)
    assert len(run_compiled(deployment, one[:0]).requests) == 0


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"faults": "kill 0 at=1 s restart=1 s"}, "faults"),
        ({"autoscaler": "20 most=4"}, "an autoscaler"),
        ({"timeout": "1 s"}, "time-outs"),
        ({"max_outstanding": 8}, "refusals"),
        ({"others": "1 accelerator=a100_80gb"}, "replicas that are not alike"),
    ],
)
def test_what_happens_to_replicas_and_requests_is_for_simpy_and_the_answer_says_so(changes, why):
    deployment = so.Deployment(serving=SERVING, replicas=2, **changes)
    assert by_events(deployment) == why
    assert witness_of(deployment) == "events"
    with pytest.raises(InputError, match="kernel for deployment"):
        witness_of(deployment, "kernel")
    assert f"by events on SimPy, for {why}" in so.simulate(deployment, replications=2, requests=100).how


@dataclass(frozen=True, kw_only=True)
class Last(RandomReplica):
    """The last of the replicas that are up."""


@rule_of.register
def _(kind: Last, chance: np.random.Generator, outstanding: Load, tokens: Load) -> Rule:
    return lambda ask, up: up[-1]


def test_a_router_that_the_kernel_does_not_know_runs_on_simpy():
    deployment = so.Deployment(serving=SERVING, replicas=2, router=Last())
    assert by_events(deployment) == "a router that the kernel does not know"
    assert witness_of(deployment) == "events"


def test_an_answer_does_not_depend_on_its_witness():
    deployment = so.Deployment(serving=SERVING, replicas=2)
    kernel, events = (
        so.simulate(deployment, replications=2, requests=300, witness=witness) for witness in ("kernel", "events")
    )
    assert kernel.estimates == events.estimates
    assert kernel.how.endswith("by the compiled kernel")
    assert events.how.endswith("by events on SimPy")


def test_loads_that_are_fresh_are_those_of_the_last_report_with_a_report_an_instant():
    """Where every arrival has a report of its own just before, old reports are no different from fresh ones."""
    count = 300
    requests = Requests(
        arrival=np.arange(1, count + 1) * 0.02, input_tokens=np.full(count, 600), output_tokens=np.full(count, 60)
    )
    for router in (LeastOutstanding(), LeastTokens()):
        fresh, told = (
            run_compiled(so.Deployment(serving=SERVING, replicas=3, router=router, report_interval=each), requests)
            for each in ("0 s", "20 ms")
        )
        assert fresh.requests.equals(told.requests)
    assert isinstance(so.Deployment(serving=AGENTS, router="prefix-aware 5").router, PrefixAware)
