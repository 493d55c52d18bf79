"""Expert imbalance against brute force, exact theory and simulation."""

import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondorder.analytic.expert_routing import (
    active_experts,
    counted_greatest_load,
    excess,
    greatest_load,
    inclusion,
    mean_of,
    normal_greatest,
    quantile_of,
    solve_expert_routing,
)
from secondorder.errors import InputError
from secondorder.scenarios.expert_routing import ExpertRouting
from secondorder.simulate.expert_routing import loads, simulate_expert_routing
from secondorder.validation.verdicts import Verdict, verdict

SHEET = ExpertRouting(tokens=16, experts=8, top_k=2, expert_parallel=8)


def brute_loads(tokens: int, experts: int, top_k: int) -> Counter[tuple[int, ...]]:
    """How many routings give each vector of loads, by listing all of them."""
    picks = list(combinations(range(experts), top_k))
    found: Counter[tuple[int, ...]] = Counter()
    for routing in product(picks, repeat=tokens):
        counts = Counter(expert for pick in routing for expert in pick)
        found[tuple(counts[e] for e in range(experts))] += 1
    return found


def brute_law(tokens: int, experts: int, top_k: int, group: int = 1) -> dict[int, Fraction]:
    routings = brute_loads(tokens, experts, top_k)
    law: Counter[int] = Counter()
    for load, ways in routings.items():
        law[max(sum(load[d : d + group]) for d in range(0, experts, group))] += ways
    return {most: Fraction(ways, routings.total()) for most, ways in law.items()}


@pytest.mark.parametrize("shape", [(3, 4, 2), (5, 3, 1), (4, 4, 3), (2, 5, 2), (4, 3, 2)])
def test_counting_gives_the_law_of_the_fullest_that_listing_all_routings_gives(shape: tuple[int, int, int]) -> None:
    tokens, experts, top_k = shape
    values, below = counted_greatest_load(tokens=tokens, experts=experts, top_k=top_k)
    truth = brute_law(tokens, experts, top_k)
    for value, share in zip(values, below, strict=True):
        assert share == pytest.approx(float(sum(p for most, p in truth.items() if most <= value)), abs=1e-14)


@pytest.mark.parametrize(("tokens", "experts", "group"), [(6, 3, 1), (5, 4, 1), (5, 4, 2), (3, 6, 3)])
def test_the_fullest_of_single_picks_is_exact(tokens: int, experts: int, group: int) -> None:
    values, below = greatest_load(tokens=tokens, top_k=1, weights=np.ones(experts), group=group)
    truth = brute_law(tokens, experts, 1, group)
    for value, share in zip(values, below, strict=True):
        assert share == pytest.approx(float(sum(p for most, p in truth.items() if most <= value)), abs=1e-12)


def test_the_fullest_of_unequal_single_picks_is_exact() -> None:
    weights = [0.5, 0.3, 0.2]
    truth: Counter[int] = Counter()
    for routing in product(range(3), repeat=5):
        truth[max(Counter(routing).values())] += math.prod(weights[e] for e in routing)
    values, below = greatest_load(tokens=5, top_k=1, weights=weights)
    for value, share in zip(values, below, strict=True):
        assert share == pytest.approx(sum(p for most, p in truth.items() if most <= value), abs=1e-12)


@pytest.mark.parametrize("shape", [(4, 4, 2), (16, 8, 2), (8, 4, 3), (8, 6, 3), (18, 16, 2)])
def test_matched_binomials_come_within_half_a_percent_of_counting(shape: tuple[int, int, int]) -> None:
    tokens, experts, top_k = shape
    exact = mean_of(counted_greatest_load(tokens=tokens, experts=experts, top_k=top_k))
    assert mean_of(greatest_load(tokens=tokens, top_k=top_k, weights=np.ones(experts))) == pytest.approx(
        exact, rel=0.0055
    )


def test_an_expert_takes_a_token_at_least() -> None:
    """A capacity is rounded up, however small the factor; eight experts keep one of 32 picks each, or none."""
    scarce = replace(SHEET, capacity_factor=1e-12)
    assert scarce.capacity == 1
    kept = 1 - solve_expert_routing(scarce).best("dropped_share").amount
    assert kept * 32 == pytest.approx(8 * (1 - 0.75**16), rel=1e-9)
    found = simulate_expert_routing(scarce, seed=2, replications=4).best("dropped_share")
    assert found.low <= 1 - kept <= found.high


