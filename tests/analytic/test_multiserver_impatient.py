"""Erlang-A against the generator of its chain, against customers followed one by one, and at its limits."""

import heapq
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

import secondorder as so
from secondorder.analytic.queues import multiserver, multiserver_finite
from secondorder.analytic.queues import multiserver_impatient as erlang_a
from secondorder.analytic.queues.ladder import solve_queue
from secondorder.errors import InputError
from secondorder.simulate.statistics.intervals import student

OVERLOAD = {"arrival_rate": 10.0, "service_rate": 1.0, "patience": 2.0, "servers": 9}
CASES = [OVERLOAD, {**OVERLOAD, "arrival_rate": 7.0}, {"arrival_rate": 3.0, "service_rate": 2.0, "patience": 0.3}]


def stationary(queue, size=200):
    """The law of the number inside, from the generator of the chain and its null space."""
    rate, mu, theta, c = queue["arrival_rate"], queue["service_rate"], 1 / queue["patience"], queue.get("servers", 1)
    n = np.arange(size)
    generator = np.diag(np.full(size - 1, rate), 1)
    generator += np.diag((np.minimum(n, c) * mu + np.maximum(n - c, 0) * theta)[1:], -1)
    generator -= np.diag(generator.sum(axis=1))
    law = np.linalg.lstsq(np.vstack([generator.T, np.ones(size)]), np.eye(size + 1)[size], rcond=None)[0]
    return law, generator


def tagged(queue, size=120):
    """Sub-generator of a customer with ``j`` before it in the line, and the rates at which it is served."""
    mu, theta, c = queue["service_rate"], 1 / queue["patience"], queue.get("servers", 1)
    j = np.arange(size)
    leave = c * mu + j * theta  # one before it is served or gives up; at j = 0 it is served itself
    moves = np.diag(leave[1:], -1) - np.diag(leave + theta)
    served = np.zeros(size)
    served[0] = c * mu
    return moves, served


@pytest.mark.parametrize("queue", CASES)
def test_the_means_are_those_of_the_chain(queue):
    law, _ = stationary(queue)
    c, n = queue.get("servers", 1), np.arange(law.size)
    waiting = np.maximum(n - c, 0) @ law
    assert erlang_a.prob_wait(**queue) == pytest.approx(law[c:].sum(), rel=1e-9)
    assert erlang_a.mean_number(**queue) == pytest.approx(n @ law, rel=1e-9)
    assert erlang_a.mean_wait(**queue) == pytest.approx(waiting / queue["arrival_rate"], rel=1e-9)
    lost = waiting / queue["patience"] / queue["arrival_rate"]
    assert erlang_a.abandonment_prob(**queue) == pytest.approx(lost, rel=1e-9)
    busy = np.minimum(n, c) @ law * queue["service_rate"]
    assert busy == pytest.approx(queue["arrival_rate"] * (1 - lost), rel=1e-9)


@pytest.mark.parametrize("queue", CASES)
def test_the_waits_are_those_of_a_customer_followed_through_the_line(queue):
    law, _ = stationary(queue)
    moves, served = tagged(queue)
    met = law[queue.get("servers", 1) :][: served.size]
    reached = np.linalg.solve(-moves, served)  # the probability of being served, from each place
    through = met @ reached
    share = 1 - law[queue.get("servers", 1) :].sum() + through
    assert erlang_a.prob_wait_served(**queue) == pytest.approx(through / share, rel=1e-9)
    assert 1 - erlang_a.abandonment_prob(**queue) == pytest.approx(share, rel=1e-9)
    assert erlang_a.mean_wait_served(**queue) == pytest.approx(met @ np.linalg.solve(-moves, reached) / share, rel=1e-9)
    for t in (0.05, 0.4, 1.5):
        later = met @ expm(moves * t)
        assert erlang_a.wait_tail(t, **queue) == pytest.approx(later.sum(), rel=1e-8)
        assert erlang_a.wait_tail_served(t, **queue) == pytest.approx(later @ reached / share, rel=1e-8)


