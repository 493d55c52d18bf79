"""What is done with a scenario of any kind: ``solve`` and ``simulate``."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from secondorder.answers.answer import Answer
from secondorder.errors import InputError
from secondorder.quantities import Quantity
from secondorder.scenarios.scenario import Scenario
from secondorder.scenarios.step_band import engines_in, step_band
from secondorder.simulate.witness import Witness, chosen
from secondorder.systems.registry import system_of
from secondorder.systems.system import System, loaded

MOST_REQUESTS = 10_000_000
"""Requests of one run, which are all held in memory."""


def solve(scenario: Scenario) -> Answer:
    """The closed forms of a scenario, every order.

    An approximation that its map shows to be more than 10 % off at the scenario's place is put outside of its domain.
    Where step times come from a datasheet, each value has their ``band``.
    Errors: ``Unstable`` when the load is at or past saturation.
    """
    system = system_of(scenario)
    _check_engines(scenario, system)
    with _within_numbers(scenario):
        answer = _finite(loaded(system.closed_form)(scenario).in_units_of(system.metrics))
    answer = answer.with_band(step_band(scenario))
    if system.places is None:
        return answer
    from secondorder.breakdown.consult import consulted

    return consulted(answer, loaded(system.places)(scenario, answer))


def can_simulate(scenario: Scenario) -> bool:
    """Whether there is a simulation of such a scenario, and anything for it to find."""
    return system_of(scenario).can_simulate(scenario)


def simulate(
    scenario: Scenario,
    *,
    seed: int = 0,
    replications: int | None = None,
    requests: int | None = None,
    jobs: int = 1,
    precision: float | None = None,
    budget: Quantity | str | None = None,
    witness: Witness | None = None,
) -> Answer:
    """Simulate a scenario: estimates with 95 % confidence intervals.

    The same scenario and seed give the same result. A ``Serving`` scenario runs until its latencies are known to a
    relative half-width of ``precision`` (5 %), or for a ``budget`` of time ("60 s"), with which the result depends on
    the machine. ``requests`` is the length of a run of a ``Serving`` or ``Queue`` scenario, chosen when it is not
    given; the others have a length of their own. There are 10 ``replications`` of them if no other number is given,
    and 3,000 of a training run that the kernel knows, else 100. ``jobs`` processes share the runs. ``witness``:
    "kernel" (compiled) or "events" (SimPy), which give the same times; if not given, the kernel where one knows all
    that the scenario uses.
    """
    system = system_of(scenario)
    _check_engines(scenario, system)
    if requests is not None and not system.has_requests:
        given = f"{requests} for a {type(scenario).__name__}"
        raise InputError("requests", given=given, expected="none: it sets the length of its runs itself")
    if system.simulator is None:
        given = type(scenario).__name__
        raise InputError("scenario", given=given, expected="one that can be simulated", remedy="solve answers it")
    if requests is not None and requests > MOST_REQUESTS:
        expected = f"at most {MOST_REQUESTS:,}"
        raise InputError("requests", given=f"{requests:,}", expected=expected, remedy="take more replications instead")
    for name, value in (("precision", precision), ("budget", budget)):
        if value is not None and not system.has_precision:
            given = f"{value} for a {type(scenario).__name__}"
            raise InputError(name, given=given, expected="none: it sets the number of its runs itself")
    if not system.has_kernel:
        chosen(witness, lambda: False, type(scenario).__name__)
    if replications is None and not system.has_precision:
        replications = system.replications
    options: dict[str, object] = {"requests": requests} if system.has_requests else {}
    options |= {"precision": precision, "budget": budget} if system.has_precision else {}
    options |= {"witness": witness} if system.has_kernel else {}
    with _within_numbers(scenario):
        found = loaded(system.simulator)(scenario, seed=seed, replications=replications, jobs=jobs, **options)
        return _finite(found.in_units_of(system.metrics).with_band(step_band(scenario)))


def _check_engines(scenario: object, system: System) -> None:
    """Refuse, inside another scenario, ranks, stages and lower tiers of the cache that it does not know."""
    for engine in engines_in(scenario):
        if engine is not scenario:
            engine.check_one_scheduler(f"a {type(scenario).__name__}")
            if not system.has_stages:
                engine.check_one_stage(f"a {type(scenario).__name__}")
            if not system.has_tiers:
                engine.check_one_cache(f"a {type(scenario).__name__}")


@contextmanager
def _within_numbers(scenario: Scenario) -> Iterator[None]:
    """Overflows become an error of the input: a value of the scenario is too large or too small."""
    try:
        yield
    except OverflowError:
        expected = "numbers of a size that a system can have"
        raise InputError(scenario.name, given="a number too large or too small", expected=expected) from None


def _finite(answer: Answer) -> Answer:
    """The answer, refused if a value of it is infinite or undefined."""
    for each in answer.estimates:
        if not math.isfinite(each.amount):
            raise OverflowError(each.metric)
    return answer
