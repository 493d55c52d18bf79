"""The command line: what it prints where, and how it refuses what cannot be."""

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
from rich.console import Console

from secondorder.answers.answer import COLUMNS
from secondorder.cli import app, main
from secondorder.cli import joined as with_truths
from secondorder.cli.serve import flags
from secondorder.scenarios.serving import Serving

SECONDORDER = Path(sys.executable).with_name("secondorder")
WHERE = ["--model", "llama_3_1_8b", "--accelerator", "h100_sxm"]
RATE = ["--request-rate", "8 request/s"]
LENGTHS = ["--input-len", "512", "--output-len", "geometric 64"]
SERVE = ["serve", *WHERE, *RATE, *LENGTHS]
SHORT = ["--num-prompts", "200", "--replications", "2"]
PLAN = """\
[serving]
model = "llama_3_1_8b"
accelerator = "h100_sxm"
arrivals = "poisson 8 request/s"
lengths = "input=512 output=geometric 64"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own, with files of every kind."""
    files = {
        "plan.toml": PLAN,
        "empty.toml": "",
        "broken.toml": "[serving\n",
        "empty.csv": "",
        "columns.csv": "when,how_much\n0,3\n",
        "negative.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,-4,10\n",
        "nan.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,nan,10\n",
        "trace.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        + "".join(f"2023-11-16 18:17:{second:02},512,{16 + second}\n" for second in range(40)),
        "config.json": '{"model_type": "martian"}',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What is refused: arguments, exit code, and what the one line on standard error says

REFUSED = {
    "a model that does not fit": (
        ["serve", "--model", "llama_3_1_70b", "--accelerator", "h100_sxm", *RATE, *LENGTHS],
        3,
        "weights 141 GB",
        "use more accelerators",
    ),
    "a rate past saturation": (
        ["serve", *WHERE, "--request-rate", "800 request/s", *LENGTHS],
        3,
        "800 request/s offered",
        "saturates at",
    ),
    "a rate without a unit": (
        ["serve", *WHERE, "--request-rate", "8", *LENGTHS],
        2,
        "request_rate: got 8 without a unit, expected a quantity in request/s",
        'write "8 request/s"',
    ),
    "a rate in another unit": (
        ["serve", *WHERE, "--request-rate", "8 token/s", *LENGTHS],
        2,
        "request_rate: got 8 token/s",
        "in request/s",
    ),
    "a rate below 0": (
        ["serve", *WHERE, "--request-rate", "-8 request/s", *LENGTHS],
        2,
        "request_rate: got -8 request/s",
        "expected a positive quantity in request/s",
    ),
    "a time below 0": (
        ["roofline", "resnet50", "t4", "--kernel-overhead", "-1 us"],
        2,
        "kernel_overhead: got -1 us",
        "a time",
    ),
    "a request larger than the cache": (
        [*SERVE, "--no-simulate", "--num-gpu-blocks", "10"],
        3,
        "than the cache of 144",
        "shorter lengths",
    ),
    "a rate that is no number": (
        ["serve", *WHERE, "--request-rate", "nan request/s", *LENGTHS],
        2,
        "request_rate: got nan",
        "a finite quantity",
    ),
    "no rate": (["serve", *WHERE, *LENGTHS], 2, "arrivals: got nothing", '--request-rate "8 request/s"'),
    "no lengths": (["serve", *WHERE, *RATE], 2, "lengths: got nothing", "--lengths azure_conv_2023, --input-len"),
    "one length": (["serve", *WHERE, *RATE, "--input-len", "9"], 2, "output_len: got nothing", "expected a length"),
    "lengths twice": (
        [*SERVE, "--lengths", "azure_conv_2023"],
        2,
        "lengths: got lengths with input_len",
        "one of the two",
    ),
    "a length of 0": (
        ["serve", *WHERE, *RATE, "--input-len", "0", "--output-len", "9"],
        2,
        "input_len",
        "an integer of at least 1",
    ),
    "a misspelt law": (
        ["serve", *WHERE, *RATE, "--input-len", "geometrc 9", "--output-len", "9"],
        2,
        "got 'geometrc'",
        "geometric?",
    ),
    "an objective without a unit": ([*SERVE, "--goodput", "ttft:200"], 2, "goodput.ttft: got 200 without", "in s"),
    "an objective of nothing": ([*SERVE, "--goodput", "ttfd:2s"], 2, "goodput: got 'ttfd'", "did you mean ttft"),
    "a precision that the part lacks": ([*SERVE, "--precision", "fp4"], 2, "got 'fp4'", "expected fp64"),
    "a misspelt model": (
        ["serve", "--model", "lama_3_1_8b", "--accelerator", "h100_sxm", *RATE, *LENGTHS],
        2,
        "model: got 'lama_3_1_8b'",
        "did you mean llama_3_1_8b",
    ),
    "a model that is no language model": (
        ["serve", "--model", "resnet50", "--accelerator", "h100_sxm", *RATE, *LENGTHS],
        2,
        "model: got 'resnet50'",
        "expected a transformer",
    ),
    "a config of an unknown family": (
        ["serve", "--model", "config.json", "--accelerator", "h100_sxm", *RATE, *LENGTHS],
        2,
        "config.json: model_type: got 'martian'",
        "expected one of llama",
    ),
    "a misspelt flag": ([*SERVE, "--precison", "fp8"], 2, "option: got '--precison'", "did you mean --precision"),
    "a misspelt flag that is due": (["serve", "--modl", "x"], 2, "option: got '--modl'", "did you mean --model"),
    "a misspelt command": (["serv"], 2, "command: got 'serv'", "did you mean serve"),
    "an unknown option of the program": (["--versio"], 2, "option: got '--versio'", "did you mean --version?"),
    "a flag without its value": (["zoo", "--format"], 2, "zoo: --format: got nothing", "expected table or json"),
    "a flag given twice": ([*SERVE, "--seed", "1", "--seed", "2"], 2, "seed: got two values", "expected one"),
    "a format that does not exist": (["zoo", "--format", "xml"], 2, "format: got 'xml'", "expected table or json"),
    "one argument too many": (["zoo", "models", "resnet50", "x"], 2, "arguments: got 'x'", "no more arguments"),
    "a count that is no integer": ([*SERVE, "--max-num-seqs", "1.5"], 2, "max_num_seqs: got 1.5", "an integer"),
    "a count that is no number": ([*SERVE, "--max-num-seqs", "many"], 2, "max_num_seqs: got 'many'", "an integer"),
    "a burstiness that is no number": ([*SERVE, "--burstiness", "nan"], 2, "burstiness: got nan", "above 0"),
    "a negative seed": ([*SERVE, "--seed=-1"], 2, "seed: got -1", "an integer of at least 0"),
    "one replication": ([*SERVE, "--replications", "1"], 2, "replications: got 1", "an integer of at least 2"),
    "no requests": ([*SERVE, "--num-prompts", "0"], 2, "num_prompts: got 0", "an integer of at least 1"),
    "no processes": ([*SERVE, "--jobs", "0"], 2, "jobs: got 0", "an integer of at least 1"),
    "a margin of everything": ([*SERVE, "--margin", "1"], 2, "margin: got 1", "a share between 0 and 1"),
    "a margin that is no number": ([*SERVE, "--margin", "nan"], 2, "margin: got nan", "a share between 0 and 1"),
    "a trace that is not there": (["serve", *WHERE, "--trace", "no.csv"], 2, "no.csv: got", "expected a trace"),
    "an empty trace": (["serve", *WHERE, "--trace", "empty.csv"], 2, "empty.csv: got an empty file", "a trace"),
    "a trace of other columns": (
        ["serve", *WHERE, "--trace", "columns.csv"],
        2,
        "got the columns when, how_much",
        "expected TIMESTAMP",
    ),
    "a trace with a negative length": (
        ["serve", *WHERE, "--trace", "negative.csv"],
        2,
        "line 2, ContextTokens: got '-4'",
        "at least 1",
    ),
    "a trace with NaN": (
        ["serve", *WHERE, "--trace", "nan.csv"],
        2,
        "line 2, ContextTokens: got 'nan'",
        "an integer of at least 1",
    ),
    "a trace and lengths": (["serve", *WHERE, "--trace", "trace.csv", *LENGTHS], 2, "lengths: got", "one of the two"),
    "a trace and a law": (
        ["serve", *WHERE, "--trace", "trace.csv", "--burstiness", "2"],
        2,
        "burstiness: got a law",
        "one of the two",
    ),
    "a file that cannot be written": ([*SERVE, "--output", "no/out"], 2, "no/out: got no such directory", "written"),
    "a directory to write": ([*SERVE, "--output", "."], 2, ".: got a directory", "a file that can be written"),
    "a plan that is not there": (["solve", "no.toml"], 2, "no.toml: got no such file", "expected a plan (TOML)"),
    "a directory for a plan": (["solve", "."], 2, ".: got a directory", "expected a plan (TOML)"),
    "an empty plan": (["compare", "empty.toml"], 2, "empty.toml: got an empty plan", "a table [serving]"),
    "a plan that is not TOML": (
        ["simulate", "broken.toml"],
        2,
        "broken.toml: got text that is not TOML",
        "expected a plan (TOML)",
    ),
    "no plan": (["solve"], 2, "solve: PLAN: got nothing", "expected a plan file such as plan.toml"),
    "a sweep of nothing": (
        ["sweep", "plan.toml"],
        2,
        "sweep: --vary: got nothing",
        'such as "arrivals.rate=2 request/s,8 request/s"',
    ),
    "a sweep of a misspelt field": (
        ["sweep", "plan.toml", "--vary", "max_num_seq=3"],
        2,
        "got 'max_num_seq'",
        "did you mean max_num_seqs",
    ),
    "a sweep without values": (["sweep", "plan.toml", "--vary", "arrivals.rate"], 2, "vary: got", "FIELD=VALUE"),
    "a sweep without a unit": (
        ["sweep", "plan.toml", "--vary", "arrivals.rate=3"],
        2,
        "arrivals.rate: got 3 without",
        'write "3 request/s"',
    ),
    "a sweep inside a number": (
        ["sweep", "plan.toml", "--vary", "max_num_seqs.x=3"],
        2,
        "field max_num_seqs.x: got",
        "a field's path",
    ),
    "a name unlike any": (["roofline", "xyz", "t4"], 2, "model: got 'xyz'", '"secondorder zoo models" lists them'),
    "an entry unlike any": (["zoo", "prices", "xyz"], 2, "prices: got 'xyz'", '"secondorder zoo prices" lists them'),
    "a law unlike any": (
        ["inference", "--model", "resnet50", "--accelerator", "t4", "--launch", "gauss 5 us"],
        2,
        "launch: got 'gauss'",
        "expected exponential, deterministic, erlang",
    ),
    "a law without a unit": (
        ["inference", "--model", "resnet50", "--accelerator", "t4", "--launch", "12"],
        2,
        "launch: got 12 without a unit",
        'write "12 s"',
    ),
    "a service that is quantised and does not split": (
        [
            "quantisation",
            *WHERE,
            "--arrivals",
            "poisson 1 request/s",
            "--lengths",
            "input=9 output=9",
            "--weight-precision",
            "int4",
            "--compute-precision",
            "bf16",
            "--serving-tensor-parallel-size",
            "3",
        ],
        2,
        "serving_tensor_parallel_size: got 3",
        "a divisor",
    ),
    "an unknown entry": (["zoo", "models", "lama_3_1_8b_x"], 2, "models: got 'lama_3_1_8b_x'", "llama_3_1_8b"),
    "an unknown collection": (["zoo", "acelerators"], 2, "zoo: got 'acelerators'", "did you mean accelerators"),
    "a roofline without tokens": (["roofline", "llama_3_1_8b", "h100_sxm"], 2, "input_tokens: got none", "new tokens"),
    "a roofline past the memory": (
        ["roofline", "llama_3_1_405b", "t4", "--input-tokens", "9"],
        3,
        "takes 812 GB",
        "larger accelerator",
    ),
    "a roofline past the peak": (
        ["roofline", "resnet50", "t4", "--compute-efficiency", "2"],
        2,
        "compute_efficiency: got 2",
        "at most 1",
    ),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_told_in_one_line(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, code, given, expected = REFUSED[case]
    assert main(arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("secondorder: ")
    assert printed.err.count("\n") == 1
    assert given in printed.err
    assert expected in printed.err


def test_a_fault_of_ours_shows_its_traceback_and_says_whose_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("secondorder.verbs.solve", broken)
    assert main([*SERVE, "--no-simulate"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" in printed.err
    assert "bug in secondorder" in printed.err.splitlines()[-1]


# What is printed


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [SECONDORDER, *arguments], capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "80"}
    )


VERBS = [name for name in app if not name.startswith("-") and app[name].default_command is not None]
FOLDED = 28  # characters of a name that stand on its first line, however narrow its column


def shown_help(*command: str) -> str:
    """At 80 columns, whatever the terminal."""
    text = io.StringIO()
    app.help_print(list(command), console=Console(file=text, width=80, color_system=None))
    return text.getvalue()


@pytest.mark.parametrize("command", VERBS)
def test_help_keeps_to_80_columns_and_clips_nothing(command: str) -> None:
    printed = shown_help(command)
    assert max(map(len, printed.splitlines())) <= 80
    shown = [each for each in app[command].assemble_argument_collection() if each.show and not each.children]
    assert shown
    assert all(re.search(rf"{name[:FOLDED]}", printed) for each in shown for name in each.names)
    assert " STR" not in printed
    assert "Default: " not in printed


@pytest.mark.parametrize("command", [app["train"], app["study"]["interval"], app["sweep"], app["validate"]])
def test_a_command_that_keeps_points_offers_no_flag_twice(command) -> None:
    names = [name for each in command.assemble_argument_collection() if not each.children for name in each.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("command", VERBS)
def test_help_ends_with_examples_that_a_shell_takes(command: str) -> None:
    epilogue = str(app[command].help_epilogue)
    printed = [line.rstrip() for line in shown_help(command).splitlines()]
    assert set(epilogue.splitlines()) <= set(printed), "no line of it is folded"
    joined = re.sub(r" {5,}.*$", "", re.sub(r"\\\n +", "", epilogue), flags=re.MULTILINE)  # remarks stand behind gaps
    examples = re.findall(rf"^  secondorder {command}\b.*", joined, re.MULTILINE)
    assert examples
    for one in examples:
        app.parse_args(with_truths(shlex.split(one)[1:]), exit_on_error=False, print_error=False)


def test_the_help_of_all_keeps_to_80_columns() -> None:
    printed = shown_help()
    assert max(map(len, printed.splitlines())) <= 80
    assert all(re.search(rf"^│ {name} ", printed, re.MULTILINE) for name in VERBS)
    assert set(str(app.help_epilogue).splitlines()) <= set(printed.splitlines())


def test_help_and_version_are_quick() -> None:
    started = time.perf_counter()
    assert run("--version").stdout.strip()[0].isdigit()
    assert "serve" in run("--help").stdout
    assert time.perf_counter() - started < 4  # half a second each on an idle core; loaded ones are slower


def test_the_command_line_does_not_import_heavy_libraries() -> None:
    heavy = "{'pandas', 'pint', 'scipy', 'numpy', 'simpy', 'pydantic', 'matplotlib'}"
    code = f"import sys, secondorder.cli; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_help_shows_the_defaults_of_the_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--help"]) == 0
    words = " ".join(capsys.readouterr().out.replace("│", " ").split())
    shown = {field.name: field.default for field in fields(Serving) if type(field.default) in (int, float, str, bool)}
    for name in (each for each in shown.keys() - {"name"} if len(each) <= FOLDED):
        value = shown[name]
        default = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value
        assert f"[default: {default}]" in words.partition(f" --{name.replace('_', '-')} ")[2][:160]


def test_the_flags_name_every_field_of_the_scenario() -> None:
    own, _ = flags()
    assert {flag.name for flag in own} == {field.name for field in fields(Serving)} - {"goodput", "name"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["zoo"],
        ["zoo", "accelerators", "rtx_pro_6000"],
        ["zoo", "lengths"],
        ["roofline", "resnet50", "a100_80gb"],
        [*SERVE, "--no-simulate"],
        [*SERVE, *SHORT, "--goodput", "ttft:200ms", "--burstiness", "0.5"],
        ["serve", *WHERE, "--trace", "trace.csv"],
        [
            "sweep",
            "plan.toml",
            "--vary",
            "arrivals.rate=2 request/s,4 request/s",
            "--vary",
            "max_num_seqs=64,256",
            *SHORT,
        ],
    ],
)
@pytest.mark.usefixtures("folder")
def test_tables_keep_to_80_columns_and_are_not_cut(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines() if "https://" not in line) <= 80
    assert "…" not in printed
    assert "\x1b" not in printed


def test_a_table_shows_the_ladder_the_simulation_and_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SERVE) == 0
    printed = capsys.readouterr().out
    (row,) = (line for line in printed.splitlines() if line.startswith("ttft_mean"))
    assert all(float(rung.rstrip("¹²³")) > 0 for rung in row.split()[1:4])
    assert " ± " in row
    assert row.endswith(("data", "%"))
    assert "of 12 at order 0" in printed


def test_json_is_a_list_of_rows_with_the_columns_of_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SERVE, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert all(tuple(row) == COLUMNS for row in rows)
    simulated = next(row for row in rows if row["metric"] == "ttft_mean" and row["source"] == "simulated")
    assert simulated["order"] is None
    assert simulated["unit"] == "s"
    assert simulated["ci_low"] < simulated["value"] < simulated["ci_high"]
    solved = next(row for row in rows if row["metric"] == "ttft_mean" and row["order"] == 2)
    assert solved["ci_low"] is None
    assert solved["verdict"] in ("agrees", "breaks", "not enough data")


def test_csv_has_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SERVE, "--no-simulate", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert tuple(rows[0]) == COLUMNS
    assert {row["order"] for row in rows} == {"0", "1", "2"}
    assert float(rows[0]["value"]) > 0


def test_markdown_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roofline", "resnet50", "a100_80gb", "--format", "markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| figure | value |  |" in lines
    assert all(line.startswith("|") and line.endswith("|") for line in lines[2:])


@pytest.mark.parametrize("format", ["table", "json", "csv", "markdown"])
def test_a_file_gets_what_standard_output_would(format: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "--format", format]) == 0
    expected = capsys.readouterr().out
    assert main(["zoo", "--format", format, "--output", "out"]) == 0
    assert capsys.readouterr().out == ""
    assert (folder / "out").read_text() == expected


