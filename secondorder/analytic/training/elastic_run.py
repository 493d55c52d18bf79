"""An elastic run read for its closed forms: failures of the whole run roll it back; the others only slow it down.

- Order 1: means; a failure of one replica costs its share of the work while it recovers, and twice the time to regroup.
- Order 2: the replicas that are up are binomial; between failures of the whole run an interval takes the longer for
  the pauses in it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from secondorder.analytic.training.cycle import Cycle
from secondorder.analytic.training.elastic import all_down, running, too_few, up_share, wait_for_node
from secondorder.analytic.training.gap_survival import exponential_gap
from secondorder.analytic.training.run import Run
from secondorder.answers.declared import TRAINING
from secondorder.answers.estimate import Rung, approximation, rungs
from secondorder.quantities import si
from secondorder.scenarios.elastic import Elastic
from secondorder.scenarios.training import AsyncCheckpoint
from secondorder.scenarios.training_step import TrainingStep

FIRST_ORDER = "first-order waste of an elastic run"
BINOMIAL = "replicas that alternate, renewal reward"
RARE = 1e-3
"""Times that all replicas are down at once, beyond which a run is outside the domain."""
SHORT = 0.01


@dataclass(frozen=True, kw_only=True)
class ElasticRun:
    """A run, and what follows from its replicas. Times in s."""

    run: Run
    elastic: Elastic

    @cached_property
    def alone(self) -> float:
        """Share of failures that stop one replica."""
        return 1 - self.elastic.shared

    @cached_property
    def lifetime(self) -> float:
        """Mean time that a replica is up; infinite where none fails alone."""
        return self.elastic.replicas * self.run.mtbf / self.alone if self.alone > 0 else math.inf

    @cached_property
    def wait(self) -> float:
        """Mean wait of a failed replica for a node."""
        spares = self.run.scenario.spares
        if spares is None or self.alone == 0:
            return 0.0
        tries = 1 / (1 - self.run.scenario.recovery.misdiagnosed)
        return tries * wait_for_node(
            replicas=self.elastic.replicas,
            lifetime=self.lifetime / tries,
            repair=spares.absence,
            spares=spares.count,
            crews=spares.crews,
        )

    @cached_property
    def heal(self) -> float:
        """Mean time that a replica is down: detection, replacement and reload, as often as it takes, and the wait."""
        recovery = self.run.scenario.recovery
        once = recovery.downtime + si(self.elastic.reload)
        return once / (1 - recovery.misdiagnosed) + self.wait

    @cached_property
    def working(self) -> tuple[float, float]:
        """Share of the running time that is not spent regrouping, and the share of the replicas that is up then."""
        if math.isinf(self.lifetime):
            return 1.0, 1.0
        return running(
            replicas=self.elastic.replicas,
            lifetime=self.lifetime,
            heal=self.heal,
            regroup=si(self.elastic.regroup),
            fewest=self.elastic.fewest,
        )

    @cached_property
    def starved(self) -> float:
        """Share of the running time in which fewer replicas are up than are needed."""
        if math.isinf(self.lifetime):
            return 0.0
        up = up_share(lifetime=self.lifetime, heal=self.heal)
        return too_few(replicas=self.elastic.replicas, up=up, fewest=self.elastic.fewest)

    @property
    def shared_mtbf(self) -> float:
        """Mean time between failures of the whole run."""
        return self.run.mtbf / self.elastic.shared if self.elastic.shared > 0 else math.inf

    @property
    def shared_downtime(self) -> float:
        """After a failure of the whole run: no node is sent to repair."""
        recovery = self.run.scenario.recovery
        return recovery.downtime + recovery.vain

    # Order 1

    @cached_property
    def first_order(self) -> dict[str, float]:
        """Shares of the wall time by their means."""
        run, c, m = self.run, self.elastic.shared, self.run.mtbf
        drain = run.write if isinstance(run.scenario.policy, AsyncCheckpoint) else 0.0
        writes = run.blocking / run.interval
        rework = c * (run.interval / 2 + drain) / m
        restart = (c * run.restart + 2 * self.alone * si(self.elastic.regroup)) / m
        down = c * self.shared_downtime / m + self.heal / self.lifetime
        return {
            "goodput": 1 - writes - rework - restart - down,
            "checkpoint_share": writes,
            "rework_share": rework,
            "restart_share": restart,
            "downtime_share": down,
        }

    # Order 2

    @cached_property
    def shares(self) -> dict[str, float]:
        """Shares of the wall time, where an interval takes the longer for the pauses in it."""
        share, up = self.working
        tau, stop = self.run.interval, self.run.blocking
        longer = (tau + stop) / share - stop
        if math.isinf(self.shared_mtbf):
            whole = Cycle(kept=longer, checkpoint=stop, restart=0.0, downtime=0.0, total=longer + stop).shares
        else:
            whole = self.run.cycle_of([longer], exponential_gap(self.shared_mtbf), self.shared_downtime).shares
        kept = whole["goodput"] * tau / longer
        lost = whole["rework_share"] * share
        work_lost = lost * tau / (tau + stop)
        paused = whole["goodput"] - kept + whole["rework_share"] - lost
        starved = paused * self.starved / (1 - share) if share < 1 else 0.0
        return {
            "goodput": kept * up,
            "checkpoint_share": whole["checkpoint_share"],
            "rework_share": lost - work_lost * (1 - up),
            "restart_share": whole["restart_share"] + paused - starved,
            "downtime_share": whole["downtime_share"] + starved + (kept + work_lost) * (1 - up),
        }

    # Rungs

    @cached_property
    def wall(self) -> float:
        """How long the run lasts."""
        if self.run.scenario.duration is not None:
            return si(self.run.scenario.duration)
        assert self.run.work is not None
        goodput = self.shares["goodput"]
        return self.run.work / goodput if goodput > 0 else math.inf

    def rungs(self) -> Iterator[Rung]:
        """Orders 1 and 2."""
        first = "; ".join(self._first_order_fails())
        note = "times far below the time between failures"
        yield from rungs(
            TRAINING, 1, FIRST_ORDER, approximation(note, outside=first), self._with_pace(self.first_order)
        )
        standing = approximation("replicas heal independently", outside="; ".join(self._fails()))
        yield from rungs(TRAINING, 2, BINOMIAL, standing, self._with_pace(self.shares))
        yield from self._counts()
        if self.run.scenario.spares is not None:
            waiting = self.wait / (self.lifetime + self.heal)
            node = approximation("share of replicas not waiting for a node", outside="; ".join(self._spares_fail()))
            yield from rungs(TRAINING, 2, "birth-death chain of repairs", node, {"availability": 1 - waiting})

    def _with_pace(self, shares: dict[str, float]) -> dict[str, float]:
        """The shares, and what follows from the goodput."""
        amounts, goodput, step = dict(shares), shares["goodput"], self.run.scenario.step
        if self.run.work is not None and goodput > 0:
            amounts["time_to_train"] = self.run.work / goodput
        if isinstance(step, TrainingStep):
            assert self.run.step is not None
            amounts["throughput"] = goodput * step.job.tokens / self.run.step
        return amounts

    def _counts(self) -> Iterator[Rung]:
        up = self.lifetime / (self.lifetime + self.heal) if self.alone > 0 else 1.0
        seen = self.elastic.shared + self.alone * up
        mean = self.wall * seen / (self.run.mtbf + self.elastic.shared * self.shared_downtime)
        outside = "failures are taken as Poisson" if not self.run.poisson else ""
        known = approximation("those of replicas that are up", outside=outside)
        yield from rungs(TRAINING, 1, "rates add", known, {"failures_mean": mean})

    def _first_order_fails(self) -> Iterator[str]:
        size = 1 - self.first_order["goodput"]
        if size**2 > SHORT:
            yield f"what is lost is {size:.3g} of the time"

    def _fails(self) -> Iterator[str]:
        run, elastic = self.run, self.elastic
        if not run.poisson:
            yield "failures are taken as Poisson"
        if self.alone > 0:
            down = all_down(replicas=elastic.replicas, lifetime=self.lifetime, heal=self.heal, horizon=self.wall)
            if down > RARE:
                yield f"all replicas are down at once {down:.2g} times, which is left out"
            if si(elastic.regroup) > self.heal > 0:
                yield "replicas heal sooner than the others regroup"
        start = min(run.restart, self.shared_mtbf) + run.interval + run.blocking + self.heal * (1 - self.working[1])
        if start > SHORT * self.wall:
            yield f"the run is short: its start and end may weigh {start / self.wall:.2g}"
        yield from self._spares_fail()

    def _spares_fail(self) -> Iterator[str]:
        if self.run.scenario.spares is not None and self.wait > SHORT * self.heal:
            yield "replicas that wait for a node wait together"
