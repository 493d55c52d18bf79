"""Laws of service: their moments, transforms, samples and spellings agree with each other and with mpmath."""

import os
import subprocess
import sys
from itertools import pairwise

import mpmath
import numpy as np
import pytest

from secondorder.errors import InputError, UnitError, UnknownName
from secondorder.laws import (
    LAWS,
    Deterministic,
    EmpiricalLaw,
    Erlang,
    Exponential,
    ExponentialMixture,
    Gamma,
    Hyperexponential,
    LogNormal,
    Pareto,
    Weibull,
    read_law,
    read_shape,
)
from secondorder.scenarios.pipeline import Pipeline

EVERY = [
    Exponential("2 s"),
    Deterministic("2 s"),
    Erlang("2 s", 3),
    Hyperexponential("2 s", 4),
    ExponentialMixture(0.8, first="0.5 s", second="8 s"),
    LogNormal("2 s", 0.5),
    Pareto("2 s", 9),
    Gamma("2 s", 0.7),
    Weibull("2 s", 0.8),
    EmpiricalLaw([0.5, 1.5, 4.0]),
]
POINTS = [1e-6, 1e-3 + 0.5j, 0.1 + 3j, 1.0, 0.5 + 30j, 0.1 + 300j]


@pytest.mark.parametrize("law", EVERY, ids=repr)
def test_the_scv_is_that_of_the_moments(law):
    assert law.moment(0) == pytest.approx(1)
    assert law.moment(1) == pytest.approx(law.mean.m)
    assert law.moment(2) == pytest.approx(law.mean.m**2 * (1 + law.scv))


@pytest.mark.parametrize("law", EVERY, ids=repr)
def test_the_samples_have_the_mean_and_the_spread(law):
    n = 200_000
    x = law.sample(n, np.random.default_rng(7))
    assert x.shape == (n,)
    assert (x >= 0).all()
    error = np.sqrt(law.moment(2) - law.moment(1) ** 2) / np.sqrt(n)
    assert abs(x.mean() - law.moment(1)) <= 4.5 * error
    error = np.sqrt(law.moment(4) - law.moment(2) ** 2) / np.sqrt(n)
    assert abs((x**2).mean() - law.moment(2)) <= 4.5 * error


@pytest.mark.parametrize("law", EVERY, ids=repr)
def test_the_samples_have_the_transform(law):
    x, s = law.sample(200_000, np.random.default_rng(8)), 0.3 + 0.7j
    seen = np.exp(-s * x)
    assert abs(seen.mean() - complex(law.laplace(s))) <= 5 * seen.std() / np.sqrt(x.size)


@pytest.mark.parametrize("law", EVERY, ids=repr)
def test_the_transform_falls_from_1_with_the_slope_of_the_mean(law):
    assert complex(law.laplace(0)) == pytest.approx(1, rel=1e-15)
    s = 1e-3 / law.moment(1)
    third_order = law.moment(3) * s**3 / 6
    expected = 1 - s * law.moment(1) + s**2 * law.moment(2) / 2
    assert abs(float(law.laplace(s).real) - expected) <= third_order + 1e-14


@pytest.mark.parametrize("law", EVERY, ids=repr)
def test_another_mean_stretches_time(law):
    longer = law.at("6 s")
    assert longer.mean.m == pytest.approx(6)
    assert longer.scv == pytest.approx(law.scv)
    assert complex(longer.laplace(0.2 + 0.4j)) == pytest.approx(complex(law.laplace(0.6 + 1.2j)), rel=1e-11)


def lognormal_transform(s, scv):
    """On a straight line through the saddle, 30 digits."""
    sigma = mpmath.sqrt(mpmath.log(1 + mpmath.mpf(scv)))
    median, s = 1 / mpmath.sqrt(1 + mpmath.mpf(scv)), mpmath.mpc(s)
    saddle = -mpmath.lambertw(s * sigma**2 * median) / sigma

    def density(x):
        z = saddle + x
        return mpmath.exp(-s * median * mpmath.exp(sigma * z) - z * z / 2) / mpmath.sqrt(2 * mpmath.pi)

    return mpmath.quad(density, mpmath.linspace(-12, 12, 49))


