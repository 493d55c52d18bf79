"""Calibrated step times in files: a profile stands in a plan or a flag in the place of a step time."""

import tomllib
from pathlib import Path

from secondorder.errors import InputError


def step_time_of(path: str | Path) -> str:
    """The step time of a profile, in one line. Errors: ``InputError``."""
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8")).get("step_time")
    except (OSError, ValueError) as error:
        given = getattr(error, "strerror", None) or "a file that is no TOML"
        raise InputError("step_time", given=f"{path}: {given}", expected="a profile of secondorder calibrate") from None
    if not isinstance(found, str):
        raise InputError("step_time", given=f"{path} without step_time", expected="a profile of secondorder calibrate")
    return found
