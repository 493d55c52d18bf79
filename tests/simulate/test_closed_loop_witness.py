"""A closed loop by the compiled engine is the one on SimPy, to the picosecond."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_services import MILLISECOND, Case, cases, examples

import secondorder as so
from secondorder.simulate.closed_loop import Client, LoopRun, run_loop
from secondorder.simulate.kernels.serving.run import Loop, record
from secondorder.simulate.serving.asks import asks

TIMES = ("sent", "first_token", "finish")
SERVING = so.Serving(
    model="llama_3_1_8b",
    accelerator="h100_sxm",
    arrivals="poisson 30 request/s",
    lengths="input=geometric 512 output=geometric 64",
    num_gpu_blocks=900,
    max_model_len=12_000,
)


def times(run: LoopRun) -> dict[str, list[int]]:
    return {name: np.asarray(getattr(run, name)).tolist() for name in TIMES}


@given(
    cases() | cases(cadence=True) | cases(urgent=True),
    st.integers(1, 6),
    st.sampled_from(["at once", "offered", "thinking"]),
    st.lists(st.sampled_from([0, 1, MILLISECOND, 2 * MILLISECOND]) | st.integers(1, 10**11), min_size=20, max_size=20),
)
@examples(150)
def test_random_loops_are_the_same_by_both(case: Case, places: int, kind: str, thoughts: list[int]) -> None:
    """Small services in which blocks are scarce; think times of 0 and such that end when a step ends."""
    think = np.array(thoughts if kind == "thinking" else [0] * 20)
    loop = so.ClosedLoop(serving=case.scenario, max_concurrency=places, offered=kind == "offered")
    events = Client(loop, list(asks(case.scenario, case.requests)), think).run()
    at_once = replace(case.requests, arrival=np.zeros(len(case.requests)))
    found = record(
        case.scenario,
        case.requests if kind == "offered" else at_once,
        loop=Loop(places=places, think=think if kind == "thinking" else None),
    )
    assert found.arrival.tolist() == events.sent.tolist()
    assert found.first_token.tolist() == events.first_token.tolist()
    assert found.finish.tolist() == events.finish.tolist()


@pytest.mark.parametrize("changes", [{}, {"think_time": "300 ms"}, {"offered": True}])
def test_a_service_whose_cache_is_small_loops_alike_by_both(changes: dict[str, Any]) -> None:
    loop = so.ClosedLoop(serving=SERVING, max_concurrency=12, **changes)
    by_kernel, by_events = (run_loop(loop, 250, seed=3, witness=each) for each in ("kernel", "events"))
    assert times(by_kernel) == times(by_events)


def test_think_times_of_users_are_independent() -> None:
    """Twelve users who begin at the same time send at twelve times."""
    loop = so.ClosedLoop(serving=SERVING, max_concurrency=12, think_time="300 ms")
    assert len(set(run_loop(loop, 40, witness="events").sent[:12].tolist())) == 12


def test_an_answer_says_by_which_witness_it_was_found() -> None:
    loop = so.ClosedLoop(serving=SERVING, max_concurrency=4)
    answers = {each: so.simulate(loop, replications=2, requests=60, witness=each) for each in ("kernel", "events")}
    assert answers["kernel"].estimates == answers["events"].estimates
    assert answers["kernel"].how.endswith("by the compiled kernel")
