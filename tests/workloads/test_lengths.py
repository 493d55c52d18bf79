"""Laws of lengths: what is integrated is what is sampled, and the shipped tables are their traces."""

import pickle
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from secondorder.errors import InputError, UnknownName
from secondorder.workloads import tabulate
from secondorder.workloads.lengths import Empirical, Fixed, Geometric, Lengths, LogNormal, Uniform, lengths
from secondorder.workloads.requests import Requests
from secondorder.workloads.traces import read_trace

DATA = Path(__file__).parents[3] / "shared" / "data"
TABLES = Path(tabulate.__file__).parent
TRACES = {"azure_conv_2023": "azure_llm_2023_conv.csv", "azure_code_2023": "azure_llm_2023_code.csv"}

caps = st.one_of(st.none(), st.integers(1, 3000))
laws = st.one_of(
    st.builds(Fixed, st.integers(1, 10**6)),
    st.builds(lambda low, more: Uniform(low, low + more), st.integers(1, 5000), st.integers(0, 5000)),
    st.builds(Geometric, st.floats(1, 2000), caps),
    st.builds(LogNormal, st.floats(1, 2000), st.floats(0.05, 1.5), caps),
)
pairs = st.lists(st.tuples(st.integers(1, 10**5), st.integers(1, 10**4), st.floats(0.1, 10)), min_size=1, max_size=40)


def within(sample, mean, variance, miss=1e-6):
    """Whether the sample's mean lies within the z-interval about the exact mean."""
    error = np.sqrt(variance / len(sample))
    return abs(np.mean(sample) - mean) <= stats.norm.isf(miss / 2) * error + 1e-9 * mean


# One law


@given(law=laws)
@settings(deadline=None)
def test_the_support_is_ascending_integers_from_1_with_probabilities_of_sum_1(law):
    values, weights = law.support()
    assert values.dtype == np.int64
    assert values[0] >= 1
    assert np.all(np.diff(values) > 0)
    assert np.all(weights >= 0)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert values[-1] <= (getattr(law, "maximum", None) or np.inf)


@given(law=laws, points=st.sampled_from([2, 5, 16, 64, 200]))
@settings(deadline=None)
def test_the_grid_has_the_mass_and_the_first_three_moments_of_the_law(law, points):
    nodes, weights = law.grid(points)
    values, _ = law.support()
    assert len(nodes) <= points
    assert np.all(weights >= 0)
    assert nodes.min() >= values[0] - 1e-6
    assert nodes.max() <= values[-1] * (1 + 1e-9)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    for order in (1, 2, 3):
        assert weights @ nodes**order == pytest.approx(law.moment(order), rel=1e-9)


@given(law=laws, seed=st.integers(0, 2**32))
@settings(derandomize=True, max_examples=40, deadline=None)
def test_sample_means_lie_in_the_interval_about_the_exact_mean(law, seed):
    sample = law.sample(20_000, np.random.default_rng(seed))
    values, _ = law.support()
    assert sample.dtype == np.int64
    assert sample.min() >= values[0]
    assert sample.max() <= values[-1]
    assert within(sample, law.moment(1), law.moment(2) - law.moment(1) ** 2)


@pytest.mark.parametrize(
    "law", [Uniform(3, 9), Geometric(4), Geometric(6, maximum=8), LogNormal(4, cv=0.8), LogNormal(5, cv=0.5, maximum=7)]
)
def test_samples_follow_the_support_probabilities(law):
    values, weights = law.support()
    sample = law.sample(100_000, np.random.default_rng(11))
    seen = np.bincount(sample, minlength=values[-1] + 1)[values]
    usual = weights * len(sample) > 10
    expected = weights[usual] * len(sample)
    chi_squared = ((seen[usual] - expected) ** 2 / expected).sum()
    assert chi_squared < stats.chi2.isf(1e-6, usual.sum())


def test_the_geometric_law_has_its_textbook_moments():
    law = Geometric(256)
    exact = stats.geom(1 / 256)
    for order in (1, 2, 3):
        assert law.moment(order) == pytest.approx(exact.moment(order), rel=1e-11)
    assert Geometric(1).moment(2) == 1


