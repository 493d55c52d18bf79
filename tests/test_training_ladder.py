"""The ladder of a training run: which rungs it has, what they say, and that nothing breaks it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secondorder as so
from secondorder.analytic.training.interval import optimum
from secondorder.analytic.training.ladder import best_training_interval, long_run_goodput, solve_training
from secondorder.analytic.training.periodic import exact_goodput, expected_time
from secondorder.analytic.training_step import mean_step
from secondorder.fleets.clusters import Storage, clusters
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
from secondorder.workloads.training import Layout, TrainingJob

BLOCKING = Checkpoint(interval="994.4 s", write="60 s")
ASYNC = AsyncCheckpoint(interval="400 s", pause="5 s", drain="300 s")
LEVELS = TwoLevelCheckpoint(
    interval="400 s", write="5 s", every=6, durable_write="120 s", light_share=0.8, light_restart="60 s"
)
VERIFIED = VerifiedCheckpoint(interval="800 s", verify="20 s", write="60 s", silent_mtbf="6 h")
POLICIES = [BLOCKING, ASYNC, LEVELS, VERIFIED]
PATH = Storage(write_bandwidth="1 GB/s", read_bandwidth="1 GB/s", busy=0.5, other_write="20 s")
PROCESSES = [
    "exponential 8240 s",
    "renewal weibull 8240 s shape=0.7",
    "stationary 2048 weibull 6000 h shape=0.7",
    "new 2048 weibull 6000 h shape=0.7",
    "bursts 6 h mtbf_storm=10 min calm=24 h storm=1 h",
    "pairs 100000 lifetime=30 day",
]
SHARES = ["goodput", "checkpoint_share", "rework_share", "restart_share", "downtime_share"]


def run(failures: str = "exponential 8240 s", policy: object = BLOCKING, **rest: object) -> Training:
    recovery = {"recovery": Recovery(restart="300 s", detection="30 s", replacement="30 s")}
    return Training(failures=failures, checkpoint=policy, **(recovery | rest))  # type: ignore[arg-type]


def test_goodput_has_three_orders_with_the_numbers_of_the_textbooks():
    answer = solve_training(run(recovery=Recovery(restart="300 s")))
    assert [e.order for e in answer["goodput"]] == [0, 1, 2]
    assert [round(e.amount, 4) for e in answer["goodput"]] == [0.9431, 0.8429, 0.8524]
    assert "Daly" in answer.best("goodput").source
    assert answer.best("goodput").note.startswith("exact")
    assert so.solve(run()) == solve_training(run())


def test_the_ladder_has_the_metrics_that_are_asked_for():
    plain = set(solve_training(run()))
    assert plain == {*SHARES, "failures_mean", "failures_p5", "failures_p95"}
    assert set(solve_training(run(work="20 day"))) - plain == {"time_to_train"}
    assert set(solve_training(run(spares=Spares(count=4, repair="6 h")))) - plain == {"availability"}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("failures", PROCESSES)
def test_the_shares_add_to_one_for_every_process_and_policy(failures, policy):
    answer = solve_training(run(failures, policy, storage=PATH))
    shares = [answer.best(metric).amount for metric in SHARES]
    assert sum(shares) == pytest.approx(1.0, abs=1e-9)
    assert min(shares) > 0
    assert all(e.order == 2 for e in map(answer.best, SHARES))


@given(
    mtbf=st.floats(-1, 9),
    tau=st.floats(-1, 8),
    write=st.floats(0, 7),
    restart=st.floats(-1, 7),
    down=st.floats(-1, 6),
    which=st.integers(0, 3),
    days=st.floats(-3, 4),
    until_done=st.booleans(),
)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_nothing_breaks_the_ladder(mtbf, tau, write, restart, down, which, days, until_done):
    """Times from a tenth of a second to thirty years, each against each."""
    time = {k: f"{10**v!r} s" for k, v in {"m": mtbf, "tau": tau, "w": write, "r": restart, "d": down}.items()}
    policy = [
        Checkpoint(interval=time["tau"], write=time["w"]),
        AsyncCheckpoint(interval=time["tau"], pause="1 s", drain=time["w"]),
        replace(LEVELS, interval=time["tau"], durable_write=time["w"]),
        replace(VERIFIED, interval=time["tau"], write=time["w"]),
    ][which]
    ends = {"work" if until_done else "duration": f"{10**days!r} day"}
    scenario = run(
        f"exponential {time['m']}", policy, recovery=Recovery(restart=time["r"], detection=time["d"]), **ends
    )
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        answer = solve_training(scenario)
    shares = [answer.best(metric).amount for metric in SHARES]
    assert sum(shares) == pytest.approx(1.0, abs=1e-6)
    assert min(shares) >= 0
    assert not any(math.isnan(e.amount) for e in answer.estimates)


def test_first_order_below_zero_is_shown_and_put_outside_of_its_domain():
    rough = run("exponential 1350 s", Checkpoint(interval="900 s", write="300 s"), recovery=Recovery(restart="600 s"))
    _, first, exact = solve_training(rough)["goodput"]
    assert first.amount < 0
    assert not first.in_domain
    assert "below 0" in first.note
    assert exact.amount == pytest.approx(0.2984, abs=1e-4)
    assert exact.in_domain


def test_what_is_not_exact_says_why():
    cases = {
        "age": run("new 2048 weibull 6000 h shape=0.7"),
        "taken as Poisson": run("renewal weibull 8240 s shape=0.7", LEVELS),
        "at its mean": run("renewal weibull 8240 s shape=0.7", storage=PATH),
        "forgotten": run(policy=Checkpoint(interval="100 s", write="60 s"), storage=PATH),
        "as exponential": run(spares=Spares(count=4, repair="6 h")),
        "as if failures were Poisson": run("pairs 100000 lifetime=30 day", spares=Spares(count=4, repair="6 h")),
        "overloaded": run(policy=replace(ASYNC, drain="350 s"), storage=PATH),
        "short": run(duration="6 h"),
    }
    for word, scenario in cases.items():
        best = solve_training(scenario).best("goodput")
        assert not best.in_domain, word
        assert word in best.note, word


def test_what_is_exact_is_in_its_domain():
    exact = [
        run(),
        run("stationary 2048 weibull 6000 h shape=0.7"),
        run("bursts 6 h mtbf_storm=10 min calm=24 h storm=1 h", ASYNC),
        run(policy=LEVELS),
        run(policy=VERIFIED),
        run(storage=PATH),
        run(spares=Spares(count=4, repair="exponential 6 h", crews=3)),
        run(recovery=Recovery(restart="300 s"), spares=Spares(count=4, repair="6 h")),
    ]
    for scenario in exact:
        assert solve_training(scenario).best("goodput").in_domain, scenario


def test_a_drain_longer_than_the_interval_says_that_it_holds_training_up():
    slow = solve_training(run(policy=replace(ASYNC, drain="900 s")))
    assert "holds training up" in slow.best("goodput").note
    assert "holds" not in solve_training(run(policy=ASYNC)).best("goodput").note
    assert slow.best("checkpoint_share").amount > 0.4


def test_the_time_to_train_is_exact_to_the_last_segment():
    answer = solve_training(run(work="20 day"))
    exact = expected_time(work=20 * 86_400.0, interval=994.4, write=60.0, mtbf=8240.0, restart=300.0, downtime=60.0)
    best = answer.best("time_to_train")
    assert (best.amount, best.unit) == (pytest.approx(exact, rel=1e-12), "s")
    segments = math.ceil(20 * 86_400 / 994.4)
    assert answer["time_to_train"][0].amount == pytest.approx(20 * 86_400 + segments * 60.0, rel=1e-12)
    # Wald: failures come at the rate of the running clock
    assert answer.best("failures_mean").amount == pytest.approx(exact / (8240 + 60), rel=1e-9)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_run_without_headway_has_no_end_and_says_so(policy):
    answer = solve_training(run("exponential 4 s", policy, work="1 day"))
    best = answer.best("time_to_train")
    assert best.amount > 1e40
    assert "failures_mean" not in answer
    assert not best.in_domain
    assert "headway" in best.note


def test_an_interval_is_rounded_up_to_whole_steps():
    stepped = solve_training(run(policy=Checkpoint(interval="100 s", write="10 s"), step="lognormal 7 s scv=0.01"))
    fluid = solve_training(run(policy=Checkpoint(interval="105 s", write="10 s")))
    assert stepped.best("goodput").amount == pytest.approx(fluid.best("goodput").amount, rel=1e-12)
    assert "105" in stepped.how
    assert "whole steps" in stepped.how


def test_a_step_on_a_cluster_gives_failures_writes_and_tokens():
    job = TrainingJob(
        model=so.models.llama_3_1_70b,
        global_batch=2048,
        sequence_length=8192,
        layout=Layout(tensor_parallel=8, pipeline_parallel=16, data_parallel=128),
    )
    step = TrainingStep(job=job, cluster=clusters.llama_3_16k)
    scenario = Training(checkpoint=Checkpoint(interval="30 min"), recovery=Recovery(restart="300 s"), step=step)
    answer = solve_training(scenario)
    assert scenario.mtbf == pytest.approx(11_135, abs=1)
    whole = math.ceil(1800 / mean_step(step)) * mean_step(step)
    exact = exact_goodput(interval=whole, write=scenario.write_seconds, mtbf=scenario.mtbf, restart=300.0)
    assert answer.best("goodput").amount == pytest.approx(exact, rel=1e-9)
    tokens = 2048 * 8192 * exact / mean_step(step)
    assert answer.best("throughput").amount == pytest.approx(tokens, rel=1e-9)
    assert [e.order for e in answer["throughput"]] == [0, 1, 2]
    assert answer.best("throughput").unit == "token/s"


def test_the_spread_of_failures_until_work_is_done_is_given_only_where_it_is_known():
    assert "failures_p95" in solve_training(run(work="20 day"))
    for policy in (ASYNC, LEVELS, VERIFIED):
        answer = solve_training(run(policy=policy, work="20 day"))
        assert "failures_p95" not in answer
        assert answer.best("failures_mean").amount > 200


def test_more_spares_never_hurt_and_none_is_the_limit_of_many():
    goodput, able = [], []
    for count in (0, 1, 3, 8, 30):
        answer = solve_training(run(spares=Spares(count=count, repair="exponential 6 h")))
        goodput.append(answer.best("goodput").amount)
        able.append(answer.best("availability").amount)
        assert answer["availability"][0].amount >= able[-1]
    assert (np.diff(goodput) > 0).all()
    assert (np.diff(able) > 0).all()
    assert goodput[-1] == pytest.approx(solve_training(run()).best("goodput").amount, rel=1e-6)


def test_new_nodes_fail_more_often_than_the_rate_of_the_long_run():
    answer = solve_training(run("new 2048 weibull 6000 h shape=0.7", duration="54 day", recovery=Recovery()))
    long_run, expected = answer["failures_mean"]
    assert expected.amount / long_run.amount == pytest.approx(1.99, abs=0.01)
    assert not long_run.in_domain
    assert answer.best("failures_p5").amount < expected.amount < answer.best("failures_p95").amount


def test_exponential_lifetimes_make_all_processes_one():
    answers = [
        solve_training(run(text))
        for text in ("exponential 8240 s", "stationary 10 exponential 82400 s", "new 10 exponential 82400 s")
    ]
    for metric in answers[0]:
        values = [answer.best(metric).amount for answer in answers]
        # the mean: a sum over the exact law beside the rate of the long run
        assert values == pytest.approx([values[0]] * 3, rel=2e-3 if metric == "failures_mean" else 1e-9)


def test_a_writer_that_must_queue_is_slower_and_the_best_interval_longer():
    alone, shared = run(), run(storage=PATH)
    assert long_run_goodput(shared) < long_run_goodput(alone)
    assert best_training_interval(shared) > best_training_interval(alone) * 1.02
    assert best_training_interval(alone) == pytest.approx(optimum(write=60.0, mtbf=8240.0), rel=1e-5)


def test_order_one_and_two_meet_where_failures_are_rare():
    """All times are 1e-4 of the MTBF and less: what they differ by is of second order in checkpoints and failures."""
    for policy in POLICIES:
        calm = run("exponential 5000000 s", policy)
        if policy is VERIFIED:
            calm = replace(calm, checkpoint=replace(VERIFIED, silent_mtbf="100 day"))
        _, first, best = solve_training(calm)["goodput"]
        writes = 1 - solve_training(calm)["goodput"][0].amount
        assert first.in_domain
        assert first.amount == pytest.approx(best.amount, abs=2 * writes**2 + 2e-4)
        assert first.amount != pytest.approx(best.amount, abs=1e-8)
