"""Order 1: mean values. Little's law for the batch, and prefill as a share of the time."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from secondorder.analytic.serving.idle import prefill_chunks, prefill_seconds
from secondorder.analytic.serving.length_groups import prompt_groups
from secondorder.analytic.serving.saturation import Demand, demand
from secondorder.errors import Unstable
from secondorder.scenarios.serving import Serving

Floats = npt.NDArray[np.float64]

LEAP = 0.99
"""Share of a chord's slope that is used, so that the fixed point is approached from below."""


@dataclass(frozen=True, kw_only=True)
class MeanValue:
    """``decodes``: mean number of decoding sequences. ``tpot``, ``ttft``, ``e2el``: means, s.

    ``prefill_share``: share of the time that prefill adds to the steps.
    """

    decodes: float
    prefill_share: float
    ttft: float
    tpot: float
    e2el: float


def mean_value(scenario: Serving, rate: float) -> MeanValue:
    """The fixed point of Little's law for a replica that never queues.

    ``B = rate E[O - 1] TPOT`` with the mean step ``TPOT`` the greater of

    - ``T(B)/(1 - rate s(B))``: prompts come one at a time, each adding ``s(B)`` to the steps
      that it is computed in;
    - ``T`` of the mean batch, ``B`` decodes and ``rate E[I] TPOT`` prompt tokens, once every
      step holds a prompt.

    ``TTFT`` is the step with the prompt in it. *Approximation*: means only, no waiting. *Valid
    when* far below saturation. ``Unstable`` when there is no fixed point. *Source*: Little 1961.
    """
    means = _Means(scenario, rate, demand(scenario))
    tpot = means.step(1.0)
    batch = rate * means.need.decode_steps * tpot  # from below; from 0 on, a prompt would take a step of its own
    together, rise, before = 0.0, 0.0, np.inf
    for _ in range(500):
        apart, together = means.apart(batch), means.together(batch, together)
        tpot = max(apart, together)
        more = rate * means.need.decode_steps * tpot - batch
        if abs(more) <= 1e-9 * max(1.0, batch):
            break
        slope = 1 + (more - before) / rise if rise > 0 else 0.0
        rise, before = more / max(1 - max(LEAP * slope, 0.0), 1 - LEAP), more  # what is left by a chord, not all of it
        batch += rise
    ttft = means.prefill(batch)
    share = 1 - means.step(max(batch, 1.0)) / tpot if tpot > 0 else 0.0
    e2el = ttft + means.need.decode_steps * tpot
    return MeanValue(decodes=batch, prefill_share=share, ttft=ttft, tpot=tpot, e2el=e2el)


@dataclass(frozen=True)
class _Means:
    """Mean steps of a scenario at a rate, beside a mean number of decodes."""

    scenario: Serving
    rate: float
    need: Demand

    @cached_property
    def _prompts(self) -> tuple[Floats, Floats]:
        prompts, weight = prompt_groups(self.scenario)
        return prompts, weight.sum(axis=0)

    def prefill(self, batch: float) -> float:
        """Steps of a prompt, s."""
        prompts, weight = self._prompts
        seconds = prefill_seconds(self.scenario, prompts, batch, batch * self.need.decode_context)
        return float((seconds * weight).sum())

    def step(self, batch: float) -> float:
        """A step without a prompt, s."""
        if batch == 0:
            return 0.0
        return float(self.scenario.step_seconds(0.0, 0.0, 0.0, batch, batch * self.need.decode_context, batch))

    def apart(self, batch: float) -> float:
        """The mean step where prompts come one at a time, s."""
        prompts, weight = self._prompts
        chunks = float((prefill_chunks(self.scenario, prompts, batch) * weight).sum())
        share = self.rate * (self.prefill(batch) - chunks * self.step(batch))
        if share >= 1 or batch > 1e6:
            raise Unstable(
                f"{self.scenario.name}: prefill alone takes {share:.2f} of the time at {self.rate:.3g} request/s; "
                "lower the rate or add replicas"
            )
        return self.step(max(batch, 1.0)) / (1 - share)

    def together(self, batch: float, shorter: float) -> float:
        """The step of the mean batch, s: it takes in the prompt tokens that arrive while it lasts.

        Found from a ``shorter`` step upwards. 0 where fewer than one prompt arrives in it.
        """
        prompts, weight = self._prompts
        pairs = float((prompts * (prompts + 1) / 2 * weight).sum()) / self.need.prompt
        context = batch * self.need.decode_context
        seconds = max(self.step(max(batch, 1.0)), shorter)
        for _ in range(200):
            tokens = self.rate * self.need.prompt * seconds
            rows = batch + tokens / self.need.prompt
            following = float(self.scenario.step_seconds(tokens, pairs * tokens, tokens, batch, context, rows))
            if tokens > self.scenario.settings.max_num_batched_tokens:
                raise Unstable(
                    f"{self.scenario.name}: more prompt tokens arrive in a step than its budget; use a lower rate"
                )
            if abs(following - seconds) < 1e-9 * seconds:
                break
            seconds = following
        prompts_per_step = self.rate * seconds
        return seconds if prompts_per_step >= 1 else 0.0
