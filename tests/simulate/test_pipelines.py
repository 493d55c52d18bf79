"""Pipelines: schedules against brute force, bubbles exactly, waves against random matrices and naive draws."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondorder.analytic.collectives import bubble, last_passage
from secondorder.errors import InputError, UnknownName
from secondorder.laws import LogNormal
from secondorder.scenarios.pipeline import Pipeline
from secondorder.simulate.collectives import pipeline, simulate_pipeline, stages, steps
from secondorder.simulate.statistics.intervals import student
from secondorder.verbs import solve

SCHEDULES = ("gpipe", "1f1b", "interleaved", "forward")


@st.composite
def shapes(draw, schedules=SCHEDULES):
    """A schedule with its stages, microbatches and chunks."""
    schedule, p = draw(st.sampled_from(schedules)), draw(st.integers(1, 6))
    if schedule == "interleaved":
        p, v = max(p, 2), draw(st.integers(2, 3))
        return schedule, p, p * draw(st.integers(1, 4)), v
    return schedule, p, draw(st.integers(1, 12)), 1


def times(shape, seed, schedule):
    rng = np.random.default_rng(seed)
    return rng.exponential(size=shape), None if schedule == "forward" else rng.exponential(size=shape)


# The order of work


def naive_ends(p, m, v, schedule, forward, backward, send=0.0):
    """When each pass ends, by relaxing all that is known until nothing changes: (back, place, microbatch) to time."""
    work, after = {}, {}
    for s in range(p):
        items = pipeline.order(s, stages=p, microbatches=m, schedule=schedule, interleaving=v)
        for before, item in zip([None, *items], items, strict=False):
            back, q, j = item
            work[item] = (backward if back else forward)[q, j]
            turn = (True, q + 1, j) if q + 1 < p * v else (False, q, j)
            need = turn if back else (False, q - 1, j) if q else None
            after[item] = [(before, 0.0), (need, send if need and need[1] != q and p > 1 else 0.0)]
    ends = dict.fromkeys(work, 0.0)
    changed = True
    while changed:
        new = {i: work[i] + max(ends[b] + d if b is not None else 0.0 for b, d in after[i]) for i in work}
        changed, ends = new != ends, new
    return ends


@settings(max_examples=40, deadline=None)
@given(shapes(), st.integers(0, 99), st.sampled_from([0.0, 0.3]))
def test_passes_end_when_brute_force_says_so_and_events_agree_bit_for_bit(shape, seed, send):
    schedule, p, m, v = shape
    forward, backward = times((p * v, m), seed, schedule)
    options = {"send": send, "schedule": schedule, "interleaving": v}
    found = pipeline.passes(forward, backward, **options)
    naive = naive_ends(p, m, v, schedule, forward, backward, send)
    for (back, q, j), end in naive.items():
        assert found[int(back)][q, j] == end
    by_events = stages.passes(forward, backward, **options)
    assert np.array_equal(found, by_events, equal_nan=True)
    both = forward if backward is None else forward + backward
    span = pipeline.makespan(forward, backward, **options)
    assert span.shape == (p,)
    assert span.max() == max(naive.values())
    busiest = both.reshape(v, p, m).sum(axis=(0, 2)).max()
    assert span.max() >= max(busiest, both.sum(axis=0).max()) - 1e-9  # a stage's work, a microbatch's way


@settings(max_examples=30, deadline=None)
@given(shapes())
def test_each_stage_does_each_pass_once_and_back_after_forward(shape):
    schedule, p, m, v = shape
    for s in range(p):
        items = pipeline.order(s, stages=p, microbatches=m, schedule=schedule, interleaving=v)
        assert len(set(items)) == len(items) == m * v * (1 if schedule == "forward" else 2)
        assert all(item.place % p == s for item in items)
        at = {item: number for number, item in enumerate(items)}
        assert all(at[item._replace(back=False)] < at[item] for item in items if item.back)


@settings(max_examples=40, deadline=None)
@given(shapes(), st.integers(0, 99), st.data())
def test_no_pass_can_be_slower_and_the_step_shorter(shape, seed, data):
    schedule, p, m, v = shape
    forward, backward = times((p * v, m), seed, schedule)
    before = pipeline.makespan(forward, backward, schedule=schedule, interleaving=v)
    forward[data.draw(st.integers(0, p * v - 1)), data.draw(st.integers(0, m - 1))] += data.draw(st.floats(0, 5))
    after = pipeline.makespan(forward, backward, schedule=schedule, interleaving=v)
    assert (after >= before).all()


def test_leading_axes_are_runs_and_broadcast():
    rng = np.random.default_rng(1)
    forward, backward = rng.exponential(size=(5, 4, 8)), rng.exponential(size=(4, 8))
    together = pipeline.makespan(forward, backward)
    assert together.shape == (5, 4)
    assert np.array_equal(together, [pipeline.makespan(each, backward) for each in forward])


# The bubble, exactly


@settings(max_examples=60, deadline=None)
@given(shapes(), st.floats(0.1, 5), st.floats(0.1, 5))
def test_without_jitter_the_bubble_of_every_schedule_is_the_formula(shape, f, b):
    schedule, p, m, v = shape
    b = 0.0 if schedule == "forward" else b
    ones = np.ones((p * v, m)) / v
    step = pipeline.makespan(f * ones, b * ones, schedule=schedule, interleaving=v).max()
    given = {"stages": p, "microbatches": m, "schedule": schedule, "interleaving": v}
    rounding = 8 * (m * v + p) * np.finfo(float).eps
    assert step == pytest.approx((m + (p - 1) / v) * (f + b), rel=rounding)
    assert step == pytest.approx(bubble.time(forward=f, backward=b, **given), rel=rounding)
    assert 1 - m * (f + b) / step == pytest.approx(bubble.bubble_fraction(**given), abs=1e-12)
    assert step / (m * (f + b)) - 1 == pytest.approx(bubble.overhead(**given), abs=1e-12)
    if p > 1:
        assert bubble.overhead(**given) > bubble.bubble_fraction(**given)  # two quantities


def test_the_published_bubble_at_16_microbatches():
    assert bubble.bubble_fraction(stages=2, microbatches=16) == pytest.approx(0.0588, abs=5e-5)
    scenario = Pipeline(stages=2, microbatches=16, forward="1 s", backward="2 s")
    assert solve(scenario).best("bubble_fraction").amount == pytest.approx(1 / 17)
    assert simulate_pipeline(scenario).best("bubble_fraction").amount == pytest.approx(1 / 17)


@settings(max_examples=80, deadline=None)
@given(shapes(("gpipe", "1f1b", "forward")), st.floats(0.1, 5), st.floats(0.1, 5), st.floats(0, 5))
def test_sends_lie_on_the_longest_path_as_often_as_the_formula_says(shape, f, b, send):
    schedule, p, m, _ = shape
    ones = np.ones((p, m))
    step = pipeline.makespan(f * ones, b * ones, send=send, schedule=schedule).max()
    given = {"stages": p, "microbatches": m, "schedule": schedule}
    assert step == pytest.approx(bubble.time(forward=f, backward=b, send=send, **given), rel=1e-11)


@settings(max_examples=60, deadline=None)
@given(shapes(("interleaved",)), st.floats(0.5, 2), st.floats(0.5, 2), st.floats(0, 1))
def test_sends_of_an_interleaved_pipeline_hide_while_they_are_shorter_than_a_chunk(shape, f, b, share):
    _, p, m, v = shape
    send = share * min(f, b) / v
    ones = np.ones((p * v, m)) / v
    given = {"schedule": "interleaved", "interleaving": v}
    step = pipeline.makespan(f * ones, b * ones, send=send, **given).max()
    least = bubble.time(forward=f, backward=b, send=send, stages=p, microbatches=m, **given)
    assert step == pytest.approx(least, rel=1e-11)
    longer = pipeline.makespan(f * ones, b * ones, send=5 * send, **given).max()
    assert longer >= bubble.time(forward=f, backward=b, send=5 * send, stages=p, microbatches=m, **given) - 1e-9


@settings(max_examples=60, deadline=None)
@given(shapes(("gpipe", "1f1b", "forward")), st.data())
def test_slow_stages_cost_the_slowest_each_time_and_no_more_in_1f1b(shape, data):
    schedule, p, m, _ = shape
    slow = np.array([data.draw(st.floats(0.5, 3)) for _ in range(p)])[:, None]
    ones = np.ones((p, m)) * slow
    step = pipeline.makespan(ones, 2 * ones, schedule=schedule).max()
    back = 0 * slow if schedule == "forward" else 2 * slow
    formula = bubble.uneven_time(forward=slow.ravel(), backward=back.ravel(), microbatches=m)
    if schedule == "1f1b":
        assert step <= formula * (1 + 1e-12)
    else:
        assert step == pytest.approx(formula, rel=1e-11)


# What is held


@settings(max_examples=40, deadline=None)
@given(shapes(), st.sampled_from(["exponential", None]))
def test_the_first_stage_holds_what_its_schedule_says_whatever_the_jitter(shape, jitter):
    schedule, p, m, v = shape
    backward = None if schedule == "forward" else "2 s"
    scenario = Pipeline(
        stages=p, microbatches=m, schedule=schedule, interleaving=v, forward="1 s", backward=backward, jitter=jitter
    )
    _, _, held = steps(scenario, runs=3)
    assert held == pytest.approx(bubble.in_flight(stages=p, microbatches=m, schedule=schedule, interleaving=v))


def test_1f1b_takes_as_long_as_gpipe_and_holds_less():
    shape = {"stages": 8, "microbatches": 32}
    assert [bubble.in_flight(**shape, schedule=s) for s in ("gpipe", "1f1b")] == [32, 8]
    assert bubble.in_flight(**shape, schedule="interleaved", interleaving=4) == 8 + 7 / 4


# Waves


def naive_wave(p, m, draw, runs):
    """Last passage, cell by cell."""
    at = {(i, j): 0.0 for i in range(-1, p) for j in range(-1, m)}
    for i in range(p):
        for j in range(m):
            at[i, j] = np.maximum(at[i - 1, j], at[i, j - 1]) + draw(runs)
    return at[p - 1, m - 1]


def test_two_by_two_exponential_passes_take_three_and_a_half_means():
    assert last_passage.exponential_mean(stages=2, microbatches=2) == pytest.approx(3.5, rel=1e-12)
    scenario = Pipeline(stages=2, microbatches=2, schedule="forward", forward="exponential 1 s")
    found = student([steps(scenario, runs=5000, replication=k)[0].mean() for k in range(20)], 0.999)
    assert found.relative_half_width < 0.02
    assert found.low <= 3.5 <= found.high
    assert not found.low <= 3.0 <= found.high
    assert not found.low <= (math.sqrt(2) + math.sqrt(2)) ** 2 <= found.high


@pytest.mark.parametrize(("p", "m"), [(1, 7), (3, 2), (4, 16), (8, 32)])
def test_the_exact_law_of_an_exponential_wave_is_met_by_brute_force(p, m):
    rng = np.random.default_rng(p)
    drawn = naive_wave(p, m, lambda n: rng.exponential(size=n), 40_000)
    mean = student(drawn, 0.999)
    assert mean.low <= last_passage.exponential_mean(stages=p, microbatches=m) <= mean.high
    p99 = last_passage.exponential_quantile(0.99, stages=p, microbatches=m)
    share = (drawn > p99).mean()
    assert abs(share - 0.01) < 3.3 * math.sqrt(0.01 * 0.99 / len(drawn))


def test_the_exact_law_is_erlang_in_one_stage_and_symmetric():
    from scipy.stats import gamma

    t = np.array([0.0, 3.0, 7.0, 12.0])
    assert last_passage.exponential_cdf(t, stages=1, microbatches=7) == pytest.approx(gamma.cdf(t, 7), abs=1e-10)
    for p, m in ((3, 9), (20, 50)):
        turned = last_passage.exponential_mean(stages=m, microbatches=p)
        assert last_passage.exponential_mean(stages=p, microbatches=m) == pytest.approx(turned, rel=1e-12)
    # two by two: a pass, the later of two, a pass: (1 - e^-t)^2 convolved with Erlang(2), at t = 3
    s = np.linspace(0, 3, 200_001)
    density = 2 * np.exp(-s) * (1 - np.exp(-s))
    rest = 3 - s
    expected = np.trapezoid(density * (1 - np.exp(-rest) * (1 + rest)), s)
    assert last_passage.exponential_cdf(3.0, stages=2, microbatches=2) == pytest.approx(expected, abs=1e-8)


def test_the_asymptotic_mean_is_far_above_at_the_size_of_pipelines():
    exact = last_passage.exponential_mean(stages=np.array([8, 100]), microbatches=np.array([32, 400]))
    high = last_passage.asymptotic_mean(stages=np.array([8, 100]), microbatches=np.array([32, 400])) / exact - 1
    assert high == pytest.approx([0.19, 0.03], abs=0.005)


def test_the_published_wave_takes_45_slots_where_39_would_do_without_jitter():
    scenario = Pipeline(stages=8, microbatches=32, schedule="forward", forward="1 s", jitter="lognormal scv=0.09")
    found = student([steps(scenario, runs=1000, replication=k)[0].mean() for k in range(20)], 0.999)
    assert found.relative_half_width < 0.002
    assert found.low <= 45.35  # published: 45.3
    assert found.high >= 45.25
    answer = solve(scenario)
    assert [e.amount for e in answer["time_mean"]] == pytest.approx([32, 39, 45.39], abs=0.01)
    assert answer.best("time_mean").amount == pytest.approx(found.mean, rel=0.01 + found.relative_half_width)


@pytest.mark.parametrize(("p", "m", "cv"), [(2, 4, 0.6), (4, 8, 0.3), (8, 128, 0.3), (16, 64, 0.6), (32, 32, 0.3)])
def test_two_moments_tell_a_wave_within_one_percent(p, m, cv):
    law = LogNormal("1 s", scv=cv * cv)
    rng = np.random.default_rng(3)
    drawn = pipeline.makespan(law.sample(3000 * p * m, rng).reshape(3000, p, m), schedule="forward")[:, -1]
    found = student(drawn, 0.999)
    assert found.relative_half_width < 0.02
    guess = last_passage.approximate_mean(scv=cv * cv, stages=p, microbatches=m)
    assert guess == pytest.approx(found.mean, rel=0.01 + found.relative_half_width)


def test_gpipe_with_exponential_passes_is_two_waves():
    scenario = Pipeline(
        stages=4, microbatches=8, schedule="gpipe", forward="10 ms", backward="20 ms", jitter="exponential", send="5 ms"
    )
    exact = solve(scenario).best("time_mean")
    assert exact.remark == "exact"
    wave = last_passage.exponential_mean(stages=4, microbatches=8)
    assert exact.amount == pytest.approx(0.03 * wave + 6 * 0.005)
    found = student([steps(scenario, runs=1000, replication=k)[0].mean() for k in range(20)], 0.999)
    assert found.relative_half_width < 0.01
    assert found.low <= exact.amount <= found.high


def test_1f1b_with_jitter_has_no_closed_form_and_none_is_claimed():
    scenario = Pipeline(stages=4, microbatches=8, forward="10 ms", backward="20 ms", jitter="exponential")
    answer = solve(scenario)
    assert [e.order for e in answer["time_mean"]] == [0, 1]
    assert answer.best("time_mean").remark.startswith("bound: no jitter")
    assert simulate_pipeline(scenario).best("time_mean").low > answer.best("time_mean").amount
    single = replace(scenario, stages=1)
    assert solve(single).best("time_mean").order == 2
    found = simulate_pipeline(single).best("time_mean")
    assert found.amount == pytest.approx(8 * 0.03, rel=0.02)


# Answers and refusals


def test_answers_of_both_witnesses_agree_without_jitter():
    for schedule, v in (("gpipe", 1), ("1f1b", 1), ("interleaved", 2), ("forward", 1)):
        backward = None if schedule == "forward" else "20 ms"
        scenario = Pipeline(
            stages=4, microbatches=8, schedule=schedule, interleaving=v, forward="10 ms", backward=backward, send="1 ms"
        )
        solved, simulated = solve(scenario), simulate_pipeline(scenario)
        assert list(simulated) == ["time_mean", "time_p99", "bubble_fraction", "in_flight"]
        for metric in simulated:
            assert solved.best(metric).in_domain
            assert solved.best(metric).amount == pytest.approx(simulated.best(metric).amount, rel=1e-9), metric


def test_formulas_outside_their_conditions_say_which():
    scenario = Pipeline(stages=4, microbatches=8, forward="10 ms", backward="20 ms", slow_stages={2: 1.3})
    rung = solve(scenario).best("time_mean")
    assert not rung.in_domain
    assert rung.outside.startswith("stages are not alike: without jitter an upper bound")
    assert simulate_pipeline(scenario).best("time_mean").amount <= rung.amount * (1 + 1e-12)
    jitters = replace(scenario, jitter="lognormal scv=0.3")  # and with it none
    assert simulate_pipeline(jitters, replications=4).best("time_mean").low > solve(jitters)["time_mean"][-1].amount
    assert solve(replace(scenario, schedule="gpipe")).best("time_mean").in_domain
    wild = Pipeline(stages=4, microbatches=8, schedule="forward", forward="1 s", jitter="lognormal scv=4")
    assert not solve(wild).best("time_mean").in_domain
    late = Pipeline(
        stages=4, microbatches=8, schedule="interleaved", interleaving=2, forward="1 s", backward="2 s", send="2 s"
    )
    assert "lower bound" in solve(late).best("time_mean").remark


def test_the_same_seed_gives_the_same_answer_and_processes_do_not_change_it():
    scenario = Pipeline(stages=2, microbatches=4, forward="10 ms", backward="20 ms", jitter="exponential")
    once = simulate_pipeline(scenario, seed=5, replications=3)
    assert once == simulate_pipeline(scenario, seed=5, replications=3, jobs=2)
    assert once != simulate_pipeline(scenario, seed=6, replications=3)


BAD = {
    "schedule": ({"schedule": "1fb1"}, "did you mean 1f1b?"),
    "backward": ({"backward": None}, "backward: got nothing, expected a time"),
    "no backward": ({"schedule": "forward"}, "none with the schedule forward"),
    "chunks": ({"schedule": "interleaved"}, "interleaving: got 1, expected at least 2"),
    "flat": ({"interleaving": 2}, "interleaving: got 2"),
    "multiple": ({"schedule": "interleaved", "interleaving": 2, "microbatches": 9}, "got 9 in 4 stages"),
    "stage": ({"slow_stages": {4: 1.3}}, "slow_stages: got 4, expected a stage from 0 to 3"),
    "factor": ({"slow_stages": {1: 0.0}}, "expected a factor above 0"),
    "jitter": ({"jitter": LogNormal("2 s", scv=1)}, "expected a law of mean 1 s"),
    "unit": ({"forward": 3}, "forward: got 3"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_meant_is_refused_in_one_line(case):
    fields, words = BAD[case]
    with pytest.raises((InputError, UnknownName)) as refusal:
        Pipeline(**{"stages": 4, "microbatches": 8, "forward": "1 s", "backward": "2 s", **fields})
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_plain_functions_refuse_what_does_not_fit():
    ones = np.ones((4, 6))
    with pytest.raises(InputError, match="multiple of stages"):
        pipeline.makespan(np.ones((8, 6)), np.ones((8, 6)), schedule="interleaved", interleaving=2)
    with pytest.raises(InputError, match="backward: got nothing"):
        pipeline.makespan(ones)
    with pytest.raises(InputError, match="divisor"):
        pipeline.makespan(ones, ones, schedule="interleaved", interleaving=3)
    with pytest.raises(UnknownName, match="did you mean gpipe"):
        pipeline.makespan(ones, ones, schedule="gpip")
    with pytest.raises(UnknownName, match="did you mean gpipe"):
        bubble.bubble_fraction(stages=2, microbatches=2, schedule="gpip")
