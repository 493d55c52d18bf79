"""The parts of each latency add up to it, and agree with a naive account and with queueing theory."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from naive_engine import Job, NaiveEngine, Piece
from random_services import MILLISECOND, STEP_TIMES, Case, by_hand, cases, examples

from secondorder.errors import InputError
from secondorder.scenarios.steptime import Affine
from secondorder.simulate import serving
from secondorder.simulate.serving.causes import Cause
from secondorder.simulate.serving.engine_policies import policies_of
from secondorder.simulate.serving.partition import Partition, partition, partition_of
from secondorder.simulate.serving.policies import first_chunk
from secondorder.simulate.statistics.intervals import student
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Lengths
from secondorder.workloads.requests import Requests


def split(case: Case, *, leaps: bool = True) -> Partition:
    return partition_of(case.scenario, case.requests, leaps=leaps, policies=case.policies)


def assert_no_residue(parts: Partition) -> None:
    assert (parts.first_token.sum(axis=1) == parts.ttft).all()
    assert (parts.finish.sum(axis=1) == parts.e2el).all()


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


@given(cases(most_requests=20))
@examples(60)
def test_nothing_is_left_over_and_leaps_change_no_part(case: Case) -> None:
    parts = split(case)
    assert_no_residue(parts)
    assert (parts.finish >= 0).all()
    assert (parts.finish >= parts.first_token).all()
    assert (split(case, leaps=False).finish == parts.finish).all()
    assert_no_residue(split(replace(case, policies=replace(policies_of(case.scenario), admits=first_chunk))))


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
