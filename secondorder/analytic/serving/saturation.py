"""The highest rate that an engine can serve: where the queue begins to grow without limit."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from secondorder.analytic.remember import remembered
from secondorder.analytic.serving.length_groups import engine_and_lengths
from secondorder.analytic.serving.prefill import PrefillQueue
from secondorder.analytic.serving.ranks import highest_rate, rank_of, step_among
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import StepSeconds

ROUNDS = 6  # rounds in which the prefill steps settle, at most
IN_PHASE = 0.02  # relative change of the rate by requests in phase up to which it is told inside its domain
SETTLED = 2e-4  # relative change of the decodes from which they have


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What a request asks of the engine, on average over the law of the lengths.

    ``prompt``: tokens ``E[I]``. ``decode_steps``: ``E[O] - 1``, the first token comes out of
    the prefill. ``prefill_steps``: steps in which it holds a slot before it decodes.
    ``decode_context``: mean tokens of cache that one of its decode steps reads,
    ``E[sum_j (I + j)] / E[O - 1]``: long requests are met more often (the inspection paradox).
    ``held``: mean tokens of cache that a running request holds, likewise length-biased, with
    half a block that is not full. ``reserved``: the same if the full length is held from the
    start.
    """

    prompt: float
    decode_steps: float
    prefill_steps: float
    decode_context: float
    held: float
    reserved: float


def demand(scenario: Serving, prefill_steps: float | None = None) -> Demand:
    """The mean demand of a scenario's requests; ``prefill_steps`` where it is known better."""
    return _own_demand(scenario) if prefill_steps is None else _demand(scenario, prefill_steps)


@remembered(engine_and_lengths)
def _own_demand(scenario: Serving) -> Demand:
    room = scenario.settings.max_num_batched_tokens
    steps = scenario.offered.expect(lambda i, o: np.ceil(i / room))
    return _demand(scenario, steps + scenario.settings.async_scheduling)


def _demand(scenario: Serving, prefill_steps: float) -> Demand:
    law = scenario.offered
    steps = law.mean_output - 1
    read = law.expect(lambda i, o: (o - 1) * i + o * (o - 1) / 2)
    border = (scenario.block_size - 1) / 2
    held = (read + prefill_steps * law.mean_input) / (steps + prefill_steps) + border
    reserved = law.expect(lambda i, o: (i + o) * (o - 1 + prefill_steps)) / (steps + prefill_steps) + border
    context = read / steps if steps > 0 else law.mean_input
    return Demand(
        prompt=law.mean_input,
        decode_steps=steps,
        prefill_steps=prefill_steps,
        decode_context=context,
        held=held,
        reserved=reserved,
    )


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """``rate`` in request/s, and what ``binds``: slots, KV cache or token budget."""

    rate: float
    binds: str
    sequences: float
    """Sequences that run at once at saturation."""
    decodes: float
    """Of these, those that decode."""
    step: float
    """Mean duration of a step then, s."""
    waves: float | None = None
    """The rate (request/s) when all answers are equally long and all requests in phase."""
    step_by: Callable[[StepSeconds], float] | None = field(default=None, compare=False, repr=False)
    """The mean step (s) of the same schedule by another step time."""

    def of_rank(self, rank: Serving, ranks: int) -> "Saturation":
        """That of one rank of several whose others have a rate of their own, with the schedule of all at saturation.

        A schedule of its own would put it within .01 % of this, as what steps hold hardly depends on their length.
        """
        assert self.step_by is not None
        step = self.step_by(rank.step_seconds)
        rate, sequences, decodes = (amount / ranks for amount in (self.rate, self.sequences, self.decodes))
        return replace(self, rate=rate * self.step / step, step=step, sequences=sequences, decodes=decodes)

    @property
    def outside(self) -> str:
        """What ``rate`` does not count: work that is preempted, where the cache binds; requests in phase."""
        if self.binds == "KV cache":
            return "preemptions are not counted"
        if self.waves is not None and abs(self.waves / self.rate - 1) > IN_PHASE:
            return f"{self.waves:.4g} request/s if requests of one length run in phase"
        return ""

    @property
    def note(self) -> str:
        """What binds."""
        return f"bound by the {self.binds}"


