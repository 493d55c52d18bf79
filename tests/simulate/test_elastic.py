"""Elastic runs, false diagnoses, repairs that fail and nodes that are retired: by hand, and against theory."""

import math
from dataclasses import replace
from itertools import chain, islice, repeat

import numpy as np
import pytest

import secondorder as so
from secondorder.analytic.training.elastic import running, wait_for_node
from secondorder.errors import InputError
from secondorder.scenarios.elastic import Elastic
from secondorder.scenarios.training import AsyncCheckpoint, Checkpoint, Recovery, Spares, Training, TwoLevelCheckpoint
from secondorder.simulate.streams import stream
from secondorder.simulate.training import Causes, tell
from secondorder.simulate.training.causes import absences
from secondorder.simulate.training.failures import NEVER


def training(**changes: object) -> Training:
    fields: dict[str, object] = {
        "failures": "exponential 1 h",
        "checkpoint": Checkpoint(interval="100 s", write="10 s"),
        "recovery": Recovery(restart="20 s", detection="5 s", replacement="15 s"),
        "elastic": Elastic(replicas=4, shared=0.5, regroup="2 s", reload="30 s"),
        "duration": "300 s",
    }
    return Training(**{**fields, **changes})  # type: ignore[arg-type]


def causes(*gaps: float, shared: tuple[bool, ...] = ()) -> Causes:
    return Causes(failures=chain(gaps, repeat(NEVER)), shared=chain(shared, repeat(False)))


def spans(story) -> list[tuple[str, float, float]]:
    return [(name, round(start, 9), round(end, 9)) for name, start, end in story.phases]


def test_the_others_go_on_while_one_replica_heals() -> None:
    story = tell(training(duration="200 s"), causes(40.0))
    assert spans(story) == [
        ("work", 0.0, 40.0),
        ("regroup", 40.0, 42.0),
        ("work", 42.0, 90.0),  # back after 5 + 15 + 30 s
        ("regroup", 90.0, 92.0),
        ("work", 92.0, 104.0),
        ("write", 104.0, 114.0),
        ("work", 114.0, 200.0),
    ]
    assert story.downtime == pytest.approx(48 / 4)
    assert story.work == pytest.approx(40 + 48 * 3 / 4 + 12 + 86)
    assert story.work + story.checkpoint + story.rework + story.restart + story.downtime == pytest.approx(200)


def test_a_failure_of_all_sends_the_run_back() -> None:
    story = tell(training(), causes(130.0, shared=(True,)))
    assert spans(story)[2:6] == [
        ("work", 110.0, 130.0),
        ("detection", 130.0, 135.0),
        ("replacement", 135.0, 150.0),
        ("restart", 150.0, 170.0),
    ]
    assert story.rework == pytest.approx(20)


def test_a_change_while_the_others_regroup_begins_that_anew_and_a_write_goes_on() -> None:
    story = tell(training(duration="125 s"), causes(104.0, 1.0))
    assert spans(story)[1:] == [
        ("write", 100.0, 104.0),
        ("regroup", 104.0, 105.0),
        ("regroup", 105.0, 107.0),
        ("write", 107.0, 113.0),
        ("work", 113.0, 125.0),
    ]
    assert story.downtime == pytest.approx(12 / 2)


def test_a_run_waits_for_its_fewest_replicas_and_loses_nothing() -> None:
    elastic = Elastic(replicas=2, shared=0.5, regroup="2 s", reload="30 s", fewest=2)
    story = tell(training(elastic=elastic, duration="120 s"), causes(40.0))
    assert spans(story)[1:4] == [("wait for replicas", 40.0, 90.0), ("regroup", 90.0, 92.0), ("work", 92.0, 120.0)]
    assert story.rework == 0


def test_the_loss_of_the_last_replica_loses_the_work_since_the_checkpoint() -> None:
    elastic = Elastic(replicas=2, shared=0.5, regroup="2 s", reload="30 s")
    happening = causes(40.0, 20.0)
    happening.struck = iter([0.0, 0.0, 0.0])
    story = tell(training(elastic=elastic, duration="200 s"), happening)
    assert [name for name, *_ in spans(story)] == ["work", "regroup", "work", "wait for replicas", "restart", "work"]
    assert story.rework == pytest.approx(40 + 18 / 2)


def test_a_replica_that_is_down_does_not_fail_again() -> None:
    happening = causes(40.0, 10.0)
    happening.struck = iter([0.0, 0.9])
    assert tell(training(duration="200 s"), happening).failures.tolist() == [40.0]


def test_work_is_that_of_all_replicas() -> None:
    story = tell(
        training(duration=None, work="150 s", checkpoint=Checkpoint(interval="100 s", write="10 s")), causes(40.0)
    )
    assert story.work == pytest.approx(150)
    assert story.wall == pytest.approx(150 + 48 / 4 + 2 * 2 + 2 * 10)


def test_a_copy_that_was_not_drained_is_lost_with_all_replicas() -> None:
    late = AsyncCheckpoint(interval="100 s", pause="5 s", drain="40 s")
    lost = tell(training(checkpoint=late), causes(140.0, shared=(True,)))
    kept = tell(training(checkpoint=late), causes(146.0, shared=(True,)))
    assert lost.rework == pytest.approx(140)
    assert kept.rework == pytest.approx(41)


