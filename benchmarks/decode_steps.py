"""Decode steps over batch, and all-reduces, of public tables against ``MeasuredRoofline``.

All but what vLLM 0.11 adds (three numbers) was fitted on other data; those are fitted here on H100, a model left out at
a time; A100, H20 and B200 are predicted.

    python benchmarks/decode_steps.py

The tables are read from ../shared/data; skipped where they are absent.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import secondorder as so
from secondorder.arrays import Floats
from secondorder.errors import SecondOrderError
from secondorder.quantities import si
from secondorder.scenarios.measured_roofline import (
    ENGINES,
    PCIE_LATENCY,
    MeasuredRoofline,
    all_reduce_bytes,
    pcie_bytes,
    reduce_latency,
)
from secondorder.scenarios.step_band import StepBand
from secondorder.scenarios.steptime import Placement

if TYPE_CHECKING:
    import pandas as pd

FACTS = Path(__file__).parents[2] / "shared" / "data" / "engine_facts"
PCIE = Path(__file__).parent / "pcie_all_reduces.csv"
CHAT_PROMPT = 300
"""Tokens of a prompt where the table has none: conversations."""
CARDS = {"A100": "a100_80gb", "H100": "h100_sxm", "H20": "h20", "B200": "b200"}
MODELS = {
    "qwen3-0.6b": "qwen3_0_6b",
    "qwen3-4b": "qwen3_4b",
    "qwen3-8b": "qwen3_8b",
    "qwen3-32b": "qwen3_32b",
    "qwen3-30b": "qwen3_30b_a3b",
    "qwen3-coder-30b": "qwen3_30b_a3b",
    "llama-3.1-8b": "llama_3_1_8b",
    "gpt-oss-20b": "gpt_oss_20b",
    "gpt-oss-120b": "gpt_oss_120b",
    "llama-3.1-405b": "llama_3_1_405b",
    "qwen3-235b": "qwen3_235b_a22b",
    "qwen3-coder-480b": "qwen3_coder_480b_a35b",
    "llama-4-scout": "llama_4_scout",
    "llama-4-maverick": "llama_4_maverick",
    "deepseek-v3.1": "deepseek_v3",
    "deepseek-r1": "deepseek_r1",
}
PRECISIONS = {"bf16": "bf16", "bfloat16": "bf16", "mxfp4": "bf16", "fp8": "fp8"}
METRICS = ("TPOT", "median TPOT", "median ITL", "TPOT (=1/speed)")
OLDEST = "github issue tenstorrent/tt-inference-server#340"
"""Rows of June 2025."""
FITTED = "qwen3_30b_a3b"
"""Their model from which the time a step of vLLM 0.9 was fitted; the others judge it."""
BURSTS = ((1, 11.75), (50, 18.5), (200, 40.3), (1000, 63.3))
"""Requests at once, and ms of a step: Qwen2 7B on A100, an engine of 2024; the lengths are not known."""
BATCH = 256
"""Sequences that decode at once at most; where more came, prompts stand in the steps too, and are not predicted."""
SMALL = 4.5e9
"""Parameters of a small model at most."""
OLD = ("HF transformers", "SGLang + EAGLE3", "PyTorch")
"""Engines outside the domain: eager mode, speculation."""


def zoo_name(model: str) -> str | None:
    """What the zoo calls a model of the table."""
    return next((zoo for part, zoo in MODELS.items() if part in model.lower()), None)


def engine_of(row: "pd.Series[float]") -> str:
    """Its name among the engines, by its age."""
    if "SGLang" in str(row.engine):
        return "sglang"
    if row.source == OLDEST:
        return "vllm-0.9"
    return "vllm" if "2026)" in str(row.version) and "Mar" in str(row.version) else "vllm-0.11"


def host_left_out(table: "pd.DataFrame") -> tuple["pd.Series[float]", Floats]:
    """Errors on H100 with what vLLM 0.11 adds fitted without the row's model; the fit on all, in ms."""
    import numpy as np
    import pandas as pd
    from scipy.optimize import least_squares

    rows = table[(table.card == "H100") & (table.age == "vllm-0.11")]
    host = ENGINES["vllm-0.11"]
    added = np.column_stack([np.ones(len(rows)), pd.to_numeric(rows.batch), rows.fp8_expert_layers])
    bare = rows.predicted - 1e3 * (added @ np.array(host[:3]))

    def fit(chosen: "pd.Series[bool]") -> Floats:
        def errors(x: Floats) -> Floats:
            return np.log((bare + added @ np.abs(x)) / rows.value)[chosen]

        return np.abs(least_squares(errors, [1.0, 0.03, 0.1], loss="soft_l1", f_scale=0.1).x)

    families = rows.model.str.lower().str.split("/").str[-1].str.split("-").str[:2].str.join("-")
    found = []
    for family in families.unique():
        out = families == family
        found.append(((bare + added @ fit(~out)) / rows.value - 1)[out])
    return pd.concat(found), fit(families == families)


