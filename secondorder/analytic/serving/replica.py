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
from secondorder.analytic.serving.runs import LEVELS, RunLaw, parts
from secondorder.analytic.serving.saturation import Demand, Saturation, demand, saturation
from secondorder.errors import Unstable
from secondorder.scenarios.serving import Serving
from secondorder.workloads.lengths import Lengths
from secondorder.workloads.traces import Trace

Floats = npt.NDArray[np.float64]

RARE = 0.005  # share of requests that may wait for a slot: near 1 % the 99th percentile is a leap
SHORT_OF_CACHE = 0.002  # share that may wait for the cache: it makes the 99th percentile the 99.2th, some 5 % longer
WIDE = 2.0  # scv of the answers past which a wait for a slot is much overstated
LONG_PROMPTS = 1.5  # token budgets in the prompt of a mean token
BEND = 0.01  # of a step, that a straight line between two numbers of decodes may miss
MOST_WAITING = 100_000


@dataclass(frozen=True, kw_only=True)
class Replica:
    """A scenario at a rate below saturation.

    *Approximation*: the number of decodes changes slowly against the wait of a prompt; the
    requests' output lengths matter for their number through the time of the run of steps alone
    (exact for processor sharing, Cohen 1979, while slots are free; the wait for a slot is scaled by
    ``(1 + scv)/2``, Allen-Cunneen). *Valid when* arrivals are Poisson, fewer than .2 % of the
    requests wait for the cache and .5 % for a slot (from 1 % on the 99th percentile lies among
    those that wait, whose tail is rough, and several times too long where answers spread widely),
    and most prompt tokens are of prompts of up to 1.5 token budgets.

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
    def demand(self) -> Demand:
        return demand(self.scenario)

    def queue(self, decodes: float) -> PrefillQueue:
        """The prompts with that many sequences decoding; solved once."""
        if decodes not in self._queues:
            context = decodes * self.demand.decode_context
            self._queues[decodes] = PrefillQueue(
                scenario=self.scenario, rate=self.rate, decodes=decodes, decode_context=context
            )
        return self._queues[decodes]

    @cached_property
    def _queues(self) -> dict[float, PrefillQueue]:
        return {}

    # Sequences that decode

    @cached_property
    def slots(self) -> int:
        """Sequences that decode at once at most."""
        return max(1, int(np.ceil(self.limit.decodes)))

    @cached_property
    def _numbers(self) -> Floats:
        """Numbers of decodes beside which the steps are solved; between them they are interpolated.

        Closer together where a step bends, as where arithmetic takes over from memory.
        """
        found = np.unique(np.round(np.geomspace(1, max(self.slots, 1), 9))).tolist()
        at = 0
        while at < len(found) - 1:
            low, high = found[at : at + 2]
            middle = float(round(np.sqrt(low * high)))
            chord = np.interp(middle, (low, high), (self._usual_step(low), self._usual_step(high)))
            if low < middle < high and abs(chord / self._usual_step(middle) - 1) > BEND:
                found.insert(at + 1, middle)
            else:
                at += 1
        return np.array(found)

    def _usual_step(self, decodes: float) -> float:
        """A step with as many prompt tokens as arrive in one without, s: cheap, and bends where the mean step does."""
        queue = self.queue(decodes)
        tokens = self.rate * self.demand.prompt * queue.step_seconds[0]
        return float(np.interp(tokens, np.arange(queue.cap + 1) * queue.cell, queue.step_seconds))

    @cached_property
    def _lengths(self) -> tuple[Floats, Floats]:
        """Decode steps of the requests that have any, in groups of like length, with weights."""
        law = self.scenario.offered
        if isinstance(law, Lengths):
            outputs, weight = law.marginals[1].grid(points=1024)
        else:
            _, outputs, weight = law.grid()
        kept = outputs > 1.5
        steps, weight = parts(outputs[kept] - 1, weight[kept])
        return np.maximum(steps, 1.0), weight

    @cached_property
    def _runs(self) -> tuple[Floats, Floats]:
        """Beside each number of decodes: a step without prompts, a mean and a full one (s), and ``run_moments``.

        The last has an axis for the numbers, one for the moments and one for the lengths.
        """
        steps, queues = self._lengths[0], [self.queue(float(n)) for n in self._numbers]
        single = [
            [q.step_seconds[0], q.mean_step if q.fill < 1 else q.step_seconds[-1], q.step_seconds[-1]] for q in queues
        ]
        moments = np.array([q.run_moments(steps) if q.fill < 1 else np.zeros((3, len(steps))) for q in queues])
        return np.array(single).T, moments

    @cached_property
    def _stays(self) -> Floats:
        """Mean time that a request decodes, s, beside each number of decodes: ``E[S]`` over the lengths."""
        steps, weight = self._lengths
        (_, mean, _), moments = self._runs
        some = 1 - self._single
        return np.asarray(some * (mean * float(steps @ weight) + moments[:, 0] @ weight))

    @cached_property
    def _single(self) -> float:
        """Share of the requests whose answer is one token."""
        law = self.scenario.offered
        if not isinstance(law, Lengths):
            return law.expect(lambda _, o: np.asarray(o < 1.5, float))
        outputs, weight = law.marginals[1].grid(points=1024)
        return float(weight[outputs < 1.5].sum())

    @cached_property
    def _delays(self) -> tuple[Floats, Floats]:
        """First two moments of the time that a prompt adds to the steps, beside each number of decodes."""
        prompts, _, weight = (np.asarray(part, float) for part in self.scenario.offered.grid())
        first, second = [], []
        for n in self._numbers:
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
        ``mu(n) = min(n, slots) / E[S(n)]``, ``S(n)`` the ``O - 1`` steps of a request beside ``n``
        decodes (``PrefillQueue.run_moments``), and a variance that counts what prompts do to it:
        an arrival adds one, and holds up all departures for the time ``s`` that its prompt takes,
        ``rate E[(1 + mu s)^2] + mu``. Where prompts cost nothing this is
        ``pi(n) ~ prod rate E[O - 1] T(k)/k`` (Cohen 1979).
        """
        if self.demand.decode_steps <= 0:
            return np.ones(1)
        served = np.arange(1, self.slots + 1, dtype=float)
        departures = served / np.interp(served, self._numbers, self._stays)
        departures[-1] = self.limit.rate  # with every slot taken, what the engine serves at saturation
        first, second = (np.interp(served, self._numbers, moment) for moment in self._delays)
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
        """Numbers of decodes that a request meets, with the share of requests that each stands for.

        None at all is a case of its own: the engine idles. The others are means of parts of the law.
        """
        law = self.decodes
        if len(law) == 1:
            return [(0.0, 1.0)]
        numbers = np.minimum(np.arange(1, len(law)), self.slots).astype(float)
        means, shares = parts(numbers, law[1:], LEVELS)
        merged: dict[float, float] = {0.0: float(law[0])}
        for n, share in zip(means.tolist(), shares.tolist(), strict=True):
            n = round(n, 1) if n < 10 else float(round(n))
            merged[n] = merged.get(n, 0.0) + share * float(1 - law[0])
        return [(n, share) for n, share in merged.items() if share > 1e-6]

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

    # What it meets while it decodes

    @cached_property
    def _forgetting(self) -> float:
        """Time, s, in which the number of decodes returns to its mean: ``1/mu'(n)`` about the mean."""
        numbers = np.minimum(np.arange(len(self.decodes)), self.slots)
        spread = max(0.5, float(np.sqrt(self.decodes @ (numbers - self.decoding) ** 2)))
        high = min(self.decoding + spread, float(self.slots))
        ends = np.array([max(0.0, high - 2 * spread), high])
        served = ends / np.interp(ends, self._numbers, self._stays)
        return float((ends[1] - ends[0]) / max(served[1] - served[0], 1e-9 * self.rate))

    def _mean_runs(self, decodes: float) -> tuple[Floats, Floats]:
        """How many decodes a request meets in its run of steps if it finds so many, and the mean run (s), by length.

        Itself it is one more (the arrival theorem of processor sharing). A long run averages over
        the number of decodes, whose deviation from its mean is forgotten at the rate ``1/tau``:
        the mean over a run of ``x tau`` deviates by the share ``sqrt(2 (x - 1 + e^-x)) / x``.
        """
        steps = self._lengths[0]
        (_, mean, _), moments = self._runs
        x = np.maximum(steps * float(np.interp(self.decoding, self._numbers, mean)) / self._forgetting, 1e-6)
        kept = np.sqrt(2 * (x + np.expm1(-x))) / x
        met = np.clip(self.decoding + kept * (decodes - self.decoding) + 1, 1, self.slots)
        return met, steps * np.interp(met, self._numbers, mean) + self._at(met, moments[:, 0])

    def _at(self, met: Floats, moment: Floats) -> Floats:
        """A moment of the runs, by length, each beside as many decodes as it meets."""
        return np.array([np.interp(n, self._numbers, column) for n, column in zip(met, moment.T, strict=True)])

    def _run_law(self, decodes: float) -> RunLaw:
        """Of the run of steps of a request that finds so many decodes, by length."""
        steps = self._lengths[0]
        (least, _, full), moments = self._runs
        met, mean = self._mean_runs(decodes)
        bias, second, third = (self._at(met, moments[:, order]) for order in range(3))
        variance = np.maximum(second - bias**2, (1e-6 * mean) ** 2)
        return RunLaw.of(
            least=steps * np.interp(met, self._numbers, least),
            most=steps * np.interp(met, self._numbers, full),
            mean=mean,
            variance=variance,
            third=third - 3 * bias * second + 2 * bias**3,
        )

    @cached_property
    def tpot_mean(self) -> float:
        """Mean over requests of the time per output token, s, as benchmarks print it.

        Short answers weigh as much as long ones; their steps are those after a prompt's, which
        are longer than most.
        """
        steps, weight = self._lengths
        return sum(share * float(weight @ (self._mean_runs(n)[1] / steps)) for n, share in self._levels)

    def tpot_quantile(self, level: float) -> float:
        """Quantile over requests of the mean step that each sees, s."""
        steps, weight = self._lengths
        laws = [(self._run_law(n), share) for n, share in self._levels]

        def beyond(t: float) -> float:
            return sum(share * float(weight @ law.beyond(t * steps)) for law, share in laws)

        return _bisect(beyond, 1 - level, max(float((law.most / steps).max()) for law, _ in laws))

    def e2el_quantile(self, level: float) -> float:
        """Quantile of the end-to-end latency, s: the time to first token, then the run of steps.

        Given the number of decodes that a request meets, the two are taken as independent.
        """
        sums, mass = self._end_to_end
        return _bisect(lambda t: self._later(t, sums, mass), 1 - level, self._latest + float(sums[-1]))

    @cached_property
    def _end_to_end(self) -> tuple[Floats, Floats]:
        """Law of the end-to-end latency without a wait for a slot: atoms (s, rising) and weights."""
        found = [(self.first_token[0], self._single * self.first_token[1])]
        cuts = np.array(LEVELS)
        middles, shares = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts)
        for n, share in self._levels if self._single < 1 else []:
            atoms, weight = parts(*self.queue(n).first_token)
            runs = self._run_law(n).quantiles(middles)
            runs += (self._mean_runs(n)[1] - runs @ shares)[:, None]  # the mean is kept
            run, mass = parts(runs.ravel(), (self._lengths[1][:, None] * shares).ravel())
            both = share * (1 - self._single) * (weight[:, None] * mass)
            found.append(((atoms[:, None] + run).ravel(), both.ravel()))
        sums, mass = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.argsort(sums)
        return sums[order], mass[order]

    @cached_property
    def e2el_mean(self) -> float:
        """Mean end-to-end latency, s: Little's law for the sequences that decode."""
        return self.ttft_mean + self.decoding / self.rate

    # Where it holds

    @cached_property
    def cache_overflow(self) -> float:
        """Probability that the cache, were it without end, would hold too much to take in an arriving prompt.

        Of the sum of what the running sequences hold and the prompt: a gamma law of its mean and
        variance, ``E[N] Var[m] + Var[N] E[m]^2`` for ``N`` sequences of ``m`` tokens each (Campbell's
        theorem, and the spread of ``N`` beyond Poisson's). ``m`` is length-biased.
        """
        from scipy.special import gammaincc

        law, steps = self.scenario.offered, self.demand.decode_steps
        numbers = np.minimum(np.arange(len(self.decodes)), self.slots)
        spread = float(self.decodes @ (numbers - self.decoding) ** 2)
        mean, square = law.mean_input, law.expect(lambda i, _: i**2)
        filling = self.running - self.decoding  # prompts under way, taken as whole
        total, variance = (filling + 1) * mean, filling * square + square - mean**2
        if steps > 0:
            held = self.demand.held
            squares = law.expect(lambda i, o: (o - 1) * (i**2 + i * o + o * (2 * o - 1) / 6)) / steps
            total += self.decoding * held
            variance += self.decoding * max(squares - held**2, 0.0) + spread * held**2
        if variance < 1e-9 * total**2:
            return float(total > self.scenario.kv_tokens)
        return float(gammaincc(total**2 / variance, self.scenario.kv_tokens * total / variance))

    @property
    def outside(self) -> list[str]:
        """Which of its conditions do not hold; empty where all do."""
        scenario, found = self.scenario, []
        if self.slot_wait[0] > RARE:
            share = f"{self.slot_wait[0]:.{0 if self.slot_wait[0] > 0.05 else 1}%}"
            rough = "too long, as answers spread widely" if self._decode_scv > WIDE else "rough"
            found.append(f"{share} of the requests wait for a slot: the tail of the wait is {rough}")
        if self.cache_overflow > SHORT_OF_CACHE:
            found.append(
                f"the KV cache lacks room for {self.cache_overflow:.1%} of the prompts; waits for it are not counted"
            )
        law = scenario.offered
        if law.mean_input * (1 + law.scv_input) > LONG_PROMPTS * scenario.max_num_batched_tokens:
            found.append("most prompt tokens are of prompts longer than the token budget")
        if scenario.long_prefill_token_threshold is not None:
            found.append("long_prefill_token_threshold is not counted")
        if isinstance(scenario.arrivals, Trace):
            found.append("a finite trace, taken for Poisson arrivals of its mean rate")
        elif abs(scenario.arrivals.scv - 1) > 1e-9:
            found.append(f"arrivals are not Poisson (scv {scenario.arrivals.scv:.3g})")
        if scenario.enable_prefix_caching:
            found.append("prefix hits are not counted")
        return found


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
