"""Clusters: accelerators in nodes, nodes on a fabric, storage beside them; with their sources.

>>> round(Link(bandwidth="50 GB/s", latency="5 us").seconds(1e9), 9)
0.020005
>>> meta = clusters.llama_3_16k
>>> meta.accelerators, round(meta.failures.mtbf(meta.count(meta.failures.per)))
(16384, 11135)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from secondorder.errors import InputError
from secondorder.fleets.accelerators import Accelerator, accelerators
from secondorder.fleets.failures import FailureRates, failure_rates
from secondorder.quantities import Bandwidth, Checked, Count, Duration, Positive, Quantity, Unit, si
from secondorder.zoo import Source, Zoo, read_entries

Price = Annotated[Quantity | str, Unit("USD/hour")]


@dataclass(frozen=True, kw_only=True)
class Link(Checked):
    """A way between two ranks: ``seconds = latency + bytes / bandwidth`` (the alpha-beta or Hockney model).

    ``bandwidth`` is that of one rank in one direction.

    *Source*: Hockney, The communication challenge for MPP (1994).
    """

    bandwidth: Bandwidth
    latency: Duration = "0 s"

    def seconds(self, size: float) -> float:
        """Time of one message of ``size`` bytes, in s."""
        return si(self.latency) + size / si(self.bandwidth)


@dataclass(frozen=True, kw_only=True)
class Node(Checked):
    """Accelerators that share a host and a scale-up ``link``; ``power`` is the most that the whole node draws."""

    name: str
    accelerator: Accelerator
    accelerators: Count
    link: Link
    power: Annotated[Quantity | str, Unit("W")] | None = None
    note: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Fabric(Checked):
    """The network between nodes: the ``link`` of one accelerator to it, and the oversubscription of its upper levels.

    ``oversubscription`` is the bandwidth into the fabric over that across its bisection: 1 is a full
    bisection, 7 leaves a seventh.
    """

    name: str
    link: Link
    oversubscription: Positive = 1.0
    note: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.oversubscription < 1:
            raise InputError("oversubscription", given=self.oversubscription, expected="a number of at least 1")


@dataclass(frozen=True, kw_only=True)
class Storage(Checked):
    """Where checkpoints go: the bandwidth of writes and reads for all nodes together, and for one node.

    Other jobs may write through the same path: Poisson, each for ``other_write``, so that the path is
    busy a share ``busy`` of the time; writes are served one after the other in the order they come.
    """

    name: str = "storage"
    write_bandwidth: Bandwidth
    read_bandwidth: Bandwidth
    node_bandwidth: Bandwidth | None = None
    busy: Annotated[float, "0 to 1"] = 0.0
    other_write: Duration | None = None
    note: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.busy < 1:
            raise InputError("busy", given=self.busy, expected="a share from 0 to below 1")
        if (self.busy > 0) != (self.other_write is not None):
            raise InputError("other_write", given=self.other_write, expected="a value if and only if busy is above 0")

    def write_seconds(self, size: float, nodes: int) -> float:
        """To write this many bytes from this many nodes at once, when nobody else writes."""
        return size / self._bandwidth(self.write_bandwidth, nodes)

    def read_seconds(self, size: float, nodes: int) -> float:
        """To read this many bytes into this many nodes at once."""
        return size / self._bandwidth(self.read_bandwidth, nodes)

    def _bandwidth(self, total: Quantity | str, nodes: int) -> float:
        own = float("inf") if self.node_bandwidth is None else nodes * si(self.node_bandwidth)
        return min(si(total), own)


@dataclass(frozen=True, kw_only=True)
class Cluster(Checked):
    """A number of ``nodes`` on a ``fabric``, with ``storage``, failure rates and a price where they are known.

    - ``nodes``: nodes of the cluster; on the command line those of the zoo if not given.

    ``price`` is that of one accelerator for an hour.
    """

    name: str
    node: Node
    nodes: Count
    fabric: Fabric
    storage: Storage | None = None
    failures: FailureRates | None = None
    price: Price | None = None
    note: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)

    @property
    def accelerators(self) -> int:
        """In all nodes."""
        return self.nodes * self.node.accelerators

    @property
    def accelerator(self) -> Accelerator:
        """The one kind that all nodes have."""
        return self.node.accelerator

    def count(self, what: Literal["accelerator", "node"]) -> int:
        """How many of them there are."""
        return self.accelerators if what == "accelerator" else self.nodes

    def write_seconds(self, size: float, storage: Storage) -> float:
        """To write this many bytes of all nodes at once: as fast as the storage takes them and the fabric sends them.

        >>> small = Cluster(name="small", node=clusters.llama_3_16k.node, nodes=2, fabric=clusters.llama_3_16k.fabric)
        >>> fast = Storage(write_bandwidth="7 TB/s", read_bandwidth="7 TB/s")
        >>> round(small.write_seconds(800e9, fast), 6)   # 16 links of 50 GB/s
        1.0
        """
        links = self.accelerators * si(self.fabric.link.bandwidth)
        return max(storage.write_seconds(size, self.nodes), size / links)


def _nodes() -> dict[str, Node]:
    return {
        name: Node(**{**_linked(fields), "accelerator": accelerators[fields["accelerator"]]}, sources=_dotted(sources))
        for name, (fields, sources) in read_entries("secondorder.fleets", "nodes.toml").items()
    }


def _fabrics() -> dict[str, Fabric]:
    return {
        name: Fabric(**_linked(fields), sources=_dotted(sources))
        for name, (fields, sources) in read_entries("secondorder.fleets", "fabrics.toml").items()
    }


def _linked(fields: dict[str, Any]) -> dict[str, Any]:
    """An entry's ``bandwidth`` and ``latency`` as its link."""
    link = Link(**{name: fields[name] for name in _LINK})
    return {**{name: value for name, value in fields.items() if name not in _LINK}, "link": link}


def _dotted(sources: dict[str, Source]) -> dict[str, Source]:
    """Their sources, by the names that the figures of the link then have."""
    return {f"link.{name}" if name in _LINK else name: source for name, source in sources.items()}


_LINK = ("bandwidth", "latency")


def _storages() -> dict[str, Storage]:
    return {
        name: Storage(**fields, sources=sources)
        for name, (fields, sources) in read_entries("secondorder.fleets", "storages.toml").items()
    }


def _clusters() -> dict[str, Cluster]:
    return {
        name: Cluster(**_named(fields), sources=sources)
        for name, (fields, sources) in read_entries("secondorder.fleets", "clusters.toml").items()
    }


def _named(fields: dict[str, Any]) -> dict[str, Any]:
    """A cluster's parts by their names."""
    zoos: Mapping[str, Zoo[Node] | Zoo[Fabric] | Zoo[Storage] | Zoo[FailureRates]] = {
        "node": nodes,
        "fabric": fabrics,
        "storage": storages,
        "failures": failure_rates,
    }
    return {key: zoos[key][value] if key in zoos else value for key, value in fields.items()}


nodes: Zoo[Node] = Zoo("nodes", _nodes)
fabrics: Zoo[Fabric] = Zoo("fabrics", _fabrics)
storages: Zoo[Storage] = Zoo("storages", _storages)
clusters: Zoo[Cluster] = Zoo("clusters", _clusters)
