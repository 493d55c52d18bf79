"""The statistics of a steady state against exact theory: M/M/1, autoregressions, and systems without a steady state."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.special import ndtri

from secondorder.errors import InputError
from secondorder.simulate.statistics.batch_means import correlation_time
from secondorder.simulate.statistics.controls import Control
from secondorder.simulate.statistics.estimates import estimates_of, how, rounded
from secondorder.simulate.statistics.histogram import histogram, pooled
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.statistics.outcome import NotSteady, Steady, TooShort, Unsteady, intervals, join, joined
from secondorder.simulate.statistics.procedure import Budget, given_runs, steady_state
from secondorder.simulate.statistics.progress import listening
from secondorder.simulate.statistics.quantiles import quantile_interval
from secondorder.simulate.statistics.ratios import ratio_interval
from secondorder.simulate.statistics.relaxation import relaxation_time
from secondorder.simulate.statistics.runs import Observed, Section, section
from secondorder.simulate.statistics.starts import Starts, growth
from secondorder.validation.coverage import Coverage, wilson

PLENTY = Budget(requests=20_000_000)
WATCHED = ("wait_mean", "wait_p50", "wait_p99")


def stream(*key):
    return np.random.default_rng(np.random.SeedSequence(key))


def waits(gaps, services, before=0.0):
    """Lindley's recursion as a running minimum: W_n = S_n - min(0, S_1, ..., S_n) with ``before`` in front."""
    steps = np.concatenate([[before - gaps[0]], services[:-1] - gaps[1:]])
    walk = np.cumsum(steps)
    return walk - np.minimum(np.minimum.accumulate(walk), 0.0)


def nothing(first, last):
    return {}


@dataclass(frozen=True)
class SingleServer:
    """M/M/1 with services of mean 1; its work in system is the wait."""

    load: float
    seed: int = 0
    full: int = 1

    def run(self, replication, length, flood=0):
        rng = stream(self.seed, replication)
        gaps, services = rng.exponential(1 / self.load, length), rng.exponential(1.0, length)
        wait = waits(gaps, services, float(flood))
        return Observed({"wait": wait}, wait, length, nothing)


@dataclass(frozen=True)
class Autoregression:
    """exp(x) of a normal autoregression x with standard deviation 1; ``flood`` moves its start."""

    memory: float
    seed: int = 0
    full: int = 1

    def run(self, replication, length, flood=0):
        rng = stream(self.seed, replication)
        noise = rng.normal(size=length) * math.sqrt(1 - self.memory**2)
        x = lfilter([1.0], [1.0, -self.memory], noise, zi=[self.memory * flood / 10])[0]
        return Observed({"value": np.exp(x)}, x + 5, length, lambda a, b: {"rate": (float(b - a), 2.0 * (b - a))})


@dataclass(frozen=True)
class TwoStates:
    """Noise around 10, or around 100 for good once it starts there."""

    full: int = 20

    def run(self, replication, length, flood=0):
        level = 100.0 if flood else 10.0
        work = level + stream(replication).normal(size=length)
        return Observed({"value": work}, work, length, nothing)


def exact_wait(load, level):
    return max(0.0, math.log(load / (1 - level)) / (1 / load - 1) / load)


def exact_waits(load):
    return {
        "wait_mean": load / (1 - load),
        "wait_p50": exact_wait(load, 0.5),
        "wait_p99": exact_wait(load, 0.99),
    }


# Histograms


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.floats(0.001, 1))
def test_a_histogram_gives_any_quantile_within_its_bins(values, level):
    exact = float(np.quantile(values, level, method="inverted_cdf"))
    assert histogram(values).quantile(level) == pytest.approx(exact, rel=5e-4, abs=1e-12)


@given(st.lists(st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=50), min_size=1, max_size=6))
def test_pooled_histograms_equal_the_histogram_of_all(parts):
    together, apart = histogram([value for part in parts for value in part]), pooled(map(histogram, parts))
    assert (together.bins == apart.bins).all()
    assert (together.counts == apart.counts).all()
    np.testing.assert_allclose(together.means, apart.means, rtol=1e-12)
    assert (together.least == apart.least).all()


def test_a_law_of_few_values_is_kept_exactly():
    found = histogram([0.1, 0.1, 0.3, 0.0])
    assert found.means.tolist() == [0.0, 0.1, 0.3]
    assert found.mean == pytest.approx(0.125)


def test_negative_values_are_refused():
    with pytest.raises(InputError):
        histogram([1.0, -1.0])


# Intervals


