"""The ladder of a queue: which closed form applies, what it claims, and that exact means exact."""

import math

import numpy as np
import pytest

import secondorder as so
from secondorder.analytic.queues.ladder import solve_queue
from secondorder.analytic.queues.orders.alone import _law_quantile
from secondorder.analytic.queues.orders.means import _repair
from secondorder.answers.estimate import Claim
from secondorder.errors import Unstable
from secondorder.simulate.queues import after, cut, measure, replicate
from secondorder.simulate.queues.run import COMPILED_FROM, has_recursion
from secondorder.simulate.statistics.intervals import student


def queue(arrivals="poisson 0.8 request/s", service="exponential 1 s", **options):
    return so.Queue(arrivals=arrivals, service=service, **options)


SLOW = "poisson 0.5 request/s"
SHARING = so.ProcessorSharing()
CLASSES = so.Priorities(shares=(0.25, 0.75), services=("deterministic 1 s", "erlang 1 s stages=2"))
BATCH = so.BatchService(per_item="0.1438 s", per_batch="1.8874 s")
SYSTEMS = {
    "M/M/1": queue(),
    "M/M/3": queue("poisson 2.1 request/s", servers=3),
    "M/D/1": queue(service="deterministic 1 s"),
    "M/D/2": queue("poisson 1.4 request/s", "deterministic 1 s", servers=2),
    "M/H2/1": queue(SLOW, "hyperexponential 1 s scv=4"),
    "M/E2/1": queue(service="erlang 1 s stages=2"),
    "M/LN/1": queue(SLOW, "lognormal 1 s scv=2"),
    "M/G/1, measured": queue(SLOW, so.laws.EmpiricalLaw([0.2, 0.7, 2.1])),
    "E2/M/1": queue(so.Renewal(gap="erlang 1.25 s stages=2")),
    "D/M/1": queue("deterministic 0.8 request/s"),
    "gamma/M/1": queue("gamma 0.7 request/s burstiness=0.5"),
    "MMPP/M/1": queue("markov 0.8 request/s rate_2=0.4 request/s sojourn_1=20 s sojourn_2=20 s"),
    "M/M/2/6": queue("poisson 2 request/s", servers=2, room=6),
    "M/G/3/3": queue("poisson 2 request/s", "lognormal 1 s scv=2", servers=3, room=3),
    "M/M/1-PS": queue(SLOW, discipline=SHARING),
    "M/E2/2-PS": queue("poisson 1.2 request/s", "erlang 1 s stages=2", servers=2, discipline=SHARING),
    "M/D/2/5-PS": queue("poisson 2 request/s", "deterministic 1 s", servers=2, room=5, discipline=SHARING),
    "set-up": queue(SLOW, setup="exponential 3 s"),
    "Erlang-A": queue("poisson 2.5 request/s", servers=2, patience=so.Patience(limit="exponential 2 s")),
    "priorities": queue("poisson 0.7 request/s", None, discipline=CLASSES),
    "priorities, 2 servers": queue("poisson 1.4 request/s", servers=2, discipline=so.Priorities(shares=(0.5, 0.5))),
    "preemptive": queue("poisson 0.7 request/s", discipline=so.Priorities(shares=(0.5, 0.5), preemptive=True)),
    "take all": queue("poisson 2 request/s", None, discipline=BATCH),
    "batches of 8": queue(
        "poisson 1.8 request/s", None, discipline=so.BatchService(per_item="0.1438 s", per_batch="1.8874 s", most=8)
    ),
    "random": queue("poisson 1.4 request/s", "erlang 1 s stages=2", servers=2, routing=so.Random()),
    "fork-join": queue(SLOW, servers=2, routing=so.ForkJoin()),
    "closed": queue(so.Closed(customers=8, think="erlang 5 s stages=2")),
    "closed, 2 servers": queue(so.Closed(customers=8, think="exponential 3 s"), servers=2),
}


def customers_of(scenario):
    """What costs about a second: fewer where SimPy simulates, 100,000 for the kernel of processor sharing."""
    if isinstance(scenario.discipline, so.ProcessorSharing):
        return COMPILED_FROM
    quick = has_recursion(scenario) or isinstance(scenario.discipline, so.BatchService)
    return 30_000 if quick else 8_000


