"""The points of a study: each is taken from the store, or worked out and kept there as it is finished."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from typing import Generic, TypeVar

from secondorder.answers.answer import Answer
from secondorder.errors import InfeasibleError, SecondOrderError
from secondorder.executor import as_they_come
from secondorder.plans.write import write_plan
from secondorder.scenarios.scenario import Scenario
from secondorder.studies.records import Record, answer_of, record_of
from secondorder.studies.store import Found, Key, Store, refuse_resumed

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """Where the points of a study are worked out and kept.

    ``store`` is the file, None for none; with ``resume`` the points that it has are taken over. ``jobs`` processes
    share the work, or the workers of a ``cluster``. ``told`` is called with the points that are done and all of them.
    ``anew``: points that the file has are worked out again instead of refused, where it does not resume.
    """

    store: str | PathLike[str] | None = None
    resume: bool = False
    anew: bool = False
    jobs: int = 1
    cluster: str | None = None
    told: Callable[[int, int], None] | None = field(default=None, repr=False)


HERE: Keeping = Keeping()
"""In this process, kept nowhere."""


@dataclass(frozen=True, kw_only=True)
class Point(Generic[Item]):
    """A point of a study: what it is worked out from, what it is known by, and what was varied."""

    item: Item
    key: Key
    label: dict[str, str] = field(default_factory=dict)


def work_out(points: Sequence[Point[Item]], action: Callable[[Item], Record], keeping: Keeping) -> list[Found]:
    """What each point gives, in the order of the points; one that fails keeps its error and does not stop the others.

    Equal points are worked out once. Errors: ``InputError`` for a store with some of the points unless it resumes.
    """
    keys = list(dict.fromkeys(point.key for point in points))
    opened = nullcontext() if keeping.store is None else Store(keeping.store)
    with opened as store:
        done = {} if store is None or (keeping.anew and not keeping.resume) else store.finished(keys)
        if done and not keeping.resume and store is not None:
            raise refuse_resumed(store.name, len(done), len(keys))
        left = list({point.key: point for point in reversed(points) if point.key not in done}.values())[::-1]
        work = as_they_come(partial(_one, action), [point.item for point in left], keeping.jobs, keeping.cluster)
        for place, found in work:
            point = left[place]
            done[point.key] = replace(found, label=point.label)
            if store is not None:
                store.keep(point.key, done[point.key])
            if keeping.told is not None:
                keeping.told(len(done), len(keys))
    return [done[point.key] for point in points]


def answers(
    scenarios: Sequence[Scenario],
    labels: Sequence[dict[str, str]],
    ask: Callable[[Scenario], Answer],
    keeping: Keeping,
    *,
    seed: int,
    options: str,
) -> list[Answer | str]:
    """What ``ask`` answers on each scenario, or why it does not."""
    points = [
        Point(item=each, key=key_of(each, keeping, seed=seed, witness="simulate", options=options), label=label)
        for each, label in zip(scenarios, labels, strict=True)
    ]
    return [each.error or answer_of(each.record) for each in work_out(points, partial(_asked, ask), keeping)]


def records(points: Sequence[Point[Item]], action: Callable[[Item], Record], keeping: Keeping) -> list[Record]:
    """``work_out`` of a study that needs all of its points. Errors: that of the first point that failed."""
    found = work_out(points, action, keeping)
    if failed := next((each for each in found if each.error), None):
        fault = failed.error.startswith(FAULT)
        raise (SecondOrderError if fault else InfeasibleError)(f"{failed.varied}: {failed.error}")
    return [each.record for each in found]


def key_of(scenario: Scenario, keeping: Keeping, *, seed: int, witness: str, options: str = "{}") -> Key:
    """What a point is known by; where nothing is kept, a scenario need not have a plan."""
    return Key(
        scenario=write_plan(scenario) if keeping.store else repr(scenario), seed=seed, witness=witness, options=options
    )


def _asked(ask: Callable[[Scenario], Answer], scenario: Scenario) -> Record:
    return record_of(ask(scenario))


def _one(action: Callable[[Item], Record], item: Item) -> Found:
    """What a point gives, or its error."""
    try:
        return Found(record=action(item))
    except SecondOrderError as error:
        return Found(error=str(error))
    except Exception as error:  # a bug at one point does not lose the others
        return Found(error=f"{FAULT}{type(error).__name__}: {error}")


FAULT = "a bug in secondorder: "
"""What errors begin with that are not the user's."""
