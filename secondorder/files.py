"""Files: text that is read whole, and files that are replaced whole."""

import errno
import os
import select
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from secondorder.errors import FileError

MOST = 1 << 26
"""Bytes of a file that is read whole, unless its reader says another number."""
PATIENCE = 10.0
"""Seconds to wait for what a pipe brings."""
_PIECE = 1 << 20


def read_text(
    path: str | os.PathLike[str], *, encoding: str = "utf-8", errors: str = "strict", most: int = MOST
) -> str:
    """The text of a file or of a pipe, of at most this many bytes.

    >>> read_text("/dev/zero")
    Traceback (most recent call last):
    OSError: [Errno 22] a device

    Errors: ``OSError``, also for a device, for a pipe that brings nothing and for a file that is too large, whose
    ``strerror`` says so; ``UnicodeDecodeError``.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe that nobody writes to must not wait
    try:
        pieces, size, end = [], 0, time.monotonic() + PATIENCE
        mode = os.fstat(handle).st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise OSError(errno.EINVAL, "a device")
        while piece := _piece(handle, end):
            pieces.append(piece)
            if (size := size + len(piece)) > most:
                raise OSError(errno.EFBIG, f"more than {most // 1_000_000:,} MB")
        if not size and stat.S_ISFIFO(mode):
            raise OSError(errno.EPIPE, "a pipe that brings nothing")
    finally:
        os.close(handle)
    return b"".join(pieces).decode(encoding, errors)


def _piece(handle: int, end: float) -> bytes:
    """The next bytes; none at the end."""
    while True:
        try:
            return os.read(handle, _PIECE)
        except BlockingIOError:
            if not select.select([handle], [], [], max(0.0, end - time.monotonic()))[0]:
                raise OSError(errno.ETIMEDOUT, "a pipe that brings nothing") from None


def user_cache() -> Path:
    """The folder of the user's for what a program keeps between its runs; it need not be there."""
    if sys.platform == "win32":
        parent = Path(os.environ.get("LOCALAPPDATA", Path.home()))
    elif sys.platform == "darwin":
        parent = Path.home() / "Library" / "Caches"
    else:
        parent = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return parent / "secondorder"


@contextmanager
def write_aside(name: str | os.PathLike[str]) -> Iterator[Path]:
    """A file to write in the folder of the one that is named, whose place it takes once it is whole.

    A device or a pipe, and a file in a folder that takes no other, are written to directly.
    Errors: ``FileError`` where it cannot be written; the old file stays.
    """
    path = Path(name)
    try:
        if path.exists() and not (path.is_file() and os.access(path.absolute().parent, os.W_OK)):
            yield path
            return
        aside = path.with_name(f".{path.stem[:64]}.{os.getpid()}{path.suffix}")
        try:
            yield aside
            if path.exists():
                aside.chmod(path.stat().st_mode)
            aside.replace(path.resolve())
        finally:
            aside.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        if isinstance(error, FileError):
            raise
        raise unwritable(str(name), getattr(error, "strerror", None) or str(error)) from None


def check_place(name: str) -> None:
    """Refuse a file that cannot be written, before the work is done. Errors: ``FileError``."""
    path = Path(name)
    try:
        if path.is_dir():
            raise unwritable(name, "a directory")
        if not path.absolute().parent.is_dir():
            raise unwritable(name, f"no such directory as {path.parent}")
        if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
            raise unwritable(name, "a place without permission to write")
        if not path.exists() and len(os.fsencode(path.name)) > 255:
            raise unwritable(name, "a name that is too long")
    except OSError as error:
        raise unwritable(name, error.strerror or "an error") from None


def unwritable(name: str, reason: str) -> FileError:
    return FileError(name, given=reason, expected="a file that can be written")
