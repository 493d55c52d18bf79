"""Collectives: closed forms against sheets and sums, messages on SimPy against naive recursions and exact theory."""

import math
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondorder.analytic.collectives import alpha_beta, overlap, stragglers, tree
from secondorder.analytic.collectives import ring as maxplus
from secondorder.errors import InputError, UnknownName
from secondorder.fleets.clusters import Link
from secondorder.laws import EmpiricalLaw, LogNormal, Pareto, read_law
from secondorder.quantities import quantity, si
from secondorder.scenarios.collective import Collective
from secondorder.simulate.collectives import events, hops, operations, recursion, ring, simulate_collective
from secondorder.simulate.collectives import overlap as overlapped
from secondorder.simulate.collectives.answer import order_statistics
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.streams import stream
from secondorder.verbs import solve

LINK = Link(bandwidth="50 GB/s", latency="5 us")
NODE = Link(bandwidth="400 GB/s", latency="1 us")
BUILT = {
    ("all_reduce", "ring"): (2, 3, 8, 64),
    ("all_reduce", "tree"): (2, 5, 8, 13, 64),
    ("all_reduce", "recursive_doubling"): (2, 8, 64),
    ("all_reduce", "halving_doubling"): (2, 8, 64),
    ("all_reduce", "hierarchical"): (4, 12, 64),
    ("all_gather", "ring"): (2, 5),
    ("all_gather", "halving_doubling"): (2, 16),
    ("reduce_scatter", "ring"): (2, 5),
    ("reduce_scatter", "halving_doubling"): (2, 16),
    ("all_to_all", "pairwise"): (2, 7),
    ("broadcast", "tree"): (2, 5, 16),
}
CASES = [(*key, n) for key, sizes in BUILT.items() for n in sizes]


def collective(ranks=8, algorithm="ring", **options):
    if algorithm == "hierarchical":
        options = {"ranks_per_node": 4, "node_link": NODE, **options}
    return Collective(ranks=ranks, algorithm=algorithm, **{"size": "1 GB", "link": LINK, **options})


def drawn(scenario, runs=1, seed=1):
    return list(hops.draw(scenario, runs, stream(seed, 0, "hops")))


# Alpha-beta