@pytest.mark.parametrize("queue", CASES)
def test_the_response_is_the_wait_and_a_service(queue):
    from scipy.integrate import quad

    mu = queue["service_rate"]

    def late(s, t):
        return mu * math.exp(-mu * s) * erlang_a.wait_tail_served(t - s, **queue)

    for t in (0.1, 1.0, 3.0):
        waited = quad(late, 0, t, args=(t,))[0]
        assert erlang_a.response_tail_served(t, **queue) == pytest.approx(math.exp(-mu * t) + waited, rel=1e-7)


def follow(queue, customers, rng):
    """Customers one by one: the first server to be free, or patience."""
    rate, mu, patience, c = (queue[name] for name in ("arrival_rate", "service_rate", "patience", "servers"))
    now = np.cumsum(rng.exponential(1 / rate, customers))
    service, limit = rng.exponential(1 / mu, customers), rng.exponential(patience, customers)
    free, waits, gone = [0.0] * c, np.empty(customers), np.zeros(customers, bool)
    for i in range(customers):
        waits[i] = max(free[0] - now[i], 0.0)
        if waits[i] > limit[i]:
            waits[i], gone[i] = limit[i], True
        else:
            heapq.heapreplace(free, now[i] + waits[i] + service[i])
    return waits, gone, service


def test_customers_followed_one_by_one_have_these_numbers():
    rng = np.random.default_rng(2)
    rows = []
    for _ in range(12):
        waits, gone, service = (x[500:] for x in follow(OVERLOAD, 15_000, rng))
        kept = waits[~gone]
        wait, response = (
            float(getattr(erlang_a, f"{name}_quantile_served")(0.9, **OVERLOAD)) for name in ("wait", "response")
        )
        means = [gone.mean(), waits.mean(), kept.mean(), (waits > 0).mean(), (kept > 0).mean()]
        rows.append([*means, (kept > wait).mean(), (kept + service[~gone] > response).mean()])
    names = ("abandonment_prob", "mean_wait", "mean_wait_served", "prob_wait", "prob_wait_served")
    expected = [float(getattr(erlang_a, name)(**OVERLOAD)) for name in names] + [0.1, 0.1]
    for seen, exact in zip(np.array(rows).T, expected, strict=True):
        interval = student(seen, 0.999)
        assert interval.low < exact < interval.high
        assert interval.high - interval.low < 0.3 * exact
    served, everyone = student(np.array(rows)[:, 3], 0.999), erlang_a.prob_wait_served(**OVERLOAD)
    assert not served.low < everyone < served.high  # of whom it is does matter


def test_the_ladder_says_of_whom_a_wait_is_the_mean():
    patience = so.Patience(limit="exponential 2 s")
    queue = so.Queue(arrivals="poisson 10 request/s", service="exponential 1 s", servers=9, patience=patience)
    answer = solve_queue(queue)
    assert answer.best("wait_mean").amount == pytest.approx(erlang_a.mean_wait_served(**OVERLOAD))
    assert "of the customers who are served" in answer.best("wait_mean").note
    assert answer.best("wait_mean_all").amount == pytest.approx(erlang_a.mean_wait(**OVERLOAD))
    assert "of all customers" in answer.best("wait_mean_all").note
    assert not answer["wait_mean"][0].in_domain  # nobody is alone at 111 % load
    simulated = so.simulate(queue, seed=3, replications=5, requests=20_000)
    for metric in ("wait_mean", "wait_mean_all", "wait_p99", "response_p99", "abandonment_prob", "number_mean"):
        assert simulated.best(metric).amount == pytest.approx(answer.best(metric).amount, rel=0.1)


@pytest.mark.parametrize(
    "patience",
    [
        so.Patience(limit="2 s"),
        so.Patience(limit="exponential 2 s", retries=1),
        so.Patience(limit="exponential 2 s", withdrawn=False),
    ],
)
def test_other_kinds_of_patience_have_no_erlang_a(patience):
    queue = so.Queue(arrivals="poisson 4 request/s", service="exponential 1 s", servers=9, patience=patience)
    assert "abandonment_prob" not in solve_queue(queue)


