"""The figures of labs as PNG files in memory; where labs are served, a process beside the server draws them."""

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from threading import Lock
from typing import TypeAlias

from secondorder.executor import beside
from secondorder.labs.registry import lab_of
from secondorder.report.style import styled

Places: TypeAlias = tuple[tuple[str, float], ...]
"""Where the sliders stand."""
Picture: TypeAlias = tuple[bytes, str]
"""A PNG, and a sentence about what it shows."""


@styled
def _draw(asked: tuple[str, Places]) -> Picture:
    name, places = asked
    figure, sentence = lab_of(name).draw(dict(places))
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=120, pil_kwargs={"compress_level": 1})
    return picture.getvalue(), sentence


class Drawer:
    """Who draws: this process, until ``move`` starts another, so that pages and pictures do not wait for each other."""

    draw: Callable[[tuple[str, Places]], Picture] = staticmethod(_draw)
    turn = Lock()
    """Matplotlib draws for one thread at a time; marimo has one for each page."""

    @classmethod
    def move(cls) -> None:
        """Draw in a process of its own from now on."""
        cls.draw = staticmethod(beside(_draw))


def shown(name: str, places: Places) -> Picture:
    """The figure of a lab; where the sliders stood before, it is not drawn again."""
    with Drawer.turn:
        return _kept(name, places)


@lru_cache(maxsize=128)
def _kept(name: str, places: Places) -> Picture:
    return Drawer.draw((name, places))