def by_hand(operation, algorithm, n, size=1e9, bandwidth=50e9, latency=5e-6):
    """The sheet's formulas, written out."""
    log = math.ceil(math.log2(n))
    match operation, algorithm:
        case "all_reduce", "ring":
            return 2 * (n - 1) * latency + 2 * (n - 1) / n * size / bandwidth
        case "all_reduce", "tree":
            return 2 * log * (latency + size / bandwidth)
        case "all_reduce", "recursive_doubling":
            return log * (latency + size / bandwidth)
        case "all_reduce", "halving_doubling":
            return 2 * log * latency + 2 * (n - 1) / n * size / bandwidth
        case "all_reduce", "hierarchical":
            inner = 2 * 3 * (1e-6 + size / 4 / 400e9)
            return inner + by_hand("all_reduce", "ring", n // 4, size / 4)
        case "broadcast", _:
            return log * (latency + size / bandwidth)
        case _, "halving_doubling":
            return log * latency + (n - 1) / n * size / bandwidth
    return (n - 1) * latency + (n - 1) / n * size / bandwidth


@pytest.mark.parametrize(("operation", "algorithm", "ranks"), CASES)
def test_without_jitter_closed_form_stages_and_messages_take_the_same_time(operation, algorithm, ranks):
    scenario = collective(ranks, algorithm, operation=operation)
    expected = by_hand(operation, algorithm, ranks)
    rounding = 4 * len(scenario.stages) * np.finfo(float).eps
    assert solve(scenario)["time_mean"][0].amount == pytest.approx(expected, rel=rounding)
    assert operations(scenario, runs=1).item() == pytest.approx(expected, rel=rounding)
    still = np.array(drawn(scenario))[..., 0]
    assert events.ends(scenario, still).max() == pytest.approx(expected, rel=rounding)


def test_every_byte_arrives_that_the_operation_needs():
    for operation, algorithm, n in CASES:
        scenario = collective(n, algorithm, operation=operation)
        received = np.zeros(n)
        for stage in scenario.stages:
            received += [stage.size if sender != rank else 0.0 for rank, sender in enumerate(stage.senders)]
        least = alpha_beta.BUS_FACTORS[operation](np.asarray(n)) * 1e9
        if operation == "broadcast":
            assert received.tolist() == [0.0, *[1e9] * (n - 1)]
        elif algorithm in ("ring", "halving_doubling", "pairwise"):
            assert received == pytest.approx(least)  # no byte more than must be
        assert received.max() >= least * (1 - 1e-9)


def test_each_algorithm_sums_the_contributions_of_all_ranks_everywhere():
    for algorithm in ("ring", "tree", "recursive_doubling", "halving_doubling", "hierarchical"):
        for n in BUILT["all_reduce", algorithm]:
            known = [{rank} for rank in range(n)]
            for stage in collective(n, algorithm).stages:
                before = [set(each) for each in known]
                for rank, sender in enumerate(stage.senders):
                    known[rank] |= before[sender]
            assert all(len(each) == n for each in known), algorithm


def test_the_hops_of_broadcast_come_from_who_already_has_it():
    for n in (2, 5, 13, 16):
        has = {0}
        for stage in collective(n, "tree", operation="broadcast").stages:
            pairs = [(sender, rank) for rank, sender in enumerate(stage.senders) if sender != rank]
            assert all(sender in has and rank not in has for sender, rank in pairs)
            assert len({sender for sender, _ in pairs}) == len(pairs)  # one message each
            has |= {rank for _, rank in pairs}
        assert has == set(range(n))


def test_bus_bandwidth_is_that_of_the_links_whatever_the_number_of_ranks():
    for n in (2, 8, 512):
        wire = Link(bandwidth="50 GB/s")
        for operation, algorithm in (("all_reduce", "ring"), ("all_gather", "ring"), ("all_to_all", "pairwise")):
            answer = solve(collective(n, algorithm, operation=operation, link=wire))
            assert answer.best("bus_bandwidth").amount == pytest.approx(50e9)


# Messages on SimPy


def naive_ring(times):
    """Ten lines of the recursion: times[k][i]."""
    now = [0.0] * len(times[0])
    for row in times:
        now = [max(now[i], now[i - 1]) + row[i] for i in range(len(row))]
    return now


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_messages_on_simpy_give_the_recursion_bit_for_bit(data):
    operation, algorithm, ranks = data.draw(st.sampled_from([case for case in CASES if case[2] <= 16]))
    slow = {data.draw(st.integers(0, ranks - 1)): data.draw(st.floats(0.5, 3.0))}
    law = data.draw(st.sampled_from(["exponential", "lognormal scv=0.04", "deterministic"]))
    repeats = data.draw(st.integers(1, 3))
    scenario = collective(ranks, algorithm, operation=operation, jitter=law, repeats=repeats, slow_ranks=slow)
    times = drawn(scenario, seed=data.draw(st.integers(0, 99)))
    by_messages = events.ends(scenario, np.array(times)[..., 0])
    assert np.array_equal(by_messages, recursion.ends(scenario, times)[..., 0])
    if algorithm == "ring":
        assert by_messages[-1].tolist() == naive_ring([row[:, 0].tolist() for row in times])
        assert np.array_equal(by_messages[-1], ring.finish(np.zeros(ranks), np.array(times)[..., 0]))


def naive_tree(n, times):
    """Ranks that each hop leaves, by brute force: a reduction to 0 and a broadcast from it. times[k][receiver]."""
    now, k, distance = [0.0] * n, 0, 1
    while distance < n:
        for i in range(0, n - distance, 2 * distance):
            now[i] = now[i + distance] = max(now[i], now[i + distance]) + times[k][i]
        k, distance = k + 1, 2 * distance
    while distance > 1:
        distance //= 2
        for i in range(0, n - distance, 2 * distance):
            now[i] = now[i + distance] = max(now[i], now[i + distance]) + times[k][i + distance]
        k += 1
    return now


@pytest.mark.parametrize("n", [2, 3, 7, 8, 13])
def test_a_tree_by_messages_is_a_tree_by_hand(n):
    scenario = collective(n, "tree", jitter="exponential")
    times = np.array(drawn(scenario, seed=n))[..., 0]
    assert events.ends(scenario, times)[-1].tolist() == naive_tree(n, times.tolist())


def naive_doubling(n, times):
    now, distance = [0.0] * n, 1
    for row in times:
        now = [max(now[i], now[i ^ distance]) + row[i] for i in range(n)]
        distance *= 2
    return now


def test_recursive_doubling_by_messages_is_the_one_by_hand():
    scenario = collective(16, "recursive_doubling", jitter="exponential")
    times = np.array(drawn(scenario))[..., 0]
    assert events.ends(scenario, times)[-1].tolist() == naive_doubling(16, times.tolist())


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([case for case in CASES if case[2] <= 13]), st.integers(0, 99), st.data())
def test_no_hop_can_be_slower_and_anybody_earlier(case, seed, data):
    operation, algorithm, ranks = case
    scenario = collective(ranks, algorithm, operation=operation, jitter="exponential", repeats=2)
    times = np.array(drawn(scenario, seed=seed))[..., 0]
    slower = times.copy()
    at = tuple(data.draw(st.integers(0, side - 1)) for side in times.shape)
    slower[at] *= 1 + data.draw(st.floats(0.0, 5.0))
    before, after = events.ends(scenario, times), events.ends(scenario, slower)
    assert (after >= before).all()
    assert before.max() >= times.sum(axis=0).max() * (1 - 1e-12)  # nobody is faster than its own hops
    barrier = times.max(axis=1).sum()
    assert before.max() <= barrier * (1 + 1e-12)


