"""Claims of theory about several engines: breakdowns, opposite routes, and what the ladder of a deployment says."""

import math

import numpy as np
import pytest

import secondorder as so
from secondorder.analytic.deployment import retry_equilibrium
from secondorder.analytic.deployment.ladder import availability, solve_deployment
from secondorder.analytic.deployment.opposite_routes import is_stable, throughput
from secondorder.analytic.queues import multiserver, multiserver_breakdowns
from secondorder.analytic.serving import cache_feedback
from secondorder.errors import Unstable
from secondorder.scenarios.cache_feedback import CacheFeedback
from secondorder.scenarios.opposite_routes import OppositeRoutes
from secondorder.simulate import deployment, serving
from secondorder.simulate.deployment.cache_feedback import serve_contexts
from secondorder.simulate.deployment.opposite_routes import numbers
from secondorder.validation.catalogue.deployment import exponential_server, twins
from secondorder.validation.catalogue.judge import run_twin
from secondorder.validation.verdicts import Verdict

CHAT = so.Serving(
    model="llama_3_1_8b", accelerator="h100_sxm", arrivals="poisson 40 request/s", lengths="azure_conv_2023"
)


# Breakdowns


def truncated(rate, mu, servers, mtbf, mttr, most=400):
    """The mean number by solving the balance of the chain, cut at ``most`` customers."""
    width = servers + 1
    moves = np.zeros(((most + 1) * width,) * 2)
    for n in range(most + 1):
        for up in range(width):
            here = n * width + up
            if n < most:
                moves[here, here + width] = rate
            if n and up:
                moves[here, here - width] = mu * min(n, up)
            if up:
                moves[here, here - 1] = up / mtbf
            if up < servers:
                moves[here, here + 1] = (servers - up) / mttr
    balance = (moves - np.diag(moves.sum(axis=1))).T
    balance[-1] = 1
    law = np.linalg.solve(balance, np.eye(len(balance))[-1]).reshape(most + 1, width)
    return float(np.arange(most + 1) @ law.sum(axis=1))


@pytest.mark.parametrize(
    ("rate", "servers", "mtbf", "mttr"),
    [(0.5, 1, 9.0, 1.0), (1.2, 2, 20.0, 5.0), (2.0, 3, 5.0, 1.0), (0.3, 2, 1.0, 2.0)],
)
def test_breakdowns_agree_with_the_chain_solved_by_brute_force(rate, servers, mtbf, mttr):
    law = multiserver_breakdowns.solve(arrival_rate=rate, service_rate=1.0, servers=servers, mtbf=mtbf, mttr=mttr)
    assert law.mean_number == pytest.approx(truncated(rate, 1.0, servers, mtbf, mttr), rel=1e-6)


def test_servers_that_hardly_fail_are_those_of_m_m_c():
    slow = multiserver_breakdowns.mean_response(arrival_rate=0.5, service_rate=1.0, servers=1, mtbf=1e9, mttr=1e-3)
    assert slow == pytest.approx(float(multiserver.mean_response(arrival_rate=0.5, service_rate=1.0)), rel=1e-6)


def test_breakdowns_beyond_their_capacity_are_refused():
    with pytest.raises(Unstable, match=r"breakdowns leave the servers 0\.8 request/s"):
        multiserver_breakdowns.solve(arrival_rate=0.9, service_rate=1.0, servers=1, mtbf=4.0, mttr=1.0)


# Opposite routes


def slope(load, start, last_first=True):
    """Requests that pile up in a step, by least squares over the second half."""
    routes = OppositeRoutes(rate=load * 768 / 608, last_first=last_first)
    inside = np.array(numbers(routes, 12_000, start=start, seed=1))[6_000:]
    return float(np.polyfit(np.arange(6_000), inside, 1)[0])


@pytest.mark.parametrize("start", [0, 2_000])
def test_opposite_routes_diverge_at_a_load_of_61_percent_and_not_at_53(start):
    assert slope(0.61, start) > 0.1
    assert slope(0.53, start) < 0.02
    assert slope(0.9, start, last_first=False) < 0.02  # who enters first goes first: stable


def test_the_virtual_station_tells_the_two_apart():
    for load, stable in ((0.53, True), (0.55, True), (0.57, False), (0.61, False)):
        assert is_stable(OppositeRoutes(rate=load * 768 / 608)) is stable
    assert is_stable(OppositeRoutes(rate=0.9 * 768 / 608, last_first=False))


def test_what_ends_in_a_step_is_what_the_virtual_station_lets_through():
    routes = OppositeRoutes(rate=0.61 * 768 / 608)
    assert 2 * routes.rate - slope(0.61, 0) == pytest.approx(throughput(routes), rel=0.03)
    assert 2 * routes.rate - slope(0.61, 0) < throughput(routes)
    with pytest.raises(Unstable, match="of its budget"):
        throughput(OppositeRoutes(rate=1.3))


# The ladder


