"""Measured runs of real engines, to be laid beside a simulation.

A folder holds ``trace.jsonl`` (the workload in Mooncake's form, with the engine's own block
size), ``measured.csv`` (``request_id, arrival_s, input_tokens, output_tokens, ttft_s, tpot_s,
e2el_s``) and ``meta.json`` (``engine_kwargs``). It is the form in which LLMServingSim 2.0
publishes its measurements (Cho et al. 2026).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secondorder.errors import FileError
from secondorder.fleets.accelerators import Accelerator
from secondorder.scenarios.serving import Serving
from secondorder.workloads.traces import Trace, read_trace
from secondorder.workloads.transformer import Transformer

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 16
"""Tokens of a block of vLLM's cache, and of a hash of these traces."""

_SETTINGS = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "max_model_len",
    "tensor_parallel_size",
    "block_size",
    "long_prefill_token_threshold",
    "enable_chunked_prefill",
    "gpu_memory_utilization",
)
_PRECISION = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
_COLUMNS = {"ttft_s": "ttft", "tpot_s": "tpot", "e2el_s": "e2el"}


@dataclass(frozen=True, kw_only=True)
class MeasuredRun:
    """``trace`` as offered; ``requests`` as served, in the trace's order, with columns
    ``ttft, tpot, e2el`` (s); ``settings`` of the engine as fields of ``Serving``."""

    name: str
    trace: Trace
    requests: "pd.DataFrame"
    settings: dict[str, Any]

    def scenario(self, model: Transformer, accelerator: Accelerator, **changes: Any) -> Serving:
        """The same run as a scenario: the engine's settings, on the given model and card."""
        fields = {"name": self.name, **self.settings, **changes}
        return Serving(model=model, accelerator=accelerator, arrivals=self.trace, **fields)


def read_measured_run(folder: str | Path) -> MeasuredRun:
    """Read a measured run. ``FileError`` where a file is missing, or trace and run do not match.

    The engine's prefix caching, chunked prefill and asynchronous scheduling are taken as on,
    vLLM's defaults, unless its settings say otherwise.
    """
    import pandas as pd

    folder = Path(folder)
    for name in ("trace.jsonl", "measured.csv", "meta.json"):
        if not (folder / name).is_file():
            raise FileError(str(folder), given=f"no {name}", expected="trace.jsonl, measured.csv and meta.json")
    trace = read_trace(folder / "trace.jsonl", hash_block=BLOCK)
    requests = pd.read_csv(folder / "measured.csv").rename(columns=_COLUMNS)
    if missing := [name for name in ("arrival_s", *_COLUMNS.values()) if name not in requests]:
        raise FileError(str(folder / "measured.csv"), given=f"columns {list(requests)}", expected=f"{missing} too")
    requests = requests.sort_values("arrival_s", kind="stable", ignore_index=True)
    offered = trace.requests
    same = (
        len(requests) == len(offered)
        and all(np.array_equal(requests[name], getattr(offered, name)) for name in ("input_tokens", "output_tokens"))
        and bool(np.allclose(requests["arrival_s"], offered.arrival, atol=1e-3))
    )
    if not same:
        given = f"{len(requests)} measured and {len(offered)} offered requests that differ"
        raise FileError(str(folder), given=given, expected="the same requests in trace.jsonl and measured.csv")
    settings = json.loads((folder / "meta.json").read_text())["engine_kwargs"]
    return MeasuredRun(name=folder.name, trace=trace, requests=requests, settings=_settings(settings))


def _settings(engine: dict[str, Any]) -> dict[str, Any]:
    if engine.get("quantization"):
        raise FileError("meta.json", given=f"quantization {engine['quantization']!r}", expected="an unquantised model")
    found = {name: engine[name] for name in _SETTINGS if engine.get(name) is not None}
    found["precision"] = _PRECISION.get(engine.get("dtype", ""), engine.get("dtype", "bf16"))
    if engine.get("kv_cache_dtype", "auto") not in ("auto", engine.get("dtype")):
        found["kv_precision"] = engine["kv_cache_dtype"]
    found["enable_prefix_caching"] = engine.get("enable_prefix_caching", True)
    found["async_scheduling"] = engine.get("async_scheduling", True)
    return found
