"""``serve --max-concurrency`` and ``serve --show``."""

import json

import pytest

from secondorder.cli import main

SERVICE = ["serve", "--model", "llama_3_1_8b", "--accelerator", "h100_sxm"]
LENGTHS = ["--input-len", "geometric 256", "--output-len", "geometric 64"]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*SERVICE, *LENGTHS, *arguments]) == 0
    return capsys.readouterr().out


def concurrency(text: str) -> float:
    rows = [row for row in json.loads(text) if row["metric"] == "concurrency" and row["source"] == "simulated"]
    return float(rows[0]["value"])


def test_an_endless_rate_keeps_every_place_taken(capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--num-prompts", "200", "--replications", "2", "--format", "json"]
    text = printed(capsys, "--request-rate", "inf", "--max-concurrency", "8", *short)
    assert concurrency(text) == pytest.approx(8, rel=1e-9)
    text = printed(capsys, "--request-rate", "2 request/s", "--max-concurrency", "8", *short)
    assert 0 < concurrency(text) < 4


def test_an_endless_rate_without_a_limit_is_refused_with_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SERVICE, *LENGTHS, "--request-rate", "inf"]) == 2
    assert "add --max-concurrency 32" in capsys.readouterr().err


def test_show_says_what_the_engine_would_choose_and_where_the_memory_goes(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--request-rate", "2 request/s", "--show")
    assert "8,192" in text
    for name in ("weights", "reserved", "kv_blocks", "kv_tokens", "concurrency"):
        assert any(line.startswith(name) for line in text.splitlines()), name
