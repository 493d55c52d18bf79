"""Standard output and error, made fit for what is written to them: closed ones, ASCII terminals, odd widths."""

import codecs
import errno
import io
import os
import sys
import unicodedata
from typing import NoReturn

NARROWEST = 20
"""Columns below which a stated width of the terminal is not believed."""
_SIGNS = {
    "-": "─━–",
    "|": "│┃║",
    "+": "╭╮╰╯┌┐└┘├┤┬┴┼",
    "=": "═",
    "u": "µμ",
    "x": "×",
    "~": "±",
    "*": "·",
    ".": "…",
    "--": "—",
    '"': "“”",
    "'": "‘’",
    "->": "→",
    "<=": "≤",
    ">=": "≥",
}
_PLAIN = {ord(sign): plain for plain, signs in _SIGNS.items() for sign in signs}


class _Closed(io.TextIOBase):
    """In place of a standard output that is closed: says so to whoever writes."""

    def write(self, text: str) -> NoReturn:
        raise OSError(errno.EBADF, "a closed one")


def prepare() -> None:
    """Make the streams fit, before anything is written; what cannot be written in ASCII is told in plainer signs."""
    codecs.register_error("secondorder.plainer", plainer)
    if sys.stdout is None:
        os.open(os.devnull, os.O_WRONLY)  # else the next file takes its place
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and (stream.encoding or "").lower().replace("-", "") != "utf8":
            stream.reconfigure(errors="secondorder.plainer")
    width = os.environ.get("COLUMNS", "")
    if width and not (width.isascii() and width.isdigit() and int(width) >= NARROWEST):
        del os.environ["COLUMNS"]
    os.environ["MPLBACKEND"] = "agg"  # figures go to files


def plainer(error: UnicodeError) -> tuple[str, int]:
    """The signs that an encoding does not have, in those of ASCII.

    >>> codecs.register_error("secondorder.plainer", plainer)
    >>> "µs ± 4², ─".encode("ascii", "secondorder.plainer")
    b'us ~ 42, -'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end].translate(_PLAIN)
    told = unicodedata.normalize("NFKD", signs).encode("ascii", "replace").decode("ascii")
    return told, error.end
