"""Prefill and decode apart against real engines at fixed concurrency, with whole groups left out of the fit.

    python benchmarks/disaggregated.py [--data FILE] [--fit]

Four constants are fitted on these rows; step times are those of ``MeasuredRoofline``. The sample is read from
../shared/data; skipped where it is absent. Without ``--fit`` the published constants are tried as they are.
"""

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from splits import DATA, Constants, Split, predicted, read

from secondorder.arrays import Floats

if TYPE_CHECKING:
    import pandas as pd

BEFORE = Constants(acceptance=0.7, network_latency=20e-6, network_bandwidth=50e9, prefill_grouped=0.19)
"""What docs/predictions/disaggregated.md speaks of: the closed loops' constants and public figures alone."""
GUESS = Constants(acceptance=0.7, network_latency=25e-6, network_bandwidth=50e9, prefill_grouped=0.28)
"""From public tables, before any fit; the fit is held near it, loosely: one standard deviation is a factor 1.5."""
STEP = 0.05
"""Of the logarithm of a constant, for differences."""
NAMES = tuple(field.name for field in fields(Constants))
WAYS = 10
"""Ways to leave groups out, at least."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--fit", action="store_true", help="fit the constants, with groups left out too")
    options = parser.parse_args()
    if not options.data.is_file():
        print(f"skipped: no sample at {options.data}")
        return
    rows, refused = read(options.data)
    print(f"{len(rows)} rows; left aside: {', '.join(f'{n} ({why})' for why, n in refused.items()) or 'none'}")
    before(frame(rows, BEFORE))
    table = frame(rows, Constants())
    summary("published constants", table)
    by_layout(table)
    repeats(table)
    if options.fit:
        fitted(rows)


def frame(rows: Sequence[Split], constants: Constants) -> "pd.DataFrame":
    """A row each: what it is, the layout, and the relative errors of both medians."""
    import pandas as pd

    found = []
    for row in rows:
        said, s = predicted(row.setting, constants), row.setting
        layout = f"{s.prefill.replicas} {s.prefill.kind} > {s.decode.replicas} {s.decode.kind}"
        parallel = {"prefill": s.prefill.kind, "decode": s.decode.kind, "layout": layout}
        columns = {"drafts": s.drafted, "users": s.users, "known": row.known, "ttft": row.ttft, "tpot": row.tpot}
        kind = {"system": s.system, "engine": s.engine, "model": s.model, "precision": s.precision, "input": s.input}
        errors = {"tpot error": said.tpot / row.tpot - 1, "ttft error": said.ttft / row.ttft - 1}
        found.append({**kind, **parallel, **columns, **errors})
    return pd.DataFrame(found)


def summary(title: str, table: "pd.DataFrame") -> None:
    """Median absolute errors, of all rows and by how the layout is known."""
    print(f"\n{title}: median absolute errors")
    print("| rows | number | TPOT | TTFT |\n| --- | --- | --- | --- |")
    unique = table[table.known.isin(["stated", "recipe"])]
    parts = [("all", table), ("layout stated or of one recipe", unique)]
    parts += [(f"layout {known}", part) for known, part in table.groupby("known")]
    for name, part in parts:
        print(f"| {name} | {len(part)} | {_size(part['tpot error'])} | {_size(part['ttft error'])} |")


def before(table: "pd.DataFrame") -> None:
    """Parts of the rows, with nothing fitted on any of them."""
    across = table.decode.str.endswith("16")
    parts = {
        "workers stated": table.known == "stated",
        "H100, 16 cards a worker": (table.system == "h100_sxm") & across,
        "with drafts": table.drafts > 0,
        "all": table.drafts >= 0,
    }
    found = [f"{name}, {_line(table[chosen])}" for name, chosen in parts.items()]
    print("nothing fitted on these rows, median absolute errors:", "; ".join(found))


def by_layout(table: "pd.DataFrame") -> None:
    """The table by system, engine, model, precision, parallel degrees and drafts."""
    keys = ["system", "engine", "model", "precision", "input", "prefill", "decode", "drafts"]
    print(f"\n| {' | '.join(keys)} | rows | TPOT, median error | absolute | TTFT, median error | absolute |")
    print("|" + " --- |" * (len(keys) + 5))
    for key, part in table.groupby(keys):
        tpot, ttft = part["tpot error"], part["ttft error"]
        sizes = f"{tpot.median():+.0%} | {_size(tpot)} | {ttft.median():+.0%} | {_size(ttft)}"
        print(f"| {' | '.join(map(str, key))} | {len(part)} | {sizes} |")


def repeats(table: "pd.DataFrame") -> None:
    """How far rows of one setting lie apart: what no model of their columns explains."""
    known = table[table.known.isin(["stated", "recipe"])]
    groups = known.groupby(["system", "engine", "precision", "input", "layout", "drafts", "users"])
    apart = {name: groups[name].agg(lambda v: v.max() / v.min())[groups.size() > 1] for name in ("tpot", "ttft")}
    parts = [f"{name.upper()} {v.median():.3f} in the median, {v.max():.2f} at most" for name, v in apart.items()]
    print(f"\nratio of the largest to the least of rows of one setting ({len(apart['tpot'])}): {'; '.join(parts)}")


def _size(errors: "pd.Series[float]") -> str:
    return f"{errors.abs().median():.1%}"


# The fit


def fitted(rows: Sequence[Split]) -> None:
    """Constants fitted on all rows, and on the rows that each way leaves; the rows left out, simulated with these."""
    import pandas as pd

    here = logs(GUESS)
    for _ in range(3):
        here = solve(rows, np.arange(len(rows)), here, *slopes(rows, here))
    print("\nconstants fitted on all rows:", _named(here))
    errors, slope = slopes(rows, here)
    keys = np.array([f"{row.setting.system}, {row.setting.model}" for row in rows])
    groups = sorted(set(keys))
    share = max(1, round(len(groups) / 3))
    ways = list(combinations(groups, share))
    print(f"{len(groups)} groups (system, model); {len(ways)} ways to leave {share} of them out, each:")
    tables = []
    for out in ways:
        held = np.isin(keys, out)
        constants = solve(rows, np.flatnonzero(~held), here, errors, slope)
        table = frame([row for row, left in zip(rows, held, strict=True) if left], from_logs(constants))
        print(f"- without {'; '.join(out)}: {_named(constants)}; {_line(table)}")
        tables.append(table)
    assert len(ways) >= WAYS or len(groups) < 5
    summary("groups left out, each row as often as it was", pd.concat(tables, ignore_index=True))


def _line(table: "pd.DataFrame") -> str:
    return f"{len(table)} rows, TPOT {_size(table['tpot error'])}, TTFT {_size(table['ttft error'])}"


def _named(x: Floats) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in zip(NAMES, np.exp(x), strict=True))


def logs(constants: Constants) -> Floats:
    return np.log([getattr(constants, name) for name in NAMES])


def from_logs(x: Floats) -> Constants:
    found = replace(GUESS, **dict(zip(NAMES, map(float, np.exp(x)), strict=True)))
    return replace(found, acceptance=min(found.acceptance, 0.95))


def slopes(rows: Sequence[Split], x: Floats) -> tuple[Floats, Floats]:
    """Log errors of both medians, row by row, and how they change with the log of each constant."""
    base = _errors(rows, x)
    moved = [(_errors(rows, x + STEP * unit) - base) / STEP for unit in np.eye(len(x))]
    return base, np.stack(moved, axis=-1)


def _errors(rows: Sequence[Split], x: Floats) -> Floats:
    constants = from_logs(x)
    said = np.array([predicted(row.setting, constants) for row in rows])
    return np.asarray(np.log(said / [(row.ttft, row.tpot) for row in rows]))


def solve(rows: Sequence[Split], chosen: Floats, x: Floats, errors: Floats, slope: Floats) -> Floats:
    """The logs of least soft absolute error near ``x``, where the errors are taken as linear.

    Rows of large groups and of settings measured several times count less; a TTFT counts half of a TPOT.
    """
    from scipy.optimize import least_squares

    names = [(row.setting.system, row.setting.engine, row.setting.model) for row in rows]
    size = np.array([sum(names[k] == names[i] for k in chosen) for i in chosen])
    weight = 3 * size**-0.25
    both = np.stack([0.5 * weight, weight], axis=-1)
    guess = logs(GUESS)

    def missed(y: Floats) -> Floats:
        found = (errors[chosen] + slope[chosen] @ (y - x)) * both
        return np.concatenate([found.ravel(), (y - guess) / np.log(1.5)])

    return np.asarray(least_squares(missed, x, loss="soft_l1", f_scale=0.3, bounds=(x - 0.7, x + 0.7)).x)


if __name__ == "__main__":
    main()
