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
    for name in ("weights", "activations", "graphs", "runtime", "kv_blocks", "kv_tokens", "concurrency"):
        assert any(line.startswith(name) for line in text.splitlines()), name
    assert "chosen for NVIDIA H100 SXM, 79.19 GiB" in text
    assert max(map(len, text.splitlines())) <= 80


def test_show_says_what_was_given_and_what_the_engine_would_choose(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--no-async-scheduling", "--max-num-batched-tokens", "2048", "--reserved-memory", "2 GiB")
    lines = printed(capsys, "--request-rate", "2 request/s", *given, "--show").splitlines()
    shown = {line.split()[0]: line for line in lines}
    assert shown["async_scheduling"].endswith("off  given; the engine would choose on")
    assert shown["max_num_batched_tokens"].endswith("2,048  given; the engine would choose 8,192")
    assert shown["reserved"].endswith("2.15 GB  beside the weights, given")