def test_a_ring_of_64_ranks_takes_less_than_a_tenth_of_a_second_on_simpy():
    scenario = collective(64, jitter="lognormal scv=0.04")
    times = np.array(drawn(scenario))[..., 0]
    assert times.shape == (126, 64)
    spent = []
    for _ in range(3):
        start = time.process_time()
        events.ends(scenario, times)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.1


# Rings with jitter


def steady_cost(ranks, law, *, seed=0, runs=40, stages=None, factors=None):
    """Student's interval at 99.9 % of the cost of a stage past as many stages as are then measured."""
    stages = stages or max(400, int(6 * ranks**1.5))
    rng = np.random.default_rng(seed)
    times = read_law(law, "law").sample(2 * stages * ranks * runs, rng).reshape(2 * stages, runs, ranks)
    times = times * (1.0 if factors is None else factors)
    half = ring.finish(np.zeros((runs, ranks)), np.moveaxis(times[:stages], 0, -2))
    whole = ring.finish(half, np.moveaxis(times[stages:], 0, -2))
    return student(((whole - half) / stages).mean(axis=-1), 0.999)


@pytest.mark.parametrize(("n", "published"), [(2, 1.5), (8, 1.875), (64, 1.984375)])
def test_exponential_hops_cost_two_less_one_in_n_and_neither_one_nor_a_barrier(n, published):
    found = steady_cost(n, "exponential 1 s", **({"runs": 120, "stages": 3000} if n < 64 else {"runs": 30}))
    assert maxplus.exponential_stage_cost(ranks=n) == published
    assert found.relative_half_width < 0.005
    assert found.low <= published <= found.high
    assert not found.low <= 1.0 <= found.high, "alpha-beta"
    if n > 2:
        assert not found.low <= stragglers.harmonic(count=n) <= found.high, "a barrier after each stage"
    for wrong in (2 - 1 / (n + 1), 2 - 1 / (n - 1), 2.0):
        assert n == 64 or not found.low <= wrong <= found.high


def test_simulated_scenarios_meet_the_exact_cost():
    for n, repeats in ((2, 200), (8, 100)):
        scenario = collective(n, jitter="exponential", repeats=repeats)
        found = simulate_collective(scenario, seed=3).best("stage_cost")
        exact = solve(scenario).best("stage_cost")
        assert exact.in_domain
        assert exact.amount == pytest.approx(2 - 1 / n)
        lead = math.sqrt(n) / (len(scenario.stages) * repeats)  # of the last rank, once
        assert found.low - lead <= exact.amount <= found.high
        assert found.high - found.low < 0.02


