"""``secondorder store``: what a file of finished points holds."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secondorder.cli.options import OUTPUT, PRINTED, Output
from secondorder.cli.output import check_output, emit
from secondorder.errors import ConstraintNotMet, InputError
from secondorder.files import check_place, write_aside

if TYPE_CHECKING:
    import pandas as pd

    from secondorder.studies.store import Store

EXAMPLE = """\
Examples:

  secondorder sweep plan.toml --vary "arrivals.rate=2 request/s,8 request/s"
    --store study.db

  secondorder store study.db --export study.csv

  secondorder store study.db other.db
"""

File = Annotated[str, Parameter(metavar="FILE", help="Store that --store wrote.")]
Other = Annotated[
    str | None, Parameter(metavar="OTHER", help="A second store: print where the two differ, exit code 4 if they do.")
]
Export = Annotated[
    str | None,
    Parameter(group=OUTPUT, metavar="FILE", help="Write all estimates of all points: .csv or .parquet."),
]


def store(file: File, other: Other = None, /, *, export: Export = None, out: Output = PRINTED) -> None:
    """List, export or compare the points that studies have kept."""
    from secondorder.studies.store import Store

    check_output(out)
    if export is not None:
        _check_export(export)
    with Store(file, new=False) as one:
        if other is not None:
            with Store(other, new=False) as two:
                _compare(one, two, out)
        elif export is not None:
            _export(one.frame, export)
        else:
            _list(one, out)


def _list(store: "Store", out: Output) -> None:
    from secondorder.report.tables import Grid

    done: Counter[tuple[str, str, int, str]] = Counter()
    failed: Counter[tuple[str, str, int, str]] = Counter()
    errors = []
    for key, found in store.points():
        place = (_named(key.scenario), key.witness, key.seed, key.version)
        (failed if found.error else done)[place] += 1
        if found.error:
            errors.append(f"failed: {found.varied}: {found.error}")
    header = ("scenario", "witness", "seed", "version", "finished", "failed")
    rows = [(*place, done[place], failed[place]) for place in dict.fromkeys([*done, *failed])]
    cells = [[str(cell) for cell in row] for row in rows]
    grid = Grid(header=list(header), rows=cells, below=errors, numbers=frozenset({2, 4, 5}))
    emit([dict(zip(header, row, strict=True)) for row in rows], [grid], out)


def _named(plan: str) -> str:
    """The name of the scenario of a plan: its own, or that of its table."""
    import tomllib

    (word, table), *_ = tomllib.loads(plan).items()
    return str(table.get("name", word))


def _compare(one: "Store", other: "Store", out: Output) -> None:
    from secondorder.report.tables import Grid
    from secondorder.studies.store import differences

    found = differences(one, other)
    rows = [
        {
            "scenario": _named(key.scenario),
            "varied": varied,
            "witness": key.witness,
            "seed": key.seed,
            "difference": how,
        }
        for key, varied, how in found
    ]
    if not rows:
        emit([], [Grid(header=["the stores hold the same points"], rows=[])], out)
        return
    grid = Grid(header=list(rows[0]), rows=[[str(cell) for cell in row.values()] for row in rows])
    emit(rows, [grid], out)
    raise ConstraintNotMet(f"{one.name} and {other.name} differ in {len(rows)} points")


def _check_export(name: str) -> None:
    if Path(name).suffix not in (".csv", ".parquet"):
        raise InputError("export", given=repr(name), expected="a name that ends in .csv or .parquet")
    check_place(name)


def _export(frame: "pd.DataFrame", name: str) -> None:
    with write_aside(name) as aside:
        if Path(name).suffix == ".csv":
            frame.to_csv(aside, index=False)
            return
        try:
            frame.to_parquet(aside, index=False)
        except ImportError:
            remedy = 'python -m pip install pyarrow, or export a ".csv"'
            raise InputError("export", given=repr(name), expected="pyarrow installed", remedy=remedy) from None
