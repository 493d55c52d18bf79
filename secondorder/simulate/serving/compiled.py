"""One run of a service by the compiled engine, in the form that the engine on SimPy gives it."""

import numpy as np

from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving.asks import clocked
from secondorder.simulate.serving.single_run import ServingRun, request_frame, series_frame
from secondorder.simulate.witness import Witness, chosen
from secondorder.workloads.requests import Requests


def witness_of(scenario: Serving, asked: Witness | None = None) -> Witness:
    """The witness that simulates a service: the one asked for, else the kernel where it can. Errors: ``InputError``."""
    return chosen(asked, lambda: is_compiled(scenario), scenario.name)


def is_compiled(scenario: Serving) -> bool:
    """Whether the compiled engine is there and knows all that the scenario uses."""
    try:
        from secondorder.simulate.kernels.serving.run import supports
    except ImportError:  # numba has no wheel for this machine
        return False
    return supports(scenario)


def run_compiled(scenario: Serving, drawn: Requests) -> ServingRun:
    """Serve these requests from an empty start to the last token."""
    from secondorder.simulate.kernels.serving.run import record

    arrivals = clocked(drawn)
    found = record(scenario, drawn)
    requests = request_frame(
        drawn,
        arrivals,
        scheduled=found.scheduled,
        first=found.first_token,
        finish=found.finish,
        cached=found.cached.astype(np.int64),
        preemptions=found.preemptions.astype(np.int64),
    )
    return ServingRun(requests, series_frame(list(found.series.T), scenario.kv_blocks - 1), found.steps)
