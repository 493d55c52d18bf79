"""One step of training: a job, laid out on a cluster."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from secondorder.fleets.clusters import Cluster
from secondorder.laws import Service, Timed
from secondorder.quantities import Efficiency
from secondorder.workloads.training import TrainingJob


@dataclass(frozen=True, kw_only=True)
class TrainingStep(Timed):
    """One step of ``job`` on ``cluster``."""

    _shapes = ("jitter",)
    job: TrainingJob
    cluster: Cluster
    compute_efficiency: Efficiency = 0.5
    network_efficiency: Efficiency = 0.8
    jitter: Service | str | None = None
    buckets: Annotated[int, Ge(1)] = 8
    name: str = "training step"