def band_of_groups(ratios: Floats, groups: Sequence[str], level: float = 0.9) -> StepBand:
    """The factor up or down within which a row of a new group lies with this probability.

    Each of the ``K`` groups has the weight ``1/(K + 1)``, shared by its rows; what is left stands for the new one and
    lies outside. *Source*: hierarchical conformal prediction, Lee, Barber and Willett 2023.
    """
    import numpy as np

    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    factors = np.exp(np.abs(np.log(ratios)))
    order = np.argsort(factors)
    weights = (1 / sizes[place])[order] / (len(sizes) + 1)
    factor = float(factors[order][np.searchsorted(np.cumsum(weights), level)])
    return StepBand(1 / factor, factor)


def predicted(row: "pd.Series[float]") -> float | None:
    """Seconds of a decode step; None where the row is outside what can be stated."""
    name = zoo_name(row.model)
    card = next((zoo for part, zoo in CARDS.items() if str(row.hardware).startswith(part)), None)
    if not name or not card or row.precision not in PRECISIONS or row.engine in OLD or row.metric not in METRICS:
        return None
    if "DP4" in str(row.parallel) or "DP8" in str(row.parallel):
        return None
    found = re.fullmatch(r"[\d.]+", str(row.batch))
    prompt = float(row.isl) if re.fullmatch(r"\d+", str(row.isl)) else CHAT_PROMPT
    output = float(row.osl) if re.fullmatch(r"\d+", str(row.osl)) else 500.0
    if found is None:
        return None
    model, batch, context = so.models[name], float(row.batch), prompt + output / 2
    placement = Placement(
        model=model,
        accelerator=so.accelerators[card],
        precision=PRECISIONS[row.precision],
        kv_precision="bf16",
        tensor_parallel_size=int(row.gpus),
        context=None if model.whole_cache else context,
    )
    step = MeasuredRoofline(engine=engine_of(row)).seconds(placement)
    return float(step(0, 0, 0, batch, batch * context, batch))


def fp8_expert_layers(row: "pd.Series[float]") -> int:
    """Layers with experts in 8 bits."""
    name = zoo_name(row.model)
    return so.models[name].moe_layers if name and row.precision == "fp8" else 0


