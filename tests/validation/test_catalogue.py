"""The catalogue of twins: its claims hold, its mutants are caught, and its statistics keep their promise.

``make test`` runs the twins that take little; with ``SECONDORDER_TWINS=all`` (``make validate``) all are run.
"""

import json
import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import secondorder as so
from secondorder.analytic.queues import single_server, single_server_general
from secondorder.cli import main
from secondorder.errors import FileError, InputError
from secondorder.simulate.queues import recursions
from secondorder.simulate.queues.station import Station
from secondorder.simulate.statistics.intervals import Interval
from secondorder.studies import coverage
from secondorder.validation import borders
from secondorder.validation.catalogue import reference, run_catalogue, run_twin, twins
from secondorder.validation.catalogue import twin as twin_module
from secondorder.validation.catalogue.judge import ENOUGH
from secondorder.validation.catalogue.twin import Twin, one_replication
from secondorder.validation.coverage import Coverage
from secondorder.validation.verdicts import Verdict
from secondorder.workloads.arrivals import Poisson

CATALOGUE = {twin.title: twin for twin in twins()}
ALL = os.environ.get("SECONDORDER_TWINS") == "all"
REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "queueing.csv"


def params(catalogue: dict[str, Twin]) -> list[object]:
    later = pytest.mark.skipif(not ALL, reason="taken by make validate")
    return [pytest.param(twin, id=title, marks=() if twin.quick else later) for title, twin in catalogue.items()]


# Claims


@pytest.mark.parametrize("twin", params(CATALOGUE))
def test_what_must_hold_agrees_and_nothing_exact_breaks(twin: Twin) -> None:
    for judged in run_twin(twin, seed=1):
        assert not judged.fails, judged
        if twin.kind != "approximation":
            assert judged.verdict is judged.foretold, judged


def test_titles_are_short_and_tell_twins_apart() -> None:
    assert len(CATALOGUE) == len(twins())
    assert max(map(len, CATALOGUE)) <= 28
    assert {twin.suite for twin in twins()} == {"deployment", "queueing", "serving", "theory", "training"}


@pytest.mark.parametrize("twin", CATALOGUE.values(), ids=list(CATALOGUE))
def test_a_twin_has_a_closed_form_for_each_metric_and_a_run_long_enough(twin: Twin) -> None:
    assert set(twin.margins) <= set(twin.formula(twin.scenario))
    assert twin.length.customers > 10 * twin.length.warm_up
    assert twin.length.warm_up > 0 or twin.suite == "training"  # a story has no steady state to wait for


def test_a_suite_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean queueing"):
        twins("queuing")


def test_an_approximation_may_break_and_is_not_failed() -> None:
    (judged,) = run_twin(CATALOGUE["p99 as (1+scv)/2, rho 0.5"])
    assert judged.verdict is Verdict.BREAKS
    assert not judged.fails


def test_the_verdicts_are_those_of_a_family() -> None:
    few = run_catalogue([CATALOGUE["M/M/1, rho 0.8"]], seed=3)
    assert {each.verdict for each in few} == {Verdict.AGREES}
    assert ENOUGH["exact"] < 0.5


def test_the_result_does_not_depend_on_the_processes() -> None:
    chosen = [CATALOGUE["M/M/1, rho 0.5"], CATALOGUE["take-all batches, load 0.3"]]
    one, two = (run_catalogue(chosen, seed=5, jobs=jobs) for jobs in (1, 2))
    assert [each.simulated for each in one] == [each.simulated for each in two]


# Mutants: what is wrong turns a verdict


def verdicts(title: str, budget: int | None = None) -> dict[str, Verdict]:
    return {each.metric: each.verdict for each in run_twin(CATALOGUE[title], seed=2, budget=budget)}


def test_a_formula_with_a_wrong_constant_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right, title = single_server.mean_wait, "M/E4/1, rho 0.8"
    assert verdicts(title)["wait_mean"] is Verdict.AGREES
    monkeypatch.setattr(single_server, "mean_wait", lambda **given: 1.1 * right(**given))
    assert verdicts(title)["wait_mean"] is Verdict.BREAKS


def test_a_bound_that_lies_too_low_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right, title = single_server_general.kingman_bound, "Kingman bound, ca2 .5 cs2 2"
    assert verdicts(title)["wait_mean"] is Verdict.AGREES
    monkeypatch.setattr(single_server_general, "kingman_bound", lambda **given: 0.75 * right(**given))
    (judged,) = run_twin(CATALOGUE[title], seed=2)
    assert judged.verdict is Verdict.BREAKS
    assert judged.fails


