"""``secondorder zoo``: what is known by name, with every figure and its source."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from secondorder.cli.conditions import check_figure, condition, meeting, sorted_by
from secondorder.cli.figures import Entry, Figure, collections
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

  secondorder zoo accelerators --where "memory_capacity >= 80 GB"
    --where "released >= 2022" --where peak.fp8 --sort memory_bandwidth
  secondorder zoo accelerators --where "vendor = AMD" --format csv
  secondorder zoo models --where "parameters < 4e9" --sort parameters
  secondorder zoo accelerators --where "power < 1 W"     (microcontrollers)

One entry lists the names of all its figures.
"""
CHOICE = Group("Choice", sort_key=1)


def zoo(
    collection: Annotated[
        str,
        Parameter(
            help="accelerators, prices, nodes, fabrics, storages, clusters, failure_rates, regions, facilities, "
            "models or lengths.",
            show_default="all",
        ),
    ] = "",
    name: Annotated[
        str, Parameter(help="An entry to show (h100_sxm), or a part of the names to list (h100).", show_default="all")
    ] = "",
    /,
    *,
    where: Annotated[
        list[str] | None,
        Parameter(
            group=CHOICE,
            metavar="CONDITION",
            help='"FIGURE > VALUE", "memory_capacity >= 80 GB"; also <, <=, =, !=; FIGURE alone: those that have it. '
            "May be repeated: all must hold.",
            negative="",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        Parameter(
            group=CHOICE,
            metavar="FIGURE",
            help="Figure to sort by, such as memory_bandwidth; numbers in descending order.",
        ),
    ] = None,
    out: Output = PRINTED,
) -> None:
    """List the zoo, or show one entry with its sources."""
    check_output(out)
    found = _found(collection, name)
    headings = _headings(found)
    conditions = [replace(one, figure=headings.get(one.figure, one.figure)) for one in map(condition, where or ())]
    shown = meeting(found, conditions)
    if sort is not None:
        sort = headings.get(sort, sort)
        check_figure("sort", sort, found)
        shown = sorted_by(sort, shown)
    if not shown:
        print(f"none of {len(found)}", file=sys.stderr)
    exact = len(shown) == 1 and shown[0].name in (collection, name)
    varied = [one.figure for one in conditions if one.relation != "="]
    asked = dict.fromkeys([*varied, *([sort] if sort else [])])
    grids = [_entry_grid(shown[0])] if exact else list(_lists(shown, list(asked), grouped=sort is None))
    emit([record for one in shown for record in one.records], grids, out)


def _found(collection: str, name: str) -> list[Entry]:
    """The entries that the two positional arguments name."""
    known = collections()
    if collection and collection not in known:
        found = _find(known, collection) if not name else {}
        if not found:
            every = [*known, *(entry for one in known.values() for entry in one)]
            error = UnknownName.among("zoo", collection, every)
            error.remedy = error.remedy or '"secondorder zoo" lists them'
            raise error
    else:
        chosen = {collection: known[collection]} if collection else known
        found = _find(chosen, name)
        if not found:
            raise chosen[collection].unknown(name, collection)
    return [Entry(noun, entry, known[noun][entry]) for noun, entries in found.items() for entry in entries]


def _find(collections: "Mapping[str, Zoo[Any]]", part: str) -> dict[str, list[str]]:
    """The entry of that name, or else those that have it in their name."""
    for noun, entries in collections.items():
        if part in entries:
            return {noun: [part]}
    near = {noun: [name for name in entries if part.lower() in name] for noun, entries in collections.items()}
    return {noun: names for noun, names in near.items() if names}


# Grids

_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "accelerators": {
        "memory_capacity": "memory",
        "memory_bandwidth": "bandwidth",
        "peak.bf16 peak.fp16": "bf16/fp16",
        "peak.fp8 peak.int8": "fp8/int8",
        "power": "power",
        "released": "year",
        "link_bandwidth": "links",
    },
    "prices": {"accelerator": "accelerator", "rental": "rental", "purchase": "purchase", "date": "date"},
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
    "regions": {
        "carbon_intensity": "carbon intensity",
        "basis": "basis",
        "electricity_price": "electricity",
        "year": "year",
    },
    "facilities": {"pue": "pue", "wue": "wue"},
    "models": {
        "parameters": "parameters",
        "active_parameters": "active",
        "layers": "layers",
        "kv_bytes_per_token.bf16": "cache/token",
        "max_context": "context",
    },
    "networks": {
        "parameters": "parameters",
        "flops_per_input": "work/input",
        "layers": "layers",
        "activations": "activations",
    },
    "lengths": {
        "mean_input": "mean input",
        "mean_output": "mean output",
        "scv_input": "scv input",
        "scv_output": "scv output",
        "correlation": "correlation",
    },
}
"""The figures that a list shows, and what it calls them; of two, the larger that an entry has."""

