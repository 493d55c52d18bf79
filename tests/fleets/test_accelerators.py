"""Claims about the accelerators: every figure is sourced, and none contradicts another or physics."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from importlib.resources import files

import pytest

from secondorder.errors import InputError, UnitError, UnknownName
from secondorder.fleets.accelerators import BYTES_PER_VALUE, Accelerator, accelerators
from secondorder.quantities import si

EVERY = pytest.mark.parametrize("name", list(accelerators))

EXPECTED = {
    "h100_sxm",
    "h100_pcie",
    "h200",
    "b200",
    "gb300",
    "a100_40gb",
    "a100_80gb",
    "l40s",
    "l4",
    "t4",
    "v100",
    "rtx_4090",
    "rtx_pro_6000",
    "mi300x",
    "mi355x",
    "gaudi_3",
    "tpu_v5p",
    "trainium2",
    "groq_lpu",
    "apple_m2_ultra",
}
EDGE = [name for name in accelerators if name.startswith("jetson_")]
MICROCONTROLLERS = ["stm32f407", "nrf52840", "esp32_s3"]
UNPUBLISHED = {"tpu_v5e", "tpu_v5p", "tpu_v6e", "tpu_v7", "inferentia1", "trainium1", "inferentia2"}
"""Parts whose vendor prints no power."""


def test_they_reach_from_the_data_centre_to_the_microcontroller() -> None:
    assert len(accelerators) >= 40
    assert set(accelerators) >= EXPECTED | set(MICROCONTROLLERS)
    assert len(EDGE) >= 5
    assert len({device.vendor for _, device in accelerators.items()}) >= 10


@EVERY
def test_every_figure_has_a_source(name: str) -> None:
    device = accelerators[name]
    assert set(device.sources) >= {"vendor", "released", "peak", "memory_bandwidth", "memory_capacity"}
    assert ("power" in device.sources) == (device.power is not None)
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


def test_every_source_is_used() -> None:
    file = files("secondorder.fleets") / "accelerators.toml"
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    sources = tables.pop("sources")
    used = {key for table in tables.values() for key in (table.get("source"), *table.get("sources", {}).values())}
    assert used - {None} == set(sources)


@pytest.mark.parametrize(
    ("name", "flop_per_byte"),
    [("a100_80gb", 153.0), ("h100_sxm", 295.2), ("h200", 206.0), ("t4", 203.1), ("v100", 138.9)],
)
def test_ridge_points_meet_the_reference(name: str, flop_per_byte: float) -> None:
    assert accelerators[name].ridge_point("fp16") == pytest.approx(flop_per_byte, abs=0.05)


# Peaks against each other

VESTIGIAL = {"b300", "gb300"}
"""Parts that keep int8 for old programs only, at a fifteenth of fp16."""


@EVERY
def test_a_narrower_precision_is_never_slower(name: str) -> None:
    peak = {key: si(rate) for key, rate in accelerators[name].peak.items() if name not in VESTIGIAL or key != "int8"}
    by_width = sorted(peak, key=lambda precision: (-BYTES_PER_VALUE[precision], precision == "tf32"))
    rates = [peak[precision] for precision in by_width if name != "mi100" or precision != "bf16"]
    assert rates == sorted(rates)


STEPS = [
    ("tf32", "fp16"),
    ("fp16", "fp8"),
    ("bf16", "fp8"),
    ("fp16", "int8"),
    ("bf16", "int8"),
    ("fp8", "fp4"),
    ("int8", "int4"),
]
GEFORCE: dict[tuple[str, str], float] = {("fp16", "int8"): 4, ("bf16", "int8"): 4}
"""GeForce halves the rate that accumulates in fp32, which int8 does not."""
NO_FASTER: dict[tuple[str, str], float] = {("fp16", "int8"): 1, ("bf16", "int8"): 1}
OWN_STEPS: dict[str, dict[tuple[str, str], float]] = {
    "rtx_2080_ti": {("fp16", "int8"): 4},
    "rtx_3090": GEFORCE,
    "rtx_4090": GEFORCE,
    "rtx_5090": GEFORCE | {("fp8", "fp4"): 4},
    "b300": {("fp16", "int8"): 1 / 15, ("bf16", "int8"): 1 / 15, ("fp8", "fp4"): 28 / 9},
    "gb300": {("fp16", "int8"): 1 / 15, ("bf16", "int8"): 1 / 15, ("fp8", "fp4"): 3},
    "mi100": {("fp16", "int8"): 1},
    "mi210": NO_FASTER,
    "mi250x": NO_FASTER,
    "gaudi_3": {("bf16", "fp8"): 1},
    "tpu_v4i": {("bf16", "int8"): 1},
    "tpu_v4": {("bf16", "int8"): 1},
    "tpu_v5p": {("bf16", "fp8"): 1},
    "tpu_v6e": {("bf16", "fp8"): 1},
    "trainium1": {("tf32", "fp16"): 1, ("fp16", "fp8"): 1, ("bf16", "fp8"): 1},
    "inferentia2": {("tf32", "fp16"): 1, ("fp16", "fp8"): 1, ("bf16", "fp8"): 1},
    "trainium2": {("tf32", "fp16"): 1},
    "trainium3": {("tf32", "fp16"): 1, ("fp16", "fp8"): 3.75, ("bf16", "fp8"): 3.75, ("fp8", "fp4"): 1},
    "groq_lpu": {("fp16", "int8"): 4},
}
"""Steps that are none of two, as their vendors print them: no faster formats, other units, a raised fp4."""


def odd_steps(peak: Mapping[str, object], own: Mapping[tuple[str, str], float]) -> list[tuple[str, str]]:
    """The halvings of width that do not multiply the rate as they should, within rounding."""
    rates = {precision: si(rate) for precision, rate in peak.items()}  # type: ignore[arg-type]
    there = [step for step in STEPS if set(step) <= set(rates)]
    return [step for step in there if rates[step[1]] / rates[step[0]] != pytest.approx(own.get(step, 2), rel=0.03)]


@EVERY
def test_peaks_are_dense(name: str) -> None:
    """Each halving of the width doubles a matrix unit's rate; a sparse figure would double it twice."""
    assert odd_steps(accelerators[name].peak, OWN_STEPS.get(name, {})) == []


