"""A pipeline of stages through which microbatches pass."""

from dataclasses import dataclass

from secondorder.laws import Time, Timed
from secondorder.quantities import Count


@dataclass(frozen=True, kw_only=True)
class Pipeline(Timed):
    """``microbatches`` through ``stages``."""

    _times = ("forward",)
    stages: Count
    microbatches: Count
    forward: Time
    name: str = "pipeline"
