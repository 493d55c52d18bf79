"""A queue through the day in closed form.

=====  ===================================================================================================
order  wait
=====  ===================================================================================================
0      the mean rate at the mean number of servers, as a steady M/M/c
1      each hour as a steady M/M/c of its own, weighted by its customers (the pointwise stationary approximation)
2      the Markov chain of the whole cycle, from hour to hour
=====  ===================================================================================================
"""

from collections.abc import Iterator
from contextlib import suppress

from secondorder.analytic import ownership
from secondorder.analytic.queues import multiserver, time_varying
from secondorder.answers.answer import Answer, ranked
from secondorder.answers.declared import ROSTER
from secondorder.answers.estimate import Claim, Rung, rung
from secondorder.answers.metric import unit_of
from secondorder.errors import InputError
from secondorder.laws import Exponential
from secondorder.quantities import si
from secondorder.scenarios.footprint import HOUR
from secondorder.scenarios.roster import Roster


def solve_roster(scenario: Roster) -> Answer:
    """The ladder of each metric of a queue through the day.

    ``wait_mean`` and ``wait_p99`` of all customers of a cycle in s, ``prob_wait`` the share who wait, ``utilisation``
    of the servers on duty.

    Order 1 is exact as hours grow long against the relaxation of the queue, and has no value where an hour brings more
    work than its servers do. Order 2 is exact for exponential services. Errors:
    ``Unstable``. *Source*: Green and Kolesar, The pointwise stationary approximation (1991); ``time_varying.solve``.

    >>> desk = Roster(rate="12 request/hour", profile="0.5 1.5", service="exponential 5 min", servers="1,2")
    >>> [str(rung) for rung in solve_roster(desk)["wait_mean"]]
    ['320 s', '364 s', '341 s']
    """
    scenario.check_stable()
    rows = [*_steady(scenario), *_pointwise(scenario), *_chain(scenario)]
    rows.append(_rung("utilisation", scenario.utilisation, 1, "Little 1961 (exact)", Claim.EXACT, ""))
    how = f"closed forms, a cycle of {scenario.hours} hours at utilisation {scenario.utilisation:.4g}"
    return Answer(scenario=scenario.name, estimates=ranked(rows), how=how)


def _shape(scenario: Roster) -> str:
    return "" if isinstance(scenario.law("service"), Exponential) else "services are not exponential"


def _steady(scenario: Roster) -> Iterator[Rung]:
    servers = max(1, round(scenario.mean_servers))
    mu = scenario.mean_servers / servers / scenario.mean_service
    rate = si(scenario.rate)
    amounts = {
        "wait_mean": multiserver.mean_wait(arrival_rate=rate, service_rate=mu, servers=servers),
        "wait_p99": multiserver.wait_quantile(0.99, arrival_rate=rate, service_rate=mu, servers=servers),
        "prob_wait": multiserver.prob_wait(arrival_rate=rate, service_rate=mu, servers=servers),
    }
    changes = "rate or servers change through the cycle" if scenario.hours > 1 else ""
    outside = "; ".join(filter(None, (changes, _shape(scenario))))
    for metric, amount in amounts.items():
        yield _rung(metric, float(amount), 0, f"the mean hour (M/M/{servers})", Claim.APPROXIMATION, outside)


def _pointwise(scenario: Roster) -> Iterator[Rung]:
    """Order 1; nothing where an hour is too full."""
    rates, servers, mean = scenario.hourly_rates, scenario.hourly_servers, scenario.mean_service
    if any(rate * mean >= count for rate, count in zip(rates, servers, strict=True) if rate):
        return
    queue = ownership.Hourly(arrival_rates=rates, service_rate=1 / mean, servers=servers)
    met = [(rate, count) for rate, count in zip(rates, servers, strict=True) if rate]
    relaxation = max(
        float(ownership.relaxation_time(arrival_rate=rate, service_rate=1 / mean, servers=count)) for rate, count in met
    )
    slow = scenario.hours > 1 and relaxation > HOUR / 4
    note = f"an hour forgets the one before within {relaxation / 60:.3g} min only" if slow else ""
    outside = "; ".join(filter(None, (note, _shape(scenario))))
    amounts = {
        "wait_mean": ownership.pointwise_mean_wait(**queue),
        "wait_p99": ownership.pointwise_wait_quantile(0.99, **queue),
        "prob_wait": ownership.pointwise_prob_wait(**queue),
    }
    for metric, amount in amounts.items():
        source = "Green and Kolesar 1991 (pointwise stationary)"
        yield _rung(metric, amount, 1, source, Claim.APPROXIMATION, outside)


def _chain(scenario: Roster) -> Iterator[Rung]:
    """Order 2; nothing where the chain is too large."""
    servers = scenario.hourly_servers
    with suppress(InputError):
        found = time_varying.solve(
            arrival_rates=scenario.hourly_rates, service_rate=1 / scenario.mean_service, servers=servers, hour=HOUR
        )
        for metric, amount in (("wait_mean", found.mean_wait), ("prob_wait", found.prob_wait)):
            yield _rung(metric, amount, 2, "the cycle's Markov chain", Claim.EXACT, _shape(scenario))


def _rung(metric: str, amount: float, order: int, source: str, claim: Claim, outside: str) -> Rung:
    return rung(metric, amount, unit_of(ROSTER, metric), source, order, outside=outside, claim=claim)
