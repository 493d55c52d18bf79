"""``secondorder validate``: the closed forms against the simulation, claim by claim."""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, starmap
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from secondorder.cli.coverage import service_coverage, tell_time
from secondorder.cli.drawing import Report, check_folder, write_report
from secondorder.cli.options import NOT_KEPT, PRINTED, Jobs, Kept, Output, Seed, at_least, truth
from secondorder.cli.output import check_output, emit
from secondorder.cli.progress import Counted, progress
from secondorder.errors import ConstraintNotMet, InputError, UnknownName

if TYPE_CHECKING:
    from secondorder.report.tables import Grid
    from secondorder.validation.borders import Border
    from secondorder.validation.catalogue import Judged
    from secondorder.validation.catalogue.reference import Covered, Excluded
    from secondorder.validation.coverage import Coverage
    from secondorder.validation.published import Published

EXAMPLE = """\
Examples:

  secondorder validate

  secondorder validate --suite serving --format json

  secondorder validate --suite theory --format markdown

  secondorder validate --coverage --reference queueing.csv

  secondorder validate --coverage --suite serving --service code --seeds 40
    --store coverage.db --resume

Exit code 4 if an exact claim or a bound breaks, or a counterexample does not.
Approximations are shown with the borders past which they are more than
5, 10 and 25 % off.
"""

CORES = min(2, os.cpu_count() or 1)
CLAIMS = Group("Claims", sort_key=1)


def validate(
    *,
    suite: Annotated[
        str | None,
        Parameter(
            group=CLAIMS,
            metavar="NAME",
            help="Only these claims: queueing, serving, deployment, training, theory or published.",
            show_default="all",
        ),
    ] = None,
    thorough: Annotated[
        bool,
        Parameter(
            group=CLAIMS,
            help="Make margins of exact claims 2.5 times stricter; takes far longer.",
            negative="",
            show_default=truth,
        ),
    ] = False,
    coverage: Annotated[
        bool,
        Parameter(
            group=CLAIMS,
            help="Instead show how often intervals hold the truth: of queues by the reference values, of services by "
            "runs a hundred times longer.",
            negative="",
            show_default=truth,
        ),
    ] = False,
    reference: Annotated[
        str | None,
        Parameter(
            group=CLAIMS,
            metavar="FILE",
            help="Reference values for --coverage, queueing.csv.",
            show_default="../shared/reference/queueing.csv",
        ),
    ] = None,
    seeds: Annotated[
        int,
        Parameter(group=CLAIMS, converter=at_least(2), help="Seeds of each service for --coverage."),
    ] = 200,
    service: Annotated[
        str | None,
        Parameter(
            group=CLAIMS,
            metavar="NAME",
            help="Only the services with this in their name, for --coverage.",
            show_default="all",
        ),
    ] = None,
    seed: Seed = 0,
    jobs: Jobs = CORES,
    kept: Kept = NOT_KEPT,
    report: Report = None,
    out: Output = PRINTED,
) -> None:
    """Run the catalogue of claims: closed forms against simulations, with verdicts."""
    check_output(out)
    if reference is not None and not coverage:
        raise InputError("reference", given="--reference alone", expected="--coverage too")
    if coverage and thorough:
        raise InputError("thorough", given="--thorough with --coverage", expected="one of the two")
    if report is not None and coverage:
        raise InputError("report", given="--report with --coverage", expected="one of the two")
    if kept != NOT_KEPT and not coverage:
        raise InputError("store", given="--store, --resume or --cluster alone", expected="--coverage too")
    check_folder(report)
    if not coverage:
        _catalogue(suite, thorough, seed, jobs, out, report)
        return
    if suite not in (None, "queueing", "serving"):
        raise UnknownName.among("suite", str(suite), ["queueing", "serving"])
    if suite != "serving" and service is None:
        _coverage(reference, seed, jobs, kept, out)
    if suite != "queueing":
        service_coverage(service, seeds, seed, jobs, kept, out)


