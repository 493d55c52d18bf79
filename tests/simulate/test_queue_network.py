"""Open networks of queues: product form against Markov chain, simulation against both, and what is refused."""

import numpy as np
import pytest

import secondorder as so
from secondorder.errors import InputError, UnknownName, Unstable
from secondorder.scenarios.queue_network import QueueNetwork
from secondorder.simulate.queues.network import measure, run_network

PAIR = "web service=50 ms rate=8 request/s to=app:0.5; app service=80 ms servers=2 rate=1 request/s to=web:0.2"
ROOM = 45
"""Customers of each station in the chain; more come once in 10^12."""


def network(stations: str) -> QueueNetwork:
    return so.QueueNetwork(stations=stations)


def chain_of_two() -> tuple[float, float]:
    """Mean customers at the two stations of ``PAIR`` by the balance of its Markov chain, state by state."""
    rates, mean, servers, to = (8.0, 1.0), (0.05, 0.08), (1, 2), (0.5, 0.2)
    place = lambda n, m: n * ROOM + m  # noqa: E731
    generator = np.zeros((ROOM * ROOM, ROOM * ROOM))

    def flow(here: tuple[int, int], there: tuple[int, int], rate: float) -> None:
        if max(there) < ROOM:
            generator[place(*here), place(*there)] += rate
            generator[place(*here), place(*here)] -= rate

    for n in range(ROOM):
        for m in range(ROOM):
            flow((n, m), (n + 1, m), rates[0])
            flow((n, m), (n, m + 1), rates[1])
            first, second = min(n, servers[0]) / mean[0], min(m, servers[1]) / mean[1]
            if n:
                flow((n, m), (n - 1, m + 1), first * to[0])
                flow((n, m), (n - 1, m), first * (1 - to[0]))
            if m:
                flow((n, m), (n + 1, m - 1), second * to[1])
                flow((n, m), (n, m - 1), second * (1 - to[1]))
    generator[:, 0] = 1
    share = np.linalg.solve(generator.T, np.eye(ROOM * ROOM)[0]).reshape(ROOM, ROOM)
    numbers = np.arange(ROOM)
    return float(share.sum(axis=1) @ numbers), float(share.sum(axis=0) @ numbers)


def test_the_product_form_is_what_the_markov_chain_balances_to():
    found = so.solve(network(PAIR))
    customers = found.best("customers_mean").amount
    assert customers == pytest.approx(sum(chain_of_two()), rel=1e-9)
    assert found.best("response_mean").amount == pytest.approx(customers / 9, rel=1e-9)
    without_feedback = so.solve(network(PAIR.replace("to=web:0.2", ""))).best("customers_mean").amount
    assert without_feedback < 0.9 * customers


def test_a_network_of_one_station_is_a_queue():
    alone = so.solve(network("one service=100 ms rate=8 request/s")).best("wait_mean_station_one")
    queue = so.solve(so.Queue(arrivals="poisson 8 request/s", service="exponential 100 ms")).best("wait_mean")
    assert alone.amount == pytest.approx(queue.amount)


def test_customers_that_come_back_are_geometric_visits():
    found = so.solve(network("one service=100 ms rate=2 request/s to=one:0.75"))
    assert found.best("visits_station_one").amount == pytest.approx(4)
    assert found.best("utilisation_station_one").amount == pytest.approx(0.8)
    assert found.best("response_mean").amount == pytest.approx(4 * 0.1 / (1 - 0.8))


def test_little_holds_in_a_run_and_utilisation_is_rate_times_service():
    scenario = network(PAIR)
    found = measure(scenario, run_network(scenario, 20_000, seed=3))
    assert found["customers_mean"] == pytest.approx(9 * found["response_mean"], rel=0.05)
    assert found["utilisation_station_web"] == pytest.approx(scenario.utilisations[0], rel=0.05)


def test_a_service_that_is_not_exponential_takes_the_product_form_out_of_its_domain():
    spread = so.solve(network("one service=100 ms scv=4 rate=5 request/s"))
    product, moments = spread["wait_mean_station_one"][1:]
    assert "not exponential at one" in product.outside
    assert moments.amount == pytest.approx(2.5 * product.amount)  # (1 + scv)/2: Pollaczek and Khinchine
    constant = so.solve(network("one service=100 ms scv=0 rate=5 request/s"))["wait_mean_station_one"]
    assert constant[2].amount == pytest.approx(0.5 * product.amount)


@pytest.mark.parametrize(
    ("stations", "error", "text"),
    [
        ("web service=1 s rate=0.1 request/s to=db:0.5", UnknownName, "db"),
        ("web service=1 s rate=0.1 request/s to=web:1", InputError, "never leave"),
        ("web service=1 s rate=0.1 request/s; app service=1 s", InputError, "nobody who comes to app"),
        ("web service=1 s; app service=1 s", InputError, "none with a rate"),
        ("web service=1 s rate=0.1 request/s to=web", InputError, "shares such as"),
        ("web service=1 s rate=0.1 request/s to=web:0.6 app:0.6; app service=1 s", InputError, "at most 1"),
        ("web service=1 s rate=0.1 request/s; web service=1 s", InputError, "a different name for each"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(stations, error, text):
    with pytest.raises(error, match=text):
        network(stations)


def test_a_station_with_too_much_work_is_unstable_for_both():
    full = network("web service=1 s rate=0.1 request/s to=app:1; app service=11 s")
    for verb in (so.solve, so.simulate):
        with pytest.raises(Unstable, match=r"utilisation 1\.1 of app"):
            verb(full)
