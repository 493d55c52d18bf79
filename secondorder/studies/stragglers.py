"""Stragglers of recorded training steps: what the steps would take if all did alike, and what part costs how much."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from secondorder.analytic.training.step_replay import replayed_steps
from secondorder.arrays import Booleans, Floats
from secondorder.validation.explanation.shapley import shares
from secondorder.workloads.step_graph import COMPUTATIONS
from secondorder.workloads.step_trace import StepTrace

if TYPE_CHECKING:
    import pandas as pd

SLOWEST = 3
"""Percent of the ranks that are replaced together, at least one."""
PARTS: dict[str, tuple[str, ...]] = {
    "forward": ("forward-compute",),
    "backward": ("backward-compute",),
    "between stages": ("forward-send", "forward-recv", "backward-send", "backward-recv"),
    "between replicas": ("params-all-gather", "grads-reduce-scatter", "separate-grads-all-reduce"),
    "embedding": ("embedding-grads-all-reduce", "layernorm-grads-all-reduce"),
    "optimizer": ("optimizer", "optimizer-clip-main-grad", "gc"),
}
"""The kinds of operations, in groups few enough for every order of adding them."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What some operations cost, as times of a step (s).

    ``alone``: only these operations as recorded, all others ideal. ``without``: only these ideal. ``shapley``: this
    part of ``undelayed - ideal``, its mean over all orders of adding the parts; None where it was not asked for.
    """

    kind: str
    name: str
    alone: float
    without: float
    shapley: float | None = None


@dataclass(frozen=True, kw_only=True)
class StragglerStudy:
    """Mean times of a step (s): ``measured``, ``undelayed`` (no launch delays), ``ideal`` (every operation of a kind
    takes the same time), and the ``parts`` by type of operation, stage, replica and for the slowest ranks.

    ``launch_delay``: mean launch delay of an operation (s), by its kind. ``slowest``: stage and replica of each.
    """

    trace: StepTrace
    measured: float
    undelayed: float
    ideal: float
    parts: tuple[Part, ...]
    launch_delay: dict[str, float]
    slowest: tuple[tuple[int, int], ...]

    @property
    def slowdown(self) -> float:
        """``S = undelayed / ideal``: how much slower stragglers make a step."""
        return self.undelayed / self.ideal

    @property
    def launch_slowdown(self) -> float:
        """``measured / undelayed``: how much slower launch delays make a step."""
        return self.measured / self.undelayed

    def part(self, kind: str, name: str) -> Part:
        """One part by its kind (``type``, ``stage``, ``replica``, ``ranks``) and its name."""
        return next(part for part in self.parts if (part.kind, part.name) == (kind, name))

    def removed(self, part: Part) -> float:
        """Share of the slowdown that goes when these operations run at the ideal."""
        return self._share(self.undelayed - part.without)

    def added(self, part: Part) -> float:
        """Share of the slowdown that comes when these operations alone run as recorded."""
        return self._share(part.alone - self.ideal)

    @property
    def last_stage_share(self) -> float:
        """``M_S``: share of the slowdown that goes when the last stage runs at the ideal."""
        return self.removed(self.part("stage", str(self.trace.stages - 1)))

    @property
    def slowest_ranks_share(self) -> float:
        """``M_W``: share of the slowdown that goes when the slowest 3 % of the ranks run at the ideal."""
        return self.removed(self.part("ranks", "slowest"))

    @property
    def frame(self) -> "pd.DataFrame":
        """A row a part: kind, name, slowdown alone, shares added, removed, and Shapley's."""
        import pandas as pd

        rows = [
            {
                "kind": part.kind,
                "name": part.name,
                "slowdown": part.alone / self.ideal,
                "added": self.added(part),
                "removed": self.removed(part),
                "shapley": None if part.shapley is None else self._share(part.shapley),
            }
            for part in self.parts
        ]
        return pd.DataFrame(rows)

    def _share(self, seconds: float) -> float:
        gap = self.undelayed - self.ideal
        return seconds / gap if gap else 0.0


