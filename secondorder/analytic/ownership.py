"""The cost of a fleet in closed form, when owning pays, and the waits under a load that varies through the day.

Money in USD, times in s, rates in 1/s.
"""

from typing import TypedDict

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, Real, non_negative, one, one_whole, plain, positive, stable
from secondorder.analytic.queues import multiserver, staffing
from secondorder.analytic.queues.transform_inversion import quantile
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Rung, rung
from secondorder.errors import InputError
from secondorder.laws import Exponential
from secondorder.quantities import pretty, si
from secondorder.scenarios.footprint import HOUR
from secondorder.scenarios.ownership import Ownership


def cost_per_request(*, cost_rate: Real, arrival_rate: Real) -> Real:
    """USD for a request: ``cost_rate / arrival_rate``, at the actual load, not at full utilisation.

    *Exact*. ``cost_rate`` in USD/s, ``arrival_rate`` in 1/s; broadcast. Errors: ``InputError``. *Source*: definition.

    >>> cost_per_request(cost_rate=0.01, arrival_rate=5.0)
    0.002
    """
    return plain(non_negative("cost_rate", cost_rate) / positive("arrival_rate", arrival_rate))


def break_even_utilisation(*, fixed: Real, proportional: Real, rental: Real) -> Real:
    """Share of the hours above which owning is cheaper than renting by the hour: ``fixed / (rental - proportional)``.

    Owning costs ``fixed + proportional u`` an hour, renting ``rental u``. *Exact*; above 1, or infinite where
    ``rental <= proportional``: renting is cheaper at any work. All in one unit, USD/hour of one accelerator; they
    broadcast. Errors: ``InputError``. *Source*: definition.

    >>> break_even_utilisation(fixed=1.0, proportional=0.5, rental=3.0)
    0.4
    """
    margin = positive("rental", rental) - non_negative("proportional", proportional)
    with np.errstate(divide="ignore"):
        return plain(np.where(margin > 0, non_negative("fixed", fixed) / np.maximum(margin, 0), np.inf))


def break_even_horizon(*, outlay: Real, running: Real, rental: Real) -> Real:
    """Time in s after which renting has cost more than purchase and running costs: ``outlay / (rental - running)``.

    *Exact* for steady rates and without resale; infinite where ``rental <= running``. ``outlay`` in USD, ``running``
    (energy, maintenance) and ``rental`` in USD/s of the whole fleet; broadcast. Errors: ``InputError``. *Source*:
    definition (payback time).

    >>> break_even_horizon(outlay=100.0, running=1.0, rental=3.0)
    50.0
    """
    margin = non_negative("rental", rental) - non_negative("running", running)
    with np.errstate(divide="ignore"):
        return plain(np.where(margin > 0, positive("outlay", outlay) / np.maximum(margin, 0), np.inf))


class Hourly(TypedDict):
    """What the pointwise functions take: rates in 1/s and servers, one value an hour."""

    arrival_rates: npt.ArrayLike
    service_rate: float
    servers: npt.ArrayLike


def pointwise_prob_wait(*, arrival_rates: npt.ArrayLike, service_rate: float, servers: npt.ArrayLike) -> float:
    """Share of a day's requests that wait: each hour as a steady M/M/c, weighted by its arrivals.

    ``sum_h lambda_h C(lambda_h/mu, c_h) / sum_h lambda_h``. *Approximation*, exact as the day grows long against the
    relaxation of the queue; *valid when* every hour is stable. ``arrival_rates`` in 1/s and ``servers``, one value an
    hour; ``service_rate`` in 1/s. Errors: ``Unstable`` where an hour's load exceeds its servers, ``InputError``.

    *Source*: Green and Kolesar, The pointwise stationary approximation for queues with nonstationary arrivals (1991).

    >>> round(pointwise_prob_wait(arrival_rates=[0.5, 1.5], service_rate=1.0, servers=[1, 2]), 9)    # .5 and .642857143
    0.607142857
    """
    return pointwise_wait_tail(0.0, arrival_rates=arrival_rates, service_rate=service_rate, servers=servers)


