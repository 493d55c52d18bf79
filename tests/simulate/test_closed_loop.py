"""Closed loops: a limit of requests at a time, and users who think."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import secondorder as so
from secondorder.analytic.queues.closed_network import mean_value_analysis
from secondorder.analytic.serving.closed_loop import stationary
from secondorder.errors import InputError, Unstable
from secondorder.simulate.closed_loop import LoopRun, concurrency, run_loop
from secondorder.simulate.serving import draw, record

SERVING = so.Serving(
    model="llama_3_1_8b",
    accelerator="h100_sxm",
    arrivals="poisson 6 request/s",
    lengths="input=geometric 512 output=geometric 128",
    max_num_seqs=64,
)


def closed(**changes: Any) -> so.ClosedLoop:
    return replace(so.ClosedLoop(serving=SERVING, max_concurrency=16), **changes)


def at_the_engine(run: LoopRun) -> tuple[list[int], list[int]]:
    """Times at which the number of requests changes, and the number from then on."""
    changes = sorted([(int(at), 1) for at in run.sent] + [(int(at), -1) for at in run.finish])
    return [at for at, _ in changes], np.cumsum([change for _, change in changes]).tolist()


@pytest.mark.parametrize("changes", [{}, {"think_time": "500 ms"}, {"offered": True}])
def test_littles_law_holds_to_the_picosecond(changes: dict[str, Any]) -> None:
    run = run_loop(closed(**changes), 400)
    times, counts = at_the_engine(run)
    area = sum(n * (later - at) for n, at, later in zip(counts, times, times[1:], strict=False))
    assert area == sum(int(end) - int(sent) for sent, end in zip(run.sent, run.finish, strict=True))


@pytest.mark.parametrize("changes", [{}, {"think_time": "500 ms"}, {"offered": True, "max_concurrency": 3}])
def test_no_more_requests_are_sent_than_there_are_places(changes: dict[str, Any]) -> None:
    loop = closed(**changes)
    times, counts = at_the_engine(run_loop(loop, 400))
    settled = [n for n, at, later in zip(counts, times, times[1:], strict=False) if later > at]
    assert max(settled) == loop.max_concurrency


def test_without_think_time_every_place_is_always_taken() -> None:
    loop, run = closed(), run_loop(closed(), 400)
    assert concurrency(run, float(run.sent[0]), int(run.sent.max())) == loop.max_concurrency


def test_offered_requests_are_sent_in_the_order_of_their_arrival() -> None:
    assert (np.diff(run_loop(closed(offered=True, max_concurrency=2), 200).sent) >= 0).all()


def test_a_loop_that_never_limits_is_the_open_service() -> None:
    open_run = run_loop(closed(offered=True, max_concurrency=10_000), 300)
    _, recorder = record(SERVING, draw(SERVING, 300))
    assert list(recorder.finish) == open_run.finish.tolist()


@pytest.mark.parametrize(
    ("loop", "metrics"),
    [
        (closed(), ("throughput", "concurrency", "tpot_mean")),
        (closed(think_time="1 s"), ("throughput", "tpot_mean")),
    ],
)
def test_mean_value_analysis_is_a_twin(loop: so.ClosedLoop, metrics: tuple[str, ...]) -> None:
    simulated, solved = so.simulate(loop, seed=1, replications=6, requests=1200), so.solve(loop)
    for metric in metrics:
        found, said = simulated.best(metric), solved.best(metric).amount
        assert found.low is not None
        assert found.high is not None
        assert found.low * 0.9 < said < found.high * 1.1, metric
    assert solved.best("e2el_mean").amount * solved.best("throughput").amount == pytest.approx(
        solved.best("concurrency").amount
    )


def test_a_loop_of_half_as_many_users_is_told_apart() -> None:
    simulated = so.simulate(closed(), seed=1, replications=6, requests=1200).best("throughput")
    wrong = so.solve(closed(max_concurrency=8)).best("throughput").amount
    assert simulated.low is not None
    assert wrong < simulated.low * 0.9


def test_the_chain_is_mean_value_analysis_where_the_rate_is_constant() -> None:
    users, rate, think = 7, 3.0, 0.5
    chance = stationary((users - np.arange(users)) / think, np.full(users, rate))
    expected = mean_value_analysis(customers=users, demand=[1 / rate], think=think)
    assert rate * (1 - chance[0]) == pytest.approx(float(expected.throughput), rel=1e-12)


def test_more_than_can_be_served_is_unstable() -> None:
    with pytest.raises(Unstable, match="raise max_concurrency"):
        so.solve(closed(offered=True, max_concurrency=1))


def test_a_think_time_beside_offered_arrivals_is_refused() -> None:
    with pytest.raises(InputError, match="think_time"):
        closed(offered=True, think_time="1 s")
