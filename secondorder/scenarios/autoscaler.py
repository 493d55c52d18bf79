"""How many replicas are on: as many as the outstanding requests take, within limits and after a cold start.

>>> str(Autoscaler(target=20, most=8, start="2 min"))
'autoscaler 20 most=8 start=120 s'
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from secondorder.errors import InputError
from secondorder.quantities import Count, Duration, Positive, Quantity, Unit
from secondorder.spelling import Spelled

Window = Annotated[Quantity | str, Unit("s", positive=True)]
FromZero = Annotated[int, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class Autoscaler(Spelled):
    """Replicas are started and stopped so that each has ``target`` outstanding requests, on average over a window.

    The number wanted is the outstanding requests over ``target``, rounded up. More are started at once, and serve after
    ``start``; fewer are wanted only ``cool_down`` after the last change: a replica then finishes what it has and stops.

    - ``target``: outstanding requests of a replica that are aimed at.
    - ``most``: replicas at most.
    - ``least``: replicas at least; 0 stops all where nothing is outstanding.
    - ``start``: time from the decision until a replica serves, its cache empty.
    - ``window``: time that outstanding requests are averaged over.
    - ``cool_down``: time after any change in which no replica is stopped.

    *Source*: the horizontal autoscaler of Kubernetes with a target on the average value of a metric (documentation,
    "Algorithm details"), and KServe's and Ray Serve's target of ongoing requests.
    """

    word: ClassVar[str] = "autoscaler"
    target: Positive
    most: Count
    least: FromZero = 1
    start: Duration = "3 min"
    window: Window = "30 s"
    cool_down: Duration = "5 min"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least > self.most:
            raise InputError("least", given=self.least, expected=f"at most the {self.most} of most")
