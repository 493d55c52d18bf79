"""Results in the form that was asked for, on standard output or in a file."""

import csv
import io
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Timer
from typing import TYPE_CHECKING, Any

from secondorder.cli.options import Output
from secondorder.files import check_place, unwritable, write_aside

if TYPE_CHECKING:
    import pandas as pd

    from secondorder.answers.answer import Answer
    from secondorder.report.tables import Grid
    from secondorder.validation.comparison import Comparison

Record = Mapping[str, Any]


def show(result: "Answer | Comparison", out: Output) -> None:
    """An answer or a comparison."""
    show_all([result], out)


def show_all(results: "Sequence[Answer | Comparison]", out: Output) -> None:
    """Answers or comparisons, one after the other."""
    from secondorder.answers.answer import Answer
    from secondorder.report.tables import answer_grid, comparison_grid, priority_grids

    grids = []
    for each in results:
        grids.append(answer_grid(each) if isinstance(each, Answer) else comparison_grid(each))
        grids += priority_grids(each if isinstance(each, Answer) else each.simulated)
    if out.format in ("json", "csv"):
        for grid in grids:
            for line in grid.above:
                print(line, file=sys.stderr)
    emit([record for each in results for record in records(each.frame)], grids, out)


def records(frame: "pd.DataFrame") -> list[Record]:
    """The rows of a frame, with None for what is absent."""
    return [{str(key): _present(key, value) for key, value in row.items()} for row in frame.to_dict("records")]


def _present(key: object, value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return int(value) if key == "order" else value


def emit(rows: Sequence[Record], grids: Iterable["Grid"], out: Output) -> None:
    """Print records as JSON or CSV, or grids as tables."""
    match out.format:
        case "json":
            write(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n", out)
        case "csv":
            write(_csv(rows), out)
        case "markdown":
            from secondorder.report.tables import markdown

            write("\n".join(map(markdown, grids)), out)
        case "table":
            _tables(list(grids), out)


def _csv(rows: Sequence[Record]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _tables(grids: Sequence["Grid"], out: Output) -> None:
    from rich.console import Console

    if out.output is None and sys.stdout.isatty():
        _render(grids, Console(width=_columns()))
        return
    text = io.StringIO()
    _render(grids, Console(file=text, width=_columns(), color_system=None))
    write("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()), out)


def _columns() -> int:
    """Columns of the terminal, or those that COLUMNS names; a table is set in at most 80 of them."""
    return shutil.get_terminal_size().columns


def _render(grids: Sequence["Grid"], console: Any) -> None:
    from secondorder.report.tables import render

    for place, grid in enumerate(grids):
        if place:
            console.print()
        render(grid, console)


def write(text: str, out: Output) -> None:
    """Text to standard output, or to the file that was named."""
    if out.output is None:
        _print(text)
        return
    with write_aside(out.output) as aside:
        aside.write_text(text, encoding="utf-8")


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk
        leave_stdout()
        raise unwritable("standard output", error.strerror or "an error") from None


def leave_stdout() -> None:
    """What is still to be flushed goes nowhere, or the interpreter complains at exit."""
    with suppress(OSError, ValueError):  # it may be no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def check_output(out: Output) -> None:
    """Refuse a file that cannot be written, before the work is done."""
    if out.output is None:
        return
    check_place(out.output)


@contextmanager
def patience(what: str) -> Iterator[None]:
    """After two seconds a line on standard error: a moving bar on a terminal, and how far a simulation is."""
    from secondorder.simulate.statistics.progress import listening

    if not sys.stderr.isatty():
        with listening(_Reports(what)):
            yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=None)
    timer = Timer(2.0, bar.start)
    timer.daemon = True
    timer.start()
    try:
        with listening(lambda progress: bar.update(task, description=f"{what}: {progress}")):
            yield
    finally:
        timer.cancel()
        bar.stop()


class _Reports:
    """Lines about a long simulation where there is no terminal: none in the first two seconds, then every ten."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.due = time.monotonic() + 2

    def __call__(self, progress: object) -> None:
        if (now := time.monotonic()) >= self.due:
            print(f"{self.what}: {progress}", file=sys.stderr, flush=True)
            self.due = now + 10
