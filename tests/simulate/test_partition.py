"""The parts of each latency add up to it, agree with a naive account, and obey Little's law."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from naive_engine import Job, NaiveEngine, Piece
from random_services import MILLISECOND, Case, by_hand, cases, examples

from secondorder.errors import InputError
from secondorder.simulate.serving.causes import Cause
from secondorder.simulate.serving.partition import Partition, partition, partition_of
from secondorder.simulate.serving.policies import first_chunk

PICO = 10**12


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
        self.after: Counter[Job] = Counter()
        self.number: Counter[Cause] = Counter()

    def schedule(self) -> list[Piece]:
        victims = self.victims = []
        step = super().schedule()
        if step:
            self.reasons.append((self.reason(step, bool(victims)), list(self.waiting), victims))
        return step

    def preempt(self, victim: Job) -> None:
        super().preempt(victim)
        if not victim.done:
            self.victims.append(victim)

    def reason(self, step: list[Piece], preempted: bool) -> Cause | None:
        if not self.waiting:
            return None
        if preempted:
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

    def emit(self, step: list[Piece]) -> None:
        super().emit(step)
        for job in self.jobs:
            if job.first_token == self.now and job not in self.ttft:
                self.ttft[job] = Counter(self.parts[job])


def assert_agrees_with_the_naive_account(case: Case) -> None:
    naive, parts = NaiveAccount(case), split(case)
    jobs = naive.run()
    for found, told in ((parts.finish, naive.parts), (parts.first_token, naive.ttft)):
        assert found.tolist() == [[told[job][cause] for cause in Cause] for job in jobs]


@given(cases(ahead=False))
@examples(400)
def test_the_parts_are_those_of_a_naive_account(case: Case) -> None:
    assert_agrees_with_the_naive_account(case)


@given(cases(ahead=True))
@examples(400)
def test_the_parts_of_a_step_ahead_are_those_of_a_naive_account(case: Case) -> None:
    assert_agrees_with_the_naive_account(case)


@given(cases(most_requests=20))
@examples(400)
def test_nothing_is_left_over_and_leaps_change_no_part(case: Case) -> None:
    parts = split(case)
    assert_no_residue(parts)
    assert (parts.finish >= 0).all()
    assert (parts.finish >= parts.first_token).all()
    assert (split(case, leaps=False).finish == parts.finish).all()
    assert_no_residue(split(replace(case, policies=replace(case.policies, admits=first_chunk))))
