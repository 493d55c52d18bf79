"""A training run with blocking checkpoints, compiled: the floats of ``simulate.training.job``, bit for bit.

The run trains and writes by turns. A failure loses what no checkpoint holds; then the run stands still while the
failure is noticed and the node replaced by a spare, restarts, and goes on from the last checkpoint.
"""

from collections.abc import Iterator
from itertools import islice
from math import inf

import numpy as np

from secondorder.arrays import Floats
from secondorder.laws import Deterministic
from secondorder.quantities import si
from secondorder.scenarios.training import Checkpoint, Spares, Training
from secondorder.simulate.kernels.compilation import announced, compiled, inlined
from secondorder.simulate.training.causes import Causes
from secondorder.simulate.training.headway import MOST_IN_VAIN, no_headway
from secondorder.simulate.training.recorder import Story
from secondorder.simulate.training.work import Work

GAPS = 4096
"""Failures that are drawn at a time."""

NOW, SEGMENT, WORK, CHECKPOINT, REWORK, RESTART, DOWNTIME = range(7)
"""Places in the state: the clock, the segments done, and what is counted."""
SAVED, SAVED_WORK, SAVED_CHECKPOINT, IN_VAIN, BEST, OPEN, FAILED_BEFORE = range(7, 14)
"""What the last checkpoint holds, failures since without a new one, work under way at the end, any failure yet."""
WAITING, SHELF = range(14, 16)
"""Time spent waiting for a repair, and the spares at hand."""
FULL, LAST, SEGMENTS, WRITE, RESTART_LASTS, DETECTION, REPLACEMENT, DURATION = range(8)
"""Places in the settings, in s except for the segments."""
PASSED, FAILED, OVER = range(3)
"""How a phase ended: complete, by a failure, or with the run."""
ENDED, MORE, STUCK = range(3)
"""Why the run stopped: it is over, it needs more failures, or it gets nowhere."""


def supports(scenario: Training, step: object) -> bool:
    """Whether the kernel knows all that a scenario uses: blocking checkpoints, storage without end, no replicas that
    go on, no planned ends of allocations and no false diagnoses.

    ``step`` is the law of a step: the kernel knows those that are all alike.
    """
    alone = scenario.storage is None and scenario.elastic is None and scenario.allocation is None
    alike = step is None or isinstance(step, Deterministic)
    return type(scenario.policy) is Checkpoint and alone and alike and scenario.recovery.misdiagnosed == 0


def tell(scenario: Training, causes: Causes, work: Work) -> Story:
    """The run with these failures and repairs, without a log of its phases."""
    recovery = scenario.recovery
    settings = np.array(
        [
            work.seconds(0), work.seconds(int(work.segments) - 1) if work.segments < inf else 0.0, work.segments,
            scenario.write_seconds, si(recovery.restart), si(recovery.detection), si(recovery.replacement),
            inf if scenario.duration is None else si(scenario.duration),
        ]
    )  # fmt: skip
    state, failures, count = np.zeros(16), np.zeros(GAPS), 0
    gaps, repairs = iter(causes.failures), iter(causes.repairs)
    away, crews = _depot(scenario.spares)
    state[SHELF] = 0 if scenario.spares is None else scenario.spares.count
    found: list[Floats] = []
    with announced(advance):
        while True:
            mended = _next(repairs) if away.size else np.zeros(0)
            stopped, count = advance(state, settings, _next(gaps), failures, mended, away, crews)
            found.append(failures[:count].copy())
            if stopped != MORE:
                break
    if stopped == STUCK:
        raise no_headway()
    return Story(
        wall=state[NOW],
        work=state[WORK],
        checkpoint=state[CHECKPOINT],
        rework=state[REWORK],
        restart=state[RESTART],
        downtime=state[DOWNTIME] + state[WAITING],
        waiting=state[WAITING],
        failures=np.concatenate(found),
        steps=work.steps(int(state[SEGMENT]), float(state[OPEN])),
    )


def _next(gaps: Iterator[float]) -> Floats:
    return np.array(list(islice(gaps, GAPS)))


def _depot(spares: Spares | None) -> tuple[Floats, Floats]:
    """When each failed node comes back, and when each crew is free; empty where nothing limits them."""
    if spares is None:
        return np.zeros(0), np.zeros(0)
    return np.full(spares.count + 1, inf), np.zeros(spares.crews or 0)


