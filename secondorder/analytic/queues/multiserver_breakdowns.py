"""M/M/c with breakdowns: servers fail, busy or idle, and are repaired; one queue, first come first served.

Customers and servers in service are a Markov chain: a quasi-birth-death process whose level is the number of customers
and whose phase is the number of servers in service. From level ``c`` on the rates repeat, and the probabilities are
``pi_(n+1) = pi_n R`` with the least ``R >= 0`` that solves ``A0 + R A1 + R^2 A2 = 0``. A customer whose server fails
goes on where it was as soon as another one is free; with exponential services starting again is the same.
"""

from dataclasses import dataclass

import numpy as np

from secondorder.analytic.arguments import Floats, one, one_whole
from secondorder.errors import Unstable

TOLERANCE = 1e-13
"""Largest entry of the part of R that is left out."""


@dataclass(frozen=True)
class Breakdowns:
    """The stationary law: ``levels[n]`` has the probabilities of ``n`` customers by servers in service, ``n <= c``.

    Beyond them each level is the one before times ``ratio``, the matrix R.
    """

    levels: Floats
    ratio: Floats

    @property
    def mean_number(self) -> float:
        """Mean number of customers inside."""
        below, last = self.levels[:-1], self.levels[-1]
        rest = np.linalg.inv(np.eye(len(self.ratio)) - self.ratio)
        servers = len(below)
        far = servers * last @ rest + last @ self.ratio @ rest @ rest
        return float(np.arange(servers) @ below.sum(axis=1) + far.sum())


def solve(*, arrival_rate: float, service_rate: float, servers: int, mtbf: float, mttr: float) -> Breakdowns:
    """The stationary law of M/M/c with breakdowns.

    *Exact*. *Valid when* arrivals are Poisson at ``arrival_rate`` (1/s), services exponential at ``service_rate``
    (1/s), times in service exponential of mean ``mtbf`` (s) for each of the ``servers``, busy or idle, and repairs
    exponential of mean ``mttr`` (s), any number at once. One queue at a time.

    Errors: ``Unstable`` where ``arrival_rate >= servers service_rate mtbf / (mtbf + mttr)``, ``InputError``.

    *Source*: Mitrany and Avi-Itzhak, Operations Research 16(3), 1968; the method is Neuts, Matrix-Geometric Solutions
    in Stochastic Models (1981), chapters 3 and 6.

    >>> found = solve(arrival_rate=0.5, service_rate=1.0, servers=1, mtbf=1e12, mttr=1.0)
    >>> round(found.mean_number, 6)                                                      # M/M/1: rho/(1 - rho)
    1.0
    """
    rate, mu, c = one("arrival_rate", arrival_rate), one("service_rate", service_rate), one_whole("servers", servers)
    up, down = one("mtbf", mtbf), one("mttr", mttr)
    most = c * mu * up / (up + down)
    if rate >= most:
        raise Unstable(
            f"{rate:.6g} request/s offered, but breakdowns leave the servers {most:.6g} request/s: the queue grows "
            f"without limit; use at least {int(rate * c / most) + 1} servers"
        )
    phases = np.arange(c + 1)
    moves = np.diag((c - phases[:-1]) / down, 1) + np.diag(phases[1:] / up, -1)
    served = [np.diag(mu * np.minimum(n, phases).astype(np.float64)) for n in range(c + 1)]
    arrivals = rate * np.eye(c + 1)
    local = [moves - np.diag((moves + arrivals + s).sum(axis=1)) for s in served]
    ratio = _rate_matrix(arrivals, local[c], served[c])
    return Breakdowns(_levels(arrivals, local, served, ratio), ratio)


def mean_response(*, arrival_rate: float, service_rate: float, servers: int, mtbf: float, mttr: float) -> float:
    """Mean response in s: the mean number inside over ``arrival_rate`` (Little). As ``solve``.

    >>> round(mean_response(arrival_rate=0.5, service_rate=1.0, servers=1, mtbf=9.0, mttr=1.0), 4)
    2.725
    """
    law = solve(arrival_rate=arrival_rate, service_rate=service_rate, servers=servers, mtbf=mtbf, mttr=mttr)
    return law.mean_number / arrival_rate


def _rate_matrix(up: Floats, local: Floats, down: Floats) -> Floats:
    """R by logarithmic reduction: ``G``, the phase in which a level is left downwards; ``R = A0 (-A1 - A0 G)^-1``.

    *Source*: Latouche and Ramaswami, Journal of Applied Probability 30(3), 1993.
    """
    inverse = np.linalg.inv(-local)
    high, low = inverse @ up, inverse @ down
    descent, path = low.copy(), high.copy()
    while True:
        both = np.linalg.inv(np.eye(len(up)) - high @ low - low @ high)
        high, low = both @ high @ high, both @ low @ low
        more = path @ low
        descent, path = descent + more, path @ high
        if more.max() < TOLERANCE:
            return np.asarray(up @ np.linalg.inv(-local - up @ descent))


def _levels(up: Floats, local: list[Floats], down: list[Floats], ratio: Floats) -> Floats:
    """Probabilities of the levels 0 to c, from their balance and the sum of all."""
    c, width = len(local) - 1, len(up)
    balance = np.zeros(((c + 1) * width, (c + 1) * width))
    for n in range(c + 1):
        here = slice(n * width, (n + 1) * width)
        balance[here, here] = local[n] + (ratio @ down[c] if n == c else 0)
        if n < c:
            balance[here, (n + 1) * width : (n + 2) * width] = up
            balance[(n + 1) * width : (n + 2) * width, here] = down[n + 1]
    whole = np.ones((c + 1) * width)
    whole[-width:] = np.linalg.inv(np.eye(width) - ratio).sum(axis=1)
    balance[:, 0] = whole
    found = np.linalg.solve(balance.T, np.eye(len(whole))[0])
    return np.asarray(found.reshape(c + 1, width))
