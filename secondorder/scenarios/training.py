"""A training run of weeks: steps, checkpoints, failures, restarts and repairs.

>>> run = Training(
...     failures="exponential 8240 s", checkpoint=Checkpoint(interval="994 s", write="60 s"),
...     recovery=Recovery(restart="300 s"))
>>> run.mtbf, run.write_seconds
(8240.0, 60.0)

Clocks: failures strike in work, in checkpoint writes and in restarts. They do not strike in a
downtime (detection, replacement, waiting for a repair): nothing runs then that could fail.

``interval`` is the WORK between checkpoints, the ``tau`` of the formulas, and not the period.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, TypeAlias

from annotated_types import Ge, Le

from secondorder.errors import InputError
from secondorder.fleets.clusters import Storage
from secondorder.fleets.failures import FailureProcess, FailureRates
from secondorder.laws import Time, Timed, time_law
from secondorder.quantities import Checked, Count, Duration, Efficiency, Unit, registry, si
from secondorder.scenarios.allocation import Allocation
from secondorder.scenarios.elastic import Elastic
from secondorder.scenarios.training_step import TrainingStep

# Checkpoints


class _Checkpoint(Checked):
    """What all kinds of checkpoint check, and say of themselves."""

    own_write = "write"  # field with the time of the write that goes to the storage

    interval: Duration

    def __post_init__(self) -> None:
        super().__post_init__()
        if si(self.interval) == 0:
            remedy = "a run without checkpoints starts from nothing after each failure: state the work it would lose"
            raise InputError("interval", given="0 s", expected="a positive quantity in s", remedy=remedy)

    def stop(self, write: float) -> float:
        """For how long a checkpoint stops the work, in s, where its own write takes ``write``."""
        return write


@dataclass(frozen=True, kw_only=True)
class Checkpoint(_Checkpoint):
    """Training stops for ``write`` after each ``interval`` of work.

    - ``interval``: work between two checkpoints ("30 min").
    - ``write``: time that a write stops the work ("60 s"); what the storage takes if not given.
    """

    interval: Duration
    write: Duration | None = None


@dataclass(frozen=True, kw_only=True)
class AsyncCheckpoint(_Checkpoint):
    """Training stops for ``pause`` (a copy to host memory); then a ``drain`` writes the copy while training goes on.

    - ``interval``: work between two checkpoints ("30 min").
    - ``pause``: asynchronous: time of the copy to host memory ("5 s").
    - ``drain``: asynchronous: time of the write in the background ("3 min"); what the storage takes if not given.

    There is one buffer: the next pause waits until the drain before it is over, so that a drain
    longer than the interval holds training up. A failure loses what is not yet drained: the run goes
    back to the last checkpoint that is. The drain is that of the storage's bandwidth where none is given.
    """

    own_write = "drain"

    interval: Duration
    pause: Duration
    drain: Duration | None = None

    def stop(self, write: float) -> float:
        return si(self.pause)


@dataclass(frozen=True, kw_only=True)
class TwoLevelCheckpoint(_Checkpoint):
    """A light checkpoint (``write``: memory of a peer, local disk) after each ``interval``; after every ``every``-th
    interval also a durable one (``durable_write``) right after it.

    - ``interval``: work between two light checkpoints ("5 min").
    - ``write``: time that a light write stops the work ("2 s").
    - ``every``: two levels: every N-th checkpoint is durable.
    - ``durable_write``: two levels: time of the durable write ("60 s"); what the storage takes if not given.
    - ``light_share``: two levels: share of failures from which the light checkpoint can recover.
    - ``light_restart``: two levels: time of a restart from the light checkpoint ("30 s").

    A share ``light_share`` of the failures can be made good from the light one, with ``light_restart``;
    the others go back to the durable one, with the run's own restart.
    """

    own_write = "durable_write"

    interval: Duration
    write: Duration
    every: Count
    durable_write: Duration | None = None
    light_share: Efficiency
    light_restart: Duration

    def stop(self, write: float) -> float:
        return si(self.write)


@dataclass(frozen=True, kw_only=True)
class VerifiedCheckpoint(_Checkpoint):
    """Silent errors, Poisson with mean time ``silent_mtbf`` between them, occur only during work; a ``verify`` before
    each write finds them, and the run returns to the previous checkpoint, which was verified.

    - ``interval``: work between two checkpoints ("30 min").
    - ``verify``: silent errors: time of the verification before each write ("5 s").
    - ``silent_mtbf``: silent errors: mean time between two of them ("9 h").
    - ``write``: time that a write stops the work ("60 s"); what the storage takes if not given.
    """

    interval: Duration
    verify: Duration
    silent_mtbf: Duration
    write: Duration | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if si(self.silent_mtbf) == 0:
            raise InputError("silent_mtbf", given="0 s", expected="a positive quantity in s")

    def stop(self, write: float) -> float:
        return si(self.verify) + write


CheckpointPolicy: TypeAlias = Checkpoint | AsyncCheckpoint | TwoLevelCheckpoint | VerifiedCheckpoint


# What follows a failure


@dataclass(frozen=True, kw_only=True)
class Recovery(Checked):
    """What happens between a failure and the return to work.

    - ``restart``: time from the end of the repair until work resumes, in which failures can strike ("5 min").
    - ``detection``: time until a failure is noticed; nothing fails during it ("30 s").
    - ``replacement``: time to replace what failed; nothing fails during it ("30 s").
    - ``misdiagnosed``: share of diagnoses that name a healthy node; the run then restarts without need.

    First a downtime in which nothing runs and nothing fails: ``detection`` until the failure is
    noticed, ``replacement`` of what failed. Then the ``restart`` (processes, loading of the checkpoint,
    warming up), in which the next failure may strike and which then begins again. After a false diagnosis the fault
    is still there: it shows at the end of the restart, and detection, replacement and restart follow again. Nothing
    else fails in such a vain attempt.
    """

    restart: Duration = "0 s"
    detection: Duration = "0 s"
    replacement: Duration = "0 s"
    misdiagnosed: Annotated[float, Ge(0), Le(0.99)] = 0.0

    @property
    def vain(self) -> float:
        """Mean time in s of the attempts after false diagnoses, of one failure: ``q/(1 - q)`` of them."""
        return self.misdiagnosed / (1 - self.misdiagnosed) * (self.downtime + si(self.restart))

    @property
    def downtime(self) -> float:
        """``detection + replacement`` in s."""
        return si(self.detection) + si(self.replacement)


@dataclass(frozen=True, kw_only=True)
class Spares(Timed):
    """Each failure sends a node to repair; one of ``count`` spares takes its place, or the run waits for a repair.

    - ``count``: spare nodes; if not given there is always one.
    - ``repair``: time of a repair, or its law ("lognormal 8 h scv=1"), required with spares.
    - ``crews``: repairs that may go on at once; no limit if not given.
    - ``failed_repairs``: share of repairs that do not mend the node, which is then repaired again.
    - ``retired``: share of failed nodes that are not repaired; a new one comes after a ``delivery``.
    - ``delivery``: time until a new node is there, or its law ("lognormal 20 day scv=0.5"), required with ``retired``.

    ``repair`` and ``delivery`` are laws or fixed times; ``crews`` repair one node each (as many as it takes where none
    are given). A node that was repaired or delivered is a spare, or ends the wait.
    """

    _times = ("repair", "delivery")
    count: Annotated[int, Ge(0)]
    repair: Time
    crews: Count | None = None
    failed_repairs: Annotated[float, Ge(0), Le(0.99)] = 0.0
    retired: Annotated[float, Ge(0), Le(1)] = 0.0
    delivery: Time | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.retired > 0) != (self.delivery is not None):
            given = "none" if self.delivery is None else f"one, with {self.retired:g} of the nodes retired"
            raise InputError("delivery", given=given, expected="a time if and only if nodes are retired")
        if self.retired > 0 and self.crews is not None:
            raise InputError(
                "crews", given="crews with nodes that are retired", expected="none: retired nodes are replaced"
            )

    @property
    def absence(self) -> float:
        """Mean time in s until a failed node, or a new one in its place, is there."""
        mended = self.law("repair").moment(1) / (1 - self.failed_repairs)
        if self.delivery is None:
            return mended
        return (1 - self.retired) * mended + self.retired * self.law("delivery").moment(1)


@dataclass(frozen=True, kw_only=True)
class Training(Checked):
    """A run that works, writes checkpoints, fails and recovers.

    - ``failures``: when the run fails: "exponential 3 h", "stationary 2048 weibull 6000 h shape=0.7", or rates of the
      zoo for the step's cluster (llama_3); the cluster's own if not given.
    - ``checkpoint``: what is written and when: "blocking 30 min write=60 s", "async 30 min pause=5 s drain=3 min", or
      one with two levels or with verification.
    - ``recovery``: times of detection, replacement and restart after a failure ("300 s detection=30 s").
    - ``spares``: spare nodes and their repair ({"count": 4, "repair": "lognormal 8 h scv=1"}); a failed node is
      replaced at once if not given.
    - ``elastic``: replicas that continue while one recovers ("128 shared=0.1 regroup=10 s reload=2 min"); if not given,
      every failure stops the whole run.
    - ``allocation``: planned ends of the run's allocations ("24 h grace=5 min requeue=30 min"); one that never ends if
      not given.
    - ``step``: time of a step or its law ("lognormal 4 s scv=0.01"), or a training step by its table; work is done
      continuously if not given.
    - ``storage``: storage that checkpoints go to, from the zoo (tectonic_llama_3), if writing times are to follow from
      their size; the cluster's own if not given.
    - ``duration``: length of the run ("54 day"); 30 days if no work is given either.
    - ``work``: work of the run instead of a duration, as time without failures and checkpoints ("20 day").
    - ``name``: name of the scenario in results.

    In Python ``failures`` may be a process of ``fleets.failures``, ``checkpoint`` is ``Checkpoint``,
    ``AsyncCheckpoint``, ``TwoLevelCheckpoint`` or ``VerifiedCheckpoint``, ``step`` a ``TrainingStep`` or a law. The run
    of a ``work`` ends when that is done.

    Errors: ``InputError`` for contradictory values.
    """

    failures: FailureProcess | FailureRates | str | None = None
    checkpoint: CheckpointPolicy | str
    recovery: Recovery = field(default_factory=Recovery)
    spares: Spares | None = None
    elastic: Elastic | None = None
    allocation: Allocation | None = None
    step: TrainingStep | Time | None = None
    storage: Storage | None = None
    duration: Duration | None = None
    work: Duration | None = None
    name: str = "training"

    def __post_init__(self) -> None:
        if self.step is not None and not isinstance(self.step, TrainingStep):
            object.__setattr__(self, "step", time_law(self.step, "step"))
        super().__post_init__()
        if self.storage is None and isinstance(self.step, TrainingStep):
            object.__setattr__(self, "storage", self.step.cluster.storage)
        object.__setattr__(self, "failures", self._process())
        if self.duration is not None and self.work is not None:
            raise InputError("work", given="work with a duration", expected="one of the two")
        if self.duration is None and self.work is None:
            object.__setattr__(self, "duration", Unit("s").read("30 day", "duration"))
        for name in ("duration", "work"):
            if (value := getattr(self, name)) is not None and si(value) == 0:
                raise InputError(name, given="0 s", expected="a positive quantity in s")
        self.write_seconds  # a write whose length nothing gives is refused here  # noqa: B018
        if self.elastic is not None:
            self._check_elastic(self.elastic)
        if self.allocation is not None:
            self._check_allocation(self.allocation)

    def _check_allocation(self, allocation: Allocation) -> None:
        shared = self.storage is not None and self.storage.other_write is not None
        beside = {
            f"a {type(self.policy).__name__}": not isinstance(self.policy, Checkpoint),
            "spares": self.spares is not None,
            "elastic replicas": self.elastic is not None,
            "steps": self.step is not None,
            "work instead of a duration": self.work is not None,
            "a storage path that others use": shared,
            "false diagnoses": self.recovery.misdiagnosed > 0,
        }
        if given := [what for what, there in beside.items() if there]:
            expected = "blocking checkpoints of continuous work over a duration, and nothing else"
            raise InputError("allocation", given=f"one with {', '.join(given)}", expected=expected)
        if 0 < si(allocation.grace) < self.write_seconds:
            expected = f"at least the {self.write_seconds:g} s of a write, or none"
            raise InputError("allocation.grace", given=allocation.grace, expected=expected)

    def _check_elastic(self, elastic: Elastic) -> None:
        if not isinstance(self.policy, Checkpoint | AsyncCheckpoint):
            given = f"elastic replicas with a {type(self.policy).__name__}"
            raise InputError("checkpoint", given=given, expected="blocking or asynchronous checkpoints")
        if self.storage is not None and self.storage.other_write is not None:
            given = "elastic replicas on a storage path that others use"
            raise InputError("storage", given=given, expected="storage that this run alone uses")
        if isinstance(self.step, TrainingStep) and self.step.job.layout.data_parallel != elastic.replicas:
            expected = f"the layout's {self.step.job.layout.data_parallel} data-parallel replicas"
            raise InputError("elastic.replicas", given=elastic.replicas, expected=expected)

    def _process(self) -> FailureProcess:
        given = self.failures
        if given is None:
            given = self.step.cluster.failures if isinstance(self.step, TrainingStep) else None
        if given is None:
            expected = 'a process of failures such as "exponential 3 h"'
            raise InputError("failures", given="none, and none of the cluster", expected=expected)
        if not isinstance(given, FailureRates):
            assert not isinstance(given, str)  # it has been read
            return given
        if not isinstance(self.step, TrainingStep):
            remedy = (
                "give a step with its cluster, or their number: accelerators on the command line, rates.process(16384)"
            )
            raise InputError(
                "failures", given=f"rates of one {given.per}", expected="how many there are", remedy=remedy
            )
        return given.process(self.step.cluster.count(given.per))

    # What follows from the fields

    @property
    def process(self) -> FailureProcess:
        """The process of failures, read."""
        assert isinstance(self.failures, FailureProcess)
        return self.failures

    @property
    def policy(self) -> CheckpointPolicy:
        """The checkpoints, read."""
        assert not isinstance(self.checkpoint, str)
        return self.checkpoint

    @property
    def mtbf(self) -> float:
        """Mean time between failures in the long run, in s of the failures' clock."""
        return self.process.mtbf

    @property
    def interval(self) -> float:
        """Work between checkpoints in s."""
        return si(self.policy.interval)

    @cached_property
    def write_seconds(self) -> float:
        """What a checkpoint's own write takes when nobody else writes, in s: of the drain, of the durable level."""
        word = self.policy.own_write
        given: Duration | None = getattr(self.policy, word)
        if given is not None:
            return si(given)
        if self.storage is None or not isinstance(self.step, TrainingStep):
            expected = "a time, or a step and a storage from which it follows"
            raise InputError(f"checkpoint.{word}", given="none", expected=expected)
        return self.step.cluster.write_seconds(self.step.job.checkpoint_bytes, self.storage)

    @property
    def blocking_seconds(self) -> float:
        """For how long a checkpoint stops the work where nobody else writes, in s; of two levels the light one."""
        return self.policy.stop(self.write_seconds)

    def at(self, interval: float) -> "Training":
        """The same run with another interval, in s."""
        checkpoint = replace(self.policy, interval=registry.Quantity(interval, "s"))
        return replace(self, checkpoint=checkpoint)
