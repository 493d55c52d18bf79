"""Simulated queues against exact theory, against naive versions of themselves, and against mutants."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secondorder as so
from secondorder.errors import InputError, Unstable
from secondorder.scenarios.queue import read_queue_arrivals, time_law
from secondorder.simulate.queues import Outcome, Run, after, cut, draws, measure, replicate, run, warm_up
from secondorder.simulate.queues import first_come as first_come_module
from secondorder.simulate.queues.batching import next_batch
from secondorder.simulate.queues.lines import looks, shortest
from secondorder.simulate.queues.recursions import kiefer_wolfowitz, lindley
from secondorder.simulate.queues.run import COMPILED_FROM
from secondorder.simulate.queues.sharing import speed
from secondorder.simulate.queues.station import Station
from secondorder.simulate.statistics.intervals import student

CONFIDENCE = 0.999
REPLICATIONS = 20


def intervals(queue, customers, metrics, seed=0, **options):
    """At 99.9 %, from independent replications past their warm-up."""
    runs = replicate(queue, seed=seed, replications=REPLICATIONS, customers=customers, **options)
    start, end = after(queue, customers, cut(queue, runs))
    assert start < customers / 2, "the run is too short to claim a steady state"
    values = [measure(queue, each, start, end) for each in runs]
    return {metric: student([value[metric] for value in values], CONFIDENCE) for metric in metrics}


def covers(interval, truth, bar):
    """Whether the interval holds the truth, and is short enough (relative half-width) to tell."""
    assert interval.relative_half_width < bar, f"half-width {interval.relative_half_width:.3f} has no power"
    return interval.low <= truth <= interval.high


def queue(rate=0.8, service="exponential 1 s", **options):
    arrivals = rate if isinstance(rate, (str, so.Closed, so.Renewal)) else f"poisson {rate} request/s"
    return so.Queue(arrivals=arrivals, service=service, **options)


# Against exact theory. The figures are published or high-precision values, or closed forms written out here.

SHARING = so.ProcessorSharing()
TWO = so.Priorities(shares=(0.25, 0.75), services=("deterministic 1 s", "hyperexponential 1 s scv=4"))
INOUE = so.BatchService(per_item="0.1438 s", per_batch="1.8874 s")
EXACT = {
    "M/M/1": (queue(), 100_000, {"wait_mean": (4.0, 0.05), "wait_p99": (21.910, 0.08), "prob_wait": (0.8, 0.01)}),
    "M/M/2": (
        queue(1.6, servers=2),
        100_000,
        {"wait_mean": (1.777777778, 0.05), "response_p99": (11.93737024, 0.08), "prob_wait": (0.7111111111, 0.01)},
    ),
    "M/D/1": (queue(service="deterministic 1 s"), 100_000, {"wait_mean": (2.0, 0.05), "wait_p99": (10.35588679, 0.08)}),
    "M/D/2": (queue(1.6, "deterministic 1 s", servers=2), 50_000, {"wait_mean": (0.9032838794, 0.05)}),
    "M/H2/1": (
        queue(0.5, "hyperexponential 1 s scv=4"),
        100_000,
        {"wait_mean": (2.5, 0.05), "wait_p99": (24.10870413, 0.08), "response_p99": (25.86072601, 0.08)},
    ),
    "M/LN/1": (
        queue(0.5, "lognormal 1 s scv=4"),
        200_000,
        {"wait_mean": (2.5, 0.10), "response_p99": (31.571372, 0.15)},
    ),
    "H2/M/1": (
        queue(so.Renewal(gap="hyperexponential 1.25 s scv=4")),
        200_000,
        {"wait_mean": (9.819192772, 0.08)},  # sigma / (1 - sigma), sigma = A*(1 - sigma)
    ),
    "MMPP/M/1": (
        queue("markov 1 request/s rate_2=0.6 request/s sojourn_1=100 s sojourn_2=100 s"),
        200_000,
        {"response_mean": (9.614636217, 0.08)},
    ),
    "M/M/4/20": (
        queue(3.8, servers=4, room=20),
        30_000,
        {"blocking_prob": (0.03127291868, 0.12), "wait_mean": (1.523969597, 0.05), "throughput": (3.681162909, 0.01)},
    ),
    "M/G/10/10": (
        queue(8, "lognormal 1 s scv=4", servers=10, room=10),
        30_000,
        {"blocking_prob": (0.1216610643, 0.05)},
    ),
    "M/M/1-PS": (  # of 100,000 customers, which a kernel simulates
        queue(0.5, discipline=SHARING),
        COMPILED_FROM,
        {"response_mean": (2.0, 0.03), "response_p99": (12.44554073, 0.08), "number_mean": (1.0, 0.04)},
    ),
    "M/H2/1-PS": (
        queue(0.7, "hyperexponential 1 s scv=4", discipline=SHARING),
        COMPILED_FROM,
        {"response_mean": (10 / 3, 0.08)},
    ),
    "M/D/1-PS": (queue(0.7, "deterministic 1 s", discipline=SHARING), COMPILED_FROM, {"response_mean": (10 / 3, 0.05)}),
    "priorities": (  # Cobham: W0 = (0.2 + 0.6 5)/2, sigma 0.2 and 0.8
        queue(0.8, None, discipline=TWO),
        25_000,
        {"wait_mean_class_1": (2.0, 0.06), "wait_mean_class_2": (10.0, 0.10), "utilisation": (0.8, 0.02)},
    ),
    "preemptive": (  # 1 + 0.2/(2 0.8); 1/0.8 + 1.6/(0.8 0.2)
        queue(0.8, None, discipline=replace(TWO, preemptive=True)),
        25_000,
        {"response_mean_class_1": (1.125, 0.01), "response_mean_class_2": (11.25, 0.10), "utilisation": (0.8, 0.02)},
    ),
    "set-up": (queue(0.5, setup="5 s"), 30_000, {"wait_mean": (4.214285714, 0.03), "utilisation": (0.5, 0.02)}),
    "take all": (
        queue(0.3 / 0.1438, None, discipline=INOUE),
        30_000,
        {"response_mean": (4.224800413, 0.01), "utilisation": (0.9991843116, 0.001)},
    ),
    "batches of 8": (
        queue(0.9 * 8 / (0.1438 * 8 + 1.8874), None, discipline=replace(INOUE, most=8)),
        50_000,
        {"response_mean": (5.522492701, 0.05)},
    ),
    "random": (queue(1.6, servers=2, routing=so.Random()), 100_000, {"wait_mean": (4.0, 0.06)}),
    "fork-join of 2": (queue(0.5, servers=2, routing=so.ForkJoin()), 50_000, {"response_mean": (2.875, 0.03)}),
    "closed, 20": (
        queue(so.Closed(customers=20, think="exponential 10 s")),
        10_000,
        {"response_mean": (10.03745099, 0.03), "throughput": (0.9981309501, 0.02)},
    ),
    "closed, 10, constant thinking": (
        queue(so.Closed(customers=10, think="10 s")),
        5_000,
        {"response_mean": (2.732079439, 0.03)},
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_the_interval_covers_the_exact_value(name):
    scenario, customers, claims = EXACT[name]
    found = intervals(scenario, customers, claims)
    for metric, (truth, bar) in claims.items():
        assert covers(found[metric], truth, bar), (metric, truth, found[metric])


def erlang_a(rate, servers, patience, longest=400):
    """Probability of abandoning in M/M/c+M at service rate 1, by the birth-death chain."""
    down = [min(n, servers) + max(n - servers, 0) / patience for n in range(1, longest)]
    law = np.exp(np.concatenate([[0], np.cumsum(np.log(rate / np.array(down)))]))
    law /= law.sum()
    waiting = np.maximum(np.arange(longest) - servers, 0) @ law
    return waiting / patience / rate


@pytest.mark.parametrize("rate", [1.8, 2.5])
def test_reneging_is_erlang_a_also_past_saturation(rate):
    impatient = queue(rate, servers=2, patience=so.Patience(limit="exponential 3 s"))
    found = intervals(impatient, 8_000, ["abandonment_prob", "goodput"])
    truth = erlang_a(rate, 2, 3.0)
    assert covers(found["abandonment_prob"], truth, 0.08)
    assert covers(found["goodput"], rate * (1 - truth), 0.02)


def test_two_servers_with_the_shorter_line_are_their_markov_chain():
    rate, longest = 1.6, 35  # beyond it lies a probability of 1e-6
    size = longest**2
    steps = np.zeros((size, size))
    for a in range(longest):
        for b in range(longest):
            here = a * longest + b
            joined = [(a + 1, b)] if a < b else [(a, b + 1)] if b < a else [(a + 1, b), (a, b + 1)]
            moves = [(x, y, rate / len(joined)) for x, y in joined]
            moves += [(a - 1, b, 1.0)] * (a > 0) + [(a, b - 1, 1.0)] * (b > 0)
            for x, y, speed_ in moves:
                if x < longest and y < longest:
                    steps[here, x * longest + y] += speed_
    steps -= np.diag(steps.sum(axis=1))
    law = np.linalg.solve(np.vstack([steps.T[:-1], np.ones(size)]), np.eye(size)[-1])
    number = np.add.outer(np.arange(longest), np.arange(longest)).ravel() @ law
    shorter = queue(rate, servers=2, routing=so.JoinShortest(d=2))
    found = intervals(shorter, 15_000, ["response_mean"])
    assert covers(found["response_mean"], number / rate, 0.08)


# Against each other: the recursion and the events

TIMES = st.sampled_from(
    [
        "exponential 1 s",
        "deterministic 1 s",
        "erlang 1 s stages=3",
        "hyperexponential 1 s scv=9",
        "lognormal 1 s scv=4",
        "pareto 1 s shape=1.5",
        "gamma 1 s scv=0.3",
        "weibull 1 s shape=0.5",
    ]
)


@settings(max_examples=60, deadline=None)
@given(gap=TIMES, service=TIMES, servers=st.integers(1, 5), load=st.floats(0.1, 1.5), seed=st.integers(0, 9))
def test_recursion_and_events_agree_bit_for_bit(gap, service, servers, load, seed):
    arrivals = so.Renewal(gap=time_law(gap, "gap").at(f"{1 / (load * servers)!r} s"))
    plain = so.Queue(arrivals=arrivals, service=service, servers=servers)
    at_once, by_events = (run(plain, 300, seed=seed, path=path) for path in ("recursion", "events"))
    for column in ("arrival", "service", "start", "finish", "wait", "response"):
        assert np.array_equal(getattr(at_once, column), getattr(by_events, column)), column
    assert np.array_equal(
        kiefer_wolfowitz(at_once.arrival, at_once.service, 1), lindley(at_once.arrival, at_once.service)
    )


@pytest.mark.parametrize("routing", [so.Random(), so.ForkJoin()])
def test_lines_of_their_own_agree_bit_for_bit(routing):
    apart = queue(0.9, servers=3, routing=routing)
    at_once, by_events = (run(apart, 2000, path=path) for path in ("recursion", "events"))
    assert np.array_equal(at_once.finish, by_events.finish)


def test_a_recursion_is_refused_where_there_is_none():
    with pytest.raises(InputError, match="path: got recursion"):
        run(queue(0.5, discipline=SHARING), 10, path="recursion")


def test_the_grid_is_finer_than_a_part_in_a_million_of_a_service():
    for count in (10, 1_000, 100_000):
        each = run(queue(), count)
        raw = draws.source(0, 0)("service").standard_exponential(count)
        assert np.abs(each.service - raw).max() < 1e-6 / 2


# Against naive versions of themselves


def sharing_naively(arrival, service, servers):
    """Processor sharing by taking the same slice off everybody's work at each event."""
    left, finish, now, nxt = {}, np.full(len(arrival), np.nan), 0.0, 0
    while left or nxt < len(arrival):
        each = speed(len(left), servers) if left else 1.0
        ends = now + min(left.values()) / each if left else math.inf
        comes = arrival[nxt] if nxt < len(arrival) else math.inf
        elapsed, now = min(ends, comes) - now, min(ends, comes)
        left = {k: work - elapsed * each for k, work in left.items()}
        if comes <= ends:
            left[nxt] = service[nxt]
            nxt += 1
        for k in [k for k, work in left.items() if work <= 1e-12]:
            finish[k] = now
            del left[k]
    return finish


