"""Claims about an engine's memory: it holds to the engine's own lines, and each part does what it says."""

import csv
import dataclasses
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondorder.errors import DoesNotFit, FileError, InputError
from secondorder.fleets.accelerators import accelerators
from secondorder.quantities import si
from secondorder.scenarios.engine_log import read_engine_log, read_lines
from secondorder.scenarios.engine_memory import GIB, engine_memory, rank_weights
from secondorder.scenarios.serving import Serving
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Lengths
from secondorder.workloads.models import models
from tests.shared_data import shared

PUBLISHED = [
    # model, card, version, ranks, tokens, rows, utilisation, cache as printed (GiB): llm-d's reports of 2025 and 2026
    ("llama_3_1_8b", "h100_sxm", "0.19.0", 1, 8192, 1024, 0.95, 58.11),
    ("llama_3_1_8b", "h100_sxm", "0.11", 1, 8192, 1024, 0.9, 51.38),
    ("qwen3_32b", "h100_sxm", "0.11", 1, 8192, 1024, 0.9, 4.45),
    ("qwen3_32b", "h100_sxm", "0.11", 2, 8192, 1024, 0.9, 34.49),
    ("qwen3_0_6b", "h100_sxm", "0.11", 1, 8192, 1024, 0.9, 64.45),
    ("llama_3_1_8b", "a100_80gb", "0.30", 1, 2048, 256, 0.92, 56.21),
]


@pytest.mark.parametrize(("model", "card", "version", "ranks", "tokens", "rows", "utilisation", "printed"), PUBLISHED)
def test_the_cache_meets_the_engine_s_own_line(
    model: str, card: str, version: str, ranks: int, tokens: int, rows: int, utilisation: float, printed: float
) -> None:
    memory = engine_memory(
        models[model],
        accelerators[card],
        version=version,
        tensor_parallel_size=ranks,
        max_num_batched_tokens=tokens,
        max_num_seqs=rows,
        gpu_memory_utilization=utilisation,
    )
    low, high = memory.band
    assert low <= printed * GIB <= high
    assert memory.cache == pytest.approx(printed * GIB, rel=0.02)
    assert (high - low) / 2 <= 0.12 * memory.cache + 1


def rows_of(model: str) -> list[dict[str, str]]:
    path = shared("engine_facts") / "kv_logs.csv"
    rows = csv.DictReader(path.open(encoding="utf-8"))
    return [row for row in rows if model in row["model"] and row["evidence_grade"] in "AB" and row["weights_gib"]]


def test_weights_of_a_rank_are_those_that_the_engine_loads() -> None:
    """Llama 3.1 8B in 16 bits, in fp8 at run time and in 32 bits, as the lines say, within .5 %."""
    for row in rows_of("Llama-3.1-8B-Instruct"):
        precision = {"fp8 (runtime)": "fp8", "none (float32)": "fp32"}.get(row["weight_quant"], "bf16")
        weights = rank_weights(models.llama_3_1_8b, precision, int(float(row["tp"] or 1)))
        assert weights == pytest.approx(float(row["weights_gib"]) * GIB, rel=0.005), row


def test_visible_memory_is_what_the_lines_say() -> None:
    rows = list(csv.DictReader((shared("engine_facts") / "kv_logs.csv").open(encoding="utf-8")))
    for card, words in {"h100_sxm": "H100-80GB", "a100_80gb": "A100-80GB", "l4": "L4", "v100": "V100-32GB"}.items():
        seen = [float(r["total_gpu_memory_gib"]) for r in rows if r["gpu_name"] == words and r["total_gpu_memory_gib"]]
        assert accelerators[card].visible / GIB == pytest.approx(statistics.median(seen), abs=0.1)
        assert accelerators[card].visible < si(accelerators[card].memory_capacity)


@given(tokens=st.integers(256, 65_536), rows=st.integers(1, 2048))
def test_a_larger_step_never_leaves_more_to_the_cache(tokens: int, rows: int) -> None:
    def cache(tokens: int, rows: int) -> float:
        return engine_memory(
            models.llama_3_1_8b, accelerators.h200, max_num_batched_tokens=tokens, max_num_seqs=rows
        ).cache

    assert cache(tokens, rows) >= cache(tokens + 64, rows)
    assert cache(tokens, rows) >= cache(tokens, rows + 1)


def test_graphs_are_taken_off_from_0_21_on_and_not_by_an_eager_engine() -> None:
    llama, card = models.llama_3_1_70b, accelerators.b200
    before, since = (engine_memory(llama, card, version=version) for version in ("0.20.2", "vllm 0.21"))
    assert before.graphs == 0
    assert since.graphs == pytest.approx(1.6 * GIB, rel=0.05)  # 80 layers, 51 sizes, twice
    assert engine_memory(llama, card, enforce_eager=True).graphs == 0
    assert (before.utilisation, since.utilisation) == (0.9, 0.92)


