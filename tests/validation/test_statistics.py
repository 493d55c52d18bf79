"""Statistics keep what they promise: intervals cover, stopping is honest, tests err as often as they say.

The witness is M/M/1 by Lindley's recursion on whole arrays, written here, with its exact laws.
A tolerance on a measured share is four standard errors of the share; seeds are fixed.
"""

import pickle
from itertools import count

import numpy as np
import pytest

from secondorder.analytic.queues import multiserver
from secondorder.analytic.queues.run_length import asymptotic_variance, customers_needed, relaxation_time
from secondorder.answers.estimate import Estimate
from secondorder.errors import InputError
from secondorder.simulate.statistics.batch_means import batch_means, correlation_time
from secondorder.simulate.statistics.intervals import Interval, student
from secondorder.simulate.statistics.not_enough import NotEnoughData
from secondorder.simulate.statistics.precision import replicate_until
from secondorder.simulate.statistics.run_length import MOST_REPLICATIONS, recommended_length
from secondorder.simulate.statistics.warm_up import warm_up
from secondorder.validation.coverage import Coverage, coverage, pooled, wilson
from secondorder.validation.equivalence import (
    equivalence,
    equivalence_to,
    family_verdicts,
    holm,
    power,
    runs_needed,
    two_one_sided,
)
from secondorder.validation.stopping import planned_customers
from secondorder.validation.variance_reduction import controlled, exponential_twin, paired_difference
from secondorder.validation.verdicts import Verdict, verdict
from secondorder.validation.warmup import welch


def lindley(gaps, services, first=0.0):
    """Waits, a row a replication: ``W_{n+1} = max(0, W_n + S_n - A_{n+1})``."""
    steps = np.cumsum(services[:, :-1] - gaps[:, 1:], axis=1)
    walk = np.broadcast_to(np.reshape(first, (-1, 1)), (len(gaps), 1)) + np.pad(steps, ((0, 0), (1, 0)))
    return walk - np.minimum(np.minimum.accumulate(walk, axis=1), 0)


def waits(rng, rho, rows, customers, *, empty=False, mean_service=1.0):
    """Of M/M/1 with unit service, from its exact stationary law or from empty."""
    first = np.where(rng.random(rows) < rho, rng.exponential(1 / (1 - rho), rows), 0.0) * (not empty)
    gaps, services = rng.exponential(1 / rho, (rows, customers)), rng.exponential(mean_service, (rows, customers))
    return lindley(gaps, services, first)


def relaxation(rho):
    """In customers."""
    return rho * relaxation_time(arrival_rate=rho, service_rate=1.0)


def tolerance(share, trials):
    return 4 * np.sqrt(share * (1 - share) / trials)


# Why replications


