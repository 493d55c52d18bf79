"""The ladder of a training run: which rungs it has, what they say, and that nothing breaks it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

import secondorder as so
from secondorder.analytic.training.interval import optimum
from secondorder.analytic.training.ladder import SHORT, solve_training
from secondorder.analytic.training.periodic import exact_goodput, expected_time
from secondorder.analytic.training.run_interval import (
    best_training_interval,
    classic_intervals,
    classic_note,
    long_run_goodput,
)
from secondorder.analytic.training.silent import silent_optimum
from secondorder.analytic.training.spares import head_start
from secondorder.analytic.training_step import mean_step
from secondorder.errors import InputError
from secondorder.fleets.clusters import Storage, clusters
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
from secondorder.simulate.training import runs
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
    assert answer.best("goodput").remark.startswith("exact")
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
    write=(st.just(0.0) | st.floats(1e-9, 7)),
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
    assert "below 0" in first.remark
    assert exact.amount == pytest.approx(0.2984, abs=1e-4)
    assert exact.in_domain


TIGHT = replace(LEVELS, interval="60 s", write="60 s", every=2, durable_write="60 s")


@pytest.mark.parametrize(
    ("policy", "mtbf", "exact"),
    [
        (Checkpoint(interval="60 s", write="60 s"), 1e9, 0.5),
        (Checkpoint(interval="60 s", write="30 s"), 1e6, 0.66644),
        (Checkpoint(interval="60 s", write="6000 s"), 1e9, 0.0099),
        (TIGHT, 1e9, 0.4),
        (AsyncCheckpoint(interval="120 s", pause="5 s", drain="200 s"), 1e9, 120 / 205),
    ],
)
def test_first_order_is_outside_its_domain_with_long_checkpoints(policy, mtbf, exact):
    """Though all times are far below the MTBF: it is off by the square of checkpoint over interval."""
    answer = solve_training(run(f"exponential {mtbf} s", policy))
    first = answer["goodput"][1]
    assert answer.best("goodput").amount == pytest.approx(exact, rel=1e-3)
    assert abs(first.amount - exact) > 0.1
    for metric in SHARES:
        assert not answer[metric][-2].in_domain
        assert "of an interval" in answer[metric][-2].remark
        assert "a failure costs" not in answer[metric][-2].remark


def test_first_order_says_which_of_its_conditions_fail():
    notes = {
        name: solve_training(run(f"exponential {mtbf} s", Checkpoint(interval="1000 s", write=write)))["goodput"][1]
        for name, mtbf, write in (("none", 1e7, "20 s"), ("failure", 5e3, "20 s"), ("write", 1e7, "300 s"))
    }
    assert notes["none"].in_domain
    for name, said in (
        ("failure", "a failure costs 0.276 of the time between failures"),
        ("write", "take 0.3 of an interval"),
    ):
        assert not notes[name].in_domain
        assert said in notes[name].remark
    both = solve_training(run("exponential 5000 s", Checkpoint(interval="1000 s", write="300 s")))["goodput"][1]
    assert "a failure costs" in both.remark
    assert "of an interval" in both.remark


@given(
    tau=st.floats(-3.5, -0.7),
    write=st.floats(-3.5, 0),
    pause=st.floats(-3.5, -0.7),
    restart=st.floats(-3.5, -0.7),
    down=st.floats(-3.5, -0.7),
    silent=st.floats(-1, 3),
    every=st.integers(1, 8),
    share=st.floats(0.05, 1.0),
    which=st.integers(0, 3),
)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_first_order_in_its_domain_is_right_to_second_order(
    tau, write, pause, restart, down, silent, every, share, which
):
    """``SHORT`` is the most that second order may take; what is left is of third."""
    tau, restart, down, silent = (1e4 * 10**x for x in (tau, restart, down, silent))
    write, pause = tau * 10**write, tau * 10**pause
    time = {"interval": f"{tau!r} s"}
    policy = [
        Checkpoint(**time, write=f"{write!r} s"),
        AsyncCheckpoint(**time, pause=f"{pause!r} s", drain=f"{3 * write!r} s"),
        replace(LEVELS, **time, write=f"{pause!r} s", every=every, durable_write=f"{write!r} s", light_share=share),
        VerifiedCheckpoint(**time, verify=f"{pause!r} s", write=f"{write!r} s", silent_mtbf=f"{silent!r} s"),
    ][which]
    recovery = Recovery(restart=f"{restart!r} s", detection=f"{down!r} s")
    _, first, best = solve_training(run("exponential 10000 s", policy, recovery=recovery, duration="100 day"))[
        "goodput"
    ]
    off = abs(first.amount - best.amount)
    assert off <= SHORT or not first.in_domain
    assert first.amount >= 0 or not first.in_domain
    assert off <= SHORT or first.remark.count(";") >= 1


@pytest.mark.parametrize("policy", [*POLICIES, replace(ASYNC, drain="900 s"), TIGHT])
@pytest.mark.parametrize("ends", [{}, {"work": "1 day"}])
def test_the_shares_of_first_order_add_to_one(policy, ends):
    answer = solve_training(run(policy=policy, **ends))
    assert sum(answer[metric][-2].amount for metric in SHARES) == pytest.approx(1.0, abs=1e-12)
    assert all(answer[metric][-2].order == 1 for metric in SHARES)


@pytest.mark.parametrize("policy", [*POLICIES, replace(ASYNC, drain="900 s"), TIGHT])
@pytest.mark.parametrize("work", [None, "1 day", "5000 s", "1500 s", "300 s"])
def test_order_0_is_what_is_left_when_nothing_fails(policy, work):
    """Beside the exact order at an MTBF without end, and beside a simulation in which nothing happens."""
    if isinstance(policy, VerifiedCheckpoint):
        policy = replace(policy, silent_mtbf="1e20 s")
    calm = run("exponential 1e20 s", policy, **({"work": work} if work else {}))
    answer = solve_training(calm)
    for metric in ("goodput", "checkpoint_share"):
        assert answer[metric][0].amount == pytest.approx(answer.best(metric).amount, rel=1e-9)
        assert answer[metric][0].in_domain
    if work:
        [story, _] = runs(calm, replications=2)
        assert answer["time_to_train"][0].amount == pytest.approx(story.wall, rel=1e-12)
        assert answer["time_to_train"][-1].amount == pytest.approx(story.wall, rel=1e-9)


def test_order_0_of_a_run_shorter_than_a_checkpoint_is_outside_its_domain():
    """In an hour without failures no checkpoint may be written at all."""
    short = solve_training(run(policy=Checkpoint(interval="2 h", write="10 min"), duration="1 h"))["goodput"][0]
    assert not short.in_domain
    assert "short" in short.remark


def test_a_stalled_drain_counts_in_order_0():
    slow = run("exponential 1e9 s", AsyncCheckpoint(interval="120 s", pause="5 s", drain="200 s"))
    ideal, _, best = solve_training(slow)["goodput"]
    assert ideal.amount == pytest.approx(120 / 205, rel=1e-12)
    assert best.amount == pytest.approx(120 / 205, rel=1e-6)
    assert ideal.amount != pytest.approx(120 / 125, abs=0.1)  # the pause alone


SHORT_WORK = [
    ("exponential 2 day", Checkpoint(interval="10 day", write="60 s")),
    ("exponential 2 day", AsyncCheckpoint(interval="10 day", pause="5 s", drain="300 s")),
    ("exponential 2 day", replace(LEVELS, interval="10 day")),
    ("exponential 2 day", VerifiedCheckpoint(interval="10 day", verify="20 s", write="60 s", silent_mtbf="9 day")),
    ("exponential 6 h", Checkpoint(interval="9 h", write="10 min")),  # two intervals, a shorter one
    ("exponential 6 h", AsyncCheckpoint(interval="9 h", pause="60 s", drain="1 h")),
    ("exponential 6 h", replace(LEVELS, interval="5 h", every=2, durable_write="10 min")),
    ("exponential 6 h", VerifiedCheckpoint(interval="9 h", verify="60 s", write="10 min", silent_mtbf="2 day")),
]


@pytest.mark.parametrize(("failures", "policy"), SHORT_WORK)
def test_work_that_is_no_multiple_of_the_interval_takes_the_simulated_time(failures, policy):
    """Mean time, failures, and where the time goes: shares of the mean time. Z = 4.5 standard errors."""
    scenario = run(failures, policy, work="1 day")
    stories = runs(scenario, replications=600)
    walls = np.array([story.wall for story in stories])
    answer = solve_training(scenario)
    assert answer.best("time_to_train").amount == pytest.approx(
        walls.mean(), abs=4.5 * walls.std() / math.sqrt(len(walls))
    )
    assert answer.best("goodput").amount == pytest.approx(86_400 / answer.best("time_to_train").amount, rel=1e-12)
    for name in ("checkpoint", "rework", "restart", "downtime"):
        amounts = np.array([getattr(story, name) for story in stories])
        share = answer.best(f"{name}_share").amount
        spread = 4.5 * np.std(amounts - share * walls) / math.sqrt(len(walls))
        assert share == pytest.approx(amounts.mean() / walls.mean(), abs=spread / walls.mean())


@pytest.mark.parametrize("failures", ["new 100 weibull 200 day shape=0.7", "renewal weibull 2 day shape=0.7"])
def test_short_work_without_an_exact_form_is_near_its_simulation_and_says_so(failures):
    """Within 30 % of the mean time, where an interval longer than the work was off by a factor of five to fifty."""
    scenario = run(failures, Checkpoint(interval="10 day", write="60 s"), recovery=Recovery(), work="1 day")
    best = solve_training(scenario).best("time_to_train")
    assert best.amount == pytest.approx(np.mean([story.wall for story in runs(scenario, replications=300)]), rel=0.3)
    assert not best.in_domain
    assert "short" in best.remark


@pytest.mark.parametrize("failures", PROCESSES)
@pytest.mark.parametrize("policy", POLICIES)
def test_an_interval_longer_than_the_work_is_the_work(failures, policy):
    long, whole = (solve_training(run(failures, replace(policy, interval=x), work="2 h")) for x in ("1e9 s", "2 h"))
    assert long == whole


def test_new_nodes_whose_work_is_in_one_interval_have_an_answer():
    for work in ("10 day", "300 day"):
        policy = Checkpoint(interval="1000000000 s", write="60 s")
        answer = solve_training(run("new 100 weibull 200 day shape=0.7", policy, work=work))
        assert answer.best("time_to_train").amount > 1e7
    assert answer.best("time_to_train").amount == math.inf
    assert "headway" in answer.best("goodput").remark


def test_the_last_interval_weighs_in_the_edge():
    """Of a process without an exact form."""
    heavy = "renewal gamma 60 day scv=1.1"
    weights = []
    for days in (40, 79):  # a whole number of intervals, and nearly twice the time at the end
        policy = Checkpoint(interval="20 day", write="60 s")
        note = solve_training(run(heavy, policy, work=f"{days} day")).best("goodput").remark
        weights.append(float(note.split("may weigh ")[1].split(";")[0]))
    assert weights[1] > 1.5 * weights[0] * 40 / 79


def test_a_restart_and_a_downtime_weigh_in_the_edge_and_on_order_one_too():
    """None comes before the first interval: a day of fifty, in which the long run has one."""
    rare, short = "exponential 50 day", Checkpoint(interval="600 s", write="1 s")
    for recovery in (Recovery(restart="1 day"), Recovery(restart="0 s", detection="1 day")):
        _, first, best = solve_training(run(rare, short, recovery=recovery, duration="50 day"))["goodput"]
        assert not best.in_domain
        assert not first.in_domain
        assert "may weigh 0.02" in best.remark
        assert "may weigh 0.02" in first.remark


def test_silent_errors_whose_restarts_take_much_are_beyond_first_order():
    """``1/(1 + x)`` and ``1 - x`` are .013 apart at .12, where ``x^2/2`` is .007."""
    often = VerifiedCheckpoint(interval="10 s", verify="1 ms", write="1 ms", silent_mtbf="10000 s")
    _, first, best = solve_training(run("exponential 1e9 s", often, recovery=Recovery(restart="1200 s")))["goodput"]
    assert best.amount - first.amount == pytest.approx(1 / 1.12 - 0.88, abs=1e-3)
    assert not first.in_domain


def naive_head_start(mtbf: float, repair: float, spares: int, crews: int, horizon: float) -> float:
    """Of the chain of nodes in repair, from none: availability less that of the long run, added up over the horizon."""
    chain = np.diag([1 / mtbf] * (spares + 1), 1)
    chain += np.diag(np.minimum(np.arange(1, spares + 2), crews) / repair, -1)
    chain -= np.diag(chain.sum(axis=1))
    step, balance = expm(chain * horizon / 4000), expm(chain * 1e3 * horizon)[0]
    state, more = np.eye(spares + 2)[0], []
    for _ in range(4001):
        more.append(balance[-1] - state[-1])
        state = state @ step
    return float(np.trapezoid(more) * horizon / 4000)


@pytest.mark.parametrize(("repair", "spares", "crews"), [(20.0, 9, 99), (20.0, 0, 99), (2.0, 5, 99), (1.6, 9, 1)])
def test_the_head_start_of_full_shelves_is_that_of_the_chain(repair, spares, crews):
    found = head_start(mtbf=2.0, repair=repair, spares=spares, crews=None if crews == 99 else crews)
    assert found == pytest.approx(naive_head_start(2.0, repair, spares, crews, 1000.0), rel=2e-3)  # of a trapezium
    assert found >= naive_head_start(2.0, repair, spares, crews, 10.0)


def test_the_head_start_of_many_spares_is_nothing():
    assert head_start(mtbf=1.0, repair=0.1, spares=2000) == 0
    assert head_start(mtbf=1.0, repair=1e5, spares=2000) == pytest.approx(2001, rel=0.05)  # until they are used up


def test_the_start_with_full_shelves_weighs_in_the_edge():
    """Repairs of 20 days: in the first 60 days the run waits less than in the long run, by 9 % of its time."""
    spares = Spares(count=9, repair="exponential 20 day")
    short = Checkpoint(interval="60 s", write="1 s")
    watched = run("exponential 2 day", short, spares=spares, recovery=Recovery(), duration="60 day")
    best = solve_training(watched).best("goodput")
    moved = naive_head_start(2.0, 20.0, 9, 99, 60.0) / 60.0
    assert moved > 9 * SHORT
    assert not best.in_domain
    assert moved < float(best.outside.split("may weigh ")[1]) < 1.2 * moved
    assert solve_training(replace(watched, spares=None)).best("goodput").in_domain


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
        assert word in best.remark, word


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
    assert "holds training up" in slow.best("goodput").remark
    assert "holds" not in solve_training(run(policy=ASYNC)).best("goodput").remark
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
    assert "headway" in best.remark


def test_an_interval_is_rounded_up_to_whole_steps():
    stepped = solve_training(run(policy=Checkpoint(interval="100 s", write="10 s"), step="7 s"))
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


def test_the_best_interval_of_a_drain_without_a_pause_is_the_drain():
    """A shorter one waits for it, a longer one only loses more; also where the drain is a millionth of the MTBF."""
    for drain in (600.0, 0.01):
        free = run(policy=AsyncCheckpoint(interval="60 s", pause="0 s", drain=f"{drain} s"))
        assert best_training_interval(free) == pytest.approx(drain, rel=1e-6)
        assert classic_intervals(free) == {}
        assert "no interval" in classic_note(free)


def test_young_and_daly_see_the_pause_alone_and_the_note_says_so():
    slow = run(policy=AsyncCheckpoint(interval="60 s", pause="1 s", drain="600 s"))
    young = classic_intervals(slow)["Young"]
    best = best_training_interval(slow)
    assert young == pytest.approx(math.sqrt(2 * 8240), rel=1e-12)
    assert 1 - long_run_goodput(slow.at(young)) / long_run_goodput(slow.at(best)) == pytest.approx(0.77, abs=0.01)
    assert "600 s" in classic_note(slow)
    assert "holds training up" in classic_note(slow)
    quick = classic_note(run(policy=AsyncCheckpoint(interval="60 s", pause="1 s", drain="20 s")))
    assert "lost during a drain" in quick
    assert [classic_note(run(policy=policy)) for policy in (BLOCKING, LEVELS, VERIFIED)] == ["", "", ""]
    durable = classic_intervals(run(policy=LEVELS))["Young"]
    assert durable == pytest.approx(math.sqrt(2 * (5 + 120 / 6) * 8240), rel=1e-12)


def test_checkpoints_that_take_no_time_have_no_best_interval_but_a_step():
    free = run(policy=Checkpoint(interval="600 s", write="0 s"))
    with pytest.raises(InputError, match="the shorter"):
        best_training_interval(free)
    assert best_training_interval(replace(free, step="7 s")) == 7.0


@pytest.mark.parametrize("work", ["3000 s", "5000 s", "4 h", "1 day"])
def test_no_interval_does_the_work_sooner_than_the_best_one(work):
    """Equal intervals; the goodput over the interval is a saw, of which a smooth search finds a wrong tooth."""
    scenario = run(work=work)
    best = best_training_interval(scenario)
    most = long_run_goodput(scenario.at(best))
    for tau in np.geomspace(best / 4, best * 4, 25):
        assert long_run_goodput(scenario.at(float(tau))) <= most + 1e-12
    cuts = si(scenario.work) / best
    assert cuts == pytest.approx(round(cuts), rel=1e-9)


def test_new_nodes_of_nearly_exponential_lifetimes_have_one_best_interval():
    exact = best_training_interval(run(work="6 h"))
    near = best_training_interval(run("new 100 weibull 824000 s shape=1.001", work="6 h"))
    assert near == pytest.approx(exact, rel=0.05)


def test_the_best_interval_is_found_far_below_youngs_too():
    silent = VerifiedCheckpoint(interval="1 h", verify="0.5 s", write="0.5 s", silent_mtbf="10000 s")
    best = best_training_interval(run("exponential 1e12 s", silent))
    assert best == pytest.approx(silent_optimum(write=0.5, verify=0.5, silent_rate=1e-4), rel=0.02)
    levels = replace(LEVELS, write="0.9 s", every=400, durable_write="40 s", light_share=0.05, light_restart="1 s")
    found = best_training_interval(run("exponential 1e9 s", levels))
    assert found == pytest.approx(math.sqrt(2 * (0.9 + 40 / 400) * 1e9 / (0.05 + 0.95 * 400)), rel=0.02)
