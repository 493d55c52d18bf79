"""Comparisons judge: a right formula agrees, a wrong one breaks, too little data says so."""

from dataclasses import replace

import numpy as np
import pytest
from plain_engine import PLAIN

import secondorder as so
from secondorder.answers.answer import COLUMNS, Answer
from secondorder.answers.estimate import Estimate, Steadiness
from secondorder.errors import InputError, Unstable
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.statistics.warm_up import mser5
from secondorder.studies.sweep import sweep
from secondorder.validation.comparison import Comparison
from secondorder.validation.verdicts import Verdict


@pytest.fixture(scope="module")
def scenario():
    return so.Serving(
        model=so.models.llama_3_1_8b,
        accelerator=so.accelerators.h100_sxm,
        arrivals=so.Poisson("12 request/s"),
        lengths=so.lengths.azure_conv_2023,
        max_num_seqs=256,
        **PLAIN,
    )


@pytest.fixture(scope="module")
def compared(scenario):
    return so.compare(scenario, seed=1, requests=8_000)


def verdict_of(compared: Comparison, metric: str, order: int) -> Verdict:
    return next(j.verdict for j in compared.judged if j.formula.metric == metric and j.formula.order == order)


def test_order_0_breaks_and_order_2_agrees_at_a_moderate_load(compared):
    for metric in ("ttft_mean", "ttft_p99", "tpot_mean", "e2el_mean"):
        assert verdict_of(compared, metric, 0) is Verdict.BREAKS, metric
    for metric in ("ttft_mean", "ttft_p50", "tpot_mean", "e2el_mean", "running_mean"):
        assert verdict_of(compared, metric, 2) is Verdict.AGREES, metric


def test_a_formula_with_a_wrong_constant_breaks(compared):
    wrong = tuple(replace(e, amount=1.3 * e.amount) for e in compared.solved.estimates)
    spoilt = replace(compared, solved=Answer(scenario="spoilt", estimates=wrong))
    assert verdict_of(spoilt, "e2el_mean", 2) is Verdict.BREAKS


def test_a_biased_simulator_breaks_a_right_formula(scenario, compared):
    """Arrivals 20 % too fast."""
    hurried = so.simulate(replace(scenario, arrivals=so.Poisson("14.4 request/s")), seed=1, requests=8_000)
    spoilt = replace(compared, simulated=hurried)
    assert verdict_of(spoilt, "running_mean", 2) is Verdict.BREAKS


def test_too_short_a_run_is_not_enough_data(scenario):
    short = so.compare(scenario, seed=1, requests=300, replications=2)
    assert Verdict.NOT_ENOUGH_DATA in {j.verdict for j in short.judged}


def test_the_frame_has_the_contracts_columns_and_every_estimate(compared):
    frame = compared.frame
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == len(compared.solved.estimates) + len(compared.simulated.estimates)
    simulated = frame[frame["source"] == "simulated"]
    assert (simulated["ci_low"] <= simulated["value"]).all()
    assert (simulated["value"] <= simulated["ci_high"]).all()


def test_the_same_seed_gives_the_same_answer_whatever_the_processes(scenario):
    one, two = (so.simulate(scenario, seed=3, requests=500, replications=4, jobs=jobs) for jobs in (1, 2))
    assert one.estimates == two.estimates
    assert one.estimates != so.simulate(scenario, seed=4, requests=500, replications=4).estimates


def test_a_changed_length_law_leaves_the_arrivals_alone(scenario):
    from secondorder.simulate.serving import draw

    other = replace(scenario, lengths=so.Lengths(input=100, output=100))
    np.testing.assert_array_equal(draw(scenario, 100, 7).arrival, draw(other, 100, 7).arrival)


def test_past_saturation_both_witnesses_refuse(scenario):
    fast = replace(scenario, arrivals=so.Poisson("60 request/s"))
    with pytest.raises(Unstable, match=r"60 request/s offered.*saturates at 31"):
        so.solve(fast)
    with pytest.raises(Unstable, match=r"60 request/s offered.*served"):
        so.simulate(fast, seed=1, requests=6_000)


