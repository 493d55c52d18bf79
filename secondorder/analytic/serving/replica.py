"""Order 2: the replica as a queue. Sequences that share steps, prompts that wait for them.

Two queues, one inside the other. The number of sequences that decode is a birth-death
process whose speed depends on their number (``gps``, Cohen 1979): each step gives each of
them one token, and the more they are, the longer a step lasts. Given their number, prompts
queue for the steps (``PrefillQueue``), which also says how long a mean step is. Sequences
beyond the slots wait for one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from secondorder.analytic.serving.decode_batch import DecodeBatch
from secondorder.analytic.serving.domain import cache_overflow, outside
from secondorder.analytic.serving.runs import LEVELS, Edges, RunLaw, binned, parts, parts_of_rising
from secondorder.analytic.serving.saturation import Saturation, saturation
from secondorder.arrays import Floats
from secondorder.errors import Unstable
from secondorder.scenarios.serving import Serving

NEGLIGIBLE = 1e-6  # share of the requests
ABOUT = 0.02  # relative distance within which a first guess of a quantile is mostly right
CHORD = 1e-3  # relative width of an interval on which a law is taken for straight
HIT = 1e-4  # share of a probability that is met as good as exactly
RUNS: Edges = (*np.arange(108) / 120, *(1 - np.geomspace(0.1, 5e-4, 48)), 1.0)  # cuts of a run of steps
TIMES: Edges = (*np.arange(1440) / 1600, *(1 - np.geomspace(0.1, 1e-4, 480)), 1.0)  # cuts of a time to first token


@dataclass(frozen=True, kw_only=True)
class Replica:
    """A scenario at a rate below saturation.

    *Approximation*: the number of decodes changes slowly against the wait of a prompt; the requests' output lengths
    matter for their number through the time of the run of steps alone (exact for processor sharing, Cohen 1979, while
    slots are free; the wait for a slot is scaled by ``(1 + scv)/2``, Allen-Cunneen). How steps and decodes fluctuate
    together is linear (``Fluctuations``). *Valid when* arrivals are Poisson, or gamma or Markov-modulated with an
    index of dispersion of 1 to 2.5 and bursts no longer than the backlog that they make; prompts add no more than two
    thirds of the steps' time; fewer than .2 % of the requests wait for the cache and .5 % for a slot (from 1 % on the
    99th percentile lies among those that wait, whose tail is rough, and several times too long where answers spread
    widely); and most prompt tokens are of prompts of up to 1.5 token budgets.

    *Accuracy*: ``python benchmarks/serving_accuracy.py`` draws services at random and prints how many
    figures inside that domain lie within 10 % of the simulation or in its interval. Five services on
    which earlier forms failed are ``pytest tests/analytic/test_serving_ladder.py -k within_10_percent``; three loads
    of conversations on an H100 are in ``make validate``.
    """

    scenario: Serving
    rate: float
    limit: Saturation

    @classmethod
    def of(cls, scenario: Serving, rate: float, limit: Saturation | None = None) -> "Replica":
        """The replica at a rate; ``Unstable`` at or past saturation."""
        limit = limit or saturation(scenario)
        if rate >= limit.rate:
            raise Unstable(
                f"{scenario.name}: {rate:.4g} request/s offered, but the engine saturates at {limit.rate:.4g} "
                f"(utilisation {rate / limit.rate:.3g}, bound by the {limit.binds}); "
                f"use {int(rate / limit.rate) + 1} replicas or lower the rate"
            )
        return cls(scenario=scenario, rate=rate, limit=limit)

    @cached_property
    def batch(self) -> DecodeBatch:
        """The sequences that decode."""
        return DecodeBatch(scenario=self.scenario, rate=self.rate, limit=self.limit)

    @property
    def decodes(self) -> Floats:
        """Law of the number of sequences that decode or wait for a slot, see ``DecodeBatch``."""
        return self.batch.decodes

    @property
    def decoding(self) -> float:
        """Mean number of sequences that decode."""
        return self.batch.decoding

    @property
    def running(self) -> float:
        """Mean number of sequences that hold a slot."""
        return self.batch.running

    # Waiting for a slot

    @cached_property
    def slot_wait(self) -> tuple[float, float]:
        """Probability that a request waits for a slot, and the mean wait of those that do, s."""
        waits = float(self.decodes[self.batch.slots :].sum())
        if waits == 0:
            return 0.0, 0.0
        return waits, (1 + self.batch.decode_scv) / 2 / (self.limit.rate - self.rate)

    # What a request meets

    @cached_property
    def _levels(self) -> tuple[Floats, Floats]:
        """Numbers of decodes that a request meets, with the share of requests that each stands for.

        None at all is a case of its own, the first, unless next to none meet it: the engine idles. The others are means
        of parts of the law.
        """
        law = self.decodes
        if len(law) == 1:
            return np.zeros(1), np.ones(1)
        more = 0.0 if self.batch.burst == 1 else max(self.batch.fluctuations.found_more, 0.0)
        numbers = np.minimum(np.arange(1, len(law)) + more, self.batch.slots)
        means, shares = parts(numbers, law[1:], LEVELS)
        if self.batch.never_idle:
            return means, shares
        return np.concatenate([[0.0], means]), np.concatenate([law[:1], shares * (1 - law[0])])

    @cached_property
    def _idle_law(self) -> tuple[Floats, Floats]:
        """Law of the time to first token where none decodes: times (s, rising) and weights."""
        return self.batch.idle.first_token.laws[0]

    def _first_tokens(self, cuts: Edges) -> Floats:
        """Times to first token (s): a row for each of ``_levels``, means of the parts between cuts of the law."""
        levels, found = self._levels[0], []
        if not self.batch.never_idle:
            levels = levels[1:]
            found.append(parts_of_rising(*self._idle_law, cuts)[None, :])
        if len(levels):
            numbers, _ = self.batch.solved
            solved = np.array([parts_of_rising(*law, cuts) for law in self.batch.first_tokens])
            low, part = _between(levels, numbers)
            above = solved[np.minimum(low + 1, len(numbers) - 1)]
            found.append(solved[low] * (1 - part[:, None]) + above * part[:, None])
        return np.concatenate(found)

    @cached_property
    def first_token(self) -> tuple[Floats, Floats]:
        """Law of the time to first token without a wait for a slot: atoms (s, rising) and weights."""
        atoms = self._first_tokens(TIMES)
        mass = self._levels[1][:, None] * np.diff(TIMES)
        return binned(atoms.ravel(), mass.ravel() / mass.sum())

    @cached_property
    def ttft_mean(self) -> float:
        """Mean time to first token, s."""
        atoms, weight = self.first_token
        waits, wait = self.slot_wait
        return float((atoms * weight).sum()) + waits * wait

    def ttft_quantile(self, level: float) -> float:
        """Quantile of the time to first token, s: a prompt's law plus an exponential wait for a slot."""
        return self._later(level, *self.first_token)

    def _later(self, level: float, atoms: Floats, weight: Floats) -> float:
        """Quantile of a law in rising atoms, each with the wait for a slot on top."""
        waits, wait = self.slot_wait
        if waits < NEGLIGIBLE:
            return float(np.interp(level, weight.cumsum() - weight / 2, atoms))

        def beyond(t: float) -> float:
            still = np.exp(np.minimum((atoms - t) / wait, 0.0))
            return float((weight * np.where(atoms > t, 1.0, waits * still)).sum())

        return _falls_to(1 - level, beyond, float(np.interp(level, weight.cumsum() - weight / 2, atoms)))

    # What it meets while it decodes

    @cached_property
    def _runs(self) -> tuple[RunLaw, Floats]:
        """Law of the run of steps of a request, and its mean (s): rows for ``_levels``, columns for the lengths.

        The request itself is one more than those that it finds (the arrival theorem of processor sharing). How many
        there are later is regressed on how many it finds, and what the regression leaves open adds to the variance
        (``Fluctuations``).
        """
        steps, _, _ = self.batch.lengths
        least, usual, full = self.batch.steps
        numbers, moments = self.batch.solved
        met, fluctuating, prompts = self._met
        low, part = _between(met, numbers)
        column = np.arange(len(steps))
        bias, second, third, quiet = (
            moments[low, order, column] * (1 - part)
            + moments[np.minimum(low + 1, len(numbers) - 1), order, column] * part
            for order in range(4)
        )
        alone = np.interp(met, self.batch.numbers, usual)
        mean = steps * (alone - self._levels[1] @ alone + self._usual_step) + bias
        fixed = np.maximum(second - bias**2, (1e-6 * mean) ** 2)
        more = 1 + prompts / fixed
        law = RunLaw.of(
            least=steps * np.interp(met, self.batch.numbers, least),
            most=steps * np.interp(met, self.batch.numbers, full),
            mean=mean,
            variance=fixed * more,
            third=(third - 3 * bias * second + 2 * bias**3) * more**1.5,
            quiet=np.clip(quiet, 0, 1 - 1e-9),
            deviation=np.sqrt(fluctuating),
        )
        return law, mean

    @cached_property
    def _met(self) -> tuple[Floats, Floats, Floats]:
        """Decodes that a request meets on average, itself among them, and variances of its run of steps, s^2.

        The mean over the run, regressed on the number that it finds; the variance of what the regression leaves open;
        and what the variance has beyond that, as prompts bunch. By ``_levels`` and lengths.
        """
        steps, _, _ = self.batch.lengths
        noise, variance = self.batch.fluctuations, self.batch.fluctuations.decodes_variance
        covariance = noise.run_covariance(steps)
        rise = float(noise.run_covariance(np.ones(1))[0])
        kept = np.clip(covariance / steps / rise, 0, 1) if rise > 0 else np.ones_like(steps)
        met = np.clip(self._long_run + kept * (self._levels[0][:, None] - self._long_run) + 1, 1, self.batch.slots)
        averaged = np.clip(noise.mean_variance(steps), kept**2, 1.0)
        steeper = self._bend(met, self.batch.steps[1]) ** 2 * min(1.0, self.batch.variance / max(variance, 1e-300))
        each = variance * (self._slope * steps) ** 2
        prompts = np.maximum(noise.run_variance(steps) - averaged * each, 0.0)
        return met, steeper * (averaged - kept**2) * each, steeper * prompts

    def _bend(self, met: Floats, usual: Floats) -> Floats:
        """How steeply the mean step rises with the decodes that are met, over how steeply it does at their mean."""
        numbers = self.batch.numbers
        if len(numbers) < 3:
            return np.ones_like(met)
        slope, mean = np.maximum(np.gradient(usual, numbers), 0.0), self._slope
        return np.asarray(np.interp(met, numbers, slope) / mean) if mean > 0 else np.ones_like(met)

    @cached_property
    def _slope(self) -> float:
        """How steeply the mean step rises with the decodes about their mean, s."""
        numbers, usual = self.batch.numbers, self.batch.steps[1]
        if len(numbers) < 3:
            return 0.0
        slope = np.maximum(np.gradient(usual, numbers), 0.0)
        return float(np.interp(self.decoding + 1, numbers, slope))

    @cached_property
    def _long_run(self) -> float:
        """Other decodes that stand for all that a long run of steps meets: with its own, in a step of ``E[T(N + 1)]``.

        A request that stays slows the others: it meets ``n`` of them in proportion to ``pi(n) T(n + 1)``, and a step
        is weighted by ``1/T`` (Cohen 1979).
        """
        usual, step = self.batch.steps[1], self._usual_step
        here, there = (float(np.interp(x, self.batch.numbers, usual)) for x in (self.decoding + 1, self.decoding))
        if usual[-1] <= usual[0] or here <= there:
            return self.decoding
        return float(np.interp(step, np.maximum.accumulate(usual), self.batch.numbers)) - 1

    @cached_property
    def _usual_step(self) -> float:
        """Mean step that a request sees, ``E[T(N + 1)]``, s; the same for every length (Cohen 1979)."""
        numbers = np.minimum(np.arange(len(self.decodes)) + 1.0, self.batch.slots)
        return float((self.decodes * np.interp(numbers, self.batch.numbers, self.batch.steps[1])).sum())

    @cached_property
    def tpot_mean(self) -> float:
        """Mean over requests of the time per output token, s, as benchmarks print it.

        Short answers weigh as much as long ones; their steps are those after a prompt's, which
        are longer than most.
        """
        steps, weight, _ = self.batch.lengths
        return float((self._levels[1][:, None] * weight * self._runs[1] / steps).sum())

    def tpot_quantile(self, level: float) -> float:
        """Quantile over requests of the mean step that each sees, s."""
        steps, weight, _ = self.batch.lengths
        law, both = self._runs[0], self._levels[1][:, None] * weight

        def beyond(t: float) -> float:
            return float((both * law.beyond(t * steps)).sum())

        return _falls_to(1 - level, beyond, float(np.interp(level, *self._near_tpot)))

    @cached_property
    def _near_tpot(self) -> tuple[Floats, Floats]:
        """Levels, and about where the quantiles of the time per output token lie, s: from the runs in few atoms."""
        steps, weight, _ = self.batch.lengths
        both = self._levels[1][:, None, None] * weight[:, None] * np.diff(LEVELS)
        atoms, mass = binned((self._run_atoms / steps[:, None]).ravel(), both.ravel())
        return (mass.cumsum() - mass / 2) / mass.sum(), atoms

    def e2el_quantile(self, level: float) -> float:
        """Quantile of the end-to-end latency, s: the time to first token, then the run of steps.

        Given the number of decodes that a request meets, the two are taken as independent.
        """
        return self._later(level, *self._end_to_end)

    @cached_property
    def _run_atoms(self) -> Floats:
        """Atoms of the runs of steps, s: by ``_levels``, lengths and ``LEVELS``."""
        (law, mean), cuts = self._runs, np.array(LEVELS)
        runs = law.quantiles((cuts[1:] + cuts[:-1]) / 2)
        return np.asarray(runs + (mean - (runs * np.diff(cuts)).sum(axis=-1))[..., None])  # the mean is kept

    @cached_property
    def _end_to_end(self) -> tuple[Floats, Floats]:
        """Law of the end-to-end latency without a wait for a slot: atoms (s, rising) and weights."""
        atoms, mass = self._first_tokens(LEVELS), np.diff(LEVELS)
        shares = self._levels[1]
        found = [(self.first_token[0], self.batch.single * self.first_token[1])]
        if self.batch.single < 1:
            within = self.batch.lengths_within  # a run is about as much longer as its answer is
            times = self._run_atoms[:, :, None] * within[:, :, None]
            weight = self.batch.lengths[1][:, None, None] * np.diff(LEVELS) * np.ones_like(within)[..., None]
            times, many = parts(times.reshape(len(times), -1), weight.ravel(), RUNS)
            both = shares[:, None, None] * (1 - self.batch.single) * (mass[:, None] * many)
            found.append(((atoms[:, :, None] + times[:, None]).ravel(), both.ravel()))
        sums, weight = (np.concatenate(part) for part in zip(*found, strict=True))
        return binned(sums, weight)

    @cached_property
    def e2el_mean(self) -> float:
        """Mean end-to-end latency, s: Little's law for the sequences that decode."""
        return self.ttft_mean + self.decoding / self.rate

    # Where it holds

    @cached_property
    def cache_overflow(self) -> float:
        """Probability that the cache would hold too much to take in an arriving prompt."""
        return cache_overflow(self.batch)

    @property
    def outside(self) -> list[str]:
        """Which of its conditions do not hold; empty where all do."""
        return outside(self.batch, self.slot_wait[0], self.cache_overflow)


