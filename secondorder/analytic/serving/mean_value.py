"""Order 1: mean values. Little's law for the batch, and prefill as a share of the time."""

from dataclasses import dataclass

import numpy as np

from secondorder.analytic.serving.idle import prefill_chunks, prefill_seconds
from secondorder.analytic.serving.saturation import demand
from secondorder.errors import Unstable
from secondorder.scenarios.serving import Serving


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

    ``B = rate E[O - 1] TPOT``, ``TPOT = T(B)/(1 - rate s(B))``: a decode step of ``B``
    sequences, slowed by the share of time ``rate s(B)`` that prompts take, ``s(B)`` the mean
    time that a prompt adds to the step it is computed in. ``TTFT`` is the step with the prompt
    in it. *Approximation*: means only, no waiting. *Valid when* far below saturation.
    ``Unstable`` when there is no fixed point. *Source*: Little 1961.
    """
    need, law = demand(scenario), scenario.offered
    prompts, _, weight = (np.asarray(part, float) for part in law.grid())

    def prefill(batch: float) -> float:
        return float(prefill_seconds(scenario, prompts, batch, batch * need.decode_context) @ weight)

    def step(batch: float) -> float:
        if batch == 0:
            return 0.0
        return float(scenario.step_seconds(0.0, 0.0, 0.0, batch, batch * need.decode_context, batch))

    batch = share = 0.0
    tpot = step(1.0)
    for _ in range(500):
        together = prefill(batch)
        chunks = float(prefill_chunks(scenario, prompts, batch) @ weight)
        share = rate * (together - chunks * step(batch))
        if share >= 1 or batch > 1e6:
            raise Unstable(
                f"{scenario.name}: prefill alone takes {share:.2f} of the time at {rate:.3g} request/s; "
                "lower the rate or add replicas"
            )
        tpot = step(max(batch, 1.0)) / (1 - share)
        following = rate * need.decode_steps * tpot
        if abs(following - batch) <= 1e-9 * max(1.0, batch):
            break
        batch = following
    ttft = prefill(batch)
    return MeanValue(decodes=batch, prefill_share=share, ttft=ttft, tpot=tpot, e2el=ttft + need.decode_steps * tpot)
