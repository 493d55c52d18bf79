"""Simulated training runs against stories told by hand, exact theory, naive versions of themselves, and mutants."""

import math
import sys
from dataclasses import replace
from functools import partial
from itertools import islice, pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import secondorder as so
from secondorder import models
from secondorder.errors import InfeasibleError, InputError
from secondorder.fleets.clusters import Storage, clusters
from secondorder.fleets.failures import read_failures
from secondorder.laws import EmpiricalLaw, Exponential, LogNormal, read_law
from secondorder.quantities import si
from secondorder.scenarios.training import (
    AsyncCheckpoint,
    Checkpoint,
    Recovery,
    Spares,
    Training,
    TwoLevelCheckpoint,
    VerifiedCheckpoint,
)
from secondorder.scenarios.training_step import TrainingStep
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.training import Causes, measure, run, simulate_training, tell
from secondorder.simulate.training import job as job_module
from secondorder.simulate.training import runs as many_runs
from secondorder.simulate.training.answer import order_ranks
from secondorder.simulate.training.failures import gaps, replace_nodes
from secondorder.validation.equivalence import equivalence
from secondorder.validation.verdicts import Verdict
from secondorder.workloads.training import Layout, TrainingJob

runs = partial(many_runs, witness="events")
"""The simulator that is tried here against theory. The kernel gives the same stories (``test_compiled_models.py``):
where thousands of failures are claims about their law, it tells them (``many_runs``)."""

CONFIDENCE = 0.999
DAY = 86_400.0


def training(failures="exponential 8240 s", checkpoint=None, restart="0 s", **options):
    recovery = Recovery(
        restart=restart, detection=options.pop("detection", "0 s"), replacement=options.pop("replacement", "0 s")
    )
    checkpoint = checkpoint or Checkpoint(interval=options.pop("interval"), write=options.pop("write"))
    return Training(failures=failures, checkpoint=checkpoint, recovery=recovery, **options)


def covers(values, truth, bar):
    """Whether the 99.9 % interval of the mean holds the truth, and is short enough (relative half-width) to tell."""
    interval = student(values, CONFIDENCE)
    assert interval.relative_half_width < bar, f"half-width {interval.relative_half_width:.4f} has no power"
    return interval.low <= truth <= interval.high


# Stories told by hand: what happens, and the log that it leaves


def story(scenario, *failures, **causes):
    return tell(scenario, Causes(failures=iter([*failures, math.inf]), **causes))


def log(story):
    return [f"{start:g}-{end:g} {phase}" for phase, start, end in story.phases]


SHORT = training(interval="100 s", write="10 s", restart="20 s", detection="3 s", replacement="4 s", duration="300 s")


def test_nothing_fails():
    told = story(SHORT)
    assert log(told) == ["0-100 work", "100-110 write", "110-210 work", "210-220 write", "220-300 work"]
    assert (told.work, told.checkpoint, told.rework) == (280, 20, 0)


def test_a_failure_in_work_costs_the_work_since_the_checkpoint():
    told = story(SHORT, 150)
    assert log(told) == [
        "0-100 work",
        "100-110 write",
        "110-150 work",
        "150-153 detection",
        "153-157 replacement",
        "157-177 restart",
        "177-277 work",
        "277-287 write",
        "287-300 work",
    ]
    assert (told.work, told.checkpoint, told.rework, told.restart, told.downtime) == (213, 20, 40, 20, 7)
    assert told.failures.tolist() == [150]


def test_a_failure_in_a_write_costs_the_write_and_all_its_work():
    told = story(SHORT, 104)
    assert log(told)[:4] == ["0-100 work", "100-104 write", "104-107 detection", "107-111 replacement"]
    assert log(told)[4:] == ["111-131 restart", "131-231 work", "231-241 write", "241-300 work"]
    assert (told.work, told.checkpoint, told.rework, told.restart, told.downtime) == (159, 10, 104, 20, 7)


def test_a_failure_in_a_restart_begins_it_anew_after_a_downtime():
    told = story(SHORT, 30, 15, 20)  # 15 s of running after the first; at the very end of the second restart
    assert log(told) == [
        "0-30 work",
        "30-33 detection",
        "33-37 replacement",
        "37-52 restart",
        "52-55 detection",
        "55-59 replacement",
        "59-79 restart",
        "79-82 detection",
        "82-86 replacement",
        "86-106 restart",
        "106-206 work",
        "206-216 write",
        "216-300 work",
    ]
    assert told.failures.tolist() == [30, 52, 79]
    assert (told.rework, told.restart, told.downtime) == (30, 55, 21)


def test_the_end_cuts_a_downtime_short():
    told = story(SHORT, 295)
    assert log(told)[-2:] == ["295-298 detection", "298-300 replacement"]
    assert (told.downtime, told.rework, told.wall) == (5, 75, 300)


def test_the_work_ends_with_a_shorter_segment_and_its_checkpoint():
    told = story(training(interval="100 s", write="10 s", restart="20 s", work="230 s"), 150)
    assert log(told) == [
        "0-100 work",
        "100-110 write",
        "110-150 work",
        "150-170 restart",
        "170-270 work",
        "270-280 write",
        "280-310 work",
        "310-320 write",
    ]
    assert (told.wall, told.work, told.checkpoint, told.rework, told.restart) == (320, 230, 30, 40, 20)


