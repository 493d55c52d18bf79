"""Closed forms of training under failures against witnesses that share no code with them.

Naive simulations of a few lines, algebra in decimals, quadrature, dense Markov chains, published figures.
"""

import math
from collections.abc import Callable
from decimal import Decimal, getcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, linalg, stats

from secondorder.analytic.training import counts, interval, periodic, replication, shared_storage, silent, spares
from secondorder.analytic.training.asynchronous import async_cycle, async_first_order, async_goodput, async_run
from secondorder.analytic.training.cycle import Cycle, in_turn
from secondorder.analytic.training.durable_series import TERMS, durable_segments
from secondorder.analytic.training.gap_survival import Gap, exponential_gap, palm_gap
from secondorder.analytic.training.new_nodes import aging_run
from secondorder.analytic.training.periodic import blocking_cycle, exact_goodput, expected_time, series_goodput
from secondorder.analytic.training.renewal_function import renewal_function, renewal_spread
from secondorder.analytic.training.two_level import TwoLevels, best_levels, levels_overhead
from secondorder.errors import InfeasibleError, InputError
from secondorder.fleets.failures import FailureRates, ReplicatedPairs, read_failures
from secondorder.laws import Erlang, Exponential, Gamma, LogNormal, Weibull

Z = 4.5
"""Standard errors of a simulated figure that a right formula exceeds once in 150,000 times."""

CALM = {"interval": 994.4, "write": 60.0, "restart": 300.0, "mtbf": 8240.0}
ROUGH = {"interval": 900.0, "write": 300.0, "restart": 600.0, "mtbf": 1350.0}


def ratio(kept: np.ndarray, total: np.ndarray) -> tuple[float, float]:
    """Of two means over independent cycles, and Z standard errors of it."""
    g = float(kept.mean() / total.mean())
    return g, float(Z * np.std(kept - g * total, ddof=1) / math.sqrt(len(kept)) / total.mean())


def draw_gaps(mtbf: float, seed: int = 1) -> Callable[[], float]:
    return iter((np.random.default_rng(seed).standard_exponential(3_000_000) * mtbf).tolist()).__next__


# Published and hand-made numbers


def test_first_order_goodput_is_off_by_one_percent_on_a_calm_cluster():
    tau = interval.young(write=60.0, mtbf=8240.0)
    calm = CALM | {"interval": tau}
    assert round(periodic.goodput_without_rework(**calm), 4) == 0.9033
    assert round(periodic.first_order_goodput(**calm), 4) == 0.8429
    assert round(exact_goodput(**calm), 4) == 0.8524


def test_first_order_goodput_means_nothing_on_a_rough_one():
    tau = interval.young(write=300.0, mtbf=1350.0)
    rough = ROUGH | {"interval": tau}
    assert round(periodic.goodput_without_rework(**rough), 4) == 0.2222
    assert periodic.first_order_goodput(**rough) < 0
    assert round(exact_goodput(**rough), 4) == 0.2984


def test_youngs_interval_loses_little_even_where_its_goodput_fails():
    young = interval.young(write=np.array([0.007, 0.22]), mtbf=1.0)
    lost = interval.regret(interval=young, write=np.array([0.007, 0.22]), mtbf=1.0)
    assert [round(100 * lost[0], 2), round(100 * lost[1], 1)] == [0.01, 1.5]


def test_a_clock_that_stops_in_the_restart_matters_by_e_to_the_x_over_one_plus_x():
    """From .08 % at R/M = .041 to 17 % at .67."""
    for x, moved in ((0.0406, 0.0008), (0.67, 0.17)):
        running = exact_goodput(interval=100.0, write=5.0, mtbf=1000.0, restart=1000.0 * x)
        stopped = exact_goodput(interval=100.0, write=5.0, mtbf=1000.0, downtime=1000.0 * x)
        assert stopped / running == pytest.approx(math.exp(x) / (1 + x), rel=1e-12)
        assert stopped / running - 1 == pytest.approx(moved, rel=0.02)


def test_the_rates_of_gpus_and_network_cards_add_to_an_mtbf_of_two_hours():
    gpu, card = (replication.fleet_mtbf(count=16_384, mttf=hours * 3600.0) for hours in (50_000, 150_000))
    mtbf = replication.together(gpu, card)
    assert round(mtbf / 3600, 3) == 2.289
    assert round(interval.young(write=60.0, mtbf=mtbf), 1) == 994.4
    rates = FailureRates(name="both", per="accelerator", components={"gpu": "50000 h", "card": "150000 h"})
    assert rates.mtbf(16_384) == pytest.approx(mtbf, rel=1e-12)


def test_llama_3_needs_writes_of_at_most_33_seconds_for_its_90_percent():
    """419 unexpected interruptions in 54 days (arXiv 2407.21783, table 5)."""
    mtbf = 54 * 86_400 / 419
    assert round(mtbf) == 11_135
    write = interval.largest_write(goodput=0.9, mtbf=mtbf, restart=300.0)
    assert round(write, 1) == 33.4
    best = max(
        exact_goodput(interval=float(tau), write=write, mtbf=mtbf, restart=300.0)
        for tau in np.linspace(700, 1000, 3001)
    )
    assert best == pytest.approx(0.9, abs=1e-8)
    with pytest.raises(InputError, match="restarts take the rest"):
        interval.largest_write(goodput=0.99, mtbf=mtbf, restart=300.0)


def test_metas_ratio_lies_between_first_order_and_exact():
    meta = periodic.effective_training_time_ratio(interval=994.4, write=60.0, startup=300.0, mtbf=8240.0)
    assert meta == pytest.approx((1 - (300 + 497.2) / 8240) / (1 + 60 / 994.4), rel=1e-12)
    assert periodic.first_order_goodput(**CALM) < meta < exact_goodput(**CALM)


# Intervals


@pytest.mark.parametrize("write", ["1e-12", "1e-8", "1e-5", "0.0009999", "0.0010001", "0.22", "1", "30"])
def test_the_optimum_is_where_the_goodput_is_flat_in_fifty_digits(write):
    """The root of ``(1 - y) e^(y + d) = 1`` by bisection; that of goodput's derivative."""
    getcontext().prec = 60
    d, low, high = Decimal(write), Decimal(0), Decimal(1)
    for _ in range(190):
        y = (low + high) / 2
        low, high = (y, high) if (1 - y) * (y + d).exp() > 1 else (low, y)
    assert interval.optimum(write=float(write), mtbf=1.0) == pytest.approx(float(low), rel=1e-12)


