"""Closed networks: a fixed number of customers that think, then visit queues, for ever (exact mean value analysis).

A station's ``demand`` is the mean service it gives a customer in one round (visits times service).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, non_negative, one_whole
from secondorder.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Closed:
    """``throughput`` in rounds/s; ``mean_response`` in s of a round, without the thinking.

    One entry a station: ``station_response`` (s a round), ``station_number`` (customers there)
    and ``utilisation``.
    """

    throughput: float
    mean_response: float
    station_response: Floats
    station_number: Floats
    utilisation: Floats


def mean_value_analysis(*, customers: int, demand: npt.ArrayLike, think: float = 0.0) -> Closed:
    """Throughput and mean times with ``customers`` in circulation.

    For ``n`` = 1 to ``customers``: ``R_k = d_k (1 + N_k)``, ``X = n / (Z + sum_k R_k)``,
    ``N_k = X R_k``: who arrives sees the network with one customer less. *Exact*. *Valid when*
    stations have one server each, with exponential service in order of arrival or any service
    under processor sharing; the think time may have any law. ``customers`` whole; ``demand`` in s,
    one entry a station; ``think`` (Z) in s, at least 0. Errors: ``InputError``.

    *Source*: Reiser and Lavenberg, Mean-value analysis of closed multichain queuing networks (1980).

    >>> found = mean_value_analysis(customers=20, demand=[1.0], think=10.0)
    >>> round(found.throughput, 9), round(found.mean_response, 8)
    (0.99813095, 10.03745099)
    """
    demands, thinking = _network(demand, think)
    number = np.zeros_like(demands)
    for n in range(1, one_whole("customers", customers) + 1):
        response = demands * (1 + number)
        throughput = n / (thinking + float(response.sum()))
        number = throughput * response
    return Closed(
        throughput=throughput,
        mean_response=float(response.sum()),
        station_response=response,
        station_number=number,
        utilisation=throughput * demands,
    )


def throughput_bound(*, customers: int, demand: npt.ArrayLike, think: float = 0.0) -> float:
    """Upper bound of the throughput in rounds/s: ``min(1 / max_k d_k, customers / (Z + sum_k d_k))``.

    *Bound* for every service law and order. ``customers`` whole; ``demand`` in s, one entry a
    station; ``think`` (Z) in s. Errors: ``InputError``.

    *Source*: Denning and Buzen, The operational analysis of queueing network models (1978).

    >>> throughput_bound(customers=20, demand=[1.0], think=10.0)
    1.0
    """
    demands, thinking = _network(demand, think)
    return float(min(1 / demands.max(), one_whole("customers", customers) / (thinking + demands.sum())))


def saturation_customers(*, demand: npt.ArrayLike, think: float = 0.0) -> float:
    """The number of customers at which the two parts of ``throughput_bound`` meet: ``(Z + sum_k d_k) / max_k d_k``.

    *Bound*: with more of them, somebody must wait. ``demand`` in s, one entry a station; ``think``
    (Z) in s. Errors: ``InputError``. *Source*: Kleinrock, Queueing Systems II (1976), section 4.12.

    >>> saturation_customers(demand=[1.0], think=10.0)
    11.0
    """
    demands, thinking = _network(demand, think)
    return float((thinking + demands.sum()) / demands.max())


def _network(demand: npt.ArrayLike, think: float) -> tuple[Floats, float]:
    demands = np.atleast_1d(non_negative("demand", np.asarray(demand, dtype=np.float64)))
    if demands.ndim != 1 or not demands.any():
        raise InputError("demand", given=demands.tolist(), expected="one time in s a station, not all 0")
    return demands, float(non_negative("think", think))
