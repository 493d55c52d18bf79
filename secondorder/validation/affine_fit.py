"""An ``Affine`` step time fitted to one run of a real engine; ``calibrate`` fits constants that carry over.

The replay of a measured run is linear in the step time's coefficients once its schedule is
known: the time between two tokens of a request is the sum of the steps between them. So the
schedule is replayed, the coefficients are fitted to the measured times by non-negative least
squares, and the two are repeated until they agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Affine, StepTime
from secondorder.simulate.serving import ServingRun, draw, run
from secondorder.validation.replayed_steps import METRICS, StepLog, summary, sums

if TYPE_CHECKING:
    import pandas as pd

COEFFICIENTS = (
    "per_step",
    "per_prefill_step",
    "per_prefill_token",
    "per_prefill_pair",
    "per_decode",
    "per_context_token",
)
ROUNDS = 20
"""Replays before the fit is given up; it settles within about ten."""


@dataclass(frozen=True, kw_only=True)
class AffineFit:
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


def replay_errors(scenario: Serving, measured: "pd.DataFrame") -> "pd.DataFrame":
    """The scenario's trace replayed, against the measured requests: ``measured, simulated, error``."""
    return _errors(run(scenario, draw(scenario, len(measured))), measured)


def fit_affine(scenario: Serving, measured: "pd.DataFrame") -> AffineFit:
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
        log = StepLog(fitted.step_time)
        replayed = run(replace(fitted, step_time=log), draw(scenario, len(measured)), leaps=False)
        tried.append(AffineFit(scenario=fitted, errors=_errors(replayed, measured)))
        coefficients = (coefficients + _fit(replayed, _features(np.array(log.steps, float)), measured)) / 2
    return min(tried, key=lambda fit: fit.worst)


def fit_affine_and_cache(scenario: Serving, measured: "pd.DataFrame", reserved: Sequence[str]) -> AffineFit:
    """The best of the fits with each ``reserved`` memory: for a run that the cache bound.

    How many blocks an engine has is printed when it starts; where that line is lost, the
    memory that it set aside for itself is one more unknown, and decides when requests are
    preempted.
    """
    fits = [fit_affine(replace(scenario, reserved_memory=memory), measured) for memory in reserved]
    return min(fits, key=lambda fit: fit.worst)


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
    empty, context = float(seconds(0, 0, 0, 1, 0, 1)), float(seconds(0, 0, 0, 1, 100_000, 1))
    token = float(seconds(100_000, 0, 0, 0, 0, 1) - seconds(50_000, 0, 0, 0, 0, 1)) / 50_000
    return np.array([empty, 0.0, token, 0.0, 0.0, (context - empty) / 100_000])


def _features(steps: Floats) -> Floats:
    """What each coefficient is multiplied by, a row a step."""
    P, A, C, D, K, _ = steps.T  # noqa: N806
    return np.column_stack([np.ones_like(P), P > 0, P, A, D, C + K])


def _fit(replayed: ServingRun, features: Floats, measured: "pd.DataFrame") -> Floats:
    """Coefficients for which the replayed schedule would have lasted as long as measured.

    Two equations a request: its decoding, and the time from its first step to its first
    token; each in proportion to what was measured, the second, which also holds the wait,
    counted less.
    """
    from scipy.optimize import nnls

    requests = replayed.requests
    ttft, e2el = measured["ttft"].to_numpy(), measured["e2el"].to_numpy()
    decoding = e2el - ttft
    prefill = requests["arrival"].to_numpy() + ttft - requests["scheduled"].to_numpy()
    weight = np.concatenate([1 / np.maximum(decoding, 1e-3), 1 / (3 * np.maximum(ttft, 0.05))])
    found, _ = nnls(sums(replayed, features) * weight[:, None], np.concatenate([decoding, prefill]) * weight)
    return np.asarray(found, float)


def _errors(replayed: ServingRun, measured: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    frame = pd.DataFrame({"measured": summary(measured), "simulated": summary(replayed.requests)})
    frame["error"] = frame["simulated"] / frame["measured"] - 1
    return frame