def decode_steps() -> None:
    import numpy as np
    import pandas as pd

    table = pd.read_csv(FACTS / "steps.csv")
    found = []
    for row in table.itertuples():
        try:
            value = predicted(row)
        except SecondOrderError:
            value = None
        found.append(float("nan") if value is None else value * 1e3)
    table = table.assign(predicted=found, error=pd.Series(found) / table["value"] - 1).dropna(subset="error")
    table["card"] = table["hardware"].str.split(" ").str[0]
    table = table.assign(age=[engine_of(row) for row in table.itertuples()])
    low, high = np.array([ENGINES[age].band for age in table.age]).T
    table = table.assign(inside=table["value"].between(low * table["predicted"], high * table["predicted"]))
    table = table.assign(fp8_expert_layers=[fp8_expert_layers(row) for row in table.itertuples()])
    errors, (step, each, layer) = host_left_out(table)
    print(
        f"vLLM 0.11 adds {step:.2g} ms a step, {each:.2g} ms a sequence, {layer:.2g} ms a layer of fp8 experts;",
        end=" ",
    )
    print(f"H100, models left out of it: median absolute error {errors.abs().median():.1%} of {len(errors)} rows")
    old = band_of_groups(
        1 / (1 + errors.to_numpy()), [zoo_name(name) or name for name in table.loc[errors.index].model]
    )
    print(f"band of vLLM 0.11, from H100 with models left out: {old.low:.2f} to {old.high:.2f}")
    unseen = (table.age == "vllm-0.11") & (table.card != "H100")
    for name, rows in (
        ("all", table),
        ("without B200", table[table.card != "B200"]),
        ("vLLM 0.11 on cards without a row in the fit", table[unseen]),
        ("later engines", table[~table.age.str.startswith("vllm-0")]),
    ):
        print(
            f"decode steps, {name}: {len(rows)} rows, median absolute error {rows.error.abs().median():.1%}, "
            f"{rows.inside.mean():.0%} in their band"
        )
    _kinds(table)
    keys = ["card", "engine", "gpus", "model", "precision"]
    print("\n| " + " | ".join(keys) + " | rows | batch | median error | median absolute |\n" + "|" + " --- |" * 9)
    for key, rows in table.groupby(keys):
        sizes = pd.to_numeric(rows.batch)
        span = f"{sizes.min():.0f} to {sizes.max():.0f}"
        print(
            f"| {' | '.join(map(str, key))} | {len(rows)} | {span} | {rows.error.median():+.0%} "
            f"| {rows.error.abs().median():.0%} |"
        )


def _kinds(table: "pd.DataFrame") -> None:
    """The same rows by kind of model, and idle engines."""
    import pandas as pd

    model = [so.models[name] for name in map(zoo_name, table.model) if name]
    small = pd.Series([each.parameters < SMALL for each in model], index=table.index)
    mixture = pd.Series([each.moe_layers > 0 for each in model], index=table.index)
    alone, old = pd.to_numeric(table.batch) == 1, table.age == "vllm-0.9"
    fitted = table.model.map(zoo_name) == FITTED
    kinds = (
        ("dense models", ~mixture), ("mixtures", mixture), ("small models", small),
        ("small models but on H20", small & (table.card != "H20")), ("one sequence on an idle engine", alone),
        ("the same but on H20", alone & (table.card != "H20")),
        ("vLLM 0.9, the model of its fit", old & fitted), ("vLLM 0.9, another model", old & ~fitted),
    )  # fmt: skip
    print("\n| kind | rows | median error | median absolute | in their band |\n|" + " --- |" * 5)
    for name, rows in kinds:
        error = table.error[rows]
        size, inside = f"{error.abs().median():.0%}", f"{table.inside[rows].mean():.0%}"
        print(f"| {name} | {len(error)} | {error.median():+.0%} | {size} | {inside} |")


def bursts() -> None:
    """Bursts of an engine of 2024, by the host work of vLLM 0.9."""
    placement = Placement(
        model=so.models.qwen2_5_7b, accelerator=so.accelerators.a100_80gb, precision="bf16", kv_precision="bf16"
    )
    step = MeasuredRoofline(engine="vllm-0.9").seconds(placement)
    print("\n| burst of Qwen2 7B on A100 | measured | predicted | error |\n| --- | --- | --- | --- |")
    for count, measured in BURSTS:
        decoding = min(count, BATCH)
        found = 1e3 * float(step(0, 0, 0, decoding, decoding * CHAT_PROMPT, decoding))
        print(f"| {count} | {measured} ms | {found:.1f} ms | {found / measured - 1:+.0%} |")


def all_reduces() -> None:
    """All-reduces in a graph by card, and with the latency of a card fitted without the number of ranks judged."""
    import numpy as np
    import pandas as pd

    table = pd.read_csv(FACTS / "allreduce.csv")
    table = table[(table.op == "all_reduce") & (table.library == "vLLM 0.20.0 all_reduce (graph)")]
    print("\n| all-reduce to 64 MiB, card | rows | median absolute error | ranks left out |\n| --- | --- | --- | --- |")
    every = []
    for part, card in (("A100", "a100_80gb"), ("H100", "h100_sxm"), ("B200", "b200")):
        rows = table[table.hardware.str.startswith(part) & (table.bytes <= 64 * 2**20)]
        device = so.accelerators[card]
        ranks, measured = rows.ranks.to_numpy(), rows.microseconds.to_numpy() / 1e6
        bare = np.array([_moving(device, int(n), size) for n, size in zip(ranks, rows.bytes, strict=True)])
        error = np.abs((reduce_latency(device) + bare) / measured - 1)
        out = [
            np.abs((_latency(bare[ranks != n], measured[ranks != n]) + bare) / measured - 1)[ranks == n]
            for n in np.unique(ranks)
        ]
        every.append(error)
        print(f"| {card} | {len(rows)} | {np.median(error):.0%} | {np.median(np.concatenate(out)):.0%} |")
    print(f"| all | {len(np.concatenate(every))} | {np.median(np.concatenate(every)):.0%} | |")