@pytest.mark.parametrize("servers", [1, 3])
def test_sharing_is_a_slice_for_everybody(servers):
    each = run(queue(0.9 * servers, "lognormal 1 s scv=4", servers=servers, discipline=SHARING), 400)
    np.testing.assert_allclose(each.finish, sharing_naively(each.arrival, each.service, servers), rtol=1e-9)


def test_a_set_up_comes_before_each_first_service():
    each = run(queue(0.5, setup="exponential 5 s"), 2000)
    setups = draws.source(0, 0)("setup").standard_exponential(2000) * 5
    free, begun = -1.0, 0
    for arrival, service, start in zip(each.arrival, each.service, each.start, strict=True):
        late = 0.0
        if arrival > free:
            late, begun = setups[begun], begun + 1
        assert start == pytest.approx(max(arrival, free) + late, rel=1e-12)
        free = start + service


@pytest.mark.parametrize(("servers", "room"), [(1, 1), (1, 4), (3, 5)])
def test_room_is_never_exceeded_and_nobody_is_turned_away_without_need(servers, room):
    each = run(queue(1.5 * servers, servers=servers, room=room), 3000)
    for i in range(len(each)):
        inside = int((each.finish[:i] > each.arrival[i]).sum())
        assert (each.outcome[i] == Outcome.BLOCKED) == (inside == room)


