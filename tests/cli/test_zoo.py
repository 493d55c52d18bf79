"""Claims about ``secondorder zoo``: what it lists, how it filters and sorts, what it refuses and exports."""

import csv
import io
import json
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondorder.cli import main
from secondorder.cli.conditions import Condition, condition, meeting, sorted_by
from secondorder.cli.figures import Entry, collections
from secondorder.cli.zoo import EXAMPLE
from secondorder.fleets.accelerators import accelerators
from secondorder.quantities import si
from secondorder.workloads.models import models

ACCELERATORS = [Entry("accelerators", name, device) for name, device in accelerators.items()]
MODELS = [Entry("models", name, model) for name, model in models.items()]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str) -> str:
        assert main(["zoo", *arguments]) == 0
        return capsys.readouterr().out

    return run


def names(table: str) -> list[str]:
    """The first column of a table without groups' gaps and heads."""
    return [line.split()[0] for line in table.splitlines()[2:] if line.strip()]


# Lists


@pytest.mark.parametrize("noun", collections())
def test_each_collection_is_listed_whole_in_80_columns(noun: str, printed: Any) -> None:
    table = printed(noun)
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in table
    assert set(collections()[noun]) <= set(names(table))


def test_regions_facilities_and_prices_are_there(printed: Any) -> None:
    every = printed()
    for word in ("poland", "662 gCO2e/kWh", "survey_average", "aws_p5", "6.88 USD/h"):
        assert word in every


def test_makers_stand_in_groups_and_sorted_lists_do_not(printed: Any) -> None:
    assert "\n\nmi100 " in printed("accelerators")
    assert "\n\n" not in printed("accelerators", "--sort", "released")


def test_networks_have_a_list_of_their_own(printed: Any) -> None:
    language, networks = printed("models").split("\n\n")
    assert "llama_3_1_8b" in language
    assert "resnet50" in networks
    assert "work/input" in networks


@pytest.mark.parametrize("noun", collections())
def test_every_figure_of_an_entry_has_a_value_and_a_source(noun: str) -> None:
    for name, known in collections()[noun].items():
        entry = Entry(noun, name, known)
        assert entry.figures
        for row in entry.records:
            assert row["value"] is not None
            assert row["source"]
            assert {"url", "checked", "note"} <= row.keys()


def test_one_entry_shows_its_sources(printed: Any) -> None:
    entry = printed("accelerators", "mi250x")
    assert "meterpreter.org" in entry
    assert "ridge_point.bf16   117 FLOP/byte  counted" in entry
    assert "power" not in printed("tpu_v6e")


# Conditions


def test_a_condition_keeps_what_meets_it(printed: Any) -> None:
    table = printed("accelerators", "--where", "memory_capacity > 80 GB", "--where", "released >= 2022")
    expected = [
        name for name, each in accelerators.items() if si(each.memory_capacity) > 80e9 and each.released >= 2022
    ]
    assert names(table) == expected
    assert "h100_sxm" in expected  # 80 GiB are 85.9 GB
    assert "a100_80gb" not in expected


def test_a_precision_a_maker_and_a_ridge_point_are_figures_too(printed: Any) -> None:
    fp8 = printed("accelerators", "--where", "peak.fp8", "--where", "vendor = nvidia")
    assert names(fp8) == [name for name, each in accelerators.items() if "fp8" in each.peak and each.vendor == "NVIDIA"]
    low = printed("accelerators", "--where", "ridge_point.bf16 < 100 FLOP/byte")
    assert {"h20", "mi100", "rtx_3090"} <= set(names(low))
    assert "ridge_point.bf16" in low.splitlines()[0]


def test_a_figure_may_be_called_by_its_heading(printed: Any) -> None:
    assert printed("accelerators", "--sort", "year") == printed("accelerators", "--sort", "released")
    assert printed("accelerators", "--where", "memory > 100 GB", "--sort", "bandwidth") == printed(
        "accelerators", "--where", "memory_capacity > 100 GB", "--sort", "memory_bandwidth"
    )
    assert names(printed("fabrics", "--sort", "bandwidth"))  # another list, another figure


def test_a_list_shows_the_larger_of_two_and_an_entry_every_digit(printed: Any) -> None:
    assert "1.84 PFLOP/s" in next(line for line in printed("accelerators").splitlines() if line.startswith("tpu_v6e"))
    assert "1.979 PFLOP/s" in printed("accelerators", "h100_sxm")


@given(
    figure=st.sampled_from(["memory_capacity", "power", "peak.bf16", "released"]),
    share=st.floats(0, 1),
    relation=st.sampled_from([("<", ">="), (">", "<="), ("=", "!=")]),
)
def test_a_relation_and_its_opposite_part_those_that_have_the_figure(
    figure: str, share: float, relation: tuple[str, str]
) -> None:
    having = [entry for entry in ACCELERATORS if figure in entry.figures]
    chosen = having[int(share * (len(having) - 1))].figures[figure]
    spelt = f"{chosen.value!r} {chosen.unit}".strip()
    one, other = (meeting(ACCELERATORS, [condition(f"{figure}{sign}{spelt}")]) for sign in relation)
    assert sorted(entry.name for entry in [*one, *other]) == sorted(entry.name for entry in having)
    naive = {"<": lambda v: v < chosen.value, ">": lambda v: v > chosen.value, "=": lambda v: v == chosen.value}
    assert one == [entry for entry in having if naive[relation[0]](entry.figures[figure].value)]


