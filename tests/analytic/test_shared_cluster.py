"""Shared clusters: starts against SimPy and a clockwork by ticks, waits against exact queues, saturation of gangs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from secondorder.analytic.queues import multiserver, single_server
from secondorder.analytic.shared_cluster import first_order_wait, reciprocal, saturation_rate, solve_shared_cluster
from secondorder.errors import DoesNotFit, InputError, UnitError, UnknownName, Unstable
from secondorder.laws import Exponential, Gamma, LogNormal, Pareto
from secondorder.scenarios.shared_cluster import SharedCluster
from secondorder.simulate import shared_cluster as simulation
from secondorder.simulate.shared_cluster import Jobs, backfill, first_come, shortest_first, simulate_shared_cluster
from secondorder.simulate.statistics.intervals import student

CONFIDENCE = 0.999
FIVE_SIZES = {1: 0.3, 2: 0.2, 4: 0.2, 8: 0.3}


def cluster(**options):
    usual = {
        "accelerators": 8,
        "arrivals": "0.8 job/s",
        "sizes": 8,
        "duration": "exponential 1 s",
        "policy": "fcfs",
    }
    return SharedCluster(**{**usual, **options})


def simulated(scenario, metrics, jobs=20_000, replications=20, seed=1):
    cut = jobs // 8
    last = jobs - (0 if scenario.policy == "fcfs" else cut)
    found = []
    for k in range(replications):
        drawn = simulation.draw(scenario, jobs, seed=seed, replication=k)
        found.append(simulation.measure(scenario, drawn, simulation.starts(scenario, drawn), cut, last))
    return {metric: student([each[metric] for each in found], CONFIDENCE) for metric in metrics}


# Policies, against schedulers that share no code with ours


def on_simpy(jobs, accelerators):
    """First come, first served is what a SimPy container does: a request that cannot be met holds up the rest."""
    env = simpy.Environment()
    pool = simpy.Container(env, accelerators, init=accelerators)
    start = [0.0] * len(jobs)

    def come(job):
        yield env.timeout(float(jobs.arrival[job]))
        yield pool.get(int(jobs.size[job]))
        start[job] = env.now
        yield env.timeout(float(jobs.duration[job]))
        yield pool.put(int(jobs.size[job]))

    for job in range(len(jobs)):
        env.process(come(job))
    env.run()
    return start


def by_ticks(jobs, accelerators, policy, overestimate=1):
    """Tick by tick over whole times: nothing is remembered but who waits and who runs; all else is found anew."""
    start, waiting, now = {}, [], 0

    def runs(job):
        return job in start and start[job] + jobs.duration[job] > now

    def free():
        return accelerators - sum(int(jobs.size[job]) for job in range(len(jobs)) if runs(job))

    def free_at(moment):
        """By the estimates of those who run now."""
        still = [j for j in range(len(jobs)) if runs(j) and start[j] + overestimate * jobs.duration[j] > moment]
        return accelerators - sum(int(jobs.size[j]) for j in still)

    def begin(job):
        start[job] = now
        waiting.remove(job)

    while len(start) < len(jobs):
        waiting += [job for job in range(len(jobs)) if jobs.arrival[job] == now]
        if policy == "shortest":
            waiting.sort(key=lambda job: (jobs.duration[job], job))
        while waiting and jobs.size[waiting[0]] <= free():
            begin(waiting[0])
        if policy == "easy" and waiting:
            head, moment = waiting[0], now
            while free_at(moment) < jobs.size[head]:
                moment += 1
            extra = free_at(moment) - jobs.size[head]
            for job in waiting[1:]:
                if jobs.size[job] > free():
                    continue
                if now + overestimate * jobs.duration[job] <= moment:
                    begin(job)
                elif jobs.size[job] <= extra:
                    begin(job)
                    extra -= jobs.size[job]
        now += 1
    return [start[job] for job in range(len(jobs))]


MANY_JOBS = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 6), st.integers(1, 9)), min_size=1, max_size=30)


def whole(jobs):
    gaps, sizes, durations = np.array(jobs, dtype=np.int64).T
    return Jobs(np.cumsum(gaps).astype(float), sizes, durations.astype(float))


@settings(derandomize=True, max_examples=80, deadline=None)
@given(jobs=MANY_JOBS, accelerators=st.integers(6, 12))
def test_first_come_first_served_starts_jobs_when_simpy_does(jobs, accelerators):
    drawn = whole(jobs)
    assert first_come(drawn, accelerators).tolist() == on_simpy(drawn, accelerators)
    assert first_come(drawn, accelerators).tolist() == by_ticks(drawn, accelerators, "fcfs")


@settings(derandomize=True, max_examples=60, deadline=None)
@given(jobs=MANY_JOBS, accelerators=st.integers(6, 12))
def test_shortest_first_starts_jobs_when_the_clockwork_does(jobs, accelerators):
    drawn = whole(jobs)
    assert shortest_first(drawn, accelerators).tolist() == by_ticks(drawn, accelerators, "shortest")


@settings(derandomize=True, max_examples=80, deadline=None)
@given(jobs=MANY_JOBS, accelerators=st.integers(6, 12), overestimate=st.integers(1, 3))
def test_backfilling_starts_jobs_when_the_clockwork_does(jobs, accelerators, overestimate):
    drawn = whole(jobs)
    found = backfill(drawn, accelerators, overestimate)
    assert found.tolist() == by_ticks(drawn, accelerators, "easy", overestimate)


def test_a_backfiller_that_forgets_the_reservation_is_caught():
    """Whoever fits goes: then a stream of small jobs starves the large one, and the clockwork says otherwise."""
    jobs = whole([(0, 4, 5), (0, 6, 3), (1, 2, 9), (0, 2, 2)])

    def greedy(jobs):
        start, running, waiting = {}, [], list(range(len(jobs)))
        for now in range(40):
            held = sum(int(jobs.size[j]) for j in running if start[j] + jobs.duration[j] > now)
            for j in list(waiting):
                if jobs.arrival[j] <= now and jobs.size[j] + held <= 6:
                    start[j] = now
                    held += int(jobs.size[j])
                    running.append(j)
                    waiting.remove(j)
        return [start[j] for j in range(len(jobs))]

    assert backfill(jobs, 6).tolist() == [0, 5, 8, 1]
    assert greedy(jobs) != by_ticks(jobs, 6, "easy")


@settings(derandomize=True, max_examples=40, deadline=None)
@given(jobs=MANY_JOBS, accelerators=st.integers(6, 12), policy=st.sampled_from(["fcfs", "easy", "shortest"]))
def test_no_more_accelerators_are_held_than_there_are(jobs, accelerators, policy):
    drawn = whole(jobs)
    start = simulation.starts(cluster(accelerators=accelerators, sizes=1, policy=policy), drawn)
    assert (start >= drawn.arrival).all()
    for moment in start:
        held = (start <= moment) & (moment < start + drawn.duration)
        assert drawn.size[held].sum() <= accelerators


@settings(derandomize=True, max_examples=40, deadline=None)
@given(jobs=MANY_JOBS, accelerators=st.integers(6, 12))
def test_shares_of_the_accelerators_time_are_those_counted_tick_by_tick(jobs, accelerators):
    drawn = whole(jobs)
    start = first_come(drawn, accelerators)
    end = float((start + drawn.duration).max())
    busy, wasted = simulation._shares(accelerators, drawn, start, 0.0, end)
    held = [drawn.size[(start <= t) & (t < start + drawn.duration)].sum() for t in range(int(end))]
    lines = [((drawn.arrival <= t) & (t < start)).any() for t in range(int(end))]
    assert busy == pytest.approx(sum(held) / accelerators / end)
    assert wasted == pytest.approx(
        sum(accelerators - h for h, line in zip(held, lines, strict=True) if line) / accelerators / end
    )


# The reference's fault: the spread of durations


def test_a_cv_of_three_waits_ten_times_constant_and_five_times_exponential_durations():
    """(1 + cv^2) = 10 against M/D/1, (1 + cv^2)/2 = 5 against M/M/1: exact, and the simulation says so too."""
    scenario = cluster(arrivals="0.5 job/s", duration="gamma 1 s scv=9")
    exact = solve_shared_cluster(scenario).best("wait_mean")
    assert "exact" in exact.source
    constant = single_server.mean_wait(arrival_rate=0.5, mean_service=1.0, service_scv=0.0)
    exponential = multiserver.mean_wait(arrival_rate=0.5, service_rate=1.0)
    assert exact.amount / constant == pytest.approx(10)
    assert exact.amount / exponential == pytest.approx(5)
    found = simulated(scenario, ["wait_mean"], jobs=40_000)["wait_mean"]
    assert found.low <= exact.amount <= found.high
    assert found.low > 3 * exponential
    assert found.low > 6 * constant
    first = solve_shared_cluster(scenario)["wait_mean"][1]
    assert first.amount == pytest.approx(exponential)
    assert not first.in_domain


@pytest.mark.parametrize(
    "scenario",
    [
        cluster(),
        cluster(arrivals="0.5 job/s", duration="gamma 1 s scv=4"),
        cluster(accelerators=24, arrivals="2.4 job/s"),
        cluster(accelerators=24, sizes=1, arrivals="20 job/s", duration="1 s"),
        cluster(accelerators=27, arrivals="2.4 job/s", policy="easy"),
        cluster(accelerators=30, sizes=8, arrivals="2 job/s", duration="erlang 1 s stages=2"),
    ],
)
def test_jobs_of_one_size_wait_as_in_the_queue_with_as_many_servers(scenario):
    answer = solve_shared_cluster(scenario)
    metrics = [metric for metric in ("wait_mean", "response_mean", "utilisation") if answer.best(metric).in_domain]
    assert "wait_mean" in metrics
    if "exact" not in answer.best("wait_mean").source:  # Kimura, good to 2 % there
        metrics.remove("wait_mean")
    for metric, found in simulated(scenario, metrics).items():
        assert found.low <= answer.best(metric).amount <= found.high, metric


def test_the_ninety_ninth_percentile_of_the_wait_is_that_of_the_exact_queue():
    scenario = cluster(accelerators=16, arrivals="1.4 job/s")
    found = simulated(scenario, ["wait_p99"], jobs=40_000, replications=10)["wait_p99"]
    assert found.low <= solve_shared_cluster(scenario).best("wait_p99").amount <= found.high


def test_the_slowdown_counts_short_jobs_as_long_as_the_floor():
    scenario = cluster(slowdown_floor="100 ms")
    found = simulated(scenario, ["slowdown_mean"])["slowdown_mean"]
    assert found.low <= solve_shared_cluster(scenario).best("slowdown_mean").amount <= found.high


@pytest.mark.parametrize(
    ("law", "truth"),
    [
        (LogNormal("3 s", scv=2), (1 + 2) / 3),
        (Gamma("3 s", scv=0.25), 1 / (3 * 0.25 * 3)),
        (Pareto("3 s", shape=1.5), 1.5 / 2.5),
    ],
)
def test_the_mean_reciprocal_of_a_duration_is_that_of_its_law(law, truth):
    assert reciprocal(law, 1e-7) == pytest.approx(truth, rel=1e-5)


def test_the_mean_reciprocal_above_a_floor_is_an_exponential_integral():
    from scipy.special import exp1

    assert reciprocal(Exponential("2 s"), 0.5) == pytest.approx((1 - math.exp(-0.25)) / 0.5 + exp1(0.25) / 2, rel=1e-5)


# Saturation


def test_gangs_saturate_below_the_accelerators_rate_and_where_theory_says():
    """Exponential durations: 1 / (E[D] E[1/J]), which is 82 % here; a line that never ends says the same."""
    scenario = cluster(accelerators=16, sizes=FIVE_SIZES, arrivals="0.5 job/s")
    answer = solve_shared_cluster(scenario)
    bound, theory = (rung.amount for rung in answer["saturation_rate"])
    assert not answer["saturation_rate"][0].in_domain
    found = simulation.saturation_rate(scenario, seed=1, replications=20)
    assert found.low <= theory <= found.high
    assert theory / bound == pytest.approx(0.8235, abs=1e-3)
    assert found.high < 0.9 * bound  # so the bound alone, as if slots were fungible, is wrong


def test_how_many_jobs_run_side_by_side_is_counted_by_hand():
    """Sizes 1 and 2 in equal shares on 2 accelerators: J = 2 where the first two are both of size 1, else 1."""
    scenario = cluster(accelerators=2, sizes="1:0.5 2:0.5", arrivals="0.1 job/s")
    np.testing.assert_allclose(scenario.fit_law, [0, 0.75, 0.25], atol=1e-15)
    assert saturation_rate(mean_duration=2.0, side_by_side=scenario.fit_law) == pytest.approx(0.5 / 0.875)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(
    accelerators=st.integers(4, 12),
    weights=st.lists(st.integers(0, 5), min_size=4, max_size=4).filter(any),
)
def test_the_law_of_jobs_side_by_side_is_that_of_drawn_lines(accelerators, weights):
    total = sum(weights)
    sizes = {size: weight / total for size, weight in enumerate(weights, 1) if weight}
    law = cluster(accelerators=accelerators, sizes=sizes, arrivals="0.001 job/s").fit_law
    drawn = np.random.default_rng(1).choice(list(sizes), p=list(sizes.values()), size=(20_000, accelerators + 1))
    counts = np.bincount((np.cumsum(drawn, axis=1) <= accelerators).sum(axis=1), minlength=law.size)
    assert law.sum() == pytest.approx(1)
    assert law.size == counts.size
    spread = np.sqrt(20_000 * law * (1 - law)) + 1
    assert (np.abs(counts - 20_000 * law) < 5 * spread).all()


def test_a_rate_between_the_limits_of_gangs_and_accelerators_is_refused_by_both():
    scenario = cluster(accelerators=16, sizes=FIVE_SIZES, arrivals="3.6 job/s")
    assert scenario.utilisation < 0.9
    for action in (solve_shared_cluster, simulate_shared_cluster):
        with pytest.raises(Unstable, match=r"gangs that block each other.*82\.\d%"):
            action(scenario)


def test_backfilling_carries_a_load_that_first_come_first_served_cannot():
    scenario = cluster(accelerators=16, sizes=FIVE_SIZES, arrivals="3.5 job/s", policy="easy")
    runs = simulated(scenario, ["wait_mean", "fragmentation"], jobs=8_000, replications=5)
    assert runs["wait_mean"].high < 20  # in means of the duration, and it does not grow with the run
    with pytest.raises(Unstable):
        solve_shared_cluster(replace(scenario, policy="fcfs"))


def test_passing_the_head_of_the_line_saves_waiting():
    scenario = cluster(accelerators=16, sizes=FIVE_SIZES, arrivals="2.8 job/s")
    waits = {}
    for policy in ("fcfs", "easy", "shortest"):
        found = []
        for k in range(10):
            same = replace(scenario, policy=policy)
            jobs = simulation.draw(same, 10_000, seed=1, replication=k)
            found.append(float((simulation.starts(same, jobs) - jobs.arrival).mean()))
        waits[policy] = np.array(found)  # the same jobs under each policy
    assert student(waits["fcfs"] - waits["easy"], CONFIDENCE).low > 0
    assert student(waits["fcfs"] - waits["shortest"], CONFIDENCE).low > 0


def test_accelerators_idle_while_jobs_wait_only_where_sizes_are_mixed():
    mixed = cluster(accelerators=16, sizes=FIVE_SIZES, arrivals="2.5 job/s")
    assert simulated(mixed, ["fragmentation"], jobs=8_000, replications=5)["fragmentation"].low > 0.05
    assert simulated(cluster(accelerators=16), ["fragmentation"], jobs=8_000, replications=5)["fragmentation"].mean == 0


def test_more_work_than_accelerators_is_refused_under_every_policy():
    for policy in ("fcfs", "easy", "shortest"):
        for action in (solve_shared_cluster, simulate_shared_cluster):
            with pytest.raises(Unstable, match=r"1\.2 times the work"):
                action(cluster(arrivals="1.2 job/s", policy=policy))


# Answers


def test_mixed_sizes_are_outside_of_the_domain_and_say_so():
    answer = solve_shared_cluster(cluster(accelerators=16, sizes=FIVE_SIZES, arrivals="2.5 job/s"))
    for rung in answer["wait_mean"][1:]:
        assert not rung.in_domain
        assert "sizes are mixed" in rung.remark


def test_the_first_order_has_fungible_slots():
    wait = first_order_wait(arrival_rate=2.0, mean_duration=1.0, mean_size=4.0, accelerators=12)
    assert wait == pytest.approx(multiserver.mean_wait(arrival_rate=2.0, service_rate=1.0, servers=3))


def test_durations_without_a_variance_have_no_second_order_and_no_interval():
    scenario = cluster(arrivals="0.2 job/s", duration="pareto 1 s shape=1.5")
    assert solve_shared_cluster(scenario).best("wait_mean").order == 1
    wait = simulate_shared_cluster(replace(scenario, accelerators=16), replications=2).best("wait_mean")
    assert wait.high == math.inf
    assert "no variance" in wait.remark


def test_the_answer_of_the_simulation_holds_the_exact_wait_and_says_how_long_it_ran():
    scenario = cluster(accelerators=16, arrivals="1.2 job/s")
    answer = simulate_shared_cluster(scenario, seed=1)
    assert answer.how.startswith("10 replications of ")
    truth = solve_shared_cluster(scenario)
    for metric in ("wait_mean", "wait_p99", "response_mean", "utilisation", "saturation_rate"):
        found = answer.best(metric)
        half = 2 * (found.high - found.low)  # four standard intervals: one seed is one seed
        assert abs(found.amount - truth.best(metric).amount) <= half, metric


def test_the_same_seed_gives_the_same_answer_in_several_processes():
    scenario = cluster(accelerators=16, sizes=FIVE_SIZES, arrivals="1 job/s")
    one, two = (simulate_shared_cluster(scenario, seed=3, replications=2, jobs=jobs) for jobs in (1, 2))
    assert one.estimates == two.estimates


def test_sizes_are_read_from_a_line_a_number_or_a_table():
    assert cluster(sizes="1:0.5 8:0.5") == cluster(sizes={8: 0.5, 1: 0.5}) == cluster(sizes={"8": 0.5, "1": 0.5})
    assert cluster(sizes="4") == cluster(sizes=4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sizes": {1: 0.5, 8: 0.4}}, InputError, "sizes: got .*sum to 1"),
        ({"sizes": "1:x"}, InputError, "sizes"),
        ({"sizes": [8]}, InputError, r"sizes: got \[8\], expected sizes with shares"),
        ({"sizes": {1.5: 1.0}}, InputError, "sizes"),
        ({"sizes": {0: 1.0}}, InputError, "sizes"),
        ({"sizes": 9}, DoesNotFit, "a job of 9 accelerators on a cluster of 8"),
        ({"policy": "lottery"}, UnknownName, "policy"),
        ({"overestimate": 0.5, "policy": "easy"}, InputError, "overestimate"),
        ({"overestimate": 2.0}, InputError, "overestimate"),
        ({"arrivals": 3}, InputError, "arrivals: got 3 without a unit"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(options, error, message):
    with pytest.raises(error, match=message) as refused:
        cluster(**options)
    assert "\n" not in str(refused.value)


def test_jobs_are_no_requests():
    """The field's own unit, named in one line; and answers in it."""
    with pytest.raises(UnitError, match=r"^arrivals: got 6 request/hour .*, expected a quantity in job/s$"):
        cluster(arrivals="6 request/hour")
    assert solve_shared_cluster(cluster()).best("saturation_rate").unit == "job/s"
    assert simulate_shared_cluster(cluster(), seed=1, replications=2).best("saturation_rate").unit == "job/s"
