"""Accelerators: datasheet figures, each with its source.

>>> from secondorder.fleets.accelerators import accelerators
>>> h100 = accelerators.h100_sxm
>>> round(h100.ridge_point("bf16"), 1)
295.2
>>> h100.peak_flops("fp4")
Traceback (most recent call last):
secondorder.errors.UnknownName: precision of NVIDIA H100 SXM: got 'fp4', expected fp64, fp32, tf32, ...
>>> accelerators.tpu_v6e.power is None                    # not published, never 0
True
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from secondorder.errors import InputError, UnknownName
from secondorder.quantities import Bandwidth, Checked, DataSize, Power, Quantity, Unit, si
from secondorder.zoo import Source, Zoo, read_entries

BYTES_PER_VALUE: Mapping[str, float] = {
    "fp64": 8.0,
    "fp32": 4.0,
    "tf32": 4.0,
    "fp16": 2.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "fp6": 0.75,
    "fp4": 0.5,
    "int4": 0.5,
}
"""Bytes that one stored value takes at each precision."""


def bytes_per_value(precision: str) -> float:
    """Bytes of one value at ``precision``; ``UnknownName`` for a precision that does not exist."""
    try:
        return BYTES_PER_VALUE[precision]
    except KeyError:
        raise UnknownName.among("precision", precision, BYTES_PER_VALUE) from None


def no_power(name: str) -> InputError:
    """The error of what needs the power of a part for which none is published."""
    return InputError(
        f"power of {name}",
        given="no figure",
        expected="its maximum power",
        remedy="give it with dataclasses.replace(accelerator, power='300 W')",
    )


@dataclass(frozen=True, kw_only=True)
class Accelerator(Checked):
    """One device, by its datasheet.

    ``peak`` maps a precision to dense (never sparse) FLOP/s of matrix code, integer
    operations counted in the same way; a precision that is not there is one that the part cannot be
    asked for. ``memory_capacity`` and ``memory_bandwidth`` are of the memory that holds
    weights and caches; of the capacity, error correction and the driver keep some: ``visible_memory`` is what they
    show, where it was seen.
    ``power`` is the maximum board or module power; it is absent where none is published, and
    ``rated_power`` is then an error. ``link_bandwidth`` is that of the device's scale-up links
    together, in one direction; it is absent where none was found (PCIe alone, or a bridge that is bought apart).
    ``peer_bandwidth`` is that of the host's bus, in one direction, of cards that reach each other's memory over it
    (not those of GeForce); ``shared_link`` is the former where the
    card has it, else the latter.
    ``released`` is the year of the announcement.
    """

    name: str
    vendor: str
    released: int
    peak: Mapping[str, Quantity | str]
    memory_bandwidth: Bandwidth
    memory_capacity: DataSize
    visible_memory: DataSize | None = None
    power: Power | None = None
    link_bandwidth: Bandwidth | None = None
    peer_bandwidth: Bandwidth | None = None
    note: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.peak:
            raise InputError("peak", given="no precision", expected="FLOP/s for at least one precision")
        rate = Unit("FLOP/s", positive=True)
        for precision in self.peak:
            bytes_per_value(precision)
        peak = {precision: rate.read(value, f"peak.{precision}") for precision, value in self.peak.items()}
        object.__setattr__(self, "peak", peak)

    def peak_flops(self, precision: str) -> float:
        """Dense peak in FLOP/s. ``UnknownName`` for a precision that the part lacks."""
        try:
            return si(self.peak[precision])
        except KeyError:
            raise UnknownName.among(f"precision of {self.name}", precision, self.peak) from None

    @property
    def shared_link(self) -> float | None:
        """Bytes a second, in one direction, by which devices of a node exchange values; None where it is not known.

        >>> accelerators.h100_sxm.shared_link, accelerators.rtx_pro_6000.shared_link, accelerators.rtx_4090.shared_link
        (450000000000.0, 63000000000.0, None)
        """
        link = self.peer_bandwidth if self.link_bandwidth is None else self.link_bandwidth
        return None if link is None else si(link)

    @property
    def visible(self) -> float:
        """Bytes that the driver shows; 98.5 % of the capacity, the share of most cards, where none were seen.

        >>> round(accelerators.l4.visible / 2**30, 2), round(accelerators.h100_sxm.visible / 2**30, 2)
        (22.03, 79.19)
        """
        return si(self.memory_capacity) * 0.985 if self.visible_memory is None else si(self.visible_memory)

    @property
    def rated_power(self) -> float:
        """``power`` in W. ``InputError`` where none is published.

        >>> accelerators.h100_sxm.rated_power
        700.0
        >>> accelerators.tpu_v6e.rated_power
        Traceback (most recent call last):
        secondorder.errors.InputError: power of Google TPU v6e (Trillium): got no figure, expected its maximum ...
        """
        if self.power is None:
            raise no_power(self.name)
        return si(self.power)

    def ridge_point(self, precision: str) -> float:
        """Operational intensity (FLOP/byte) at which compute and memory take equally long.

        ``ridge = peak / memory_bandwidth``. *Source*: Williams, Waterman, Patterson 2009.

        >>> round(accelerators.a100_80gb.ridge_point("fp16"), 1)
        153.0
        """
        return self.peak_flops(precision) / si(self.memory_bandwidth)


def _load() -> dict[str, Accelerator]:
    entries = read_entries("secondorder.fleets", "accelerators.toml")
    return {name: Accelerator(**fields, sources=sources) for name, (fields, sources) in entries.items()}


accelerators: Zoo[Accelerator] = Zoo("accelerators", _load)
