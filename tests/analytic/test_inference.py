"""Claims about kernels launched by a host and executed by a device: a naive twin on SimPy, exact theory, borders."""

from dataclasses import replace

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

import secondorder as so
from secondorder.analytic.collectives.last_passage import exponential_mean as johansson_mean
from secondorder.analytic.collectives.last_passage import exponential_quantile as johansson_quantile
from secondorder.analytic.inference import (
    backlog,
    exponential_backlog,
    exponential_interval,
    exponential_mean,
    exponential_quantile,
    interval,
    overlapped,
    solve_inference,
    sum_of_taxes,
    walk_mean,
    walk_quantile,
)
from secondorder.errors import DoesNotFit, InputError, UnknownName
from secondorder.scenarios.inference import Inference
from secondorder.simulate.inference import draw, simulate_inference, tandem

RESNET, A100 = so.models.resnet50, so.accelerators.a100_80gb
EXPONENTIAL = Inference(
    model=RESNET, accelerator=A100, launch="exponential 5 us", jitter="exponential", batch_size=8, queue_depth=32
)
"""4.19 us a kernel: the host is the slower."""
METRICS = ("latency_mean", "latency_p99", "throughput", "device_utilisation")


def on_simpy(launches: list[float], executions: list[float], depth: int) -> tuple[list[float], list[float]]:
    """One run: a host that puts kernels into a store of so many places, a device that takes them out."""
    env = simpy.Environment()
    queue = simpy.Store(env, capacity=depth)
    begun, ended = [], []

    def host():
        for k, launch in enumerate(launches):
            begun.append(env.now)
            yield env.timeout(launch)
            yield queue.put(k)

    def device():
        while True:
            k = yield queue.get()
            yield env.timeout(executions[k])
            ended.append(env.now)

    env.process(host())
    env.process(device())
    env.run()
    return begun, ended


TIMES = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=30)


@settings(deadline=None, derandomize=True)
@given(TIMES, st.integers(1, 6))
def test_the_recursion_is_the_twin_on_simpy_to_the_bit(times: list[tuple[float, float]], depth: int) -> None:
    launches, executions = map(list, zip(*times, strict=True))
    begun, ended = tandem(np.array([launches]), np.array([executions]), depth)
    assert (begun[0].tolist(), ended[0].tolist()) == on_simpy(launches, executions, depth)


@pytest.mark.parametrize("depth", [1, 3, 1024])
def test_the_twin_has_the_same_steps_on_the_scenario_s_own_draws(depth: int) -> None:
    launches, executions = draw(replace(EXPONENTIAL, queue_depth=depth), 3, 120, 1, 0)
    begun, ended = tandem(launches, executions, depth)
    for run in range(3):
        twin = on_simpy(launches[run].tolist(), executions[run].tolist(), depth)
        assert (begun[run].tolist(), ended[run].tolist()) == twin


def test_a_queue_that_is_full_at_the_start_is_one_whose_kernels_came_before() -> None:
    """Depth 3 and 2 s a kernel: one in the device, three waiting; the host is let go when the first wait ends."""
    begun, ended = tandem(np.full((1, 5), 1.0), np.full((1, 5), 2.0), 3, backlog=2.0)
    assert ended[0].tolist() == [10, 12, 14, 16, 18]
    assert begun[0].tolist() == [0, 2, 4, 6, 8]


# Closed forms against each other and against exact theory


@settings(deadline=None, derandomize=True)
@given(st.floats(0.1, 10), st.floats(0.1, 10), st.integers(1, 60), st.integers(1, 10))
def test_without_variability_all_is_exact(launch: float, execution: float, kernels: int, depth: int) -> None:
    _, ended = tandem(np.full((1, kernels), launch), np.full((1, kernels), execution), depth)
    means = {"launch": launch, "execution": execution, "kernels": kernels}
    assert overlapped(**means) == pytest.approx(ended[0, -1], rel=1e-12)
    assert walk_mean(**means) == pytest.approx(ended[0, -1], rel=1e-9)
    assert walk_quantile(0.99, **means) == walk_mean(**means)


@settings(deadline=None, derandomize=True)
@given(TIMES, st.integers(1, 6))
def test_a_step_lies_between_the_slower_side_and_the_sum_of_taxes(times: list, depth: int) -> None:
    launches, executions = np.array(times).T[:, None, :]
    _, ended = tandem(launches, executions, depth)
    assert max(launches.sum(), executions.sum()) <= ended[0, -1] * (1 + 1e-12) + 1e-12
    assert ended[0, -1] <= (launches.sum() + executions.sum()) * (1 + 1e-12)


@settings(deadline=None, derandomize=True)
@given(TIMES, st.integers(1, 6))
def test_a_longer_queue_never_delays(times: list, depth: int) -> None:
    launches, executions = np.array(times).T[:, None, :]
    assert (tandem(launches, executions, depth + 1)[1] <= tandem(launches, executions, depth)[1]).all()


