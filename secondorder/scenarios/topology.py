"""How endpoints are wired: fat tree, leaf-spine, rails, torus, dragonfly; and what has to cross between two halves.

>>> fabric = Topology(shape="leaf-spine leaves=8 hosts=16 spines=4", link_bandwidth="50 GB/s", size="1 GB")
>>> fabric.wires.endpoints, fabric.wires.oversubscription
(128, 4.0)
>>> str(read_shape("torus 8x8x4"))
'torus 8x8x4'
"""

import math
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from secondorder import spelling
from secondorder.errors import InputError
from secondorder.quantities import Bandwidth, Checked, Count, DataSize, Positive


class Wires(Protocol):
    """What every shape offers; links go both ways and count once, their bandwidth is that of one way."""

    @property
    def endpoints(self) -> int:
        """Accelerators (of rails: all of them) that the fabric joins."""

    @property
    def switches(self) -> int:
        """Switches; 0 where endpoints forward for each other."""

    @property
    def links(self) -> int:
        """Cables, those to the endpoints included."""

    @property
    def diameter(self) -> int:
        """Links on the shortest way between the two endpoints that are the farthest apart."""

    @property
    def injection(self) -> int:
        """Links of an endpoint."""

    @property
    def bisection(self) -> float:
        """Least bandwidth, in links, whose loss parts the endpoints into two halves; one way."""

    @property
    def oversubscription(self) -> float:
        """Bandwidth of half of the endpoints into the fabric over that across the bisection, at least 1."""

    @property
    def doubt(self) -> str:
        """Why the bisection is not exact, if it is not."""


class _Shape(spelling.Spelled):
    @property
    def injection(self) -> int:
        """1: an endpoint has one link."""
        return 1

    @property
    def oversubscription(self: Wires) -> float:
        """``endpoints injection / 2`` over the bisection, at least 1."""
        return max(self.endpoints * self.injection / 2 / self.bisection, 1.0)

    @property
    def doubt(self) -> str:
        """Nothing: the bisection is exact."""
        return ""


@dataclass(frozen=True)
class FatTree(_Shape):
    """Three levels of switches of ``radix`` ports each, half of them up and half down: full bisection.

    *Source*: Leiserson, Fat-trees: universal networks for hardware-efficient supercomputing (1985); Al-Fares,
    Loukissas, Vahdat, A scalable, commodity data center network architecture (2008), section 2.

    >>> FatTree(48).endpoints, FatTree(48).switches
    (27648, 2880)
    """

    word = "fat-tree"
    radix: Count

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.radix % 2 or self.radix < 4:
            raise InputError("radix", given=self.radix, expected="an even number of ports, at least 4")

    @property
    def endpoints(self) -> int:
        """``radix^3 / 4``."""
        return self.radix**3 // 4

    @property
    def switches(self) -> int:
        """``5 radix^2 / 4``: ``radix^2 / 2`` at the edge, as many above them, ``radix^2 / 4`` in the core."""
        return 5 * self.radix**2 // 4

    @property
    def links(self) -> int:
        """``3 radix^3 / 4``: as many on each level."""
        return 3 * self.endpoints

    @property
    def diameter(self) -> int:
        """6: three up, three down."""
        return 6

    @property
    def bisection(self) -> float:
        """``endpoints / 2``: as many as can be sent."""
        return self.endpoints / 2


@dataclass(frozen=True)
class LeafSpine(_Shape):
    """``leaves`` with ``hosts`` endpoints each, and a link from each leaf to each of the ``spines`` (a folded Clos).

    ``uplink`` is the bandwidth of such a link over that of an endpoint's.

    *Source*: Clos 1953; Dally and Towles, Principles and Practices of Interconnection Networks (2004), chapter 6.

    >>> LeafSpine(leaves=8, hosts=16, spines=4).bisection
    16.0
    """

    word = "leaf-spine"
    leaves: Count
    hosts: Count
    spines: Count
    uplink: Positive = 1.0

    @property
    def endpoints(self) -> int:
        """``leaves hosts``."""
        return self.leaves * self.hosts

    @property
    def switches(self) -> int:
        """``leaves + spines``."""
        return self.leaves + self.spines

    @property
    def links(self) -> int:
        """``leaves (hosts + spines)``."""
        return self.leaves * (self.hosts + self.spines)

    @property
    def diameter(self) -> int:
        """4: to the leaf, the spine, a leaf, the endpoint; 2 with one leaf."""
        return 4 if self.leaves > 1 else 2

    @property
    def bisection(self) -> float:
        """``m spines uplink + (leaves/2 - m) hosts``, the least for m leaves on one side: 0, or half of them."""
        halves = self.leaves // 2
        return min(m * self.spines * self.uplink + (self.leaves / 2 - m) * self.hosts for m in (0, halves))


