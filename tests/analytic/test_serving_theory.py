"""Degenerate engines meet exact theory, and the saturation rate its closed form."""

import math
from dataclasses import replace

import numpy as np
import pytest
from plain_engine import PLAIN

import secondorder as so
from secondorder.analytic.serving import saturation
from secondorder.analytic.serving.theory import predicted_sizes
from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving import draw, run
from secondorder.simulate.serving.source import serve
from secondorder.simulate.statistics.intervals import student


def service(**changes) -> Serving:
    fields = {
        "model": so.models.llama_3_1_8b,
        "accelerator": so.accelerators.h100_sxm,
        "arrivals": so.Poisson("8 request/s"),
        "lengths": so.lengths.azure_conv_2023,
        "max_num_seqs": 256,
        **PLAIN,
    }
    return so.Serving(**{**fields, **changes})


def covers(values: list[float], truth: float, confidence: float = 0.999) -> bool:
    """Whether the interval over independent replications holds the true value."""
    interval = student(values, confidence)
    return interval.low <= truth <= interval.high


# One sequence at a time is M/G/1


def one_at_a_time(rho: float, lengths: so.Lengths) -> tuple[Serving, np.ndarray, np.ndarray]:
    """A service of one sequence at a time at utilisation ``rho``; its service times with their weights."""
    step_time = so.Affine(per_step=1e-3, per_prefill_token=1e-5, per_decode=2e-3)
    inputs, outputs, weight = lengths.grid(points=512)
    seconds = 1e-3 + 1e-5 * inputs + (outputs - 1) * 3e-3
    rate = rho / float(seconds @ weight)
    scenario = service(
        arrivals=so.Poisson(f"{rate} request/s"),
        lengths=lengths,
        max_num_seqs=1,
        max_num_batched_tokens=100_000,
        step_time=step_time,
    )
    return scenario, seconds, weight


