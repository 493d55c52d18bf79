"""Every figure of an entry of the zoo, in SI units, with its source; those that follow from others too."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secondorder.fleets.accelerators import Accelerator
    from secondorder.fleets.clusters import Cluster, Node
    from secondorder.fleets.failures import FailureRates
    from secondorder.fleets.prices import Quote
    from secondorder.workloads.lengths import Empirical
    from secondorder.workloads.network import Network
    from secondorder.workloads.transformer import Transformer
    from secondorder.zoo import Source, Zoo


def collections() -> "dict[str, Zoo[Any]]":
    """The collections by name."""
    from secondorder.fleets.accelerators import accelerators
    from secondorder.fleets.clusters import clusters, fabrics, nodes, storages
    from secondorder.fleets.failures import failure_rates
    from secondorder.fleets.prices import prices
    from secondorder.fleets.regions import facilities, regions
    from secondorder.workloads.lengths import lengths
    from secondorder.workloads.models import models

    return {
        "accelerators": accelerators,
        "prices": prices,
        "nodes": nodes,
        "fabrics": fabrics,
        "storages": storages,
        "clusters": clusters,
        "failure_rates": failure_rates,
        "regions": regions,
        "facilities": facilities,
        "models": models,
        "lengths": lengths,
    }


@dataclass(frozen=True)
class Figure:
    """One figure of an entry, SI, and where it comes from."""

    name: str
    value: bool | str | float
    unit: str = ""
    source: "Source | str" = "counted"

    def __str__(self) -> str:
        """A figure with a source in all the digits of that source; one that is counted in three."""
        from secondorder.quantities import pretty

        return self._told(pretty if self.source == "counted" else _whole)

    def _told(self, number: "Callable[[float, str], str]") -> str:
        if isinstance(self.value, (bool, str)):
            return str(self.value).lower() if isinstance(self.value, bool) else self.value
        if isinstance(self.value, int) and not self.unit:
            return str(self.value) if self.name in ("released", "year") else f"{self.value:,}"
        if self.unit == "byte" and self.value % 2**30 == 0:
            return f"{self.value / 2**30:,.10g} GiB"
        if self.name == "memory_capacity" and self.value < 2**20 and self.value % 2**10 == 0:
            return f"{self.value / 2**10:,.10g} KiB"
        if self.unit == "s" and self.value >= 3600:
            return number(self.value / 3600, "h")
        if self.unit.startswith("kgCO2e"):
            return number(1000 * self.value, self.unit.removeprefix("k"))
        return number(self.value, self.unit)

    @property
    def short(self) -> str:
        """As in a list: three digits, large counts in billions, millions or thousands."""
        from secondorder.quantities import pretty

        counted = self.name.endswith(("parameters", "activations"))
        if not counted or isinstance(self.value, str) or self.value < 1000:
            return self._told(pretty)
        scale, letter = next((s, c) for s, c in ((1e9, "B"), (1e6, "M"), (1e3, "k")) if self.value >= s)
        return f"{pretty(self.value / scale, '')} {letter}"


def _whole(value: float, unit: str) -> str:
    from secondorder.quantities import readable

    scale, symbol = readable(value, unit)
    return f"{value / scale:,.7g} {symbol}".strip()


@dataclass(frozen=True)
class Entry:
    """An entry of a collection."""

    noun: str
    name: str
    known: Any

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """By name."""
        every = [
            *_fields(self.known, "", getattr(self.known, "sources", {}), "default"),
            *_DERIVED[self.noun](self.known),
        ]
        return {figure.name: figure for figure in every}

    @property
    def records(self) -> list[dict[str, object]]:
        """One row a figure."""
        return [
            {
                "collection": self.noun,
                "name": self.name,
                "figure": figure.name,
                "value": figure.value,
                "unit": figure.unit,
                "source": str(figure.source),
                **{key: getattr(figure.source, key, "") for key in ("url", "checked", "note")},
            }
            for figure in self.figures.values()
        ]


_UNSHOWN = ("sources", "source", "note", "weight", "input", "output", "stack", "stored")
"""Fields that are no figures; a model's layers and their bytes show in what follows from them."""


def _fields(part: Any, within: str, sources: "Mapping[str, Source]", source: "Source | str") -> Iterator[Figure]:
    """The fields of an entry, those of its parts included."""
    for field in fields(part):
        value, name = getattr(part, field.name), within + field.name
        if field.name not in _UNSHOWN and value is not None:
            yield from _parts(name, value, sources, sources.get(name, source))


