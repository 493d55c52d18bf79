"""Where a service lies on the maps of services: of one model on one accelerator, whose lengths have given means."""

from collections.abc import Mapping
from dataclasses import replace

from secondorder.answers.answer import Answer
from secondorder.breakdown.fields import Coordinates
from secondorder.fleets.accelerators import accelerators
from secondorder.scenarios.serving import Serving
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Lengths, LogNormal
from secondorder.workloads.models import models

INPUT, OUTPUT = 1024.0, 256.0
"""Mean tokens of a prompt and of an answer."""


def poisson(rate: float) -> Poisson:
    """Poisson arrivals at a rate in request/s."""
    return Poisson(f"{rate!r} request/s")


def service(rate: float, length_cv: float, slots: int) -> Serving:
    """The service of the maps at a rate in request/s."""
    return Serving(
        model=models.llama_3_1_8b, accelerator=accelerators.h100_sxm, arrivals=poisson(rate), max_num_seqs=slots,
        lengths=Lengths(input=LogNormal(INPUT, cv=length_cv), output=LogNormal(OUTPUT, cv=length_cv)),
    )  # fmt: skip


def places(scenario: Serving, answer: Answer) -> Mapping[str, Coordinates]:
    """The fields that the service is one of, and where it lies there.

    >>> places(service(8.0, 1.0, 128), Answer(scenario="", estimates=()))
    {}
    """
    lengths, load = scenario.lengths, answer.get("utilisation", ())
    if not (isinstance(scenario.arrivals, Poisson) and isinstance(lengths, Lengths) and load):
        return {}
    if not (isinstance(lengths.input, LogNormal) and isinstance(lengths.output, LogNormal)):
        return {}
    cv, slots = lengths.input.cv, scenario.settings.max_num_seqs
    like = replace(service(1.0, cv, slots), arrivals=scenario.arrivals, name=scenario.name, goodput=scenario.goodput)
    if scenario != like:
        return {}
    return {"service": {"load": load[0].amount, "length_cv": cv, "slots": float(slots)}}