@pytest.mark.parametrize("title", ["M/M/1, rho 0.8", "M/D/1, rho 0.8", "fork-join of 2, rho 0.8"])
def test_arrivals_two_percent_too_fast_are_caught(title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Poisson.times
    monkeypatch.setattr(Poisson, "times", lambda law, n, rng: right(law, n, rng) / 1.02)
    assert Verdict.BREAKS in verdicts(title).values()


def test_a_server_that_idles_while_work_waits_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    runs, right = import_module("secondorder.simulate.queues.run"), recursions.lindley
    lazy = 0.02  # of a service goes by before the next one begins
    monkeypatch.setattr(runs, "lindley", lambda arrival, service: right(arrival, service + lazy))
    assert verdicts("M/M/1, rho 0.8")["wait_mean"] is Verdict.BREAKS


def test_a_server_that_sleeps_on_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def join_without_waking(self: Station, customer: int) -> None:
        self.inside += 1
        self.line.append(customer)
        if self.idle and len(self.line) > 1:
            self.idle.pop().succeed()

    title = "M/M/1/10, load 0.9"
    assert verdicts(title, budget=200_000)["wait_mean"] is not Verdict.BREAKS
    monkeypatch.setattr(Station, "join", join_without_waking)
    assert verdicts(title, budget=200_000)["wait_mean"] is Verdict.BREAKS


def test_a_warm_up_that_is_not_removed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of 4 relaxation times, 200 to a replication, so that the empty start shows above the noise."""

    def short_runs(queue: so.Queue, customers: int, seed: int, replication: int) -> dict[str, float]:
        runs = [one_replication(queue, customers, seed, 200 * replication + k) for k in range(200)]
        return {"wait_mean": float(np.mean([each["wait_mean"] for each in runs]))}

    near = CATALOGUE["M/M/1, rho 0.8"]
    short = replace(near, witness=short_runs, customers=292, margins={"wait_mean": 0.04})
    (judged,) = run_twin(short, budget=20 * 292)
    assert judged.verdict is Verdict.AGREES
    monkeypatch.setattr(twin_module, "after", lambda queue, customers, cut: (0, customers))
    (judged,) = run_twin(short, budget=20 * 292)
    assert judged.verdict is Verdict.BREAKS


# Not enough data


def test_a_small_budget_near_saturation_is_not_enough_and_says_what_would_be() -> None:
    mean, _ = run_twin(CATALOGUE["M/M/1, rho 0.95"], budget=200_000)
    assert mean.verdict is Verdict.NOT_ENOUGH_DATA
    needed = int(mean.how.rpartition("needs about ")[2].replace(",", ""))
    assert needed > 20_000_000


def test_the_command_line_says_what_a_short_run_near_saturation_would_need(
    capsys: pytest.CaptureFixture[str],
) -> None:
    near = ["--arrivals", "poisson 0.95 request/s", "--service", "exponential 1 s", "--metric", "wait_mean"]
    assert main(["queue", *near, "--num-prompts", "5000", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["verdict"] for row in rows if row["order"] is not None} == {"not enough data"}
    (note,) = {row["note"] for row in rows if row["order"] is None}
    assert "not enough data" in note
    assert "use at least" in note


def test_help_keeps_to_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "Approximations are shown with the borders past which they are more than" in lines


# Borders


def test_borders_of_closed_forms_are_where_their_errors_cross() -> None:
    smooth = next(shape for shape in borders.SHAPES if shape.exact == "M/D/c")
    allen, _ = borders.borders_of(smooth)
    assert allen.formula == "Allen-Cunneen"
    border = float(allen.beyond(0.05).removeprefix("< "))
    within = {point.rho: point.beyond(0.05) for point in allen.points}
    assert all(beyond == (rho < border) for rho, beyond in within.items())
    assert all(abs(point.low) < 0.12 for point in allen.points if point.rho > 0.6)


def test_every_approximation_of_the_borders_has_its_formula_and_metric() -> None:
    for shape in borders.SHAPES:
        for formula in shape.formulas.values():
            assert formula(shape.queue)[shape.metric] > 0


# Coverage


@pytest.fixture(scope="module")
def known() -> tuple[list[reference.System], list[reference.Excluded]]:
    if not REFERENCE.exists():
        pytest.skip(f"the reference values {REFERENCE} are not here")
    return reference.read_reference(REFERENCE)


def test_every_row_is_simulated_or_excluded_for_a_reason(known: tuple[list[reference.System], list]) -> None:
    systems, excluded = known
    rows = len(REFERENCE.read_text().splitlines()) - 1
    assert sum(len(system.rows) for system in systems) + len(excluded) == rows
    assert all(each.why for each in excluded)
    assert sum(system.seeds for system in systems) >= 1000


def test_a_system_has_the_closed_form_that_its_rows_state(known: tuple[list[reference.System], list]) -> None:
    """So that the queue built from a row is the one that the row means."""
    for system in known[0]:
        solved = twin_module.ladder_top(system.queue)
        for row in system.rows:
            if row.metric in solved:
                assert solved[row.metric] == pytest.approx(row.truth, rel=1e-4), row


def test_coverage_is_printed_in_80_columns_and_lists_what_is_left_out(
    known: tuple[list[reference.System], list], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(systems: list[reference.System], **_: object) -> list[reference.Covered]:
        return [reference.Covered(row=row, coverage=Coverage(957, 1000)) for system in systems for row in system.rows]

    monkeypatch.setattr(coverage, "covered_queues", at_once)
    monkeypatch.setattr(reference, "read_reference", lambda _: known)
    asked = ["validate", "--coverage", "--suite", "queueing", "--reference", str(REFERENCE)]
    assert main(asked) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "a limit of infinitely many servers (4): supermarket" in printed
    monkeypatch.setattr(reference, "LEAST", 0.96)
    assert main([*asked, "--format", "csv"]) == 4
    assert "coverage outside 96% to 97%" in capsys.readouterr().err


def test_intervals_hold_reference_values_as_often_as_they_say(known: tuple[list[reference.System], list]) -> None:
    cheap = sorted(known[0], key=lambda system: system.cost)[:4]
    rows = coverage.covered_queues(cheap, seed=1)
    for quantile in (False, True):
        low, high = reference.pool(rows, quantile=quantile).bounds(0.999)
        assert low <= reference.MOST
        assert high >= reference.LEAST


def test_a_biased_simulator_does_not_keep_its_coverage(
    known: tuple[list[reference.System], list], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Poisson.times
    monkeypatch.setattr(Poisson, "times", lambda law, n, rng: right(law, n, rng) / 1.02)
    system = next(system for system in known[0] if system.name == "M/D/1, rho 0.8")
    held = [reference.intervals_hold(system, 0, number) for number in range(6)]
    assert np.mean(held) < 0.5


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--reference", "queueing.csv"], "reference: got --reference alone, expected --coverage too"),
        (
            ["--coverage", "--suite", "training"],
            "suite: got 'training', expected queueing, serving; did you mean serving?",
        ),
        (["--coverage", "--thorough"], "thorough: got --thorough with --coverage, expected one of the two"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", *flags]) == 2
    assert capsys.readouterr().err == f"secondorder: {said}\n"


def test_without_a_file_of_reference_values_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--coverage", "--suite", "queueing", "--reference", "no.csv"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("secondorder: no.csv: got no such file, expected a CSV file of reference values")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("when,what\n1,2\n", "other columns"),
        ('name,parameters,quantity,value\nM/X/1,"{}",mean_wait,1\n', "line 2: got KeyError 'M/X/1'"),
        ('name,parameters,quantity,value\nM/M/c,"{",mean_wait,1\n', "line 2: got JSONDecodeError"),
        ('name,parameters,quantity,value\nM/M/c,"{}",median_wait,1\n', "line 2: got KeyError 'median_wait'"),
    ],
)
def test_a_row_that_nothing_here_knows_is_told(text: str, message: str, tmp_path) -> None:
    file = tmp_path / "values.csv"
    file.write_text(text)
    with pytest.raises(FileError, match=message):
        reference.read_reference(file)


# The command


def small(monkeypatch: pytest.MonkeyPatch, *titles: str) -> None:
    """A catalogue of these twins only, and no borders."""
    monkeypatch.setattr("secondorder.validation.catalogue.twins", lambda suite: [CATALOGUE[each] for each in titles])
    monkeypatch.setattr(borders, "SHAPES", borders.SHAPES[2:3])


def test_validate_prints_claims_and_verdicts_in_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small(
        monkeypatch,
        "M/M/1, rho 0.5",
        "priorities, M/M/4, rho 0.8",
        "Kingman bound, ca2 4 cs2 .25",
        "KLB, ca2 4 cs2 .25",
    )
    assert main(["validate", "--jobs", "1"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "queueing: 7 of 7 agree" in printed
    assert "< 0.73" in printed


def test_validate_fails_where_an_exact_claim_breaks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch, "M/E4/1, rho 0.8", "p99 as (1+scv)/2, rho 0.5")
    assert main(["validate", "--jobs", "1", "--format", "json"]) == 0
    right = single_server.mean_wait
    monkeypatch.setattr(single_server, "mean_wait", lambda **given: 1.2 * right(**given))
    capsys.readouterr()
    assert main(["validate", "--jobs", "1", "--format", "json"]) == 4
    printed = capsys.readouterr()
    assert "M/E4/1, rho 0.8 (wait_mean)" in printed.err
    rows = json.loads(printed.out)
    assert next(row["verdict"] for row in rows if row["twin"] == "M/E4/1, rho 0.8") == "breaks"
    assert all(isinstance(row["how"], str) for row in rows)
    assert {row["unit"] for row in rows if row["suite"] == "queueing"} == {"s"}


def test_an_interval_of_the_error_is_that_of_the_simulation_turned_round() -> None:
    judged, *_ = run_twin(CATALOGUE["M/M/1, rho 0.5"])
    assert isinstance(judged.error, Interval)
    assert judged.error.low < judged.error.mean < judged.error.high
    assert judged.error.low == pytest.approx(judged.formula / judged.simulated.high - 1)


@pytest.mark.parametrize("text", [b"\xff\xfen\x00", b"\xef\xbb\xbfname,x\n", b"name,value\n"])
def test_reference_values_that_are_no_such_table_are_refused_in_one_line(
    text: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.csv").write_bytes(text)
    asked = ["validate", "--coverage", "--suite", "queueing", "--reference", str(tmp_path / "odd.csv")]
    assert main(asked) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "expected a CSV file of reference values" in told