def _parts(name: str, value: Any, sources: "Mapping[str, Source]", source: "Source | str") -> Iterator[Figure]:
    from secondorder.quantities import Quantity, si

    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _parts(f"{name}.{key}", part, sources, source)
    elif hasattr(value, "sources"):  # an entry of its own: only its name
        yield Figure(name, _key(value), "", source)
    elif is_dataclass(value):
        yield from _fields(value, f"{name}.", sources, source)
    elif isinstance(value, Quantity):
        unit = f"{value.u:~D}".replace(" ", "")
        yield Figure(name, si(value), {"B": "byte", "B/s": "byte/s"}.get(unit, unit), source)
    elif name != "name":
        yield Figure(name, value, "", source)


def _key(entry: object) -> str:
    """The name by which the zoo knows an entry."""
    return next(name for one in collections().values() for name, known in one.items() if known is entry)


# What follows from the figures


def _of_accelerator(accelerator: "Accelerator") -> Iterator[Figure]:
    for precision in accelerator.peak:
        yield Figure(f"ridge_point.{precision}", accelerator.ridge_point(precision), "FLOP/byte")


def _of_price(quote: "Quote") -> Iterator[Figure]:
    source = quote.sources["purchase" if quote.rental is None else "rental"]
    yield Figure("date", source.date, "", source)


def _of_node(node: "Node") -> Iterator[Figure]:
    from secondorder.quantities import si

    if "bf16" in node.accelerator.peak:
        yield Figure("peak.bf16", node.accelerators * node.accelerator.peak_flops("bf16"), "FLOP/s")
    yield Figure("memory_capacity", node.accelerators * si(node.accelerator.memory_capacity), "byte")


def _of_cluster(cluster: "Cluster") -> Iterator[Figure]:
    yield Figure("accelerators", cluster.accelerators)
    for figure in _of_node(cluster.node):
        yield Figure(figure.name, cluster.nodes * figure.value, figure.unit)
    if cluster.failures is not None:
        yield Figure("mtbf", cluster.failures.mtbf(cluster.count(cluster.failures.per)), "s")


def _of_failure_rates(rates: "FailureRates") -> Iterator[Figure]:
    if rates.mttf is None:
        yield Figure("mttf", 1 / rates.rate, "s")
    yield Figure("failures_in_1000_days", 1000 * 86_400 * rates.rate)


def _nothing(_: object) -> Iterator[Figure]:
    yield from ()


def _of_model(model: "Transformer | Network") -> Iterator[Figure]:
    from secondorder.workloads.transformer import Transformer

    if isinstance(model, Transformer):
        yield Figure("parameters", int(model.parameters))
        yield Figure("active_parameters", int(model.active_parameters))
        yield Figure("kv_bytes_per_token.bf16", model.kv_bytes_per_token("bf16"), "byte")
        if not model.linear_cache:
            if model.counted.states:
                yield Figure("state_bytes.bf16", model.state_bytes("bf16"), "byte")
            yield Figure("cache_bytes_at_8192.bf16", model.cache_bytes(8192, "bf16"), "byte")
        if model.stored is not None and model.stored.format:
            yield Figure("weights_stored_as", model.stored.format)
    yield Figure("weight_bytes.bf16", model.weight_bytes("bf16"), "byte")


def _of_lengths(law: "Empirical") -> Iterator[Figure]:
    source = law.source
    assert source is not None, "every law of the zoo has one"
    yield Figure("pairs", len(law), "", source)
    for name in ("mean_input", "mean_output", "max_input", "max_output"):
        yield Figure(name, getattr(law, name), "token", source)
    for name in ("scv_input", "scv_output", "correlation"):
        yield Figure(name, getattr(law, name), "", source)


_DERIVED: Mapping[str, Callable[[Any], Iterator[Figure]]] = {
    "accelerators": _of_accelerator,
    "prices": _of_price,
    "nodes": _of_node,
    "fabrics": _nothing,
    "storages": _nothing,
    "clusters": _of_cluster,
    "failure_rates": _of_failure_rates,
    "regions": _nothing,
    "facilities": _nothing,
    "models": _of_model,
    "lengths": _of_lengths,
}