def test_endless_patience_is_the_queue_of_erlang_c():
    queue = {"arrival_rate": 8.0, "service_rate": 1.0, "servers": 9}
    for ours, theirs in (
        (erlang_a.mean_wait, multiserver.mean_wait),
        (erlang_a.mean_wait_served, multiserver.mean_wait),
        (erlang_a.prob_wait, multiserver.prob_wait),
    ):
        assert ours(**queue, patience=1e6) == pytest.approx(theirs(**queue), rel=1e-4)
    for p in (0.5, 0.9, 0.99):
        assert erlang_a.wait_quantile_served(p, **queue, patience=1e6) == pytest.approx(
            multiserver.wait_quantile(p, **queue), rel=1e-4
        )
        assert erlang_a.response_quantile_served(p, **queue, patience=1e6) == pytest.approx(
            multiserver.response_quantile(p, **queue), rel=1e-4
        )


def test_no_patience_at_all_is_a_loss_system():
    lost = multiserver_finite.law(arrival_rate=12.0, service_rate=1.0, servers=9, capacity=9)[-1]
    impatient = {"arrival_rate": 12.0, "service_rate": 1.0, "servers": 9, "patience": 1e-9}
    assert erlang_a.abandonment_prob(**impatient) == pytest.approx(float(lost), rel=1e-6)


def test_under_overload_the_wait_is_what_makes_the_rest_leave():
    """In the fluid limit ``1 - e^(-wait/patience) = 1 - m/arrival_rate``."""
    queue = {"arrival_rate": 1200.0, "service_rate": 1.0, "servers": 1000, "patience": 50.0}
    fluid = 50.0 * math.log(1.2)
    assert erlang_a.wait_quantile_served(0.5, **queue) == pytest.approx(fluid, rel=0.01)
    assert erlang_a.abandonment_prob(**queue) == pytest.approx(1 - 1 / 1.2, rel=1e-3)
    assert fluid < erlang_a.response_quantile_served(0.5, **queue) < fluid + 1.0


def test_the_quadrature_of_the_response_meets_its_closed_form(monkeypatch):
    for queue in CASES:
        closed = erlang_a.response_tail_served(1.0, **queue)
        monkeypatch.setattr(erlang_a, "LOST_DIGITS", -math.inf)
        assert erlang_a.response_tail_served(1.0, **queue) == pytest.approx(closed, rel=1e-9)
        monkeypatch.undo()


@settings(max_examples=60, deadline=None)
@given(load=st.floats(0.05, 3.0), servers=st.integers(1, 200), patience=st.floats(0.01, 1e3), p=st.floats(0.05, 0.995))
def test_quantiles_invert_their_tails_and_all_is_in_order(load, servers, patience, p):
    queue = {"arrival_rate": load * servers, "service_rate": 1.0, "servers": servers, "patience": patience}
    for name in ("wait", "response"):
        t = getattr(erlang_a, f"{name}_quantile_served")(p, **queue)
        tail = getattr(erlang_a, f"{name}_tail_served")(t, **queue)
        assert tail == pytest.approx(1 - p, rel=1e-6) if t > 0 else tail <= (1 - p) * (1 + 1e-9)
    assert 0 <= erlang_a.prob_wait_served(**queue) <= erlang_a.prob_wait(**queue) * (1 + 1e-12) <= 1 + 1e-11
    assert load * (1 - erlang_a.abandonment_prob(**queue)) < 1 + 1e-9


def test_arrays_broadcast_and_bad_input_is_refused():
    rates = np.array([5.0, 10.0])
    found = erlang_a.mean_wait_served(**{**OVERLOAD, "arrival_rate": rates})
    assert found[1] == erlang_a.mean_wait_served(**OVERLOAD)
    for bad in ({"patience": 0.0}, {"servers": 1.5}, {"arrival_rate": -1.0}):
        with pytest.raises(InputError):
            erlang_a.mean_wait(**{**OVERLOAD, **bad})
