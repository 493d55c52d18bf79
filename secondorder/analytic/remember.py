"""A cache of the results of a function of one frozen value, for the values used last."""

from collections import deque
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")

KEPT = 8
"""Arguments whose results are kept."""


def itself(argument: Argument) -> object:
    """The key of an argument whose every field matters."""
    return argument


def remembered(
    key: Callable[[Argument], object],
) -> Callable[[Callable[[Argument], Result]], Callable[[Argument], Result]]:
    """A function of one argument that is computed once for arguments of equal ``key``.

    ``functools.lru_cache`` asks for a hash; a scenario holds tables without one, but is quickly compared.

    >>> calls = []
    >>> @remembered(lambda pair: pair[0])
    ... def first(pair: list[int]) -> int:
    ...     calls.append(pair)
    ...     return pair[0]
    >>> first([1, 2]), first([1, 3]), len(calls)
    (1, 1, 1)
    """

    def of(function: Callable[[Argument], Result]) -> Callable[[Argument], Result]:
        seen: deque[tuple[object, Result]] = deque(maxlen=KEPT)

        @wraps(function)
        def remembering(argument: Argument) -> Result:
            asked = key(argument)
            for known, result in list(seen):
                if known is asked or known == asked:
                    return result
            result = function(argument)
            seen.appendleft((asked, result))
            return result

        return remembering

    return of
