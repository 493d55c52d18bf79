"""A theorem of LLM serving as a twin: its formula in words, and the number that was stated before it was simulated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from secondorder.fleets.accelerators import accelerators
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Affine
from secondorder.validation.catalogue.twin import Twin
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Lengths
from secondorder.workloads.models import models

STEP = 1e-3
"""Seconds of a step of constant length."""
UNLIMITED = 10_000_000
LEFT_OVER = 0.01
"""Share of the requests of the second half of a run; what leaves more is said to diverge."""


@dataclass(frozen=True, kw_only=True)
class Theorem(Twin):
    """A claim of the theory of serving.

    - ``theorem``: its number on the page of theory; ``written``: the formula.
    - ``numbers``: what was written down in ``docs/predictions/theory.md`` before the simulation, by metric.
    """

    suite: str = "theory"
    theorem: str
    written: str
    numbers: Mapping[str, float] = field(default_factory=dict)


def engine(*, rate: float = 1.0, lengths: Lengths, memory: int = UNLIMITED, **changes: Any) -> Serving:
    """An engine of steps of constant length, whose only limit is ``memory`` tokens of cache; ``rate`` in 1/s.

    It schedules a step when the one before has ended, as the theorems have it.
    """
    fields: dict[str, Any] = {
        "max_num_seqs": 1_000_000,
        "max_num_batched_tokens": UNLIMITED,
        "enable_prefix_caching": False,
        "async_scheduling": False,
        "step_time": Affine(per_step=STEP, per_prefill_token=0, per_decode=0),
        **changes,
    }
    return Serving(
        model=models.llama_3_1_8b,
        accelerator=accelerators.h100_sxm,
        arrivals=Poisson(f"{rate!r} request/s"),
        lengths=lengths,
        block_size=1,
        num_gpu_blocks=memory + 1,
        **fields,
    )
