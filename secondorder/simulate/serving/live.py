"""The simulated engine in real time: the same scheduler and step times, on the clock of the wall.

A step ends when the simulated engine would end it. What the machine is late by is written down, and never carried
over: the next step starts at the time at which the last one should have ended.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np

from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import picoseconds
from secondorder.simulate.serving.request import Ask, Slot
from secondorder.simulate.serving.scheduler import Scheduler
from secondorder.simulate.serving.single_run import scheduler_for
from secondorder.simulate.serving.step import Step
from secondorder.workloads.requests import Requests

PICO = 1e-12


@dataclass(eq=False)
class Call:
    """A request under way: its slot, the tokens that came out (times in s of the engine's clock), those to hand on."""

    slot: Slot
    arrival: float
    tokens: list[float] = field(default_factory=list)
    due: "asyncio.Queue[float]" = field(default_factory=asyncio.Queue)


class LiveEngine:
    """One replica of a scenario, for as long as ``run`` runs. Times are seconds since it started.

    ``calls`` is the record of all requests; ``lateness`` the seconds by which each step's end was noticed too late.
    """

    def __init__(self, scenario: Serving) -> None:
        self.scenario = scenario
        self.scheduler: Scheduler = scheduler_for(scenario)
        self.seconds = scenario.step_seconds
        self.calls: list[Call] = []
        self.lateness: list[float] = []
        self._under_way: dict[Slot, Call] = {}
        self._arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._zero = self._loop.time()

    @property
    def now(self) -> float:
        """Seconds since the engine started."""
        return self._loop.time() - self._zero

    def submit(self, prompt: int, output: int) -> Call:
        """A request arrives now."""
        ask = Ask(index=len(self.calls), prompt=prompt, output=output, arrival=picoseconds(self.now))
        call = Call(self.scheduler.submit(ask), ask.arrival * PICO)
        self.calls.append(call)
        self._under_way[call.slot] = call
        self._arrived.set()
        return call

    def cancel(self, call: Call) -> None:
        """The client has gone."""
        if self._under_way.pop(call.slot, None):
            self.scheduler.cancel(call.slot)

    async def tokens(self, call: Call) -> AsyncIterator[float]:
        """The time of each token, as it comes out."""
        for _ in range(call.slot.ask.output):
            yield await call.due.get()

    async def run(self) -> None:
        """Compute steps, for ever."""
        following: tuple[Step, list[Slot]] | None = None
        ends = self.now
        while True:
            planned = following or self._schedule()
            if planned is None:
                ends = await self._sleep()
                continue
            following = self._schedule() if self.scenario.async_scheduling else None
            step, answered = planned
            ends += picoseconds(float(self.seconds(*step.load))) * PICO
            await asyncio.sleep(max(0.0, ends - self.now))
            self.lateness.append(self.now - ends)
            self.scheduler.complete(step.finishing)
            self._hand_on(answered, ends)

    def _schedule(self) -> tuple[Step, list[Slot]] | None:
        """The next step, and the requests that have a token at its end."""
        before = {slot: self._emitted(slot) for slot in self._under_way}
        step = self.scheduler.schedule()
        if step is None:
            return None
        finishing = set(step.finishing)
        return step, [slot for slot, count in before.items() if slot in finishing or self._emitted(slot) > count]

    def _emitted(self, slot: Slot) -> int:
        """Tokens of a request as of the steps scheduled."""
        return slot.emitted + (self.scheduler.step - slot.joined if slot.joined >= 0 else 0)

    def _hand_on(self, slots: list[Slot], time: float) -> None:
        for slot in slots:
            if (call := self._under_way.get(slot)) is None:
                continue
            call.tokens.append(time)
            call.due.put_nowait(time)
            if len(call.tokens) == slot.ask.output:
                del self._under_way[slot]

    async def _sleep(self) -> float:
        """Until a request arrives; the time at which it did."""
        self._arrived.clear()
        if not self._under_way:
            await self._arrived.wait()
        return self.now

    def offered(self) -> Requests:
        """The requests so far, as a trace would have them; the first arrives at 0."""
        arrival = np.array([call.arrival for call in self.calls])
        return Requests(
            arrival=arrival - arrival[0],
            input_tokens=[call.slot.ask.prompt for call in self.calls],
            output_tokens=[call.slot.ask.output for call in self.calls],
        )

    def overhead(self) -> dict[str, float]:
        """Seconds by which ends of steps were noticed too late: mean, p99 and most."""
        late = np.array(self.lateness or [0.0])
        return {"mean": float(late.mean()), "p99": float(np.quantile(late, 0.99)), "most": float(late.max())}
