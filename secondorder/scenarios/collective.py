"""A collective operation among ranks: which, by which algorithm, over which links, how unevenly.

>>> from secondorder.fleets.clusters import Link
>>> link = Link(bandwidth="50 GB/s", latency="5 us")
>>> ring = Collective(ranks=64, size="1 GB", link=link, jitter="lognormal scv=0.04")
>>> len(ring.stages), round(ring.stages[0].seconds, 9)
(126, 0.0003175)

An algorithm is its stages: who takes what from whom. In a stage a rank takes at most one message. It begins
to when its sender and it have both done the stage before, so that no stage waits for all ranks; a rank that
only sends has done its stage when the message is there.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, TypeAlias, get_args

import numpy as np
from annotated_types import Ge, Le

from secondorder.errors import InputError, UnknownName
from secondorder.fleets.clusters import Link
from secondorder.laws import Service, Timed
from secondorder.quantities import Count, DataSize, Unit, si

Operation = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"]
Algorithm = Literal["ring", "tree", "recursive_doubling", "halving_doubling", "hierarchical", "pairwise"]

Table: TypeAlias = tuple[tuple[float, float], ...]
"""Sizes in byte, ascending, each with a time in s."""


@dataclass(frozen=True)
class Stage:
    """``senders[i]`` sends ``size`` bytes to rank ``i`` (to nobody where it is ``i`` itself), in ``seconds`` each."""

    senders: tuple[int, ...]
    size: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Collective(Timed):
    """An ``operation`` on ``size`` bytes among ``ranks``, each of which has a ``link`` of its own.

    - ``operation``: collective operation.
    - ``algorithm``: how it is done: all_reduce by any but pairwise, all_gather and reduce_scatter by ring or
      halving_doubling, broadcast by tree, all_to_all by pairwise.
    - ``ranks``: accelerators that take part.
    - ``size``: size as NCCL counts it ("1 GB"): each rank's vector, for all_gather the gathered whole.
    - ``link``: bandwidth and latency of each rank's own link ("50 GB/s latency=5 us").
    - ``ranks_per_node``: ranks in a node, for hierarchical only.
    - ``node_link``: link of a rank within its node ("450 GB/s latency=1 us"), for hierarchical only.
    - ``jitter``: law of a factor of mean 1, drawn for each hop ("lognormal scv=0.04").
    - ``slow_links``: factors on the time of hops over a slow link: {"3-4": 2.0} from rank 3 to 4, {"3": 2.0} from rank
      3 to the next.
    - ``slow_ranks``: factors on the time of all that a slow rank sends ({"3": 1.5}).
    - ``repeats``: operations back to back, without a barrier between them.
    - ``measured``: measured times of the whole operation by size ({"1 MB": "120 us", "1 GB": "40 ms"}), in place of
      latency and bandwidth.
    - ``name``: name of the scenario in results.

    The tree is binomial; halving_doubling gathers and scatters by its halves; hierarchical is rings within nodes of
    ``ranks_per_node`` over ``node_link``, and between nodes. Between ``measured`` sizes (bare numbers are bytes and
    seconds) times are linear; jitter and slow parts come on top. In Python a link may be a pair: ``{(3, 4): 2.0}``.

    Errors: ``InputError`` for contradictory values, in one line.
    """

    _shapes = ("jitter",)
    operation: Operation = "all_reduce"
    algorithm: Algorithm = "ring"
    ranks: Annotated[int, Ge(1), Le(1_000_000)]
    size: DataSize
    link: Link
    ranks_per_node: Count | None = None
    node_link: Link | None = None
    jitter: Service | str | None = None
    slow_links: Mapping[tuple[int, int], float] | Mapping[int, float] | Mapping[str, float] | None = None
    slow_ranks: Mapping[int, float] | Mapping[str, float] | None = None
    repeats: Count = 1
    measured: Mapping[str, str] | Mapping[float, float] | Table | None = None
    name: str = "collective"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_algorithm()
        check_jitter(self.jitter)
        if self.measured is not None:
            object.__setattr__(self, "measured", _table(self.measured))
        object.__setattr__(self, "slow_ranks", read_factors("slow_ranks", self.slow_ranks, "rank", self.ranks))
        object.__setattr__(self, "slow_links", self._slow_links())
        if self.alpha_beta_seconds == 0:
            given = "a size and a latency of 0"
            raise InputError("size", given=given, expected="a hop that takes some time")
        _ = self.scale  # a size outside of the measured table is refused here

    def _check_algorithm(self) -> None:
        for what, value, known in (
            ("operation", self.operation, get_args(Operation)),
            ("algorithm", self.algorithm, get_args(Algorithm)),
        ):
            if value not in known:
                raise UnknownName.among(what, value, known)
        if (self.operation, self.algorithm) not in _BUILT:
            fitting = " or ".join(algorithm for operation, algorithm in _BUILT if operation == self.operation)
            given = f"{self.algorithm} for {self.operation}"
            raise InputError("algorithm", given=given, expected=f"{fitting}: no other algorithm does it")
        if self.ranks < 2:
            raise InputError("ranks", given=self.ranks, expected="at least 2, else there is nothing to send")
        if self.algorithm in ("recursive_doubling", "halving_doubling") and self.ranks & (self.ranks - 1):
            expected = f"a power of two with {self.algorithm}"
            raise InputError("ranks", given=self.ranks, expected=expected, remedy="use ring or tree for other numbers")
        nested = self.algorithm == "hierarchical"
        for name in ("ranks_per_node", "node_link"):
            if nested != (getattr(self, name) is not None):
                given, expected = getattr(self, name), "a value if and only if the algorithm is hierarchical"
                raise InputError(name, given=given, expected=expected)
        if self.ranks_per_node is not None and self.ranks % self.ranks_per_node:
            given = f"{self.ranks} ranks in nodes of {self.ranks_per_node}"
            raise InputError("ranks", given=given, expected="a multiple of ranks_per_node")

    @cached_property
    def plain_stages(self) -> tuple[Stage, ...]:
        """The stages by latency and bandwidth alone."""
        return _BUILT[self.operation, self.algorithm](self)

    @cached_property
    def alpha_beta_seconds(self) -> float:
        """Time of one operation by latency and bandwidth: the seconds of its stages."""
        return math.fsum(stage.seconds for stage in self.plain_stages)

    @cached_property
    def scale(self) -> float:
        """The measured time over that by latency and bandwidth; 1 without a table."""
        if self.measured is None:
            return 1.0
        assert isinstance(self.measured, tuple)
        sizes, times = np.array(self.measured).T
        if not sizes[0] <= si(self.size) <= sizes[-1]:
            expected = f"a size from {sizes[0]:.6g} to {sizes[-1]:.6g} byte, the ends of the measured table"
            raise InputError("size", given=f"{si(self.size):.6g} byte", expected=expected)
        return float(np.interp(si(self.size), sizes, times)) / self.alpha_beta_seconds

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of one operation, their times scaled to the measured whole where there is a table."""
        if self.measured is None:
            return self.plain_stages
        return tuple(Stage(each.senders, each.size, each.seconds * self.scale) for each in self.plain_stages)

    def factor(self, sender: int, receiver: int) -> float:
        """How much slower than the others a hop is, for good."""
        assert isinstance(self.slow_links, dict)
        assert isinstance(self.slow_ranks, dict)
        return float(self.slow_links.get((sender, receiver), 1.0) * self.slow_ranks.get(sender, 1.0))

    @property
    def even(self) -> bool:
        """Whether no link and no rank is slow."""
        assert isinstance(self.slow_links, dict)
        assert isinstance(self.slow_ranks, dict)
        return all(factor == 1 for factor in (*self.slow_links.values(), *self.slow_ranks.values()))

    def _slow_links(self) -> dict[tuple[int, int], float]:
        if not self.slow_links:
            return {}
        used = {(j, i) for stage in self.plain_stages for i, j in enumerate(stage.senders) if i != j}
        found = {}
        for key, factor in self.slow_links.items():
            pair = self._pair(key)
            if pair not in used:
                such = ", ".join(f'"{sender}-{receiver}"' for sender, receiver in sorted(used)[:2])
                text = f"a link that the algorithm sends over, such as {such}"
                raise InputError("slow_links", given=repr(key), expected=text)
            found[pair] = _factor("slow_links", factor)
        return found

    def _pair(self, key: object) -> tuple[int, int]:
        """``3``, ``"3"``, ``"3-4"`` or ``(3, 4)``; of one rank: to the next, within its node where there are nodes."""
        ends = str(key).strip("()").replace(",", "-").split("-")
        ranks = [int(end) for end in ends if end.strip().isdigit()]
        if len(ranks) != len(ends) or len(ranks) > 2:
            expected = "a link as the rank that sends, or as both its ends"
            raise InputError("slow_links", given=repr(key), expected=expected, remedy='write 3 or "3-4"')
        if len(ranks) == 2:
            return ranks[0], ranks[1]
        around = self.ranks_per_node or self.ranks
        return ranks[0], ranks[0] // around * around + (ranks[0] + 1) % around