def _catalogue(suite: str | None, thorough: bool, seed: int, jobs: int, out: Output, report: str | None) -> None:
    from secondorder.validation.borders import SHAPES, borders_of
    from secondorder.validation.catalogue import SUITES, run_catalogue, twins
    from secondorder.validation.catalogue.rows import border_record, judged_record, published_record
    from secondorder.validation.published import published

    if suite not in (None, "published", *SUITES):
        raise UnknownName.among("suite", str(suite), [*SUITES, "published"])
    chosen = () if suite == "published" else twins(suite)
    shapes = SHAPES if suite in (None, "queueing") else ()
    with progress("validating", len(chosen) + len(shapes)) as done:
        judged = run_catalogue(chosen, seed=seed, thorough=thorough, jobs=jobs, done=done)
        borders = [each for found in in_parallel(borders_of, shapes, seed, jobs, done) for each in found]
    suites = groupby(judged, key=lambda each: each.twin.suite)
    grids = [_grid(name, list(group), wide=out.format == "markdown") for name, group in suites]
    grids += [_borders_grid(borders)] if borders else []
    figures = published(seed=seed) if suite in (None, "published") else []
    grids += [_published_grid(figures)] if figures else []
    rows = [*map(judged_record, judged), *map(border_record, borders), *map(published_record, figures)]
    emit(rows, grids, out)
    if report is not None:
        from secondorder.report.page import Section

        write_report("The catalogue of claims", [Section(title=suite or "all suites", grids=grids)], report)
    if broken := dict.fromkeys(f"{each.twin.title} ({each.metric})" for each in judged if each.fails):
        raise ConstraintNotMet(f"{len(broken)} that must hold broke: {'; '.join(broken)}")


def in_parallel(action: Any, items: Sequence[Any], seed: int, jobs: int, done: Any) -> Iterator[Any]:
    """``action(item, seed)`` of each, ``jobs`` at a time."""
    from secondorder.executor import run_each

    for found in run_each(lambda item: action(item, seed), items, jobs):
        done()
        yield found


def _coverage(reference: str | None, seed: int, jobs: int, kept: Kept, out: Output) -> None:
    from secondorder.studies.coverage import covered_queues
    from secondorder.validation.catalogue.reference import LEAST, MOST, pool, read_reference

    systems, excluded = read_reference(_reference(reference))
    began = time.monotonic()
    rows = covered_queues(systems, seed=seed, keeping=kept.keeping(jobs, Counted()))
    pools = {"means and probabilities": pool(rows, quantile=False), "p99": pool(rows, quantile=True)}
    seeds = sum(system.seeds for system in systems)
    tell_time(began, jobs)
    records = [*map(_row_record, rows), *starmap(_pool_record, pools.items()), *map(_excluded_record, excluded)]
    emit(records, [_coverage_grid(rows, pools, excluded, f"{seeds:,} seeds")], out)
    if missed := [name for name, found in pools.items() if not LEAST <= found.share <= MOST]:
        raise ConstraintNotMet(f"coverage outside {LEAST:.0%} to {MOST:.0%}: {', '.join(missed)}")


def _reference(given: str | None) -> Path:
    """The file named, else the one in ``shared/reference`` beside the project."""
    import secondorder

    return Path(given) if given else Path(secondorder.__file__).parents[2] / "shared/reference/queueing.csv"


# Tables and records


def _row_record(each: "Covered") -> dict[str, Any]:
    from secondorder.answers.declared import QUEUE
    from secondorder.answers.metric import declared

    metric = declared(QUEUE, each.row.metric)
    unit = "" if metric is None else metric.unit
    return _record("row", each.row.system, each.row.metric, each.row.truth, each.coverage, unit=unit)


def _pool_record(name: str, found: "Coverage") -> dict[str, Any]:
    return _record("pool", "all", name, None, found)


