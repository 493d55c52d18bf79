"""Blocks get identities only where they matter: the fast run is the full one, request by request."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from random_services import Case, assert_agrees, by_hand, cases, examples

from secondorder.scenarios.steptime import Placement, StepSeconds
from secondorder.simulate.kernels.serving import run as kernel
from secondorder.simulate.serving import single_run
from secondorder.simulate.serving.recorder import Recorder

COLUMNS = ("scheduled", "first_token", "finish", "preemptions", "cached")


def columns(found: Recorder | kernel.Record) -> dict[str, list[int]]:
    return {name: np.asarray(getattr(found, name)).tolist() for name in COLUMNS}


@given(cases(caching=True, shared=False))
@examples(100)
def test_runs_without_identities_are_those_with_them(case: Case) -> None:
    assert_agrees(case)
    _, full = single_run.recorded(case.scenario, case.requests)
    for found in (case.record(), kernel.record(case.scenario, case.requests)):
        assert columns(found) == columns(full)


@dataclass(frozen=True)
class Remembering:
    """A step time that keeps what it was asked."""

    asked: list[tuple[float, ...]]

    def seconds(self, placement: Placement) -> StepSeconds:
        def one_millisecond(*load: float) -> float:
            self.asked.append(load)
            return 1e-3

        return one_millisecond


def test_a_step_time_that_remembers_is_asked_once_a_step() -> None:
    asked: list[tuple[float, ...]] = []
    case = by_hand([(0, 8, 40), (0, 12, 40)], blocks=16, enable_prefix_caching=True, step_time=Remembering(asked))
    done = single_run.run(case.scenario, case.requests, leaps=False)
    assert done.requests["preemptions"].sum() > 0
    assert len(asked) == done.steps


@pytest.mark.parametrize("ahead", [False, True])
def test_a_preempted_request_finds_its_own_blocks_again(ahead: bool) -> None:
    """Two requests need more blocks than there are, and a step takes few tokens: to compute again takes longer."""
    asks, settings = [(0, 8, 40), (0, 12, 40)], {"async_scheduling": ahead, "max_num_batched_tokens": 7}
    keeping = by_hand(asks, blocks=16, enable_prefix_caching=True, **settings)
    forgetting = by_hand(asks, blocks=16, enable_prefix_caching=False, **settings)
    assert sum(keeping.record().preemptions) == sum(forgetting.record().preemptions) > 0
    assert max(keeping.record().finish) < max(forgetting.record().finish)
