"""The first-order suite: every workflow with our number, its simulated twin's, the reference system's, and why.

    python benchmarks/first_order.py               the table
    python benchmarks/first_order.py --markdown    the page docs/first_order.md
    python benchmarks/first_order.py --reference   the reference system's numbers anew (needs mlsysim)

The reference system is MLSys·im (Janapa Reddi, 2026); where it is installed its calls are made too, else the numbers
recorded in the rows are shown.
"""

import ast
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from first_order_calls import Shown, shown_calls
from first_order_faults import FAULTS
from first_order_row import Call, Row
from first_order_rows import ROWS

from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Estimate
from secondorder.errors import SecondOrderError

REFERENCE, RECORDED = "MLSys·im 0.3.0", "2026-11-23"
"""The version whose numbers are recorded, and the day on which they were."""

FOLDER = Path(__file__).parent

CALLS = dict(zip((row.what for row in ROWS), shown_calls(FOLDER / "first_order_rows.py"), strict=True))
"""The calls of each row as the page shows them."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a row's calls gave, as shown."""

    ours: str
    twin: str = ""
    theirs: str = ""
    band: str = ""


UNITS = {
    "": 1.0,
    "ms": 1e3,
    "s": 1.0,
    "h": 1 / 3600,
    "day": 1 / 86_400,
    "GB": 1e-9,
    "GB/s": 1e-9,
    "TB/s": 1e-12,
    "%": 100.0,
    "M USD": 1e-6,
    "USD": 1.0,
    "USD/Mtok": 1e6,
    "t CO2e": 1e-3,
    "G": 1e-9,
    "FLOP/byte": 1.0,
    "request/s": 1.0,
}
"""By what SI numbers (and kgCO2e) are multiplied."""


def evaluate(row: Row) -> Numbers:
    """What the row's calls give."""
    return Numbers(
        ours=shown(value(row.call), row),
        twin=shown(value(row.twin), row) if row.twin else "",
        theirs=shown(reference(row), row) if row.theirs else "",
        band=" to ".join(shown(value(call), row) for call in row.band[:2]) if row.band else "",
    )


def value(call: Call) -> object:
    """What a call gives: a value, the error it raised, or a command's exit code."""
    try:
        return call()
    except SecondOrderError as error:
        return error


def reference(row: Row) -> object:
    """The reference system's number: its call's where it is installed, else the recorded one."""
    names = mlsysim_names()
    return row.recorded if names is None or isinstance(row.theirs, str) else row.theirs(names)


def mlsysim_names() -> SimpleNamespace | None:
    """The names of its calls; none where it is not installed."""
    try:
        import mlsysim
        from mlsysim import solvers
    except ImportError:
        return None
    return SimpleNamespace(**{**vars(mlsysim), **{name: getattr(solvers, name) for name in solvers.__all__}})


def calls_of(row: Row) -> Shown:
    """The row's calls as the page shows them."""
    return CALLS[row.what]


def shown(found: object, row: Row) -> str:
    """A value as the table has it."""
    match found:
        case None:
            return "none"
        case SecondOrderError():
            return f"refused: {type(found).__name__}"
        case Answer():
            raise TypeError(f"{row.what}: an answer, not a number")
        case Estimate(low=low, high=high) if low is not None and high is not None:
            return f"{number(found.amount, row)} ({number(low, row)} to {number(high, row)}){unit(row)}"
        case Estimate():
            return number(found.amount, row) + unit(row)
        case str():
            return found
        case list():
            return ", ".join(number(each, row) for each in found) + unit(row)
        case int() | float():
            return number(float(found), row) + unit(row)
    raise TypeError(f"{row.what}: {found!r} is not shown")


def number(amount: float, row: Row) -> str:
    """With this number of digits, without an exponent."""
    scaled = amount * UNITS[row.unit]
    if row.digits == 0:
        return f"{scaled:.0f}"
    text = f"{scaled:#.{row.digits}g}"
    return f"{float(text):,.0f}" if "e" in text or text.endswith(".") else text


def unit(row: Row) -> str:
    return f" {row.unit}" if row.unit else ""


# The table and the page


def plain() -> str:
    """For a terminal."""
    lines, last = [], ""
    for row in ROWS:
        found = evaluate(row)
        if row.workflow != last:
            lines += ["", row.workflow, "─" * len(row.workflow)]
            last = row.workflow
        lines += [row.what, f"    {calls_of(row).ours}", f"    ours {found.ours}"]
        lines += [f"    simulated {found.twin}"] if found.twin else []
        lines += [f"    {REFERENCE} {found.theirs}"] if found.theirs else []
        lines += [f"    {row.why}"]
    return "\n".join(lines[1:])


