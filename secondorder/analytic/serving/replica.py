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

from secondorder.analytic.serving.idle import prefill_chunks, prefill_seconds
from secondorder.analytic.serving.prefill import PrefillQueue
from secondorder.analytic.serving.saturation import Demand, Saturation, demand, saturation
from secondorder.errors import Unstable
from secondorder.scenarios.serving import Serving

Floats = npt.NDArray[np.float64]

LEVELS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)  # of the number of decodes at which prompts are solved
RARE = 0.01  # share of requests that may wait for a slot
LONG_PROMPTS = 1.5  # token budgets in the prompt of a mean token
MOST_WAITING = 100_000
SHARES = (0.06, 0.115, 0.2, 0.25, 0.2, 0.115, 0.06)  # of the time that each stands for


@dataclass(frozen=True, kw_only=True)
class Replica:
    """A scenario at a rate below saturation.

    *Approximation*: the number of decodes changes slowly against the wait of a prompt; the
    requests' output lengths matter for their number through the mean alone (exact for
    processor sharing, Cohen 1979, while slots are free; the wait for a slot is scaled by
    ``(1 + scv)/2``, Allen-Cunneen). *Valid when* arrivals are Poisson, the cache does not
    bind, and few requests wait for a slot: with many, the tail of the wait is too short.
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
    def demand(self) -> Demand:
        return demand(self.scenario)

    def queue(self, decodes: float) -> PrefillQueue:
        """The prompts beside so many decodes."""
        context = decodes * self.demand.decode_context
        return PrefillQueue(scenario=self.scenario, rate=self.rate, decodes=decodes, decode_context=context)

    # Sequences that decode

    @cached_property
    def slots(self) -> int:
        """Sequences that decode at once at most."""
        return max(1, int(np.ceil(self.limit.decodes)))

    @cached_property
    def _steps(self) -> tuple[Floats, Floats, Floats]:
        """Numbers of decodes, with the mean and the covariances of the steps beside each."""
        numbers = np.unique(np.round(np.geomspace(1, max(self.slots, 1), 9)))
        queues = [self.queue(float(n)) for n in numbers]
        mean = np.array([q.mean_step if q.fill < 1 else q.step_seconds[-1] for q in queues])
        covariances = np.array([q.step_covariances if q.fill < 1 else 0 * q.step_covariances for q in queues])
        return numbers, mean, covariances

    def step(self, decodes: Floats) -> Floats:
        """Mean duration of a step beside so many decodes, s."""
        numbers, mean, _ = self._steps
        return np.interp(decodes, numbers, mean)

    @cached_property
    def _delays(self) -> tuple[Floats, Floats]:
        """First two moments of the time that a prompt adds to the steps, beside each number of decodes."""
        prompts, _, weight = (np.asarray(part, float) for part in self.scenario.offered.grid())
        first, second = [], []
        for n in self._steps[0]:
            context = n * self.demand.decode_context
            alone = float(self.scenario.step_seconds(0, 0, 0, float(n), context, float(n)))
            chunks = prefill_chunks(self.scenario, prompts, float(n))
            added = prefill_seconds(self.scenario, prompts, float(n), context) - chunks * alone
            first.append(float(added @ weight))
            second.append(float(added**2 @ weight))
        return np.array(first), np.array(second)

    @cached_property
    def decodes(self) -> Floats:
        """Law of the number of sequences that decode or wait for a slot: probabilities of 0, 1, ...

        A birth-death process with the drift of processor sharing, ``rate - mu(n)`` with
        ``mu(n) = min(n, slots) / (E[O - 1] T(n))``, and a variance that counts what prompts
        do to it: an arrival adds one, and holds up all departures for the time ``s`` that its
        prompt takes, ``rate E[(1 + mu s)^2] + mu``. Where prompts cost nothing this is
        ``pi(n) ~ prod rate E[O - 1] T(k)/k`` (Cohen 1979).
        """
        if self.demand.decode_steps <= 0:
            return np.ones(1)
        served = np.arange(1, self.slots + 1, dtype=float)
        departures = served / (self.demand.decode_steps * self.step(served))
        departures[-1] = self.limit.rate  # with every slot taken, what the engine serves at saturation
        numbers = self._steps[0]
        first, second = (np.interp(served, numbers, moment) for moment in self._delays)
        variance = self.rate * (1 + 2 * departures * first + departures**2 * second) + departures
        up, down = (variance + self.rate - departures) / 2, (variance - self.rate + departures) / 2
        tail = min(MOST_WAITING, int(np.ceil(np.log(1e-12) / np.log(up[-1] / down[-1]))))
        ups = np.concatenate([[self.rate], up[:-1], np.full(tail, up[-1])])
        downs = np.concatenate([down, np.full(tail, down[-1])])
        logs = np.concatenate([[0.0], np.cumsum(np.log(np.maximum(ups / downs, 1e-300)))])
        law = np.exp(logs - logs.max())
        return np.asarray(law / law.sum())

    @cached_property
    def decoding(self) -> float:
        """Mean number of sequences that decode."""
        return float(self.decodes @ np.minimum(np.arange(len(self.decodes)), self.slots))

    @cached_property
    def running(self) -> float:
        """Mean number of sequences that hold a slot: those that decode, and prompts in their steps."""
        prompts, _, weight = (np.asarray(part, float) for part in self.scenario.offered.grid())
        context = self.decoding * self.demand.decode_context
        return self.decoding + self.rate * float(
            prefill_seconds(self.scenario, prompts, self.decoding, context) @ weight
        )

    # Waiting for a slot

    @cached_property
    def slot_wait(self) -> tuple[float, float]:
        """Probability that a request waits for a slot, and the mean wait of those that do, s."""
        waits = float(self.decodes[self.slots :].sum())
        if waits == 0:
            return 0.0, 0.0
        return waits, (1 + self._decode_scv) / 2 / (self.limit.rate - self.rate)

    @cached_property
    def _decode_scv(self) -> float:
        """Squared coefficient of variation of the number of decode steps of a request."""
        law, mean = self.scenario.offered, self.demand.decode_steps
        return law.expect(lambda _, o: (o - 1) ** 2) / mean**2 - 1 if mean > 0 else 0.0

    # What a request meets

    @cached_property
    def _levels(self) -> list[tuple[float, float]]:
        """Numbers of decodes that a request meets, with the share of requests that each stands for."""
        law = self.decodes
        cumulative = law.cumsum()
        merged: dict[float, float] = {}
        for level, share in zip(LEVELS, SHARES, strict=True):
            n = float(min(int(np.searchsorted(cumulative, level)), self.slots))
            merged[n] = merged.get(n, 0.0) + share
        return list(merged.items())

    @cached_property
    def first_token(self) -> tuple[Floats, Floats]:
        """Law of the time to first token without a wait for a slot: atoms (s, rising) and weights."""
        times, weights = [], []
        for n, share in self._levels:
            atoms, mass = self.queue(n).first_token
            times.append(atoms)
            weights.append(mass * share)
        atoms, mass = np.concatenate(times), np.concatenate(weights)
        order = np.argsort(atoms)
        return atoms[order], mass[order] / mass.sum()

    @cached_property
    def ttft_mean(self) -> float:
        """Mean time to first token, s."""
        atoms, weight = self.first_token
        waits, wait = self.slot_wait
        return float(atoms @ weight) + waits * wait

    def ttft_quantile(self, level: float) -> float:
        """Quantile of the time to first token, s: a prompt's law plus an exponential wait for a slot."""
        atoms, weight = self.first_token
        return _bisect(lambda t: self._later(t, atoms, weight), 1 - level, self._latest)

    def _later(self, t: float, atoms: Floats, weight: Floats) -> float:
        """Probability of more than ``t``: of atoms, each with the wait for a slot on top."""
        waits, wait = self.slot_wait
        late = atoms > t
        still = np.exp(-(t - atoms[~late]) / wait) @ weight[~late] if waits > 0 else 0.0
        return float(weight[late].sum() + waits * still)

    @property
    def _latest(self) -> float:
        return float(self.first_token[0][-1]) + 60 * self.slot_wait[1]

    @cached_property
    def tpot_mean(self) -> float:
        """Mean time per output token, s: by Little's law for the sequences that decode.

        Weighted by tokens; the mean over requests, which is what benchmarks print, weighs short
        answers more and lies above it where prompts are long (1 % on conversations).
        """
        return self.decoding / (self.rate * self.demand.decode_steps)

    def tpot_quantile(self, level: float) -> float:
        """Quantile over requests of the mean step that each sees, s.

        A request of ``O`` tokens averages ``O - 1`` consecutive steps: around the mean step
        of the number of decodes it meets, gamma distributed with the variance of such a mean.
        """
        from scipy.special import gammaincc

        steps, weight = self._decode_lengths
        levels = [(*self._mean_of(n, steps), share) for n, share in self._levels]

        def beyond(t: float) -> float:
            return sum(
                share * float(weight @ gammaincc(mean**2 / variance, t * mean / variance))
                for mean, variance, share in levels
            )

        top = max(mean + 20 * float(np.sqrt(variance.max())) for mean, variance, _ in levels)
        return _bisect(beyond, 1 - level, top)

    @cached_property
    def _decode_lengths(self) -> tuple[Floats, Floats]:
        """Decode steps of the requests that have any, in at most 96 groups of like length, with weights."""
        _, outputs, weight = (np.asarray(part, float) for part in self.scenario.offered.grid())
        kept = outputs > 1
        steps, weight = outputs[kept] - 1, weight[kept] / weight[kept].sum()
        group = np.searchsorted(np.geomspace(steps.min(), steps.max() + 1, 96), steps)
        share = np.asarray(np.bincount(group, weight), float)
        mean = np.asarray(np.bincount(group, weight * steps), float)
        return mean[share > 0] / share[share > 0], share[share > 0]

    def _mean_of(self, decodes: float, steps: Floats) -> tuple[float, Floats]:
        """Mean and variance of the average of so many consecutive steps beside so many decodes."""
        numbers, means, covariances = self._steps
        at = max(decodes, 1.0)
        mean = float(np.interp(at, numbers, means))
        lag = np.arange(covariances.shape[1])
        of_lag = np.array([np.interp(at, numbers, column) for column in covariances.T])
        pairs = np.where(lag == 0, 1.0, 2.0) * np.clip(1 - lag / steps[:, None], 0, None)
        variance = (pairs @ of_lag) / steps
        return mean, np.maximum(variance, (1e-6 * mean) ** 2)

    def e2el_quantile(self, level: float) -> float:
        """Quantile of the end-to-end latency, s: the time to first token, and ``O - 1`` mean steps.

        The two are taken as independent, and the steps of a long answer as many enough for
        their mean.
        """
        atoms, weight = _fewer(*self.first_token)
        _, outputs, shares = (np.asarray(part, float) for part in self.scenario.offered.grid())
        tpot = self.tpot_mean if self.demand.decode_steps > 0 else 0.0
        decoding, shares = _fewer((outputs - 1) * tpot, shares)
        sums = (atoms[:, None] + decoding).ravel()
        mass = (weight[:, None] * shares).ravel()
        return _bisect(lambda t: self._later(t, sums, mass), 1 - level, self._latest + float(decoding[-1]))

    @cached_property
    def e2el_mean(self) -> float:
        """Mean end-to-end latency, s."""
        if self.demand.decode_steps <= 0:
            return self.ttft_mean
        return self.ttft_mean + self.demand.decode_steps * self.tpot_mean

    # Where it holds

    @property
    def outside(self) -> list[str]:
        """Which of its conditions do not hold; empty where all do."""
        scenario, found = self.scenario, []
        if self.slot_wait[0] > RARE:
            found.append(f"{self.slot_wait[0]:.0%} of the requests wait for a slot: the tail of the wait is too short")
        sequences = min(int(np.searchsorted(self.decodes.cumsum(), 0.99)), self.slots)
        if sequences * self.demand.held > scenario.kv_tokens:
            found.append("the KV cache fills at times; preemptions are not counted")
        law = scenario.offered
        if law.mean_input * (1 + law.scv_input) > LONG_PROMPTS * scenario.max_num_batched_tokens:
            found.append("most prompt tokens are of prompts longer than the token budget")
        if scenario.long_prefill_token_threshold is not None:
            found.append("long_prefill_token_threshold is not counted")
        return found


def _fewer(values: Floats, weight: Floats, groups: int = 200) -> tuple[Floats, Floats]:
    """At most so many atoms of about equal weight in place of many, their mean kept; rising."""
    order = np.argsort(values)
    values, weight = values[order], weight[order]
    group = np.minimum((weight.cumsum() / weight.sum() * groups).astype(int), groups - 1)
    mass = np.asarray(np.bincount(group, weight, groups), float)
    sums = np.asarray(np.bincount(group, weight * values, groups), float)
    return sums[mass > 0] / mass[mass > 0], mass[mass > 0]


def _bisect(beyond: Callable[[float], float], target: float, high: float) -> float:
    """The least ``t`` with ``beyond(t) <= target``; ``beyond`` falls."""
    low = 0.0
    while high - low > 1e-7 * high:
        middle = (low + high) / 2
        if beyond(middle) > target:
            low = middle
        else:
            high = middle
    return high