ASYNC = training(
    checkpoint=AsyncCheckpoint(interval="100 s", pause="5 s", drain="30 s"), restart="20 s", duration="300 s"
)


def test_a_failure_in_a_drain_goes_back_to_the_checkpoint_before():
    told = story(ASYNC, 120, 20 + 100 + 5 + 31)
    assert log(told) == [
        "0-100 work",
        "100-105 pause",
        "105-120 work",
        "105-120 drain",
        "120-140 restart",
        "140-240 work",
        "240-245 pause",
        "245-275 drain",
        "245-276 work",
        "276-296 restart",
        "296-300 work",
    ]
    assert (told.work, told.checkpoint, told.rework, told.restart) == (104, 5, 120 + 31, 40)


def test_a_drain_longer_than_the_interval_holds_training_up():
    slow = replace(ASYNC, checkpoint=AsyncCheckpoint(interval="100 s", pause="5 s", drain="130 s"), duration="500 s")
    told = story(slow)
    assert log(told) == [
        "0-100 work",
        "100-105 pause",
        "105-205 work",
        "105-235 drain",
        "205-235 wait for drain",
        "235-240 pause",
        "240-340 work",
        "240-370 drain",
        "340-370 wait for drain",
        "370-375 pause",
        "375-475 work",
        "475-500 wait for drain",
    ]
    assert (told.work, told.checkpoint) == (400, 100)


def test_the_work_is_done_when_the_last_drain_is():
    told = story(replace(ASYNC, duration=None, work="150 s"))
    assert log(told)[-2:] == ["160-190 drain", "160-190 wait for drain"]
    assert told.wall == 190


TWO = training(
    checkpoint=TwoLevelCheckpoint(
        interval="100 s", write="2 s", every=2, durable_write="20 s", light_share=0.5, light_restart="5 s"
    ),
    restart="30 s",
    duration="600 s",
)


def test_a_light_failure_needs_the_light_checkpoint_and_a_hard_one_the_durable():
    told = story(TWO, 150, 5 + 102 + 20 + 110, light=iter([True, False]))
    assert log(told) == [
        "0-100 work",
        "100-102 light write",
        "102-150 work",
        "150-155 restart",
        "155-255 work",
        "255-257 light write",
        "257-277 durable write",
        "277-377 work",
        "377-379 light write",
        "379-387 work",
        "387-417 restart",
        "417-517 work",
        "517-519 light write",
        "519-600 work",
    ]
    assert told.rework == 48 + 100 + 2 + 8
    assert (told.work, told.checkpoint, told.restart) == (200 + 100 + 81, 2 + 2 + 20 + 2, 35)


def test_a_light_failure_in_a_durable_write_keeps_the_light_one_and_writes_anew():
    told = story(TWO, 210, light=iter([True]))
    assert log(told)[3:7] == [
        "202-204 light write",
        "204-210 durable write",
        "210-215 restart",
        "215-235 durable write",
    ]
    assert told.rework == 6


def test_a_light_failure_in_a_durable_restart_restarts_from_the_durable_one():
    told = story(TWO, 150, 10, 30 + 50, light=iter([False, True, True]))
    assert log(told) == [
        "0-100 work",
        "100-102 light write",
        "102-150 work",
        "150-160 restart",
        "160-190 restart",
        "190-240 work",
        "240-245 restart",
        "245-345 work",
        "345-347 light write",
        "347-447 work",
        "447-449 light write",
        "449-469 durable write",
        "469-569 work",
        "569-571 light write",
        "571-600 work",
    ]
    assert told.rework == 150 + 50


def test_a_hard_failure_in_a_light_restart_goes_back_further():
    told = story(TWO, 150, 2, light=iter([True, False]))
    assert log(told)[3:6] == ["150-152 restart", "152-182 restart", "182-282 work"]
    assert told.rework == 150


VERIFIED = training(
    checkpoint=VerifiedCheckpoint(interval="100 s", verify="5 s", silent_mtbf="1 h", write="10 s"),
    restart="20 s",
    duration="400 s",
)


def test_a_silent_error_is_found_by_the_verification_and_costs_a_restart():
    told = story(VERIFIED, silent=iter([150, math.inf]))
    assert log(told) == [
        "0-100 work",
        "100-105 verify",
        "105-115 write",
        "115-215 work",
        "215-220 verify",
        "220-240 restart",
        "240-340 work",
        "340-345 verify",
        "345-355 write",
        "355-400 work",
    ]
    assert (told.work, told.checkpoint, told.rework, told.restart, told.silent) == (245, 30, 105, 20, 1)
    assert len(told.failures) == 0


def test_a_failure_wipes_a_silent_error_out_and_strikes_in_the_restart_after_one():
    told = story(VERIFIED, 50, silent=iter([40, math.inf]))
    assert log(told)[:4] == ["0-50 work", "50-70 restart", "70-170 work", "170-175 verify"]
    assert told.silent == 0
    told = story(VERIFIED, 110, silent=iter([40, math.inf]))
    assert log(told)[:4] == ["0-100 work", "100-105 verify", "105-110 restart", "110-130 restart"]


