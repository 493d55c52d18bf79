"""``secondorder validate``: the closed forms against the simulation, claim by claim."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from secondorder.cli.options import PRINTED, SIMULATION, Output, at_least
from secondorder.cli.output import check_output, emit
from secondorder.errors import ConstraintNotMet

if TYPE_CHECKING:
    from secondorder.report.tables import Grid
    from secondorder.validation.borders import Border
    from secondorder.validation.catalogue import Judged

EXAMPLE = """\
Examples:

  secondorder validate

  secondorder validate --suite serving --format json

  secondorder validate --coverage --reference queueing.csv

Exit code 4 if an exact claim or a bound breaks; approximations are shown with the
borders past which they are more than 5, 10 and 25 % off.
"""

Seed = Annotated[int, Parameter(group=SIMULATION, converter=at_least(0), help="Of the random numbers.")]
Jobs = Annotated[int, Parameter(group=SIMULATION, converter=at_least(1), help="Processes that share the work.")]


def validate(
    *,
    suite: Annotated[str | None, Parameter(help="Only these claims: queueing or serving.")] = None,
    thorough: Annotated[
        bool, Parameter(help="Margins of exact claims 2.5 times stricter; takes far longer.", negative="")
    ] = False,
    coverage: Annotated[
        bool, Parameter(help="Instead, how often intervals hold the reference values.", negative="")
    ] = False,
    reference: Annotated[str | None, Parameter(help="File of reference values for --coverage.")] = None,
    seed: Seed = 0,
    jobs: Jobs = min(2, os.cpu_count() or 1),
    out: Output = PRINTED,
) -> None:
    """Run the catalogue of claims: each closed form beside its simulation, with a verdict."""
    check_output(out)
    if coverage:
        _coverage(reference, seed, jobs, out)
        return
    _catalogue(suite, thorough, seed, jobs, out)


def _catalogue(suite: str | None, thorough: bool, seed: int, jobs: int, out: Output) -> None:
    from secondorder.validation.borders import SHAPES, borders_of
    from secondorder.validation.catalogue import run_catalogue, twins
    from secondorder.validation.catalogue.rows import border_record, judged_record

    chosen = twins(suite)
    shapes = SHAPES if suite in (None, "queueing") else ()
    with progress("validating", len(chosen) + len(shapes)) as done:
        judged = run_catalogue(chosen, seed=seed, thorough=thorough, jobs=jobs, done=done)
        borders = [each for found in in_parallel(borders_of, shapes, seed, jobs, done) for each in found]
    grids = [_twins_grid(name, list(group)) for name, group in groupby(judged, key=lambda each: each.twin.suite)]
    grids += [_borders_grid(borders)] if borders else []
    emit([*map(judged_record, judged), *map(border_record, borders)], grids, out)
    if broken := dict.fromkeys(f"{each.twin.title} ({each.metric})" for each in judged if each.fails):
        raise ConstraintNotMet(f"{len(broken)} that must hold broke: {'; '.join(broken)}")


def in_parallel(action: Any, items: Sequence[Any], seed: int, jobs: int, done: Any) -> Iterator[Any]:
    """``action(item, seed)`` of each, ``jobs`` at a time."""
    from joblib import Parallel, delayed

    for found in Parallel(n_jobs=jobs, return_as="generator")(delayed(action)(item, seed) for item in items):
        done()
        yield found


@contextmanager
def progress(what: str, total: int) -> Iterator[Any]:
    """A bar on standard error, if that is a terminal; the function to call after each step."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


# Tables


def _twins_grid(suite: str, judged: "Sequence[Judged]") -> "Grid":
    """A row a metric; under a claim's title how its numbers were come by."""
    from secondorder.report.tables import Grid

    rows: list[list[str]] = []
    breaks = set()
    for _, group in groupby(judged, key=lambda each: each.twin.title):
        rows += _twin_rows(list(group))
        breaks.add(len(rows) - 1)
    held = sum(each.verdict == "agrees" for each in judged)
    above = [
        f"{suite}: {held} of {len(judged)} agree",
        "error: formula/simulated - 1 in %, ± 95 %; a formula agrees if within the margin, "
        "with 95 % confidence for all claims at once (Holm)",
    ]
    header = ["claim", "kind", "metric", "error", "margin", "verdict"]
    return Grid(
        header=header, rows=rows, above=above, numbers=frozenset({3, 4}), breaks=frozenset(breaks - {len(rows) - 1})
    )


KINDS = {"exact": "exact", "approximation": "approx", "bound": "bound"}


def _twin_rows(group: "Sequence[Judged]") -> list[list[str]]:
    first = group[0]
    left = [[first.twin.title, KINDS[first.twin.kind]], [f"  {_length(group)}", ""]]
    rows = []
    for place in range(max(2, len(group))):
        begin = left[place] if place < 2 else ["", ""]
        rows.append([*begin, *(_cells(group[place]) if place < len(group) else [""] * 4)])
    return rows


def _cells(judged: "Judged") -> list[str]:
    error = judged.error
    assert error.low is not None
    assert error.high is not None
    shown = f"{100 * error.mean:+.1f} ± {50 * (error.high - error.low):.1f}"
    verdict = "above it" if judged.twin.kind == "bound" and judged.verdict == "agrees" else str(judged.verdict)
    return [judged.metric.replace("_class_", " "), shown, f"{100 * judged.margin:.2g} %", verdict]


def _length(group: "Sequence[Judged]") -> str:
    """The longest of its runs: replications and customers."""
    longest = max((each.how for each in group), key=lambda how: int(how.split()[2].replace(",", "")))
    count, _, customers, _ = longest.split(";")[0].split()
    return f"{count} runs, {int(customers.replace(',', '')) / 1e6:.2g} M customers"


def _borders_grid(borders: "Sequence[Border]") -> "Grid":
    from secondorder.report.tables import Grid
    from secondorder.validation.borders import COARSE, FINE, LEVELS

    rows = [
        [each.formula, each.shape.name, each.shape.against, *(each.beyond(level) for level in LEVELS)]
        for each in borders
    ]
    shapes = [each.shape.name for each in borders]
    return Grid(
        header=["formula", "of", "against", *(f"> {level:.0%} off" for level in LEVELS)],
        rows=rows,
        above=[
            "borders: the utilisations at which an approximation is more than so much off, between "
            f"{FINE[0]:g} and {FINE[-1]:g} ({COARSE[0]:g} and {COARSE[-1]:g} against the simulation)"
        ],
        breaks=frozenset(k for k in range(len(shapes) - 1) if shapes[k] != shapes[k + 1]),
    )
