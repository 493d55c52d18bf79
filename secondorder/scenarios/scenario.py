"""What every scenario is: a frozen value with a name."""

from typing import Protocol


class Scenario(Protocol):
    """What ``solve``, ``simulate``, ``compare`` and ``sweep`` take, and plans have a table for."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...
