"""A measured run, its simulated replay and the closed forms, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from secondorder.errors import SecondOrderError
from secondorder.quantities import si
from secondorder.scenarios.serving import Serving
from secondorder.validation.calibrate import replay as served
from secondorder.validation.measured import MeasuredRun
from secondorder.validation.misfits import told_misfits
from secondorder.validation.replayed_steps import METRICS, summary
from secondorder.verbs import solve

if TYPE_CHECKING:
    import pandas as pd

LOADS = np.linspace(0.7, 1.3, 9)
"""Loads of further replays, as multiples of the measured rate, between which the error on the load axis is read off."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """``measured`` and ``simulated``: frames of the same requests in the same order, with ``ttft, tpot, e2el`` (s).

    ``closed_form``: value of each metric (s) by the closed form of the highest order inside its domain. ``front_end``:
    seconds that a client adds to each first token, in what is simulated and not in the closed form.
    """

    run: MeasuredRun
    scenario: Serving
    simulated: "pd.DataFrame"
    closed_form: Mapping[str, float]
    front_end: float = 0.0

    @property
    def measured(self) -> "pd.DataFrame":
        return self.run.requests

    @cached_property
    def load_errors(self) -> Mapping[str, float]:
        """By metric, ``load/own - 1`` of the load at which the replay would give what was measured.

        At +3 % the simulated engine needs 3 % more load to be as slow as the real one. Read off between replays of the
        same requests in stretched time; absent where no load from -30 to +30 % gives the measured value, or where all
        requests came at once and no load can be changed.
        """
        trace = self.run.trace
        if np.ptp(trace.requests.arrival) == 0:
            return {}
        rate = float(si(trace.arrivals.rate))
        curves = [summary(self._replayed(f"{rate * load} request/s")) for load in LOADS]
        found = {
            metric: _crossing([c[metric] for c in curves], value) for metric, value in summary(self.measured).items()
        }
        return {metric: error for metric, error in found.items() if error is not None}

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Requests that set a p99 wrong, a limit that the file does not state, and lost requests, in words."""
        arrival = np.asarray(self.run.trace.requests.arrival)
        return tuple(told_misfits(arrival, self.measured, self.simulated, self.run.lost))

    def _replayed(self, rate: str) -> "pd.DataFrame":
        return served(self.run, replace(self.scenario, arrivals=self.run.trace.at(rate)), self.front_end)

    @cached_property
    def frame(self) -> "pd.DataFrame":
        """A row a metric: measured, simulated (s), relative error, error on the load axis, of requests, closed form."""
        import pandas as pd

        table = pd.DataFrame({"measured": summary(self.measured), "simulated": summary(self.simulated)})
        table["error"] = table["simulated"] / table["measured"] - 1
        table["load"] = pd.Series(dict(self.load_errors), dtype=float)
        apart = {name: (self.simulated[name] / self.measured[name] - 1).abs().median() for name in METRICS}
        table["each request"] = [apart[metric.split("_")[0]] for metric in table.index]
        table["closed form"] = [self.closed_form.get(metric, float("nan")) for metric in table.index]
        return table.rename_axis("metric").reset_index().assign(run=self.run.name)


def replay(run: MeasuredRun, scenario: Serving, front_end: float = 0.0) -> Replay:
    """Serve a measured run's requests by a scenario on it (``MeasuredRun.scenario``), and lay both side by side.

    ``front_end``: seconds that a client adds to each first token, as ``Fit.front_end`` states them.
    Errors: those of the simulation; a scenario that no closed form can answer has none here.
    """
    simulated = served(run, scenario, front_end)
    return Replay(
        run=run, scenario=scenario, simulated=simulated, closed_form=_closed_form(scenario), front_end=front_end
    )


def _closed_form(scenario: Serving) -> dict[str, float]:
    try:
        answer = solve(scenario)
    except SecondOrderError:
        return {}
    return {metric: float(si(best.value)) for metric in answer if (best := answer.best(metric)) is not None}


def _crossing(values: list[float], target: float) -> float | None:
    """Where a curve over ``LOADS`` first passes the target, as a relative change of the load."""
    above = np.array(values) >= target
    if above.all() or not above.any():
        return None
    place = int(above.argmax())
    if place == 0:
        return None
    low, high = values[place - 1], values[place]
    share = (target - low) / (high - low) if high > low else 0.0
    return float(LOADS[place - 1] + share * (LOADS[place] - LOADS[place - 1]) - 1)
