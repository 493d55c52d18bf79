"""A step time calibrated on measured runs: physical constants that carry over to other models on the same card.

A replay is linear in what each constant is multiplied by once its schedule is known: the time between two tokens of a
request is the sum of the steps between them. So the schedule is replayed, the constants are fitted to the measured
times, and the two are repeated until they agree (``averaged_schedules``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.fleets.accelerators import Accelerator
from secondorder.quantities import pretty, si
from secondorder.scenarios.measured_roofline import MeasuredRoofline, measured_seconds, seconds_by_tokens
from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving import draw, run
from secondorder.validation.averaged_schedules import Equations, FixedPoint, fixed_point
from secondorder.validation.measured import MeasuredRun
from secondorder.validation.misfits import told_misfits
from secondorder.validation.replayed_steps import METRICS, StepLog, summary, sums
from secondorder.workloads.transformer import Transformer

if TYPE_CHECKING:
    import pandas as pd

Rows = npt.NDArray[np.bool_]

CONSTANTS = ("memory", "arithmetic", "attention", "per_sequence", "prefill_step", "front_end")
"""What is fitted: the inverses of three efficiencies, and three times in s."""
FLOOR = "expert_floor"
"""What is fitted for a mixture in the place of ``per_sequence``: its experts' floor is the larger part of a step."""
LEAST = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
"""No efficiency is above 1, no time below 0."""
FEWEST = 10
"""Requests that a fit needs."""
LEVEL = 0.95
"""Probability with which an interval is to hold the truth."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Constants fitted on measured runs.

    ``step_time`` is what plans use; ``front_end`` the seconds that a client adds to the first token; ``constants`` and
    their ``intervals`` (95 %); ``settled``: whether further replays leave the constants as they are, within their
    standard errors, after ``rounds`` of them;
    ``errors``: of mean, median and p99, on the rows fitted and on those held out; ``notes``: what they do not show.
    """

    step_time: MeasuredRoofline
    front_end: float
    constants: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    settled: bool
    rounds: int
    errors: "pd.DataFrame"
    accelerator: str
    runs: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())

    def worst(self, rows: str = "held out") -> float:
        """Largest relative error of a mean, median or p99 on the ``fitted`` or ``held out`` rows."""
        return float(self.errors[self.errors["rows"] == rows]["error"].abs().max())


def calibrate(
    runs: MeasuredRun | Sequence[MeasuredRun],
    *,
    model: Transformer,
    accelerator: Accelerator,
    fitted: float = 1.0,
    engine: str = "vllm",
    **changes: Any,
) -> Fit:
    """Fit the constants of ``MeasuredRoofline`` so that the replay of each run meets what was measured.

    ``t = memory w + arithmetic a + attention c + per_sequence D + prefill_step [P > 0] + rest``: ``w``, ``a`` and ``c``
    are the seconds of loading, matrix products and cache reads at the datasheet's rates; floors, all-reduces and the
    arithmetic of attention (``rest``) stay as published. ``front_end`` is added to each first token. Of a mixture
    ``expert_floor`` times its layers with experts is fitted instead of ``per_sequence D``: fused kernels differ most.

    ``fitted``: share of each run's requests, in order of arrival, that the loss counts; the whole run is replayed, and
    the others are held out. ``changes``: settings of the engine that the files do not state.

    *Valid for* the card and the engine; other models, precisions and tensor-parallel degrees take the efficiencies
    over. Intervals hold if the misfits of requests are independent; those of a slow minute are not.
    Errors: ``InputError`` for a run of another model or setting, of several schedulers or expert parallelism (their
    steps are no sum of these constants: they can be replayed), fewer than 10 requests to fit or 10 with several output
    tokens, or a run that is faster than the card can be.
    """
    runs = [runs] if isinstance(runs, MeasuredRun) else list(runs)
    if not runs:
        raise InputError("runs", given="none", expected="at least one measured run")
    if not 0 < fitted <= 1:
        raise InputError("fitted", given=fitted, expected="a share above 0 and at most 1")
    start = MeasuredRoofline(engine=engine)
    scenarios = [each.scenario(model, accelerator, step_time=start, **changes) for each in runs]
    _check_one_scheduler(scenarios)
    chosen = [np.arange(len(each.requests)) < fitted * len(each.requests) for each in runs]
    _check_enough(runs, chosen)

    pairs = list(zip(runs, scenarios, strict=True))

    def equations(constants: Floats) -> Equations:
        replays = zip(runs, scenarios, chosen, strict=True)
        return _joined([_equations(run, start, constants, each, rows) for run, each, rows in replays])

    point = fixed_point(equations, _start(start, scenarios[0]), LEAST)
    constants, wide = point.constants, _half_widths(point)
    found = _step_time(start, constants, scenarios[0])
    front_end, names = float(constants[5]), _names(model)
    replays = [replay(each, replace(scenario, step_time=found), front_end) for each, scenario in pairs]
    errors = _errors(runs, replays, chosen)
    if (constants[:2] <= LEAST[:2]).all():
        _check_possible(runs, scenarios)
    return Fit(
        step_time=found,
        front_end=front_end,
        constants=dict(zip(names, constants.tolist(), strict=True)),
        intervals={
            name: (float(max(value - half, low)), float(value + half))
            for name, value, half, low in zip(names, constants, wide, LEAST, strict=True)
        },
        settled=point.settled,
        rounds=point.rounds,
        errors=errors,
        accelerator=accelerator.name,
        runs=tuple(each.name for each in runs),
        notes=tuple(_notes(runs, replays)),
    )