def test_few_operations_put_the_steady_cost_outside_its_domain():
    rung = solve(collective(64, jitter="exponential")).best("stage_cost")
    assert not rung.in_domain
    assert rung.outside.startswith("the last rank's lead adds up to 3.2 %")
    assert solve(collective(64, jitter="exponential", repeats=4)).best("stage_cost").in_domain


@pytest.mark.parametrize(
    ("law", "low", "high"), [("normal 1 s scv=0.0025", 0.0435, 0.0445), ("lognormal 1 s scv=0.04", 0.18, 0.19)]
)
def test_published_costs_of_normal_and_lognormal_jitter(law, low, high):
    found = steady_cost(64, law, runs=10)
    assert found.relative_half_width < 0.002
    assert low <= found.low - 1 + 0.002
    assert found.high - 1 - 0.002 <= high


@pytest.mark.parametrize(
    ("n", "law"),
    [
        (4, "lognormal 1 s scv=0.04"),
        (8, "normal 1 s scv=0.0025"),
        (32, "gamma 1 s scv=0.1225"),
        (64, "lognormal 1 s scv=0.04"),
        (100, "normal 1 s scv=0.04"),
    ],
)
def test_two_moments_tell_the_cost_within_two_and_a_half_percent(n, law):
    found = steady_cost(n, law, runs=20, stages=2000)
    guess = maxplus.approximate_stage_cost(scv=read_law(law, "law").scv, ranks=n)
    assert found.relative_half_width < 0.005
    assert guess == pytest.approx(found.mean, rel=0.025 + found.relative_half_width)


def test_two_ranks_cost_the_later_of_two_from_the_first_stage_on():
    scenario = collective(2, jitter="lognormal scv=1", repeats=3)
    found = simulate_collective(scenario, seed=1).best("stage_cost")
    exact = solve(scenario).best("stage_cost").amount
    sigma = math.sqrt(math.log(2))
    assert exact == pytest.approx(1 + math.erf(sigma / 2), rel=1e-8)  # 2 Phi(sigma/sqrt 2)
    assert found.low - (found.high - found.low) <= exact <= found.high + (found.high - found.low)


def test_a_slow_link_slows_the_ring_by_its_own_factor_and_jitter_is_another_matter():
    scenario = collective(16, slow_links={3: 2.0})
    assert operations(scenario, runs=1).item() == pytest.approx(2 * operations(collective(16), runs=1).item())
    assert solve(scenario).best("stage_cost").amount == pytest.approx(2.0)
    both = collective(16, slow_links={(3, 4): 2.0}, slow_ranks={3: 1.5})
    assert operations(both, runs=1).item() == pytest.approx(solve(both).best("time_mean").amount)
    assert solve(both).best("stage_cost").amount == pytest.approx(3.0)
    assert stragglers.persistent(factors=np.array([1.0, 2.0])) == 2.0


def test_exponential_hops_over_a_slow_link_are_a_closed_cycle_of_servers():
    factors = np.ones(8)
    factors[4] = 1.5
    exact = maxplus.uneven_exponential_stage_cost(means=factors)
    found = steady_cost(8, "exponential 1 s", runs=120, factors=factors)
    assert found.relative_half_width < 0.01
    assert found.low <= exact <= found.high
    assert not found.low <= 1.875 <= found.high
    assert not found.low <= 1.875 * 1.5 <= found.high, "the two effects do not multiply"


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(CASES), st.data())
def test_slow_parts_lengthen_the_longest_path_of_any_algorithm(case, data):
    operation, algorithm, ranks = case
    rank, factor = data.draw(st.integers(0, ranks - 1)), data.draw(st.floats(1.0, 4.0))
    scenario = collective(ranks, algorithm, operation=operation, slow_ranks={rank: factor}, repeats=2)
    simulated = operations(scenario, runs=1).mean()
    assert solve(scenario)["time_mean"][1].amount == pytest.approx(simulated, rel=1e-10)
    still = solve(scenario)["time_mean"][0].amount
    assert still * (1 - 1e-10) <= simulated <= factor * still * (1 + 1e-10)


# Trees with jitter


