"""The measured roofline against counting by hand, and its twin in the kernel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import secondorder as so
from secondorder.errors import InputError, UnknownName
from secondorder.scenarios.expert_ranks import rank_coefficients
from secondorder.scenarios.measured_roofline import seconds_by_tokens
from secondorder.scenarios.steptime import Placement


def placement(**changes: object) -> Placement:
    fields = {
        "model": so.models.llama_3_1_8b,
        "accelerator": so.accelerators.h100_sxm,
        "precision": "bf16",
        "kv_precision": "bf16",
    }
    return Placement(**{**fields, **changes})


def test_a_decode_step_is_loading_arithmetic_attention_floors_and_host() -> None:
    """Llama 3.1 8B: 15.01 GB without the embedding, 6.98e9 parameters in layers, 131,072 B of cache a token."""
    step = so.MeasuredRoofline().seconds(placement())(0, 0, 0, 64, 64 * 1000, 64)
    weights = (8.0302612e9 - 128256 * 4096) * 2 / (3.35e12 * 0.9)
    layers = 32 * (4096 * 4096 * 2 + 4096 * 1024 * 2 + 3 * 4096 * 14336)
    arithmetic = 2 * 64 * (layers + 128256 * 4096) / (989e12 * 0.8)
    cache = 64 * 1000 * 131072 / (3.35e12 * 0.8)
    assert step == pytest.approx(weights + arithmetic + cache + 32 * 26e-6 + 1.2e-4 + 64 * 2.8e-6, rel=1e-5)


def test_a_prompt_is_computed_and_pays_for_its_launches() -> None:
    step = so.MeasuredRoofline().seconds(placement())
    more = step(2048, 2048 * 2049 / 2, 2048, 0, 0, 1) - step(0, 0, 0, 1, 0, 1)
    layers = 32 * (4096 * 4096 * 2 + 4096 * 1024 * 2 + 3 * 4096 * 14336)
    computed = 2 * layers * 2047 / (989e12 * 0.8)
    pairs = 4 * 32 * 32 * 128 * 2048 * 2049 / 2 / (989e12 * 0.5)
    cache = 2048 * 131072 / (3.35e12 * 0.8)
    assert more == pytest.approx(computed + pairs + cache + 32 * 5.2e-6 - 2.8e-6, rel=1e-4)


@pytest.mark.parametrize(("ranks", "tokens", "moved"), [(8, 1, 7 / 0.6), (8, 4096, 2 * 7 / 8 / 0.75), (2, 64, 1 / 0.6)])
def test_an_all_reduce_is_the_faster_of_one_shot_and_two_shot(ranks: int, tokens: int, moved: float) -> None:
    """By hand: 64 of them in Llama 3.1 8B, of 8,192 bytes a token, over 450 GB/s."""
    roofline = so.MeasuredRoofline().coefficients(placement(tensor_parallel_size=ranks))
    without = roofline._replace(reductions=0.0)
    spent = (seconds_by_tokens(roofline, tokens) - seconds_by_tokens(without, tokens)) / 64
    second = 5e-6 if tokens == 4096 else 0.0
    assert spent == pytest.approx(4.5e-6 + second + moved * 8192 * tokens / 450e9, rel=1e-9)


@pytest.mark.parametrize(("ranks", "latency", "moved"), [(2, 5.3e-6, 1 / 0.68), (4, 24e-6, 2 * 3 / 4 / 0.6)])
@pytest.mark.parametrize("tokens", [1, 4096])
def test_an_all_reduce_over_pcie_is_one_shot_or_a_ring(ranks: int, latency: float, moved: float, tokens: int) -> None:
    """By hand: PCIe 5.0 of 63 GB/s; two ranks by the engine's kernel, more by NCCL."""
    card = so.accelerators.rtx_pro_6000
    c = so.MeasuredRoofline().coefficients(placement(accelerator=card, tensor_parallel_size=ranks))
    spent = (seconds_by_tokens(c, tokens) - seconds_by_tokens(c._replace(reductions=0.0), tokens)) / 64
    assert spent == pytest.approx(latency + moved * 8192 * tokens / 63e9, rel=1e-9)


def test_products_take_a_tile_of_rows_at_least_on_a_card_with_little_arithmetic() -> None:
    """H20 by hand: 64 rows through Qwen3 8B's matrices at .8 of 148 TFLOP/s; on H100 loading takes longer."""
    model = so.models.qwen3_8b
    found = {}
    for name in ("h20", "h100_sxm"):
        c = so.MeasuredRoofline().coefficients(placement(model=model, accelerator=so.accelerators[name]))
        plain = seconds_by_tokens(c._replace(tile=0.0), 1)
        found[name] = seconds_by_tokens(c, 1) - c.fixed, plain - c.fixed
        assert np.all(seconds_by_tokens(c, np.array([1.0, 200.0])) == [seconds_by_tokens(c, t) for t in (1.0, 200.0)])
    flops = model.flops_per_token + model.flops_per_row
    assert found["h20"][0] == pytest.approx(64 * flops / (148e12 * 0.8), rel=1e-9)
    assert found["h20"][0] > 1.8 * found["h20"][1]
    assert found["h100_sxm"][0] == found["h100_sxm"][1]
    narrow = so.MeasuredRoofline().coefficients(
        placement(model=model, accelerator=so.accelerators.a100_80gb, precision="int4")
    )
    assert narrow.tile == 0.0