def test_a_sparse_figure_would_be_found() -> None:
    sparse = {"fp16": "989 TFLOP/s", "fp8": "3958 TFLOP/s"}
    wrong = replace(accelerators.h100_sxm, peak=sparse)
    assert odd_steps(wrong.peak, {}) == [("fp16", "fp8")]


@EVERY
def test_bf16_is_as_fast_as_fp16_where_the_part_has_both(name: str) -> None:
    peak = accelerators[name].peak
    if {"fp16", "bf16"} <= set(peak):
        assert si(peak["bf16"]) == si(peak["fp16"]) * (0.5 if name == "mi100" else 1)


@pytest.mark.parametrize("name", ["t4", "v100"])
def test_a_precision_that_the_part_lacks_is_an_error(name: str) -> None:
    for precision in ("bf16", "fp8", "fp4"):
        with pytest.raises(UnknownName, match=f"precision of NVIDIA .* got '{precision}'"):
            accelerators[name].peak_flops(precision)


# Figures against what the part is made of

UNITS = {
    "p100": ("fp16", 56 * 64 * 4, 1.48),
    "v100": ("fp16", 80 * 1024, 1.53),
    "t4": ("fp16", 40 * 1024, 1.59),
    "a100_80gb": ("fp16", 108 * 2048, 1.41),
    "a30": ("fp16", 56 * 2048, 1.44),
    "a10": ("fp16", 72 * 1024, 1.695),
    "a40": ("fp16", 84 * 1024, 1.74),
    "rtx_a6000": ("fp16", 84 * 1024, 1.8),
    "rtx_3090": ("fp16", 82 * 512, 1.695),
    "rtx_2080_ti": ("fp16", 68 * 512, 1.545),
    "l4": ("fp16", 58 * 1024, 2.04),
    "l40s": ("fp16", 142 * 1024, 2.52),
    "rtx_4090": ("fp16", 128 * 512, 2.52),
    "rtx_6000_ada": ("fp16", 142 * 1024, 2.505),
    "rtx_5090": ("fp16", 170 * 512, 2.407),
    "h100_sxm": ("fp16", 132 * 4096, 1.83),
    "jetson_nano": ("fp16", 512, 0.921),
    "mi100": ("fp16", 120 * 1024, 1.502),
    "mi210": ("fp16", 104 * 1024, 1.7),
    "mi250x": ("fp16", 220 * 1024, 1.7),
    "mi300a": ("fp16", 228 * 2048, 2.1),
    "mi300x": ("fp16", 304 * 2048, 2.1),
    "mi355x": ("fp16", 256 * 4096, 2.4),
    "tpu_v1": ("int8", 2 * 65_536, 0.7),
    "tpu_v2": ("bf16", 2 * 2 * 16_384, 0.7),
    "tpu_v3": ("bf16", 4 * 2 * 16_384, 0.94),
    "tpu_v4i": ("bf16", 4 * 2 * 16_384, 1.05),
    "tpu_v4": ("bf16", 8 * 2 * 16_384, 1.05),
    "jetson_orin_nano_super": ("fp32", 1024 * 2, 1.02),
    "jetson_agx_orin": ("fp32", 2048 * 2, 1.3),
    "jetson_thor": ("fp16", 20 * 8192, 1.575),
}
"""Dense operations a clock cycle of the whole part, and its clock in GHz, from the makers' architecture papers."""