def batches_naively(arrival, batch):
    """Batch starts by looking at the line at every moment at which anything can change."""
    timeout = batch.timeout.m if batch.timeout is not None else math.inf
    free, first, starts = 0.0, 0, []
    while first < len(arrival):
        for now in sorted({free, *arrival[first:], *(arrival[first:] + timeout)}):
            waiting = int((arrival[first:] <= now).sum())
            if now < free or not waiting or now == math.inf:
                continue
            if waiting >= batch.wait_to_fill or now >= arrival[first] + timeout:
                break
        else:
            return starts
        size = min(waiting, batch.most or waiting)
        starts += [now] * size
        first, free = first + size, now + batch.seconds(size)
    return starts


@settings(max_examples=40, deadline=None)
@given(
    fill=st.integers(1, 4),
    spare=st.none() | st.integers(0, 4),
    wait=st.none() | st.floats(0.1, 5),
    seed=st.integers(0, 5),
)
def test_batches_start_when_they_are_full_or_timed_out(fill, spare, wait, seed):
    batch = so.BatchService(
        per_batch="1 s",
        per_item="0.1 s",
        wait_to_fill=fill,
        most=None if spare is None else fill + spare,
        timeout=f"{wait!r} s" if wait and fill > 1 else None,
    )
    each = run(queue(0.7, None, discipline=batch), 60, seed=seed)
    naive = np.full(60, np.nan)
    starts = batches_naively(each.arrival, batch)
    naive[: len(starts)] = starts
    np.testing.assert_allclose(each.start, naive, rtol=1e-12)
    assert each.count(Outcome.INSIDE) == 60 - len(starts) < fill


