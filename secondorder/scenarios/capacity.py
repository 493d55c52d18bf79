"""How many replicas a load takes: the load, one replica, and what must be kept.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.lengths import Lengths
>>> from secondorder.workloads.models import models
>>> replica = Serving(
...     model=models.llama_3_1_8b, accelerator=accelerators.h100_sxm, max_num_seqs=32,
...     arrivals=Poisson("1 request/s"), lengths=Lengths(input=1920, output=128))
>>> capacity = Capacity(serving=replica, rate="50 request/s", e2el_p99="5 s")
>>> capacity.objectives, capacity.replica(4).rate
({'e2el_p99': 5.0}, 12.5)
"""

from dataclasses import dataclass, replace
from typing import Annotated

from secondorder.errors import InputError
from secondorder.quantities import Checked, Quantity, Rate, Unit, registry, si
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.objectives import Objective, check_objectives, objectives_of
from secondorder.scenarios.router import Router
from secondorder.scenarios.serving import Serving
from secondorder.workloads.arrivals import Poisson

Price = Annotated[Quantity | str, Unit("USD/hour", positive=True)]


@dataclass(frozen=True, kw_only=True)
class Capacity(Checked):
    """Identical replicas of ``serving`` that share ``rate`` request/s.

    - ``serving``: one replica; the law of its arrivals is that of the whole load, and their rate is not used.
    - ``rate``: rate of all requests together ("50 request/s").
    - ``ttft_p99``: limit on the p99 of the time to first token ("500 ms"); one of the three objectives
      is required.
    - ``tpot_p99``: limit on the p99 of the time per output token after the first ("50 ms").
    - ``e2el_p99``: limit on the p99 of the time to the last token ("5 s").
    - ``price``: price of one accelerator ("2 USD/hour"); without it no cost is shown.
    - ``router``: rule that picks a replica (least-outstanding); random if not given.
    - ``name``: name of the scenario in results.

    At least one of the three objectives is required. A random split of Poisson arrivals is Poisson, so that a replica
    alone, at its share, stands for all: it is simulated unless a router is given. With a router, which other arrivals
    and traces need, all replicas are simulated; a router that looks at the queues does better than a random split.

    Errors: ``InputError`` without an objective, or without a router for arrivals whose random split is not of their
    own kind.
    """

    serving: Serving
    rate: Rate
    ttft_p99: Objective | None = None
    tpot_p99: Objective | None = None
    e2el_p99: Objective | None = None
    price: Price | None = None
    router: Router | None = None
    name: str = "capacity"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_objectives(self.objectives, self.serving)
        if self.router is None and not isinstance(self.serving.arrivals, Poisson):
            given = type(self.serving.arrivals).__name__
            expected = "Poisson arrivals, whose random split is Poisson again"
            remedy = "name a router: all replicas are then simulated together"
            raise InputError("serving.arrivals", given=given, expected=expected, remedy=remedy)

    @property
    def objectives(self) -> dict[str, float]:
        """Those that are given, in s."""
        return objectives_of(self)

    @property
    def total_rate(self) -> float:
        """Rate of all requests in request/s."""
        return si(self.rate)

    def replica(self, replicas: int) -> Serving:
        """One replica out of this many, at its share of the rate."""
        share = registry.Quantity(self.total_rate / replicas, "request/s")
        return replace(self.serving, arrivals=self.serving.arrivals.at(share), name=self.name)

    @property
    def whole(self) -> Serving:
        """The service with the load of all replicas."""
        return replace(self.serving, arrivals=self.serving.arrivals.at(self.rate))

    def deployment(self, replicas: int) -> Deployment:
        """A number of replicas behind the router, with the whole load."""
        assert self.router is not None
        return Deployment(serving=self.whole, replicas=replicas, router=self.router, name=self.name)

    def cost_rate(self, replicas: int) -> float | None:
        """USD/s of this many replicas; None where no price is given."""
        return None if self.price is None else si(self.price) / 3600 * replicas * self.serving.tensor_parallel_size
