"""G/G/c by two moments: approximations of the mean wait built on Erlang's M/M/c.

``ca2`` and ``cs2`` are the squared coefficients of variation of the gap between arrivals and of
the service, ``rho = arrival_rate mean_service / servers``.
"""

import numpy as np

from secondorder.analytic.arguments import Floats, Real, Whole, non_negative, plain, positive, stable, whole
from secondorder.analytic.queues import multiserver, multiserver_deterministic


def allen_cunneen(
    *, arrival_rate: Real, mean_service: Real, arrival_scv: Real, service_scv: Real, servers: Whole = 1
) -> Real:
    """Mean wait in s: ``W(M/M/c) (ca2 + cs2)/2``.

    *Approximation*, exact for M/M/c and, with one server, for M/G/1. *Valid when* gaps are
    independent and ``rho`` is above about 0.5. ``arrival_rate`` in 1/s, ``mean_service`` in s, the
    scv without unit, ``servers`` whole; all broadcast. Errors: ``Unstable`` where ``rho >= 1``,
    ``InputError``.

    *Source*: Allen, Probability, Statistics and Queueing Theory (1990), section 5.3; Lee and
    Longton 1959 for M/G/c.

    >>> round(allen_cunneen(arrival_rate=1.6, mean_service=1.0, arrival_scv=1.0, service_scv=4.0, servers=2), 6)
    4.444444
    """
    ca2, cs2 = non_negative("arrival_scv", arrival_scv), non_negative("service_scv", service_scv)
    return plain(_mmc(arrival_rate, mean_service, servers) * (ca2 + cs2) / 2)


def kimura(*, arrival_rate: Real, mean_service: Real, service_scv: Real, servers: Whole = 1) -> Real:
    """Mean wait in s of M/G/c, between M/D/c and M/M/c: ``(1 + cs2) / (2 cs2/W(M/M/c) + (1 - cs2)/W(M/D/c))``.

    *Approximation*, exact at ``cs2`` 0 and 1 and with one server; M/D/c is taken exact here.
    *Valid when* arrivals are Poisson; made for ``cs2 <= 1``, of use above. ``arrival_rate`` in
    1/s, ``mean_service`` in s, ``service_scv`` without unit, ``servers`` whole; all broadcast.
    Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.

    *Source*: Kimura, A two-moment approximation for the mean waiting time in the GI/G/s queue
    (1986), with Poisson arrivals; Approximations for multi-server queues: system interpolations
    (1994).

    >>> round(kimura(arrival_rate=4.5, mean_service=1.0, service_scv=0.5, servers=5) * 4.5, 2)    # Kimura 1994: 5.19
    5.19
    """
    cs2 = non_negative("service_scv", service_scv)
    exponential = _mmc(arrival_rate, mean_service, servers)
    constant = np.asarray(
        multiserver_deterministic.mean_wait(arrival_rate=arrival_rate, mean_service=mean_service, servers=servers)
    )
    ratio = np.where(constant > 0, exponential, 1.0) / np.where(constant > 0, constant, 1.0)
    return plain(exponential * (1 + cs2) / (2 * cs2 + (1 - cs2) * ratio))


def whitt(*, arrival_rate: Real, mean_service: Real, arrival_scv: Real, service_scv: Real, servers: Whole = 1) -> Real:
    """Mean wait in s: ``phi W(M/M/c) (ca2 + cs2)/2``, ``phi`` Whitt's refinement for the number of servers.

    With ``gamma = min(0.24, (1-rho)(c-1)(sqrt(4+5c)-2)/(16 c rho))``, ``phi1 = 1 + gamma``,
    ``phi3 = (1 - 4 gamma) exp(-2(1-rho)/(3 rho))``, ``psi = min(1, (phi1+phi3)/2)^(2(1-v))`` for
    ``v = (ca2+cs2)/2 < 1``, else 1:

    - ``ca2 >= cs2``: ``phi = (4 (ca2-cs2) phi1 + cs2 psi) / (4 ca2 - 3 cs2)``;
    - ``ca2 < cs2``: ``phi = ((cs2-ca2) phi3 + (cs2+3 ca2) psi) / (2 (ca2+cs2))``.

    *Approximation*, exact for M/M/c. *Valid when* gaps are independent; as printed, it overstates
    the wait behind constant gaps (D/M/1 at rho 0.5 by a quarter). ``arrival_rate`` in 1/s,
    ``mean_service`` in s, the scv without unit, ``servers`` whole; all broadcast. Errors:
    ``Unstable`` where ``rho >= 1``, ``InputError``.

    *Source*: Whitt, Approximations for the GI/G/m queue (1993), equations 2.16 to 2.25.

    >>> round(whitt(arrival_rate=1.6, mean_service=1.0, arrival_scv=1.0, service_scv=1.0, servers=2), 6)
    1.777778
    """
    ca2, cs2 = non_negative("arrival_scv", arrival_scv), non_negative("service_scv", service_scv)
    rho, c = stable(arrival_rate, mean_service, servers), whole("servers", servers)
    base = _mmc(arrival_rate, mean_service, servers) * (ca2 + cs2) / 2
    return plain(base * _phi(rho, ca2, cs2, c.astype(np.float64)))


def _mmc(arrival_rate: Real, mean_service: Real, servers: Whole) -> Floats:
    service = positive("mean_service", mean_service)
    return np.asarray(multiserver.mean_wait(arrival_rate=arrival_rate, service_rate=1 / service, servers=servers))


def _phi(rho: Floats, ca2: Floats, cs2: Floats, c: Floats) -> Floats:
    gamma = np.minimum(0.24, (1 - rho) * (c - 1) * (np.sqrt(4 + 5 * c) - 2) / (16 * c * rho))
    phi1, phi3 = 1 + gamma, (1 - 4 * gamma) * np.exp(-2 * (1 - rho) / (3 * rho))
    psi = np.minimum(1, (phi1 + phi3) / 2) ** (2 * np.maximum(1 - (ca2 + cs2) / 2, 0))
    some = ca2 + cs2 > 0  # nothing varies, nothing waits: any finite factor does
    burstier = (4 * (ca2 - cs2) * phi1 + cs2 * psi) / np.where(some & (ca2 >= cs2), 4 * ca2 - 3 * cs2, 1.0)
    smoother = ((cs2 - ca2) * phi3 + (cs2 + 3 * ca2) * psi) / np.where(some, 2 * (ca2 + cs2), 1.0)
    return np.asarray(np.where(ca2 >= cs2, burstier, smoother))
