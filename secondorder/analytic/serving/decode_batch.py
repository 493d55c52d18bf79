"""The sequences that decode together: how many there are, and how long their steps last."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from secondorder.analytic.remember import remembered
from secondorder.analytic.serving.bursts import dispersion, mean_burst
from secondorder.analytic.serving.first_token import FirstToken
from secondorder.analytic.serving.fluctuations import Fluctuations
from secondorder.analytic.serving.idle import prefill_chunks, prefill_seconds
from secondorder.analytic.serving.length_groups import decode_steps, engine_and_lengths, prompt_groups
from secondorder.analytic.serving.prefill import PrefillQueue
from secondorder.analytic.serving.runs import parts
from secondorder.analytic.serving.saturation import Demand, Saturation, demand, sequences_that_fit
from secondorder.arrays import Booleans, Floats
from secondorder.scenarios.serving import Serving
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Lengths
from secondorder.workloads.traces import Trace

NUMBERS = 6  # numbers of decodes at which steps are solved, where they do not bend
BEND = 0.01  # share of a step that a straight line between two numbers of decodes may miss
FEWER = 4  # square roots of the guess by which they may be fewer: steps that bend make the number of decodes vary more
GUESSES = 16  # numbers of decodes among which Little's law is first looked for
LIKELY = 2.5  # standard deviations about the mean number of decodes within which it is likely
MOST_WAITING = 100_000
BURST = 4.0  # steps, over the square of the idle share, in which prompts that bunch meet: found by simulation
NEGLIGIBLE = 1e-5  # share of the requests, against quantiles up to 1e-2
LEAST_DISPERSION = 0.2  # of the number of decodes, under arrivals as steady as they can be


@dataclass(frozen=True, kw_only=True)
class DecodeBatch:
    """The decoding sequences of a scenario at a rate (request/s); ``limit`` is its saturation."""

    scenario: Serving
    rate: float
    limit: Saturation

    @cached_property
    def demand(self) -> Demand:
        return demand(self.scenario)

    @cached_property
    def queues(self) -> list[PrefillQueue]:
        """The prompts with each of ``numbers`` of sequences decoding; apart by their grids."""
        return self._prompts_with(self.numbers, self.burst).by_grid()

    @property
    def idle(self) -> PrefillQueue:
        """The prompts where none decodes: where none waits either, the engine idles."""
        return self._prompts_with(np.zeros(1), self.burst)

    def _prompts_with(self, decodes: Floats, burst: float = 1.0) -> PrefillQueue:
        context = decodes * self.demand.decode_context
        return PrefillQueue(
            scenario=self.scenario, rate=self.rate, decodes=decodes, decode_context=context, burst=burst
        )

    @cached_property
    def burst(self) -> float:
        """Mean burst of requests over the time in which a backlog of prompts comes and goes."""
        if isinstance(self.scenario.arrivals, Poisson | Trace):
            return 1.0
        prompts, weight = prompt_groups(self.scenario)
        weight, added = weight.sum(axis=0), self._added(prompts, self._guess)
        mean, square = float((added * weight).sum()), float((added**2 * weight).sum())
        longest = max(BURST * self._plain_step(self._guess), square / max(mean, 1e-300) / 2)
        return mean_burst(self.scenario, longest / max(1 - self.rate * mean, 0.1) ** 2)

    # Steps by the number of sequences that decode

    @cached_property
    def slots(self) -> int:
        """Sequences that decode at once at most: more than at saturation, where more of them are prompts."""
        prompts, weight = prompt_groups(self.scenario)
        most = self.limit.decodes
        seconds = prefill_seconds(self.scenario, prompts, most, most * self.demand.decode_context)
        prefilling = self.rate * float((seconds * weight.sum(axis=0)).sum())
        return max(1, int(np.ceil(max(most, self.limit.sequences - prefilling))))

    @cached_property
    def _guess(self) -> float:
        """Decodes by Little's law, ``B = rate E[O - 1] T(B)``, where prompts come one at a time or in every step."""
        numbers, added = added_by_decodes(self.scenario)
        apart = self._prompts_with(numbers).step(np.zeros((1, 1)))[:, 0] / np.maximum(1 - self.rate * added, 1e-3)
        found = self.rate * self.demand.decode_steps * np.maximum(apart, self._usual_step(numbers))
        fewer = found - numbers <= 0  # fewer than are there: the first number of this kind is past the fixed point
        at = int(np.argmax(fewer)) if fewer.any() else len(numbers) - 1
        if at == 0 or not fewer[at]:
            return min(max(float(found[at]), 1.0), float(self.slots))
        (low, high), (below, above) = numbers[at - 1 : at + 1], (found - numbers)[at - 1 : at + 1]
        return min(float(low + (high - low) * below / (below - above)), float(self.slots))

    @cached_property
    def numbers(self) -> Floats:
        """Numbers of decodes with which the steps are solved; between them they are interpolated.

        About the likely ones; closer together where a step bends, as where arithmetic takes over from memory.
        """
        few = min(self._guess / 3, self._guess - FEWER * self._guess**0.5)
        low, high = max(1.0, few), min(3 * self._guess + 12, float(self.slots))
        found = np.unique(np.round(np.geomspace(low, max(low, high), NUMBERS)))
        while True:
            middles = np.asarray(np.round(np.sqrt(found[:-1] * found[1:])), float)
            usual, between = np.split(self._usual_step(np.concatenate([found, middles])), [len(found)])
            apart = np.abs(np.interp(middles, found, usual) / between - 1)
            bent = middles[(found[:-1] < middles) & (middles < found[1:]) & (apart > BEND)]
            if not len(bent):
                return np.asarray(found, float)
            found = np.sort(np.concatenate([found, bent]))

    def _plain_step(self, decodes: float) -> float:
        """A step without prompts, s."""
        return float(self._prompts_with(np.array([decodes])).step(np.zeros((1, 1)))[0, 0])

    def _usual_step(self, decodes: Floats) -> Floats:
        """Steps with as many prompt tokens as arrive in one without, s: cheap, and bends where the mean step does."""
        queue = self._prompts_with(decodes)
        least = queue.step(np.zeros((len(decodes), 1)))
        tokens = np.minimum(self.rate * self.demand.prompt * least, queue.room[:, None])
        return np.minimum(queue.step(tokens)[:, 0], queue.step_of_room)

    @cached_property
    def lengths(self) -> tuple[Floats, Floats, Floats]:
        """Decode steps of the requests that have any, in groups of like length, weights, and shares of prompts."""
        return decode_steps(self.scenario)[:3]

    @cached_property
    def lengths_within(self) -> Floats:
        """Smaller groups of each of ``lengths``, over their mean."""
        return decode_steps(self.scenario)[3]

    @cached_property
    def steps(self) -> tuple[Floats, Floats, Floats]:
        """With each number of decodes: a step without prompts, a mean and a full one, s."""
        found = [(q.step_seconds[:, 0], q.mean_step, q.step_seconds[:, -1]) for q in self.queues]
        least, usual, full = (np.concatenate(part) for part in zip(*found, strict=True))
        return least, usual, full

    @cached_property
    def single(self) -> float:
        """Share of the requests whose answer is one token."""
        law = self.scenario.offered
        if not isinstance(law, Lengths):
            return law.expect(lambda _, o: np.asarray(o < 1.5, float))
        outputs, weight = law.marginals[1].grid(points=1024)
        return float(weight[outputs < 1.5].sum())

    @cached_property
    def prompt_share(self) -> float:
        """Share of the steps' time that prompts add, with the mean number of sequences decoding."""
        least, usual, _ = (float(np.interp(self.decoding + 1, self.numbers, each)) for each in self.steps)
        return 1 - least / usual

    # Sequences that decode

    @cached_property
    def fluctuations(self) -> Fluctuations:
        """How steps and decodes fluctuate about their means."""
        mean, (least, usual, _) = min(self._mean_decodes + 1, float(self.slots)), self.steps  # as a request sees it
        low, high = max(0.9 * mean - 0.5, 1.0), min(1.1 * mean + 0.5, float(self.slots))
        step = float(np.interp(mean, self.numbers, usual))
        rise = float(np.diff(np.interp((low, high), self.numbers, usual))[0]) / max(high - low, 1e-9)
        filled = 1 - float(np.interp(mean, self.numbers, least)) / step  # share of the time that prompts add
        inputs, outputs, weight = (np.asarray(part, float) for part in self.scenario.offered.grid())
        added = np.maximum(self._added(inputs, mean), 0.0)
        added *= filled / max(self.rate * float((added * weight).sum()), 1e-300)
        return Fluctuations(
            prompt=added,
            decode=max(rise, 0.0) * (1 - filled) * self._relative_cost(inputs + outputs / 2, mean),
            steps=np.maximum(outputs - 1, 0.0),
            weight=weight,
            rate=self.rate,
            mean_step=step,
            dispersion=lambda frequency: dispersion(self.scenario.arrivals, frequency),
            burst=self.burst,
        )

    def _added(self, prompts: Floats, decodes: float) -> Floats:
        """Time, s, that each prompt adds to the steps that it is computed in."""
        return added_seconds(self.scenario, prompts, decodes, decodes * self.demand.decode_context)

    def _relative_cost(self, contexts: Floats, decodes: float) -> Floats:
        """What a decode with each context adds to a step, over what one with the mean context adds."""
        mean = self.demand.decode_context
        few, many = decodes, 1.01 * decodes

        def step(rows: float, context: float) -> float:
            return float(self.scenario.step_seconds(0.0, 0.0, 0.0, rows, context * mean, rows))

        both, read = step(many, many) - step(few, few), step(few, many) - step(few, few)
        share = min(max(read / both, 0.0), 1.0) if both > 0 else 0.0
        return np.asarray(1 - share + share * contexts / mean)

    @cached_property
    def _mean_decodes(self) -> float:
        """Mean number of decodes where every step were a mean one and departures alone vary (Cohen 1979)."""
        law = self._decodes(self._mean_stays, 1.0)
        return max(float((law * np.minimum(np.arange(len(law)), self.slots)).sum()), 1e-6)

    @cached_property
    def _mean_stays(self) -> Floats:
        """Time that a request decodes, s, with each number of decodes, where every step were a mean one."""
        steps, weight, _ = self.lengths
        return np.asarray((1 - self.single) * self.steps[1] * float((steps * weight).sum()))

    @cached_property
    def _dispersion(self) -> float:
        """Variance of the number of decodes over that of departures by mean steps, both for small deviations."""
        noise = self.fluctuations
        return max(noise.decodes_variance / noise.smooth_variance, LEAST_DISPERSION)

    def _decodes(self, stays: Floats, dispersion: float) -> Floats:
        """Law of the number of decodes, where each stays so long (s) with each of ``numbers``."""
        served = np.arange(1, self.slots + 1, dtype=float)
        departures = served / np.interp(served, self.numbers, stays)
        departures[-1] = self.limit.rate  # with every slot taken, what the engine serves at saturation
        variance = max(dispersion, 1.0) * (self.rate + departures)
        variance[-1] = max(self._full_variance, 1.01 * abs(self.rate - self.limit.rate))
        up, down = (variance + self.rate - departures) / 2, (variance - self.rate + departures) / 2
        tail = min(MOST_WAITING, int(np.ceil(np.log(1e-12) / np.log(up[-1] / down[-1]))))
        ups = np.concatenate([[self.rate], up[:-1], np.full(tail, up[-1])])
        downs = np.concatenate([down, np.full(tail, down[-1])])
        logs = np.log(np.maximum(ups / downs, 1e-300)) / min(dispersion, 1.0)
        logs = np.concatenate([[0.0], np.cumsum(logs)])
        law = np.exp(logs - logs.max())
        return np.asarray(law / law.sum())

    @cached_property
    def _full_variance(self) -> float:
        """Variance rate of the number of decodes with every slot taken: an arrival also holds up all departures."""
        prompts, weight = prompt_groups(self.scenario)
        departures, weight = self.limit.rate, weight.sum(axis=0)
        added = self._added(prompts, float(self.slots))
        first, second = float((added * weight).sum()), float((added**2 * weight).sum())
        bunched = float(dispersion(self.scenario.arrivals, np.zeros(1))[0])
        return self.rate * (bunched + 2 * departures * first + departures**2 * second) + departures

    @cached_property
    def _by_mean_steps(self) -> Floats:
        """Law of the number of decodes where every step were a mean one: tells what is likely."""
        return self._decodes(self._mean_stays, self._dispersion)

    @cached_property
    def _likely(self) -> Booleans:
        """Which of ``numbers`` are likely."""
        place, law = np.arange(len(self.numbers)), self._by_mean_steps
        numbers = np.minimum(np.arange(len(law)), self.slots)
        mean = float((numbers * law).sum())
        spread = float(np.sqrt((law * (numbers - mean) ** 2).sum()))
        at = np.searchsorted(self.numbers, (mean - LIKELY * spread, mean + LIKELY * spread))
        return np.asarray((place >= at[0] - 1) & (place <= at[1]), bool)

    @cached_property
    def never_idle(self) -> bool:
        """Whether next to no request finds an engine where none decodes."""
        return self.demand.decode_steps > 0 and float(self._by_mean_steps[0]) < NEGLIGIBLE

    @cached_property
    def _met(self) -> list[tuple[PrefillQueue, FirstToken, Booleans]]:
        """The queues that are likely, with the time to first token and which of their numbers are."""
        ends = np.cumsum([len(queue.decodes) for queue in self.queues])[:-1]
        chosen = zip(self.queues, np.split(self._likely, ends), strict=True)
        return [(queue, queue.first_token.of(which), which) for queue, which in chosen if which.any()]

    @cached_property
    def first_tokens(self) -> list[tuple[Floats, Floats]]:
        """Laws of the time to first token with each of the likely numbers of decodes."""
        return [law for _, first, _ in self._met for law in first.laws]

    @cached_property
    def solved(self) -> tuple[Floats, Floats]:
        """Numbers of decodes about the likely ones, and moments of the runs of steps that begin with this many.

        The moments have an axis for the numbers, one for the order and one for the lengths.
        """
        steps, _, shares = self.lengths
        moments = np.concatenate([queue.run_moments(steps, first, which) for queue, first, which in self._met])
        return self.numbers[self._likely], np.asarray((moments * shares[:, None, :]).sum(axis=1))

    @cached_property
    def decodes(self) -> Floats:
        """Law of the number of sequences that decode or wait for a slot: probabilities of 0, 1, ...

        A birth-death process with the drift of processor sharing, ``rate - mu(n)`` with
        ``mu(n) = min(n, slots) / E[S(n)]``, ``S(n)`` the ``O - 1`` steps of a request with ``n``
        decodes (``PrefillQueue.run_moments``), and with the variance ``d (rate + mu(n))``, ``d`` for what prompts and
        arrivals that bunch do (``Fluctuations``); where they are steadier than Poisson's, ``pi`` to the power ``1/d``.
        Where prompts cost nothing ``d`` is 1 and this is ``pi(n) ~ prod rate E[O - 1] T(k)/k`` (Cohen 1979).
        """
        if self.demand.decode_steps <= 0:
            return np.ones(1)
        _, weight, _ = self.lengths
        numbers, moments = self.solved
        bias = np.interp(self.numbers, numbers, (moments[:, 0] * weight).sum(axis=1))
        return self._decodes(self._mean_stays + (1 - self.single) * bias, self._dispersion)

    @cached_property
    def decoding(self) -> float:
        """Mean number of sequences that decode."""
        return float((self.decodes * np.minimum(np.arange(len(self.decodes)), self.slots)).sum())

    @cached_property
    def variance(self) -> float:
        """Variance of the number of sequences that decode."""
        numbers = np.minimum(np.arange(len(self.decodes)), self.slots)
        return float((self.decodes * (numbers - self.decoding) ** 2).sum())

    @cached_property
    def running(self) -> float:
        """Mean number of sequences that hold a slot: those that decode, and prompts in their steps."""
        prompts, weight = prompt_groups(self.scenario)
        context = self.decoding * self.demand.decode_context
        seconds = prefill_seconds(self.scenario, prompts, self.decoding, context)
        return self.decoding + self.rate * float((seconds * weight.sum(axis=0)).sum())

    @cached_property
    def decode_scv(self) -> float:
        """Squared coefficient of variation of the number of decode steps of a request."""
        law, mean = self.scenario.offered, self.demand.decode_steps
        return law.expect(lambda _, o: (o - 1) ** 2) / mean**2 - 1 if mean > 0 else 0.0


def added_seconds(scenario: Serving, prompts: Floats, decodes: float, context: float) -> Floats:
    """Time in s that each prompt adds to the steps in which it is computed, with this many decodes of this context."""
    tokens, place = np.unique(prompts, return_inverse=True)
    alone = float(scenario.step_seconds(0.0, 0.0, 0.0, decodes, context, decodes))
    chunks = prefill_chunks(scenario, tokens, decodes)
    return np.asarray((prefill_seconds(scenario, tokens, decodes, context) - chunks * alone)[place])


@remembered(engine_and_lengths)
def added_by_decodes(scenario: Serving) -> tuple[Floats, Floats]:
    """Numbers of decodes, and the mean time (s) that a prompt adds to steps with as many; independent of the rate."""
    tokens, weight = prompt_groups(scenario)
    prompts, share = parts(tokens, weight.sum(axis=0))
    context, most = demand(scenario).decode_context, max(sequences_that_fit(scenario), 1.0)
    numbers = np.geomspace(1.0, most, GUESSES)
    added = [(added_seconds(scenario, prompts, n, n * context) * share).sum() for n in numbers.tolist()]
    return numbers, np.array(added)
