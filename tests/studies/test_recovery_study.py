"""The study of recovery: each way at its own best interval, and where a spare breaks even with an interval."""

from dataclasses import replace

import pytest

import secondorder as so
from secondorder.analytic.training.run_interval import long_run_goodput
from secondorder.cli import main
from secondorder.errors import InputError
from secondorder.report.recovery import recovery_figure, recovery_frame, recovery_grids
from secondorder.scenarios.training import Checkpoint, Recovery, Spares, Training
from secondorder.studies.points import Keeping
from secondorder.studies.recovery import COLD, HOT, NEAR, WHOLE, RecoveryStudy, recovery_study

RUN = Training(
    failures="exponential 8240 s",
    checkpoint=Checkpoint(interval="1 h", write="60 s"),
    recovery=Recovery(restart="300 s", detection="30 s", replacement="5 min"),
    elastic="16 shared=0.1 regroup=20 s reload=2 min",
    spares=Spares(count=2, repair="8 h"),
    duration="20 day",
)


@pytest.fixture(scope="module")
def study() -> RecoveryStudy:
    return recovery_study(RUN, simulated=False)


def test_each_way_has_its_own_best_interval_and_less_is_lost_from_way_to_way(study: RecoveryStudy) -> None:
    assert [way.who for way in study.ways] == [WHOLE, HOT, COLD, NEAR]
    goodputs = [way.solved.best("goodput").amount for way in study.ways]
    assert goodputs == sorted(goodputs)
    for way in study.ways:
        best = long_run_goodput(way.scenario)
        assert all(long_run_goodput(way.scenario.at(factor * way.interval)) <= best for factor in (0.8, 1.25))
    assert study.ways[2].interval > 2 * study.ways[0].interval  # few failures lose work


def test_a_spare_breaks_even_at_the_ends_of_its_intervals(study: RecoveryStudy) -> None:
    for fewer, one in zip(study.surface, study.surface[1:], strict=False):
        assert one.low is not None
        assert one.high is not None
        assert one.low < one.interval < one.high
        at = replace(RUN, spares=replace(RUN.spares, count=one.count))
        for edge in (one.low, one.high):
            assert long_run_goodput(at.at(edge)) == pytest.approx(fewer.best, abs=1e-6)
    assert study.surface[-1].best - study.surface[-2].best < 1e-4


def test_the_simulated_ways_are_kept_and_told_with_their_percentiles(tmp_path) -> None:
    short = replace(RUN, duration="3 day", spares=None)
    plain = recovery_study(short, replications=72)
    again = recovery_study(short, replications=72, keeping=Keeping(store=tmp_path / "s.db"))
    kept = recovery_study(short, replications=72, keeping=Keeping(store=tmp_path / "s.db", resume=True))
    for one, two, three in zip(plain.ways, again.ways, kept.ways, strict=True):
        assert one.simulated == two.simulated == three.simulated
    frame = recovery_frame(plain)
    assert set(frame["recovery"]) == {WHOLE, HOT, COLD, NEAR}
    assert {"goodput_p5", "goodput_p95"} <= set(frame["metric"])
    assert all(len(text) <= 80 for grid in recovery_grids(plain) for text in grid.above)
    assert len(recovery_figure(plain).axes) == 1


def test_a_run_that_no_failure_sends_back_has_no_best_interval() -> None:
    alone = replace(RUN, elastic="16 shared=0 regroup=20 s reload=2 min")
    with pytest.raises(InputError, match="expected a share above 0 for a best interval"):
        recovery_study(alone, simulated=False)


def test_the_command_draws_spares_against_the_interval(tmp_path, capsys) -> None:
    words = [
        "study", "recovery", "--failures", "exponential 3 h", "--write", "60 s", "--restart", "300 s", "--spares", "1",
        "--repair", "4 h", "--no-simulate", "--figure", str(tmp_path / "a.png"),
    ]  # fmt: skip
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "better from" in out
    assert "give elastic replicas" in out
    assert all(len(text) <= 80 for text in out.splitlines())
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_elastic_replicas_are_fields_of_every_command_of_a_run(capsys) -> None:
    words = ["train", "--failures", "exponential 3 h", "--interval", "1 h", "--write", "60 s", "--restart", "300 s"]
    assert main([*words, "--replicas", "16", "--shared", "0.1", "--reload", "2 min", "--no-simulate"]) == 0
    assert "replicas heal independently" in capsys.readouterr().out
    assert main([*words, "--replicas", "16", "--no-simulate"]) == 2
    assert "shared" in capsys.readouterr().err
    assert so.solve(RUN).best("goodput").order == 2
