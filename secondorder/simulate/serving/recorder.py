"""What became of each request of a run, and the state of each engine over time."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from secondorder.simulate.serving.request import Slot


def _columns() -> tuple["array[int]", ...]:
    return tuple(array("q") for _ in range(4))


@dataclass
class EngineLog:
    """One engine over time.

    ``series`` has a row for each span of time between two looks at the engine: when it ended,
    the requests that ran in it, those that waited at its end, and twice the blocks in use.
    ``tokens``: computed in all steps, of prompts and of answers. ``links``: by lower tier, the times at which its link
    began and ceased to be busy with fetches; ``writes``: the same of what is written to it.
    """

    number: int
    name: str
    steps: int = 0
    tokens: int = 0
    series: tuple["array[int]", ...] = field(default_factory=_columns)
    links: dict[str, tuple["array[int]", "array[int]"]] = field(default_factory=dict)
    writes: dict[str, tuple["array[int]", "array[int]"]] = field(default_factory=dict)

    def span(self, end: int, running: int, waiting: int, used_twice: int) -> None:
        """A look at the engine."""
        time, ran, waited, used = self.series
        time.append(end)
        ran.append(running)
        waited.append(waiting)
        used.append(used_twice)


class Recorder:
    """Times of each request of a run in picoseconds (-1: not yet), whichever engine serves it.

    A request that is moved or retried keeps its first ``scheduled`` and ``first_token``; ``engine`` is the number of
    the last engine that had it, ``cached`` what it found there, ``below`` how much of that lower tiers had;
    preemptions and the time for blocks of lower tiers (``fetch``) add up.
    """

    def __init__(self, count: int) -> None:
        self.logs: dict[str, EngineLog] = {}
        self.scheduled, self.first_token, self.finish, self.cancelled, self.engine = (
            array("q", [-1]) * count for _ in range(5)
        )
        self.preemptions, self.cached, self.fetch = (array("q", [0]) * count for _ in range(3))
        self.below: dict[str, array[int]] = {}

    def log(self, name: str) -> EngineLog:
        """A new engine's; each has a name of its own."""
        assert name not in self.logs, f"two engines are called {name}"
        log = self.logs[name] = EngineLog(len(self.logs), name)
        return log

    @property
    def steps(self) -> int:
        """Of all engines."""
        return sum(log.steps for log in self.logs.values())

    def admit(self, slots: Iterable[Slot], now: int, log: EngineLog) -> None:
        """An engine begins with these requests."""
        for slot in slots:
            index = slot.ask.index
            self.engine[index] = log.number
            if self.scheduled[index] < 0:
                self.scheduled[index] = now

    def answer(self, slots: Iterable[Slot], now: int) -> None:
        """Their first token is out."""
        for slot in slots:
            if self.first_token[slot.ask.index] < 0:
                self.first_token[slot.ask.index] = now

    def end(self, slots: Iterable[Slot], now: int) -> None:
        """They have all their tokens."""
        for slot in slots:
            self.finish[slot.ask.index] = now
            self._count(slot)

    def cancel(self, slot: Slot, now: int) -> None:
        """A request has given up at its engine."""
        self.cancelled[slot.ask.index] = now
        self._count(slot)

    def _count(self, slot: Slot) -> None:
        self.preemptions[slot.ask.index] += slot.preemptions
        self.cached[slot.ask.index] = slot.cached
        self.fetch[slot.ask.index] += slot.fetch
        for tier, _ in slot.below:
            if tier not in self.below:
                self.below[tier] = array("q", [0]) * len(self.cached)
        for tier, tokens in self.below.items():
            tokens[slot.ask.index] = dict(slot.below).get(tier, 0)
