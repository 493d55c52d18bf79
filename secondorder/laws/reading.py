"""Laws read from a line, and fields that take them."""

import re
from typing import ClassVar, TypeAlias, get_args

from secondorder import spelling
from secondorder.errors import InputError, UnknownName
from secondorder.laws.empirical import EmpiricalLaw
from secondorder.laws.heavy_tailed import LogNormal, Pareto, Weibull
from secondorder.laws.light_tailed import (
    Deterministic,
    Erlang,
    Exponential,
    ExponentialMixture,
    Gamma,
    Hyperexponential,
    Normal,
)
from secondorder.quantities import Checked, Quantity, Unit

Law: TypeAlias = (
    Exponential
    | Deterministic
    | Erlang
    | Hyperexponential
    | ExponentialMixture
    | LogNormal
    | Pareto
    | Gamma
    | Weibull
    | Normal
)


LAWS: dict[str, type[Law]] = {law.word: law for law in get_args(Law)}


def read_law(text: str, what: str = "service") -> Law:
    """The law that a line spells: its word, its mean, its shape as ``name=value``.

    >>> read_law("exponential 10 ms") == Exponential("10 ms")
    True
    >>> read_law("deterministic mean=1 s").scv
    0.0
    >>> read_law("lognormol mean=100ms scv=4")
    Traceback (most recent call last):
    secondorder.errors.UnknownName: service: got 'lognormol', expected exponential, deterministic, erlang, ...

    Errors: ``UnknownName`` for a law or a field that does not exist, ``InputError`` for a
    field missing, given twice or not readable; ``what`` names the law in them.
    """
    return spelling.read(text, LAWS, what=what, example="exponential 10 ms")


Service: TypeAlias = Law | EmpiricalLaw
"""A law of a time."""


Time: TypeAlias = Service | Quantity | str
"""A law of a time; a fixed time ("5 s") is a constant law, and a line ("exponential 5 s") is read."""


def time_law(value: Time, what: str) -> Service:
    """The law that a field's value stands for.

    >>> time_law("5 s", "setup") == Deterministic("5 s") == time_law("deterministic 5 s", "setup")
    True
    """
    if isinstance(value, str) and value.strip()[:1].isalpha():
        return read_law(value, what)
    if isinstance(value, str | Quantity):
        return Deterministic(Unit("s", positive=True).read(value, what))
    if isinstance(value, int | float):
        return Deterministic(Unit("s", positive=True).read(value, what))  # a number without a unit is refused
    if not isinstance(value, Service):
        raise InputError(what, given=repr(value), expected='a law such as "exponential 100 ms", or a fixed time')
    return value


def read_shape(text: object, what: str) -> Service:
    """A law of mean 1 s, a factor rather than a time, from a line without its mean.

    >>> read_shape("lognormal scv=0.04", "jitter").scv, read_shape("exponential", "jitter").scv
    (0.04, 1.0)
    """
    expected = "a law without its mean, which is 1"
    refusal = InputError(what, given=repr(text), expected=expected, remedy='write "lognormal scv=0.04"')
    if not isinstance(text, str):
        raise refusal
    word, _, rest = (part.strip() for part in text.strip().partition(" "))
    if word.lower() in LAWS and re.search(r"^(?!\w+\s*=)\S|(?<!\S)mean\s*=", rest):
        raise refusal
    try:
        return read_law(f"{word} 1 s {rest}".strip(), what)
    except InputError as error:
        if isinstance(error, UnknownName) or error.what != what:
            raise
        raise refusal from None  # no law, or one that lacks its scv


class Timed(Checked):
    """A frozen dataclass whose fields named in ``_times`` become laws when it is made, those in ``_shapes`` factors."""

    _times: ClassVar[tuple[str, ...]] = ()
    _shapes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in self._times:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, time_law(value, name))
        for name in self._shapes:
            if not isinstance(value := getattr(self, name), Service | None):
                object.__setattr__(self, name, read_shape(value, name))
        super().__post_init__()

    def law(self, name: str) -> Service:
        """The law in a field."""
        value = getattr(self, name)
        assert isinstance(value, Service)
        return value