def test_work_that_a_silent_error_has_spoiled_by_the_end_is_not_kept():
    told = story(replace(VERIFIED, duration="180 s"), silent=iter([150, math.inf]))
    assert (told.work, told.checkpoint, told.rework) == (100, 15, 65)


def test_without_a_spare_the_run_waits_for_the_first_repair():
    scenario = replace(SHORT, spares=Spares(count=1, repair="1 h"))
    told = story(scenario, 50, 40, repairs=iter([100.0, 30.0]))
    assert log(told) == [
        "0-50 work",
        "50-53 detection",
        "53-57 replacement",
        "57-77 restart",
        "77-97 work",
        "97-100 detection",
        "100-130 wait for repair",
        "130-134 replacement",
        "134-154 restart",
        "154-254 work",
        "254-264 write",
        "264-300 work",
    ]
    assert (told.waiting, told.downtime) == (30, 44)
    assert told.availability == 0.9
    one_crew = replace(scenario, spares=Spares(count=1, repair="1 h", crews=1))
    assert "100-153 wait for repair" in log(story(one_crew, 50, 40, repairs=iter([100.0, 30.0])))


BUSY = Storage(write_bandwidth="1 GB/s", read_bandwidth="1 GB/s", busy=0.5, other_write="30 s")


def test_writes_wait_for_those_of_other_jobs_and_a_failure_frees_the_storage():
    scenario = replace(SHORT, storage=BUSY, duration="250 s")
    told = story(scenario, 152, others=iter([90.0, 5.0, 62.0]))  # 90-120 and 120-150 are theirs, 157-187 too
    assert log(told) == [
        "0-100 work",
        "100-150 wait for storage",
        "150-152 write",
        "152-155 detection",
        "155-159 replacement",
        "159-179 restart",
        "179-250 work",
    ]
    told = story(scenario, others=iter([105.0, 100.0]))  # 110-140 after our write; 205-235
    assert log(told)[1:5] == ["100-110 write", "110-210 work", "210-235 wait for storage", "235-245 write"]


def test_a_drain_waits_for_the_storage_too():
    told = story(replace(ASYNC, storage=BUSY), others=iter([90.0, 20.0]))
    assert [line for line in log(told) if "drain" in line] == ["105-150 drain", "210-240 drain"]


# The books


POLICIES = [
    Checkpoint(interval="900 s", write="60 s"),
    AsyncCheckpoint(interval="300 s", pause="5 s", drain="100 s"),
    AsyncCheckpoint(interval="300 s", pause="5 s", drain="400 s"),
    TwoLevelCheckpoint(
        interval="300 s", write="5 s", every=3, durable_write="90 s", light_share=0.8, light_restart="30 s"
    ),
    VerifiedCheckpoint(interval="500 s", verify="20 s", silent_mtbf="1 h", write="30 s"),
]
FAILURES = [
    "exponential 1 h",
    "renewal weibull 1 h shape=0.7",
    "stationary 64 lognormal 64 h scv=4",
    "new 64 weibull 64 h shape=0.7",
    "bursts 3 h mtbf_storm=5 min calm=6 h storm=1 h",
    "pairs 10 lifetime=6 h",
    "new 3 deterministic 2 h",
]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    checkpoint=st.sampled_from(POLICIES),
    failures=st.sampled_from(FAILURES),
    recovery=st.sampled_from([Recovery(), Recovery(restart="300 s", detection="30 s", replacement="60 s")]),
    spares=st.sampled_from(
        [None, Spares(count=0, repair="20 min"), Spares(count=1, repair="exponential 1 h", crews=1)]
    ),
    step=st.sampled_from([None, "7 s", "lognormal 20 s scv=0.5"]),
    storage=st.sampled_from([None, BUSY]),
    end=st.sampled_from([{"duration": "2 day"}, {"duration": "4 min"}, {"work": "5000 s"}]),
    seed=st.integers(0, 5),
)
def test_every_second_is_in_one_account(checkpoint, failures, recovery, spares, step, storage, end, seed):
    scenario = Training(
        checkpoint=checkpoint, failures=failures, recovery=recovery, spares=spares, step=step, storage=storage, **end
    )
    told = run(scenario, seed=seed)
    parts = [told.work, told.checkpoint, told.rework, told.restart, told.downtime]
    assert min(parts) >= -1e-9
    assert sum(parts) == pytest.approx(told.wall, rel=1e-12)
    shares = measure(scenario, told)
    names = ("goodput", "checkpoint_share", "rework_share", "restart_share", "downtime_share")
    assert math.fsum(shares[name] for name in names) == pytest.approx(1, abs=1e-12)
    if "duration" in end:
        assert told.wall == si(scenario.duration)
    elif step is None:
        assert told.work == pytest.approx(5000, rel=1e-12)
    phases = [phase for phase in told.phases if phase[0] != "drain"]
    assert phases[0][1] == 0 and phases[-1][2] == told.wall  # noqa: PT018
    assert all(before[2] == after[1] for before, after in pairwise(phases))
    if step == "7 s":
        assert told.steps == math.floor(told.work / 7 + 1e-6)
    silent = run(scenario, seed=seed, log=False)
    assert replace(silent, phases=told.phases, failures=told.failures) == told  # the log changes nothing
    assert silent.failures.tolist() == told.failures.tolist()


