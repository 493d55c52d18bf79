"""Laws of arrivals: their figures are those of their samples, and their text reads back."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from secondorder.errors import InputError, UnitError, UnknownName
from secondorder.quantities import si
from secondorder.workloads.arrivals import (
    ArrivalLaw,
    Deterministic,
    Gamma,
    MarkovModulated,
    Poisson,
    TraceArrivals,
    read_arrivals,
)

BURSTS = MarkovModulated(rate_1="2 request/s", rate_2="20 request/s", sojourn_1="3 s", sojourn_2="0.5 s")
SILENCES = MarkovModulated(rate_1="0 request/s", rate_2="30 request/s", sojourn_1="1 s", sojourn_2="0.4 s")
FLICKER = MarkovModulated(rate_1="1 request/s", rate_2="9 request/s", sojourn_1="1 us", sojourn_2="3 us")
LAWS = [Poisson("8 request/s"), Gamma("8 request/s", 0.25), Gamma("8 request/s", 4), BURSTS, SILENCES, FLICKER]

rates = st.floats(1e-3, 1e4)
shapes = st.floats(0.2, 20)
renewal_laws = st.one_of(
    st.builds(lambda r: Poisson(f"{r} request/s"), rates),
    st.builds(lambda r, b: Gamma(f"{r} request/s", b), rates, shapes),
    st.builds(lambda r: Deterministic(f"{r} request/s"), rates),
)
markov_laws = st.builds(
    lambda a, b, s, t: MarkovModulated(
        rate_1=f"{a} request/s", rate_2=f"{b} request/s", sojourn_1=f"{s} s", sojourn_2=f"{t} s"
    ),
    st.one_of(st.just(0.0), rates),
    rates,
    st.floats(1e-3, 1e3),
    st.floats(1e-3, 1e3),
)
laws = st.one_of(renewal_laws, markov_laws)


def agrees(estimates, exact):
    """Whether independent estimates have the mean ``exact``: a t-interval that misses once in a million."""
    estimates = np.asarray(estimates)
    error = estimates.std(ddof=1) / np.sqrt(len(estimates))
    return abs(estimates.mean() - exact) <= stats.t.ppf(1 - 5e-7, len(estimates) - 1) * error


def replications(law, n, count=40):
    return [law.times(n, np.random.default_rng([7, seed])) for seed in range(count)]


def gap_moments(law):
    """Mean and scv of the gap of a Markov-modulated process from its matrices, ``E[T^k] = k! p (L-Q)^-k 1``."""
    l1, l2, r1, r2 = (si(law.rate_1), si(law.rate_2), 1 / si(law.sojourn_1), 1 / si(law.sojourn_2))
    inverse = np.linalg.inv(np.array([[l1 + r1, -r1], [-r2, l2 + r2]]))
    seen = np.array([l1 * r2, l2 * r1]) / (l1 * r2 + l2 * r1)
    mean = (seen @ inverse).sum()
    return mean, 2 * (seen @ inverse @ inverse).sum() / mean**2 - 1


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_the_mean_rate_of_samples_is_the_rate(law):
    assert agrees([times[-1] / len(times) for times in replications(law, 4000)], 1 / si(law.rate))


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_the_scv_of_samples_is_the_scv(law):
    # Squared deviations from the known mean gap: an unbiased estimate, gaps correlated or not.
    gap = 1 / si(law.rate)
    assert agrees([np.mean((np.diff(times) / gap - 1) ** 2) for times in replications(law, 80_000)], law.scv)


def test_a_law_with_a_wrong_scv_fails_that_test():
    law = Gamma("8 request/s", 0.25)
    estimates = [np.mean((np.diff(times) * 8 - 1) ** 2) for times in replications(law, 80_000)]
    assert agrees(estimates, 4.0)
    assert not agrees(estimates, 4.2)
    assert not agrees(estimates, 3.8)


@given(law=renewal_laws, seed=st.integers(0, 2**32))
@settings(derandomize=True, max_examples=30, deadline=None)
def test_scv_agrees_with_samples_for_any_renewal_law(law, seed):
    rng, gap = np.random.default_rng(seed), 1 / si(law.rate)
    estimates = [np.mean((np.diff(law.times(1000, rng)) / gap - 1) ** 2) for _ in range(40)]
    assert agrees(estimates, law.scv) or np.allclose(estimates, law.scv, atol=1e-9)


@given(law=markov_laws)
def test_the_closed_forms_of_a_markov_modulated_process_are_those_of_its_matrices(law):
    mean, scv = gap_moments(law)
    assert si(law.rate) == pytest.approx(1 / mean, rel=1e-9)
    assert law.scv == pytest.approx(scv, rel=1e-6)
    assert law.idc >= law.scv - 1e-9 * law.scv


@pytest.mark.parametrize("law", [BURSTS, SILENCES], ids=str)
@pytest.mark.parametrize("window", [0.5, 4.0])
def test_counts_of_a_markov_modulated_process_are_as_dispersed_as_the_formula_says(law, window):
    # Var N(t) / E N(t) = IDC - (IDC - 1) (1 - exp(-r t)) / (r t), r = r1 + r2 (Heffes and Lucantoni 1986):
    # the law of the gaps, their correlation and the start at an arbitrary moment all enter.
    r, rate = 1 / si(law.sojourn_1) + 1 / si(law.sojourn_2), si(law.rate)
    expected = law.idc - (law.idc - 1) * (1 - np.exp(-r * window)) / (r * window)
    windows = int(0.7 * 6000 / rate / window)
    estimates = []
    for times in replications(law, 6000):
        assert times[-1] > windows * window
        counts = np.histogram(times, bins=windows, range=(0, windows * window))[0]
        estimates.append(np.mean((counts - rate * window) ** 2) / (rate * window))
    assert agrees(estimates, expected)


def test_a_markov_modulated_process_begins_at_an_arbitrary_moment_not_at_an_arrival():
    l1, l2, r1, r2 = 2.0, 20.0, 1 / 3, 2.0
    inverse = np.linalg.inv(np.array([[l1 + r1, -r1], [-r2, l2 + r2]]))
    expected = (np.array([r2, r1]) / (r1 + r2) @ inverse).sum()
    rng = np.random.default_rng(3)
    first = [BURSTS.times(1, rng)[0] for _ in range(8000)]
    assert agrees(first, expected)
    assert not agrees(first, 1 / si(BURSTS.rate))


def test_two_phases_of_one_rate_are_poisson():
    law = MarkovModulated(rate_1="5 request/s", rate_2="5 request/s", sojourn_1="1 s", sojourn_2="9 s")
    assert (law.scv, law.idc) == (1.0, 1.0)
    gaps = np.diff(law.times(20_000, np.random.default_rng(5)))
    assert stats.kstest(gaps * 5, "expon").pvalue > 1e-4


@given(law=laws, n=st.integers(0, 200), seed=st.integers(0, 2**32))
def test_times_are_n_ordered_positive_seconds_and_the_seed_decides_them(law, n, seed):
    times = law.times(n, np.random.default_rng(seed))
    assert times.dtype == np.float64
    assert len(times) == n
    assert np.all(np.diff(times, prepend=0.0) >= 0)
    assert np.array_equal(times, law.times(n, np.random.default_rng(seed)))


@given(law=laws, rate=rates, seed=st.integers(0, 2**32))
def test_at_stretches_time_and_keeps_the_shape(law, rate, seed):
    moved = law.at(f"{rate} request/s")
    assert si(moved.rate) == pytest.approx(rate, rel=1e-12)
    assert moved.scv == pytest.approx(law.scv, rel=1e-6)
    stretch = si(law.rate) / rate
    times, others = (one.times(50, np.random.default_rng(seed)) for one in (law, moved))
    np.testing.assert_allclose(others, times * stretch, rtol=1e-9)


@given(law=laws)
def test_the_spelling_of_a_law_reads_back_to_the_same_law(law):
    assert read_arrivals(str(law)) == law
    assert pickle.loads(pickle.dumps(law)) == law


def test_replace_takes_a_rate_as_text():
    law = Gamma("8 request/s", burstiness=0.5)
    assert dataclasses.replace(law, rate="9 request/s") == Gamma("9 request/s", 0.5)
    assert dataclasses.replace(law, rate="540 request/min") == Gamma("9 request/s", 0.5)


def test_every_law_offers_the_same_verbs():
    every: list[ArrivalLaw] = [*LAWS, Deterministic("1 request/s"), TraceArrivals([0, 1, 3])]
    for law in every:
        assert si(law.rate) > 0
        assert law.scv >= 0
        assert len(law.at("3 request/s").times(3, np.random.default_rng())) == 3


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", InputError, "poisson, gamma"),
        ("8 request/s", InputError, 'write "poisson 8 request/s"'),
        ("posson 8 request/s", UnknownName, "did you mean poisson"),
        ("poisson", InputError, "without rate"),
        ("poisson 8", UnitError, "without a unit"),
        ("poisson 8 token/s", UnitError, "request/s"),
        ("poisson 0 request/s", InputError, "positive"),
        ("poisson -1 request/s", InputError, "positive"),
        ("poisson nan request/s", InputError, "finite"),
        ("poisson 8 request/s 9 request/s", InputError, "arrivals.rate"),
        ("gamma 8 request/s", InputError, "without burstiness"),
        ("gamma 8 request/s burstines=1", UnknownName, "did you mean burstiness"),
        ("gamma 8 request/s burstiness=0", InputError, "above 0"),
        ("gamma 8 request/s burstiness=low", InputError, "arrivals.burstiness"),
        ("gamma 8 request/s burstiness=1 burstiness=2", InputError, "two values"),
        ("gamma 8 request/s rate=9 request/s burstiness=2", InputError, "two values"),
        ("markov rate_1=1 request/s rate_2=2 request/s sojourn_1=0 s sojourn_2=1 s", InputError, "positive"),
        ("markov rate_1=0 request/s rate_2=0 request/s sojourn_1=1 s sojourn_2=1 s", InputError, "rate_2"),
    ],
)
def test_malformed_text_is_refused_in_one_line(text, error, words):
    with pytest.raises(error) as refused:
        read_arrivals(text)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("make", [lambda: Poisson(8), lambda: Gamma("8 request/s", -1), lambda: TraceArrivals([1, 1])])
def test_what_is_no_law_is_refused(make):
    with pytest.raises(InputError):
        make()


def test_a_trace_is_replayed_as_it_is_and_never_a_second_time():
    replay = TraceArrivals([0.0, 1.0, 4.0])
    assert (si(replay.rate), replay.scv) == (0.5, 0.25)
    assert replay.times(2, np.random.default_rng()).tolist() == [0.0, 1.0]
    with pytest.raises(InputError, match="at most the 3 arrivals"):
        replay.times(4, np.random.default_rng())
    with pytest.raises(InputError, match="order"):
        TraceArrivals([0.0, 2.0, 1.0])
    assert TraceArrivals([0.0, 1.0, 4.0]) == replay
    assert hash(TraceArrivals([0.0, 1.0, 4.0])) == hash(replay)
    assert TraceArrivals([0.0, 1.0, 5.0]) != replay
