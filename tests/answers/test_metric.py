"""Metrics know their units and statistics: nothing is guessed from a name."""

import math

import pytest

import secondorder as so
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Claim, Estimate, Rung, exact, rungs
from secondorder.answers.metric import (
    EXTREMES,
    LATENCIES,
    MEAN_AND_QUANTILES,
    QUANTILES,
    Metric,
    declared,
    metric_of,
    unit_of,
    units_of,
)
from secondorder.errors import UnknownName
from secondorder.systems.registry import SYSTEMS


def test_the_name_of_a_quantile_is_its_level():
    for table in (QUANTILES, EXTREMES):
        assert {f"p{100 * level:g}": level for level in table.values()} == table
    assert MEAN_AND_QUANTILES == ("mean", "p50", "p90", "p99")


def test_a_name_that_begins_like_a_time_is_not_one():
    metrics = [Metric(name="wait", unit="s", statistics=("mean",)), Metric(name="wait_share")]
    assert units_of(metrics) == {"wait_mean": "s", "wait_share": ""}
    assert declared(metrics, "wait_p99") is None
    with pytest.raises(UnknownName, match="did you mean wait_mean"):
        unit_of(metrics, "wait_men")


def test_the_value_of_a_class_belongs_to_the_metric_of_all_classes():
    assert metric_of(LATENCIES, "ttft_mean_class_3").name == "ttft"
    assert declared(LATENCIES, "ttft_median_class_3") is None


def test_no_two_metrics_of_a_system_have_one_name():
    for system in SYSTEMS.values():
        names = [name for metric in system.metrics for name in metric.names]
        assert len(names) == len(set(names)), system.word


QUEUES = [
    so.Queue(arrivals="poisson 0.5 request/s", service="exponential 1 s"),
    so.Queue(arrivals="poisson 0.5 request/s", discipline=so.Priorities(shares=(0.5, 0.5)), service="exponential 1 s"),
    so.Queue(arrivals="poisson 2 request/s", discipline=so.BatchService(per_item="0.1 s", per_batch="1 s")),
    so.Queue(arrivals="poisson 0.5 request/s", service="exponential 1 s", room=3),
    so.Queue(arrivals="poisson 0.5 request/s", service="exponential 1 s", patience=so.Patience(limit="1 s")),
]


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: type(queue.discipline).__name__)
def test_both_witnesses_of_a_queue_give_a_metric_the_unit_that_is_declared(queue):
    for answer in (so.solve(queue), so.simulate(queue, replications=2, requests=2_000)):
        for estimate in answer.estimates:
            assert estimate.unit == unit_of(SYSTEMS["queue"].metrics, estimate.metric)


def test_a_value_without_a_unit_takes_that_of_the_system():
    bare = [Estimate(metric=metric, amount=2.0, source="simulated") for metric in ("heat", "share")]
    found = Answer(scenario="oven", estimates=tuple(bare)).in_units_of([Metric(name="heat", unit="J")])
    assert [(e.metric, e.unit) for e in found.estimates] == [("heat", "J"), ("share", "")]
    given = Answer(scenario="oven", estimates=(Estimate(metric="heat", amount=1.0, unit="kWh", source="meter"),))
    assert given.in_units_of([Metric(name="heat", unit="J")]).best("heat").unit == "kWh"


def test_a_formula_cannot_give_a_metric_that_is_not_declared():
    heat = Metric(name="heat", unit="J")
    (rung,) = rungs([heat], 1, "balance", exact(), {"heat": 3})
    assert rung == Rung(metric="heat", amount=3.0, unit="J", source="balance", order=1, claim=Claim.EXACT)
    with pytest.raises(UnknownName, match="cold"):
        list(rungs([heat], 1, "balance", exact(), {"cold": math.nan}))