# Against exact theory, written out here


def segment_time(tau, mtbf, delta, restart, down):
    """Expected time of one segment with its checkpoint, exponential failures."""
    return (mtbf + down) * math.exp(restart / mtbf) * math.expm1((tau + delta) / mtbf)


REGIMES = [(131836, 60, 300), (8240, 60, 300), (8240, 300, 600), (5400, 300, 600), (1350, 60, 300), (1350, 300, 600)]
SEGMENTS, RUNS = 800, 25


def times_to_train(mtbf, delta, restart, down=120.0, **options):
    tau = math.sqrt(2 * delta * mtbf)
    scenario = training(
        f"exponential {mtbf} s",
        interval=f"{tau!r} s",
        write=f"{delta} s",
        restart=f"{restart} s",
        detection=f"{down / 2} s",
        replacement=f"{down / 2} s",
        work=f"{SEGMENTS * tau!r} s",
        **options,
    )
    return tau, np.array([story.wall for story in runs(scenario, replications=RUNS)]) / SEGMENTS


@pytest.mark.parametrize(("mtbf", "delta", "restart"), REGIMES)
def test_the_goodput_is_the_exact_one(mtbf, delta, restart):
    tau, values = times_to_train(mtbf, delta, restart)
    exact = segment_time(tau, mtbf, delta, restart, 120.0)
    assert covers(values, exact, 0.04)
    assert equivalence(exact, values, margin=0.05).verdict() == Verdict.AGREES
    # what the twin must tell apart: the clock standing in restarts, rework left out, no downtime
    if mtbf < 10_000:
        without_rework = (tau + delta) * (1 + (restart + 120) / mtbf)
        assert equivalence(without_rework, values, margin=0.05).verdict() == Verdict.BREAKS
    if (mtbf, restart) == (1350, 600):
        stopped = (mtbf + restart + 120) * math.expm1((tau + delta) / mtbf)
        assert equivalence(stopped, values, margin=0.05).verdict() == Verdict.BREAKS


def test_a_simulator_in_which_a_write_cut_short_is_good_fails(monkeypatch):
    monkeypatch.setattr(job_module.Job, "go_back", lambda self, saved: None)
    tau, values = times_to_train(1350, 300, 600)
    exact = segment_time(tau, 1350, 300, 600, 120.0)
    assert equivalence(exact, values, margin=0.05).verdict() == Verdict.BREAKS


def test_a_simulator_whose_restarts_never_fail_fails():
    tau = math.sqrt(2 * 300 * 1350)
    safe = training(
        "exponential 1350 s", interval=f"{tau!r} s", write="300 s", detection="720 s", work=f"{SEGMENTS * tau!r} s"
    )
    values = np.array([story.wall for story in runs(safe, replications=RUNS)]) / SEGMENTS
    assert equivalence(segment_time(tau, 1350, 300, 600, 120.0), values, margin=0.03).verdict() == Verdict.BREAKS
    assert covers(values, segment_time(tau, 1350, 300, 0, 720.0), 0.03)


@pytest.mark.parametrize("law", ["weibull 1500 s shape=0.7", "lognormal 1500 s scv=4", "erlang 1500 s stages=4"])
def test_renewal_failures_of_any_law_keep_what_their_survival_says(law):
    gap, tau, delta, restart = read_law(law), 600.0, 60.0, 300.0
    ends = restart + (tau + delta) * np.arange(1, 20_000)
    exact = tau / 1500 * float(gap.survival(ends).sum())
    scenario = training(f"renewal {law}", interval="600 s", write="60 s", restart="300 s", duration="100 day")
    values = [story.goodput for story in many_runs(scenario, replications=10)]
    assert equivalence(exact, values, margin=0.02).verdict() == Verdict.AGREES
    poisson = tau / (1500 * math.exp(restart / 1500) * math.expm1((tau + delta) / 1500))
    assert equivalence(poisson, values, margin=0.02).verdict() == Verdict.BREAKS


@pytest.mark.parametrize("drain", [100, 400, 900])
def test_asynchronous_checkpoints_keep_what_is_drained_by_the_next_failure(drain):
    mtbf, tau, pause, restart = 6000.0, 400.0, 20.0, 300.0
    period = max(tau, drain) + pause  # one buffer: a long drain holds the next pause up
    exact = tau / mtbf * math.exp(-(restart + tau + pause + drain) / mtbf) / -math.expm1(-period / mtbf)
    policy = AsyncCheckpoint(interval=f"{tau} s", pause=f"{pause} s", drain=f"{drain} s")
    scenario = training(f"exponential {mtbf} s", policy, restart=f"{restart} s", duration="100 day")
    values = [story.goodput for story in runs(scenario, replications=10)]
    assert equivalence(exact, values, margin=0.02).verdict() == Verdict.AGREES
    if drain > tau:
        unhindered = exact * math.expm1(-period / mtbf) / math.expm1(-(tau + pause) / mtbf)
        assert equivalence(unhindered, values, margin=0.02).verdict() == Verdict.BREAKS