@pytest.mark.parametrize(("operation", "n"), [("all_reduce", 8), ("all_reduce", 13), ("broadcast", 16)])
def test_the_law_of_a_tree_is_met_by_its_messages(operation, n):
    scenario = collective(n, "tree", operation=operation, jitter="lognormal scv=0.25")
    found, exact = simulate_collective(scenario, seed=2, replications=20), solve(scenario)
    mean = student([operations(scenario, runs=2000, seed=2, replication=k).mean() for k in range(20)], 0.999)
    assert mean.relative_half_width < 0.005
    assert mean.low <= exact.best("time_mean").amount <= mean.high
    p99 = found.best("time_p99")
    slack = p99.high - p99.low  # a 95 % interval, widened to about 99.99 %
    assert p99.low - slack / 2 <= exact.best("time_p99").amount <= p99.high + slack / 2


def test_a_tree_of_four_is_the_larger_of_two_and_one_more():
    law = read_law("exponential 1 s", "law")
    assert tree.reduction(law=law, ranks=4).mean == pytest.approx(2.5, rel=1e-3)
    assert tree.all_reduce(law=law, ranks=4).mean == pytest.approx(5.0, rel=1e-3)
    assert tree.reduction(law=law, ranks=3).mean == pytest.approx(2.0, rel=1e-3)  # the third has waited


# Stragglers


def test_published_means_of_the_largest():
    for n, published in ((8, 1.4236), (1024, 3.2482), (16384, 3.9714)):
        assert stragglers.standard_normal(count=n) == pytest.approx(published, abs=5e-5)
    assert stragglers.standard_normal(count=2) == pytest.approx(1 / math.sqrt(math.pi), rel=1e-10)
    assert stragglers.standard_normal(count=3) == pytest.approx(1.5 / math.sqrt(math.pi), rel=1e-10)
    assert stragglers.standard_normal(count=1) == pytest.approx(0.0, abs=1e-10)
    assert stragglers.harmonic(count=64) == pytest.approx(sum(1 / k for k in range(1, 65)), rel=1e-12)


def test_the_asymptotic_form_is_eleven_to_forty_three_percent_high():
    high = [
        stragglers.standard_normal_asymptotic(count=n) / stragglers.standard_normal(count=n) - 1 for n in (8, 16384)
    ]
    assert high == pytest.approx([0.43, 0.11], abs=0.01)


@pytest.mark.parametrize("count", [1, 2, 64, 10_000])
def test_the_largest_of_any_law_agrees_with_what_is_known_of_it(count):
    def largest(line):
        return stragglers.of_law(read_law(line, "law"), count=count)

    assert largest("erlang 2 s stages=1") == pytest.approx(2 * stragglers.harmonic(count=count), rel=1e-8)
    assert largest("weibull 3 s shape=1") == pytest.approx(3 * stragglers.harmonic(count=count), rel=1e-8)
    beta = math.exp(math.lgamma(count + 1) + math.lgamma(2 / 3) - math.lgamma(count + 2 / 3))
    assert stragglers.of_law(Pareto("1.5 s", shape=3), count=count) == pytest.approx(beta, rel=1e-7)
    assert stragglers.of_law(EmpiricalLaw([1.0, 3.0]), count=count) == pytest.approx(3 - 2 * 0.5**count)
    assert largest("deterministic 2 s") == 2.0


def test_the_largest_of_lognormal_times_is_met_by_draws():
    law = LogNormal("1 s", scv=0.04)
    draws = law.sample(64 * 40_000, np.random.default_rng(5)).reshape(-1, 64).max(axis=1)
    found = student(draws, 0.999)
    assert found.low <= stragglers.of_law(law, count=64) <= found.high
    assert not found.low <= 1 + 0.2 * stragglers.standard_normal(count=64) <= found.high, "normal is another law"


# Measured tables


