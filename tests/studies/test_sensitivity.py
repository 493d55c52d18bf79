"""Elasticities and Sobol indices against those known in closed form."""

import io
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from secondorder.cli import main
from secondorder.errors import InfeasibleError, InputError, UnknownName
from secondorder.fleets.clusters import Link
from secondorder.quantities import si
from secondorder.report.sensitivity import sensitivity_grid, sobol_grid, tornado_figure
from secondorder.report.tables import WIDTH, render
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.inverse_roofline import InverseRoofline
from secondorder.scenarios.pipeline import Pipeline
from secondorder.scenarios.queue import Queue
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.shared_cluster import SharedCluster
from secondorder.scenarios.training import Recovery, Training
from secondorder.studies.numeric_fields import numeric_fields
from secondorder.studies.sensitivity import sensitivity
from secondorder.studies.sobol import sobol, sobol_indices
from secondorder.workloads.models import models

MM1 = Queue(arrivals="poisson 8 request/s", service="exponential 100 ms")


@pytest.mark.parametrize("rate", [1.0, 5.0, 8.0, 9.5])
def test_elasticities_of_mm1_are_the_derivatives(rate: float) -> None:
    """``W = rho E[S] / (1 - rho)``: ``d ln W / d ln lambda = 1/(1-rho)``, and one more in ``E[S]``.

    Richardson's error is of the fourth power of a step of 1 %, near 4 % of what is left to saturation: below 1e-3.
    """
    rho = rate / 10
    queue = Queue(arrivals=f"poisson {rate} request/s", service="exponential 100 ms")
    found = sensitivity(queue, "wait_mean", ["arrivals.rate", "service.mean"], by=0.02)
    assert found["arrivals.rate"].elasticity == pytest.approx(1 / (1 - rho), rel=1e-3)
    assert found["service.mean"].elasticity == pytest.approx(1 / (1 - rho) + 1, rel=1e-3)
    assert abs(found["arrivals.rate"].elasticity - rho / (1 - rho)) > 0.5  # not the derivative of rho/(1-rho) alone


def test_elasticity_to_the_spread_is_that_of_pollaczek_and_khinchine() -> None:
    """``W ~ (1 + scv)``: ``d ln W / d ln scv = scv/(1+scv)``."""
    queue = Queue(arrivals="poisson 8 request/s", service="gamma 100 ms scv=4")
    found = sensitivity(queue, "wait_mean", ["service.scv"])
    assert found["service.scv"].elasticity == pytest.approx(0.8, rel=1e-6)


def test_what_an_engine_chooses_can_vary_as_what_is_given() -> None:
    service = Serving(
        model="llama_3_1_8b", accelerator="h100_sxm", arrivals="poisson 8 request/s", lengths="input=512 output=64"
    )
    found = {each.path: each.value for each in numeric_fields(service)[0]}
    assert (found["max_num_seqs"], found["max_num_batched_tokens"], found["gpu_memory_utilization"]) == (
        1024,
        8192,
        0.92,
    )
    assert sensitivity(service, "ttft_p99", ["max_num_batched_tokens"])["max_num_batched_tokens"].value == 8192


def test_the_tornado_has_the_metric_at_both_ends() -> None:
    effect = sensitivity(MM1, "wait_mean", ["arrivals.rate"], by=0.1)["arrivals.rate"]

    def wait(rate: float) -> float:
        return rate / 10 * 0.1 / (1 - rate / 10)

    assert (effect.at_low, effect.base, effect.at_high) == pytest.approx((wait(7.2), wait(8), wait(8.8)))
    assert effect.swing == pytest.approx(wait(8.8) - wait(7.2))


def test_simulated_elasticity_covers_the_truth_between_the_ends() -> None:
    def wait(rate: float) -> float:
        return rate / 10 * 0.1 / (1 - rate / 10)

    truth = math.log(wait(7.7) / wait(6.3)) / math.log(7.7 / 6.3)
    queue = Queue(arrivals="poisson 7 request/s", service="exponential 100 ms")
    found = sensitivity(
        queue, "wait_mean", ["arrivals.rate"], witness="simulate", seed=11, replications=8, requests=20_000
    )
    effect = found["arrivals.rate"]
    assert effect.low is not None
    assert effect.high is not None
    half = (effect.high - effect.low) / 2
    assert abs(effect.elasticity - truth) < 1.7 * half  # 99.5 % at 7 degrees
    assert half < 0.15 * truth