def test_a_sweep_is_tidy_and_refuses_a_field_that_is_not_there(scenario):
    frame = sweep(scenario, {"arrivals.rate": ["2 request/s", "6 request/s"]}, requests=500, replications=3)
    assert list(frame.columns) == ["arrivals.rate", *COLUMNS]
    assert set(frame["arrivals.rate"]) == {"2 request/s", "6 request/s"}
    with pytest.raises(InputError, match="rate"):
        sweep(scenario, {"arrivals.rates": ["2 request/s"]})
    with pytest.raises(InputError, match="without a unit"):
        sweep(scenario, {"arrivals.rate": [2]})


def test_a_replayed_trace_has_no_interval_and_no_verdict(scenario):
    from secondorder.workloads.requests import Requests

    requests = Requests(arrival=np.arange(50) * 0.2, input_tokens=[500] * 50, output_tokens=[50] * 50)
    replayed = so.compare(replace(scenario, arrivals=so.Trace(name="even", requests=requests), lengths=None))
    assert {j.verdict for j in replayed.judged} == {Verdict.REPLAYED}
    assert "transient" in replayed.simulated.how


def test_the_student_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    intervals = [student(rng.normal(5.0, 2.0, size=6)) for _ in range(4_000)]
    covered = np.mean([i.low <= 5.0 <= i.high for i in intervals])
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 4_000)


def test_mser_finds_the_end_of_a_warm_up_and_cuts_nothing_from_a_steady_series():
    rng = np.random.default_rng(2)
    steady = rng.normal(size=4_000)
    warming = steady + 8 * np.exp(-np.arange(4_000) / 100)
    assert mser5(steady) < 1_000
    assert 200 <= mser5(warming) <= 1_500


def test_an_estimate_is_a_quantity():
    estimate = Estimate(metric="ttft_p99", amount=0.25, unit="s", source="simulated")
    assert estimate.value == so.quantity("250 ms", "s")


def test_simulated_throughput_is_the_offered_rate_in_a_steady_state(scenario):
    """The engine takes as long to fill as its longest request lasts; that time is no throughput."""
    busy = replace(scenario, arrivals=so.Poisson("28 request/s"))
    answer = so.simulate(busy, seed=3, requests=4_000)
    for metric, truth in (("request_throughput", 28.0), ("output_throughput", 28.0 * busy.offered.mean_output)):
        estimate = answer.best(metric)
        slack = 1.5 * (estimate.high - estimate.low) / 2
        assert abs(estimate.amount - truth) < slack, metric


def test_what_the_simulation_does_not_know_breaks_nothing(scenario):
    unsure = Estimate(
        metric="m", amount=1.0, unit="s", source="simulated", low=0.9, high=1.1, steadiness=Steadiness.NOT_ENOUGH_DATA
    )
    from secondorder.validation.verdicts import verdict

    assert verdict(5.0, unsure, 0.1) is Verdict.NOT_ENOUGH_DATA


@pytest.mark.parametrize(
    "options", [{"seed": -1}, {"seed": 1.5}, {"requests": 0}, {"requests": 10.0}, {"replications": 1}, {"jobs": 0}]
)
def test_options_that_make_no_sense_are_refused_by_name(scenario, options):
    with pytest.raises(InputError, match=next(iter(options))):
        so.simulate(scenario, **options)


def test_a_stable_queue_near_saturation_is_not_refused():
    one = so.Serving(
        model=so.models.llama_3_1_8b,
        accelerator=so.accelerators.h100_sxm,
        arrivals=so.Poisson("1 request/s"),
        lengths=so.Lengths(input=100, output=so.Geometric(50)),
        max_num_seqs=1,
        **PLAIN,
    )
    from secondorder.analytic.serving import saturation

    busy = replace(one, arrivals=so.Poisson(f"{0.95 * saturation(one).rate} request/s"))
    for seed in range(10):
        so.simulate(busy, seed=seed, requests=2_500, replications=4)


def test_a_sweep_keeps_its_good_points_beside_an_infeasible_one(scenario):
    grid = {"precision": ["fp16"], "accelerator": [so.accelerators.h100_sxm, so.accelerators.t4]}
    frame = sweep(scenario, grid, requests=300, replications=2)
    assert set(frame["verdict"]) > {"infeasible"}
    assert "do not fit" in frame[frame["verdict"] == "infeasible"]["note"].iloc[0]
