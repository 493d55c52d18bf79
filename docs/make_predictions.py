"""Print docs/predictions.md: what was expected before its data was looked at, and what came of it.

python docs/make_predictions.py > docs/predictions.md
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parent
LEVEL = 0.9
"""Central probability that a frozen range is taken to have."""
HEAD = """\
# Predictions before looking

Each expectation was committed before the data that it speaks of was looked at. The pages of prose are the originals
([step times](predictions/step_times.md), [prefill apart](predictions/disaggregated.md),
[theory](predictions/theory.md),
[prefix routing](predictions/prefix_routing.md), [training runs](predictions/training_runs.md), [asynchronous
scheduling](predictions/asynchronous_order_2.md), [its lean](predictions/order_2_lean.md)). The TOML files of the same
names hold each expectation as numbers, with the words that it was taken from and the commit that froze it.
`python docs/make_predictions.py > docs/predictions.md` prints this page.

A *hit* lies in the range, or has the verdict that was expected. The score of a range from l to u is that of Gneiting
and Raftery (2007, equation 43) for the measured value x, `(u - l) + (2/a) max(l - x, 0) + (2/a) max(x - u, 0)`, here
over the middle of the range, so that units cancel: a narrow range is good, and a miss costs 2/a times the distance. No
range states a probability; each is taken as one of 90 % (a = .1), so nine in ten should hit. Lower scores are better. A
range with one end has no score. What was expected with data already in view says so, here or in the prose.
"""
TITLES = {
    "step_times.toml": "Step times",
    "disaggregated.toml": "Prefill and decode apart",
    "prefix_routing.toml": "Prefix routing",
    "training_runs.toml": "Training runs",
    "asynchronous_order_2.toml": "Order 2 with asynchronous scheduling",
    "order_2_lean.toml": "Order 2 without its lean",
    "theory.toml": "The theory of LLM serving",
}


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What was expected: a range or a value with a margin in %, or a verdict; and what was found, if anything was."""

    about: str
    quote: str
    frozen: str
    reason: str
    unit: str = ""
    value: float | None = None
    margin: float | None = None
    low: float | None = None
    high: float | None = None
    expected: str = ""
    claim: str = ""
    line: int = 0
    measured: float | None = None
    found: str = ""
    command: str = ""
    note: str = ""

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """Of the range."""
        if self.value is not None and self.margin is not None:
            return self.value * (1 - self.margin / 100), self.value * (1 + self.margin / 100)
        return self.low, self.high

    @property
    def hit(self) -> bool | None:
        """Whether it came as expected; None where nothing was measured, or no range was stated."""
        if self.expected:
            return self.found == self.expected if self.found else None
        low, high = self.ends
        if self.measured is None or (low is None and high is None):
            return None
        return (low is None or low <= self.measured) and (high is None or self.measured <= high)

    @property
    def score(self) -> float | None:
        """Its interval score over the middle of its range."""
        low, high = self.ends
        if self.expected or self.measured is None or low is None or high is None:
            return None
        return interval_score(low, high, self.measured) / abs((low + high) / 2)


def interval_score(low: float, high: float, value: float, level: float = LEVEL) -> float:
    """Of a central interval with this probability.

    >>> interval_score(1, 3, 2), interval_score(1, 3, 3.5, level=0.9)
    (2, 12.000000000000002)
    """
    outside = max(low - value, 0) + max(value - high, 0)
    return high - low + 2 / (1 - level) * outside if outside else high - low


def read(name: str) -> list[Expectation]:
    """The expectations of a file; what was found of a claim of theory stands in docs/theory.md."""
    rows = tomllib.loads((DOCS / "predictions" / name).read_text(encoding="utf-8"))["expectation"]
    return [_with_claim(Expectation(**row)) for row in rows]


def _with_claim(row: Expectation) -> Expectation:
    if not row.claim:
        return row
    simulated, verdict = claims()[row.claim][row.line]
    found = re.match(r"-?[\d.,]+", simulated)
    measured = float(found[0].replace(",", "")) if found and "%" not in simulated else None
    changes = {"measured": measured, "found": verdict, "command": "secondorder validate --suite theory"}
    return Expectation(**{**vars(row), **changes})


def claims() -> dict[str, list[tuple[str, str]]]:
    """The simulated values and verdicts of each claim of docs/theory.md."""
    told: dict[str, list[tuple[str, str]]] = {}
    claim = ""
    for line in (DOCS / "theory.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and (re.match(r"T\d", cells[0]) or (not cells[0] and claim and cells[3] != "---:")):
            claim = cells[1] or claim
            told.setdefault(claim, []).append((cells[5], cells[6]))
    return told


def page() -> str:
    """The whole page."""
    files = {name: read(name) for name in TITLES}
    summary = [_summary(TITLES[name], rows) for name, rows in files.items()]
    every = [row for rows in files.values() for row in rows]
    head = ["", "| | expectations | hits | misses | open | mean score |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    parts = [HEAD, *(f"{line}\n" for line in [*head, *summary, _summary("all", every)])]
    for name, rows in files.items():
        parts.append(f"\n## {TITLES[name]}\n\n")
        parts.append(
            "| expectation | frozen | expected | found | | score |\n| --- | --- | ---: | ---: | --- | ---: |\n"
        )
        parts += [_row(row) for row in rows]
        parts.append(_commands(rows))
    return "".join(parts)


def _summary(title: str, rows: list[Expectation]) -> str:
    hits, misses = (sum(row.hit is each for row in rows) for each in (True, False))
    scores = [row.score for row in rows if row.score is not None]
    mean = f"{sum(scores) / len(scores):.2f}" if scores else ""
    return f"| {title} | {len(rows)} | {hits} | {misses} | {len(rows) - hits - misses} | {mean} |"


def _row(row: Expectation) -> str:
    outcome = {True: "hit", False: "miss", None: "open" if row.measured is None else "no range"}[row.hit]
    told = f"{outcome}: {row.note}" if row.note else outcome
    found = row.found if row.expected else _number(row.measured, row.unit)
    score = "" if row.score is None else f"{row.score:.2f}"
    return f"| {row.about} | {row.frozen} | {_expected(row)} | {found} | {told} | {score} |\n"


def _expected(row: Expectation) -> str:
    if row.expected:
        return row.expected
    if row.value is not None:
        margin = "" if row.margin is None else f" ± {row.margin:g} %"
        return _number(row.value, row.unit) + margin
    if row.high is None:
        return f"above {_number(row.low, row.unit)}"
    return f"{_number(row.low, '')} to {_number(row.high, row.unit)}"


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.6g} {unit}".strip()


def _commands(rows: list[Expectation]) -> str:
    told = sorted({row.command for row in rows if row.command})
    return "\nMeasured by " + ", ".join(f"`{command}`" for command in told) + ".\n"


if __name__ == "__main__":
    print(page(), end="")
