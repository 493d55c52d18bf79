"""The compiled closed loop against a naive one, and the closed form against both."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_services import examples

import secondorder as so
from secondorder.errors import InputError
from secondorder.simulate.kernels.closed_loop import Load, serve_closed
from secondorder.simulate.kernels.coefficients import step_times
from secondorder.validation.fixed_concurrency import FixedConcurrency, simulate, time_per_token

COMMON = {
    "model": so.models.llama_3_1_8b,
    "accelerator": so.accelerators.h100_sxm,
    "arrivals": so.Poisson("1 request/s"),
    "lengths": so.Lengths(input=100, output=20),
}
STEP = so.Affine(per_step=1e-3, per_prefill_token=1e-5, per_decode=1e-4, per_context_token=1e-7)


def naive(load: Load, seconds: so.Affine) -> tuple[list[float], list[float]]:
    """Request by request, in lists: what the compiled loop must give to the picosecond."""
    step = seconds.seconds(so.Serving(**COMMON).placement)
    count = len(load.prompts)
    waiting, running, unsent = list(range(min(load.clients, count))), [], list(range(load.clients, count))
    sent, first, done = [0] * count, [0] * count, [0] * count
    computed, produced, now = [0] * count, [0] * count, 0
    while waiting or running:
        while waiting and len(running) < load.clients:
            held = sum(load.prompts[r] + load.outputs[r] for r in running)
            if running and held + load.prompts[waiting[0]] + load.outputs[waiting[0]] > load.cache:
                break
            running.append(waiting.pop(0))
        prompts = [r for r in running if computed[r] < load.prompts[r]]
        decoding = [] if load.separate and prompts else [r for r in running if r not in prompts]
        room, pairs, read, new, rows = load.budget - len(decoding), 0, 0, 0, len(decoding)
        for r in prompts:
            chunk = min(load.prompts[r] - computed[r], room)
            pairs += sum(range(computed[r] + 1, computed[r] + chunk + 1))
            read += computed[r] + chunk if chunk else 0
            computed[r] += chunk
            new, room = new + chunk, room - chunk
            if chunk and computed[r] == load.prompts[r]:
                produced[r], rows = 1, rows + 1
        for r in decoding:
            computed[r] += 1
            produced[r] += 1
        context = sum(computed[r] for r in decoding)
        now += round(step(new, pairs, read, len(decoding), context, rows) * 1e12)
        for r in list(running):
            if produced[r] and not first[r]:
                first[r] = now
            if produced[r] >= load.outputs[r]:
                done[r] = now
                running.remove(r)
                if unsent:
                    sent[unsent[0]] = now
                    waiting.append(unsent.pop(0))
    ttft = [(f - s) / 1e12 for f, s in zip(first, sent, strict=True)]
    later = [(d - f) / max(o - 1, 1) / 1e12 for d, f, o in zip(done, first, load.outputs, strict=True)]
    return ttft, later


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 12)), min_size=1, max_size=25),
    st.integers(1, 6),
    st.integers(6, 64),
    st.integers(72, 300),
    st.booleans(),
)
@examples(150)
def test_the_compiled_loop_is_the_naive_one_to_the_picosecond(
    lengths: list[tuple[int, int]], clients: int, budget: int, cache: int, separate: bool
) -> None:
    prompts, outputs = (np.array(column) for column in zip(*lengths, strict=True))
    load = Load(prompts, outputs, clients, budget, cache, separate)
    times = step_times(so.Serving(**COMMON, step_time=STEP))
    found, expected = serve_closed(load, times), naive(load, STEP)
    assert found[0].tolist() == expected[0]
    assert found[1].tolist() == expected[1]


def loop(**changes: object) -> FixedConcurrency:
    serving = so.Serving(**COMMON, max_num_batched_tokens=8192, step_time=so.MeasuredRoofline())
    fields = {"serving": serving, "input_tokens": 1000, "output_tokens": 500, "concurrency": 32, "shortest": 0.8}
    return FixedConcurrency(**{**fields, **changes})


def test_one_client_alone_decodes_at_the_step_time() -> None:
    alone = loop(concurrency=1, shortest=1.0)
    step = alone.serving.step_seconds
    assert time_per_token(alone) == pytest.approx(step(0, 0, 0, 1, 1250, 1))
    first, later = simulate(alone)
    assert first == pytest.approx(step(1000, 1000 * 1001 / 2, 1000, 0, 0, 1), rel=1e-9)
    assert later == pytest.approx(np.mean([step(0, 0, 0, 1, 1000 + k, 1) for k in range(1, 500)]), rel=1e-9)


@pytest.mark.parametrize("concurrency", [4, 16, 64])
def test_the_closed_form_is_within_five_percent_of_the_run(concurrency: int) -> None:
    """Its one free number, the share of the others' prompts that are met, is .9: the run shows .85 to 1."""
    found = loop(concurrency=concurrency)
    assert time_per_token(found) == pytest.approx(simulate(found, rounds=4)[1], rel=0.05)


def test_a_cache_for_half_of_the_clients_halves_the_batch() -> None:
    small = loop(concurrency=64)
    blocks = round(32 * (900 + 225) / 16) + 1
    small = replace(small, serving=replace(small.serving, num_gpu_blocks=blocks))
    assert small.batch == pytest.approx(32, rel=0.01)
    assert simulate(small)[0] > 10 * simulate(loop(concurrency=64))[0]


def test_a_request_that_the_engine_cannot_serve_is_refused() -> None:
    with pytest.raises(InputError, match="input_tokens: got 132000 with the output, expected at most 131072 tokens"):
        simulate(loop(input_tokens=131_500))
