"""The engine's policies, and requests that give up, against the naive engine and by hand."""

from dataclasses import replace

import pytest
import simpy
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from random_services import MILLISECOND, Case, assert_agrees, by_hand, cases, examples, milliseconds

from secondorder.simulate.serving import asks, single_run
from secondorder.simulate.serving.admissions import look_ahead, peak_reserved
from secondorder.simulate.serving.orders import ShortestPredictedFirst, SmallestVolumeFirst
from secondorder.simulate.serving.policies import (
    DEFAULT,
    URGENT_FIRST,
    Candidate,
    Policies,
    UnnamedFirst,
    Watermark,
    first_chunk,
)
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.request import Ask, Slot
from secondorder.simulate.serving.scheduler import Scheduler

EVICTS_UNNAMED_FIRST = Policies(free_blocks=UnnamedFirst)
ADMITS_BY_CHUNK = Policies(admits=first_chunk)


@st.composite
def with_priorities(draw: st.DrawFn, ahead: bool) -> Case:
    case = draw(cases(ahead=ahead))
    count = len(case.arrivals)
    priorities = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    return replace(case, policies=URGENT_FIRST, priorities=tuple(priorities))


@st.composite
def with_patience(draw: st.DrawFn, ahead: bool) -> Case:
    case = draw(cases(ahead=ahead))
    count = len(case.arrivals)
    patience = draw(
        st.lists(st.sampled_from([1, 3 * MILLISECOND, 10**8, 10**10, 10**12]), min_size=count, max_size=count)
    )
    return replace(case, patience=tuple(patience))


@given(st.booleans().flatmap(with_priorities))
@examples(200)
def test_the_most_urgent_go_first_as_in_the_naive_engine(case: Case) -> None:
    assert_agrees(case)


@given(cases(caching=True))
@examples(150)
def test_another_rule_of_eviction_agrees_with_the_naive_engine(case: Case) -> None:
    assert_agrees(replace(case, policies=EVICTS_UNNAMED_FIRST))


@given(cases())
@examples(150)
def test_admission_by_the_first_chunk_agrees_with_the_naive_engine(case: Case) -> None:
    assert_agrees(replace(case, policies=ADMITS_BY_CHUNK))


KNOW_THE_OUTPUT = {
    "peak reserved": Policies(admits=peak_reserved),
    "look-ahead": Policies(admits=look_ahead, until_an_end=False),
    "smallest volume first": Policies(waiting=SmallestVolumeFirst),
    "output is lost": Policies(keeps_output=False),
    "all of them": Policies(waiting=SmallestVolumeFirst, admits=look_ahead, until_an_end=False, keeps_output=False),
}


@given(cases(), st.sampled_from(list(KNOW_THE_OUTPUT)))
@examples(200)
def test_policies_that_know_the_output_agree_with_the_naive_engine(case: Case, name: str) -> None:
    assert_agrees(replace(case, policies=KNOW_THE_OUTPUT[name]))


@given(st.booleans().flatmap(with_patience))
@examples(200)
def test_requests_that_give_up_leave_as_in_the_naive_engine(case: Case) -> None:
    assert_agrees(case)


@pytest.mark.parametrize("ahead", [False, True])
def test_the_random_services_take_tokens_back_and_lose_requests_that_run(ahead: bool) -> None:
    def takes_back(case: Case) -> bool:
        jobs = case.naive().run()
        return any(late.preemptions and late.ask.arrival < max(j.ask.arrival for j in jobs) for late in jobs)

    def loses(case: Case) -> bool:
        return any(job.cancelled is not None and job.first_token is not None for job in case.naive().run())

    for kind, event in ((with_priorities(ahead), takes_back), (with_patience(ahead), loses)):
        find(kind, event, settings=settings(examples(1000), phases=[Phase.generate]))


# By hand


