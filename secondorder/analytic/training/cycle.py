"""Where the wall time goes, on average, from one failure or checkpoint to the next."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """Mean amounts of one cycle, all to the same scale: only their shares matter.

    ``kept`` work and ``checkpoint`` time that no failure destroyed; ``restart``; ``downtime``; and
    ``rework``, the work and the checkpoint time that were destroyed: all that is left of ``total``.

    >>> cycle = Cycle(kept=80.0, checkpoint=5.0, restart=5.0, downtime=4.0, total=100.0)
    >>> cycle.goodput, cycle.shares["rework_share"]
    (0.8, 0.06)
    """

    kept: float
    checkpoint: float
    restart: float
    downtime: float
    total: float

    @property
    def goodput(self) -> float:
        """Share of the wall time that is work kept."""
        return self.kept / self.total

    @property
    def shares(self) -> dict[str, float]:
        """Of the wall time, with the goodput; they add to 1."""
        rework = max(self.total - self.kept - self.checkpoint - self.restart - self.downtime, 0.0)
        amounts = {
            "goodput": self.kept,
            "checkpoint_share": self.checkpoint,
            "rework_share": rework,
            "restart_share": self.restart,
            "downtime_share": self.downtime,
        }
        return {name: amount / self.total for name, amount in amounts.items()}