@settings(derandomize=True, deadline=None)
@given(ratio=st.floats(1e-6, 3.0), off=st.floats(0.3, 3.0), mtbf=st.floats(1e2, 1e7))
def test_no_interval_beats_the_optimum(ratio, off, mtbf):
    write = ratio * mtbf
    best = interval.optimum(write=write, mtbf=mtbf)
    here, there = (exact_goodput(interval=tau, write=write, mtbf=mtbf, restart=50.0) for tau in (best, best * off))
    assert there <= here * (1 + 1e-12)
    lost = interval.regret(interval=best * off, write=write, mtbf=mtbf)
    assert lost == pytest.approx(1 - there / here, abs=1e-10)
    assert here == pytest.approx(interval.best_goodput(write=write, mtbf=mtbf, restart=50.0), rel=1e-9)


def test_daly_is_a_hundred_times_nearer_to_the_optimum_than_young():
    write = np.array([1e-4, 1e-3, 1e-2])
    best = interval.optimum(write=write, mtbf=1.0)
    off_young = np.abs(interval.young(write=write, mtbf=1.0) / best - 1)
    off_daly = np.abs(interval.daly(write=write, mtbf=1.0) / best - 1)
    assert (off_daly < off_young / 100).all()


def test_dalys_interval_is_the_mtbf_where_writes_take_longer_than_two_of_them():
    assert interval.daly(write=np.array([2.0, 5.0]), mtbf=1.0).tolist() == [1.0, 1.0]


def test_the_numerical_optimum_finds_the_exact_one():
    found = interval.best_interval(lambda tau: exact_goodput(**CALM | {"interval": tau}), low=1.0, high=1e5)
    assert found == pytest.approx(interval.optimum(write=60.0, mtbf=8240.0), rel=1e-6)


def test_a_heavy_gap_wants_another_interval_than_poisson_failures():
    gap = palm_gap(read_failures("renewal weibull 8240 s shape=0.5"))

    def goodput(tau: float) -> float:
        return series_goodput(gap=gap, interval=tau, write=60.0, restart=300.0)

    found = interval.best_interval(goodput, low=10.0, high=1e5)
    assert goodput(found) > goodput(interval.optimum(write=60.0, mtbf=8240.0)) + 1e-4
    assert goodput(found) >= max(goodput(found * 0.98), goodput(found * 1.02))


# Periodic checkpoints


def naive_periodic(
    gaps: np.ndarray, tau: float, write: float, restart: float, down: float
) -> tuple[np.ndarray, np.ndarray]:
    """Kept work and wall time from failure to failure."""
    whole = np.floor(np.maximum(gaps - restart, 0) / (tau + write))
    return tau * whole, gaps + down


@pytest.mark.parametrize("case", [CALM, ROUGH])
@pytest.mark.parametrize("down", [0.0, 500.0])
def test_exact_goodput_is_that_of_a_naive_run_and_the_first_order_is_not(case, down):
    gaps = np.random.default_rng(5).exponential(case["mtbf"], 400_000)
    g, spread = ratio(*naive_periodic(gaps, case["interval"], case["write"], case["restart"], down))
    assert exact_goodput(**case, downtime=down) == pytest.approx(g, abs=spread)
    assert abs(periodic.first_order_goodput(**case, downtime=down) - g) > spread
    assert abs(exact_goodput(**case) - g) > spread or down == 0  # a downtime forgotten is found out


def naive_time(work: float, tau: float, write: float, restart: float, down: float, gap: Callable[[], float]) -> float:
    """Wall time until the work is done, second for second."""
    now, done, left = 0.0, 0.0, gap()
    while done < work - 1e-9:
        need = min(tau, work - done) + write
        while left < need:
            now, left = now + left + down, gap()
            while left < restart:
                now, left = now + left + down, gap()
            now, left = now + restart, left - restart
        now, left, done = now + need, left - need, done + need - write
    return now


def test_expected_time_with_a_shorter_last_segment_is_that_of_a_naive_run():
    gap = draw_gaps(1350.0)
    times = np.array([naive_time(2000.0, 900.0, 300.0, 600.0, 50.0, gap) for _ in range(20_000)])
    spread = Z * times.std() / math.sqrt(len(times))
    exact = expected_time(work=2000.0, **ROUGH, downtime=50.0)
    assert exact == pytest.approx(times.mean(), abs=spread)
    assert abs(2000.0 / exact_goodput(**ROUGH, downtime=50.0) - times.mean()) > spread


@pytest.mark.filterwarnings("error")
def test_work_without_end_is_without_end_and_without_a_warning():
    assert expected_time(work=2000.0, interval=900.0, write=300.0, restart=600.0, mtbf=1e-3) == math.inf
    assert expected_time(work=1800.0, interval=900.0, write=300.0, restart=600.0, mtbf=1e-3) == math.inf
    for repeats in ([3, 1], [0, 1], [3, 0]):
        found = counts.failures_until_done(lengths=[10.0, 5.0], repeats=repeats, restart=20.0, mtbf=1e-3)
        assert found == (math.inf, math.inf, math.inf)


def test_whole_segments_take_work_over_goodput():
    assert expected_time(work=9000.0, **ROUGH) == pytest.approx(9000.0 / exact_goodput(**ROUGH), rel=1e-12)
    assert expected_time(work=1.0, interval=1.0, write=1e7, mtbf=1.0) == math.inf


def as_series(gap: Gap) -> Gap:
    """An exponential gap that the series does not know to be one."""
    return Gap(mean=gap.mean, survival=gap.survival, excess=gap.excess)


@settings(derandomize=True, deadline=None)
@given(tau=st.floats(-6, 2).map(lambda x: 10**x), write=st.floats(0, 1), restart=st.floats(0, 2), down=st.floats(0, 2))
def test_the_series_summed_term_by_term_is_dalys_closed_form(tau, write, restart, down):
    """From 60 million terms, of which 131,072 are summed, to one."""
    gap = as_series(exponential_gap(1.0))
    write *= tau
    exact = exact_goodput(interval=tau, write=write, mtbf=1.0, restart=restart, downtime=down)
    found = series_goodput(gap=gap, interval=tau, write=write, restart=restart, downtime=down)
    assert found == pytest.approx(exact, rel=1e-8, abs=1e-30)
    assert 1 < TERMS < 1e6


@pytest.mark.parametrize("law", ["weibull 8240 s shape=0.7", "lognormal 8240 s scv=4", "pareto 8240 s shape=1.6"])
def test_any_renewal_law_has_the_goodput_of_a_naive_run(law):
    process = read_failures(f"renewal {law}")
    gaps = process.law("gap").sample(1_000_000, np.random.default_rng(2))
    naive, spread = ratio(*naive_periodic(gaps, 994.4, 60.0, 300.0, 0.0))
    g = series_goodput(gap=palm_gap(process), interval=994.4, write=60.0, restart=300.0)
    if "pareto" not in law:  # whose kept work has no variance
        assert g == pytest.approx(naive, abs=spread)
        assert abs(exact_goodput(**CALM) - naive) > spread or "weibull" not in law
    ends = 360.0 + 994.4 + (994.4 + 60.0) * np.arange(2_000_000)
    direct = 994.4 * process.law("gap").survival(ends).sum() / 8240
    left = float(process.law("gap").excess(ends[-1])) / 8240
    assert direct * (1 - 1e-12) <= g <= (direct + left) * (1 + 1e-12)


