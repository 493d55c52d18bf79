"""The tables of docs/models.md are what its command prints, where the real files are present."""

import sys
from pathlib import Path

from tests.shared_data import shared

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
sys.path.insert(0, str(ROOT / "benchmarks"))


def test_the_table_of_models_is_what_is_printed() -> None:
    from models_read import model_rows

    for row in model_rows(shared("configs")):
        assert row in PAGE


def test_the_table_of_memory_is_what_is_printed_and_meets_its_bars() -> None:
    """A median error under 4 %, most set-ups inside the band, none wider than 12 %."""
    from models_read import lines, memory_rows

    for row in memory_rows(shared("engine_facts")):
        assert row in PAGE
    found = list(lines(shared("engine_facts")))
    errors = sorted(abs(line.error) for line in found)
    assert errors[len(errors) // 2] < 0.04
    assert sum(line.inside for line in found) >= 0.88 * len(found)
    for line in found:
        low, high = line.memory.band
        assert (high - low) / 2 <= 0.12 * line.memory.cache + 1