def _between(values: Floats, grid: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Where each value lies on a rising grid: the point below it, and how far it is towards the next one (0 to 1)."""
    low = np.clip(np.searchsorted(grid, values, side="right") - 1, 0, max(len(grid) - 2, 0))
    if len(grid) == 1:
        return low, np.zeros_like(values)
    return low, np.clip((values - grid[low]) / (grid[low + 1] - grid[low]), 0, 1)


def _falls_to(target: float, beyond: Callable[[float], float], near: float) -> float:
    """The ``t`` with ``beyond(t) = target``, about ``near``; ``beyond`` falls from 1 at 0.

    Regula falsi, where an end that stays counts half (Dowell and Jarratt 1971); at a leap the last step is a chord.
    """
    low = high = near
    here = at_low = at_high = beyond(near) - target
    width = ABOUT
    while at_low <= 0:
        high, at_high, low = low, at_low, max(low * (1 - width), 0.0)
        at_low, width = (beyond(low) if low > 0 else 1.0) - target, 4 * width
    while at_high > 0:
        low, at_low, high = high, at_high, high * (1 + width)
        at_high, width = beyond(high) - target, 4 * width
    while high - low > CHORD * high:
        middle = low + (high - low) * at_low / (at_low - at_high)
        here, before = beyond(middle) - target, here
        if abs(here) <= HIT * target:
            return middle
        if here > 0:
            low, at_low, at_high = middle, here, at_high / (2 if before > 0 else 1)
        else:
            high, at_high, at_low = middle, here, at_low / (2 if before <= 0 else 1)
    return low + (high - low) * at_low / max(at_low - at_high, 1e-300)