def test_a_measured_table_is_the_mean_and_jitter_comes_on_top():
    table = {"1 MB": "120 us", "4 MB": "240 us", "1 GB": "45 ms"}
    scenario = collective(8, size="2.5 MB", measured=table)
    assert solve(scenario)["time_mean"][0].amount == pytest.approx(180e-6)
    assert operations(scenario, runs=1).item() == pytest.approx(180e-6)
    assert operations(replace(scenario, algorithm="halving_doubling"), runs=1).item() == pytest.approx(180e-6)
    plain = simulate_collective(collective(8, size="2.5 MB", jitter="exponential"), seed=4)
    jittered = simulate_collective(replace(scenario, jitter="exponential"), seed=4)
    assert jittered.best("stage_cost").amount == pytest.approx(plain.best("stage_cost").amount)
    assert replace(scenario, measured=((1e6, 120e-6), (4e6, 240e-6))).scale == pytest.approx(scenario.scale)
    assert replace(scenario, measured={1e6: 120e-6, 4e6: 240e-6}).scale == pytest.approx(scenario.scale)


# Overlap


def naive_overlap(compute, comm):
    clock, gone = 0.0, 0.0
    for work, send in zip(compute, comm, strict=True):
        clock += work
        gone = max(clock, gone) + send
    return gone - clock


BUCKETS = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(BUCKETS)
def test_what_no_computation_hides_is_the_same_by_formula_recursion_and_events(pairs):
    compute, comm = map(list, zip(*pairs, strict=True))
    expected = naive_overlap(compute, comm)
    assert overlap.exposed(compute=compute, comm=comm) == pytest.approx(expected, abs=1e-9)
    assert float(overlapped.exposed([compute], comm)) == pytest.approx(expected, abs=1e-9)
    computed, gone = overlapped.on_simpy([compute], comm)
    assert (computed, gone) == tuple(map(float, overlapped.finish([compute], comm)))
    least = max(comm[-1], sum(comm) - sum(compute[1:]))
    assert least - 1e-9 <= expected <= sum(comm) + 1e-9


def test_buckets_of_many_ranks_wait_for_the_last_of_them():
    rng = np.random.default_rng(1)
    for _ in range(20):
        compute, comm = rng.exponential(size=(4, 6)), rng.exponential(size=6)
        assert overlapped.on_simpy(compute, comm) == tuple(map(float, overlapped.finish(compute, comm)))
        assert overlapped.finish(compute, comm)[1] >= overlapped.finish(compute[:1], comm)[1]
    many = overlapped.exposed(rng.exponential(size=(100, 4, 6)), np.ones(6))
    assert many.shape == (100,)


def test_exposed_communication_is_no_constant_fraction():
    shares = [float(overlap.exposed(compute=[1.0] * 8, comm=[c] * 8)) / (8 * c) for c in (0.5, 1.0, 2.0, 10.0)]
    assert shares == pytest.approx([0.125, 0.125, 0.5625, 0.9125])


# Answers


def test_answers_of_both_witnesses_have_the_same_metrics_and_the_ideal_below_them():
    scenario = collective(16, "halving_doubling", jitter="lognormal scv=0.04")
    simulated, solved = simulate_collective(scenario, seed=1), solve(scenario)
    metrics = ["time_mean", "time_p99", "algorithm_bandwidth", "bus_bandwidth", "stage_cost"]
    assert list(simulated) == metrics
    assert sorted(solved) == sorted(metrics)
    assert [e.order for e in solved["time_mean"]] == [0, 1]  # no theory, no claim
    assert "with a barrier after each stage at most" in solved.best("time_mean").remark
    barrier = si(quantity(solved.best("time_mean").remark.split("at most ")[1], "s"))
    assert solved.best("time_mean").amount < simulated.best("time_mean").amount < barrier
    assert simulated.best("time_p99").amount > simulated.best("time_mean").high
    assert simulated == simulate_collective(scenario, seed=1)
    assert simulated != simulate_collective(scenario, seed=2)


def test_a_p99_from_too_few_operations_says_so():
    few = simulate_collective(collective(8, jitter="exponential", repeats=2), replications=2).best("time_p99")
    assert few.steady  # 5,000 runs of two
    slow = simulate_collective(collective(600, jitter="exponential"), replications=2).best("time_p99")
    assert not slow.steady
    assert slow.remark == "not enough data: 80 operations, 400 are needed"


