"""``secondorder map``: the list, a table, a point, a figure, and what is refused."""

import json

import pytest

from secondorder.cli import main

AT = ["--load", "0.8", "--arrival-scv", "1", "--service-scv", "3"]


def test_without_a_name_the_maps_are_listed_with_their_axes(capsys):
    assert main(["map"]) == 0
    out = capsys.readouterr().out
    assert "mm1" in out
    assert "load, arrival_scv, service_scv" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_point_is_told_with_its_error_and_its_borders(capsys):
    assert main(["map", "mm1", *AT]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "at load 0.8, arrival_scv 1, service_scv 3: about 5" in out
    assert "beyond 10 % at every load of the map" in out


def test_a_table_fits_eighty_columns(capsys):
    assert main(["map", "mm1"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_the_point_may_be_a_plan(tmp_path, capsys):
    plan = tmp_path / "plan.toml"
    plan.write_text('[queue]\narrivals = "poisson 8 request/s"\nservice = "lognormal 100 ms scv=3"\n')
    assert main(["map", "mm1", str(plan), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["service_scv"] for row in rows} == {3.0}
    assert set(rows[0]) == {"map", "load", "arrival_scv", "service_scv", "error"}


def test_a_figure_and_the_map_itself_are_written(tmp_path, capsys):
    figure, kept = tmp_path / "map.svg", tmp_path / "map.json"
    assert main(["map", "mm1", *AT, "--figure", str(figure), "--save", str(kept)]) == 0
    assert figure.stat().st_size > 10_000
    assert json.loads(kept.read_text())["name"] == "mm1"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["map", "mm2"], "mm1"),
        (["map", "mm1", "--load", "0.8"], "--service-scv"),
        (["map", "mm1", "--load", "2", *AT[2:]], "0.95"),
        (["map", "mm1", "--servers", "2"], "--arrival-scv"),
        (["map", "mm1", "--figure", "map.bmp"], ".png"),
    ],
)
def test_what_is_no_map_or_no_point_is_refused_in_one_line(words, told, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
