"""A service whose clients wait for their answers: a limit on the requests at a time, or users who think in between.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.arrivals import Poisson
>>> from secondorder.workloads.lengths import Lengths
>>> from secondorder.workloads.models import models
>>> serving = Serving(
...     model=models.llama_3_1_8b, accelerator=accelerators.h100_sxm,
...     arrivals=Poisson("8 request/s"), lengths=Lengths(input=1024, output=256))
>>> ClosedLoop(serving=serving, max_concurrency=32).think
0.0
"""

from dataclasses import dataclass

from secondorder.errors import InputError
from secondorder.quantities import Checked, Count, Duration, si
from secondorder.scenarios.serving import Serving
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.traces import Trace


@dataclass(frozen=True, kw_only=True)
class ClosedLoop(Checked):
    """A service with at most ``max_concurrency`` requests at a time, as vLLM's load generator drives it.

    - ``serving``: the service. Its arrivals count only if they are ``offered``.
    - ``max_concurrency``: requests that are sent and not yet answered, at most; the number of users.
    - ``offered``: whether requests come by the service's arrivals and wait for a free place before they are sent; else
      each answer is followed by the next request (the load generator's "--request-rate inf").
    - ``think_time``: mean time from an answer to the same user's next request, exponential ("2 s").
    - ``name``: name of the scenario in results.

    Latencies are measured from when a request is sent. Errors: ``InputError`` for a think time beside offered
    arrivals, and for a whole trace.
    """

    serving: Serving
    max_concurrency: Count
    offered: bool = False
    think_time: Duration = "0 s"
    name: str = "closed loop"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.offered and self.think:
            raise InputError("think_time", given=self.think_time, expected="0 s where the arrivals are offered")
        if isinstance(self.serving.arrivals, Trace):
            raise InputError(
                "serving.arrivals",
                given="a whole trace",
                expected="a law of arrivals, and lengths",
                remedy="pass arrivals=trace.arrivals and lengths=trace.lengths",
            )

    @property
    def think(self) -> float:
        """Mean think time, s."""
        return si(self.think_time)

    @property
    def follows_at_once(self) -> bool:
        """Whether each answer is followed by the next request without delay."""
        return not self.offered and not self.think

    @property
    def memoryless(self) -> bool:
        """Whether offered arrivals are a Poisson stream."""
        return isinstance(self.serving.arrivals, Poisson)
