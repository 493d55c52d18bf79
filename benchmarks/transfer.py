"""Do constants that are fitted on one model carry over to other models, precisions and tensor-parallel degrees?

    python benchmarks/transfer.py [--engines 12]

Three ways: a real run's constants on a larger model and two cards (a prediction that no measurement judges yet); one
group of the silicon sample (system, engine, model, precision, its lowest degree) fitted and the others on that card
predicted; made-up engines, whose truth is known, calibrated on an 8B model and tried on others. The first two read
../shared/data, and are skipped where it is absent.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from made_up_engines import fitted
from real_engine import DATA as REAL
from silicon import DATA, Row, read

import secondorder as so
from secondorder.arrays import Floats
from secondorder.quantities import si
from secondorder.scenarios.measured_roofline import MeasuredRoofline
from secondorder.scenarios.steptime import Placement
from secondorder.validation.calibrate import calibrate
from secondorder.validation.fixed_concurrency import time_per_token
from secondorder.validation.measured import read_measured_run

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 10
"""Rows that a group needs to be fitted."""
OTHERS = (("llama_3_1_8b", "bf16", 2), ("qwen3_32b", "bf16", 2), ("qwen3_30b_a3b", "bf16", 1), ("qwen3_32b", "fp8", 1))
"""What the constants of made-up engines are tried on."""
BATCHES = [(0, 0, 0, n, n * 600, n) for n in (1, 16, 64, 128)] + [(1024, 1024 * 512, 1024, 64, 64 * 600, 65)]
"""Steps as (P, A, C, D, K, S)."""


def with_constants(start: MeasuredRoofline, logs: Floats) -> MeasuredRoofline:
    """The step time with efficiencies of memory, arithmetic and attention and two times scaled by ``exp(logs)``."""
    memory, arithmetic, attention, sequence, prefill = np.exp(logs).tolist()
    return replace(
        start,
        memory_efficiency=min(start.memory_efficiency * memory, 1.0),
        bf16_efficiency=min(start.bf16_efficiency * arithmetic, 1.0),
        fp8_efficiency=min(start.fp8_efficiency * arithmetic, 1.0),
        fp4_efficiency=min(start.fp4_efficiency * arithmetic, 1.0),
        attention_memory_efficiency=min(start.attention_memory_efficiency * attention, 1.0),
        per_sequence=f"{start.host.per_sequence * sequence!r} s",
        prefill_floor=f"{si(start.prefill_floor) * prefill!r} s",
    )


def predicted(rows: Sequence[Row], logs: Floats) -> Floats:
    """Seconds a token of each row, with the constants of its engine scaled."""
    found = []
    for row in rows:
        serving = row.loop.serving
        scaled = replace(serving, step_time=with_constants(MeasuredRoofline(engine=row.engine), logs))
        found.append(time_per_token(replace(row.loop, serving=scaled)))
    return np.array(found)


def fit(rows: Sequence[Row]) -> Floats:
    """Constants of one group of rows, held near the published ones: one standard deviation is a factor of two."""
    from scipy.optimize import least_squares

    measured = np.array([row.tpot for row in rows])
    near = np.log(2.0) * 3  # an error of a row is counted in tenths

    def errors(logs: Floats) -> Floats:
        return np.append(np.log(predicted(rows, logs) / measured), logs * 0.3 / near)

    found: Floats = least_squares(errors, np.zeros(5), loss="soft_l1", f_scale=0.1, diff_step=0.02, max_nfev=15).x
    return found


def silicon() -> None:
    """One group fitted, the other rows of its card and engine predicted, without and with its constants."""
    import pandas as pd

    rows, _ = read()
    cards: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cards.setdefault((row.system, row.engine), []).append(row)
    found = []
    for (system, engine), card in cards.items():
        groups = sorted({(row.model, row.precision) for row in card})
        for model, precision in groups:
            own = [row for row in card if (row.model, row.precision) == (model, precision)]
            degree = min(row.loop.serving.tensor_parallel_size for row in own)
            source = [row for row in own if row.loop.serving.tensor_parallel_size == degree]
            others = [row for row in card if row not in source]
            if len(source) < FEWEST or not others:
                continue
            logs = fit(source)
            found += [
                {"card": f"{system}, {engine}", "from": f"{model} {precision} TP{degree}", **each}
                for each in _errors(others, logs, (model, precision))
            ]
    _printed(pd.DataFrame(found))


def _errors(others: Sequence[Row], logs: Floats, source: tuple[str, str]) -> list[dict[str, object]]:
    """Of each row, before and with the constants of the source."""
    measured = np.array([row.tpot for row in others])
    before, after = (predicted(others, x) / measured - 1 for x in (np.zeros(5), logs))
    kinds = [
        "other degree" if (row.model, row.precision) == source
        else "other precision" if row.model == source[0]
        else "mixture" if row.loop.serving.model.moe_layers else "other dense model"
        for row in others
    ]  # fmt: skip
    rows = zip(kinds, before, after, strict=True)
    return [{"to": kind, "before": float(b), "after": float(a)} for kind, b, a in rows]


def _printed(table: "pd.DataFrame") -> None:
    table = table.assign(before_size=table["before"].abs(), after_size=table["after"].abs())
    for keys in (["to"], ["card", "from", "to"]):
        print("\n| " + " | ".join(keys) + " | rows | published constants | fitted on the source | median error |")
        print("|" + " --- |" * (len(keys) + 4))
        for key, part in table.groupby(keys):
            sizes = f"{part.before_size.median():.1%} | {part.after_size.median():.1%} | {part.after.median():+.1%}"
            print(f"| {' | '.join(key)} | {len(part)} | {sizes} |")


def made_up(count: int) -> None:
    """Made-up engines, calibrated on 80 requests of an 8B model: errors of steps of other models."""
    card = so.accelerators.h100_sxm
    errors: dict[str, list[float]] = {}
    for seed in range(count):
        found, truth = fitted(seed)
        true_step = replace(
            found.step_time,
            memory_efficiency=1 / truth["memory"],
            bf16_efficiency=1 / truth["arithmetic"],
            fp8_efficiency=min(MeasuredRoofline().fp8_efficiency / truth["arithmetic"] / 0.8, 1.0),
            attention_memory_efficiency=1 / truth["attention"],
            per_sequence=f"{truth['per_sequence']!r} s",
            prefill_floor=f"{truth['prefill_step'] / so.models.llama_3_1_8b.layers!r} s",
        )
        for model, precision, degree in OTHERS:
            place = Placement(
                model=so.models[model], accelerator=card, precision=precision, kv_precision="bf16",
                tensor_parallel_size=degree,
            )  # fmt: skip
            ours, theirs = (step.seconds(place) for step in (found.step_time, true_step))
            steps = [float(ours(*batch)) / float(theirs(*batch)) - 1 for batch in BATCHES]
            errors.setdefault(f"{model} | {precision} | {degree}", []).extend(np.abs(steps))
    print(f"\n{count} made-up engines, 8B calibrated:\n| model | precision | TP | median error of a step | most |")
    print("| --- | --- | --- | --- | --- |")
    for name, sizes in errors.items():
        print(f"| {name} | {np.median(sizes):.1%} | {max(sizes):.1%} |")


def real() -> None:
    """Qwen3 32B and a mixture on RTX PRO 6000, from its 8B run, over PCIe and as over a link of 64 GB/s."""
    card = so.accelerators.rtx_pro_6000
    found = calibrate(read_measured_run(REAL), model=so.models.llama_3_1_8b, accelerator=card)
    print(
        "\nfrom the 8B run, ms of steps with 1, 16, 64 and 128 sequences of 600 tokens, and a prompt of 1,024 with 64:"
    )
    for model, degree in (("llama_3_1_8b", 1), ("qwen3_32b", 2), ("qwen3_30b_a3b", 1), ("qwen3_30b_a3b", 2)):
        place = Placement(
            model=so.models[model], accelerator=card, precision="bf16", kv_precision="bf16", tensor_parallel_size=degree
        )
        step = found.step_time.seconds(place)
        print(f"{model}, TP{degree}:", ", ".join(f"{float(step(*batch)) * 1e3:.1f}" for batch in BATCHES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", type=int, default=12, help="made-up engines")
    options = parser.parse_args()
    made_up(options.engines)
    if not DATA.is_file() or not REAL.is_dir():
        print(f"skipped: no measurements at {DATA.parent}")
        return
    real()
    silicon()


if __name__ == "__main__":
    main()
