"""Step times: each model of them against counting by hand."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import secondorder as so
from secondorder.errors import InputError, UnknownName
from secondorder.scenarios.steptime import Placement, picoseconds, touched_weights, weight_seconds


def placement(**changes) -> Placement:
    fields = {
        "model": so.models.llama_3_1_8b,
        "accelerator": so.accelerators.h100_sxm,
        "precision": "bf16",
        "kv_precision": "bf16",
    }
    return Placement(**{**fields, **changes})


def test_a_decode_step_reads_the_weights_once_and_the_cache_of_all():
    """Llama 3.1 8B at 3.35 TB/s: 15.01 GB of weights without the embedding, 131,072 B a token of cache."""
    ideal = so.Roofline(compute_efficiency=1, memory_efficiency=1, host_overhead="0 s")
    step = ideal.seconds(placement())(0, 0, 0, 64, 64 * 1000, 64)
    weights = (8.0302612e9 - 128256 * 4096) * 2
    assert step == pytest.approx((weights + 131072 * (64 * 1000 + 64)) / 3.35e12, rel=1e-6)


def test_a_prefill_step_computes_its_tokens_and_pairs():
    ideal = so.Roofline(compute_efficiency=1, memory_efficiency=1, host_overhead="0 s")
    step = ideal.seconds(placement())(2048, 2048 * 2049 / 2, 2048, 0, 0, 1)
    layers = 32 * (4096 * 4096 * 2 + 4096 * 1024 * 2 + 3 * 4096 * 14336)
    flops = 2 * layers * 2048 + 4 * 32 * 32 * 128 * 2048 * 2049 / 2 + 2 * 128256 * 4096
    assert step == pytest.approx(flops / 989e12, rel=1e-9)


def test_efficiencies_and_overhead_are_what_they_say():
    plain = so.Roofline(compute_efficiency=1, memory_efficiency=1, host_overhead="0 s").seconds(placement())
    real = so.Roofline(compute_efficiency=0.5, memory_efficiency=0.25, host_overhead="2 ms").seconds(placement())
    decode, prefill = (0, 0, 0, 8, 8000, 8), (8192, 8192 * 4096, 8192, 0, 0, 1)
    assert real(*decode) == pytest.approx(4 * plain(*decode) + 2e-3)
    assert real(*prefill) == pytest.approx(2 * plain(*prefill) + 2e-3)


def test_two_ranks_halve_the_work_and_pay_for_their_links():
    one = so.Roofline(host_overhead="0 s").seconds(placement())
    roofline = so.Roofline(host_overhead="0 s", link_latency="1 µs")
    two = roofline.seconds(placement(tensor_parallel_size=2))
    batch = (0, 0, 0, 16, 16_000, 16)
    links = 64 * (2 * 1e-6 + 2 * (1 / 2) * 16 * 4096 * 2 / 450e9)
    assert two(*batch) == pytest.approx(one(*batch) / 2 + links)


@pytest.mark.parametrize(("model", "ranks"), [("phi_4", 4), ("phi_4", 8), ("qwen2_5_0_5b", 7), ("llama_3_1_8b", 3)])
def test_heads_that_do_not_split_among_the_ranks_are_refused(model, ranks):
    """40 heads with 10 of keys and values split among 1, 2, 5, 10, 20 and 40, not among 4 or 8."""
    fields = {
        "accelerator": so.accelerators.h100_sxm,
        "arrivals": so.Poisson("1 request/s"),
        "lengths": so.Lengths(input=512, output=64),
    }
    with pytest.raises(InputError, match=f"tensor_parallel_size: got {ranks}, expected a divisor of the"):
        so.Serving(model=so.models[model], tensor_parallel_size=ranks, **fields)
    assert so.Serving(model=so.models.phi_4, tensor_parallel_size=20, **fields).placement.kv_copies == 2


def test_a_key_value_head_is_kept_more_than_once_with_more_ranks_than_heads():
    assert placement(tensor_parallel_size=8).kv_copies == 1
    assert placement(tensor_parallel_size=16).kv_copies == 2


def test_several_ranks_without_a_link_are_refused():
    with pytest.raises(InputError, match="link_bandwidth"):
        so.Roofline().seconds(placement(accelerator=so.accelerators.l4, tensor_parallel_size=2))


def test_a_precision_that_the_part_lacks_is_refused():
    with pytest.raises(UnknownName, match=r"precision of NVIDIA T4.*'bf16'"):
        so.Roofline().seconds(placement(accelerator=so.accelerators.t4))


def test_few_tokens_touch_few_experts():
    mixture = placement(model=so.models.mixtral_8x7b, tensor_parallel_size=2)
    seconds = so.Roofline(host_overhead="0 s").seconds(mixture)
    one, many = seconds(0, 0, 0, 1, 1, 1), seconds(0, 0, 0, 64, 64, 64)
    assert 2.5 < many / one < 4  # two of eight experts, then all of them


@given(st.integers(1, 512), st.integers(1, 200_000))
def test_scalars_and_arrays_give_the_same_bits(batch, context):
    for step_time in (so.Roofline(), so.Affine(per_step=1e-3, per_prefill_token=1e-5, per_decode=1e-5)):
        seconds = step_time.seconds(placement())
        contexts = np.array([context, context + 1])
        scalar = seconds(0, 0, 0, batch, context, batch)
        assert seconds(0, 0, 0, batch, contexts, batch)[0] == scalar
        assert np.rint(seconds(0, 0, 0, batch, contexts, batch) * 1e12)[0] == picoseconds(scalar)


TABLE = so.Table(
    prefill=[(1, 0.010), (1000, 0.020), (2000, 0.040)],
    decode=[(1, 0, 0.008), (1, 1000, 0.009), (64, 0, 0.012), (64, 1000, 0.030)],
)


def test_a_table_is_met_at_its_points_and_linear_between_them():
    seconds = TABLE.seconds(placement())
    assert seconds(0, 0, 0, 64, 64_000, 64) == 0.030
    assert seconds(0, 0, 0, 1, 500, 1) == pytest.approx(0.0085)
    assert seconds(1500, 0, 0, 0, 0, 1) == pytest.approx(0.030)
    assert seconds(936, 0, 0, 64, 64_000, 65) == pytest.approx(0.020 + 0.018)
    np.testing.assert_allclose(seconds(0, 0, 0, 1, np.array([0, 1000]), 1), [0.008, 0.009])


def test_a_table_is_never_extrapolated():
    seconds = TABLE.seconds(placement())
    with pytest.raises(InputError, match=r"tokens of a prefill step: got 2500, expected within the measured 1 to 2000"):
        seconds(2500, 0, 0, 0, 0, 1)
    with pytest.raises(InputError, match="decoding sequences"):
        seconds(0, 0, 0, 65, 65, 65)
    with pytest.raises(InputError, match="for every pair"):
        so.Table(prefill=[(1, 1), (2, 2)], decode=[(1, 0, 1), (2, 5, 1)])


def test_a_table_serves_as_a_step_time_of_both_witnesses():
    scenario = so.Serving(
        model=so.models.llama_3_1_8b,
        accelerator=so.accelerators.h100_sxm,
        arrivals=so.Poisson("5 request/s"),
        lengths=so.Lengths(input=200, output=so.Uniform(10, 40)),
        max_num_seqs=64,
        max_num_batched_tokens=1900,
        step_time=TABLE,
    )
    comparison = so.compare(scenario, seed=1, requests=1_500, replications=4)
    agreed = {j.formula.metric for j in comparison.judged if j.formula.order == 2 and j.verdict == "agrees"}
    assert "e2el_mean" in agreed


@pytest.mark.parametrize(("name", "varies"), [("mixtral_8x7b", True), ("llama_3_1_8b", False)])
def test_the_weights_of_a_step_can_be_tabulated_by_its_tokens(name, varies):
    weights = touched_weights(so.models[name], "bf16", 3e12)
    table = [weight_seconds(weights, tokens) for tokens in range(1, 2049)]
    assert table == [so.models[name].touched_bytes(tokens, "bf16") / 3e12 for tokens in range(1, 2049)]
    assert (len(set(table)) > 1) == varies


@pytest.mark.parametrize("step_time", [so.Roofline(), so.Affine(per_step=1, per_prefill_token=1, per_decode=1), TABLE])
def test_a_step_time_is_numbers_and_a_function_without_memory(step_time):
    seconds, batch = step_time.seconds(placement()), (100, 5050, 100, 8, 4000, 9)
    again = pickle.loads(pickle.dumps(seconds))
    assert again.function(again.coefficients, *batch) == seconds(*batch)
