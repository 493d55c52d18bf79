"""How urgent requests are: a share of them for each priority.

>>> PriorityShares(shares={1: 0.8, 0: 0.2})
PriorityShares(shares=((0, 0.2), (1, 0.8)))
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from secondorder.arrays import Integers
from secondorder.errors import InputError
from secondorder.spelling import Spelled

Shares = tuple[tuple[int, float], ...]


@dataclass(frozen=True, kw_only=True)
class PriorityShares(Spelled):
    """Each request has a priority, drawn independently of all else; the lower, the more urgent.

    - ``shares``: share of the requests of each priority, ``{0: 0.2, 1: 0.8}``, in sum 1.

    >>> str(PriorityShares(shares={0: 0.2, 1: 0.8}))
    '0=0.2 1=0.8'
    """

    word: ClassVar[str] = "priorities"
    shares: Shares

    def __post_init__(self) -> None:
        given = self.shares.items() if isinstance(self.shares, Mapping) else self.shares
        expected = "a positive share of each priority, in sum 1, such as {0: 0.2, 1: 0.8}"
        try:
            shares = tuple(sorted((_whole(priority), float(share)) for priority, share in given))
        except (TypeError, ValueError):
            raise InputError("priorities", given=repr(self.shares), expected=expected) from None
        total = sum(share for _, share in shares)
        if not shares or min(share for _, share in shares) <= 0 or not abs(total - 1) <= 1e-9:
            raise InputError("priorities", given=repr(dict(shares)), expected=expected)
        if len(dict(shares)) < len(shares):
            raise InputError("priorities", given="a priority twice", expected=expected)
        object.__setattr__(self, "shares", shares)

    def __str__(self) -> str:
        return " ".join(f"{priority}={share!r}" for priority, share in self.shares)

    def draw(self, count: int, rng: np.random.Generator) -> Integers:
        """The priorities of ``count`` requests."""
        known, shares = zip(*self.shares, strict=True)
        ends = np.cumsum(shares)
        which = np.searchsorted(ends / ends[-1], rng.random(count), side="right")
        return np.asarray(known, np.int64)[which]


def _whole(priority: object) -> int:
    """A priority, which vLLM takes as an integer."""
    number = float(str(priority))
    if not number.is_integer() or abs(number) >= 2**53:
        raise ValueError
    return int(number)


def read_priorities(text: str, what: str) -> PriorityShares:
    """The shares that a line spells: ``0=0.2 1=0.8``. Errors: ``InputError``.

    >>> read_priorities("0=0.2 1=0.8", "priorities").shares
    ((0, 0.2), (1, 0.8))
    """
    pairs = [part.partition("=") for part in text.replace(",", " ").split()]
    try:
        shares = tuple((int(priority), float(share)) for priority, _, share in pairs)
    except ValueError:
        raise InputError(what, given=repr(text), expected="priorities and their shares, such as 0=0.2 1=0.8") from None
    return PriorityShares(shares=shares)
