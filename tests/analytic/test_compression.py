"""Claims about compression: what it gains, what it cannot gain, and that it says nothing of accuracy."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secondorder as so
from secondorder.analytic.compression import (
    CompressionAnswer,
    Distilled,
    Quantised,
    Structured,
    TwoOfFour,
    Unstructured,
    compress,
    sparse_speed,
)
from secondorder.answers.answer import Answer
from secondorder.errors import DoesNotFit, InputError, UnknownName
from secondorder.scenarios.compression import METHODS, read_method

LLAMA, RESNET = so.models.llama_3_1_8b, so.models.resnet50
A100, H100, T4 = so.accelerators.a100_80gb, so.accelerators.h100_sxm, so.accelerators.t4
DECODE = {"precision": "bf16", "input_tokens": 1, "context_tokens": 2048, "kernel_overhead": "0 s"}
PREFILL = {"precision": "bf16", "input_tokens": 4096, "kernel_overhead": "0 s"}
CACHE = 131_072 * 2050
WEIGHTS = (8_030_261_248 - 128_256 * 4096) * 2


def test_weight_only_quantisation_speeds_decode_and_not_prefill() -> None:
    decode, prefill = (compress(LLAMA, H100, Quantised(weights="int4"), **options) for options in (DECODE, PREFILL))
    assert decode.speedup == pytest.approx((WEIGHTS + CACHE) / (WEIGHTS / 4 + CACHE), rel=1e-12)
    assert prefill.speedup == 1
    assert decode.weight_ratio == 0.25


def test_quantised_arithmetic_speeds_prefill_by_the_ratio_of_the_peaks() -> None:
    found = compress(LLAMA, H100, Quantised(weights="fp8", arithmetic="fp8"), **PREFILL)
    assert found.speedup == pytest.approx(1979 / 989, rel=1e-12)
    with pytest.raises(UnknownName, match="precision of NVIDIA A100"):
        compress(LLAMA, A100, Quantised(weights="fp8", arithmetic="fp8"), **PREFILL)


def test_scales_and_a_head_left_alone_are_counted() -> None:
    """Four bits in groups of 128 are 4.125; head and embedding keep their two bytes."""
    method = Quantised(weights="int4", group_size=128, head="bf16")
    found = compress(LLAMA, H100, method, **DECODE)
    table = 128_256 * 4096
    matrices = 8_030_261_248 - 2 * table
    assert found.weights_after == pytest.approx(matrices * 4.125 / 8 + 2 * table * 2, rel=1e-12)
    assert found.after.bytes == pytest.approx(matrices * 4.125 / 8 + table * 2 + CACHE, rel=1e-12)
    with pytest.raises(InputError, match="head"):
        compress(RESNET, H100, method)


def test_a_quantised_cache_is_read_in_its_own_bytes() -> None:
    found = compress(LLAMA, H100, Quantised(weights="bf16", cache="fp8"), **DECODE)
    assert found.after.bytes == WEIGHTS + CACHE / 2


@settings(deadline=None, derandomize=True)
@given(st.floats(0.01, 1), st.integers(1, 256))
def test_unstructured_pruning_gains_nothing_on_dense_kernels(kept: float, batch: int) -> None:
    for model, options in ((RESNET, {}), (LLAMA, DECODE)):
        found = compress(model, H100, Unstructured(kept=kept), batch_size=batch, **options)
        assert found.speedup == 1
        assert found.weight_ratio == 1


def test_sparse_kernels_read_a_bit_and_the_kept_values_and_compute_as_before() -> None:
    method = Unstructured(kept=0.2, sparse_kernels=True)
    assert compress(LLAMA, H100, method, **DECODE).after.bytes == pytest.approx(WEIGHTS * (0.2 + 1 / 16) + CACHE)
    assert compress(LLAMA, H100, method, **PREFILL).speedup == 1


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 512), st.integers(1, 4096), st.sampled_from(["fp16", "int8", "fp8", "bf16"]))
def test_two_of_four_is_at_most_twice_as_fast(batch: int, new: int, precision: str) -> None:
    options = {"precision": precision, "input_tokens": new, "batch_size": min(batch, 100_000 // new)}
    gain = compress(LLAMA, H100, TwoOfFour(), **options).speedup
    assert 1 <= gain <= 2


def test_two_of_four_needs_a_part_that_has_it() -> None:
    assert compress(LLAMA, T4, TwoOfFour(), precision="fp16", input_tokens=1).speedup == 1
    assert compress(RESNET, so.accelerators.v100, TwoOfFour(), batch_size=256).speedup == 1
    assert sparse_speed(H100, "fp32") == 1
    other = replace(H100, vendor="somebody")
    with pytest.raises(InputError, match="2:4 sparsity of NVIDIA H100 SXM: got no figure"):
        compress(LLAMA, other, TwoOfFour(), **PREFILL)
    assert compress(LLAMA, other, TwoOfFour(speed=1.6), **PREFILL).speedup > 1.5


def test_two_of_four_spares_44_percent_of_16_bits_and_38_of_8() -> None:
    """Mishra et al. 2021, section 3.2; attention's pairs stay dense, so a prefill gains less than two."""
    sixteen = compress(LLAMA, H100, TwoOfFour(), **DECODE)
    eight = compress(LLAMA, H100, TwoOfFour(), **{**DECODE, "precision": "fp8"})
    assert (sixteen.weight_ratio, eight.weight_ratio) == (0.5625, 0.625)
    prefill = compress(LLAMA, H100, TwoOfFour(), **PREFILL)
    pairs = 524_288 * 4096 * 4097 / 2
    assert prefill.speedup == pytest.approx(prefill.before.flops / ((prefill.before.flops - pairs) / 2 + pairs))


