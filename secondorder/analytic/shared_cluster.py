"""A shared cluster in closed form: as one queue with this many servers, and the share that gang scheduling can fill.

=====  ===================================================================================================
order  wait
=====  ===================================================================================================
0      none: a job alone in the cluster
1      M/M/c with fungible slots: ``accelerators / E[size]`` servers, exponential durations
2      jobs of one size: M/G/c with ``accelerators // size`` servers (exact with one server, with exponential and with
       constant durations); mixed sizes: the same with the servers that a long line fills on average, a sketch
=====  ===================================================================================================

Where sizes are mixed, first come, first served does not reach the accelerators' rate: the first that does not fit
leaves them idle with jobs in line. ``saturation_rate`` says how far it gets.
"""

from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from secondorder.analytic.arguments import Real, non_negative, one, plain, positive
from secondorder.analytic.queues import multiserver, multiserver_deterministic, multiserver_general, single_server
from secondorder.answers.answer import Answer
from secondorder.answers.declared import SHARED_CLUSTER
from secondorder.answers.estimate import Claim, Rung, Standing, rungs
from secondorder.errors import InputError, Unstable
from secondorder.laws import Deterministic, EmpiricalLaw, Exponential, Service
from secondorder.quantities import si
from secondorder.scenarios.shared_cluster import SharedCluster

MIXED = "sizes are mixed: jobs block each other, which no formula here counts"


def solve_shared_cluster(scenario: SharedCluster) -> Answer:
    """The ladder of each metric of a shared cluster.

    ``wait_mean``, ``wait_p99``, ``response_mean`` in s; ``slowdown_mean`` the mean of ``1 + wait / max(duration,
    slowdown_floor)``; ``utilisation`` the share of the accelerators that jobs hold; ``fragmentation`` the share that
    is idle while a job waits; ``saturation_rate`` in job/s, past which the queue grows.

    Errors: ``Unstable`` where no policy could do the work, and, first come, first served with exponential durations,
    where gangs cannot.

    >>> cluster = SharedCluster(
    ...     accelerators=8, arrivals="1.6 job/hour", sizes=8, duration="lognormal 30 min scv=9", policy="fcfs")
    >>> [str(rung) for rung in solve_shared_cluster(cluster)["wait_mean"]]
    ['0 s', '2 h', '10 h']
    """
    scenario.check_stable()
    rows = [*_alone(scenario), *_fungible(scenario), *_second(scenario)]
    metrics = dict.fromkeys(row.metric for row in rows)
    ranked = tuple(row for metric in metrics for row in rows if row.metric == metric)
    how = f"closed forms at utilisation {scenario.utilisation:.4g}, {scenario.policy}"
    return Answer(scenario=scenario.name, estimates=ranked, how=how)


def saturation_rate(*, mean_duration: float, side_by_side: Real) -> float:
    """Jobs a second past which the queue grows without limit under first come, first served: ``1 / (E[duration] E[1 /
    J])``.

    ``J`` is how many jobs of a long line run side by side: as many as fit before the first that does not.
    ``side_by_side`` holds ``P(J = j)``, j from 0 on (``SharedCluster.fit_law``); ``mean_duration`` in s.

    *Exact* for exponential durations that do not depend on the size; for any law where ``J`` is constant. Errors:
    ``InputError``. *Source*: Rumyantsev and Morozov, Stability criterion of a multiserver model with simultaneous
    service (2017), theorem 1.

    >>> round(saturation_rate(mean_duration=1.0, side_by_side=np.array([0.0, 0.5, 0.5])), 9)
    1.333333333
    """
    shares = non_negative("side_by_side", side_by_side)
    number = np.arange(1, shares.size)
    return float(1 / (one("mean_duration", mean_duration) * float((shares[1:] / number).sum())))


def first_order_wait(*, arrival_rate: Real, mean_duration: Real, mean_size: Real, accelerators: Real) -> Real:
    """Mean wait in s as if accelerators were fungible slots: M/M/c, ``c`` the nearest to ``accelerators / mean_size``.

    The utilisation is the cluster's: the service lasts ``c mean_size / accelerators`` mean durations. *Approximation
    that breaks* with mixed sizes and with the spread of durations. ``arrival_rate`` in 1/s, ``mean_duration`` in s; all
    broadcast. Errors: ``Unstable``, ``InputError``. *Source*: Erlang 1917.

    >>> round(first_order_wait(arrival_rate=0.8, mean_duration=1.0, mean_size=8.0, accelerators=8), 9)
    4.0
    """
    servers, service = _slots(mean_duration, mean_size, accelerators)
    return multiserver.mean_wait(arrival_rate=arrival_rate, service_rate=1 / service, servers=servers)


