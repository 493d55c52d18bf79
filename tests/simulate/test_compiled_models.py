"""Compiled queues, training runs, rings and pipelines against their models: the same floats in every case."""

import os
from collections.abc import Iterator
from dataclasses import fields
from itertools import chain, cycle, repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_services import examples

import secondorder as so
from secondorder.arrays import Floats
from secondorder.errors import InfeasibleError
from secondorder.scenarios.training import Checkpoint, Recovery, Spares, Training
from secondorder.simulate.collectives import pipeline as pipelines
from secondorder.simulate.collectives import ring as rings
from secondorder.simulate.kernels import pipeline, ring, training
from secondorder.simulate.kernels.queues import first_come, sharing
from secondorder.simulate.queues.draws import Draws, grid, on_grid
from secondorder.simulate.queues.first_come import starts
from secondorder.simulate.queues.sharing import run_sharing
from secondorder.simulate.training import job
from secondorder.simulate.training.causes import Causes, draw, step_of
from secondorder.simulate.training.work import work_of

EXAMPLES = int(os.environ.get("SECONDORDER_KERNEL_EXAMPLES", "90"))


# Queues

times = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0]) | st.floats(0, 4), min_size=1, max_size=60)


@given(times, times, st.integers(1, 5))
@examples(EXAMPLES)
def test_first_come_first_served_gives_the_floats_of_the_events(gaps: list[float], work: list[float], m: int) -> None:
    arrival, service = _customers(gaps, work)
    assert first_come(arrival, service, m).tolist() == starts(arrival, service, m).tolist()


@given(times, times, st.integers(1, 5), st.none() | st.integers(1, 6))
@examples(EXAMPLES)
def test_sharing_gives_the_floats_of_the_events(gaps: list[float], work: list[float], m: int, room: int | None) -> None:
    arrival, service = _customers(gaps, work)
    expected = run_sharing(Draws(arrival, service), m, room).finish
    assert np.array_equal(sharing(arrival, service, m, room), expected, equal_nan=True)


def _customers(gaps: list[float], work: list[float]) -> tuple[Floats, Floats]:
    """On the grid of the draws, where sums are exact."""
    arrival, service = np.cumsum(gaps), np.resize(np.array(work), len(gaps))
    tick = grid(arrival, service)
    return on_grid(arrival, tick), on_grid(service, tick)


def test_sharing_makes_room_for_a_crowd() -> None:
    arrival, service = np.arange(3000) * 1e-3, np.full(3000, 2.0)
    assert sharing(arrival, service, 2, None).tolist() == run_sharing(Draws(arrival, service), 2, None).finish.tolist()


# Training runs


def assert_same_story(scenario: Training, *causes: Causes) -> None:
    step = step_of(scenario, 0)
    expected = job.tell(scenario, causes[0], step=step, log=False)
    found = training.tell(scenario, causes[1], work_of(scenario, step, None))
    for each in fields(expected):
        assert np.array_equal(getattr(found, each.name), getattr(expected, each.name)), each.name


whole_seconds = st.integers(0, 30).map(float)


@given(
    st.lists(whole_seconds, max_size=40),
    st.tuples(st.integers(1, 12), st.integers(0, 4), st.integers(0, 5), st.integers(0, 6), st.integers(0, 3)),
    st.integers(20, 300),
    st.booleans(),
)
@examples(EXAMPLES)
def test_a_training_run_is_the_same_where_failures_come_at_the_end_of_a_phase(
    gaps: list[float], lasts: tuple[int, ...], length: int, ends: bool
) -> None:
    interval, write, restart, detection, replacement = (f"{each} s" for each in lasts)
    scenario = Training(
        failures="exponential 3 h",
        checkpoint=Checkpoint(interval=interval, write=write),
        recovery=Recovery(restart=restart, detection=detection, replacement=replacement),
        **({"duration": f"{length}.5 s"} if ends else {"work": f"{length} s"}),
    )
    both = (Causes(failures=_then_never(gaps)) for _ in range(2))
    assert_same_story(scenario, *both)


def _then_never(gaps: list[float]) -> Iterator[float]:
    return chain((gap + 0.5 for gap in gaps[::2]), iter(gaps[1::2]), repeat(1e9))


