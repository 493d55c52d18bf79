"""A collective operation among ranks."""

from dataclasses import dataclass

from secondorder.fleets.clusters import Link
from secondorder.quantities import Checked, Count, DataSize


@dataclass(frozen=True, kw_only=True)
class Collective(Checked):
    """An operation on ``size`` bytes among ``ranks``."""

    ranks: Count
    size: DataSize
    link: Link
    name: str = "collective"