_GROUPS = {"accelerators": "vendor", "regions": "basis"}
"""The figure by which rows are grouped."""


def _headings(found: Sequence[Entry]) -> dict[str, str]:
    """The figure that each column of the lists shows, where it is one figure."""
    columns = [column for noun in dict.fromkeys(map(_list, found)) for column in _COLUMNS[noun].items()]
    return {heading: figure for figure, heading in columns if " " not in figure}


def _lists(shown: Sequence[Entry], asked: Sequence[str], grouped: bool) -> "Iterator[Grid]":
    """A grid for each list, of the figures that were asked for and as many of the usual ones as 80 columns hold."""
    for noun in dict.fromkeys(map(_list, shown)):
        yield _grid(noun, [one for one in shown if _list(one) == noun], asked, grouped)


def _list(entry: Entry) -> str:
    """The list that an entry is in: networks have one of their own among the models."""
    return "networks" if entry.noun == "models" and "kv_heads" not in entry.figures else entry.noun


def _grid(noun: str, entries: Sequence[Entry], asked: Sequence[str], grouped: bool) -> "Grid":
    from secondorder.report.tables import WIDTH, Grid

    usual = _COLUMNS[noun]
    known = {choice for choices in usual for choice in choices.split()}
    columns = {**{figure: figure for figure in asked if figure not in known}, **usual}
    cells = [[_cell(entry, column) for column in columns] for entry in entries]
    wanted = sum(figure not in known for figure in asked)
    widths = [max(map(len, each)) for each in zip(columns.values(), *cells, strict=True)]
    room = WIDTH - max(len(text) for text in (noun, *(entry.name for entry in entries)))
    kept = max(wanted, sum(sum(widths[: place + 1]) + place + 1 <= room for place in range(len(widths))))
    rows = [[entry.name, *row[:kept]] for entry, row in zip(entries, cells, strict=True)]
    words = {place for place, column in enumerate(columns, 1) if any(_is_word(entry, column) for entry in entries)}
    groups = [str(entry.figures[_GROUPS[noun]]) for entry in entries] if noun in _GROUPS and grouped else []
    numbers = frozenset(range(1, kept + 1)) - words
    return Grid(header=[noun, *list(columns.values())[:kept]], rows=rows, numbers=numbers, breaks=_breaks(groups))


def _breaks(groups: Sequence[str]) -> frozenset[int]:
    """The rows after which a group ends; groups of one row are not separated."""
    ends = (place for place, (this, following) in enumerate(pairwise(groups)) if this != following)
    return frozenset(end for end in ends if groups.count(groups[end]) + groups.count(groups[end + 1]) > 2)


def _figure(entry: Entry, column: str) -> Figure | None:
    known = [entry.figures[name] for name in column.split() if name in entry.figures]
    return known[0] if len(known) == 1 else max(known, key=lambda figure: figure.value, default=None)


def _cell(entry: Entry, column: str) -> str:
    figure = _figure(entry, column)
    return "" if figure is None else figure.short


def _is_word(entry: Entry, column: str) -> bool:
    figure = _figure(entry, column)
    return figure is not None and isinstance(figure.value, str)


def _entry_grid(shown: Entry) -> "Grid":
    """Every figure of one entry with a mark for its source; the sources below."""
    from secondorder.report.tables import Grid, superscript

    sources: dict[Source, int] = {}
    rows = []
    for figure in shown.figures.values():
        source = figure.source
        mark = source if isinstance(source, str) else superscript(sources.setdefault(source, len(sources) + 1))
        rows.append([figure.name, str(figure), mark])
    note = getattr(shown.known, "note", "")
    below = [f"{superscript(number)} {_cited(source)}" for source, number in sources.items()]
    title = shown.name if shown.known.name == shown.name else f"{shown.name}: {shown.known.name}"
    above = [title, *([note] if note else [])]
    return Grid(header=["figure", "value", "source"], rows=rows, above=above, below=below, numbers=frozenset({1}))


def _cited(source: "Source") -> str:
    checked = f"; checked {source.checked}" if source.checked else ""
    note = f"; {source.note}" if source.note else ""
    return f"{source}{checked}{note}" + (f" {source.url}" if source.url else "")
