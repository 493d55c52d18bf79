"""Whitt's Queueing Network Analyzer: open networks of G/G/c nodes by two moments.

Flows add, split and pass through queues; each is described by its rate and one squared
coefficient of variation. Rates are exact; the scv, and with them the waits, approximate.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, Real, Whole, non_negative, plain, positive, whole
from secondorder.analytic.queues import multiserver
from secondorder.analytic.queues.single_server_general import klb_factor
from secondorder.errors import InputError, Unstable


@dataclass(frozen=True, kw_only=True)
class OpenNetwork:
    """What ``solve`` finds: one entry a node, and for the whole.

    ``arrival_rate`` (1/s), ``arrival_scv``, ``utilisation``, ``mean_wait`` and ``mean_response``
    (s, a visit), ``visits`` of a request to each node, ``mean_sojourn`` of a request (s).
    """

    arrival_rate: Floats
    arrival_scv: Floats
    utilisation: Floats
    mean_wait: Floats
    mean_response: Floats
    visits: Floats
    mean_sojourn: float


def solve(
    *,
    external_rate: npt.ArrayLike,
    routing: npt.ArrayLike,
    mean_service: npt.ArrayLike,
    external_scv: npt.ArrayLike = 1.0,
    service_scv: npt.ArrayLike = 1.0,
    servers: Whole = 1,
) -> OpenNetwork:
    """Rates, variability and waits of an open network with Markovian routing.

    Rates: ``lambda_j = lambda_0j + sum_i lambda_i q_ij``. Variability: with ``p_ij`` the share of
    j's arrivals that come from i,

    ``ca2_j = 1 + w_j { (p_0j c0_j^2 - 1) + sum_i p_ij [1 - q_ij + q_ij (rho_i^2 x_i + (1-rho_i^2) ca2_i)] }``,
    ``x_i = 1 + (max(cs2_i, 0.2) - 1)/sqrt(c_i)``, ``w_j = 1/(1 + 4 (1-rho_j)^2 (v_j - 1))``, ``v_j = 1/sum_i p_ij^2``.

    Wait of a node: Kraemer and Langenbach-Belz for one server and ``ca2 < 1``, else
    Allen-Cunneen. *Approximation*; exact for Jackson networks (Poisson, exponential). *Valid
    when* flows are not strongly correlated; immediate feedback is not removed beforehand.
    ``external_rate`` in 1/s and ``mean_service`` in s, one entry a node; ``routing[i][j]`` the
    probability to go from i to j; ``external_scv``, ``service_scv``, ``servers`` one for all or
    one a node. Errors: ``Unstable`` naming the node, ``InputError``.

    *Source*: Whitt, The Queueing Network Analyzer, Bell System Technical Journal 62 (1983),
    sections IV and V.

    >>> found = solve(external_rate=[1.0, 0.0], routing=[[0.0, 1.0], [0.0, 0.0]], mean_service=[0.5, 0.8])
    >>> found.mean_response.round(6), round(found.mean_sojourn, 6)    # a Jackson tandem
    (array([1., 4.]), 5.0)
    """
    outside = np.atleast_1d(non_negative("external_rate", np.asarray(external_rate, dtype=np.float64)))
    n = outside.size
    q = _routing(routing, n)
    service = np.broadcast_to(positive("mean_service", np.asarray(mean_service, dtype=np.float64)), n)
    outside_scv = np.broadcast_to(non_negative("external_scv", np.asarray(external_scv, dtype=np.float64)), n)
    cs2 = np.broadcast_to(non_negative("service_scv", np.asarray(service_scv, dtype=np.float64)), n)
    c = np.broadcast_to(whole("servers", servers), n).astype(np.float64)
    rate: Floats = np.linalg.solve(np.eye(n) - q.T, outside).astype(np.float64)
    rho = _utilisation(rate, service, c)
    ca2 = _arrival_scv(outside, outside_scv, q, rate, rho, cs2, c)
    wait = _waits(rate, service, rho, ca2, cs2, c)
    total = float(outside.sum())
    return OpenNetwork(
        arrival_rate=rate,
        arrival_scv=ca2,
        utilisation=rho,
        mean_wait=wait,
        mean_response=wait + service,
        visits=rate / total,
        mean_sojourn=float(rate @ (wait + service)) / total,
    )


def _utilisation(rate: Floats, service: Floats, servers: Floats) -> Floats:
    """Of each node; refused where a node gets no arrivals, or more than its servers can do."""
    if not (rate > 0).all():
        node = int(rate.argmin())
        raise InputError("external_rate", given=f"none that reaches node {node}", expected="arrivals at each node")
    rho = rate * service / servers
    if (rho >= 1).any():
        node = int(rho.argmax())
        raise Unstable(
            f"utilisation {rho[node]:.6g} of node {node} with {int(servers[node])} servers: its queue grows without "
            f"limit; use at least {int(rate[node] * service[node]) + 1} servers or arrival rates {rho[node]:.6g} times "
            "lower"
        )
    return rho


def superposition_scv(*, rates: npt.ArrayLike, scvs: npt.ArrayLike, utilisation: float) -> float:
    """The scv of several independent flows merged in front of a queue of this utilisation.

    ``w sum p_i c_i^2 + 1 - w``, ``p_i`` the share of flow i, ``w = 1/(1 + 4 (1-rho)^2 (v - 1))``,
    ``v = 1/sum p_i^2``. *Approximation*, exact for Poisson flows and for one flow. ``rates`` in
    1/s and ``scvs``, one entry a flow; ``0 <= utilisation <= 1``. Errors: ``InputError``.

    *Source*: Albin 1984; Whitt (1983), section 4.3.

    >>> superposition_scv(rates=[1.0, 3.0], scvs=[1.0, 1.0], utilisation=0.5)
    1.0
    """
    rate = np.atleast_1d(positive("rates", np.asarray(rates, dtype=np.float64)))
    scv = np.broadcast_to(non_negative("scvs", np.asarray(scvs, dtype=np.float64)), rate.shape)
    if not 0 <= utilisation <= 1:
        raise InputError("utilisation", given=utilisation, expected="a number from 0 to 1")
    share = rate / rate.sum()
    weight = 1 / (1 + 4 * (1 - utilisation) ** 2 * (1 / float(share @ share) - 1))
    return float(weight * (share @ scv) + 1 - weight)


def splitting_scv(*, scv: Real, probability: Real) -> Real:
    """The scv of a flow whose requests are each kept with this probability: ``p scv + 1 - p``.

    *Exact* for renewal flows and independent choices. ``scv`` without unit, ``0 < p <= 1``; both
    broadcast. Errors: ``InputError``. *Source*: Whitt (1983), section 4.4.

    >>> splitting_scv(scv=4.0, probability=0.5)
    2.5
    """
    kept = positive("probability", probability)
    if (kept > 1).any():
        raise InputError("probability", given=kept.max(), expected="numbers above 0 and at most 1")
    return plain(kept * non_negative("scv", scv) + 1 - kept)


def departure_scv(*, utilisation: Real, arrival_scv: Real, service_scv: Real, servers: Whole = 1) -> Real:
    """The scv of the departures of a queue: ``1 + (1-rho^2)(ca2-1) + rho^2 (max(cs2, 0.2)-1)/sqrt(c)``.

    *Approximation*, exact for M/M/c. ``0 <= utilisation <= 1``, the scv without unit, ``servers``
    whole; all broadcast. Errors: ``InputError``. *Source*: Whitt (1983), section 4.5.

    >>> departure_scv(utilisation=0.8, arrival_scv=1.0, service_scv=1.0)
    1.0
    """
    rho = non_negative("utilisation", utilisation)
    if (rho > 1).any():
        raise InputError("utilisation", given=rho.max(), expected="numbers from 0 to 1")
    ca2, cs2 = non_negative("arrival_scv", arrival_scv), np.maximum(non_negative("service_scv", service_scv), 0.2)
    return plain(1 + (1 - rho**2) * (ca2 - 1) + rho**2 * (cs2 - 1) / np.sqrt(whole("servers", servers)))


def _routing(routing: npt.ArrayLike, n: int) -> Floats:
    q = non_negative("routing", np.asarray(routing, dtype=np.float64))
    if q.shape != (n, n):
        raise InputError("routing", given=f"shape {q.shape}", expected=f"{n} rows and columns, one a node")
    if (q.sum(axis=1) > 1 + 1e-12).any():
        raise InputError("routing", given=f"a row that sums to {q.sum(axis=1).max():.6g}", expected="sums of at most 1")
    if np.abs(np.linalg.eigvals(q)).max() >= 1 - 1e-12:
        raise InputError("routing", given="nodes that requests never leave", expected="a route out from each node")
    return q


def _arrival_scv(
    outside: Floats, outside_scv: Floats, q: Floats, rate: Floats, rho: Floats, cs2: Floats, c: Floats
) -> Floats:
    share = (rate[:, None] * q) / rate  # share[i, j] of j's arrivals come from i
    new = outside / rate
    streams = 1 / (new**2 + (share**2).sum(axis=0))
    weight = 1 / (1 + 4 * (1 - rho) ** 2 * (streams - 1))
    x = 1 + (np.maximum(cs2, 0.2) - 1) / np.sqrt(c)
    known = 1 + weight * (new * outside_scv - 1 + (share * (1 - q + q * (rho**2 * x)[:, None])).sum(axis=0))
    carried = weight * share * q * (1 - rho**2)[:, None]
    return np.asarray(np.linalg.solve(np.eye(rate.size) - carried.T, known), dtype=np.float64)


def _waits(rate: Floats, service: Floats, rho: Floats, ca2: Floats, cs2: Floats, c: Floats) -> Floats:
    base = np.asarray(multiserver.mean_wait(arrival_rate=rate, service_rate=1 / service, servers=c.astype(np.int64)))
    g = np.where((c == 1) & (ca2 < 1), klb_factor(rho, ca2, cs2), 1.0)
    return np.asarray(base * (ca2 + cs2) / 2 * g)
