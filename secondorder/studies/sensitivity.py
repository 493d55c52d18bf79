"""Which field of a scenario is worth improving: how far each one alone moves a metric.

``sensitivity`` changes one field at a time, from any scenario at any load: the elasticity ``d ln metric / d ln field``
and the metric at both ends of a range. ``sobol`` changes all of them at once.

>>> from secondorder.scenarios.queue import Queue
>>> queue = Queue(arrivals="poisson 8 request/s", service="exponential 100 ms")
>>> found = sensitivity(queue, "wait_mean")
>>> [(row.path, round(row.elasticity, 3)) for row in found.rows]     # 1/(1 - rho), and one more
[('service.mean', 6.0), ('arrivals.rate', 5.0), ('servers', -4.392)]
>>> [row.path for row in found.skipped][:2]
['room', 'discipline']
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Estimate
from secondorder.arrays import Floats
from secondorder.errors import InputError, SecondOrderError, UnknownName
from secondorder.executor import run_each
from secondorder.quantities import pretty
from secondorder.scenarios.scenario import Scenario
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.streams import stream
from secondorder.studies.numeric_fields import Found, Skipped, at_path, chosen_fields, short_unit
from secondorder.studies.sweep import varied
from secondorder.verbs import simulate, solve

if TYPE_CHECKING:
    import pandas as pd

Witness = Literal["solve", "simulate"]

FINE_STEP = 0.01
"""Step of the logarithm for the elasticity of a closed form; taken again at half of it."""
SMOOTH = 0.02
"""How far the two may part, as a share, before the metric counts as not smooth there."""
FLAT, MOVES = 0.1, 0.02
"""A slope below this share of that between the ends is one step of a staircase, if the ends part by this much."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one field does to the metric.

    ``value`` in ``unit``; ``step``: what was done to it ("±10 %", "+1" where it can only rise). The metric as it is:
    ``base``, and at the field's lower and higher value ``at_low`` and ``at_high``. ``elasticity`` with ``low`` and
    ``high``, its 95 % interval if simulated. ``note``: what it is not good for.
    """

    path: str
    value: float
    unit: str
    step: str
    base: float
    at_low: float
    at_high: float
    elasticity: float
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def swing(self) -> float:
        """How far the metric moves over the ends and the scenario itself, which may lie beyond both."""
        values = self.base, self.at_low, self.at_high
        return max(values) - min(values)


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Effects of the fields of a scenario on one metric, the strongest first, and the fields without one.

    ``base`` is the metric as the scenario stands, in ``unit``; ``by`` the relative change of each field.
    """

    scenario: str
    metric: str
    unit: str
    base: float
    by: float
    witness: str
    rows: tuple[Effect, ...]
    skipped: tuple[Skipped, ...]

    def __getitem__(self, path: str) -> Effect:
        return at_path(self.rows, path)

    @property
    def frame(self) -> "pd.DataFrame":
        """One row a field, those not varied at the end with their reason."""
        import pandas as pd

        head = ("field", "value", "unit", "step", "at_low", "at_high", "elasticity", "ci_low", "ci_high", "note")
        rows = [
            (r.path, r.value, short_unit(r.unit), r.step, r.at_low, r.at_high, r.elasticity, r.low, r.high, r.note)
            for r in self.rows
        ]
        idle = [(s.path, None, "", "", None, None, None, None, None, s.reason) for s in self.skipped]
        return pd.DataFrame([*rows, *idle], columns=list(head))


def sensitivity(
    scenario: Scenario,
    metric: str,
    fields: Sequence[str] | None = None,
    *,
    by: float = 0.1,
    witness: Witness = "solve",
    seed: int = 0,
    replications: int = 10,
    requests: int | None = None,
    jobs: int = 1,
) -> Sensitivity:
    """Change one numeric field of a scenario at a time, up and down by a share ``by``, and report how a metric changes.

    ``fields``: dotted paths; all that are found where none are given. Whole numbers move by whole steps, at least
    1; ``Effect.step`` says by how much. Fields that cannot move are listed in ``skipped`` with the reason.

    Elasticity: ``d ln metric / d ln field``. Closed forms: central differences of 1 % and 0.5 % extrapolated
    (Richardson), and a note where they disagree: a kink or a rounding is near. Whole numbers, and simulations, over
    the ends themselves: ``ln(high/low)`` over the fields' logarithms. Simulated: ``replications`` pairs, each of two
    runs by the same seed (common random numbers), and Student's interval of the paired differences.

    Errors: ``UnknownName`` for a metric or field that is not there, ``InputError``; those of the witness at the
    scenario itself.

    >>> from secondorder.scenarios.pipeline import Pipeline
    >>> pipe = Pipeline(stages=8, microbatches=32, forward="10 ms", backward="20 ms")
    >>> found = sensitivity(pipe, "time_mean", ["forward.mean", "microbatches"])
    >>> [(row.path, row.step, round(row.elasticity, 3)) for row in found.rows]
    [('microbatches', '±3', 0.82), ('forward.mean', '±10 %', 0.333)]
    """
    if not 0 < by < 1:
        raise InputError("by", given=by, expected="a share between 0 and 1")
    if replications < 2:
        raise InputError("replications", given=replications, expected="at least 2, for an interval")
    if isinstance(fields, str):
        raise InputError("fields", given=repr(fields), expected=f"a list of them, [{fields!r}]")
    ask = Ask(metric, witness, seed, replications, requests)
    base = ask.rung(scenario)
    here = ask.values(scenario, base)
    found, skipped = chosen_fields(scenario, fields)
    results = list(run_each(lambda each: _effect(scenario, each, by, ask, base, here), found, jobs))
    rows = [each for each in results if isinstance(each, Effect)]
    skipped += [each for each in results if isinstance(each, Skipped)]
    rows.sort(key=lambda row: (-row.swing, -abs(row.elasticity), row.path))
    return Sensitivity(
        scenario=str(getattr(scenario, "name", type(scenario).__name__)),
        metric=metric,
        unit=base.unit,
        base=float(here.mean()),
        by=by,
        witness=witness,
        rows=tuple(rows),
        skipped=tuple(skipped),
    )