@settings(deadline=None, derandomize=True)
@given(st.floats(0.05, 1))
def test_structured_pruning_takes_work_and_bytes_alike(kept: float) -> None:
    decode, prefill = (compress(LLAMA, H100, Structured(kept=kept), **options) for options in (DECODE, PREFILL))
    assert decode.after.bytes == pytest.approx(kept * WEIGHTS + CACHE)
    pairs = 524_288 * 4096 * 4097 / 2
    assert prefill.after.flops == pytest.approx(kept * (prefill.before.flops - pairs) + pairs)
    assert 1 <= decode.speedup <= 1 / kept * (1 + 1e-12)


def test_distillation_is_the_student() -> None:
    student = so.models.llama_3_1_8b
    found = compress(so.models.llama_3_1_70b, so.accelerators.h200, Distilled(student=student), **DECODE)
    assert found.after == so.roofline(student, so.accelerators.h200, **DECODE)
    assert found.weight_ratio == pytest.approx(8_030_261_248 / 70_553_706_496)


def test_what_fits_only_when_compressed_has_no_speedup_but_a_time() -> None:
    found = compress(so.models.llama_3_1_70b, H100, Quantised(weights="int4"), **DECODE)
    assert found.after.latency == pytest.approx(found.after.memory)
    assert found.before is None
    with pytest.raises(DoesNotFit, match="takes 142 GB"):
        _ = found.speedup
    with pytest.raises(DoesNotFit):
        compress(so.models.llama_3_1_405b, H100, Quantised(weights="int4"), **DECODE)


def test_batches_may_be_arrays() -> None:
    found = compress(LLAMA, H100, Quantised(weights="int4"), batch_size=np.array([1, 256]), **DECODE)
    assert found.speedup[0] > found.speedup[1] > 1


def test_overhead_is_not_compressed() -> None:
    found = compress(RESNET, A100, Quantised(weights="int8", arithmetic="int8"))
    assert found.after.overhead == found.before.overhead
    assert found.after.bottleneck == "overhead"
    assert found.speedup < 1.05


def test_nothing_is_said_of_accuracy() -> None:
    names = {field.name for field in fields(CompressionAnswer)} | set(dir(CompressionAnswer))
    assert not [name for name in names if "accura" in name or "loss" in name or "perplexity" in name]


def solved(method: str, **changes: Any) -> Answer:
    scenario = so.Compression(
        model=LLAMA, accelerator=H100, method=method, precision="bf16", input_tokens=1, context_tokens=2048
    )
    return so.solve(replace(scenario, **changes))


@pytest.mark.parametrize(
    ("method", "note"),
    [
        ("quantised int4", "gain from above"),
        ("unstructured 0.2", "nothing is gained"),
        ("unstructured 0.2 sparse_kernels=true", "gain from above"),
        ("two-of-four", "gain from above"),
        ("structured 0.5", "gain from below"),
        ("distilled llama_3_2_1b", ""),
    ],
)
def test_the_side_of_the_truth_that_the_gain_is_on_is_told_of_the_method(method: str, note: str) -> None:
    answer = solved(method)
    assert note in answer.best("speedup").remark
    assert bool(note) == bool(answer.best("latency").remark)
    assert method.split()[0] in answer.how
    assert (answer.best("speedup").amount == 1) == (note == "nothing is gained")


def test_a_part_without_sparse_units_is_named() -> None:
    answer = solved("two-of-four", model=RESNET, accelerator=T4, precision="fp16", input_tokens=None, context_tokens=0)
    assert answer.best("speedup").amount == 1
    assert answer.best("speedup").note.startswith("2:4 sparse arithmetic is no faster on NVIDIA T4 in fp16")


def test_a_line_spells_every_method_and_an_unknown_word_lists_them() -> None:
    assert read_method("unstructured 0.5 sparse_kernels=true") == Unstructured(kept=0.5, sparse_kernels=True)
    lines = "quantised int4", "unstructured 1", "two-of-four", "structured 0.5", "distilled llama_3_2_1b"
    assert {type(read_method(line)) for line in lines} == {*METHODS.values()}
    with pytest.raises(UnknownName, match="expected quantised, unstructured, two-of-four, structured, distilled"):
        read_method("pruned 0.5")
    with pytest.raises(UnknownName, match=r"method\.student: got 'lama_3_2_1b'"):
        read_method("distilled lama_3_2_1b")


def test_the_overhead_of_a_scenario_is_that_given() -> None:
    given, none = (solved("quantised int4", kernel_overhead=each).best("latency").amount for each in ("5 us", "0 s"))
    assert given - none == pytest.approx(32 * 5e-6, rel=1e-9)
