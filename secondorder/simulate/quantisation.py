"""A service before and after quantisation, on the same draws: alone, and flooded."""

from dataclasses import replace
from functools import partial

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.metric import Metric
from secondorder.scenarios.quantisation import Quantisation
from secondorder.scenarios.serving import Serving
from secondorder.simulate.estimates import Amounts, estimates
from secondorder.simulate.replicate import replicated
from secondorder.simulate.serving import draw
from secondorder.simulate.serving.source import serve

ALONE, FLOOD = 200, 3_000
"""Requests that are served one by one, and all at once."""
SPEEDUPS = (
    Metric(name="prefill_speedup"),
    Metric(name="decode_speedup"),
    Metric(name="saturation_speedup"),
)


def simulate_quantisation(scenario: Quantisation, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Speed-ups of prefill and decode of a request alone, and of the rate of a flooded service."""
    found = replicated(partial(_speedups, scenario, seed), replications, jobs, least=2)
    how = (
        f"simulated with the same draws before and after: {replications} replications of {ALONE:,} requests one by one "
        f"and {FLOOD:,} at once"
    )
    return Answer(scenario=scenario.name, estimates=estimates(found, SPEEDUPS), how=how)


def _speedups(scenario: Quantisation, seed: int, replication: int) -> Amounts:
    before, after = scenario.serving, scenario.quantised
    (ttft, tpot), (less, shorter) = (_alone(each, seed, replication) for each in (before, after))
    found = {"prefill_speedup": ttft / less}
    if np.isfinite(tpot):
        found["decode_speedup"] = tpot / shorter
    rates = [_flooded(each, seed, replication) for each in (before, after)]
    return found | {"saturation_speedup": rates[1] / rates[0]}


def _alone(serving: Serving, seed: int, replication: int) -> tuple[float, float]:
    """Mean time to first token and per output token of requests that meet nobody."""
    drawn = draw(serving, ALONE, seed, replication)
    calm = replace(drawn, arrival=np.linspace(0.0, 1_000.0 * (ALONE - 1), ALONE))
    found = serve(serving, calm).requests
    return float(found["ttft"].mean()), float(found["tpot"].mean())


def _flooded(serving: Serving, seed: int, replication: int) -> float:
    """Requests per second while there are always more waiting."""
    drawn = draw(serving, FLOOD, seed, replication)
    finish = np.sort(serve(serving, replace(drawn, arrival=np.zeros(FLOOD))).requests["finish"].to_numpy())
    first, last = FLOOD // 4, 3 * FLOOD // 4
    return float((last - first) / (finish[last] - finish[first]))