def test_an_urgent_request_overtakes_those_that_wait() -> None:
    case = by_hand([(0, 4, 3), (1, 4, 1), (1, 4, 1)], max_num_seqs=1)
    urgent = replace(case, policies=URGENT_FIRST, priorities=(0, 1, 0))
    assert milliseconds(case, "first_token") == [1, 4, 5]
    assert milliseconds(urgent, "first_token") == [1, 5, 4]


def test_the_least_urgent_is_preempted_though_it_is_not_the_newest() -> None:
    case = by_hand([(0, 3, 3), (0, 3, 3)], blocks=3)
    assert list(replace(case, policies=URGENT_FIRST, priorities=(1, 0)).record().preemptions) == [1, 0]
    assert list(replace(case, policies=URGENT_FIRST, priorities=(0, 1)).record().preemptions) == [0, 1]


def test_a_victim_gives_back_what_it_was_given_in_the_same_step() -> None:
    # In step 2 the first request ends its prompt with the last free block, and the second needs one.
    case = by_hand([(0, 8, 3), (0, 4, 3)], blocks=3, long_prefill_token_threshold=4)
    urgent = replace(case, policies=URGENT_FIRST, priorities=(1, 0))
    assert milliseconds(urgent, "first_token") == [5, 1]
    assert milliseconds(urgent, "finish") == [7, 3]
    engine = scheduler(blocks=3, max_num_seqs=2, policies=URGENT_FIRST)
    asked = [Ask(index=index, prompt=3, output=3, priority=1 - index) for index in range(2)]
    victim, urgent_one = map(engine.submit, asked)
    engine.schedule()
    engine.schedule()
    step = engine.schedule()  # both need a second block
    assert step is not None
    assert step.load == (0, 0, 0, 1, 5, 1)
    assert (victim.computed, victim.emitted, victim.held, urgent_one.held) == (0, 2, 0, 2)
    assert engine.blocks.free == 1


def test_a_reserved_peak_and_a_look_ahead_admit_later_and_never_preempt() -> None:
    # Each request ends with 2 of 5 blocks. In their last step the first two leave one, which is enough for a beginning.
    case = by_hand([(0, 4, 4), (0, 4, 4), (0, 4, 4)], blocks=5)
    assert milliseconds(case, "first_token") == [1, 1, 1]
    assert list(case.record().preemptions) == [0, 0, 1]
    for name, admitted in (("peak reserved", 5), ("look-ahead", 4)):
        careful = replace(case, policies=KNOW_THE_OUTPUT[name])
        assert milliseconds(careful, "first_token") == [1, 1, admitted]
        assert list(careful.record().preemptions) == [0, 0, 0]


def test_a_look_ahead_admits_where_one_ends_before_the_other_is_long() -> None:
    # The first one ends with step 2; a reserved peak would wait until then.
    case = by_hand([(0, 8, 2), (0, 3, 5)], blocks=4)
    assert milliseconds(replace(case, policies=KNOW_THE_OUTPUT["peak reserved"]), "first_token") == [1, 3]
    assert milliseconds(replace(case, policies=KNOW_THE_OUTPUT["look-ahead"]), "first_token") == [1, 1]


def test_a_victim_that_loses_its_output_begins_anew() -> None:
    case = by_hand([(0, 3, 6), (0, 3, 6)], blocks=3)
    assert milliseconds(case, "finish") == [6, 10]
    assert milliseconds(replace(case, policies=KNOW_THE_OUTPUT["output is lost"]), "finish") == [6, 12]


def test_the_smallest_volume_and_the_shortest_prediction_go_first() -> None:
    case = by_hand([(0, 4, 1), (0, 4, 3), (0, 9, 1), (0, 4, 1)], max_num_seqs=1)
    assert milliseconds(replace(case, policies=KNOW_THE_OUTPUT["smallest volume first"]), "first_token") == [1, 4, 3, 2]
    guessed = replace(case, policies=Policies(waiting=lambda: ShortestPredictedFirst([2, 1, 4, 3])))
    assert list(guessed.record().first_token) == [MILLISECOND * t for t in (4, 1, 6, 5)]


