"""A pipeline of stages through which microbatches pass, forward and back.

>>> pipeline = Pipeline(stages=8, microbatches=32, forward="10 ms", backward="20 ms", jitter="lognormal scv=0.09")
>>> pipeline.schedule, pipeline.seconds
('1f1b', (0.01, 0.02))
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from annotated_types import Ge, Le

from secondorder.errors import InputError, UnknownName
from secondorder.laws import Deterministic, Service, Time, Timed
from secondorder.quantities import Count, Duration, si
from secondorder.scenarios.collective import check_jitter, read_factors

Schedule = Literal["gpipe", "1f1b", "interleaved", "forward"]


@dataclass(frozen=True, kw_only=True)
class Pipeline(Timed):
    """``microbatches`` through ``stages``, by a ``schedule``.

    - ``stages``: stages of the pipeline.
    - ``microbatches``: microbatches of a step.
    - ``schedule``: order of the passes: all forward then all backward (gpipe), one forward one backward (1f1b), the
      same with several chunks of layers on a stage (interleaved), or the forward wave alone (forward).
    - ``interleaving``: chunks of the model on a stage, for interleaved only.
    - ``forward``: time of one microbatch's forward pass on all of a stage, or its law ("10 ms", "lognormal 10 ms
      scv=0.1").
    - ``backward``: time of the backward pass ("20 ms"), required unless the schedule is forward.
    - ``send``: delay from one stage to the next, in which no stage is busy ("200 us").
    - ``jitter``: law of a factor of mean 1, drawn for each pass ("lognormal scv=0.09").
    - ``slow_stages``: factors on all passes of a slow stage, counted from 0 ({"2": 1.3}).
    - ``name``: name of the scenario in results.

    A chunk takes its share of a pass; each pass draws again from the laws.

    Errors: ``InputError`` for contradictory values, in one line.
    """

    _times = ("forward", "backward")
    _shapes = ("jitter",)
    stages: Annotated[int, Ge(1), Le(100_000)]
    microbatches: Annotated[int, Ge(1), Le(1_000_000)]
    schedule: Schedule = "1f1b"
    interleaving: Count = 1
    forward: Time
    backward: Time | None = None
    send: Duration | None = None
    jitter: Service | str | None = None
    slow_stages: Mapping[int, float] | Mapping[str, float] | None = None
    name: str = "pipeline"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule not in get_args(Schedule):
            raise UnknownName.among("schedule", self.schedule, get_args(Schedule))
        if (self.schedule == "forward") == (self.backward is not None):
            given = "a time with the schedule forward" if self.backward is not None else None
            raise InputError("backward", given=given, expected="a time, or none with the schedule forward")
        if (self.schedule == "interleaved") != (self.interleaving > 1):
            expected = "at least 2 with the schedule interleaved, else 1"
            raise InputError("interleaving", given=self.interleaving, expected=expected)
        if self.schedule == "interleaved" and self.stages < 2:
            raise InputError("stages", given=self.stages, expected="at least 2 with the schedule interleaved")
        if self.schedule == "interleaved" and self.microbatches % self.stages:
            given, expected = f"{self.microbatches} in {self.stages} stages", "a multiple of stages, when interleaved"
            raise InputError("microbatches", given=given, expected=expected)
        check_jitter(self.jitter)
        object.__setattr__(self, "slow_stages", read_factors("slow_stages", self.slow_stages, "stage", self.stages))

    @property
    def seconds(self) -> tuple[float, float]:
        """Mean times in s of a forward and a backward pass on a stage that is not slow."""
        return self.law("forward").moment(1), self.law("backward").moment(1) if self.backward is not None else 0.0

    @property
    def send_seconds(self) -> float:
        """0 where none is given."""
        return si(self.send) if self.send is not None else 0.0

    @property
    def factors(self) -> tuple[float, ...]:
        """Factor of each stage on the times of its passes."""
        assert isinstance(self.slow_stages, dict)
        return tuple(self.slow_stages.get(stage, 1.0) for stage in range(self.stages))

    def chances(self, name: str) -> tuple[Service, ...]:
        """The laws whose product is the time of a pass (``forward`` or ``backward``): those that are not constant."""
        laws = [self.law(name), *([self.law("jitter")] if self.jitter is not None else [])]
        return tuple(law for law in laws if not isinstance(law, Deterministic))