def test_the_same_seed_prints_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    first, again, other = (
        main([*SERVE, *SHORT, "--seed", seed]) or capsys.readouterr().out for seed in ("1", "1", "2")
    )
    assert first == again != other


def test_flags_of_the_workload_reach_the_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    laws = ["--input-len", "uniform 1 high=99", "--output-len", "geometric 64", "--burstiness", "4"]
    assert main(["serve", *WHERE, *RATE, *laws, "--no-simulate"]) == 0
    assert "arrivals are not Poisson (scv 0.25)" in capsys.readouterr().out


def test_the_engine_may_have_other_efficiencies(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SERVE, "--no-simulate", "--step-time", "roofline host_overhead=50 ms"]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("tpot_mean"))
    assert float(row.split()[1].rstrip("¹")) > 50


@pytest.mark.usefixtures("folder")
def test_a_trace_is_replayed_and_may_be_given_another_rate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *WHERE, "--trace", "trace.csv"]) == 0
    assert "40 requests of the trace replayed once" in capsys.readouterr().out
    assert main(["serve", *WHERE, "--trace", "trace.csv", "--request-rate", "4 request/s", "--no-simulate"]) == 0
    assert "closed forms at 4 request/s" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_what_was_mended_in_a_trace_is_told_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    rows = Path("trace.csv").read_text().splitlines()
    Path("mixed.csv").write_text("\n".join([rows[0], *reversed(rows[1:])]))
    assert main(["serve", *WHERE, "--trace", "mixed.csv", "--no-simulate"]) == 0
    assert "secondorder: warning: mixed.csv: rows were out of order" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["solve", "simulate", "compare"])
