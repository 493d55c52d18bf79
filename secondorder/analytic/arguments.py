"""What the closed forms take and give: SI floats or arrays of them, checked once, broadcast.

Every function names its arguments as all others do: ``arrival_rate`` and
``service_rate`` in 1/s, ``mean_service`` in s, ``servers`` a whole number, ``t`` in s,
``p`` a probability. A float in gives a float out, an array in gives an array out.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from secondorder.arrays import Floats as Floats
from secondorder.arrays import Real as Real
from secondorder.errors import InputError, Unstable

Whole: TypeAlias = int | npt.NDArray[np.int64]


def positive(what: str, value: Real) -> Floats:
    """``value`` as an array of finite numbers above 0."""
    return _numbers(what, value, lambda x: x > 0, "above 0")


def non_negative(what: str, value: Real) -> Floats:
    """``value`` as an array of finite numbers of at least 0."""
    return _numbers(what, value, lambda x: x >= 0, "of at least 0")


def fraction(what: str, value: Real) -> Floats:
    """``value`` as an array of numbers strictly between 0 and 1."""
    return _numbers(what, value, lambda x: (x > 0) & (x < 1), "between 0 and 1, both excluded")


def share(what: str, value: Real) -> Floats:
    """``value`` as an array of numbers from 0 to 1, both included."""
    return _numbers(what, value, lambda x: (x >= 0) & (x <= 1), "from 0 to 1")


def whole(what: str, value: Whole, least: int = 1) -> npt.NDArray[np.int64]:
    """``value`` as an array of integers of at least ``least``."""
    expected = f"that are whole and at least {least}"
    return _numbers(what, value, lambda x: (x == np.floor(x)) & (x >= least), expected).astype(np.int64)


def one(what: str, value: Real) -> float:
    """``value`` as one number above 0, for a model that is solved one queue at a time."""
    if np.ndim(value) != 0:
        raise InputError(what, given=f"an array of shape {np.shape(value)}", expected="one number: one queue at a time")
    return float(positive(what, value))


def one_whole(what: str, value: Whole, least: int = 1) -> int:
    """``value`` as one integer of at least ``least``, for a model that is solved one queue at a time."""
    if np.ndim(value) != 0:
        raise InputError(what, given=f"an array of shape {np.shape(value)}", expected="one number: one queue at a time")
    return int(whole(what, value, least))


def stable(arrival_rate: Real, mean_service: Real, servers: Whole = 1) -> Floats:
    """The utilisation ``arrival_rate mean_service / servers``; ``Unstable`` where it is 1 or more.

    >>> stable(5.0, 1.0, 4)
    Traceback (most recent call last):
    secondorder.errors.Unstable: utilisation 1.25 of 4 servers: the queue grows without limit; use at least 6 servers
    or an arrival rate below 4 request/s
    """
    rate, service, count = np.broadcast_arrays(
        positive("arrival_rate", arrival_rate), positive("mean_service", mean_service), whole("servers", servers)
    )
    utilisation = np.asarray(rate * service / count)
    if (utilisation >= 1).any():
        worst = int(utilisation.argmax())
        load, c, mean = float((rate * service).flat[worst]), int(count.flat[worst]), float(service.flat[worst])
        rest = f"use at least {int(np.floor(load)) + 1} servers or " if np.ndim(servers) or servers != 1 else "use "
        raise Unstable(
            f"utilisation {load / c:.6g} of {c} server{'s' if c > 1 else ''}: the queue grows without limit; "
            f"{rest}an arrival rate below {c / mean:.6g} request/s"
        )
    return utilisation


def plain(value: npt.ArrayLike) -> Real:
    """A float where there is one number, else the array."""
    array = np.asarray(value, dtype=np.float64)
    return float(array) if array.ndim == 0 else array


def each(function: Callable[..., float], *values: npt.ArrayLike) -> Real:
    """``function`` at each of the values, broadcast."""
    grid = np.broadcast(*(np.asarray(value) for value in values))
    found = np.array([function(*(item.item() for item in items)) for items in grid], dtype=np.float64)
    return plain(found.reshape(grid.shape))


def _numbers(what: str, value: Real | Whole, good: Callable[[Floats], npt.NDArray[np.bool_]], expected: str) -> Floats:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(what, given=repr(value), expected=f"a number, or an array of numbers, {expected}") from None
    with np.errstate(invalid="ignore"):
        bad = ~(np.isfinite(array) & good(array))
    if bad.any():
        given = array[bad].flat[0]
        raise InputError(what, given=f"{given:.6g}", expected=f"finite numbers {expected}")
    return array