def _excluded_record(each: "Excluded") -> dict[str, Any]:
    system, _, quantity = each.row.rpartition(": ")
    return _record("excluded", system, quantity, None, None, note=each.why)


def _record(
    kind: str,
    system: str,
    quantity: str,
    truth: float | None,
    found: "Coverage | None",
    *,
    unit: str = "",
    note: str = "",
) -> dict[str, Any]:
    low, high = found.bounds() if found else (None, None)
    counts = (found.intervals, found.share) if found else (None, None)
    return {
        "kind": kind, "system": system, "metric": quantity, "unit": unit, "truth": truth, "intervals": counts[0],
        "coverage": counts[1], "ci_low": low, "ci_high": high, "note": note,
    }  # fmt: skip


def _coverage_grid(
    rows: "Sequence[Covered]", pools: "Mapping[str, Coverage]", excluded: "Sequence[Excluded]", number: str
) -> "Grid":
    from secondorder.report.tables import Grid
    from secondorder.validation.catalogue.reference import LEAST, MOST

    lines = [[each.row.system, each.row.metric, *_shares(each.coverage)] for each in rows]
    lines += [[f"all {name}", "", *_shares(found)] for name, found in pools.items()]
    return Grid(
        header=["system", "metric", "of", "held", "95 %"],
        rows=lines,
        above=[
            f"how often 95 % intervals of 10 replications hold the exact value; {number}",
            f"all: must be from {LEAST:.0%} to {MOST:.0%}; rows of one system share their runs",
        ],
        below=_left_out(excluded),
        numbers=frozenset({2, 3, 4}),
        breaks=frozenset({len(rows) - 1}),
    )


def _shares(found: "Coverage") -> list[str]:
    low, high = found.bounds()
    return [f"{found.intervals:,}", f"{found.share:.1%}", f"{low:.0%} to {high:.0%}"]


def _left_out(excluded: "Sequence[Excluded]") -> list[str]:
    """The rows that are not simulated, by the reason."""
    reasons: dict[str, list[str]] = {}
    for each in excluded:
        reasons.setdefault(each.why, []).append(each.row)
    return [
        f"not simulated: {len(excluded)} rows",
        *(f"- {why} ({len(rows)}): {'; '.join(dict.fromkeys(rows))}" for why, rows in reasons.items()),
    ]


def _grid(suite: str, judged: "Sequence[Judged]", *, wide: bool) -> "Grid":
    from secondorder.report.theory import theory_grid

    return theory_grid(judged, wide=wide) if suite == "theory" else _twins_grid(suite, judged)


def _twins_grid(suite: str, judged: "Sequence[Judged]") -> "Grid":
    """A row a metric; under a claim's title how its numbers were obtained."""
    from secondorder.report.tables import Grid

    rows = [row for _, group in groupby(judged, key=lambda each: each.twin.title) for row in _twin_rows(list(group))]
    held = sum(each.verdict == "agrees" for each in judged)
    above = [
        f"{suite}: {held} of {len(judged)} agree",
        "error: formula/simulated - 1 in %, ± 95 %; a formula agrees if within the margin (a bound if the "
        "simulation is not above it by more), with 95 % confidence for all claims at once; the number of runs "
        "is followed by how many customers or stories they hold",
    ]
    header = ["claim", "metric", "error", "margin", "verdict"]
    return Grid(header=header, rows=rows, above=above, numbers=frozenset({2, 3}))


KINDS = {"exact": "exact", "approximation": "approx", "bound": "bound"}


def _twin_rows(group: "Sequence[Judged]") -> list[list[str]]:
    twin = group[0].twin
    left = [twin.title, f"  {KINDS[twin.kind]}, {_length(group)}"]
    return [
        [left[place] if place < 2 else "", *(_cells(group[place]) if place < len(group) else [""] * 4)]
        for place in range(max(2, len(group)))
    ]


