"""Controls: the wait of one server is known exactly, and takes the luck out of an estimate without moving it."""

import math

import numpy as np
import pytest
from plain_engine import PLAIN
from scipy.optimize import brentq

import secondorder as so
from secondorder.errors import InputError
from secondorder.simulate.serving.source import ServingSource
from secondorder.simulate.statistics.controls import Control, spread_of
from secondorder.simulate.statistics.histogram import histogram, pooled
from secondorder.simulate.statistics.outcome import intervals
from secondorder.simulate.statistics.quantiles import quantile_interval
from secondorder.simulate.statistics.runs import section
from secondorder.simulate.statistics.single_server import wait_law, waits

EVEN = np.full(20, 1 / 20)


def services(*, load):
    return so.Serving(
        model="llama_3_1_8b",
        accelerator="h100_sxm",
        arrivals=f"poisson {138 * load} request/s",
        lengths="input=200 output=geometric 20",
        max_num_seqs=8,
        step_time="affine 2e-3 per_prefill_token=1e-5 per_decode=1e-5",
        **PLAIN,
    )


# The law of the wait


@pytest.mark.parametrize("load", [0.2, 0.8, 0.97])
def test_the_wait_of_exponential_services_has_its_exact_law(load):
    """The services are 100,000 equally likely quantiles, whose mean is within 1e-5 of that of the law."""
    lengths = -np.log1p(-(np.arange(100_000) + 0.5) / 100_000)
    law = wait_law(load / lengths.mean(), 1.0, lengths, np.full(100_000, 1e-5))
    for share in (0.5, 0.9, 0.99):
        wait, found = law.level(share)
        assert found == pytest.approx(1 - load * math.exp(-(1 - load) * wait), abs=1e-4)


@pytest.mark.parametrize("load", [0.04, 0.3, 0.9])
def test_the_mean_wait_is_that_of_pollaczek_and_khinchine_down_to_low_loads(load):
    lengths, weights = np.array([0.5, 1.0, 2.5]), np.array([0.3, 0.5, 0.2])
    rate = load / float(lengths @ weights)
    exact = rate * float(lengths**2 @ weights) / (2 * (1 - load))
    assert wait_law(rate, 1.0, lengths, weights).mean == pytest.approx(exact, rel=3e-4)


def test_a_control_whose_known_mean_is_wrong_is_not_used():
    luck = np.random.default_rng(1).normal(size=20)
    for shift, used in ((0.0, True), (100.0, False)):
        found = spread_of(3 + 2 * luck, np.full(20, 1 / 20), [Control(each, 1, shift) for each in luck])
        assert (found.luck != 0) is used


def test_a_run_without_its_share_of_long_waits_is_corrected():
    """The mean of its control is eight standard errors off, as the spread that a lucky run shows is too small."""
    luck = 8 / math.sqrt(20) + np.random.default_rng(1).normal(size=20)
    found = spread_of(5 + 2 * luck, EVEN, [Control(each, 1, 0.0) for each in luck])
    assert np.mean(5 + 2 * luck) - found.luck == pytest.approx(5)


def test_the_wait_of_constant_services_has_the_law_of_crommelin():
    """P(W <= x) = (1 - rho) sum_k (rho (k - x))^k / k! exp(-rho (k - x)) over k up to x."""
    law = wait_law(0.7, 1.0, np.ones(1), np.ones(1))
    for share in (0.5, 0.9, 0.99):
        wait, found = law.level(share)
        terms = [
            (0.7 * (k - wait)) ** k / math.factorial(k) * math.exp(-0.7 * (k - wait)) for k in range(int(wait) + 1)
        ]
        assert found == pytest.approx(0.3 * math.fsum(terms), abs=1e-5)