def test_goodput_vanishes_without_an_overflow():
    assert exact_goodput(interval=1e6, write=1.0, mtbf=1.0) == 0
    assert exact_goodput(interval=1.0, write=1.0, mtbf=1.0, restart=1e6) == 0
    gap = palm_gap(read_failures("stationary 100 weibull 100 s shape=0.7"))
    assert series_goodput(gap=gap, interval=1e6, write=1.0) == 0


# The gap after a failure

PROCESSES = [
    "renewal gamma 100 s scv=0.3",
    "stationary 3 weibull 300 s shape=0.5",
    "stationary 500 gamma 1 day scv=0.4",
    "bursts 6 h mtbf_storm=10 min calm=24 h storm=1 h",
    "pairs 1 lifetime=100 s",
    "pairs 300 lifetime=1 day",
]


@pytest.mark.parametrize("text", PROCESSES)
def test_the_excess_of_a_gap_is_the_integral_of_its_survival(text):
    process = read_failures(text)
    gap = palm_gap(process)
    assert gap.mean == pytest.approx(process.mtbf, rel=1e-12)
    assert float(gap.excess(0.0)) == pytest.approx(gap.mean, rel=1e-12)
    assert float(gap.survival(0.0)) == pytest.approx(1.0, rel=1e-12)
    for low, high in ((0.3, 0.7), (1.0, 2.5)):
        area, _ = integrate.quad(lambda t, s=gap.survival: float(s(t)), low * gap.mean, high * gap.mean, epsabs=0)
        found = float(gap.excess(low * gap.mean) - gap.excess(high * gap.mean))
        assert found == pytest.approx(area, rel=1e-9)


