"""A section of a run as plain JSON values, and back bit for bit: arrays are compressed text."""

import zlib
from base64 import b64decode, b64encode
from dataclasses import fields
from typing import Any

import numpy as np

from secondorder.simulate.statistics.controls import Control
from secondorder.simulate.statistics.histogram import Histogram
from secondorder.simulate.statistics.runs import Section

FORMAT = 2
"""Number of the form that sections are packed in: a study keys its points by it."""
WHOLE = ("bins", "counts")
"""Arrays of a histogram that hold integers."""


def packed(section: Section) -> dict[str, Any]:
    """A section as JSON has it.

    >>> from secondorder.simulate.statistics.histogram import histogram
    >>> law = histogram([1.0, 2.0, 2.0])
    >>> again = unpacked(packed(Section({"wait": law}, {"rate": (3.0, 5.0)}, np.array([0.1]))))
    >>> again.laws["wait"].counts.tolist(), again.totals, again.work.tolist()
    ([1, 2], {'rate': (3.0, 5.0)}, [0.1])
    """
    return {
        "laws": {
            name: {each.name: _text(getattr(law, each.name)) for each in fields(law)}
            for name, law in section.laws.items()
        },
        "totals": {name: [float(above), float(below)] for name, (above, below) in section.totals.items()},
        "work": _text(section.work),
        "controls": {
            name: [float(each.total), int(each.size), float(each.expected)] for name, each in section.controls.items()
        },
    }


def unpacked(record: dict[str, Any]) -> Section:
    """The section that was packed."""
    return Section(
        {
            name: Histogram(**{part: _array(text, "<i8" if part in WHOLE else "<f8") for part, text in law.items()})
            for name, law in record["laws"].items()
        },
        {name: (above, below) for name, (above, below) in record["totals"].items()},
        _array(record["work"], "<f8"),
        {name: Control(*values) for name, values in record["controls"].items()},
    )


def _text(values: np.ndarray[Any, Any]) -> str:
    """Byte by byte of all numbers, the first bytes first: neighbours are alike in those, which compresses well."""
    kind = "<i8" if values.dtype.kind == "i" else "<f8"
    planes = np.ascontiguousarray(values, kind).view(np.uint8).reshape(-1, 8).T
    return b64encode(zlib.compress(planes.tobytes())).decode("ascii")


def _array(text: str, kind: str) -> np.ndarray[Any, Any]:
    planes = np.frombuffer(zlib.decompress(b64decode(text)), np.uint8).reshape(8, -1)
    return np.ascontiguousarray(planes.T).view(kind).reshape(-1)
