"""How much of the variance of a metric each field of a scenario makes, alone and together with others (Sobol).

Where a field's total index exceeds its first one, it acts through others, and no change of one field at a time
shows it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secondorder.answers.estimate import Estimate
from secondorder.arrays import Floats
from secondorder.errors import InfeasibleError, InputError
from secondorder.executor import run_each
from secondorder.scenarios.scenario import Scenario
from secondorder.simulate.streams import stream
from secondorder.studies.numeric_fields import Found, at_path, chosen_fields, numeric_fields
from secondorder.studies.sensitivity import Ask, Witness
from secondorder.studies.sweep import varied
from secondorder.verbs import simulate

if TYPE_CHECKING:
    import pandas as pd


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
        return at_path(self.rows, path)

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
    scenario: Scenario,
    metric: str,
    ranges: Mapping[str, tuple[object, object]],
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
    ask = Ask(metric, witness, seed, replications, requests)
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


def _range(scenario: Scenario, path: str, ends: tuple[object, object]) -> tuple[Found, float, float]:
    one = chosen_fields(scenario, [path])[0]
    if not one:
        raise InputError(f"ranges: {path}", given="no number in the scenario", expected="a numeric field")
    field = one[0]
    if len(ends) != 2:
        raise InputError(f"ranges: {path}", given=repr(ends), expected="a lowest and a highest value")
    low, high = (_plain(scenario, field, end) for end in ends)
    if not low < high:
        raise InputError(f"ranges: {path}", given=f"{ends[0]} to {ends[1]}", expected="the lower value first")
    return field, low, high


def _plain(scenario: Scenario, field: Found, value: object) -> float:
    """The value as the field reads it, as a plain number."""
    for one in numeric_fields(varied(scenario, {field.path: value}))[0]:
        if one.path == field.path:
            return one.value
    raise InputError(f"ranges: {field.path}", given=repr(value), expected="a value other than 0")


def _within(field: Found, low: float, high: float, share: float) -> object:
    if field.whole:
        return field.at(min(high, math.floor(low + share * (high - low + 1))))
    return field.at(low + share * (high - low))


def _answered(scenario: Scenario, changes: Mapping[str, object], ask: Ask, base: Estimate) -> float:
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
