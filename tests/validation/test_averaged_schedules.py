"""Constants fitted over several schedules: exact equations, the scatter of repeats, schedules that do not settle."""

from collections.abc import Callable

import numpy as np
import pytest

from secondorder.arrays import Floats
from secondorder.validation.averaged_schedules import FEWEST, TRUTHS, Equations, FixedPoint, fixed_point

TRUTH = np.array([1.5, 2.0, 0.3])
LEAST = np.array([1.0, 1.0, 0.0])
COUNT = 60


def system(rng: np.random.Generator, scatter: float) -> Callable[[Floats], Equations]:
    """Two rows a request, as calibration has them; no schedule."""
    matrix = rng.uniform(0.1, 1.0, (2 * COUNT, 3))
    first = np.arange(2 * COUNT) >= COUNT
    target = matrix @ TRUTH + scatter * np.where(first, 0.3, 1.0) * rng.standard_normal(2 * COUNT)
    known = Equations(matrix, target, np.tile(np.arange(COUNT), 2), first, np.ones(2 * COUNT))
    return lambda _: known


def fit(equations: Callable[[Floats], Equations]) -> FixedPoint:
    return fixed_point(equations, np.ones(3), LEAST)


def test_equations_without_scatter_give_their_constants_back() -> None:
    found = fit(system(np.random.default_rng(0), 0.0))
    assert found.constants == pytest.approx(TRUTH, rel=1e-9)
    assert found.settled


def test_a_constant_below_its_least_is_held_there() -> None:
    base = system(np.random.default_rng(0), 0.0)(TRUTH)
    low = base._replace(target=base.matrix @ np.array([0.5, 2.0, 0.3]))
    assert fit(lambda _: low).constants[0] == 1.0


def test_standard_errors_are_the_scatter_of_repeats() -> None:
    """60 repeats of 3 constants: the mean square of the standardised errors is 1 within 4 of its standard errors."""
    runs = [fit(system(np.random.default_rng(seed), 0.05)) for seed in range(60)]
    scores = np.array([(run.constants - TRUTH) / run.spread for run in runs])
    assert abs(np.mean(scores**2) - 1) < 4 * np.sqrt(2 / scores.size)


def test_degrees_of_freedom_are_those_of_the_requests_without_a_schedule_and_of_the_truths_with_little_else() -> None:
    alone = fit(system(np.random.default_rng(3), 0.05))
    assert alone.freedom == pytest.approx(COUNT - 3)
    rng = np.random.default_rng(4)
    base = system(rng, 1e-5)(TRUTH)

    def shifted(_: Floats) -> Equations:
        return base._replace(target=base.target + 0.1 * rng.standard_normal() * base.matrix[:, 2])

    assert fit(shifted).freedom[2] == pytest.approx(TRUTHS, rel=0.01)


def test_a_few_wild_times_change_little() -> None:
    base = system(np.random.default_rng(1), 0.01)(TRUTH)
    target = base.target.copy()
    target[:3] += 50.0
    wild = base._replace(target=target)
    assert fit(lambda _: wild).constants == pytest.approx(TRUTH, rel=0.05)


def test_what_a_schedule_shifts_for_all_requests_alike_is_in_the_standard_error() -> None:
    """A shift of the third constant by the schedule, .1 in standard deviation, is no scatter between requests."""
    rng = np.random.default_rng(2)
    base = system(rng, 0.001)(TRUTH)

    def shifted(_: Floats) -> Equations:
        return base._replace(target=base.target + 0.1 * rng.standard_normal() * base.matrix[:, 2])

    found = fit(shifted)
    assert 0.1 / 1.7 < found.spread[2] < 0.1 * 1.7  # chi with 11 degrees of freedom, at three standard deviations
    assert found.spread[0] < 0.01


def test_equations_that_drift_with_each_round_have_not_settled() -> None:
    base = system(np.random.default_rng(3), 0.001)(TRUTH)
    asked = iter(range(1000))
    found = fit(lambda _: base._replace(target=base.target + 0.05 * next(asked) * base.matrix[:, 2]))
    assert not found.settled
    assert found.rounds > FEWEST
