"""Where the time of a service's requests goes, drawn from a scenario: open arrivals, a trace, or a closed loop."""

from secondorder.errors import InputError
from secondorder.scenarios.closed_loop import ClosedLoop
from secondorder.scenarios.serving import Serving
from secondorder.simulate.closed_loop import partition_loop
from secondorder.simulate.serving.asks import draw
from secondorder.simulate.serving.partition import Partition, partition_of
from secondorder.simulate.serving.policies import Policies
from secondorder.simulate.witness import Witness
from secondorder.workloads.traces import Trace

REQUESTS = 4_000
"""Requests of a run whose latencies are split, if no number is given."""


def partition(
    scenario: Serving | ClosedLoop,
    *,
    seed: int = 0,
    requests: int | None = None,
    policies: Policies | None = None,
    witness: Witness | None = None,
) -> Partition:
    """Simulate one run of a service, open or in a closed loop, and split each request's latencies into causes.

    ``ttft_i = sum_c part_ic`` and ``e2el_i = sum_c part_ic`` hold in whole picoseconds for every request.
    *Valid when* anything is simulated; the run begins empty and ends empty, and nothing is cut. Causes: see ``Cause``.
    The order in which a step is split is a convention: own work alone, then the other decodes, then other prompts.
    ``requests`` are 4,000, or all of a trace, if no number is given. ``witness``: "kernel" or "events" (on SimPy),
    which give the same integers; the kernel, where it knows all that the scenario uses, if none is asked for.

    Errors: ``InputError`` for a step time that is not measured for one sequence that decodes alone, and for
    ``policies`` in a closed loop or by the kernel.
    """
    if requests is not None and requests < 1:
        raise InputError("requests", given=requests, expected="an integer of at least 1")
    if isinstance(scenario, ClosedLoop):
        if policies is not None:
            raise InputError("policies", given="policies of a closed loop", expected="those of its engine")
        return partition_loop(scenario, requests or REQUESTS, seed=seed, witness=witness)
    if not isinstance(scenario, Serving):
        expected = "a Serving or a ClosedLoop, whose latencies can be split"
        raise InputError("scenario", given=type(scenario).__name__, expected=expected)
    whole = len(scenario.arrivals.requests) if isinstance(scenario.arrivals, Trace) else REQUESTS
    drawn = draw(scenario, requests or whole, seed)
    return partition_of(scenario, drawn, policies=policies, witness=witness)
