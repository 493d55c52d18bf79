"""A training run whose allocations end, read for its closed forms."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypedDict

from secondorder.analytic.training.allocations import (
    first_order_goodput_of_allocations,
    work_of_allocation,
    work_without_failures,
)
from secondorder.analytic.training.run import Run
from secondorder.answers.declared import TRAINING
from secondorder.answers.estimate import Rung, approximation, bound, exact, rungs
from secondorder.quantities import si
from secondorder.scenarios.allocation import Allocation

SHORT = 0.01
"""Square of the share that is lost, and weight of the run's start and end, beyond which a form is out of its domain."""


class _Times(TypedDict):
    usable: float
    interval: float
    write: float
    restart: float
    last_write: bool


@dataclass(frozen=True, kw_only=True)
class AllocatedRun:
    """The run and its allocations."""

    run: Run
    allocation: Allocation

    @property
    def goodput(self) -> float:
        """Work that one allocation keeps, over the time to the next: the long run of Poisson failures."""
        kept = work_of_allocation(**self._times, mtbf=self.run.mtbf, downtime=self.run.own_downtime)
        return kept / self.allocation.period

    @property
    def quiet(self) -> float:
        """The same where nothing fails."""
        return work_without_failures(**self._times) / self.allocation.period

    @property
    def _times(self) -> _Times:
        """What both need to know, failures or not."""
        run, allocation = self.run, self.allocation
        return {
            "usable": allocation.usable,
            "interval": run.interval,
            "write": run.write,
            "restart": run.restart,
            "last_write": si(allocation.grace) > 0,
        }

    @property
    def first_order(self) -> float:
        """The same by means."""
        run, allocation = self.run, self.allocation
        return first_order_goodput_of_allocations(
            length=si(allocation.ends_after),
            grace=si(allocation.grace),
            requeue=si(allocation.requeue),
            interval=run.interval,
            write=run.write,
            mtbf=run.mtbf,
            restart=run.restart,
            downtime=run.own_downtime,
        )

    def rungs(self) -> Iterator[Rung]:
        """Orders 0 to 2."""
        yield from rungs(TRAINING, 0, "no failures", bound("nothing fails"), {"goodput": self.quiet})
        lost = 1 - self.first_order
        rough = f"what is lost is {lost:.3g} of the time" if lost**2 > SHORT else ""
        note = "times far below the time between failures and the length of an allocation"
        yield from rungs(
            TRAINING, 1, "first order (Young 1974)", approximation(note, outside=rough), {"goodput": self.first_order}
        )
        standing, source = exact("in the long run"), "renewal equation of an allocation"
        if outside := "; ".join(self._fails()):
            standing = approximation(outside=outside)
        yield from rungs(TRAINING, 2, source, standing, {"goodput": self.goodput})

    def _fails(self) -> Iterator[str]:
        if not self.run.poisson:
            yield "failures are taken as Poisson"
        if self.allocation.period > self.run.wall:
            yield "the run is shorter than an allocation"
        elif self.allocation.period > SHORT * self.run.wall:
            weight = self.allocation.period / self.run.wall
            yield f"the run is short: its first and its last allocation may weigh {weight:.2g}"
