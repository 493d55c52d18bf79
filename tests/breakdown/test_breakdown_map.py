"""Maps of approximations: what they say at their corners and between them, and what solve makes of it."""

import math
from dataclasses import replace
from importlib.resources import files

import pytest

import secondorder as so
from secondorder.answers.estimate import Claim
from secondorder.breakdown.axes import Axis
from secondorder.breakdown.breakdown_map import STEPS, BreakdownMap, breakdown_map, names, read, write
from secondorder.breakdown.fields import SINGLE_LINE
from secondorder.breakdown.rows import ROWS, Row
from secondorder.errors import InputError, UnknownName
from secondorder.studies.maps.sample import TOLERANCES
from secondorder.verbs import solve

ROW = Row(name="made_up", title="made up", field=SINGLE_LINE, metric="wait_mean", order=1)


def _unbounded(value: float) -> float:
    return value / (1 - abs(value))


CORNERS = {
    (a, b, c): _unbounded(0.1 * (a + 2 * b) / STEPS - 0.2) for a in (0, 32, 64) for b in (0, 64) for c in (0, 64)
}
HALVED = BreakdownMap(
    row=ROW, corners=CORNERS, splits="0--", noise=(0.0, 0.0), command="none", version="0", date="2026-11-29"
)
"""The bounded value rises by 0.1 over the load and by 0.2 over the scv of the gaps, from -0.2."""
BORDER = -math.log(0.9) / (1 - math.log(0.9))
"""How far below 0 it is where the formula is 10 % low."""


def test_between_corners_the_bounded_value_is_linear():
    corner = HALVED.error_at(load=0.2, arrival_scv=0.25, service_scv=1.0)
    assert corner == pytest.approx(math.expm1(_unbounded(-0.2)))
    middle = HALVED.error_at(load=0.575, arrival_scv=1.0, service_scv=1.0)
    assert middle == pytest.approx(math.expm1(_unbounded(-0.2 + 0.05 + 0.1)))


def test_a_cell_is_bent_by_what_its_middle_is():
    bent = replace(HALVED, corners={**CORNERS, (16, 32, 32): _unbounded(-0.075 + 0.02)})
    middle = {"load": 0.3875, "arrival_scv": 1.0, "service_scv": 1.0}
    assert bent.error_at(**middle) == pytest.approx(math.expm1(_unbounded(-0.055)))
    beside = {**middle, "load": 0.2}  # no parabola along the load there, those of the other two axes in full
    assert bent.error_at(**beside) == pytest.approx(math.expm1(_unbounded(-0.1 + 0.02 * 2 / 3)))


def test_a_border_lies_where_the_error_passes_the_level():
    assert HALVED.borders("load", level=0.10, arrival_scv=0.25, service_scv=1.0) == ()
    (scv,) = HALVED.borders("arrival_scv", level=0.10, load=0.2, service_scv=1.0)
    assert scv == pytest.approx(0.25 * 16 ** ((0.2 - BORDER) / 0.2), rel=1e-3)
    (load,) = HALVED.borders("load", level=0.10, arrival_scv=0.5, service_scv=1.0)
    assert load == pytest.approx(0.2 + 0.75 * (0.15 - BORDER) / 0.1, rel=1e-3)


def test_inside_is_within_the_margin_of_the_truth():
    at = {"load": 0.2, "arrival_scv": 0.25, "service_scv": 1.0}
    assert not HALVED.inside(**at)
    assert HALVED.inside(margin=0.23, **at)


@pytest.mark.parametrize(
    "at",
    [
        {"load": 0.99, "arrival_scv": 1.0, "service_scv": 1.0},
        {"load": math.nan, "arrival_scv": 1.0, "service_scv": 1.0},
        {"load": 0.5, "arrival_scv": -1.0, "service_scv": 1.0},
        {"load": 0.5, "arrival_scv": 1.0},
        {"load": 0.5, "arrival_scv": 1.0, "servers": 2.0},
    ],
)
def test_a_point_off_the_map_is_refused_in_one_line(at):
    with pytest.raises(InputError, match="expected"):
        HALVED.error_at(**at)


