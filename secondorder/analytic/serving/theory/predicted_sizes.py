"""One server that knows the sizes of its jobs, or predictions of them, and serves the smallest first.

Sizes ``x`` are exponential of mean 1, the prediction of one is exponential of mean ``x``; ``arrival_rate`` is below 1.
The laws are integrated in modified Bessel functions: ``P(prediction > y) = 2 sqrt(y) K1(2 sqrt(y))``.
"""

import math
from collections.abc import Callable

from secondorder.analytic.arguments import fraction


def first_come(arrival_rate: float) -> float:
    """Mean response in order of arrival: ``1/(1 - rate)``. *Exact*. *Source*: Erlang.

    >>> round(first_come(0.9), 3)
    10.0
    """
    return 1 / (1 - float(fraction("arrival_rate", arrival_rate)))


def shortest_job_first(arrival_rate: float) -> float:
    """Mean response where the shortest that waits goes first, without preemption.

    ``1 + int e^-x (rate E[S^2]/2)/(1 - rho_x)^2 dx``, ``rho_x`` the load of those below ``x``. *Exact*. *Source*:
    Phipps
    (1956).

    >>> round(shortest_job_first(0.9), 3)
    4.197
    """
    rate = float(fraction("arrival_rate", arrival_rate))
    return 1 + _integral(lambda x: math.exp(-x) * rate / (1 - rate * _work_below(x)) ** 2)


def shortest_predicted_job_first(arrival_rate: float) -> float:
    """Mean response where the shortest *predicted* goes first, without preemption.

    ``1 + int f(y) (rate E[S^2]/2)/(1 - rho_y)^2 dy``, ``f(y) = 2 K0(2 sqrt(y))``; the load of those predicted below
    ``y`` is ``rho_y = rate (1 - 2 y K2(2 sqrt(y)))``. *Exact*. *Source*: Mitzenmacher (2019); Mitzenmacher and
    Shahout, arXiv 2503.07545 (2025).

    >>> round(shortest_predicted_job_first(0.9), 3)
    5.361
    """
    rate = float(fraction("arrival_rate", arrival_rate))
    return 1 + _integral(lambda y: 2 * _bessel(0, y) * rate / (1 - rate * _work_predicted_below(y)) ** 2)


def shortest_remaining_first(arrival_rate: float) -> float:
    """Mean response where the one with the least left is served, with preemption.

    ``int e^-x (rate (int_0^x t^2 e^-t dt + x^2 e^-x)/(2 (1 - rho_x)^2) + int_0^x dt/(1 - rho_t)) dx``. *Exact*.
    *Source*: Schrage and Miller (1966).

    >>> round(shortest_remaining_first(0.9), 3)
    3.552
    """
    rate = float(fraction("arrival_rate", arrival_rate))

    def wait(x: float) -> float:
        squares = 2 - (x * x + 2 * x + 2) * math.exp(-x) + x * x * math.exp(-x)
        return math.exp(-x) * rate * squares / (2 * (1 - rate * _work_below(x)) ** 2)

    return _integral(wait) + _integral(lambda t: math.exp(-t) / (1 - rate * _work_below(t)))


def shortest_predicted_remaining_first(arrival_rate: float) -> float:
    """Mean response where the one with the least *predicted* to be left is served, with preemption.

    A predicted remainder that is negative keeps its rank. With ``g_k(y) = 2 y^(k/2) K_k(2 sqrt(y))``:
    ``int f(y) rate (2 - (2/e) g_3(y))/(2 (1 - rho_y)^2) dy + (1 - 1/e) int g_1(y)/(1 - rho_y) dy + 1/e``, where
    the first term counts the work ahead and the others the time in service. *Exact*. *Source*: Mitzenmacher (2019),
    integrated here for these laws.

    >>> round(shortest_predicted_remaining_first(0.9), 3)
    5.099
    """
    rate = float(fraction("arrival_rate", arrival_rate))

    def wait(y: float) -> float:
        squares = 2 - 2 / math.e * _moment(3, y)
        return 2 * _bessel(0, y) * rate * squares / (2 * (1 - rate * _work_predicted_below(y)) ** 2)

    served = _integral(lambda y: _moment(1, y) / (1 - rate * _work_predicted_below(y)))
    return _integral(wait) + (1 - 1 / math.e) * served + 1 / math.e


def _work_below(x: float) -> float:
    """``E[S; S < x]``."""
    return 1 - (1 + x) * math.exp(-x)


def _work_predicted_below(y: float) -> float:
    """``E[S; prediction < y]``."""
    return 1 - _moment(2, y)


def _moment(order: int, y: float) -> float:
    """``int x^(order - 1) e^(-x - y/x) dx``."""
    return 2 * y ** (order / 2) * _bessel(order, y) if y > 0 else float(math.factorial(order - 1))


def _bessel(order: int, y: float) -> float:
    from scipy.special import kv

    return float(kv(order, 2 * math.sqrt(y)))


def _integral(function: Callable[[float], float]) -> float:
    """From 0 to infinity; in ``u`` with ``y = u^2``, which takes the edge off the logarithm at 0."""
    from scipy.integrate import quad

    return float(quad(lambda u: 2 * u * function(u * u), 0, 12, limit=400, epsabs=1e-10)[0])
