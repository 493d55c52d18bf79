"""Tiers of the cache below the accelerator's memory: where blocks go that the engine reuses, and what brings them back.

>>> tiers = CacheTiers(tiers=["host 200 GB 25 GB/s", "disk 2 TB 5 GB/s latency=100 us"])
>>> tiers.names
('host', 'disk')
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar

from secondorder.errors import InputError, naming
from secondorder.quantities import Bandwidth, Checked, Duration, Quantity, Unit, si
from secondorder.spelling import Spelled, is_default, read, spell

OWN = "gpu"
"""The name of the engine's own cache."""
EXAMPLE = "host 200 GB 25 GB/s"
_POSITIONS = re.compile(r"\s*(\w+)\s+([\d.][^\s=]*\s*[A-Za-z]+)\s+([\d.][^\s=]*\s*[A-Za-z]+/[A-Za-z]+)(\s.*)?")
"""A name, a capacity and a bandwidth without the names of their fields."""


@dataclass(frozen=True, kw_only=True)
class CacheTier(Checked):
    """One tier: a store of blocks, and the link that brings them to the engine.

    - ``name``: what it is called in results, such as host or disk.
    - ``capacity``: what it holds.
    - ``bandwidth``: bandwidth at which it hands out blocks, one fetch after the other.
    - ``latency``: time until the first byte of a fetch is there, beside others.
    - ``duplex``: whether blocks are written at the same bandwidth on a way of their own; else reads and writes share
      one queue.
    - ``shared``: whether all replicas of a deployment use one such store over one link. It keeps a copy of what it
      hands out; a tier of one replica does not.
    """

    name: str
    capacity: Annotated[Quantity | str, Unit("byte", positive=True)]
    bandwidth: Bandwidth
    latency: Duration = "0 s"
    duplex: bool = True
    shared: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[A-Za-z]\w*", self.name) or self.name == OWN:
            expected = f"a word of letters and digits other than {OWN}, which is the engine's own cache"
            raise InputError("name", given=repr(self.name), expected=expected)

    def __str__(self) -> str:
        parts = [self.name, spell(self.capacity), spell(self.bandwidth)]
        others = [(each, getattr(self, each.name)) for each in fields(self)[3:]]
        return " ".join(
            parts + [f"{each.name}={spell(value)}" for each, value in others if not is_default(each, value)]
        )

    def blocks(self, block_bytes: float) -> int:
        """Whole blocks of this size that it holds."""
        return int(si(self.capacity) / block_bytes)

    def block_seconds(self, block_bytes: float) -> float:
        """Time in s in which a block crosses its link."""
        return block_bytes / si(self.bandwidth)


@dataclass(frozen=True, kw_only=True)
class CacheTiers(Spelled):
    """Tiers, the fastest first; lines of text become the tiers that they spell.

    A block that one tier evicts goes down to the next one; one that the last tier evicts is gone.

    - ``tiers``: the tiers.

    >>> str(CacheTiers(tiers=["host 2 MB 1 kB/s shared=true"]))
    'host 2000000 byte 1000 byte/s shared=true'
    """

    word: ClassVar[str] = "tiers"
    tiers: tuple[CacheTier, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "tiers", tuple(map(_tier, self.tiers)))
        super().__post_init__()
        if not self.tiers:
            raise InputError("tiers", given="none", expected=f'at least one tier, such as "{EXAMPLE}"')
        if len(set(self.names)) < len(self.names):
            raise InputError("tiers", given=f"two tiers of one name in {self}", expected="a different name for each")

    def __str__(self) -> str:
        return ", ".join(map(str, self.tiers))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tiers."""
        return tuple(tier.name for tier in self.tiers)


def read_tiers(text: str, what: str) -> CacheTiers:
    """Tiers with commas or semicolons between them. Errors: ``InputError``.

    >>> read_tiers("host 200 GB 25 GB/s, disk 2 TB 5 GB/s", "cache_tiers").names
    ('host', 'disk')
    """
    with naming(what):
        return CacheTiers(tiers=tuple(_tier(part.strip()) for part in re.split("[,;]", text)))


def _tier(value: Any) -> CacheTier:
    """A tier, or the one that a text or a table spells."""
    if isinstance(value, str):
        given = value
        if found := _POSITIONS.fullmatch(value):
            name, capacity, bandwidth, rest = found.groups(default="")
            given = f"{name} capacity={capacity} bandwidth={bandwidth}{rest}"
        elif "=" not in value:
            expected = f'a name, a capacity and a bandwidth, such as "{EXAMPLE}"'
            raise InputError("tiers", given=repr(value), expected=expected)
        return read(f"tier {given}", {"tier": CacheTier}, what="tiers", example=EXAMPLE)
    if isinstance(value, Mapping) and {"name", "capacity", "bandwidth"} <= set(value) <= {
        field.name for field in fields(CacheTier)
    }:
        return CacheTier(**value)
    if not isinstance(value, CacheTier):
        raise InputError("tiers", given=repr(value), expected=f'"{EXAMPLE}"')
    return value
