"""A row of the first-order suite."""

import contextlib
import io
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

Call = Callable[[], object]
ReferenceCall = Callable[[SimpleNamespace], object]


@dataclass(frozen=True)
class Command:
    """A line of the command, whose exit code counts."""

    line: str

    def __call__(self) -> int:
        from secondorder.cli import main

        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return main(shlex.split(self.line))


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table.

    ``call`` is ours, ``twin`` that of its simulation; ``unit`` is what numbers are shown in, ``digits`` how many.
    ``theirs`` is the reference system's call, with the names of its modules in ``m``, or a line of its command, and
    ``recorded`` what it gave. ``page`` is the figure that its own page prints (version 0.1.2); ``band`` has two calls,
    and what moves between.
    """

    workflow: str
    what: str
    call: Call
    unit: str = ""
    digits: int = 3
    twin: Call | None = None
    theirs: ReferenceCall | str = ""
    recorded: object = None
    page: str = ""
    why: str
    derivation: str = ""
    band: tuple[Call, Call, str] | None = None
