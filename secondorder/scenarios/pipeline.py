"""A pipeline of stages through which microbatches pass, forward and back.

>>> pipeline = Pipeline(stages=8, microbatches=32, forward="10 ms", backward="20 ms", jitter="lognormal scv=0.09")
>>> pipeline.schedule, pipeline.seconds
('1f1b', (0.01, 0.02))
"""

from collections.abc import Mapping
from dataclasses import dataclass

from secondorder.errors import InputError, UnknownName
from secondorder.laws import Deterministic, Service, Time, Timed
from secondorder.quantities import Count, Duration, si
from secondorder.scenarios.collective import check_jitter, read_factors

SCHEDULES = ("gpipe", "1f1b", "interleaved", "forward")


@dataclass(frozen=True, kw_only=True)
class Pipeline(Timed):
    """``microbatches`` through ``stages``, by a ``schedule``.

    - ``schedule``: gpipe (all forward, then all backward), 1f1b (one forward, one backward), interleaved
      (1f1b with ``interleaving`` chunks of the model a stage), or forward (only the forward wave).
    - ``forward``, ``backward``: a time or a law, of one microbatch on all of a stage; a chunk takes its share.
      Each pass draws anew. ``backward`` is due unless the schedule is forward.
    - ``send``: what comes from one stage to the next comes so much later; it keeps no stage busy.
    - ``jitter``: a law of mean 1 as a factor on each pass, drawn anew ("lognormal scv=0.09").
    - ``slow_stages``: factors that stay on all passes of a stage: ``{2: 1.3}``; stages count from 0.

    Errors: ``InputError`` for what cannot be meant, in one line.
    """

    _times = ("forward", "backward")
    _shapes = ("jitter",)
    stages: Count
    microbatches: Count
    schedule: str = "1f1b"
    interleaving: Count = 1
    forward: Time
    backward: Time | None = None
    send: Duration | None = None
    jitter: Service | str | None = None
    slow_stages: Mapping[int, float] | Mapping[str, float] | None = None
    name: str = "pipeline"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule not in SCHEDULES:
            raise UnknownName.among("schedule", self.schedule, SCHEDULES)
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
        """Of each stage, on the times of its passes."""
        assert isinstance(self.slow_stages, dict)
        return tuple(self.slow_stages.get(stage, 1.0) for stage in range(self.stages))

    def chances(self, name: str) -> tuple[Service, ...]:
        """The laws whose product is the time of a pass (``forward`` or ``backward``): those that are not constant."""
        laws = [self.law(name), *([self.law("jitter")] if self.jitter is not None else [])]
        return tuple(law for law in laws if not isinstance(law, Deterministic))
