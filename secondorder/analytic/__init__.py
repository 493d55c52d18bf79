"""Closed forms: one model a module, named by the textbook's noun."""

from secondorder.scenarios.answers import Answer
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.pipeline import Pipeline
from secondorder.scenarios.queue import Queue
from secondorder.scenarios.scenario import Scenario, no_scenario
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.training import Training
from secondorder.scenarios.training_step import TrainingStep


def solve(scenario: Scenario) -> Answer:
    """The closed forms of a scenario, every order.

    Errors: ``Unstable`` when the load is at or past saturation.
    """
    match scenario:
        case Serving():
            from secondorder.analytic.serving.ladder import ladder

            return ladder(scenario)
        case Queue():
            from secondorder.analytic.queue_ladder import solve_queue

            return solve_queue(scenario)
        case Training():
            from secondorder.analytic.training.ladder import solve_training

            return solve_training(scenario)
        case TrainingStep():
            from secondorder.analytic.training_step import solve_step

            return solve_step(scenario)
        case Collective():
            from secondorder.analytic.collectives.ladder import solve_collective

            return solve_collective(scenario)
        case Pipeline():
            from secondorder.analytic.collectives.ladder import solve_pipeline

            return solve_pipeline(scenario)
    raise no_scenario(scenario)
