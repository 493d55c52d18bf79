"""How far measured step times lay from those of a datasheet, and which of these an answer rests on."""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import NamedTuple, Protocol, runtime_checkable


class StepBand(NamedTuple):
    """Between ``low`` and ``high`` times the predicted step lay nine in ten measured ones.

    Nothing is known of efficiencies that someone chose, nor of data-parallel ranks: 0 to infinity.

    >>> StepBand(0.65, 1.41).sentence
    'step times from a datasheet: nine in ten measured are 0.65 to 1.41 times as long'
    >>> UNKNOWN.sentence
    'step times from a datasheet: how far off measured ones are is not known here'
    """

    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether it was ever measured."""
        return math.isfinite(self.high)

    @property
    def sentence(self) -> str:
        """The line that a table ends with."""
        if not self.known:
            return "step times from a datasheet: how far off measured ones are is not known here"
        return f"step times from a datasheet: nine in ten measured are {self.low:.2f} to {self.high:.2f} times as long"


UNKNOWN = StepBand(0.0, math.inf)
"""Of efficiencies that someone chose or fitted, and of data-parallel ranks."""


def step_band(scenario: object) -> StepBand | None:
    """The widest band of the engines that a scenario has; None where no step time comes from a datasheet.

    >>> import secondorder as so
    >>> chat = so.Serving(model=so.models.llama_3_1_8b, accelerator=so.accelerators.h100_sxm,
    ...     arrivals=so.Poisson("8 request/s"), lengths=so.lengths.azure_conv_2023)
    >>> step_band(so.Deployment(serving=chat)) == so.Roofline().band, step_band(so.Queue(
    ...     arrivals="poisson 8 request/s", service="exponential 100 ms"))
    (True, None)
    """
    found = [band for engine in engines_in(scenario) if (band := _band_of(engine)) is not None]
    return StepBand(min(each.low for each in found), max(each.high for each in found)) if found else None


@runtime_checkable
class Engine(Protocol):
    """What has a step time and is placed on accelerators: a service."""

    step_time: object
    placement: object
    data_parallel_size: int

    def check_one_scheduler(self, what: str) -> None:
        """Refuse data-parallel ranks."""

    def check_one_stage(self, what: str) -> None:
        """Refuse pipeline-parallel stages."""

    def check_one_cache(self, what: str) -> None:
        """Refuse tiers below the cache."""


def _band_of(engine: Engine) -> StepBand | None:
    """That of its step time, which was measured on engines of one rank."""
    band: StepBand | None = getattr(engine.step_time, "band", None)
    alone = engine.data_parallel_size == 1 == getattr(engine, "pipeline_parallel_size", 1)
    return band if band is None or alone else UNKNOWN


def engines_in(part: object) -> Iterator[Engine]:
    """The engines in a scenario: itself, or in its fields."""
    if isinstance(part, Engine):
        yield part
    elif is_dataclass(part):
        for each in fields(part):
            yield from engines_in(getattr(part, each.name))
