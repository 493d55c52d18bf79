"""Measured runs of real engines, to be compared with a simulation.

A folder holds ``trace.jsonl`` (the workload in Mooncake's form, with the engine's own block
size), ``measured.csv`` (``request_id, arrival_s, input_tokens, output_tokens, ttft_s, tpot_s,
e2el_s``) and ``meta.json`` (``engine_kwargs``). It is the form in which LLMServingSim 2.0
publishes its measurements (Cho et al. 2026). Results of load generators: ``validation.result_files``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secondorder.errors import FileError, InputError
from secondorder.fleets.accelerators import Accelerator
from secondorder.scenarios.serving import Serving
from secondorder.validation.engine_facts import check_model, quantised, settings_of
from secondorder.validation.measured_loop import MeasuredLoop, is_summary, loop_of
from secondorder.validation.result_files import Records, checked, document_of, read_records, without_result
from secondorder.workloads.requests import Requests
from secondorder.workloads.traces import Trace, read_trace
from secondorder.workloads.transformer import Transformer

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 16
"""Tokens of a block of vLLM's cache, and of a hash of these traces."""
STATED = ("tensor_parallel_size", "data_parallel_size", "enable_expert_parallel", "precision", "num_gpu_blocks")
"""Settings of which a scenario may not differ from what the file of its run says."""
_COLUMNS = {"ttft_s": "ttft", "tpot_s": "tpot", "e2el_s": "e2el"}


@dataclass(frozen=True, kw_only=True)
class MeasuredRun:
    """``trace`` as offered; ``requests`` as served, in the trace's order, with columns
    ``ttft, tpot, e2el`` (s); ``settings`` of the engine as fields of ``Serving``; ``model`` as the file names it;
    ``lost``: requests without an answer, which the file has and the trace has not."""

    name: str
    trace: Trace
    requests: "pd.DataFrame"
    settings: Mapping[str, Any]
    model: str = ""
    lost: int = 0

    def scenario(self, model: Transformer, accelerator: Accelerator, **changes: Any) -> Serving:
        """The same run as a scenario: the engine's settings, on the given model and card.

        Errors: ``InputError`` if the run's own model, parallelism or blocks differ, or if its model's name says that
        it is quantised and no precision is stated.
        """
        check_model(self.model, model)
        for name in STATED:
            if name in changes and changes[name] != self.settings.get(name, changes[name]):
                expected = f"that of the run, {self.settings[name]}"
                raise InputError(name, given=changes[name], expected=expected)
        fields = {"name": self.name, **self.settings, **changes}
        if "precision" not in fields and quantised(self.model):
            remedy = "name the precision of its weights, precision='fp8'"
            raise InputError("precision", given="none", expected=f"that of the run, {self.model}", remedy=remedy)
        return Serving(model=model, accelerator=accelerator, arrivals=self.trace, **fields)


def read_run(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    unit: str | None = None,
    benchmark: int | None = None,
) -> MeasuredRun | MeasuredLoop:
    """Read a measured run: a CSV file, a folder, or what a load generator wrote.

    Known are vLLM's bench, GuideLLM, AIPerf, inference-perf, InferenceX and BLIS. InferenceX keeps no requests: its
    result is a ``MeasuredLoop``, which can be replayed and not calibrated.

    ``columns``: of a CSV file, the names of ``arrival``, ``input_tokens``, ``output_tokens``, ``ttft`` and ``tpot`` or
    ``e2el`` where they have others; ``unit``: of its times where the names do not end in it (``ttft_ms``).
    ``benchmark``: the number of one of several in a file of GuideLLM or InferenceX. Settings of the engine that the
    file states become fields of the scenario; prefix caching and asynchronous scheduling are taken as on, the
    engine's defaults.

    Errors: ``FileError`` for a file that cannot be read, a setting that a replay would ignore (pipeline stages,
    speculation), times that are absent, not numbers or in another unit; a summary without requests.
    """
    path = Path(path)
    if path.is_dir():
        return read_measured_run(path)
    if is_summary(document := document_of(path)):
        return loop_of(path, document, benchmark)
    records = read_records(path, columns=columns, unit=unit, benchmark=benchmark)
    settings = {"enable_prefix_caching": True, "async_scheduling": True, **settings_of(records.facts, str(path))}
    frame, requests = _as_requests(records)
    trace = Trace(name=path.stem, requests=requests)
    return MeasuredRun(
        name=path.stem, trace=trace, requests=frame, settings=settings, model=records.model, lost=records.lost
    )


def _as_requests(records: Records) -> tuple["pd.DataFrame", Requests]:
    """The rows in order of arrival, from 0 on, and what was offered."""
    frame = records.frame.sort_values("arrival", kind="stable", ignore_index=True)
    frame["arrival"] -= frame["arrival"].iloc[0]
    frame = frame.astype({"input_tokens": int, "output_tokens": int})
    requests = Requests(
        arrival=frame["arrival"].to_numpy(),
        input_tokens=frame["input_tokens"].to_numpy(),
        output_tokens=frame["output_tokens"].to_numpy(),
    )
    return frame, requests


def read_measured_run(folder: str | Path) -> MeasuredRun:
    """Read a measured run. ``FileError`` where a file is missing, or trace and run do not match.

    The engine's prefix caching, chunked prefill and asynchronous scheduling are taken as on,
    vLLM's defaults, unless its settings say otherwise.
    """
    import pandas as pd

    folder = Path(folder)
    for name in ("trace.jsonl", "measured.csv", "meta.json"):
        if not (folder / name).is_file():
            raise without_result(folder, name)
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
    checked(requests.assign(arrival=requests["arrival_s"]), str(folder / "measured.csv"))
    meta = json.loads((folder / "meta.json").read_text())
    facts = {**meta["engine_kwargs"], "kv_cache": meta.get("kv_cache"), "vllm_version": meta.get("vllm_version")}
    settings = {"precision": "bf16", "enable_prefix_caching": True, "async_scheduling": True}
    settings |= settings_of(facts, str(folder / "meta.json"))
    return MeasuredRun(
        name=folder.name, trace=trace, requests=requests, settings=settings, model=str(meta.get("model", ""))
    )