def test_order_statistics_cover_as_often_as_they_say():
    rng = np.random.default_rng(7)
    rows = np.sort(rng.exponential(size=(2000, 1000)), axis=1)
    covered = np.mean([low <= math.log(100) <= high for low, high in (order_statistics(row, 0.99) for row in rows)])
    assert covered >= 0.95 - 3.3 * math.sqrt(0.05 * 0.95 / 2000)
    assert order_statistics(np.arange(300.0), 0.99)[1] == math.inf


# Refusals

BAD = {
    "ranks": ({"ranks": 1}, "ranks: got 1, expected at least 2"),
    "power": ({"ranks": 12, "algorithm": "recursive_doubling"}, "ranks: got 12, expected a power of two"),
    "name": ({"algorithm": "rnig"}, "did you mean ring?"),
    "operation": ({"operation": "allreduce"}, "did you mean all_reduce"),
    "built": ({"algorithm": "tree", "operation": "all_gather"}, "expected ring or halving_doubling"),
    "nodes": (
        {"ranks": 10, "algorithm": "hierarchical", "ranks_per_node": 4, "node_link": NODE},
        "10 ranks in nodes of 4, expected a multiple of ranks_per_node",
    ),
    "node link": ({"algorithm": "hierarchical", "ranks_per_node": 4}, "node_link: got nothing"),
    "flat": ({"ranks_per_node": 4}, "a value if and only if the algorithm is hierarchical"),
    "link": ({"slow_links": {9: 2.0}}, "slow_links: got 9, expected a link that the algorithm sends over"),
    "no such way": ({"slow_links": {"0-5": 2.0}}, "slow_links: got '0-5', expected a link"),
    "odd link": ({"slow_links": {"a": 2.0}}, 'write 3 or "3-4"'),
    "rank": ({"slow_ranks": {8: 2.0}}, "slow_ranks: got 8, expected a rank from 0 to 7"),
    "factor": ({"slow_ranks": {1: -2.0}}, "expected a factor above 0"),
    "mean": ({"jitter": LogNormal("2 s", scv=0.1)}, "expected a law of mean 1 s"),
    "table": ({"measured": {"1 MB": "1 ms", "4 MB": "2 ms"}}, "expected a size from 1e+06 to 4e+06 byte"),
    "one": ({"measured": {"1 GB": "1 ms"}}, "expected at least two"),
    "nothing": ({"size": "0 B", "link": Link(bandwidth="1 GB/s")}, "expected a hop that takes some time"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_meant_is_refused_in_one_line(case):
    fields, words = BAD[case]
    with pytest.raises((InputError, UnknownName)) as refusal:
        Collective(**{"ranks": 8, "size": "1 GB", "link": LINK, **fields})
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_link_is_spelt_by_its_sender_or_by_both_ends():
    assert collective(slow_links={"3": 2.0}) == collective(slow_links={(3, 4): 2.0}) == collective(slow_links={3: 2.0})
    assert collective(slow_links={7: 2.0}).slow_links == {(7, 0): 2.0}
    nested = collective(8, "hierarchical", slow_links={3: 2.0, (3, 7): 3.0})
    assert nested.slow_links == {(3, 0): 2.0, (3, 7): 3.0}


def test_functions_take_arrays_and_refuse_what_is_no_number():
    found = alpha_beta.ring_all_reduce(ranks=np.array([1, 2, 64]), size=1e9, bandwidth=50e9)
    assert found == pytest.approx([0.0, 0.02, 0.039375])
    with pytest.raises(InputError, match="power of two"):
        alpha_beta.halving(ranks=6, size=1.0, bandwidth=1.0)
    with pytest.raises(InputError, match="multiple of ranks_per_node"):
        alpha_beta.hierarchical_all_reduce(ranks=6, ranks_per_node=4, size=1.0, bandwidth=1.0, node_bandwidth=1.0)


@pytest.mark.parametrize("jitter", [None, "lognormal scv=0.04"])
def test_memory_grows_with_the_ranks_and_not_with_the_hops(jitter: str | None) -> None:
    scenario = collective(ranks=1024, jitter=jitter)
    operations(collective(ranks=4, jitter=jitter), runs=1)  # imports
    tracemalloc.start()
    operations(scenario, runs=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    one_number_a_hop = 8 * len(scenario.stages) * scenario.ranks
    assert peak < one_number_a_hop / 10
