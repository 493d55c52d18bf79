"""Calibrated step times in files: a profile stands in a plan or a flag in the place of a step time."""

import tomllib
from pathlib import Path
from typing import Any

from secondorder.errors import InputError
from secondorder.files import read_text
from secondorder.quantities import quantity


def step_time_of(path: str | Path) -> str:
    """The step time of a profile, in one line. Errors: ``InputError``."""
    found = _read(path).get("step_time")
    if not isinstance(found, str):
        raise InputError("step_time", given=f"{path} without step_time", expected="a profile of secondorder calibrate")
    return found


def front_end_of(step_time: str) -> float:
    """Seconds that a client adds to each first token by a profile; 0 for a step time in one line.

    Errors: ``InputError``.
    """
    if not step_time.strip().endswith(".toml"):
        return 0.0
    path = step_time.strip()
    return float(quantity(_read(path).get("front_end", "0 s"), "s", f"front_end of {path}").magnitude)


def _read(path: str | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path, encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        given = getattr(error, "strerror", None) or "a file that is not TOML"
        raise InputError("step_time", given=f"{path}: {given}", expected="a profile of secondorder calibrate") from None
