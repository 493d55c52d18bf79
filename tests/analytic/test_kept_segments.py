"""Intervals of varying steps that a checkpoint holds: closed forms against drawn attempts and simulated runs."""

import math

import numpy as np
import pytest

import secondorder as so
from secondorder.analytic.training.kept_segments import KeptSegments, kept_segments
from secondorder.laws import Exponential, Gamma, LogNormal, Service
from secondorder.simulate.training import measure, runs

MTBF, WRITE, STEPS = 3_000.0, 60.0, 10
METRICS = ("segment_time_mean", "segment_time_sd", "step_time_sd", "redraws_mean")


def attempts(law: Service, count: int, seed: int) -> dict[str, tuple[float, float]]:
    """Value and standard error of each metric, by attempts that are drawn with a failure each, one after another."""
    rng = np.random.default_rng(seed)
    steps = law.sample(count * STEPS, rng).reshape(count, STEPS)
    times = steps.sum(axis=1)
    kept = times + WRITE < rng.exponential(MTBF, count)
    t, s = times[kept], steps[kept].ravel()

    def sd(values: np.ndarray) -> tuple[float, float]:
        squares = (values - values.mean()) ** 2
        found = math.sqrt(squares.mean())
        return found, float(squares.std() / math.sqrt(len(values)) / (2 * found))

    share = kept.mean()
    odds = (1 - share) / share
    return {
        "segment_time_mean": (float(t.mean()), float(t.std() / math.sqrt(len(t)))),
        "segment_time_sd": sd(t),
        "step_time_sd": sd(s),
        "redraws_mean": (odds, math.sqrt(share * (1 - share) / count) / share**2),
    }


def amounts(found: KeptSegments) -> dict[str, float]:
    return dict(zip(METRICS, (found.mean, found.sd, found.step_sd, found.redraws), strict=True))


@pytest.mark.parametrize(
    "law", [LogNormal("100 s", scv=1), Exponential("100 s"), Gamma("100 s", scv=0.25)], ids=lambda law: law.word
)
def test_kept_intervals_are_those_of_attempts_that_outlast_a_failure(law: Service) -> None:
    solved = amounts(kept_segments(step=law, steps=STEPS, write=WRITE, mtbf=MTBF))
    drawn = attempts(law, 400_000, seed=1)
    for metric, (value, error) in drawn.items():
        assert abs(solved[metric] - value) < 4 * error, metric


def test_steps_as_they_are_drawn_are_not_those_that_are_kept() -> None:
    """The untilted mean, spread and first-order redraws are told apart from the truth by the same attempts."""
    law = LogNormal("100 s", scv=1)
    wrong = dict(zip(METRICS, (1_000.0, 100 * math.sqrt(STEPS), 100.0, (1_000 + WRITE) / MTBF), strict=True))
    for metric, (value, error) in attempts(law, 400_000, seed=1).items():
        assert abs(wrong[metric] - value) > 4 * error, metric


def test_exponential_steps_stay_exponential_with_a_higher_rate() -> None:
    """Tilted by ``e^(-x/M)`` an exponential law of mean ``m`` has mean and deviation ``1/(1/m + 1/M)``: by hand."""
    found = kept_segments(step=Exponential("100 s"), steps=STEPS, write=WRITE, mtbf=MTBF)
    tilted = 1 / (1 / 100 + 1 / MTBF)
    assert found.step_sd == pytest.approx(tilted, rel=1e-6)
    assert found.mean == pytest.approx(STEPS * tilted, rel=1e-6)
    assert found.redraws == pytest.approx((1 + 100 / MTBF) ** STEPS * math.exp(WRITE / MTBF) - 1, rel=1e-9)


@pytest.fixture(scope="module")
def run() -> so.Training:
    return so.Training(
        failures="exponential 50 min",
        checkpoint="blocking 1000 s write=60 s",
        recovery="200 s detection=30 s",
        step="lognormal 100 s scv=1",
        duration="60 day",
    )


def test_a_simulated_run_keeps_the_intervals_that_the_closed_form_says(run: so.Training) -> None:
    solved, simulated = so.solve(run), so.simulate(run, seed=3, replications=40)
    for metric in METRICS:
        found = simulated.best(metric)
        half = (found.high - found.low) / 2 * 3.5 / 2.02  # of Student's interval, to one in a thousand
        assert abs(solved.best(metric).amount - found.amount) < half, metric
        assert solved.best(metric).claim == "exact"


@pytest.mark.parametrize("checkpoint", ["async 1000 s pause=5 s drain=60 s", "blocking 1000 s write=60 s"])
def test_every_attempt_is_kept_lost_or_under_way(run: so.Training, checkpoint: str) -> None:
    """Draws are counted from outside: each takes ten steps from the stream of steps."""
    from dataclasses import replace

    from secondorder.simulate.training.work import Steps

    drawn = 0
    seconds = Steps.seconds

    def counted(work: Steps, segment: int) -> float:
        nonlocal drawn
        drawn += 1
        return seconds(work, segment)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "seconds", counted)
        (story,) = runs(replace(run, checkpoint=checkpoint), seed=2, replications=1)
    assert story.segments is not None
    open_or_unsaved = drawn - story.segments.lost - len(story.segments.times)
    assert 0 <= open_or_unsaved <= 2
    assert measure(run, story)["redraws_mean"] == story.segments.lost / len(story.segments.times)


def test_steps_that_are_all_alike_have_no_such_metrics() -> None:
    fixed = so.Training(
        failures="exponential 3 h", checkpoint="blocking 10 min write=30 s", step="60 s", duration="5 day"
    )
    assert not {each.metric for each in so.solve(fixed).estimates} & set(METRICS)
    assert not {each.metric for each in so.simulate(fixed, replications=2).estimates} & set(METRICS)
