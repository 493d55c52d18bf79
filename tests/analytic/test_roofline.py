"""Claims about the roofline: counts by hand for each kind of model, its known faults elsewhere, its inverse."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import secondorder as so
from secondorder.analytic.inverse_roofline import (
    candidates,
    implied_efficiency,
    largest_batch,
    required,
    smallest_batch,
)
from secondorder.cli import main
from secondorder.errors import DoesNotFit, InfeasibleError, InputError, UnknownName
from secondorder.report.roofline import roofline_figure
from secondorder.report.style import save
from secondorder.workloads.forward_pass import forward_pass

LLAMA, RESNET = so.models.llama_3_1_8b, so.models.resnet50
A100, H100, T4 = so.accelerators.a100_80gb, so.accelerators.h100_sxm, so.accelerators.t4
TABLES = so.Network(
    name="tables and a dense part",
    parameters=26_151_671_809,
    flops_per_input="32.061 MFLOP",
    layers=14,
    activations=15_617,
    looked_up_parameters=26_135_627_264,
    looked_up_per_input=27_392,
)
"""DLRM-DCNv2 as MLPerf runs it."""
MICROCONTROLLER = so.Accelerator(
    name="a microcontroller",
    vendor="x",
    released=2020,
    peak={"int8": "15.36 GFLOP/s"},
    memory_bandwidth="7.68 GB/s",
    memory_capacity="512 KiB",
    power="0.36 W",
)
WAKE_WORDS = so.Network(
    name="visual wake words", parameters=216_322, flops_per_input="14.9793 MFLOP", layers=28, activations=231_554
)


# Each kind of model, counted by hand


def test_vision_by_hand() -> None:
    """ResNet-50 in fp16, batch 32: 2 x 4.089 G products an image; weights once, 11.114 M activations both ways."""
    found = so.roofline(RESNET, A100, batch_size=32)
    flops, moved = 32 * 8.178e9, 25_557_032 * 2 + 2 * 32 * 11_114_000 * 2
    assert found.compute == pytest.approx(flops / 312e12, rel=1e-12)
    assert found.memory == pytest.approx(moved / 2.039e12, rel=1e-12)
    assert found.overhead == pytest.approx(50 * 10e-6)
    assert found.latency == pytest.approx(max(flops / 312e12, moved / 2.039e12) + 5e-4)
    assert found.mfu == pytest.approx(flops / found.latency / 312e12)


def test_a_prefill_counts_the_causal_triangle_and_one_row_of_the_head() -> None:
    matrices = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    flops = 2 * matrices * 2048 + 4 * 32 * 4096 * (2048 * 2049 / 2) + 2 * 4096 * 128256
    found = so.roofline(LLAMA, H100, precision="bf16", input_tokens=2048, kernel_overhead="0 s")
    assert found.flops == flops
    assert found.latency == pytest.approx(flops / 989e12, rel=1e-12)


def test_a_decode_step_reads_weights_once_and_each_cache_to_its_end() -> None:
    found = so.roofline(LLAMA, H100, batch_size=64, precision="bf16", input_tokens=1, context_tokens=1000)
    weights = (8_030_261_248 - 128256 * 4096) * 2
    assert found.bytes == weights + 64 * 131_072 * 1002
    assert found.footprint == 8_030_261_248 * 2 + 64 * 131_072 * 1001


def test_a_recommendation_reads_rows_and_not_its_tables() -> None:
    """A batch of 2,048 in fp32: 104.6 GB held, 16,044,545 dense values and 2,048 x 27,392 looked up."""
    h200 = so.accelerators.h200
    found = so.roofline(TABLES, h200, batch_size=2048, precision="fp32", kernel_overhead="0 s")
    assert found.footprint == pytest.approx(26_151_671_809 * 4 + 2048 * 15_617 * 4)
    assert found.bytes == pytest.approx(16_044_545 * 4 + 2048 * 27_392 * 4 + 2 * 2048 * 15_617 * 4)
    assert found.bytes < found.footprint / 100
    with pytest.raises(DoesNotFit, match="105 GB"):
        so.roofline(TABLES, H100, batch_size=2048, precision="fp32")


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 10**9))
def test_a_batch_never_looks_up_more_than_the_tables(batch: int) -> None:
    touched = TABLES.touched_bytes(batch, "fp32")
    assert touched <= TABLES.weight_bytes("fp32")
    assert touched == 4 * (16_044_545 + min(batch * 27_392, 26_135_627_264))


def test_tables_are_told_whole() -> None:
    with pytest.raises(InputError, match="looked_up_per_input"):
        replace(TABLES, looked_up_per_input=0)
    with pytest.raises(InputError, match="at most the 25557032"):
        replace(RESNET, looked_up_parameters=10**9, looked_up_per_input=1)


def test_diffusion_pays_for_each_denoising_step() -> None:
    step, image = (so.roofline(RESNET, A100, batch_size=4, passes=passes) for passes in (1, 50))
    assert image.latency == pytest.approx(50 * step.latency, rel=1e-12)
    assert (image.intensity, image.footprint) == (step.intensity, step.footprint)
    assert image.throughput == pytest.approx(step.throughput / 50)
    with pytest.raises(InputError, match="passes"):
        so.roofline(LLAMA, H100, input_tokens=1, passes=2)


def test_a_tiny_model_on_a_microcontroller() -> None:
    found = so.roofline(WAKE_WORDS, MICROCONTROLLER, precision="int8", kernel_overhead="1 µs")
    assert found.compute == pytest.approx(14.9793e6 / 15.36e9)
    assert (found.bottleneck, found.feasible) == ("compute", True)
    assert found.footprint == 216_322 + 231_554 < 512 * 1024
    with pytest.raises(UnknownName, match="precision of a microcontroller"):
        so.roofline(WAKE_WORDS, MICROCONTROLLER, precision="fp16")
    with pytest.raises(DoesNotFit, match="held_activations"):
        so.roofline(WAKE_WORDS, MICROCONTROLLER, batch_size=2, precision="int8")
    reused = replace(WAKE_WORDS, held_activations=60_000)
    assert so.roofline(reused, MICROCONTROLLER, batch_size=2, precision="int8").footprint == 216_322 + 120_000


# Ridge points and the faults of others


def test_ridge_points_meet_the_published_ones() -> None:
    names = {"a100_80gb": 153.0, "h100_sxm": 295.2, "h200": 206.0, "t4": 203.1, "v100": 138.9}
    for name, ridge in names.items():
        assert so.roofline(RESNET, so.accelerators[name]).ridge_point == pytest.approx(ridge, abs=0.05)


def test_a_product_and_a_sum_are_two_flops() -> None:
    assert so.roofline(RESNET, A100).flops == pytest.approx(8.178e9)  # 4.1e9 are the multiply-accumulates


def test_a_small_model_is_bound_by_overhead_and_called_so() -> None:
    """ResNet-50 at batch 1: 26 us of arithmetic, 47 us of memory, 500 us of 50 layers."""
    found = so.roofline(RESNET, A100, batch_size=1)
    assert found.bottleneck == "overhead"
    assert found.overhead / found.latency == pytest.approx(0.914, abs=0.001)
    assert so.roofline(RESNET, A100, batch_size=256).bottleneck == "compute"


def test_a_long_prompt_is_bound_by_compute() -> None:
    bounds = [
        so.roofline(LLAMA, H100, precision="bf16", input_tokens=n).bottleneck for n in (1, 128, 512, 2048, 32_768)
    ]
    assert bounds == ["memory", "memory", "compute", "compute", "compute"]


def test_decode_leaves_the_memory_side_at_a_large_batch() -> None:
    """At 16 tokens of context, where 2 FLOPs a weight over 2 bytes exceed the ridge, 295; never at 2,000 tokens."""
    options = {"precision": "bf16", "input_tokens": 1, "kernel_overhead": "0 s"}
    short = so.roofline(LLAMA, H100, batch_size=np.arange(1, 1025), context_tokens=16, **options)
    first = int(np.argmax(short.bottleneck == "compute")) + 1
    assert (short.bottleneck[: first - 1] == "memory").all()
    assert 295 < first < 330
    # FLOPs grow by f, bytes by k, a sequence: W/k + ... : the crossing solved by hand
    f = LLAMA.flops_per_token + LLAMA.flops_per_row + 524_288 * 17
    k, weights = 131_072 * 18, LLAMA.touched_bytes(1, "bf16")
    assert first == np.ceil(weights / (f / short.ridge_point - k))
    long = so.roofline(LLAMA, H100, batch_size=np.arange(1, 260), context_tokens=2000, **options)
    assert (long.bottleneck == "memory").all()


def test_the_itl_of_0_8_ms_is_impossible() -> None:
    """16.06 GB over 3.35 TB/s are 4.79 ms; without the embedding, which is looked up, 15.01 GB and 4.48 ms."""
    assert LLAMA.weight_bytes("bf16") / 3.35e12 == pytest.approx(4.79e-3, abs=0.005e-3)
    step = so.roofline(LLAMA, H100, precision="bf16", input_tokens=1, kernel_overhead="0 s")
    assert step.latency == pytest.approx(4.48e-3, abs=0.005e-3)
    with pytest.raises(InfeasibleError, match="800 µs: the datasheet allows"):
        implied_efficiency(LLAMA, H100, latency="0.8 ms", precision="bf16", input_tokens=1)


def test_the_ttft_of_4_2_ms_is_a_prompt_of_128_tokens_without_reading_the_weights() -> None:
    """Half the peak and 2 FLOPs a parameter give 4.2 ms at 128 tokens; the weights alone take 4.48 ms to read.

    At 2,048 tokens that count, with all N^2 pairs, is 71 ms; ours is 60.0 ms at half the peak, 30.0 at the whole.
    """
    half = 989e12 / 2
    assert 2 * LLAMA.parameters * 128 / half == pytest.approx(4.2e-3, abs=0.05e-3)
    assert (2 * LLAMA.parameters * 2048 + 4 * 32 * 4096 * 2048**2) / half == pytest.approx(71e-3, abs=0.1e-3)
    options = {"precision": "bf16", "kernel_overhead": "0 s", "compute_efficiency": 0.5}
    short, long = (so.roofline(LLAMA, H100, input_tokens=n, **options) for n in (128, 2048))
    assert (short.bottleneck, long.bottleneck) == ("memory", "compute")
    assert short.latency == pytest.approx(4.49e-3, abs=0.005e-3)
    assert long.latency == pytest.approx(60.0e-3, abs=0.05e-3)


def test_2_1_gb_of_cache_are_16384_tokens() -> None:
    pass_ = forward_pass(LLAMA, precision="bf16", input_tokens=1, context_tokens=16_383)
    assert pass_.held_other == pytest.approx(2.147e9, rel=1e-3)
    assert forward_pass(LLAMA, precision="bf16", input_tokens=2048).held_other == pytest.approx(0.268e9, rel=2e-3)


def test_a_precision_that_the_part_lacks_is_never_replaced() -> None:
    with pytest.raises(UnknownName, match=r"precision of NVIDIA A100.*got 'fp8'"):
        so.roofline(LLAMA, A100, precision="fp8", input_tokens=1)


# Memory, energy, arrays


def test_what_does_not_fit_is_an_error_alone_and_marked_among_others() -> None:
    with pytest.raises(DoesNotFit, match="takes 141 GB"):
        so.roofline(so.models.llama_3_1_70b, H100, input_tokens=1)
    sweep = so.roofline(LLAMA, T4, batch_size=np.array([1, 8, 64]), input_tokens=1, context_tokens=1000)
    assert sweep.feasible.tolist() == [True, True, False]
    assert sweep.bottleneck.tolist() == ["memory", "memory", "does not fit"]
    assert np.isnan(sweep.latency).tolist() == [False, False, True]
    assert np.isnan([sweep.throughput[2], sweep.energy[2]]).all()
    with pytest.raises(DoesNotFit):
        so.roofline(LLAMA, T4, batch_size=np.array([64, 128]), input_tokens=1, context_tokens=1000)


def test_energy_is_full_power_in_kernels_and_a_share_of_it_in_overhead() -> None:
    found = so.roofline(RESNET, A100, batch_size=8)
    busy = max(found.compute, found.memory)
    assert found.energy == pytest.approx(400 * (0.3 + 0.7 * busy / found.latency) * found.latency, rel=1e-12)
    assert found.energy_per_input == found.energy / 8
    assert so.roofline(RESNET, A100, batch_size=8, idle_power=1).energy == pytest.approx(400 * found.latency)
    unknown = replace(found, power=None)
    with pytest.raises(InputError, match=r"power of NVIDIA A100.*no figure"):
        _ = unknown.energy


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=5), st.integers(1, 4000), st.integers(0, 4000))
def test_arrays_give_what_numbers_give(batches: list[int], new: int, context: int) -> None:
    assume(min(batches) * (new + context) < 4e5)
    for model, lengths in ((RESNET, {}), (LLAMA, {"input_tokens": new, "context_tokens": context})):
        many = so.roofline(model, H100, batch_size=np.array(batches), **lengths)
        for place, batch in enumerate(batches):
            try:
                one = so.roofline(model, H100, batch_size=batch, **lengths)
            except DoesNotFit:
                assert many.bottleneck[place] == "does not fit"
                continue
            for name in ("latency", "throughput", "intensity", "mfu", "energy_per_input", "footprint"):
                assert getattr(many, name)[place] == pytest.approx(getattr(one, name), rel=1e-12)
            assert many.bottleneck[place] == one.bottleneck


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 300), st.integers(1, 4096))
def test_the_roof_is_the_lesser_of_peak_and_bandwidth_times_intensity(batch: int, new: int) -> None:
    assume(batch * new < 4e5)
    found = so.roofline(LLAMA, H100, batch_size=batch, precision="bf16", input_tokens=new, kernel_overhead="0 s")
    assert found.flops / found.latency == pytest.approx(min(989e12, 3.35e12 * found.intensity), rel=1e-12)
    assert (found.bottleneck == "compute") == (found.intensity > found.ridge_point)


def test_a_sum_instead_of_a_maximum_would_be_seen() -> None:
    found = so.roofline(RESNET, A100, batch_size=8, kernel_overhead="0 s")
    assert found.compute + found.memory != pytest.approx(found.flops / min(312e12, 2.039e12 * found.intensity), rel=0.1)


@pytest.mark.parametrize("batch", [0, 1.5, -1, "8", float("nan"), np.array([1, 0]), np.array([]), True])
def test_a_batch_that_is_none_is_refused(batch: object) -> None:
    with pytest.raises(InputError, match="batch_size"):
        so.roofline(RESNET, A100, batch_size=batch)


def test_an_answer_is_equal_to_its_like() -> None:
    one, other = (so.roofline(RESNET, A100, batch_size=np.array([1, 2])) for _ in range(2))
    assert one == other
    assert one != so.roofline(RESNET, A100, batch_size=np.array([1, 3]))


def test_a_call_is_fast_and_a_million_points_take_less_than_a_second() -> None:
    """The bars of benchmarks/roofline_speed.py, with room for a shared machine."""
    so.roofline(LLAMA, H100, input_tokens=1)
    start = time.perf_counter()
    for _ in range(500):
        so.roofline(LLAMA, H100, input_tokens=1)
    assert (time.perf_counter() - start) / 500 < 500e-6
    start = time.perf_counter()
    _ = so.roofline(RESNET, A100, batch_size=np.arange(1, 1_000_001)).bottleneck
    assert time.perf_counter() - start < 5


# The inverse


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 200), st.floats(0.0006, 1.0), st.sampled_from(["latency", "throughput"]))
def test_a_part_of_just_what_is_required_just_meets_the_objective(batch: int, seconds: float, kind: str) -> None:
    objective = {"latency": f"{seconds!r} s"} if kind == "latency" else {"throughput": f"{batch / seconds!r} sample/s"}
    need = required(RESNET, batch_size=batch, **objective)
    part = so.Accelerator(
        name="just enough",
        vendor="x",
        released=2024,
        peak={"fp16": f"{need.peak!r} FLOP/s"},
        memory_bandwidth=f"{need.bandwidth!r} byte/s",
        memory_capacity=f"{need.capacity * (1 + 1e-9)!r} byte",
    )
    found = so.roofline(RESNET, part, batch_size=batch)
    assert found.latency == pytest.approx(seconds, rel=1e-9)
    assert found.compute == pytest.approx(found.memory, rel=1e-9)


def test_an_objective_below_the_overhead_is_infeasible_on_any_part() -> None:
    with pytest.raises(InfeasibleError, match="overhead alone takes 500 µs"):
        required(RESNET, latency="400 µs")
    with pytest.raises(InputError, match="either a latency or a throughput"):
        required(RESNET, latency="1 ms", throughput="1 sample/s")


@settings(deadline=None, derandomize=True)
@given(st.floats(0.6, 300))
def test_the_largest_batch_meets_the_latency_and_one_more_does_not(milliseconds: float) -> None:
    found = largest_batch(RESNET, A100, latency=f"{milliseconds!r} ms")
    assert found.latency <= milliseconds / 1e3
    try:
        assert so.roofline(RESNET, A100, batch_size=found.batch_size + 1).latency > milliseconds / 1e3
    except DoesNotFit:
        assert found.footprint + 2 * RESNET.activations > found.capacity


@settings(deadline=None, derandomize=True)
@given(st.floats(1, 36_000))
def test_the_smallest_batch_serves_the_throughput_and_one_less_does_not(rate: float) -> None:
    found = smallest_batch(RESNET, A100, throughput=f"{rate!r} sample/s")
    assert found.throughput >= rate
    if found.batch_size > 1:
        assert so.roofline(RESNET, A100, batch_size=found.batch_size - 1).throughput < rate


def test_a_throughput_past_the_part_tells_the_most_that_it_reaches() -> None:
    with pytest.raises(InfeasibleError, match=r"batch that fits, 3,862, reaches 37963\.6, bound by compute"):
        smallest_batch(RESNET, A100, throughput="40000 sample/s")
    with pytest.raises(InfeasibleError, match="a batch of 1 takes 547 µs"):
        largest_batch(RESNET, A100, latency="0.5 ms")


@settings(deadline=None, derandomize=True)
@given(st.floats(0.01, 1), st.integers(1, 500))
def test_the_implied_efficiency_gives_the_latency_back(share: float, batch: int) -> None:
    rates = {"compute_efficiency": share, "memory_efficiency": share}
    slow = so.roofline(RESNET, A100, batch_size=batch, **rates)
    found = implied_efficiency(RESNET, A100, latency=f"{slow.latency!r} s", batch_size=batch)
    assert found == pytest.approx(share, rel=1e-6)


def test_the_overhead_of_an_inverse_roofline_is_that_given() -> None:
    asked = so.InverseRoofline(model=RESNET, precision="fp16", latency="400 µs")
    with pytest.raises(InfeasibleError, match="smaller kernel_overhead"):
        so.solve(asked)
    found = so.solve(replace(asked, kernel_overhead="1 µs"))
    assert found.best("bandwidth").amount == pytest.approx(so.roofline(RESNET, A100).bytes / 350e-6, rel=1e-9)
    with pytest.raises(InputError, match="latency: got 0 s, expected a positive quantity"):
        replace(asked, latency="0 s")


def test_candidates_are_those_that_meet_and_the_others_say_why_not() -> None:
    found = candidates(so.models.llama_3_1_70b, latency="40 ms", precision="bf16", input_tokens=1, context_tokens=2048)
    assert len(found) == len(so.accelerators)
    meeting = [c for c in found if c.meets]
    assert meeting == list(found[: len(meeting)])
    for candidate in found:
        part = candidate.accelerator
        if "bf16" not in part.peak:
            assert candidate.why == "has no bf16"
        elif so.quantity(part.memory_capacity, "byte").m < 141.8e9:
            assert "takes 142 GB" in candidate.why
        else:  # 139 GB of weights and .67 GB of cache in 39.2 ms
            assert candidate.meets == (so.quantity(part.memory_bandwidth, "byte/s").m > 139.68e9 / 39.2e-3)


# The command line and the chart


def test_a_comparison_tells_each_point_and_why_some_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["roofline", "llama_3_1_70b", "t4,h200", "--precision", "fp16,bf16", "--input-tokens", "1"]
    assert main([*arguments, "--batch-size", "1,64"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("does not fit") == 2
    assert text.count("no bf16") == 2
    assert "takes 141 GB" in text
    assert main([*arguments, "--format", "csv"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("accelerator,precision,batch_size,input_tokens,context_tokens,scenario,metric")
    assert sum("infeasible" in row for row in rows) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["resnet50", "a100_80gb,h100"], 2, "accelerator: got 'h100'"),
        (["resnet50", "a100_80gb", "--batch-size", "1,zero"], 2, "batch_size: got zero"),
        (["resnet50", "a100_80gb,", "--batch-size", "1"], 2, "accelerator: got 'a100_80gb,'"),
        (["resnet50", "a100_80gb", "--precision", "fp61"], 2, "precision: got 'fp61'"),
        (["llama_3_1_70b", "a100_80gb,t4", "--input-tokens", "1"], 3, "takes 141 GB"),
    ],
)
def test_a_mistake_in_a_comparison_is_told(
    arguments: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["roofline", *arguments]) == code
    assert told in capsys.readouterr().err


def test_the_chart_has_a_roof_for_each_part_and_a_point_for_each_pass(tmp_path) -> None:
    passes = [(f"batch {b}", so.roofline(RESNET, part, batch_size=b)) for part in (A100, T4) for b in (1, 8, 64)]
    figure = roofline_figure(passes)
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("operational intensity (FLOP/byte)", "reached (FLOP/s)")
    roofs = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert [line.get_ydata()[1] for line in roofs] == pytest.approx([312e12, 65e12])
    points = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert [line.get_xdata()[0] for line in points] == pytest.approx([float(one.intensity) for _, one in passes])
    assert save(figure, tmp_path / "roofline.png").stat().st_size > 10_000
