"""A service at the points of a map."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from secondorder.analytic.serving.saturation import saturation
from secondorder.breakdown.fields import Coordinates
from secondorder.breakdown.places import serving
from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving.one_run import latencies
from secondorder.studies.maps.points import Amounts, Ground, Simulated


@lru_cache(maxsize=64)
def _slow(length_cv: float, slots: int) -> tuple[Serving, float]:
    """The service at 1 request/s, and the rate at which it saturates."""
    scenario = serving.service(1.0, length_cv, slots)
    return scenario, saturation(scenario).rate


def service(point: Coordinates) -> Serving:
    slow, most = _slow(point["length_cv"], int(point["slots"]))
    return replace(slow, arrivals=serving.poisson(point["load"] * most))


def times_of(point: Coordinates, seed: int, replication: int, length: int) -> Amounts:
    """The latencies of one run."""
    return latencies(service(point), seed=seed, replication=replication, requests=length)


GROUNDS: Mapping[str, Ground] = {
    "service": Ground(scenario=service, truth=Simulated(once=times_of, length=5_000, budget=1_000_000)),
}