def test_common_random_numbers_narrow_the_interval() -> None:
    """Pairs by one seed against pairs by two: the variance of the slope falls by far more than half."""
    from secondorder.studies.sweep import varied
    from secondorder.verbs import simulate

    low, high = (varied(MM1, {"arrivals.rate": f"{rate} request/s"}) for rate in (6.0, 7.0))

    def slope(seed_low: int, seed_high: int) -> float:
        ends = [
            simulate(end, seed=seed, replications=2, requests=5_000).best("wait_mean").amount
            for end, seed in ((low, seed_low), (high, seed_high))
        ]
        return math.log(ends[1] / ends[0])

    together = np.var([slope(seed, seed) for seed in range(8)], ddof=1)
    apart = np.var([slope(seed, seed + 100) for seed in range(8)], ddof=1)
    assert together < 0.3 * apart


def test_rows_have_the_units_of_every_table_and_a_place_is_rounded() -> None:
    queue = Queue(arrivals="poisson 9.5 request/s", service="exponential 100 ms")
    found = sensitivity(queue, "wait_mean", ["arrivals.rate", "service.mean"])
    assert set(found.frame["unit"]) == {"s", "request/s"}
    assert "it cannot be 10.4 request/s: " in found["arrivals.rate"].note


def test_whole_numbers_move_by_whole_steps_that_are_told() -> None:
    pipe = Pipeline(stages=4, microbatches=32, forward="10 ms", backward="20 ms")
    found = sensitivity(pipe, "time_mean", ["microbatches", "stages"], by=0.1)
    assert found["microbatches"].step == "±3"
    assert found["stages"].step == "±1"
    # GPipe's law: (m + p - 1) (f + b)
    assert found["microbatches"].elasticity == pytest.approx(math.log(38 / 32) / math.log(35 / 29), rel=1e-9)
    assert found["stages"].at_high == pytest.approx(36 * 0.03)


def test_a_field_that_can_only_rise_is_moved_up_and_one_that_cannot_move_is_listed() -> None:
    queue = Queue(arrivals="poisson 14 request/s", service="exponential 100 ms", servers=2)
    servers = sensitivity(queue, "wait_mean", ["servers"])["servers"]
    assert servers.step == "+1"
    assert servers.at_low == servers.base
    assert "it cannot be 1: queue: utilisation 1.4" in servers.note
    alone = sensitivity(MM1, "wait_mean", ["servers"])["servers"]  # of 1, with 0 below it
    assert (alone.step, alone.note) == ("+1", "one side only: 0 has no logarithm")
    ring = Collective(
        ranks=8, size="1 GB", link=Link(bandwidth="50 GB/s", latency="5 us"), algorithm="halving_doubling"
    )
    found = sensitivity(ring, "time_mean")
    reasons = {one.path: one.reason for one in found.skipped}
    assert "expected a power of two" in reasons["ranks"]
    assert reasons["operation"] == "text or a choice"
    assert reasons["jitter"] == "not given"
    assert {row.path for row in found.rows} == {"size", "link.bandwidth", "link.latency", "repeats"}


def test_a_staircase_is_told_by_the_slope_between_the_ends() -> None:
    """How many parts meet a latency stays as it is for a small change, and not for a large one."""
    wanted = InverseRoofline(
        model=models.llama_3_1_8b, precision="bf16", latency="10 ms", input_tokens=1, context_tokens=2048
    )
    effect = sensitivity(wanted, "parts", ["latency"], by=0.3)["latency"]
    assert effect.at_low < effect.base < effect.at_high
    assert effect.elasticity == pytest.approx(math.log(effect.at_high / effect.at_low) / math.log(1.3 / 0.7))
    assert effect.note.startswith("not smooth here")


def test_what_was_not_varied_reads_as_a_sentence() -> None:
    run = Training(failures="exponential 3 h", checkpoint="blocking 30 min write=60 s", recovery=Recovery())
    below = sensitivity_grid(sensitivity(run, "goodput")).below
    zeros = next(line for line in below if line.startswith("not varied (0, and a share of 0 is 0): "))
    assert "recovery.restart" in zeros
    assert not any("of which a share is nothing" in line for line in below)


