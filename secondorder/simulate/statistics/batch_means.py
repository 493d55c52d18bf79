"""The interval of one long run's mean from a few long batches, and how long a series remembers itself."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.simulate.statistics.intervals import Interval, student
from secondorder.simulate.statistics.not_enough import NotEnoughData

RELAXATIONS_OF_A_BATCH = 100
"""Relaxation times that a batch must last."""


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
