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

STEP_CELLS = 32  # of a full step's prompt tokens
MOST_CELLS = 1536  # of the backlog
AGES = (np.arange(4) + 0.5) / 4  # how much of the step under way has passed when a request arrives
MOST_LAGS = 24
NEGLIGIBLE = 1e-6  # share of the requests, against quantiles up to 1e-3


@dataclass(frozen=True, kw_only=True)
class PrefillQueue:
    """The prompts of a scenario at a rate (request/s), beside a fixed number of decodes.

    *Approximation*: the decodes do not change in number while a prompt waits, attention pairs
    are those of the mean prompt, tokens are counted in cells of ``cell`` tokens. *Valid when*
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
        """Cells of a full step."""
        largest = float(self._prompts[0].max())
        cells = min(STEP_CELLS, int(self.room))
        while cells > 1 and 3 * largest / self.room * cells > MOST_CELLS:
            cells //= 2
        return cells

    @cached_property
    def cell(self) -> float:
        return self.room / self.cap

    @cached_property
    def size(self) -> int:
        """Cells of the backlog, a multiple of 64 for the sake of the transforms."""
        largest = float(self._prompts[0].max())
        cells = min(MOST_CELLS, max(8 * self.cap, 3 * largest / self.cell + 4 * self.cap))
        return 64 * int(np.ceil(cells / 64))

    @cached_property
    def _prompt_transform(self) -> npt.NDArray[np.complex128]:
        """Of the law of a prompt's cells; a fraction of a cell is shared so that the mean is kept."""
        prompts, weight = self._prompts
        cells = np.minimum(prompts / self.cell, 2 * self.size - 2)
        low = np.floor(cells).astype(int)
        law = np.zeros(2 * self.size)
        np.add.at(law, low, weight * (1 - (cells - low)))
        np.add.at(law, low + 1, weight * (cells - low))
        return np.asarray(np.fft.rfft(law))

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

    @cached_property
    def step_covariances(self) -> Floats:
        """Of the durations of two steps that are 0, 1, 2, ... steps apart, s^2."""
        deviation = self._durations - self.mean_step
        later, found = deviation, []
        for _ in range(MOST_LAGS):
            found.append(float((self.backlog * deviation) @ later))
            later = self._moves @ later
        return np.array(found)

    # What an arriving request meets

    @cached_property
    def first_token(self) -> tuple[Floats, Floats]:
        """Law of the time to first token: atoms (s) and their weights.

        A request that arrives in a step sees the rest of it, then as many full steps as the
        tokens before it and its own take, then the step that ends its prompt, which also
        computes tokens that arrived behind it.
        """
        times, weights = [], []
        for duration, ahead, weight in self._situations():
            for age in AGES:
                found = self._steps_to_go(duration, age, ahead)
                times.append(found[0])
                weights.append(found[1] * weight / len(AGES))
        atoms, mass = np.concatenate(times), np.concatenate(weights)
        if self.scenario.async_scheduling and self.decodes:
            atoms = atoms + self.mean_step  # the step after the one under way is already decided
        kept = mass > 0
        return atoms[kept], mass[kept] / mass[kept].sum()

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

    def _steps_to_go(self, duration: float, age: float, ahead: Floats | None) -> tuple[Floats, Floats]:
        cap, full = self.cap, float(self.step_seconds[self.cap])
        transform = self._arriving(np.array([age * duration]))[0] * self._prompt_transform
        if ahead is not None:
            transform = transform * np.fft.rfft(ahead)
        cells = self._law(transform)
        cells[1] += cells[0]  # a prompt of less than a cell still needs a step
        cells[0] = 0.0
        rest = (1 - age) * duration
        times, weights = [], []
        for steps in range(1, -(-(2 * self.size - 1) // cap) + 1):
            last = cells[(steps - 1) * cap + 1 : steps * cap + 1]
            if last.sum() > NEGLIGIBLE:
                times.append(rest + (steps - 1) * full + self.step_seconds)
                weights.append(self._last_step(last, rest + (steps - 1) * full))
        return np.concatenate(times), np.concatenate(weights)

    def _last_step(self, own: Floats, waited: float) -> Floats:
        """Law of the cells computed in the step that ends a prompt: its own and those behind it."""
        padded = np.zeros(2 * self.size)
        padded[1 : 1 + len(own)] = own
        together = self._law(np.fft.rfft(padded) * self._arriving(np.array([waited]))[0])
        law = together[: self.cap + 1].copy()
        law[-1] += together[self.cap + 1 :].sum()
        return law