HEAD = f"""\
# The first-order suite

Every workflow that a user of a first-order calculator expects, with corrected physics, and with a simulation where
something is random. Printed by `python benchmarks/first_order.py --markdown`; `tests/test_docs.py` holds the numbers.

The reference system is MLSys·im (Janapa Reddi, 2026), closed forms only. Its numbers are what {REFERENCE} gave
on {RECORDED} to the calls listed at the end; figures quoted from its web page are those of version 0.1.2. Simulated
numbers are means with 95 % intervals. *Refused* means an error of one line that says what was given, what was expected
and what to do.

## What the calls are about

```python
"""


def markdown() -> str:
    """The page."""
    found = [evaluate(row) for row in ROWS]
    parts = [
        HEAD,
        prompted(scenarios()),
        "\n\n```\n\n## The table\n\n",
        table(found),
        "\n## The figures of its page\n\n",
    ]
    parts += [figure(row, each) for row, each in zip(ROWS, found, strict=True) if row.derivation]
    parts += [FAULTS_HEAD, faults(found), "\n"]
    parts += ["## The reference system's calls\n\nWith the names of `mlsysim` and `mlsysim.solvers`:\n\n"]
    parts += [f"- {row.workflow}, {row.what}: `{calls_of(row).theirs}`\n" for row in ROWS if row.theirs]
    return "".join(parts)


def table(found: list[Numbers]) -> str:
    """One line a row."""
    lines = [
        f"| workflow | of what | our call | ours | simulated | {REFERENCE} | why they differ |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row, each in zip(ROWS, found, strict=True):
        cells = (row.workflow, row.what, f"`{calls_of(row).ours}`", each.ours, each.twin, each.theirs, row.why)
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


FAULTS_HEAD = """\
## Known faults, and the tests that show them

Each test states the wrong form, and judges it and ours by a simulation, an execution that counts, or a measurement.
Numbers are those of the table above. MLSys·im's are from its web page where that prints one, else from its call; ours
are simulated where the table has a simulation.

"""


def faults(found: list[Numbers]) -> str:
    """One line a fault; its costs are a row's: what the page prints or the call gave, and the simulation's or ours."""
    costs = {row.what: (row.page or each.theirs, each.twin or each.ours) for row, each in zip(ROWS, found, strict=True)}
    lines = ["| fault | MLSys·im | ours | test |", "| --- | --- | --- | --- |"]
    for fault in FAULTS:
        theirs, ours = costs.get(fault.row, (fault.theirs, fault.ours))
        lines.append(f"| {fault.what} | {theirs} | {ours} | {', '.join(f'`{test}`' for test in fault.tests)} |")
    return "\n".join(lines) + "\n"


def figure(row: Row, found: Numbers) -> str:
    """A figure that its page prints: ours, where it comes from, and its band."""
    band = f"\n  Band: {found.band} ({row.band[2]})." if row.band else ""
    return (
        f"- **{row.workflow}, {row.what}**: its page prints {row.page}; ours is {found.ours}.\n"
        f"  {row.derivation}{band}\n\n"
    )


def scenarios() -> str:
    """The statements that make what the rows are about."""
    return (FOLDER / "first_order_scenarios.py").read_text(encoding="utf-8").partition("# fmt: off\n")[2]


def prompted(source: str) -> str:
    """Statements as the interpreter shows them."""
    lines = source.splitlines()
    starts = {statement.lineno - 1 for statement in ast.parse(source).body}
    return "\n".join(
        (">>> " if at in starts else "... ") + line if line else ">>>" for at, line in enumerate(lines)
    ).replace("\n>>>\n", "\n")


def anew() -> str:
    """The reference system's numbers, to be recorded."""
    names = mlsysim_names()
    if names is None:
        raise SystemExit("mlsysim is not installed here")
    return "\n".join(
        f"{row.workflow}, {row.what}: {row.theirs(names)!r} (recorded {row.recorded!r})"
        for row in ROWS
        if row.theirs and not isinstance(row.theirs, str)
    )


def main(options: list[str]) -> None:
    match options:
        case []:
            print(plain())
        case ["--markdown"]:
            print(markdown(), end="")
        case ["--reference"]:
            print(anew())
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
