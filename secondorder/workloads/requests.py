"""Requests: when each arrives and how many tokens it brings and asks for.

>>> requests = Requests(arrival=[0.0, 0.5, 2.0], input_tokens=[512, 100, 7], output_tokens=[64, 1, 300])
>>> len(requests), requests.rate
(3, 1.0)
>>> requests[1:].input_tokens
array([100,   7])
"""

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secondorder.arrays import EqualByValue, Floats, Integers
from secondorder.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def times(what: str, values: npt.ArrayLike) -> Floats:
    """``values`` as a read-only array of seconds from 0 on, in order; ``InputError`` where they are not."""
    array = np.array(values, dtype=np.float64)
    expected = "finite seconds from 0 on, in non-decreasing order"
    if array.ndim != 1:
        raise InputError(what, given=f"{array.ndim} dimensions", expected=expected)
    bad = ~np.isfinite(array) | (array < 0) | (np.diff(array, prepend=0.0) < 0)
    if bad.any():
        first = int(bad.argmax())
        raise InputError(what, given=f"{array[first]} at index {first}", expected=expected)
    array.flags.writeable = False
    return array


def token_counts(what: str, values: npt.ArrayLike) -> Integers:
    """``values`` as a read-only array of integers of at least 1; ``InputError`` where they are not."""
    return _integers(what, values, least=1, expected="integers of at least 1")


def whole_numbers(what: str, values: npt.ArrayLike) -> Integers:
    """``values`` as a read-only array of integers; ``InputError`` where they are not."""
    return _integers(what, values, least=-(2**53) + 1, expected="integers")


def _integers(what: str, values: npt.ArrayLike, *, least: int, expected: str) -> Integers:
    given = np.array(values)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iuf"):
        raise InputError(what, given=f"an array of {given.dtype} in {given.ndim} dimensions", expected=expected)
    with np.errstate(invalid="ignore"):
        bad = ~((given >= least) & (given < 2**53))
        if given.dtype.kind == "f":
            bad |= given != np.floor(given)
    if bad.any():
        first = int(bad.argmax())
        raise InputError(what, given=f"{given[first]} at index {first}", expected=expected)
    array = given.astype(np.int64, copy=False)
    array.flags.writeable = False
    return array


def mean_rate(arrival: Floats) -> float:
    """Mean rate in request/s: ``(n - 1) / (last - first)``, the inverse of the mean gap."""
    span = float(arrival[-1] - arrival[0]) if arrival.size else 0.0
    if span <= 0:
        raise InputError("arrival", given=f"{arrival.size} requests over {span} s", expected="two different times")
    return (arrival.size - 1) / span


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Requests(EqualByValue):
    """Requests in order of arrival, as arrays of one length (read-only copies of what is given).

    ``arrival`` in seconds, non-decreasing, from 0 on. ``input_tokens`` and ``output_tokens``
    are integers of at least 1: a request that yields nothing is not a request served.
    ``hash_ids`` holds, for each request, the identities of the blocks of ``hash_block``
    tokens that its prompt is made of; equal identities mean a shared prefix. Without them
    ``hash_block`` is 0. ``priorities`` are integers, the lower the more urgent.

    Errors: ``InputError`` for anything else.
    """

    arrival: Floats | Sequence[float]
    input_tokens: Integers | Sequence[int]
    output_tokens: Integers | Sequence[int]
    hash_ids: tuple[Integers, ...] | None = None
    hash_block: int = 0
    priorities: Integers | Sequence[int] | None = None

    def __post_init__(self) -> None:
        self._set("arrival", times("arrival", self.arrival))
        self._set("input_tokens", token_counts("input_tokens", self.input_tokens))
        self._set("output_tokens", token_counts("output_tokens", self.output_tokens))
        for name in ("input_tokens", "output_tokens"):
            self._same_length(name, getattr(self, name))
        if (self.hash_ids is None) != (self.hash_block == 0) or self.hash_block < 0:
            expected = "tokens per block with hash_ids, and 0 without"
            raise InputError("hash_block", given=self.hash_block, expected=expected)
        if self.hash_ids is not None:
            self._set("hash_ids", tuple(np.array(ids, dtype=np.int64) for ids in self.hash_ids))
            self._same_length("hash_ids", self.hash_ids)
        if self.priorities is not None:
            self._set("priorities", whole_numbers("priorities", self.priorities))
            self._same_length("priorities", self.priorities)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _same_length(self, name: str, values: Sized) -> None:
        if len(values) != len(self):
            raise InputError(name, given=f"{len(values)} values", expected=f"{len(self)}, one for each arrival")

    def __len__(self) -> int:
        return len(self.arrival)

    def __getitem__(self, part: slice) -> "Requests":
        """The requests of a slice, at their own times."""
        ids = self.hash_ids[part] if self.hash_ids is not None else None
        return replace(
            self,
            arrival=self.arrival[part],
            input_tokens=self.input_tokens[part],
            output_tokens=self.output_tokens[part],
            hash_ids=ids,
            priorities=None if self.priorities is None else self.priorities[part],
        )

    def __iter__(self) -> Iterator[tuple[float, int, int]]:
        """Each request as ``(arrival, input_tokens, output_tokens)``."""
        for arrival, inputs, outputs in zip(self.arrival, self.input_tokens, self.output_tokens, strict=True):
            yield float(arrival), int(inputs), int(outputs)

    def __repr__(self) -> str:
        blocks = f", hash blocks of {self.hash_block} tokens" if self.hash_block else ""
        return f"<{len(self)} requests{blocks}>"

    @property
    def rate(self) -> float:
        """Mean rate in request/s, ``(n - 1) / (last - first)``: n requests bound n - 1 gaps.

        ``InputError`` where there are not two different arrival times.
        """
        return mean_rate(np.asarray(self.arrival))

    @property
    def priority(self) -> Integers:
        """The priority of each request: 0 for all where none are given."""
        return np.zeros(len(self), np.int64) if self.priorities is None else np.asarray(self.priorities, np.int64)

    @property
    def frame(self) -> "pd.DataFrame":
        """A row each: ``arrival`` (s), ``input_tokens``, ``output_tokens``, ``hash_ids`` and ``priority`` if any."""
        import pandas as pd

        columns: dict[str, object] = {
            "arrival": self.arrival,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
        }
        if self.hash_ids is not None:
            columns["hash_ids"] = list(self.hash_ids)
        if self.priorities is not None:
            columns["priority"] = self.priorities
        return pd.DataFrame(columns)