def test_drops_too_rare_to_be_seen_are_not_taken_for_none() -> None:
    """Half a drop in a million picks: 400 routings of 16,384 picks see none more often than not."""
    roomy = ExpertRouting(tokens=4096, experts=64, top_k=4, expert_parallel=16, capacity_factor=1.25)
    formula = solve_expert_routing(roomy).best("dropped_share").amount
    assert 1e-7 < formula < 1e-6
    found = simulate_expert_routing(roomy, replications=2).best("dropped_share")
    assert found.amount == 0
    assert verdict(formula, found, 0.1) is Verdict.NOT_ENOUGH_DATA
    assert found.remark == "not enough data: none of 80 routings drops a token"
    never = simulate_expert_routing(replace(SHEET, capacity_factor=8.0), replications=2).best("dropped_share")
    assert never.in_domain  # an expert takes all 16 tokens


def test_matched_binomials_come_as_near_to_counting_as_they_say() -> None:
    judged = 0
    for experts, top_k in product((3, 4, 5, 6, 8, 12), (2, 3, 4)):
        for tokens in range(2, 19):
            if top_k >= experts or math.comb(tokens + top_k, top_k) > 200:
                continue
            judged += 1
            ours = mean_of(greatest_load(tokens=tokens, top_k=top_k, weights=[1] * experts))
            counted = mean_of(counted_greatest_load(tokens=tokens, experts=experts, top_k=top_k))
            assert ours == pytest.approx(counted, rel=0.008 if tokens >= 5 else 0.018)
    assert judged > 100


def test_picks_with_replacement_would_be_wrong_by_more_than_the_matched_binomials() -> None:
    exact = mean_of(counted_greatest_load(tokens=16, experts=8, top_k=2))
    replaced = mean_of(greatest_load(tokens=32, top_k=1, weights=np.ones(8)))
    assert replaced / exact > 1.03


def test_sixteen_tokens_to_two_of_eight_load_the_fullest_expert_1_69_times_the_mean() -> None:
    """A factor of 1 is what a first-order suite takes from its user."""
    answer = solve_expert_routing(SHEET)
    assert answer["imbalance"][0].amount == 1.0
    assert answer.best("imbalance").amount == pytest.approx(1.68914, abs=1e-5)
    rng = np.random.default_rng(7)  # tokens one by one, no code shared
    ratios = []
    for _ in range(4_000):
        counts = [0] * 8
        for _ in range(16):
            for expert in rng.permutation(8)[:2]:
                counts[expert] += 1
        ratios.append(max(counts) / 4)
    error = np.std(ratios) / math.sqrt(len(ratios))
    assert abs(np.mean(ratios) - answer.best("imbalance").amount) < 4 * error
    assert abs(np.mean(ratios) - 1.0) > 100 * error


def test_inclusion_is_that_of_picks_without_replacement() -> None:
    weights = np.array([5.0, 3.0, 1.0, 0.5])
    for top_k in (2, 3):
        truth = np.zeros(4)
        for order in permutations(range(4), top_k):
            left, chance = weights.sum(), 1.0
            for expert in order:
                chance *= weights[expert] / left
                left -= weights[expert]
            truth[list(order)] += chance
        assert inclusion(weights=weights, top_k=top_k) == pytest.approx(truth, abs=1e-11)
    assert abs(inclusion(weights=weights, top_k=2) - np.minimum(2 * weights / weights.sum(), 1)).max() > 0.02


def test_active_experts_and_excess_are_those_of_all_routings() -> None:
    routings = brute_loads(4, 4, 2)
    hit = sum(ways * sum(load > 0 for load in one) for one, ways in routings.items()) / routings.total()
    assert active_experts(tokens=4, experts=4, top_k=2) == pytest.approx(hit, rel=1e-13)
    over = sum(ways * sum(max(load - 2, 0) for load in one) for one, ways in routings.items()) / routings.total()
    assert 4 * excess(tokens=4, probability=0.5, capacity=2) == pytest.approx(over, rel=1e-13)


