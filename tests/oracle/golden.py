"""Fingerprints of a scheduler's states, step by step: four hexadecimal digits of a hash over all steps up to there."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).with_name("golden.json")
COMPARED = ("running", "waiting", "free", "preemptions", "finished")
DIGITS = 4
"""Digits of a step; as the hash goes on, a wrong state would have to hide in every later step too."""
PER_VERSION = 25
"""Workloads of each version whose fingerprints are kept."""


def fingerprint(states: Iterable[dict[str, Any]]) -> str:
    """Digits of each step, then sixteen of the whole."""
    total, digits = hashlib.sha256(), ""
    for state in states:
        total.update(json.dumps([state[name] for name in COMPARED]).encode())
        digits += total.hexdigest()[:DIGITS]
    return digits + total.hexdigest()[:16]


def first_unlike(one: str, other: str) -> int | None:
    """The first step in which two fingerprints differ, from 0; None if there is none."""
    if one == other:
        return None
    shorter = min(len(one), len(other))
    place = next((i for i in range(shorter) if one[i] != other[i]), shorter)
    return place // DIGITS
