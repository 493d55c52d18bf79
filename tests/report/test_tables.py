"""What tables show: units read at a glance, digits that are there, nothing cut, and the same in every format."""

import csv
import io
import json
import re
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import secondorder as so
from secondorder.answers.answer import COLUMNS, Answer
from secondorder.answers.estimate import Claim, Estimate
from secondorder.cli import main, systems
from secondorder.cli.options import Output
from secondorder.cli.output import show
from secondorder.report.tables import (
    WIDTH,
    Grid,
    answer_grid,
    comparison_grid,
    digits,
    markdown,
    render,
)
from secondorder.systems.registry import SYSTEMS
from secondorder.validation.comparison import Comparison


def answer(*estimates: Estimate) -> Answer:
    return Answer(scenario="case", estimates=estimates, how="by hand")


def closed(amount: float, unit: str = "", *, metric: str = "figure", order: int = 1, note: str = "") -> Estimate:
    return Estimate(metric=metric, amount=amount, unit=unit, source="formula", order=order, note=note)


def simulated(amount: float, half: float, unit: str = "", *, metric: str = "figure") -> Estimate:
    return Estimate(metric=metric, amount=amount, unit=unit, source="simulated", low=amount - half, high=amount + half)


def cells(*estimates: Estimate) -> list[str]:
    """The first row of an answer's table."""
    return list(answer_grid(answer(*estimates)).rows[0])


def compared(formula: Estimate, truth: Estimate, margin: float = 0.1) -> Grid:
    return comparison_grid(Comparison(scenario="case", solved=answer(formula), simulated=answer(truth), margin=margin))


def printed(grid: Grid, width: int = 1000) -> str:
    text = io.StringIO()
    render(grid, Console(file=text, width=width, color_system=None))
    return text.getvalue()


# Units and digits


@pytest.mark.parametrize(
    ("amount", "unit", "shown"),
    [
        (31_557_600.0, "s", ["1.00", "year"]),
        (10 * 86_400.0, "s", ["10.0", "day"]),
        (5 * 3600.0, "s", ["5.00", "h"]),
        (1200.0, "s", ["20.0", "min"]),
        (994.0, "s", ["994", "s"]),
        (0.25, "s", ["250", "ms"]),
        (6 / 3600, "job/s", ["6.00", "job/h"]),
        (8.0, "request/s", ["8", "req/s"]),
        (4274.0, "sample/s", ["4,274", "sample/s"]),
        (2048.0, "token/s", ["2,048", "tok/s"]),
        (2.5e-7, "USD/token", ["0.250", "USD/Mtok"]),
        (3.2e-9, "kgCO2e/token", ["3.20", "gCO2e/Mtok"]),
        (2.3e-4, "kWh/request", ["0.230", "Wh/req"]),
        (4.2e-6, "USD/request", ["4.20e-06", "USD/req"]),
        (7e10, "", ["70.0", "x 1e9"]),
    ],
)
def test_a_number_stands_in_the_unit_that_it_is_read_in(amount, unit, shown):
    assert cells(closed(amount, unit))[1:] == shown
    row = answer(closed(amount, unit)).frame.iloc[0]
    assert (row["value"], row["unit"]) == (amount, unit)  # what leaves the library stays in SI


@given(st.floats(1e-15, 1e15))
def test_three_digits_are_shown_of_any_number(value):
    assert float(digits(value).replace(",", "")) == pytest.approx(value, rel=0.005)


@given(st.floats(0.99, 1 - 2e-12))
def test_a_share_below_1_is_not_rounded_to_it_and_keeps_its_nines(value):
    text = digits(value, share=True)
    shown = float(text.removeprefix(">"))
    assert shown < 1
    assert abs(shown - value) <= 0.501 * (1 - value) or (text == ">0.99999" and value > 0.99999)


def test_what_is_1_but_for_the_rounding_of_sums_is_1():
    assert digits(1 - 2**-53, share=True) == "1.00"
    assert digits(1 - 1e-11, share=True) == ">0.99999"


def test_a_half_width_is_never_shown_as_0():
    uncertain = replace(simulated(0.0, 0.0), high=1.0)  # of a quantile of counts: 0, but perhaps 1
    assert cells(uncertain)[1] == "0 ± 0.5"


def test_a_count_has_no_decimals_and_what_is_no_count_has():
    assert cells(closed(2, order=0), closed(4, order=2))[1:3] == ["2", "4"]
    assert cells(closed(2, order=0), closed(4.5, order=2))[1:3] == ["2.00", "4.50"]
    assert compared(closed(4), simulated(4.0, 0.0)).rows[0][1:3] == ["4", "4"]
    assert compared(closed(4), simulated(4.0, 0.2)).rows[0][1:3] == ["4.00", "4.00 ± 0.20"]


