"""``secondorder zoo``: what is known by name, with every figure and its source."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from secondorder.cli.options import PRINTED, Output
from secondorder.cli.output import check_output, emit
from secondorder.errors import UnknownName

if TYPE_CHECKING:
    from secondorder.report.tables import Grid
    from secondorder.zoo import Source, Zoo

EXAMPLE = """\
Examples:

  secondorder zoo                         all of it
  secondorder zoo accelerators h100       those with h100 in the name
  secondorder zoo models llama_3_1_8b     one entry, with its sources
  secondorder zoo clusters                what training has run on
"""


def zoo(
    collection: Annotated[
        str,
        Parameter(
            help="accelerators, nodes, fabrics, storages, clusters, failure_rates, models or lengths. Default: all."
        ),
    ] = "",
    name: Annotated[str, Parameter(help="An entry to show, or a part of the names to list.")] = "",
    /,
    *,
    out: Output = PRINTED,
) -> None:
    """List what is known by name, or show one with its sources."""
    check_output(out)
    known = _collections()
    if collection and collection not in known:
        found = _find(known, collection) if not name else {}
        if not found:
            every = [*known, *(entry for one in known.values() for entry in one)]
            raise UnknownName.among("zoo", collection, every)
    else:
        chosen = {collection: known[collection]} if collection else known
        found = _find(chosen, name)
        if not found:
            raise UnknownName.among(collection, name, chosen[collection])
    shown = [_Shown(noun, entry, known[noun][entry]) for noun, entries in found.items() for entry in entries]
    exact = len(shown) == 1 and shown[0].name in (collection, name)
    grids = [_entry_grid(shown[0])] if exact else list(_lists(shown))
    emit([record for one in shown for record in one.records], grids, out)


def _collections() -> "dict[str, Zoo[Any]]":
    from secondorder.fleets.accelerators import accelerators
    from secondorder.fleets.clusters import clusters, fabrics, nodes, storages
    from secondorder.fleets.failures import failure_rates
    from secondorder.workloads.lengths import lengths
    from secondorder.workloads.models import models

    return {
        "accelerators": accelerators,
        "nodes": nodes,
        "fabrics": fabrics,
        "storages": storages,
        "clusters": clusters,
        "failure_rates": failure_rates,
        "models": models,
        "lengths": lengths,
    }


def _find(collections: "Mapping[str, Zoo[Any]]", part: str) -> dict[str, list[str]]:
    """The entry of that name, or else those that have it in their name."""
    for noun, entries in collections.items():
        if part in entries:
            return {noun: [part]}
    near = {noun: [name for name in entries if part.lower() in name] for noun, entries in collections.items()}
    return {noun: names for noun, names in near.items() if names}


@dataclass(frozen=True)
class _Figure:
    """One figure of an entry, SI, and where it comes from."""

    name: str
    value: Any
    unit: str = ""
    source: "Source | str" = "counted"

    def __str__(self) -> str:
        from secondorder.quantities import pretty

        if isinstance(self.value, (bool, str)):
            return str(self.value).lower() if isinstance(self.value, bool) else self.value
        if isinstance(self.value, int) and not self.unit:
            return str(self.value) if self.name == "released" else f"{self.value:,}"
        if self.unit == "byte" and self.value % 2**30 == 0:
            return f"{self.value / 2**30:,.10g} GiB"
        if self.unit == "s" and self.value >= 3600:
            return pretty(self.value / 3600, "h")
        return pretty(self.value, self.unit)


@dataclass(frozen=True)
class _Shown:
    """An entry of a collection."""

    noun: str
    name: str
    entry: Any

    @property
    def figures(self) -> list[_Figure]:
        return [*_figures(self.entry), *_DERIVED[self.noun](self.entry)]

    @property
    def records(self) -> list[dict[str, Any]]:
        """One row a figure."""
        return [
            {
                "collection": self.noun,
                "name": self.name,
                "figure": figure.name,
                "value": figure.value,
                "unit": figure.unit,
                "source": str(figure.source),
            }
            for figure in self.figures
        ]


def _figures(entry: Any) -> Iterator[_Figure]:
    """The fields of an entry, those of its parts included."""
    yield from _fields(entry, "", getattr(entry, "sources", {}), "default")


def _fields(part: Any, within: str, sources: "Mapping[str, Source]", source: "Source | str") -> Iterator[_Figure]:
    for field in fields(part):
        value, name = getattr(part, field.name), within + field.name
        if field.name not in ("sources", "source", "note", "weight", "input", "output") and value is not None:
            yield from _parts(name, value, sources, sources.get(name, source))


def _parts(name: str, value: Any, sources: "Mapping[str, Source]", source: "Source | str") -> Iterator[_Figure]:
    from secondorder.quantities import Quantity, si

    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _parts(f"{name}.{key}", part, sources, source)
    elif hasattr(value, "sources"):  # an entry of its own: only its name
        yield _Figure(name, _key(value), "", source)
    elif is_dataclass(value):
        yield from _fields(value, f"{name}.", sources, source)
    elif isinstance(value, Quantity):
        unit = f"{value.u:~D}".replace(" ", "")
        yield _Figure(name, si(value), {"B": "byte", "B/s": "byte/s"}.get(unit, unit), source)
    elif name != "name":
        yield _Figure(name, value, "", source)


def _key(entry: Any) -> str:
    """The name by which the zoo knows an entry."""
    return next(name for one in _collections().values() for name, known in one.items() if known is entry)


# What follows from the figures


def _of_accelerator(accelerator: Any) -> Iterator[_Figure]:
    for precision in accelerator.peak:
        yield _Figure(f"ridge_point.{precision}", accelerator.ridge_point(precision), "FLOP/byte")


def _of_node(node: Any) -> Iterator[_Figure]:
    from secondorder.quantities import si

    if "bf16" in node.accelerator.peak:
        yield _Figure("peak.bf16", node.accelerators * node.accelerator.peak_flops("bf16"), "FLOP/s")
    yield _Figure("memory_capacity", node.accelerators * si(node.accelerator.memory_capacity), "byte")


def _of_cluster(cluster: Any) -> Iterator[_Figure]:
    yield _Figure("accelerators", cluster.accelerators)
    for figure in _of_node(cluster.node):
        yield _Figure(figure.name, cluster.nodes * figure.value, figure.unit)
    if cluster.failures is not None:
        yield _Figure("mtbf", cluster.failures.mtbf(cluster.count(cluster.failures.per)), "s")


def _of_failure_rates(rates: Any) -> Iterator[_Figure]:
    if rates.mttf is None:
        yield _Figure("mttf", 1 / rates.rate, "s")
    yield _Figure("failures_in_1000_days", 1000 * 86_400 * rates.rate)


def _nothing(_: Any) -> Iterator[_Figure]:
    yield from ()


def _of_model(model: Any) -> Iterator[_Figure]:
    from secondorder.workloads.transformer import Transformer

    if isinstance(model, Transformer):
        yield _Figure("parameters", int(model.parameters))
        yield _Figure("active_parameters", int(model.active_parameters))
        yield _Figure("kv_bytes_per_token.bf16", model.kv_bytes_per_token("bf16"), "byte")
    yield _Figure("weight_bytes.bf16", model.weight_bytes("bf16"), "byte")


def _of_lengths(law: Any) -> Iterator[_Figure]:
    yield _Figure("pairs", len(law), "", law.source)
    for name in ("mean_input", "mean_output", "max_input", "max_output"):
        yield _Figure(name, getattr(law, name), "token", law.source)
    for name in ("scv_input", "scv_output", "correlation"):
        yield _Figure(name, getattr(law, name), "", law.source)


_DERIVED: Mapping[str, Callable[[Any], Iterator[_Figure]]] = {
    "accelerators": _of_accelerator,
    "nodes": _of_node,
    "fabrics": _nothing,
    "storages": _nothing,
    "clusters": _of_cluster,
    "failure_rates": _of_failure_rates,
    "models": _of_model,
    "lengths": _of_lengths,
}

# Grids

_COLUMNS = {
    "accelerators": {
        "memory_capacity": "memory",
        "memory_bandwidth": "bandwidth",
        "peak.bf16": "bf16",
        "peak.fp8": "fp8",
        "link_bandwidth": "links",
        "power": "power",
        "released": "year",
    },
    "nodes": {
        "accelerator": "accelerator",
        "accelerators": "number",
        "link.bandwidth": "links",
        "link.latency": "latency",
        "power": "power",
    },
    "fabrics": {
        "link.bandwidth": "bandwidth",
        "link.latency": "latency",
        "oversubscription": "oversubscription",
    },
    "storages": {"write_bandwidth": "write", "read_bandwidth": "read", "node_bandwidth": "one node"},
    "clusters": {
        "node": "node",
        "nodes": "nodes",
        "accelerators": "accelerators",
        "fabric": "fabric",
        "mtbf": "mtbf",
    },
    "failure_rates": {"per": "of one", "mttf": "mttf", "failures_in_1000_days": "in 1,000 days"},
    "models": {
        "parameters": "parameters",
        "active_parameters": "active",
        "layers": "layers",
        "kv_bytes_per_token.bf16": "cache/token",
        "max_context": "context",
    },
    "lengths": {
        "mean_input": "mean input",
        "mean_output": "mean output",
        "scv_input": "scv input",
        "scv_output": "scv output",
        "correlation": "correlation",
    },
}
"""The figures that a list shows, and what it calls them."""


def _lists(shown: list[_Shown]) -> "Iterator[Grid]":
    """A grid for each collection."""
    from secondorder.report.tables import Grid

    for noun in dict.fromkeys(one.noun for one in shown):
        entries = [one for one in shown if one.noun == noun]
        columns = _COLUMNS[noun]
        rows, words = [], set[int]()
        for one in entries:
            figures = {figure.name: figure for figure in one.figures}
            rows.append([one.name, *(_short(figures[name]) if name in figures else "" for name in columns)])
            words |= {place for place, name in enumerate(columns, 1) if _is_word(figures.get(name))}
        numbers = frozenset(range(1, len(columns) + 1)) - words
        yield Grid(header=[noun, *columns.values()], rows=rows, numbers=numbers)


def _is_word(figure: _Figure | None) -> bool:
    return figure is not None and isinstance(figure.value, str)


def _short(figure: _Figure) -> str:
    """As in a list: large counts in billions and millions."""
    from secondorder.quantities import pretty

    if figure.name.endswith("parameters"):
        scale, letter = (1e9, "B") if figure.value >= 1e9 else (1e6, "M")
        return f"{pretty(figure.value / scale, '')} {letter}"
    return str(figure)


def _entry_grid(shown: _Shown) -> "Grid":
    """Every figure of one entry with a mark for its source; the sources below."""
    from secondorder.report.tables import Grid, superscript

    sources: dict[Source, int] = {}
    rows = []
    for figure in shown.figures:
        source = figure.source
        mark = source if isinstance(source, str) else superscript(sources.setdefault(source, len(sources) + 1))
        rows.append([figure.name, str(figure), mark])
    note = getattr(shown.entry, "note", "")
    below = [f"{superscript(number)} {_cited(source)}" for source, number in sources.items()]
    title = shown.name if shown.entry.name == shown.name else f"{shown.name}: {shown.entry.name}"
    above = [title, *([note] if note else [])]
    return Grid(header=["figure", "value", "source"], rows=rows, above=above, below=below, numbers=frozenset({1}))


def _cited(source: "Source") -> str:
    checked = f"; checked {source.checked}" if source.checked else ""
    note = f"; {source.note}" if source.note else ""
    return f"{source}{checked}{note}" + (f" {source.url}" if source.url else "")
