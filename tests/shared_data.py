"""The real traces and measurements, which live outside the project; tests skip where they are absent."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"


def shared(name: str) -> Path:
    """The path of a shared file or folder, or a skip that says what is missing."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is absent: real data is not part of the project")
    return path