def sequences_that_fit(scenario: Serving, *, reserve_full_length: bool = False) -> float:
    """Running sequences that slots and cache allow: ``min(max_num_seqs, tokens / held)``."""
    need = demand(scenario)
    return min(
        scenario.settings.max_num_seqs, scenario.kv_tokens / (need.reserved if reserve_full_length else need.held)
    )


def saturation(scenario: Serving, *, reserve_full_length: bool = False) -> Saturation:
    """The saturation rate of an engine; it does not depend on the arrivals, and is remembered for other rates.

    With all ``B`` sequences running, ``D = B (E[O] - 1)/(E[O] - 1 + k)`` of them decode (``k``
    prefill steps a request), each step ends ``D/(E[O] - 1)`` requests and admits as many, and so

        ``rate = D / ((E[O] - 1) E[T])``,   ``E[T]`` the mean step of ``PrefillQueue`` with this many prompts a step.

    For a step time affine in its tokens this is ``1/((E[O] - 1) T(D)/D + p1 E[I])``. When prompts
    fill the token budget before ``B`` binds, ``D`` settles where a full step takes in as many
    requests as it ends.

    *Approximation*: mean values for the number of decodes; within 1 % of flooded engines with 16 to 256 slots,
    prompts of 200 and 16,000 tokens among them. With a cache that binds, preempted work that is computed again is not
    counted, and the engine serves 3 % more to 20 % less. Where every answer has one and the same length, requests that
    began together end together, their prompts come in waves, and the rate is near ``waves`` or beyond (16 % lower to
    10 % higher); a spread of 10 % dissolves them. Data-parallel ranks: see ``ranks``. Of pipeline stages as many
    batches are under way, each of an engine whose step goes through all stages and finds none busy. *Source*:
    mean-value balance of slots and tokens; held tokens are length-biased.
    """
    return _with_full_length(scenario) if reserve_full_length else _on_demand(scenario)


@remembered(engine_and_lengths)
def _on_demand(scenario: Serving) -> Saturation:
    return _of_ranks(scenario, partial(_saturation, reserve_full_length=False))


@remembered(engine_and_lengths)
def _with_full_length(scenario: Serving) -> Saturation:
    return _of_ranks(scenario, partial(_saturation, reserve_full_length=True))


def _of_ranks(scenario: Serving, found: Callable[[Serving], Saturation]) -> Saturation:
    """That of all ranks or stages of a scenario, where ``found`` tells that of one scheduler."""
    if (stages := scenario.pipeline_parallel_size) > 1:
        lane = found(scenario.lane)
        rate, sequences, decodes = (stages * amount for amount in (lane.rate, lane.sequences, lane.decodes))
        return replace(lane, rate=rate, sequences=sequences, decodes=decodes, waves=None)
    ranks = scenario.data_parallel_size
    if ranks == 1:
        return found(scenario)
    each, one = _in_lockstep(scenario, found)
    return replace(one, rate=ranks * each, sequences=ranks * one.sequences, decodes=ranks * one.decodes, waves=None)


def _in_lockstep(scenario: Serving, found: Callable[[Serving], Saturation]) -> tuple[float, Saturation]:
    """The rate of one rank (request/s) at which it saturates while the others have the same rate, and its saturation.

    What a rank's steps hold hardly depends on how long they last: the rate is found for the schedule as it is, and the
    schedule is found anew at that rate, until the two agree.
    """
    each, rank = 0.0, rank_of(scenario, 0.0)
    one = found(rank)
    for _ in range(ROUNDS):
        each = highest_rate(partial(_rate_among, one, rank), each)
        rank = rank_of(scenario, each)
        one = found(rank)
        if abs(one.rate - each) < SETTLED * each:
            break
    return each, one


