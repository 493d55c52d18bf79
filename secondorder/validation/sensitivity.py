"""Which field of a scenario is worth improving: how far each one moves a metric, alone and together with others.

``sensitivity`` changes one field at a time, from any scenario at any load: the elasticity ``d ln metric / d ln field``
and the metric at both ends of a range. ``sobol`` changes all of them at once over stated ranges and splits
the variance of the metric: where a field's total index exceeds its first one, it acts through others, and no
change of one field at a time shows it.

>>> from secondorder.scenarios.queue import Queue
>>> queue = Queue(arrivals="poisson 8 request/s", service="exponential 100 ms")
>>> found = sensitivity(queue, "wait_mean")
>>> [(row.path, round(row.elasticity, 3)) for row in found.rows]     # 1/(1 - rho), and one more
[('service.mean', 6.0), ('arrivals.rate', 5.0), ('servers', -4.392)]
>>> [row.path for row in found.skipped][:2]
['room', 'discipline']
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pint

from secondorder.arrays import Floats
from secondorder.errors import InfeasibleError, InputError, SecondOrderError, UnknownName
from secondorder.quantities import pretty, registry
from secondorder.scenarios.answers import Answer, Estimate
from secondorder.simulate.output import student
from secondorder.simulate.replicate import run_each
from secondorder.simulate.streams import stream
from secondorder.validation.sweeps import varied
from secondorder.verbs import simulate, solve

if TYPE_CHECKING:
    import pandas as pd

Witness = Literal["solve", "simulate"]

FINE_STEP = 0.01
"""Of the logarithm, for the elasticity of a closed form; taken again at half of it."""
SMOOTH = 0.02
"""How far the two may part, as a share, before the metric counts as not smooth there."""
FLAT, MOVES = 0.1, 0.02
"""A slope below this share of that between the ends is one step of a staircase, if the ends part by this much."""

# One field at a time


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
class Skipped:
    """A field that was not varied, and why."""

    path: str
    reason: str


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
        for row in self.rows:
            if row.path == path:
                return row
        raise UnknownName.among("field", path, [row.path for row in self.rows])

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
    scenario: Any,
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
    """Change each numeric field of a scenario alone, by a share ``by`` both ways, and see what a metric does.

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
    ask = _Ask(metric, witness, seed, replications, requests)
    base = ask.rung(scenario)
    here = ask.values(scenario, base)
    found, skipped = _chosen(scenario, fields)
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
class Found:
    """A numeric field: its value as a plain number, its unit, and whether it is whole."""

    path: str
    value: float
    unit: str
    whole: bool

    def at(self, value: float) -> Any:
        """A value of this field's kind."""
        if self.whole:
            return round(value)
        return registry.Quantity(value, self.unit) if self.unit else value


