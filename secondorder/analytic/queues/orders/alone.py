"""Order 0 of a queue: a customer alone in the system. Nobody is served faster: it is a bound."""

import math
from collections.abc import Iterator

import numpy as np

from secondorder import laws
from secondorder.analytic.arguments import Floats
from secondorder.analytic.queues.orders.kind import has_wait, is_exponential, one_law, rungs_of
from secondorder.analytic.queues.transform_inversion import quantile
from secondorder.answers.estimate import Rung, approximation, bound
from secondorder.answers.metric import QUANTILES
from secondorder.laws import Service
from secondorder.quantities import si
from secondorder.scenarios.queue import BatchService, Closed, ForkJoin, Queue


def order_0(queue: Queue) -> Iterator[Rung]:
    """A service alone; nothing where a customer alone would wait for others before a batch is begun."""
    if isinstance(queue.discipline, BatchService) and queue.discipline.wait_to_fill > 1:
        yield from _alone_in_a_batch(queue.discipline)
        return
    amounts: dict[str, float] = {}
    if has_wait(queue):
        waits = {f"wait_{label}": 0.0 for label in QUANTILES}
        amounts = {"wait_mean": 0.0, **waits, "prob_wait": 0.0, "queue_mean": 0.0}
    law, tasks = one_law(queue), queue.servers if isinstance(queue.routing, ForkJoin) else 1
    mean = _mean_of_longest(law, tasks) if tasks > 1 else queue.mean_service
    if mean is not None:
        amounts["response_mean"] = mean
    if law is not None:
        for label, level in QUANTILES.items():
            amounts[f"response_{label}"] = _law_quantile(law, level ** (1 / tasks))
    crowded = not isinstance(queue.arrival_law, Closed) and queue.utilisation >= 1
    outside = f"nobody is alone at utilisation {queue.utilisation:.4g}" if crowded else ""
    alone = bound("from below, a customer alone in the system", outside=outside)
    yield from rungs_of(0, "service alone", alone, amounts)
    if isinstance(queue.arrival_law, Closed):
        think, most = si(queue.arrival_law.law("think").mean), queue.arrival_law.customers
        yield from rungs_of(0, "nobody waits", bound("from above"), {"throughput": most / (think + queue.mean_service)})


def _alone_in_a_batch(server: BatchService) -> Iterator[Rung]:
    """A batch that waits to fill serves one who is alone after its time-out; without one, never."""
    if server.timeout is None:
        return
    hold, batch = si(server.timeout), server.seconds(1)
    amounts = {"wait_mean": hold, "prob_wait": 1.0, "response_mean": hold + batch}
    amounts |= {f"wait_{label}": hold for label in QUANTILES}
    amounts |= {f"response_{label}": hold + batch for label in QUANTILES}
    alone = approximation("a customer alone in the system, after the time-out", outside="others help to fill the batch")
    yield from rungs_of(0, "service alone", alone, amounts)


def _mean_of_longest(law: Service | None, count: int) -> float | None:
    """Mean of the longest of ``count`` services, for the laws where it is simple."""
    if law is not None and is_exponential(law):
        return law.moment(1) * sum(1 / k for k in range(1, count + 1))
    return law.moment(1) if isinstance(law, laws.Deterministic) else None


def _law_quantile(law: Service, p: float) -> float:
    """The service in s that a fraction ``p`` does not exceed."""
    from scipy.special import gammaincinv, ndtri

    mean = law.moment(1)
    match law:
        case laws.Exponential():
            return -mean * math.log1p(-p)
        case laws.Deterministic():
            return mean
        case laws.Erlang(stages=stages):
            return float(gammaincinv(stages, p)) * mean / stages
        case laws.Gamma(scv=scv):
            return float(gammaincinv(1 / scv, p)) * mean * scv
        case laws.LogNormal():
            return float(law.median * math.exp(law.sigma * ndtri(p)))
        case laws.Pareto(shape=shape):
            return float(law.least * (1 - p) ** (-1 / shape))
        case laws.Weibull(shape=shape):
            return float(law.scale * (-math.log1p(-p)) ** (1 / shape))
        case laws.Normal():
            return float(mean + law.sigma * ndtri(p))
        case laws.Hyperexponential() | laws.ExponentialMixture():
            return _mixture_quantile(law.weights[0], *law.means, p)
        case laws.EmpiricalLaw(values=values):
            return float(np.quantile(values, p, method="inverted_cdf"))


def _mixture_quantile(share: float, short: float, long: float, p: float) -> float:
    """The quantile of two exponential times of these means, the short one with probability ``share``."""

    def tail(t: Floats) -> Floats:
        return share * np.exp(-t / short) + (1 - share) * np.exp(-t / long)

    return float(quantile(tail, np.array(p), np.array(short)))
