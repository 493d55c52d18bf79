"""Plans with several scenarios and constraints, their schema, and a command for every scenario."""

import json
from pathlib import Path
from typing import Any

import pytest

from secondorder.cli import main
from secondorder.cli.plan_files import read_plan
from secondorder.cli.schema import field_texts, plan_schema
from secondorder.cli.systems import COMMANDS, example
from secondorder.errors import UnitError, UnknownName
from secondorder.scenarios.answers import Answer, Estimate
from secondorder.scenarios.scenario import SYSTEMS
from secondorder.simulate import CLOSED_FORMS_ONLY
from secondorder.validation.constraints import Outcome, check, check_sum, read_constraint

QUEUES = """\
[[queue]]
name = "slow"
arrivals = "poisson 8 request/s"
service = "exponential 100 ms"
assert = ["wait_mean < 1 s", "wait_p99 < 10 s"]

[[queue]]
name = "fast"
arrivals = "poisson 2 request/s"
service = "exponential 100 ms"
assert = "wait_mean < 50 ms"

[training]
failures = "exponential 8240 s"
checkpoint = "blocking 994 s write=60 s"
recovery = "300 s"
assert = ["goodput >= 0.85", "goodput < 0.86"]
"""
SHORT = ["--jobs", "2"]


def written(folder: Path, body: str) -> str:
    path = folder / "plan.toml"
    path.write_text(body)
    return str(path)


def test_a_plan_holds_several_scenarios(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, QUEUES))
    assert [each.scenario.name for each in plan.planned] == ["slow", "fast", "training"]
    assert [len(each.constraints) for each in plan.planned] == [2, 1, 2]
    assert plan.one("fast").name == "fast"


def test_what_is_asserted_is_checked_by_simulation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = written(tmp_path, QUEUES)
    assert main(["check", plan, *SHORT, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["outcome"] for row in rows] == ["met"] * 5
    assert all(row["ci_low"] is not None for row in rows)


def test_closed_forms_can_check_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", written(tmp_path, QUEUES), "--no-simulate"]) == 0
    assert capsys.readouterr().out.count("met") == 5


def test_what_is_not_met_has_exit_code_4_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = written(tmp_path, QUEUES.replace("wait_mean < 1 s", "wait_mean < 300 ms"))
    assert main(["check", plan, "--no-simulate"]) == 4
    out, err = capsys.readouterr()
    assert "not met" in out
    assert err == "secondorder: 1 of 5 not met: slow: wait_mean < 300 ms (400 ms)\n"


def test_one_scenario_of_several_is_chosen_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = written(tmp_path, QUEUES)
    assert main(["solve", plan, "--scenario", "fast", "--format", "json"]) == 0
    assert {row["scenario"] for row in json.loads(capsys.readouterr().out)} == {"fast"}
    assert main(["solve", plan, "--format", "json"]) == 0
    assert {row["scenario"] for row in json.loads(capsys.readouterr().out)} == {"slow", "fast", "training"}


def estimate(amount: float, low: float | None = None, high: float | None = None, **more: Any) -> Answer:
    each = Estimate(metric="cost", amount=amount, unit="USD", source="x", low=low, high=high, **more)
    return Answer(scenario="one", estimates=(each,))


def test_an_interval_decides_only_with_all_of_it() -> None:
    below = read_constraint("cost < 10 USD")
    assert check(below, estimate(8, 7, 9)).outcome is Outcome.MET
    assert check(below, estimate(9, 8, 11)).outcome is Outcome.UNDECIDED
    assert check(below, estimate(12, 11, 13)).outcome is Outcome.NOT_MET
    assert check(below, estimate(8, in_domain=False)).outcome is Outcome.UNDECIDED
    assert check(read_constraint("cost >= 8 USD"), estimate(8)).outcome is Outcome.MET
    assert check(read_constraint("cost > 8 USD"), estimate(8)).outcome is Outcome.NOT_MET


def test_sums_add_values_and_the_squares_of_intervals() -> None:
    found = check_sum(read_constraint("sum cost < 20 USD"), [estimate(8, 5, 11), estimate(8, 4, 12)])
    assert (found.estimate.low, found.estimate.high) == (11, 21)
    assert found.outcome is Outcome.UNDECIDED


def test_a_bound_has_the_unit_of_its_metric() -> None:
    with pytest.raises(UnitError):
        check(read_constraint("cost < 10 s"), estimate(8))
    with pytest.raises(UnknownName, match="did you mean cost"):
        check(read_constraint("costs < 10 USD"), estimate(8))


HEAD = '[queue]\narrivals = "poisson 8 request/s"\nservice = "exponential 100 ms"\n'
REFUSED = {
    "nothing asserted": (HEAD, "got nothing asserted"),
    "no constraint": (HEAD + 'assert = ["wait_mean"]\n', "assert: got 'wait_mean', expected METRIC < VALUE"),
    "a number as constraint": (HEAD + "assert = 3\n", "assert: got 3"),
    "an unknown metric": (HEAD + 'assert = "wait_p98 < 1 s"\n', "did you mean wait_p9"),
    "another dimension": (HEAD + 'assert = "wait_mean < 1 GB"\n', "assert wait_mean: got 1 GB"),
    "no sum above the tables": ('assert = ["wait_mean < 1 s"]\n' + HEAD, "expected sum wait_mean < 1 s"),
    "two of one name": ("[[queue]]" + HEAD[7:] + "[[queue]]" + HEAD[7:], "two scenarios 'queue'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_checked_is_refused_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body, expected = REFUSED[name]
    assert main(["check", written(tmp_path, body), "--no-simulate"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert expected in err, err


def test_the_schema_has_every_table_and_what_is_due(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == plan_schema()
    assert set(found["$defs"]) == set(SYSTEMS)
    serving = found["$defs"]["serving"]
    assert serving["required"] == ["model", "accelerator", "arrivals"]
    assert serving["properties"]["max_num_seqs"]["minimum"] == 1
    assert not serving["additionalProperties"]
    assert main(["schema", "--table", "traning"]) == 2
    assert "did you mean training" in capsys.readouterr().err


def test_every_scenario_has_a_command_and_a_title() -> None:
    own = {"serving", "queue", "training"}
    assert set(SYSTEMS) - own == set(COMMANDS)


@pytest.mark.parametrize("word", COMMANDS)
def test_the_example_in_the_help_of_a_command_runs(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    name = word.replace("_", "-")
    told = example(word).partition("secondorder ")[2].replace("\\\n", " ")
    assert shlex.split(told) == [name, *shlex.split(COMMANDS[word][1])]  # as it is pasted
    closed = SYSTEMS[word] in CLOSED_FORMS_ONLY
    assert main([*shlex.split(told), *([] if closed else ["--no-simulate"])]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    assert main([name, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize("word", SYSTEMS)
def test_a_scenario_says_in_its_docstring_what_its_fields_are(word: str) -> None:
    from dataclasses import fields

    kind = SYSTEMS[word]
    told = field_texts(kind)
    named = {field.name for field in fields(kind)} - {"name"}
    assert {name for name in named if name not in told} <= {"model", "accelerator", "lengths"}
