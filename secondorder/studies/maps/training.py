"""Training runs at the points of a map, in units of the mean time between failures."""

import math
from collections.abc import Mapping

from secondorder.analytic.training.ladder import solve_training
from secondorder.analytic.training.periodic import exact_goodput
from secondorder.breakdown.fields import Coordinates
from secondorder.scenarios.training import Checkpoint, Recovery, Training
from secondorder.studies.maps.points import Amounts, Exact, Ground

MTBF = 10_000.0
"""In s."""
LONG = 10_000.0
"""MTBFs that a run lasts, so that its start and its end do not count."""


def interval_at(point: Coordinates) -> float:
    """The interval in MTBFs: a multiple of Young's."""
    return point["interval"] * math.sqrt(2 * point["write"])


def _run(failures: str, point: Coordinates, restart: float) -> Training:
    checkpoint = Checkpoint(interval=f"{interval_at(point) * MTBF!r} s", write=f"{point['write'] * MTBF!r} s")
    recovery = Recovery(restart=f"{restart * MTBF!r} s")
    return Training(failures=failures, checkpoint=checkpoint, recovery=recovery, duration=f"{LONG * MTBF!r} s")


def checkpoints(point: Coordinates) -> Training:
    return _run(f"exponential {MTBF!r} s", point, point["restart"])


def weibull(point: Coordinates) -> Training:
    return _run(f"renewal weibull {MTBF!r} s shape={point['shape']!r}", point, 0.0)


def goodput(point: Coordinates) -> Amounts:
    """The goodput under exponential failures."""
    given = {"interval": interval_at(point), "write": point["write"], "restart": point["restart"]}
    return {"goodput": float(exact_goodput(**given, mtbf=1.0))}


def goodput_of_weibull(point: Coordinates) -> Amounts:
    """The goodput under failures with Weibull gaps, of the ladder of order 2."""
    return {"goodput": solve_training(weibull(point)).best("goodput").amount}


GROUNDS: Mapping[str, Ground] = {
    "checkpoints": Ground(scenario=checkpoints, truth=Exact(amounts=goodput)),
    "weibull": Ground(scenario=weibull, truth=Exact(amounts=goodput_of_weibull)),
}