def every_library() -> None:
    """All-reduces on one node of the cards known, whatever the library, its start by the host included."""
    import pandas as pd

    table = pd.read_csv(FACTS / "allreduce.csv").dropna(subset=["bytes", "microseconds"])
    table = table[(table.op == "all_reduce") & (table.nodes.fillna(1) == 1) & table.ranks.between(2, 8)]
    cards = {"A100": "a100_80gb", "H100": "h100_sxm", "SM90": "h100_sxm", "H200": "h200", "B200": "b200"}
    table["card"] = [next((z for part, z in cards.items() if name.startswith(part)), None) for name in table.hardware]
    table = table.dropna(subset="card")
    error = pd.Series(
        [
            abs(1e6 * _all_reduce(so.accelerators[row.card], int(row.ranks), row.bytes) / row.microseconds - 1)
            for row in table.itertuples()
        ],
        index=table.index,
    )
    graph = table.library.str.contains("graph", case=False)
    for name, chosen in (("every library", graph | True), ("in a CUDA graph", graph), ("started by the host", ~graph)):
        print(
            f"all-reduces on one node, {name}: {chosen.sum()} rows, median absolute error {error[chosen].median():.0%}"
        )


def _all_reduce(device: so.Accelerator, ranks: int, size: float) -> float:
    """Seconds of an all-reduce."""
    return reduce_latency(device) + _moving(device, ranks, size)


def _moving(device: so.Accelerator, ranks: int, size: float) -> float:
    """Seconds of an all-reduce beside its latency."""
    link, second = si(device.link_bandwidth), si(MeasuredRoofline().second_phase)
    return min(all_reduce_bytes(ranks, size, one_shot=True) / link, second + all_reduce_bytes(ranks, size) / link)


def _latency(bare: Floats, measured: Floats) -> float:
    """Seconds of the small all-reduce that fits best."""
    import numpy as np
    from scipy.optimize import least_squares

    found = least_squares(lambda x: np.log((np.exp(x) + bare) / measured), np.log([5e-6]), loss="soft_l1", f_scale=0.1)
    return float(np.exp(found.x[0]))


def over_pcie() -> None:
    """All-reduces over PCIe against the two forms of ``pcie_bytes``; which rows gave the latency, the table says."""
    import pandas as pd

    table = pd.read_csv(PCIE)
    print("\n| over PCIe | library | ranks | bytes | measured | predicted | error |\n|" + " --- |" * 7)
    errors: dict[str, list[float]] = {}
    for row in table[table.part != "outside"].itertuples():
        latency = PCIE_LATENCY if row.ranks > 2 else reduce_latency(so.accelerators.rtx_pro_6000)
        found = 1e6 * (latency + pcie_bytes(int(row.ranks), row.bytes) / row.pcie)
        errors.setdefault(row.part, []).append(abs(found / row.microseconds - 1))
        measured = f"{row.ranks} | {row.bytes:,} | {row.microseconds} us"
        error = f"{found / row.microseconds - 1:+.0%}"
        print(f"| {row.hardware} | {row.library} | {measured} | {found:.1f} us | {error} |")
    for part, found_errors in errors.items():
        median, most = pd.Series(found_errors).agg(["median", "max"])
        print(f"over PCIe, {part}: {len(found_errors)} rows, median absolute error {median:.0%}, most {most:.0%}")


def main() -> None:
    over_pcie()
    if not FACTS.is_dir():
        print(f"skipped: no tables at {FACTS}")
        return
    decode_steps()
    bursts()
    all_reduces()
    every_library()


if __name__ == "__main__":
    main()