@pytest.mark.parametrize("shape", [0.25, 4.0])
def test_the_wait_of_gamma_gaps_and_exponential_services_has_its_exact_law(shape):
    """GI/M/1: P(W > x) = s exp(-(1 - s) x), where s = A*(1 - s)."""
    load, lengths = 0.9, -np.log1p(-(np.arange(100_000) + 0.5) / 100_000)
    root = brentq(lambda s: (1 + (1 - s) / (load * shape)) ** -shape - s, 0.1, 0.9999)
    law = wait_law(load / lengths.mean(), 1 / shape, lengths, np.full(100_000, 1e-5))
    assert law.mean == pytest.approx(root / (1 - root), rel=1e-3)
    for share in (0.5, 0.9, 0.99):
        wait, found = law.level(share)
        assert found == pytest.approx(1 - root * math.exp(-(1 - root) * wait), abs=1e-4)


def test_the_recursion_has_the_waits_of_a_naive_server():
    rng = np.random.default_rng(3)
    arrival, service = np.cumsum(rng.exponential(size=500)), rng.exponential(0.9, size=500)
    free, naive = 0.0, []
    for at, lasts in zip(arrival, service, strict=True):
        naive.append(max(free - at, 0.0))
        free = max(free, at) + lasts
    assert waits(arrival, service) == pytest.approx(naive, abs=1e-9)


def test_a_wait_drawn_from_the_law_starts_a_queue_in_its_steady_state():
    """Over many short runs the share within a quantile is that of the law, from the first customer to the last."""
    law, runs, late = wait_law(0.9, 1.0, np.ones(1), np.ones(1)), 4_000, 0
    most, share = law.level(0.9)
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        arrival = np.cumsum(rng.exponential(1 / 0.9, 20))
        late += bool(waits(arrival, np.ones(20), law.sample(rng))[-1] > most)
    assert abs(late / runs - (1 - share)) < 3.5 * math.sqrt(share * (1 - share) / runs)


def test_a_load_of_one_has_no_law_of_the_wait():
    with pytest.raises(InputError, match="load"):
        wait_law(1.0, 1.0, np.ones(1), np.ones(1))


# What a control takes out


def test_a_control_that_says_nothing_is_not_used():
    rng = np.random.default_rng(1)
    values = rng.normal(size=20)
    controls = [Control(each, 1, 0.0) for each in rng.normal(size=20)]
    assert spread_of(values, EVEN, controls) == spread_of(values, EVEN)


def test_a_control_that_one_section_decides_widens_no_interval():
    """One section has all the waits, and what is left of the others is noise: without the control the error is less."""
    rng = np.random.default_rng(7)
    for power in (1.0, 3.0, 10.0):
        luck = np.append(rng.normal(size=19) / 100, power)
        values = luck + rng.normal(size=20) / 3
        controls = [Control(each, 1, 0.0) for each in luck]
        assert spread_of(values, EVEN, controls).error <= spread_of(values, EVEN).error
    alike = [Control(float(place == 0), 1, 0.0) for place in range(20)]
    assert spread_of(values, EVEN, alike) == spread_of(values, EVEN)


def test_controlled_intervals_hold_the_truth_and_are_shorter():
    """Normal values, three quarters of whose variance the control explains: the interval is exact."""
    rng, held, shorter, trials = np.random.default_rng(2), 0, 0, 2_000
    for _ in range(trials):
        luck, rest = rng.normal(size=(2, 20))
        values, controls = 5 + math.sqrt(3) * luck + rest, [Control(each, 1, 0.0) for each in luck]
        with_it, alone = spread_of(values, EVEN, controls), spread_of(values, EVEN)
        held += abs(values.mean() - with_it.luck - 5) <= 2.1009 * with_it.error  # Student's, 18 degrees of freedom
        shorter += with_it.error < alone.error
    assert abs(held / trials - 0.95) < 3 * math.sqrt(0.95 * 0.05 / trials)
    assert shorter / trials > 0.97


def test_a_wrong_mean_of_a_control_moves_the_estimate():
    rng = np.random.default_rng(4)
    luck = rng.normal(size=20)
    values = 5 + luck + rng.normal(size=20) / 3
    wrong = spread_of(values, EVEN, [Control(each, 1, 1.0) for each in luck])
    assert abs(values.mean() - wrong.luck - 5) > 5 * wrong.error


