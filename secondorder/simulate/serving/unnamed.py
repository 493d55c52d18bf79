"""Runs without identities of blocks, where no request can find a block of another.

An engine that keeps prefixes then finds a block again only for a request that it preempted. Up to the first preemption
its steps are those of an engine that keeps none, which is simulated several times faster.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import StepFunction
from secondorder.simulate.serving.engine_policies import policies_of
from secondorder.simulate.serving.policies import Policies, Running
from secondorder.simulate.serving.request import Slot
from secondorder.workloads.requests import Requests

Result = TypeVar("Result")


class Preempted(Exception):
    """A request is about to be preempted."""


def until_preempted(
    scenario: Serving,
    requests: Requests,
    run: Callable[[Serving, Policies | None], Result],
    policies: Policies | None = None,
) -> Result:
    """``run`` of the service; first without identities where no prompt shares a prefix, again with them if it preempts.

    ``run`` starts again each time and leaves nothing behind when ``Preempted`` ends it. A step time that is no
    ``StepFunction`` may remember what it was asked, and is asked once.
    """
    pure = isinstance(scenario.step_seconds, StepFunction)
    keeps = scenario.settings.enable_prefix_caching
    if requests.hash_ids is not None or not keeps or not pure or scenario.cache_tiers:
        return run(scenario, policies)
    try:
        return run(unnamed(scenario), replace(policies or policies_of(scenario), victim=_nobody))
    except Preempted:
        return run(scenario, policies)


def unnamed(scenario: Serving) -> Serving:
    """The same service without identities."""
    return replace(scenario, enable_prefix_caching=False)


def _nobody(running: Running) -> Slot:
    raise Preempted