def test_ranks_whose_link_is_not_known_are_refused() -> None:
    """An unknown link once counted as an infinite one for ranks of attention."""
    card = so.accelerators.rtx_4090
    with pytest.raises(InputError, match="link_bandwidth is not known"):
        so.MeasuredRoofline().coefficients(placement(accelerator=card, tensor_parallel_size=2))
    mixture = {"model": so.models.qwen3_30b_a3b, "accelerator": card, "data_parallel_size": 2}
    with pytest.raises(InputError, match="data_parallel_size: got 2 with NVIDIA GeForce RTX 4090"):
        rank_coefficients(so.MeasuredRoofline(), placement(**mixture))


def test_the_latency_of_a_small_all_reduce_does_not_grow_with_the_ring() -> None:
    def latency(ranks: int) -> float:
        c = so.MeasuredRoofline().coefficients(placement(tensor_parallel_size=ranks))
        return c.reductions * (c.reduce_latency + c.one_shot_per_token)

    assert latency(8) < 1.05 * latency(2)
    plain = so.Roofline(host_overhead="0 s")
    assert plain.coefficients(placement(tensor_parallel_size=8)).fixed == pytest.approx(
        7 * plain.coefficients(placement(tensor_parallel_size=2)).fixed
    )


def test_a_small_model_is_bound_by_its_kernels_not_by_its_bytes() -> None:
    small = placement(model=so.models.qwen3_0_6b)
    bytes_alone = so.models.qwen3_0_6b.touched_bytes(1, "bf16") / (3.35e12 * 0.9)
    assert so.MeasuredRoofline().seconds(small)(0, 0, 0, 1, 100, 1) > 2 * bytes_alone


def test_more_tokens_touch_more_experts_and_pay_the_same_floor() -> None:
    mixture = placement(model=so.models.qwen3_30b_a3b)
    step = so.MeasuredRoofline().seconds(mixture)
    one, some, all_of_them = (step(0, 0, 0, n, n, n) for n in (1, 8, 512))
    assert one < some < all_of_them
    floor = 48 * (26e-6 + 52e-6)
    assert one > floor
    rise = (some - one) / 7, (all_of_them - step(0, 0, 0, 256, 256, 256)) / 256
    assert rise[0] > 5 * rise[1]  # concave: later tokens hit experts that are read already


@given(st.integers(1, 512), st.integers(1, 200_000), st.sampled_from([1, 2, 8]), st.integers(0, 4096))
def test_scalars_and_arrays_give_the_same_bits(batch: int, context: int, ranks: int, prompt: int) -> None:
    seconds = so.MeasuredRoofline().seconds(placement(tensor_parallel_size=ranks))
    contexts, prompts = np.array([context, context + 1]), np.array([prompt, prompt])
    scalar = seconds(prompt, 5, 7, batch, context, batch)
    assert seconds(prompts, 5, 7, batch, contexts, batch)[0] == scalar


def test_engines_differ_by_what_their_host_does() -> None:
    at = placement()
    vllm, sglang = (so.MeasuredRoofline(engine=e).seconds(at)(0, 0, 0, 10, 0, 10) for e in ("vllm", "sglang"))
    assert sglang - vllm == pytest.approx(9.4e-4 - 1.2e-4 + 10 * (2.4e-5 - 2.8e-6))


def test_it_is_spelled_in_one_line_and_refuses_an_engine_that_it_does_not_know() -> None:
    common = {
        "model": "llama_3_1_8b",
        "accelerator": "h100_sxm",
        "arrivals": "poisson 1 request/s",
        "lengths": so.Lengths(input=100, output=20),
    }
    found = so.Serving(step_time="measured-roofline engine=sglang layer_floor=20us", **common).step_time
    assert found == so.MeasuredRoofline(engine="sglang", layer_floor="20 µs")
    with pytest.raises(UnknownName, match="engine: got 'tgi', expected vllm"):
        so.MeasuredRoofline(engine="tgi")


def test_several_ranks_without_a_link_are_refused() -> None:
    with pytest.raises(InputError, match="link_bandwidth"):
        so.MeasuredRoofline().seconds(placement(accelerator=so.accelerators.l4, tensor_parallel_size=2))
