"""The engine against a witness that shares no code with it, and against what must hold of any engine."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from unittest import mock

import pytest
from hypothesis import Phase, find, given, settings
from random_services import ON_A_GRID, RESULTS, Case, assert_agrees, by_hand, cases, examples, milliseconds

from secondorder.simulate import serving
from secondorder.simulate.serving import single_run
from secondorder.simulate.serving.blocks import PrefixBlocks
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.request import Slot
from secondorder.simulate.serving.scheduler import Scheduler
from secondorder.simulate.serving.step import Step

# The witness


@given(cases(caching=False, ahead=False))
@examples(200)
def test_agrees_with_a_naive_engine_to_the_bit(case: Case) -> None:
    assert_agrees(case)


@given(cases(caching=True, ahead=False))
@examples(200)
def test_agrees_with_a_naive_engine_to_the_bit_when_it_caches_prefixes(case: Case) -> None:
    assert_agrees(case)


@given(cases(caching=False, ahead=True))
@examples(150)
def test_agrees_with_a_naive_engine_to_the_bit_when_it_schedules_ahead(case: Case) -> None:
    assert_agrees(case)


@given(cases(caching=True, ahead=True))
@examples(150)
def test_agrees_with_a_naive_engine_to_the_bit_with_prefixes_and_scheduling_ahead(case: Case) -> None:
    assert_agrees(case)


@given(cases(caching=True, most_requests=16, output=3))
@examples(200)
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

    def schedule(self, *, beside: bool = False) -> Step | None:
        step = super().schedule(beside=beside)
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
@examples(75)
def test_leaping_changes_no_time_by_a_bit(case: Case) -> None:
    leaping = case.record()
    with scheduled_by(Stepwise):
        stepwise = case.record()
    for name in ("steps", *RESULTS):
        assert getattr(leaping, name) == getattr(stepwise, name), name


@given(cases())
@examples(100)
def test_no_block_is_lost_or_used_twice_and_no_request_is_lost_or_served_twice(case: Case) -> None:
    with scheduled_by(Watched):
        case.record()
    assert Watched.finished == dict.fromkeys(range(len(case.arrivals)), 1)


@given(cases())
@examples(100)
def test_a_request_is_scheduled_then_answered_then_finished(case: Case) -> None:
    recorder, outputs = case.record(), case.requests.output_tokens
    for arrival, scheduled, first, finish, output in zip(
        case.arrivals, recorder.scheduled, recorder.first_token, recorder.finish, outputs, strict=True
    ):
        assert arrival <= scheduled < first <= finish
        assert (first == finish) == (output == 1)


@given(cases())
@examples(100)
def test_requests_are_first_scheduled_in_the_order_of_their_arrival(case: Case) -> None:
    scheduled = case.record().scheduled
    assert all(a <= b for a, b in pairwise(scheduled))


@given(cases())
@examples(100)
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
    case = by_hand(
        asks, hash_ids=ids, blocks=4, long_prefill_token_threshold=4, enable_prefix_caching=True, engine="vllm 0.24"
    )
    assert milliseconds(case, "finish") == [2, 2, 7, 11]
    assert list(case.record().cached) == [0, 0, 0, 4]
