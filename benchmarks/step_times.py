"""``MeasuredRoofline`` against real engines, with whole groups (system, model) left out of its fit.

    python benchmarks/step_times.py [--markdown] [--fast]

The sample is read from ../shared/data; skipped where it is absent.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from silicon import DATA, Row, read, read_ranks

from secondorder.arrays import Floats
from secondorder.scenarios.measured_roofline import BAND, MeasuredCoefficients, measured_seconds
from secondorder.validation.fixed_concurrency import FRONT_ENDS, first_token, simulate, time_per_token

if TYPE_CHECKING:
    import pandas as pd

WAYS = 9
"""Ways to leave a third of the groups out."""
ENGINES = ("vllm", "sglang", "tensorrt-llm")
NAMES = (
    "fp8_efficiency",
    "grouped_efficiency",
    "layer_floor",
    "expert_floor",
    "prefill_floor",
    *(f"{engine} {part}" for part in ("per_step", "per_sequence") for engine in ENGINES),
)
START = np.array([0.6, 0.2, 2e-5, 2e-5, 5e-6, 3e-4, 1e-3, 1e-3, 2e-5, 2e-5, 2e-5])
"""Guesses that the fit is held near, loosely: one standard deviation is a factor 1.35."""
ZERO = (
    "per_token",
    "reductions",
    "fixed",
    "per_prefill_pair",
    "per_row",
    "per_cached_token",
    "per_decode",
    "per_prefill_step",
)


class Terms(NamedTuple):
    """The parts of a row's time per token: what is fixed, and what each constant is multiplied by."""

    fixed: Floats
    dense: Floats
    routed: Floats
    eight_bits: Floats
    efficiency: Floats
    floors: Floats
    engine: Floats
    measured: Floats


def terms(rows: Sequence[Row]) -> Terms:
    """The closed form of ``time_per_token`` is linear in the coefficients: each part of it alone."""
    found = [_terms(row) for row in rows]
    return Terms(*(np.array(column) for column in zip(*found, strict=True)))


def _terms(row: Row) -> tuple[object, ...]:
    loop = row.loop
    step, model = loop.serving.step_time, loop.serving.model
    c = step.coefficients(loop.serving.placement)
    none = c._replace(**dict.fromkeys(ZERO, 0.0), weights=c.weights._replace(bandwidth=np.inf, least=0.0))
    routed = 2.0 * sum(used * size for _, used, size in model.counted.choices)
    efficiency = step.efficiency_of(loop.serving.precision)
    per_flop = c.per_token / (model.flops_per_token - routed + routed / step.grouped_efficiency) * efficiency
    parts = [_part(row, c._replace(per_token=0.0, fixed=0.0, per_decode=0.0, per_prefill_step=0.0))]
    parts += [_part(row, none._replace(per_token=per_flop * f)) for f in (model.flops_per_token - routed, routed)]
    floors = [
        _part(row, none._replace(fixed=float(model.layers))),
        _part(row, none._replace(fixed=float(model.moe_layers))),
        _part(row, none._replace(per_prefill_step=float(model.layers))),
        _part(row, none._replace(fixed=1.0)),
        _part(row, none._replace(per_decode=1.0)),
    ]
    eight = float(loop.serving.precision == "fp8")
    return *parts, eight, efficiency, floors, ENGINES.index(row.engine), row.tpot


def _part(row: Row, c: MeasuredCoefficients) -> float:
    """As ``time_per_token``, with these coefficients."""
    loop = row.loop
    prompt, output = loop.mean_lengths
    batch = loop.batch
    context, chunk = batch * (prompt + output / 2), min(prompt, 8192.0)
    decode = measured_seconds(c, 0, 0, 0, batch, context, batch)
    mixed = measured_seconds(c, chunk, chunk * chunk / 2, 0, batch, context, batch)
    return float(decode + loop.prompts_met * (batch - 1) * (mixed - decode) * (prompt / chunk) / output)