# Policies, without a clock


def test_policies_are_plain_functions():
    assert shortest([2, 0, 1], [4, 3, 3]) == 2
    assert speed(1, 4) == 1.0
    assert speed(8, 4) == 0.5
    greedy = so.BatchService(per_batch="1 s", most=3)
    assert next_batch([0.0, 1.0, 1.5, 2.0, 9.0], 1, 5.0, greedy) == (5.0, 3)
    assert next_batch([0.0, 1.0], 1, 0.2, greedy) == (1.0, 1)
    assert next_batch([0.0], 0, 0.0, so.BatchService(per_batch="1 s", wait_to_fill=2)) == (math.inf, 0)


def test_servers_are_looked_at_without_repetition_and_evenly():
    seen = looks(60_000, 5, 3, np.random.default_rng(0))
    assert all(len(set(row)) == 3 for row in seen[:1000].tolist())
    for place in range(3):
        counts = np.bincount(seen[:, place], minlength=5)
        assert ((counts - 12_000) ** 2 / 12_000).sum() < 18.5  # chi-square at 4 degrees of freedom, 99.9 %


# Laws that hold in every single run

EVERY = {
    "plain": queue(),
    "many servers": queue(2.7, "lognormal 1 s scv=4", servers=3),
    "room": queue(2.5, servers=2, room=5),
    "sharing with room": queue(1.5, discipline=SHARING, room=5),
    "priorities": queue(0.8, None, discipline=TWO),
    "preemptive": queue(0.8, None, discipline=replace(TWO, preemptive=True)),
    "batches": queue(2.0, None, discipline=replace(INOUE, most=8)),
    "wait to fill": queue(2.0, None, discipline=replace(INOUE, most=8, wait_to_fill=5)),
    "shortest": queue(4.0, servers=5, routing=so.JoinShortest(d=2)),
    "fork-join": queue(0.7, servers=3, routing=so.ForkJoin()),
    "closed": queue(so.Closed(customers=5, think="2 s")),
    "reneging": queue(2.5, servers=2, patience=so.Patience(limit="exponential 2 s")),
    "retries": queue(0.9, patience=so.Patience(limit="3 s", retries=2, backoff="exponential 1 s", withdrawn=False)),
    "set-up": queue(0.5, setup="erlang 3 s stages=2"),
}


