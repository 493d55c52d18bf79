"""The steady state of a deployment: the machinery of a service, on the runs of several replicas."""

from dataclasses import replace

import numpy as np
import pytest

import secondorder as so
from secondorder.answers.estimate import Steadiness
from secondorder.errors import InputError, Unstable
from secondorder.simulate.deployment.source import DeploymentSource
from secondorder.simulate.serving.source import ServingSource

CHAT = so.Serving(
    model="llama_3_1_8b",
    accelerator="h100_sxm",
    arrivals="poisson 8 request/s",
    lengths="input=512 output=geometric 64",
    max_num_seqs=64,
)


@pytest.mark.parametrize("flood", [0, 100])
def test_one_replica_is_seen_as_the_service_that_it_is(flood: int) -> None:
    one = so.Deployment(serving=CHAT, replicas=1)
    found, expected = (source.run(2, 600, flood) for source in (DeploymentSource(one, 5), ServingSource(CHAT, 5)))
    assert found.settled == expected.settled
    assert np.array_equal(found.work, expected.work)
    for name, values in found.values.items():
        assert np.array_equal(values, expected.values[name], equal_nan=True)
    shared = found.totals(100, 500).keys() & (wanted := expected.totals(100, 500)).keys()
    assert shared == {"request_throughput", "running_mean", "preemptions_per_request"}
    for metric in shared:
        assert found.totals(100, 500)[metric] == pytest.approx(wanted[metric], rel=1e-9)


def test_runs_that_are_too_short_for_a_busy_deployment_have_no_interval() -> None:
    busy = so.Deployment(serving=replace(CHAT, max_num_seqs=8, arrivals=so.Poisson("26 request/s")), replicas=2)
    short = so.simulate(busy, seed=1, replications=10, requests=1_000).best("ttft_p99")
    assert short.steadiness is Steadiness.NOT_ENOUGH_DATA
    assert short.high == np.inf
    assert "relaxation time" in short.unsettled


def test_requests_that_pile_up_from_both_starts_are_refused() -> None:
    over = so.Deployment(serving=replace(CHAT, max_num_seqs=8, arrivals=so.Poisson("80 request/s")), replicas=2)
    with pytest.raises(Unstable, match="from an empty and from a flooded start"):
        so.simulate(over, seed=1)


def test_a_default_run_reaches_its_precision_and_says_how() -> None:
    calm = so.Deployment(serving=replace(CHAT, arrivals=so.Poisson("16 request/s")), replicas=2)
    answer = so.simulate(calm, seed=1, precision=0.2)
    p99 = answer.best("ttft_p99")
    assert p99.steady
    assert p99.low is not None
    assert p99.high is not None
    assert p99.high - p99.low < 0.4 * p99.amount
    assert answer.how.startswith("simulated, steady state: 20 runs")


def test_seldom_failures_are_not_concluded_from() -> None:
    calm = so.Deployment(serving=CHAT, replicas=2, faults="random mtbf=1000 h restart=1 min")
    p99 = so.simulate(calm, seed=1, requests=300, replications=2).best("ttft_p99")
    assert not p99.steady
    assert "random failures fall into the runs where 20 are due" in p99.unsettled


def test_a_precision_that_is_no_share_is_one_line() -> None:
    with pytest.raises(InputError, match="precision: got 2, expected a share between 0 and 1"):
        so.simulate(so.Deployment(serving=CHAT), precision=2)
