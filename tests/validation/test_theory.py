"""The theory of LLM serving: numbers as they were stated, counterexamples that break, and mutants that are caught."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from secondorder.analytic.serving.theory import cache_littles_law
from secondorder.cli import main
from secondorder.report.tables import markdown
from secondorder.report.theory import theory_grid
from secondorder.simulate.kernels.smallest_first import finishes
from secondorder.simulate.serving.barrier import idle_share
from secondorder.simulate.statistics.intervals import Interval
from secondorder.validation.catalogue import run_catalogue, run_twin
from secondorder.validation.catalogue.judge import Judged, _judge, state
from secondorder.validation.catalogue.rows import judged_record
from secondorder.validation.catalogue.theory import Theorem, twins
from secondorder.validation.verdicts import Verdict

THEOREMS = {twin.title: twin for twin in twins()}
STATED_WRONGLY = {"SPRPT, rate .9": 5.0985}
"""Where the sheet of formulas has another number than the integral: see ``docs/theory.md``."""
PAGE = Path(__file__).parents[2] / "docs" / "theory.md"


@pytest.mark.parametrize("twin", THEOREMS.values(), ids=list(THEOREMS))
def test_closed_forms_give_the_numbers_stated_before_the_simulation(twin: Theorem) -> None:
    found = twin.formula(twin.scenario)
    for metric, number in twin.numbers.items():
        right = STATED_WRONGLY.get(twin.title, number)
        assert found[metric] == pytest.approx(right, rel=2e-4), metric
        assert (right == number) or found[metric] != pytest.approx(number, rel=2e-4)


def test_all_the_theorems_of_the_sheet_have_a_twin() -> None:
    known = {twin.theorem for twin in THEOREMS.values()}
    assert known == {f"T{number}" for number in range(1, 16) if number != 13}


def test_counterexamples_are_foretold_to_break_or_to_diverge() -> None:
    breaking = {twin.theorem for twin in THEOREMS.values() if twin.expected is Verdict.BREAKS}
    assert breaking == {"T1", "T7", "T10", "T11", "T14"}
    labels = [twin for twin in THEOREMS.values() if twin.kind == "label"]
    diverging = {twin.theorem for twin in labels if max(twin.formula(twin.scenario).values()) > 0.01}
    assert diverging == {"T1", "T4", "T5", "T12"}


def test_an_engine_whose_victims_lose_their_output_falls_to_the_limit_cycle() -> None:
    law, cycle = (run_twin(THEOREMS[title])[0] for title in ("output lost, full queue", "lost output, prompt 256"))
    assert law.verdict is Verdict.BREAKS
    assert not law.fails
    assert cycle.verdict is Verdict.AGREES


def test_a_prefix_cache_has_two_states_between_its_two_rates() -> None:
    found = [run_catalogue([THEOREMS[f"prefix cache at {rate}/s"]], seed=1) for rate in ("7", "9", "11.2")]
    assert [state(each) for each in found] == [Verdict.STABLE, Verdict.TWO_STATES, Verdict.DIVERGES]
    assert not any(each.fails for group in found for each in group)


# Mutants


def test_a_law_that_counts_a_token_too_few_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right, twin = cache_littles_law.token_steps, THEOREMS["on demand, full queue"]
    monkeypatch.setattr(
        cache_littles_law,
        "token_steps",
        lambda prompt, output, **given: 0.95 * np.asarray(right(prompt, output, **given)),
    )
    (judged,) = run_twin(twin)
    assert judged.verdict is Verdict.BREAKS
    assert judged.fails


def label(formula: float, mean: float, half: float) -> Judged:
    twin = THEOREMS["on demand at .9"]
    return _judge(
        twin, "left_over", 0.01, formula, Interval(mean, mean - half, mean + half), "20 replications, 20 customers"
    )


def test_a_label_is_the_side_of_the_threshold_and_fails_on_the_other() -> None:
    assert (label(0.0, 0.001, 0.002).verdict, label(0.0, 0.001, 0.002).fails) == (Verdict.STABLE, False)
    assert (label(0.0, 0.05, 0.002).verdict, label(0.0, 0.05, 0.002).fails) == (Verdict.DIVERGES, True)
    assert (label(0.2, 0.05, 0.002).verdict, label(0.2, 0.05, 0.002).fails) == (Verdict.DIVERGES, False)
    assert (label(0.2, 0.001, 0.002).verdict, label(0.2, 0.001, 0.002).fails) == (Verdict.STABLE, True)
    assert label(0.0, 0.01, 0.02).verdict is Verdict.NOT_ENOUGH_DATA
    assert not label(0.0, 0.01, 0.02).fails


def test_a_counterexample_that_agrees_fails() -> None:
    twin = THEOREMS["peak reserved, own rate"]
    (judged,) = run_twin(replace(twin, expected=Verdict.BREAKS))
    assert judged.verdict is Verdict.AGREES
    assert judged.fails


# Witnesses


def naive_finishes(arrival: list[float], size: list[float], key: list[float], preempts: bool) -> list[float]:
    """In small ticks: at each one the smallest key is served, or the one in service until it ends."""
    left, keys, done, current, now = list(size), list(key), [math.nan] * len(size), None, 0
    while any(map(math.isnan, done)):
        present = [k for k in range(len(size)) if arrival[k] <= now and left[k] > 0]
        if preempts or current is None or left[current] <= 0:
            current = min(present, key=lambda k: keys[k], default=None)
        now += 1
        if current is not None:
            left[current] -= 1
            keys[current] -= preempts
            if left[current] == 0:
                done[current] = now
    return done


@pytest.mark.parametrize("preempts", [False, True])
def test_the_smallest_first_agrees_with_one_that_goes_tick_by_tick(preempts: bool) -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        count = int(rng.integers(1, 9))
        arrival, size = np.sort(rng.integers(0, 20, count)) + 0.0, rng.integers(1, 6, count) + 0.0
        key = rng.permutation(count) + rng.random(count)  # no two equal, by however much they fall
        found = finishes(arrival, size, key, preempts=preempts)
        assert found.tolist() == naive_finishes(arrival.tolist(), size.tolist(), key.tolist(), preempts)


def test_replicas_that_are_all_alike_wait_like_the_largest_of_normal_sums() -> None:
    shares = [idle_share(batch=64, prompt=512, output=256, replicas=8, steps=50, replication=k) for k in range(80)]
    sums = 512 * 64 + np.random.default_rng(1).negative_binomial(64, 1 / 256, size=(100_000, 8))
    exact = 1 - sums.mean() / sums.max(axis=1).mean()
    error = np.std(shares, ddof=1) / math.sqrt(len(shares))
    assert abs(np.mean(shares) - exact) < 4 * error
    assert error < 0.05 * exact


# Tables


def some() -> list[Judged]:
    return run_catalogue([THEOREMS[title] for title in ("peak reserved, law", "a class left waiting, 3 of 4")])


def test_the_table_has_theorem_formula_number_simulation_and_verdict() -> None:
    judged = some()
    lines = markdown(theory_grid(judged, wide=True)).splitlines()
    assert lines[0].startswith("theory: 2 of 2 claims as predicted")
    assert "| T1 | peak reserved, law | M/(b g) | 1.2821 | 5 % | 0.95329 | breaks |" in lines
    record = judged_record(judged[0])
    assert (record["verdict"], record["expected"], record["unit"]) == ("breaks", "breaks", "request/step")


def test_the_page_of_theory_has_a_row_for_each_claim() -> None:
    page = PAGE.read_text()
    for twin in THEOREMS.values():
        assert f"| {twin.theorem} | {twin.title} | {twin.written} | " in page, twin.title


def test_the_table_of_a_terminal_keeps_to_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secondorder.validation.catalogue.theory.twins", lambda: (THEOREMS["peak reserved, law"],))
    assert main(["validate", "--suite", "theory", "--jobs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:1] == ["T1"] and line.endswith("breaks") for line in lines)
