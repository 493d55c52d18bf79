"""What can go wrong, drawn as a tree.

    SecondOrderError              exit code 1
    ├── InputError (ValueError)   2  a value, a file or a name is not usable
    │   ├── UnitError             2  a unit is missing or of the wrong dimension
    │   ├── UnknownName           2  no such entry; the near ones are suggested
    │   └── FileError             2  a file cannot be read as what it should be
    ├── InfeasibleError           3  the system cannot exist or has no steady state
    │   ├── DoesNotFit            3  the model, a request or a layout exceeds the memory
    │   └── Unstable              3  the load exceeds what the system can serve
    └── ConstraintNotMet          4  a stated constraint (objective, assertion, claim) fails

Every message is one line: what was given, what was expected, what to do.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import ClassVar


class SecondOrderError(Exception):
    """Base of every error raised on purpose."""

    exit_code: ClassVar[int] = 1


class InputError(SecondOrderError, ValueError):
    """A value that cannot be used as given.

    >>> raise InputError("block_size", given="0", expected="an integer of at least 1")
    Traceback (most recent call last):
    secondorder.errors.InputError: block_size: got 0, expected an integer of at least 1
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, given: object = None, expected: str = "", remedy: str = "") -> None:
        self.what, self.expected, self.remedy = what, expected, remedy
        self.given = "nothing" if given is None else str(given)
        super().__init__(self._line())

    def _line(self) -> str:
        if not self.expected:  # a copy by SimPy, which has the text alone
            return self.what
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{_shown(self.what)}: got {_shown(self.given)}, expected {self.expected}{remedy}"

    def __str__(self) -> str:
        return self._line()

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.given, self.expected, self.remedy)

    def within(self, owner: str) -> "InputError":
        """The same error with the outer name in front: ``rate`` becomes ``arrivals.rate``."""
        return _rebuild(type(self), f"{owner}.{self.what}", self.given, self.expected, self.remedy)


class UnitError(InputError):
    """A quantity without its unit, or with the unit of something else."""


class UnknownName(InputError, AttributeError, KeyError):
    """A name that is not in the collection."""

    @classmethod
    def among(cls, what: str, name: object, known: Iterable[str]) -> "UnknownName":
        """The error for ``name``, with the nearest of the ``known`` names."""
        names = list(known)
        wanted = str(name).lower().replace("-", "_")
        begun = [each for each in names if len(wanted) > 2 and each.startswith(wanted)]
        near = list(dict.fromkeys([*begun, *get_close_matches(wanted, names, n=3, cutoff=0.5)]))[:3]
        few = ", ".join(names) if len(names) <= 12 else f"one of {len(names)} names"
        remedy = f"did you mean {' or '.join(near)}?" if near else ""
        return cls(what, given=repr(name), expected=few, remedy=remedy)


class FileError(InputError):
    """A file that cannot be read as what it should be."""


LONGEST, QUOTED = 300, 60
"""Characters of a text, and of a value in quotation marks, that a message repeats; the middle of more is left out."""


def _shown(text: str) -> str:
    """What was given, as a terminal may show it: cut, and control characters as Python writes them."""
    longest = QUOTED if text[:1] in "'\"[{(" else LONGEST
    if len(text) > longest:
        half = longest // 2
        text = f"{text[:half]}...{text[-half:]} ({len(text):,} characters)"
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _rebuild(cls: type[InputError], what: str, given: str, expected: str, remedy: str) -> InputError:
    return cls(what, given=given, expected=expected, remedy=remedy)


@contextmanager
def naming(owner: str) -> Iterator[None]:
    """Errors of what is inside name their owner, as ``within``; those of a file already name the file."""
    try:
        yield
    except FileError:
        raise
    except InputError as error:
        raise error.within(owner) from None


class InfeasibleError(SecondOrderError):
    """The system described cannot exist, or has no steady state."""

    exit_code: ClassVar[int] = 3


class DoesNotFit(InfeasibleError):
    """Something exceeds the memory it must live in."""


class Unstable(InfeasibleError):
    """The offered load reaches or exceeds what the system can serve."""


class ConstraintNotMet(SecondOrderError):
    """A constraint that the user stated does not hold."""

    exit_code: ClassVar[int] = 4
