"""Rows of the shared silicon sample as closed loops of the project's own scenarios."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import secondorder as so
from secondorder.errors import SecondOrderError
from secondorder.validation.fixed_concurrency import FixedConcurrency
from secondorder.workloads.checkpoints import Format, stored
from secondorder.workloads.transformer import Transformer

if TYPE_CHECKING:
    import pandas as pd

DATA = Path(__file__).parents[2] / "shared" / "data" / "silicon_closed_loop.csv"
SYSTEMS = {"h100_sxm": "h100_sxm", "h200_sxm": "h200", "b200_sxm": "b200", "b300_sxm": "b300", "gb200": "gb200"}
ENGINES = {"trtllm": "tensorrt-llm", "vllm": "vllm", "sglang": "sglang"}
MODELS = {
    "deepseek": "deepseek_v3",
    "llama-3.1-70b": "llama_3_1_70b",
    "llama-3.1-8b": "llama_3_1_8b",
    "qwen3-32b": "qwen3_32b",
    "qwen3-235b": "qwen3_235b_a22b",
    "gpt-oss-120b": "gpt_oss_120b",
    "minimax": "minimax_m2_5",
    "qwen3.5-397b": "qwen3_5_397b_a17b",
    "glm-5": "glm_5",
    "kimi": "kimi_k2",
}
"""Zoo names by a part of the sample's; Kimi K2.5's language model has the shape of K2."""
PRECISIONS = {"bf16": "bf16", "fp8": "fp8", "fp8_block": "fp8", "nvfp4": "fp4", "int4_wo": "bf16"}
"""Formats of the arithmetic; weights in int4 alone are computed on in 16 bits."""
DRAWN = 0.8
"""Least share of the nominal length in rows of the InferenceMAX kind."""
NOMINAL = (1024, 8192)
"""Lengths of those rows."""
NVFP4 = Format(name="nvfp4", bits=4, scale_bytes=1, group=16)
INT4 = Format(name="int4", bits=4, scale_bytes=2, group=32)


@dataclass(frozen=True)
class Row:
    """A closed loop, what was measured (s), and by which groups it is told apart."""

    loop: FixedConcurrency
    engine: str
    ttft: float
    tpot: float
    system: str
    model: str
    precision: str
    version: str


def read(path: Path = DATA) -> tuple[list[Row], dict[str, int]]:
    """The rows that the project can state, and how many it cannot, by reason."""
    import pandas as pd

    rows, refused = [], dict[str, int]()
    for row in pd.read_csv(path).itertuples():
        try:
            reason = _outside(row)
            if not reason:
                rows.append(_row(row))
        except SecondOrderError as error:
            reason = type(error).__name__
        if reason:
            refused[reason] = refused.get(reason, 0) + 1
    return rows, refused


def read_ranks(path: Path = DATA) -> list[Row]:
    """The rows with data-parallel attention on up to eight accelerators, whose experts lie on all of them."""
    import pandas as pd

    table = pd.read_csv(path)
    table = table[(table.attention_data_parallel_size > 1) & (table.pipeline_parallel_size == 1)]
    accelerators = table.tensor_parallel_size * table.attention_data_parallel_size
    experts = table.moe_tensor_parallel_size * table.moe_expert_parallel_size
    return [_row(row) for row in table[(accelerators <= 8) & (accelerators == experts)].itertuples()]


def _outside(row: "pd.Series[float]") -> str:
    """Why a row has no scenario."""
    if row.pipeline_parallel_size > 1 or row.tensor_parallel_size > 8:
        return "tensor parallelism over more than 8, or pipelines"
    experts = row.moe_tensor_parallel_size * row.moe_expert_parallel_size
    spread = isinstance(row.moe_precision, str) and experts not in (0, 1, row.tensor_parallel_size)
    if spread or (row.attention_data_parallel_size == row.attention_data_parallel_size > 1):
        return "data-parallel attention"
    return ""


def _row(row: "pd.Series[float]") -> Row:
    name = next(zoo for part, zoo in MODELS.items() if part in row.model.lower())
    model, precision = stored_as(name, row.gemm_precision)
    engine = ENGINES[row.engine]
    known = row.attention_data_parallel_size == row.attention_data_parallel_size  # it is no number where none is stated
    ranks = int(row.attention_data_parallel_size) if known else 1
    serving = so.Serving(
        model=model,
        accelerator=so.accelerators[SYSTEMS[row.system]],
        arrivals=so.Poisson("1 request/s"),
        lengths=so.Lengths(input=int(row.input_len), output=int(row.output_len)),
        precision=precision,
        tensor_parallel_size=int(row.tensor_parallel_size),
        data_parallel_size=ranks,
        enable_expert_parallel=ranks > 1 and row.moe_expert_parallel_size > 1,
        max_num_seqs=256,
        max_num_batched_tokens=8192,
        gpu_memory_utilization=0.9,
        reserved_memory="1.5 GiB",
        step_time=so.MeasuredRoofline(engine=engine),
    )
    nominal = row.input_len in NOMINAL and row.output_len in NOMINAL
    loop = FixedConcurrency(
        serving=serving,
        input_tokens=int(row.input_len),
        output_tokens=int(row.output_len),
        concurrency=int(row.max_concurrency),
        shortest=DRAWN if nominal else 1.0,
        separate_prefill=engine == "sglang",
    )
    return Row(
        loop,
        engine,
        row.median_ttft_ms / 1e3,
        row.median_tpot_ms / 1e3,
        row.system,
        name,
        row.gemm_precision,
        str(row.engine_version),
    )


@cache
def stored_as(name: str, gemm_precision: str) -> tuple[Transformer, str]:
    """The model as its checkpoint stores it, and the format of the arithmetic."""
    model, precision = so.models[name], PRECISIONS[gemm_precision]
    if name == "gpt_oss_120b":
        return model, "bf16"
    four_bits = INT4 if gemm_precision == "int4_wo" else NVFP4
    if gemm_precision in ("nvfp4", "int4_wo"):
        experts = bool(model.counted.choices)
        chosen = stored(
            model.counted,
            kept="bf16",
            format=four_bits.name,
            choose=lambda module: four_bits if not experts or ".experts." in module else None,
        )
        return replace(model, stored=chosen), precision
    return replace(model, stored=None), precision
