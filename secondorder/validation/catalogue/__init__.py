"""The catalogue of twins: every claim of the closed forms with its simulation.

The tests, ``secondorder validate`` and the report go through the same ones.
"""

from secondorder.errors import UnknownName
from secondorder.validation.catalogue import queueing
from secondorder.validation.catalogue.judge import Judged, run_catalogue, run_twin
from secondorder.validation.catalogue.twin import Twin

__all__ = ["SUITES", "Judged", "Twin", "run_catalogue", "run_twin", "twins"]

SUITES = ("queueing", "serving", "deployment", "training", "theory")


def twins(suite: str | None = None) -> tuple[Twin, ...]:
    """The twins of a suite, or of all.

    >>> {twin.kind for twin in twins("queueing")} == {"exact", "approximation", "bound"}
    True
    """
    if suite is not None and suite not in SUITES:
        raise UnknownName.among("suite", suite, SUITES)
    found: tuple[Twin, ...] = ()
    if suite in (None, "queueing"):
        found += queueing.TWINS
    if suite in (None, "serving"):
        from secondorder.validation.catalogue import serving

        found += serving.twins()
    if suite in (None, "deployment"):
        from secondorder.validation.catalogue import deployment

        found += deployment.twins()
    if suite in (None, "training"):
        from secondorder.validation.catalogue import recovery, training

        found += training.twins() + recovery.twins()
    if suite in (None, "theory"):
        from secondorder.validation.catalogue import theory

        found += theory.twins()
    return found