def waits(scenario: Serving, count: int, replication: int) -> np.ndarray:
    requests = serve(scenario, draw(scenario, count, 5, replication)).requests
    return (requests["scheduled"] - requests["arrival"]).to_numpy()[count // 10 :]


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_one_sequence_at_a_time_waits_as_pollaczek_and_khinchine_say(rho):
    scenario, seconds, weight = one_at_a_time(rho, so.Lengths(input=so.Geometric(200), output=so.Geometric(50)))
    rate = scenario.rate
    exact = rate * float(seconds**2 @ weight) / (2 * (1 - rho))
    means = [float(waits(scenario, 20_000, k).mean()) for k in range(12)]
    assert covers(means, exact)
    assert student(means).relative_half_width < 0.1


@pytest.mark.parametrize(("rho", "p99"), [(0.5, 3.336255957), (0.8, 10.35588679)])
def test_one_sequence_of_fixed_length_at_a_time_has_the_p99_wait_of_m_d_1(rho, p99):
    scenario, seconds, _ = one_at_a_time(rho, so.Lengths(input=100, output=20))
    found = [float(np.quantile(waits(scenario, 20_000, k), 0.99)) for k in range(12)]
    assert covers(found, p99 * float(seconds[0]))
    assert student(found).relative_half_width < 0.1


# As many sequences as come is M/G/infinity


def test_without_a_limit_and_with_constant_steps_the_engine_is_m_g_infinity():
    step, rate, outputs = 0.02, 5.0, 256
    scenario = service(
        arrivals=so.Poisson(f"{rate} request/s"),
        lengths=so.Lengths(input=64, output=so.Geometric(outputs)),
        max_num_seqs=100_000,
        max_num_batched_tokens=1_000_000,
        num_gpu_blocks=10_000_000,
        step_time=so.Affine(per_step=step, per_prefill_token=0, per_decode=0),
    )
    occupancy, spread, latency = [], [], []
    for k in range(10):
        done = run(scenario, draw(scenario, 6_000, 3, k), leaps=False)
        running = done.series.query("60 < time < 1000")["running"]  # a row a step, all steps equally long
        occupancy.append(running.mean())
        spread.append(running.var())
        latency.append(done.requests["e2el"].iloc[300:-300].mean())
    load = rate * outputs * step
    assert covers(occupancy, load)
    assert covers(spread, load)  # Poisson: the variance is the mean
    assert covers(latency, outputs * step + step / 2)  # half a step until the next one begins
    assert student(occupancy).relative_half_width < 0.05


# Saturation

SATURATED = {
    "conversations on an H100": {},
    "code completions": {"lengths": so.lengths.azure_code_2023},
    "small batch": {"max_num_seqs": 16},
    "long prompts in a batch of 32": {"lengths": so.Lengths(input=1920, output=128), "max_num_seqs": 32},
    "long answers": {"lengths": so.Lengths(input=128, output=so.Geometric(512))},
    "a small token budget": {"max_num_batched_tokens": 512},
    "an A100": {"accelerator": so.accelerators.a100_80gb},
    "70B on four cards": {"model": so.models.llama_3_1_70b, "tensor_parallel_size": 4},
    "a mixture of experts": {"model": so.models.mixtral_8x7b, "tensor_parallel_size": 2},
    "scheduled ahead": {"async_scheduling": True},
    "prompts only": {"lengths": so.Lengths(input=1000, output=1)},
    "an affine step time": {
        "step_time": so.Affine(
            per_step=8e-3, per_prefill_token=6e-5, per_decode=4e-5, per_context_token=5e-8, per_prefill_step=8e-3
        ),
        "lengths": so.Lengths(input=so.Geometric(512), output=so.Geometric(256)),
        "max_num_seqs": 64,
    },
}


def saturated_throughput(scenario: Serving, count: int = 6_000) -> float:
    """Requests per second that leave an engine that always has more waiting."""
    overloaded = replace(scenario, arrivals=so.Poisson(f"{3 * saturation(scenario).rate} request/s"))
    finish = np.sort(run(overloaded, draw(overloaded, count, 1)).requests["finish"].to_numpy())
    first, last = int(0.3 * count), int(0.8 * count)
    return float((last - first) / (finish[last] - finish[first]))


@pytest.mark.parametrize("name", SATURATED)
def test_the_saturation_rate_is_within_3_percent_of_the_simulated_one(name):
    scenario = service(**SATURATED[name])
    limit = saturation(scenario)
    assert limit.binds in ("slots", "token budget")
    assert limit.rate == pytest.approx(saturated_throughput(scenario), rel=0.03)


def test_where_the_cache_binds_the_saturation_rate_is_an_upper_bound():
    scenario = service(num_gpu_blocks=4_000)
    limit, simulated = saturation(scenario), saturated_throughput(scenario)
    assert limit.binds == "KV cache"
    assert simulated < limit.rate < 1.25 * simulated  # what preempted requests compute again
    assert saturation(scenario, reserve_full_length=True).rate < limit.rate


def test_held_tokens_are_length_biased():
    """40,000 tokens, 512/512 geometric: the mean context says 6.1/s, the balance less (formula sheet)."""
    step_time = so.Affine(
        per_step=8e-3, per_decode=4e-5, per_context_token=5e-8, per_prefill_token=6e-5, per_prefill_step=8e-3
    )
    scenario = service(
        lengths=so.Lengths(input=so.Geometric(512), output=so.Geometric(512)),
        num_gpu_blocks=2501,
        step_time=step_time,
    )
    assert saturation(scenario).rate == pytest.approx(5.2556, rel=0.02)
    assert saturation(scenario, reserve_full_length=True).rate == pytest.approx(4.1220, rel=0.02)


def test_answers_of_one_length_run_in_waves_and_saturate_lower():
    """In phase, prompts crowd into few steps; a spread of the lengths of 10 % dissolves the waves."""
    fixed = service(lengths=so.Lengths(input=256, output=256))
    limit, simulated = saturation(fixed), saturated_throughput(fixed, count=20_000)
    assert limit.waves < 0.9 * limit.rate
    assert simulated == pytest.approx(limit.waves, rel=0.03)
    spread = service(lengths=so.Lengths(input=256, output=so.Uniform(231, 281)))
    assert saturation(spread).waves is None
    assert saturated_throughput(spread, count=20_000) == pytest.approx(saturation(spread).rate, rel=0.03)


def sprpt_by_sums(rate: float, step: float) -> float:
    """Mean response of SPRPT from its definition (Scully et al. 2018, SOAP), over a grid of log sizes and predictions.

    Rank: predicted remainder. Work ahead of prediction ``y``: sizes predicted below ``y`` whole, the others from the
    age at which ``y`` is left, ``int_0^1 (1 - v)^2 e^-v dv = 1 - 2/e`` of their square. In service: ``1/(1 - rho)`` at
    each remainder, ``1 - 1/e`` of the density; ``1/e`` of the time it is below 0, where nobody goes before.
    """
    size, guess = np.exp(np.arange(-60, 7, step)), np.exp(np.arange(-60, 7, step))
    both = np.exp(-size - guess[:, None] / size)  # the trapezoid rule in the logarithm: errors vanish exponentially
    of_guess, left, work, square = (step * (both * size**power).sum(axis=1) for power in range(4))
    idle = 1 - rate * (1 - work)
    squares = 2 - square + (1 - 2 / math.e) * square
    wait = step * (guess * of_guess * rate * squares / (2 * idle**2)).sum()
    return float(wait + (1 - 1 / math.e) * step * (guess * left / idle).sum() + 1 / math.e)


def test_sprpt_at_nine_tenths_is_5_0985_and_not_the_sheets_5_097() -> None:
    found = [sprpt_by_sums(0.9, step) for step in (0.2, 0.1)]
    assert found[0] == pytest.approx(found[1], rel=1e-11)
    assert predicted_sizes.shortest_predicted_remaining_first(0.9) == pytest.approx(found[1], rel=1e-8)
    assert found[1] == pytest.approx(5.098534, abs=1e-6)