def test_a_controlled_quantile_of_one_queue_is_that_of_its_law():
    """M/M/1 is its own reference: the control knows all its luck, and the quantile is exact up to the bins."""
    load, parts, controls = 0.8, [], []
    lengths = -np.log1p(-(np.arange(100_000) + 0.5) / 100_000)
    most, share = wait_law(load, 1.0, lengths, np.full(100_000, 1e-5)).level(0.99)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        wait = waits(np.cumsum(rng.exponential(1 / load, 20_000)), rng.exponential(size=20_000))[2_000:]
        parts.append(histogram(wait))
        controls.append(Control(float((wait <= most).sum()), len(wait), share))
    plain, controlled = quantile_interval(parts, 0.99), quantile_interval(parts, 0.99, controls=controls)
    exact = math.log(load / 0.01) / (1 - load)
    assert controlled.interval.mean == pytest.approx(exact, rel=2e-3)
    assert controlled.interval.relative_half_width < plain.interval.relative_half_width / 10


def test_a_quantile_past_all_that_was_seen_has_no_upper_bound():
    """The control says that 1.5 % more of the values should be long than were: the p99 lies past the longest."""
    rng = np.random.default_rng(5)
    parts = [histogram(rng.exponential(size=400)) for _ in range(20)]
    together = pooled(parts)
    q = int(together.bins[together.place(0.99)])
    controls = [Control(each.share_up_to(q) + 0.015, 1, 0.99) for each in parts]
    found = quantile_interval(parts, 0.99, controls=controls).interval
    assert found.high == math.inf
    assert found.low > 0


# The reference of a service


def test_near_saturation_the_reference_explains_most_of_a_p99():
    source = ServingSource(services(load=0.95), 1)
    assert source.reference is not None
    sections = [section(source.run(k, 30_000), 3_000, 29_000) for k in range(20)]
    known = intervals(sections)["ttft_p99"].interval
    plain = quantile_interval([each.laws["ttft"] for each in sections], 0.99).interval
    assert known.relative_half_width < 0.75 * plain.relative_half_width
    assert known.low <= plain.high
    assert known.high >= plain.low


def test_arrivals_whose_gaps_are_not_independent_have_no_reference():
    bursty = so.Serving(
        model="llama_3_1_8b",
        accelerator="h100_sxm",
        arrivals="markov 2 request/s rate_2=6 request/s sojourn_1=20 s sojourn_2=60 s",
        lengths="azure_conv_2023",
    )
    assert ServingSource(bursty).reference is None
    assert not ServingSource(bursty).run(0, 100).controls


@pytest.mark.parametrize("load", [0.3, 0.9])
def test_the_control_of_the_end_to_end_latency_has_mean_zero_whatever_the_outputs(load):
    """The grid of outputs only sets the time that is asked about; the chance of it given a request's own is exact."""
    source = ServingSource(services(load=load), 1)
    for label in ("p50", "p99"):
        values = [source.run(k, 4_000).controls[f"e2el_{label}"] for k in range(40)]
        assert {expected for _, expected in values} == {0.0}
        means = np.array([each.mean() for each, _ in values])
        assert abs(means.mean()) < 3.5 * means.std(ddof=1) / math.sqrt(40)
        assert means.std() > 0


def test_the_share_of_waits_up_to_a_time_is_that_of_the_law():
    law = wait_law(0.8, 1.0, -np.log1p(-(np.arange(100_000) + 0.5) / 100_000), np.full(100_000, 1e-5))
    times = np.array([-1.0, 0.05, 0.3, 2.0, 20.0])
    exact = np.where(times < 0, 0.0, 1 - 0.8 * np.exp(-0.2 * times))
    assert law.share_up_to(times) == pytest.approx(exact, abs=1e-4)
