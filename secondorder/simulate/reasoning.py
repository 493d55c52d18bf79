"""Questions answered one by one: every answer has a length and is right or wrong, and time runs as tokens come.

>>> from secondorder.scenarios.reasoning import Reasoning
>>> asked = Reasoning(
...     strategy="until_success", samples=3, length=100, prompt_tokens=10, prefill="0 s", token_time="10 ms",
...     success=1.0)
>>> questions(asked, count=2, seed=1)
Questions(tokens=array([100, 100]), seconds=array([1., 1.]), right=array([ True,  True]))
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Estimate, short_of_data
from secondorder.arrays import Floats, Integers
from secondorder.errors import InputError
from secondorder.quantities import si
from secondorder.scenarios.reasoning import Reasoning
from secondorder.simulate.collectives.answer import INDEPENDENT_FOR_A_P99, order_statistics
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.streams import stream

ANSWERS, FEWEST, MOST = 400_000, 200, 20_000
"""Answers of a replication, about; and its questions, at least and at most."""


@dataclass(frozen=True, eq=False)
class Questions:
    """For each question: output tokens, seconds until it is answered, and whether the answer is right."""

    tokens: Integers
    seconds: Floats
    right: npt.NDArray[np.bool_]


def questions(scenario: Reasoning, *, count: int, seed: int = 0, replication: int = 0) -> Questions:
    """A number of questions, asked of an idle engine."""
    shape = (count, scenario.samples)
    lengths = scenario.answer.sample(count * scenario.samples, stream(seed, replication, "lengths")).reshape(shape)
    right = stream(seed, replication, "success").random(shape) < scenario.success
    rng = stream(seed, replication, "wrong answers")
    if scenario.at_once:
        tokens, decoded = lengths.sum(axis=1), lengths.max(axis=1)
    else:
        over = np.cumsum(right, axis=1) - right > 0  # an earlier answer was right: this one is never asked for
        tokens = decoded = np.where(over, 0, lengths).sum(axis=1)
    seconds = si(scenario.prefill) + decoded * si(scenario.token_time)
    if scenario.wrong_answers is None:
        return Questions(tokens, seconds, np.asarray(right.any(axis=1)))
    said = np.where(right, 0, rng.integers(1, scenario.wrong_answers + 1, shape))
    voted: npt.NDArray[np.bool_] = np.equal(_vote(said, rng), 0)
    return Questions(tokens, seconds, voted)


def _vote(said: Integers, rng: np.random.Generator) -> Integers:
    """The most frequent answer of each row, ties by lot."""
    rows, columns = said.shape
    votes = np.array([(said == said[:, [column]]).sum(axis=1) for column in range(columns)]).T
    # tied answers have equally many voters: to draw a voter is to draw an answer
    lot = np.where(votes == votes.max(axis=1, keepdims=True), rng.random((rows, columns)), -1.0)
    return np.asarray(said[np.arange(rows), lot.argmax(axis=1)])


def simulate_reasoning(scenario: Reasoning, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Independent questions, many a replication, with intervals at 95 %.

    Metrics as those of ``solve_reasoning``. Intervals are Student's over the replications; that of ``latency_p99``
    lies between two order statistics of all questions. ``jobs`` processes share the replications. Errors:
    ``InputError``.
    """
    if replications < 2:
        raise InputError("replications", given=replications, expected="at least 2, for an interval")
    count = min(max(ANSWERS // scenario.samples, FEWEST), MOST)
    found = replicated(lambda k: questions(scenario, count=count, seed=seed, replication=k), replications, jobs)
    tokens = np.array([each.tokens.mean() for each in found])
    rows = [
        _mean("tokens_mean", "token", tokens),
        _mean("latency_mean", "s", np.array([each.seconds.mean() for each in found])),
        _p99(np.sort(np.concatenate([each.seconds for each in found]))),
        _mean("success", "", np.array([each.right.mean() for each in found])),
    ]
    if scenario.input_price is not None and scenario.output_price is not None:
        cost = scenario.prompt_tokens * si(scenario.input_price) + tokens * si(scenario.output_price)
        rows.append(_mean("cost_mean", "USD", cost))
    how = f"{replications} replications of {count:,} questions"
    return Answer(scenario=scenario.name, estimates=tuple(rows), how=how)


def _mean(metric: str, unit: str, values: Floats) -> Estimate:
    found = student(values)
    return Estimate(metric=metric, amount=found.mean, unit=unit, source="simulated", low=found.low, high=found.high)


def _p99(ordered: Floats) -> Estimate:
    amount = float(ordered[int(np.ceil(0.99 * len(ordered))) - 1])
    low, high = order_statistics(ordered, 0.99)
    if ordered[0] == ordered[-1]:
        low = high = amount
    enough = len(ordered) >= INDEPENDENT_FOR_A_P99 or low == high
    why = "" if enough else f"{len(ordered)} questions, {INDEPENDENT_FOR_A_P99} are needed"
    return Estimate(
        metric="latency_p99", amount=amount, unit="s", source="simulated", low=low, high=high,
        steadiness=short_of_data(why), unsettled=why,
    )  # fmt: skip