def _check_enough(runs: Sequence[MeasuredRun], chosen: Sequence[Rows]) -> None:
    """Refuse a fit of too few requests, or of too few that have a time between tokens."""
    several = [rows & (each.requests["output_tokens"] > 1).to_numpy() for each, rows in zip(runs, chosen, strict=True)]
    for counts, what in ((chosen, "requests"), (several, "requests with several output tokens")):
        if (count := sum(int(rows.sum()) for rows in counts)) < FEWEST:
            raise InputError("fitted", given=f"{count} {what}", expected=f"at least {FEWEST}")


def _check_possible(runs: Sequence[MeasuredRun], scenarios: Sequence[Serving]) -> None:
    """Refuse runs that are faster than loading and arithmetic at the card's peaks, without any floor."""
    peaks = MeasuredRoofline(
        memory_efficiency=1, bf16_efficiency=1, fp8_efficiency=1, fp4_efficiency=1, grouped_efficiency=1,
        attention_memory_efficiency=1, attention_compute_efficiency=1, layer_floor="0 s", expert_floor="0 s",
        prefill_floor="0 s", reduce_latency="0 s", second_phase="0 s", per_step="0 s", per_sequence="0 s",
    )  # fmt: skip
    for measured, scenario in zip(runs, scenarios, strict=True):
        least = replay(measured, replace(scenario, step_time=peaks))["tpot"].mean()
        if (over := float(least / measured.requests["tpot"].mean()) - 1) > 0:
            card = f"{scenario.model.name} on {scenario.tensor_parallel_size} x {scenario.accelerator.name}"
            raise InputError(
                "runs",
                given=f"times per token that {card} at its peaks exceeds by {over:.0%}",
                expected="a run of this model, card, precision and tensor_parallel_size",
                remedy="state what the file does not: tensor_parallel_size=2 (--setting tensor_parallel_size=2)",
            )


def _notes(runs: Sequence[MeasuredRun], replays: "Sequence[pd.DataFrame]") -> list[str]:
    """What the errors of the runs do not show."""
    found = zip(runs, replays, strict=True)
    lines = [
        (each.name, told_misfits(np.asarray(each.trace.requests.arrival), each.requests, ours, each.lost))
        for each, ours in found
    ]
    return [f"{name}: {line}" if len(runs) > 1 else line for name, told in lines for line in told]


