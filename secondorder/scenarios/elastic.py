"""Elastic data parallelism: replicas of the model continue while one of them recovers.

>>> elastic = Elastic(replicas=128, shared=0.1, regroup="10 s", reload="2 min")
>>> elastic.replicas, elastic.fewest
(128, 1)
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from secondorder.errors import InputError
from secondorder.quantities import Checked, Count, Duration


@dataclass(frozen=True, kw_only=True)
class Elastic(Checked):
    """When one replica fails, the others continue with their shares of the work.

    - ``replicas``: data-parallel replicas, all of which fail equally often.
    - ``shared``: share of failures that stop all replicas at once (software, network, storage); these send the run
      back to its last checkpoint.
    - ``regroup``: time for which the other replicas stop when one leaves or comes back ("10 s").
    - ``reload``: time in which a replica starts and loads its state from a neighbour ("2 min"), after detection and
      replacement.
    - ``fewest``: replicas below which the run waits for one to come back.

    With ``u`` of ``N`` replicas a step takes as long as ever and does ``u/N`` of its work. An interval between
    checkpoints is running time, whatever the number of replicas. A write that a change of replicas cuts short goes on
    after it. A replica that is down does not fail. Where all replicas are down at once, their state is lost.
    """

    replicas: Annotated[int, Ge(2)]
    shared: Annotated[float, Ge(0), Le(1)]
    regroup: Duration = "0 s"
    reload: Duration = "0 s"
    fewest: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fewest > self.replicas:
            raise InputError("fewest", given=self.fewest, expected=f"at most the {self.replicas} replicas")
