"""Output analysis: what a run may be trusted for (Law 2015, chapter 9).

Inside one run successive requests are alike, and an interval from their spread is far too
short. Intervals here come from independent replications (Student's t), each cleared of its
warm-up by one cut for all, or from a few long batches of one run. How long a replication must
be for its interval to keep what it promises is ``recommended_length``; how many of them a wanted
precision takes is found by ``replicate_until``. What is too short is refused with the length
that it would take (``NotEnoughData``).
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from secondorder.errors import InputError
from secondorder.simulate.replicate import replicated

Floats = npt.NDArray[np.float64]
SimulateOnce = Callable[[int, int], Mapping[str, float]]
"""``(replication, length)`` to the metrics of one replication of ``length`` customers."""

RELAXATIONS_OF_A_BATCH = 100
"""Relaxation times that a batch must last."""
CORRELATION_TIMES = 30
"""Correlation times below which a run does not tell whether it has settled."""
RELAXATIONS_FOR_A_MEAN, RELAXATIONS_FOR_A_QUANTILE = 300, 1000
"""Relaxation times that a replication must last (measured: ``recommended_length``)."""
MOST_REPLICATIONS = 40
"""Past these, replications are lengthened rather than added: their bias does not average out."""


class NotEnoughData(InputError):
    """A run too short for what was asked of it; ``needed`` observations would do."""

    def __init__(self, what: str, *, given: object, expected: str, needed: float, remedy: str = "") -> None:
        self.needed = math.ceil(needed)
        super().__init__(what, given=given, expected=expected, remedy=remedy or f"simulate at least {self.needed:,}")

    def __reduce__(self) -> tuple[object, ...]:
        return _not_enough, (self.what, self.given, self.expected, self.needed, self.remedy)


def _not_enough(what: str, given: str, expected: str, needed: int, remedy: str) -> NotEnoughData:
    return NotEnoughData(what, given=given, expected=expected, needed=needed, remedy=remedy)


# Intervals


@dataclass(frozen=True)
class Interval:
    """A mean over independent replications with its confidence interval (None for a single run)."""

    mean: float
    low: float | None
    high: float | None

    @property
    def relative_half_width(self) -> float:
        if self.low is None or self.high is None:
            return math.inf
        half = (self.high - self.low) / 2
        if half == 0:
            return 0.0
        return half / abs(self.mean) if self.mean else math.inf


def student(values: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """``mean ± t sd/sqrt(n)`` over independent replications. *Exact* for normal values.

    >>> interval = student([1.0, 2.0, 3.0])
    >>> round(interval.low, 3), interval.mean, round(interval.high, 3)
    (-0.484, 2.0, 4.484)
    """
    sample = np.asarray(values, float)
    mean = float(sample.mean())
    if len(sample) < 2:
        return Interval(mean, None, None)
    half = student_quantile(confidence, len(sample) - 1) * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return Interval(mean, mean - half, mean + half)


def student_quantile(confidence: float, degrees: float) -> float:
    """Half-width of a central Student interval in standard errors.

    >>> round(student_quantile(0.95, 9), 4)
    2.2622
    """
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + confidence) / 2))


# Warm-up


def mser5(series: Floats) -> int:
    """Where the warm-up ends, by MSER-5: the cut that leaves the mean of the rest best known.

    Over means ``Z`` of batches of 5: the ``d`` that minimises
    ``sum_{j > d} (Z_j - mean)^2 / (m - d)^2``. Sought in the first half of the run:
    a cut at its very end means that the run is too short. *Source*: White 1997; White, Cobb, Spratt 2000.

    >>> series = np.concatenate([np.linspace(5, 0, 100), np.tile([1.0, -1.0], 450)])
    >>> 50 < mser5(series) < 150
    True
    """
    batches = len(series) // 5
    if batches < 4:
        return 0
    means = series[: batches * 5].reshape(batches, 5).mean(axis=1)
    left = np.arange(batches, 0, -1)
    sums, squares = means[::-1].cumsum()[::-1], (means**2)[::-1].cumsum()[::-1]
    spread = (squares - sums**2 / left) / left**2
    return 5 * int(np.argmin(spread[: batches // 2 + 1]))  # near the end too little is left to judge by


@dataclass(frozen=True)
class WarmUp:
    """Where to ``cut``, and whether what is left is in ``steady`` state; ``why`` not, if not."""

    cut: int
    steady: bool
    why: str = ""

    @property
    def label(self) -> str:
        return "steady state" if self.steady else f"transient ({self.why})"

    def cleared(self, series: Floats) -> Floats:
        """The series (time along the last axis) without its warm-up; ``NotEnoughData`` if it is transient."""
        length = series.shape[-1]
        if not self.steady:
            raise NotEnoughData("series", given=self.why, expected="a steady state past the cut", needed=2 * length)
        return series[..., self.cut :]


def warm_up(replications: npt.ArrayLike) -> WarmUp:
    """One cut for all replications (a row each), by MSER-5 over their mean, and what it leaves.

    *Transient* if the cut is past half of the run; if what is left is shorter than 30 of its
    correlation times, since deletion does not replace length; or if its two halves differ: the 99 %
    Student interval of their difference over the replications excludes 0, so that a steady run is
    called transient once or twice in a hundred. *Source*: White 1997; Law 2015, section 9.5.1.

    >>> rng = np.random.default_rng(1)
    >>> steady = rng.normal(size=(5, 2000))
    >>> warm_up(steady).label, warm_up(steady + np.linspace(0, 1, 2000)).label[:9]
    ('steady state', 'transient')
    """
    rows = np.atleast_2d(np.asarray(replications, float))
    return judged_cut(rows, mser5(rows.mean(axis=0)))


def judged_cut(rows: Floats, cut: int) -> WarmUp:
    """A cut of all ``rows``, refused past half of the run or where what it leaves still drifts."""
    length = rows.shape[1]
    if 2 * cut >= length - 10:  # the end of what MSER-5 looks at
        return WarmUp(cut, False, f"the warm-up takes {cut:,} of {length:,} observations, half or more")
    left = rows[:, cut:]
    times = left.shape[1] / correlation_time(left)
    if times < CORRELATION_TIMES:
        return WarmUp(cut, False, f"{times:.2g} correlation times are too few to tell")
    drift = _drift(left)
    if drift:
        return WarmUp(cut, False, f"its mean still drifts by {drift:+.3g} from one half to the next")
    return WarmUp(cut, True)


def _drift(rows: Floats) -> float:
    """How much the halves differ on average, if more than by chance, else 0."""
    half = rows.shape[1] // 2
    if len(rows) < 2 or half == 0:
        return 0.0
    gap = student(rows[:, -half:].mean(axis=1) - rows[:, :half].mean(axis=1), 0.99)
    return gap.mean if gap.relative_half_width < 1 else 0.0


# Correlation and batches


def correlation_time(series: npt.ArrayLike) -> float:
    """Integrated autocorrelation time, in observations: ``1 + 2 sum_k r_k``, so that ``Var[mean] = sd^2 time / n``.

    The sum stops at the first lag past five times itself; replications (a row each) share one mean
    and one estimate. In M/M/1 it is 1 to 1.7 relaxation times. *Valid when* the series is
    steady and many times longer; from a shorter one it comes out too low, and at most a fifth of the
    length where even its rows differ. *Source*: Sokal, Monte Carlo methods in statistical mechanics (1997), section 3.

    >>> rng = np.random.default_rng(1)
    >>> noise = rng.normal(size=100_000)
    >>> round(correlation_time(noise)), round(correlation_time(np.convolve(noise, np.ones(20), "valid")))
    (1, 21)
    """
    rows = np.atleast_2d(np.asarray(series, float))
    variance = float(rows.var())
    if variance == 0:
        return 1.0
    group = max(1, rows.shape[1] // 2**17)  # the means of groups keep the sum of all covariances
    rows = rows[:, rows.shape[1] % group :].reshape(len(rows), -1, group).mean(axis=2)
    covariance = _autocovariance(rows - rows.mean())
    sums = 2 * np.cumsum(covariance) - covariance[0]
    times = sums / covariance[0]
    short = np.arange(len(times)) >= 5 * times
    stop = int(np.argmax(short)) if short.any() else len(times) - 1
    return float(max(group * sums[stop] / variance, 1 / rows.size))


def _autocovariance(rows: Floats) -> Floats:
    """At lags 0, 1, ...; the mean over the rows, by Fourier transform."""
    length = rows.shape[1]
    size = 1 << (2 * length - 1).bit_length()
    power = sum((np.abs(np.fft.rfft(row, size)) ** 2 for row in rows), start=np.zeros(size // 2 + 1))
    return np.asarray(np.fft.irfft(power, size)[:length] / (length * len(rows)))


@dataclass(frozen=True)
class BatchMeans:
    """The ``interval`` of one long run's mean from ``batches`` of ``size`` observations.

    ``relaxation`` in observations; ``lag_1`` the correlation of neighbouring batches.
    """

    interval: Interval
    batches: int
    size: int
    relaxation: float
    lag_1: float

    @property
    def how(self) -> str:
        times = self.size / self.relaxation
        return f"{self.batches} batches of {self.size:,} observations, {times:,.0f} relaxation times each"


def batch_means(
    series: npt.ArrayLike, *, batches: int = 10, relaxation: float | None = None, confidence: float = 0.95
) -> BatchMeans:
    """Confidence interval of the mean of one long run: Student's over 5 to 10 batches.

    ``relaxation``: the relaxation time in observations (of customers: the arrival rate times
    ``1/(mu (1 - sqrt(rho))^2)`` in M/M/1); if not given, the ``correlation_time`` of the series stands
    for it. What does not fill the batches is cut at the front, where the warm-up was.

    *Valid when* batches last at least 100 relaxation times. Measured in M/M/1: 93.5 to 95 % of 95 %
    intervals cover; where the series itself had only just been found long enough, 90 to 93 %.
    Errors: ``NotEnoughData`` where they are shorter, or where neighbouring batches are more alike
    than one independent series in a hundred; ``InputError``. *Source*: Law and Carson 1979;
    Schmeiser 1982 (few long batches); von Neumann 1941 (serial correlation).

    >>> batch_means(np.random.default_rng(1).normal(size=5_000)).how[:32]
    '10 batches of 500 observations, '
    """
    if not 5 <= batches <= 10:
        raise InputError("batches", given=batches, expected="5 to 10: fewer are too few for Student, more too short")
    values = np.asarray(series, float)
    length = correlation_time(values) if relaxation is None else relaxation
    size = len(values) // batches
    if size < RELAXATIONS_OF_A_BATCH * length:
        raise NotEnoughData(
            "series",
            given=f"{batches} batches of {size / length:.3g} relaxation times",
            expected=f"batches of at least {RELAXATIONS_OF_A_BATCH}",
            needed=max(RELAXATIONS_OF_A_BATCH * length * batches, 2 * len(values) if relaxation is None else 0),
        )
    means = values[len(values) - batches * size :].reshape(batches, size).mean(axis=1)
    alike = _lag_1(means)
    if alike > _greatest_lag_1(batches):
        raise NotEnoughData(
            "series",
            given=f"batches with a lag-1 correlation of {alike:.2f}",
            expected=f"at most {_greatest_lag_1(batches):.2f}",
            needed=2 * len(values),
        )
    return BatchMeans(student(means, confidence), batches, size, length, alike)


def _lag_1(means: Floats) -> float:
    gaps = means - means.mean()
    total = float(gaps @ gaps)
    return float(gaps[1:] @ gaps[:-1]) / total if total else 0.0


def _greatest_lag_1(batches: int) -> float:
    """The 99 % quantile for independent batches: normal, with the exact mean and variance."""
    variance = (batches - 2) ** 2 / (batches**2 * (batches - 1))
    return -1 / batches + 2.3263 * math.sqrt(variance)


# How long


@dataclass(frozen=True)
class RunLength:
    """``replications`` of ``customers`` each, the first ``warm_up`` of which are to be cut."""

    replications: int
    customers: int
    warm_up: int

    @property
    def total(self) -> int:
        return self.replications * self.customers


def recommended_length(*, relaxation: float, quantile: float | None = 0.99, replications: int = 10) -> RunLength:
    """Run length at which Student intervals over replications keep their confidence.

    Each replication keeps 1000 relaxation times and 50 observations past the quantile (300
    relaxation times where ``quantile`` is None: only means), after a warm-up of a tenth more.
    ``relaxation``: in customers, the arrival rate times the relaxation time. No more than 40
    replications: the bias of a quantile falls with the length and not with their number.

    *Measured* coverage of nominal 95 % intervals of the mean and of the p99 wait, in %: M/M/1 from
    empty, 10 replications, 1,000 to 5,000 intervals a row (300 and 500 at rho = 0.95), so that the
    standard errors are 0.3 to 0.7 (1.2):

    =====================  ===========  ===========  ===========
    relaxation times kept  rho = 0.5    rho = 0.8    rho = 0.95
    =====================  ===========  ===========  ===========
    100                    94.7   81.1  94.0   87.5
    300                    94.9   91.8  95.4   93.8  95.6   94.0
    1000                   94.8   94.5  95.3   94.9  96.7   96.3
    3000                   95.5   94.8  95.3   95.3
    =====================  ===========  ===========  ===========

    A short run's quantile is biased low and skewed: as a rule a replication is long enough where its
    own value spreads by less than a tenth. A start from the stationary law, an interval of
    logarithms, or one inverted from the shares past a threshold do no better. Services of heavy tail take
    longer: lognormal of scv 4, rho = 0.5, 92 and 94.7 at 1000 (the mean 94.5 with its realised moments as
    controls, from 20 replications on: ``validation.variance_reduction``). *Source*: these
    measurements; for the means Whitt, Planning queueing simulations (1989).

    >>> recommended_length(relaxation=72)
    RunLength(replications=10, customers=79200, warm_up=7200)
    """
    if not 2 <= replications <= MOST_REPLICATIONS:
        raise InputError("replications", given=replications, expected=f"2 to {MOST_REPLICATIONS}, for an interval")
    if quantile is not None and not 0 < quantile < 1:
        raise InputError("quantile", given=quantile, expected="a share between 0 and 1, or None for means only")
    kept = relaxation * (RELAXATIONS_FOR_A_MEAN if quantile is None else RELAXATIONS_FOR_A_QUANTILE)
    if quantile is not None:
        kept = max(kept, 50 / (1 - quantile), 50 / quantile)
    cut = math.ceil(kept / 10)
    return RunLength(replications, math.ceil(kept) + cut, cut)


# How many


@dataclass(frozen=True, kw_only=True)
class Replicated:
    """Replications and how they were obtained.

    ``values``: of each metric, one a replication, of ``lengths`` customers; ``intervals`` of
    their means. ``reached``: whether the wanted precision was; ``needed``: customers in all that
    it takes, as far as these can tell.
    """

    values: Mapping[str, Floats] = field(repr=False)
    lengths: tuple[int, ...] = field(repr=False)
    intervals: Mapping[str, Interval]
    reached: bool
    needed: int
    how: str

    @property
    def customers(self) -> int:
        return sum(self.lengths)


def replicate_until(
    simulate_once: SimulateOnce,
    *,
    metrics: Sequence[str],
    relative_half_width: float,
    length: int,
    budget: int,
    seconds: float | None = None,
    first: int = 10,
    confidence: float = 0.95,
    jobs: int = 1,
) -> Replicated:
    """Replicate until each of the ``metrics`` is known to a relative half-width, or the budget ends.

    Two stages: the spread ``s`` of the ``first`` replications fixes how many there must be,
    ``n = (t s / (relative_half_width mean))^2``, ``t`` Student's at ``first - 1`` degrees of freedom; the
    interval is ``mean of all n ± t s/sqrt(n)``, still with the first stage's ``s``, on which the mean does
    not depend. *Exact* for normal values, but for the running mean that makes the width
    relative: measured, 94 to 96 % of 95 % intervals cover. (To stop as soon as the interval of all is
    short picks the lucky ones: 91 % cover starting from 3 replications, 94 % from 10.) Past 40
    replications longer ones take the place of more, each counted by its customers: variance falls
    as one over length, and the bias of a quantile with it.

    ``length``: customers of a replication, from ``recommended_length``; ``budget``: customers in
    all; ``seconds``: a budget too, turned into customers by the speed of a short trial, so that the
    result depends on the machine. When the budget ends first, ``reached`` is False, and ``how``
    says so. A budget below ``first`` replications shortens them, and reaches nothing: their
    interval may cover too seldom.

    Errors: ``InputError``; those of ``simulate_once``. *Source*: Stein 1945; Law 2015, section 9.4.1.

    >>> def once(replication, length):
    ...     return {"mean": np.random.default_rng(replication).normal(10, 20 / length**0.5)}
    >>> found = replicate_until(once, metrics=["mean"], relative_half_width=0.02, length=1_000, budget=10**6)
    >>> found.how
    '34 replications, 58,000 customers'
    >>> replicate_until(once, metrics=["mean"], relative_half_width=0.02, length=1_000, budget=15_000).how
    '15 replications, 15,000 customers; not enough data: half-width 3.9 % where 2 % was wanted, needs about 58,000'
    """
    _check_wanted(first, relative_half_width, budget)
    if seconds is not None:
        budget = max(first, min(budget, _affordable(simulate_once, length, seconds)))
    runs = _Replications(simulate_once, metrics, first, min(length, budget // first), confidence, jobs)
    runs.add(first)
    while (needed := runs.needed(relative_half_width)) > runs.customers and runs.size == length:
        more = (min(needed, budget) - runs.customers) // length  # both are whole multiples, but the budget
        if more == 0:
            break
        runs.add(more)
    reached = needed <= runs.customers and runs.size == length
    needed = max(needed, first * length)
    how = f"{len(runs.found)} replications, {runs.customers:,} customers"
    if not reached:
        how += (
            f"; not enough data: half-width {100 * runs.width():.2g} % where {100 * relative_half_width:.2g} % "
            f"was wanted, needs about {needed:,}"
        )
    names = list(runs.found[0])
    return Replicated(
        values={metric: runs.values(metric) for metric in names},
        lengths=tuple(runs.lengths),
        intervals={metric: runs.interval(metric) for metric in names},
        reached=reached,
        needed=needed,
        how=how,
    )


def _check_wanted(first: int, relative_half_width: float, budget: int) -> None:
    if first < 5:
        raise InputError("first", given=first, expected="at least 5 replications, so that their spread is known")
    if not 0 < relative_half_width < 1:
        raise InputError("relative_half_width", given=relative_half_width, expected="a share between 0 and 1")
    if budget < first:
        raise InputError("budget", given=budget, expected=f"customers for {first} replications")


def _affordable(simulate_once: SimulateOnce, length: int, seconds: float) -> int:
    trial = max(1, length // 20)
    begun = time.perf_counter()
    simulate_once(0, trial)
    return max(1, int(trial * seconds / (time.perf_counter() - begun)))


@dataclass
class _Replications:
    """The ``first`` ones of ``size``, then as many or longer ones; those of one length alike."""

    simulate_once: SimulateOnce
    metrics: Sequence[str]
    first: int
    size: int
    confidence: float
    jobs: int
    found: list[Mapping[str, float]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    @property
    def customers(self) -> int:
        return sum(self.lengths)

    def add(self, equivalents: int) -> None:
        """At most so many replications of the first size, or fewer that are multiples of it: 40 or so in all."""
        start = len(self.found)
        multiple = math.ceil(equivalents / max(1, MOST_REPLICATIONS - start))
        count, length = equivalents // multiple, multiple * self.size
        self.lengths += [length] * count
        once = self.simulate_once  # workers are sent this and not all that is found so far
        self.found += replicated(lambda k: once(k, length), count, self.jobs, first=start, least=0)

    def values(self, metric: str) -> Floats:
        return np.array([each[metric] for each in self.found], float)

    def interval(self, metric: str) -> Interval:
        """Stein's: the mean of all by customers, the spread of the first."""
        values = self.values(metric)
        mean, spread = float(np.average(values, weights=self.lengths)), float(values[: self.first].std(ddof=1))
        equivalents = self.customers / self.size
        half = student_quantile(self.confidence, self.first - 1) * spread / math.sqrt(equivalents)
        return Interval(mean, mean - half, mean + half)

    def width(self) -> float:
        """The greatest relative half-width of the chosen metrics."""
        widths = {metric: self.interval(metric).relative_half_width for metric in self.metrics}
        for metric, width in widths.items():
            if not math.isfinite(width):
                mean = self.interval(metric).mean
                raise InputError(metric, given=f"a mean of {mean:g}", expected="a finite mean other than 0")
        return max(widths.values())

    def needed(self, relative_half_width: float) -> int:
        """Customers in all: whole replications of the first size."""
        equivalents = self.customers / self.size * (self.width() / relative_half_width) ** 2
        return max(self.first, math.ceil(equivalents - 1e-9)) * self.size
