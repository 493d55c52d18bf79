"""What makes a solution of a service quick, and that it changes no answer."""

import math
from dataclasses import replace

import numpy as np
import pytest
from plain_engine import PLAIN
from scipy.special import gammaincinv

import secondorder as so
from secondorder.analytic.remember import KEPT
from secondorder.analytic.serving import decode_batch
from secondorder.analytic.serving.decode_batch import added_by_decodes
from secondorder.analytic.serving.first_token import _halves_together
from secondorder.analytic.serving.fluctuations import Fluctuations
from secondorder.analytic.serving.idle import prefill_chunks, prefill_seconds
from secondorder.analytic.serving.length_groups import prompt_groups
from secondorder.analytic.serving.mean_value import mean_value
from secondorder.analytic.serving.replica import Replica, _falls_to
from secondorder.analytic.serving.run_moments import Chain
from secondorder.analytic.serving.runs import CUBE_ROOT, LEVELS, RunLaw, parts
from secondorder.analytic.serving.saturation import demand, saturation
from secondorder.scenarios.serving import Serving


def service(rate: float = 8.0, **changes: object) -> Serving:
    fields = {
        "model": so.models.llama_3_1_8b,
        "accelerator": so.accelerators.h100_sxm,
        "arrivals": so.Poisson(f"{rate!r} request/s"),
        "lengths": so.lengths.azure_conv_2023,
        "max_num_seqs": 256,
        **PLAIN,
    }
    return so.Serving(**{**fields, **changes})


# History


def figures(scenario: Serving) -> list[tuple[str, int, str]]:
    return [(e.metric, e.order, e.amount.hex()) for e in so.solve(scenario).estimates]


def forget() -> None:
    """Solve more other engines than are remembered."""
    for slots in range(2, 3 + KEPT):
        so.solve(service(0.1, max_num_seqs=slots, lengths=so.Lengths(input=100, output=4)))


@pytest.mark.parametrize("rate", [8.08, 27.0])
def test_an_answer_is_the_same_to_the_bit_whatever_was_solved_before(rate):
    forget()
    alone = figures(service(rate))
    forget()
    for other in (2.0, 8.0, 26.9, 28.0):
        so.solve(service(other))
    assert figures(service(rate)) == alone


# Fixed points and roots


@pytest.mark.parametrize("rate", [2.0, 16.0, 28.0])
def test_mean_values_are_the_fixed_point_that_plain_iteration_finds(rate):
    scenario = service(rate, lengths=so.Lengths(input=so.Geometric(512), output=so.Geometric(128)))
    need, (prompts, weight) = demand(scenario), prompt_groups(scenario)
    found, batch = mean_value(scenario, rate), 0.0
    for _ in range(2000):
        context = batch * need.decode_context
        alone = float(
            scenario.step_seconds(0.0, 0.0, 0.0, max(batch, 1.0), max(batch, 1.0) * need.decode_context, batch)
        )
        plain = float(scenario.step_seconds(0.0, 0.0, 0.0, batch, context, batch)) if batch else 0.0
        added = prefill_seconds(scenario, prompts, batch, context) - prefill_chunks(scenario, prompts, batch) * plain
        batch = rate * need.decode_steps * alone / (1 - rate * float((added * weight.sum(axis=0)).sum()))
    assert found.decodes >= batch * (1 - 1e-6)  # the greater of two steps: prompts one at a time, or in every step
    if rate * found.tpot < 1:
        assert found.decodes == pytest.approx(batch, rel=1e-4)


def exponential(t: float) -> float:
    return math.exp(-t)


def with_a_leap(t: float) -> float:
    return 1.0 if t < 2 else 0.3 * math.exp(2 - t)


@pytest.mark.parametrize("near", [1e-3, 0.9, 2.0, 30.0])
@pytest.mark.parametrize(
    ("beyond", "target", "exact"),
    [
        (exponential, 0.5, math.log(2)),
        (exponential, 0.01, math.log(100)),
        (with_a_leap, 0.5, 2.0),
        (with_a_leap, 0.1, 2 + math.log(3)),
    ],
)
def test_a_quantile_is_found_from_any_first_guess_and_at_a_leap(beyond, target, exact, near):
    assert _falls_to(target, beyond, near) == pytest.approx(exact, rel=1e-3)


def test_a_near_guess_costs_few_evaluations():
    asked = []

    def beyond(t: float) -> float:
        asked.append(t)
        return exponential(t)

    _falls_to(0.01, beyond, 1.01 * math.log(100))
    assert len(asked) <= 5  # a bisection to the same width: 11


# Parts


def test_laws_in_parts_together_are_those_one_by_one():
    rng = np.random.default_rng(1)
    values, weight = rng.exponential(size=(5, 300)), rng.random(300)
    together, shares = parts(values, weight, LEVELS)
    for row, found in zip(values, together, strict=True):
        alone, part = parts(row, weight, LEVELS)
        assert found.tolist() == alone.tolist()
        assert shares.tolist() == part.tolist()


def test_quantiles_of_small_shapes_are_as_near_as_those_by_the_cube_root():
    """In standard deviations, against scipy's inverse; without the step of Newton's they are .3 off at shape .2."""
    shape, middles = np.geomspace(0.15, 8, 60), np.array(LEVELS[1:]) / 2 + np.array(LEVELS[:-1]) / 2
    none = np.zeros_like(shape)
    law = RunLaw(least=none, most=none + np.inf, start=none, scale=none + 1, shape=shape, quiet=none, deviation=none)
    error = np.abs(law.quantiles(middles) - gammaincinv(shape[:, None], middles)) / np.sqrt(shape)[:, None]
    small = shape < CUBE_ROOT
    assert error[small].max() < 1.5 * error[~small].max()
    assert error[small & (shape > 0.5)].max() < 0.01


