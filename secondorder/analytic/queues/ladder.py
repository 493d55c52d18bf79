"""The ladder of closed forms for a queue: what applies to it, rung by rung, and how far each may be trusted.

- Order 0: nobody waits; a service alone.
- Order 1: the mean formula of the first moments, as if arrivals were Poisson and services
  exponential (M/M/c; M/M/c/K with a finite room; mean value analysis of a closed population).
- Order 2: variability and the rules of the scenario: exact where there is a theory, else an approximation.

Each rung claims to be exact, an approximation or a bound. A quantile is there where the law is known and
its numerical inversion, if it takes one, is accurate; a metric without theory is absent.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from secondorder.analytic.queues.orders.alone import order_0
from secondorder.analytic.queues.orders.means import order_1
from secondorder.analytic.queues.orders.rules import order_2
from secondorder.answers.answer import Answer, ranked
from secondorder.answers.estimate import Rung
from secondorder.answers.metric import QUANTILES
from secondorder.scenarios.queue import Closed, Queue

EDGE = 0.05
"""Relative distance of the probability of waiting from ``1 - p`` within which a quantile is too unsteady to judge."""


def solve_queue(queue: Queue) -> Answer:
    """The closed forms of a queue, every order.

    Errors: ``Unstable`` where the queue grows without limit, ``InputError``.

    >>> answer = solve_queue(Queue(arrivals="poisson 8 request/s", service="lognormal 100 ms scv=4"))
    >>> [str(rung) for rung in answer["wait_mean"]], answer.best("wait_mean").source
    (['0 s', '400 ms', '1 s'], 'Pollaczek-Khinchine (M/G/1)')
    """
    queue.check_stable()
    estimates = _marked([*order_0(queue), *order_1(queue), *order_2(queue)])
    population = isinstance(queue.arrival_law, Closed)
    of = "of a closed population" if population else f"at utilisation {queue.utilisation:.4g}"
    return Answer(scenario=queue.name, estimates=ranked(estimates), how=f"closed forms {of}")


def _marked(rungs: Sequence[Rung]) -> list[Rung]:
    """Put quantiles of the wait that lie where it just leaves 0 outside of their domain.

    Where about ``1 - p`` of the customers wait, the quantile is 0 or just begins to rise: by chance
    a simulation falls on either side, and its interval means nothing.
    """
    met = next((rung.amount for rung in reversed(rungs) if rung.metric == "prob_wait"), math.nan)
    edges = {f"wait_{label}" for label, level in QUANTILES.items() if abs(met - (1 - level)) < EDGE * (1 - level)}
    jump = f"at a jump: {met:.3g} of the customers wait, and the quantile leaves 0 there"
    return [replace(rung, outside=jump) if rung.order == 2 and rung.metric in edges else rung for rung in rungs]
