"""How often intervals hold the truth, of queues and services: each seed is kept as it is finished."""

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.declared import SERVING
from secondorder.answers.estimate import Estimate
from secondorder.answers.metric import declared
from secondorder.simulate.statistics.intervals import Interval
from secondorder.simulate.statistics.procedure import PRECISION
from secondorder.studies.packed_sections import FORMAT, packed, unpacked
from secondorder.studies.points import HERE, Keeping, Point, records
from secondorder.studies.records import Record, record_of
from secondorder.studies.store import Key, Store, refuse_resumed
from secondorder.validation.catalogue.reference import Covered, System, intervals_hold
from secondorder.validation.catalogue.services import SEEDS, Cell, Service, Trial, trial, tried
from secondorder.validation.coverage import Coverage
from secondorder.workloads.lengths import Empirical


def covered_queues(systems: Sequence[System], *, seed: int = 0, keeping: Keeping = HERE) -> list[Covered]:
    """The coverage of each row of reference values, over the seeds of its system; the longest begin first."""
    points = [
        Point(item=(system, number), key=_key_of(system, seed, number), label={"system": system.name})
        for system in sorted(systems, key=lambda each: -each.cost)
        for number in range(system.seeds)
    ]
    held: dict[str, list[list[bool]]] = {}
    for point, record in zip(points, records(points, partial(_held, seed), keeping), strict=True):
        held.setdefault(point.item[0].name, []).append(record["held"])
    return [
        Covered(row=row, coverage=Coverage(sum(each[place] for each in held[system.name]), system.seeds))
        for system in systems
        for place, row in enumerate(system.rows)
    ]


def _key_of(system: System, seed: int, number: int) -> Key:
    told = {"customers": system.length.customers, "rows": [[row.metric, row.truth] for row in system.rows]}
    plan = f"[queue]\nname = {json.dumps(system.name)}\nscenario = {json.dumps(repr(system.queue))}\n"
    return Key(scenario=plan, seed=seed, replication=number, witness="coverage", options=json.dumps(told))


def _held(seed: int, item: tuple[System, int]) -> Record:
    """Whether the intervals of one seed hold the values."""
    system, number = item
    return {"held": [bool(each) for each in intervals_hold(system, seed, number)]}


def covered_services(
    chosen: Sequence[Service], *, seeds: int = SEEDS, seed: int = 0, keeping: Keeping = HERE
) -> Iterator[Cell]:
    """Each service with this many seeds; ``keeping`` says where trials are worked out and kept.

    ``keeping.told`` hears of the trials of all services. Errors: ``InputError`` for a store that has some of the
    trials already, unless it resumes.
    """
    every = [(service, _points(service, seeds, seed)) for service in chosen]
    if keeping.store is not None and not keeping.resume:
        _refuse_kept(keeping, [point.key for _, points in every for point in points])
    for place, (service, points) in enumerate(every):
        own = replace(keeping, told=partial(_tell, keeping, place * seeds, len(every) * seeds))
        yield tried(service, [_trial(record) for record in records(points, partial(_record, service), own)])


def _refuse_kept(keeping: Keeping, keys: Sequence[Key]) -> None:
    """Before anything is simulated: all services share one file."""
    assert keeping.store is not None
    with Store(keeping.store) as store:
        if there := store.count(keys):
            raise refuse_resumed(store.name, there, len(keys))


def _tell(keeping: Keeping, before: int, of: int, done: int, _: int) -> None:
    if keeping.told is not None:
        keeping.told(before + done, of)


def _points(service: Service, seeds: int, seed: int) -> list[Point[int]]:
    """The seeds of a service; a trial is known by all that decides it."""
    law = service.scenario.lengths
    told = {"precision": PRECISION, "form": FORMAT, "pairs": _digest(law) if isinstance(law, Empirical) else ""}
    plan = f"[service]\nname = {json.dumps(service.name)}\nscenario = {json.dumps(repr(service.scenario))}\n"
    keys = [
        Key(scenario=plan, seed=1_000_000 * seed + number, witness="coverage", options=json.dumps(told))
        for number in range(seeds)
    ]
    return [Point(item=key.seed, key=key, label={"service": service.name, "seed": str(key.seed)}) for key in keys]


def _digest(law: Empirical) -> str:
    """Of the pairs of lengths, which the text of a scenario does not show."""
    pairs = np.concatenate([np.asarray(each, float) for each in (law.input, law.output, law.weight)])
    return f"{zlib.crc32(pairs.tobytes()):08x}"


def _record(service: Service, seed: int) -> Record:
    """One trial as JSON has it: an answer with its intervals, and the section that truths are made of."""
    found = trial(service, seed)
    estimates = tuple(
        Estimate(metric=metric, amount=each.mean, unit=_unit(metric), source="simulated", low=each.low, high=each.high)
        for metric, each in found.found.items()
    )
    answer = record_of(Answer(scenario=service.name, how=found.why, estimates=estimates))
    return {**answer, "spent": found.spent, "section": found.together and packed(found.together)}


def _unit(metric: str) -> str:
    known = declared(SERVING, metric)
    return "" if known is None else known.unit


def _trial(record: Record) -> Trial:
    return Trial(
        found={each["metric"]: Interval(each["amount"], each["low"], each["high"]) for each in record["estimates"]},
        why=record["how"],
        spent=record["spent"],
        together=None if record["section"] is None else unpacked(record["section"]),
    )
