"""A simulated service says how far it may be trusted: intervals that cover, refusals that are right."""

from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
from plain_engine import PLAIN

import secondorder as so
from secondorder.answers.estimate import Steadiness
from secondorder.errors import InputError, Unstable
from secondorder.simulate.serving import draw
from secondorder.simulate.serving.columns import columns, compiled_columns
from secondorder.simulate.serving.compiled import is_compiled, run_compiled
from secondorder.simulate.serving.single_run import run
from secondorder.simulate.serving.source import ServingSource
from secondorder.studies import coverage
from secondorder.validation.catalogue.services import SEEDS, Service, Trial, services, trial, tried
from secondorder.validation.coverage import pooled

SERVICE = so.Serving(
    model="llama_3_1_8b",
    accelerator="h100_sxm",
    arrivals="poisson 60 request/s",
    lengths="input=200 output=geometric 20",
    max_num_seqs=8,
    step_time="affine 2e-3 per_prefill_token=1e-5 per_decode=1e-5",
    **PLAIN,
)
"""Eight slots, full at about 138 requests per second."""
SMALL = Service(name="small", load=0.5, scenario=SERVICE)


@cache
def small(seed: int) -> Trial:
    """A trial that two tests look at."""
    return trial(SMALL, seed)


def at(rate):
    return replace(SERVICE, arrivals=so.Poisson(f"{rate} request/s"))


def test_the_compiled_engine_gives_the_records_of_the_one_on_simpy():
    drawn = so.simulate.serving.draw(SERVICE, 500)
    assert is_compiled(SERVICE)
    by_kernel, by_events = run_compiled(SERVICE, drawn), so.simulate.serving.run(SERVICE, drawn)
    assert by_kernel.requests.equals(by_events.requests)
    assert by_kernel.series.equals(by_events.series)


def test_a_default_run_reaches_five_percent_and_says_so():
    answer = so.simulate(SERVICE, seed=1)
    tail = answer.best("ttft_p99")
    assert tail.steady
    assert tail.high - tail.low <= 2 * 0.05 * tail.amount
    assert answer.how.startswith("simulated, steady state")


def test_intervals_of_a_service_hold_the_truth_of_other_seeds(monkeypatch):
    monkeypatch.setattr(coverage, "trial", lambda service, seed: small(seed))
    (cell,) = coverage.covered_services([SMALL], seeds=16)
    assert cell.decided == 16
    assert pooled(cell.coverage.values()).share > 0.88
    assert not cell.fails
    assert cell.breaks == 0


def test_a_biased_simulator_fails_its_coverage():
    trials = [small(seed) for seed in range(10)]
    other = [trial(Service(name="more", load=0.6, scenario=at(75)), seed) for seed in range(10)]
    mixed = [replace(mine, together=theirs.together) for mine, theirs in zip(trials, other, strict=True)]
    assert tried(SMALL, mixed).fails.startswith("covers too seldom")


def test_past_saturation_a_default_run_is_unstable():
    with pytest.raises(Unstable, match="from an empty and from a flooded start"):
        so.simulate(at(400), seed=1)


def test_short_runs_near_saturation_have_no_verdict():
    short = so.simulate(at(134), seed=1, requests=2_000)
    assert {each.steadiness for each in short.estimates} == {Steadiness.NOT_ENOUGH_DATA}
    assert "use at least" in short.best("ttft_p99").unsettled


def test_a_budget_of_time_ends_the_search():
    tail = so.simulate(at(120), seed=1, budget="1 s", precision=0.001).best("ttft_p99")
    assert "requests would do" in tail.note or "use at least" in tail.unsettled


def test_a_precision_or_a_budget_out_of_range_is_refused():
    with pytest.raises(InputError, match="precision"):
        so.simulate(SERVICE, precision=2.0)
    with pytest.raises(InputError, match="budget"):
        so.simulate(SERVICE, budget="-1 s")
    with pytest.raises(InputError, match="precision"):
        so.simulate(so.Queue(arrivals="poisson 8 request/s", service="exponential 100 ms"), precision=0.02)


def test_a_flooded_start_leaves_the_streams_of_a_replication_alone():
    source = ServingSource(SERVICE, 3)
    empty, flooded = source.run(0, 3_000), source.run(0, 3_000, flood=100)
    assert len(empty.work) == len(flooded.work) == 3_000
    assert flooded.work[0] > empty.work[0]
    assert flooded.values["ttft"][-500:] == pytest.approx(empty.values["ttft"][-500:], rel=1e-6)


def test_the_services_cover_loads_slots_budgets_and_bursts():
    every = services()
    assert len(every) >= 24
    assert len({each.name for each in every}) == len(every)
    assert SEEDS >= 200


def test_a_compiled_run_as_arrays_is_the_run_as_tables() -> None:
    scenario = so.Serving(
        model="llama_3_1_8b",
        accelerator="h100_sxm",
        arrivals="gamma 24 request/s burstiness=0.25",
        lengths="azure_conv_2023",
        num_gpu_blocks=2600,
        max_model_len=20_000,
        max_num_seqs=256,
        **PLAIN,
    )
    drawn = draw(scenario, 1500, 1)
    found, expected = compiled_columns(scenario, drawn), columns(run(scenario, drawn))
    for each in fields(expected):
        one, other = getattr(found, each.name), getattr(expected, each.name)
        if each.name == "latencies":
            one, other = (np.array(list(values.values())) for values in (one, other))
        if each.name == "priority":
            assert one is None
            assert other is None
        elif each.name in {"below", "links", "writes"}:  # of the lower tiers of a cache, which has none here
            assert one == other == {}
        else:
            assert np.array_equal(one, other, equal_nan=True), each.name
    assert expected.preemptions.sum() > 0