def test_a_request_that_gives_up_while_it_waits_is_never_scheduled() -> None:
    case = replace(by_hand([(0, 4, 9), (1, 4, 1), (1, 4, 1)], max_num_seqs=1), patience=(10**12, 10**9, 10**12))
    assert_agrees(case)
    recorder = case.record()
    assert list(recorder.cancelled) == [-1, 2 * MILLISECOND, -1]
    assert recorder.scheduled[1] == recorder.finish[1] == -1
    assert recorder.scheduled[2] == 9 * MILLISECOND


def test_a_request_that_gives_up_within_a_leap_leaves_at_the_end_of_its_step() -> None:
    case = replace(by_hand([(0, 4, 99), (0, 4, 50)]), patience=(20 * MILLISECOND + 1, 10**12))
    assert_agrees(case)
    assert list(case.record().cancelled) == [21 * MILLISECOND, -1]


def test_a_request_that_gives_up_after_its_last_token_has_finished() -> None:
    case = replace(by_hand([(0, 4, 2)]), patience=(2 * MILLISECOND,))
    assert list(case.record().cancelled) == [-1]
    assert list(case.record().finish) == [2 * MILLISECOND]


def scheduler(blocks: int = 10, max_num_seqs: int = 1, policies: Policies = DEFAULT) -> Scheduler:
    return Scheduler(
        blocks=blocks, block_size=4, max_num_seqs=max_num_seqs, max_num_batched_tokens=64, policies=policies
    )


def test_cancelling_frees_the_blocks_of_a_running_request_at_once() -> None:
    engine = scheduler()
    slot = engine.submit(Ask(index=0, prompt=9, output=5))
    engine.schedule()
    assert engine.blocks.free == 7
    assert engine.cancel(slot)
    assert engine.blocks.free == 10
    assert engine.schedule() is None
    assert not engine.cancel(slot)


def test_cancelling_one_that_waits_lets_the_next_one_move_up() -> None:
    engine = scheduler()
    running, waiting, last = (engine.submit(Ask(index=index, prompt=4, output=3)) for index in range(3))
    engine.schedule()
    assert engine.cancel(waiting)
    assert list(engine.waiting) == [last]
    assert engine.cancel(running)
    step = engine.schedule()
    assert step is not None
    assert step.admitted == [last]


def test_a_watermark_keeps_a_share_of_the_blocks_free_while_others_run() -> None:
    rule = Watermark(share=0.15)  # of 10 blocks and the null block: 1.65, so one
    assert not rule(Candidate(fresh=8, fresh_now=1, free=8, total=10, running=1))
    assert rule(Candidate(fresh=7, fresh_now=1, free=8, total=10, running=1))
    assert rule(Candidate(fresh=8, fresh_now=1, free=8, total=10, running=0))


# Several engines


def test_a_request_moves_to_another_engine_and_both_are_in_one_record() -> None:
    case = by_hand([(0, 4, 9), (0, 4, 3)])
    env, recorder = simpy.Environment(initial_time=0), Recorder(2)
    first, second = (single_run.engine_for(case.scenario, env, recorder, name=name) for name in ("first", "second"))
    slots: list[Slot] = []

    def move() -> None:
        first.cancel(slots[0])
        second.submit(slots[0].ask, emitted=2)

    env.process(single_run.arrive(env, asks(case.scenario, case.requests), lambda ask: slots.append(first.submit(ask))))
    env.timeout(2 * MILLISECOND).callbacks.append(lambda _: move())
    env.run()
    assert list(recorder.first_token) == [MILLISECOND] * 2
    assert list(recorder.cancelled) == [2 * MILLISECOND, -1]
    assert list(recorder.finish) == [9 * MILLISECOND, 3 * MILLISECOND]  # 2 tokens, then 7 of a step each
    assert list(recorder.engine) == [1, 0]
    assert [(log.name, log.steps) for log in recorder.logs.values()] == [("first", 3), ("second", 7)]
