"""How models are read, and how much cache an engine has left: the tables of docs/models.md.

    python benchmarks/models_read.py [--memory] [DATA]

DATA is the folder of real ``config.json`` files and engine logs, ../shared/data where not given. Without ``--memory``
each file of ``configs/`` is read and held against its published figures; with it the start-up lines of
``engine_facts/kv_logs.csv`` (grades A and B, a model and a card of the zoo, a cache that was printed) against
``engine_memory``.
"""

import argparse
import csv
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import secondorder as so
from secondorder.quantities import si
from secondorder.scenarios.engine_memory import GIB, EngineMemory, engine_memory
from secondorder.workloads.huggingface import from_config, from_values
from secondorder.workloads.transformer import Transformer

DATA = Path(__file__).parents[1].parent / "shared" / "data"


# Models


def model_rows(folder: Path) -> Iterator[str]:
    """A row for each file: what was read, and by how much it differs from what was published."""
    yield "| file | parameters | active | cache at 8,192 | at 131,072 | state | checkpoint | published |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for row in csv.DictReader((folder / "facts.csv").open(encoding="utf-8")):
        model = from_config(folder / f"{row['name']}.json")
        stated = re.match(r"\d{9,}", row["weight_bytes"] or row["weight_bytes_computed_quantised"])
        against = f"{model.checkpoint_bytes / int(stated.group()) - 1:+.1%}" if stated else ""
        active = f"{model.active_parameters / 1e9:.2f}" if row["active_computed_with_embed_and_head"] else ""
        cells = [
            row["name"],
            f"{model.parameters:,.0f}",
            active,
            *(f"{model.cache_bytes(tokens, 'bf16') / 1e9:.3f}" for tokens in (8192, 131_072)),
            f"{model.state_bytes('bf16') / 1e6:.1f}",
            f"{model.checkpoint_bytes / 1e9:.1f}",
            against,
        ]
        yield f"| {' | '.join(cells)} |"


# Memory

SHAPES: dict[str, str] = {
    r"Llama-3\.1-8B": "llama_3_1_8b",
    r"Qwen2\.5-7B|R1-Distill-Qwen-7B": "qwen2_5_7b",
    r"Qwen2\.5-Math-1\.5B": "qwen2_5_1_5b",
    r"Qwen2\.5-0\.5B": "qwen2_5_0_5b",
    r"Coder-V2-Lite": "deepseek_v2_lite",
    r"phi-4-mini": "phi_4_mini",
    r"Qwen3-0\.6B": "qwen3_0_6b",
    r"Qwen3-8B": "qwen3_8b",
    r"Qwen3-32B": "qwen3_32b",
    r"gpt-oss-20b": "gpt_oss_20b",
    r"gpt-oss-120b": "gpt_oss_120b",
    r"R1-Distill-Qwen-14B": "qwen2_5_14b",
}
"""Models of the log and of the zoo; the distilled ones have their parent's shape."""
LLAMA_70B = {
    "model_type": "llama",
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "intermediate_size": 28672,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
WEIGHTS = {"num_bits": 8, "type": "float", "strategy": "channel"}
FP8 = {
    "quant_method": "compressed-tensors",
    "ignore": ["lm_head"],
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": WEIGHTS}},
}
QUANTISED = {
    r"70B-Instruct-AWQ": {"quant_method": "awq", "bits": 4, "group_size": 128},
    r"Llama-3\.3-70B.*(FP8|fp8)": FP8,
}
CARDS = {
    "H100": "h100_sxm",
    "A100-80": "a100_80gb",
    "A100-40": "a100_40gb",
    "L40S": "l40s",
    "V100": "v100",
    "MI300X": "mi300x",
    "48GB": "l40s",
    "80GB": "h100_sxm",
    "24GB GeForce": "rtx_4090",
}


class Line(NamedTuple):
    """One start-up: what the engine printed, and the estimate."""

    row: dict[str, str]
    memory: EngineMemory
    printed: float

    @property
    def error(self) -> float:
        return self.memory.cache / self.printed - 1

    @property
    def inside(self) -> bool:
        low, high = self.memory.band
        return low <= self.printed <= high


def model_of(name: str) -> Transformer | None:
    for pattern, quantisation in QUANTISED.items():
        if re.search(pattern, name):
            return from_values({**LLAMA_70B, "quantization_config": quantisation}, path=Path(name), name=name)
    return next((so.models[zoo] for pattern, zoo in SHAPES.items() if re.search(pattern, name)), None)


def number(row: dict[str, str], key: str) -> float:
    return float(row[key] or 0)


def lines(folder: Path) -> Iterator[Line]:
    """The set-ups that can be told apart: model, card, utilisation and a printed cache."""
    for row in csv.DictReader((folder / "kv_logs.csv").open(encoding="utf-8")):
        model = model_of(row["model"])
        card = next((card for words, card in CARDS.items() if words in row["gpu_name"]), None)
        known = (
            model is not None
            and card is not None
            and row["gpu_memory_utilization"]
            and "cpu-offload" not in row["notes"]
        )
        if row["evidence_grade"] == "C" or not known or model is None or card is None:
            continue
        printed = number(row, "available_kv_cache_gib") * GIB
        if printed:
            yield Line(row, estimate(row, model, so.accelerators[card]), printed)


def estimate(row: dict[str, str], model: Transformer, card: so.Accelerator) -> EngineMemory:
    """With what the log states, and the engine's own default where it states nothing."""
    found = re.search(r"0\.\d+", row["vllm_version"])
    version = found.group() if found else "0.20"
    old = int(version.split(".")[1]) < 8 or "V0" in row["vllm_version"] + row["notes"]
    large = si(card.memory_capacity) >= 70 * GIB and "A100" not in card.name
    budget = 8192 if large or "offline" in row["notes"] else 2048
    precision = {"fp8 (runtime)": "fp8", "none (float32)": "fp32"}.get(row["weight_quant"], "bf16")
    return engine_memory(
        model,
        card,
        version="0.8" if old else version,
        precision=precision,
        tensor_parallel_size=int(number(row, "tp") or 1),
        max_num_batched_tokens=int(
            number(row, "max_num_batched_tokens") or max(budget, old * number(row, "max_model_len"))
        ),
        max_num_seqs=int(number(row, "max_num_seqs") or (1024 if large and not old else 256)),
        gpu_memory_utilization=number(row, "gpu_memory_utilization"),
        enforce_eager=row["enforce_eager"] == "True",
    )


def memory_rows(folder: Path) -> Iterator[str]:
    """A row for each set-up, and the summary."""
    yield "| card | version | ranks | model | printed GiB | estimated | error | in the band |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    found = list(lines(folder))
    for line in found:
        row = line.row
        cells = [
            row["gpu_name"].split(" (")[0],
            row["vllm_version"].split(" (")[0],
            row["tp"] or "1",
            row["model"].rsplit("/", 1)[-1],
            f"{line.printed / GIB:.2f}",
            f"{line.memory.cache / GIB:.2f}",
            f"{line.error:+.1%}",
            "yes" if line.inside else "no",
        ]
        yield f"| {' | '.join(cells)} |"
    median = statistics.median(abs(line.error) for line in found)
    inside = sum(line.inside for line in found)
    yield ""
    yield f"Of {len(found)} set-ups {inside} are inside the band, with a median error of {median:.1%}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("data", nargs="?", type=Path, default=DATA)
    chosen = parser.parse_args()
    rows = memory_rows(chosen.data / "engine_facts") if chosen.memory else model_rows(chosen.data / "configs")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
