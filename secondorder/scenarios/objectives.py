"""Limits on the p99 of a service's latencies: which are given, and that at least one is."""

from typing import Annotated

from secondorder.errors import InputError
from secondorder.quantities import Quantity, Unit, si
from secondorder.scenarios.serving import Serving

Objective = Annotated[Quantity | str, Unit("s", positive=True)]
"""A limit on a p99: a time above 0."""

NAMES = ("ttft_p99", "tpot_p99", "e2el_p99")
"""Fields of a scenario with objectives, each named like its metric."""


def objectives_of(scenario: object) -> dict[str, float]:
    """The objectives of a scenario that are given, in s."""
    given = {name: getattr(scenario, name) for name in NAMES}
    return {name: si(most) for name, most in given.items() if most is not None}


def check_objectives(objectives: dict[str, float], serving: Serving) -> None:
    """``InputError`` without an objective, or for one on the time per token of answers that have none."""
    if not objectives:
        raise InputError("ttft_p99", given="no objective", expected="one of ttft_p99, tpot_p99 and e2el_p99")
    if "tpot_p99" in objectives and serving.offered.mean_output <= 1:
        raise InputError("tpot_p99", given="answers of one token", expected="answers that have a time per token")
