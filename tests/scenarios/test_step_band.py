"""Claims about how far step times of a datasheet may be off: where it is said, and of what."""

import csv
import io
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

import secondorder as so
from secondorder.cli import main
from secondorder.scenarios.measured_roofline import BAND, OLD_BAND
from secondorder.scenarios.step_band import UNKNOWN, step_band
from secondorder.scenarios.steptime import ROOFLINE_BAND
from secondorder.studies.records import record_of, result_of

LINE = "step times from a datasheet: nine in ten measured are 0.87 to 2.31 times as long"
SERVE = [
    "--model", "llama_3_1_8b", "--accelerator", "h100_sxm", "--arrivals", "poisson 4 request/s",
    "--lengths", "input=200 output=20",
]  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two engines in one scenario."""

    one: so.Serving
    other: so.Serving


@pytest.fixture(scope="module")
def scenario():
    return so.Serving(
        model="llama_3_1_8b", accelerator="h100_sxm", arrivals="poisson 4 request/s", lengths="input=200 output=20"
    )


def test_each_step_time_of_a_datasheet_has_the_band_of_its_own_defaults():
    assert so.Roofline().band == ROOFLINE_BAND
    assert so.MeasuredRoofline(engine="sglang").band == BAND
    assert so.MeasuredRoofline(engine="vllm-0.11").band == OLD_BAND
    assert so.Roofline(memory_efficiency=0.9).band is UNKNOWN
    assert so.MeasuredRoofline(layer_floor="10 µs").band is UNKNOWN


def test_every_value_of_every_verb_carries_it(scenario):
    solved = so.solve(scenario)
    simulated = so.simulate(scenario, requests=200, replications=2)
    assert {e.band for e in (*solved.estimates, *simulated.estimates)} == {ROOFLINE_BAND}
    deployment = so.Deployment(serving=scenario)
    assert {e.band for e in so.solve(deployment).estimates} == {ROOFLINE_BAND}
    rate = so.MaxRate(deployment=deployment, ttft_p99="500 ms")
    assert {e.band for e in so.solve(rate).estimates} == {ROOFLINE_BAND}
    compared = so.compare(scenario, requests=200, replications=2, load_axis=False)
    assert set(compared.frame["step_time_high"]) == {ROOFLINE_BAND.high}


def test_measured_step_times_and_queues_have_none(scenario):
    measured = replace(scenario, step_time=so.Affine(per_step=5e-3, per_prefill_token=1e-5, per_decode=1e-4))
    assert {e.band for e in so.solve(measured).estimates} == {None}
    assert so.solve(measured).frame["step_time_low"].isna().all()
    queue = so.Queue(arrivals="poisson 8 request/s", service="exponential 100 ms")
    assert {e.band for e in so.solve(queue).estimates} == {None}


def test_engines_that_differ_share_the_widest_band(scenario):
    both = Pair(one=scenario, other=replace(scenario, step_time=so.MeasuredRoofline()))
    assert step_band(both) == (BAND.low, ROOFLINE_BAND.high)


def test_ranks_in_lockstep_are_outside_what_the_band_was_measured_on():
    ranks = so.Serving(
        model="qwen3_30b_a3b", accelerator="h100_sxm", arrivals="poisson 4 request/s", lengths="input=200 output=20",
        step_time="measured-roofline", data_parallel_size=2,
    )  # fmt: skip
    assert step_band(ranks) == UNKNOWN


def test_a_stored_answer_keeps_it(scenario):
    solved = so.solve(scenario)
    kept = result_of(json.loads(json.dumps(record_of(solved))))
    assert kept.frame.equals(solved.frame)


@pytest.mark.parametrize("command", ["serve", "deploy"])
def test_a_table_ends_with_it(command, capsys):
    assert main([command, *SERVE, "--no-simulate"]) == 0
    assert capsys.readouterr().out.rstrip().endswith(LINE)


def test_json_and_csv_have_it_in_columns(capsys):
    assert main(["serve", *SERVE, "--no-simulate", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {(row["step_time_low"], row["step_time_high"]) for row in rows} == {tuple(ROOFLINE_BAND)}
    assert main(["serve", *SERVE, "--no-simulate", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["step_time_low"] for row in rows} == {"0.87"}


def test_constants_of_ones_own_are_said_to_have_no_band(capsys):
    assert main(["serve", *SERVE, "--no-simulate", "--step-time", "roofline memory_efficiency=0.9"]) == 0
    assert "is not known here" in capsys.readouterr().out
    flags = ["--no-simulate", "--step-time", "roofline memory_efficiency=0.9", "--format", "json"]
    assert main(["serve", *SERVE, *flags]) == 0
    assert {row["step_time_high"] for row in json.loads(capsys.readouterr().out)} == {None}


def test_the_band_of_groups_holds_a_new_group_as_often_as_it_says():
    band_of_groups = pytest.importorskip("decode_steps").band_of_groups
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(400):  # groups of unlike sizes, each with a lean of its own
        leans = rng.normal(0, 0.3, 21)
        rows = [np.exp(lean + rng.normal(0, 0.1, rng.integers(2, 30))) for lean in leans]
        known = np.concatenate(rows[:-1])
        groups = [str(place) for place, each in enumerate(rows[:-1]) for _ in each]
        low, high = band_of_groups(known, groups)
        inside.append(low <= rows[-1][0] <= high)
    assert np.mean(inside) > 0.9 - 2 * np.sqrt(0.9 * 0.1 / 400)
    assert np.mean(inside) < 0.99