def test_the_quantile_interval_covers_where_the_mean_of_quantiles_does_not():
    """Ten runs of 50 relaxation times of M/M/1, as the earlier estimator took them."""
    truth, length, pooled_held, mean_held, trials = exact_wait(0.8, 0.99), 4_100, 0, 0, 200
    for trial in range(trials):
        runs = [SingleServer(0.8, trial).run(k, length + 800).work[800:] for k in range(10)]
        new = quantile_interval([histogram(run) for run in runs], 0.99).interval
        old = student([np.quantile(run, 0.99) for run in runs])
        pooled_held += new.low <= truth <= new.high
        mean_held += old.low <= truth <= old.high
    assert Coverage(pooled_held, trials).bounds(0.99)[1] > 0.95
    assert pooled_held / trials > 0.90
    assert Coverage(mean_held, trials).bounds(0.99)[1] < 0.90


def test_a_series_that_only_grows_has_no_short_relaxation_time():
    assert correlation_time(np.arange(4_000.0) * np.array([[1.0], [2.0], [4.0]])) > 400


def test_a_quantile_in_a_gap_of_the_law_is_a_jump():
    rng = stream(1)
    two = [histogram(np.where(rng.random(2_000) < 0.5, 1.0, 2.0) + 0.1 * rng.random(2_000)) for _ in range(20)]
    assert quantile_interval(two, 0.5).jump
    assert not quantile_interval(two, 0.9).jump


def test_a_quantile_at_the_end_of_an_atom_is_a_jump():
    rng = stream(2)
    waits_of_half = [histogram(np.maximum(0, rng.exponential(size=4_000) - math.log(2))) for _ in range(20)]
    assert quantile_interval(waits_of_half, 0.5).jump
    inside = quantile_interval(waits_of_half, 0.3)
    assert not inside.jump
    assert inside.interval.low == inside.interval.high == 0


def test_equal_denominators_give_the_student_interval():
    values = stream(3).normal(10, 1, 12)
    found, known = ratio_interval(values, np.ones(12)), student(values)
    assert (found.low, found.mean, found.high) == pytest.approx((known.low, known.mean, known.high))


def test_a_ratio_of_unequal_totals_covers_its_truth():
    held = 0
    for trial in range(400):
        rng = stream(4, trial)
        counts = rng.integers(50, 150, 20)
        sums = np.array([rng.exponential(3.0, count).sum() for count in counts])
        found = ratio_interval(sums, counts)
        held += found.low <= 3.0 <= found.high
    assert Coverage(held, 400).keeps(0.95, 0.99)


# Relaxation and starts


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_relaxation_time_of_a_single_server_is_near_daleys(load):
    daley = (2 + 5 * load - 4 * load**2 + load**3) / ((2 - load) * (1 - load) ** 2)
    runs = [SingleServer(load).run(k, 400_000) for k in range(4)]
    assert 0.85 * daley < relaxation_time(runs, first=1_000) < 1.05 * daley  # lags past five times itself are left out


def test_the_relaxation_time_of_an_autoregression_is_exact():
    runs = [Autoregression(0.99).run(k, 400_000) for k in range(4)]
    exact = (1 + 0.99) / (1 - 0.99)
    assert relaxation_time([Observed({}, run.work, run.settled, nothing) for run in runs]) == pytest.approx(
        exact, rel=0.1
    )


def test_growth_is_seen_two_percent_past_saturation_and_not_below_it():
    for seed in range(20):
        over = np.array([SingleServer(1.02, seed).run(k, 100_000).work for k in range(4)])
        under = np.array([SingleServer(0.98, seed).run(k, 100_000).work for k in range(4)])
        assert growth(over).sure
        assert not growth(under).sure


def test_two_starts_on_the_same_streams_meet_exactly():
    server = SingleServer(0.8)
    empty, flooded = (np.array([server.run(k, 20_000, flood).work for k in range(4)]) for flood in (0, 100))
    starts = Starts(empty, flooded)
    assert starts.met(82)
    assert starts.level == pytest.approx(starts.flooded_level)


# The procedure


def test_intervals_of_the_procedure_cover_the_exact_waits():
    held, truth, seeds = dict.fromkeys(WATCHED, 0), exact_waits(0.7), 60
    for seed in range(seeds):
        found = steady_state(SingleServer(0.7, seed), watched=WATCHED, budget=PLENTY)
        assert isinstance(found, Steady)
        assert found.reached
        known = intervals(found.sections)
        for metric in WATCHED:
            held[metric] += known[metric].interval.low <= truth[metric] <= known[metric].interval.high
    for metric in WATCHED:
        assert Coverage(held[metric], seeds).keeps(0.95, 0.99), metric


def test_the_procedure_covers_the_quantile_of_an_autoregression():
    held, truth = 0, math.exp(float(ndtri(0.99)))
    for seed in range(40):
        found = steady_state(Autoregression(0.95, seed), watched=("value_p99",), budget=PLENTY)
        assert isinstance(found, Steady)
        interval = intervals(found.sections)["value_p99"].interval
        held += interval.low <= truth <= interval.high
    assert Coverage(held, 40).keeps(0.95, 0.99)


