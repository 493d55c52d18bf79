"""A load study as tables: for each metric the ladder over the load."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from secondorder.answers.answer import band_lines
from secondorder.quantities import Quantity, pretty, si
from secondorder.report.tables import Grid, Line, compared_line, interval_in_words, ladder, value_in_words
from secondorder.validation.comparison import on_load_axis
from secondorder.validation.explanation.explain import Explanation
from secondorder.validation.load_axis import load_error
from secondorder.validation.loads import LoadStudy
from secondorder.validation.verdicts import Verdict

if TYPE_CHECKING:
    import pandas as pd

TITLES = {
    "ttft_mean": "time to first token, mean",
    "ttft_p99": "time to first token, p99",
    "tpot_mean": "time per output token, mean",
    "tpot_p99": "time per output token, p99",
    "e2el_mean": "end-to-end latency, mean",
    "e2el_p99": "end-to-end latency, p99",
}

CAUSES = 3
"""Parts of a gap that the story names."""


def story_grid(study: LoadStudy, why: Explanation, *, explained: float, objective: Quantity) -> Grid:
    """The p99 of the time to first token over the load, and what it says, in under twenty lines.

    ``why`` explains the gap at the load ``explained``.
    """
    metric = "ttft_p99"
    rows = []
    for load, point in zip(study.loads, study.points, strict=True):
        one = compared_line((f"{load:.0%}", f"{load * study.saturation:.1f}/s"), point, metric)
        idle, second = (value_in_words(one.rungs.get(order)) for order in (0, 2))
        rows.append([*one.label, idle, second, interval_in_words(one.witness), _right(one)])
    scenario = study.scenario
    above = [
        f"{scenario.model.name} on {scenario.accelerator.name}: saturates at {study.saturation:.1f} request/s",
        "p99 of the time to first token; ± is a 95 % interval",
    ]
    header = ["load", "rate", "idle engine", "order 2", "simulated", "order 2 is right?"]
    causes, band = [_causes(why, explained)], _band(study)
    below = [*_gap(study, metric), *_load_axis(study, metric), *causes, *_lesson(study, objective), *band]
    return Grid(header=header, rows=rows, above=above, below=below, numbers=frozenset({2, 3, 4}))


def _right(one: Line) -> str:
    """The verdict on the closed form; where its error may lie on either side of the margin, the range of that error."""
    told, truth = one.judged.partition(": ")[2], one.witness
    if told != str(Verdict.NOT_ENOUGH_DATA) or one.best is None or truth is None or not truth.low or not truth.high:
        return told
    least, most = (one.best.amount / end - 1 for end in (truth.high, truth.low))
    return f"{least:+.0%} to {most:+.0%}"


def _gap(study: LoadStudy, metric: str) -> list[str]:
    """How far the idle engine's formula is off at the highest load."""
    load, point = study.loads[-1], study.points[-1]
    idle = next((each for each in point.solved[metric] if each.order == 0), None)
    found = point.simulated.best(metric)
    if idle is None or not idle.amount:
        return []
    ratio = found.amount / idle.amount
    return [f"at {load:.0%} of saturation the p99 is {ratio:.0f} times what the formula of an idle engine says"]


def _causes(why: Explanation, load: float) -> str:
    """The largest parts of the gap to the formula of an idle engine."""
    parts = (f"{part.name} {pretty(part.value, why.unit)}" for part in why.effects[:CAUSES])
    return f"what the idle engine's formula misses at {load:.0%}: {', '.join(parts)}"


def _load_axis(study: LoadStudy, metric: str) -> list[str]:
    """The load at which the best closed form reaches the value that was simulated at the highest load."""
    load, point = study.loads[-1], study.points[-1]
    formula, found = point.solved.best(metric), point.simulated.best(metric)
    error = load_error(study.at(load), metric, formula.order or 0, found.amount) if found.steady else None
    if error is None:
        return []
    return [f"there order {formula.order} reaches the simulated p99 at a load {on_load_axis(error)}"]


def study_grids(study: LoadStudy, metrics: Sequence[str], *, objective: Quantity) -> list[Grid]:
    """A grid for each metric with one row for each load; the first describes the study, the last its lesson."""
    grids: list[Grid] = []
    for metric in metrics:
        rows = []
        for load, point in zip(study.loads, study.points, strict=True):
            label = (f"{load:.0%}", f"{load * study.saturation:.1f}/s")
            rows.append(compared_line(label, point, metric))
        above = [*_heading(study), TITLES[metric]] if not grids else [TITLES[metric]]
        below = ["", *_lesson(study, objective), *_band(study)] if metric == metrics[-1] else []
        grids.append(ladder(("load", "rate"), rows, above, below))
    if study.replays:
        grids.append(_replay_grid(study, metrics))
    return grids


def _band(study: LoadStudy) -> list[str]:
    """How far the step times may be off."""
    return band_lines(study.points[0].solved.estimates)


def _replay_grid(study: LoadStudy, metrics: Sequence[str]) -> Grid:
    """The trace's arrivals at the same rates: one replay each, a transient without an interval."""
    rows = [
        [f"{load:.0%}", f"{load * study.saturation:.1f}/s", *(str(replay.best(metric)) for metric in metrics)]
        for load, replay in zip(study.loads, study.replays, strict=True)
    ]
    above = ["the trace's own arrivals at the same rates, replayed once"]
    numbers = frozenset(range(2, 2 + len(metrics)))
    return Grid(header=["load", "rate", *metrics], rows=rows, above=above, numbers=numbers)


def study_frame(study: LoadStudy) -> "pd.DataFrame":
    """All estimates of a study in one tidy frame, with the load and the rate in front."""
    import pandas as pd

    frames = []
    for place, (load, point) in enumerate(zip(study.loads, study.points, strict=True)):
        replayed = [study.replays[place].frame.assign(source="trace replayed")] if study.replays else []
        for frame in [point.frame, *replayed]:
            frame.insert(0, "load", load)
            frame.insert(1, "rate", load * study.saturation)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _heading(study: LoadStudy) -> list[str]:
    scenario = study.scenario
    return [
        f"{scenario.model.name} on {scenario.accelerator.name}: saturates at {study.saturation:.1f} request/s",
        f"± is a 95 % interval; a formula agrees if within {100 * study.margin:g} % of all of it",
    ]


def _lesson(study: LoadStudy, objective: Quantity) -> list[str]:
    knee = study.knee("ttft_p99", objective)
    most = pretty(si(objective), "s")
    if knee is None:
        return [f"a p99 time to first token of {most} is met, or missed, at every load shown"]
    return [
        f"a p99 time to first token of {most} is met up to {knee:.1f} request/s ({knee / study.saturation:.0%} of "
        "saturation); the idle engine's formula promises it at any rate"
    ]
