"""Prefill as a queue with bulk service: what waits when a step begins is computed in it.

An engine that decodes ``n`` sequences computes steps without pause. Prompts that arrive
during a step wait for its end; the next step takes their tokens, as many as the budget
leaves, and lasts the longer for them. With Poisson arrivals the backlog of prompt tokens at
the beginning of steps is a Markov chain,

    W' = W - P + Y(T(P)),   P = min(W, budget - n),

``Y(t)`` the tokens that arrive in ``t`` seconds (compound Poisson) and ``T(P)`` the step time.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from secondorder.analytic.serving.bulk_service import TiltedArrivals, stationary_backlog
from secondorder.analytic.serving.bursts import burst
from secondorder.analytic.serving.first_token import FirstToken
from secondorder.analytic.serving.length_groups import prompt_groups
from secondorder.analytic.serving.run_moments import run_moments
from secondorder.arrays import Floats
from secondorder.scenarios.serving import Serving

STEP_CELLS = 32  # cells of a full step's prompt tokens; more where prompts are short against it
MOST_STEP_CELLS = 128
MOST_SIZE = 2048  # length of a transform past which cells are made coarser
LONGEST_SIZE = 8192
FOLDS = 24.0  # decay of the backlog's law over the length of a transform, in powers of e


@dataclass(frozen=True, kw_only=True)
class PrefillQueue:
    """The prompts of a scenario at a rate (request/s), with a fixed number of decodes.

    *Approximation*: the decodes do not change in number while a prompt waits; prompts are counted by
    what they cost, in tokens of the mean one (``_work``), in cells of ``cell`` tokens. *Valid when*
    arrivals are Poisson and ``fill`` is below 1. *Source*: a discrete-time version of Inoue
    2021, section 3 (batch service, all waiting are taken), with compound arrivals and a cap.
    """

    scenario: Serving
    rate: float
    decodes: float
    decode_context: float
    per_step: float | None = None
    """Prompts that arrive in each step, however long it lasts, as where each is admitted when another request ends.

    ``rate`` then does not matter.
    """
    burst: float = 1.0
    """Requests that arrive together, on average; their number is geometric."""

    # The grid

    @cached_property
    def room(self) -> float:
        """Prompt tokens that fit into a step with the decodes."""
        return max(1.0, self.scenario.settings.max_num_batched_tokens - self.decodes)

    @cached_property
    def _prompts(self) -> tuple[Floats, Floats]:
        """Lengths of prompts and their weights, equal lengths together."""
        return prompt_groups(self.scenario)[0], prompt_groups(self.scenario)[1].sum(axis=0)

    @cached_property
    def cap(self) -> int:
        """Cells of a full step: a mean prompt has two or more, where the backlog is not too long for it."""
        prompts, weight = self._prompts
        half = float((prompts * weight).sum()) / 2
        cells = min(STEP_CELLS, int(self.room))
        while self.room / cells > half and 2 * cells <= min(MOST_STEP_CELLS, self.room):
            cells *= 2
        while cells > 8 and self._size(self.room / cells, cells) > MOST_SIZE:
            cells //= 2
        return cells

    @cached_property
    def cell(self) -> float:
        return self.room / self.cap

    @cached_property
    def size(self) -> int:
        """Length of the transforms: twice the longest prompt, or as long as the backlog's tail asks for."""
        return min(LONGEST_SIZE, self._size(self.cell, self.cap))

    def _size(self, cell: float, cap: int) -> int:
        longest = float(self._work.max()) / cell
        tail = FOLDS / (self._decay * cell) if self._decay > 0 else 0.0
        return 1 << int(np.ceil(np.log2(max(2 * longest + 4 * cap, tail, 64))))

    @cached_property
    def _decay(self) -> float:
        """The backlog's tail falls as ``exp(-d W)``, ``W`` in tokens (Kingman 1970).

        The positive root of ``rate T (E[e^(d X)] - 1) = d room``, ``X`` a prompt (a burst), ``T`` a full step.
        """
        if self.fill >= 1:
            return 0.0
        tokens, weight = self._work, self._prompts[1]
        arriving = self.rate * self._full_step if self.per_step is None else self.per_step
        low, high = 0.0, 600.0 / float(tokens.max())
        while high - low > 1e-2 * high:
            middle = (low + high) / 2
            more = float((np.expm1(middle * tokens) * weight).sum())
            most = 1 - (self.burst - 1) * more  # a burst has a transform up to where this is 0
            if most > 0 and arriving * more / most < middle * self.room:
                low = middle
            else:
                high = middle
        return low

    @cached_property
    def _work(self) -> Floats:
        """What each prompt costs, in tokens of the mean one: a long prompt's attends to more tokens.

        ``I (1 + c p(I)) / (1 + c p)``, ``p(I) = (I + 1)/2`` pairs a token, ``p`` those of the mean
        token, ``c`` the cost of a pair over that of a token in a full step. The mean is kept.
        """
        prompts, _ = self._prompts
        room, attended, less = self.room, self._pairs * self.room, 1 - 1e-3
        last = self._seconds(room, attended)
        token = last - self._seconds(room * less, attended)
        pair = (last - self._seconds(room, attended * less)) / self._pairs
        cost = pair / token if token > 0 else 0.0
        return np.asarray(prompts * (1 + cost * (prompts + 1) / 2) / (1 + cost * self._pairs))

    def _seconds(self, tokens: float, pairs: float) -> float:
        n = self.decodes
        return float(self.scenario.step_seconds(tokens, pairs, tokens, n, self.decode_context, n + 1))

    @cached_property
    def _pairs(self) -> float:
        """Attention pairs of a mean prompt token."""
        prompts, weight = self._prompts
        return float((prompts * (prompts + 1) / 2 * weight).sum() / (prompts * weight).sum())

    # The steps

    @cached_property
    def step_seconds(self) -> Floats:
        """Duration of a step with 0, 1, ... ``cap`` cells of prompt."""
        seconds = self.step(np.asarray(np.arange(self.cap + 1) * self.cell, float))
        if self.decodes == 0:
            seconds[0] = 0.0
        return seconds

    @cached_property
    def _full_step(self) -> float:
        return float(self.step(np.array([0.0, self.room]))[-1])

    def step(self, tokens: Floats) -> Floats:
        """Duration of steps with this many tokens of mean prompts."""
        prompts, weight = self._prompts
        mean = float((prompts * weight).sum())
        chunks = np.ceil(prompts / self.room)
        context = float(((self.room * chunks * (chunks - 1) / 2 + prompts) * weight).sum()) / mean
        n = self.decodes
        return np.array(
            self.scenario.step_seconds(
                tokens, self._pairs * tokens, context * tokens, n, self.decode_context, n + tokens / mean
            ),
            float,
        )

    @cached_property
    def fill(self) -> float:
        """Share of a full step's room that arrives while a full step runs; below 1 is stable."""
        prompts, weight = self._prompts
        arriving = self.rate * self._full_step if self.per_step is None else self.per_step
        return arriving * float((prompts * weight).sum()) / self.room

    # The backlog

    @cached_property
    def _tilt(self) -> float:
        return min(self._decay * self.cell / 2, 2 * FOLDS / self.size)

    def _cells(self, tokens: Floats, weight: Floats) -> Floats:
        """Law of the cells of such prompts; a fraction of a cell is shared so that the mean is kept."""
        cells = np.minimum(tokens / self.cell, self.size - 2)
        low = np.floor(cells).astype(int)
        law = np.bincount(low, weight * (1 - (cells - low)), minlength=self.size)
        return np.asarray(law + np.bincount(low + 1, weight * (cells - low), minlength=self.size))

    @cached_property
    def _arrivals(self) -> TiltedArrivals:
        """Of the cells that arrive in each step; what an idle engine waits for is one prompt."""
        law = self._cells(self._work, self._prompts[1])
        prompt = burst(np.fft.rfft(law * np.exp(self._tilt * np.arange(self.size))), self.burst)
        if self.per_step is not None:
            rows = np.repeat(np.exp(self.per_step * (prompt - 1))[None, :], self.cap + 1, axis=0)
            return TiltedArrivals(rows=rows, size=self.size, tilt=self._tilt)
        rows = np.exp(self.rate / self.burst * self.step_seconds[:, None] * (prompt - 1))
        if self.decodes == 0:
            rows[0] = prompt
        return TiltedArrivals(rows=rows, size=self.size, tilt=self._tilt)

    @cached_property
    def backlog(self) -> Floats:
        """Stationary law of the backlog, in cells, at the beginning of steps."""
        if self.fill >= 1:
            return np.asarray(np.eye(1, self.size // 2, self.size // 2 - 1)[0])
        return stationary_backlog(self._arrivals)

    @cached_property
    def _durations(self) -> Floats:
        """Of the step that begins with each backlog."""
        return np.asarray(self.step_seconds[np.minimum(np.arange(len(self.backlog)), self.cap)])

    @cached_property
    def mean_step(self) -> float:
        """Mean duration of a step, s."""
        return float((self.backlog * self._durations).sum())

    @cached_property
    def prefill_steps(self) -> float:
        """Steps from the end of that in which a prompt arrives to that in which it is computed, on average.

        Of ``per_step`` arrivals in a step, a share ``u`` is ahead of a prompt, ``u`` uniform; with what was left over
        and its own cells ``V`` it takes ``ceil(V/cap)`` steps.
        """
        if self.fill >= 1:
            return float(len(self.backlog)) / self.cap
        prompt = np.fft.rfft(self._cells(self._work, self._prompts[1]))
        left = self.backlog[self.cap :].copy()
        left[0] += self.backlog[: self.cap].sum()
        nodes, weights = np.polynomial.legendre.leggauss(4)
        ahead = sum(
            w / 2 * np.exp((self.per_step or 0.0) * (1 + x) / 2 * (prompt - 1))
            for x, w in zip(nodes.tolist(), weights.tolist(), strict=True)
        )
        cells = np.maximum(np.fft.irfft(np.fft.rfft(left, n=self.size) * ahead * prompt, n=self.size), 0.0)
        steps = np.maximum(np.ceil(np.arange(self.size) / self.cap), 1.0)
        return float((cells * steps).sum() / cells.sum())

    # What a request meets

    @property
    def first_token(self) -> tuple[Floats, Floats]:
        """Law of the time to first token: atoms (s) and their weights, see ``FirstToken``."""
        return self._first_token.atoms, self._first_token.weight

    @cached_property
    def _first_token(self) -> FirstToken:
        return FirstToken(
            steps=self.step_seconds,
            last=self._last_seconds,
            rate=self.rate,
            burst=self.burst,
            backlog=self.backlog,
            prompts=np.array([self._cells(self._work, share) for share in self.groups]),
            idle=self.decodes == 0,
            late=self.mean_step if self.scenario.settings.async_scheduling and self.decodes else 0.0,
        )

    @cached_property
    def groups(self) -> Floats:
        """Weights of the prompts, a row for each group of like length: more than one where the answer depends on it."""
        return prompt_groups(self.scenario)[1]

    @cached_property
    def _last_seconds(self) -> Floats:
        """Duration of a step that ends a prompt: with less than a cell, that of a token."""
        seconds = self.step_seconds.copy()
        seconds[0] = self._seconds(1.0, 1.0)
        return seconds

    def run_moments(self, steps: Floats) -> Floats:
        """Moments about ``steps mean_step`` of the duration of the first steps of a decoding request.

        Rows: the first three (s, s^2, s^3), and the probability that no step has a prompt; columns: the numbers of
        steps. The request begins to decode at the end of the step that computed its prompt: a longer step than most,
        and what arrived in it is computed in the request's own first steps (the inspection paradox).
        """
        return np.asarray((self.run_moments_by_group(steps) * self.groups.sum(axis=1)[:, None, None]).sum(axis=0))

    def run_moments_by_group(self, steps: Floats) -> Floats:
        """The same for each group of prompts: the longer a request's prompt, the more arrived in its last step."""
        laws = np.array([self._after(law) for law in self._first_token.backlog_behind])
        moments = run_moments(self._arrivals, self.backlog, self._durations, laws, steps)
        quiet = laws[:, :1] * np.exp(-self.rate / self.burst * float(self.step_seconds[0]) * (steps - 1))
        return np.concatenate([moments, quiet[:, None, :]], axis=1)

    def _after(self, law: Floats) -> Floats:
        """Law of the backlog a step later."""
        cap, arrivals = self.cap, self._arrivals
        low = (law[: cap + 1, None] * arrivals.rows).sum(axis=0)
        high_part = arrivals.tilted(np.concatenate([[0.0], law[cap + 1 :]])) * arrivals.rows[-1]
        found = np.maximum(arrivals.untilt(low + high_part), 0.0)[: len(self.backlog)]
        return np.asarray(found / found.sum())
