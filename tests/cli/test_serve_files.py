"""serve takes models, traces and an engine's log as files, and the options of a trace as flags."""

import json
from pathlib import Path

import pytest

from secondorder.cli import main

LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
SERVE = ["serve", "--accelerator", "h100_sxm", "--no-simulate", "--format", "json"]
ASKED = ["--request-rate", "2 request/s", "--input-len", "100", "--output-len", "20"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-model").mkdir()
    (tmp_path / "my-model" / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    (tmp_path / "mine.csv").write_text("t,in,out\n400,5,6\n900,7,8\n1900,7,8\n", encoding="utf-8")
    (tmp_path / "log.txt").write_text("GPU KV cache size: 160,000 tokens\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("model", ["my-model", "./my-model", "my-model/config.json"])
def test_a_folder_with_a_config_is_a_model(here: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SERVE, "--model", model, *ASKED]) == 0
    assert "ttft" in capsys.readouterr().out


def test_the_columns_of_a_trace_are_flags(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = [*SERVE, "--model", "my-model", "--trace", "mine.csv"]
    assert main(trace) == 2
    named = ["--columns", "arrival:t", "--columns", "input_tokens:in", "--columns", "output_tokens:out"]
    assert main([*trace, *named]) == 2
    assert 'give arrival_unit="s"' in capsys.readouterr().err
    assert main([*trace, *named, "--arrival-unit", "ms"]) == 0


def test_an_option_of_a_trace_needs_a_trace(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SERVE, "--model", "my-model", *ASKED, "--arrival-unit", "ms"]) == 2
    assert "arrival_unit: got an option of a trace, expected a trace too" in capsys.readouterr().err


def test_an_engine_s_log_gives_its_blocks(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    serve = [*SERVE, "--model", "my-model", *ASKED]
    assert main([*serve, "--engine-log", "log.txt"]) == 0
    from_log = capsys.readouterr().out
    assert main([*serve, "--num-gpu-blocks", "10000"]) == 0
    assert capsys.readouterr().out == from_log
    assert main([*serve, "--num-gpu-blocks", "10000", "--engine-log", "log.txt"]) == 2
    assert main([*serve, "--engine-log", "mine.csv"]) == 2
    assert "no line with a figure" in capsys.readouterr().err
