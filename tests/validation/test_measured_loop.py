"""Summaries of closed loops, as InferenceX writes them: read, run again, and what a replay would ignore."""

import json
from pathlib import Path
from typing import Any

import pytest

import secondorder as so
from secondorder.errors import FileError, InputError
from secondorder.validation.fixed_concurrency import time_per_token
from secondorder.validation.measured_loop import MeasuredLoop

RESULT = {
    "hw": "h200", "conc": 16, "image": "vllm/vllm-openai", "model": "meta-llama/Llama-3.1-70B-Instruct",
    "framework": "vllm", "precision": "fp8", "spec_decoding": "none", "disagg": False, "isl": 1024, "osl": 128,
    "is_multinode": False, "tp": 4, "ep": 1, "dp_attention": "false", "tput_per_gpu": 900.0, "median_ttft": 0.2,
    "median_tpot": 0.014, "median_intvty": 71.4, "median_e2el": 2.0,
}  # fmt: skip


def read(folder: Path, document: object, **how: Any) -> Any:
    path = folder / "agg.json"
    path.write_text(json.dumps(document))
    return so.read_run(path, **how)


def test_a_summary_is_the_loop_that_it_states(tmp_path: Path) -> None:
    found = read(tmp_path, RESULT)
    assert isinstance(found, MeasuredLoop)
    loop = found.loop(so.models.llama_3_1_70b, so.accelerators.h200)
    assert (loop.concurrency, loop.input_tokens, loop.output_tokens, loop.shortest) == (16, 1024, 128, 0.8)
    assert (loop.serving.tensor_parallel_size, loop.serving.precision) == (4, "fp8")


def test_the_replay_of_a_loop_is_near_its_closed_form(tmp_path: Path) -> None:
    """Within 15 %, which the closed form of equal sequences is good for."""
    found = read(tmp_path, RESULT)
    table = found.replayed(so.models.llama_3_1_70b, so.accelerators.h200).set_index("metric")
    expected = time_per_token(found.loop(so.models.llama_3_1_70b, so.accelerators.h200))
    assert table.loc["tpot_p50", "simulated"] == pytest.approx(expected, rel=0.15)
    assert table.loc["tpot_p50", "measured"] == 0.014
    assert table.loc["ttft_p50", "simulated"] > 0.02


def test_one_of_several_is_chosen_by_its_number(tmp_path: Path) -> None:
    several = [RESULT, {**RESULT, "conc": 32}]
    assert read(tmp_path, several, benchmark=1).concurrency == 32
    with pytest.raises(FileError, match="got 2 results, expected the number of one of them, 0 to 1"):
        read(tmp_path, several)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec_decoding": "mtp"}, "spec_decoding: got 'mtp', expected none"),
        ({"disagg": True}, "disagg: got True, expected none"),
        ({"ep": 8}, "moe_expert_parallel_size: got 8, expected 1 without"),
        ({"ep": 4}, "ep: got 4, expected 1, as the loop that replays summaries has no expert parallelism"),
        ({"dp_attention": "true"}, "dp_attention: got 'true', expected none"),
        ({"framework": "dynamo-trt"}, "framework: got 'dynamo-trt', expected one of vllm"),
        ({"precision": "int3"}, "precision: got 'int3', expected one of bf16"),
        ({"median_tpot": 14.0}, "median_tpot: got 14 s per output token, expected seconds"),
        ({"median_ttft": float("nan")}, "median_ttft: got nan, expected a number above 0"),
        ({"isl": None}, "isl: got None, expected a number above 0"),
    ],
)
def test_what_a_replay_of_a_loop_would_ignore_is_refused(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(FileError, match=message):
        read(tmp_path, {**RESULT, **changes})


def test_a_loop_of_another_model_or_parallelism_is_refused(tmp_path: Path) -> None:
    found = read(tmp_path, RESULT)
    with pytest.raises(InputError, match=r"got Llama 3\.1 8B, expected that of the run"):
        found.loop(so.models.llama_3_1_8b, so.accelerators.h200)
    with pytest.raises(InputError, match="tensor_parallel_size: got 8, expected that of the run, 4"):
        found.loop(so.models.llama_3_1_70b, so.accelerators.h200, tensor_parallel_size=8)