def test_the_lognormal_law_is_the_continuous_one_rounded():
    sigma = np.sqrt(np.log(1 + 1.5**2))
    exact = stats.lognorm(sigma, scale=300 * np.exp(-(sigma**2) / 2))
    values, weights = LogNormal(300, cv=1.5).support()
    np.testing.assert_allclose(weights[1:-1], np.diff(exact.cdf(values[:-1] + 0.5)), rtol=1e-6, atol=1e-15)
    assert weights[0] == pytest.approx(exact.cdf(1.5))
    assert exact.sf(values[-1] - 0.5) <= 1.01e-9
    # Rounding alone adds 1/12 to the variance.
    law = LogNormal(300, cv=0.5)
    assert law.moment(1) == pytest.approx(300, rel=1e-7)
    assert law.moment(2) - law.moment(1) ** 2 == pytest.approx(150**2 + 1 / 12, rel=1e-5)


def test_a_maximum_moves_the_longer_ones_to_it():
    values, weights = Geometric(256, maximum=512).support()
    assert values[-1] == 512
    assert weights[-1] == pytest.approx((255 / 256) ** 511)
    assert Geometric(256, maximum=512).sample(5000, np.random.default_rng(1)).max() == 512


def test_a_uniform_law_around_a_length_is_the_range_of_vllm():
    assert Uniform.around(1000, ratio=0.1) == Uniform(900, 1100)
    assert Uniform.around(3, ratio=0.9) == Uniform(1, 6)
    assert Uniform.around(7, ratio=0) == Uniform(7, 7)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Fixed(0), "at least 1"),
        (lambda: Fixed(1.5), "integer"),
        (lambda: Geometric(0.5), "at least 1"),
        (lambda: Geometric(float("nan")), "mean"),
        (lambda: Geometric(256, maximum=0), "maximum"),
        (lambda: LogNormal(256, cv=0), "above 0"),
        (lambda: LogNormal(256, cv=30), "set maximum"),
        (lambda: Geometric(1e9), "set maximum"),
        (lambda: Uniform(9, 3), "at least low, 9"),
        (lambda: Uniform.around(512, ratio=1.0), "below 1"),
        (lambda: Lengths(input=5.5, output=1), 'a law such as "geometric 256"'),
        (lambda: Lengths(input=0, output=1), "input.tokens"),
        (lambda: Lengths(input=True, output=1), "input"),
        (lambda: Empirical([], []), "at least one pair"),
        (lambda: Empirical([1, 2], [1]), "one output for each input"),
        (lambda: Empirical([1, 0], [1, 1]), "0 at index 1"),
        (lambda: Empirical([1, 2.5], [1, 1]), "2.5 at index 1"),
        (lambda: Empirical([1, float("nan")], [1, 1]), "nan at index 1"),
        (lambda: Empirical([1, 2], [1, 1], [1, -1]), "positive"),
        (lambda: Empirical([1, 2], [1, 1], [1]), "one a pair"),
        (lambda: Fixed(3).grid(1), "at least 2"),
    ],
)
def test_what_is_no_law_is_refused_in_one_line(make, words):
    with pytest.raises(InputError) as refused:
        make()
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


# Two together


@given(first=laws, second=laws)
@settings(deadline=None)
def test_independent_lengths_have_product_moments(first, second):
    both = Lengths(input=first, output=second)
    assert both.mean_input == pytest.approx(first.moment(1), rel=1e-9)
    assert both.mean_output == pytest.approx(second.moment(1), rel=1e-9)
    assert both.second_moment_input == pytest.approx(first.moment(2), rel=1e-9)
    assert both.second_moment_output == pytest.approx(second.moment(2), rel=1e-9)
    assert both.mean_product == pytest.approx(first.moment(1) * second.moment(1), rel=1e-9)
    assert abs(both.correlation) < 1e-6
    assert len(both.grid()[0]) <= 64 * 64
    assert pickle.loads(pickle.dumps(both)) == both