def straggler_study(trace: StepTrace) -> StragglerStudy:
    """What stragglers cost in recorded steps: by type of operation, stage, replica, and the slowest ranks.

    ``S = T / T_ideal``, with ``T`` the mean time of a step replayed without launch delays and ``T_ideal`` the same with
    each computation at the mean of its type and each transfer at the median of its type, over ranks and steps. A part
    is a set of operations: ``alone`` keeps only their own times, ``without`` gives only them the ideal ones.
    A rank's score is the lesser of its stage's and its replica's ``alone``; 3 % of the ranks, rounded up, are the
    slowest.
    *Valid when* ranks run alike in the ideal: a last stage with more work counts as a straggler.
    *Source*: Lin et al., Understanding Stragglers in Large Model Training Using What-if Analysis (2025).
    """
    own, ideal = trace.seconds, ideal_seconds(trace)
    mean = partial(_mean, trace, own, ideal)
    undelayed, best = mean(np.ones(trace.starts.shape, bool)), mean(np.zeros(trace.starts.shape, bool))
    stages, replicas = _by_stage(trace, mean), _by_replica(trace, mean)
    slowest = _slowest(stages, replicas)
    return StragglerStudy(
        trace=trace,
        measured=float(trace.step_seconds.mean()),
        undelayed=undelayed,
        ideal=best,
        parts=(
            *_by_type(trace, mean),
            *stages,
            *replicas,
            _part("ranks", "slowest", _of_ranks(trace, slowest), mean),
        ),
        launch_delay=_launch_delay(trace),
        slowest=slowest,
    )


def ideal_seconds(trace: StepTrace) -> Floats:
    """Every computation at the mean of its type, every communication at the median of its type (s)."""
    ideal = np.empty_like(trace.seconds)
    for kind in {operation.kind for operation in trace.operations}:
        mine = _of_kinds(trace, kind)
        typical = np.mean if kind in COMPUTATIONS else np.median
        ideal[mine] = typical(trace.seconds[mine])
    return ideal


Mean = Callable[[Booleans], float]
"""Mean time of a step (s) where the chosen operations take their own time and all others the ideal."""


def _mean(trace: StepTrace, own: Floats, ideal: Floats, kept: Booleans) -> float:
    return float(replayed_steps(trace.graph, np.where(kept, own, ideal)).mean())


def _part(kind: str, name: str, chosen: Booleans, mean: Mean, shapley: float | None = None) -> Part:
    return Part(kind=kind, name=name, alone=mean(chosen), without=mean(~chosen), shapley=shapley)


def _by_type(trace: StepTrace, mean: Mean) -> list[Part]:
    masks_by_name = {name: chosen for name, kinds in PARTS.items() if (chosen := _of_kinds(trace, *kinds)).any()}
    masks = list(masks_by_name.values())
    nothing = np.zeros_like(masks[0])

    @cache
    def worth(coalition: frozenset[int]) -> Floats:
        return np.array([mean(np.any([nothing, *(masks[player] for player in coalition)], axis=0))])

    fair = shares(len(masks), worth)
    return [
        _part("type", name, chosen, mean, float(share[0]))
        for (name, chosen), share in zip(masks_by_name.items(), fair, strict=True)
    ]


def _by_stage(trace: StepTrace, mean: Mean) -> list[Part]:
    at = np.array([operation.stage for operation in trace.operations])
    return [_part("stage", str(stage), _spread(trace, (at == stage)[:, None]), mean) for stage in range(trace.stages)]


def _by_replica(trace: StepTrace, mean: Mean) -> list[Part]:
    every = np.arange(trace.replicas)
    return [
        _part("replica", str(replica), _spread(trace, (every == replica)[None]), mean) for replica in every.tolist()
    ]


def _slowest(stages: Sequence[Part], replicas: Sequence[Part]) -> tuple[tuple[int, int], ...]:
    """Stage and replica of the slowest ranks; of equal ones those of the first replica and stage."""
    ranks = [(stage, replica) for replica in range(len(replicas)) for stage in range(len(stages))]
    score = {rank: min(stages[rank[0]].alone, replicas[rank[1]].alone) for rank in ranks}
    return tuple(sorted(ranks, key=lambda rank: -score[rank])[: -(-len(ranks) * SLOWEST // 100)])


def _of_ranks(trace: StepTrace, ranks: Sequence[tuple[int, int]]) -> Booleans:
    at = np.array([operation.stage for operation in trace.operations])
    chosen = np.zeros((len(at), trace.replicas), bool)
    for stage, replica in ranks:
        chosen[at == stage, replica] = True
    return _spread(trace, chosen)


def _of_kinds(trace: StepTrace, *kinds: str) -> Booleans:
    return _spread(trace, np.array([operation.kind in kinds for operation in trace.operations])[:, None])


def _spread(trace: StepTrace, chosen: Booleans) -> Booleans:
    """The same choice for every step, and for every replica or operation where it does not name them."""
    every = trace.starts.shape
    return np.broadcast_to(chosen.reshape(*chosen.shape, 1), every)


def _launch_delay(trace: StepTrace) -> dict[str, float]:
    kinds = dict.fromkeys(operation.kind for operation in trace.operations)
    return {kind: float(trace.launch_delays[_of_kinds(trace, kind)].mean()) for kind in kinds}