@pytest.mark.parametrize("kernels", [1, 2, 10, 100])
def test_exponential_steps_meet_last_passage_percolation(kernels: int) -> None:
    """Johansson's Wishart determinant, 2 x n; an integral there, a Markov chain here."""
    means = {"launch": 1.0, "execution": 1.0, "kernels": kernels}
    assert exponential_mean(**means) == pytest.approx(johansson_mean(stages=2, microbatches=kernels), rel=1e-8)
    for p in (0.5, 0.99):
        exact = johansson_quantile(p, stages=2, microbatches=kernels)
        assert exponential_quantile(p, **means) == pytest.approx(exact, rel=1e-8)


def test_two_kernels_by_hand() -> None:
    """``launch_1 + max(launch_2, execution_1) + execution_2``, with ``E max = 1/a + 1/b - 1/(a + b)``."""
    launch, execution = 2.0, 0.5
    most = launch + execution - 1 / (1 / launch + 1 / execution)
    found = exponential_mean(launch=launch, execution=execution, kernels=2)
    assert found == pytest.approx(launch + most + execution, rel=1e-12)


@pytest.mark.parametrize(("launch", "execution"), [(1.0, 1.0), (1.0, 0.6), (0.6, 1.0)])
@pytest.mark.parametrize("depth", [1, 2, 7])
def test_a_finite_queue_of_exponentials_meets_its_simulation(launch: float, execution: float, depth: int) -> None:
    """Means and 99 % quantiles within four standard errors of 40,000 runs."""
    rng, runs, kernels = np.random.default_rng(5), 40_000, 25
    drawn = rng.exponential(launch, (runs, kernels)), rng.exponential(execution, (runs, kernels))
    steps = tandem(*drawn, depth)[1][:, -1]
    means = {"launch": launch, "execution": execution, "kernels": kernels, "queue_depth": depth}
    assert abs(steps.mean() - exponential_mean(**means)) < 4 * steps.std() / runs**0.5
    beyond = (steps > exponential_quantile(0.99, **means)).mean()
    assert abs(beyond - 0.01) < 4 * (0.01 * 0.99 / runs) ** 0.5


def test_the_long_run_quantile_of_exponentials_begins_where_the_queue_is() -> None:
    """Its mean, integrated from quantiles, is ``(kernels + n) tau``, which comes from Little's law instead."""
    means = {"launch": 1.0, "execution": 0.9, "queue_depth": 3}
    p = (np.arange(400) + 0.5) / 400
    spread = [exponential_quantile(q, kernels=5, following=True, **means) for q in p]
    tau, n = exponential_interval(**means), exponential_backlog(**means)
    assert np.mean(spread) == pytest.approx((5 + n) * tau, rel=2e-3)  # what the midpoints leave of the tail


@pytest.mark.parametrize(("launch", "execution", "depth"), [(1.0, 1.0, 1), (1.0, 0.7, 2), (0.7, 1.0, 5)])
def test_the_long_run_of_exponentials_solves_its_chain(launch: float, execution: float, depth: int) -> None:
    """The generator written out for ``j = 0 .. depth + 2`` and solved by linear algebra."""
    size = depth + 3
    generator = np.diag(np.full(size - 1, 1 / launch), 1) + np.diag(np.full(size - 1, 1 / execution), -1)
    generator -= np.diag(generator.sum(axis=1))
    pi = np.linalg.lstsq(np.vstack([generator.T, np.ones(size)]), np.append(np.zeros(size), 1), rcond=None)[0]
    means = {"launch": launch, "execution": execution, "queue_depth": depth}
    assert exponential_interval(**means) == pytest.approx(execution / (1 - pi[0]), rel=1e-9)
    assert exponential_backlog(**means) == pytest.approx(pi @ np.minimum(np.arange(size), depth + 1), rel=1e-9)