def two_level_time(mtbf, share, tau, light, every, durable, light_restart, restart, down):
    """Expected time of a pattern, by first steps: in stage k, in a light restart to stage k, in a hard restart."""
    stages = [tau + light] * every + [durable]
    count, hard = len(stages), 2 * len(stages)  # unknowns: stages, light restarts, the hard restart
    system, right = np.eye(2 * count + 1), np.zeros(2 * count + 1)

    def first_steps(row, length, then, on_light):
        lives = math.exp(-length / mtbf)
        right[row] = (mtbf + down) * (1 - lives)
        if then is not None:
            system[row, then] -= lives
        system[row, on_light] -= (1 - lives) * share
        system[row, hard] -= (1 - lives) * (1 - share)

    for k, length in enumerate(stages):
        first_steps(k, length, k + 1 if k + 1 < count else None, count + k)
        first_steps(count + k, light_restart, k, count + k)
    first_steps(hard, restart, 0, hard)
    return float(np.linalg.solve(system, right)[0])


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_two_levels_take_the_time_of_their_markov_chain(share):
    policy = TwoLevelCheckpoint(
        interval="300 s", write="10 s", every=4, durable_write="200 s", light_share=share, light_restart="50 s"
    )
    patterns = 300
    scenario = training("exponential 3000 s", policy, restart="600 s", detection="60 s", work=f"{patterns * 1200} s")
    values = np.array([story.wall for story in runs(scenario, replications=20)]) / patterns
    exact = two_level_time(3000, share, 300, 10, 4, 200, 50, 600, 60)
    assert covers(values, exact, 0.04)
    assert equivalence(exact, values, margin=0.04).verdict() == Verdict.AGREES
    assert equivalence(two_level_time(3000, 0.5, 300, 10, 4, 200, 50, 600, 60), values, margin=0.04).verdict() == (
        Verdict.BREAKS
    )


def test_silent_errors_take_the_exact_time():
    mean, work, verify, write, restart = 1500.0, 800.0, 40.0, 90.0, 300.0
    policy = VerifiedCheckpoint(interval="800 s", verify="40 s", silent_mtbf="1500 s", write="90 s")
    scenario = training("exponential 1e15 s", policy, restart="300 s", work=f"{1000 * work} s")
    stories = runs(scenario, replications=20)
    exact = math.exp(work / mean) * (work + verify) + math.expm1(work / mean) * restart + write
    values = [story.wall / 1000 for story in stories]
    assert covers(values, exact, 0.04)
    assert covers([story.silent / 1000 for story in stories], math.expm1(work / mean), 0.08)
    struck_everywhere = math.exp((work + verify) / mean) * (work + verify) + math.expm1(work / mean) * restart + write
    assert equivalence(struck_everywhere, values, margin=0.01).verdict() == Verdict.BREAKS


# Spares


def erlang_b(load, servers):
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked


@pytest.mark.parametrize("repair", ["3 h", "exponential 3 h", "lognormal 3 h scv=4"])
def test_spares_make_a_run_available_as_erlang_b_says_whatever_the_law_of_repair(repair):
    scenario = training(
        "exponential 2 h", interval="1000 day", write="0 s", duration="120 day", spares=Spares(count=2, repair=repair)
    )
    stories = many_runs(scenario, replications=30)
    waiting = [1 - story.availability for story in stories]
    assert covers(waiting, erlang_b(1.5, 3), 0.10)
    assert equivalence(erlang_b(1.5, 2), waiting, margin=0.10).verdict() == Verdict.BREAKS


def test_a_single_crew_is_the_queue_with_a_finite_room():
    scenario = training(
        "exponential 2 h",
        interval="1000 day",
        write="0 s",
        duration="120 day",
        spares=Spares(count=2, repair="exponential 1.5 h", crews=1),
    )
    waiting = [1 - story.availability for story in many_runs(scenario, replications=30)]
    assert covers(waiting, 0.75**3 * (1 - 0.75) / (1 - 0.75**4), 0.10)
    assert (
        equivalence(erlang_b(0.75, 3), waiting, margin=0.10).verdict() == Verdict.BREAKS
    )  # without the wait for a crew


# Storage


def test_the_wait_for_a_shared_storage_is_that_of_a_naive_line():
    rng = np.random.default_rng(5)
    others = rng.exponential(20.0, 6000)
    storage = replace(BUSY, other_write="10 s")
    scenario = training(interval="300 s", write="30 s", duration="1 day", storage=storage)
    told = story(scenario, others=iter(others.tolist()))
    comes, free, now, waits = np.cumsum(others).tolist(), 0.0, 300.0, []
    while now < DAY:
        while comes[0] <= now:
            free = max(free, comes.pop(0)) + 10.0
        start = max(free, now)
        waits.append((now, start))
        free = start + 30.0
        now = free + 300.0
    simulated = np.array([(start, end) for phase, start, end in told.phases if phase == "wait for storage"])
    waited = np.array([(came, start) for came, start in waits if start > came])
    np.testing.assert_allclose(simulated, waited, rtol=1e-12)
    assert len(simulated) > 50