def numeric_fields(scenario: Any) -> tuple[list[Found], list[Skipped]]:
    """All numbers that a scenario is made of, by dotted path, and its other fields with why they cannot vary.

    >>> from secondorder.workloads.arrivals import Poisson
    >>> numeric_fields(Poisson("8 request/s"))
    ([Found(path='rate', value=8.0, unit='request / second', whole=False)], [])
    """
    found: list[Found] = []
    skipped: list[Skipped] = []
    for path, value in _leaves(scenario, ""):
        match value:
            case pint.Quantity() if value.m != 0:
                found.append(Found(path, float(value.m), f"{value.u:D}", False))
            case bool() | str():
                skipped.append(Skipped(path=path, reason="text or a choice"))
            case int() | float() if value != 0 and math.isfinite(value):
                found.append(Found(path, float(value), "", isinstance(value, int)))
            case pint.Quantity() | int() | float():
                skipped.append(Skipped(path=path, reason="0, and a share of 0 is 0"))
            case None:
                skipped.append(Skipped(path=path, reason="not given"))
            case _ if is_dataclass(value):
                skipped.append(Skipped(path=path, reason="a choice without numbers"))
            case _:
                skipped.append(Skipped(path=path, reason="a list of values"))
    return found, skipped


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What is no dataclass itself, with its dotted path; what a thing is called, and since when, is no field of it."""
    for field in fields(value):
        if not field.init or field.name in _ABOUT:
            continue
        inner, place = getattr(value, field.name), f"{path}.{field.name}".lstrip(".")
        if is_dataclass(inner) and not isinstance(inner, type) and fields(inner):
            yield from _leaves(inner, place)
        else:
            yield place, inner


_ABOUT = ("name", "note", "vendor", "released", "year", "source", "sources")


def _chosen(scenario: Any, wanted: Sequence[str] | None) -> tuple[list[Found], list[Skipped]]:
    found, skipped = numeric_fields(scenario)
    if wanted is None:
        return found, skipped
    known = {one.path: one for one in found}
    reasons = {one.path: one for one in skipped}
    for path in wanted:
        if path not in known and path not in reasons:
            raise UnknownName.among("fields", path, [*known, *reasons])
    return [known[path] for path in wanted if path in known], [reasons[path] for path in wanted if path in reasons]


@dataclass(frozen=True)
class _Ask:
    """How the metric of a scenario is found."""

    metric: str
    witness: str
    seed: int
    replications: int
    requests: int | None

    def rung(self, scenario: Any) -> Estimate:
        """The best estimate of the metric as the scenario stands."""
        if self.witness not in ("solve", "simulate"):
            raise UnknownName.among("witness", self.witness, ("solve", "simulate"))
        if self.witness == "solve":
            return solve(scenario).best(self.metric)
        return self.run(scenario, 0).best(self.metric)

    def run(self, scenario: Any, pair: int) -> Answer:
        """The simulated answer of a pair: two replications by a seed of the pair's own."""
        seed = int(stream(self.seed, pair, "sensitivity").integers(2**31))
        return simulate(scenario, seed=seed, replications=2, requests=self.requests)

    def values(self, scenario: Any, base: Estimate) -> Floats:
        """The metric: one value of a closed form, or one of each simulated pair."""
        return self.simulated(scenario) if self.witness == "simulate" else np.array([self.solved(scenario, base)])

    def solved(self, scenario: Any, base: Estimate) -> float:
        """The same rung of the ladder as the base."""
        for estimate in solve(scenario)[self.metric]:
            if estimate.order == base.order:
                return estimate.amount
        raise InputError(self.metric, given=f"no order {base.order} there", expected="the same order as at the base")

    def simulated(self, scenario: Any) -> Floats:
        """One value a pair."""
        return np.array([self.run(scenario, pair).best(self.metric).amount for pair in range(self.replications)])


def _effect(scenario: Any, field: Found, by: float, ask: _Ask, base: Estimate, here: Floats) -> Effect | Skipped:
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
    scenario: Any,
    field: Found,
    places: list[float],
    found: list[Floats],
    step: str,
    ask: _Ask,
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


def _central(scenario: Any, field: Found, width: float, ask: _Ask, base: Estimate) -> float:
    places = field.value * math.exp(-width), field.value * math.exp(width)
    low, high = (ask.solved(varied(scenario, {field.path: field.at(value)}), base) for value in places)
    return _slope(low, high, places)


def _slope(low: float, high: float, places: Sequence[float]) -> float:
    if low == high:
        return 0.0
    if low * high <= 0:
        raise InputError("metric", given=f"{low:g} and {high:g}", expected="one sign, for a logarithm")
    return math.log(high / low) / math.log(places[1] / places[0])


# All at once


@dataclass(frozen=True, kw_only=True)
class Index:
    """A field's share of the variance: ``first`` alone, ``total`` with all it does through others; 95 % intervals."""

    path: str
    low_value: float
    high_value: float
    unit: str
    first: float
    first_low: float
    first_high: float
    total: float
    total_low: float
    total_high: float

    @property
    def interaction(self) -> float:
        """``total - first``: what acts only together with other fields."""
        return self.total - self.first


@dataclass(frozen=True, kw_only=True)
class Sobol:
    """Indices of the fields, the greatest total first.

    ``interactions``: share of the variance that no field makes alone, with its 95 % interval.
    """

    scenario: str
    metric: str
    unit: str
    mean: float
    deviation: float
    samples: int
    rows: tuple[Index, ...]
    interactions_low: float
    interactions_high: float

    @property
    def interactions(self) -> float:
        return 1 - sum(row.first for row in self.rows)

    def __getitem__(self, path: str) -> Index:
        for row in self.rows:
            if row.path == path:
                return row
        raise UnknownName.among("field", path, [row.path for row in self.rows])

    @property
    def frame(self) -> "pd.DataFrame":
        """One row a field."""
        import pandas as pd

        names = (
            "path",
            "low_value",
            "high_value",
            "unit",
            "first",
            "first_low",
            "first_high",
            "total",
            "total_low",
            "total_high",
        )
        rows = [[getattr(row, name) for name in names] for row in self.rows]
        return pd.DataFrame(rows, columns=["field", *names[1:]])


