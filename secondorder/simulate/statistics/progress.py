"""How far a search for a steady state is, for those who want to show it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Requests served so far, the widest relative half-width (None: still in the pilot), and the seconds left."""

    spent: int
    width: float | None = None
    seconds_left: float | None = None

    def __str__(self) -> str:
        if self.width is None or self.seconds_left is None:
            return f"{self.spent:,} requests, finding the relaxation time"
        return f"{self.spent:,} requests, half-width {self.width:.1%}, about {self.seconds_left:,.0f} s left"


_listener: ContextVar[Callable[[Progress], None] | None] = ContextVar("listener", default=None)


def tell(progress: Progress) -> None:
    """Tell the listener, if there is one."""
    if (listener := _listener.get()) is not None:
        listener(progress)


@contextmanager
def listening(listener: Callable[[Progress], None]) -> Iterator[None]:
    """Searches within tell this listener.

    >>> with listening(print):
    ...     tell(Progress(spent=1000, width=0.12, seconds_left=3.2))
    1,000 requests, half-width 12.0%, about 3 s left
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
