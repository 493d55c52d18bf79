"""The only loop over replications."""

from collections.abc import Callable
from typing import TypeVar

from secondorder.errors import InputError
from secondorder.executor import run_each

Result = TypeVar("Result")


def replicated(
    measure: Callable[[int], Result],
    replications: int,
    jobs: int = 1,
    *,
    first: int = 0,
    least: int = 1,
    threads: bool = False,
) -> list[Result]:
    """``measure`` of each replication from ``first`` on, by ``jobs`` processes; the result does not depend on ``jobs``.

    With ``threads`` by this many threads instead: for compiled runs.

    Errors: ``InputError`` for fewer than ``least`` replications or for less than one process; those of ``measure``.
    """
    if replications < least:
        expected = "at least 2, for an interval" if least == 2 else f"at least {least}"
        raise InputError("replications", given=replications, expected=expected)
    return list(run_each(measure, range(first, first + replications), jobs, threads=threads))