def test_the_normal_law_falls_short_of_the_fullest() -> None:
    """First order misses the skew of few tokens; its quadrature itself is right: of 3 normals 3/(2 sqrt(pi))."""
    assert normal_greatest(np.zeros(3), np.ones(3))[0] == pytest.approx(1.5 / math.sqrt(math.pi), rel=1e-6)
    assert normal_greatest(np.zeros(3), np.ones(3))[1] == pytest.approx(2.7119, abs=1e-3)  # Phi(x)^3 = 0.99
    answer = solve_expert_routing(replace(SHEET, experts=32, expert_parallel=32))
    order_1, order_2 = answer["max_load_mean"][1:]
    assert not order_1.in_domain
    assert order_1.amount < 0.9 * order_2.amount


SCENARIOS = [
    SHEET,
    ExpertRouting(tokens=16, experts=8, top_k=2, expert_parallel=8, capacity_factor=1.25),
    ExpertRouting(tokens=64, experts=16, top_k=4, expert_parallel=4),
    ExpertRouting(tokens=48, experts=12, top_k=1, expert_parallel=12, zipf=1.0, capacity_factor=1.5),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: f"{s.tokens}-{s.top_k}-of-{s.experts}")
def test_closed_forms_lie_in_the_simulated_intervals(scenario: ExpertRouting) -> None:
    solved, simulated = solve_expert_routing(scenario), simulate_expert_routing(scenario, seed=3)
    for metric in solved:
        best, seen = solved.best(metric), simulated.best(metric)
        assert best.order == 2
        assert seen.low is not None
        assert seen.high is not None
        half = (seen.high - seen.low) / 2
        slack = half + 0.004 * seen.amount * bool(best.remark)  # approximate laws: half a percent, see above
        slack += 3 / 20_000  # what 20,000 routings have never shown has a chance below 3 in 20,000, at 95 %
        assert seen.low - slack <= best.amount <= seen.high + slack, metric


def test_zipf_popularity_is_within_one_percent_of_simulation() -> None:
    scenario = ExpertRouting(tokens=64, experts=16, top_k=4, expert_parallel=4, zipf=1.0)
    solved, simulated = solve_expert_routing(scenario), simulate_expert_routing(scenario, seed=5)
    for metric in ("imbalance", "slowdown", "active_experts_mean"):
        assert solved.best(metric).amount == pytest.approx(simulated.best(metric).amount, rel=0.01)


def test_the_same_seed_gives_the_same_loads_whatever_the_replications_around() -> None:
    again = loads(SHEET, runs=5, seed=2, replication=3)
    assert (again == loads(SHEET, runs=5, seed=2, replication=3)).all()
    assert simulate_expert_routing(SHEET, seed=1, replications=2) == simulate_expert_routing(
        SHEET, seed=1, replications=2, jobs=2
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.data())
def test_laws_are_laws_and_loads_add_up(tokens: int, experts: int, data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, experts))
    weights = np.array(data.draw(st.lists(st.floats(0.05, 20), min_size=experts, max_size=experts)))
    p = inclusion(weights=weights, top_k=top_k)
    assert p.sum() == pytest.approx(top_k)
    assert (p <= 1 + 1e-12).all()
    values, below = greatest_load(tokens=tokens, top_k=top_k, weights=weights)
    assert (np.diff(below) >= 0).all()
    assert below[-1] == 1.0
    assert values[0] * experts >= tokens * top_k - experts
    assert tokens * top_k / experts - 1e-9 <= mean_of((values, below)) <= tokens + 1e-9
    assert mean_of((values, below)) >= tokens * p.max() - 1e-6 * tokens - 0.02 * tokens * (top_k > 1)
    assert quantile_of((values, below), 0.99) <= tokens


def test_what_cannot_be_meant_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^top_k: got 9, expected at most the 8 experts$"):
        replace(SHEET, top_k=9)
    with pytest.raises(InputError, match="expert_parallel: got 3 for 8 experts, expected a divisor"):
        replace(SHEET, expert_parallel=3)
    with pytest.raises(InputError, match="weights: got weights with zipf"):
        replace(SHEET, zipf=1.0, weights=[1.0] * 8)
    with pytest.raises(InputError, match="weights: got 3 of them"):
        replace(SHEET, weights=[1.0] * 3)
