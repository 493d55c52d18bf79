"""The parts of each latency add up to it; a naive account, the compiled engine and queueing theory agree on them."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive_engine import Job, NaiveEngine, Piece
from random_services import MILLISECOND, STEP_TIMES, Case, by_hand, cases, examples

import secondorder as so
from secondorder.errors import InputError
from secondorder.scenarios.steptime import Affine, Table
from secondorder.simulate import serving
from secondorder.simulate.closed_loop import partition_of_loop
from secondorder.simulate.partition import partition
from secondorder.simulate.serving.causes import Cause
from secondorder.simulate.serving.engine_policies import policies_of
from secondorder.simulate.serving.partition import Partition, partition_of
from secondorder.simulate.serving.policies import first_chunk
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.witness import Witness
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Lengths
from secondorder.workloads.requests import Requests


def split(case: Case, *, leaps: bool = True, witness: Witness = "events") -> Partition:
    """By the engine on SimPy, which takes policies of one's own, unless the kernel is asked for."""
    return partition_of(case.scenario, case.requests, leaps=leaps, policies=case.policies, witness=witness)


def assert_no_residue(parts: Partition) -> None:
    assert (parts.first_token.sum(axis=1) == parts.ttft).all()
    assert (parts.finish.sum(axis=1) == parts.e2el).all()


