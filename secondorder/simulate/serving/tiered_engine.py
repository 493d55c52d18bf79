"""An engine with tiers below its cache: blocks arrive while it computes, or wake it."""

import simpy

from secondorder.scenarios.steptime import StepSeconds
from secondorder.simulate.serving.engine import Engine, Process
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.request import Slot
from secondorder.simulate.serving.step import Step
from secondorder.simulate.serving.tiered_scheduler import TieredScheduler


class TieredEngine(Engine):
    """A replica whose requests may be sent for blocks; each step is an event, for its blocks go down at its time."""

    def __init__(
        self,
        env: simpy.Environment,
        scheduler: TieredScheduler,
        seconds: StepSeconds,
        recorder: Recorder,
        *,
        ahead: bool,
        name: str = "engine",
    ) -> None:
        self.tiered = scheduler
        super().__init__(env, scheduler, seconds, recorder, ahead=ahead, leaps=False, name=name)
        self.log.links = {tier.name: (tier.reads.starts, tier.reads.ends) for tier in scheduler.tiered.tiers}
        self.log.writes = {tier.name: (tier.writes.starts, tier.writes.ends) for tier in scheduler.tiered.tiers}

    def decide(self, *, beside: bool = False) -> Step | None:
        step = super().decide(beside=beside)
        for slot, arrival in self.tiered.sent:
            self.env.process(self.bring(slot, arrival))
        self.tiered.sent.clear()
        return step

    def bring(self, slot: Slot, arrival: int) -> Process:
        """The blocks of a request, when they have come."""
        yield self.env.timeout(arrival - self.env.now)
        self.tiered.land(slot)
        self.wake()

    def cancel(self, slot: Slot) -> None:
        super().cancel(slot)
        self.wake()

    def wake(self) -> None:
        """An engine without a step looks again."""
        if self.idle is not None:
            self.idle.succeed()
            self.idle = None