@pytest.mark.parametrize("name", EVERY)
def test_whoever_arrives_is_served_blocked_abandons_or_is_still_inside(name):
    each = run(EVERY[name], 3000)
    assert sum(each.count(outcome) for outcome in Outcome) == 3000
    served = 3000 if each.outcome is None else int((each.outcome == Outcome.SERVED).sum())
    assert int((~np.isnan(each.finish)).sum()) == served == each.count(Outcome.SERVED)
    if name in ("room", "sharing with room"):
        assert each.count(Outcome.BLOCKED) > 0
    if name in ("reneging", "retries"):
        assert each.count(Outcome.ABANDONED) > 0


@pytest.mark.parametrize("name", EVERY)
def test_little_holds_in_every_run(name):
    """The time integral of the number inside is the sum of the times inside."""
    each = run(EVERY[name], 3000)
    gone = each.gone[np.isfinite(each.gone)]
    arrival = each.arrival[np.isfinite(each.gone)]
    events = sorted([(t, 1) for t in arrival] + [(t, -1) for t in gone])
    times, number = np.array([t for t, _ in events]), np.cumsum([change for _, change in events])
    area = math.fsum((number[:-1] * np.diff(times)).tolist())
    assert area == pytest.approx(math.fsum((gone - arrival).tolist()), rel=1e-12)
    assert number.min() >= 0


def test_little_holds_to_the_last_bit_where_times_are_on_the_grid():
    each = run(queue(), 3000)
    tick = draws.grid(each.arrival, each.service)
    arrival, finish = ((times / tick).astype(np.int64).tolist() for times in (each.arrival, each.finish))
    events = sorted([(t, 1) for t in arrival] + [(t, -1) for t in finish])
    area, inside = 0, 0
    for (now, change), (later, _) in pairwise(events):
        inside += change
        area += inside * (later - now)
    assert area == sum(finish) - sum(arrival)


@pytest.mark.parametrize("name", EVERY)
def test_services_begin_after_the_arrival_and_end_after_the_work(name):
    each = run(EVERY[name], 3000)
    served = ~np.isnan(each.finish)
    assert (each.start[served] >= each.arrival[served] - 1e-9).all()
    if name not in ("batches", "wait to fill", "fork-join"):
        assert (each.response[served] >= each.service[served] - 1e-9).all()


def test_priorities_conserve_work():
    """The server is busy at the same times in every order of service."""
    classes = replace(TWO, services=("exponential 1 s", "exponential 1 s"))
    scenario = queue(0.8, None, discipline=classes)
    polite = run(scenario, 3000)
    rude = run(replace(scenario, discipline=replace(classes, preemptive=True)), 3000)
    in_order = lindley(polite.arrival, polite.service) + polite.service
    idle_from = [
        np.sort(finish)[:-1][np.sort(finish)[:-1] < polite.arrival[1:]]
        for finish in (in_order, polite.finish, rude.finish)
    ]
    for other in idle_from[1:]:
        np.testing.assert_allclose(other, idle_from[0], rtol=1e-12)
    assert polite.wait[polite.kind == 1].mean() < (in_order - polite.service - polite.arrival).mean()