def mean_slowdown(*, wait: Real, mean_reciprocal: Real) -> Real:
    """Mean of ``1 + wait / max(duration, floor)``: ``1 + wait mean_reciprocal``.

    *Exact* where the wait does not depend on a job's own duration: first come, first served with jobs of one size.
    ``wait`` the mean in s, ``mean_reciprocal`` that of ``1 / max(duration, floor)`` in 1/s; both broadcast. Errors:
    ``InputError``. *Source*: independence; the floor: Feitelson and Rudolph 1998.

    >>> mean_slowdown(wait=30.0, mean_reciprocal=0.1)
    4.0
    """
    return plain(1 + non_negative("wait", wait) * positive("mean_reciprocal", mean_reciprocal))


def reciprocal(law: Service, floor: float) -> float:
    """``E[1 / max(D, floor)]`` in 1/s: ``integral of P(D <= 1/u) du`` for u from 0 to ``1/floor``, floor in s above 0.

    By quadrature, to about 1e-6; exact for constant and measured times. Errors: ``InputError``.

    >>> from secondorder.laws import LogNormal
    >>> round(reciprocal(LogNormal("1 s", scv=4), 1e-9), 4)    # (1 + scv) / mean
    5.0
    """
    floor = one("floor", floor)
    match law:
        case Deterministic():
            return 1 / max(law.moment(1), floor)
        case EmpiricalLaw():
            return float(np.mean(1 / np.maximum(law.values, floor)))
    most = max(law.moment(1), floor) * 1e9
    times = np.geomspace(floor, most, 40_001)
    rates, below = 1 / times, 1 - law.survival(times)
    return float(1 / most + np.sum((rates[:-1] - rates[1:]) * (below[:-1] + below[1:]) / 2))


def _slots(mean_duration: Real, mean_size: Real, accelerators: Real) -> tuple[np.ndarray, np.ndarray]:
    """Fungible slots, a whole number, and the service in s that keeps the utilisation."""
    ratio = positive("accelerators", accelerators) / positive("mean_size", mean_size)
    servers = np.maximum(np.rint(ratio), 1)
    return servers.astype(np.int64), positive("mean_duration", mean_duration) * servers / ratio


def _rungs(order: int, source: str, claim: Claim, outside: str, amounts: dict[str, float]) -> Iterator[Rung]:
    return rungs(SHARED_CLUSTER, order, source, Standing(claim, outside=outside), amounts)


def _alone(scenario: SharedCluster) -> Iterator[Rung]:
    duration = scenario.law("duration").moment(1)
    amounts = {"wait_mean": 0.0, "wait_p99": 0.0, "response_mean": duration, "slowdown_mean": 1.0, "fragmentation": 0.0}
    yield from _rungs(0, "a job alone", Claim.BOUND, "", amounts)


def _fungible(scenario: SharedCluster) -> Iterator[Rung]:
    law = scenario.law("duration")
    duration = law.moment(1)
    if scenario.places is None:
        servers, service = (each.item() for each in _slots(duration, scenario.mean_size, scenario.accelerators))
    else:
        servers, service = scenario.places, duration
    queue = {"arrival_rate": scenario.rate, "service_rate": 1 / service, "servers": servers}
    wait = float(multiserver.mean_wait(**queue))
    doubts = []
    if scenario.places is None:
        doubts.append(MIXED)
    if not isinstance(law, Exponential):
        doubts.append("durations are not exponential")
    if scenario.policy == "shortest":
        doubts.append("the line is not in order of arrival")
    yield from _rungs(
        1,
        f"fungible slots (M/M/{servers})",
        Claim.APPROXIMATION,
        "; ".join(doubts),
        {
            "wait_mean": wait,
            "wait_p99": float(multiserver.wait_quantile(0.99, **queue)),
            "response_mean": wait + duration,
            "slowdown_mean": _slowdown(scenario, wait),
            "fragmentation": 0.0,
        },
    )
    yield from _rungs(1, "Little 1961 (exact)", Claim.EXACT, "", {"utilisation": scenario.utilisation})
    one_size = scenario.places is not None
    claim, outside = (Claim.EXACT, "") if one_size else (Claim.BOUND, "sizes are mixed: a bound from above")
    yield from _rungs(1, "full accelerators", claim, outside, {"saturation_rate": scenario.work_bound})


