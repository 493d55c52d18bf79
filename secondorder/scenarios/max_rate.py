"""The highest rate at which a deployment meets objectives on p99.

>>> from secondorder.scenarios.serving import Serving
>>> chat = Serving(
...     model="llama_3_1_8b", accelerator="h100_sxm", arrivals="poisson 1 request/s", lengths="azure_conv_2023")
>>> MaxRate(deployment=Deployment(serving=chat, replicas=4), ttft_p99="500 ms").objectives
{'ttft_p99': 0.5}
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from secondorder.errors import InputError
from secondorder.quantities import Checked, si
from secondorder.scenarios.capacity import Price
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.objectives import Objective, check_objectives, objectives_of

Requests = Annotated[int, Ge(400)]


@dataclass(frozen=True, kw_only=True)
class MaxRate(Checked):
    """The highest rate at which the p99s of a deployment meet objectives.

    - ``deployment``: the deployment; the rate of its arrivals is what is sought, their law is kept.
    - ``ttft_p99``: limit on the p99 of the time to first token ("500 ms"); one of the three objectives
      is required.
    - ``tpot_p99``: limit on the p99 of the time per output token after the first ("50 ms").
    - ``e2el_p99``: limit on the p99 of the time to the last token ("5 s").
    - ``price``: price of one accelerator ("2 USD/hour"); without it no cost is shown.
    - ``requests``: requests of each simulated run; if not given they grow until the rate is known within 1 %.
    - ``name``: name of the scenario in results.

    Errors: ``InputError`` without an objective.
    """

    deployment: Deployment
    ttft_p99: Objective | None = None
    tpot_p99: Objective | None = None
    e2el_p99: Objective | None = None
    price: Price | None = None
    requests: Requests | None = None
    name: str = "max rate"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_objectives(self.objectives, self.deployment.serving)
        self.deployment.check_rate()
        if self.deployment.faults is not None and self.deployment.faults.moments:
            raise InputError(
                "faults",
                given="faults at stated times",
                expected="none, or failures at random: a rate is for the long run",
            )

    @property
    def objectives(self) -> dict[str, float]:
        """Those that are given, in s."""
        return objectives_of(self)

    @property
    def cost_rate(self) -> float | None:
        """USD/s of all replicas; None where no price is given."""
        if self.price is None:
            return None
        accelerators = sum(engine.tensor_parallel_size for engine in self.deployment.engines)
        return si(self.price) / 3600 * accelerators
