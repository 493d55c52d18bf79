"""Results of load generators: the same three requests in each form, and what must be refused."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from shared_data import shared

import secondorder as so
from secondorder.errors import FileError, InputError
from secondorder.validation.calibrate import replay
from secondorder.validation.measured import MeasuredRun

REQUESTS = [(10.0, 500, 5, 0.031, 0.008), (10.4, 400, 3, 0.029, 0.009), (11.1, 600, 4, 0.045, 0.007)]
"""Start, prompt, output, time to first token, time per later token."""


def vllm() -> dict[str, object]:
    return {
        "model_id": "meta-llama/Llama-3.1-8B-Instruct",
        "start_times": [r[0] for r in REQUESTS],
        "input_lens": [r[1] for r in REQUESTS],
        "output_lens": [r[2] for r in REQUESTS],
        "ttfts": [r[3] for r in REQUESTS],
        "itls": [[r[4]] * (r[2] - 1) for r in REQUESTS],
    }


def guidellm() -> dict[str, object]:
    rows = [
        {
            "request_start_time": start,
            "request_end_time": start + first + each * (output - 1),
            "prompt_tokens": prompt,
            "output_tokens": output,
            "time_to_first_token_ms": first * 1e3,
        }
        for start, prompt, output, first, each in REQUESTS
    ]
    return {"benchmarks": [{"requests": {"successful": rows, "errored": [], "incomplete": []}}]}


def aiperf() -> str:
    def line(start: float, prompt: int, output: int, first: float, each: float) -> str:
        ends = start + first + each * (output - 1)
        metrics = {
            "input_sequence_length": {"value": prompt, "unit": "tokens"},
            "output_sequence_length": {"value": output, "unit": "tokens"},
            "time_to_first_token": {"value": first * 1e3, "unit": "ms"},
        }
        times = {"request_start_ns": round(start * 1e9), "request_end_ns": round(ends * 1e9)}
        return json.dumps({"metadata": times, "metrics": metrics})

    return "\n".join(line(*request) for request in reversed(REQUESTS))  # in order of completion, not of arrival


def inference_perf() -> list[object]:
    return [
        {
            "start_time": start,
            "end_time": start + first + each * (output - 1),
            "error": None,
            "info": {
                "input_tokens": prompt,
                "output_tokens": output,
                "output_token_times": [start + first + each * k for k in range(output)],
            },
        }
        for start, prompt, output, first, each in REQUESTS
    ]


def blis() -> str:
    head = "version: 2\nserver:\n  model: meta-llama/Llama-3.1-8B\n  tensor_parallel_size: 2\n"
    names = "request_id,input_tokens,output_tokens,arrival_time_us,send_time_us,"
    names += "first_chunk_time_us,last_chunk_time_us,status"
    lines = [
        f"{k},{p},{o},{a * 1e6:.0f},{a * 1e6:.0f},{(a + f) * 1e6:.0f},{(a + f + e * (o - 1)) * 1e6:.0f},ok"
        for k, (a, p, o, f, e) in enumerate(REQUESTS)
    ]
    return "\n".join([head + names, *lines])


def table() -> str:
    lines = [f"{a},{p},{o},{f * 1e3},{e * 1e3}" for a, p, o, f, e in REQUESTS]
    return "\n".join(["arrival_s,input_tokens,output_tokens,ttft_ms,tpot_ms", *lines])


def written(folder: Path, content: object, name: str = "result.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("form", [vllm, guidellm, aiperf, inference_perf, blis, table], ids=lambda form: form.__name__)
def test_every_form_gives_the_same_requests_in_seconds(form: Callable[[], object], tmp_path: Path) -> None:
    run = so.read_run(written(tmp_path, form()))
    assert run.requests["arrival"].tolist() == pytest.approx([0, 0.4, 1.1], abs=1e-6)
    assert run.trace.requests.input_tokens.tolist() == [500, 400, 600]
    assert run.requests["output_tokens"].tolist() == [5, 3, 4]
    assert run.requests["ttft"].tolist() == pytest.approx([0.031, 0.029, 0.045], abs=1e-6)
    assert run.requests["tpot"].tolist() == pytest.approx([0.008, 0.009, 0.007], rel=1e-3)


def test_a_table_with_its_own_names_needs_them_and_a_unit(tmp_path: Path) -> None:
    path = written(tmp_path, "at,prompt,new,first,all\n0,10,5,20,60\n100,12,3,25,45\n", "run.csv")
    columns = {"arrival": "at", "input_tokens": "prompt", "output_tokens": "new", "ttft": "first", "e2el": "all"}
    run = so.read_run(path, columns=columns, unit="ms")
    assert run.requests["tpot"].tolist() == pytest.approx([0.01, 0.01])
    with pytest.raises(FileError, match=r"at: got no unit, expected that of its times.*unit='ms'"):
        so.read_run(path, columns=columns)
    with pytest.raises(FileError, match="got no column 'prompts', expected one of at, prompt"):
        so.read_run(path, columns={**columns, "input_tokens": "prompts"})


def test_milliseconds_taken_for_seconds_are_refused(tmp_path: Path) -> None:
    text = table().replace("ttft_ms", "ttft_s").replace("tpot_ms", "tpot_s")
    with pytest.raises(FileError, match="got a median of 8 s per output token, expected seconds"):
        so.read_run(written(tmp_path, text, "run.csv"))


def test_values_that_are_not_numbers_and_broken_files_are_refused(tmp_path: Path) -> None:
    broken = {**vllm(), "ttfts": [0.031, float("nan"), 0.045]}
    with pytest.raises(FileError, match="ttft: got nan in row 2, expected a number of at least 0"):
        so.read_run(written(tmp_path, broken))
    with pytest.raises(FileError, match="got lists of different length"):
        so.read_run(written(tmp_path, {**vllm(), "ttfts": [0.031]}))
    with pytest.raises(FileError, match=r"got no start_times, expected the times of each request.*--save-detailed"):
        so.read_run(written(tmp_path, {k: v for k, v in vllm().items() if k != "start_times"}))
    with pytest.raises(FileError, match="broken JSON"):
        so.read_run(written(tmp_path, '{"a": '))
    with pytest.raises(FileError, match="got a summary without requests"):
        so.read_run(written(tmp_path, {"hw": "h200", "tp": 8, "tput_per_gpu": 100.0, "median_ttft": 0.2}))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"data_parallel_size": 2.5}, "data_parallel_size: got 2.5, expected a whole number of at least 1"),
        ({"ep": 3}, "moe_expert_parallel_size: got 3, expected 1 without enable_expert_parallel, or all 1 accel"),
        ({"tp": 4, "ep": 4, "enable_expert_parallel": False}, "moe_expert_parallel_size: got 4, expected 1 without"),
        ({"dp_attention": "true"}, "dp_attention: got 'true', expected none"),
        ({"pipeline_parallel_size": 4}, "pipeline_parallel_size: got 4, expected 1"),
        ({"speculative_config": {"method": "eagle"}}, "speculative_config: got .*eagle.*, expected none"),
        ({"quantization": "awq"}, "quantization: got 'awq'"),
        ({"spec_decode_acceptance_rate": 0.7}, "spec_decode_acceptance_rate: got 0.7, expected no speculation"),
        ({"data_parallel_size": "four"}, "data_parallel_size: got 'four', expected a whole number"),
    ],
)
def test_settings_that_a_replay_would_ignore_are_refused(
    facts: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(FileError, match=message):
        so.read_run(written(tmp_path, {**vllm(), **facts}))


def test_facts_of_the_engine_become_fields_of_the_scenario(tmp_path: Path) -> None:
    facts = {"num_gpu_blocks": 2588, "max_num_seqs": 64, "dtype": "auto", "kv_cache_dtype": "fp8_e4m3"}
    run = so.read_run(written(tmp_path, {**vllm(), **facts}))
    scenario = run.scenario(so.models.llama_3_1_8b, so.accelerators.h100_sxm)
    assert (scenario.kv_blocks, scenario.max_num_seqs, scenario.kv_precision) == (2588, 64, "fp8")
    assert scenario.settings.enable_prefix_caching
    assert scenario.settings.async_scheduling
    with pytest.raises(InputError, match="num_gpu_blocks: got 5000, expected that of the run, 2588"):
        run.scenario(so.models.llama_3_1_8b, so.accelerators.h100_sxm, num_gpu_blocks=5000)


@pytest.mark.parametrize(
    ("stated", "ranks", "whole"),
    [
        ({"data_parallel_size": "2", "enable_expert_parallel": "true"}, 2, True),
        ({"dp": 2, "ep": 2}, 2, True),
        ({"attention_data_parallel_size": 2, "moe_expert_parallel_size": 1}, 2, False),
    ],
)
def test_ranks_and_expert_parallelism_are_those_of_the_file(
    stated: dict[str, object], ranks: int, whole: bool, tmp_path: Path
) -> None:
    run = so.read_run(written(tmp_path, {**vllm(), **stated, "model_id": "Qwen/Qwen3-30B-A3B"}))
    assert isinstance(run, MeasuredRun)
    how: dict[str, Any] = {"step_time": so.MeasuredRoofline()}
    scenario = run.scenario(so.models.qwen3_30b_a3b, so.accelerators.h100_sxm, **how)
    assert (scenario.data_parallel_size, scenario.enable_expert_parallel) == (ranks, whole)
    assert len(replay(run, scenario)) == len(REQUESTS)
    for changes in ({"data_parallel_size": 4}, {"enable_expert_parallel": not whole}):
        with pytest.raises(InputError, match="expected that of the run"):
            run.scenario(so.models.qwen3_30b_a3b, so.accelerators.h100_sxm, **how, **changes)
    with pytest.raises(InputError, match=r"data_parallel_size: got 2 in result, expected a run of one scheduler"):
        so.calibrate(run, model=so.models.qwen3_30b_a3b, accelerator=so.accelerators.h100_sxm)


def test_ranks_of_a_model_without_experts_are_refused_with_a_remedy(tmp_path: Path) -> None:
    run = so.read_run(written(tmp_path, {**vllm(), "data_parallel_size": 2}))
    with pytest.raises(InputError, match=r"data_parallel_size: got 2 with Llama 3\.1 8B.*take replicas"):
        run.scenario(so.models.llama_3_1_8b, so.accelerators.h100_sxm)


def test_another_model_than_that_of_the_run_is_refused(tmp_path: Path) -> None:
    run = so.read_run(written(tmp_path, vllm()))
    with pytest.raises(InputError, match=r"model: got Qwen3 8B, expected that of the run, meta-llama/Llama-3.1-8B"):
        run.scenario(so.models.qwen3_8b, so.accelerators.h100_sxm)
    with pytest.raises(InputError, match=r"model: got Llama 3\.1 70B"):
        run.scenario(so.models.llama_3_1_70b, so.accelerators.h100_sxm)


def test_shared_samples_of_three_clients_are_read_or_refused_with_a_remedy() -> None:
    for name in ("guidellm_result.json", "aiperf_profile_export.jsonl"):
        run = so.read_run(shared("field") / name)
        assert run.requests["ttft"].tolist() == [0.031]
        assert run.requests["tpot"].tolist() == pytest.approx([(0.9 - 0.031) / 99])
    assert len(so.read_run(shared("field") / "vllm_bench_result.json").requests) == 3


def newer_inference_perf() -> list[dict[str, Any]]:
    """The answer apart from the request, a last chunk without a token, and the request as it was sent."""
    rows: list[dict[str, Any]] = json.loads(json.dumps(inference_perf()))
    for row in rows:
        info = row["info"]
        answer = {name: info.pop(name) for name in ("output_tokens", "output_token_times")}
        row["info"] = {**info, "response_metrics": answer, "lora_adapter": None}
        row["end_time"] += 0.5
        row["request"] = json.dumps({"model": "Qwen/Qwen3-32B", "prompt": "x"})
    return rows


def test_a_newer_inference_perf_ends_at_the_last_token_and_names_its_model(tmp_path: Path) -> None:
    run = so.read_run(written(tmp_path, newer_inference_perf()))
    assert run.requests["tpot"].tolist() == pytest.approx([0.008, 0.009, 0.007], rel=1e-3)
    assert run.model == "Qwen/Qwen3-32B"
    with pytest.raises(InputError, match=r"got Llama 3\.1 8B, expected that of the run, Qwen/Qwen3-32B"):
        run.scenario(so.models.llama_3_1_8b, so.accelerators.h100_sxm)


def test_guidellm_ends_at_the_last_token_where_the_file_has_it(tmp_path: Path) -> None:
    document: Any = guidellm()
    for row in document["benchmarks"][0]["requests"]["successful"]:
        row["info"] = {"timings": {"last_token_iteration": row["request_end_time"]}}
        row["request_end_time"] += 0.5
    assert so.read_run(written(tmp_path, document)).requests["tpot"].tolist() == pytest.approx([0.008, 0.009, 0.007])


def test_warm_ups_and_cancelled_requests_of_aiperf_are_left_out(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in aiperf().splitlines()] * 10
    warm, gone = json.loads(json.dumps(rows[0])), json.loads(json.dumps(rows[0]))
    warm["metadata"]["benchmark_phase"] = "warmup"
    gone["metadata"]["was_cancelled"] = True
    path = written(tmp_path, "\n".join(json.dumps(row) for row in [warm, gone, *rows]), "profile_export.jsonl")
    assert len(so.read_run(path).requests) == 30
    written(tmp_path, {"input_config": {"models": {"items": [{"name": "m-70b"}]}}}, "profile_export_aiperf.json")
    assert so.read_run(path).model == "m-70b"


def test_settings_written_as_text_are_numbers(tmp_path: Path) -> None:
    stated = {"tensor_parallel_size": "2", "gpu_memory_utilization": "0.8", "enable_prefix_caching": "false"}
    settings = so.read_run(written(tmp_path, {**vllm(), **stated})).settings
    assert {name: settings[name] for name in stated} == {
        "tensor_parallel_size": 2, "gpu_memory_utilization": 0.8, "enable_prefix_caching": False,
    }  # fmt: skip


def genuine_blis(**columns: list[object]) -> str:
    """Rows alone; the header is another file."""
    fields = {
        "request_id": [0, 1, 2], "streaming": ["true"] * 3, "input_tokens": [512, 512, 512],
        "output_tokens": [r[2] for r in REQUESTS], "server_input_tokens": [r[1] for r in REQUESTS],
        "arrival_time_us": [round(r[0] * 1e6) for r in REQUESTS], "send_time_us": [round(r[0] * 1e6) for r in REQUESTS],
        "first_chunk_time_us": [round((r[0] + r[3]) * 1e6) for r in REQUESTS],
        "last_chunk_time_us": [round((r[0] + r[3] + r[4] * (r[2] - 1)) * 1e6) for r in REQUESTS],
        "status": ["ok"] * 3, **columns,
    }  # fmt: skip
    return "\n".join(",".join(map(str, row)) for row in [list(fields), *zip(*fields.values(), strict=True)])


def test_blis_takes_its_header_from_beside_and_the_servers_count_of_tokens(tmp_path: Path) -> None:
    header = "trace_version: 2\nserver:\n  model: Qwen/Qwen3-8B\n  tensor_parallel: 2\n  max_num_seqs: 64\n"
    written(tmp_path, header, "trace_header.yaml")
    run = so.read_run(written(tmp_path, genuine_blis(), "trace_data.csv"))
    assert run.trace.requests.input_tokens.tolist() == [500, 400, 600]
    assert (run.model, run.settings["tensor_parallel_size"], run.settings["max_num_seqs"]) == ("Qwen/Qwen3-8B", 2, 64)


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "shared prefixes": (lambda: genuine_blis(prefix_length=[0, 64, 64]), "prefix_length: got 64 in 2 rows"),
    "priorities": (lambda: genuine_blis(priority=[0, 0, 6]), "priority: got 6 in 1 rows"),
    "not streamed": (lambda: genuine_blis(streaming=["true", "false", "true"]), "streaming: got false"),
    "failures": (lambda: genuine_blis(status=["ok", "timeout", "ok"]), "got 1 of 3 requests without an answer"),
    "adapters": (
        lambda: [{**r, "info": {**r["info"], "lora_adapter": "a"}} for r in newer_inference_perf()],
        "lora_adapter: got 'a'",
    ),
    "shuffled lists": (
        lambda: {**vllm(), "itls": [[0.007] * 3, [0.008] * 4, [0.009] * 2], "output_lens": [2, 2, 9]},
        "got 2 of 3 requests with more chunks than tokens",
    ),
    "shuffled column": (
        lambda: "arrival_s,input_tokens,output_tokens,ttft_s,tpot_s,e2el_s\n0,9,5,.02,.01,.19\n1,9,9,.02,.01,.06",
        "times in one unit that add up",
    ),
    "half a token": (lambda: {**vllm(), "input_lens": [500, 400.5, 600]}, "input_tokens: got 400.5 in row 2"),
    "no prompt": (lambda: {**vllm(), "input_lens": [500, 400, 0]}, "input_tokens: got 0 in row 3"),
    "infinite": (lambda: {**vllm(), "ttfts": [0.03, float("inf"), 0.03]}, "ttft: got inf in row 2"),
    "negative": (lambda: {**vllm(), "ttfts": [0.03, -0.03, 0.03]}, "ttft: got -0.03 in row 2"),
    "text for a number": (lambda: {**vllm(), "ttfts": [0.03, "0.03", 0.03]}, "ttft: got nan in row 2"),
    "nothing for gaps": (lambda: {**vllm(), "itls": [[None] * 4, [0.01] * 2, [0.01] * 3]}, "tpot: got nan in row 1"),
    "gaps that are no lists": (
        lambda: {**vllm(), "itls": [0.01, 0.01, 0.01]},
        "itls: got float in row 1, expected a list of lists",
    ),
    "milliseconds": (
        lambda: {**vllm(), "ttfts": [31.0, 29.0, 45.0], "itls": [[3.0] * 4, [3.0] * 2, [3.0] * 3]},
        "got a median of 3 s per output token, expected seconds",
    ),
    "no times": (lambda: [{"request": "x", "latency": 3}], "got JSON without the times of requests"),
    "empty": (lambda: "", "expected"),
    "no request": (lambda: {"benchmarks": []}, "got 0 benchmarks"),
    "times in ms": (
        lambda: {**vllm(), "ttfts": [1e3 * r[3] for r in REQUESTS], "duration": 9.0},
        "in a run of 9 s, expected times in seconds",
    ),
    "two runs": (lambda: {"benchmarks": guidellm()["benchmarks"] * 2}, "got 2 benchmarks"),  # type: ignore[operator]
    "a list of numbers": (lambda: [1, 2, 3], "got JSON without the times of requests"),
    "no columns": (lambda: "a,b\n1,2\n", "also arrival, input_tokens, output_tokens, ttft"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_replay_would_ignore_or_misread_is_refused(name: str, tmp_path: Path) -> None:
    content, message = WRONG[name]
    with pytest.raises(FileError, match=re.escape(message)):
        so.read_run(written(tmp_path, content()))


def test_the_precision_of_a_quantised_model_must_be_stated(tmp_path: Path) -> None:
    run = so.read_run(written(tmp_path, {**vllm(), "model_id": "RedHatAI/Llama-3.1-8B-Instruct-FP8"}))
    with pytest.raises(InputError, match=r"precision: got none, expected that of the run, RedHatAI/.*-FP8"):
        run.scenario(so.models.llama_3_1_8b, so.accelerators.h100_sxm)
    assert run.scenario(so.models.llama_3_1_8b, so.accelerators.h100_sxm, precision="fp8").precision == "fp8"


def places(value: object, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each part of a document, the first of those in a list."""
    if at:
        yield at
    parts = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*at, key))


@pytest.mark.parametrize("form", [vllm, guidellm, inference_perf, newer_inference_perf], ids=lambda form: form.__name__)
def test_a_document_damaged_anywhere_is_read_or_refused_in_one_line(form: Callable[[], object], tmp_path: Path) -> None:
    for at in places(form()):
        for damage in (None, "x", -1, [], {}):
            document: Any = json.loads(json.dumps(form()))
            inner = document
            for key in at[:-1]:
                inner = inner[key]
            inner[at[-1]] = damage
            with suppress(FileError):
                so.read_run(written(tmp_path, document))