def test_interactions_have_an_interval_and_are_not_claimed_from_few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this wait .421 is of two fields together, by summation on a grid; of a sum, and of one field, nothing is.

    Thousands of points take their formulas, written out here; that ``sobol`` solves each point, the next tests say.
    """

    def answers(formula: Callable[..., float]) -> None:
        def answered(scenario: object, changes: dict[str, object], *_: object) -> float:
            return formula(*map(si, changes.values()))

        monkeypatch.setattr(sys.modules[sobol.__module__], "_answered", answered)

    ranges = {"arrivals.rate": ("2 request/s", "9.5 request/s"), "service.mean": ("20 ms", "100 ms")}
    few = sobol(MM1, "wait_mean", ranges, samples=16)
    assert few.interactions_low < 0.2 < few.interactions_high
    assert sobol_grid(few).below[0].startswith("too few samples to say whether fields act together")
    answers(lambda rate, mean: rate * mean**2 / (1 - rate * mean))
    many = sobol(MM1, "wait_mean", ranges, samples=512)
    assert 0.1 < many.interactions_low < 0.421 < many.interactions_high
    assert re.match(r"\d+% ± \d+% of the variance is no field's alone", sobol_grid(many).below[0])
    plus = {"forward.mean": ("10 ms", "20 ms"), "backward.mean": ("10 ms", "20 ms")}
    pipe = Pipeline(stages=4, microbatches=32, forward="10 ms", backward="20 ms")
    answers(lambda forward, backward: (4 + 32 - 1) * (forward + backward))
    assert sobol_grid(sobol(pipe, "time_mean", plus, samples=1024)).below[0].startswith("fields that act together are")
    monkeypatch.undo()
    assert not sobol_grid(sobol(MM1, "wait_mean", {"arrivals.rate": ranges["arrivals.rate"]}, samples=16)).below


def test_a_field_that_moves_one_way_only_is_not_said_to_have_no_effect_both_ways() -> None:
    gangs = SharedCluster(
        accelerators=32, sizes=8, arrivals="6 job/hour", duration="exponential 30 min", policy="fcfs"
    )  # 35 run no more gangs than 32, and 29 one less: 3 for 3 of them, which is unstable
    below = sensitivity_grid(sensitivity(gangs, "wait_mean", ["accelerators", "slowdown_floor"])).below
    assert "no effect: slowdown_floor" in below
    assert any(
        re.match(r"no effect at \+3 \(one side only: it cannot be 29: .*\): accelerators$", line) for line in below
    )


def test_what_is_of_single_fields_is_refused_beside_ranges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, picture = tmp_path / "plan.toml", tmp_path / "tornado.png"
    plan.write_text('[queue]\narrivals = "poisson 8 request/s"\nservice = "exponential 100 ms"\n')
    asked = ["sensitivity", str(plan), "--metric", "wait_mean", "--sobol", "arrivals.rate=5 request/s,9 request/s"]
    for flags in (["--figure", str(picture)], ["--field", "servers"]):
        assert main([*asked, *flags]) == 2
        assert f"got {flags[0]} with --sobol" in capsys.readouterr().err
    assert not picture.exists()


def test_no_field_is_dropped_without_a_word() -> None:
    found, skipped = numeric_fields(MM1)
    tops = {one.path.partition(".")[0] for one in [*found, *skipped]}
    assert tops == {"arrivals", "service", "servers", "room", "discipline", "setup", "routing", "patience", "outage"}
    frame = sensitivity(MM1, "wait_mean").frame
    assert len(frame) == len(found) + len(skipped)


def test_a_load_near_saturation_makes_another_field_matter_than_an_idle_one() -> None:
    """What one request alone cannot show: at a batch of one only the service counts."""
    idle = sensitivity(Queue(arrivals="poisson 0.1 request/s", service="exponential 100 ms"), "response_mean")
    busy = sensitivity(Queue(arrivals="poisson 9 request/s", service="exponential 100 ms"), "response_mean")
    assert abs(idle["arrivals.rate"].elasticity) < 0.02
    assert busy["arrivals.rate"].elasticity == pytest.approx(9.0, rel=1e-3)


def ishigami(x: np.ndarray) -> np.ndarray:
    z = math.pi * (2 * x - 1)
    return np.sin(z[:, 0]) + 7 * np.sin(z[:, 1]) ** 2 + 0.1 * z[:, 2] ** 4 * np.sin(z[:, 0])


def test_sobol_indices_of_ishigami_are_those_of_theory() -> None:
    """First .3139, .4424, 0 and total .5576, .4424, .2437 (Ishigami and Homma 1990; Saltelli et al. 2008)."""
    found = sobol_indices(ishigami, 3, samples=4096, seed=1)
    first, total = np.array([0.3139, 0.4424, 0.0]), np.array([0.5576, 0.4424, 0.2437])
    for estimates, interval, truth in (
        (found.first, found.first_interval, first),
        (found.total, found.total_interval, total),
    ):
        assert ((interval[0] <= truth) & (truth <= interval[1])).all()
        assert np.abs(estimates - truth).max() < 0.02
    assert np.abs(found.total - first).max() > 0.2  # totals are not the first ones


def test_a_sum_has_no_interactions_and_a_product_has() -> None:
    """A product of two uniforms: ``S = 3/7`` each, ``T = 4/7``, a seventh of the variance for both together."""
    product = sobol_indices(lambda x: x[:, 0] * x[:, 1], 2, samples=4096)
    assert product.first == pytest.approx([3 / 7, 3 / 7], abs=0.01)
    assert product.total == pytest.approx([4 / 7, 4 / 7], abs=0.01)
    plus = sobol_indices(lambda x: x[:, 0] + x[:, 1], 2, samples=4096)
    assert plus.total - plus.first == pytest.approx([0, 0], abs=0.01)


def test_rate_and_service_of_a_queue_act_together_which_one_at_a_time_hides() -> None:
    ranges = {"arrivals.rate": ("5 request/s", "9.5 request/s"), "service.mean": ("50 ms", "100 ms")}

    def wait(x: np.ndarray) -> np.ndarray:
        rate, mean = 5 + 4.5 * x[:, 0], 0.05 + 0.05 * x[:, 1]
        return rate * mean**2 / (1 - rate * mean)

    found, plain = sobol(MM1, "wait_mean", ranges, samples=64), sobol_indices(wait, 2, samples=64)
    assert found["arrivals.rate"].total == pytest.approx(plain.total[0], rel=1e-9)
    assert found["service.mean"].first == pytest.approx(plain.first[1], rel=1e-9)
    many = sobol_indices(wait, 2, samples=2**15)
    assert 1 - many.first.sum() > 0.1
    assert (many.total_interval[0] > many.first_interval[1]).all()


def test_a_range_past_saturation_names_the_point() -> None:
    with pytest.raises(InfeasibleError, match=r"^at arrivals.rate .*utilisation.*narrow the ranges$"):
        sobol(MM1, "wait_mean", {"arrivals.rate": ("5 request/s", "20 request/s")}, samples=8)


def test_what_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(UnknownName, match="wait_mean"):
        sensitivity(MM1, "wait_men")
    with pytest.raises(UnknownName, match=r"arrivals\.rate"):
        sensitivity(MM1, "wait_mean", ["arrival.rate"])
    with pytest.raises(InputError, match=r"fields: got 'arrivals.rate', expected a list of them"):
        sensitivity(MM1, "wait_mean", "arrivals.rate")
    with pytest.raises(InputError, match="by: got 2"):
        sensitivity(MM1, "wait_mean", by=2)
    with pytest.raises(InputError, match="samples: got 100, expected a power of 2"):
        sobol_indices(ishigami, 3, samples=100)
    with pytest.raises(InputError, match="the lower value first"):
        sobol(MM1, "wait_mean", {"arrivals.rate": ("8 request/s", "5 request/s")})


def test_the_tables_keep_to_80_columns_and_the_tornado_has_a_bar_a_field() -> None:
    queue = Queue(arrivals="poisson 14 request/s", service="lognormal 100 ms scv=2", servers=2)
    study = sensitivity(queue, "wait_mean")
    ranges = {"arrivals.rate": ("8 request/s", "17 request/s"), "service.scv": (0.5, 4)}
    for grid in (sensitivity_grid(study), sobol_grid(sobol(queue, "wait_mean", ranges, samples=16))):
        text = io.StringIO()
        render(grid, Console(file=text, width=WIDTH))
        assert max(map(len, text.getvalue().splitlines())) <= WIDTH
        assert "arrivals.rate" in text.getvalue()
    axes = tornado_figure(study).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "service.mean ±10 %"
    assert len(axes.patches) == 2 * len(study.rows)