def test_what_is_without_limit_is_shown_as_such():
    assert cells(closed(float("inf")))[1] == "inf"
    assert cells(closed(float("inf"), "s"), closed(2.0, "s", order=2))[1:3] == ["inf", "2.00"]


def test_mean_and_quantiles_of_one_thing_stand_together():
    metrics = (
        "ttft_mean",
        "ttft_p99",
        "tpot_mean",
        "saturation_rate",
        "ttft_p50",
        "tokens",
        "tokens_p97_5",
        "tokens_p2_5",
    )
    grid = answer_grid(answer(*(closed(1.5, metric=metric) for metric in metrics)))
    assert [row[0] for row in grid.rows] == [
        "ttft_mean",
        "ttft_p50",
        "ttft_p99",
        "tpot_mean",
        "saturation_rate",
        "tokens",
        "tokens_p2_5",
        "tokens_p97_5",
    ]
    assert grid.breaks == {2}  # after the three of one time; a single row is no group


# Verdicts


def test_what_is_met_without_chance_is_exact_and_has_no_interval():
    grid = compared(closed(3.0), simulated(3.0, 0.0))
    assert grid.rows[0][-1] == "1: exact"
    assert "nothing is random" in grid.above[-1]
    assert "±" not in printed(grid)
    frame = Comparison(scenario="", solved=answer(closed(3.0)), simulated=answer(simulated(3.0, 0.0)), margin=0.1).frame
    assert frame["verdict"][0] == "agrees"  # of three verdicts, as everywhere


def test_what_is_met_by_chance_or_missed_is_not_exact():
    by_chance = compared(closed(3.0), simulated(3.0, 0.01))
    assert by_chance.rows[0][-1] == "1: agrees ±0%"
    assert "± is a 95 % interval" in by_chance.above[-1]
    assert compared(closed(3.0), simulated(3.01, 0.0)).rows[0][-1] == "1: agrees ±0%"
    assert compared(closed(3.0), simulated(4.0, 0.0)).rows[0][-1] == "1: breaks -25%"


def test_a_replay_is_not_taken_for_what_nothing_is_left_to_chance_in():
    replay = replace(simulated(3.0, 0.0), low=None, high=None)
    grid = compared(closed(3.0), replay)
    assert "one replay has no interval" in grid.above[-1]
    assert grid.rows[0][-1] == "1: replayed once"


# Widths

WIDE = Grid(
    header=["metric", "order 0", "order 1", "order 2", "simulated", "", "verdict"],
    rows=[
        [
            "serving.accelerator.memory_bandwidth_mean",
            "1,234.567¹²",
            "1,234.567",
            "1",
            "12,345,678 ± 123,456",
            "req/s",
            word,
        ]
        for word in ("not enough data", "breaks -100%")
    ],
    numbers=frozenset({1, 2, 3, 4}),
)


@pytest.mark.parametrize("width", [20, 80, 200])
def test_a_table_is_never_cut_however_wide_it_must_be(width):
    text = printed(WIDE, width)
    assert "…" not in text
    for word in ("1,234.567¹²", "12,345,678", "± 123,456", "req/s", "not", "enough", "data", "breaks", "-100%"):
        assert word in text
    assert "".join(line.split(" ")[0] for line in text.splitlines()[3:6]).startswith("serving.accelerator.")


@pytest.mark.parametrize("label", range(1, 40))
def test_a_column_without_a_cell_takes_nothing_from_its_neighbours(label):
    narrow = replace(WIDE, rows=[["m" * label, *["0.912¹"] * 3, "0.913 ± 0.004", "", "not enough data"]])
    text = printed(narrow)
    assert "…" not in text
    assert "not enough data" in text or ("not enough" in text and "data" in text)


def test_a_table_that_fits_is_not_broken():
    narrow = replace(WIDE, rows=[["wait_mean", "1", "1", "1", "1 ± 1", "s", "not enough data"]])
    assert "wait_mean  " in printed(narrow)
    assert "order 0" in printed(narrow)


# Every example of the help