def test_other_jobs_keep_the_storage_busy_as_long_as_stated():
    """Writes far apart find what a stationary M/D/1 holds: its mean wait is ``busy other_write / (2 (1 - busy))``."""
    storage = replace(BUSY, other_write="10 s")
    scenario = training("exponential 1e15 s", interval="1000 s", write="1 s", duration="5 day", storage=storage)
    waits = []
    for told in runs(scenario, replications=10, log=True):
        wrote = sum(phase == "write" for phase, _, _ in told.phases)
        waits.append(sum(end - start for phase, start, end in told.phases if phase == "wait for storage") / wrote)
    assert covers(waits, 5.0, 0.25)


# The processes of failures


def counts(failures, replications=250, days=54, **options):
    scenario = training(failures, interval="1000 day", write="0 s", duration=f"{days} day", **options)
    return np.array([len(story.failures) for story in many_runs(scenario, replications=replications)])


def dispersion_p_value(sample):
    """Exact but for the approximation of the conditional multinomial by chi-square, good at these counts."""
    statistic = ((sample - sample.mean()) ** 2).sum() / sample.mean()
    tail = stats.chi2(len(sample) - 1)
    return 2 * min(tail.cdf(statistic), tail.sf(statistic))


def test_failures_of_54_days_are_poisson():
    """Meta's 419 in 54 days: the rate 1/11,135 s, restarts included in the clock."""
    sample = counts("exponential 11135 s", restart="300 s")
    assert dispersion_p_value(sample) > 1e-3
    mean = len(sample) * 54 * DAY / 11135
    assert 2 * min(stats.poisson.cdf(sample.sum(), mean), stats.poisson.sf(sample.sum() - 1, mean)) > 1e-3
    storms = counts("bursts 20000 s mtbf_storm=2000 s calm=80000 s storm=8000 s", replications=60)
    assert dispersion_p_value(storms) < 1e-6  # the same test sees bursts


def test_no_failure_strikes_in_a_downtime():
    sample = counts("exponential 11135 s", detection="10000 s", replications=100)
    cycle = 11135 + 10000
    assert covers(sample, 54 * DAY / cycle, 0.02)


def test_bursts_have_the_variance_of_their_markov_chain():
    calm, storm, slow, fast, horizon = 80_000.0, 8_000.0, 1 / 20_000, 1 / 2_000, 10 * DAY
    sample = counts("bursts 20000 s mtbf_storm=2000 s calm=80000 s storm=8000 s", replications=600, days=10)
    share, forget = storm / (calm + storm), 1 / calm + 1 / storm
    mean = (slow * (1 - share) + fast * share) * horizon
    spread = share * (1 - share) * (fast - slow) ** 2
    variance = mean + 2 * spread / forget * (horizon + math.expm1(-forget * horizon) / forget)
    assert covers(sample, mean, 0.06)
    assert covers((sample - mean) ** 2, variance, 0.35)
    assert variance > 3 * mean


def test_weibull_lifetimes_of_one_mean_give_three_answers():
    lines = {
        "renewal": "renewal weibull 11135 s shape=0.7",
        "stationary": f"stationary 2048 weibull {11135 * 2048} s shape=0.7",
        "new": f"new 2048 weibull {11135 * 2048} s shape=0.7",
    }
    assert {round(read_failures(line).mtbf) for line in lines.values()} == {11135}
    found = {}
    for name, line in lines.items():
        scenario = training(line, interval="30 min", write="60 s", restart="300 s", duration="54 day")
        found[name] = many_runs(scenario, replications=80)
    goodput = {name: student([told.goodput for told in each], CONFIDENCE) for name, each in found.items()}
    assert goodput["new"].high < goodput["stationary"].low
    assert goodput["stationary"].high < goodput["renewal"].low
    count = {name: np.array([len(told.failures) for told in each]) for name, each in found.items()}
    assert student(count["new"], CONFIDENCE).low > 1.5 * student(count["stationary"], CONFIDENCE).high
    # renewal and stationary are alike in the mean number, not in its spread: scv 2.1 of the gaps against Poisson's 1
    assert dispersion_p_value(count["stationary"]) > 1e-3
    assert dispersion_p_value(count["renewal"]) < 1e-3


def test_nodes_are_replaced_as_a_naive_list_of_them_tells():
    law, first = LogNormal("100 s", scv=4), np.random.default_rng(2).exponential(100.0, 30)
    lives = law.sample(2560, np.random.default_rng(3)).tolist()
    failing, before, naive = first.tolist(), 0.0, []
    for life in lives[:500]:
        node = failing.index(min(failing))
        naive.append(failing[node] - before)
        before = failing[node]
        failing[node] += life
    assert list(islice(replace_nodes(first, law, np.random.default_rng(3)), 500)) == naive