def test_whole_axes_take_whole_numbers_alone():
    servers = Axis(name="servers", meaning="servers", low=2, high=32, scale="log", whole=True)
    assert servers.holds(12)
    assert not servers.holds(2.5)
    assert [servers.value(k / 4) for k in range(5)] == [2, 4, 8, 16, 32]


def test_a_map_is_read_as_it_was_written():
    assert read(ROW, write(HALVED)) == replace(HALVED, corners={k: round(v, 4) for k, v in CORNERS.items()})


def test_a_misspelt_map_suggests_the_near_ones():
    with pytest.raises(UnknownName, match="mm1"):
        breakdown_map("mm2")
    with pytest.raises(UnknownName, match="load"):
        HALVED.borders("laod", arrival_scv=1.0, service_scv=1.0)


@pytest.mark.parametrize("name", names())
def test_each_map_comes_with_the_package_and_has_a_corner_for_every_cell(name):
    found = breakdown_map(name)
    kept = (files("secondorder.breakdown") / "data" / f"{name}.json").read_text(encoding="utf-8")
    assert len(kept) < 40_000
    for axis in found.axes:
        assert f'"{axis.name}": [\n   {axis.low},\n   {axis.high},\n   "{axis.scale}"\n  ]' in kept
    cells = [found.root]
    while cells:
        cell = cells.pop()
        cells.extend(cell.halves or ())
    for places in ([0, 0, 0], [1, 1, 1], [0.33, 0.71, 0.5], [0.9, 0.1, 0.25]):
        assert math.isfinite(found.logarithm_at(places))
    assert found.command == f"secondorder map {name} --build --seed 0"
    assert found.date
    assert found.version


def test_mm1_is_half_of_the_wait_where_the_scv_of_services_is_three():
    """M/G/1: the wait is (1 + scv)/2 times that of M/M/1, exactly; the map is coarse far from borders."""
    found = breakdown_map("mm1")
    for load in (0.3, 0.6, 0.9):
        for scv in (0.25, 3.0):
            exact = 2 / (1 + scv)
            coarse = max(TOLERANCES.values()) * (1 + abs(math.log(exact))) ** 2  # of the logarithm of the ratio
            ratio = 1 + found.error_at(load=load, arrival_scv=1.0, service_scv=scv)
            assert abs(math.log(ratio / exact)) < found.noise[1] + coarse


# What solve makes of it


def _queue(scv: float) -> so.Queue:
    return so.Queue(arrivals="poisson 8 request/s", service=f"lognormal 100 ms scv={scv}")


def test_solve_puts_an_approximation_past_its_border_outside_its_domain():
    rungs = {rung.order: rung for rung in solve(_queue(3.0))["wait_mean"]}
    assert rungs[1].outside in ("about 50 % low here, by its map", "about 51 % low here, by its map")
    assert rungs[2].outside == ""  # exact
    assert rungs[0].outside == ""  # a bound


def test_inside_its_border_an_approximation_stays_as_it_is():
    assert all(rung.outside == "" for rung in solve(_queue(1.05))["wait_mean"])


def test_the_maps_change_no_number_and_no_exact_form_and_no_bound():
    from secondorder.analytic.queues.ladder import solve_queue

    for scv in (0.3, 1.0, 4.0):
        told, plain = solve(_queue(scv)), solve_queue(_queue(scv))
        assert [each.amount for each in told.estimates] == [each.amount for each in plain.estimates]
        for one, other in zip(told.estimates, plain.estimates, strict=True):
            assert one == other or (one.claim is Claim.APPROXIMATION and not other.outside)


@pytest.mark.parametrize(
    "queue",
    [
        so.Queue(arrivals="poisson 9.9 request/s", service="lognormal 100 ms scv=3"),  # past the end of the load
        so.Queue(arrivals="poisson 8 request/s", service="hyperexponential 100 ms scv=3"),  # another law
        so.Queue(arrivals="poisson 8 request/s", service="lognormal 100 ms scv=3", room=50),  # another system
    ],
)
def test_a_scenario_off_the_map_is_left_alone(queue):
    assert not any("its map" in rung.outside for rung in solve(queue).estimates)


def test_every_rung_with_a_map_is_a_rung_of_the_ladder():
    assert len({(row.field.name, row.metric, row.order) for row in ROWS if row.order is not None}) == sum(
        row.order is not None for row in ROWS
    )