@pytest.mark.parametrize(("name", "made_of"), UNITS.items())
def test_a_peak_is_units_times_clock(name: str, made_of: tuple[str, int, float]) -> None:
    """Within 1.5 %: clocks are printed to two or three digits, and the L40S's rate to less than its clock gives."""
    precision, operations, clock = made_of
    assert accelerators[name].peak_flops(precision) == pytest.approx(operations * clock * 1e9, rel=0.015)


BUSES = {
    "k80": (384, 5),
    "p100": (4096, 1.43),
    "v100": (4096, 1.75),
    "t4": (256, 10),
    "a40": (384, 14.5),
    "a10": (384, 12.5),
    "rtx_2080_ti": (352, 14),
    "rtx_3090": (384, 19.5),
    "rtx_a6000": (384, 16),
    "l4": (192, 12.5),
    "l40s": (384, 18),
    "rtx_4090": (384, 21),
    "rtx_6000_ada": (384, 20),
    "rtx_5090": (512, 28),
    "rtx_pro_6000": (512, 28),
    "dgx_spark": (256, 8.533),
    "jetson_nano": (64, 3.2),
    "jetson_orin_nano": (128, 4.266),
    "jetson_orin_nx": (128, 6.4),
    "jetson_agx_orin": (256, 6.4),
    "jetson_thor": (256, 8.533),
    "mi100": (4096, 2.4),
    "mi210": (4096, 3.2),
    "mi250x": (8192, 3.2),
    "mi300x": (8192, 5.2),
    "mi325x": (8192, 6),
    "mi355x": (8192, 8),
    "apple_m1_max": (512, 6.4),
    "apple_m2_ultra": (1024, 6.4),
    "a100_40gb": (5120, 2.43),
    "b200": (7680, 7.992),
}
"""Bits of the memory bus, and gigabits a second of each."""


@pytest.mark.parametrize(("name", "bus"), BUSES.items())
def test_a_bandwidth_is_bus_times_rate(name: str, bus: tuple[int, float]) -> None:
    """Within 2.5 %: 819.2 is printed as 800, 8.19 as 8."""
    bits, rate = bus
    assert si(accelerators[name].memory_bandwidth) == pytest.approx(bits / 8 * rate * 1e9, rel=0.025)


@pytest.mark.parametrize(
    ("name", "precision", "tera"),
    [
        ("jetson_orin_nano", "int8", 40),
        ("jetson_orin_nano_super", "int8", 67),
        ("jetson_orin_nx", "int8", 100),
        ("jetson_agx_orin", "int8", 275),
        ("jetson_thor", "fp16", 517),
        ("jetson_thor", "int8", 1035),
        ("jetson_thor", "fp4", 2070),
    ],
)
def test_the_sparse_figures_printed_for_jetson_are_not_stored_as_dense(name: str, precision: str, tera: float) -> None:
    """Dense is half at most; the deep-learning accelerators, which some prints add, are not counted."""
    assert accelerators[name].peak_flops(precision) <= tera * 1e12 / 2 * 1.03
    assert "sparse" in accelerators[name].note or "sparsity" in accelerators[name].note or name.endswith("super")


def test_figures_that_circulate_wrong_are_right_here() -> None:
    trainium2 = accelerators.trainium2
    assert [trainium2.peak_flops(precision) / 1e12 for precision in ("bf16", "fp8")] == [667, 1299]
    assert si(trainium2.memory_bandwidth) == 2.9e12
    assert accelerators.t4.peak_flops("fp32") == 8.1e12
    assert si(accelerators.h100_sxm.memory_capacity) == 80 * 2**30


# Sizes


LINKS = {
    "p100": (4, 20),
    "v100": (6, 25),
    "a100_40gb": (12, 25),
    "a100_80gb": (12, 25),
    "h100_sxm": (18, 25),
    "h200": (18, 25),
    "b200": (18, 50),
    "gb300": (18, 50),
    "mi100": (3, 46),
    "mi210": (3, 50),
    "mi250x": (8, 50),
    "mi300a": (3, 64),
    "mi300x": (7, 64),
    "mi325x": (7, 64),
    "mi355x": (7, 76.8),
    "gaudi_2": (24, 12.5),
    "gaudi_3": (24, 25),
    "tpu_v3": (4, 70),
    "tpu_v4": (6, 50),
    "tpu_v5e": (4, 50),
    "tpu_v5p": (6, 100),
    "tpu_v6e": (4, 100),
    "tpu_v7": (6, 100),
}
"""Scale-up links of the part that it can use at once, and GB/s of each in one direction."""


@pytest.mark.parametrize(("name", "links"), LINKS.items())
def test_the_link_bandwidth_is_that_of_all_links_in_one_direction(name: str, links: tuple[int, float]) -> None:
    number, each = links
    printed = accelerators[name].link_bandwidth
    assert printed is not None
    assert si(printed) == pytest.approx(number * each * 1e9)


