"""Plans with several scenarios and constraints, their schema, and a command for every scenario."""

import io
import json
import re
import shlex
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from rich.console import Console

from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Estimate
from secondorder.cli import app, main
from secondorder.cli.flags import flags_of as flags_of_kind
from secondorder.cli.systems import example, read
from secondorder.errors import InputError, UnitError, UnknownName
from secondorder.laws import read_shape as factor_law
from secondorder.laws import time_law
from secondorder.plans.constraints import Outcome, check, check_sum, read_constraint
from secondorder.plans.fields import ShownField, field_texts, shown_fields
from secondorder.plans.read import read_plan
from secondorder.plans.schema import plan_schema, table_schema
from secondorder.plans.tables import Tables
from secondorder.plans.text import plain_value
from secondorder.quantities import Unit
from secondorder.scenarios.compression import read_method
from secondorder.scenarios.footprint import read_profile
from secondorder.scenarios.topology import read_shape
from secondorder.scenarios.training_step import TrainingStep
from secondorder.systems.registry import SYSTEMS
from secondorder.workloads.training import Layout, TrainingJob

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


@pytest.mark.parametrize("verb", [["solve"], ["check", "--no-simulate"], ["compare", "--num-prompts", "2000"]])
def test_an_infeasible_scenario_does_not_lose_the_others(
    verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = '[[queue]]\nname = "busy"\narrivals = "poisson 99 request/s"\nservice = "exponential 1 s"\n'
    plan = written(tmp_path, QUEUES + busy + 'assert = ["wait_mean < 1 s"]\n')
    assert main([verb[0], plan, *verb[1:]]) == 3
    told = capsys.readouterr()
    assert "slow" in told.out
    assert "fast" in told.out
    assert "busy: utilisation 99" in told.err


@pytest.mark.parametrize(
    ("verb", "asserted", "said"),
    [
        ("check", "wait_meen < 1 s", "plan.toml: fast.metric: got 'wait_meen', expected one of"),
        ("check", "wait_mean < 1", "plan.toml: fast.assert wait_mean: got 1 without a unit"),
        ("compare", "wait_mean < 1 s", "plan.toml: wires.scenario: got Topology, expected one that can be simulated"),
        ("simulate", "wait_mean < 1 s", "plan.toml: wires.scenario: got Topology, expected one that can be simulated"),
    ],
)
def test_what_cannot_be_done_with_one_of_several_scenarios_names_it(
    verb: str, asserted: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wires = '[topology]\nname = "wires"\nshape = "torus 4x4"\nlink_bandwidth = "50 GB/s"\nsize = "1 GB"\n'
    plan = written(tmp_path, wires + QUEUES.replace("wait_mean < 50 ms", asserted))
    short = ["--no-simulate"] if verb == "check" else ["--replications", "2", "--num-prompts", "100"]
    assert main([verb, plan, *short]) == 2
    assert said in capsys.readouterr().err


def test_what_is_undecided_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = QUEUES.partition("[training]")[2].replace('"goodput >= 0.85", "goodput < 0.86"', '"failures_p95 < 999"')
    plan = written(tmp_path, f'[training]\nduration = "5 day"{run}')
    assert main(["check", plan, "--replications", "3"]) == 4
    out, err = capsys.readouterr()
    assert "inf" not in out
    told = "undecided: training: failures_p95 < 999: not enough data: an interval takes at least 72 replications"
    assert told in " ".join(out.split())
    assert err.endswith(", undecided)\n")
    assert check(read_constraint("cost < 9 USD"), estimate(9, 8, 10)).doubt == "the limit lies within the interval"
    assert check(read_constraint("cost < 11 USD"), estimate(9, 8, 10)).doubt == ""


@pytest.mark.parametrize(("low", "high"), [(2.0, 2.0), (None, None), (float("-inf"), float("inf"))])
def test_an_estimate_without_a_width_is_told_as_one_number(low: float | None, high: float | None) -> None:
    assert str(Estimate(metric="wait", amount=2.0, unit="s", source="simulated", low=low, high=high)) == "2 s"


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
    assert check(below, estimate(8, outside="it is too small")).outcome is Outcome.UNDECIDED
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


COMMANDS = [word for word, system in SYSTEMS.items() if not system.own_command]


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
    assert {word for word, system in SYSTEMS.items() if system.own_command} == {
        "deployment",
        "queue",
        "serving",
        "training",
    }
    assert all(system.title.endswith(".") and len(system.title) <= 100 for system in SYSTEMS.values())


@pytest.mark.parametrize("word", COMMANDS)
def test_the_example_in_the_help_of_a_command_runs(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = word.replace("_", "-")
    told = example(word).partition("secondorder ")[2].replace("\\\n", " ")
    assert shlex.split(told) == [name, *shlex.split(SYSTEMS[word].example)]  # as it is pasted
    closed = SYSTEMS[word].simulator is None
    assert main([*shlex.split(told), *([] if closed else ["--no-simulate"])]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    assert main([name, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize("spelt", ["7,2x8,9", "7, 8, 8, 9", "[7, 8, 8, 9]"])
def test_a_list_of_numbers_is_spelt_alike_on_the_command_line_and_in_plans(
    spelt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", "llama_3_1_8b", "--global-batch", "72", "--sequence-length", "4096", "--data-parallel", "18"]
    flags += ["--pipeline-parallel", "4", "--cluster", "gb200_nvl72_rack", "--stage-layers", spelt]
    run = ["train", "--failures", "exponential 5 h", "--interval", "1 h", "--write", "9 s", "--restart", "9 s"]
    assert main([*run, *flags, "--no-simulate"]) == 0
    capsys.readouterr()
    assert main(["training-step", *flags, "--no-simulate", "--format", "json"]) == 0
    told = capsys.readouterr().out
    given = spelt if spelt.startswith("[") else f'"{spelt}"'
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f"""[training_step]
        cluster = "gb200_nvl72_rack"
        [training_step.job]
        model = "llama_3_1_8b"
        global_batch = 72
        sequence_length = 4096
        layout = {{ data_parallel = 18, pipeline_parallel = 4, stage_layers = {given} }}
        """
    )
    step = read_plan(str(plan)).one()
    assert isinstance(step, TrainingStep)
    assert step.job.chunk_layers == (7, 8, 8, 9)
    assert main(["solve", str(plan), "--format", "json"]) == 0
    assert capsys.readouterr().out == told


DATA_LOADING = """[data_loading]
batch_size = 128
sample_size = "150 kB"
storage_bandwidth = "1 GB/s"
workers = 4
prefetch = 3
step = "60 ms"
decode = """
REASONING = """[reasoning]
strategy = "best_of"
samples = 4
prompt_tokens = 300
prefill = "40 ms"
token_time = "8 ms"
success = 0.5
length = """
COMPRESSION = """[compression]
model = "llama_3_1_8b"
accelerator = "h100_sxm"
precision = "bf16"
input_tokens = 1
method = """
TOPOLOGY = """[topology]
link_bandwidth = "50 GB/s"
size = "1 GB"
shape = """
TWO_SPELLINGS = {
    "a law of a time": (
        DATA_LOADING,
        "gamma 200 ms scv=0.5",
        '{ kind = "gamma", mean = "200 ms", scv = 0.5 }',
    ),
    "a law of lengths": (REASONING, "geometric 1500", '{ kind = "geometric", mean = 1500 }'),
    "a method": (COMPRESSION, "quantised int4 head=bf16", '{ kind = "quantised", weights = "int4", head = "bf16" }'),
    "a student": (COMPRESSION, "distilled llama_3_2_1b", '{ kind = "distilled", student = "llama_3_2_1b" }'),
    "a shape": (TOPOLOGY, "fat-tree 48", '{ kind = "fat-tree", radix = 48 }'),
}


@pytest.mark.parametrize("name", TWO_SPELLINGS)
def test_what_the_schema_takes_as_a_table_the_plan_takes_too(name: str, tmp_path: Path) -> None:
    head, line, table = TWO_SPELLINGS[name]
    assert read_plan(written(tmp_path, f"{head}{table}\n")) == read_plan(written(tmp_path, f'{head}"{line}"\n'))
    with pytest.raises(InputError, match="kind: got nothing"):
        read_plan(written(tmp_path, f"{head}{{ colour = 3 }}\n"))


def test_a_measured_step_time_of_a_draft_is_read_from_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--model", "llama_3_1_70b", "--accelerator", "h200", "--tensor-parallel-size", "2"]
    flags += ["--arrivals", "poisson 0.2 request/s", "--lengths", "input=512 output=256", "--draft", "llama_3_1_8b"]
    draft = ["--draft-step-time", "affine 1e-3 per_prefill_token=1e-5 per_decode=1e-5"]
    flags += ["--replications", "2"]  # only the closed form is looked at
    assert main(["speculative", *flags, *draft, "--acceptance", ".8", "--format", "json"]) == 0
    found = {(row["metric"], row["order"]): row["value"] for row in json.loads(capsys.readouterr().out)}
    weights, cache = (70.553706496e9 - 128256 * 8192) * 2, (512 + 128) * 327_680
    alone = 1e-3 + (weights + cache) / (2 * 4.8e12 * 0.8)  # and what the links add, some 5 %
    assert found["speedup", 0] == pytest.approx(3.3616 / (1 + 4 * 1.01e-3 / alone), rel=0.02)


# What each field is: in the docstring, in the help, in the schema

KINDS = {**{word: system.type for word, system in SYSTEMS.items()}, "job": TrainingJob, "layout": Layout}


@pytest.mark.parametrize("word", KINDS)
def test_a_docstring_has_an_item_of_its_own_for_each_field(word: str) -> None:
    kind = KINDS[word]
    bullets = [line.strip() for line in (kind.__doc__ or "").splitlines() if line.strip().startswith("- ")]
    heads = [re.fullmatch(r"- ``(\w+)``: \S.*", line) for line in bullets]
    assert all(heads), "one field an item, and a text behind it"
    assert sorted(head[1] for head in heads if head) == sorted(field.name for field in fields(kind) if field.init)
    texts = field_texts(kind)
    assert set(texts) == {field.name for field in fields(kind) if field.init}
    assert len(set(texts.values())) == len(texts), "no text is shared"
    assert all(10 < len(text) <= 210 and text.endswith(".") and "``" not in text for text in texts.values())


@pytest.mark.parametrize("word", KINDS)
def test_the_schema_has_the_text_of_each_field(word: str) -> None:
    table = table_schema(KINDS[word])
    assert {name: value["description"] for name, value in table["properties"].items()} == field_texts(KINDS[word])
    for one in shown_fields(KINDS[word]).values():
        if one.table is not None:
            assert table["properties"][one.name]["properties"] == table_schema(one.table)["properties"]


def flags_of(word: str) -> dict[str, ShownField]:
    """The flags of a command by name: a table has those of its fields, unless an outer one has the name."""
    outer = shown_fields(SYSTEMS[word].type)
    inner = [one for each in outer.values() if each.table for one in shown_fields(each.table).values()]
    inner += [one for each in inner if each.table for one in shown_fields(each.table).values()]
    found = {one.name: one for one in [*inner, *outer.values()] if one.table is None}
    return {name.replace("_", "-"): one for name, one in found.items()}


@pytest.mark.parametrize("word", COMMANDS)
def test_the_help_has_text_kind_choices_and_default_of_each_field(word: str) -> None:
    wide = io.StringIO()
    app.help_print([word.replace("_", "-")], console=Console(file=wide, width=600, color_system=None))
    printed = wide.getvalue()
    assert " STR" not in printed
    for flag, one in flags_of(word).items():
        found = [line for line in printed.splitlines() if re.match(rf"│ (\*  |   )?--{flag[:28]} ", line)]  # may fold
        (line,) = (line for line in found if one.text in line)
        assert ("[required]" in line) == one.required
        assert (f"[default: {one.default}]" in line) == (one.default is not None)
        assert one.metavar in line or one.truth or len(flag) + len(one.metavar) > 26  # the kind may fold
        assert not one.choices or f"[choices: {', '.join(one.choices)}]" in line


@pytest.mark.parametrize("word", COMMANDS)
def test_the_defaults_that_the_help_shows_are_those_of_the_scenario(word: str) -> None:
    given = SYSTEMS[word].example_values
    flags = flags_of_kind(SYSTEMS[word].type)
    shown = {flag.name: flag.field.default for flag in flags if flag.field.default is not None}
    assert read(SYSTEMS[word], {**shown, **given}) == read(SYSTEMS[word], given)


READERS = {"shape": read_shape, "method": read_method, **dict.fromkeys(("load", "profile"), partial(read_profile, "x"))}


@pytest.mark.parametrize("word", KINDS)
def test_the_examples_in_the_texts_can_be_read(word: str) -> None:
    kind = KINDS[word]
    hints = get_type_hints(kind, include_extras=True)
    for name, text in field_texts(kind).items():
        tables = re.findall(r"\{.*?\}", text)
        assert all(isinstance(plain_value(table), dict) for table in tables)
        for spelt in re.findall(r'"(.*?)"', re.sub(r"\{.*?\}", "", text)):
            units = [
                extra for each in (hints[name], *get_args(hints[name])) for extra in getattr(each, "__metadata__", ())
            ]
            unit = next((each for each in units if isinstance(each, Unit)), None)
            if unit is not None:
                unit.read(spelt, name)
            elif name in READERS:
                READERS[name](spelt)
            elif name in getattr(kind, "_shapes", ()):
                factor_law(spelt, name)
            elif name in getattr(kind, "_times", ()):
                time_law(spelt, name)
            else:
                Tables().field(kind, name, plain_value(spelt))


# What is missing


@pytest.mark.parametrize("word", COMMANDS)
def test_a_command_without_flags_names_all_that_are_due(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = word.replace("_", "-")
    assert main([name]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"secondorder: {name}: --")
    assert err.count("\n") == 1
    due = [flag for flag, one in flags_of(word).items() if one.required]
    values = SYSTEMS[word].example_values
    assert all(f"--{flag}" in err.partition(": got nothing")[0] for flag in due)
    assert all(f"--{flag} {quoted(values[flag.replace('-', '_')])}" in err for flag in due) or len(due) == 1
    assert err.endswith(f'see "secondorder {name} --help"\n')


def quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text


@pytest.mark.parametrize("word", COMMANDS)
def test_a_flag_that_is_missing_is_named_with_what_it_takes(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, values = word.replace("_", "-"), SYSTEMS[word].example_values
    for flag, one in flags_of(word).items():
        if one.required:
            others = {f"--{other.replace('_', '-')}": text for other, text in values.items() if other != one.name}
            assert main([name, *(part for pair in others.items() for part in pair)]) == 2
            err = capsys.readouterr().err
            assert err.startswith(f"secondorder: {name}: --{flag}: got nothing, expected ")
            expected = " or ".join(one.choices) or f" such as {quoted(values[one.name])}"
            assert expected in err


@pytest.mark.parametrize("word", SYSTEMS)
def test_a_plan_names_the_fields_that_are_missing(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = written(tmp_path, f"[{word}]\n")
    assert main(["solve", plan]) == 2
    err = capsys.readouterr().err
    first, *others = (one for one in shown_fields(SYSTEMS[word].type).values() if one.required)
    assert err.startswith(f"secondorder: {plan}: {word}.{first.name}: got nothing, expected ")
    assert "expected a value" not in err
    assert err.count("\n") == 1
    assert all(other.name in err.partition("; ")[2] for other in others)
    if first.table is not None:
        assert all(one.name in err for one in shown_fields(first.table).values() if one.required)


def test_a_plan_says_what_a_missing_field_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = '[footprint]\naccelerator = "h100_sxm"\naccelerators = 4\nregion = "poland"\nfacility = "microsoft"\n'
    assert main(["solve", written(tmp_path, start + "utilisation = 0.5\nhorizon = '1 year'\n")]) == 2
    told = "footprint.power_overhead: got nothing, expected a number of at least 1, such as 1.8\n"
    assert capsys.readouterr().err.endswith(told)
    assert main(["solve", written(tmp_path, start + "utilisation = 0.5\npower_overhead = 1.8\n")]) == 2
    assert capsys.readouterr().err.endswith('horizon: got nothing, expected a quantity in s, such as "1 year"\n')


def test_a_word_that_is_no_choice_is_refused_with_the_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reasoning", "--strategy", "best-off", "--samples", "2"]) == 2
    assert "strategy: got 'best-off', expected best_of or majority" in (err := capsys.readouterr().err)
    assert "did you mean best_of?" in err


def test_a_flag_takes_a_table_as_toml_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for spelt in ("{2 = 1.3}", '{"2": 1.3}'):
        assert (
            main(["pipeline", *shlex.split(SYSTEMS["pipeline"].example), "--slow-stages", spelt, "--no-simulate"]) == 0
        )
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert main(["pipeline", *shlex.split(SYSTEMS["pipeline"].example), "--no-simulate"]) == 0
    assert capsys.readouterr().out != told[0]
