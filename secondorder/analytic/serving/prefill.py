"""Prefill as a queue with bulk service: what waits when a step begins is computed in it.

An engine that decodes ``n`` sequences computes steps without pause. Prompts that arrive
during a step wait for its end; the next step takes their tokens, as many as the budget
leaves, and lasts the longer for them. With Poisson arrivals the backlog of prompt tokens at
the beginning of steps is a Markov chain,

    W' = W - P + Y(T(P)),   P = min(W, budget - n),

``Y(t)`` the tokens that arrive in ``t`` seconds (compound Poisson) and ``T(P)`` the step time.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from secondorder.analytic.serving.asynchronous import Ahead
from secondorder.analytic.serving.bulk_service import TiltedArrivals, stationary_backlog
from secondorder.analytic.serving.bursts import burst
from secondorder.analytic.serving.first_token import FirstToken
from secondorder.analytic.serving.length_groups import prompt_groups
from secondorder.analytic.serving.run_moments import run_moments, run_moments_of_two
from secondorder.analytic.serving.transforms import cells_of, exp, exp_along
from secondorder.arrays import Booleans, Floats
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import StepSeconds

STEP_CELLS = 32  # cells of a full step's prompt tokens; more where prompts are short against it
FINE_STEP_CELLS = 64
MOST_STEP_CELLS = 128
MOST_SIZE = 2048  # length of a transform past which cells are made coarser
LONGEST_SIZE = 8192
LEAST_KEPT = 0.8  # share of its cells that a prompt of more than one keeps, at least, so that shorter ones are felt
FOLDS = 24.0  # decay of the backlog's law over the length of a transform, in powers of e


@dataclass(frozen=True, kw_only=True)
class PrefillQueue:
    """The prompts of a scenario at a rate (request/s), with each of several fixed numbers of decodes.

    ``decodes``: the numbers; ``decode_context``: tokens of cache that a step reads for them. All that is found has a
    first axis for them: they are solved together.

    *Approximation*: the decodes do not change in number while a prompt waits; prompts are counted by
    what they cost, in tokens of the mean one (``_work``), in cells of ``cell`` tokens. *Valid when*
    arrivals are Poisson and ``fill`` is below 1. *Source*: a discrete-time version of Inoue
    2021, section 3 (batch service, all waiting are taken), with compound arrivals and a cap.
    """

    scenario: Serving
    rate: float
    decodes: Floats
    decode_context: Floats
    per_step: float | None = None
    """Prompts that arrive in each step, however long it lasts, as where each is admitted when another request ends.

    ``rate`` then does not matter.
    """
    burst: float = 1.0
    """Requests that arrive together, on average; their number is geometric."""

    # The grid

    @cached_property
    def room(self) -> Floats:
        """Prompt tokens that fit into a step with the decodes."""
        return np.maximum(1.0, self.scenario.settings.max_num_batched_tokens - self.decodes)

    @cached_property
    def _prompts(self) -> tuple[Floats, Floats]:
        """Lengths of prompts and their weights, equal lengths together."""
        tokens, weight = prompt_groups(self.scenario)
        return tokens, weight.sum(axis=0)

    @cached_property
    def _mean_prompt(self) -> float:
        tokens, weight = self._prompts
        return float((tokens * weight).sum())

    @cached_property
    def _grids(self) -> list[tuple[int, int]]:
        """Cells of a full step, and length of the transforms, that suit each number of decodes.

        A mean prompt has two cells or more, where the backlog is not too long for it; one or more, where two would ask
        for more than 64 cells, unless at saturation, which is solved once for all rates. A transform is twice as
        long as the longest prompt, or as long as the backlog's tail asks for.
        """
        found = []
        for room, longest, decay in zip(self.room, self._work[:, -1], self._decay, strict=True):
            cells = min(STEP_CELLS, int(room))
            while room / cells > self._mean_prompt / 2 and 2 * cells <= min(FINE_STEP_CELLS, room):
                cells *= 2
            always = self.per_step is not None
            while room / cells > self._mean_prompt / (1 + always) and 2 * cells <= min(MOST_STEP_CELLS, room):
                cells *= 2
            while cells > 8 and _length(room / cells, cells, longest, decay) > MOST_SIZE:
                cells //= 2
            found.append((cells, min(LONGEST_SIZE, _length(room / cells, cells, longest, decay))))
        return found

    def by_grid(self) -> "list[PrefillQueue]":
        """Parts that are solved on one grid each, in order."""
        borders = [at for at in range(1, len(self._grids)) if self._grids[at] != self._grids[at - 1]]
        if not borders:
            return [self]
        places = [slice(*ends) for ends in pairwise([0, *borders, len(self._grids)])]
        return [replace(self, decodes=self.decodes[at], decode_context=self.decode_context[at]) for at in places]

    @property
    def cap(self) -> int:
        """Cells of a full step."""
        return self._grids[0][0]

    @property
    def size(self) -> int:
        """Length of the transforms."""
        return self._grids[0][1]

    @cached_property
    def cell(self) -> Floats:
        return np.asarray(self.room / self.cap)

    @cached_property
    def _decay(self) -> Floats:
        """The backlog's tail falls as ``exp(-d W)``, ``W`` in tokens (Kingman 1970).

        The positive root of ``rate T (E[e^(d X)] - 1) = d room``, ``X`` a prompt (a burst), ``T`` a full step.
        """
        tokens, weight = self._work, self._prompts[1]
        mean, square = (tokens * weight).sum(axis=1), (tokens**2 * weight).sum(axis=1)
        low, room = np.zeros_like(self.room), self.room / np.maximum(self._arriving, 1e-300)
        high = np.clip(2 * (room - mean) / square, 1e-8, 600.0 / tokens.max(axis=1))  # e^x - 1 > x + x^2/2
        while (high - low > 1e-2 * high).any():
            middle = (low + high) / 2
            more = (np.expm1(middle[:, None] * tokens) * weight).sum(axis=1)
            most = 1 - (self.burst - 1) * more  # a burst has a transform up to where this is 0
            below = (most > 0) & (self._arriving * more < middle * self.room * most)
            low, high = np.where(below, middle, low), np.where(below, high, middle)
            if (high < 1e-9).any():
                break  # of a queue that is not stable
        return np.where(self.fill < 1, low, 0.0)

    @cached_property
    def _arriving(self) -> Floats:
        """Requests that arrive in a full step."""
        full = self.step_of_room
        return self.rate * full if self.per_step is None else np.full_like(full, self.per_step)

    @cached_property
    def _work(self) -> Floats:
        """What each prompt costs, in tokens of the mean one: a long prompt's attends to more tokens.

        ``I (1 + c p(I)) / (1 + c p)``, ``p(I) = (I + 1)/2`` pairs a token, ``p`` those of the mean
        token, ``c`` the cost of a pair over that of a token in a full step. The mean is kept. A row for each number of
        decodes.
        """
        prompts, _ = self._prompts
        room, attended, less = self.room, self._pairs * self.room, 1 - 1e-3
        last = self._seconds(room, attended)
        token = last - self._seconds(room * less, attended)
        pair = (last - self._seconds(room, attended * less)) / self._pairs
        cost = np.where(token > 0, pair / np.where(token > 0, token, 1.0), 0.0)[:, None]
        return np.asarray(prompts * (1 + cost * (prompts + 1) / 2) / (1 + cost * self._pairs))

    def _seconds(self, tokens: Floats, pairs: Floats) -> Floats:
        n = self.decodes
        return np.asarray(self.scenario.step_seconds(tokens, pairs, tokens, n, self.decode_context, n + 1), float)

    @cached_property
    def _pairs(self) -> float:
        """Attention pairs of a mean prompt token."""
        prompts, weight = self._prompts
        return float((prompts * (prompts + 1) / 2 * weight).sum() / self._mean_prompt)

    # The steps

    @cached_property
    def step_seconds(self) -> Floats:
        """Duration of a step with 0, 1, ... ``cap`` cells of prompt."""
        return self.steps_by(self.scenario.step_seconds)

    def steps_by(self, step_seconds: StepSeconds) -> Floats:
        """The same by another step time."""
        seconds = self.step(np.arange(self.cap + 1) * self.cell[:, None], step_seconds)
        seconds[self.decodes == 0, 0] = 0.0
        return seconds

    @cached_property
    def step_of_room(self) -> Floats:
        """Duration of a full step."""
        return self.step(self.room[:, None])[:, 0]

    def step(self, tokens: Floats, step_seconds: StepSeconds | None = None) -> Floats:
        """Duration of steps with this many tokens of mean prompts: a row for each number of decodes."""
        tokens, n = np.broadcast_arrays(tokens, self.decodes[:, None])
        seconds = (step_seconds or self.scenario.step_seconds)(
            tokens,
            self._pairs * tokens,
            self._context[:, None] * tokens,
            n,
            np.broadcast_to(self.decode_context[:, None], n.shape),
            n + tokens / self._mean_prompt,
        )
        return np.array(seconds, float)

    @cached_property
    def _context(self) -> Floats:
        """Tokens of cache that a step reads for each prompt token, its own among them."""
        prompts, weight = self._prompts
        room = self.room[:, None]
        chunks = np.ceil(prompts / room)
        return np.asarray(((room * chunks * (chunks - 1) / 2 + prompts) * weight).sum(axis=1) / self._mean_prompt)

    @cached_property
    def fill(self) -> Floats:
        """Share of a full step's room that arrives while a full step runs; below 1 is stable."""
        return np.asarray(self._arriving * self._mean_prompt / self.room)

    # The backlog

    @cached_property
    def _tilt(self) -> Floats:
        return np.minimum(self._decay * self.cell / 2, 2 * FOLDS / self.size)

    @cached_property
    def groups(self) -> Floats:
        """Weights of the prompts, a row for each group of like length: more than one where the answer depends on it."""
        return prompt_groups(self.scenario)[1]

    @cached_property
    def _cells(self) -> Floats:
        """Laws of the cells of a prompt: by number of decodes and group; a row sums to the group's share."""
        cells = np.minimum(self._work / self.cell[:, None], self.size - 2)
        cells = np.minimum(self._felt(cells), self.size - 2)
        return np.array([[cells_of(row, share, self.size) for share in self.groups] for row in cells])

    def _felt(self, cells: Floats) -> Floats:
        """Cells such that a prompt shorter than one lengthens its step as it does, where that is by more than in
        proportion: its first tokens may touch as many experts as all of a cell. Others are cut so that the mean is
        kept."""
        weight, short = self._prompts[1], cells < 1
        none, whole = self.step_seconds[:, :1], self.step_seconds[:, 1:2]
        added = self.step(cells * self.cell[:, None]) - none
        share = np.clip(added / np.where(whole > none, whole - none, np.inf), cells, 1.0)
        felt, total = np.where(short, share, 0.0), (cells * weight).sum(axis=1, keepdims=True)
        others = (np.where(short, 0.0, cells) * weight).sum(axis=1, keepdims=True)
        kept = (total - (felt * weight).sum(axis=1, keepdims=True)) / np.maximum(others, 1e-300)
        return np.where(kept < LEAST_KEPT, cells, np.where(short, share, np.maximum(kept * cells, 1.0)))

    @cached_property
    def _arrivals(self) -> TiltedArrivals:
        """Of the cells that arrive in each step; what an idle engine waits for is one prompt."""
        tilted = self._cells.sum(axis=1) * np.exp(self._tilt[:, None] * np.arange(self.size))
        prompt = burst(np.fft.rfft(tilted), self.burst)[:, None, :]
        if self.per_step is not None:
            rows = np.repeat(exp(self.per_step * (prompt - 1)), self.cap + 1, axis=1)
        else:
            rows = exp_along(self.rate / self.burst * self.step_seconds, prompt[:, 0] - 1)
            rows[self.decodes == 0, 0] = prompt[self.decodes == 0, 0]
        return TiltedArrivals(rows=rows, size=self.size, tilt=self._tilt)

    @cached_property
    def backlog(self) -> Floats:
        """Stationary law of the backlog, in cells, at the beginning of steps; at its end where that is not stable."""
        found = np.zeros((len(self.decodes), self.size // 2))
        found[:, -1] = 1.0
        stable = self.fill < 1
        if stable.any():
            found[stable] = stationary_backlog(self._arrivals.of(stable))
        return found

    @cached_property
    def ahead(self) -> Ahead | None:
        """What waits when a step is scheduled, where that is while the one before it runs.

        Not in an engine without decodes: where nothing waits when a step begins, none is scheduled.
        """
        if not self.scenario.settings.async_scheduling or not self.decodes.any():
            return None
        stable = self.fill < 1
        found = Ahead.none(len(stable), self.cap, self.size // 2)
        if stable.any():
            found.put(stable, Ahead.of(self._arrivals.of(stable), self.backlog[stable]))
        return found

    @cached_property
    def _durations(self) -> Floats:
        """Of the step that begins with each backlog."""
        return self._of_backlog(self.step_seconds)

    def _of_backlog(self, seconds: Floats) -> Floats:
        return np.asarray(seconds[:, np.minimum(np.arange(self.size // 2), self.cap)])

    @cached_property
    def mean_step(self) -> Floats:
        """Mean duration of a step, s."""
        return self.mean_step_by(self.step_seconds)

    def mean_step_by(self, seconds: Floats) -> Floats:
        """The same, where steps with 0, 1, ... ``cap`` cells of prompt last this long."""
        if self.ahead is not None:
            return self.ahead.mean_step(seconds)
        return np.asarray((self.backlog * self._of_backlog(seconds)).sum(axis=1))

    @cached_property
    def prefill_steps(self) -> Floats:
        """Steps from the end of that in which a prompt arrives to that in which it is computed, on average.

        Of ``per_step`` arrivals in a step, a share ``u`` is ahead of a prompt, ``u`` uniform; with what was left over
        and its own cells ``V`` it takes ``ceil(V/cap)`` steps.
        """
        prompt = np.fft.rfft(self._cells.sum(axis=1))
        left = self.backlog[:, self.cap :].copy()
        left[:, 0] += self.backlog[:, : self.cap].sum(axis=1)
        nodes, weights = np.polynomial.legendre.leggauss(4)
        ahead = sum(
            w / 2 * exp((self.per_step or 0.0) * (1 + x) / 2 * (prompt - 1))
            for x, w in zip(nodes.tolist(), weights.tolist(), strict=True)
        )
        cells = np.maximum(np.fft.irfft(np.fft.rfft(left, n=self.size) * ahead * prompt, n=self.size), 0.0)
        steps = np.maximum(np.ceil(np.arange(self.size) / self.cap), 1.0)
        found = (cells * steps).sum(axis=1) / cells.sum(axis=1)
        return np.where(self.fill < 1, found, self.size / 2 / self.cap)

    # What a request meets

    @cached_property
    def first_token(self) -> FirstToken:
        """The time to first token."""
        last = self.step_seconds.copy()  # of a step that ends a prompt: with less than a cell, that of a token
        last[:, 0] = self._seconds(np.ones_like(self.room), np.ones_like(self.room))
        return FirstToken(
            steps=self.step_seconds,
            last=last,
            rate=self.rate,
            burst=self.burst,
            backlog=self.backlog,
            prompts=self._cells,
            idle=self.decodes == 0,
            ahead=self.ahead,
        )

    def run_moments(self, steps: Floats, first_token: FirstToken, which: Booleans) -> Floats:
        """Moments about ``steps mean_step`` of the duration of the first steps of a decoding request.

        By number of decodes (of those in ``which``, with their ``first_token``), group of prompts, order and number of
        steps. Orders: the first three (s, s^2, s^3), and the probability that no step has a prompt; 0 where the queue
        is not stable. The request begins to decode at the end of the step that computed its prompt: a longer step than
        most, and what arrived in it is computed in the request's own first steps (the inspection paradox); the more,
        the longer its prompt.
        """
        arrivals, durations = self._arrivals.of(which), self._durations[which]
        law, prompts = self.backlog[which], self.rate / self.burst * self.step_seconds[which, 0, None, None]
        if first_token.ahead is None:
            starts = arrivals.next_backlog(first_token.backlog_behind)
            moments = run_moments(arrivals, law, durations, starts, steps)
            quiet = starts[..., 0, None] * np.exp(-prompts * (steps - 1))
        else:
            first, during = first_token.decodes_begin(arrivals)
            moments = run_moments_of_two(arrivals, law, durations, first, during, steps)
            quiet = (first[..., 0] * during[..., 0]).sum(axis=2)
            quiet = quiet[..., None] * np.exp(-prompts * np.maximum(steps - 2, 0))
        found = np.concatenate([moments, quiet[:, :, None]], axis=2)
        found[self.fill[which] >= 1] = 0.0
        return found


def _length(cell: float, cap: int, longest: float, decay: float) -> int:
    """Length of the transforms with cells of this many tokens, for the longest prompt and the backlog's decay."""
    tail = FOLDS / (decay * cell) if decay > 0 else 0.0
    return 1 << int(np.ceil(np.log2(max(2 * longest / cell + 4 * cap, tail, 64))))