def test_two_choices_lie_between_blind_ones_and_a_shared_line():
    apart = queue(4.0, servers=5, routing=so.Random())
    waits = {}
    for name, routing in (("random", so.Random()), ("two", so.JoinShortest(d=2)), ("shared", so.Shared())):
        runs = replicate(replace(apart, routing=routing), replications=REPLICATIONS, customers=10_000)
        waits[name] = np.array([each.wait[2000:].mean() for each in runs])  # the same customers in each design
    assert student(waits["random"] - waits["two"], CONFIDENCE).low > 0
    assert student(waits["two"] - waits["shared"], CONFIDENCE).low > 0


# Chance


def test_changing_one_cause_leaves_the_draws_of_the_others_alone():
    base = run(queue(), 1000)
    other_service = run(queue(service="lognormal 1 s scv=4"), 1000)
    assert np.array_equal(base.arrival, other_service.arrival)
    other_arrivals = run(queue("gamma 0.8 request/s burstiness=0.5"), 1000)
    np.testing.assert_allclose(base.service, other_arrivals.service, rtol=0, atol=1e-6)
    more_servers = run(queue(servers=3), 1000)
    assert np.array_equal(base.arrival, more_servers.arrival)
    assert np.array_equal(base.service, more_servers.service)


def test_a_replication_does_not_depend_on_how_many_there_are_nor_on_who_computes_it():
    both = replicate(queue(), replications=4, customers=500, seed=7)
    later = replicate(queue(), replications=2, first=2, customers=500, seed=7, jobs=2)
    assert [each.wait.tolist() for each in both[2:]] == [each.wait.tolist() for each in later]
    assert not np.array_equal(both[0].wait, both[1].wait)


def test_the_same_seed_gives_the_same_answer_in_several_processes():
    one, two = (so.simulate(queue(0.5, discipline=SHARING), seed=3, requests=2000, jobs=jobs) for jobs in (1, 2))
    assert one.estimates == two.estimates


# Impatience: retries keep a system down that would recover without them


def outage(retries):
    """Utilisation 0.7, 30 s without service, clients that give up after 5 s."""
    return queue(
        100,
        "exponential 7 ms",
        outage=so.Outage(begin="60 s", duration="30 s"),
        patience=so.Patience(limit="5 s", retries=retries, withdrawn=False),
    )


def goodput(each, since, until):
    return ((each.finish > since) & (each.finish <= until)).sum() / (until - since)


def test_retries_keep_a_system_down_long_after_an_outage():
    each = run(outage(retries=3), 36_000)  # 360 s: the first-order drain time is over at 160 s
    assert goodput(each, 0, 60) > 95
    assert goodput(each, 180, 350) == 0
    assert each.attempts[20_000:30_000].mean() == 4


def test_without_retries_it_recovers():
    each = run(outage(retries=0), 36_000)
    assert goodput(each, 66, 140) == 0
    assert goodput(each, 180, 350) > 95


def test_retries_that_keep_the_servers_busy_make_two_states():
    retried = so.Queue(
        arrivals="poisson 6 request/s",
        service="exponential 100 ms",
        patience=so.Patience(limit="2 s", retries=3, backoff="exponential 1 s", withdrawn=False),
    )
    answer = so.simulate(retried, requests=4_000)
    tail = answer.best("response_p99")
    assert "two states" in answer.how
    assert tail.steadiness == "two states"
    assert tail.unsettled.startswith("from an empty start")
    assert "two states" not in so.simulate(replace(retried, patience=None), requests=4_000).how


def test_a_wait_quantile_at_the_jump_of_its_law_has_no_verdict():
    judged = so.compare(queue(0.5), seed=1, requests=40_000).judged
    assert {each.verdict for each in judged if each.formula.metric == "wait_p50"} == {"not enough data"}


def test_with_time_outs_that_nobody_reaches_it_is_a_plain_queue():
    patient = run(queue(patience=so.Patience(limit="1e6 s", withdrawn=False)), 2000)
    np.testing.assert_allclose(patient.finish, run(queue(), 2000).finish, rtol=1e-12)


