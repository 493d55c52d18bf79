"""Studies of a training run and the published figures, against numbers by hand."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import secondorder as so
from secondorder.errors import InputError
from secondorder.fleets.failures import failure_rates
from secondorder.report.training import study_figure, study_frame, study_grids
from secondorder.scenarios.training import AsyncCheckpoint, Training
from secondorder.simulate.training import runs
from secondorder.studies.interval import interval_study
from secondorder.studies.points import Keeping
from secondorder.studies.scaling import scaled, scaling_study
from secondorder.studies.spares import spares_study
from secondorder.validation.published import published
from secondorder.validation.verdicts import Verdict

MTBF, WRITE, RESTART = 8240.0, 60.0, 300.0


def training(**changes: object) -> Training:
    fields: dict[str, object] = {
        "failures": f"exponential {MTBF} s",
        "checkpoint": so.Checkpoint(interval="1 h", write=f"{WRITE} s"),
        "recovery": so.Recovery(restart=f"{RESTART} s"),
        "duration": "20 day",
    }
    return Training(**{**fields, **changes})  # type: ignore[arg-type]


def exact(tau: float) -> float:
    return tau / (MTBF * math.exp(RESTART / MTBF) * math.expm1((tau + WRITE) / MTBF))


# The interval


def test_the_choices_are_young_daly_and_the_true_optimum() -> None:
    study = interval_study(training(), simulated=False)
    grid = np.linspace(500, 1500, 100_001)
    values = np.array([exact(tau) for tau in grid])
    chosen = {choice.who: choice for choice in study.choices}
    assert chosen["Young"].interval == pytest.approx(math.sqrt(2 * WRITE * MTBF))
    x = WRITE / (2 * MTBF)
    daly = math.sqrt(2 * WRITE * MTBF) * (1 + math.sqrt(x) / 3 + x / 9) - WRITE
    assert chosen["Daly"].interval == pytest.approx(daly)
    assert chosen["best"].interval == pytest.approx(grid[values.argmax()], abs=1)
    for choice in study.choices:
        assert choice.goodput == pytest.approx(exact(choice.interval), rel=1e-9)
        assert choice.regret == pytest.approx(1 - exact(choice.interval) / values.max(), abs=1e-9)


def test_the_regret_is_that_of_paired_runs_and_its_interval_of_their_spread() -> None:
    study = interval_study(training(), replications=12, seed=3)
    young, best = (choice for choice in study.choices if choice.who in ("Young", "best"))
    mine = np.array([story.goodput for story in runs(training().at(young.interval), seed=3, replications=12)])
    theirs = np.array([story.goodput for story in runs(training().at(best.interval), seed=3, replications=12)])
    found = young.simulated_regret
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.mean == pytest.approx(1 - mine.mean() / theirs.mean())
    ratios = 1 - mine / theirs  # nearly the same linear statistic
    half = 2.201 * ratios.std(ddof=1) / math.sqrt(12)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05)


def test_the_simulated_best_lies_between_the_edges_of_the_plateau() -> None:
    study = interval_study(training(), replications=20, seed=1)
    assert study.plateau is not None
    low, high = study.plateau
    assert low < 954.8 < high
    assert len(study.dots) == len(study.simulated) == len(study.points)


def test_a_drain_decides_an_asynchronous_interval_where_the_pause_does_not() -> None:
    slow = training(checkpoint=AsyncCheckpoint(interval="1 h", pause="10 ms", drain="600 s"))
    best = next(choice for choice in interval_study(slow, simulated=False).choices if choice.who == "best")
    assert best.interval == pytest.approx(600, rel=0.01)


# Spares


def test_the_spares_study_is_erlangs() -> None:
    load = 7_200.0 / MTBF
    study = spares_study(training(spares=so.Spares(count=0, repair="exponential 2 h")), simulated=False)
    blocked = 1.0
    for servers, answer in enumerate(study.solved, start=1):
        blocked = load * blocked / (servers + load * blocked)
        assert answer.best("availability").amount == pytest.approx(1 - blocked, rel=1e-9)
    assert study.counts[0] == 0
    assert study.enough(0.99) == next(
        n for n, a in zip(study.counts, study.solved, strict=True) if a.best("availability").amount >= 0.99
    )


def test_an_availability_that_no_number_of_spares_has_is_said() -> None:
    """One crew takes 6 h a repair, which is longer than it runs between failures: most of the time it waits."""
    slow = study_grids(spares_study(training(spares=so.Spares(count=0, repair="6 h", crews=1)), simulated=False))
    assert "with none of these spares is the availability 0.99 or 0.999 or 0.9999" in slow[1].below
    quick = study_grids(spares_study(training(spares=so.Spares(count=0, repair="1 min")), simulated=False))
    assert not any("with none" in line for line in quick[1].below)


def test_a_spares_study_needs_spares() -> None:
    with pytest.raises(InputError, match="spares: got none"):
        spares_study(training())


def laid_out(**changes: object) -> Training:
    """A run of 32 nodes of 8."""
    job = so.TrainingJob(
        model=so.models.gpt_3_175b,
        global_batch=512,
        sequence_length=2048,
        layout=so.Layout(data_parallel=32, tensor_parallel=4, pipeline_parallel=2, zero_stage=2),
    )
    step = so.TrainingStep(job=job, cluster=replace(so.clusters.dgx_h100_superpod, nodes=32), compute_efficiency=0.5)
    return training(step=step, spares=so.Spares(count=2, repair="exponential 4 h"), **changes)


def test_a_spare_is_paid_for_whether_it_works_or_not() -> None:
    study = spares_study(laid_out(), price="2 USD/hour", simulated=False)
    grid = study_grids(study)[-1]
    kept = []
    for count, answer, row in zip(study.counts, study.solved, grid.rows, strict=True):
        paid, goodput = 1 + count / 32, answer.best("goodput").amount
        kept.append(2 * paid / goodput)
        assert study.paid(count) == pytest.approx(paid)
        assert [float(cell) for cell in row] == pytest.approx(
            [count, paid, goodput, paid / goodput, kept[-1]], rel=1e-3
        )
    least = study.counts[kept.index(min(kept))]
    assert f"cheapest with {least} of these spares" in " ".join(grid.below)
    assert 0 < least < study.counts[-1]  # none is too few, all too many


def test_a_table_of_a_study_says_when_a_formula_agrees() -> None:
    simulated = spares_study(training(spares=so.Spares(count=0, repair="1 min")), replications=2)
    assert any("agrees if within 0.5 %" in line for line in study_grids(simulated)[0].above)
    alone = spares_study(training(spares=so.Spares(count=0, repair="1 min")), simulated=False)
    assert not any("agrees" in line for line in study_grids(alone)[0].above)


def test_what_a_spare_costs_is_told_or_why_it_is_not() -> None:
    unpriced = study_grids(spares_study(laid_out(), simulated=False))[-1]
    assert "no price is known: give one" in unpriced.below
    assert "USD/hour kept" not in unpriced.header
    alone = study_grids(spares_study(training(spares=so.Spares(count=0, repair="2 h")), simulated=False))
    assert len(alone) == 2
    assert any(line.startswith("no cost of spares is shown") for line in alone[-1].below)


# The size


def test_a_study_over_sizes_is_headed_by_failures_in_proportion_to_the_size() -> None:
    (head, *_), *_ = (grid.above for grid in study_grids(scaling_study(training(), accelerators=1024, simulated=False)))
    assert "failures in proportion to the accelerators, every 2.29 h at 1,024" in head


def test_the_spares_of_a_size_are_paid_for_too() -> None:
    study = scaling_study(laid_out(), price="2 USD/hour", simulated=False)
    for size in study.sizes:
        assert size.cost(0.5) == pytest.approx(2 * (1 + 2 / (size.accelerators / 8)) / 0.5)
    assert any("spares included" in line for line in study_grids(study)[-1].below)
    unknown = scaling_study(
        training(spares=so.Spares(count=2, repair="2 h")), accelerators=64, price="2 USD/hour", simulated=False
    )
    assert any("spares left out" in line for line in study_grids(unknown)[-1].below)


def test_a_note_of_a_table_keeps_its_reasons_and_leaves_out_the_numbers_of_one_row() -> None:
    study = spares_study(training(spares=so.Spares(count=0, repair="12 h")), simulated=False)
    notes = " ".join(" ".join(grid.below) for grid in study_grids(study))
    assert "below 0, it means nothing" in notes  # of a first order far outside its domain
    assert "a failure costs" not in notes


@pytest.mark.parametrize(
    "line",
    [
        "exponential 3 h",
        "renewal weibull 3 h shape=0.7",
        "stationary 2048 weibull 6000 h shape=0.7",
        "new 2048 weibull 6000 h shape=0.7",
        "bursts 6 h mtbf_storm=10 min calm=24 h storm=1 h",
    ],
)
def test_twice_the_platform_fails_twice_as_often(line: str) -> None:
    process = training(failures=line).process
    assert scaled(process, 2).mtbf == pytest.approx(process.mtbf / 2)
    assert scaled(process, 0.5).mtbf == pytest.approx(process.mtbf * 2)


def test_larger_clusters_fail_more_and_cost_more_for_what_is_kept() -> None:
    study = scaling_study(training(), accelerators=1024, price="2 USD/hour", simulated=False)
    assert [size.accelerators for size in study.sizes] == [64, 128, 256, 512, 1024, 2048, 4096]
    kept = [size.solved.best("goodput").amount for size in study.sizes]
    assert kept == sorted(kept, reverse=True)
    for size, goodput in zip(study.sizes, kept, strict=True):
        assert size.scenario.mtbf * size.accelerators == pytest.approx(MTBF * 1024)
        assert size.cost(goodput) == pytest.approx(2 / goodput)
        assert size.effective(goodput) == size.accelerators * goodput


def test_stated_work_takes_less_time_on_more_accelerators() -> None:
    study = scaling_study(training(duration=None, work="10 day"), accelerators=1024, simulated=False)
    times = [size.solved.best("time_to_train").amount for size in study.sizes]
    assert times == sorted(times, reverse=True)


def test_a_size_that_is_no_whole_number_is_left_out_by_name() -> None:
    study = scaling_study(training(), accelerators=1000, simulated=False)
    assert study.left_out == ("62.5: no whole number",)


# What every study has


def test_every_study_has_the_percentiles_of_single_runs() -> None:
    short = training(duration="3 day")
    spared = training(duration="3 day", spares=so.Spares(count=0, repair="1 min"))
    studies = (
        interval_study(short, replications=72),
        spares_study(spared, replications=72),
        scaling_study(short, accelerators=64, replications=72),
    )
    for study in studies:
        frame = study_frame(study)
        found = dict(list(frame[frame["source"] == "simulated"].groupby("metric")))
        low, mean, high = (found[f"goodput{each}"]["value"].to_numpy() for each in ("_p5", "", "_p95"))
        assert (low <= mean).all()
        assert (mean <= high).all()
        assert np.isfinite(found["goodput_p5"]["ci_low"].to_numpy(dtype=float)).all()
        assert any("single runs" in line for grid in study_grids(study) for line in grid.above)


def test_blocking_stands_beside_asynchronous_on_one_figure() -> None:
    checkpoint = so.AsyncCheckpoint(interval="20 min", pause="5 s", drain="2 min")
    study = interval_study(training(checkpoint=checkpoint), simulated=False)
    blocking = interval_study(training(checkpoint=so.Checkpoint(interval="20 min", write="2 min")), simulated=False)
    place = len(study.line) // 2
    own = so.solve(blocking.scenario.at(study.line[place])).best("goodput").amount
    assert study.beside[place].best("goodput").amount == own
    labels = [line.get_label() for line in study_figure(study).axes[0].lines]
    assert "blocking, with the same write" in labels
    assert interval_study(blocking.scenario, simulated=False).beside == ()


def test_a_table_of_spares_ends_where_more_do_not_matter() -> None:
    many = spares_study(training(spares=so.Spares(count=0, repair="exponential 60 h")), simulated=False)
    assert len(many.counts) <= 16
    assert many.solved[-1].best("availability").amount >= 0.9999
    stuck = spares_study(training(spares=so.Spares(count=0, repair="6 h", crews=1)), simulated=False)
    most = so.solve(training(spares=so.Spares(count=64, repair="6 h", crews=1))).best("availability").amount
    assert stuck.counts[-1] < 64
    assert most - stuck.solved[-1].best("availability").amount < 5e-4


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_study_kept_and_resumed_is_the_study_itself(jobs: int, tmp_path: Path) -> None:
    plain = interval_study(training(), replications=3)
    kept = interval_study(training(), replications=3, keeping=Keeping(store=tmp_path / "s.db", jobs=jobs))
    again = interval_study(training(), replications=3, keeping=Keeping(store=tmp_path / "s.db", resume=True))
    assert plain.simulated == kept.simulated == again.simulated
    assert plain.choices == kept.choices == again.choices
    stories = runs(training().at(plain.dots[0]), replications=3)
    assert plain.simulated[0].amount == float(np.mean([story.goodput for story in stories]))


def test_a_month_is_a_twelfth_of_a_year() -> None:
    assert so.quantity("3 month", "s").m == so.quantity("0.25 year", "s").m


# Published figures


ROWS = {row.claim: row for row in published(seed=2)}


def test_counts_of_failures_are_those_of_the_rates() -> None:
    alone, both = (row for claim, row in ROWS.items() if "interruptions" in claim or "network cards" in claim)
    hours = 16_384 * 54 * 24
    assert alone.ours.low is not None
    assert alone.ours.high is not None
    assert alone.ours.mean == pytest.approx(hours / 50_000, rel=0.02)
    assert both.ours.mean == pytest.approx(hours / 50_000 + hours / 150_000, rel=0.02)
    assert alone.ours.high - alone.ours.low == pytest.approx(2 * 1.96 * math.sqrt(hours / 50_000), rel=0.2)
    assert (alone.verdict, both.verdict) == (Verdict.AGREES, Verdict.BREAKS)


def test_the_mismatch_of_the_1_over_n_law_is_reported_as_one() -> None:
    small, large = (row for claim, row in ROWS.items() if claim.startswith("mean time to failure"))
    assert small.ours.mean == pytest.approx(1000 / 6.5 / 128 * 24, rel=1e-6)
    assert (small.least, small.verdict) == (7.9, Verdict.BREAKS)
    assert large.ours.mean == pytest.approx(1000 / 6.5 / 2048 * 24, rel=1e-6)
    assert large.verdict is Verdict.AGREES


def test_memory_of_gpt_3_is_the_published_one_within_2_percent() -> None:
    found = [row for claim, row in ROWS.items() if claim.startswith("GPT-3")]
    assert [row.least for row in found] == [362, 108, 63.8, 21]
    assert all(row.verdict is Verdict.AGREES for row in found)
    assert all(row.ours.mean == pytest.approx(row.least, rel=0.02) for row in found)


def test_spares_of_bloom_are_the_fewest_by_erlang() -> None:
    row = ROWS["spare nodes beside 48"]
    load = failure_rates.meta_rsc_1.rate * 48 * 2 * 86_400
    blocked, spares = load / (1 + load), 0
    while 1 - blocked < 0.999:
        spares += 1
        blocked = load * blocked / (spares + 1 + load * blocked)
    assert row.ours.mean == spares
    assert row.verdict is Verdict.NOT_ENOUGH_DATA


def test_independent_jitter_slows_all_jobs_alike() -> None:
    row = next(row for claim, row in ROWS.items() if "stragglers" in claim)
    assert row.ours.mean in (0.0, 1.0)
    assert row.mismatch


def test_a_claim_whose_inputs_are_not_published_is_left_open() -> None:
    opened = [row for row in ROWS.values() if row.verdict is Verdict.NOT_ENOUGH_DATA]
    assert len(opened) == 8
    assert all(row.standing == "open" for row in opened)
    assert all("published" in row.note or "the same" in row.note for row in opened)


def test_each_published_run_is_predicted_fitted_or_open_and_a_mismatch_is_told() -> None:
    standings = {(row.source.split(" (")[0], row.standing, row.verdict) for row in ROWS.values()}
    assert ("Llama 3", "predicted", Verdict.AGREES) in standings
    assert ("Kokolis et al.", "predicted", Verdict.BREAKS) in standings
    assert {each[1] for each in standings if each[0] in ("HLAT", "ByteRobust")} == {"open"}
    assert ("failure-injected benchmark of TorchTitan", "fitted", Verdict.AGREES) in standings
    mtbf = 1000 * 86_400 / 6.5 / 64
    hlat = ROWS["98.81 % of the time trained"]
    assert 0.96 < hlat.ours.mean < 0.98  # as docs/predictions/training_runs.md expected
    assert f"{0.0119 * mtbf / 60:.0f} min" in hlat.note


def test_mtbf_young_and_bubble() -> None:
    assert ROWS["mean time between failures of 16,384 GPUs with cards"].ours.mean == pytest.approx(37_500 / 16_384)
    assert ROWS["Young's interval for a write of 60 s there"].ours.mean == pytest.approx(
        math.sqrt(120 * 3600 * 37_500 / 16_384)
    )
    assert ROWS["bubble of 2 stages and 16 microbatches"].ours.mean == pytest.approx(1 / 17)