def test_a_better_precision_takes_a_longer_run_and_is_reached():
    coarse, fine = (
        steady_state(SingleServer(0.7), watched=WATCHED, budget=PLENTY, precision=each) for each in (0.1, 0.03)
    )
    assert isinstance(coarse, Steady)
    assert isinstance(fine, Steady)
    assert fine.spent > 4 * coarse.spent
    assert intervals(fine.sections)["wait_p99"].interval.relative_half_width <= 0.03


def test_an_overloaded_server_is_unstable():
    for seed in range(20):
        found = steady_state(SingleServer(1.02, seed), watched=WATCHED, budget=PLENTY)
        assert isinstance(found, NotSteady)
        assert found.kind is Unsteady.UNSTABLE
        assert found.growth == pytest.approx(0.02, abs=0.02)


def test_a_stable_server_is_never_called_unstable():
    for seed in range(20):
        found = steady_state(SingleServer(0.97, seed), watched=WATCHED, budget=Budget(requests=1_000_000))
        assert not isinstance(found, NotSteady)


def test_states_that_do_not_meet_are_two():
    found = steady_state(TwoStates(), watched=("value_mean",), budget=PLENTY)
    assert isinstance(found, NotSteady)
    assert found.kind is Unsteady.TWO_STATES
    assert "10 requests" in found.seen
    assert "100" in found.seen


def test_a_budget_below_the_relaxation_time_is_not_enough_data():
    found = steady_state(SingleServer(0.995), watched=WATCHED, budget=Budget(requests=200_000))
    assert isinstance(found, TooShort)
    assert found.spent <= 200_000
    assert found.needed > 200_000
    assert {each.steadiness for each in estimates_of(found)} == {"not enough data"}


def test_a_budget_that_ends_the_search_is_told_with_what_would_do():
    found = steady_state(SingleServer(0.9), watched=WATCHED, budget=Budget(requests=2_000_000))
    assert isinstance(found, Steady)
    assert not found.reached
    tail = next(each for each in estimates_of(found) if each.metric == "wait_p99")
    assert tail.note.startswith("half-width")
    assert "requests would do" in tail.note
    assert "where 5.0% was wanted" in how(found)


def test_given_runs_of_few_relaxation_times_are_not_enough_data():
    short = given_runs(SingleServer(0.95), watched=WATCHED, length=8_000, replications=10)
    assert isinstance(short, TooShort)
    long = given_runs(SingleServer(0.7), watched=WATCHED, length=8_000, replications=10)
    assert isinstance(long, Steady)
    assert len(long.sections) == 10


def test_the_result_does_not_depend_on_the_number_of_processes():
    one, two = (steady_state(SingleServer(0.6), watched=WATCHED, budget=PLENTY, jobs=jobs) for jobs in (1, 2))
    assert estimates_of(one) == estimates_of(two)


def test_whoever_listens_is_told_the_half_width_so_far():
    told = []
    with listening(told.append):
        steady_state(SingleServer(0.6), watched=WATCHED, budget=PLENTY)
    assert told[0].width is None
    assert told[-1].width <= 0.05


def test_many_sections_are_joined_into_twenty_to_thirty_nine():
    sections = [section(SingleServer(0.5).run(k, 100), 0, 100) for k in range(90)]
    parts = joined(sections)
    assert 20 <= len(parts) < 40
    assert sum(each.laws["wait"].size for each in parts) == 9_000


def test_needs_are_rounded_upwards():
    assert [rounded(each) for each in (7, 1_234, 999_999)] == [7, 1_300, 1_000_000]


def test_a_joined_control_expects_the_mean_of_what_its_runs_expect():
    """Runs whose queues have different service times: the luck of all together is that of their requests."""
    runs = [
        Section({}, {}, 0.0, {"mean": Control(total, 10, expected)}) for total, expected in ((13.0, 1.2), (27.0, 2.5))
    ]
    found = join(runs).controls["mean"]
    assert found.deviation == pytest.approx((10 * 0.1 + 10 * 0.2) / 20)
    alike = [Section({}, {}, 0.0, {"mean": Control(total, 10, 0.1)}) for total in (1.0, 2.0, 3.0)]
    assert join(alike).controls["mean"].expected == 0.1


@pytest.mark.parametrize("sections", [2, 3, 4])
def test_a_quantile_of_few_sections_is_covered_though_their_shares_agree_by_chance(sections):
    rng, held, tries = np.random.default_rng(1), 0, 300
    for _ in range(tries):
        parts = [histogram(rng.exponential(size=1_000)) for _ in range(sections)]
        interval = quantile_interval(parts, 0.99).interval
        held += interval.low <= np.log(100) <= interval.high
    assert wilson(held, tries)[1] >= 0.95