def sobol(
    scenario: Any,
    metric: str,
    ranges: Mapping[str, tuple[Any, Any]],
    *,
    samples: int = 256,
    witness: Witness = "solve",
    seed: int = 0,
    replications: int = 10,
    requests: int | None = None,
    jobs: int = 1,
) -> Sobol:
    """Split the variance of a metric over ranges of fields: ``{"arrivals.rate": ("4 request/s", "8 request/s")}``.

    Each field is uniform over its range and independent of the others; whole numbers take every value of it. The
    scenario is evaluated ``samples (fields + 2)`` times. A simulation is run with the same seed at every point.
    Near saturation few points hold most of the variance: believe the intervals, and take more ``samples``.

    Errors: ``InfeasibleError`` where a point of the ranges has no answer; ``UnknownName``, ``InputError``.

    >>> from secondorder.scenarios.queue import Queue
    >>> queue = Queue(arrivals="poisson 8 request/s", service="exponential 100 ms")
    >>> ranges = {"arrivals.rate": ("5 request/s", "9 request/s"), "service.mean": ("60 ms", "100 ms")}
    >>> found = sobol(queue, "wait_mean", ranges, samples=128)
    >>> [(row.path, row.total > row.first) for row in found.rows]
    [('service.mean', True), ('arrivals.rate', True)]
    """
    found = [_range(scenario, path, ends) for path, ends in ranges.items()]
    if not found:
        raise InputError("ranges", given="none", expected="fields, each with its lowest and highest value")
    ask = _Ask(metric, witness, seed, replications, requests)
    base = ask.rung(scenario)
    names = [one.path for one, _, _ in found]

    def at(point: Floats) -> float:
        changes = {one.path: _within(one, low, high, u) for (one, low, high), u in zip(found, point, strict=True)}
        return _answered(scenario, changes, ask, base)

    def function(points: Floats) -> Floats:
        return np.array(list(run_each(at, list(points), jobs)))

    indices = sobol_indices(function, len(found), samples=samples, seed=seed)
    rows = [
        Index(path=name, low_value=low, high_value=high, unit=one.unit, **indices.of(i))
        for i, (name, (one, low, high)) in enumerate(zip(names, found, strict=True))
    ]
    rows.sort(key=lambda row: -row.total)
    return Sobol(
        scenario=str(getattr(scenario, "name", type(scenario).__name__)),
        metric=metric,
        unit=base.unit,
        mean=indices.mean,
        deviation=indices.deviation,
        samples=samples,
        rows=tuple(rows),
        interactions_low=indices.together_interval[0],
        interactions_high=indices.together_interval[1],
    )


def _range(scenario: Any, path: str, ends: tuple[Any, Any]) -> tuple[Found, float, float]:
    one = _chosen(scenario, [path])[0]
    if not one:
        raise InputError(f"ranges: {path}", given="no number in the scenario", expected="a numeric field")
    field = one[0]
    if len(ends) != 2:
        raise InputError(f"ranges: {path}", given=repr(ends), expected="a lowest and a highest value")
    low, high = (_plain(scenario, field, end) for end in ends)
    if not low < high:
        raise InputError(f"ranges: {path}", given=f"{ends[0]} to {ends[1]}", expected="the lower value first")
    return field, low, high


def _plain(scenario: Any, field: Found, value: Any) -> float:
    """The value as the field reads it, as a plain number."""
    for one in numeric_fields(varied(scenario, {field.path: value}))[0]:
        if one.path == field.path:
            return one.value
    raise InputError(f"ranges: {field.path}", given=repr(value), expected="a value other than 0")


def _within(field: Found, low: float, high: float, share: float) -> Any:
    if field.whole:
        return field.at(min(high, math.floor(low + share * (high - low + 1))))
    return field.at(low + share * (high - low))


def _answered(scenario: Any, changes: Mapping[str, Any], ask: _Ask, base: Estimate) -> float:
    try:
        there = varied(scenario, changes)
        if ask.witness == "solve":
            return ask.solved(there, base)
        return (
            simulate(there, seed=ask.seed, replications=ask.replications, requests=ask.requests).best(ask.metric).amount
        )
    except InfeasibleError as error:
        point = ", ".join(f"{path} {value}" for path, value in changes.items())
        raise InfeasibleError(f"at {point}: {error}; narrow the ranges") from None