def _rate_among(one: Saturation, rank: Serving, others: float) -> float:
    """Where a rank saturates whose others have this rate (request/s), with the schedule of ``one``."""
    assert one.step_by is not None
    return one.rate * one.step / one.step_by(step_among(rank, others))


def _saturation(scenario: Serving, *, reserve_full_length: bool) -> Saturation:
    need = demand(scenario)
    limit = sequences_that_fit(scenario, reserve_full_length=reserve_full_length)
    binds = "slots" if limit == scenario.settings.max_num_seqs else "KV cache"
    budget = scenario.settings.max_num_batched_tokens
    if need.decode_steps <= 0:
        return _prefill_only(scenario, limit, need)
    by_budget = budget * need.decode_steps / (need.decode_steps + need.prompt)
    decodes = limit * need.decode_steps / (need.decode_steps + need.prefill_steps)
    if by_budget <= decodes:
        return _budget_bound(scenario, limit, by_budget, need)
    for _ in range(ROUNDS):  # the prefill steps of a request depend on the queue, a little
        queue = _queue(scenario, decodes, need, decodes / need.decode_steps)
        prefill_steps = max(1.0, float(queue.prefill_steps[0])) + scenario.settings.async_scheduling
        need = demand(scenario, prefill_steps)
        following = min(limit * need.decode_steps / (need.decode_steps + prefill_steps), by_budget)
        decodes, before = following, decodes
        if abs(decodes - before) < SETTLED * decodes:
            break
    step = float(queue.mean_step[0])
    rate = decodes / need.decode_steps / step
    waves = _waves(queue, limit, need) if scenario.offered.scv_output < 1e-12 else None
    return Saturation(
        rate=rate, binds=binds, sequences=limit, decodes=decodes, step=step, waves=waves,
        step_by=lambda seconds: float(queue.mean_step_by(queue.steps_by(seconds))[0]),
    )  # fmt: skip


def _waves(queue: PrefillQueue, limit: float, need: Demand) -> float:
    """``B`` requests in phase: full steps until all their prompts are in, then steps without a prompt."""
    full = limit * need.prompt / float(queue.room[0])
    alone = max(0.0, need.prefill_steps + need.decode_steps - full)
    return limit / (full * float(queue.step_seconds[0, -1]) + alone * float(queue.step_seconds[0, 0]))


def _queue(scenario: Serving, decodes: float, need: Demand, per_step: float) -> PrefillQueue:
    number = np.array([decodes])
    context = number * need.decode_context
    return PrefillQueue(scenario=scenario, rate=0.0, decodes=number, decode_context=context, per_step=per_step)


def _budget_bound(scenario: Serving, limit: float, decodes: float, need: Demand) -> Saturation:
    queue = _queue(scenario, decodes, need, 0.0)
    step = float(queue.step_seconds[0, -1])
    rate = decodes / need.decode_steps / step
    return Saturation(
        rate=rate, binds="token budget", sequences=limit, decodes=decodes, step=step,
        step_by=lambda seconds: float(queue.steps_by(seconds)[0, -1]),
    )  # fmt: skip


def _prefill_only(scenario: Serving, limit: float, need: Demand) -> Saturation:
    """One output token each: every step is full of prompts, or of as many as there are slots."""
    queue = _queue(scenario, 0.0, need, 0.0)
    room = float(queue.room[0])
    tokens = min(room, limit * need.prompt)
    binds = "token budget" if tokens == room else "slots"

    def step_by(seconds: StepSeconds) -> float:
        return float(np.interp(tokens, np.arange(queue.cap + 1) * queue.cell[0], queue.steps_by(seconds)[0]))

    step = step_by(scenario.step_seconds)
    rate = tokens / need.prompt / step
    return Saturation(rate=rate, binds=binds, sequences=limit, decodes=0.0, step=step, step_by=step_by)