def _half_widths(point: FixedPoint) -> Floats:
    """Of intervals by Student's t."""
    from scipy.stats import t

    found: Floats = point.spread * t.ppf((1 + LEVEL) / 2, point.freedom)
    return found


def _check_one_scheduler(scenarios: Sequence[Serving]) -> None:
    """Refuse what the steps of one scheduler, each with a share of every expert, cannot express."""
    for each in scenarios:
        if each.placement.spreads_experts:
            name = "data_parallel_size" if each.data_parallel_size > 1 else "enable_expert_parallel"
            raise InputError(
                name,
                given=f"{getattr(each, name)} in {each.name}",
                expected="a run of one scheduler with shares of all experts",
                remedy="replay it, with constants that another run gave",
            )


def _names(model: Transformer) -> tuple[str, ...]:
    """Of the constants that are fitted."""
    return tuple(FLOOR if name == "per_sequence" and model.moe_layers else name for name in CONSTANTS)


def _start(step_time: MeasuredRoofline, scenario: Serving) -> Floats:
    """The published constants."""
    efficiency, model = step_time.efficiency_of(scenario.precision), scenario.model
    fourth = si(step_time.expert_floor) if model.moe_layers else step_time.host.per_sequence
    return np.array(
        [
            1 / step_time.memory_efficiency, 1 / efficiency, 1 / step_time.attention_memory_efficiency,
            fourth, model.layers * si(step_time.prefill_floor), 0.0,
        ]
    )  # fmt: skip


def _step_time(start: MeasuredRoofline, constants: Floats, scenario: Serving) -> MeasuredRoofline:
    """The step time with these constants; other precisions keep their ratio to the run's."""
    memory, arithmetic, attention, fourth, prefill, _ = constants.tolist()
    ratio = 1 / arithmetic / start.efficiency_of(scenario.precision)
    found = replace(
        start,
        memory_efficiency=1 / memory,
        bf16_efficiency=min(start.bf16_efficiency * ratio, 1.0),
        fp8_efficiency=min(start.fp8_efficiency * ratio, 1.0),
        fp4_efficiency=min(start.fp4_efficiency * ratio, 1.0),
        attention_memory_efficiency=1 / attention,
        prefill_floor=f"{prefill / scenario.model.layers!r} s",
    )
    if scenario.model.moe_layers:
        return replace(found, expert_floor=f"{fourth!r} s")
    return replace(found, per_sequence=f"{fourth!r} s")


def _equations(
    measured: MeasuredRun, start: MeasuredRoofline, constants: Floats, scenario: Serving, chosen: Rows
) -> Equations:
    """Two a request: its decoding, in proportion to what was measured, and the time to its first token.

    The latter in proportion to the middle of what was measured and replayed: a long wait of either would else count
    less than the other's, and the front end would come out too small or too large.
    """
    step_time = _step_time(start, constants, scenario)
    log = StepLog(step_time)
    replayed = run(replace(scenario, step_time=log), draw(scenario, len(measured.requests)), leaps=False)
    features = _features(step_time, scenario, np.array(log.steps, float))
    rows = sums(replayed, features)
    ttft, e2el = (measured.requests[name].to_numpy(float) for name in ("ttft", "e2el"))
    waited = (replayed.requests["scheduled"] - replayed.requests["arrival"]).to_numpy()
    decoding, prefill = e2el - ttft, ttft - waited
    front = np.concatenate([np.zeros(len(ttft)), np.ones(len(ttft))])
    matrix = np.column_stack([rows[:, :5], front])
    target = np.concatenate([decoding, prefill]) - rows[:, 5]
    middle = (ttft + replayed.requests["ttft"].to_numpy() + constants[5]) / 2
    weight = np.concatenate([1 / np.maximum(decoding, 1e-3), 1 / (3 * np.maximum(middle, 0.02))])
    keep = np.concatenate([chosen & (decoding > 0), chosen])
    request = np.tile(np.arange(len(ttft)), 2)
    whole = Equations(matrix * weight[:, None], target * weight, request, front > 0, weight)
    return Equations(*(column[keep] for column in whole))