@compiled
def advance(
    state: Floats, settings: Floats, gaps: Floats, failures: Floats, repairs: Floats, away: Floats, crews: Floats
) -> tuple[int, int]:
    """Run on through failures after these gaps of running time; returns why it stopped, and after how many failures.

    ``repairs``: how long the repair after each of these failures takes.
    """
    for count in range(gaps.size):
        if train(state, settings, state[NOW] + gaps[count]) == OVER:
            return ENDED, count
        failures[count] = state[NOW]
        fall_back(state)
        if state[IN_VAIN] > MOST_IN_VAIN:
            return STUCK, count + 1
        state[FAILED_BEFORE] = 1
        if spend(state, settings, DOWNTIME, settings[DETECTION], inf, False) == OVER:
            return ENDED, count + 1
        if away.size > 0 and wait(state, settings, exchange(state, repairs[count], away, crews)) == OVER:
            return ENDED, count + 1
        if spend(state, settings, DOWNTIME, settings[REPLACEMENT], inf, False) == OVER:
            return ENDED, count + 1
    return MORE, gaps.size


@inlined
def train(state: Floats, settings: Floats, failure: float) -> int:
    """Restart if there was a failure, then work and save by turns until the next failure or the end."""
    first = True  # of two things at one instant, the one that began first goes first
    if state[FAILED_BEFORE] and settings[RESTART_LASTS] > 0:
        how = spend(state, settings, RESTART, settings[RESTART_LASTS], failure, first)
        if how != PASSED:
            return how
        first = False
    while state[SEGMENT] < settings[SEGMENTS]:
        whole = state[SEGMENT] + 1 < settings[SEGMENTS]
        how = spend(state, settings, WORK, settings[FULL if whole else LAST], failure, first)
        if how != PASSED:
            return how
        state[SEGMENT] += 1
        how = spend(state, settings, CHECKPOINT, settings[WRITE], failure, False)
        if how != PASSED:
            return how
        state[SAVED], state[SAVED_WORK], state[SAVED_CHECKPOINT] = state[SEGMENT], state[WORK], state[CHECKPOINT]
        first = False
    return OVER


@inlined
def wait(state: Floats, settings: Floats, until: float) -> int:
    """Wait for a node, or for the end of the run."""
    over = until > state[NOW] and until >= settings[DURATION]
    book(state, WAITING, settings[DURATION] if over else until)
    return OVER if over else PASSED


@inlined
def exchange(state: Floats, repair: float, away: Floats, crews: Floats) -> float:
    """Send a node to repair; returns when another is there: now, if there is a spare, or when the first is back."""
    now: float = state[NOW]
    begins, own = now, 0
    if crews.size > 0:
        crew = np.argmin(crews)
        begins = max(now, crews[crew])
        crews[crew] = begins + repair
    for place in range(away.size):
        if away[place] <= now:
            away[place] = inf
            state[SHELF] += 1
        if away[place] == inf:
            own = place
    away[own] = begins + repair
    if state[SHELF] > 0:
        state[SHELF] -= 1
        return float(now)
    first = np.argmin(away)
    back = float(away[first])
    away[first] = inf
    return back


@inlined
def spend(state: Floats, settings: Floats, account: int, lasts: float, failure: float, first: bool) -> int:
    """Spend this long in one phase, or until a failure or the end of the run."""
    if lasts <= 0:
        return PASSED
    end = state[NOW] + lasts
    fails = failure < end or (failure == end and not first)
    until = failure if fails else end
    if until >= settings[DURATION]:
        until = settings[DURATION]
        if account == WORK:
            state[OPEN] = until - state[NOW]
        book(state, account, until)
        return OVER
    book(state, account, until)
    return FAILED if fails else PASSED


@inlined
def book(state: Floats, account: int, until: float) -> None:
    if until > state[NOW]:
        state[account] += until - state[NOW]
    state[NOW] = until


@inlined
def fall_back(state: Floats) -> None:
    """Lose all work since the last checkpoint."""
    state[REWORK] += (state[WORK] - state[SAVED_WORK]) + (state[CHECKPOINT] - state[SAVED_CHECKPOINT])
    state[WORK], state[CHECKPOINT], state[SEGMENT] = state[SAVED_WORK], state[SAVED_CHECKPOINT], state[SAVED]
    if state[SAVED] == state[BEST]:
        state[IN_VAIN] += 1
    else:
        state[IN_VAIN], state[BEST] = 0, state[SAVED]
