"""The fields of maps: a kind of scenario, three axes, and what is held fixed.

Formulas of the same kind of scenario share one field, and therefore its simulations.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from secondorder.breakdown.axes import Axis

Coordinates = Mapping[str, float]
"""A value for each axis of a field."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A kind of scenario (``system``, the name of its table in a plan) over three ``axes``; ``given``: what is fixed.

    ``truth``: how the true value is found.
    """

    name: str
    system: str
    axes: tuple[Axis, Axis, Axis]
    given: str
    truth: str


def _load(low: float, high: float) -> Axis:
    return Axis(name="load", meaning="utilisation of the servers", low=low, high=high)


def _scv(of: str, what: str) -> Axis:
    return Axis(name=f"{of}_scv", meaning=f"scv of {what}", low=0.25, high=4.0, scale="log")


def _count(name: str, meaning: str, low: int, high: int) -> Axis:
    return Axis(name=name, meaning=meaning, low=low, high=high, scale="log", whole=True)


GAPS, SERVICES = _scv("arrival", "gaps"), _scv("service", "services")
SIMULATED = "simulated"

SINGLE_LINE = Field(
    name="single_line",
    system="queue",
    axes=(_load(0.2, 0.95), GAPS, SERVICES),
    given="one server, gamma gaps, lognormal services",
    truth="simulated; the mean wait from idle periods (Marshall 1968) where the load is above 0.4",
)
SEVERAL_SERVERS = Field(
    name="several_servers",
    system="queue",
    axes=(_load(0.2, 0.95), GAPS, _count("servers", "servers in one line", 2, 32)),
    given="one line, gamma gaps, exponential services",
    truth="exact (Takacs 1962, GI/M/c)",
)
BURSTS = Field(
    name="bursts",
    system="queue",
    axes=(
        _load(0.1, 0.9),
        Axis(name="swing", meaning="swing of the rate about its mean", low=0.1, high=0.95),
        Axis(name="sojourn", meaning="mean services in a phase", low=1.0, high=1000.0, scale="log"),
    ),
    given="one server, exponential services, two equally long phases of arrivals",
    truth="exact (matrix-geometric MMPP/M/1)",
)

WRITE = Axis(name="write", meaning="checkpoint write over the MTBF", low=0.001, high=0.3, scale="log")
INTERVAL = Axis(name="interval", meaning="interval over Young's", low=0.25, high=4.0, scale="log")
CHECKPOINTS = Field(
    name="checkpoints",
    system="training",
    axes=(WRITE, INTERVAL, Axis(name="restart", meaning="restart over the MTBF", low=0.0, high=0.5)),
    given="blocking checkpoints, exponential failures",
    truth="exact (Daly 2006)",
)
WEIBULL = Field(
    name="weibull",
    system="training",
    axes=(WRITE, INTERVAL, Axis(name="shape", meaning="Weibull shape of the gaps", low=0.4, high=2.0, scale="log")),
    given="blocking checkpoints, Weibull gaps between failures, no restart",
    truth="exact (renewal reward, Bougeret et al. 2011)",
)

SPREAD = Axis(name="cv", meaning="cv of the jitter", low=0.05, high=1.0)
RING = Field(
    name="ring",
    system="collective",
    axes=(SPREAD, _count("ranks", "ranks", 4, 64), _count("repeats", "operations back to back", 1, 16)),
    given="ring all-reduce, lognormal jitter of each hop",
    truth=SIMULATED,
)
ONE_FORWARD_ONE_BACKWARD = Field(
    name="one_forward_one_backward",
    system="pipeline",
    axes=(SPREAD, _count("stages", "stages", 2, 32), _count("microbatches", "microbatches", 4, 64)),
    given="1f1b, a backward pass twice a forward one, lognormal jitter of each pass",
    truth=SIMULATED,
)
WAVE = Field(
    name="wave",
    system="pipeline",
    axes=(SPREAD, _count("stages", "stages", 2, 32), _count("microbatches", "microbatches", 4, 64)),
    given="the forward wave alone, lognormal jitter of each pass",
    truth=SIMULATED,
)