@given(st.floats(0.2, 40), st.floats(60, 4000), st.floats(1, 300), st.integers(0, 9), st.booleans())
@examples(EXAMPLES)
def test_a_drawn_training_run_is_the_same_story(
    mtbf: float, interval: float, write: float, seed: int, ends: bool
) -> None:
    scenario = Training(
        failures=f"exponential {mtbf} h",
        checkpoint=Checkpoint(interval=f"{interval} s", write=f"{write} s"),
        recovery=Recovery(restart="100 s", detection="30 s"),
        **{"duration" if ends else "work": "3 day"},
    )
    assert_same_story(scenario, *(draw(scenario, seed, 0, None) for _ in range(2)))


@given(
    st.lists(whole_seconds, max_size=40),
    st.lists(st.integers(0, 90).map(float), min_size=1, max_size=20),
    st.tuples(st.integers(0, 3), st.none() | st.integers(1, 3), st.integers(0, 4)),
    st.booleans(),
)
@examples(EXAMPLES)
def test_a_training_run_waits_for_the_same_repairs(
    gaps: list[float], repairs: list[float], shelf: tuple[int, int | None, int], ends: bool
) -> None:
    count, crews, detection = shelf
    scenario = Training(
        failures="exponential 3 h",
        checkpoint=Checkpoint(interval="12 s", write="2 s"),
        recovery=Recovery(restart="3 s", detection=f"{detection} s", replacement="1 s"),
        spares=Spares(count=count, repair="1 h", crews=crews),
        **({"duration": "300.5 s"} if ends else {"work": "200 s"}),
    )
    both = (Causes(failures=_then_never(gaps), repairs=cycle(each + 0.25 for each in repairs)) for _ in range(2))
    assert_same_story(scenario, *both)


@given(st.floats(0.2, 40), st.integers(0, 4), st.none() | st.integers(1, 2), st.integers(0, 9))
@examples(EXAMPLES)
def test_a_drawn_run_with_spares_is_the_same_story(mtbf: float, count: int, crews: int | None, seed: int) -> None:
    scenario = Training(
        failures=f"exponential {mtbf} h",
        checkpoint=Checkpoint(interval="1800 s", write="60 s"),
        recovery=Recovery(restart="100 s", detection="30 s"),
        spares=Spares(count=count, repair="lognormal 8 h scv=2", crews=crews, failed_repairs=0.1),
        duration="10 day",
    )
    assert_same_story(scenario, *(draw(scenario, seed, 0, None) for _ in range(2)))


def test_a_training_run_that_gets_nowhere_is_given_up() -> None:
    scenario = Training(failures="exponential 1 s", checkpoint=Checkpoint(interval="1 h", write="1 s"), work="1 day")
    with pytest.raises(InfeasibleError, match="no headway"):
        training.tell(scenario, draw(scenario, 0, 0, None), work_of(scenario, None, None))


@pytest.mark.parametrize(
    "changes",
    [
        {"checkpoint": so.AsyncCheckpoint(interval="1000 s", pause="5 s", drain="60 s")},
        {"elastic": "16 shared=0.1"},
        {"recovery": "300 s misdiagnosed=0.1"},
    ],
)
def test_what_the_kernel_does_not_know_is_left_to_the_events(changes: dict[str, object]) -> None:
    fields = {"failures": "exponential 3 h", "checkpoint": Checkpoint(interval="1000 s", write="60 s")}
    assert training.supports(Training(**fields), None)
    assert not training.supports(Training(**{**fields, **changes}), None)


# Rings and pipelines


@given(st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 9)), st.integers(0, 99))
@examples(EXAMPLES)
def test_a_ring_is_done_at_the_same_times(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    hops, start = rng.exponential(size=shape), rng.exponential(size=shape[-1])
    assert np.array_equal(ring.finish(start, hops), rings.finish(start, hops))


@given(
    st.sampled_from([("1f1b", 1), ("gpipe", 1), ("forward", 1), ("interleaved", 2), ("interleaved", 3)]),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(0, 99),
)
@examples(EXAMPLES)
def test_a_pipeline_passes_at_the_same_times(
    kind: tuple[str, int], stages: int, rounds: int, runs: int, seed: int
) -> None:
    schedule, interleaving = kind
    rng = np.random.default_rng(seed)
    forward, backward, send = rng.exponential(size=(3, runs, stages * interleaving, rounds * stages))
    shape = {"send": send, "schedule": schedule, "interleaving": interleaving}
    gone = None if schedule == "forward" else backward
    for found, expected in zip(
        pipeline.passes(forward, gone, **shape), pipelines.passes(forward, gone, **shape), strict=True
    ):
        assert np.array_equal(found, expected, equal_nan=True)