@pytest.mark.parametrize("word", [word for word, system in SYSTEMS.items() if not system.own_command])
def test_the_example_of_a_command_reads_at_80_and_60_columns_and_parses(word, monkeypatch, capsys):
    found = []
    monkeypatch.setattr(systems, "show", lambda result, out: found.append(result))
    few = [] if SYSTEMS[word].simulator is None else ["--replications", "2"]
    few += ["--num-prompts", "500"] if SYSTEMS[word].has_requests else []
    assert main([word.replace("_", "-"), *shlex.split(SYSTEMS[word].example), *few]) == 0
    (result,) = found
    grid = (answer_grid if isinstance(result, Answer) else comparison_grid)(result)
    said = printed(grid).splitlines()
    assert max(map(len, said)) <= WIDTH
    assert max(map(len, printed(grid, 60).splitlines())) <= 60
    assert not [line for line in said if "…" in line or "0.000000" in line]
    assert all(text for text in grid.above)
    show(result, Output(format="json"))
    rows = json.loads(capsys.readouterr().out)
    assert tuple(rows[0]) == COLUMNS
    show(result, Output(format="csv"))
    assert [row["metric"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == [
        r["metric"] for r in rows
    ]
    table = [line for line in markdown(grid).splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert len(table) == len(grid.rows) + 2


FLEET = {
    "accelerator": so.accelerators.h100_sxm,
    "accelerators": 64,
    "power_overhead": 1.8,
    "horizon": "3 year",
    "service_life": "4 year",
    "rate": "4 request/s",
    "tokens_per_request": 500,
}
WIDEST = [
    so.Ownership(
        **FLEET,
        purchase="30000 USD",
        server_overhead=1.4,
        pue=1.2,
        maintenance=0.05,
        service="exponential 10 s",
        electricity_price="0.12 USD/kWh",
        profile="sinusoid swing=0.4",
        rental="3 USD/hour",
        wait_objective="5 s",
    ),
    so.Footprint(
        **FLEET,
        utilisation=0.5,
        region=so.regions.poland,
        facility=so.facilities.microsoft,
        embodied="150 kgCO2e",
        load="sinusoid swing=0.5",
        load_scv=0.1,
    ),
]


@pytest.mark.parametrize("scenario", WIDEST, ids=lambda each: each.name)
def test_a_table_of_all_that_a_scenario_tells_keeps_to_80_columns(scenario):
    said = printed(comparison_grid(so.compare(scenario, seed=1, replications=2)))
    assert max(map(len, said.splitlines())) <= WIDTH
    assert "0.000000" not in said
    assert "/Mtok" in said  # of tokens by the million


def test_the_example_of_every_scenario_without_chance_is_answered_by_closed_forms():
    """A stated utilisation leaves nothing to simulate, nor does a fit without published errors."""
    assert main(["ownership", *shlex.split(SYSTEMS["ownership"].example)]) == 0
    assert main(["scaling-law", "--compute", "5.76e23 FLOP", "--fit", "hoffmann_2022"]) == 0


def test_a_year_is_told_as_one(capsys):
    fleet = so.Ownership(
        accelerator=so.accelerators.h100_sxm,
        accelerators=8,
        purchase="30000 USD",
        server_overhead=1.4,
        power_overhead=1.8,
        pue=1.2,
        electricity_price="0.12 USD/kWh",
        maintenance=0.0,
        service_life="4 year",
        horizon="3 year",
        utilisation=1.0,
        rental="3 USD/hour",
    )
    show(so.solve(fleet), Output())
    told = capsys.readouterr().out
    assert re.search(r"break_even_horizon +1\.\d\d  year", told)
    show(so.solve(fleet), Output(format="json"))
    (row,) = [row for row in json.loads(capsys.readouterr().out) if row["metric"] == "break_even_horizon"]
    assert row["unit"] == "s"
    assert row["value"] > 31_557_600


# The terminal's width

NARROW = [
    '--arrivals "poisson 8 request/s" --service "lognormal 100 ms scv=4" --num-prompts 2000',
    '--failures "exponential 2 h" --interval "30 min" --write "60 s" --restart "300 s" --replications 2',
]


@pytest.mark.parametrize("columns", [60, 72])
@pytest.mark.parametrize("flags", NARROW, ids=["queue", "train"])
def test_a_table_keeps_to_the_width_of_the_terminal_down_to_60(columns, flags, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([["queue", "train"][NARROW.index(flags)], *shlex.split(flags)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert not [line for line in lines if "…" in line]


def test_a_verdict_names_the_order_that_it_judges_and_the_formula():
    formulas = [closed(3.0, order=1), replace(closed(4.0, order=2), source="refined")]
    two = Comparison(scenario="case", solved=answer(*formulas), simulated=answer(simulated(3.0, 0.1)), margin=0.1)
    grid = comparison_grid(two)
    assert grid.header[-1] == "verdict on order"
    assert grid.rows[0][-1] == "2: breaks +33%"
    assert grid.below[0] == "order 2: refined"
    outside = replace(formulas[1], claim=Claim.APPROXIMATION, outside="few servers")
    inside = comparison_grid(replace(two, solved=answer(formulas[0], outside)))
    assert inside.rows[0][-1] == "1: agrees ±0%"
    assert inside.below[0] == "order 1: formula"


def test_formulas_of_one_order_are_told_with_the_rows_that_they_are_of():
    solved = answer(closed(3.0, metric="one"), replace(closed(3.0, metric="other"), source="another"))
    truth = answer(*(simulated(3.0, 0.1, metric=metric) for metric in ("one", "other")))
    below = comparison_grid(Comparison(scenario="case", solved=solved, simulated=truth, margin=0.1)).below
    assert below[:2] == ["order 1: formula (of one)", "order 1: another (of other)"]
