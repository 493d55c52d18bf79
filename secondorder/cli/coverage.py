"""``secondorder validate --coverage`` of services: how often the intervals of default runs hold the truth."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from secondorder.cli.options import Kept, Output
from secondorder.cli.output import emit
from secondorder.cli.progress import Counted
from secondorder.errors import ConstraintNotMet, UnknownName

if TYPE_CHECKING:
    from secondorder.report.tables import Grid
    from secondorder.validation.catalogue.services import Cell
    from secondorder.validation.coverage import Coverage

BREAKS, AGREES = 0.01, 0.05
"""Shares of wrong verdicts, at most."""


def service_coverage(chosen: str | None, seeds: int, seed: int, jobs: int, kept: Kept, out: Output) -> None:
    """Try the services, print a row for each, and refuse what covers too seldom."""
    from secondorder.studies.coverage import covered_services
    from secondorder.validation.catalogue.services import services

    every = services()
    wanted = [each for each in every if chosen is None or chosen in each.name]
    if not wanted:
        raise UnknownName.among("service", str(chosen), [each.name for each in every])
    began = time.monotonic()
    cells = list(covered_services(wanted, seeds=seeds, seed=seed, keeping=kept.keeping(jobs, Counted())))
    tell_time(began, jobs)
    emit([record for cell in cells for record in _records(cell)], [_grid(cells, f"{seeds} seeds each")], out)
    if failed := _failures(cells):
        raise ConstraintNotMet("; ".join(failed))


def tell_time(began: float, jobs: int) -> None:
    """On standard error: a study that was resumed prints the same table as one that was not."""
    took = f"{time.monotonic() - began:,.0f} s on {jobs} process{'es' if jobs > 1 else ''}"
    print(f"simulated in {took}", file=sys.stderr)


def _failures(cells: Sequence["Cell"]) -> list[str]:
    from secondorder.validation.catalogue.reference import LEAST, MOST

    failed = [f"{cell.service.name}: {cell.fails}" for cell in cells if cell.fails]
    pool, verdicts = _pool(cells), sum(cell.verdicts for cell in cells)
    low, high = pool.bounds() if pool.intervals else (LEAST, MOST)
    if high < LEAST or low > MOST:
        failed.append(f"coverage outside {LEAST:.0%} to {MOST:.0%}: {pool}")
    if sum(cell.breaks for cell in cells) > BREAKS * verdicts:
        failed.append('"breaks" too often of a formula on the truth')
    if sum(cell.agrees for cell in cells) > AGREES * 2 * verdicts:
        failed.append('"agrees" too often with a formula outside the margin')
    return failed


def _pool(cells: Sequence["Cell"]) -> "Coverage":
    from secondorder.validation.coverage import pooled

    return pooled(found for cell in cells for found in cell.coverage.values())


def _records(cell: "Cell") -> list[dict[str, Any]]:
    """A record for each metric of a service; one that says why where there is none."""
    name = cell.service.name
    rows: list[dict[str, Any]] = []
    for metric, found in cell.coverage.items():
        low, high = found.bounds()
        rows.append({
            "kind": "service", "system": name, "metric": metric, "intervals": found.intervals, "coverage": found.share,
            "ci_low": low, "ci_high": high, "half_width": cell.widths[metric], "note": _refused(cell),
        })  # fmt: skip
    return rows or [{"kind": "service", "system": name, "intervals": 0, "note": _refused(cell)}]


def _refused(cell: "Cell") -> str:
    return ", ".join(f"{why} {count}" for why, count in cell.refusals.items())


def _grid(cells: Sequence["Cell"], number: str) -> "Grid":
    from secondorder.report.tables import Grid

    return Grid(
        header=["service", "runs", *STATISTICS, "all", "± ttft p99", "million", "no interval"],
        rows=[_row(cell) for cell in cells],
        above=[f"how often 95 % intervals of default runs hold the truth of the runs of the other seeds; {number}"],
        below=_totals(cells),
        numbers=frozenset(range(1, 8)),
    )


def _row(cell: "Cell") -> list[str]:
    from secondorder.validation.coverage import pooled

    groups = [[cell.coverage.get(f"{name}_{what}") for name in ("ttft", "tpot", "e2el")] for what in STATISTICS]
    total = pooled(cell.coverage.values())
    shares = [*map(_share, groups), f"{total.share:.1%}" if total.intervals else ""]
    width = f"{cell.widths['ttft_p99']:.1%}" if "ttft_p99" in cell.widths else ""
    return [cell.service.name, f"{cell.decided:,}", *shares, width, f"{cell.spent / 1e6:.2g}", _refused(cell)]


def _totals(cells: Sequence["Cell"]) -> list[str]:
    total, verdicts = _pool(cells), sum(cell.verdicts for cell in cells)
    if not verdicts:
        return []
    breaks, agrees = (sum(counts) / verdicts for counts in zip(*((c.breaks, c.agrees / 2) for c in cells), strict=True))
    return [
        f"all: {total}; the nine intervals of one run share their luck",
        f'a formula on the truth "breaks" in {breaks:.2%} of the verdicts; one that is 1 % outside the margin '
        f'"agrees" in {agrees:.2%}',
    ]


STATISTICS = ("mean", "p50", "p99")


def _share(found: Sequence["Coverage | None"]) -> str:
    """The coverage of the three latencies together."""
    from secondorder.validation.coverage import pooled

    known = [each for each in found if each is not None]
    return f"{pooled(known).share:.1%}" if known else ""