def predict(t: Terms, constants: Floats) -> Floats:
    fp8, grouped, layer, expert, prefill = constants[:5]
    engine = t.engine.astype(int)
    efficiency = np.where(t.eight_bits > 0, fp8, t.efficiency)
    arithmetic = (t.dense + t.routed / grouped) / efficiency
    weights = np.column_stack(
        [np.full((len(engine), 3), [layer, expert, prefill]), constants[5:8][engine], constants[8:11][engine]]
    )
    return t.fixed + arithmetic + (t.floors * weights).sum(axis=1)


def fit(t: Terms, groups: Sequence[str]) -> Floats:
    """Constants of least soft absolute log error; large groups count less a row."""
    from scipy.optimize import least_squares

    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weight = 3 * sizes[place] ** -0.25

    def errors(logs: Floats) -> Floats:
        missed = np.log(predict(t, np.exp(logs)) / t.measured) * weight
        return np.concatenate([missed, (logs - np.log(START)) / 1.5])

    found = least_squares(errors, np.log(START), loss="soft_l1", f_scale=0.1, max_nfev=80)
    return np.exp(found.x)


def part_of(t: Terms, chosen: Floats) -> Terms:
    return Terms(*(column[chosen] for column in t))


def left_out(keys: Floats, way: int, share: int = 3) -> Floats:
    """Rows of the groups that one way leaves out."""
    groups = np.unique(keys)
    chosen = np.random.default_rng(way).permutation(len(groups))[: len(groups) // share]
    return np.isin(keys, groups[chosen])


def cross(t: Terms, keys: Floats, strata: Floats) -> tuple["pd.DataFrame", Floats]:
    """Log errors of left-out rows; whether each is within the band that the rows left in gave."""
    import pandas as pd

    tables = []
    for way in range(WAYS):
        out = left_out(keys, way)
        kept = np.flatnonzero(~out)
        inner = [_inner(part_of(t, kept), keys[kept], strata[kept], 100 + k) for k in range(5)]
        low, high = np.quantile(np.concatenate(inner), [0.05, 0.95])
        error = np.log(t.measured[out] / predict(part_of(t, out), fit(part_of(t, kept), strata[kept])))
        tables.append(
            pd.DataFrame({"row": np.flatnonzero(out), "log": error, "inside": (low <= error) & (error <= high)})
        )
    found = pd.concat(tables, ignore_index=True)
    return found, np.quantile(found["log"], [0.05, 0.95])


def _inner(t: Terms, keys: Floats, strata: Floats, way: int) -> Floats:
    out = left_out(keys, way)
    return np.log(t.measured[out] / predict(part_of(t, out), fit(part_of(t, ~out), strata[~out])))


def first_tokens(rows: Sequence[Row], keys: Floats) -> tuple[Floats, "pd.DataFrame"]:
    """Relative errors of the time to the first token, with the front end's constants fitted without the left-out."""
    import pandas as pd
    from scipy.optimize import least_squares

    runs = np.array([simulate(row.loop) for row in rows])
    engine = np.array([ENGINES.index(row.engine) for row in rows])
    bunches = np.array([row.loop.mean_lengths[0] * row.loop.concurrency**0.5 for row in rows])
    measured = np.array([row.ttft for row in rows])

    def model(x: Floats, at: Floats) -> Floats:
        return runs[at, 0] + np.exp(x[:3])[engine[at]] * runs[at, 1] + np.exp(x[3]) * bunches[at]

    def fitted(at: Floats) -> Floats:
        start = np.log([3.0, 20.0, 7.0, 1e-5])
        return least_squares(
            lambda x: np.append(np.log(model(x, at) / measured[at]), (x - start) * 0.1),
            start,
            loss="soft_l1",
            f_scale=0.1,
        ).x

    tables = []
    for way in range(WAYS):
        out = left_out(keys, way)
        rows_out = np.flatnonzero(out)
        error = model(fitted(np.flatnonzero(~out)), rows_out) / measured[rows_out] - 1
        tables.append(pd.DataFrame({"row": rows_out, "ttft": error}))
    found = pd.concat(tables, ignore_index=True)
    return np.exp(fitted(np.arange(len(rows)))), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="without the time to the first token")
    options = parser.parse_args()
    if not DATA.is_file():
        print(f"skipped: no sample at {DATA}")
        return
    rows, refused = read()
    print(f"{len(rows)} rows; left aside: {', '.join(f'{n} ({why})' for why, n in refused.items())}")
    t = terms(rows)
    keys = np.array([f"{row.system}, {row.model}" for row in rows])
    strata = np.array([f"{row.system}, {row.model}, {row.precision}" for row in rows])
    constants = fit(t, strata)
    print("constants fitted on all rows:", ", ".join(f"{n} {v:.3g}" for n, v in zip(NAMES, constants, strict=True)))
    _report(rows, *cross(t, keys, strata))
    _report_ranks(read_ranks())
    if not options.fast:
        found, errors = first_tokens(rows, keys)
        print(f"front ends: steps {found[:3].round(1)}, {found[3]:.2g} s a token (published: {FRONT_ENDS})")
        print(f"time to the first token, left out: median absolute error {errors['ttft'].abs().median():.1%}")
        published = [first_token(row.loop, row.engine, simulate(row.loop)) / row.ttft - 1 for row in rows]
        print(f"with the published constants: {np.median(np.abs(published)):.1%}")


