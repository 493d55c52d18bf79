"""What thinking costs, against enumeration and simulation."""

import math
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from secondorder.analytic.reasoning import (
    longest_of,
    mean_attempts,
    mean_of,
    pass_at_k,
    quantile_of,
    solve_reasoning,
    success_of_majority,
    total_until_success,
)
from secondorder.errors import InputError, UnknownName
from secondorder.scenarios.reasoning import Reasoning
from secondorder.simulate.reasoning import questions, simulate_reasoning
from secondorder.workloads.lengths import Geometric, LogNormal, Uniform

BEST = Reasoning(
    strategy="best_of",
    samples=16,
    length="lognormal 2000 cv=1",
    prompt_tokens=500,
    prefill="50 ms",
    token_time="10 ms",
    success=0.3,
    input_price="3e-6 USD/token",
    output_price="15e-6 USD/token",
)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_pass_at_k_is_the_share_of_subsets_that_hold_a_right_answer(n: int) -> None:
    for correct in range(n + 1):
        for k in range(1, n + 1):
            subsets = list(combinations(range(n), k))
            share = sum(any(i < correct for i in one) for one in subsets) / len(subsets)
            assert pass_at_k(samples=n, correct=correct, k=k) == pytest.approx(share, abs=1e-12)


def test_pass_at_k_is_free_of_bias_and_the_naive_plug_in_is_not() -> None:
    n, k, p = 10, 5, 0.2
    weights = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    truth = 1 - (1 - p) ** k
    fair = sum(w * pass_at_k(samples=n, correct=c, k=k) for c, w in enumerate(weights))
    naive = sum(w * (1 - (1 - c / n) ** k) for c, w in enumerate(weights))
    assert fair == pytest.approx(truth, abs=1e-12)
    assert naive < truth - 0.02


@pytest.mark.parametrize(("samples", "wrong"), [(1, 2), (2, 1), (3, 2), (5, 3), (6, 1), (6, 2)])
def test_majority_is_that_of_all_votes(samples: int, wrong: int) -> None:
    p, total = 0.4, 0.0
    for votes in product(range(wrong + 1), repeat=samples):
        counts = [votes.count(answer) for answer in range(wrong + 1)]
        chance = math.prod(p if vote == 0 else (1 - p) / wrong for vote in votes)
        total += chance * (counts[0] == max(counts)) / counts.count(max(counts))
    assert success_of_majority(success=p, samples=samples, wrong_answers=wrong) == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("samples", [172, 200, 1001, 1100])
@pytest.mark.parametrize("p", [0.45, 0.5, 0.55])
def test_a_majority_of_very_many_votes_for_two_answers_is_condorcets(samples: int, p: float) -> None:
    """More votes than a float's factorial holds: the tail of a binomial, half of a tie."""
    tie = 0.5 * binom.pmf(samples / 2, samples, p) if samples % 2 == 0 else 0.0
    expected = binom.sf(samples // 2, samples, p) + tie
    assert success_of_majority(success=p, samples=samples, wrong_answers=1) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("samples", "p", "wrong"), [(300, 0.05, 50), (1000, 0.01, 200), (256, 0.02, 1000)])
def test_a_majority_of_very_many_votes_for_many_answers_is_that_of_drawn_votes(
    samples: int, p: float, wrong: int
) -> None:
    rng, draws = np.random.default_rng(5), 4_000
    votes = rng.multinomial(samples, [p] + [(1 - p) / wrong] * wrong, draws)
    most = votes.max(axis=1)
    won = (votes[:, 0] == most) / (votes == most[:, None]).sum(axis=1)
    found = success_of_majority(success=p, samples=samples, wrong_answers=wrong)
    assert found == pytest.approx(won.mean(), abs=3.3 * won.std() / math.sqrt(draws))
    assert found <= 1


def test_a_majority_of_the_often_wrong_is_worse_unless_they_err_differently() -> None:
    alone = 0.4
    assert success_of_majority(success=alone, samples=25, wrong_answers=1) < alone - 0.2
    assert success_of_majority(success=alone, samples=25, wrong_answers=10) > alone + 0.3