@EVERY
def test_the_link_is_slower_than_the_memory(name: str) -> None:
    device = accelerators[name]
    if device.link_bandwidth is not None:
        assert si(device.link_bandwidth) < si(device.memory_bandwidth)


@EVERY
def test_figures_are_of_a_plausible_size(name: str) -> None:
    """Within these bounds a wrong unit or prefix cannot hide."""
    device = accelerators[name]
    least_capacity, most_capacity, least_power, most_power = (
        (128 * 2**10, 2**20, 0.005, 1)
        if name in MICROCONTROLLERS
        else (4 * 2**30, 128 * 2**30, 5, 140)
        if name in EDGE
        else (200e6 if name == "groq_lpu" else 8 * 2**30, 300 * 2**30, 50, 1500)
    )
    assert least_capacity <= si(device.memory_capacity) <= most_capacity
    if device.power is not None:
        assert least_power <= device.rated_power <= most_power
    assert 2010 < device.released <= date.today().year
    # reading all memory takes a millisecond to a second, of SRAM less
    seconds = si(device.memory_capacity) / si(device.memory_bandwidth)
    assert (1e-6 if name in [*MICROCONTROLLERS, "groq_lpu"] else 1e-2) < seconds < 1


@EVERY
def test_ridge_points_are_plausible(name: str) -> None:
    """In 16 bits 15 to 1,200 FLOP/byte: from a P100 to an Inferentia on DDR4. SRAM is fast: 1 to 10."""
    device = accelerators[name]
    for precision in {"fp16", "bf16"} & set(device.peak):
        least, most = (1, 10) if name == "groq_lpu" else (15, 1200)
        assert least < device.ridge_point(precision) < most
    if name in MICROCONTROLLERS:
        assert all(0.1 < device.ridge_point(precision) < 10 for precision in device.peak)


@EVERY
def test_no_part_does_more_per_watt_than_its_time_allowed(name: str) -> None:
    """Dense operations a joule, by the precision's width: what the best parts of 2025 reach, and a little."""
    device = accelerators[name]
    if device.power is None:
        return
    most = {"fp64": 0.3e12, "fp32": 0.45e12, "tf32": 2.5e12, "fp6": 10e12, "fp4": 14e12, "int4": 14e12}
    for precision in device.peak:
        limit = most.get(precision, 2.5e12 if BYTES_PER_VALUE[precision] == 2 else 5e12)
        assert device.peak_flops(precision) / device.rated_power < limit


# Power


def test_an_unpublished_power_is_absent_and_asking_for_it_names_the_part() -> None:
    assert {name for name, device in accelerators.items() if device.power is None} == UNPUBLISHED
    for name in UNPUBLISHED:
        with pytest.raises(InputError, match=r"^power of (Google|AWS) .*: got no figure, expected its maximum power"):
            _ = accelerators[name].rated_power
    assert replace(accelerators.tpu_v6e, power="300 W").rated_power == 300


REPORTED_MIB = {
    "h100_sxm": 81_559,
    "a100_80gb": 81_920,
    "a100_40gb": 40_960,
    "l40s": 46_068,
    "l4": 23_034,
    "t4": 15_360,
    "b200": 183_359,
    "rtx_4090": 24_564,
}
"""Total memory by nvidia-smi: modal-labs/modal-client 2797, NVIDIA/TensorRT-LLM 10278, RLinf/RLinf 255."""


@pytest.mark.parametrize(("name", "mib"), REPORTED_MIB.items())
def test_capacity_is_in_binary_bytes(name: str, mib: int) -> None:
    """What the driver reports lies within the capacity, short of it by error correction (1/16) at most."""
    capacity = si(accelerators[name].memory_capacity)
    assert 15 / 16 * capacity * 0.999 <= mib * 2**20 <= capacity
    assert f"{mib:,} MiB" in accelerators[name].note


def test_a_peak_without_a_unit_or_at_an_unknown_precision_is_refused() -> None:
    facts = {
        "name": "Made up",
        "vendor": "Nobody",
        "released": 2026,
        "memory_bandwidth": "1 TB/s",
        "memory_capacity": "80 GiB",
        "power": "300 W",
    }
    with pytest.raises(UnitError, match=r"peak\.fp16"):
        Accelerator(**facts, peak={"fp16": 1e12})  # type: ignore[arg-type, dict-item]
    with pytest.raises(UnknownName, match="precision"):
        Accelerator(**facts, peak={"half": "1 TFLOP/s"})  # type: ignore[arg-type]
    facts.pop("power")
    assert Accelerator(**facts, peak={"fp16": "1 TFLOP/s"}).power is None  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least one precision"):
        Accelerator(**facts, peak={})  # type: ignore[arg-type]