def weibull_transform(s, shape):
    """On a contour turned so that nothing oscillates, 20 digits."""
    scale, s, k = 1 / mpmath.gamma(1 + 1 / mpmath.mpf(shape)), mpmath.mpc(s), mpmath.mpf(shape)
    turn = mpmath.expj(-mpmath.arg(s) * k / (1 + k))

    def density(v):
        u = turn * mpmath.exp(v)
        return mpmath.exp(-s * scale * u ** (1 / k) - u) * u

    return mpmath.quad(density, mpmath.linspace(-45, 0, 16) + mpmath.linspace(0, 6, 31)[1:], maxdegree=5)


@pytest.mark.parametrize("s", POINTS)
@pytest.mark.parametrize("scv", [0.05, 1.0, 4.0, 100.0])
def test_the_lognormal_transform_is_that_of_30_digits(s, scv):
    with mpmath.workdps(30):
        expected = complex(lognormal_transform(s, scv))
    assert complex(LogNormal("1 s", scv).laplace(s)) == pytest.approx(expected, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("s", POINTS)
@pytest.mark.parametrize("shape", [1.1, 2.5, 8.0, 60.0])
def test_the_pareto_transform_is_an_exponential_integral(s, shape):
    with mpmath.workdps(30):
        a = mpmath.mpf(shape)
        expected = complex(a * mpmath.expint(a + 1, mpmath.mpc(s) * (a - 1) / a))
    assert complex(Pareto("1 s", shape).laplace(s)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("s", POINTS)
@pytest.mark.parametrize("shape", [0.25, 0.7, 1.0, 3.0, 10.0])
def test_the_weibull_transform_is_that_of_20_digits(s, shape):
    with mpmath.workdps(20):
        expected = complex(weibull_transform(s, shape))
    assert complex(Weibull("1 s", shape).laplace(s)) == pytest.approx(expected, rel=1e-11, abs=1e-13)


def test_transforms_keep_the_shape_and_the_zeros_of_their_argument():
    s = np.array([[0.0, 1.0, 2.0], [1j, 0.0, 1 + 1j]])
    for law in EVERY:
        found = law.laplace(s)
        assert found.shape == s.shape
        assert found[0, 0] == found[1, 1] == pytest.approx(1, rel=1e-15)
        assert found[1, 2] == pytest.approx(complex(law.laplace(1 + 1j)))


def test_special_cases_are_one_law():
    s = np.array([0.1, 1 + 2j, 5j])
    for twin in (Gamma("1 s", 1), Weibull("1 s", 1), Erlang("1 s", 1), Hyperexponential("1 s", 1)):
        np.testing.assert_allclose(twin.laplace(s), Exponential("1 s").laplace(s), rtol=1e-12)
    np.testing.assert_allclose(Gamma("1 s", 0.25).laplace(s), Erlang("1 s", 4).laplace(s), rtol=1e-12)


@pytest.mark.parametrize(
    "law",
    [Exponential("2 s"), Erlang("2 s", 3), Hyperexponential("2 s", 9), ExponentialMixture(0.2, "1 s", "3 s")],
    ids=repr,
)
def test_the_phases_give_the_transform(law):
    start, generator = law.phases()
    s = 0.4 + 0.9j
    found = start @ np.linalg.solve(s * np.eye(start.size) - generator, -generator.sum(axis=1))
    assert start.sum() == pytest.approx(1)
    assert complex(law.laplace(s)) == pytest.approx(complex(found))


def test_balanced_means_are_one_mixture_of_exponentials():
    balanced = Hyperexponential("1 s", 4)
    short, long = (f"{mean!r} s" for mean in balanced.means)
    free = ExponentialMixture(balanced.probability, first=short, second=long)
    assert free.mean.m == pytest.approx(1)
    assert free.scv == pytest.approx(4)
    np.testing.assert_allclose(free.laplace([0.1, 1 + 2j]), balanced.laplace([0.1, 1 + 2j]), rtol=1e-12)
    same = [law.sample(9, np.random.default_rng(1)) for law in (free, balanced)]
    np.testing.assert_allclose(*same, rtol=1e-12)


def test_the_tail_of_a_mixture_is_that_of_its_slow_kind():
    law = ExponentialMixture(0.9, first="50 ms", second="2 s")
    assert float(law.survival(6.0)) == pytest.approx(0.1 * np.exp(-3), rel=1e-12)
    assert law.moment(1) == pytest.approx(0.9 * 0.05 + 0.1 * 2)
    assert law.moment(3) == pytest.approx(6 * (0.9 * 0.05**3 + 0.1 * 8))


def test_a_hyperexponential_keeps_its_digits_at_a_large_spread():
    law = Hyperexponential("1 s", 1e9)
    assert law.moment(1) == pytest.approx(1, rel=1e-14)
    assert law.moment(2) == pytest.approx(1 + 1e9, rel=1e-12)


@pytest.mark.parametrize("law", [law for law in EVERY if not isinstance(law, EmpiricalLaw)], ids=str)
def test_a_spelling_reads_back(law):
    assert read_law(str(law)) == law


@pytest.mark.parametrize(
    ("text", "law"),
    [
        ("lognormal mean=100ms scv=4", LogNormal("0.1 s", 4)),
        ("exponential 10 ms", Exponential("10 ms")),
        ("Deterministic mean=1 s", Deterministic("1 s")),
        ("erlang 2 min stages=3", Erlang("120 s", 3)),
        ("pareto 1 s shape=2.5", Pareto("1 s", 2.5)),
        ("exponential-mixture 0.9 first=50ms second=2s", ExponentialMixture(0.9, "50 ms", "2 s")),
        ("exponential-mixture p=0.9 first=50 ms second=2 s", ExponentialMixture(0.9, "50 ms", "2 s")),
    ],
)
def test_a_law_is_read_from_a_line(text, law):
    assert read_law(text) == law


@pytest.mark.parametrize(
    ("text", "error", "part"),
    [
        ("lognormol 1 s scv=4", UnknownName, "did you mean lognormal or normal?"),
        ("lognormal 1 s svc=4", UnknownName, "field of lognormal: got 'svc', expected mean, scv; did you mean"),
        ("lognormal 1 s", InputError, "without scv, expected lognormal <mean> scv=<scv>"),
        ("exponential 1", UnitError, "without a unit"),
        ("exponential 3 request/s", UnitError, "expected a quantity in s"),
        ("exponential 0 s", InputError, "a positive quantity in s"),
        ("exponential 1 s mean=2 s", InputError, "service.mean: got two values"),
        ("hyperexponential 1 s scv=0.5", InputError, "service.scv: got 0.5, expected a number of at least 1"),
        ("pareto 1 s shape=1", InputError, "the mean is infinite"),
        ("exponential-mixture 1.5 first=1s second=2s", InputError, "service.p: got 1.5, expected"),
        ("exponential-mixture 0.5 first=1s", InputError, "without second"),
        ("exponential-mixture 0.5 first=1 second=2 s", UnitError, "without a unit"),
        ("erlang 1 s stages=1.5", InputError, "an integer of at least 1"),
        ("", InputError, 'write "exponential 10 ms"'),
    ],
)
def test_a_line_that_is_no_law_is_refused_in_one_line(text, error, part):
    with pytest.raises(error) as caught:
        read_law(text)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", ["lognormal", "lognormal 3 s scv=1", "gamma mean=2 scv=1", "10 %", "", 0.2, True])
def test_a_factor_is_the_shape_of_a_law_and_what_was_given_is_told_as_it_was(shape):
    with pytest.raises(InputError) as caught:
        read_shape(shape, "jitter")
    assert str(caught.value).startswith(f"jitter: got {shape!r}, expected a law without its mean")
    with pytest.raises(InputError, match="expected a law without its mean"):
        Pipeline(stages=4, microbatches=8, forward="1 s", backward="2 s", jitter=shape)


def test_infinite_moments_are_refused():
    heavy = Pareto("1 s", 1.5)
    for ask in (lambda: heavy.scv, lambda: heavy.moment(2)):
        with pytest.raises(InputError, match="else infinite"):
            ask()


@pytest.mark.parametrize("values", [[], [1.0, -1.0], [0.0, 0.0], [float("nan")], [[1.0]]])
def test_an_empirical_law_needs_times(values):
    with pytest.raises(InputError, match="at least one finite time"):
        EmpiricalLaw(values)


def test_laws_are_values():
    assert EmpiricalLaw([1.0, 2.0]) == EmpiricalLaw(np.array([1.0, 2.0]))
    assert hash(Exponential("1 s")) == hash(Exponential("1000 ms"))
    assert set(LAWS) == {law.word for law in EVERY if not isinstance(law, EmpiricalLaw)} | {"normal"}


@pytest.mark.parametrize("bad", [-1.0, float("nan"), -0.1 + 2j])
def test_the_transform_is_for_the_right_half_plane(bad):
    with pytest.raises(InputError, match="real part of at least 0"):
        LogNormal("1 s", 4).laplace(bad)


@pytest.mark.parametrize(
    "text",
    [
        "exponential 2 s",
        "deterministic 2 s",
        "erlang 2 s stages=3",
        "hyperexponential 2 s scv=4",
        "exponential-mixture 0.8 first=0.5s second=8s",
        "lognormal 2 s scv=2",
        "pareto 2 s shape=3.5",
        "gamma 2 s scv=3",
        "weibull 2 s shape=0.7",
        "normal 2 s scv=0.04",
    ],
)
def test_survival_excess_and_residual_life_belong_together(text: str) -> None:
    """Against integrals of the survival function, and draws against both."""
    from scipy.integrate import quad
    from scipy.stats import kstest

    from secondorder.laws import residual

    law = read_law(text)
    for t in (0.0, 0.3, 1.9, 4.0):
        breaks = [x for x in (2.0, 10.0, 100.0) if x > t]
        edges = [t, *breaks, np.inf]
        area = sum(quad(lambda x: float(law.survival(x)), a, b, limit=200)[0] for a, b in pairwise(edges))
        assert float(law.excess(t)) == pytest.approx(area, rel=1e-6, abs=1e-9)
    rng = np.random.default_rng(5)
    draws = residual(law, 4_000, rng)
    assert kstest(draws, lambda t: 1 - law.excess(t) / law.moment(1)).pvalue > 1e-4
    if not text.startswith("deterministic"):
        assert kstest(law.sample(4_000, rng), lambda t: 1 - law.survival(t)).pvalue > 1e-4


def test_survival_of_measured_times_counts_them() -> None:
    law = EmpiricalLaw([1.0, 2.0, 2.0, 5.0])
    assert law.survival([0.0, 1.0, 2.0, 4.9, 5.0]).tolist() == [1.0, 0.75, 0.25, 0.25, 0.0]
    assert law.excess([0.0, 2.0, 6.0]).tolist() == [2.5, 0.75, 0.0]


def test_draws_are_the_same_on_a_processor_without_vector_extensions():
    """numpy's own functions round otherwise where a processor has them; those of the C library do not."""
    laws = (
        LogNormal("1 s", scv=3.0),
        Pareto("1 s", shape=2.5),
        Weibull("1 s", shape=0.7),
        Hyperexponential("1 s", scv=4.0),
    )
    code = (
        "import sys, numpy as np; from secondorder.laws.reading import read_law\n"
        "from secondorder.laws.residual_life import residual\n"
        "for text in sys.argv[1:]:\n"
        "    law, rng = read_law(text, 'law'), np.random.default_rng(3)\n"
        "    print(law.sample(2000, rng).tobytes().hex(), residual(law, 2000, rng).tobytes().hex())"
    )
    vectors = " ".join(np.show_config(mode="dicts")["SIMD Extensions"]["found"])
    answers = []
    for features in ("", vectors):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, laws)],
            env={**os.environ, "NPY_DISABLE_CPU_FEATURES": features},
            capture_output=True,
            text=True,
            check=True,
        )
        answers.append(done.stdout.splitlines())
    assert len(answers[0]) == len(laws)
    for law, plain, without in zip(laws, *answers, strict=True):
        assert plain == without, law
