"""What waits for what in one training step: computations in order, transfers between stages, and the step's end.

The rules are those of Lin et al. (2025), who replay profiled steps of pipelined, data-parallel training:

- A rank computes in its recorded order.
- A receive ends before the computation that needs it starts, and is posted when the rank has ended the computation
  of the same direction before that one. A send is posted when its computation has ended. Sends and receives of one
  kind follow each other.
- The first backward receive is posted when the last forward computation but one ahead of it has ended.
- Parameters of a chunk are gathered before its first forward computation.
- After the last computation a rank goes through the step's end: garbage collection, the gradients of layer norms and of
  the embedding (first and last stage together), the reduce-scatters, the norm of all gradients, the optimizer.
  Reduce-scatters that overlap with the backward pass follow the last backward computation of their chunk.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from secondorder.arrays import Floats
from secondorder.errors import InputError

GATHER, SCATTER, SEPARATE = "params-all-gather", "grads-reduce-scatter", "separate-grads-all-reduce"
GC, NORMS, EMBEDDING = "gc", "layernorm-grads-all-reduce", "embedding-grads-all-reduce"
CLIP, OPTIMIZER = "optimizer-clip-main-grad", "optimizer"
ACROSS_REPLICAS = (GATHER, SCATTER, SEPARATE, CLIP)
COMPUTATIONS = ("forward-compute", "backward-compute", GC, OPTIMIZER)
Direction = Literal["forward", "backward"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")
CLOCKS = 5e-5
"""Seconds by which the clocks of two recorders may differ."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation of a step: its kind, the stage that runs it, and its place among those of its kind there.

    ``chunk`` is the rank's chunk of the model and ``position`` the place of that chunk in the whole pipeline; both are
    -1 where they mean nothing.
    """

    kind: str
    stage: int
    place: int
    chunk: int = -1
    position: int = -1

    def __str__(self) -> str:
        return f"{self.kind} {self.place} of stage {self.stage}"


@dataclass(frozen=True)
class Group:
    """Operations that start their transfer together, when the last of them is ready, on one replica or on all."""

    members: tuple[int, ...]
    across_replicas: bool = False


@dataclass(frozen=True)
class StepGraph:
    """``after[i]``: what operation ``i`` waits for. ``groups`` hold each operation once, none before what it needs."""

    after: tuple[tuple[int, ...], ...]
    groups: tuple[Group, ...]


def graph_of(operations: Sequence[Operation], starts: Floats, ends: Floats) -> StepGraph:
    """The graph of operations that one replica ran at these times in one step."""
    built = _Builder(operations, starts, ends)
    for stage in range(built.stages):
        built.add_stage(stage)
    return StepGraph(tuple(tuple(sorted(each)) for each in built.after), built.groups())


class _Builder:
    """Dependencies as they are found, stage by stage."""

    def __init__(self, operations: Sequence[Operation], starts: Floats, ends: Floats) -> None:
        self.operations, self.starts, self.ends = operations, starts, ends
        self.after: list[set[int]] = [set() for _ in operations]
        self.at: dict[tuple[str, int], list[int]] = defaultdict(list)
        for number in sorted(range(len(operations)), key=lambda i: operations[i].place):
            self.at[operations[number].kind, operations[number].stage].append(number)
        self.stages = 1 + max(operation.stage for operation in operations)
        self.chunks = 1 + max(operation.position for operation in operations)
        self.launched: dict[tuple[str, int], list[int]] = {}

    def add_stage(self, stage: int) -> None:
        forward, backward = (self.at[f"{direction}-compute", stage] for direction in DIRECTIONS)
        if not forward or not backward:
            given, expected = f"none on stage {stage}", "forward and backward computations on every stage"
            raise InputError("step trace", given=given, expected=expected)
        computed = self._in_time(forward + backward)
        self._chain(computed)
        for direction in DIRECTIONS:
            self._add_receives(direction, stage)
            self._add_sends(direction, stage)
        self._post_first_backward(stage, computed)
        self._chain(self._in_time(self.at[GATHER, stage] + self.at[SCATTER, stage]))
        self._add_gathers(stage)
        self._add_end(stage, computed)

    def groups(self) -> tuple[Group, ...]:
        """Each operation in one group, in an order in which all that a group waits for comes before it."""
        groups = self._transfers()
        grouped = {member for group in groups for member in group.members}
        groups += [
            Group((number,), operation.kind in ACROSS_REPLICAS)
            for number, operation in enumerate(self.operations)
            if number not in grouped
        ]
        return _sorted(groups, self.after)

    def _chain(self, numbers: Sequence[int]) -> None:
        for before, after in pairwise(numbers):
            self.after[after].add(before)

    def _in_time(self, numbers: Iterable[int]) -> list[int]:
        return sorted(numbers, key=lambda i: (self.starts[i], self.operations[i].place))

    def _last(self, numbers: Iterable[int]) -> int:
        return max(numbers, key=lambda i: self.ends[i])

    # Transfers between stages

    def _add_receives(self, direction: Direction, stage: int) -> None:
        computed = self.at[f"{direction}-compute", stage]
        latest = max(self.starts[i] for i in computed) + CLOCKS
        receives = [i for i in self.at[f"{direction}-recv", stage] if self.starts[i] <= latest]
        first = self._first_matched(receives, computed, f"{direction} receives", stage)
        for place, receive in enumerate(receives, first):
            self.after[computed[place]].add(receive)
            if place:
                self.after[receive].add(computed[place - 1])
        self._chain(receives)
        self._keep_launched(f"{direction}-recv", stage, receives, computed[first:], -1 if direction == "forward" else 1)

    def _add_sends(self, direction: Direction, stage: int) -> None:
        computed = self.at[f"{direction}-compute", stage]
        earliest = min(self.ends[i] for i in computed) - CLOCKS
        sends = [i for i in self.at[f"{direction}-send", stage] if self.ends[i] >= earliest]
        self._first_matched(sends, computed, f"{direction} sends", stage)
        for send, computation in zip(sends, computed, strict=False):
            self.after[send].add(computation)
        self._chain(sends)
        self._keep_launched(f"{direction}-send", stage, sends, computed, 1 if direction == "forward" else -1)

    def _first_matched(self, transfers: Sequence[int], computed: Sequence[int], what: str, stage: int) -> int:
        """The place of the first computation with a transfer: 1 if the first transfer was never launched."""
        if len(transfers) not in (0, len(computed) - 1, len(computed)):
            given = f"{len(transfers)} {what} beside {len(computed)} computations of stage {stage}"
            raise InputError("step trace", given=given, expected="one for each computation, or none")
        return 1 if transfers and len(transfers) == len(computed) - 1 else 0

    def _keep_launched(
        self, kind: str, stage: int, transfers: Sequence[int], computed: Sequence[int], towards: int
    ) -> None:
        """Keep the transfers with a peer: the ends of the pipeline record some that were never launched."""
        pairs = zip(transfers, computed, strict=False)
        positions = [(transfer, self.operations[computation].position + towards) for transfer, computation in pairs]
        self.launched[kind, stage] = [transfer for transfer, peer in positions if 0 <= peer < self.chunks]

    def _post_first_backward(self, stage: int, computed: Sequence[int]) -> None:
        first = next(i for i, number in enumerate(computed) if self.operations[number].kind == "backward-compute")
        receives = self.at["backward-recv", stage]
        if first >= 2 and receives:
            self.after[receives[0]].add(computed[first - 2])

    def _transfers(self) -> list[Group]:
        """Sends and their receives, and what the stages of a replica do together."""
        groups = []
        for direction, towards in zip(DIRECTIONS, (1, -1), strict=True):
            for stage in range(self.stages):
                sends = self.launched[f"{direction}-send", stage]
                receives = self.launched[f"{direction}-recv", (stage + towards) % self.stages]
                if len(sends) != len(receives):
                    given = f"{len(sends)} {direction} sends of stage {stage} and {len(receives)} receives of its peer"
                    raise InputError("step trace", given=given, expected="a receive for each send")
                groups += [Group(pair) for pair in zip(sends, receives, strict=True)]
        ends = sorted({0, self.stages - 1})
        embedding = [number for stage in ends for number in self.at[EMBEDDING, stage]]
        norm = [number for stage in range(self.stages) for number in self.at[CLIP, stage]]
        groups += [Group(tuple(embedding))] if embedding else []
        groups += [Group(tuple(norm), across_replicas=True)] if norm else []
        return groups

    # Data-parallel communication and the end of the step

    def _add_gathers(self, stage: int) -> None:
        gathers = {self.operations[i].chunk: i for i in self.at[GATHER, stage]}
        for chunk, gather in gathers.items():
            forward = [i for i in self.at["forward-compute", stage] if self.operations[i].chunk == chunk]
            if forward:
                self.after[min(forward, key=lambda i: self.starts[i])].add(gather)

    def _add_end(self, stage: int, computed: Sequence[int]) -> None:
        overlapped = bool(self.at[SEPARATE, stage])
        scatters = self.at[SCATTER, stage]
        if overlapped:
            for scatter in scatters:
                backward = self.at["backward-compute", stage]
                mine = [i for i in backward if self.operations[i].chunk == self.operations[scatter].chunk]
                self.after[scatter].add(self._last(mine or backward))
        embedding = self.at[EMBEDDING, stage] if stage in (0, self.stages - 1) else []
        reduced = self.at[SEPARATE, stage] if overlapped else scatters
        at = self.at
        end = [*at[GC, stage], *at[NORMS, stage], *embedding, *reduced, *at[CLIP, stage], *at[OPTIMIZER, stage]]
        self._chain([self._last(computed), *end])
        if overlapped and scatters:
            self.after[at[NORMS, stage][0] if at[NORMS, stage] else end[0]].add(scatters[-1])


def _sorted(groups: Sequence[Group], after: Sequence[set[int]]) -> tuple[Group, ...]:
    home = {member: number for number, group in enumerate(groups) for member in group.members}
    needs = [{home[before] for member in group.members for before in after[member]} for group in groups]
    users: dict[int, list[int]] = defaultdict(list)
    for number, needed in enumerate(needs):
        for before in needed:
            users[before].append(number)
    left = [len(needed) for needed in needs]
    ready = [number for number, count in enumerate(left) if not count]
    found = []
    while ready:
        number = ready.pop()
        found.append(groups[number])
        for user in users[number]:
            left[user] -= 1
            if not left[user]:
                ready.append(user)
    if len(found) != len(groups):
        expected = "operations that do not wait for each other in a circle"
        raise InputError("step trace", given="operations that wait for each other", expected=expected)
    return tuple(found)
