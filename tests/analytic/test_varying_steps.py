"""Steps of varying length: the closed forms of a run meet its simulation, and those with steps at their mean do not."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondorder.analytic.training.ladder import solve_training
from secondorder.analytic.training.run import Run
from secondorder.analytic.training.varying_steps import StepFactors, error_at_mean, step_factors
from secondorder.answers.estimate import Claim
from secondorder.errors import InputError
from secondorder.laws import Deterministic, EmpiricalLaw, Erlang, Exponential, Gamma, LogNormal, Pareto, Weibull
from secondorder.scenarios.training import (
    AsyncCheckpoint,
    Checkpoint,
    Recovery,
    Training,
    TwoLevelCheckpoint,
    VerifiedCheckpoint,
)
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.training import runs

CONFIDENCE = 0.999
LAWS = [
    Exponential("100 s"),
    Erlang("100 s", 3),
    Gamma("100 s", 4),
    LogNormal("100 s", 2),
    Weibull("100 s", 0.6),
    Pareto("100 s", 2.5),
    EmpiricalLaw([20.0, 50.0, 400.0]),
]
POLICIES = [
    Checkpoint(interval="1000 s", write="60 s"),
    AsyncCheckpoint(interval="1000 s", pause="20 s", drain="1 s"),
    TwoLevelCheckpoint(
        interval="1000 s", write="10 s", every=3, durable_write="90 s", light_share=0.7, light_restart="60 s"
    ),
    VerifiedCheckpoint(interval="1000 s", verify="20 s", write="60 s", silent_mtbf="2 h"),
]


def run(policy, **rest):
    recovery = Recovery(restart="200 s", detection="30 s", replacement="30 s")
    return Training(failures="exponential 3000 s", checkpoint=policy, recovery=recovery, **rest)


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("mtbf", [300.0, 30_000.0])
def test_the_factors_are_means_over_drawn_steps(law, mtbf):
    x = law.sample(400_000, np.random.default_rng(3))
    weight = np.exp(-x / mtbf)
    factors, mean = step_factors(law, mtbf=mtbf), law.moment(1)
    error = weight.std() / math.sqrt(x.size) / weight.mean()
    assert abs(-mtbf * math.log(weight.mean()) - factors.met * mean) < 4 * error * mtbf
    ratio = x * weight - factors.kept * mean * weight
    assert abs(ratio.mean()) < 4 * ratio.std() / math.sqrt(x.size)


@given(st.floats(1e-9, 50.0), st.sampled_from([0.2, 1.0, 5.0]))
def test_gamma_steps_have_factors_in_closed_form(ratio, scv):
    factors = step_factors(Gamma("1 s", scv), mtbf=1 / ratio)
    assert factors.met == pytest.approx(math.log1p(scv * ratio) / (scv * ratio), rel=1e-6)
    assert factors.kept == pytest.approx(1 / (1 + scv * ratio), rel=1e-6)


def test_steps_of_one_length_have_no_factors():
    assert step_factors(Deterministic("5 s"), mtbf=100.0) == step_factors(None, mtbf=100.0) == StepFactors()
    assert step_factors(EmpiricalLaw([5.0]), mtbf=100.0).met == pytest.approx(1, rel=1e-12)
    with pytest.raises(InputError, match="mtbf"):
        step_factors(Exponential("1 s"), mtbf=0.0)


def test_lognormal_steps_of_100_s_cost_half_a_percent_of_the_goodput():
    """A failure each 2 h, intervals of 30 min: .8135 with steps at their mean; simulated .8084."""
    scenario = Training(
        failures="exponential 2 h",
        checkpoint=Checkpoint(interval="30 min", write="60 s"),
        recovery=Recovery(restart="300 s"),
        step="lognormal 100 s scv=1",
    )
    true = solve_training(scenario).best("goodput")
    old = solve_training(replace(scenario, step="100 s")).best("goodput")
    assert round(old.amount, 4) == 0.8135
    assert 0.8076 < true.amount < 0.8092
    assert "exact, in the long run" in true.remark
    assert error_at_mean(LogNormal("100 s", 1), mtbf=7200.0) == pytest.approx(old.amount / true.amount - 1, rel=0.15)


def naive_blocking(law, steps, write, restart, downtime, mtbf, segments, rng):
    """Wall time and kept time of a run of so many segments, step by step, with a failure clock of its own."""
    now = kept = 0.0
    left = rng.exponential(mtbf)
    for _ in range(segments):
        while True:
            attempt = 0.0
            parts = [*law.sample(steps, rng).tolist(), write]
            for part in parts:
                if part > left:
                    attempt += left
                    break
                attempt, left = attempt + part, left - part
            else:
                now, kept = now + attempt, kept + attempt - write
                break
            now += attempt + downtime
            left = rng.exponential(mtbf)
            while left < restart:
                now, left = now + left + downtime, rng.exponential(mtbf)
            now, left = now + restart, left - restart
    return now, kept


def test_a_loop_over_single_steps_has_the_time_of_the_closed_form():
    law, rng = LogNormal("100 s", scv=4), np.random.default_rng(11)
    told = np.array([naive_blocking(law, 10, 60.0, 200.0, 60.0, 3000.0, 40, rng) for _ in range(400)])
    scenario = run(POLICIES[0], step=law, work="40000 s")
    wall, goodput = (solve_training(scenario).best(name).amount for name in ("time_to_train", "goodput"))
    interval = student(told[:, 0], CONFIDENCE)
    assert interval.low < wall < interval.high
    kept = student(told[:, 1] - goodput * told[:, 0], CONFIDENCE)
    assert kept.low < 0 < kept.high
    at_mean = solve_training(replace(scenario, step="100 s"))
    off = student(told[:, 1] - at_mean.best("goodput").amount * told[:, 0], CONFIDENCE)
    assert off.high < 0


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_varying_steps_meet_the_simulation_and_mean_steps_do_not(policy):
    scenario = run(policy, step="gamma 250 s scv=5", work="32000 s")
    answer = solve_training(scenario)
    told = runs(scenario, replications=300)
    wall = student([story.wall for story in told], CONFIDENCE)
    assert wall.relative_half_width < 0.06
    found = answer.best("time_to_train").amount
    if isinstance(policy, AsyncCheckpoint):
        assert not answer.best("goodput").in_domain  # a step in 20 is below the drain
        assert wall.low * 0.99 < found < wall.high * 1.01
    else:
        assert answer.best("goodput").claim is Claim.EXACT
        assert wall.low < found < wall.high
    at_mean = solve_training(replace(scenario, step="250 s")).best("time_to_train").amount
    assert not wall.low < at_mean < wall.high
    goodput = answer.best("goodput").amount
    kept = student([story.work - goodput * story.wall for story in told], CONFIDENCE)
    slack = 0.01 * wall.mean if isinstance(policy, AsyncCheckpoint) else 0.0
    assert kept.low - slack < 0 < kept.high + slack


def test_other_failures_take_steps_at_their_mean_and_say_so():
    weibull = replace(run(POLICIES[0], step="lognormal 100 s scv=1"), failures="renewal weibull 3000 s shape=0.7")
    rough = solve_training(weibull).best("goodput")
    assert rough.outside.startswith("steps are taken at their mean")
    assert not rough.in_domain
    slight = solve_training(replace(weibull, step="lognormal 10 s scv=0.1")).best("goodput")
    assert slight.remark.startswith("approximation: steps are taken at their mean")
    assert slight.in_domain


def test_a_drain_near_the_interval_is_out_of_domain_where_steps_vary():
    near = AsyncCheckpoint(interval="1000 s", pause="5 s", drain="900 s")
    scenario = run(near, step="lognormal 100 s scv=1")
    for order in (0, 2):
        rung = next(rung for rung in solve_training(scenario)["goodput"] if rung.order == order)
        assert "a drain outlasts some intervals" in rung.remark
        assert not rung.in_domain
    assert solve_training(replace(scenario, step="100 s")).best("goodput").remark.startswith("exact")


@settings(max_examples=40, deadline=None)
@given(
    policy=st.sampled_from(POLICIES),
    scv=st.sampled_from([0.1, 1.0, 5.0]),
    end=st.sampled_from([{"duration": "30 day"}, {"work": "30500 s"}]),
)
def test_the_shares_add_to_1_whatever_the_steps(policy, scv, end):
    whole = Run(scenario=run(policy, step=f"gamma 100 s scv={scv}", **end))
    assert math.fsum(whole.shares.values()) == pytest.approx(1, abs=1e-9)
    assert whole.whole.progress >= whole.shares["goodput"] * (1 - 1e-12)