def test_nodes_of_all_ages_have_the_gaps_of_a_naive_fleet():
    """Three nodes with Weibull lifetimes of shape 0.5, a long time after they were new."""
    rng = np.random.default_rng(3)
    deaths = (300.0 / 2 * rng.standard_exponential((3, 400_000)) ** 2).cumsum(axis=1)
    end = deaths[:, -1].min()
    found = np.diff(np.sort(deaths[(deaths > end / 10) & (deaths < end)]))
    gap = palm_gap(read_failures("stationary 3 weibull 300 s shape=0.5"))
    blocks = found[: len(found) // 500 * 500].reshape(500, -1)  # gaps are dependent: batch means
    for t in (5.0, 60.0, 300.0):
        shares = (blocks > t).mean(axis=1)
        spread = Z * shares.std(ddof=1) / math.sqrt(500)
        assert float(gap.survival(t)) == pytest.approx(shares.mean(), abs=spread)
        assert abs(math.exp(-t / 100) - shares.mean()) > spread  # Poisson it is not
    kept = np.floor(np.maximum(blocks - 10, 0) / 22) * 20
    g = kept.mean(axis=1) / 100
    exact = series_goodput(gap=gap, interval=20.0, write=2.0, restart=10.0)
    assert exact == pytest.approx(g.mean(), abs=Z * g.std(ddof=1) / math.sqrt(500))


def test_one_node_of_all_ages_is_a_renewed_platform_and_exponential_ones_are_poisson():
    t = np.array([1.0, 50.0, 400.0])
    one, law = palm_gap(read_failures("stationary 1 lognormal 100 s scv=2")), LogNormal("100 s", scv=2)
    assert one.survival(t) == pytest.approx(law.survival(t), rel=1e-12)
    for text in ("stationary 10 exponential 1000 s", "new 10 exponential 1000 s", "exponential 100 s"):
        assert palm_gap(read_failures(text)).survival(t) == pytest.approx(np.exp(-t / 100), rel=1e-12)
    with pytest.raises(InputError, match="stationary"):
        palm_gap(read_failures("new 10 weibull 1000 s shape=0.7"))


def test_the_gap_of_bursts_is_the_matrix_exponential_from_the_phase_after_a_failure():
    gap = palm_gap(read_failures("bursts 6 h mtbf_storm=10 min calm=24 h storm=1 h"))
    fail, leave = np.array([1 / 21_600, 1 / 600]), np.array([1 / 86_400, 1 / 3600])
    generator = np.diag(-fail - leave) + np.array([[0, leave[0]], [leave[1], 0]])
    after = np.array([24 / 21_600, 1 / 600]) / (24 / 21_600 + 1 / 600)
    for t in (0.0, 60.0, 3600.0, 1e5):
        assert float(gap.survival(t)) == pytest.approx((after @ linalg.expm(generator * t)).sum(), rel=1e-10)


# Renewal function


def test_renewals_of_exponential_and_erlang_lifetimes_are_the_closed_ones():
    t = np.array([1e-3, 0.1, 1.0, 7.0, 50.0])
    assert renewal_function(t, law=Exponential("2 s")) == pytest.approx(t / 2, rel=1e-9)
    erlang = t - 0.25 + np.exp(-4 * t) / 4
    assert renewal_function(t[2:], law=Erlang("1 s", stages=2)) == pytest.approx(erlang[2:], rel=1e-5)
    assert float(renewal_function(0.1, law=Gamma("1 s", scv=0.5))) == pytest.approx(erlang[1], rel=1e-5)


def test_renewals_at_small_times_begin_with_the_powers_of_the_failure_probability():
    """``H = F + F*F + ...``; for Weibull ``F*F ~ a^2 t^2k Gamma(k+1)^2 / Gamma(2k+1)`` with ``F ~ a t^k``."""
    law, k = Weibull("1 s", shape=0.7), 0.7
    for t in (1e-4, 1e-3):
        u = (t / law.scale) ** k
        first, twice = u - u**2 / 2, u**2 * math.gamma(k + 1) ** 2 / math.gamma(2 * k + 1)
        # what is left is of third order: no third convolution, cubic term of F, or mixed one exceeds u^3
        assert float(renewal_function(t, law=law)) == pytest.approx(first + twice, abs=2 * u**3)
        assert abs(float(renewal_function(t, law=law)) - first) > 2 * u**3  # one convolution forgotten


def test_new_nodes_fail_twice_as_often_in_54_days_as_their_long_run_rate_tells():
    """2,048 nodes of Weibull lifetimes, shape .7 and mean 6,000 h (250 days): factor 1.99."""
    law, days = Weibull("6000 h", shape=0.7), 54 * 86_400.0
    expected = 2048 * float(renewal_function(days, law=law))
    assert expected / (2048 * days / (6000 * 3600)) == pytest.approx(1.99, abs=0.01)
    rng = np.random.default_rng(4)
    lives = law.sample(200_000 * 12, rng).reshape(200_000, 12).cumsum(axis=1)
    naive = (lives <= days).sum(axis=1)
    assert naive.max() < 12
    assert expected / 2048 == pytest.approx(naive.mean(), abs=Z * naive.std() / math.sqrt(len(naive)))
    new, _ = renewal_spread(days, law=law)
    # the standard error of a variance, from the fourth moment
    fourth = ((naive - naive.mean()) ** 4).mean() - naive.var() ** 2
    assert new == pytest.approx(naive.var(), abs=Z * math.sqrt(fourth / len(naive)))


def test_a_locally_poisson_run_of_new_nodes_is_near_a_naive_one():
    """500 nodes of shape .7 for 20 days: within half a percent, where the long run's rate is 8 % off."""
    process = read_failures("new 500 weibull 1500 h shape=0.7")
    times = {"interval": 1000.0, "write": 60.0, "restart": 300.0}
    end, rng, found = 20 * 86_400.0, np.random.default_rng(7), []
    for _ in range(60):
        lives = process.law("lifetime").sample(500 * 40, rng).reshape(500, 40).cumsum(axis=1)
        gaps = np.diff(np.sort(lives[lives < end]), prepend=0.0, append=end)
        found.append((1000 * np.floor(np.maximum(gaps - 300, 0) / 1060)).sum() / end)
    run = aging_run(
        process=process,
        duration=end,
        downtime=lambda m: 0.0,
        cycle=lambda m: blocking_cycle(gap=exponential_gap(m), downtime=0.0, **times),
    )
    assert run.wall == pytest.approx(end, rel=1e-9)
    assert run.failures == pytest.approx(500 * float(renewal_function(end, law=process.law("lifetime"))), rel=1e-3)
    assert run.shares["goodput"] == pytest.approx(np.mean(found), abs=0.005)
    long_run = exact_goodput(mtbf=process.mtbf, **times)
    assert long_run - np.mean(found) > 0.03


def test_work_for_which_new_nodes_leave_no_time_has_no_end():
    process, times = read_failures("new 500 weibull 1500 h shape=0.7"), {"write": 60.0, "restart": 0.0}
    run = aging_run(
        process=process,
        work=1e8,
        downtime=lambda m: 0.0,
        cycle=lambda m: blocking_cycle(gap=exponential_gap(m), interval=1e8, downtime=0.0, **times),
    )
    assert (run.wall, run.failures, run.shares["goodput"]) == (math.inf, math.inf, 0.0)


# Counts


def test_poisson_counts_are_poissons():
    found = counts.failures_over(process=read_failures("exponential 100 s"), horizon=4000.0)
    law = stats.poisson(40)
    assert (found.mean, found.p5, found.p95) == (pytest.approx(40), law.ppf(0.05), law.ppf(0.95))
    assert counts.failures_over(process=read_failures("stationary 4 exponential 400 s"), horizon=4000.0).p95 == law.ppf(
        0.95
    )


def check_counts(text: str, naive: np.ndarray, horizon: float, downtime: float, slack: int) -> None:
    """Mean within its interval; the quantiles' levels within theirs, ``slack`` failures to either side."""
    found = counts.failures_over(process=read_failures(text), horizon=horizon, downtime=downtime)
    n = len(naive)
    assert found.mean == pytest.approx(naive.mean(), abs=Z * naive.std() / math.sqrt(n))
    for level, at in ((0.05, found.p5), (0.95, found.p95)):
        spread = Z * math.sqrt(level * (1 - level) / n)
        assert (naive <= at + slack).mean() >= level - spread
        assert (naive <= at - 1 - slack).mean() < level + spread


def test_counts_with_a_downtime_are_those_of_a_naive_run():
    """Exponential gaps of 100 s, each failure followed by 60 s; the stopped clock lets fewer happen."""
    rng = np.random.default_rng(8)
    strikes = rng.exponential(100.0, (40_000, 80)).cumsum(axis=1) + 60.0 * np.arange(80)
    naive = (strikes <= 4000.0).sum(axis=1)
    check_counts("exponential 100 s", naive, 4000.0, 60.0, slack=0)
    assert naive.mean() < 27


@pytest.mark.parametrize("text", ["renewal gamma 100 s scv=2", "renewal weibull 100 s shape=0.7"])
def test_counts_of_a_renewed_platform_are_those_of_a_naive_run(text):
    """Exact for gamma; within one failure for Weibull."""
    process = read_failures(text)
    gaps = process.law("gap").sample(20_000 * 150, np.random.default_rng(9)).reshape(20_000, 150)
    naive = (gaps.cumsum(axis=1) <= 4000.0).sum(axis=1)
    assert naive.max() < 150
    check_counts(text, naive, 4000.0, 0.0, slack=0 if "gamma" in text else 1)


def test_counts_of_bursts_are_those_of_a_naive_run_and_wider_than_poissons():
    text = "bursts 100 s mtbf_storm=5 s calm=500 s storm=50 s"
    rng = np.random.default_rng(10)
    runs, naive = 20_000, np.zeros(20_000)
    state, now = (rng.random(runs) < 50 / 550).astype(int), np.zeros(runs)
    while (now < 3000).any():
        stay = np.minimum(rng.exponential(np.array([500.0, 50.0])[state]), np.maximum(3000 - now, 0))
        naive += rng.poisson(stay / np.array([100.0, 5.0])[state])
        now, state = now + stay, 1 - state
    check_counts(text, naive, 3000.0, 0.0, slack=0)
    found = counts.failures_over(process=read_failures(text), horizon=3000.0)
    assert found.p95 > stats.poisson(found.mean).ppf(0.95) + 15


def test_counts_of_nodes_of_all_ages_are_those_of_a_naive_fleet():
    """50 nodes: found 100 mean lifetimes after they were new."""
    rng = np.random.default_rng(11)
    lives = rng.weibull(0.7, (400, 50, 160)) * (100.0 / math.gamma(1 + 1 / 0.7))
    deaths = lives.cumsum(axis=2)
    assert deaths[:, :, -1].min() > 6_500
    windows = [((deaths > at) & (deaths <= at + 100)).sum(axis=(1, 2)) for at in range(4000, 6400, 400)]
    check_counts("stationary 50 weibull 100 s shape=0.7", np.concatenate(windows), 100.0, 0.0, slack=1)


def test_a_law_without_a_variance_has_no_spread():
    found = counts.failures_over(process=read_failures("renewal pareto 100 s shape=1.5"), horizon=1e5)
    assert math.isnan(found.p5)
    assert found.mean_standing.outside


def test_failures_until_the_work_is_done_are_those_of_a_naive_run():
    rng = np.random.default_rng(12)
    first, again = math.exp(-0.3), math.exp(-0.5)
    failed = rng.random((30_000, 20)) > first
    naive = np.where(failed, rng.geometric(again, failed.shape), 0).sum(axis=1)
    mean, low, high = counts.failures_until_done(lengths=[30.0], repeats=[20], restart=20.0, mtbf=100.0)
    assert mean == pytest.approx(naive.mean(), abs=Z * naive.std() / math.sqrt(30_000))
    for level, at in ((0.05, low), (0.95, high)):
        spread = Z * math.sqrt(level * (1 - level) / 30_000)
        assert (naive <= at).mean() >= level - spread
        assert (naive < at).mean() < level + spread


# Asynchronous checkpoints


def naive_async(gap: float, tau: float, pause: float, drain: float, restart: float) -> float:
    """Work that is durable before a gap is over, event by event."""
    now, copied, free, kept = restart, 0.0, 0.0, 0.0
    pending: list[tuple[float, float]] = []
    while now < gap:
        copied += tau
        now = max(now + tau, free) + pause
        free = now + drain
        pending.append((free, copied))
    for durable, amount in pending:
        if durable < gap:
            kept = amount
    return kept


@pytest.mark.parametrize("drain", [0.0, 150.0, 203.0, 700.0])
def test_async_goodput_is_that_of_a_naive_run_with_one_buffer(drain):
    gaps = np.random.default_rng(13).exponential(2000.0, 30_000)
    kept = np.array([naive_async(g, 200.0, 5.0, drain, 100.0) for g in gaps.tolist()])
    g, spread = ratio(kept, gaps + 40.0)
    times = {"interval": 200.0, "pause": 5.0, "drain": drain, "restart": 100.0, "downtime": 40.0}
    assert async_goodput(**times, mtbf=2000.0) == pytest.approx(g, abs=spread)
    cycle = async_cycle(gap=as_series(exponential_gap(2000.0)), **times)
    assert cycle.goodput == pytest.approx(async_goodput(**times, mtbf=2000.0), rel=1e-8)
    assert sum(cycle.shares.values()) == pytest.approx(1.0)
    if drain > 205:  # as if the drain did not hold training up
        free = 200 / 2040 * math.exp(-(100 + drain + 205) / 2000) / -math.expm1(-205 / 2000)
        assert abs(free - g) > spread


def test_async_with_a_weibull_gap_is_that_of_a_naive_run():
    process = read_failures("renewal weibull 2000 s shape=0.6")
    gaps = process.law("gap").sample(30_000, np.random.default_rng(14))
    kept = np.array([naive_async(g, 200.0, 5.0, 300.0, 100.0) for g in gaps.tolist()])
    g, spread = ratio(kept, gaps)
    cycle = async_cycle(gap=palm_gap(process), interval=200.0, pause=5.0, drain=300.0, restart=100.0, downtime=0.0)
    assert cycle.goodput == pytest.approx(g, abs=spread)


def naive_async_time(
    work: float, tau: float, pause: float, drain: float, restart: float, down: float, gap: Callable[[], float]
) -> float:
    """Wall time until all work is durable: after each failure the moments at which the rest would be."""
    left, wall, back = work, 0.0, 0.0
    while True:
        end, now, free, kept, rest = gap(), back, 0.0, 0.0, left
        while rest > 1e-9:
            piece = min(tau, rest)
            now = max(now + piece, free) + pause
            free, rest = now + drain, rest - piece
            kept += piece if free <= end else 0.0
        if free <= end:
            return wall + free
        wall, left, back = wall + end + down, left - kept, restart


@pytest.mark.parametrize(("work", "drain"), [(1500.0, 250.0), (1210.0, 700.0), (1200.0, 900.0), (400.0, 900.0)])
def test_the_time_until_async_work_is_durable_is_that_of_a_naive_run(work, drain):
    """A shorter last interval, a drain that holds training up, all the work in less than an interval."""
    gap, times = draw_gaps(1500.0), {"pause": 20.0, "drain": drain, "restart": 200.0}
    walls = np.array([naive_async_time(work, 600.0, *times.values(), 50.0, gap) for _ in range(20_000)])
    spread = Z * walls.std() / math.sqrt(len(walls))
    found = async_run(work=work, interval=600.0, mtbf=1500.0, downtime=50.0, **times)
    assert work / found.goodput == pytest.approx(walls.mean(), abs=spread)
    assert sum(found.shares.values()) == pytest.approx(1.0)
    long_run = async_goodput(interval=600.0, mtbf=1500.0, downtime=50.0, **times)
    assert abs(work / long_run - walls.mean()) > spread  # without the start and the end


def test_async_work_of_many_intervals_takes_its_time_at_the_goodput_of_the_long_run():
    """What the start and the end take does not grow with the work."""
    times = {"interval": 200.0, "pause": 5.0, "drain": 300.0, "restart": 100.0, "downtime": 40.0, "mtbf": 2000.0}
    many, more = (n * 200.0 / async_run(work=n * 200.0, **times).goodput for n in (1_000, 3_000))
    assert more - many == pytest.approx(2_000 * 200.0 / async_goodput(**times), rel=1e-10)
    calm = async_run(work=1000.0, **times | {"mtbf": 1e20})  # 5 pauses, 4 waits of 100 s for the drain, the last drain
    assert calm.shares["checkpoint_share"] == pytest.approx(725 / 1725, rel=1e-12)


def test_async_without_a_drain_is_blocking():
    assert async_goodput(interval=994.4, pause=60.0, drain=0.0, restart=300.0, mtbf=8240.0) == pytest.approx(
        exact_goodput(**CALM), rel=1e-12
    )


def test_the_first_order_of_async_checkpoints_is_off_by_second_order():
    """Ten times smaller against the MTBF, a hundred times smaller an error (with a pause that is free)."""
    off = []
    for scale in (1e-3, 1e-4):
        times = {"interval": scale, "pause": 0.0, "drain": scale / 2, "restart": scale, "downtime": 0.0}
        off.append(async_goodput(**times, mtbf=1.0) - async_first_order(**times, mtbf=1.0))
    assert 0 < off[0] < (2 * 1e-3) ** 2
    assert off[1] / off[0] == pytest.approx(0.01, rel=0.01)


# Two levels


def naive_two_level(levels: TwoLevels, tau: float, every: int, cycles: int, seed: int) -> tuple[np.ndarray, ...]:
    """Wall time of each cycle from durable to durable checkpoint, state by state."""
    rng = np.random.default_rng(seed)
    walls = np.empty(cycles)
    for c in range(cycles):
        wall, done, restart, lost = 0.0, 0, 0.0, False
        while done <= every:
            length = tau + levels.write if done < every else levels.durable_write
            left = rng.exponential(levels.mtbf)
            if left >= restart:
                lost, left, wall, restart = False, left - restart, wall + restart, 0.0
                while done <= every and left >= length:
                    wall, left, done = wall + length, left - length, done + 1
                    length = tau + levels.write if done < every else levels.durable_write
                if done > every:
                    break
            wall += left + levels.downtime
            lost = lost or rng.random() >= levels.light_share
            restart = levels.restart if lost else levels.light_restart
            done = 0 if lost else done
        walls[c] = wall
    return np.full(cycles, every * tau), walls


@pytest.mark.parametrize("share", [0.3, 0.85, 1.0])
def test_two_levels_are_those_of_a_naive_run(share):
    levels = TwoLevels(
        write=10.0,
        durable_write=150.0,
        light_share=share,
        light_restart=80.0,
        restart=400.0,
        downtime=50.0,
        mtbf=1500.0,
    )
    g, spread = ratio(*naive_two_level(levels, 300.0, 4, 12_000, seed=15))
    cycle = levels.cycle(interval=300.0, every=4)
    assert cycle.goodput == pytest.approx(g, abs=spread)
    assert abs(levels.first_order(interval=300.0, every=4) - g) > spread
    assert levels.expected_time(work=2400.0, interval=300.0, every=4) == pytest.approx(2400 / cycle.goodput, rel=1e-9)


def test_two_levels_with_one_kind_of_failure_are_one_level():
    same = {"light_share": 1.0, "light_restart": 300.0, "restart": 9.0, "downtime": 70.0, "mtbf": 8240.0}
    light = TwoLevels(write=60.0, durable_write=0.0, **same)
    assert light.cycle(interval=994.4, every=7).goodput == pytest.approx(
        exact_goodput(**CALM, downtime=70.0), rel=1e-12
    )
    hard = same | {"light_share": 1e-300, "light_restart": 9.0, "restart": 300.0}
    durable = TwoLevels(write=0.0, durable_write=60.0, **hard)
    assert durable.cycle(interval=497.2, every=2).goodput == pytest.approx(
        exact_goodput(**CALM, downtime=70.0), rel=1e-12
    )
    assert durable.expected_time(work=3000.0, interval=497.2, every=2) == pytest.approx(
        expected_time(work=3000.0, **CALM, downtime=70.0), rel=1e-9
    )


@pytest.mark.parametrize("mtbf", [1e12, 1e16, 1e18, 1e20, 1e25])
def test_nothing_cancels_where_failures_never_come(mtbf):
    """What is left out, the times over the MTBF, is below 1e-8 here."""
    levels = TwoLevels(
        write=10.0, durable_write=150.0, light_share=0.3, light_restart=80.0, restart=400.0, downtime=50.0, mtbf=mtbf
    )
    assert levels.cycle(interval=300.0, every=4).goodput == pytest.approx(1200 / 1390, rel=5e3 / mtbf + 1e-12)
    path = {"busy": 0.5, "other_write": 20.0}  # whose wait is 10 s
    queued = shared_storage.queueing_cycle(interval=300.0, write=10.0, restart=400.0, downtime=50.0, mtbf=mtbf, **path)
    assert queued.goodput == pytest.approx(300 / 320, rel=5e3 / mtbf + 1e-12)
    assert queued.shares["checkpoint_share"] == pytest.approx(20 / 320, rel=5e3 / mtbf + 1e-12)
    errors = {"silent_mtbf": 1e4, "verify": 20.0, "write": 10.0, "restart": 400.0}
    rare = silent.silent_cycle(interval=300.0, mtbf=mtbf, downtime=50.0, **errors)
    known = silent.silent_segment_time(interval=300.0, silent_rate=1e-4, **{k: errors[k] for k in list(errors)[1:]})
    assert rare.goodput == pytest.approx(300 / known, rel=5e3 / mtbf + 1e-12)


def test_hard_failures_keep_their_digits_at_any_mtbf():
    """The restart share times the MTBF tends to the mean restart: it is made of nothing but failures."""
    for mtbf in (1e10, 1e15, 1e20):
        levels = TwoLevels(
            write=0.0, durable_write=0.0, light_share=0.25, light_restart=80.0, restart=400.0, downtime=0.0, mtbf=mtbf
        )
        share = levels.cycle(interval=300.0, every=4).shares["restart_share"]
        assert share * mtbf == pytest.approx(0.25 * 80 + 0.75 * 400, rel=1e4 / mtbf + 1e-12)


def test_the_overhead_of_levels_is_what_the_first_order_leaves_at_its_best():
    tau, every = best_levels(light_rate=8e-5, hard_rate=5e-6, write=20.0, durable_write=320.0)
    assert every == pytest.approx(16.0)
    levels = TwoLevels(
        write=20.0,
        durable_write=320.0,
        light_share=8e-5 / 8.5e-5,
        light_restart=0.0,
        restart=0.0,
        downtime=0.0,
        mtbf=1 / 8.5e-5,
    )
    least = levels_overhead(rates=[8e-5, 5e-6], writes=[20.0, 320.0], restarts=[0.0, 0.0])
    assert 1 - levels.first_order(interval=tau, every=16) == pytest.approx(least, rel=1e-9)
    assert 1 - levels.first_order(interval=tau, every=13) > least


# Silent errors


def naive_silent(w: float, v: float, c: float, silent: float, stop: float, r: float, d: float, n: int) -> np.ndarray:
    rng = np.random.default_rng(16)
    walls = np.empty(n)
    for k in range(n):
        wall, restart = 0.0, 0.0
        while True:
            left = rng.exponential(stop)
            if left < restart + w + v:
                wall, restart = wall + left + d, r
                continue
            if rng.exponential(silent) < w:
                # what is left of the gap is as good as new
                wall, restart = wall + restart + w + v, r
                continue
            if left < restart + w + v + c:
                wall, restart = wall + left + d, r
                continue
            walls[k] = wall + restart + w + v + c
            break
    return walls


def test_silent_errors_and_failures_together_take_the_time_of_a_naive_run():
    walls = naive_silent(500.0, 30.0, 60.0, 2000.0, 1500.0, 200.0, 100.0, 30_000)
    cycle = silent.silent_cycle(
        interval=500.0, verify=30.0, write=60.0, silent_mtbf=2000.0, mtbf=1500.0, restart=200.0, downtime=100.0
    )
    spread = Z * walls.std() / math.sqrt(len(walls))
    assert 500 / cycle.goodput == pytest.approx(walls.mean(), abs=spread)
    assert sum(cycle.shares.values()) == pytest.approx(1.0)
    alone = silent.silent_segment_time(interval=500.0, verify=30.0, write=60.0, silent_rate=1 / 2000, restart=200.0)
    assert walls.mean() - alone > spread


def test_silent_errors_alone_and_failures_alone_are_the_known_forms():
    times = {"interval": 500.0, "verify": 30.0, "write": 60.0, "restart": 200.0}
    only = silent.silent_cycle(silent_mtbf=2000.0, mtbf=1e13, **times)
    assert 500 / only.goodput == pytest.approx(silent.silent_segment_time(silent_rate=1 / 2000, **times), rel=1e-9)
    stops = silent.silent_cycle(silent_mtbf=1e16, mtbf=1500.0, downtime=100.0, **times)
    exact = exact_goodput(interval=500.0, write=90.0, restart=200.0, downtime=100.0, mtbf=1500.0)
    assert stops.goodput == pytest.approx(exact, rel=1e-9)


def test_the_silent_optimum_is_the_best_of_first_order_and_near_the_exact_best():
    rates = {"silent_rate": 1e-6, "write": 30.0, "verify": 10.0}
    best = silent.silent_optimum(failure_rate=2e-6, **rates)
    near = [silent.silent_first_order(interval=best * f, mtbf=5e5, **rates) for f in (0.9, 1.0, 1.1)]
    assert max(near) == near[1]
    exact = interval.best_interval(
        lambda w: silent.silent_cycle(interval=w, write=30.0, verify=10.0, silent_mtbf=1e6, mtbf=5e5).goodput,
        low=100.0,
        high=1e5,
    )
    assert best == pytest.approx(exact, rel=2 * best / 5e5 + 0.01)


# Spares


def dense_availability(load: float, spare: int, crews: int) -> float:
    size = spare + 2
    generator = np.zeros((size, size))
    for k in range(size - 1):
        generator[k, k + 1] = load
        generator[k + 1, k] = min(k + 1, crews)
    generator -= np.diag(generator.sum(axis=1))
    pi = linalg.null_space(generator.T)[:, 0]
    return float(1 - pi[-1] / pi.sum())


@pytest.mark.parametrize(("load", "spare", "crews"), [(0.3, 0, 1), (2.0, 4, 1), (2.0, 4, 3), (8.0, 12, 99)])
def test_availability_is_the_balance_of_the_dense_chain(load, spare, crews):
    exact = dense_availability(load, spare, crews)
    found = spares.availability_with_crews(mtbf=1.0, repair=load, spares=spare, crews=crews)
    assert found == pytest.approx(exact, rel=1e-9)
    assert found <= spares.most_available(mtbf=1.0, repair=load, spares=spare, crews=crews) + 1e-12
    if crews > spare:
        assert spares.availability(mtbf=1.0, repair=load, spares=spare) == pytest.approx(exact, rel=1e-9)
    assert abs(spares.availability(mtbf=1.0, repair=load, spares=spare + 1) - exact) > 1e-3


def test_spares_needed_is_the_first_number_that_suffices():
    for crews in (None, 4):
        need = spares.spares_needed(mtbf=1.0, repair=3.0, target=0.99, crews=crews)
        at = [dense_availability(3.0, s, crews or 999) for s in (need - 1, need)]
        assert at[0] < 0.99 <= at[1]
    with pytest.raises(InfeasibleError, match="4 crews"):
        spares.spares_needed(mtbf=1.0, repair=3.0, target=0.99, crews=2)


@pytest.mark.parametrize("crews", [None, 1])
def test_the_wait_for_a_repair_is_that_of_a_naive_run(crews):
    """Detection 0.5, replacement 0.3, one failure a second of running time; repairs of 2 s."""
    rng = np.random.default_rng(17)
    n, most = 60_000, crews or 99
    waits, down = np.zeros(n), 0

    def repairs(down: int, time: float) -> int:
        while down:
            left = rng.exponential(2.0 / min(down, most))
            if left > time:
                return down
            time, down = time - left, down - 1
        return 0

    for k in range(n):
        down = repairs(down, rng.exponential(1.0))
        down = repairs(down, 0.5) + 1
        if down > 2:
            waits[k] = rng.exponential(2.0 / min(down, most))
            down -= 1
        down = repairs(down, 0.3)
    blocks = waits.reshape(300, -1).mean(axis=1)
    found = spares.wait_for_repair(mtbf=1.0, repair=2.0, spares=2, crews=crews, detection=0.5, replacement=0.3)
    spread = Z * blocks.std(ddof=1) / math.sqrt(300)
    assert found == pytest.approx(blocks.mean(), abs=spread)
    assert abs(spares.wait_for_repair(mtbf=1.0, repair=2.0, spares=2, crews=crews) - blocks.mean()) > spread


@pytest.mark.parametrize("crews", [None, 2])
def test_without_a_downtime_the_wait_is_that_of_the_availability(crews):
    a = dense_availability(2.5, 3, crews or 99)
    assert spares.wait_for_repair(mtbf=1.0, repair=2.5, spares=3, crews=crews) == pytest.approx(1 / a - 1, rel=1e-9)


def test_the_availability_does_not_depend_on_the_law_of_the_repair():
    """Constant repairs of 2 s, two spares, one failure a second of running time: a loss system run naively."""
    rng = np.random.default_rng(18)
    out, waits, now = [], np.zeros(40_000), 0.0
    for k in range(40_000):
        now += rng.exponential(1.0)
        out = [t for t in out if t > now] + [now + 2.0]
        if len(out) > 2:
            waits[k] = min(out) - now
            now = out.pop(out.index(min(out)))
    blocks = waits.reshape(200, -1).mean(axis=1)
    a = spares.availability(mtbf=1.0, repair=2.0, spares=2)
    assert 1 / a - 1 == pytest.approx(blocks.mean(), abs=Z * blocks.std(ddof=1) / math.sqrt(200))


# Replication


@pytest.mark.parametrize("pairs", [1, 2, 7, 1000])
def test_the_time_to_interruption_is_the_integral_of_its_survival(pairs):
    mean, _ = integrate.quad(lambda t: (1 - (1 - math.exp(-t)) ** 2) ** pairs, 0, 60, limit=500, epsabs=0, epsrel=1e-11)
    assert replication.mean_time_to_interruption(pairs=pairs, lifetime=1.0) == pytest.approx(mean, rel=1e-9)
    assert ReplicatedPairs(pairs=pairs, lifetime="1 s").mtbf == pytest.approx(mean, rel=1e-9)


def test_a_million_pairs_are_interrupted_after_the_birthday_time():
    """``4^b / C(2b, b) -> sqrt(pi b)`` to a relative ``1/(8b)``."""
    b = 10**6
    mean = replication.mean_time_to_interruption(pairs=b, lifetime=1.0)
    assert mean == pytest.approx((1 + math.sqrt(math.pi * b) * (1 + 1 / (8 * b))) / (2 * b), rel=1e-11)


@pytest.mark.parametrize("pairs", [10**8, 10**10, 10**12])
def test_very_many_pairs_keep_their_digits(pairs):
    """Also the gap, whose excess at 0 is its mean. A difference of log gammas of 1e10 is off by 1e-5."""
    birthday = (1 + math.sqrt(math.pi * pairs) * (1 + 1 / (8 * pairs))) / (2 * pairs)
    process = ReplicatedPairs(pairs=pairs, lifetime="1 s")
    assert process.mtbf == pytest.approx(birthday, rel=1e-12)
    assert replication.mean_time_to_interruption(pairs=pairs, lifetime=1.0) == process.mtbf
    assert float(palm_gap(process).excess(0.0)) == pytest.approx(birthday, rel=1e-12)


# Shared storage


def naive_queue(
    busy: float, other: float, every: float, own: float, writes: int, rng: np.random.Generator
) -> np.ndarray:
    """Waits of a periodic write behind Poisson ones, all in the order they come."""
    work, last, waits = 0.0, 0.0, np.empty(writes)
    now = 0.0
    for k in range(writes):
        now += every
        arrivals = np.sort(rng.random(rng.poisson(busy / other * (now - last)))) * (now - last) + last
        for t in arrivals.tolist():
            work, last = max(work - (t - last), 0.0) + other, t
        waits[k] = max(work - (now - last), 0.0)
        work, last = waits[k] + own, now
    return waits


def test_a_checkpoint_waits_behind_other_writers_as_m_d_1_tells():
    waits = naive_queue(0.6, 20.0, 2000.0, 0.0, 15_000, np.random.default_rng(19))
    spread = Z * waits.std() / math.sqrt(len(waits))
    assert shared_storage.mean_storage_wait(busy=0.6, other_write=20.0) == pytest.approx(waits.mean(), abs=spread)
    for s in (1e-3, 0.05):
        seen = np.exp(-s * waits)
        found = shared_storage.storage_wait_transform(s, busy=0.6, other_write=20.0)
        assert found == pytest.approx(seen.mean(), abs=Z * seen.std() / math.sqrt(len(waits)))


def test_goodput_with_random_waits_is_that_of_a_naive_run_and_not_of_the_mean():
    """A stationary wait of M/D/1 is a geometric number of uniform rests of a write; here as long as the MTBF."""
    rng = np.random.default_rng(20)
    gaps = rng.exponential(600.0, 40_000)
    rests = rng.geometric(0.1, (40_000, 25)) - 1
    waits = np.zeros(rests.shape)
    for k in range(rests.max()):
        waits += (rests > k) * 100.0 * rng.random(rests.shape)
    ends = 50.0 + (waits + 210.0).cumsum(axis=1)
    before = ends < gaps[:, None]
    assert not before[:, -1].any()
    path = {"busy": 0.9, "other_write": 100.0}
    shares = shared_storage.queueing_cycle(
        mtbf=600.0, interval=200.0, write=10.0, restart=50.0, downtime=0.0, **path
    ).shares
    g, spread = ratio(200.0 * before.sum(axis=1), gaps)
    written, margin = ratio(((waits + 10.0) * before).sum(axis=1), gaps)
    assert shares["goodput"] == pytest.approx(g, abs=spread)
    assert shares["checkpoint_share"] == pytest.approx(written, abs=margin)
    mean = shared_storage.mean_storage_wait(**path)
    assert g - exact_goodput(interval=200.0, write=10.0 + mean, mtbf=600.0, restart=50.0) > spread


def test_an_idle_path_costs_nothing():
    found = shared_storage.queueing_cycle(**CALM, downtime=20.0, busy=1e-12, other_write=10.0)
    assert found.goodput == pytest.approx(exact_goodput(**CALM, downtime=20.0), rel=1e-9)
    assert sum(found.shares.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("x", ["1e-12", "0.00009999", "0.00010001", "0.0099999", "0.0100001", "3", "200"])
def test_the_wait_of_a_kept_segment_keeps_its_digits(x):
    """``phi`` in fifty digits, from the transform itself."""
    getcontext().prec = 60
    w, busy = Decimal(x), Decimal("0.6")
    wait = (1 - busy) / (1 - busy * (1 - (-w).exp()) / w)
    phi = (-Decimal(3) * w).exp() * wait  # interval and write are three other writes long
    found = shared_storage.queueing_cycle(
        mtbf=1.0, interval=2 * float(w), write=float(w), restart=0.0, downtime=0.0, busy=0.6, other_write=float(w)
    )
    assert found.goodput == pytest.approx(float(2 * w * phi / (1 - phi)), rel=1e-12)
    slope = (1 - (-w).exp()) / w**2 - (-w).exp() / w
    waited = busy * slope * w / (1 - busy * (1 - (-w).exp()) / w)  # E[W e^-W] / E[e^-W]
    assert found.shares["checkpoint_share"] == pytest.approx(float((w + waited) * phi / (1 - phi)), rel=1e-11)


# Where the time goes


def test_cycles_in_turn_take_the_sum_of_their_times():
    """10 s of work at a goodput of a half and 20 s at one of 0.8: 45 s; one without headway takes all the time."""
    half = Cycle(kept=2.0, checkpoint=1.0, restart=0.5, downtime=0.25, total=4.0)
    most = Cycle(kept=80.0, checkpoint=20.0, restart=0.0, downtime=0.0, total=100.0)
    both = in_turn([(10.0, half), (20.0, most)])
    assert both.goodput == pytest.approx(30 / 45)
    assert list(both.shares.values()) == pytest.approx([30 / 45, 10 / 45, 1.25 / 45, 2.5 / 45, 1.25 / 45])
    stuck = Cycle(kept=0.0, checkpoint=0.0, restart=1.0, downtime=0.0, total=2.0)
    assert in_turn([(10.0, half), (1.0, stuck), (20.0, most)]) == stuck


def test_the_shares_of_a_blocking_run_are_those_of_a_naive_one():
    """A failure moves work and writes since the last checkpoint to rework."""
    gaps = np.random.default_rng(21).exponential(1350.0, 400_000)
    whole = np.floor(np.maximum(gaps - 600, 0) / 1200)
    shares = blocking_cycle(
        gap=exponential_gap(1350.0), interval=900.0, write=300.0, restart=600.0, downtime=100.0
    ).shares
    for name, amount in {
        "goodput": 900 * whole,
        "checkpoint_share": 300 * whole,
        "restart_share": np.minimum(gaps, 600.0),
        "rework_share": np.maximum(gaps - 600, 0) - 1200 * whole,
        "downtime_share": np.full(len(gaps), 100.0),
    }.items():
        found, spread = ratio(amount, gaps + 100)
        assert shares[name] == pytest.approx(found, abs=spread)


def test_the_series_counts_segments_one_by_one():
    """A gap that is always 10 s: segments durable at 3, 5, 7 and 9 s."""
    gap = palm_gap(read_failures("renewal deterministic 10 s"))
    assert durable_segments(gap, first=3.0, period=2.0) == 4.0
