"""The search for a steady state: a pilot from two starts, then sections until the answer is known well enough.

The pilot doubles its runs until they last a hundred relaxation times and both starts have met. Each
section is then a run of its own that starts empty, with ten relaxation times cut, and there are more and more of them.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.histogram import Floats
from secondorder.simulate.statistics.outcome import (
    SECTIONS,
    NotSteady,
    Outcome,
    Steady,
    TooShort,
    Unsteady,
    intervals,
)
from secondorder.simulate.statistics.progress import Progress, tell
from secondorder.simulate.statistics.relaxation import FEWEST, SECTION, WARM_UP, relaxation_of, relaxation_time
from secondorder.simulate.statistics.runs import Observed, Section, Source, section
from secondorder.simulate.statistics.starts import Starts

PILOTS = 4
"""Replications of the pilot, each from both starts."""
FIRST = 4_000
"""Requests of its first runs, at least."""
SHORT = 2_000
"""Requests of a run below which growth is no sign of overload."""
LEAST = 5_000
"""Requests of a section, at least: 50 lie past the p99."""
FEWEST_SECTIONS = 10
"""Sections below which a search whose budget ends has no interval."""
LEAST_GROWTH, MOST_AT_ONCE = 1.5, 4
"""Times that the sections are multiplied before their width is looked at again: many looks would pick a lucky one."""
PRECISION = 0.05
"""Relative half-width that is sought where none is given."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a search may cost: ``requests`` in all, and ``seconds``, which make the result depend on the machine."""

    requests: int
    seconds: float | None = None


def steady_state(
    source: Source,
    *,
    watched: Sequence[str],
    budget: Budget,
    precision: float = PRECISION,
    replications: int | None = None,
    jobs: int = 1,
    threads: bool = False,
) -> Outcome:
    """Run a system until each of the ``watched`` metrics is known to a relative half-width of ``precision``.

    *Not steady* where work grows from both starts, or where they stay apart though each has settled; *not enough
    data* where the budget does not reach sections of 50 relaxation times; else *steady*, with the precision
    that was reached. With ``replications`` there are this many sections, whatever their precision. ``jobs`` processes
    share the sections, or with ``threads`` this many threads share all runs; without a budget in seconds the result
    does not depend on them. Errors: those of the source.
    """
    search = _Search(source, tuple(watched), budget, precision, replications, jobs, threads)
    found = search.pilot()
    return found if not isinstance(found, Pilot) else search.sections(found)


def given_runs(
    source: Source,
    *,
    watched: Sequence[str],
    length: int,
    replications: int,
    precision: float = PRECISION,
    jobs: int = 1,
    threads: bool = False,
) -> Outcome:
    """What a number of runs of a given length show: the outcomes of ``steady_state``, without a search.

    The first four replications, or all if there are fewer, are run from a flooded start as well. *Not enough data*
    where what is left between warm-up and end is shorter than 50 relaxation times; the sections are then whole runs.
    """
    search = _Search(source, tuple(watched), Budget(requests=0), precision, replications, jobs, threads)
    return search.given(length, replications)


def two_starts(source: Source, length: int) -> Starts:
    """Four runs of a length from an empty start, and four from a flooded one."""
    search = _Search(source, (), Budget(requests=0), PRECISION, None, 1)
    empty = search._runs(length, 0)
    return Starts(_work(empty), _work(search._runs(length, search._flood(empty))))


@dataclass(frozen=True)
class Pilot:
    """The ``relaxation`` time and the ``end`` that must be cut, in requests; the ``length`` of runs if it is given."""

    relaxation: float
    end: int
    length: int | None = None

    @property
    def warm_up(self) -> int:
        return math.ceil(WARM_UP * self.relaxation)

    @property
    def kept(self) -> int:
        if self.length is not None:
            return self.length - self.warm_up - self.end
        return math.ceil(max(SECTION * self.relaxation, LEAST))

    @property
    def run(self) -> int:
        """Requests of a run: warm-up, section and end."""
        return self.warm_up + self.kept + self.end