def test_a_stationary_fleet_fails_at_its_mean_rate_from_the_start():
    process = read_failures("stationary 50 weibull 5000 s shape=0.7")
    horizon = 1000.0
    early = []
    for k in range(1000):
        clock, seen = 0.0, 0
        for gap in gaps(process, np.random.default_rng(k)):
            clock += gap
            if clock > horizon:
                break
            seen += 1
        early.append(seen)
    assert covers(early, horizon / process.mtbf, 0.05)


@pytest.mark.parametrize("pairs", [1, 5, 100])
def test_replicated_pairs_last_their_mean_time_to_interruption(pairs):
    process = read_failures(f"pairs {pairs} lifetime=1000 s")
    mean = (1 + 4**pairs / math.comb(2 * pairs, pairs)) * 1000 / (2 * pairs)
    assert covers(list(islice(gaps(process, np.random.default_rng(1)), 20_000)), mean, 0.03)


# Steps


def naive_steps(law, each, mtbf, write, restart, duration, rng):
    """Kept work by a plain loop over steps: each is drawn and run by itself."""
    now, next_failure = 0.0, rng.exponential(mtbf)
    kept = pending = 0.0
    done = 0
    while True:
        phase = law.sample(1, rng)[0] if done < each else write
        if now + min(phase, next_failure) >= duration:
            kept += pending + (duration - now if done < each else 0.0)
            return kept / duration
        if phase < next_failure:
            now, next_failure = now + phase, next_failure - phase
            if done < each:
                pending, done = pending + phase, done + 1
            else:
                kept, pending, done = kept + pending, 0.0, 0
            continue
        now, pending, done = now + next_failure, 0.0, 0
        while (next_failure := rng.exponential(mtbf)) < restart and now + next_failure < duration:
            now += next_failure
        if now + restart >= duration:
            return kept / duration
        now, next_failure = now + restart, next_failure - restart


def test_segments_as_sums_of_steps_keep_what_single_steps_do():
    law = LogNormal("40 s", scv=2)
    scenario = training(
        "exponential 2000 s", interval="600 s", write="60 s", restart="100 s", step=law, duration="4 day"
    )
    sums = np.array([story.goodput for story in runs(scenario, replications=40)])
    rng = np.random.default_rng(7)
    single = np.array([naive_steps(law, 15, 2000.0, 60.0, 100.0, 4 * DAY, rng) for _ in range(40)])
    error = math.sqrt(sums.var(ddof=1) / 40 + single.var(ddof=1) / 40)
    half = stats.t.ppf(1 - (1 - CONFIDENCE) / 2, 39) * error  # Welch's degrees of freedom are no fewer
    assert half < 0.05 * single.mean()
    assert abs(sums.mean() - single.mean()) < half
    other = np.array([naive_steps(law, 25, 2000.0, 60.0, 100.0, 4 * DAY, rng) for _ in range(40)])
    assert abs(sums.mean() - other.mean()) > half


def test_a_segment_is_as_many_whole_steps_as_fill_the_interval():
    told = story(training(interval="100 s", write="10 s", step="30 s", duration="300 s"))
    assert log(told) == ["0-120 work", "120-130 write", "130-250 work", "250-260 write", "260-300 work"]
    assert told.steps == 9
    told = story(training(interval="100 s", write="10 s", step="30 s", work="200 s"), 140)
    assert log(told)[-2:] == ["140-230 work", "230-240 write"]
    assert told.steps == 7


def test_redone_steps_are_drawn_anew():
    times = iter(np.arange(10.0, 10.0 * 100_000, 10.0))

    def steps(count):
        return np.array([next(times) for _ in range(count)])

    scenario = training(interval="1 s", write="0 s", step=LogNormal("1 s", scv=1), duration="100 s")
    told = tell(scenario, Causes(failures=iter([15.0, math.inf]), steps=steps), step=LogNormal("1 s", scv=1))
    assert log(told) == ["0-10 work", "10-15 work", "15-45 work", "45-85 work", "85-100 work"]


def test_the_throughput_is_the_tokens_of_the_steps_kept(monkeypatch):
    layout = Layout(data_parallel=2, tensor_parallel=8)
    job = TrainingJob(model=models.llama_3_1_8b, global_batch=64, sequence_length=4096, layout=layout)
    step = TrainingStep(job=job, cluster=replace(clusters.llama_3_16k, nodes=2))
    asked = []

    def step_law(step, *, seed, samples):
        asked.append(step)
        return EmpiricalLaw([4.0, 6.0])

    monkeypatch.setitem(sys.modules, "secondorder.simulate.training_step", SimpleNamespace(step_law=step_law))
    scenario = training("exponential 3 h", interval="600 s", write="30 s", restart="60 s", step=step, duration="5 day")
    answer = simulate_training(scenario, replications=10)
    assert answer.best("throughput").unit == "token/s"
    expected = answer.best("goodput").amount / 5.0 * job.tokens
    assert answer.best("throughput").amount == pytest.approx(expected, rel=0.001)  # 5 s a step, but for what is cut
    assert asked == [step]  # its law is worked out once


