"""Compiles the kernels once for a user, and says so.

Machine code is kept in the package's own folder, or in the user's cache folder where that one cannot be written. The
folder is named by a digest of the kernels' sources: numba itself notices a change of the function that it compiled,
but not of the functions that this one calls.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TypeVar, cast

import numba
from numba import config
from numba.core import event

from secondorder.errors import InputError
from secondorder.files import user_cache

Function = TypeVar("Function", bound=Callable[..., object])

KERNELS = Path(__file__).parent


def inlined(function: Function) -> Function:
    """A part of a kernel whose code replaces each call of it."""
    return _jit(function, forceinline=True, **_PART)


def merged(function: Function) -> Function:
    """The same, before types are known: it halves the time to compile a long part with one caller."""
    return _jit(function, inline="always")


def called(function: Function) -> Function:
    """A part of a kernel that is rare, large or called from several places: it stays a function."""
    return _jit(function, **_PART)


def compiled(function: Function) -> Function:
    """A kernel that Python calls: compiled at the first call of a user, and loaded from a file afterwards."""
    settings = vars(config)
    before = settings["CACHE_DIR"]
    settings["CACHE_DIR"] = before or str(folder())  # read when the cache is made, in the next line
    try:
        return _jit(function, cache=True, nogil=True)
    finally:
        settings["CACHE_DIR"] = before


_PART = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Options of functions that Python never calls."""


def _jit(function: Function, **options: object) -> Function:
    """Without numba's reference counts, since kernels allocate nothing: they are five times faster."""
    njit = cast("Callable[..., Callable[[Function], Function]]", numba.njit)
    return njit(error_model="numpy", _nrt=False, **options)(function)


@cache
def folder() -> Path:
    """Where machine code is kept: the package's folder, or the user's where that one cannot be written."""
    for parent in (KERNELS / "__pycache__", user_cache()):
        place = parent / f"kernels-{_digest()}"
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(place, os.W_OK):
            return place
    raise InputError(
        "cache folder",
        given=f"{KERNELS} and {user_cache()}, neither of which can be written",
        expected="a folder for compiled code",
        remedy="set NUMBA_CACHE_DIR to one, or ask for witness='events'",
    )


def _digest() -> str:
    found = sha256(numba.__version__.encode())
    for source in sorted(KERNELS.rglob("*.py")):
        found.update(source.read_bytes())
    return found.hexdigest()[:16]


class _Notice(event.Listener):
    """Says once in a process that numba compiles, and nothing where the code comes from a file."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: object) -> None:
        if not self.said:
            self.said = True
            print("compiling the simulation kernels, once for this installation…", file=sys.stderr, flush=True)

    def on_end(self, event: object) -> None:
        pass


_NOTICE = _Notice()


@contextmanager
def announced(kernel: Callable[..., object]) -> Iterator[None]:
    """Say on stderr that this kernel is compiled, if it is; the first calls of several processes take turns."""
    with ExitStack() as first:
        if not getattr(kernel, "signatures", True):
            first.enter_context(_turn())
            first.enter_context(event.install_listener("numba:compile", _NOTICE))
        yield


@contextmanager
def _turn() -> Iterator[None]:
    """One process at a time: the others then find what it compiled in the folder."""
    try:
        from fcntl import LOCK_EX, flock
    except ImportError:  # Windows: each compiles for itself
        yield
        return
    with (folder() / "turn").open("w") as file:
        flock(file, LOCK_EX)
        yield