def test_the_mean_context_is_the_length_biased_one():
    # E[I] + E[O(O+1)] / (2 E[O]) on demand; for a geometric output E[O(O+1)] = 2 mean^2.
    both = Lengths(input=512, output=Geometric(512))
    assert both.mean_input + both.expect(lambda i, o: o * (o + 1)) / (2 * both.mean_output) == pytest.approx(1024)


def test_a_function_with_a_kink_is_integrated_to_a_thousandth():
    both = Lengths(input=LogNormal(1000, cv=1.0), output=Geometric(256))
    values, weights = LogNormal(1000, cv=1.0).support()
    exact = weights @ np.maximum(values, 800) * 256
    assert both.expect(lambda i, o: np.maximum(i, 800) * o) == pytest.approx(exact, rel=1e-3)
    assert both.expect(lambda i, o: np.maximum(i, 800) * o, points=512) == pytest.approx(exact, rel=1e-4)


def test_an_integer_is_a_fixed_length():
    assert Lengths(input=512, output=np.int64(3)) == Lengths(input=Fixed(512), output=Fixed(3))
    inputs, outputs = Lengths(input=512, output=Geometric(256)).sample(4, np.random.default_rng(1))
    assert inputs.tolist() == [512] * 4
    assert outputs.dtype == np.int64


@given(rows=pairs)
def test_recorded_pairs_are_integrated_exactly(rows):
    inputs, outputs, weights = (np.array(column) for column in zip(*rows, strict=True))
    law = Empirical(inputs, outputs, weights)
    share = weights / weights.sum()
    assert law.mean_input == pytest.approx(share @ inputs)
    assert law.mean_product == pytest.approx(share @ (inputs * outputs))
    assert law.expect(lambda i, o: np.maximum(i, o)) == pytest.approx(share @ np.maximum(inputs, outputs))
    assert (law.max_input, law.max_output) == (inputs.max(), outputs.max())
    assert -1 - 1e-6 <= law.correlation <= 1 + 1e-6
    assert law == Empirical(inputs, outputs, weights)
    assert pickle.loads(pickle.dumps(law)) == law


@given(rows=pairs, seed=st.integers(0, 2**32))
@settings(derandomize=True, max_examples=40)
def test_sampled_pairs_are_recorded_pairs_in_their_proportion(rows, seed):
    law = Empirical(*zip(*rows, strict=True))
    inputs, outputs = law.sample(5000, np.random.default_rng(seed))
    assert set(zip(inputs.tolist(), outputs.tolist(), strict=True)) <= {(i, o) for i, o, _ in rows}
    product = (inputs * outputs).astype(float)
    variance = law.expect(lambda i, o: (i * o - law.mean_product) ** 2)
    # One pair in a thousand of 5,000 is too rare for a normal interval: allow for one draw of the rarest.
    rare = max(i * o for i, o, _ in rows) * 20 / 5000
    assert abs(product.mean() - law.mean_product) <= stats.norm.isf(5e-7) * np.sqrt(variance / 5000) + rare


def test_clipping_recorded_pairs_is_explicit():
    law = Empirical([100, 5000], [10, 900]).clip(input=4096, output=512)
    assert law == Empirical([100, 4096], [10, 512])


# The shipped tables


def weighted(values, weights):
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order]) / weights.sum()
    return {q: values[order][np.searchsorted(cumulative, q - 1e-12)] for q in (0.1, 0.5, 0.9, 0.99)}


def middle_ranks(values, weights):
    index = np.unique(values, return_inverse=True)[1]
    mass = np.bincount(index, weights)
    return (np.cumsum(mass) - mass / 2)[index]


def figures(inputs, outputs, weights):
    """What a table must share with its trace, by name."""
    i, o, w = inputs.astype(float), outputs.astype(float), weights / weights.sum()
    ranked = (middle_ranks(inputs, w), middle_ranks(outputs, w))
    return {
        "E[I]": w @ i,
        "E[O]": w @ o,
        "E[I^2]": w @ i**2,
        "E[O^2]": w @ o**2,
        "E[I O]": w @ (i * o),
        "Pearson": np.cov(i, o, aweights=w)[0, 1] / np.sqrt(np.cov(i, aweights=w) * np.cov(o, aweights=w)),
        "Spearman": np.cov(*ranked, aweights=w)[0, 1] / np.sqrt(np.prod([np.cov(r, aweights=w) for r in ranked])),
        **{f"input p{100 * q:g}": value for q, value in weighted(inputs, w).items()},
        **{f"output p{100 * q:g}": value for q, value in weighted(outputs, w).items()},
    }