@dataclass(frozen=True)
class Rails(_Shape):
    """``nodes`` of ``rails`` accelerators each: a switch a rail joins those of one number, ``spines`` join the rails.

    Within a node a scale-up link passes on what goes from one rail to another, so the halves (of the nodes) need no
    spine: full bisection, as long as the scale-up link carries what all the node's accelerators send.

    *Source*: Wang et al., Rail-only: a low-cost high-performance network for training LLMs with trillion parameters
    (2023).

    >>> Rails(nodes=32, rails=8, spines=0).bisection
    128.0
    """

    word = "rails"
    nodes: Count
    rails: Count
    spines: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.spines < 0 or self.nodes < 2:
            raise InputError("nodes", given=self.nodes, expected="at least 2, and spines of at least 0")

    @property
    def endpoints(self) -> int:
        """``nodes rails``."""
        return self.nodes * self.rails

    @property
    def switches(self) -> int:
        """``rails + spines``."""
        return self.rails + self.spines

    @property
    def links(self) -> int:
        """``rails (nodes + spines)``; the scale-up links are not counted."""
        return self.rails * (self.nodes + self.spines)

    @property
    def diameter(self) -> int:
        """2, beside a hop over the scale-up link where the rails differ."""
        return 2

    @property
    def bisection(self) -> float:
        """``endpoints / 2``, as the links of half of the nodes; nodes of an odd number cannot be halved."""
        return self.endpoints / 2

    @property
    def doubt(self) -> str:
        """Nodes of an odd number."""
        return "the nodes are of an odd number: the halves differ by one" if self.nodes % 2 else ""


