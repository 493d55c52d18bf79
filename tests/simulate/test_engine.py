"""The engine against a witness that shares no code with it, and against what must hold of any engine."""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from naive_engine import Ask, NaiveEngine, Settings

from secondorder.fleets.accelerators import accelerators
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Affine, Roofline, StepTime
from secondorder.simulate import serving
from secondorder.simulate.serving import single_run
from secondorder.simulate.serving.blocks import PrefixBlocks
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.request import Slot
from secondorder.simulate.serving.scheduler import Scheduler
from secondorder.simulate.serving.step import Step
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Lengths
from secondorder.workloads.models import models
from secondorder.workloads.requests import Requests

MILLISECOND = 10**9
ARRIVALS, LENGTHS = Poisson("1 request/s"), Lengths(input=8, output=8)
MODEL, ACCELERATOR = models.llama_3_1_8b, accelerators.h100_sxm


def examples(count: int) -> settings:
    """The same examples in every run: a failure seen once is seen again."""
    return settings(max_examples=count, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


# Random small services, in which blocks are scarce

ON_A_GRID = Affine(per_step=1e-3, per_prefill_token=0.0, per_decode=0.0)
"""Arrivals on the same grid come at the very instant at which a step ends."""

STEP_TIMES: list[StepTime] = [
    ON_A_GRID,
    Affine(per_step=7.3e-4 / 3, per_prefill_token=1e-4 / 7, per_decode=3.1e-5 / 11, per_context_token=1e-6 / 13),
    Affine(
        per_step=1e-3 * 2**0.5, per_prefill_token=1e-5 * np.e, per_decode=1e-4 / np.pi, per_context_token=1e-7 * 3**0.5,
        per_prefill_pair=1e-8 * 5**0.5, per_prefill_step=1e-4 * 7**0.5,
    ),
    Roofline(compute_efficiency=0.61, memory_efficiency=0.83, host_overhead="0.7 ms"),
    Roofline(compute_efficiency=0.001, host_overhead="0 s"),
]  # fmt: skip


@dataclass(frozen=True, repr=False)
class Case:
    """A service and its requests, arrivals in picoseconds."""

    scenario: Serving
    arrivals: tuple[int, ...]
    requests: Requests

    def __repr__(self) -> str:
        """All that the witness is given."""
        return f"{_settings(self.scenario)}\n{list(self._asks())}\n{self.scenario.step_time}"

    def record(self) -> Recorder:
        arrivals, recorder = serving.record(self.scenario, self.requests)
        assert tuple(arrivals) == self.arrivals
        return recorder

    def naive(self) -> NaiveEngine:
        return NaiveEngine(_settings(self.scenario), list(self._asks()), self.scenario.step_seconds)

    def _asks(self) -> Iterator[Ask]:
        for index, (arrival, (_, prompt, output)) in enumerate(zip(self.arrivals, self.requests, strict=True)):
            yield Ask(arrival, prompt, output, self._prefix(index, prompt // self.scenario.block_size))

    def _prefix(self, index: int, full: int) -> tuple[Hashable, ...]:
        """Full blocks of two prompts are the same where all hashes up to their end are."""
        if self.requests.hash_ids is None:
            return ()
        hashes, size = self.requests.hash_ids[index].tolist(), self.scenario.block_size
        chains = [tuple(hashes[: -(-(i + 1) * size // self.requests.hash_block)]) for i in range(full)]
        known = [
            (i, chain) for i, chain in enumerate(chains) if (i + 1) * size <= len(hashes) * self.requests.hash_block
        ]
        return tuple(known)


def _settings(scenario: Serving) -> Settings:
    return Settings(
        usable=scenario.kv_blocks - 1,
        block_size=scenario.block_size,
        max_num_seqs=scenario.max_num_seqs,
        max_num_batched_tokens=scenario.max_num_batched_tokens,
        long_prefill_token_threshold=scenario.long_prefill_token_threshold,
        chunked_prefill=scenario.enable_chunked_prefill,
        prefix_caching=scenario.enable_prefix_caching,
        async_scheduling=scenario.async_scheduling,
    )


@st.composite
def arrivals(draw: st.DrawFn, count: int, step: int) -> list[int]:
    """Times in order, some of them equal."""
    gaps = draw(st.lists(st.sampled_from([0, 0, 1]) | st.integers(0, 12), min_size=count, max_size=count))
    return np.cumsum([gap * step for gap in gaps]).tolist()  # type: ignore[no-any-return]


@st.composite
def hashes(draw: st.DrawFn, prompts: list[int], size: int) -> list[list[int]]:
    """Paths in a tree of one trunk: a number stands for the whole prefix up to its block."""
    tree: dict[tuple[int, ...], int] = {}
    paths = []
    for prompt in prompts:
        end = -(-prompt // size) - draw(st.sampled_from([0, 0, 0, 1]))
        fork = draw(st.sampled_from([end, end, end, 0, 1, 2]))
        path = [int(place >= fork) for place in range(end)]
        paths.append([tree.setdefault(tuple(path[: place + 1]), len(tree)) for place in range(end)])
    return paths


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    caching: bool | None = None,
    ahead: bool | None = None,
    most_requests: int = 10,
    output: int = 40,
) -> Case:
    """A service so small that requests preempt each other, and requests that it can serve."""
    count = draw(st.integers(1, most_requests))
    lengths = st.tuples(st.integers(1, draw(st.sampled_from([4, 20, 50]))), st.integers(1, output))
    prompts, outputs = map(list, zip(*draw(st.lists(lengths, min_size=count, max_size=count)), strict=True))
    times = draw(arrivals(count, draw(st.sampled_from([MILLISECOND // 2, 3_141_592_653, 27_182_818_284]))))
    block_size = draw(st.integers(1, 16))
    caching = draw(st.booleans()) if caching is None else caching
    hash_block = draw(st.sampled_from([block_size, 1, 3, 8])) if caching else 0
    longest = max(map(sum, zip(prompts, outputs, strict=True)))
    chunked = draw(st.sampled_from([True, True, True, False]))
    scenario = Serving(
        model=MODEL, accelerator=ACCELERATOR, arrivals=ARRIVALS, lengths=LENGTHS,
        num_gpu_blocks=1 - (1 - longest) // block_size + draw(st.integers(0, 6) | st.integers(0, 60)),
        block_size=block_size,
        max_num_seqs=draw(st.sampled_from([1, 2, 3, 5, 20])),
        max_num_batched_tokens=draw(st.integers(1, 64)) if chunked else longest + draw(st.integers(0, 20)),
        max_model_len=longest,
        long_prefill_token_threshold=draw(st.none() | st.integers(1, 20)),
        enable_chunked_prefill=chunked,
        enable_prefix_caching=caching,
        async_scheduling=draw(st.booleans()) if ahead is None else ahead,
        step_time=STEP_TIMES[draw(st.integers(0, len(STEP_TIMES) - 1))],
    )  # fmt: skip
    requests = Requests(
        arrival=[time * 1e-12 for time in times], input_tokens=prompts, output_tokens=outputs,
        hash_ids=tuple(map(np.array, draw(hashes(prompts, hash_block)))) if hash_block else None, hash_block=hash_block,
    )  # fmt: skip
    return Case(scenario, tuple(times), requests)


# The witness

RESULTS = ("scheduled", "first_token", "finish", "preemptions", "cached")


def assert_agrees(case: Case) -> None:
    naive, recorder = case.naive(), case.record()
    jobs = naive.run()
    for name in RESULTS:
        assert list(getattr(recorder, name)) == [getattr(job, name) for job in jobs], name
    assert recorder.steps == naive.steps


@given(cases(caching=False, ahead=False))
@examples(400)
def test_agrees_with_a_naive_engine_to_the_bit(case: Case) -> None:
    assert_agrees(case)


@given(cases(caching=True, ahead=False))
@examples(400)
def test_agrees_with_a_naive_engine_to_the_bit_when_it_caches_prefixes(case: Case) -> None:
    assert_agrees(case)


@given(cases(caching=False, ahead=True))
@examples(300)
def test_agrees_with_a_naive_engine_to_the_bit_when_it_schedules_ahead(case: Case) -> None:
    assert_agrees(case)


@given(cases(caching=True, ahead=True))
@examples(300)
def test_agrees_with_a_naive_engine_to_the_bit_when_it_caches_prefixes_and_schedules_ahead(case: Case) -> None:
    assert_agrees(case)


@given(cases(caching=True, most_requests=16, output=3))
@examples(400)
def test_agrees_with_a_naive_engine_to_the_bit_when_much_is_cached_and_evicted(case: Case) -> None:
    assert_agrees(case)


@given(cases(most_requests=4, output=300))
@examples(100)
def test_agrees_with_a_naive_engine_to_the_bit_over_long_outputs(case: Case) -> None:
    assert_agrees(case)


@pytest.mark.parametrize("ahead", [False, True])
def test_the_random_services_preempt_and_hit_their_caches(ahead: bool) -> None:
    def eventful(case: Case) -> bool:
        jobs = case.naive().run()
        return sum(job.preemptions for job in jobs) > 2 and any(job.cached for job in jobs)

    find(cases(caching=True, ahead=ahead), eventful, settings=settings(examples(1000), phases=[Phase.generate]))


# What holds of any engine


class Stepwise(Scheduler):
    """Decides each step by itself."""

    def steady_steps(self) -> int:
        return 0


class Watched(Scheduler):
    """Counts blocks after whatever it does, and who finishes."""

    finished: Counter[int]

    def __init__(self, **keywords: int) -> None:
        super().__init__(**keywords)  # type: ignore[arg-type]
        type(self).finished = Counter()

    def schedule(self) -> Step | None:
        step = super().schedule()
        self.count_blocks()
        return step

    def decode(self, steps: int) -> list[Slot]:
        finishing = super().decode(steps)
        self.count_blocks()
        return finishing

    def complete(self, finishing: list[Slot]) -> None:
        super().complete(finishing)
        self.finished.update(slot.ask.index for slot in finishing)
        self.count_blocks()

    def count_blocks(self) -> None:
        """Each running request has what its computed tokens take, the others nothing, and the rest is free."""
        assert not any(request.held or request.blocks for request in self.waiting)
        taken = {request: -(-self.computed(request) // self.block_size) for request in self.running}
        if not isinstance(self.blocks, PrefixBlocks):
            assert self.blocks.free + sum(taken.values()) == self.blocks.total
            return
        users = Counter(block for request in self.running for block in request.blocks)
        assert users == Counter({block: users for block, users in enumerate(self.blocks.users) if users})
        assert set(self.blocks.queue) == set(range(self.blocks.total)) - set(users)
        assert all(len(request.blocks) == blocks for request, blocks in taken.items())

    def computed(self, request: Slot) -> int:
        return request.computed + (self.step - request.joined if request.joined >= 0 else 0)


@contextmanager
def scheduled_by(kind: type[Scheduler]) -> Iterator[None]:
    with mock.patch.object(single_run, "Scheduler", kind):
        yield


@given(cases(ahead=False, most_requests=6, output=120))
@examples(150)
def test_leaping_changes_no_time_by_a_bit(case: Case) -> None:
    leaping = case.record()
    with scheduled_by(Stepwise):
        stepwise = case.record()
    for name in ("steps", *RESULTS):
        assert getattr(leaping, name) == getattr(stepwise, name), name


@given(cases())
@examples(200)
def test_no_block_is_lost_or_used_twice_and_no_request_is_lost_or_served_twice(case: Case) -> None:
    with scheduled_by(Watched):
        case.record()
    assert Watched.finished == dict.fromkeys(range(len(case.arrivals)), 1)


@given(cases())
@examples(200)
def test_a_request_is_scheduled_then_answered_then_finished(case: Case) -> None:
    recorder, outputs = case.record(), case.requests.output_tokens
    for arrival, scheduled, first, finish, output in zip(
        case.arrivals, recorder.scheduled, recorder.first_token, recorder.finish, outputs, strict=True
    ):
        assert arrival <= scheduled < first <= finish
        assert (first == finish) == (output == 1)


@given(cases())
@examples(200)
def test_requests_are_first_scheduled_in_the_order_of_their_arrival(case: Case) -> None:
    scheduled = case.record().scheduled
    assert all(a <= b for a, b in pairwise(scheduled))


@given(cases())
@examples(200)
def test_littles_law_holds_exactly(case: Case) -> None:
    """The integral of the number in the system is the sum of the residences."""
    recorder = case.record()
    residences = sum(recorder.finish) - sum(case.arrivals)
    assert _integral(case.arrivals, recorder) == residences


def _integral(arrivals: tuple[int, ...], recorder: Recorder) -> int:
    """Of running and waiting, by the engine's own count: who arrives within a span waits for the rest of it."""
    area = now = seen = 0
    for end, running, waiting, _ in zip(*recorder.logs["engine"].series, strict=True):
        new = [arrival for arrival in arrivals[seen:] if arrival <= end]
        seen += len(new)
        area += (end - now) * (running + waiting - len(new)) + sum(end - arrival for arrival in new)
        now = end
    assert (running, waiting) != (0, 0)
    assert seen == len(arrivals)
    return area


@given(cases())
@examples(50)
def test_the_run_in_seconds_is_the_record_in_picoseconds(case: Case) -> None:
    frame, recorder = serving.run(case.scenario, case.requests).requests, case.record()
    for name in ("scheduled", "first_token", "finish"):
        assert frame[name].tolist() == [time * 1e-12 for time in getattr(recorder, name)]
    assert frame["ttft"].tolist() == [
        (first - arrival) * 1e-12 for first, arrival in zip(recorder.first_token, case.arrivals, strict=True)
    ]


# Cases small enough to follow by hand: each step takes 1 ms


def by_hand(asks: list[tuple[int, int, int]], *, blocks: int = 100, hash_ids: tuple[list[int], ...] | None = None,
            **changes: Any) -> Case:  # fmt: skip
    """Requests as (arrival in ms, prompt, output), blocks of 4 tokens."""
    scenario = Serving(
        model=MODEL, accelerator=ACCELERATOR, arrivals=ARRIVALS, lengths=LENGTHS, step_time=ON_A_GRID,
        block_size=4, num_gpu_blocks=blocks + 1,
    )  # fmt: skip
    requests = Requests(
        arrival=[ask[0] * 1e-3 for ask in asks],
        input_tokens=[ask[1] for ask in asks],
        output_tokens=[ask[2] for ask in asks],
        hash_ids=None if hash_ids is None else tuple(map(np.array, hash_ids)),
        hash_block=0 if hash_ids is None else 4,
    )
    return Case(replace(scenario, **changes), tuple(ask[0] * MILLISECOND for ask in asks), requests)


def milliseconds(case: Case, name: str) -> list[float]:
    """A column of the record, on which the witness agrees."""
    assert_agrees(case)
    return [time / MILLISECOND for time in getattr(case.record(), name)]


def test_requests_that_arrive_together_at_an_idle_engine_share_its_first_step() -> None:
    case = by_hand([(5, 3, 2), (5, 3, 1)])
    assert milliseconds(case, "first_token") == [6, 6]


def test_a_request_that_arrives_as_a_step_ends_is_in_the_next_one() -> None:
    case = by_hand([(0, 3, 9), (1, 3, 1)])
    assert milliseconds(case, "first_token") == [1, 2]


def test_a_request_that_arrives_within_a_leap_waits_for_the_end_of_its_step() -> None:
    case = by_hand([(0, 3, 99), (50, 3, 1)], step_time=replace(ON_A_GRID, per_step=3e-3))
    assert milliseconds(case, "first_token") == [3, 54]


def test_a_part_of_a_prompt_brings_no_token_out() -> None:
    case = by_hand([(0, 10, 2)], max_num_batched_tokens=4)
    assert milliseconds(case, "first_token") == [3]
    assert milliseconds(case, "finish") == [4]


def test_the_newest_is_preempted_and_computes_its_prompt_and_outputs_again() -> None:
    # Two requests of 3 + 3 tokens and three blocks of 4: in step 3 both hold one full block and
    # need a second. The first takes the last one, the second waits until the first has finished.
    case = by_hand([(0, 3, 3), (0, 3, 3)], blocks=3)
    assert list(case.record().preemptions) == [0, 1]
    assert milliseconds(case, "first_token") == [1, 1]
    assert milliseconds(case, "finish") == [3, 4]


def test_an_arrival_during_a_step_runs_two_steps_later_when_scheduled_ahead() -> None:
    asks = [(0, 3, 9), (1, 3, 1)]
    late = replace(ON_A_GRID, per_step=0.8e-3)  # the second arrives within the step from 0.8 to 1.6 ms
    assert milliseconds(by_hand(asks, step_time=late), "scheduled") == [0, 1.6]
    assert milliseconds(by_hand(asks, step_time=late, async_scheduling=True), "scheduled") == [0, 2.4]


def test_a_hit_leaves_at_least_one_token_to_compute() -> None:
    case = by_hand([(0, 8, 1), (5, 8, 1)], hash_ids=([7, 8], [7, 8]), enable_prefix_caching=True)
    milliseconds(case, "finish")
    assert list(case.record().cached) == [0, 4]


def test_no_hash_of_a_trace_is_taken_for_a_requests_own_block() -> None:
    case = by_hand([(0, 4, 9), (20, 9, 1)], hash_ids=([], [0, 5]), enable_prefix_caching=True)
    milliseconds(case, "finish")
    assert list(case.record().cached) == [0, 0]


def test_requests_that_end_together_release_their_blocks_in_the_order_of_admission() -> None:
    # The first two end at 2 ms and leave no block unused. The third needs two and evicts what
    # was released first, those of the first request: the prefix of the second survives.
    asks, ids = [(0, 4, 2), (0, 8, 1), (5, 8, 1), (10, 8, 1)], ([3], [1, 2], [7, 8], [1, 2])
    case = by_hand(asks, hash_ids=ids, blocks=4, long_prefill_token_threshold=4, enable_prefix_caching=True)
    assert milliseconds(case, "finish") == [2, 2, 7, 11]
    assert list(case.record().cached) == [0, 0, 0, 4]
