"""Where a training run lies on the maps of training runs."""

import math
from collections.abc import Mapping

from secondorder.answers.answer import Answer
from secondorder.breakdown.fields import Coordinates
from secondorder.fleets.failures import PlatformRenewal
from secondorder.laws import Exponential, Weibull
from secondorder.quantities import si
from secondorder.scenarios.training import Checkpoint, Training


def places(run: Training, answer: Answer) -> Mapping[str, Coordinates]:
    """The fields that the run is one of, and where it lies there: blocking checkpoints, spares and storage without end.

    >>> run = Training(failures="exponential 8240 s", checkpoint="blocking 994.4 s write=60 s")
    >>> at = places(run, Answer(scenario="", estimates=()))["checkpoints"]
    >>> {name: round(value, 4) for name, value in at.items()}
    {'write': 0.0073, 'interval': 1.0, 'restart': 0.0}
    """
    plain = type(run.policy) is Checkpoint and run.spares is None and run.storage is None
    if not plain or run.recovery.downtime > 0 or not isinstance(run.process, PlatformRenewal):
        return {}
    write, restart = run.blocking_seconds / run.mtbf, si(run.recovery.restart) / run.mtbf
    at = {"write": write, "interval": run.interval / run.mtbf / math.sqrt(2 * write)} if write > 0 else {}
    match run.process.law("gap"):
        case Exponential() if at:
            return {"checkpoints": {**at, "restart": restart}}
        case Weibull(shape=shape) if at and restart == 0:
            return {"weibull": {**at, "shape": shape}}
    return {}
