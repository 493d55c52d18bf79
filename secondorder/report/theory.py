"""The theory of LLM serving as a table: theorem, formula, number, simulation, verdict."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap

from secondorder.report.tables import Grid
from secondorder.validation.catalogue.judge import Judged, state
from secondorder.validation.catalogue.theory import Theorem
from secondorder.validation.verdicts import Verdict

ABOVE = (
    "number: of the formula, stated before it was simulated; after the simulated value its 95 % interval",
    "a formula agrees if it is within the margin of the truth, with 95 % confidence for all claims at once; a system "
    "is stable if at most the margin of the late requests is left over, and diverges if more is; with two states "
    "this depends on the start",
)


def theory_grid(judged: Sequence[Judged], *, wide: bool = False) -> Grid:
    """One line for each number; ``wide`` adds a column for the formula, which otherwise stands below the claim."""
    groups = [list(group) for _, group in groupby(judged, key=lambda each: each.twin.title)]
    rows = [row for group in groups for row in (_wide(group) if wide else _narrow(group))]
    foretold = sum(not any(each.opposed for each in group) and _known(group) for group in groups)
    header = ["", "claim", "formula", "number", "margin", "simulated", "verdict"]
    return Grid(
        header=header if wide else ["", "claim", "number", "simulated", "verdict"],
        rows=rows,
        above=[f"theory: {foretold} of {len(groups)} claims as predicted, counterexamples included", *ABOVE],
        numbers=frozenset({3, 4, 5} if wide else {2, 3}),
    )


def _known(group: Sequence[Judged]) -> bool:
    return all(each.verdict is not Verdict.NOT_ENOUGH_DATA for each in group)


def _wide(group: Sequence[Judged]) -> Iterator[list[str]]:
    twin = _theorem(group)
    for place, each in enumerate(group):
        head = [twin.theorem, twin.title, twin.written] if place == 0 else ["", "", ""]
        yield [*head, _number(each), f"{100 * each.margin:.2g} %", _simulated(each), _verdict(group, place)]


def _narrow(group: Sequence[Judged]) -> Iterator[list[str]]:
    twin = _theorem(group)
    claim = [twin.title, *(f"  {line}" for line in wrap(twin.written, 28))]
    for place in range(max(len(claim), len(group))):
        head = [twin.theorem if place == 0 else "", claim[place] if place < len(claim) else ""]
        yield [*head, *(_numbers(group, place) if place < len(group) else [""] * 3)]


def _numbers(group: Sequence[Judged], place: int) -> list[str]:
    each = group[place]
    return [_number(each), _simulated(each), _verdict(group, place)]


def _theorem(group: Sequence[Judged]) -> Theorem:
    twin = group[0].twin
    assert isinstance(twin, Theorem)
    return twin


def _verdict(group: Sequence[Judged], place: int) -> str:
    """The verdict on the number, or on the two starts together, and the prediction if it differs."""
    each = group[place]
    if (both := state(group)) is Verdict.TWO_STATES:
        return str(both) if place == 0 else ""
    return f"{each.verdict}, not {each.foretold}" if each.opposed else str(each.verdict)


def _number(each: Judged) -> str:
    if each.twin.kind == "label":
        return f"{100 * each.formula:.3g} %"
    return f"{each.formula:,.0f}" if abs(each.formula) >= 1e4 else f"{each.formula:,.5g}"


def _simulated(each: Judged) -> str:
    mean, high = each.simulated.mean, each.simulated.high
    assert high is not None
    half, unit = high - mean, ""
    if each.twin.kind == "label":
        mean, half, unit = 100 * mean, 100 * half, " %"
    if half < 1e-9 * abs(mean):
        return f"{mean:,.5g}{unit}"
    places = max(0, 1 - math.floor(math.log10(half))) if half else 0
    return f"{mean:,.{places}f} ± {half:,.{places}f}{unit}"