def _cells(judged: "Judged") -> list[str]:
    error = judged.error
    assert error.low is not None
    assert error.high is not None
    shown = f"{100 * error.mean:+.1f} ± {50 * abs(error.high - error.low):.1f}"
    return [judged.metric.replace("_class_", " "), shown, f"{100 * judged.margin:.2g} %", str(judged.verdict)]


def _length(group: "Sequence[Judged]") -> str:
    """The longest of its runs: replications and customers."""
    longest = max((each.how for each in group), key=lambda how: int(how.split()[2].replace(",", "")))
    count, _, customers, _ = longest.split(";")[0].split()
    total = int(customers.replace(",", ""))
    return f"{count} runs, {total / 1e6:.2g} M" if total >= 1e5 else f"{count} runs, {total:,}"


def _published_grid(figures: "Sequence[Published]") -> "Grid":
    """Two lines a claim: the claim and how it fares, then its source; the notes below."""
    from secondorder.report.tables import Grid, superscript

    rows: list[list[str]] = []
    notes: list[str] = []
    sources = list(dict.fromkeys(figure.source for figure in figures))
    for figure in figures:
        mark = ""
        if figure.note:
            notes += [figure.note] if figure.note not in notes else []
            mark = superscript(notes.index(figure.note) + 1)
        first, *rest = wrap(f"{figure.claim} [{sources.index(figure.source) + 1}]{mark}", 30)
        rows.append([first, _theirs(figure), _ours(figure), figure.unit, _mismatch(figure)])
        rows += [[line, "", "", "", ""] for line in rest]
    predicted = [figure for figure in figures if figure.standing == "predicted"]
    agreed = sum(figure.verdict == "agrees" for figure in predicted)
    above = [
        f"published: {agreed} of {len(predicted)} that ours predict agree; ours with its interval, if it has one",
        "fitted: a value of ours was chosen to meet it; open: the source does not state what a prediction takes",
    ]
    below = [f"[{place + 1}] {source}" for place, source in enumerate(sources)]
    below += [f"{superscript(place + 1)} {note}" for place, note in enumerate(notes)]
    header = ["claim", "theirs", "ours", "", "verdict"]
    return Grid(header=header, rows=rows, above=above, below=below, numbers=frozenset({1, 2}))


def _theirs(figure: "Published") -> str:
    least, most = figure.least, figure.most
    if math.isnan(least):
        return ""
    if most == math.inf:
        return f">= {_brief(least)}"
    return _brief(least) if least == most else f"{_brief(least)} to {_brief(most)}"


def _ours(figure: "Published") -> str:
    ours = figure.ours
    if ours.low is None or ours.high is None:
        return _brief(ours.mean)
    return f"{_brief(ours.mean)} ({_brief(ours.low)} to {_brief(ours.high)})"


def _brief(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"


def _mismatch(figure: "Published") -> str:
    if figure.standing != "predicted":
        return figure.standing
    return "mismatch" if figure.mismatch else str(figure.verdict)


def _borders_grid(borders: "Sequence[Border]") -> "Grid":
    from secondorder.report.tables import Grid
    from secondorder.validation.borders import COARSE, FINE, LEVELS

    rows = [[each.formula, _shape(each), *(each.beyond(level) for level in LEVELS)] for each in borders]
    shapes = [each.shape.name for each in borders]
    return Grid(
        header=["formula", "of", *(f"> {level:.0%} off" for level in LEVELS)],
        rows=rows,
        above=[
            "borders: the utilisations at which an approximation is off by more than that share, between "
            f"{FINE[0]:g} and {FINE[-1]:g}; * against the simulation, between {COARSE[0]:g} and {COARSE[-1]:g}, "
            "where a..b is a border somewhere from a to b; the others against exact closed forms"
        ],
        breaks=frozenset(k for k in range(len(shapes) - 1) if shapes[k] != shapes[k + 1]),
    )


def _shape(border: "Border") -> str:
    return border.shape.name if border.shape.exact else f"{border.shape.name} *"
