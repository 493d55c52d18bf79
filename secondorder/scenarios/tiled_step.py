"""A step time in whole tiles: work is padded to a multiple of the tile.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.scenarios.steptime import Placement
>>> from secondorder.workloads.models import models
>>> placement = Placement(model=models.llama_3_1_8b, accelerator=accelerators.h100_sxm, precision="bf16",
...     kv_precision="bf16")
>>> step = Tiled(per_tile="35.47 ms", tile=128, per_step="11.28 ms").seconds(placement)
>>> round(float(step(100, 0, 0, 29, 0, 0)), 5)    # 129 tokens: two tiles
0.08222
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from secondorder.quantities import Checked, Count, Duration, NonNegative, si
from secondorder.scenarios.steptime import Placement, StepFunction, StepSeconds


class TiledCoefficients(NamedTuple):
    """Of a step, of a tile, and of a token, in s; ``tile`` in tokens."""

    per_step: float
    per_tile: float
    tile: int
    per_token: float


def tiled_seconds(c: TiledCoefficients, P: Any, A: Any, C: Any, D: Any, K: Any, S: Any) -> Any:
    """``per_step + per_tile ceil((P + D)/tile) + per_token (P + D)``."""
    return c.per_step + c.per_tile * np.ceil((P + D) / c.tile) + c.per_token * (P + D)


@dataclass(frozen=True, kw_only=True)
class Tiled(Checked):
    """Steps whose matrices are computed in tiles of ``tile`` tokens; the engine on SimPy knows them.

    - ``per_tile``: time of a tile, full or not; ``tile``: its tokens.
    - ``per_step``, ``per_token``: time of each step, and of each token in it, in s.
    """

    per_tile: Duration
    tile: Count
    per_step: Duration = "0 s"
    per_token: NonNegative = 0.0

    def seconds(self, placement: Placement) -> StepSeconds:
        """The step time as a function, the same for any placement."""
        return StepFunction(
            tiled_seconds, TiledCoefficients(si(self.per_step), si(self.per_tile), self.tile, self.per_token)
        )
