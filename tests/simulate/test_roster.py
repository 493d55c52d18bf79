"""A queue through the day: its chain against steady queues, an ordinary equation and the simulation."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import secondorder as so
from secondorder.analytic.queues import multiserver, time_varying
from secondorder.errors import InputError, Unstable
from secondorder.scenarios.roster import Roster

DESK = so.Roster(rate="12 request/hour", profile="0.5 1.5", service="exponential 5 min", servers="1,2")


def test_hours_that_are_all_alike_are_a_steady_queue():
    found = time_varying.solve(arrival_rates=[0.01] * 3, service_rate=1 / 300, servers=[4] * 3)
    steady = {"arrival_rate": 0.01, "service_rate": 1 / 300, "servers": 4}
    assert found.mean_wait == pytest.approx(multiserver.mean_wait(**steady), rel=1e-6)
    assert found.prob_wait == pytest.approx(multiserver.prob_wait(**steady), rel=1e-6)


def test_with_servers_for_all_the_number_follows_its_differential_equation():
    """``m' = lambda - mu m`` of M(t)/M/infinity, which an hour's own rate is far from."""
    rates, mu = np.array([0.002, 0.02, 0.005]), 1 / 1_800

    def slope(t: float, m: np.ndarray) -> np.ndarray:
        return np.array([rates[int(t // 3_600) % 3] - mu * m[0], m[0]])

    start = np.array([rates[-1] / mu, 0.0])
    averages = []
    for hour in range(30):
        span = (hour * 3_600.0, (hour + 1) * 3_600.0 - 1e-6)
        end = solve_ivp(slope, span, [start[0], 0.0], rtol=1e-10, atol=1e-10).y[:, -1]
        averages.append(end[1] / 3_600)
        start = end
    found = time_varying.solve(arrival_rates=rates, service_rate=mu, servers=[90] * 3)
    assert found.mean_number == pytest.approx(np.array(averages[-3:]), rel=1e-6)
    assert np.abs(found.mean_number / (rates / mu) - 1).max() > 0.2
    assert found.prob_wait < 1e-6


def test_the_chain_is_within_the_interval_of_a_long_run_and_an_hour_alone_is_not():
    """Servers who go off duty finish: to hand a customer back at once would make it 376 s."""
    pointwise, chain = so.solve(DESK)["wait_mean"][1:]
    runs = so.simulate(DESK, seed=2, replications=40).best("wait_mean")
    assert runs.low < chain.amount < runs.high
    assert pointwise.amount > runs.high
    assert runs.high < 376


def test_services_that_are_not_exponential_take_the_chain_out_of_its_domain():
    spread = so.Roster(rate="12 request/hour", profile="0.5 1.5", service="lognormal 5 min scv=3", servers="1,2")
    assert "not exponential" in so.solve(spread)["wait_mean"][-1].outside


def test_an_hour_that_is_too_full_has_no_pointwise_value_and_the_cycle_has_one():
    found = so.solve(so.Roster(rate="12 request/hour", profile="0.2 1.8", service="exponential 5 min", servers="1,2"))
    assert [each.order for each in found["wait_mean"]] == [0, 1, 2]
    full = so.solve(so.Roster(rate="12 request/hour", profile="0.2 1.8", service="exponential 5 min", servers="2,1"))
    assert [each.order for each in full["wait_mean"]] == [0, 2]


@pytest.mark.parametrize("servers", ["1,2,3", "0", "1.5", "-1,4"])
def test_servers_that_are_no_roster_are_refused(servers):
    with pytest.raises(InputError, match="servers"):
        Roster(rate="12 request/hour", profile="0.5 1.5", service="5 min", servers=servers)


def test_more_work_than_a_cycle_can_do_is_unstable_for_both():
    full = so.Roster(rate="20 request/hour", profile="0.5 1.5", service="exponential 5 min", servers="1,2")
    for verb in (so.solve, so.simulate):
        with pytest.raises(Unstable, match="below 18 request/hour"):
            verb(full)