def test_halves_of_a_step_keep_cells_and_mean_wait():
    rng = np.random.default_rng(2)
    own, waited = rng.random((2, 7, 3, 5)), rng.random((2, 7, 3))
    cells, wait = _halves_together(own, waited)
    assert cells.shape == (2, 4, 3, 5)
    assert cells.sum() == pytest.approx(own.sum())
    assert (cells.sum(axis=-1) * wait).sum() == pytest.approx((own.sum(axis=-1) * waited).sum())
    assert wait[:, -1].tolist() == waited[:, -1].tolist()


def test_moments_of_a_run_are_those_of_the_chain_state_by_state():
    """All paths of a chain of three states, summed one by one."""
    g, moves = np.array([-1.0, 0.5, 2.0]), np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.4, 0.1, 0.5]])
    start, steps = np.array([0.2, 0.3, 0.5]), 4
    chain = Chain(knots=np.arange(3), g=g[None], moves=moves[None])
    found = chain.follow(np.array([float(steps)]), lambda states: (states[1:] @ start)[:, :, None])[0, 0]
    paths = [((state,), p) for state, p in enumerate(start)]
    for m in range(1, steps + 1):
        sums = np.array([sum(g[state] for state in path) for path, _ in paths])
        chance = np.array([p for _, p in paths])
        assert found[:, m] == pytest.approx([float((chance * sums**order).sum()) for order in (1, 2, 3)])
        paths = [((*path, state), p * moves[path[-1], state]) for path, p in paths for state in range(3)]


def test_prompts_spread_evenly_leave_the_variance_of_longer_decodes_alone():
    """The same by its definition: a service without prompts whose decodes cost more, and Poisson arrivals."""
    rng = np.random.default_rng(3)
    noise = Fluctuations(
        prompt=rng.uniform(1e-3, 5e-3, 50),
        decode=rng.uniform(1e-5, 5e-5, 50),
        steps=rng.integers(1, 300, 50).astype(float),
        weight=np.full(50, 0.02),
        rate=20.0,
        mean_step=0.012,
        dispersion=lambda w: 1 + 2 / (1 + w**2),
        burst=1.5,
    )
    filled = noise.rate * float((noise.weight * noise.prompt).sum())
    smooth = replace(noise, prompt=0 * noise.prompt, decode=noise.decode / (1 - filled), dispersion=np.ones_like)
    assert noise.smooth_variance == pytest.approx(smooth.decodes_variance, rel=1e-12)
    assert noise.decodes_variance > 1.1 * noise.smooth_variance


def test_what_a_prompt_adds_is_found_once_for_all_rates():
    numbers, added = added_by_decodes(service(4.0))
    assert added_by_decodes(service(9.0))[1] is added
    scenario = service()
    (prompts, weight), at = prompt_groups(scenario), float(numbers[7])
    context = at * demand(scenario).decode_context
    alone = float(scenario.step_seconds(0.0, 0.0, 0.0, at, context, at))
    exact = prefill_seconds(scenario, prompts, at, context) - prefill_chunks(scenario, prompts, at) * alone
    assert added[7] == pytest.approx(float((exact * weight.sum(axis=0)).sum()), rel=1e-3)


def test_a_quantile_is_that_of_the_whole_law_where_it_has_a_gap():
    """By 20,000 points of each number of decodes, sorted. With 138 atoms of each the p90 was 5.4 % low."""
    scenario = service(2.0, async_scheduling=True)
    replica = Replica.of(scenario, scenario.rate)
    levels, shares = replica._levels
    points = (np.arange(20_000) + 0.5) / 20_000
    numbers, _ = replica.batch.solved
    solved = [np.interp(points, mass.cumsum() - mass / 2, times) for times, mass in replica.batch.first_tokens]
    times, mass = replica.batch.idle.first_token.laws[0]
    rows = [np.interp(points, mass.cumsum() - mass / 2, times)]
    for number in levels[1:]:
        above = max(1, min(int((numbers <= number).sum()), len(numbers) - 1))
        part = (min(max(number, numbers[0]), numbers[-1]) - numbers[above - 1]) / (numbers[above] - numbers[above - 1])
        rows.append((1 - part) * solved[above - 1] + part * solved[above])
    atoms, weight = np.concatenate(rows), np.repeat(shares, len(points)) / len(points)
    order = np.argsort(atoms)
    below = weight[order].cumsum()
    for level in (0.5, 0.9, 0.99):
        plain = atoms[order][np.searchsorted(below, level)]
        assert replica.ttft_quantile(level) == pytest.approx(plain, rel=3e-3)


def test_an_engine_that_is_never_idle_needs_no_idle_law(monkeypatch):
    scenario = service(16.0)
    without = Replica.of(scenario, scenario.rate)
    assert without.batch.never_idle
    monkeypatch.setattr(decode_batch, "NEGLIGIBLE", 0.0)
    whole = Replica.of(scenario, scenario.rate)
    assert not whole.batch.never_idle
    assert len(without._levels[0]) == len(whole._levels[0]) - 1
    for level in (0.5, 0.9, 0.99):
        assert without.ttft_quantile(level) == pytest.approx(whole.ttft_quantile(level), rel=1e-4)
        assert without.tpot_quantile(level) == pytest.approx(whole.tpot_quantile(level), rel=1e-4)


def test_ranks_keep_their_saturation_for_other_rates():
    fields = {"model": so.models.qwen3_30b_a3b, "data_parallel_size": 2, "step_time": so.MeasuredRoofline()}
    assert saturation(service(9.0, **fields)) is saturation(service(4.0, **fields))