def test_a_customer_waits_no_longer_than_its_patience():
    each = run(queue(3.0, patience=so.Patience(limit="2 s")), 3000)
    served = each.outcome == Outcome.SERVED
    assert each.wait[served].max() <= 2 + 1e-9
    np.testing.assert_allclose((each.gone - each.arrival)[~served], 2.0, atol=1e-9)


# Answers


def test_too_few_customers_or_replications_are_refused():
    for options in ({"requests": 0}, {"requests": 1}, {"replications": 1}):
        with pytest.raises(InputError, match="at least 2"):
            so.simulate(queue(), **options)


def test_an_answer_says_how_it_was_obtained():
    answer = so.simulate(queue(), seed=1, requests=20_000)
    assert answer.how.startswith("simulated, steady state: 10 replications of 20,000 requests, the first ")
    assert list(answer.requests.columns) == ["arrival", "start", "finish", "service", "wait", "response", "outcome"]
    assert answer.best("wait_mean").unit == "s"
    assert answer.best("throughput").unit == "request/s"


def test_the_length_is_chosen_for_a_mean_response_within_two_percent():
    response = so.simulate(queue(0.5), seed=1).best("response_mean")
    assert response.high - response.amount <= 0.02 * response.amount


def test_a_short_run_near_saturation_is_not_enough_data_and_says_what_would_be():
    near = queue(0.95)
    wait = so.simulate(near, seed=1, requests=5_000).best("wait_mean")
    assert not wait.steady
    assert "not enough data" in wait.remark
    assert f"at least {4 * warm_up(near):,}" in wait.remark
    verdicts = {j.verdict for j in so.compare(near, seed=1, requests=5_000).judged}
    assert verdicts == {"not enough data"}


def test_how_much_data_there_is_is_told_in_plain_digits():
    """150 relaxation times are enough for a mean, and not for a p99."""
    tail = so.simulate(queue(0.8), seed=1, requests=20_000, replications=2).best("wait_p99")
    assert re.match(r"not enough data: \d{3} relaxation times; use at least ", tail.remark)


def test_a_service_without_variance_is_never_enough_data():
    wait = so.simulate(queue(0.5, "pareto 1 s shape=1.5"), seed=1, requests=50_000).best("wait_mean")
    assert "no variance" in wait.remark
    assert wait.high == math.inf


def test_long_replications_are_measured_one_after_another_with_the_same_result(monkeypatch):
    from secondorder.simulate.queues import answer

    held = so.simulate(queue(0.5), seed=1, requests=20_000, replications=3)
    monkeypatch.setattr(answer, "HELD", 10_000)
    passing = so.simulate(queue(0.5), seed=1, requests=20_000, replications=3)
    assert passing.best("response_mean").amount == pytest.approx(held.best("response_mean").amount, rel=0.02)


def test_a_trace_is_replayed_as_it_is():
    times = np.cumsum(np.random.default_rng(0).exponential(1.25, 500))
    answer = so.simulate(so.Queue(arrivals=so.TraceArrivals(times), service="exponential 1 s"), seed=1)
    assert "transient: 10 replications of 500 requests, nothing cut" in answer.how
    np.testing.assert_allclose(answer.requests["arrival"], times, atol=1e-9)
    assert len(answer.series) == 200


def test_an_unstable_queue_is_refused_with_its_utilisation_and_a_remedy():
    for action in (so.simulate, so.solve):
        with pytest.raises(
            Unstable, match=r"utilisation 1\.2 of 2 servers.*at least 3 servers or an arrival rate below 2"
        ):
            action(queue(2.4, servers=2))
        with pytest.raises(Unstable, match=r"utilisation 1\.01"):
            action(queue(1.01, servers=3, routing=so.ForkJoin()))
    assert so.simulate(queue(2.4, room=5), requests=2000).best("blocking_prob").amount > 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"room": 5, "discipline": TWO, "service": None}, "room: got room with priorities"),
        ({"setup": "1 s", "servers": 2}, "servers: got servers with a set-up"),
        ({"patience": so.Patience(limit="1 s"), "room": 5}, "room: got room with patience"),
        ({"routing": so.JoinShortest(d=3), "servers": 2}, "routing.d: got 3, expected at most the 2 servers"),
        ({"discipline": INOUE}, "service: got a law, expected none"),
        ({"service": None}, "service: got none"),
        ({"service": 5}, "service: got 5 without a unit"),
        ({"room": 1, "servers": 2}, "room: got 1, expected at least the 2 servers"),
        (
            {"discipline": replace(TWO, preemptive=True), "service": None, "servers": 2},
            "servers: got servers with pree",
        ),
    ],
)
def test_what_is_not_built_is_refused_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as refused:
        so.Queue(**{"arrivals": "poisson 1 request/s", "service": "exponential 1 s", **options})
    assert "\n" not in str(refused.value)