@dataclass(frozen=True)
class Indices:
    """First and total indices of each input, ``(inputs,)``, and their bootstrap intervals ``(2, inputs)``.

    ``together_interval``: that of ``1 - sum(first)``, the share of the variance that no input makes alone.
    """

    first: Floats
    total: Floats
    first_interval: Floats
    total_interval: Floats
    together_interval: tuple[float, float]
    mean: float
    deviation: float

    def of(self, i: int) -> dict[str, float]:
        return {
            "first": float(self.first[i]),
            "first_low": float(self.first_interval[0, i]),
            "first_high": float(self.first_interval[1, i]),
            "total": float(self.total[i]),
            "total_low": float(self.total_interval[0, i]),
            "total_high": float(self.total_interval[1, i]),
        }


def sobol_indices(
    function: Callable[[Floats], npt.ArrayLike],
    inputs: int,
    *,
    samples: int = 256,
    seed: int = 0,
    resamples: int = 500,
    confidence: float = 0.95,
) -> Indices:
    """Sobol's indices of a function of independent inputs, each uniform on (0, 1).

    ``A`` and ``B`` are two halves of a scrambled Sobol sequence, ``A_i`` is ``A`` with the i-th column of ``B``:
    ``S_i = mean(f(B) (f(A_i) - f(A))) / V``, ``T_i = mean((f(A) - f(A_i))^2) / (2 V)``. ``function`` takes points
    (count, inputs) and returns values (count,). Intervals by bootstrap over the points; those of a Sobol
    sequence are more even than independent ones, so that they are wide rather than narrow.
    *Valid when* ``samples`` is a power of 2. Errors: ``InputError``. *Source*: Saltelli et al., Variance based
    sensitivity analysis of model output, Computer Physics Communications 181 (2010), table 2 (b) and (f, Jansen).

    >>> found = sobol_indices(lambda x: x[:, 0] + 2 * x[:, 1], 2, samples=1024)       # variances 1 and 4
    >>> found.first.round(2), found.total.round(2)
    (array([0.2, 0.8]), array([0.2, 0.8]))
    """
    from scipy.stats import qmc

    if samples < 8 or samples & (samples - 1):
        raise InputError("samples", given=samples, expected="a power of 2 of at least 8")
    drawn = qmc.Sobol(2 * inputs, scramble=True, seed=stream(seed, 0, "sobol")).random(samples)
    a, b = drawn[:, :inputs], drawn[:, inputs:]
    mixed = [np.where(np.arange(inputs) == i, b, a) for i in range(inputs)]
    values = np.asarray(function(np.concatenate([a, b, *mixed])), dtype=np.float64).reshape(inputs + 2, samples)
    mean, deviation = float(values[:2].mean()), float(values[:2].std())
    if not deviation > 0:
        raise InputError("function", given=f"{mean:g} everywhere", expected="a value that varies over the ranges")
    values = values - mean
    first, total = _estimators(values)
    rng = stream(seed, 0, "bootstrap")
    again = np.array([_estimators(values[:, rng.integers(samples, size=samples)]) for _ in range(resamples)])
    rest = (1 - confidence) / 2
    bounds = np.quantile(again, [rest, 1 - rest], axis=0)
    low, high = np.quantile(1 - again[:, 0].sum(axis=1), [rest, 1 - rest])
    return Indices(first, total, bounds[:, 0], bounds[:, 1], (float(low), float(high)), mean, deviation)


def _estimators(values: Floats) -> tuple[Floats, Floats]:
    fa, fb, fi = values[0], values[1], values[2:]
    variance = np.var(values[:2])
    first: Floats = (fb * (fi - fa)).mean(axis=1) / variance
    total: Floats = ((fa - fi) ** 2).mean(axis=1) / (2 * variance)
    return first, total


def described(effect: Effect) -> str:
    """A field's value as one reads it.

    >>> described(Effect(path="x", value=0.1, unit="second", step="", base=1, at_low=1, at_high=1, elasticity=0))
    '100 ms'
    """
    return pretty(effect.value, short_unit(effect.unit))


def short_unit(unit: str) -> str:
    """A unit as tables write it.

    >>> short_unit("kgCO2e / kilowatt_hour"), short_unit("request / second")
    ('kgCO2e/kWh', 'request/s')
    """
    return re.sub(r"\w+", lambda word: _SHORT.get(word[0], word[0]), unit).replace(" ", "")


_SHORT = {"second": "s", "watt": "W", "watt_hour": "Wh", "kilowatt_hour": "kWh", "joule": "J", "liter": "L"}