def _joined(parts: Sequence[Equations]) -> Equations:
    """Those of several runs; their requests are numbered on."""
    before = np.cumsum([0, *(int(each.request.max(initial=-1)) + 1 for each in parts)])
    numbered = [each._replace(request=each.request + add) for each, add in zip(parts, before, strict=False)]
    return Equations(*(np.concatenate(column) for column in zip(*numbered, strict=True)))


def _features(step_time: MeasuredRoofline, scenario: Serving, steps: Floats) -> Floats:
    """What each constant but the front end is multiplied by in each step, and the rest of its seconds."""
    c = step_time.coefficients(scenario.placement)
    P, A, C, D, K, S = steps.T  # noqa: N806
    tokens, distinct = np.unique(P + D, return_inverse=True)
    bare = c._replace(per_token=0.0, fixed=0.0, reductions=0.0)
    loading = np.array([seconds_by_tokens(bare, float(n)) for n in tokens])[distinct] * step_time.memory_efficiency
    matrices = c.per_token * (P + D) * step_time.efficiency_of(scenario.precision) + (
        c.per_row * S * step_time.bf16_efficiency
    )
    cache = c.per_cached_token * (C + K) * step_time.attention_memory_efficiency
    mixture = scenario.model.moe_layers
    rest = c._replace(per_token=0.0, per_row=0.0, per_cached_token=0.0, per_prefill_step=0.0)
    if mixture:
        rest = rest._replace(fixed=c.fixed - mixture * si(step_time.expert_floor))
    else:
        rest = rest._replace(per_decode=0.0)
    rest = rest._replace(weights=rest.weights._replace(bandwidth=np.inf, least=0.0), tile=0.0)
    others = np.asarray(measured_seconds(rest, P, A, C, D, K, S))
    if c.tile:
        others = others + np.maximum(c.tile - loading / step_time.memory_efficiency - c.per_token * (P + D), 0.0)
    return np.column_stack([loading, matrices, cache, np.full(len(D), mixture) if mixture else D, P > 0, others])


def _errors(runs: Sequence[MeasuredRun], replays: "Sequence[pd.DataFrame]", chosen: Sequence[Rows]) -> "pd.DataFrame":
    """Mean, median and p99 of each metric, by run and by rows fitted or held out."""
    import pandas as pd

    tables = []
    for measured, replayed, rows in zip(runs, replays, chosen, strict=True):
        for name, mask in (("fitted", rows), ("held out", ~rows)):
            if mask.any():
                found = {"measured": summary(measured.requests[mask]), "simulated": summary(replayed[mask])}
                tables.append(pd.DataFrame(found).assign(run=measured.name, rows=name))
    table = pd.concat(tables).rename_axis("metric").reset_index()
    return table.assign(error=table["simulated"] / table["measured"] - 1)


def replay(measured: MeasuredRun, scenario: Serving, front_end: float = 0.0) -> "pd.DataFrame":
    """The run's requests served by the scenario, with the metrics that the client would measure."""
    found = run(scenario, draw(scenario, len(measured.requests))).requests[list(METRICS)]
    return found.assign(ttft=found["ttft"] + front_end, e2el=found["e2el"] + front_end)


def told(fit: Fit) -> str:
    """The fit in lines of text."""
    state = f"settled after {fit.rounds} replays" if fit.settled else f"NOT settled after {fit.rounds} replays"
    lines = [f"{len(fit.runs)} run(s) on {fit.accelerator}: {state}"]
    for (name, value), bound in zip(fit.constants.items(), LEAST, strict=True):
        low, high = fit.intervals[name]
        if name in ("memory", "arithmetic", "attention"):
            text = f"efficiency {1 / value:.3f} [{1 / high:.3f}, {1 / low:.3f}]"
        else:
            text = f"{pretty(value, 's')} [{pretty(low, 's')}, {pretty(high, 's')}]"
        lines.append(f"  {name:<13} {text}{', at its bound' if value <= bound else ''}")
    lines += fit.notes
    return "\n".join(lines)