def check_jitter(law: object) -> None:
    """``InputError`` where a jitter does not have the mean 1."""
    if isinstance(law, Service) and abs(law.moment(1) - 1) > 1e-9:
        expected = "a law of mean 1 s, which is taken as a factor"
        raise InputError("jitter", given=f"a law of mean {law.moment(1):.6g} s", expected=expected)


def read_factors(
    what: str, given: Mapping[int, float] | Mapping[str, float] | None, part: str, parts: int
) -> dict[int, float]:
    """Factors by the number of a rank or a stage."""
    found = {}
    for key, factor in (given or {}).items():
        number = int(key) if str(key).isdigit() else -1
        if not 0 <= number < parts:
            raise InputError(what, given=repr(key), expected=f"a {part} from 0 to {parts - 1}")
        found[number] = _factor(what, factor)
    return found


def _factor(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(what, given=repr(value), expected="a factor above 0 on the time")
    return float(value)


def _table(measured: Mapping[str, str] | Mapping[float, float] | Table) -> Table:
    pairs = list(measured.items() if isinstance(measured, Mapping) else measured)
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise InputError("measured", given=repr(measured), expected="pairs of a size and a time")
    table = sorted((_measured(size, "byte"), _measured(time, "s")) for size, time in pairs)
    if len(table) < 2 or len({size for size, _ in table}) < len(table):
        raise InputError("measured", given=f"{len(table)} sizes", expected="at least two, all different")
    return tuple(table)


def _measured(value: object, unit: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value!r} {unit}"
    return si(Unit(unit, positive=True).read(value, "measured"))


# Algorithms: who takes what from whom


def _ring(group: int, ranks: int, hops: int, size: float, link: Link, step: int = 1) -> tuple[Stage, ...]:
    """``hops`` times round rings of ``group`` ranks that lie ``step`` apart."""
    block = group * step
    senders = tuple(i // block * block + (i % block - step) % block for i in range(ranks))
    return (Stage(senders, size, link.seconds(size)),) * hops


def _around(times: int) -> Callable[[Collective], tuple[Stage, ...]]:
    return lambda c: _ring(c.ranks, c.ranks, times * (c.ranks - 1), si(c.size) / c.ranks, c.link)


def _hierarchical(c: Collective) -> tuple[Stage, ...]:
    assert c.ranks_per_node is not None
    assert c.node_link is not None
    g, share = c.ranks_per_node, si(c.size) / c.ranks_per_node
    within = _ring(g, c.ranks, g - 1, share, c.node_link)
    nodes = c.ranks // g
    between = _ring(nodes, c.ranks, 2 * (nodes - 1), share / nodes, c.link, step=g)
    return within + between + within


def _reduction(c: Collective) -> tuple[Stage, ...]:
    """Up a binomial tree to rank 0: at distance 1, 2, 4, ... each second of those left sends to the one below."""
    distances = [2**level for level in range((c.ranks - 1).bit_length())]
    return tuple(
        Stage(
            tuple(i + d if i % (2 * d) == 0 and i + d < c.ranks else i for i in range(c.ranks)),
            si(c.size),
            c.link.seconds(si(c.size)),
        )
        for d in distances
    )


def _broadcast(c: Collective) -> tuple[Stage, ...]:
    """The reduction backwards: each takes from whom it sent to."""
    return tuple(
        Stage(tuple(_giver(stage.senders, i) for i in range(c.ranks)), stage.size, stage.seconds)
        for stage in reversed(_reduction(c))
    )


def _giver(senders: tuple[int, ...], rank: int) -> int:
    return next((i for i, sender in enumerate(senders) if sender == rank and i != rank), rank)


def _exchange(c: Collective, distance: int, size: float) -> Stage:
    return Stage(tuple(i ^ distance for i in range(c.ranks)), size, c.link.seconds(size))


def _distances(c: Collective) -> list[int]:
    return [2**level for level in range(c.ranks.bit_length() - 1)]


def _doubling(c: Collective) -> tuple[Stage, ...]:
    return tuple(_exchange(c, d, si(c.size)) for d in _distances(c))


def _halving(c: Collective) -> tuple[Stage, ...]:
    """Half of the vector to the one half of the ranks away, then a quarter, ..."""
    return tuple(_exchange(c, d, si(c.size) * d / c.ranks) for d in reversed(_distances(c)))


def _pairwise(c: Collective) -> tuple[Stage, ...]:
    """In stage ``k`` rank ``i`` sends to ``i + k``."""
    share = si(c.size) / c.ranks
    return tuple(
        Stage(tuple((i - k) % c.ranks for i in range(c.ranks)), share, c.link.seconds(share)) for k in range(1, c.ranks)
    )


_BUILT: dict[tuple[str, str], Callable[[Collective], tuple[Stage, ...]]] = {
    ("all_reduce", "ring"): _around(2),
    ("all_reduce", "tree"): lambda c: _reduction(c) + _broadcast(c),
    ("all_reduce", "recursive_doubling"): _doubling,
    ("all_reduce", "halving_doubling"): lambda c: _halving(c) + _halving(c)[::-1],
    ("all_reduce", "hierarchical"): _hierarchical,
    ("all_gather", "ring"): _around(1),
    ("all_gather", "halving_doubling"): lambda c: _halving(c)[::-1],
    ("reduce_scatter", "ring"): _around(1),
    ("reduce_scatter", "halving_doubling"): _halving,
    ("all_to_all", "pairwise"): _pairwise,
    ("broadcast", "tree"): _broadcast,
}