def assert_same(one: Partition, other: Partition) -> None:
    for name in ("arrival", "ttft", "e2el", "first_token", "finish"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name


class NaiveAccount(NaiveEngine):
    """Looks at every request in every step: who had tokens of it, who waits, and for what."""

    def __init__(self, case: Case) -> None:
        engine = case.naive()
        super().__init__(engine.settings, [job.ask for job in engine.jobs], engine.seconds)
        self.parts: dict[Job, Counter[Cause]] = {job: Counter() for job in self.jobs}
        self.ttft: dict[Job, Counter[Cause]] = {}
        self.mark: Counter[Job] = Counter()
        self.reached: Counter[Job] = Counter()
        self.evicted: set[Job] = set()
        self.reasons: list[tuple[Cause | None, list[Job], list[Job]]] = []
        self.moves: list[tuple[int, Cause, int]] = []  # when requests come to a cause (1) and leave it (-1)
        self.told: dict[Job, int] = {job: job.ask.arrival for job in self.jobs}
        self.victims: list[Job] = []
        self.preempted = False

    def schedule(self, beside: bool = False) -> list[Piece]:
        step = super().schedule(beside)
        if step:
            self.reasons.append((self.reason(step), list(self.waiting), self.victims))
            self.victims = []
        return step

    def continue_running(self) -> tuple[list[Piece], bool]:
        step, self.preempted = super().continue_running()
        return step, self.preempted

    def preempt(self, victim: Job) -> None:
        super().preempt(victim)
        if not victim.done:
            self.victims.append(victim)

    def reason(self, step: list[Piece]) -> Cause | None:
        if not self.waiting:
            return None
        if self.preempted:
            return Cause.CACHE
        left = self.settings.max_num_batched_tokens - sum(piece.n for piece in step)
        if left == 0:
            return Cause.BUDGET
        if len(self.running) == self.settings.max_num_seqs:
            return Cause.SLOTS
        job = self.waiting[0]
        wanted = min(job.needed - len(self.blocks.hits(job)) * self.settings.block_size, self.threshold)
        return Cause.BUDGET if wanted > left and not self.settings.chunked_prefill else Cause.CACHE

    def duration(self, step: list[Piece]) -> int:
        lasts = super().duration(step)
        reason, waiting, victims = self.reasons.pop(0)
        for job in victims:
            self.evicted.add(job)
            self.mark[job] = max(self.mark[job], self.reached[job])
        given = {piece.job: piece for piece in step}
        present = [job for job in self.jobs if job.ask.arrival <= self.now and job.finish is None]
        for job in present:
            # A request that was computed by the step before and finishes with it is not present any more.
            piece = given.get(job)
            if piece:
                self.evicted.discard(job)
                self.compute(piece, step, lasts)
            elif job in self.evicted:
                self.add(job, Cause.PREEMPTED, lasts)
            elif job in waiting:
                assert reason is not None
                self.add(job, reason, lasts)
            elif job.scheduled is None or job.scheduled > self.now:
                self.add(job, Cause.STEP_UNDER_WAY, lasts)
            else:
                self.add(job, Cause.CACHE if victims else Cause.BUDGET, lasts)
        for job in self.jobs:
            if self.now < job.ask.arrival <= self.now + lasts:
                self.add(job, Cause.STEP_UNDER_WAY, self.now + lasts - job.ask.arrival)
        return lasts

    def compute(self, piece: Piece, step: list[Piece], lasts: int) -> None:
        job = piece.job
        self.reached[job] = piece.c + piece.n
        if piece.c < self.mark[job]:
            self.add(job, Cause.RECOMPUTED, lasts)
            return
        alone = super().duration([piece])
        decodes = super().duration([other for other in step if other.decode or other is piece])
        self.add(job, Cause.OWN_DECODE if piece.decode else Cause.OWN_PREFILL, alone)
        self.add(job, Cause.BATCH, decodes - alone)
        self.add(job, Cause.OTHER_PREFILL, lasts - decodes)

    def add(self, job: Job, cause: Cause, time: int) -> None:
        self.parts[job][cause] += time
        self.moves += [(self.told[job], cause, 1), (self.told[job] + time, cause, -1)]
        self.told[job] += time

    def emit(self, step: list[Piece], following: list[Piece]) -> None:
        super().emit(step, following)
        for job in self.jobs:
            if job.first_token == self.now and job not in self.ttft:
                self.ttft[job] = Counter(self.parts[job])


def assert_agrees_with_the_naive_account(case: Case) -> None:
    naive, parts = NaiveAccount(case), split(case)
    jobs = naive.run()
    for found, told in ((parts.finish, naive.parts), (parts.first_token, naive.ttft)):
        assert found.tolist() == [[told[job][cause] for cause in Cause] for job in jobs]


@given(cases(ahead=False))
@examples(60)
def test_the_parts_are_those_of_a_naive_account(case: Case) -> None:
    assert_agrees_with_the_naive_account(case)


@given(cases(ahead=True))
@examples(60)
def test_the_parts_of_a_step_ahead_are_those_of_a_naive_account(case: Case) -> None:
    assert_agrees_with_the_naive_account(case)


def areas_seen(moves: list[tuple[int, Cause, int]]) -> list[int]:
    """What an observer of the whole service sees: the number of requests at each cause, times how long it lasts."""
    number, area, since = [0] * len(Cause), [0] * len(Cause), 0
    for time, cause, change in sorted(moves):
        for each in Cause:
            area[each] += number[each] * (time - since)
        number[cause] += change
        since = time
    assert not any(number)
    return area


@given(cases(most_requests=12))
@examples(60)
def test_littles_law_holds_for_each_cause_exactly(case: Case) -> None:
    naive, parts = NaiveAccount(case), split(case, witness="kernel")
    jobs = naive.run()
    span = max(naive.told.values()) - min(job.ask.arrival for job in jobs)
    areas, law = areas_seen(naive.moves), parts.littles_law()
    assert [area / span for area in areas] == law["number"].tolist()
    assert np.allclose(law["number"], parts.rate * law["time"], rtol=1e-12)


@given(cases(most_requests=20))
@examples(60)
def test_nothing_is_left_over_and_leaps_change_no_part(case: Case) -> None:
    parts = split(case)
    assert_no_residue(parts)
    assert (parts.finish >= 0).all()
    assert (parts.finish >= parts.first_token).all()
    assert (split(case, leaps=False).finish == parts.finish).all()
    assert_no_residue(split(replace(case, policies=replace(policies_of(case.scenario), admits=first_chunk))))


@given(cases(most_requests=20) | cases(most_requests=20, cadence=True), st.booleans())
@examples(300)
def test_the_compiled_engine_gives_the_parts_of_the_one_on_simpy(case: Case, leaps: bool) -> None:
    assert_same(split(case, leaps=leaps, witness="kernel"), split(case))


@given(
    cases() | cases(cadence=True),
    st.integers(1, 6),
    st.sampled_from(["at once", "offered", "thinking"]),
    st.lists(st.sampled_from([0, 1, MILLISECOND, 2 * MILLISECOND]) | st.integers(1, 10**11), min_size=20, max_size=20),
)
@examples(100)
def test_the_parts_of_a_closed_loop_are_the_same_by_both(
    case: Case, places: int, kind: str, thoughts: list[int]
) -> None:
    loop = so.ClosedLoop(
        serving=case.scenario,
        max_concurrency=places,
        offered=kind == "offered",
        think_time="1 s" if kind == "thinking" else "0 s",
    )
    think = np.array(thoughts if kind == "thinking" else [0] * 20)
    by_kernel, by_events = (
        partition_of_loop(loop, case.requests, think, witness=witness) for witness in ("kernel", "events")
    )
    assert_same(by_kernel, by_events)
    assert_no_residue(by_kernel)


def test_an_answer_sent_for_as_a_leap_begins_waits_for_the_step_under_way() -> None:
    # One place for each of two users: when the first has its answer, the next step of the second is under way.
    case = by_hand([(0, 4, 3), (0, 4, 30), (0, 4, 2)], max_num_seqs=2)
    loop = so.ClosedLoop(serving=case.scenario, max_concurrency=2)
    for witness in ("kernel", "events"):
        parts = partition_of_loop(loop, case.requests, np.zeros(5, np.int64), witness=witness)
        assert parts.finish[2, Cause.STEP_UNDER_WAY] == MILLISECOND
        assert_no_residue(parts)


def test_a_hundred_busy_services_are_split_alike_by_both_without_a_residue() -> None:
    rng = np.random.default_rng(11)
    for _ in range(100):
        case = _busy(rng, count=60)
        by_kernel = split(case, witness="kernel")
        assert_no_residue(by_kernel)
        assert_same(by_kernel, split(case))


@pytest.mark.parametrize(
    ("tokens", "contexts", "refused"), [((1, 400), (64, 512), "context"), ((100, 400), (1, 512), "tokens")]
)
def test_a_step_time_that_is_not_measured_alone_is_refused_by_both(
    tokens: tuple[int, int], contexts: tuple[int, int], refused: str
) -> None:
    # Together the two requests are inside the table in each step; alone, the short one is not.
    table = Table(
        prefill=[(tokens[0], 1e-3), (tokens[1], 2e-3)],
        decode=[(batch, context, 1e-3 * batch + 1e-6 * context) for batch in (1, 8) for context in contexts],
    )
    case = by_hand([(0, 8, 3), (0, 200, 3)], step_time=table)
    case.record()
    for witness in ("kernel", "events"):
        with pytest.raises(InputError, match=refused):
            split(case, witness=witness)


def test_a_hundred_random_services_leave_no_residue() -> None:
    rng = np.random.default_rng(7)
    used = np.zeros(len(Cause))
    for _ in range(100):
        parts = split(_busy(rng, count=100))
        assert_no_residue(parts)
        used += parts.finish.sum(axis=0)
    assert (used > 0).all()  # every cause occurs


def _busy(rng: np.random.Generator, count: int) -> Case:
    """A service under pressure, with its features drawn at random."""
    prompts, outputs = rng.integers(1, 200, count), rng.integers(1, 60, count)
    times = np.cumsum(rng.exponential(rng.choice([1e-3, 4e-3, 2e-2]), count))
    case = by_hand(
        [],
        block_size=8,
        blocks=int(rng.choice([34, 60, 400])),
        max_num_seqs=int(rng.choice([4, 16, 256])),
        max_num_batched_tokens=int(rng.choice([32, 128, 512])),
        async_scheduling=bool(rng.integers(2)),
        long_prefill_token_threshold=int(rng.integers(8, 64)) if rng.integers(2) else None,
        enable_prefix_caching=bool(rng.integers(2)),
        step_time=STEP_TIMES[1],
    )
    hashes = tuple(np.arange(prompt // 8) + 1000 * int(rng.integers(3)) for prompt in prompts)
    requests = Requests(arrival=times, input_tokens=prompts, output_tokens=outputs, hash_ids=hashes, hash_block=8)
    return replace(case, requests=requests)


def test_waiting_for_the_one_slot_is_that_of_a_queue_with_one_server() -> None:
    # One sequence at a time with fixed lengths is M/D/1: E[wait] = rho s/(2 (1 - rho)), Pollaczek-Khinchine.
    prompt, output, rho = 64, 9, 0.6
    service = 1e-3 * output  # steps of 1 ms
    base = by_hand(
        [], max_num_seqs=1, lengths=Lengths(input=prompt, output=output), arrivals=Poisson(f"{rho / service} request/s")
    )
    waits = []
    for replication in range(10):
        requests = serving.draw(base.scenario, 2_000, 5, replication)
        parts = partition_of(base.scenario, requests)
        mean = parts.finish.mean(axis=0) * 1e-12
        assert mean[[Cause.CACHE, Cause.BUDGET, Cause.BATCH, Cause.OTHER_PREFILL, Cause.PREEMPTED]].max() == 0
        assert mean[Cause.OWN_PREFILL] + mean[Cause.OWN_DECODE] == pytest.approx(service, rel=1e-12)
        waits.append(mean[Cause.STEP_UNDER_WAY] + mean[Cause.SLOTS])
    found = student(waits, 0.999)
    assert found.low is not None
    assert found.high is not None
    assert found.low < rho * service / (2 * (1 - rho)) < found.high
    assert found.relative_half_width < 0.2


def milliseconds_of(case: Case) -> list[dict[str, float]]:
    rows = split(case).finish.tolist()
    return [{c.column: row[c] / MILLISECOND for c in Cause if row[c]} for row in rows]


def test_who_finds_all_slots_taken_waits_for_a_slot() -> None:
    first, second = milliseconds_of(by_hand([(0, 4, 3), (0.5, 4, 1)], max_num_seqs=1))
    assert first == {"own_prefill": 1, "own_decode": 2}
    assert second == {"step_under_way": 0.5, "slots": 2, "own_prefill": 1}


def test_who_finds_no_blocks_waits_for_the_cache() -> None:
    _, second = milliseconds_of(by_hand([(0, 8, 4), (0.5, 8, 1)], blocks=3))
    assert second == {"step_under_way": 0.5, "cache": 3, "own_prefill": 1}


def test_a_prompt_behind_another_waits_for_the_budget() -> None:
    _, second = milliseconds_of(by_hand([(0, 8, 1), (0, 4, 1)], max_num_batched_tokens=4))
    assert second == {"budget": 2, "own_prefill": 1}


def test_a_decode_beside_a_prompt_and_another_decode_is_split_in_order() -> None:
    # 1 ms a step, 0.1 ms a prompt token, 1 ms a sequence: three decodes alone take 2 ms each.
    step = Affine(per_step=1e-3, per_prefill_token=1e-4, per_decode=1e-3)
    first, *_ = milliseconds_of(by_hand([(0, 10, 4), (0, 10, 4), (3.5, 20, 1)], step_time=step))
    assert first == {"own_prefill": 2, "own_decode": 6, "batch": 3, "other_prefill": 1 + 2}


def test_the_victim_of_a_preemption_waits_and_computes_again() -> None:
    case = by_hand([(0, 4, 6), (0, 4, 6)], blocks=3)
    jobs = case.naive().run()
    _, second = milliseconds_of(case)
    assert jobs[1].preemptions == 1
    assert second["preempted"] > 0
    assert second["recomputed"] == 1


def test_a_summary_of_the_mean_and_of_the_tail_adds_up() -> None:
    scenario = by_hand(
        [], lengths=Lengths(input=64, output=9), arrivals=Poisson("60 request/s"), max_num_seqs=1
    ).scenario
    parts = partition(scenario, seed=3, requests=1_000)
    table = parts.summary("e2el", request=17)
    assert table["mean"].sum() == pytest.approx(parts.e2el.mean() * 1e-12)
    assert table["request_17"].sum() == pytest.approx(parts.e2el[17] * 1e-12)
    nearest = np.quantile(parts.e2el, 0.99) * 1e-12
    assert abs(table["around_p99"].sum() / nearest - 1) < 0.05
    columns = [f"ttft_{cause.column}" for cause in Cause]
    assert np.allclose(parts.frame[columns].sum(axis=1), parts.frame["ttft"])


def test_what_cannot_be_split_is_refused_in_one_line() -> None:
    scenario = by_hand([(0, 4, 3)]).scenario
    with pytest.raises(InputError, match="requests"):
        partition(scenario, requests=0)
    with pytest.raises(InputError, match="a number from 0 to 4"):
        partition(scenario, requests=5).summary(request=9)
    with pytest.raises(InputError, match="Serving"):
        partition("serving")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="events, which runs any policies"):
        partition(scenario, policies=policies_of(scenario), witness="kernel")
    with pytest.raises(InputError, match="those of its engine"):
        partition(so.ClosedLoop(serving=scenario, max_concurrency=2), policies=policies_of(scenario))