def _report_ranks(rows: Sequence[Row]) -> None:
    """Rows with data-parallel attention, of which no fit has seen any."""
    import pandas as pd

    low, high = BAND
    table = pd.DataFrame(
        {
            "engine": [row.engine for row in rows],
            "model": [row.model for row in rows],
            "precision": [row.precision for row in rows],
            "ranks": [row.loop.serving.data_parallel_size for row in rows],
            "TP": [row.loop.serving.tensor_parallel_size for row in rows],
            "ratio": [row.tpot / time_per_token(row.loop) for row in rows],
        }
    )
    table = table.assign(error=1 / table.ratio - 1, inside=table.ratio.between(low, high))
    print(
        f"\ndata-parallel attention, in no fit: {len(table)} rows, median error {table.error.median():+.0%}, "
        f"median absolute {table.error.abs().median():.1%}, {table.inside.mean():.0%} in the band"
    )
    keys = ["engine", "model", "precision", "ranks", "TP"]
    print("| " + " | ".join(keys) + " | rows | median error | in the band |\n|" + " --- |" * 8)
    for key, part in table.groupby(keys):
        name = " | ".join(map(str, key))
        print(f"| {name} | {len(part)} | {part.error.median():+.0%} | {part.inside.mean():.0%} |")


def _report(rows: Sequence[Row], errors: "pd.DataFrame", band: Floats) -> None:
    """The table of the left-out errors of the time per output token."""
    errors = errors.assign(error=np.exp(-errors["log"]) - 1)
    for name in ("system", "engine", "model", "precision"):
        errors[name] = [getattr(rows[row], name) for row in errors["row"]]
    errors["TP"] = [rows[row].loop.serving.tensor_parallel_size for row in errors["row"]]
    family = {"fp8_block": "fp8", "nvfp4": "fp4", "int4_wo": "fp4"}
    errors["family"] = errors["precision"].replace(family)
    size = errors["error"].abs()
    print(f"left out: median absolute error {size.median():.1%}; 90 % band {np.exp(band).round(2)} of the prediction;")
    print(f"rows inside a band that was found without them: {errors['inside'].mean():.1%}")
    for columns in (["family"], ["TP"], ["system", "engine", "model", "precision"]):
        table = errors.groupby(columns).agg(
            rows=("row", "nunique"),
            median=("error", "median"),
            absolute=("error", lambda e: e.abs().median()),
            inside=("inside", "mean"),
        )
        print(f"\n| {' | '.join(columns)} | rows | median error | median absolute | in the band |")
        print("|" + " --- |" * (len(columns) + 4))
        for key, row in table.iterrows():
            name = " | ".join(map(str, key if isinstance(key, tuple) else (key,)))
            print(f"| {name} | {row.rows:.0f} | {row['median']:+.0%} | {row.absolute:.0%} | {row.inside:.0%} |")


if __name__ == "__main__":
    main()
