"""Which program simulates a scenario: a compiled kernel, or events on SimPy. Both give the same times."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal, TypeAlias, get_args

from secondorder.errors import InputError

Witness: TypeAlias = Literal["kernel", "events"]

TOLD: dict[Witness, str] = {"kernel": "by the compiled kernel", "events": "by events on SimPy"}
"""How an answer says which witness gave it."""


def can_compile() -> bool:
    """Whether numba is installed: it has no wheel for some machines."""
    return find_spec("numba") is not None


def check_witness(asked: str | None) -> None:
    """Refuse a word that is none. Errors: ``InputError``."""
    if asked is not None and asked not in get_args(Witness):
        raise InputError("witness", given=repr(asked), expected="kernel, events, or None for the faster of the two")


def chosen(asked: Witness | None, supported: Callable[[], bool], what: str) -> Witness:
    """The witness that was asked for; if none was, the kernel where it knows all that the scenario uses.

    Errors: ``InputError`` where the kernel is asked for and does not know it.

    >>> chosen(None, lambda: True, "a queue"), chosen(None, lambda: False, "a queue")
    ('kernel', 'events')
    """
    check_witness(asked)
    if asked == "events" or (asked is None and not supported()):
        return "events"
    if asked == "kernel" and not supported():
        expected = "events: no kernel knows all that it uses, or numba is not installed"
        raise InputError("witness", given=f"kernel for {what}", expected=expected)
    return "kernel"