def test_false_diagnoses_repeat_the_restart_in_vain() -> None:
    happening = causes(40.0)
    happening.misled = chain([True], repeat(False))
    story = tell(training(elastic=None, duration="150 s"), happening)
    assert spans(story)[1:7] == [
        ("detection", 40.0, 45.0),
        ("replacement", 45.0, 60.0),
        ("vain restart", 60.0, 80.0),
        ("detection", 80.0, 85.0),
        ("replacement", 85.0, 100.0),
        ("restart", 100.0, 120.0),
    ]


# Closed forms


def test_the_share_of_running_replicas_is_that_of_a_naive_count() -> None:
    """Independent replicas drawn in balance, one after the other: no formula in common."""
    n, m, h, p, fewest, count = 3, 1000.0, 200.0, 40.0, 2, 200_000
    rng = np.random.default_rng(5)
    up = rng.random((count, n)) < m / (m + h)
    since = np.where(up, rng.exponential(m, (count, n)), h * rng.random((count, n)))  # age of a fixed heal: uniform
    calm = (since >= p).all(axis=1) & (up.sum(axis=1) >= fewest)
    share, some = running(replicas=n, lifetime=m, heal=h, regroup=p, fewest=fewest)
    assert abs(calm.mean() - share) < 4 * math.sqrt(share * (1 - share) / count)
    ups = up[calm].mean(axis=1)
    assert abs(ups.mean() - some) < 4 * ups.std() / math.sqrt(len(ups))
    assert abs(calm.mean() - (m / (m + h)) ** n) > 0.02  # the pauses are seen


def test_one_replica_waits_for_a_node_as_a_run_does() -> None:
    wait = 3600 * (1 / so_availability(3600.0, 7200.0, 4) - 1)
    assert wait_for_node(replicas=1, lifetime=3600.0, repair=7200.0, spares=4) == pytest.approx(wait)


def so_availability(mtbf: float, repair: float, spares: int) -> float:
    load = repair / mtbf
    terms = [load**k / math.factorial(k) for k in range(spares + 2)]
    return 1 - terms[-1] / sum(terms)


def test_shares_of_an_elastic_run_agree_with_the_simulation() -> None:
    scenario = training(
        failures="exponential 2 h",
        checkpoint=Checkpoint(interval="1800 s", write="60 s"),
        recovery=Recovery(restart="300 s", detection="30 s", replacement="300 s"),
        elastic=Elastic(replicas=16, shared=0.1, regroup="20 s", reload="2 min"),
        duration="20 day",
    )
    solved, found = so.solve(scenario), so.simulate(scenario, replications=30, seed=2)
    for metric in ("goodput", "checkpoint_share", "rework_share", "restart_share", "downtime_share", "failures_mean"):
        truth = found.best(metric)
        half = (truth.high - truth.low) / 2
        assert abs(solved.best(metric).amount - truth.amount) < 2 * half + 2e-4, metric
    whole = so.solve(replace(scenario, elastic=None)).best("goodput").amount
    assert abs(whole - found.best("goodput").amount) > 0.02  # a formula without the replicas fails


def test_nodes_are_away_for_their_mean_absence() -> None:
    spares = Spares(count=3, repair="exponential 6 h", failed_repairs=0.2, retired=0.1, delivery="1 day")
    drawn = np.fromiter(islice(absences(spares, lambda cause: stream(3, 0, cause)), 40_000), float)
    assert abs(drawn.mean() - spares.absence) < 4 * drawn.std() / 200
    assert spares.absence == pytest.approx(0.9 * 6 * 3600 / 0.8 + 0.1 * 86_400)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"elastic": "1 shared=0"}, "replicas: got 1, expected an integer of at least 2"),
        ({"elastic": "4 shared=0 fewest=5"}, "fewest: got 5, expected at most the 4 replicas"),
        ({"spares": {"count": 1, "repair": "1 h", "retired": 0.1}}, "delivery: got none, expected a time"),
        ({"recovery": "5 s misdiagnosed=1"}, "misdiagnosed"),
        (
            {
                "checkpoint": TwoLevelCheckpoint(
                    interval="5 min", write="2 s", every=6, durable_write="60 s", light_share=0.8, light_restart="30 s"
                )
            },
            "elastic replicas with a TwoLevelCheckpoint, expected blocking or asynchronous",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(changes: dict[str, object], told: str) -> None:
    given = changes.get("spares")
    with pytest.raises(InputError) as error:
        training(**({"spares": Spares(**given)} if isinstance(given, dict) else changes))
    assert told in str(error.value)


def test_an_elastic_run_is_a_plan_that_reads_back(tmp_path) -> None:
    spares = Spares(count=3, repair="6 h", failed_repairs=0.2, retired=0.1, delivery="1 day")
    scenario = training(spares=spares, recovery=Recovery(restart="20 s", misdiagnosed=0.1))
    (tmp_path / "plan.toml").write_text(so.write_plan(scenario))
    assert so.read_plan(tmp_path / "plan.toml").one() == scenario
