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
import numpy.typing as npt

from secondorder.scenarios.serving import Serving

Floats = npt.NDArray[np.float64]

STEP_CELLS = 32  # of a full step's prompt tokens, or more where prompts are short against it
MOST_STEP_CELLS = 128
MOST_CELLS = 1536  # of the backlog
AGES = (np.arange(4) + 0.5) / 4  # how much of the step under way has passed when a request arrives
MOST_STEPS = 96  # of a decoding request that are followed one by one; then the chain has forgotten its start
CUT = 1e-4  # share of the backlog's tail that is left out
NEGLIGIBLE = 1e-6  # share of the requests, against quantiles up to 1e-3


@dataclass(frozen=True, kw_only=True)
class PrefillQueue:
    """The prompts of a scenario at a rate (request/s), beside a fixed number of decodes.

    *Approximation*: the decodes do not change in number while a prompt waits, attention pairs
    are those of the mean prompt but for the request's own, tokens are counted in cells of ``cell``
    tokens. *Valid when*
    arrivals are Poisson and ``fill`` is below 1. *Source*: a discrete-time version of Inoue
    2021, section 3 (batch service, all waiting are taken), with compound arrivals and a cap.
    """

    scenario: Serving
    rate: float
    decodes: float
    decode_context: float

    # The grid

    @cached_property
    def room(self) -> float:
        """Prompt tokens that fit into a step beside the decodes."""
        return max(1.0, self.scenario.max_num_batched_tokens - self.decodes)

    @cached_property
    def _prompts(self) -> tuple[Floats, Floats]:
        prompts, _, weight = self.scenario.offered.grid()
        return np.asarray(prompts, float), np.asarray(weight, float)

    @cached_property
    def cap(self) -> int:
        """Cells of a full step: a mean prompt has two or more of them, where that is not too many."""
        prompts, weight = self._prompts
        longest, half = float(prompts.max()), float(prompts @ weight) / 2
        cells = min(STEP_CELLS, int(self.room))
        while cells > 1 and 3 * longest / self.room * cells > MOST_CELLS:
            cells //= 2
        while self.room / cells > half and 2 * cells <= min(MOST_STEP_CELLS, self.room):
            if 3 * longest / self.room * 2 * cells > MOST_CELLS / 2:
                break
            cells *= 2
        return cells

    @cached_property
    def cell(self) -> float:
        return self.room / self.cap

    @cached_property
    def size(self) -> int:
        """Cells of the backlog, a multiple of 64 for the sake of the transforms.

        Enough for the longest prompt, and for all but ``CUT`` of the tail, which falls as
        ``exp(-d W)`` (Kingman 1970); where that is more than can be solved, as far as can be.
        """
        longest = float(self._prompts[0].max()) / self.cell
        tail = -float(np.log(CUT)) / self._decay if self._decay > 0 else np.inf
        cells = min(MOST_CELLS, max(longest, min(tail, MOST_CELLS / 2)) + 2 * self.cap)
        return 64 * int(np.ceil(cells / 64))

    @cached_property
    def _decay(self) -> float:
        """The positive root of ``rate T (E[e^(d X)] - 1) = d cap``, ``X`` a prompt's cells, ``T`` a full step."""
        if self.fill >= 1:
            return 0.0
        cells, weight = self._prompts[0] / self.cell, self._prompts[1]
        arriving = self.rate * float(self.step_seconds[-1])
        low, high = 0.0, 600.0 / float(cells.max())
        while high - low > 1e-3 * high:
            middle = (low + high) / 2
            if arriving * float(np.expm1(middle * cells) @ weight) < middle * self.cap:
                low = middle
            else:
                high = middle
        return high

    @cached_property
    def _prompt_transform(self) -> npt.NDArray[np.complex128]:
        """Of the law of a prompt's cells."""
        return self._transform_of(self._prompts[0])

    def _transform_of(self, tokens: Floats) -> npt.NDArray[np.complex128]:
        """Of the law of the cells of such prompts; a fraction of a cell is shared so that the mean is kept."""
        weight = self._prompts[1]
        cells = np.minimum(tokens / self.cell, 2 * self.size - 2)
        low = np.floor(cells).astype(int)
        law = np.zeros(2 * self.size)
        np.add.at(law, low, weight * (1 - (cells - low)))
        np.add.at(law, low + 1, weight * (cells - low))
        return np.asarray(np.fft.rfft(law))

    @cached_property
    def _own_transform(self) -> npt.NDArray[np.complex128]:
        """Of the law of the cells of a request's own prompt, by what it costs."""
        return self._transform_of(self._work)

    @cached_property
    def _work(self) -> Floats:
        """What each prompt costs, in tokens of the mean one: a long prompt's attends to more tokens.

        ``I (1 + c p(I)) / (1 + c p)``, ``p(I) = (I + 1)/2`` pairs a token, ``p`` those of the mean
        token, ``c`` the cost of a pair over that of a token in a full step. The mean is kept.
        """
        prompts, weight = self._prompts
        pairs = (prompts + 1) / 2
        mean = float((prompts * pairs) @ weight) / float(prompts @ weight)

        def full(tokens: float, attended: float) -> float:
            n, rows = self.decodes, self.decodes + 1
            return float(self.scenario.step_seconds(tokens, attended, tokens, n, self.decode_context, rows))

        room, attended, less = self.room, mean * self.room, 1 - 1e-3
        last = full(room, attended)
        token, pair = last - full(room * less, attended), (last - full(room, attended * less)) / mean
        cost = pair / token if token > 0 else 0.0
        return np.asarray(prompts * (1 + cost * pairs) / (1 + cost * mean))

    def _arriving(self, seconds: Floats) -> npt.NDArray[np.complex128]:
        """Transforms of the cells that arrive in so many seconds, a row each."""
        return np.exp(self.rate * np.atleast_1d(seconds)[:, None] * (self._prompt_transform - 1))

    def _law(self, transform: npt.NDArray[np.complex128]) -> Floats:
        return np.clip(np.fft.irfft(transform, n=2 * self.size), 0, None)

    # The steps

    @cached_property
    def step_seconds(self) -> Floats:
        """Duration of a step with 0, 1, ... ``cap`` cells of prompt."""
        prompts, weight = self._prompts
        mean = float(prompts @ weight)
        chunks = np.ceil(prompts / self.room)
        pairs = float((prompts * (prompts + 1) / 2) @ weight) / mean
        context = float((self.room * chunks * (chunks - 1) / 2 + prompts) @ weight) / mean
        tokens = np.arange(self.cap + 1) * self.cell
        n = self.decodes
        seconds = self.scenario.step_seconds(
            tokens, pairs * tokens, context * tokens, n, self.decode_context, n + tokens / mean
        )
        if n == 0:
            seconds = np.where(tokens > 0, seconds, 0.0)
        return np.asarray(seconds, float)

    @cached_property
    def fill(self) -> float:
        """Share of a full step's room that arrives while a full step runs; below 1 is stable."""
        prompts, weight = self._prompts
        return self.rate * float(self.step_seconds[-1]) * float(prompts @ weight) / self.room

    @cached_property
    def _moves(self) -> Floats:
        """Transition probabilities of the backlog from step to step."""
        size, cap = self.size, self.cap
        arriving = self._law(self._arriving(self.step_seconds))[:, :size]
        moves = np.zeros((size, size))
        moves[: cap + 1] = arriving
        for backlog in range(cap + 1, size):
            moves[backlog, backlog - cap :] = arriving[cap, : size - backlog + cap]
        moves[:, -1] += 1 - moves.sum(axis=1)
        if self.decodes == 0:  # no step without work: an idle engine waits for one prompt
            moves[0] = self._law(self._prompt_transform[None, :])[0, :size]
            moves[0, -1] += 1 - moves[0].sum()
            moves[0, 0] = 0 if moves[0, 0] < 1 else 1
            moves[0] /= moves[0].sum()
        return moves

    @cached_property
    def backlog(self) -> Floats:
        """Stationary law of the backlog, in cells, at the beginning of steps."""
        size = self.size
        system = self._moves.T - np.eye(size)
        system[-1] = 1.0
        right = np.zeros(size)
        right[-1] = 1.0
        law = np.clip(np.linalg.solve(system, right), 0, None)
        return np.asarray(law / law.sum())

    @cached_property
    def _durations(self) -> Floats:
        """Of the step that begins with each backlog."""
        return self.step_seconds[np.minimum(np.arange(self.size), self.cap)]

    @cached_property
    def mean_step(self) -> float:
        """Mean duration of a step, s."""
        return float(self.backlog @ self._durations)

    # What an arriving request meets

    @property
    def first_token(self) -> tuple[Floats, Floats]:
        """Law of the time to first token: atoms (s) and their weights.

        A request that arrives in a step sees the rest of it, then as many full steps as the
        tokens before it and its own take, then the step that ends its prompt, which also
        computes tokens that arrived behind it.
        """
        return self._prompt[0], self._prompt[1]

    @cached_property
    def _prompt(self) -> tuple[Floats, Floats, Floats]:
        """Atoms and weights of the time to first token, and the law of the backlog when the last step begins."""
        times, weights, last = [], [], np.zeros(2 * self.size)
        for duration, ahead, weight in self._situations():
            for age in AGES:
                found = self._steps_to_go(duration, age, ahead)
                times.append(found[0])
                weights.append(found[1] * weight / len(AGES))
                last += found[2] * weight / len(AGES)
        atoms, mass = np.concatenate(times), np.concatenate(weights)
        if self.scenario.async_scheduling and self.decodes:
            atoms = atoms + self.mean_step  # the step after the one under way is already decided
        kept = mass > 0
        backlog = last[: self.size].copy()
        backlog[-1] += last[self.size :].sum()
        return atoms[kept], mass[kept] / mass[kept].sum(), backlog / backlog.sum()

    def _situations(self) -> list[tuple[float, Floats | None, float]]:
        """Step under way: its duration, the law of backlog that it leaves, and how often it is met."""
        cap, met = self.cap, self.backlog * self._durations
        if self.decodes == 0:  # an engine with nothing to do waits for the next prompt
            met[0] = self.backlog[0] / self.rate if self.rate > 0 else 1.0
        met = met / met.sum()
        found: list[tuple[float, Floats | None, float]] = [
            (float(self.step_seconds[j]), None, float(met[j])) for j in range(cap + 1) if met[j] > NEGLIGIBLE
        ]
        behind = met[cap + 1 :]
        if behind.sum() > NEGLIGIBLE:
            left = np.zeros(2 * self.size)
            left[1 : 1 + len(behind)] = behind / behind.sum()
            found.append((float(self.step_seconds[cap]), left, float(behind.sum())))
        return found

    def _steps_to_go(self, duration: float, age: float, ahead: Floats | None) -> tuple[Floats, Floats, Floats]:
        cap, full = self.cap, float(self.step_seconds[self.cap])
        transform = self._arriving(np.array([age * duration]))[0] * self._own_transform
        if ahead is not None:
            transform = transform * np.fft.rfft(ahead)
        cells = self._law(transform)
        rest = (1 - age) * duration
        count = -(-(2 * self.size - 1) // cap)
        own = np.zeros((count, 2 * self.size))  # cells of the step that ends the prompt, a row for each number of steps
        own[:, 1 : cap + 1] = np.append(cells[1:], np.zeros(count * cap - len(cells) + 1)).reshape(count, cap)
        own[0, 0] = cells[0]  # a prompt of less than a cell still needs a step
        steps = np.flatnonzero(own.sum(axis=1) > NEGLIGIBLE)
        waited = np.asarray(rest + steps * full, float)
        together = self._law(np.asarray(np.fft.rfft(own[steps])) * self._arriving(waited))
        law = together[:, : cap + 1].copy()
        law[:, -1] += together[:, cap + 1 :].sum(axis=1)
        return (waited[:, None] + self._last_seconds).ravel(), law.ravel(), together.sum(axis=0)

    @cached_property
    def _last_seconds(self) -> Floats:
        """Duration of a step that ends a prompt: with less than a cell, that of a token."""
        seconds, n = self.step_seconds.copy(), self.decodes
        seconds[0] = float(self.scenario.step_seconds(1.0, 1.0, 1.0, n, self.decode_context, n + 1))
        return seconds

    # What a decoding request meets

    def run_moments(self, steps: Floats) -> Floats:
        """First three moments about ``steps mean_step`` of the duration of the first steps of a decoding request.

        A row for each moment (s, s^2, s^3), a column for each number of steps. The request
        begins to decode at the end of the step that computed its prompt: a longer step than
        most, and what arrived in it is computed in the request's own first steps (the
        inspection paradox). From there on, with ``g = T(W) - mean_step`` and ``S_m`` the sum
        over ``m`` steps, ``E_W[S_{m+1}] = g + P E[S_m]``, and likewise for squares and cubes;
        linear in ``m`` once the start is forgotten. *Exact* for the chain, up to 96 steps.
        """
        begin = self._prompt[2] @ self._moves
        most = int(min(MOST_STEPS, np.ceil(steps.max())))
        g = self._durations - self.mean_step
        found, later = np.zeros((3, most + 1)), np.zeros((3, self.size))
        for m in range(1, most + 1):
            first, second, third = self._expect(later)
            later = np.array(
                [g + first, g**2 + 2 * g * first + second, g**3 + 3 * g**2 * first + 3 * g * second + third]
            )
            found[:, m] = later @ begin
        beyond = np.maximum(steps - most, 0.0)
        grid = np.arange(most + 1)
        return np.array([np.interp(steps, grid, row) + beyond * (row[-1] - row[-2]) for row in found])

    def _expect(self, values: Floats) -> Floats:
        """Means after a step of functions of the backlog (rows), given the backlog before it."""
        size, cap = self.size, self.cap
        low = values @ self._moves[: cap + 1].T
        padded = np.concatenate([values, np.repeat(values[:, -1:], size, axis=1)], axis=1)
        # a row past the cap is that of the cap, moved: a correlation, by transforms
        spectrum = np.fft.rfft(padded, n=4 * size) * self._full_step.conj()
        high = np.fft.irfft(spectrum, n=4 * size)[:, 1 : size - cap]
        return np.concatenate([low, high], axis=1)

    @cached_property
    def _full_step(self) -> npt.NDArray[np.complex128]:
        """Transform of the law of the cells that arrive in a full step; what the backlog cannot hold on its last."""
        law = self._law(self._arriving(self.step_seconds[-1:]))[0, : self.size]
        law[-1] += 1 - law.sum()
        return np.asarray(np.fft.rfft(law, n=4 * self.size))
