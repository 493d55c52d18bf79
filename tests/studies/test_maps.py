"""Maps are made of formulas and truths: the truths against exact theory, the sampling against a known surface."""

import math
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from secondorder.analytic.queues import multiserver
from secondorder.answers.answer import Answer
from secondorder.breakdown.axes import Axis
from secondorder.breakdown.breakdown_map import STEPS, BreakdownMap
from secondorder.breakdown.fields import SINGLE_LINE, Field
from secondorder.breakdown.rows import ROWS, Row
from secondorder.simulate.collectives.one_run import of_collective, of_pipeline
from secondorder.simulate.kernels.queues import first_come
from secondorder.simulate.queues.run import run
from secondorder.studies.maps import collectives, queues
from secondorder.studies.maps.build import COARSE, Known, build, point_at, truth_at
from secondorder.studies.maps.formulas import formula_of
from secondorder.studies.maps.grounds import ground_of
from secondorder.studies.maps.points import Simulated
from secondorder.studies.maps.sample import Sampling
from secondorder.studies.points import Keeping
from secondorder.systems.registry import SYSTEMS
from secondorder.systems.system import loaded

build_module = import_module("secondorder.studies.maps.build")
FIELDS = {row.field.name: row.field for row in ROWS}
MIDDLE = (STEPS // 2, STEPS // 2, STEPS // 2)


def _within(found: np.ndarray, exact: float) -> bool:
    """Whether the mean of replications is within four standard errors of an exact value: one in 16,000 is not."""
    return abs(found.mean() - exact) < 4 * found.std(ddof=1) / math.sqrt(len(found))


def _replications(once, point, metric, count=20, length=20_000):
    return np.array([once(point, 7, k, length)[metric] for k in range(count)])


@pytest.mark.parametrize("scv", [0.25, 1.0, 4.0])
def test_the_wait_from_idle_periods_is_that_of_pollaczek_and_khinchine(scv):
    point = {"load": 0.8, "arrival_scv": 1.0, "service_scv": scv}
    found = _replications(queues.wait_of_one, point, "wait_mean")
    assert _within(found, 0.8 * (1 + scv) / (2 * 0.2))
    assert found.std(ddof=1) < 0.05 * found.mean()  # the waits themselves spread three times as far


def test_a_wait_that_leaves_out_the_idle_periods_would_not_pass():
    point = {"load": 0.8, "arrival_scv": 1.0, "service_scv": 1.0}
    found = _replications(queues.wait_of_one, point, "wait_mean")
    heavy_traffic = (1 / 0.8**2 + 1 + 0.25**2) / (2 * 0.25)
    assert not _within(found, heavy_traffic)


def test_at_a_light_load_the_waits_themselves_are_those_of_pollaczek_and_khinchine():
    point = {"load": 0.3, "arrival_scv": 1.0, "service_scv": 2.0}
    assert _within(_replications(queues.wait_of_one, point, "wait_mean"), 0.3 * 3 / (2 * 0.7))


@pytest.mark.parametrize(("load", "servers"), [(0.3, 2), (0.5, 4), (0.8, 8), (0.95, 32)])
def test_the_exact_wait_of_several_servers_is_erlangs_where_gaps_are_exponential(load: float, servers: int) -> None:
    found = queues.wait_in_one_line({"load": load, "arrival_scv": 1.0, "servers": servers})["wait_mean"]
    erlang = multiserver.mean_wait(arrival_rate=load * servers, service_rate=1.0, servers=servers)
    assert found == pytest.approx(erlang, rel=1e-6)


@pytest.mark.parametrize(("load", "scv", "servers"), [(0.8, 0.25, 4), (0.8, 4.0, 16), (0.5, 2.0, 2)])
def test_the_exact_wait_of_several_servers_is_that_of_the_kernel(load: float, scv: float, servers: int) -> None:
    rng, count = np.random.default_rng(3), 400_000
    exact = queues.wait_in_one_line({"load": load, "arrival_scv": scv, "servers": servers})["wait_mean"]
    found = []
    for _ in range(10):
        arrival = np.cumsum(rng.gamma(1 / scv, scv, count) / (load * servers))
        found.append((first_come(arrival, rng.exponential(size=count), servers) - arrival).mean())
    assert _within(np.array(found), exact)
    assert np.std(found, ddof=1) < 0.1 * exact


def test_the_wait_of_gamma_gaps_is_that_of_the_queue_run_customer_by_customer():
    point = {"load": 0.7, "arrival_scv": 3.0, "service_scv": 0.5}
    found, queue = _replications(queues.wait_of_one, point, "wait_mean"), queues.single_line(point)
    plain = np.array([run(queue, 40_000, seed=3, replication=k).wait[4_000:].mean() for k in range(len(found))])
    spread = math.hypot(found.std(ddof=1), plain.std(ddof=1)) / math.sqrt(len(found))
    assert abs(found.mean() - plain.mean()) < 4 * spread


@pytest.mark.parametrize(
    ("once", "scenario_at", "own", "point"),
    [
        (collectives.time_of_ring, collectives.ring, of_collective, {"cv": 0.6, "ranks": 8.0, "repeats": 2.0}),
        (
            collectives.time_of_steps,
            collectives.one_forward_one_backward,
            of_pipeline,
            {"cv": 0.6, "stages": 4.0, "microbatches": 8.0},
        ),
        (collectives.time_of_wave, collectives.wave, of_pipeline, {"cv": 0.6, "stages": 4.0, "microbatches": 8.0}),
    ],
)
def test_rings_and_pipelines_take_as_long_as_their_simulation_without_kernels(once, scenario_at, own, point):
    found = _replications(once, point, "time_mean", length=10_000)
    plain = np.array(
        [own(scenario_at(point), seed=3, replication=k, requests=200)["time_mean"] for k in range(len(found))]
    )
    spread = math.hypot(found.std(ddof=1), plain.std(ddof=1)) / math.sqrt(len(found))
    assert abs(found.mean() - plain.mean()) < 4 * spread


@pytest.mark.parametrize("name", FIELDS)
def test_a_scenario_lies_where_it_was_made(name):
    field = FIELDS[name]
    system = SYSTEMS[field.system]
    point = point_at(field, MIDDLE)
    scenario = ground_of(field).scenario(point)
    if system.places is None:
        pytest.fail(f"{field.system} has maps and no places")
    at = loaded(system.places)(scenario, Answer(scenario="", estimates=()))
    ladder = [row for row in ROWS if row.field == field and row.order is not None]
    if name not in at:
        assert not ladder, "solve cannot consult these maps"
        return
    assert {axis.name: pytest.approx(at[name][axis.name]) for axis in field.axes} == point


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_each_formula_and_each_truth_has_a_value_in_the_middle_of_its_map(row):
    point = point_at(row.field, MIDDLE)
    assert formula_of(row)(point)[row.metric] > 0
    truth = truth_at(row.field, point, row.metric, 10 * COARSE)
    assert truth.amount > 0


# Sampling


class _Surface:
    """A known error: a border that is a plane, and a bend."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, corner: tuple[int, int, int]) -> float:
        self.asked += 1
        a, b, c = (step / STEPS for step in corner)
        return 0.5 * a * a + 0.3 * math.sin(3 * b) + 0.2 * c - 0.3


def _sampled(most: int) -> tuple[BreakdownMap, _Surface]:
    axes = SINGLE_LINE.axes
    surface = _Surface()
    sampling = Sampling(axes=axes, value=surface, most=most)
    splits = sampling.run()
    row = Row(name="made_up", title="", field=SINGLE_LINE, metric="wait_mean")
    found = BreakdownMap(
        row=row, corners=sampling.known, splits=splits, noise=(0.0, 0.0), command="", version="", date=""
    )
    return found, surface


def test_sampling_finds_the_border_of_a_known_surface():
    found, surface = _sampled(400)
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(400):
        places = rng.random(3)
        truth = surface(tuple(STEPS * place for place in places))
        wrong += (abs(math.expm1(truth)) <= 0.1) != (abs(math.expm1(found.logarithm_at(places))) <= 0.1)
    assert wrong <= 8  # 2 % of the points lie within 0.002 of a border


def test_cells_are_small_at_the_border_and_large_elsewhere():
    found, _ = _sampled(400)
    sizes: dict[bool, list[int]] = {True: [], False: []}
    cells = [found.root]
    while cells:
        cell = cells.pop()
        cells.extend(cell.halves or ())
        if cell.halves is None:
            middle = [(a + b) / 2 / STEPS for a, b in zip(cell.low, cell.high, strict=True)]
            near = abs(abs(math.expm1(found.logarithm_at(middle))) - 0.1) < 0.03
            sizes[near].append(math.prod(b - a for a, b in zip(cell.low, cell.high, strict=True)))
    assert np.mean(sizes[True]) < np.mean(sizes[False])


def test_no_cell_is_halved_between_whole_numbers():
    servers = Axis(name="servers", meaning="servers", low=2, high=32, scale="log", whole=True)
    sampling = Sampling(axes=(servers, *SINGLE_LINE.axes[1:]), value=_Surface(), most=400)
    sampling.run()
    cells = {corner[0] for corner in sampling.known}
    assert cells == {0, 16, 32, 48, 64}


def test_a_map_made_twice_is_the_same():
    row = next(row for row in ROWS if row.field.name == "bursts")
    one, other = build(row, most=90), build(row, most=130)
    assert one.corners == other.corners
    assert one.splits == other.splits
    assert isinstance(row.field, Field)


def test_an_interrupted_map_goes_on_where_it_stopped_and_is_the_same(tmp_path, monkeypatch):
    row = next(row for row in ROWS if isinstance(ground_of(row.field).truth, Simulated))
    asked = []

    def formula(point):
        """Any: what a formula costs is no part of the claim."""
        return {row.metric: 1 + sum(point.values())}

    def truth(field, point, metric, width, seed):
        asked.append((tuple(point.values()), width))
        if len(asked) == 40:
            raise KeyboardInterrupt
        return Known(formula(point)[metric] * (1 + 0.2 * sum(point.values()) % 1), 0.01)

    monkeypatch.setattr(build_module, "truth_at", truth)
    monkeypatch.setattr(build_module, "formula_of", lambda _: formula)
    keeping = Keeping(store=tmp_path / "map.db")
    with pytest.raises(KeyboardInterrupt):
        build(row, most=90, keeping=keeping)
    resumed = build(row, most=90, keeping=replace(keeping, resume=True))
    assert len(asked) == len(set(asked)) + 1  # only the one that was interrupted is asked twice
    alone = build(row, most=90)
    assert (resumed.corners, resumed.splits, resumed.noise) == (alone.corners, alone.splits, alone.noise)