@given(st.sampled_from(ACCELERATORS), st.sampled_from(["<", "<=", "=", "!=", ">=", ">"]))
def test_what_lacks_a_figure_meets_no_condition_on_it(entry: Entry, relation: str) -> None:
    assert ("power" in entry.figures) or not Condition("power", relation, "1 W").holds(entry)


def test_unpublished_powers_are_neither_above_nor_below() -> None:
    kept = meeting(ACCELERATORS, [condition("power > 1 mW")])
    assert {entry.name for entry in ACCELERATORS} - {entry.name for entry in kept} == {
        name for name, device in accelerators.items() if device.power is None
    }


def test_units_are_read_as_everywhere() -> None:
    gib, gb = (meeting(ACCELERATORS, [condition(f"memory_capacity = 80 {unit}")]) for unit in ("GiB", "GB"))
    assert {entry.name for entry in gib} == {"h100_sxm", "h100_pcie", "a100_80gb", "a100_pcie"}
    assert gb == []
    assert [entry.name for entry in meeting(MODELS, [condition("gated = false"), condition("parameters>1e11")])] == [
        "gpt_3_175b",
        "opt_175b",
        "bloom_176b",
    ]


# Orders


def test_numbers_sort_from_the_largest_text_from_a_to_z_and_absent_ones_last(printed: Any) -> None:
    listed = names(printed("accelerators", "--sort", "peak.bf16"))
    rates = [si(accelerators[name].peak["bf16"]) for name in listed if "bf16" in accelerators[name].peak]
    assert rates == sorted(rates, reverse=True)
    assert "bf16" not in accelerators[listed[len(rates)]].peak
    assert [entry.known.vendor for entry in sorted_by("vendor", ACCELERATORS)][:7] == ["AMD"] * 7


def test_equals_keep_the_order_of_the_file() -> None:
    assert [entry.name for entry in sorted_by("released", ACCELERATORS) if entry.known.released == 2018] == [
        name for name, device in accelerators.items() if device.released == 2018
    ]


# Refusals


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--where", "memori > 80 GB"], ["where: got 'memori'", "memory_bandwidth", "peak.fp64|fp32", "did you mean"]),
        (["--sort", "speed"], ["sort: got 'speed'", "memory_bandwidth", "released"]),
        (["--where", "memory_capacity > 80"], ["memory_capacity: got 80 without a unit", 'write "80 byte"']),
        (["--where", "memory_capacity > 80 W"], ["memory_capacity: got 80 W", "a quantity in byte"]),
        (["--where", "released > old"], ["released: got 'old'", "expected a number"]),
        (["--where", "released > 2020 s"], ["released: got '2020 s'", "expected a number"]),
        (["--where", "memory_capacity >"], ["got 'memory_capacity >'", 'such as "memory_capacity > 80 GB"']),
        (["--where", "80 GB < memory_capacity"], ["where: got '80 GB < memory_capacity'", "expected FIGURE"]),
        (["--where", ""], ["where: got ''", "expected FIGURE"]),
    ],
)
def test_a_bad_condition_is_refused_in_one_line(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["zoo", "accelerators", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    for word in words:
        assert word in told.err


def test_no_match_is_no_error_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "accelerators", "--where", "power > 1 MW"]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == ""
    assert told.err == f"none of {len(accelerators)}\n"
    assert main(["zoo", "accelerators", "--where", "power > 1 MW", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


# Exports


def test_exports_hold_the_chosen_entries_in_si_units(printed: Any) -> None:
    arguments = ("accelerators", "--where", "vendor = Intel", "--sort", "memory_bandwidth")
    rows = json.loads(printed(*arguments, "--format", "json"))
    assert list(dict.fromkeys(row["name"] for row in rows)) == ["gaudi_3", "gaudi_2"]
    table = list(csv.DictReader(io.StringIO(printed(*arguments, "--format", "csv"))))
    assert [row["figure"] for row in table] == [row["figure"] for row in rows]
    found = {(row["name"], row["figure"]): (float(row["value"]), row["unit"]) for row in rows if row["unit"]}
    assert found["gaudi_2", "memory_bandwidth"] == (2.46e12, "byte/s")
    assert found["gaudi_2", "memory_capacity"] == (96 * 2**30, "byte")


def test_the_examples_of_the_help_run(printed: Any) -> None:
    text = EXAMPLE.replace("\n    --", " --")
    lines = [line.strip().split("   ")[0] for line in text.splitlines() if line.startswith("  secondorder")]
    assert len(lines) == 7
    for line in lines:
        assert printed(*shlex.split(line)[2:])