# Repeats and answers


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_seed_tells_the_same_story(policy):
    scenario = training(
        "stationary 64 weibull 64 h shape=0.7",
        policy,
        restart="300 s",
        duration="2 day",
        step="lognormal 5 s scv=0.1",
        spares=Spares(count=1, repair="exponential 1 h"),
    )
    once, again = run(scenario, seed=3, replication=2), run(scenario, seed=3, replication=2)
    assert once.phases == again.phases
    assert once.phases != run(scenario, seed=4, replication=2).phases
    assert once.phases != run(scenario, seed=3, replication=1).phases


def test_another_policy_meets_the_same_failures():
    few, many = (training(interval=f"{tau} s", write="60 s", duration="5 day") for tau in (600, 3000))
    assert run(few).failures.tolist() == run(many).failures.tolist()


def test_the_answer_does_not_depend_on_the_number_of_processes():
    scenario = training("exponential 2 h", interval="20 min", write="60 s", restart="5 min", duration="3 day")
    assert simulate_training(scenario, replications=6, jobs=2) == simulate_training(scenario, replications=6, jobs=1)


def test_an_answer_has_every_metric_without_gaps_and_says_what_it_does_not_know():
    scenario = training(
        "exponential 2 h",
        interval="20 min",
        write="60 s",
        restart="5 min",
        work="2 day",
        spares=Spares(count=3, repair="4 h"),
    )
    answer = simulate_training(scenario, replications=10)
    assert set(answer) == {
        "goodput",
        "goodput_p5",
        "goodput_p95",
        "failures_mean",
        "failures_p5",
        "failures_p95",
        "checkpoint_share",
        "rework_share",
        "restart_share",
        "downtime_share",
        "availability",
        "time_to_train",
    }
    for estimate in answer.estimates:
        assert not any(math.isnan(value) for value in (estimate.amount, estimate.low, estimate.high))
        assert estimate.low <= estimate.amount <= estimate.high
    few = answer.best("failures_p5")
    assert not few.steady
    assert few.remark == "not enough data: an interval takes at least 72 replications"
    assert list(answer.series.columns) == ["start", "end", "phase"]
    enough = simulate_training(replace(scenario, work="1 day"), replications=72)
    assert enough.best("failures_p5").steady
    assert enough.best("goodput_p95").steady
    with pytest.raises(InputError, match="at least 2"):
        simulate_training(scenario, replications=1)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("n", [72, 100, 101, 1000])
def test_order_statistics_cover_as_the_binomial_law_says_and_no_shorter_pair_does(n, level):
    low, high = order_ranks(n, level)
    # the quantile of a continuous law lies between them if low to high - 1 of n are below it
    tails = stats.binom.cdf(low - 1, n, level), stats.binom.sf(high - 1, n, level)
    assert max(tails) <= 0.025
    assert stats.binom.cdf(low, n, level) > 0.025
    assert stats.binom.sf(high - 2, n, level) > 0.025


def test_a_run_that_gets_nowhere_is_given_up(monkeypatch):
    monkeypatch.setattr("secondorder.simulate.training.whole_job.MOST_IN_VAIN", 200)
    hopeless = training("renewal deterministic 100 s", interval="900 s", write="10 s", work="1 h")
    with pytest.raises(InfeasibleError, match="no headway"):
        run(hopeless)
    with pytest.raises(InfeasibleError, match="no headway"):
        run(replace(hopeless, work=None, duration="1 day"))


def test_simulate_takes_a_training_run():
    from secondorder import simulate

    scenario = training(interval="20 min", write="60 s", duration="1 day")
    assert simulate(scenario, replications=3, seed=1) == simulate_training(scenario, replications=3, seed=1)
    assert run(replace(scenario, failures=read_failures("exponential 8240 s"))).wall == DAY
    assert Exponential("8240 s").moment(1) == scenario.mtbf


def test_both_witnesses_give_the_same_answer_of_a_training_run() -> None:
    scenario = Training(failures="exponential 3 h", checkpoint=Checkpoint(interval="30 min", write="60 s"))
    found = {
        witness: simulate_training(scenario, replications=5, seed=3, witness=witness)
        for witness in ("kernel", "events")
    }
    assert found["kernel"].estimates == found["events"].estimates
    assert "by the compiled kernel" in found["kernel"].how


def test_runs_that_the_kernel_does_not_know_are_left_to_the_events() -> None:
    scenario = Training(
        failures="exponential 3 h", checkpoint=so.AsyncCheckpoint(interval="1000 s", pause="5 s", drain="60 s")
    )
    assert "by events" in simulate_training(scenario, replications=2).how
    with pytest.raises(InputError, match="kernel"):
        simulate_training(scenario, replications=2, witness="kernel")


def test_a_default_training_run_decides_on_every_share() -> None:
    scenario = Training(
        failures="exponential 3 h",
        checkpoint=Checkpoint(interval="30 min", write="60 s"),
        recovery=so.Recovery(restart="300 s"),
    )
    found = so.compare(scenario, seed=1)
    shares = [each for each in found.judged if not each.formula.metric.startswith("failures_p")]
    assert "not enough data" not in {str(each.verdict) for each in shares}