@dataclass(frozen=True)
class Torus(_Shape):
    """A grid ``sizes`` long ("8x8x4") whose ends are joined; endpoints forward for each other. One size is a ring.

    A side of 2 has one link and not two between its ends.

    *Source*: Dally and Towles, Principles and Practices of Interconnection Networks (2004), section 5.2.

    >>> Torus("16x16x16").bisection, Torus("16x16x16").diameter
    (512.0, 24)
    """

    word = "torus"
    sizes: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", str(self.sizes))  # of a ring a bare number
        super().__post_init__()
        parts = self.sizes.replace(" ", "").split("x")
        if not all(part.isdigit() and int(part) >= 2 for part in parts):
            raise InputError("sizes", given=repr(self.sizes), expected='sides of at least 2, such as "8x8x4"')

    def __str__(self) -> str:
        return f"{self.word} {self.sizes}"

    @property
    def sides(self) -> tuple[int, ...]:
        """The lengths."""
        return tuple(int(part) for part in self.sizes.split("x"))

    @property
    def endpoints(self) -> int:
        """The product of the sides."""
        return math.prod(self.sides)

    @property
    def switches(self) -> int:
        """0."""
        return 0

    @property
    def links(self) -> int:
        """``endpoints`` a direction, half of that where the side is 2."""
        return sum(self.endpoints // (2 if side == 2 else 1) for side in self.sides)

    @property
    def diameter(self) -> int:
        """The sum of ``side // 2``."""
        return sum(side // 2 for side in self.sides)

    @property
    def injection(self) -> int:
        """Two a direction, one where the side is 2."""
        return sum(1 if side == 2 else 2 for side in self.sides)

    @property
    def _cut(self) -> tuple[int, int]:
        """Links between two halves of layers, the least of all sides, and whether that side is odd (1)."""
        return min((self.endpoints // side * (1 if side == 2 else 2), side % 2) for side in self.sides)

    @property
    def bisection(self) -> float:
        """``2 endpoints / longest side``, across which two layers of links go; ``endpoints / 2`` across a side of 2.

        The least of both: a torus 3x2 parts into its two rings.
        """
        return float(self._cut[0])

    @property
    def doubt(self) -> str:
        """A longest side of an odd number."""
        return "the longest side is odd: the halves differ by a layer" if self._cut[1] else ""


@dataclass(frozen=True)
class Dragonfly(_Shape):
    """Groups of ``routers``, each joined to all others of its group, with ``hosts`` endpoints and ``global_links``.

    There are ``routers global_links + 1`` groups, with one link between any two of them.

    *Source*: Kim, Dally, Scott, Abts, Technology-driven, highly-scalable dragonfly topology (2008), section 3.

    >>> balanced = Dragonfly(routers=16, hosts=8, global_links=8)
    >>> balanced.endpoints, balanced.groups
    (16512, 129)
    """

    word = "dragonfly"
    routers: Count
    hosts: Count
    global_links: Count

    @property
    def groups(self) -> int:
        """``routers global_links + 1``."""
        return self.routers * self.global_links + 1

    @property
    def endpoints(self) -> int:
        """``groups routers hosts``."""
        return self.groups * self.routers * self.hosts

    @property
    def switches(self) -> int:
        """``groups routers``."""
        return self.groups * self.routers

    @property
    def links(self) -> int:
        """To the endpoints, within the groups, and one between any two groups."""
        within = self.groups * self.routers * (self.routers - 1) // 2
        return self.endpoints + within + self.groups * (self.groups - 1) // 2

    @property
    def diameter(self) -> int:
        """5: to the router, within the group, to the other, within it, to the endpoint; 3 with one router a group."""
        return 3 if self.routers == 1 else 5

    @property
    def bisection(self) -> float:
        """Between two halves of the groups, ``(groups/2)^2``, or the endpoints' own links if they are fewer."""
        return min(self.groups // 2 * ((self.groups + 1) // 2), self.endpoints / 2)

    @property
    def doubt(self) -> str:
        """Halves are sought among the groups only."""
        return "a cut between groups: a bound from above" + (
            ", and the halves differ by a group" if self.groups % 2 else ""
        )


Shape: TypeAlias = FatTree | LeafSpine | Rails | Torus | Dragonfly

SHAPES: dict[str, type[Shape]] = {shape.word: shape for shape in (FatTree, LeafSpine, Rails, Torus, Dragonfly)}


def read_shape(text: str) -> Shape:
    """The shape that a line spells: its word, then its fields.

    >>> read_shape("fat-tree 48").endpoints
    27648

    Errors: ``UnknownName``, ``InputError``.
    """
    example = "leaf-spine leaves=8 hosts=16 spines=16"
    return spelling.read(text, SHAPES, what="shape", example=example)


@dataclass(frozen=True, kw_only=True)
class Topology(Checked):
    """The topology of a network, and a collective among all its endpoints.

    - ``shape``: wiring: "fat-tree 48" (ports of a switch), "leaf-spine leaves=8 hosts=16 spines=4 uplink=1", "rails
      nodes=32 rails=8 spines=4", "torus 8x8x4" or "dragonfly routers=4 hosts=2 global_links=2".
    - ``link_bandwidth``: bandwidth of an endpoint's link, one way ("50 GB/s").
    - ``size``: size of the collective whose least times are shown: the vector of each endpoint ("1 GB").
    - ``name``: name of the scenario in results.

    In Python a ``shape`` may be the value itself: ``FatTree``, ``LeafSpine``, ``Rails``, ``Torus``, ``Dragonfly``.
    """

    shape: Shape | str
    link_bandwidth: Bandwidth
    size: DataSize
    name: str = "topology"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.wires.endpoints < 2:
            raise InputError("shape", given=str(self.shape), expected="at least 2 endpoints")

    @property
    def wires(self) -> Shape:
        """The shape, read."""
        assert not isinstance(self.shape, str)
        return self.shape
