"""Data loading: the buffer in closed form against a chain written out by hand, and against batches on SimPy."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondorder.analytic.data_loading import (
    buffered_rate,
    ceiling,
    solve_data_loading,
    stored_rate,
    two_moment_rate,
)
from secondorder.errors import InputError, UnitError
from secondorder.scenarios.data_loading import DataLoading
from secondorder.simulate import data_loading as simulation
from secondorder.simulate.data_loading import Draws, by_events, by_recursion, draw, simulate_data_loading
from secondorder.simulate.statistics.intervals import student

CONFIDENCE = 0.999


def loading(**options):
    usual = {
        "batch_size": 256,
        "sample_size": "0 byte",
        "storage_bandwidth": "1 GB/s",
        "workers": 4,
        "decode": "exponential 4 s",
        "prefetch": 2,
        "step": "exponential 1 s",
    }
    return DataLoading(**{**usual, **options})


def reading(seconds, **options):
    """A loader whose batch takes so long to read."""
    return loading(batch_size=1, sample_size=f"{seconds * 1e9!r} byte", **options)


def simulated(scenario, metric, replications=20, seed=1):
    batches, _ = simulation.length(scenario)
    runs = [
        simulation.measure(
            scenario, by_recursion(scenario, draw(scenario, batches, seed=seed, replication=k)), batches // 10
        )
        for k in range(replications)
    ]
    return student([each[metric] for each in runs], CONFIDENCE)


# The chain


def generator_by_hand(read, decode, workers, prefetch, step):
    """Throughput from the generator of the chain, told by its parts: who reads, who decodes, who is held, the buffer.

    Nothing but the rules: a dense matrix over the states that are reached, its null vector by least squares.
    """
    start = (workers, 0, 0, 0, 0) if read else (0, workers, 0, 0, 0)

    def settle(state):
        """What happens without time: batches to the accelerator, held ones into the buffer, workers back to read."""
        reads, decodes, held, buffer, training = state
        while (buffer and not training) or (held and buffer < prefetch):
            if buffer and not training:
                buffer, training = buffer - 1, 1
            else:
                held, buffer = held - 1, buffer + 1
                reads, decodes = (reads + 1, decodes) if read else (reads, decodes + 1)
        return reads, decodes, held, buffer, training

    def moves(state):
        reads, decodes, held, buffer, training = state
        if read and reads:
            yield read, (reads - 1, decodes + 1, held, buffer, training)
        if decodes:
            yield decodes * decode, (reads, decodes - 1, held + 1, buffer, training)
        if training:
            yield step, (reads, decodes, held, buffer, 0)

    states, todo, edges = {start: 0}, [start], []
    while todo:
        state = todo.pop()
        for rate, to in moves(state):
            to = settle(to)
            if to not in states:
                states[to] = len(states)
                todo.append(to)
            edges.append((states[state], states[to], rate))
    q = np.zeros((len(states), len(states)))
    for a, b, rate in edges:
        q[a, b] += rate
        q[a, a] -= rate
    law = np.linalg.lstsq(np.vstack([q.T, np.ones(len(states))]), np.append(np.zeros(len(states)), 1.0), rcond=None)[0]
    return step * sum(law[k] for state, k in states.items() if state[4])


@pytest.mark.parametrize(("workers", "prefetch"), [(1, 1), (1, 5), (3, 1), (4, 6), (7, 2)])
@pytest.mark.parametrize("step", [0.4, 1.0, 3.0])
def test_the_birth_death_chain_is_the_chain_of_its_parts(workers, prefetch, step):
    found = buffered_rate(decode_rate=1 / workers, workers=workers, prefetch=prefetch, step_rate=step)
    assert found == pytest.approx(generator_by_hand(0, 1 / workers, workers, prefetch, step), rel=1e-9)


@pytest.mark.parametrize(("workers", "prefetch"), [(1, 1), (2, 4), (5, 2)])
@pytest.mark.parametrize("read", [0.7, 1.0, 4.0])
def test_the_chain_with_a_storage_is_the_chain_of_its_parts(workers, prefetch, read):
    found = stored_rate(read_rate=read, decode_rate=0.5, workers=workers, prefetch=prefetch, step_rate=1.1)
    assert found == pytest.approx(generator_by_hand(read, 0.5, workers, prefetch, 1.1), rel=1e-9)


def test_at_balance_one_worker_is_idle_one_part_in_the_places_plus_one():
    """N / (N + 1) with N = prefetch + 2: Hunt 1956."""
    rooms = np.array([1, 2, 8, 98])
    found = buffered_rate(decode_rate=1.0, workers=1, prefetch=rooms, step_rate=1.0)
    np.testing.assert_allclose(found, (rooms + 2) / (rooms + 3), rtol=1e-12)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    workers=st.integers(1, 8),
    prefetch=st.integers(1, 20),
    decode=st.floats(0.05, 20),
    step=st.floats(0.05, 20),
    scvs=st.tuples(st.floats(0, 4), st.floats(0, 4)),
    read=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_no_rate_passes_the_ceiling_and_more_room_never_hurts(workers, prefetch, decode, step, scvs, read):
    most = ceiling(read=read, decode=decode, workers=workers, step=step)
    shape = {
        "read": read,
        "read_scv": 0.0,
        "decode": decode,
        "decode_scv": scvs[0],
        "workers": workers,
        "step": step,
        "step_scv": scvs[1],
    }
    rate, roomier = (two_moment_rate(prefetch=room, **shape) for room in (prefetch, prefetch + 1))
    assert 0 < rate <= roomier * (1 + 1e-9)
    assert roomier <= most * (1 + 1e-9)
    exact = {"decode_rate": 1 / decode, "workers": workers, "step_rate": 1 / step}
    rate, roomier = (buffered_rate(prefetch=room, **exact) for room in (prefetch, prefetch + 1))
    assert 0 < rate <= roomier * (1 + 1e-9)
    assert roomier <= ceiling(read=0.0, decode=decode, workers=workers, step=step) * (1 + 1e-9)


# The simulation


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    workers=st.integers(1, 6),
    prefetch=st.integers(1, 6),
    stored=st.booleans(),
    ticks=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=12, max_size=60),
)
def test_the_recursion_is_the_story_on_simpy_bit_for_bit(workers, prefetch, stored, ticks):
    read, decode, step = np.array(ticks, float).T
    scenario = loading(workers=workers, prefetch=prefetch)
    draws = Draws(read * stored, decode, step[: len(step) - workers])
    told, recursed = by_events(scenario, draws), by_recursion(scenario, draws)
    assert told.taken.tolist() == recursed.taken.tolist()  # also where several are ready at one moment


@pytest.mark.parametrize("workers", [1, 3, 8])
@pytest.mark.parametrize("law", ["lognormal 3 s scv=2", "exponential 3 s", "uneven"])
def test_drawn_batches_are_put_and_taken_at_the_same_times_on_either_path(workers, law):
    options = {"decode": "3 s", "step": "lognormal 1 s scv=1"} if law == "uneven" else {"decode": law}
    scenario = reading(0.3, workers=workers, storage_jitter="gamma scv=0.5", **options)
    draws = draw(scenario, 800, seed=1, replication=0)
    events, recursion = by_events(scenario, draws), by_recursion(scenario, draws)
    assert np.array_equal(events.put, recursion.put)
    assert np.array_equal(events.taken, recursion.taken)


@pytest.mark.parametrize(
    "scenario",
    [
        loading(workers=1, decode="exponential 1 s", prefetch=1),
        loading(),
        loading(workers=8, prefetch=8, decode="exponential 6 s"),
        reading(0.5, workers=2, decode="exponential 1 s", storage_jitter="exponential"),
        reading(0.9, workers=4, prefetch=6, decode="exponential 3 s", storage_jitter="exponential"),
    ],
)
def test_where_all_is_exponential_the_chain_is_the_simulation(scenario):
    answer = solve_data_loading(scenario)
    assert "exact" in answer.best("starvation").source
    for metric in ("starvation", "throughput", "worker_utilisation", "storage_utilisation"):
        found = simulated(scenario, metric)
        assert found.low <= answer.best(metric).amount <= found.high


def test_a_chain_that_forgets_the_places_in_the_workers_hands_is_caught():
    """A wrong formula: M/M/1 with the buffer as its only room."""
    scenario = loading(workers=4)
    room = scenario.prefetch + 1
    wrong = 1 - room / (room + 1)
    found = simulated(scenario, "starvation")
    assert not found.low <= wrong <= found.high


def test_means_alone_see_no_starvation_where_a_sixth_of_the_time_is_lost():
    """The first order says that a loader as fast as the accelerator costs nothing."""
    scenario = loading()
    first = solve_data_loading(scenario)["starvation"][1]
    found = simulated(scenario, "starvation")
    assert first.amount == 0
    assert not first.in_domain
    assert found.low > 0.15


def test_where_nothing_varies_the_first_order_is_exact_on_every_bottleneck():
    for scenario, part in (
        (reading(0.2, decode="3 s", step="1 s"), "step"),
        (reading(0.2, decode="6 s", step="1 s"), "workers"),
        (reading(2.0, decode="3 s", step="1 s"), "storage"),
    ):
        assert scenario.bottleneck == part
        first = solve_data_loading(scenario)["throughput"][1]
        assert first.in_domain
        told = by_recursion(scenario, draw(scenario, 2000, seed=0, replication=0))
        # once it has settled: the pattern repeats every so many batches, so a span is off by less than one round
        span = told.taken[-1] - told.taken[200]
        assert abs(span * first.amount - (1999 - 200)) < 4 + 1


def _law(mean, scv, heavy):
    if scv == 0:
        return f"{mean} s"
    return f"erlang {mean} s stages={round(1 / scv)}" if scv < 1 else f"{heavy} {mean} s scv={scv}"


def _cases(count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        workers, prefetch = (int(rng.choice([1, 2, 4, 8, 16])) for _ in range(2))
        scvs, balance = rng.choice([0, 0.1, 0.25, 0.5, 1], 2), float(rng.uniform(0.5, 1.6))
        read = float(rng.choice([0, 0.3, 0.6, 0.8])) / max(balance, 1)
        decode = workers / balance - read
        if decode > 0.02:
            heavy = rng.choice(["lognormal", "gamma", "hyperexponential"])
            jitter = rng.choice(["exponential", "lognormal scv=0.25", "none"])
            yield reading(
                read,
                workers=workers,
                prefetch=prefetch,
                decode=_law(decode, scvs[0], heavy),
                step=_law(1, scvs[1], heavy),
                storage_jitter=None if jitter == "none" or not read else str(jitter),
            )


def test_two_moments_are_within_seven_percent_inside_their_domain():
    """The margin is stated, and the 99.9 % interval of each simulation must reach into it."""
    judged = 0
    for scenario in _cases(60, seed=3):
        best = solve_data_loading(scenario).best("throughput")
        if not best.in_domain:
            continue
        judged += 1
        found = simulated(scenario, "throughput", replications=5)
        assert found.low <= best.amount * 1.07
        assert found.high >= best.amount * 0.93
    assert judged > 40


@pytest.mark.parametrize(
    ("workers", "read", "decode", "step"),
    [
        (3, 1.0, "2 s", "0.8 s"),
        (2, 1.0, "2 s", "0.8 s"),
        (4, 1.0, "4 s", "0.2 s"),
        (2, 2.0, "2 s", "0.2 s"),
        (8, 1.0, "6 s", "1 s"),
    ],
)
def test_where_nothing_varies_readers_take_turns_and_the_second_order_is_the_first(workers, read, decode, step):
    scenario = reading(read, workers=workers, decode=decode, step=step)
    first, second = solve_data_loading(scenario)["step_time_mean"][1:]
    assert second.amount == pytest.approx(first.amount, rel=1e-12)
    told = by_recursion(scenario, draw(scenario, 2000, seed=0, replication=0))
    span = told.taken[-1] - told.taken[199]  # 1,800 batches, whole rounds of the workers
    assert span / 1800 == pytest.approx(second.amount, rel=1e-2)


@pytest.mark.parametrize("scv", [0.0001, 0.001, 0.01, 0.1])
def test_where_times_hardly_vary_two_moments_are_within_seven_percent(scv):
    """Waits at the storage, as if decodings were exponential, would make it 8 to 12 % too slow."""
    for workers, read in ((2, 0.85), (4, 0.85), (3, 0.75), (8, 0.8)):
        law = f"gamma {workers / 0.96 - read} s scv={scv}"
        scenario = reading(read, workers=workers, prefetch=4, decode=law, step=f"gamma 1 s scv={scv}")
        best = solve_data_loading(scenario).best("throughput")
        assert best.in_domain
        found = simulated(scenario, "throughput", replications=5)
        assert found.low <= best.amount * 1.07
        assert found.high >= best.amount * 0.93


def test_outside_of_its_domain_the_answer_says_which_condition_fails():
    wide = solve_data_loading(loading(step="lognormal 1 s scv=4")).best("starvation")
    assert not wide.in_domain
    assert wide.outside == "step: scv above 1"
    busy = solve_data_loading(reading(1.0, decode="2 s", step="exponential 0.7 s")).best("starvation")
    assert "storage is busy" in busy.remark


def test_a_time_without_variance_has_no_second_order_and_no_interval():
    scenario = loading(step="pareto 1 s shape=1.5")
    assert solve_data_loading(scenario).best("starvation").order == 1
    found = simulate_data_loading(replace(scenario, prefetch=1, workers=1), replications=2).best("starvation")
    assert not found.steady
    assert found.high == math.inf


def test_the_same_seed_gives_the_same_answer_in_several_processes():
    one, two = (simulate_data_loading(loading(), seed=3, replications=2, jobs=jobs) for jobs in (1, 2))
    assert one.estimates == two.estimates
    assert simulate_data_loading(loading(), seed=4, replications=2).estimates != one.estimates


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"decode": 3}, InputError, "decode: got 3 without a unit"),
        ({"sample_size": 3}, UnitError, "sample_size: got 3 without a unit"),
        ({"prefetch": 0}, InputError, "prefetch: got 0"),
        ({"storage_bandwidth": "0 GB/s"}, InputError, "storage_bandwidth"),
        ({"storage_jitter": "2 s"}, InputError, "storage_jitter"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(options, error, message):
    with pytest.raises(error, match=message) as refused:
        loading(**options)
    assert "\n" not in str(refused.value)


def test_a_missing_fact_is_an_error_that_names_it():
    with pytest.raises(TypeError, match="storage_bandwidth"):
        DataLoading(batch_size=1, sample_size="1 B", workers=1, decode="1 s", prefetch=1, step="1 s")


def test_what_is_loaded_are_samples_by_both_witnesses():
    assert {each.unit for each in solve_data_loading(loading())["throughput"]} == {"sample/s"}
    assert simulate_data_loading(loading(), seed=1, replications=2).best("throughput").unit == "sample/s"


def test_an_accelerator_alone_is_no_answer_where_the_loader_is_slower() -> None:
    """Its rate would take workers and storage more than all of their time."""
    slow = DataLoading(
        batch_size=128,
        sample_size="150 kB",
        storage_bandwidth="1 GB/s",
        workers=4,
        decode="200 ms",
        prefetch=3,
        step="30 ms",
    )
    alone = solve_data_loading(slow)["worker_utilisation"][0]
    assert alone.amount == pytest.approx(0.05 / 0.03)
    assert (alone.in_domain, alone.outside) == (False, "storage and workers make 0.547 of the batches that it takes")
    assert all(each.in_domain for each in solve_data_loading(replace(slow, step="60 ms"))["worker_utilisation"])