def test_a_random_split_is_one_replica_at_its_share():
    whole = so.solve(so.Deployment(serving=CHAT, replicas=4, router="random"))
    one = so.solve(
        so.Serving(
            model="llama_3_1_8b", accelerator="h100_sxm", arrivals="poisson 10 request/s", lengths="azure_conv_2023"
        )
    )
    for metric in ("ttft_p99", "tpot_mean", "e2el_p99"):
        assert whole.best(metric).amount == pytest.approx(one.best(metric).amount)
    assert whole.best("saturation_rate").amount == pytest.approx(4 * one.best("saturation_rate").amount)
    assert whole.best("running_mean").amount == pytest.approx(4 * one.best("running_mean").amount)
    assert not whole.best("ttft_p99").outside


def test_what_the_closed_form_leaves_out_is_said():
    said = {
        "a random split is taken for the router": {"router": "least-outstanding"},
        "replicas are taken for up all the time": {"router": "random", "faults": "kill 0 at=1 s restart=1 s"},
        "nobody is taken to give up": {"router": "random", "timeout": "5 s"},
        "the replicas are not alike": {"router": "random", "others": "1 accelerator=a100_80gb"},
    }
    for text, changes in said.items():
        assert text in solve_deployment(so.Deployment(serving=CHAT, replicas=4, **changes)).best("ttft_p99").outside


def test_failures_take_their_share_of_the_capacity():
    failing = so.Deployment(serving=CHAT, replicas=4, faults="random 3 h restart=1 h")
    assert availability(failing) == pytest.approx(0.75)
    sound = so.Deployment(serving=CHAT, replicas=4)
    rates = [solve_deployment(each).best("saturation_rate").amount for each in (failing, sound)]
    assert rates[0] == pytest.approx(0.75 * rates[1])
    with pytest.raises(Unstable, match=r"4 replicas that are up 0\.1 of the time"):
        solve_deployment(so.Deployment(serving=CHAT, replicas=4, faults="random 1 h restart=9 h"))


# Retries


def late(attempts):
    return math.exp(-(1 - attempts) * 8) if attempts < 1 else 1.0


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.5, 0.6])
def test_attempts_end_at_a_stable_balance_on_their_side_of_the_unstable_one(rate):
    """By going from a rate of attempts to the one that it brings about, over and over."""
    found = retry_equilibrium.balances(rate=rate, retries=3, failing=late)
    assert len(found) in (1, 3)
    for start in np.linspace(rate, 4 * rate, 41):
        attempts = start
        for _ in range(2_000):
            attempts = rate * sum(late(attempts) ** k for k in range(4))
        reached = found[0] if len(found) == 1 or start < found[1] else found[2]
        assert attempts == pytest.approx(reached, rel=1e-9)


def test_a_retry_storm_outlasts_its_cause_where_there_are_two_balances():
    """A replica is away for two minutes. What piled up comes again, and attempts stay four times as many."""
    tails = []
    for rate in (0.5, 0.2):  # with a bad balance beside the good one, and without
        scenario = so.Deployment(
            serving=exponential_server(rate), replicas=1, timeout="8 s", withdraw=False, retries=3, backoff="20 s",
            faults="kill 0 at=200 s restart=2 min", after_failure="moved",
        )  # fmt: skip
        drawn = serving.draw(scenario.serving, int(3_000 * rate), 1)
        requests = deployment.run(scenario, drawn, seed=1).requests
        tails.append(requests[requests["arrival"].between(2_000, 2_800)]["attempts"].mean())
        calm = requests[requests["arrival"] < 150]["attempts"].mean()
        assert calm < 1.2
    assert len(retry_equilibrium.balances(rate=0.5, retries=3, failing=late)) == 3
    assert tails[0] > 3.5
    assert tails[1] < 1.1


# A prefix cache that a backlog empties


def cache_at(rate, **options):
    return serve_contexts(CacheFeedback(rate=rate), 40_000, seed=1, **options)


def test_the_good_state_of_a_cache_ends_just_below_its_collapse():
    assert cache_feedback.collapse_rate(CacheFeedback(rate=1.0)) == pytest.approx(10.8, rel=1e-3)
    assert cache_at(10.3).inside[-10_000:].mean() < 100
    assert cache_at(11.0).inside[-10_000:].mean() > 1_000
    with pytest.raises(Unstable, match="more than the engine can compute"):
        cache_feedback.good_state(CacheFeedback(rate=11.0))


def test_a_backlog_is_worked_off_below_the_rate_of_misses_and_never_above():
    border = cache_feedback.recovery_rate(CacheFeedback(rate=1.0))
    assert cache_at(0.95 * border, flood=1_100).inside[-10_000:].mean() < 60
    assert cache_at(1.05 * border, flood=1_100).inside[-10_000:].mean() > 1_100


def test_a_cache_with_two_states_says_so_and_one_with_one_does_not():
    two, one = (
        run_twin(next(each for each in twins() if each.title == f"cache feedback at {rate}/s"), budget=600_000)
        for rate in (9, 7)
    )
    assert two[0].verdict is Verdict.TWO_STATES
    assert "the two do not meet" in two[0].how
    assert one[0].verdict is Verdict.AGREES