def simulated(scenario, customers, replications=20):
    runs = replicate(scenario, replications=replications, customers=customers, seed=11)
    start, end = after(scenario, customers, cut(scenario, runs))
    assert start < customers / 2
    values = [measure(scenario, each, start, end) for each in runs]
    return {metric: student([value[metric] for value in values], 0.9995) for metric in values[0]}


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_called_exact_is_covered_by_the_simulation(name):
    found, claims = simulated(SYSTEMS[name], customers_of(SYSTEMS[name])), 0
    for estimate in solve_queue(SYSTEMS[name]).estimates:
        if estimate.order == 0 or not estimate.in_domain or estimate.claim is not Claim.EXACT:
            continue
        interval, claims = found[estimate.metric], claims + 1
        slack = 1e-4 * abs(estimate.amount)  # inverted numerically
        assert interval.low - slack <= estimate.amount <= interval.high + slack, (estimate, interval)
        tail = estimate.metric.endswith(("p99", "p90", "class_2"))
        if estimate.amount > 0:
            assert interval.relative_half_width < (0.25 if tail else 0.15), (estimate.metric, interval)
    assert claims >= 2


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_closed_form_has_a_simulated_twin_a_source_and_a_note(name):
    measured = set(simulated(SYSTEMS[name], customers=3_000, replications=2)) if name != "MMPP/M/1" else None
    for estimate in solve_queue(SYSTEMS[name]).estimates:
        assert measured is None or estimate.metric in measured, estimate.metric
        assert estimate.source
        assert estimate.claim in Claim
        assert math.isfinite(estimate.amount)


def test_the_ladder_climbs_from_no_queue_over_means_to_variability():
    answer = so.solve(queue("poisson 8 request/s", "lognormal 100 ms scv=4"))
    assert [(e.order, round(e.amount, 9)) for e in answer["wait_mean"]] == [(0, 0.0), (1, 0.4), (2, 1.0)]
    assert answer.best("wait_mean").remark == "exact"
    assert [e.order for e in answer["wait_p99"]] == [0, 2]
    assert answer.best("response_p99").amount == pytest.approx(7.53, rel=1e-2)


def test_the_first_moments_are_exact_where_the_system_is_markov_and_say_so():
    assert so.solve(queue())["wait_mean"][1].remark == "exact"
    assert so.solve(queue(service="erlang 1 s stages=2"))["wait_mean"][1].remark.startswith("approximation")
    assert so.solve(queue(service="erlang 1 s stages=1"))["wait_mean"][1].remark == "exact"


def test_many_servers_are_pooled_in_the_approximations():
    answer = so.solve(queue("poisson 3.2 request/s", "lognormal 1 s scv=4", servers=4))
    assert answer.best("wait_mean").source == "Kimura (M/G/c)"
    assert answer.best("wait_mean").remark.startswith("approximation")
    answer = so.solve(queue("gamma 3.2 request/s burstiness=0.5", "lognormal 1 s scv=4", servers=4))
    assert answer.best("wait_mean").source == "Whitt (G/G/c)"
    assert (
        answer.best("wait_mean").amount > so.solve(queue("poisson 3.2 request/s", servers=4)).best("wait_mean").amount
    )


def test_bursts_of_a_modulated_stream_count_by_their_index_of_dispersion():
    bursty = "markov 1.4 request/s rate_2=0.2 request/s sojourn_1=100 s sojourn_2=100 s"
    assert so.solve(queue(bursty)).best("response_mean").amount == pytest.approx(82.0084206, rel=1e-6)
    general = so.solve(queue(bursty, "erlang 1 s stages=2")).best("wait_mean")
    assert general.source == "Allen-Cunneen with the index of dispersion"


def test_a_quantile_without_theory_is_absent_and_not_borrowed_from_another_order():
    answer = so.solve(queue("gamma 0.8 request/s burstiness=0.5", "lognormal 1 s scv=4"))
    assert [e.order for e in answer["wait_p99"]] == [0]
    few = so.solve(queue(service=so.laws.EmpiricalLaw([0.5, 1.0, 1.5])))  # lattice: the inversion refuses
    assert [e.order for e in few["wait_p99"]] == [0]


def test_a_median_where_half_of_the_customers_wait_is_not_judged():
    answer = so.solve(queue(SLOW))
    assert not answer.best("wait_p50").in_domain
    assert "at a jump: 0.5 of the customers wait" in answer.best("wait_p50").remark
    assert answer.best("wait_p90").in_domain
    assert so.solve(queue()).best("wait_p50").in_domain


def test_a_service_without_variance_has_no_second_order_mean():
    answer = so.solve(queue(SLOW, "pareto 1 s shape=1.5"))
    assert [e.order for e in answer["wait_mean"]] == [0, 1]
    assert not answer.best("wait_mean").in_domain
    assert answer.best("wait_p99").amount > 500