@pytest.mark.usefixtures("folder")
def test_each_verb_answers_a_plan(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "plan.toml", *(SHORT if verb != "solve" else [])]) == 0
    assert "ttft_p99" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_a_sweep_has_a_column_for_each_field_as_it_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    vary = ["--vary", "arrivals.rate=2 request/s, 4 request/s", "--vary", "lengths.output=geometric 9"]
    assert main(["sweep", "plan.toml", *vary, *SHORT, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert tuple(rows[0]) == ("arrivals.rate", "lengths.output", *COLUMNS)
    assert {row["arrivals.rate"] for row in rows} == {"2 request/s", "4 request/s"}
    assert {row["lengths.output"] for row in rows} == {"geometric 9"}


@pytest.mark.usefixtures("folder")
def test_a_sweep_may_go_without_simulation_and_keep_one_metric(capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["sweep", "plan.toml", "--vary", "arrivals.rate=2 request/s,4 request/s,900 request/s", "--no-simulate"]
    assert main([*ask, "--metric", "tpot_mean", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["metric"] for row in rows} == {"tpot_mean", ""}
    assert [row["verdict"] for row in rows if not row["metric"]] == ["infeasible"]  # past saturation
    assert all(row["order"] is not None and not row["verdict"] for row in rows if row["metric"])
    assert main([*ask, "--metric", "tpot_mean"]) == 0
    printed = capsys.readouterr().out
    assert "tpot_mean" in printed
    assert "ttft_mean" not in printed
    assert main([*ask, "--metric", "tpot_maen"]) == 2
    assert "did you mean tpot_mean" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_sweep_without_an_answer_at_any_point_is_infeasible(capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["sweep", "plan.toml", "--vary", "arrivals.rate=900 request/s,1800 request/s", "--no-simulate"]
    assert main(ask) == 3
    told = capsys.readouterr()
    assert "infeasible" in told.out
    assert "none of 2 points has an answer; arrivals.rate=900 request/s: " in told.err
    assert told.err.count("\n") == 1


@pytest.mark.usefixtures("folder")
def test_what_cannot_be_simulated_is_swept_by_closed_forms(capsys: pytest.CaptureFixture[str]) -> None:
    Path("fabric.toml").write_text('[topology]\nshape = "fat-tree 8"\nlink_bandwidth = "50 GB/s"\nsize = "1 GB"\n')
    assert main(["sweep", "fabric.toml", "--vary", "shape=fat-tree 8,fat-tree 16", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["shape"] for row in rows} == {"fat-tree 8", "fat-tree 16"}
    assert [row["value"] for row in rows if row["metric"] == "endpoints"] == [128, 1024]


def test_the_zoo_filters_by_a_part_of_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "accelerators", "h100"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert {"h100_sxm", "h100_pcie"} <= set(listed)
    assert all("h100" in name for name in listed)


def test_the_zoo_shows_an_entry_with_the_source_of_each_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "models", "resnet50"]) == 0
    printed = capsys.readouterr().out
    assert "25,557,032" in printed
    assert "He et al., Deep Residual Learning" in printed
    assert main(["zoo", "resnet50", "--format", "json"]) == 0
    rows = {row["figure"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["flops_per_input"]["value"] == pytest.approx(8.178e9)
    assert "torchvision" in rows["flops_per_input"]["source"]


def test_a_reader_that_leaves_is_no_error() -> None:
    with subprocess.Popen(
        [SECONDORDER, "zoo", "--format", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait() in (0, 141)
        assert process.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_a_full_disk_is_told_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([SECONDORDER, "zoo"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr
        == "secondorder: standard output: got No space left on device, expected a file that can be written\n"
    )


def test_an_interrupt_ends_in_one_line() -> None:
    with subprocess.Popen(
        [SECONDORDER, *SERVE, "--num-prompts", "200000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored, if the tests run behind an &
    ) as process:
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.splitlines()[-1]) == (130, "", "secondorder: interrupted")
