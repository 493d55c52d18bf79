"""Frozen expectations: their numbers are those of the prose they were taken from, and their page is up to date."""

import re
import runpy
import tomllib
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"
PREDICTIONS = runpy.run_path(str(DOCS / "make_predictions.py"))
WORDS = {"two": 2, "three": 3, "four": 4}


def plain(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", PREDICTIONS["TITLES"])
def test_the_numbers_of_an_expectation_stand_in_the_prose_that_was_frozen(name: str) -> None:
    found = tomllib.loads((DOCS / "predictions" / name).read_text(encoding="utf-8"))
    prose = plain((DOCS / "predictions" / found["page"]).read_text(encoding="utf-8"))
    for row in found["expectation"]:
        quote = plain(row["quote"])
        assert quote in prose, row["about"]
        numbers = {float(each.replace(",", "")) for each in re.findall(r"\d[\d,]*\.?\d*", quote)}
        numbers |= {float(value) for word, value in WORDS.items() if word in quote}
        stated = {row[key] for key in ("value", "margin", "low", "high") if row.get(key)}
        assert stated <= numbers, row["about"]
        assert {"frozen", "reason"} <= set(row)
        assert ("measured" in row or "found" in row) == ("command" in row), "a value has the command that prints it"


def test_the_page_of_predictions_is_what_its_script_prints() -> None:
    remedy = "python docs/make_predictions.py > docs/predictions.md"
    assert (DOCS / "predictions.md").read_text(encoding="utf-8") == PREDICTIONS["page"](), remedy


def test_the_interval_score_is_least_at_the_true_quantiles() -> None:
    """Gneiting and Raftery (2007): of all intervals the central 90 % of an exponential has the least mean score."""
    values = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000)
    score = PREDICTIONS["interval_score"]

    def mean(low: float, high: float) -> float:
        return float(np.mean([score(low, high, value) for value in values]))

    low, high = -np.log(0.95), -np.log(0.05)
    best = mean(low, high)
    assert all(mean(low + a, high + b) > best for a, b in ((0.02, 0), (-0.02, 0), (0, 0.2), (0, -0.2)))


def test_a_hit_lies_in_its_range_and_what_was_not_measured_is_open() -> None:
    make = PREDICTIONS["Expectation"]
    row = {"about": "", "quote": "", "frozen": "", "reason": "", "low": 2.0, "high": 4.0}
    assert [make(**row, measured=x).hit for x in (1.9, 2.0, 4.0, 4.1, None)] == [False, True, True, False, None]
    assert make(**row, measured=4.1).score == pytest.approx((2 + 20 * 0.1) / 3)
    assert make(**row).score is None
    named = {**row, "expected": "breaks"}
    assert [make(**named, found=x).hit for x in ("breaks", "agrees", "")] == [True, False, None]
