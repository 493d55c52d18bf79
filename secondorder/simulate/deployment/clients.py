"""The clients and the router between them and the replicas: a request is sent, given up, tried again; it ends once."""

from array import array
from collections import Counter, deque
from collections.abc import Sequence

import numpy as np
import simpy

from secondorder.quantities import si
from secondorder.scenarios.deployment import Deployment
from secondorder.simulate.deployment.fate import Fate
from secondorder.simulate.deployment.ledger import Ledger
from secondorder.simulate.deployment.replica import Attempt, Replica
from secondorder.simulate.deployment.router import Rule
from secondorder.simulate.serving.asks import PICO
from secondorder.simulate.serving.engine import Process
from secondorder.simulate.serving.request import Ask, Slot


class Clients:
    """What clients do: ``arrive`` takes each request as it comes. ``fates`` says how each ended, ``ended`` when (ps).

    ``ask`` gives those who wait for a request the event of its end. ``sent`` is when each request came (ps).

    ``delivered`` counts the tokens computed for requests that were served, ``wasted`` those for attempts that were
    not, by how these ended.
    """

    def __init__(
        self,
        env: simpy.Environment,
        scenario: Deployment,
        count: int,
        replicas: Sequence[Replica],
        rule: Rule,
        ledger: Ledger,
        chance: np.random.Generator,
    ) -> None:
        self.env, self.scenario, self.replicas, self.rule, self.ledger = env, scenario, replicas, rule, ledger
        self.chance = chance
        self.timeout = None if scenario.timeout is None else picoseconds(si(scenario.timeout))
        self.backoff = si(scenario.backoff)
        self.by_slot: dict[Slot, Attempt] = {}
        self.held: deque[Attempt] = deque()
        self.fates: list[Fate | None] = [None] * count
        self.sent, self.ended, self.attempts, self.replica = (array("q", [start]) * count for start in (-1, -1, 0, -1))
        self.awaited: dict[int, simpy.Event] = {}
        self.left = count
        self.delivered = 0
        self.wasted: Counter[Fate] = Counter()
        ledger.listener = self

    @property
    def over(self) -> bool:
        """Whether every request has ended."""
        return not self.left

    # Attempts

    def arrive(self, ask: Ask) -> None:
        """A request comes."""
        self.sent[ask.index] = int(self.env.now)
        self.begin(Attempt(ask))

    def ask(self, ask: Ask) -> simpy.Event:
        """A request comes of one who waits: the event is that it has ended, whatever its fate."""
        event = self.awaited[ask.index] = self.env.event()
        self.arrive(ask)
        return event

    def begin(self, attempt: Attempt) -> None:
        """A client sends a request."""
        self.attempts[attempt.ask.index] += 1
        if self.timeout is not None:
            attempt.deadline = int(self.env.now) + self.timeout
        self.go(attempt)

    def go(self, attempt: Attempt) -> None:
        """An attempt is on its way until its deadline."""
        if attempt.deadline is not None:
            self.env.process(self.give_up(attempt))
        self.send(attempt)

    def send(self, attempt: Attempt) -> None:
        """The router sends an attempt to a replica, or holds it while none is up."""
        up = [replica for replica in self.replicas if replica.up]
        if not up:
            self.held.append(attempt)
            return
        replica, most = self.rule(attempt.ask, up), self.scenario.max_outstanding
        if most is not None and replica.outstanding >= most:
            self.fail(attempt, Fate.REFUSED)
            return
        replica.submit(attempt)
        assert attempt.slot is not None
        self.by_slot[attempt.slot] = attempt
        self.replica[attempt.ask.index] = replica.number

    def release(self) -> None:
        """A replica is up again: send the requests that were held."""
        for _ in range(len(self.held)):
            self.send(self.held.popleft())

    def give_up(self, attempt: Attempt) -> Process:
        """At its deadline a client gives an attempt up, if it still waits."""
        assert attempt.deadline is not None
        yield self.env.timeout(max(0, attempt.deadline - int(self.env.now)))
        if not attempt.open or attempt.ends_as is not None:
            return
        attempt.ends_as = Fate.TIMED_OUT
        if attempt.replica is None:
            self.held.remove(attempt)
            self.fail(attempt, Fate.TIMED_OUT)
        elif self.scenario.withdraw:
            attempt.replica.withdraw(attempt)
        else:
            self.fail(attempt, Fate.TIMED_OUT)

    def fail(self, attempt: Attempt, fate: Fate, emitted: int = 0) -> None:
        """An attempt has ended without an answer: another one follows, or the request ends so."""
        attempt.open = False
        after, index = self.scenario.after_failure, attempt.ask.index
        if fate is Fate.LOST and after == "moved":
            kept = min(emitted, attempt.ask.output - 1)
            moved = Attempt(attempt.ask, attempt.number, kept, attempt.deadline)
            self.env.process(self.later(moved, 0))
        elif attempt.number <= self.scenario.retries and not (fate is Fate.LOST and after == "lost"):
            self.ledger.forget(index)
            again = Attempt(attempt.ask, attempt.number + 1)
            self.env.process(self.later(again, self.pause(attempt.number)))
        else:
            self.conclude(index, fate)

    def pause(self, number: int) -> int:
        """The pause before the attempt after the ``number``-th, in ps."""
        return picoseconds(self.backoff * 2.0 ** (number - 1) * (0.5 + self.chance.random()))

    def later(self, attempt: Attempt, pause: int) -> Process:
        """Begin another attempt; one that was moved goes on where it was."""
        yield self.env.timeout(pause)
        if attempt.deadline is None:
            self.begin(attempt)
        else:
            self.go(attempt)

    def conclude(self, index: int, fate: Fate) -> None:
        """A request has ended."""
        assert self.fates[index] is None, f"request {index} ends twice"
        self.fates[index], self.ended[index] = fate, int(self.env.now)
        self.left -= 1
        if index in self.awaited:
            self.awaited.pop(index).succeed()

    # What the engines report

    def expects(self, slot: Slot) -> bool:
        return self.by_slot[slot].open

    def on_end(self, slot: Slot) -> None:
        attempt = self._gone(slot)
        if attempt.open:
            attempt.open = False
            self.delivered += work(slot)
            self.conclude(attempt.ask.index, Fate.SERVED)
        else:
            assert attempt.ends_as is not None
            self.wasted[attempt.ends_as] += work(slot)

    def on_cancel(self, slot: Slot) -> None:
        attempt = self._gone(slot)
        assert attempt.ends_as is not None
        self.wasted[attempt.ends_as] += work(slot)
        if attempt.open:
            self.fail(attempt, attempt.ends_as, slot.emitted)

    def _gone(self, slot: Slot) -> Attempt:
        attempt = self.by_slot.pop(slot)
        assert attempt.replica is not None
        attempt.replica.forget(attempt)
        return attempt


def work(slot: Slot) -> int:
    """Tokens computed for a slot, without those lost to preemptions."""
    return max(0, slot.computed - slot.cached)


def picoseconds(seconds: float) -> int:
    """A time in s as whole picoseconds of the clock."""
    return round(seconds / PICO)