def test_arrivals_and_laws_are_read_from_a_line():
    assert read_queue_arrivals("poisson 8 request/s") == so.Poisson("8 request/s")
    assert read_queue_arrivals("renewal pareto 1 s shape=3") == so.Renewal(gap=so.laws.Pareto("1 s", shape=3))
    assert read_queue_arrivals("closed 20 exponential 10 s") == so.Closed(
        customers=20, think=so.laws.Exponential("10 s")
    )
    with pytest.raises(InputError, match="closed <customers>"):
        read_queue_arrivals("closed exponential 10 s")
    with pytest.raises(InputError, match="did you mean lognormal"):
        so.Queue(arrivals="poisson 8 request/s", service="lognormol 1 s scv=4")


# Mutants: what is wrong must be seen


def test_arrivals_two_percent_too_fast_are_caught():
    found = intervals(queue(0.8 * 1.02), 400_000, ["wait_mean", "throughput"])
    assert not found["wait_mean"].low <= 4.0 <= found["wait_mean"].high
    assert not found["throughput"].low <= 0.8 <= found["throughput"].high


def test_a_server_that_idles_while_work_waits_is_caught(monkeypatch):
    def serve_lazily(env, line, start, setups):
        for customer, arrival, service in line:
            yield env.timeout(max(arrival - env.now, 0) + 0.01)  # a hundredth of a service late
            start[customer] = env.now
            yield env.timeout(service)

    monkeypatch.setattr(first_come_module, "serve", serve_lazily)
    lazy = run(queue(), 5000, path="events")
    assert not np.array_equal(lazy.wait, run(queue(), 5000).wait)

    def late(each):
        """The waits at such a server: those of services a hundredth longer, and one hundredth."""
        return lindley(each.arrival, each.service + 0.01) - each.arrival + 0.01

    np.testing.assert_allclose(lazy.wait, late(lazy), atol=1e-8)
    runs = [run(queue(), 100_000, replication=k) for k in range(REPLICATIONS)]
    wait = student([late(each)[2000:].mean() for each in runs], CONFIDENCE)
    assert wait.low > 4.0


def test_a_station_whose_second_server_sleeps_on_is_caught(monkeypatch):
    def join_without_waking(self, customer):
        self.inside += 1
        self.line.append(customer)
        if len(self.idle) == 2:  # wakes one server only when both sleep
            self.idle.pop().succeed()

    monkeypatch.setattr(Station, "join", join_without_waking)
    found = intervals(queue(1.6, servers=2, room=400), 10_000, ["wait_mean"])["wait_mean"]
    assert not found.low <= 1.777777778 <= found.high


def test_a_warm_up_that_is_not_removed_is_caught():
    near = queue(0.95)
    runs = replicate(near, replications=200, customers=16_000)
    start = cut(near, runs)
    kept, raw = (student([each.wait[a:].mean() for each in runs], CONFIDENCE) for a in (start, 0))
    short = student([each.wait[:4000].mean() for each in runs], CONFIDENCE)
    assert kept.low <= 19.0 <= kept.high
    assert short.high < 19.0
    assert raw.mean < kept.mean


def test_a_run_keeps_only_what_it_needs():
    each = run(queue(), 100_000)
    assert isinstance(each, Run)
    arrays = [value for value in vars(each).values() if isinstance(value, np.ndarray)]
    assert sum(value.nbytes for value in arrays) == 32 * 100_000
