"""A step time fitted to what a real engine did.

The replay of a measured run is linear in the step time's coefficients once its schedule is
known: the time between two tokens of a request is the sum of the steps between them. So the
schedule is replayed, the coefficients are fitted to the measured times by non-negative least
squares, and the two are repeated until they agree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from secondorder.errors import InputError
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Affine, Placement, StepSeconds, StepTime
from secondorder.simulate.serving import ServingRun, draw, run

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]

COEFFICIENTS = (
    "per_step",
    "per_prefill_step",
    "per_prefill_token",
    "per_prefill_pair",
    "per_decode",
    "per_context_token",
)
METRICS = ("ttft", "tpot", "e2el")
ROUNDS = 20
"""Replays before the fit is given up; it settles within about ten."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The ``scenario`` with its fitted step time; ``errors`` of its replay (see ``replay_errors``)."""

    scenario: Serving
    errors: "pd.DataFrame"

    @property
    def step_time(self) -> StepTime:
        return self.scenario.step_time

    @property
    def worst(self) -> float:
        """Largest relative error of a mean, median or p99."""
        return float(self.errors["error"].abs().max())


def summary(requests: "pd.DataFrame") -> dict[str, float]:
    """Mean, p50 and p99 of each metric of a frame with columns ``ttft``, ``tpot``, ``e2el`` (s)."""
    found = {}
    for name in METRICS:
        values = requests[name].dropna()
        found[f"{name}_mean"] = float(values.mean())
        found[f"{name}_p50"], found[f"{name}_p99"] = (float(values.quantile(level)) for level in (0.5, 0.99))
    return found


def replay_errors(scenario: Serving, measured: "pd.DataFrame") -> "pd.DataFrame":
    """The scenario's trace replayed, against the measured requests: ``measured, simulated, error``."""
    return _errors(run(scenario, draw(scenario, len(measured))), measured)


def calibrate(scenario: Serving, measured: "pd.DataFrame") -> Calibration:
    """Fit an ``Affine`` step time so that the replay of the scenario's trace meets the measured run.

    ``measured`` has a row per request of the trace, in order of arrival, with columns
    ``ttft``, ``tpot`` and ``e2el`` in s. Of the replays of the fixed-point iteration the one
    whose worst error (mean, p50, p99 of the three metrics) is least is kept.

    *Valid for* the very card, model and engine. Errors: ``InputError`` if the rows do not
    match the trace.
    """
    _check(scenario, measured)
    coefficients = _first_guess(scenario)
    tried = []
    for _ in range(ROUNDS):
        fitted = replace(scenario, step_time=_affine(coefficients))
        log = _Log(fitted.step_time)
        replayed = run(replace(fitted, step_time=log), draw(scenario, len(measured)), leaps=False)
        tried.append(Calibration(scenario=fitted, errors=_errors(replayed, measured)))
        coefficients = (coefficients + _fit(replayed, log.features, measured)) / 2
    return min(tried, key=lambda calibration: calibration.worst)


def calibrate_cache(scenario: Serving, measured: "pd.DataFrame", reserved: Sequence[str]) -> Calibration:
    """The best of the fits with each ``reserved`` memory: for a run that the cache bound.

    How many blocks an engine has is printed when it starts; where that line is lost, the
    memory that it set aside for itself is one more unknown, and decides when requests are
    preempted.
    """
    fits = [calibrate(replace(scenario, reserved_memory=memory), measured) for memory in reserved]
    return min(fits, key=lambda calibration: calibration.worst)


def _check(scenario: Serving, measured: "pd.DataFrame") -> None:
    if missing := [name for name in METRICS if name not in measured]:
        raise InputError("measured", given=f"columns {list(measured)}", expected=f"columns {missing} too")
    requests = len(draw(scenario, len(measured)))
    if requests != len(measured):
        raise InputError("measured", given=f"{len(measured)} rows", expected=f"the {requests} requests of the trace")


def _affine(coefficients: Floats) -> Affine:
    return Affine(**dict(zip(COEFFICIENTS, coefficients.tolist(), strict=True)))


def _first_guess(scenario: Serving) -> Floats:
    """The datasheet's roofline, taken apart: reading weights and cache, computing tokens."""
    seconds = scenario.step_seconds
    empty, context = seconds(0, 0, 0, 1, 0, 1), seconds(0, 0, 0, 1, 100_000, 1)
    token = (seconds(100_000, 0, 0, 0, 0, 1) - seconds(50_000, 0, 0, 0, 0, 1)) / 50_000
    return np.array([empty, 0.0, token, 0.0, 0.0, (context - empty) / 100_000])


@dataclass(frozen=True)
class _Log:
    """A step time that remembers what it was asked."""

    step_time: StepTime
    steps: list[tuple[Any, ...]] = field(default_factory=list)

    def seconds(self, placement: Placement) -> StepSeconds:
        seconds: Callable[..., Any] = self.step_time.seconds(placement)

        def logged(P: Any, A: Any, C: Any, D: Any, K: Any, S: Any) -> Any:
            self.steps.append((P, A, C, D, K, S))
            return seconds(P, A, C, D, K, S)

        return logged

    @property
    def features(self) -> Floats:
        """What each coefficient is multiplied by, a row a step."""
        P, A, C, D, K, _ = np.array(self.steps, float).T  # noqa: N806
        return np.column_stack([np.ones_like(P), P > 0, P, A, D, C + K])


def _fit(replayed: ServingRun, features: Floats, measured: "pd.DataFrame") -> Floats:
    """Coefficients for which the replayed schedule would have lasted as long as measured.

    Two equations a request: its decoding, and the time from its first step to its first
    token; each in proportion to what was measured, the second, which also holds the wait,
    counted less.
    """
    from scipy.optimize import nnls

    requests, series = replayed.requests, replayed.series
    ends = series["time"][series["running"] > 0].to_numpy()  # the other rows are idle times
    before = np.vstack([np.zeros(features.shape[1]), features.cumsum(axis=0)])
    instant = 1e-13
    first = np.searchsorted(ends, requests["first_token"].to_numpy() - instant) + 1
    last = np.searchsorted(ends, requests["finish"].to_numpy() - instant) + 1
    start = np.searchsorted(ends, requests["scheduled"].to_numpy() + instant)
    ttft, e2el = measured["ttft"].to_numpy(), measured["e2el"].to_numpy()
    decoding = e2el - ttft
    prefill = requests["arrival"].to_numpy() + ttft - requests["scheduled"].to_numpy()
    weight = np.concatenate([1 / np.maximum(decoding, 1e-3), 1 / (3 * np.maximum(ttft, 0.05))])
    rows = np.vstack([before[last] - before[first], before[first] - before[start]])
    found, _ = nnls(rows * weight[:, None], np.concatenate([decoding, prefill]) * weight)
    return np.asarray(found, float)


def _errors(replayed: ServingRun, measured: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    frame = pd.DataFrame({"measured": summary(measured), "simulated": summary(replayed.requests)})
    frame["error"] = frame["simulated"] / frame["measured"] - 1
    return frame