@dataclass
class _Search:
    source: Source
    watched: tuple[str, ...]
    budget: Budget
    precision: float
    replications: int | None
    jobs: int
    threads: bool = False
    spent: int = 0
    halves: tuple[Section, ...] = ()
    begun: float = field(default_factory=time.monotonic)

    # The pilot

    def pilot(self) -> "Pilot | Outcome":
        """Longer and longer runs from two starts, until they tell what kind of system this is."""
        length, apart = max(FIRST, 20 * self.source.full), 0
        if 2 * PILOTS * length > self.budget.requests:
            length = max(100, self.budget.requests // (2 * PILOTS))
        while True:
            empty = self._runs(length, 0)
            flooded = self._runs(length, self._flood(empty))
            starts = Starts(_work(empty), _work(flooded))
            relaxation = relaxation_time(empty)
            tell(Progress(spent=self.spent))
            if starts.grows:
                return self._unstable(empty, starts)
            settled = length >= SECTION * relaxation
            if settled and starts.met(relaxation):
                self.halves = _halves(empty)
                return Pilot(relaxation, max(length - run.settled for run in empty))
            apart = apart + 1 if settled and starts.stays_flooded else 0
            if apart > 1:
                return self._two_states(empty, starts)
            longer = int(min(max(1.1 * SECTION * relaxation, 2 * length), 8 * length))
            if not self._affords(2 * PILOTS * longer):
                return self._undecided(empty, starts, relaxation)
            length = longer

    def _flood(self, empty: list[Observed]) -> int:
        """Twice what was seen in the system, and twice what fills it; no more than a tenth of the run."""
        seen = max(run.work.max() for run in empty)
        return int(min(2 * max(seen, self.source.full), len(empty[0].work) / 10))

    def _runs(self, length: int, flood: int, count: int = PILOTS) -> list[Observed]:
        self.spent += count * length
        run, jobs = self.source.run, self.jobs if self.threads else 1  # whole runs are too much to send to processes
        return replicated(lambda k: run(k, length, flood), count, jobs, threads=True)

    def _unstable(self, empty: list[Observed], starts: Starts) -> NotSteady:
        seen = (
            f"the work in system grew through {PILOTS} runs of {starts.empty.shape[1]:,} requests, from an empty "
            "and from a flooded start"
        )
        return NotSteady(
            sections=_halves(empty), spent=self.spent, kind=Unsteady.UNSTABLE, seen=seen, growth=starts.grows
        )

    def _two_states(self, empty: list[Observed], starts: Starts) -> NotSteady:
        return NotSteady(sections=_halves(empty), spent=self.spent, kind=Unsteady.TWO_STATES, seen=starts.apart)

    def _undecided(self, empty: list[Observed], starts: Starts, relaxation: float) -> Outcome:
        length = starts.empty.shape[1]
        if length >= SECTION * relaxation:
            seen = f"an empty and a flooded start have not met after {length:,} requests"
            return NotSteady(sections=_halves(empty), spent=self.spent, kind=Unsteady.TRANSIENT, seen=seen)
        seen = f"runs of {length:,} requests last {length / relaxation:.2g} relaxation times of {relaxation:,.0f}"
        return TooShort(sections=_halves(empty), spent=self.spent, needed=_least_of_all(relaxation), seen=seen)

    def given(self, length: int, replications: int) -> Outcome:
        """Runs of a given length, judged as the pilot is; its runs from an empty start are the first of them."""
        pilots = min(PILOTS, replications)
        empty = self._runs(length, 0, pilots)
        flooded = self._runs(length, self._flood(empty), pilots)
        starts, relaxation = Starts(_work(empty), _work(flooded)), relaxation_time(empty)
        if starts.grows and length >= max(SHORT, 4 * self.source.full):
            return self._unstable(empty, starts)
        pilot = Pilot(relaxation, max(length - run.settled for run in empty), length)
        if pilot.kept < FEWEST * relaxation:
            pilot = Pilot(0.0, 0, length)
        start, last = pilot.warm_up, pilot.warm_up + pilot.kept
        found = [section(run, start, last) for run in empty]
        found += self._sections(pilot, pilots, replications - pilots, first=0)
        if not pilot.relaxation:
            seen = f"runs of {length:,} requests are too short compared with the relaxation time of {relaxation:,.0f}"
            needed = replications * Pilot(relaxation, 0).run
            return TooShort(sections=tuple(found), spent=self.spent, needed=needed, seen=seen)
        if not starts.met(relaxation):
            return (
                self._two_states(empty, starts) if starts.stays_flooded else self._undecided(empty, starts, relaxation)
            )
        width = self.width(found)
        return self._steady(pilot, found, width, len(found) * self._more(width))

    # Sections

    def sections(self, pilot: Pilot) -> Outcome:
        """Sections of at least 50 relaxation times, as many as the precision takes or the budget allows."""
        found: list[Section] = []
        wanted = least = self.replications or SECTIONS
        while True:
            more = min(wanted - len(found), self._affordable(pilot.run))
            found += self._sections(pilot, len(found), more)
            if len(found) < (self.replications or FEWEST_SECTIONS):
                seen = f"{len(found)} runs of {pilot.kept:,} requests, {self.replications or FEWEST_SECTIONS} are due"
                return self._too_few(pilot, found, seen)
            longer = self._relaxation_again(pilot, found)
            if longer is not None and self._affords((self.replications or FEWEST_SECTIONS) * longer.run):
                pilot, found, wanted = longer, [], least
                continue
            if longer is not None and pilot.kept < FEWEST / 2 * longer.relaxation:
                times = pilot.kept / longer.relaxation
                return self._too_few(
                    longer, found, f"runs of {pilot.kept:,} requests last {times:.2g} relaxation times"
                )
            width = self.width(found)
            needed = len(found) * self._more(width)
            self._tell(pilot, len(found), width, needed)
            if width <= self.precision or len(found) < wanted or self.replications:
                return self._steady(pilot, found, width, needed)
            wanted = math.ceil(min(max(1.05 * needed, LEAST_GROWTH * len(found)), MOST_AT_ONCE * len(found)))

    def _sections(self, pilot: Pilot, have: int, count: int, *, first: int = PILOTS) -> list[Section]:
        """Sections of more replications; those of a pilot, before the ``first``, are not used again."""
        source, start, last, length = self.source, pilot.warm_up, pilot.warm_up + pilot.kept, pilot.run
        self.spent += count * length
        return replicated(
            lambda k: section(source.run(k, length), start, last),
            count,
            self.jobs,
            first=first + have,
            least=0,
            threads=self.threads,
        )

    def _relaxation_again(self, pilot: Pilot, found: list[Section]) -> Pilot | None:
        """A longer pilot's worth where the sections show that the relaxation time was taken too short."""
        relaxation = relaxation_of(found, pilot.kept)
        short = pilot.kept < FEWEST * relaxation or 2 * pilot.relaxation < relaxation
        return Pilot(relaxation, pilot.end) if short else None

    def _more(self, width: float) -> float:
        """Times the sections that the precision takes: as the square of the half-width; at most 400."""
        return min(max(1.0, width / self.precision), 20.0) ** 2

    def width(self, found: Sequence[Section]) -> float:
        """The widest relative half-width of the watched metrics."""
        known = intervals(found)
        return max(
            (known[metric].interval.relative_half_width for metric in self.watched if metric in known), default=0.0
        )

    def _steady(self, pilot: Pilot, found: list[Section], width: float, needed: float) -> Steady:
        return Steady(
            sections=tuple(found),
            length=pilot.kept,
            warm_up=pilot.warm_up,
            relaxation=pilot.relaxation,
            spent=self.spent,
            wanted=self.precision,
            width=width,
            needed=math.ceil(needed) * pilot.run,
        )

    def _too_few(self, pilot: Pilot, found: list[Section], seen: str) -> TooShort:
        needed = max(_least_of_all(pilot.relaxation), 2 * self.spent)
        sections = tuple(found) if len(found) > 1 else self.halves
        return TooShort(sections=sections, spent=self.spent, needed=needed, seen=seen)

    # The budget

    def _affords(self, requests: int) -> bool:
        return requests <= self.budget.requests - self.spent and self._seconds_of(requests) <= self._seconds_left()

    def _affordable(self, length: int) -> int:
        """Runs of a length that the budget still pays for."""
        runs = (self.budget.requests - self.spent) // length
        if self.budget.seconds is not None:
            runs = min(runs, int(self._seconds_left() / self._seconds_of(length)))
        return max(0, runs)

    def _seconds_left(self) -> float:
        return math.inf if self.budget.seconds is None else self.budget.seconds - (time.monotonic() - self.begun)

    def _seconds_of(self, requests: int) -> float:
        return requests * (time.monotonic() - self.begun) / max(1, self.spent)

    def _tell(self, pilot: Pilot, have: int, width: float, needed: float) -> None:
        left = self._seconds_of(max(0, math.ceil(needed) - have) * pilot.run)
        tell(Progress(spent=self.spent, width=width, seconds_left=min(left, self._seconds_left())))


def _work(runs: Sequence[Observed]) -> Floats:
    return np.array([run.work for run in runs])


def _halves(runs: Sequence[Observed]) -> tuple[Section, ...]:
    """The second halves of the runs."""
    return tuple(section(run, len(run.work) // 2, len(run.work)) for run in runs)


def _least_of_all(relaxation: float) -> int:
    """Requests in all that sections and pilot take at least."""
    length = math.ceil(max((SECTION + WARM_UP) * relaxation, LEAST))
    return (SECTIONS + 2 * PILOTS) * length
