"""Where the wall time goes, on average, from one failure or checkpoint to the next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """Mean amounts of one cycle, all to the same scale: only their shares matter.

    ``kept`` work and ``checkpoint`` time that no failure destroyed; ``restart``; ``downtime``; and
    ``rework``, the work and the checkpoint time that were destroyed: all that is left of ``total``.
    ``done`` is the kept work at the mean time of its steps; it differs from ``kept`` where steps vary.

    >>> cycle = Cycle(kept=80.0, checkpoint=5.0, restart=5.0, downtime=4.0, total=100.0)
    >>> cycle.goodput, cycle.shares["rework_share"]
    (0.8, 0.06)
    """

    kept: float
    checkpoint: float
    restart: float
    downtime: float
    total: float
    done: float | None = None

    @property
    def goodput(self) -> float:
        """Share of the wall time that is work kept."""
        return self.kept / self.total

    @property
    def progress(self) -> float:
        """Work done, each step at its mean time, per wall time: the goodput where steps do not vary."""
        return self.goodput if self.done is None else self.done / self.total

    @property
    def shares(self) -> dict[str, float]:
        """Shares of the wall time, the goodput among them; they add to 1."""
        rework = max(self.total - self.kept - self.checkpoint - self.restart - self.downtime, 0.0)
        amounts = {
            "goodput": self.kept,
            "checkpoint_share": self.checkpoint,
            "rework_share": rework,
            "restart_share": self.restart,
            "downtime_share": self.downtime,
        }
        return {name: amount / self.total for name, amount in amounts.items()}


def in_turn(parts: Sequence[tuple[float, Cycle]]) -> Cycle:
    """One cycle after the other, each repeated until it has done so much work (s): ``sum W_k / (sum W_k / g_k)``.

    *Exact* for ratios of means. Its total is 1. Where one of them makes no headway the run stays in it.
    *Source*: means add.

    >>> slow, fast = Cycle(kept=1.0, checkpoint=0.0, restart=1.0, downtime=0.0, total=2.0), Cycle(
    ...     kept=1.0, checkpoint=0.0, restart=0.0, downtime=0.0, total=1.0)
    >>> in_turn([(10.0, slow), (20.0, fast)]).shares["restart_share"]
    0.25
    """
    if len(parts) == 1:
        return parts[0][1]
    times = [work / cycle.progress if cycle.progress > 0 else math.inf for work, cycle in parts]
    total = sum(times)
    if math.isinf(total):
        return parts[times.index(max(times))][1]
    shared = [(time / total, cycle.shares) for time, (_, cycle) in zip(times, parts, strict=True)]

    def mean(name: str) -> float:
        return sum(weight * shares[name] for weight, shares in shared)

    return Cycle(
        kept=mean("goodput"),
        checkpoint=mean("checkpoint_share"),
        restart=mean("restart_share"),
        downtime=mean("downtime_share"),
        total=1.0,
        done=sum(work for work, _ in parts) / total,
    )
