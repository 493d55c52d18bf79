"""A replica: an engine that can be taken away, and comes back cold; and the attempts that it has."""

from collections.abc import Mapping
from dataclasses import dataclass

import simpy

from secondorder.scenarios.serving import Serving
from secondorder.simulate.deployment.fate import Fate
from secondorder.simulate.serving.engine import Engine
from secondorder.simulate.serving.policies import Policies
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.request import Ask, Slot
from secondorder.simulate.serving.single_run import engine_for
from secondorder.simulate.serving.tiers import Tier


@dataclass(slots=True, eq=False)
class Attempt:
    """A request on its way: the ``number``-th attempt, at a ``replica`` once it has a ``slot`` there.

    ``emitted`` tokens were brought from a replica that failed. At ``deadline`` (ps) its client gives it up. ``ends_as``
    is set once the attempt is to end otherwise than served; ``open`` says whether its client still waits for it.
    """

    ask: Ask
    number: int = 1
    emitted: int = 0
    deadline: int | None = None
    replica: "Replica | None" = None
    slot: Slot | None = None
    ends_as: Fate | None = None
    open: bool = True


class Replica:
    """An engine, the attempts that it has, and whether it takes more."""

    def __init__(
        self,
        env: simpy.Environment,
        number: int,
        scenario: Serving,
        recorder: Recorder,
        *,
        on: bool = True,
        policies: Policies | None = None,
        shared: Mapping[str, Tier] | None = None,
    ) -> None:
        self.env, self.number, self.scenario, self.recorder = env, number, scenario, recorder
        self.policies, self.shared = policies, shared
        self.attempts: dict[Attempt, None] = {}
        self.tokens = 0  # of the prompts of its attempts
        self.starts = 0
        self.up = self.on = on  # up: it takes requests; on: it is paid for
        self.leaving = False  # it is drained to be switched off
        self.on_since = self.on_time = 0
        self.down_since = self.downtime = 0
        self.drained: simpy.Event | None = None
        self.engines: list[Engine] = []
        self.engine = self._cold_engine()

    @property
    def outstanding(self) -> int:
        """Requests that were sent to it and have not ended."""
        return len(self.attempts)

    def submit(self, attempt: Attempt) -> None:
        """A request arrives."""
        self.attempts[attempt] = None
        self.tokens += attempt.ask.prompt
        attempt.replica = self
        attempt.slot = self.engine.submit(attempt.ask, attempt.emitted)

    def withdraw(self, attempt: Attempt) -> None:
        """A request is taken back: its engine lets it go at the end of the step under way."""
        assert attempt.slot is not None
        self.engine.cancel(attempt.slot)

    def forget(self, attempt: Attempt) -> None:
        """An attempt has ended."""
        del self.attempts[attempt]
        self.tokens -= attempt.ask.prompt
        if self.drained is not None and not self.attempts:
            self.drained.succeed()
            self.drained = None

    def fail(self) -> None:
        """It is gone with all that it had."""
        self.close()
        for attempt in list(self.attempts):
            attempt.ends_as = attempt.ends_as or Fate.LOST
            self.withdraw(attempt)

    def close(self) -> None:
        """It takes no more requests."""
        self.up, self.down_since = False, int(self.env.now)

    def drain(self) -> simpy.Event:
        """It takes no more requests; the event is that all it had have ended."""
        self.up = False
        event = self.env.event()
        if self.attempts:
            self.drained = event
        else:
            event.succeed()
        return event

    def restart(self) -> None:
        """It is back, with an empty cache."""
        self.downtime += int(self.env.now) - self.down_since
        self.engine = self._cold_engine()
        self.up = True

    # By an autoscaler

    def switch_on(self) -> None:
        """It is paid for from now on, and starts."""
        self.on, self.on_since = True, int(self.env.now)

    def begin(self) -> None:
        """It has started, with an empty cache."""
        self.engine = self._cold_engine()
        self.up = True

    def switch_off(self) -> None:
        """It is paid for no longer."""
        self.on_time += int(self.env.now) - self.on_since
        self.on = self.leaving = False

    def paid(self, until: int) -> int:
        """How long it was on up to a time, in ps."""
        return self.on_time + (until - self.on_since if self.on else 0)

    def _cold_engine(self) -> Engine:
        name = f"replica {self.number}" if not self.starts else f"replica {self.number}, restart {self.starts}"
        self.starts += 1
        self.engines.append(
            engine_for(self.scenario, self.env, self.recorder, policies=self.policies, name=name, shared=self.shared)
        )
        return self.engines[-1]

    @property
    def blocks_held(self) -> int:
        """Blocks of the cache that are in use, also of engines that failed."""
        return sum(engine.used() for engine in self.engines)