def test_the_longest_of_geometric_answers_is_harmonic() -> None:
    """For small 1/mean: ``E[max of n] = mean (1 + 1/2 + ... + 1/n)``, and half a token for the integers."""
    mean, n = 5_000.0, 16
    harmonic = mean * sum(1 / k for k in range(1, n + 1))
    found = mean_of(longest_of(length=Geometric(mean), samples=n))
    assert found == pytest.approx(harmonic, rel=2e-4)
    assert found > 3 * mean  # the mean length, which order 0 takes, is off by more than 3


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(0, 40), st.integers(1, 9))
def test_the_longest_lies_between_the_mean_and_the_end_and_grows(low: int, wide: int, n: int) -> None:
    law = Uniform(low, low + wide)
    found = mean_of(longest_of(length=law, samples=n))
    assert law.moment(1) - 1e-9 <= found <= low + wide + 1e-9
    assert found <= mean_of(longest_of(length=law, samples=n + 1)) + 1e-9


def test_the_law_of_a_sum_until_success_is_that_of_listing_all_of_them() -> None:
    law, p, n = Uniform(1, 3), 0.3, 3
    truth = np.zeros(10)
    for lengths in product((1, 2, 3), repeat=n):
        for right in product((True, False), repeat=n):
            used = right.index(True) + 1 if any(right) else n
            chance = math.prod(p if one else 1 - p for one in right) / 27
            truth[sum(lengths[:used])] += chance
    _, chances = total_until_success(length=law, success=p, samples=n)
    assert chances == pytest.approx(truth, abs=1e-12)


def test_walds_equation_holds_and_the_tail_is_not_that_of_the_mean() -> None:
    length, p, n = LogNormal(300, cv=1.0, maximum=4_000), 0.3, 12
    law = total_until_success(length=length, success=p, samples=n)
    assert mean_of(law) == pytest.approx(mean_attempts(success=p, samples=n) * length.moment(1), rel=1e-9)
    assert quantile_of(law, 0.99) > 4 * mean_of(law)


@pytest.mark.parametrize(
    "scenario",
    [
        BEST,
        replace(BEST, strategy="until_success"),
        replace(BEST, strategy="majority", wrong_answers=3, length="geometric 500"),
        replace(BEST, samples=1, length=700),
    ],
    ids=["best_of", "until_success", "majority", "once"],
)
def test_closed_forms_lie_in_the_simulated_intervals(scenario: Reasoning) -> None:
    solved, simulated = solve_reasoning(scenario), simulate_reasoning(scenario, seed=2)
    assert set(solved) == set(simulated)
    for metric in solved:
        best, seen = solved.best(metric), simulated.best(metric)
        assert seen.low is not None
        assert seen.high is not None
        half = (seen.high - seen.low) / 2  # 14 intervals: twice the half-width leaves one false alarm in 1e4
        assert seen.low - half - 1e-9 <= best.amount <= seen.high + half + 1e-9, metric


def test_the_mean_length_misses_the_latency_of_many_samples_by_a_factor() -> None:
    order_0, order_2 = solve_reasoning(BEST)["latency_mean"]
    seen = simulate_reasoning(BEST, seed=1, replications=4).best("latency_mean")
    assert seen.low is not None
    assert order_0.amount < 0.4 * seen.low
    assert order_2.amount == pytest.approx(seen.amount, rel=0.01)


def test_stopping_at_the_first_right_answer_saves_tokens_and_costs_time() -> None:
    at_once, stopped = solve_reasoning(BEST), solve_reasoning(replace(BEST, strategy="until_success", samples=16))
    assert stopped.best("cost_mean").amount < 0.25 * at_once.best("cost_mean").amount
    assert stopped.best("latency_p99").amount > at_once.best("latency_p99").amount
    assert stopped.best("success").amount == at_once.best("success").amount


def test_the_same_seed_gives_the_same_questions() -> None:
    one, two = (questions(BEST, count=5, seed=9, replication=1) for _ in range(2))
    assert (one.seconds == two.seconds).all()


def test_what_cannot_be_meant_is_refused_in_one_line() -> None:
    with pytest.raises(UnknownName, match="strategy"):
        replace(BEST, strategy="best")
    with pytest.raises(InputError, match="wrong_answers: got nothing, expected an integer, as"):
        replace(BEST, strategy="majority")
    with pytest.raises(InputError, match="wrong_answers: got 3 with best_of, expected none"):
        replace(BEST, wrong_answers=3)
    with pytest.raises(InputError, match=r"length\.tokens: got -1500, expected an integer of at least 1"):
        replace(BEST, length=-1500)
    with pytest.raises(InputError, match="output_price: got none, expected both prices or none"):
        replace(BEST, output_price=None)
    with pytest.raises(InputError, match="token_time"):
        replace(BEST, token_time="0 s")
    with pytest.raises(InputError, match="give the length a maximum"):
        total_until_success(length=Geometric(20_000), success=0.1, samples=64)