@cache
def trace_of(name):
    path = DATA / TRACES[name]
    if not path.exists():
        pytest.skip(f"the trace {path.name} is not here")
    return read_trace(path)


@pytest.mark.parametrize("name", TRACES)
def test_a_shipped_table_matches_its_trace_within_1_percent(name):
    requests = trace_of(name).requests
    table = lengths[name]
    expected = figures(requests.input_tokens, requests.output_tokens, np.ones(len(requests)))
    got = figures(table.input, table.output, table.weight)
    off = {figure: abs(got[figure] / expected[figure] - 1) for figure in expected}
    assert max(off.values()) < 0.01, {figure: f"{share:.2%}" for figure, share in off.items()}
    calibrated = ("E[I]", "E[O]", "E[I^2]", "E[O^2]", "E[I O]")
    assert max(off[figure] for figure in calibrated) < 1e-5


@pytest.mark.parametrize("name", TRACES)
def test_making_a_shipped_table_again_gives_the_same_bytes(name, capsys):
    trace_of(name)
    source = lengths[name].source
    options = ["--source", source.title, "--date", source.date, "--url", source.url]
    assert tabulate.main([str(DATA / TRACES[name]), *options]) == 0
    assert capsys.readouterr().out.encode() == (TABLES / f"{name}.csv").read_bytes()


@pytest.mark.parametrize(
    ("name", "mean_input", "mean_output", "scv_output"),
    [("azure_conv_2023", 1154.6974, 211.12594, 0.59510), ("azure_code_2023", 2047.8483, 27.882526, 4.60885)],
)
def test_a_shipped_table_has_the_recorded_means_and_names_its_source(name, mean_input, mean_output, scv_output):
    table = lengths[name]
    assert len(table) == 2000
    assert table.mean_input == pytest.approx(mean_input, rel=1e-5)
    assert table.mean_output == pytest.approx(mean_output, rel=1e-5)
    assert table.scv_output == pytest.approx(scv_output, rel=1e-4)
    assert "Splitwise" in table.source.title
    assert table.source.date == "2023-11-16"


def test_a_misspelt_table_suggests_the_near_ones():
    with pytest.raises(UnknownName, match="did you mean azure_conv_2023"):
        _ = lengths.azure_conv


@given(seed=st.integers(0, 2**32), rows=st.integers(300, 700))
@settings(derandomize=True, max_examples=15, deadline=None)
def test_a_table_of_any_varied_trace_keeps_its_moments(seed, rows):
    rng = np.random.default_rng(seed)
    inputs = LogNormal(800, cv=1.0, maximum=9000).sample(rows, rng)
    outputs = np.maximum(1, inputs // 8 + Geometric(100).sample(rows, rng))
    requests = Requests(arrival=np.arange(rows), input_tokens=inputs, output_tokens=outputs)
    i, o, w = tabulate.tabulate(requests, pairs=250)
    assert w @ i / w.sum() == pytest.approx(inputs.mean(), rel=1e-4)
    assert w @ o / w.sum() == pytest.approx(outputs.mean(), rel=1e-4)
    assert w @ (i * o) / w.sum() == pytest.approx((inputs * outputs).mean(), rel=1e-4)
    assert w @ i**2 / w.sum() == pytest.approx((inputs**2).mean(), rel=1e-4)


def test_too_short_a_trace_is_not_tabulated(tmp_path, capsys):
    path = tmp_path / "few.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00,3,4\n")
    assert tabulate.main([str(path), "--source", "s", "--date", "d", "--url", "u"]) == 2
    assert "at most the 1 requests" in capsys.readouterr().err
