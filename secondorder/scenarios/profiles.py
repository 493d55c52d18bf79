"""Calibrated step times in files: a profile stands in a plan or a flag in the place of a step time."""

import tomllib
from pathlib import Path

from secondorder.errors import InputError
from secondorder.files import read_text


def step_time_of(path: str | Path) -> str:
    """The step time of a profile, in one line. Errors: ``InputError``."""
    try:
        found = tomllib.loads(read_text(path, encoding="utf-8-sig")).get("step_time")
    except (OSError, ValueError, RecursionError) as error:
        given = getattr(error, "strerror", None) or "a file that is no TOML"
        raise InputError("step_time", given=f"{path}: {given}", expected="a profile of secondorder calibrate") from None
    if not isinstance(found, str):
        raise InputError("step_time", given=f"{path} without step_time", expected="a profile of secondorder calibrate")
    return found
