"""Claims about the accelerators: every figure is sourced, and none contradicts another or physics."""

from datetime import date

import pytest

from secondorder.errors import InputError, UnitError, UnknownName
from secondorder.fleets.accelerators import BYTES_PER_VALUE, Accelerator, accelerators
from secondorder.quantities import si

EVERY = pytest.mark.parametrize("name", list(accelerators))

EXPECTED = {
    "h100_sxm", "h100_pcie", "h200", "b200", "a100_40gb", "a100_80gb", "l40s", "l4", "t4", "v100",
    "rtx_4090", "rtx_pro_6000", "mi300x",
}  # fmt: skip


def test_the_common_accelerators_are_there() -> None:
    assert set(accelerators) >= EXPECTED


@EVERY
def test_every_figure_has_a_source(name: str) -> None:
    device = accelerators[name]
    assert set(device.sources) >= {"vendor", "released", "peak", "memory_bandwidth", "memory_capacity", "power"}
    assert ("link_bandwidth" in device.sources) == (device.link_bandwidth is not None)
    for source in device.sources.values():
        assert source.title
        assert source.date
        assert source.url.startswith("https://")


@EVERY
def test_a_source_says_when_it_was_checked_or_that_it_was_not(name: str) -> None:
    for source in accelerators[name].sources.values():
        if source.checked:
            assert date.fromisoformat(source.checked) >= date(2026, 11, 23)
        else:
            assert "not opened" in source.note


@pytest.mark.parametrize(
    ("name", "flop_per_byte"),
    [("a100_80gb", 153.0), ("h100_sxm", 295.2), ("h200", 206.0), ("t4", 203.1), ("v100", 138.9)],
)
def test_ridge_points_meet_the_reference(name: str, flop_per_byte: float) -> None:
    assert accelerators[name].ridge_point("fp16") == pytest.approx(flop_per_byte, abs=0.05)


@EVERY
def test_a_narrower_precision_is_never_slower(name: str) -> None:
    peak = {precision: si(rate) for precision, rate in accelerators[name].peak.items()}
    by_width = sorted(peak, key=lambda precision: (-BYTES_PER_VALUE[precision], precision == "tf32"))
    rates = [peak[precision] for precision in by_width]
    assert rates == sorted(rates)


@EVERY
def test_peaks_are_dense(name: str) -> None:
    """Each halving of the width doubles a matrix unit's rate; a sparse figure would double it twice."""
    peak = accelerators[name].peak
    for wide, narrow in [("tf32", "fp16"), ("fp16", "fp8"), ("fp8", "fp4")]:
        if wide in peak and narrow in peak:
            assert si(peak[narrow]) / si(peak[wide]) == pytest.approx(2, rel=0.03)


@EVERY
def test_bf16_is_as_fast_as_fp16_where_the_part_has_it(name: str) -> None:
    peak = accelerators[name].peak
    assert si(peak.get("bf16", peak["fp16"])) == si(peak["fp16"])


@pytest.mark.parametrize("name", ["t4", "v100"])
def test_a_precision_that_the_part_lacks_is_an_error(name: str) -> None:
    for precision in ("bf16", "fp8", "fp4"):
        with pytest.raises(UnknownName, match=f"precision of NVIDIA .* got '{precision}'"):
            accelerators[name].peak_flops(precision)


@EVERY
def test_the_link_is_slower_than_the_memory(name: str) -> None:
    device = accelerators[name]
    if device.link_bandwidth is not None:
        assert si(device.link_bandwidth) < si(device.memory_bandwidth)


@EVERY
def test_figures_are_of_a_plausible_size(name: str) -> None:
    """Within these bounds a wrong unit or prefix cannot hide."""
    device = accelerators[name]
    assert 10 * 2**30 <= si(device.memory_capacity) <= 300 * 2**30
    assert 50 <= si(device.power) <= 1500
    assert 50 < device.ridge_point("fp16") < 450
    assert 1e-3 < si(device.memory_capacity) / si(device.memory_bandwidth) < 0.1
    assert 1e11 < device.peak_flops("fp16") / si(device.power) < 4e12


REPORTED_MIB = {
    "h100_sxm": 81_559, "a100_80gb": 81_920, "a100_40gb": 40_960, "l40s": 46_068, "l4": 23_034, "t4": 15_360,
    "b200": 183_359, "rtx_4090": 24_564,
}  # fmt: skip
"""Total memory by nvidia-smi: modal-labs/modal-client 2797, NVIDIA/TensorRT-LLM 10278, RLinf/RLinf 255."""


@pytest.mark.parametrize(("name", "mib"), REPORTED_MIB.items())
def test_capacity_is_in_binary_bytes(name: str, mib: int) -> None:
    """What the driver reports lies within the capacity, short of it by error correction (1/16) at most."""
    capacity = si(accelerators[name].memory_capacity)
    assert 15 / 16 * capacity * 0.999 <= mib * 2**20 <= capacity
    assert f"{mib:,} MiB" in accelerators[name].note


def test_a_peak_without_a_unit_or_at_an_unknown_precision_is_refused() -> None:
    facts = {
        "name": "Made up", "vendor": "Nobody", "released": 2026,
        "memory_bandwidth": "1 TB/s", "memory_capacity": "80 GiB", "power": "300 W",
    }  # fmt: skip
    with pytest.raises(UnitError, match=r"peak\.fp16"):
        Accelerator(**facts, peak={"fp16": 1e12})  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="precision"):
        Accelerator(**facts, peak={"half": "1 TFLOP/s"})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least one precision"):
        Accelerator(**facts, peak={})  # type: ignore[arg-type]
