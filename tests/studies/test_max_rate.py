"""The highest rate under objectives: against an exponential server, and what makes it infeasible."""

import math
from dataclasses import replace

import pytest

import secondorder as so
from secondorder.analytic.deployment.max_rate import highest
from secondorder.errors import InfeasibleError
from secondorder.validation.catalogue.deployment import exponential_server

SMALL = so.Serving(
    model="llama_3_1_8b",
    accelerator="h100_sxm",
    arrivals="poisson 20 request/s",
    lengths="input=512 output=geometric 64",
    max_num_seqs=32,
)


def test_the_rate_of_an_exponential_server_is_found():
    """M/M/1: the p99 of the response is ln(100)/(mu - rate), so 10 s are kept up to 1 - 0.4605 per second."""
    question = so.MaxRate(
        deployment=so.Deployment(serving=exponential_server(0.4), replicas=1), e2el_p99="10 s", requests=1_500
    )
    found = so.simulate(question, seed=4, replications=8).best("max_rate")
    assert found.low < 1 - math.log(100) / 10 < found.high
    assert found.high - found.low < 0.5 * found.amount


def test_the_rate_found_keeps_the_objectives_and_a_tenth_more_does_not():
    question = so.MaxRate(deployment=so.Deployment(serving=SMALL, replicas=2), ttft_p99="100 ms", requests=1_000)
    found = so.simulate(question, seed=1, replications=4)
    rate = found.best("max_rate").amount
    at, above = (
        so.simulate(question.deployment.at(r), seed=1, replications=4, requests=1_000).best("ttft_p99").amount
        for r in (rate, 1.1 * rate)
    )
    assert at <= 0.1 < above
    assert found.best("ttft_p99").amount == at


def test_the_closed_form_is_the_highest_rate_that_its_ladder_allows():
    deployment = so.Deployment(serving=SMALL, replicas=2, router="random")
    found = so.solve(so.MaxRate(deployment=deployment, ttft_p99="100 ms", price="2 USD/hour"))
    rate = found.best("max_rate").amount
    assert so.solve(deployment.at(rate)).best("ttft_p99").amount <= 0.1
    assert so.solve(deployment.at(1.01 * rate)).best("ttft_p99").amount > 0.1
    assert found.best("cost").amount == pytest.approx(4)
    assert found.best("cost_per_input_token").amount == pytest.approx(4 / 3600 / rate / 512)
    assert found.best("cost_per_output_token").amount == pytest.approx(4 / 3600 / rate / 64, rel=1e-3)


def test_an_objective_below_an_idle_replica_is_infeasible():
    question = so.MaxRate(deployment=so.Deployment(serving=SMALL, replicas=2), ttft_p99="2 ms", requests=400)
    with pytest.raises(InfeasibleError, match=r"ttft_p99 is .* nearly idle"):
        so.solve(question)
    with pytest.raises(InfeasibleError, match="nearly idle; no rate meets the objectives"):
        so.simulate(question, replications=2)


def test_a_question_without_an_objective_is_refused():
    with pytest.raises(so.InputError, match=r"ttft_p99: got no objective"):
        so.max_rate(SMALL)


def test_max_rate_takes_a_service_or_a_deployment():
    one = so.max_rate(SMALL, ttft_p99="100 ms", requests=400, replications=2)
    assert [each.formula.metric for each in one.judged].count("max_rate") == 2
    assert one.solved.best("max_rate").amount == pytest.approx(
        so.solve(so.MaxRate(deployment=so.Deployment(serving=SMALL, replicas=2, router="random"), ttft_p99="100 ms"))
        .best("max_rate")
        .amount
        / 2,
        rel=0.01,
    )


def test_bisection_ends_below_the_border():
    assert highest(lambda x: x <= 0.7, 0.0, 1.0) == pytest.approx(0.7, rel=3e-3)
    assert highest(lambda x: x <= 0.7, 0.0, 1.0) <= 0.7


def test_fewest_replicas_behind_a_router_are_no_more_than_with_a_random_split():
    serving = replace(SMALL, arrivals="gamma 1 request/s burstiness=0.5")
    fields = {"rate": "60 request/s", "ttft_p99": "120 ms"}
    with pytest.raises(so.InputError, match="name a router"):
        so.Capacity(serving=serving, **fields)
    routed = so.simulate(so.Capacity(serving=serving, router="least-outstanding", **fields), replications=3)
    blind = so.simulate(so.Capacity(serving=serving, router="random", **fields), replications=3)
    assert routed.best("replicas").amount <= blind.best("replicas").amount
