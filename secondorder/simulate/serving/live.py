"""The simulated engine in real time: the same scheduler and step times, on the clock of the wall.

A step ends when the simulated engine would end it. What the machine is late by is written down, and never carried
over: the next step starts at the time at which the last one should have ended.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import picoseconds
from secondorder.simulate.serving.request import Ask, Slot
from secondorder.simulate.serving.scheduler import Scheduler
from secondorder.simulate.serving.single_run import scheduler_for
from secondorder.simulate.serving.step import Step
from secondorder.workloads.requests import Requests

if TYPE_CHECKING:
    import pandas as pd

PICO = 1e-12


@dataclass(eq=False)
class Call:
    """A request under way: what was asked, the times at which its tokens came out (s), and those not yet handed on
    (`due`).

    ``slot``: its place at the scheduler, once the engine has looked at it.
    """

    ask: Ask
    slot: Slot | None = None
    tokens: list[float] = field(default_factory=list)
    due: "asyncio.Queue[float]" = field(default_factory=asyncio.Queue)

    @property
    def arrival(self) -> float:
        """In s of the engine's clock."""
        return self.ask.arrival * PICO


class LiveEngine:
    """One replica of a scenario, for as long as ``run`` runs. Times are seconds since it started.

    Requests are stamped when they arrive, and a step sees those stamped up to its nominal start: the schedule is that
    of the simulation of the same arrivals, however late the machine is. ``calls`` is the record of all requests;
    ``lateness`` the seconds by which each step's end was noticed too late.
    """

    def __init__(self, scenario: Serving) -> None:
        scenario.check_one_scheduler("an engine in real time")
        scenario.check_one_cache("an engine in real time")
        scenario.check_one_stage("an engine in real time")
        self.scenario = scenario
        self.scheduler: Scheduler = scheduler_for(scenario)
        self.seconds = scenario.step_seconds
        self.calls: list[Call] = []
        self.lateness: list[float] = []
        self._pending: deque[Call] = deque()
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
        call = Call(Ask(index=len(self.calls), prompt=prompt, output=output, arrival=picoseconds(self.now)))
        self.calls.append(call)
        self._pending.append(call)
        self._arrived.set()
        return call

    def cancel(self, call: Call) -> None:
        """The client has gone."""
        if call in self._pending:
            self._pending.remove(call)
        elif call.slot is not None and call.slot in self._under_way:
            del self._under_way[call.slot]
            self.scheduler.cancel(call.slot)

    async def tokens(self, call: Call) -> AsyncIterator[float]:
        """The time of each token, as it comes out."""
        for _ in range(call.ask.output):
            yield await call.due.get()

    async def run(self) -> None:
        """Compute steps, for ever."""
        following: tuple[Step, list[Slot]] | None = None
        instant = 0
        while True:
            planned = following or self._schedule(instant)
            if planned is None:
                instant = max(instant, await self._first_pending())
                continue
            following = self._schedule(instant) if self.scenario.settings.async_scheduling else None
            step, answered = planned
            instant += picoseconds(float(self.seconds(*step.load)))
            await asyncio.sleep(max(0.0, instant * PICO - self.now))
            self.lateness.append(self.now - instant * PICO)
            self.scheduler.complete(step.finishing)
            self._hand_on(answered, instant * PICO)

    async def _first_pending(self) -> int:
        """When the next request arrives or has arrived, in picoseconds."""
        while not self._pending:
            self._arrived.clear()
            await self._arrived.wait()
        return self._pending[0].ask.arrival

    def _schedule(self, instant: int) -> tuple[Step, list[Slot]] | None:
        """The step that starts at an instant, and the requests that have a token at its end."""
        while self._pending and self._pending[0].ask.arrival <= instant:
            call = self._pending.popleft()
            call.slot = self.scheduler.submit(call.ask)
            self._under_way[call.slot] = call
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

    def offered(self) -> Requests:
        """The requests so far, as a trace would have them; the first arrives at 0."""
        arrival = np.array([call.arrival for call in self.calls])
        return Requests(
            arrival=arrival - arrival[0],
            input_tokens=[call.ask.prompt for call in self.calls],
            output_tokens=[call.ask.output for call in self.calls],
        )

    def answered(self) -> "pd.DataFrame":
        """The requests that have all their tokens, as the engine timed them: ``arrival_s`` from the first request on,
        lengths, ``ttft_s``, ``tpot_s`` and ``e2el_s``; ``read_run`` reads it as CSV."""
        import pandas as pd

        first = self.calls[0].arrival if self.calls else 0.0
        rows = [
            (
                call.arrival - first, call.ask.prompt, call.ask.output, call.tokens[0] - call.arrival,
                (call.tokens[-1] - call.tokens[0]) / max(call.ask.output - 1, 1), call.tokens[-1] - call.arrival,
            )
            for call in self.calls
            if len(call.tokens) == call.ask.output
        ]  # fmt: skip
        names = ["arrival_s", "input_tokens", "output_tokens", "ttft_s", "tpot_s", "e2el_s"]
        return pd.DataFrame(rows, columns=names)

    def overhead(self) -> dict[str, float]:
        """Seconds by which ends of steps were noticed too late: mean, p99 and most."""
        late = np.array(self.lateness or [0.0])
        return {"mean": float(late.mean()), "p99": float(np.quantile(late, 0.99)), "most": float(late.max())}