def _second(scenario: SharedCluster) -> Iterator[Rung]:
    """Order 2; nothing where the durations have no variance, or where a sketch would be past its own saturation."""
    law, in_order = scenario.law("duration"), scenario.policy == "fcfs"
    saturation = saturation_rate(mean_duration=law.moment(1), side_by_side=scenario.fit_law)
    mixed = scenario.places is None
    if in_order:
        known = not mixed or isinstance(law, Exponential)
        yield from _rungs(
            2,
            "jobs side by side (Rumyantsev and Morozov 2017)",
            Claim.EXACT if known else Claim.APPROXIMATION,
            "" if known else "durations are not exponential",
            {"saturation_rate": saturation},
        )
    if scenario.rate >= saturation:
        if in_order and isinstance(law, Exponential):
            raise Unstable(
                f"{scenario.name}: {3600 * scenario.rate:.4g} job/hour offered, but gangs that block each other "
                f"saturate at {3600 * saturation:.4g}, {saturation / scenario.work_bound:.1%} of what the accelerators "
                f"could: the queue grows without limit; use a lower arrival rate or the policy easy"
            )
        return
    try:
        scv = law.scv
    except InputError:  # Pareto with a shape of at most 2
        return
    places = scenario.places or max(round(saturation * law.moment(1)), 1)
    service = law if not mixed else law.at(f"{places / saturation!r} s")
    passing = scenario.policy == "shortest" or (mixed and not in_order)
    doubts = [
        (mixed, MIXED),
        (passing, "jobs pass each other"),
        (places > 1 and scv > 1, "scv above 1: with several servers two moments overstate the wait"),
    ]
    note = "; ".join(text for doubtful, text in doubts if doubtful)
    source, claim, amounts = _general(scenario.rate, service, scv, places)
    wait = amounts["wait_mean"]
    amounts["response_mean"] = wait + law.moment(1)
    amounts["slowdown_mean"] = _slowdown(scenario, wait)
    if not mixed and scenario.accelerators % next(iter(scenario.size_law)) == 0:
        amounts["fragmentation"] = 0.0
    yield from _rungs(2, source, claim, note, amounts)


def _general(rate: float, law: Service, scv: float, servers: int) -> tuple[str, Claim, dict[str, float]]:
    """M/G/c: where it comes from, what it claims, and the waits that are known."""
    mean = law.moment(1)
    match law:
        case Exponential():
            wait = multiserver.mean_wait(arrival_rate=rate, service_rate=1 / mean, servers=servers)
            tail = multiserver.wait_quantile(0.99, arrival_rate=rate, service_rate=1 / mean, servers=servers)
            return f"M/M/{servers} (exact)", Claim.EXACT, {"wait_mean": float(wait), "wait_p99": float(tail)}
        case Deterministic():
            wait = multiserver_deterministic.mean_wait(arrival_rate=rate, mean_service=mean, servers=servers)
            tail = multiserver_deterministic.wait_quantile(0.99, arrival_rate=rate, mean_service=mean, servers=servers)
            return f"M/D/{servers} (exact)", Claim.EXACT, {"wait_mean": float(wait), "wait_p99": float(tail)}
    if servers == 1:
        wait = float(single_server.mean_wait(arrival_rate=rate, mean_service=mean, service_scv=scv))
        amounts = {"wait_mean": wait}
        with suppress(InputError):  # the inversion meets a jump of the law: no quantile
            amounts["wait_p99"] = float(single_server.wait_quantile(0.99, arrival_rate=rate, service=law))
        return "Pollaczek-Khinchine (M/G/1, exact)", Claim.EXACT, amounts
    if scv <= 1:
        wait = multiserver_general.kimura(arrival_rate=rate, mean_service=mean, service_scv=scv, servers=servers)
        return f"Kimura (M/G/{servers}, two moments)", Claim.APPROXIMATION, {"wait_mean": float(wait)}
    wait = multiserver_general.allen_cunneen(
        arrival_rate=rate, mean_service=mean, arrival_scv=1.0, service_scv=scv, servers=servers
    )
    return f"Lee and Longton (M/G/{servers}, two moments)", Claim.APPROXIMATION, {"wait_mean": float(wait)}


def _slowdown(scenario: SharedCluster, wait: float) -> float:
    rate = reciprocal(scenario.law("duration"), si(scenario.slowdown_floor))
    return float(mean_slowdown(wait=wait, mean_reciprocal=rate))
