"""Every scenario: what ``solve``, ``simulate``, ``compare`` and ``sweep`` take."""

from typing import Any, TypeAlias

from secondorder.errors import InputError
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.pipeline import Pipeline
from secondorder.scenarios.queue import Queue
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.training import Training
from secondorder.scenarios.training_step import TrainingStep

Scenario: TypeAlias = Serving | Queue | Training | TrainingStep | Collective | Pipeline


def no_scenario(given: Any) -> InputError:
    """The error for what is none."""
    expected = "a Serving, Queue, Training, TrainingStep, Collective or Pipeline scenario"
    return InputError("scenario", given=type(given).__name__, expected=expected)
