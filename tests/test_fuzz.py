"""A few hundred mutated inputs; ``python benchmarks/fuzz.py`` tries thousands."""

import os

import fuzz
import pytest

COUNT = int(os.environ.get("SECONDORDER_INPUTS", "60"))


@pytest.mark.parametrize("kind", sorted(fuzz.KINDS | fuzz.MORE))
def test_mutated_inputs_end_as_they_must(kind: str) -> None:
    found = list(fuzz.faults(COUNT, seed=11, kinds=[kind]))
    assert not found, "\n".join(f"{each.number}: {each.how}: {each.given}" for each in found)


def test_the_fuzz_sees_a_traceback_a_wrong_code_and_a_value_that_is_not_finite(monkeypatch) -> None:
    def broken(words: list[str]) -> int:
        raise ZeroDivisionError

    for double in (broken, lambda words: 1, lambda words: print('[{"metric": "wait_mean", "value": null}]') or 0):
        monkeypatch.setattr(fuzz, "secondorder", double)
        assert len(list(fuzz.faults(3, seed=1, kinds=["configs", "flags"]))) > 0