def pointwise_wait_tail(
    t: float, *, arrival_rates: npt.ArrayLike, service_rate: float, servers: npt.ArrayLike
) -> float:
    """Share of a day's requests that wait longer than ``t``: ``sum_h lambda_h C_h exp(-theta_h t) / sum_h lambda_h``.

    *Approximation*, as ``pointwise_prob_wait``; ``t`` in s, the others and the errors as there.

    *Source*: Green and Kolesar (1991); ``multiserver.wait_tail``.

    >>> round(pointwise_wait_tail(1.0, arrival_rates=[0.5, 0.5], service_rate=1.0, servers=[1, 1]), 9)    # steady
    0.30326533
    """
    rates, count = _hours(arrival_rates, servers)
    tails = np.asarray(multiserver.wait_tail(t, arrival_rate=rates, service_rate=service_rate, servers=count))
    return float(rates @ tails / rates.sum())


def pointwise_mean_wait(*, arrival_rates: npt.ArrayLike, service_rate: float, servers: npt.ArrayLike) -> float:
    """Mean wait of a day's requests in s: ``sum_h lambda_h W_h / sum_h lambda_h``.

    *Approximation*; arguments and errors as ``pointwise_prob_wait``. *Source*: Green and Kolesar (1991).

    >>> pointwise_mean_wait(arrival_rates=[0.5, 0.5], service_rate=1.0, servers=[1, 1])
    1.0
    """
    rates, count = _hours(arrival_rates, servers)
    waits = np.asarray(multiserver.mean_wait(arrival_rate=rates, service_rate=service_rate, servers=count))
    return float(rates @ waits / rates.sum())


def pointwise_wait_quantile(
    p: float, *, arrival_rates: npt.ArrayLike, service_rate: float, servers: npt.ArrayLike
) -> float:
    """The wait in s that a fraction ``p`` of a day's requests does not exceed: root of ``pointwise_wait_tail``.

    *Approximation*; it is not a mean of the hours' quantiles. ``0 < p < 1``; the others and the errors as
    ``pointwise_prob_wait``. *Source*: Green and Kolesar (1991).

    >>> round(pointwise_wait_quantile(0.99, arrival_rates=[0.5, 0.5], service_rate=1.0, servers=[1, 1]), 6)
    7.824046
    """
    rates, count = _hours(arrival_rates, servers)
    mu = one("service_rate", service_rate)
    if not 0 < p < 1:
        raise InputError("p", given=p, expected="a number between 0 and 1")
    waits = np.asarray(multiserver.prob_wait(arrival_rate=rates, service_rate=mu, servers=count))
    theta = count * mu - rates

    def tail(t: Floats) -> Floats:
        return np.asarray((rates * waits * np.exp(-theta * t[..., None])).sum(axis=-1) / rates.sum())

    return float(quantile(tail, np.array(p), np.array(1 / mu)))


def relaxation_time(*, arrival_rate: Real, service_rate: Real, servers: Real) -> Real:
    """Upper bound in s of the relaxation time of M/M/c: ``1 / (sqrt(c mu) - sqrt(lambda))^2``.

    *Bound*, exact for one server and near it for a heavy load. Rates in 1/s; all broadcast. Errors: ``Unstable``.
    *Source*: Morse, Queues, Inventories and Maintenance (1958); Karlin and McGregor 1958.

    >>> round(relaxation_time(arrival_rate=0.81, service_rate=1.0, servers=1), 9)
    100.0
    """
    rate, mu, count = (
        positive("arrival_rate", arrival_rate),
        positive("service_rate", service_rate),
        np.asarray(servers),
    )
    stable(rate, 1 / mu, count.astype(np.int64))
    return plain(np.maximum(1 / (np.sqrt(count * mu) - np.sqrt(rate)) ** 2, 1 / mu))


def replicas_for_objective(
    *, arrival_rate: float, service_rate: float, wait: float, p: float = 0.99, slots: int = 1
) -> float:
    """Least number of replicas, each of ``slots``, with which a fraction ``p`` waits at most ``wait``.

    *Exact* for M/M/c. Rates in 1/s, ``wait`` in s. Errors: ``InputError``. *Source*:
    ``staffing.servers_for_wait_quantile``.

    >>> replicas_for_objective(arrival_rate=8.0, service_rate=1.0, wait=0.5, slots=4)
    4.0
    """
    servers = staffing.servers_for_wait_quantile(wait, p, arrival_rate=arrival_rate, service_rate=service_rate)
    return float(np.ceil(servers / one_whole("slots", slots)))