def test_what_does_not_fit_says_where_the_memory_goes() -> None:
    with pytest.raises(DoesNotFit, match=r"weights 141 GB, .* do not fit in 78\.2 GB .*tensor_parallel_size"):
        engine_memory(models.llama_3_1_70b, accelerators.h100_sxm)
    with pytest.raises(InputError, match="version: got 'latest'"):
        engine_memory(models.llama_3_1_8b, accelerators.h100_sxm, version="latest")


def test_a_service_takes_the_estimate_where_no_memory_is_reserved() -> None:
    serving = Serving(
        model=models.llama_3_1_8b,
        accelerator=accelerators.h100_sxm,
        arrivals=Poisson("8 request/s"),
        lengths=Lengths(input=1024, output=256),
        reserved_memory=None,
    )
    assert serving.kv_blocks == serving.memory.tokens(131_072) // 16
    assert serving.reserved == serving.memory.reserved
    fp8 = dataclasses.replace(serving, precision="fp8")
    assert fp8.placement.kv_precision == "bf16"  # the cache is not the weights'


def test_a_windowed_model_is_served_with_its_mean_cache() -> None:
    """Gemma 3 27B at 1,024 + 256: every layer within its window but for the last tokens."""
    serving = Serving(
        model=models.gemma_3_27b,
        accelerator=accelerators.h200,
        arrivals=Poisson("1 request/s"),
        lengths=Lengths(input=4096, output=256),
    )
    context = 4096 + 128
    assert serving.placement.kv_bytes_per_token == pytest.approx(81_920 + 425_984 * 1024 / context, rel=1e-3)


def test_tokens_come_in_whole_blocks() -> None:
    memory = engine_memory(models.llama_3_1_8b, accelerators.h100_sxm)
    tokens = memory.tokens(131_072)
    assert tokens % 16 == 0
    assert 0 <= memory.cache - tokens * 131_072 < 16 * 131_072
    assert memory.concurrency(131_072 * 8192) == pytest.approx(memory.cache / (131_072 * 8192))


# Start-up lines

V0 = """INFO the current vLLM instance can use total_gpu_memory (31.74GiB) x gpu_memory_utilization (0.90) = 28.57GiB
model weights take 14.27GiB; non_torch_memory takes 0.09GiB; PyTorch activation peak memory takes 1.40GiB; \
the rest of the memory reserved for KV Cache is 12.80GiB.
INFO 03-23 # cuda blocks: 14984, # CPU blocks: 4681
INFO 03-23 Maximum concurrency for 2048 tokens per request: 117.06x"""
V1 = """(EngineCore) Initializing a V1 LLM engine (v0.19.0) with config
(Worker_TP0) Model loading took 16.96 GiB memory and 20 seconds
(Worker_TP0) Available KV cache memory: 54.11 GiB
(Worker_TP1) Available KV cache memory: 54.09 GiB
(EngineCore) GPU KV cache size: 708,992 tokens
(EngineCore) Maximum concurrency for 8,192 tokens per request: 86.55x"""


def test_lines_of_both_generations_are_read(tmp_path: Path) -> None:
    old, new = read_lines(V0), read_lines(V1)
    assert (old.gpu_blocks, old.cache, old.weights, old.activations) == (14_984, "12.8 GiB", "14.27 GiB", "1.4 GiB")
    assert (old.total, old.utilisation, old.concurrency) == ("31.74 GiB", 0.9, 117.06)
    assert (new.version, new.tokens, new.blocks(16), new.cache) == ("0.19.0", 708_992, 44_312, "54.09 GiB")
    assert (new.concurrency, new.concurrency_at) == (86.55, 8192)
    (tmp_path / "log.txt").write_text(V1, encoding="utf-8")
    assert read_engine_log(tmp_path / "log.txt") == new


def test_a_log_without_the_lines_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("nothing to see", encoding="utf-8")
    with pytest.raises(FileError, match="no line with a figure"):
        read_engine_log(tmp_path / "log.txt")
    with pytest.raises(FileError, match="No such file"):
        read_engine_log(tmp_path / "none.txt")
    with pytest.raises(FileError, match="no line with the cache's size"):
        read_lines("Available KV cache memory: 54.11 GiB").blocks(16)


def test_mxfp4_experts_are_widened_as_their_kernels_do() -> None:
    """gpt-oss of 2,880 wide experts: 3,072; without the format nothing is added."""
    model = models.gpt_oss_20b
    assert rank_weights(model, "bf16", 1) == pytest.approx(13.47 * GIB, rel=0.005)
    assert model.stored is not None
    plain = dataclasses.replace(model, stored=dataclasses.replace(model.stored, format="mxfp4 repacked"))
    assert rank_weights(plain, "bf16", 1) == pytest.approx(12.86 * GIB, rel=0.005)
