"""A measured closed loop of which only the summary is kept, as InferenceX publishes it: read, and run again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secondorder.errors import FileError, InputError
from secondorder.fleets.accelerators import Accelerator
from secondorder.scenarios.measured_roofline import MeasuredRoofline
from secondorder.scenarios.serving import Serving
from secondorder.validation.engine_facts import check_model, settings_of
from secondorder.validation.fixed_concurrency import FixedConcurrency, first_token, simulate
from secondorder.validation.result_files import FASTEST_TOKEN, SLOWEST_TOKEN
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Lengths
from secondorder.workloads.transformer import Transformer

if TYPE_CHECKING:
    import pandas as pd

ENGINES = {"vllm": "vllm", "sglang": "sglang", "trt": "tensorrt-llm", "trtllm": "tensorrt-llm"}
"""InferenceX's names of frameworks, and ours; others are several engines behind a router, and refused."""
SHORTEST = 0.8
"""Lengths are drawn evenly from this share of the nominal ones up to them (its ``RANDOM_RANGE_RATIO``)."""
NEEDED = ("conc", "isl", "osl", "tp", "median_ttft", "median_tpot")
PRECISIONS = ("bf16", "fp8", "fp4")


@dataclass(frozen=True, kw_only=True)
class MeasuredLoop:
    """``concurrency`` clients, nominal lengths of prompts and outputs, measured medians ``ttft`` and ``tpot`` (s)."""

    name: str
    model: str
    engine: str
    concurrency: int
    input_tokens: int
    output_tokens: int
    ttft: float
    tpot: float
    settings: Mapping[str, Any]

    def loop(self, model: Transformer, accelerator: Accelerator, **changes: Any) -> FixedConcurrency:
        """The same loop on a given model and card; ``changes`` are fields of ``Serving``.

        Errors: ``InputError`` if the run's own model or parallelism differ.
        """
        check_model(self.model, model)
        for name in ("tensor_parallel_size", "precision"):
            if changes.get(name, self.settings[name]) != self.settings[name]:
                raise InputError(name, given=changes[name], expected=f"that of the run, {self.settings[name]}")
        fields = {"step_time": MeasuredRoofline(engine=self.engine), **self.settings, **changes}
        lengths = Lengths(input=self.input_tokens, output=self.output_tokens)
        return FixedConcurrency(
            serving=Serving(
                model=model, accelerator=accelerator, arrivals=Poisson("1 request/s"), lengths=lengths, **fields
            ),
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            concurrency=self.concurrency,
            shortest=SHORTEST,
            separate_prefill=self.engine == "sglang",
        )

    def replayed(self, model: Transformer, accelerator: Accelerator, **changes: Any) -> "pd.DataFrame":
        """Measured and simulated medians (s), and the relative error, a row a metric."""
        import pandas as pd

        loop = self.loop(model, accelerator, **changes)
        simulated = simulate(loop)
        found = {"ttft_p50": first_token(loop, self.engine, simulated), "tpot_p50": simulated[1]}
        table = pd.DataFrame({"measured": {"ttft_p50": self.ttft, "tpot_p50": self.tpot}, "simulated": found})
        table["error"] = table["simulated"] / table["measured"] - 1
        return table.rename_axis("metric").reset_index().assign(run=self.name)


def is_summary(document: object) -> bool:
    """Whether a JSON value is a result of InferenceX, or a list of them."""
    if isinstance(document, Sequence) and not isinstance(document, str):
        return bool(document) and all(map(is_summary, document))
    return isinstance(document, Mapping) and "median_ttft" in document and "conc" in document


def loop_of(path: Path, document: Any, benchmark: int | None = None) -> MeasuredLoop:
    """The closed loop of an InferenceX result, or of one of a list.

    Errors: ``FileError`` for several without the number of one; what a replay would ignore: speculation, disaggregated
    prefill, expert parallelism, data-parallel attention; values that are absent, no numbers or in another unit.
    """
    if not isinstance(document, Mapping):
        if (len(document) > 1 and benchmark is None) or not 0 <= (benchmark or 0) < len(document):
            expected = f"the number of one of them, 0 to {len(document) - 1}"
            raise FileError(
                str(path), given=f"{len(document)} results", expected=expected, remedy="give benchmark=0 for the first"
            )
        document = document[benchmark or 0]
    for name in NEEDED:
        value = document.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < np.inf:
            raise FileError(f"{path}, {name}", given=repr(value), expected="a number above 0")
    if not FASTEST_TOKEN < document["median_tpot"] < SLOWEST_TOKEN:
        given = f"{document['median_tpot']:.3g} s per output token"
        raise FileError(f"{path}, median_tpot", given=given, expected="seconds")
    engine, settings = _engine(path, document), _settings(path, document)
    return MeasuredLoop(
        name=f"{path.stem}, {document['conc']:g} users",
        model=str(document.get("model", "")),
        engine=engine,
        concurrency=int(document["conc"]),
        input_tokens=int(document["isl"]),
        output_tokens=int(document["osl"]),
        ttft=float(document["median_ttft"]),
        tpot=float(document["median_tpot"]),
        settings=settings,
    )


def _engine(path: Path, document: Mapping[str, Any]) -> str:
    name = str(document.get("framework", "vllm"))
    if name not in ENGINES:
        raise FileError(f"{path}, framework", given=repr(name), expected=f"one of {', '.join(ENGINES)}")
    return ENGINES[name]


def _settings(path: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """Of the engine; a batch of up to 256 and chunks of 8192 tokens, as its recipes have them."""
    for name in ("spec_decoding", "disagg", "is_multinode"):
        if str(document.get(name)).lower() not in ("none", "false", ""):
            expected = "none: a replay cannot have it"
            raise FileError(f"{path}, {name}", given=repr(document[name]), expected=expected)
    facts = {name: document.get(name) for name in ("tp", "ep", "dp_attention")}
    precision = document.get("precision", "bf16")
    if precision not in PRECISIONS:
        raise FileError(f"{path}, precision", given=repr(precision), expected=f"one of {', '.join(PRECISIONS)}")
    common = {"max_num_seqs": 256, "max_num_batched_tokens": 8192, "precision": precision}
    found = settings_of(facts, str(path))
    if found.pop("enable_expert_parallel", False):
        expected = "1, as the loop that replays summaries has no expert parallelism"
        raise FileError(f"{path}, ep", given=repr(document["ep"]), expected=expected)
    return common | found
