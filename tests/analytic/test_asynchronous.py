"""Prompts that wait while steps are scheduled ahead, against an engine of cells in plain Python."""

from collections import deque
from dataclasses import replace

import numpy as np
import pytest

import secondorder as so
from secondorder.analytic.serving.prefill import PrefillQueue

RATE, DECODES = 8.2, 6.0
STEPS = 200_000
TOLERANCE = 0.03
"""Of an approximation; a run of this many steps has a mean that chance moves by 1 %."""


def queue(*, ahead: bool) -> PrefillQueue:
    scenario = so.Serving(
        model="qwen3_32b",
        accelerator="b200",
        arrivals=so.Poisson(f"{RATE} request/s"),
        lengths=so.lengths.azure_code_2023,
        max_num_seqs=64,
        max_num_batched_tokens=8192,
        enable_prefix_caching=False,
        async_scheduling=ahead,
    )
    return PrefillQueue(
        scenario=scenario, rate=RATE, decodes=np.array([DECODES]), decode_context=np.array([2_050 * DECODES])
    )


@pytest.fixture(scope="module")
def engine():
    """Durations of steps, times to first token, and of each request the durations of the steps after its last one.

    When a step begins, the next one is scheduled: it takes the cells that wait, first come first served, up to the
    cap.
    """
    model = queue(ahead=True)
    seconds, cap = model.step_seconds[0], model.cap
    law = model._cells[0].sum(axis=0)
    rng = np.random.default_rng(7)
    arriving = rng.exponential(1 / RATE, STEPS).cumsum().tolist()
    prompts = rng.choice(len(law), size=STEPS, p=law / law.sum()).tolist()
    seconds = seconds.tolist()
    waiting, now, arrived = deque(), 0.0, 0
    taken, lasting, first_token, ends_in = (0, []), [], [], []
    for step in range(STEPS):
        scheduled, left = [], cap
        while waiting and left:
            arrival, cells = waiting.popleft()
            part = min(cells, left)
            left -= part
            if part < cells:
                waiting.appendleft((arrival, cells - part))
            else:
                scheduled.append(arrival)
        cells, last = taken
        lasting.append(seconds[cells])
        now += seconds[cells]
        first_token += [now - arrival for arrival in last]
        ends_in += [step] * len(last)
        while arriving[arrived] <= now:
            waiting.append((arriving[arrived], prompts[arrived]))
            arrived += 1
        taken = (cap - left, scheduled)
    lasting = np.array(lasting)
    after = np.array([lasting[step + 1 : step + 9] for step in ends_in if step + 9 < STEPS])
    return lasting, np.array(first_token), after


def test_steps_and_first_tokens_are_those_of_an_engine_that_schedules_ahead(engine):
    lasting, first_token, _ = engine
    model = queue(ahead=True)
    assert model.mean_step[0] == pytest.approx(lasting.mean(), rel=TOLERANCE / 2)
    atoms, weight = model.first_token.laws[0]
    assert (atoms * weight).sum() == pytest.approx(first_token.mean(), rel=TOLERANCE)
    for level in (0.5, 0.9, 0.99):
        found = atoms[np.searchsorted(weight.cumsum(), level)]
        assert found == pytest.approx(np.quantile(first_token, level), rel=TOLERANCE), level


def test_a_mean_step_added_to_synchronous_waits_is_not_what_the_engine_does(engine):
    """As it was before: 8 % too long, since a queue is shorter where it does not lengthen its own step."""
    _, first_token, _ = engine
    model = queue(ahead=False)
    atoms, weight = model.first_token.laws[0]
    assert (atoms * weight).sum() + model.mean_step[0] > (1 + TOLERANCE) * first_token.mean()


def test_the_first_two_steps_after_a_prompt_are_of_two_chains(engine):
    """The second is the longer one: what arrives in a prompt's own long step is computed two steps later."""
    *_, after = engine
    model = queue(ahead=True)
    arrivals, share = model._arrivals, model.groups.sum(axis=1)
    first, during = model.first_token.decodes_begin(arrivals)
    left = np.maximum(np.arange(first.shape[-1]) - model.cap, 0)
    durations, cells = model._durations[0], np.minimum(left[:, None] + np.arange(len(left)), len(left) - 1)
    found = [
        float((first[0].sum(axis=1) @ durations) @ share),
        float(np.einsum("gcv,gcy,vy,g->", first[0], during[0], durations[cells], share)),
    ]
    assert found == pytest.approx(after[:, :2].mean(axis=0), rel=0.1)
    assert found[1] > 1.2 * found[0]


def test_runs_of_steps_last_as_long_as_in_the_engine(engine):
    lasting, _, after = engine
    model = queue(ahead=True)
    steps, which = np.array([2.0, 4.0, 8.0]), np.array([True])
    moments = model.run_moments(steps, model.first_token, which)[0]
    share = model.groups.sum(axis=1)
    for number, (count, mean) in enumerate(zip(steps, share @ moments[:, 0], strict=True)):
        sums = after[:, : int(count)].sum(axis=1)
        assert mean + count * model.mean_step[0] == pytest.approx(sums.mean(), rel=2 * TOLERANCE), count
        spread = share @ moments[:, 1, number] - mean**2
        assert spread**0.5 == pytest.approx(sums.std(), rel=0.25), count
        assert sums.mean() > 1.1 * count * lasting.mean()


def test_two_steps_after_a_prompt_depend_on_each_other_by_what_is_left_over(engine):
    """Independent, their variance would be 28 % less; as dependent as two can be, 44 % more."""
    *_, after = engine
    model = queue(ahead=True)
    moments = model.run_moments(np.array([2.0]), model.first_token, np.array([True]))[0]
    mean, second, third = model.groups.sum(axis=1) @ moments[:, :3, 0]
    sums = after[:, :2].sum(axis=1) - 2 * model.mean_step[0]
    assert second - mean**2 == pytest.approx(sums.var(), rel=2 * TOLERANCE)
    assert third == pytest.approx((sums**3).mean(), rel=2 * TOLERANCE)


@pytest.mark.parametrize("ahead", [True, False])
def test_a_request_waits_evenly_for_the_rest_of_a_step(ahead):
    """Where prompts are rare a first token takes ``U T``, one more step if steps are scheduled ahead, and its own."""
    model = replace(queue(ahead=ahead), rate=1e-6)
    model = replace(model, scenario=replace(model.scenario, lengths=so.Lengths(input=20, output=100)))
    [(atoms, weight)] = model.first_token.laws
    step, own = float(model.step_seconds[0, 0]), float(model.step(np.array([[20.0]]))[0, 0])
    for level in (0.01, 0.5, 0.9, 0.99):
        found = np.interp(level, weight.cumsum() - weight / 2, atoms)
        assert found == pytest.approx((level + ahead) * step + own, rel=1e-3), level
