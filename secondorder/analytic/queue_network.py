"""An open network of queues in closed form.

=====  ===================================================================================================
order  response
=====  ===================================================================================================
0      visits times services: a customer alone
1      each station M/M/c at its own rate: the product form, exact for exponential services
2      two moments of each flow (the Queueing Network Analyzer), where a service is not exponential
=====  ===================================================================================================
"""

from collections.abc import Iterator, Sequence

import numpy as np

from secondorder.analytic.queues import multiserver, network_analyser
from secondorder.answers.answer import Answer, ranked
from secondorder.answers.declared import QUEUE_NETWORK
from secondorder.answers.estimate import Claim, Rung, rung
from secondorder.answers.metric import unit_of
from secondorder.scenarios.queue_network import QueueNetwork

PRODUCT = "Jackson 1957 (product form)"


def solve_queue_network(scenario: QueueNetwork) -> Answer:
    """The ladder of each metric of an open network.

    ``response_mean`` of a customer from its arrival until it leaves the network, and ``wait_mean_station_NAME`` of a
    visit, in s; ``utilisation_station_NAME`` and ``visits_station_NAME`` of a customer; ``customers_mean`` in all
    stations together.

    *Exact* at order 1 for Poisson arrivals from outside, exponential services and a choice of the way that depends on
    nothing else; the traffic equations ``a = r + a P`` hold for any. Errors: ``Unstable``. *Source*: Jackson, Networks
    of waiting lines, Operations Research 5 (1957), theorem 1; order 2: Whitt, Bell System Technical Journal 62 (1983).

    >>> tandem = QueueNetwork(stations=["web service=500 ms rate=1 request/s to=data:1", "data service=800 ms"])
    >>> [str(rung) for rung in solve_queue_network(tandem)["response_mean"]]
    ['1.3 s', '5 s']
    """
    scenario.check_stable()
    rates = np.array(scenario.arrival_rates)
    odd = [name for name, scv in zip(scenario.names, scenario.scvs, strict=True) if scv != 1]
    outside = f"services are not exponential at {', '.join(odd)}" if odd else ""
    rows = [*_waits(scenario, [0.0] * len(rates), 0, "a customer alone", Claim.BOUND, "")]
    rows += _waits(scenario, _erlang(scenario), 1, PRODUCT, Claim.EXACT, outside)
    if odd:
        source = "Queueing Network Analyzer (two moments)"
        rows += _waits(scenario, _two_moments(scenario), 2, source, Claim.APPROXIMATION, "")
    total = sum(scenario.rates)
    for name, load, rate in zip(scenario.names, scenario.utilisations, rates, strict=True):
        rows += [
            _rung(f"utilisation_station_{name}", load, 1, "Little 1961 (exact)", Claim.EXACT, ""),
            _rung(f"visits_station_{name}", rate / total, 1, "traffic equations (exact)", Claim.EXACT, ""),
        ]
    how = f"closed forms, {len(rates)} stations, the busiest at utilisation {max(scenario.utilisations):.4g}"
    return Answer(scenario=scenario.name, estimates=ranked(rows), how=how)


def _erlang(scenario: QueueNetwork) -> list[float]:
    """Mean wait of a visit to each station in s, as M/M/c."""
    each = zip(scenario.arrival_rates, scenario.services, scenario.servers, strict=True)
    return [
        float(multiserver.mean_wait(arrival_rate=rate, service_rate=1 / service, servers=servers))
        for rate, service, servers in each
    ]


def _two_moments(scenario: QueueNetwork) -> list[float]:
    found = network_analyser.solve(
        external_rate=scenario.rates,
        routing=scenario.routing,
        mean_service=scenario.services,
        service_scv=scenario.scvs,
        servers=np.array(scenario.servers),
    )
    return [float(wait) for wait in found.mean_wait]


def _waits(
    scenario: QueueNetwork, waits: Sequence[float], order: int, source: str, claim: Claim, outside: str
) -> Iterator[Rung]:
    """What follows from the wait of a visit at each station."""
    inside = float(np.array(scenario.arrival_rates) @ (np.array(waits) + np.array(scenario.services)))
    amounts = {"response_mean": inside / sum(scenario.rates), "customers_mean": inside}
    amounts |= {f"wait_mean_station_{name}": wait for name, wait in zip(scenario.names, waits, strict=True)}
    for metric, amount in amounts.items():
        yield _rung(metric, amount, order, source, claim, outside)


def _rung(metric: str, amount: float, order: int, source: str, claim: Claim, outside: str) -> Rung:
    return rung(metric, amount, unit_of(QUEUE_NETWORK, metric), source, order, outside=outside, claim=claim)