@pytest.mark.parametrize(("rho", "seen"), [(0.5, 0.48), (0.8, 0.18), (0.95, 0.025)])
def test_an_interval_from_the_requests_of_one_run_covers_far_too_seldom(rho, seen):
    """The 95 % interval of the p99 from order statistics, as if the waits of one run were independent."""
    rng, runs, customers = np.random.default_rng(5), 400, 40_000 if rho < 0.9 else 150_000
    middle, half = 0.99 * customers, 1.96 * np.sqrt(customers * 0.99 * 0.01)
    low, high = int(middle - half), int(middle + half) + 1
    truth = multiserver.wait_quantile(0.99, arrival_rate=rho, service_rate=1.0)
    held = 0
    for _ in range(runs // 20):
        ordered = np.partition(waits(rng, rho, 20, customers), [low, high], axis=1)
        held += int(((ordered[:, low] <= truth) & (truth <= ordered[:, high])).sum())
    assert abs(held / runs - seen) < tolerance(seen, runs) + 0.01  # published to two digits
    assert not Coverage(held, runs).keeps(0.95)


# The length of a replication


def measured_coverage(rho, length, warm, *, seeds, replications=10, biased=1.0):
    """Of Student intervals of the mean and the p99 wait, from empty."""
    truths = {
        "mean": multiserver.mean_wait(arrival_rate=rho, service_rate=1.0),
        "p99": multiserver.wait_quantile(0.99, arrival_rate=rho, service_rate=1.0),
    }

    def twin(seed):
        found = waits(np.random.default_rng([9, seed]), rho, replications, length, empty=True, mean_service=biased)
        kept = found[:, warm:]
        return {"mean": student(kept.mean(axis=1)), "p99": student(np.quantile(kept, 0.99, axis=1))}

    return coverage(twin, truths, range(seeds))


@pytest.mark.parametrize(("rho", "seeds"), [(0.5, 600), (0.8, 100)])
def test_replications_of_the_recommended_length_cover_as_promised(rho, seeds):
    plan = recommended_length(relaxation=relaxation(rho))
    for found in measured_coverage(rho, plan.customers, plan.warm_up, seeds=seeds).values():
        assert abs(found.share - 0.95) < tolerance(0.95, seeds)


def test_ten_times_shorter_ones_do_not_cover_the_p99():
    plan = recommended_length(relaxation=relaxation(0.5) / 10)
    customers = plan.customers // 10  # below the floor of 50 waits past the quantile
    found = measured_coverage(0.5, customers, customers // 11, seeds=600)
    assert not found["p99"].keeps(0.95)
    assert found["p99"].share < 0.9


def test_a_simulator_two_percent_off_fails_its_coverage():
    """Services 2 % too long, where the intervals are short enough to see it."""
    plan = recommended_length(relaxation=10 * relaxation(0.5))
    assert not measured_coverage(0.5, plan.customers, plan.warm_up, seeds=60, biased=1.02)["mean"].keeps(0.95)


def test_an_interval_too_narrow_fails_its_coverage():
    """The normal's 1.96 in place of Student's t, over five replications."""
    rng = np.random.default_rng(4)

    def narrow(_):
        values = rng.normal(1.0, 0.1, 5)
        half = 1.96 * values.std(ddof=1) / np.sqrt(5)
        return {"mean": Interval(values.mean(), values.mean() - half, values.mean() + half)}

    found = coverage(narrow, {"mean": 1.0}, range(1_000))["mean"]
    assert not found.keeps(0.95)
    assert found.share < 0.9


def test_the_recommendation_counts_relaxation_times_and_waits_past_the_quantile():
    long, means, quick = (
        recommended_length(relaxation=100),
        recommended_length(relaxation=100, quantile=None),
        recommended_length(relaxation=1),
    )
    assert long.customers - long.warm_up == 100_000
    assert means.customers - means.warm_up == 30_000
    assert quick.customers - quick.warm_up == pytest.approx(5_000, abs=1)
    for bad in ({"quantile": 1.0}, {"replications": 1}, {"replications": MOST_REPLICATIONS + 1}):
        with pytest.raises(InputError):
            recommended_length(relaxation=10, **bad)


def test_wilsons_interval_covers_a_share():
    rng = np.random.default_rng(6)
    bounds = np.array([wilson(k, 200) for k in range(201)])
    for share in (0.5, 0.95):
        hits = rng.binomial(200, share, 4_000)
        held = ((bounds[hits, 0] <= share) & (share <= bounds[hits, 1])).mean()
        assert 0.93 < held < 0.975  # the count is whole: its coverage swings about 95 %


def test_coverage_refuses_a_run_without_interval_and_pools_counts():
    with pytest.raises(InputError, match="at least 2 replications"):
        coverage(lambda _: {"mean": student([1.0])}, {"mean": 1.0}, [1])
    assert pooled([Coverage(9, 10), Coverage(10, 10)]) == Coverage(19, 20)


# Batches of one run


def test_batches_of_a_hundred_relaxation_times_cover_about_as_promised():
    rng, rho, runs = np.random.default_rng(8), 0.5, 1_000
    length = relaxation(rho)
    held, refused = 0, 0
    for row in waits(rng, rho, runs, int(1000 * length) + 10):
        try:
            interval = batch_means(row, relaxation=length).interval
        except NotEnoughData:
            refused += 1
        else:
            held += interval.low <= 1.0 <= interval.high
    assert 0.935 - tolerance(0.95, runs) < held / (runs - refused) < 0.95 + tolerance(0.95, runs)
    assert refused / runs < 0.01 + tolerance(0.01, runs)  # alike by chance


def test_short_batches_are_refused_with_the_run_that_would_do():
    series = waits(np.random.default_rng(1), 0.95, 1, 100_000)[0]
    with pytest.raises(NotEnoughData, match=r"10 batches of 6\.75 relaxation times.*at least 100.*1,481,75") as refusal:
        batch_means(series, relaxation=relaxation(0.95))
    assert refusal.value.needed == pytest.approx(1000 * relaxation(0.95), abs=1)
    assert pickle.loads(pickle.dumps(refusal.value)).needed == refusal.value.needed
    with pytest.raises(NotEnoughData):
        batch_means(series)  # the correlation time of the data tells too
    with pytest.raises(InputError, match="5 to 10"):
        batch_means(series, batches=30, relaxation=1)


def test_batches_that_follow_each_other_are_refused():
    drifting = np.linspace(0, 1, 10_000) + np.random.default_rng(1).normal(size=10_000)
    with pytest.raises(NotEnoughData, match="lag-1 correlation"):
        batch_means(drifting, relaxation=1)


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_the_correlation_time_is_daleys(rho):
    exact = asymptotic_variance(arrival_rate=rho, service_rate=1.0) * (1 - rho) ** 2 / (rho * (2 - rho))
    series = waits(np.random.default_rng(2), rho, 10, int(500 * exact))
    assert correlation_time(series) == pytest.approx(exact, rel=4 * np.sqrt(2 * 11 / 5_000))  # Sokal: 2(2W+1)/n


def test_grouping_a_long_series_keeps_its_correlation_time():
    rng = np.random.default_rng(3)
    series = np.convolve(rng.normal(size=600_000), np.ones(50), "valid")
    assert correlation_time(series) == pytest.approx(50, rel=0.15)


# Warm-up


def test_a_run_that_fills_is_cut_a_drifting_or_short_one_is_called_transient():
    rng, time = np.random.default_rng(3), np.arange(6_000)
    noise = rng.normal(size=(8, 6_000))
    filling = warm_up(noise - 8 * np.exp(-time / 200))
    assert filling.steady
    assert 400 < filling.cut < 3_000
    assert filling.cleared(noise).shape == (8, 6_000 - filling.cut)
    drifting = warm_up(noise + time / 6_000)
    assert drifting.label.startswith("transient")
    with pytest.raises(NotEnoughData, match="steady state"):
        drifting.cleared(noise)
    assert "half or more" in warm_up(noise - 8 * np.exp(-time / 3_000)).why
    assert not warm_up(waits(rng, 0.95, 10, 15_000, empty=True)).steady  # ten relaxation times


def test_a_steady_run_is_called_transient_once_or_twice_in_a_hundred():
    rng, runs = np.random.default_rng(8), 200
    wrong = sum(not warm_up(waits(rng, 0.5, 10, 6_000)).steady for _ in range(runs))
    assert wrong / runs < 0.02 + tolerance(0.02, runs)


def test_welch_shows_where_a_filling_queue_settles():
    rng = np.random.default_rng(4)
    found = welch(waits(rng, 0.8, 400, 4_000, empty=True), window=50)
    exact = multiserver.mean_wait(arrival_rate=0.8, service_rate=1.0)
    assert found.level == pytest.approx(exact, rel=0.1)
    assert found.smooth[0] == 0
    assert len(found.smooth) == 4_000 - 50
    assert found.warm_up.steady
    assert relaxation(0.8) < found.warm_up.cut < 10 * relaxation(0.8)
    with pytest.raises(InputError, match="window"):
        welch(np.zeros((2, 100)), window=50)


def test_the_moving_average_is_the_mean_of_its_window():
    series = np.random.default_rng(1).normal(size=100)
    found = welch(series, window=10)
    assert found.smooth[50] == pytest.approx(series[40:61].mean())
    assert found.smooth[3] == pytest.approx(series[:7].mean())


# Sequential stopping


def campaign(rng, spread):
    """Replications whose mean is 10, and whose variance falls as one over their length."""
    return lambda _, length: {"mean": rng.normal(10, spread * np.sqrt(1_000 / length))}


@pytest.mark.parametrize("needed", [12, 40, 60, 300])
def test_two_stage_stopping_covers_and_is_as_narrow_as_asked(needed):
    rng, campaigns = np.random.default_rng(7), 1_000
    once = campaign(rng, np.sqrt(needed) * 0.2 / 2.262)  # so that `needed` replications give 2 %
    held = 0
    for _ in range(campaigns):
        found = replicate_until(once, metrics=["mean"], relative_half_width=0.02, length=1_000, budget=10**9)
        interval = found.intervals["mean"]
        held += interval.low <= 10 <= interval.high
        assert found.reached
        assert interval.relative_half_width <= 0.02 * (1 + 1e-9)
    assert abs(held / campaigns - 0.95) < tolerance(0.95, campaigns)


def test_stopping_as_soon_as_the_interval_is_short_covers_too_seldom():
    """Why there are two stages."""
    rng, held, campaigns = np.random.default_rng(7), 0, 1_000
    for _ in range(campaigns):
        values = list(rng.normal(10, np.sqrt(20) * 0.2 / 2.262, 3))
        while (interval := student(values)).relative_half_width > 0.02:
            values.append(rng.normal(10, np.sqrt(20) * 0.2 / 2.262))
        held += interval.low <= 10 <= interval.high
    assert held / campaigns < 0.95 - tolerance(0.95, campaigns)


def test_at_rho_95_a_small_budget_is_not_enough_data_and_says_what_would_be():
    def once(replication, length):
        found = waits(np.random.default_rng([3, replication]), 0.95, 1, length, empty=True)[0]
        return {"wait_mean": found[length // 11 :].mean()}

    plan = recommended_length(relaxation=relaxation(0.95))
    wanted = {"metrics": ["wait_mean"], "relative_half_width": 0.01, "length": plan.customers}
    small = replicate_until(once, budget=1_000_000, **wanted)
    assert not small.reached
    assert "not enough data" in small.how
    assert small.customers == 1_000_000
    assert small.needed >= plan.total

    planned = planned_customers(arrival_rate=0.95, service_rate=1.0, relative_half_width=0.01)
    assert planned == pytest.approx(6.5e7, rel=0.01)


def test_what_is_needed_is_what_daley_says():
    """From ten replications, by Student: (t/z)^2 of Daley's, give or take the spread of a variance."""
    rng, found = np.random.default_rng(3), []

    def once(_, length):
        return {"wait_mean": waits(rng, 0.5, 1, length)[0].mean()}

    for _ in range(40):
        options = {"metrics": ["wait_mean"], "relative_half_width": 0.01, "length": 6_000, "budget": 60_000}
        found.append(replicate_until(once, **options).needed)
    daley = customers_needed(arrival_rate=0.5, service_rate=1.0, relative_half_width=0.01)
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - daley * (2.262 / 1.96) ** 2) < 4 * error


def test_a_budget_is_kept_and_replications_are_never_shorter_than_asked():
    calls = []

    def once(replication, length):
        calls.append((replication, length))
        return {"mean": np.random.default_rng(replication).normal(10, 5)}

    found = replicate_until(once, metrics=["mean"], relative_half_width=0.001, length=1_000, budget=77_500)
    assert sum(length for _, length in calls) == found.customers == 77_000
    assert min(length for _, length in calls) == 1_000
    assert [replication for replication, _ in calls] == list(range(len(calls)))
    assert len(calls) <= MOST_REPLICATIONS + 2
    for bad in ({"first": 2}, {"relative_half_width": 2.0}, {"budget": 3}):
        options = {"metrics": ["mean"], "relative_half_width": 0.1, "length": 100, "budget": 10_000} | bad
        with pytest.raises(InputError):
            replicate_until(once, **options)


def test_a_budget_of_seconds_ends_too_and_a_metric_about_zero_is_refused():
    ticks = count()
    options = {"metrics": ["mean"], "relative_half_width": 1e-6, "length": 1_000, "budget": 10**9, "seconds": 1e-3}
    assert not replicate_until(lambda *_: {"mean": 1.0 + next(ticks) % 3}, **options).reached
    with pytest.raises(InputError, match="other than 0"):
        replicate_until(lambda r, _: {"mean": (-1.0) ** r}, **options)


# Variance reduction


def test_common_random_numbers_tell_designs_apart_and_the_interval_covers():
    rng, held, factors, trials = np.random.default_rng(5), 0, [], 200
    truth = multiserver.mean_wait(arrival_rate=0.5, service_rate=1 / 1.02) - multiserver.mean_wait(
        arrival_rate=0.5, service_rate=1.0
    )
    for _ in range(trials):
        gaps, services = rng.exponential(2.0, (10, 3_000)), rng.exponential(1.0, (10, 3_000))
        slow, fast = (lindley(gaps, scale * services)[:, 300:].mean(axis=1) for scale in (1.02, 1.0))
        found = paired_difference(slow, fast)
        held += found.interval.low <= truth <= found.interval.high
        factors.append(found.factor)
    assert abs(held / trials - 0.95) < tolerance(0.95, trials)
    assert np.median(factors) > 10
    with pytest.raises(InputError):
        paired_difference([1.0, 2.0], [1.0])


def test_controls_cover_with_the_degrees_of_freedom_that_are_left():
    rng, held, trials = np.random.default_rng(6), 0, 2_000
    for _ in range(trials):
        luck = rng.normal(size=(8, 3))
        found = controlled(5 + luck @ [1.0, -1.0, 0.5] + 0.3 * rng.normal(size=8), luck, np.zeros(3))
        held += found.interval.low <= 5 <= found.interval.high
    assert found.degrees == 4
    assert abs(held / trials - 0.95) < tolerance(0.95, trials)


def test_a_control_with_a_wrong_expectation_misses():
    rng, held = np.random.default_rng(6), 0
    for _ in range(200):
        luck = rng.normal(size=(20, 1))
        found = controlled(5 + luck[:, 0] + 0.1 * rng.normal(size=20), luck, [0.2])
        held += found.interval.low <= 5 <= found.interval.high
    assert held < 20


def test_useless_controls_are_refused():
    values, rng = np.arange(8.0), np.random.default_rng(1)
    one = rng.normal(size=(8, 1))
    for controls in (np.ones((8, 1)), np.hstack([one, 2 * one]), rng.normal(size=(8, 6))):
        with pytest.raises(InputError):
            controlled(values, controls, np.zeros(controls.shape[1]))


def test_the_closed_form_as_control_cuts_the_variance_fourfold_and_still_covers():
    """M/G/1 with Erlang-2 service: M/M/1 on the same draws, and the realised means."""
    rng, rho, held, factors, trials = np.random.default_rng(7), 0.5, 0, [], 60
    exact, markov = rho * 1.5 / (2 * (1 - rho)), rho / (1 - rho)
    for _ in range(trials):
        gaps, services = rng.exponential(1 / rho, (30, 6_000)), rng.gamma(2, 0.5, (30, 6_000))
        twins = np.array([exponential_twin(row, 1.0, rng) for row in services])
        wait, twin = (lindley(gaps, s)[:, 600:].mean(axis=1) for s in (services, twins))
        means = [each[:, 600:].mean(axis=1) for each in (gaps, services, twins)]
        found = controlled(wait, np.column_stack([twin, *means]), [markov, 1 / rho, 1.0, 1.0])
        held += found.interval.low <= exact <= found.interval.high
        factors.append(found.factor)
    assert abs(held / trials - 0.95) < tolerance(0.95, trials)
    assert np.median(factors) > 4


def test_the_exponential_twin_is_exponential_and_independent_even_of_a_constant():
    rng = np.random.default_rng(2)
    for services in (rng.gamma(2, 0.5, 20_000), np.ones(20_000)):
        twin = exponential_twin(services, 2.0, rng)
        assert twin.mean() == pytest.approx(2.0, rel=4 / np.sqrt(20_000))
        assert (twin > 2.0).mean() == pytest.approx(np.exp(-1), abs=tolerance(np.exp(-1), 20_000))
        assert abs(np.corrcoef(twin[1:], twin[:-1])[0, 1]) < 4 / np.sqrt(20_000)


# Equivalence


def estimate_of(values):
    interval = student(values)
    return Estimate(
        metric="wait", amount=interval.mean, unit="s", source="simulated", low=interval.low, high=interval.high
    )


def test_the_two_one_sided_tests_and_the_interval_give_one_verdict():
    rng, seen = np.random.default_rng(3), set()
    for _ in range(2_000):
        values = rng.normal(1.0, rng.choice([0.02, 0.1, 0.3]), rng.integers(2, 12))
        formula, margin = rng.uniform(0.7, 1.3), rng.choice([0.02, 0.1, 0.3])
        by_interval = verdict(formula, estimate_of(values), margin)
        assert equivalence(formula, values, margin=margin).verdict() is by_interval
        read_back = equivalence_to(formula, estimate_of(values), replications=len(values), margin=margin)
        assert read_back.verdict() is by_interval
        seen.add(by_interval)
    assert len(seen) == 3


def test_a_formula_at_the_edge_of_the_margin_is_misjudged_as_seldom_as_stated():
    rng, trials, margin = np.random.default_rng(4), 4_000, 0.1
    wrongly = {Verdict.AGREES: 0, Verdict.BREAKS: 0}
    for _ in range(trials):
        test = equivalence(1 + margin, rng.normal(1.0, 0.03, 6), margin=margin)  # at the very border: both are wrong
        if (found := test.verdict()) in wrongly:
            wrongly[found] += 1
    for errors in wrongly.values():
        assert abs(errors / trials - 0.025) < tolerance(0.025, trials)


def test_a_biased_estimator_turns_the_verdict():
    values = np.random.default_rng(5).normal(1.0, 0.02, 20)
    assert equivalence(1.0, values, margin=0.05).verdict() is Verdict.AGREES
    assert equivalence(1.0, 1.1 * values, margin=0.05).verdict() is Verdict.BREAKS
    assert equivalence(1.0, values[:2] * [0.9, 1.1], margin=0.05).verdict() is Verdict.NOT_ENOUGH_DATA


def test_without_any_spread_the_margin_alone_decides():
    for mean, expected in ((1.0, Verdict.AGREES), (1.2, Verdict.BREAKS)):
        assert two_one_sided(1.0, mean, 0.0, degrees=4, margin=0.1).verdict() is expected
    assert equivalence(0.0, [0.0, 0.0], margin=0.1).verdict() is Verdict.AGREES


def test_holms_adjusted_values_are_those_of_the_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Wright 1992
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


def test_a_family_is_wrong_anywhere_as_seldom_as_one_claim():
    """Forty formulas at the border of the margin: one by one nearly every family errs, by Holm one in twenty."""
    rng, families, alone, together = np.random.default_rng(6), 300, 0, 0
    wrong = {Verdict.AGREES, Verdict.BREAKS}
    for _ in range(families):
        claims = [equivalence(1.1, values, margin=0.1) for values in rng.normal(1.0, 0.03, (40, 6))]
        alone += any(claim.verdict() in wrong for claim in claims)
        together += any(found in wrong for found in family_verdicts(claims))
    assert together / families < 0.05 + tolerance(0.05, families)
    assert alone / families > 0.5


@pytest.mark.parametrize(("error", "sd"), [(0.0, 0.1), (0.04, 0.05)])
def test_the_power_is_the_share_that_agrees(error, sd):
    rng, trials = np.random.default_rng(8), 4_000
    stated = power(replications=10, relative_sd=sd, margin=0.1, error=error)
    agreed = sum(
        equivalence(1 + error, rng.normal(1.0, sd, 10), margin=0.1).verdict() is Verdict.AGREES for _ in range(trials)
    )
    assert abs(agreed / trials - stated) < tolerance(stated, trials)


def test_the_runs_needed_are_the_fewest_with_the_power():
    needed = runs_needed(relative_sd=0.1, margin=0.1)
    assert power(replications=needed, relative_sd=0.1, margin=0.1) >= 0.9
    assert power(replications=needed - 1, relative_sd=0.1, margin=0.1) < 0.9
    with pytest.raises(InputError, match="within the margin"):
        runs_needed(relative_sd=0.1, margin=0.05, error=0.06)