def _hours(arrival_rates: npt.ArrayLike, servers: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Hours in which anybody comes."""
    rates = np.atleast_1d(non_negative("arrival_rates", np.asarray(arrival_rates, float)))
    count = np.broadcast_to(np.asarray(servers, float), rates.shape).astype(np.int64)
    if not rates.sum():
        raise InputError("arrival_rates", given="no arrivals", expected="a rate above 0 in some hour")
    return rates[rates > 0], count[rates > 0]


# A scenario


def solve_ownership(scenario: Ownership) -> Answer:
    """Closed forms of a fleet's cost over its horizon, and of the wait under its load.

    - ``capital``, ``energy_cost``, ``maintenance``, ``total_cost`` (USD), ``cost_per_hour``, ``energy`` (kWh),
      ``utilisation`` of what is on, ``accelerators_on``. Order 0 takes all at full work, order 1 the work there is.
    - With a ``rental``: ``rental_cost`` (by the hour of use; of the accelerators on where a load is given),
      ``break_even_utilisation``, ``break_even_horizon`` (s), each where there is one.
    - With a load: ``cost_per_request`` (USD/request), ``cost_per_token`` (USD/token), ``rental_per_request``,
      ``prob_wait``, ``wait_mean``, ``wait_p99`` (s), ``within_objective`` (share), ``cost_per_request_within`` (for
      one that met it), ``replicas_needed`` to keep the objective for 99 % at the peak. Order 1 takes mean load and mean
      replicas as one steady M/M/c, order 2 each hour as one.

    Errors: ``Unstable`` where the load of the whole cycle exceeds what is on.
    """
    s = scenario
    s.check_stable()
    seconds, costs = si(s.horizon), s.costs(s.on, s.busy)
    full = s.costs(float(s.accelerators), float(s.accelerators))
    rows = [
        _row("capital", costs.capital, "USD", 1, "straight line"),
        *_rungs("energy_cost", full.energy, costs.energy, "USD"),
        _row("maintenance", costs.maintenance, "USD", 1, "share of the purchase a year"),
        *_rungs("total_cost", full.total, costs.total, "USD"),
        *_rungs("cost_per_hour", full.total / seconds * HOUR, costs.total / seconds * HOUR, "USD/hour"),
        *_rungs("energy", s.energy(s.accelerators, s.accelerators), s.energy(s.on, s.busy), "kWh"),
        _row("utilisation", s.busy / s.on, "", 1, "mean load over mean capacity"),
        _row("accelerators_on", s.on, "", 1, "mean of the hours"),
    ]
    notes = [*_rented(s, rows), *(_loaded(s, rows) if s.rate is not None else [])]
    what = f"{s.accelerators} x {s.accelerator.name}, horizon {pretty(seconds, 's')}"
    return Answer(scenario=s.name, estimates=tuple(rows), how="; ".join([what, *notes]))


def _rented(s: Ownership, rows: list[Rung]) -> list[str]:
    if s.rental is None:
        return []
    hours, rental = si(s.horizon) / HOUR, si(s.rental)
    # paid by the hour of use where no load says how many are on
    used, paid = (s.busy, "rented by the hour of use") if s.rate is None else (s.on, "rented while on")
    rows.append(_row("rental_cost", used * rental * hours, "USD", 1, paid))
    idle, full = s.costs(s.accelerators, 0.0).total, s.costs(s.accelerators, s.accelerators).total
    each = s.accelerators * hours
    share = float(break_even_utilisation(fixed=idle / each, proportional=(full - idle) / each, rental=rental))
    costs = s.costs(s.on, s.busy)
    running = (costs.energy + costs.maintenance) / si(s.horizon)
    after = float(break_even_horizon(outlay=s.outlay, running=running, rental=used * rental / HOUR))
    notes = []
    if share <= 1:
        rows.append(_row("break_even_utilisation", share, "", 1, "rented by the hour of use"))
    else:
        notes.append("renting by the hour of use is cheaper at any utilisation")
    if after <= si(s.service_life):
        rows.append(_row("break_even_horizon", after, "s", 1, f"payback, no resale; {paid}"))
    else:
        notes.append("the purchase is not paid back within the service life")
    return notes


def _loaded(s: Ownership, rows: list[Rung]) -> list[str]:
    seconds, rate, mu = si(s.horizon), float(s.hourly_rates.mean()), 1 / s.mean_service
    total = s.costs(s.on, s.busy).total
    full = s.costs(s.accelerators, s.accelerators).total
    capacity = s.replicas * s.slots * mu
    ideal = float(cost_per_request(cost_rate=full / seconds, arrival_rate=capacity))
    real = float(cost_per_request(cost_rate=total / seconds, arrival_rate=rate))
    rows += _rungs("cost_per_request", ideal, real, "USD/request")
    if s.tokens_per_request is not None:
        tokens = s.tokens_per_request
        rows += _rungs("cost_per_token", ideal / tokens, real / tokens, "USD/token")
    if s.rental is not None:
        paid = s.on * si(s.rental) / HOUR
        each = float(cost_per_request(cost_rate=paid, arrival_rate=rate))
        rows.append(_row("rental_per_request", each, "USD/request", 1, "rented while on"))
    return _waiting(s, rows, rate, mu, real)


def _waiting(s: Ownership, rows: list[Rung], rate: float, mu: float, cost: float) -> list[str]:
    """Order 1, one steady queue, and order 2, one an hour; neither where it would grow without limit."""
    notes = []
    mean_servers = max(1, round(float(s.hourly_replicas.mean()) * s.slots))
    rates, servers = s.hourly_rates, s.hourly_replicas * s.slots
    crowded = np.flatnonzero(rates >= servers * mu)
    plans: list[tuple[int, str, Floats, Floats]] = []
    if rate < mean_servers * mu:
        plans.append((1, "M/M/c at the mean load", np.array([rate]), np.array([float(mean_servers)])))
    if not len(crowded):
        plans.append((2, "pointwise stationary M/M/c", rates, servers))
    else:
        notes.append(f"the load exceeds what is on in {len(crowded)} of {len(rates)} hours: no pointwise steady state")
    found: dict[str, list[Rung]] = {}
    for order, source, hourly, count in plans:
        doubt = _doubt(s, order, mu)
        queue = Hourly(arrival_rates=hourly, service_rate=mu, servers=count)
        values = {
            "prob_wait": (pointwise_prob_wait(**queue), ""),
            "wait_mean": (pointwise_mean_wait(**queue), "s"),
            "wait_p99": (pointwise_wait_quantile(0.99, **queue), "s"),
        }
        if s.wait_objective is not None:
            within = 1 - pointwise_wait_tail(si(s.wait_objective), **queue)
            values["within_objective"] = (within, "")
            if within > 0:
                values["cost_per_request_within"] = (cost / within, "USD/request")
        for metric, (amount, unit) in values.items():
            found.setdefault(metric, []).append(_row(metric, amount, unit, order, source, doubt))
    rows += [estimate for ladder in found.values() for estimate in ladder]
    if s.wait_objective is not None:
        peak = replicas_for_objective(
            arrival_rate=float(rates.max()), service_rate=mu, wait=si(s.wait_objective), slots=s.slots
        )
        rows.append(_row("replicas_needed", peak, "", 2, "M/M/c at the peak hour", _doubt(s, 0, mu)))
    return notes


def _doubt(s: Ownership, order: int, mu: float) -> str:
    """Which of a rung's conditions fails."""
    doubts = [] if isinstance(s.law("service"), Exponential) else ["Erlang C takes exponential service"]
    rates, servers = s.hourly_rates, s.hourly_replicas * s.slots
    if order == 1 and (rates.max() > rates.min()):
        doubts.append("the load is not steady")
    if doubts or order < 2:
        return "; ".join(doubts)
    if s.boot is not None and si(s.boot) and (np.roll(servers, 1) < servers).any():
        return "fewer replicas are on while others boot"
    came = rates > 0
    if rates.max() > rates.min():
        slow = relaxation_time(arrival_rate=rates[came], service_rate=mu, servers=servers[came])
        if np.max(slow) > HOUR / 10:
            return "the queue takes more than a tenth of an hour to settle"
    return ""


def _row(metric: str, amount: float, unit: str, order: int, source: str, doubt: str = "") -> Rung:
    return rung(metric, amount, unit, source, order, outside=doubt)


def _rungs(metric: str, full: float, real: float, unit: str) -> list[Rung]:
    return [_row(metric, full, unit, 0, "full work"), _row(metric, real, unit, 1, "work that the load gives")]