def test_few_servers_are_outside_the_domain_of_the_supermarket():
    few, many = (
        so.solve(queue(f"poisson {0.8 * n} request/s", servers=n, routing=so.JoinShortest(d=2))) for n in (3, 100)
    )
    assert not few.best("wait_mean").in_domain
    assert many.best("wait_mean").in_domain
    assert many.best("response_mean").amount == pytest.approx(1.947363386)
    assert many.best("prob_wait").amount == pytest.approx(0.64)


def test_a_trace_is_outside_the_domain_of_steady_states():
    times = np.cumsum(np.random.default_rng(0).exponential(1.25, 500))
    answer = so.solve(queue(so.TraceArrivals(times)))
    assert not answer.best("wait_mean").in_domain
    assert "a finite" in answer.best("wait_mean").remark


def test_patience_keeps_a_queue_bounded_but_has_no_closed_form_here():
    answer = so.solve(queue("poisson 2 request/s", patience=so.Patience(limit="1 s")))
    assert [e.order for e in answer["wait_mean"]] == [0]
    below = so.solve(queue(patience=so.Patience(limit="1 s")))
    assert not below.best("wait_mean").in_domain
    with pytest.raises(Unstable):
        so.solve(queue("poisson 2 request/s", patience=so.Patience(limit="1 s", withdrawn=False)))


def test_fork_join_alone_waits_for_the_longest_of_its_tasks():
    alone = so.solve(queue(SLOW, servers=4, routing=so.ForkJoin()))["response_mean"][0]
    assert alone.amount == pytest.approx(1 + 1 / 2 + 1 / 3 + 1 / 4)


def test_the_machine_repair_chain_is_mean_value_analysis_with_one_server():
    from secondorder.analytic.queues.closed_network import mean_value_analysis

    for customers in (1, 3, 20):
        found = mean_value_analysis(customers=customers, demand=[1.5], think=7.0)
        assert _repair(customers, 7.0, 1.5, 1) == pytest.approx((found.throughput, found.mean_response))


@pytest.mark.parametrize(
    "law",
    [
        "exponential 2 s",
        "erlang 2 s stages=3",
        "hyperexponential 2 s scv=4",
        "lognormal 2 s scv=4",
        "pareto 2 s shape=2.5",
        "gamma 2 s scv=0.4",
        "weibull 2 s shape=0.7",
        "exponential-mixture 0.8 first=0.5s second=8s",
    ],
)
def test_the_quantile_of_a_service_is_that_of_its_draws(law):
    read = so.laws.read_law(law)
    drawn = read.sample(200_000, np.random.default_rng(5))
    for p in (0.5, 0.9, 0.99):
        below = int((drawn <= _law_quantile(read, p)).sum())
        assert abs(below - 200_000 * p) < 3.9 * math.sqrt(200_000 * p * (1 - p))  # binomial, 99.99 %


def test_compare_and_sweep_take_a_queue():
    verdicts = so.compare(queue(SLOW), seed=1, requests=200_000)
    assert {(j.formula.order, str(j.verdict)) for j in verdicts.judged if j.formula.metric == "wait_mean"} == {
        (0, "breaks"),
        (1, "agrees"),
        (2, "agrees"),
    }
    frame = so.sweep(queue(SLOW), {"arrivals.rate": ["0.3 request/s", "0.6 request/s"]}, requests=5_000)
    assert set(frame["arrivals.rate"]) == {"0.3 request/s", "0.6 request/s"}
    assert {"scenario", "metric", "unit", "source", "order", "value", "ci_low", "ci_high", "verdict"} <= set(frame)


def test_one_who_is_alone_waits_for_the_time_out_of_a_batch_that_fills():
    batch = so.BatchService(per_item="0.1 s", per_batch="2 s", wait_to_fill=4, most=8)
    assert "response_mean" not in solve_queue(queue("poisson 1.8 request/s", None, discipline=batch))
    timed = so.BatchService(per_item="0.1 s", per_batch="2 s", wait_to_fill=4, most=8, timeout="3 s")
    answer = solve_queue(queue("poisson 0.0001 request/s", None, discipline=timed))
    assert answer["response_p99"][0].amount == pytest.approx(5.1)
    alone = simulated(queue("poisson 0.0001 request/s", None, discipline=timed), customers=2_000, replications=2)
    assert alone["response_mean"].mean == pytest.approx(5.1, rel=0.01)


def test_nobody_is_alone_in_an_overloaded_queue():
    busy = queue("poisson 3 request/s", servers=2, room=6)
    assert not any(rung.in_domain for rung in solve_queue(busy)["response_p99"] if rung.order == 0)