def normal(mean: float, scv: float, shape: tuple[int, int], seed: int) -> np.ndarray:
    return mean * (1 + scv**0.5 * np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize("execution", [0.9, 1.0, 1.05])
def test_the_walk_is_exact_in_the_mean_for_normal_times(execution: float) -> None:
    """Spitzer's identity, within four standard errors of 60,000 runs; the means alone are far outside."""
    runs, kernels, scv = 60_000, 50, 0.02
    drawn = normal(1.0, scv, (runs, kernels), 1), normal(execution, scv, (runs, kernels), 2)
    steps = tandem(*drawn, kernels)[1][:, -1]
    means = {"launch": 1.0, "execution": execution, "kernels": kernels}
    error = steps.std() / runs**0.5
    assert abs(steps.mean() - walk_mean(launch_scv=scv, execution_scv=scv, **means)) < 4 * error
    assert steps.mean() - overlapped(**means) > 20 * error
    assert sum_of_taxes(**means) - steps.mean() > 20 * error
    found = walk_quantile(0.99, launch_scv=scv, execution_scv=scv, **means)
    assert found == pytest.approx(np.quantile(steps, 0.99), rel=0.005)


def test_the_diffusion_without_drift_is_exact_for_exponentials_and_bounded() -> None:
    spread = {"launch_scv": 1.0, "execution_scv": 1.0}
    for depth in (1, 10, 1000):
        exact = exponential_interval(launch=2.0, execution=2.0, queue_depth=depth)
        assert interval(launch=2.0, execution=2.0, queue_depth=depth, **spread) == pytest.approx(exact, rel=1e-9)
    assert interval(launch=1.0, execution=0.5, **spread) == pytest.approx(1.0)
    assert interval(launch=1.0, execution=np.array([0.5, 3.0])).tolist() == [1.0, 3.0]


@settings(deadline=None, derandomize=True)
@given(st.floats(0.2, 5), st.integers(8, 200), st.floats(0.01, 1), st.floats(0, 1))
def test_the_diffusion_is_smooth_and_a_longer_queue_is_faster(ratio: float, depth: int, a: float, b: float) -> None:
    options = {"launch": 1.0, "execution": ratio, "launch_scv": a, "execution_scv": b}
    short, long = interval(queue_depth=depth, **options), interval(queue_depth=2 * depth, **options)
    assert max(1.0, ratio) * (1 - 1e-9) <= long <= short * (1 + 1e-9)
    assert 0 <= backlog(queue_depth=depth, **options) <= depth + 2


# The scenario: solved and simulated


def answers(scenario: Inference):
    return solve_inference(scenario), simulate_inference(scenario, seed=3)


def within(best, truth, slack: float) -> bool:
    """Inside the interval, widened by the half-width (one in 20 misses) and the formula's own slack."""
    half = (truth.high - truth.low) / 2
    return truth.low - half - slack * truth.amount <= best.amount <= truth.high + half + slack * truth.amount


@pytest.mark.parametrize("synchronise", [True, False])
@pytest.mark.parametrize("depth", [2, 32])
@pytest.mark.parametrize("batch", [2, 8, 12])
def test_exponential_scenarios_meet_their_simulation(synchronise: bool, depth: int, batch: int) -> None:
    """Order 2 is exact: every metric, bound by the host or the device, with and without waits."""
    scenario = replace(EXPONENTIAL, synchronise=synchronise, queue_depth=depth, batch_size=batch)
    solved, simulated = answers(scenario)
    for metric in METRICS:
        assert within(solved.best(metric), simulated.best(metric), 0.0), metric
        assert solved.best(metric).in_domain
        assert solved.best(metric).order == 2


@pytest.mark.parametrize("batch", [4, 10, 16])
def test_synchronised_steps_of_other_laws_meet_their_simulation(batch: int) -> None:
    """Two moments: the mean within 0.3 %, the p99 within 1 % where it says that it holds."""
    scenario = replace(EXPONENTIAL, launch="gamma 5 us scv=0.1", jitter="lognormal scv=0.04", batch_size=batch)
    scenario = replace(scenario, queue_depth=1024)
    solved, simulated = answers(scenario)
    for metric in METRICS:
        assert solved.best(metric).in_domain
        assert within(solved.best(metric), simulated.best(metric), 0.01 if metric == "latency_p99" else 0.003), metric


@pytest.mark.parametrize("batch", [4, 10, 16])
def test_steps_of_other_laws_that_follow_each_other_meet_their_simulation(batch: int) -> None:
    scenario = replace(
        EXPONENTIAL,
        launch="gamma 5 us scv=0.5",
        jitter="lognormal scv=0.2",
        batch_size=batch,
        synchronise=False,
        queue_depth=16,
    )
    solved, simulated = answers(scenario)
    for metric in ("latency_mean", "throughput", "device_utilisation"):
        assert solved.best(metric).in_domain
        assert within(solved.best(metric), simulated.best(metric), 0.01), metric


def test_the_sum_of_taxes_and_the_means_miss_what_the_simulation_shows() -> None:
    solved, simulated = answers(replace(EXPONENTIAL, batch_size=9))
    taxes, means, exact = solved["latency_mean"]
    truth = simulated.best("latency_mean")
    assert taxes.amount > 1.6 * truth.high
    assert means.amount < 0.95 * truth.low
    assert within(exact, truth, 0.0)
    assert solved["latency_p99"][1].amount < 0.75 * simulated.best("latency_p99").low


def test_without_a_wait_the_device_is_never_idle_for_the_host_s_sake() -> None:
    waits = simulate_inference(replace(EXPONENTIAL, batch_size=64))
    follows = simulate_inference(replace(EXPONENTIAL, batch_size=64, synchronise=False))
    assert follows.best("device_utilisation").low > 0.999
    assert waits.best("device_utilisation").high < 0.999
    assert follows.best("latency_mean").low > waits.best("latency_mean").high  # it queues behind the one before


def test_a_constant_scenario_is_exact_and_without_an_interval() -> None:
    for synchronise in (True, False):
        scenario = replace(EXPONENTIAL, launch="5 us", jitter=None, synchronise=synchronise)
        for batch in (1, 8, 64):
            solved, simulated = answers(replace(scenario, batch_size=batch))
            for metric in METRICS:
                truth = simulated.best(metric)
                assert truth.high - truth.low <= 1e-9 * truth.amount
                assert solved.best(metric).amount == pytest.approx(truth.amount, rel=1e-9)


def test_a_small_batch_is_bound_by_the_host_and_a_large_one_by_the_device() -> None:
    """ResNet-50: 50 launches of 5 us; the roofline's overhead of 50 x 10 us was what nothing hid."""
    bounds = [replace(EXPONENTIAL, batch_size=batch).host_bound for batch in (1, 8, 64)]
    assert bounds == [True, True, False]
    hidden = solve_inference(replace(EXPONENTIAL, launch="10 us", jitter=None, batch_size=64)).best("latency_mean")
    exposed = so.roofline(RESNET, A100, batch_size=64).latency
    assert hidden.amount == pytest.approx(max(50 * 10e-6, exposed - 5e-4) + 10e-6)


def test_formulas_outside_their_conditions_say_so() -> None:
    spread = replace(EXPONENTIAL, launch="lognormal 5 us scv=2", queue_depth=1024)
    p99 = solve_inference(spread).best("latency_p99")
    assert not p99.in_domain
    assert "not yet normal" in p99.remark
    held = solve_inference(replace(spread, queue_depth=8)).best("latency_mean")
    assert "may hold up the host" in held.remark
    short = solve_inference(replace(spread, queue_depth=8, synchronise=False)).best("throughput")
    assert "too short for a diffusion (17 or more)" in short.remark


def test_a_run_too_short_for_its_queue_says_so() -> None:
    balanced = replace(EXPONENTIAL, launch="exponential 4.2 us", queue_depth=4096, synchronise=False)
    found = simulate_inference(balanced, replications=2).best("latency_mean")
    assert not found.steady
    assert found.remark.startswith("not enough data: the queue settles in about")


def test_the_same_seed_gives_the_same_bits_in_any_number_of_processes() -> None:
    one, same, other = (
        simulate_inference(EXPONENTIAL, seed=seed, replications=3, jobs=jobs) for seed, jobs in ((1, 1), (1, 2), (2, 1))
    )
    assert one == same
    assert one != other


def test_decode_and_denoising_are_scenarios_too() -> None:
    decode = Inference(
        model=so.models.llama_3_1_8b,
        accelerator=so.accelerators.h100_sxm,
        launch="5 us",
        precision="bf16",
        input_tokens=1,
        context_tokens=2048,
        batch_size=16,
        kernels_per_layer=12,
    )
    step = so.roofline(
        decode.model,
        decode.accelerator,
        precision="bf16",
        input_tokens=1,
        context_tokens=2048,
        batch_size=16,
        kernel_overhead="0 s",
    )
    assert decode.kernels == 32 * 12
    assert decode.kernels * decode.kernel_seconds == pytest.approx(step.latency)
    denoise = replace(EXPONENTIAL, passes=20)
    assert denoise.kernels == 1000
    assert denoise.kernel_seconds == pytest.approx(EXPONENTIAL.kernel_seconds)
    assert replace(EXPONENTIAL, kernel_floor="20 us").kernel_seconds == pytest.approx(20e-6)


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"jitter": "2 s"}, InputError, "jitter"),
        ({"queue_depth": 0}, InputError, "queue_depth"),
        ({"launch": 5e-6}, InputError, "launch"),
        ({"precision": "fp8"}, UnknownName, "precision of NVIDIA A100"),
        ({"batch_size": 10_000}, DoesNotFit, "takes 222 GB"),
        ({"input_tokens": 3}, InputError, "reads no tokens"),
        ({"model": so.models.llama_3_1_8b}, InputError, "input_tokens: got none"),
    ],
)
def test_a_scenario_that_is_none_is_refused(changes: dict, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        replace(EXPONENTIAL, **changes)


def test_what_is_put_through_are_samples_by_both_witnesses() -> None:
    assert {each.unit for each in so.solve(EXPONENTIAL)["throughput"]} == {"sample/s"}
    assert simulate_inference(EXPONENTIAL, seed=1, replications=2).best("throughput").unit == "sample/s"