@dataclass(frozen=True)
class Ask:
    """How the metric of a scenario is found: the witness, and its options."""

    metric: str
    witness: str
    seed: int
    replications: int
    requests: int | None

    def rung(self, scenario: Scenario) -> Estimate:
        """The best estimate of the metric as the scenario stands."""
        if self.witness not in ("solve", "simulate"):
            raise UnknownName.among("witness", self.witness, ("solve", "simulate"))
        if self.witness == "solve":
            return solve(scenario).best(self.metric)
        return self.run(scenario, 0).best(self.metric)

    def run(self, scenario: Scenario, pair: int) -> Answer:
        """The simulated answer of a pair: two replications by a seed of the pair's own."""
        seed = int(stream(self.seed, pair, "sensitivity").integers(2**31))
        return simulate(scenario, seed=seed, replications=2, requests=self.requests)

    def values(self, scenario: Scenario, base: Estimate) -> Floats:
        """The metric: one value of a closed form, or one of each simulated pair."""
        return self.simulated(scenario) if self.witness == "simulate" else np.array([self.solved(scenario, base)])

    def solved(self, scenario: Scenario, base: Estimate) -> float:
        """The same rung of the ladder as the base."""
        for estimate in solve(scenario)[self.metric]:
            if estimate.order == base.order:
                return estimate.amount
        raise InputError(self.metric, given=f"no order {base.order} there", expected="the same order as at the base")

    def simulated(self, scenario: Scenario) -> Floats:
        """One value a pair."""
        return np.array([self.run(scenario, pair).best(self.metric).amount for pair in range(self.replications)])


def _effect(scenario: Scenario, field: Found, by: float, ask: Ask, base: Estimate, here: Floats) -> Effect | Skipped:
    """Both ends, or one of them and the scenario itself where the other cannot be."""
    step, change = _step(field, by)
    places, found, refused = [field.value - step, field.value + step], [here, here], []
    for side, place in enumerate(places):
        if place * field.value <= 0:
            refused.append(f"{place:g} has no logarithm")
            places[side] = field.value
            continue
        try:
            found[side] = ask.values(varied(scenario, {field.path: field.at(place)}), base)
        except SecondOrderError as error:
            refused.append(f"it cannot be {pretty(place, short_unit(field.unit))}: {error}")
            places[side] = field.value
    if len(refused) == 2:
        return Skipped(path=field.path, reason=refused[-1])
    sign = "±" if not refused else "-" if places[1] == field.value else "+"
    try:
        return _measured(scenario, field, places, found, f"{sign}{change}", ask, base, here, "".join(refused))
    except SecondOrderError as error:
        return Skipped(path=field.path, reason=str(error))


def _step(field: Found, by: float) -> tuple[float, str]:
    if not field.whole:
        return abs(field.value) * by, f"{100 * by:g} %"
    step = max(1, round(abs(field.value) * by))
    return step, str(step)


def _measured(
    scenario: Scenario,
    field: Found,
    places: list[float],
    found: list[Floats],
    step: str,
    ask: Ask,
    base: Estimate,
    here: Floats,
    refused: str,
) -> Effect:
    slopes = np.array([_slope(a, b, places) for a, b in zip(*found, strict=True)])
    note, low, high = f"one side only: {refused}" if refused else "", None, None
    if ask.witness == "simulate":
        interval = student(slopes)
        low, high = interval.low, interval.high
    elif not (field.whole or refused or found[0][0] == found[1][0] == here[0]):
        wide, narrow = (_central(scenario, field, width, ask, base) for width in (FINE_STEP, FINE_STEP / 2))
        between = abs(float(slopes.mean()))
        staircase = between > MOVES and abs(narrow) < FLAT * between
        if staircase or abs(narrow - wide) > SMOOTH * abs(narrow) + 1e-6:
            note = "not smooth here, a kink or a rounding is near: the slope between the ends"
        else:
            slopes = np.array([(4 * narrow - wide) / 3])
    return Effect(
        path=field.path,
        value=field.value,
        unit=field.unit,
        step=step,
        base=float(here.mean()),
        at_low=float(found[0].mean()),
        at_high=float(found[1].mean()),
        elasticity=float(slopes.mean()),
        low=low,
        high=high,
        note=note,
    )


def _central(scenario: Scenario, field: Found, width: float, ask: Ask, base: Estimate) -> float:
    places = field.value * math.exp(-width), field.value * math.exp(width)
    low, high = (ask.solved(varied(scenario, {field.path: field.at(value)}), base) for value in places)
    return _slope(low, high, places)


def _slope(low: float, high: float, places: Sequence[float]) -> float:
    if low == high:
        return 0.0
    if low * high <= 0:
        raise InputError("metric", given=f"{low:g} and {high:g}", expected="one sign, for a logarithm")
    return math.log(high / low) / math.log(places[1] / places[0])


def described(effect: Effect) -> str:
    """A field's value as one reads it.

    >>> described(Effect(path="x", value=0.1, unit="second", step="", base=1, at_low=1, at_high=1, elasticity=0))
    '100 ms'
    """
    return pretty(effect.value, short_unit(effect.unit))
