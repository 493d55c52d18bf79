"""An engine of several pipeline stages on SimPy: as many batches are under way as there are stages.

A request stays in one of the batches from its admission on; what waits, the cache and the slots are shared. The next
batch is decided as soon as fewer are under way than there are stages and something can be computed; else the engine
waits for the oldest, and sees what arrives meanwhile only then, as vLLM does.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import simpy

from secondorder.scenarios.pipeline_stages import StageCoefficients, hop_seconds, stage_seconds
from secondorder.scenarios.steptime import StepFunction, picoseconds
from secondorder.simulate.serving.engine import Engine, Process, StepEnd
from secondorder.simulate.serving.policies import Candidate
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.request import Slot
from secondorder.simulate.serving.scheduler import Scheduler
from secondorder.simulate.serving.step import Draft, Step, alive


class Lane(Scheduler):
    """The scheduler of one of the batches; ``lanes`` are all of them."""

    lanes: "Sequence[Lane]" = ()

    @property
    def slots_taken(self) -> int:
        return sum(len(lane.running) for lane in self.lanes)

    def _start(self, slot: Slot, hits: int, draft: Draft) -> None:
        self.admissions = max(lane.admissions for lane in self.lanes)  # no two admissions have one number
        super()._start(slot, hits, draft)

    def _candidate(self, slot: Slot, hits: int, tokens: int) -> Candidate:
        return super()._candidate(slot, hits, tokens)._replace(running=self.slots_taken)


def lanes_of(lanes: Sequence[Lane]) -> Sequence[Lane]:
    """Lanes that share one line and one cache, those of the first."""
    for lane in lanes:
        lane.waiting, lane.blocks, lane.lanes = lanes[0].waiting, lanes[0].blocks, lanes
    return lanes


class Batch(NamedTuple):
    """A batch under way, and when it leaves the last stage, in ps."""

    lane: Lane
    step: Step
    end: int


class PipelineEngine(Engine):
    """One replica of several stages."""

    def __init__(
        self,
        env: simpy.Environment,
        lanes: Sequence[Lane],
        stages: StageCoefficients,
        recorder: Recorder,
        *,
        name: str = "engine",
    ) -> None:
        self.lanes, self.stages = lanes, stages
        self.free = [0] * stages.stages  # when each stage is free
        self.under_way: deque[Batch] = deque()
        seconds = StepFunction(stage_seconds, stages)
        super().__init__(env, lanes[0], seconds, recorder, ahead=False, leaps=False, name=name)

    def run(self) -> Process:
        while True:
            if self.leaving:
                self.let_go()
            if len(self.under_way) < len(self.lanes) and self.send():
                continue
            if self.under_way:
                yield from self.receive()
            else:
                yield from self.sleep()

    def send(self) -> bool:
        """Decide the next batch and send it off; False if there is nothing to compute."""
        away = [batch.lane for batch in self.under_way]
        for lane in sorted((lane for lane in self.lanes if lane not in away), key=_is_empty):
            if step := lane.schedule():
                if step.admitted:
                    self.recorder.admit(step.admitted, int(self.env.now), self.log)
                self.under_way.append(Batch(lane, step, self.passes(step)))
                return True
        return False

    def passes(self, step: Step) -> int:
        """When a batch that is sent now leaves the last stage: it waits for each that another one is in."""
        lasts = picoseconds(self.seconds(*step.load))
        hop = picoseconds(hop_seconds(self.stages, step.prefill_tokens, step.decodes))
        at = int(self.env.now) - hop
        for stage, free in enumerate(self.free):
            at = self.free[stage] = max(at + hop, free) + lasts
        return at

    def receive(self) -> Process:
        """The oldest batch, when it has come out."""
        batch, used = self.under_way[0], self.used()
        yield StepEnd(self.env, batch.end - self.env.now)
        self.under_way.popleft()
        step, now = batch.step, int(self.env.now)
        ended = alive(step.finishing)
        ran = batch.lane.slots_taken + sum(slot not in batch.lane.running for slot in ended)
        self.log.span(now, ran, self.scheduler.not_running, used + self.used())
        self.log.steps += 1
        self.log.tokens += step.prefill_tokens + step.decodes
        self.recorder.answer(alive(step.first), now)
        self.recorder.end(ended, now)
        batch.lane.complete(step.finishing)

    def let_go(self) -> None:
        for slot in self.leaving:
            holder = next((lane for lane in self.lanes if slot in lane.running), self.lanes[0])
            if holder.cancel(slot):
                self.recorder.cancel(slot, int(self.env.now))
        self.leaving.clear()


def _is_empty(lane: Lane) -> bool:
    return not lane.running
