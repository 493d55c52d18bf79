"""Fingerprints of the catalogue's trajectories by ingredient: a change of a simulator says what it changed.

``python -m secondorder.validation.catalogue.fingerprints`` tells what differs from those kept in ``fingerprints.json``;
with ``--write`` it keeps the new ones. The idea is that of OMNeT++.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from functools import singledispatch
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.opposite_routes import OppositeRoutes
from secondorder.scenarios.queue import Queue
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.training import Training
from secondorder.simulate import deployment, queues, serving, training
from secondorder.simulate.deployment.opposite_routes import numbers
from secondorder.simulate.streams import stream
from secondorder.validation.catalogue.twin import Twin

KEPT = Path(__file__).with_suffix(".json")
LENGTH = 200
"""Customers, requests or steps of a trajectory."""
RESOLUTION = 1e-9
"""Seconds to which times are rounded."""
Ingredients = Mapping[str, Sequence[npt.ArrayLike]]
Fingerprint = Mapping[str, str]


@singledispatch
def ingredients(scenario: object) -> Ingredients:
    """What a short trajectory is made of: ``arrivals`` (what comes), ``steps`` (what is done), ``completions``.

    Nothing for a scenario whose simulation has no trajectory of its own.
    """
    return {}


@ingredients.register
def _(queue: Queue) -> Ingredients:
    ran = queues.run(queue, LENGTH)
    ends = np.zeros(0) if ran.outcome is None else ran.outcome
    return {"arrivals": (ran.arrival,), "steps": (ran.service, ran.start), "completions": (ran.finish, ran.gone, ends)}


@ingredients.register
def _(service: Serving) -> Ingredients:
    drawn = serving.draw(service, LENGTH)
    ran = serving.run(service, drawn)
    return {
        "arrivals": (drawn.arrival, drawn.input_tokens, drawn.output_tokens),
        "steps": [ran.series[name] for name in ran.series],
        "completions": [ran.requests[name] for name in ("scheduled", "first_token", "finish", "preemptions")],
    }


@ingredients.register
def _(scenario: Deployment) -> Ingredients:
    arrivals, lengths = (stream(0, 0, cause) for cause in ("arrivals", "lengths"))
    drawn = scenario.serving.requests(LENGTH, arrivals, lengths)
    ran = deployment.run(scenario, drawn).requests
    return {
        "arrivals": (drawn.arrival, drawn.input_tokens, drawn.output_tokens),
        "steps": [ran[name] for name in ("replica", "attempts", "first_token")],
        "completions": [ran["ended"]],
    }


@ingredients.register
def _(scenario: Training) -> Ingredients:
    story = training.run(scenario)
    phases = story.phases or ()
    return {
        "arrivals": (story.failures,),
        "steps": [[start for _, start, _ in phases], [end for _, _, end in phases]],
        "completions": ([story.wall, story.work, story.checkpoint, story.rework, story.restart, story.downtime],),
    }


@ingredients.register
def _(routes: OppositeRoutes) -> Ingredients:
    return {"completions": (numbers(routes, LENGTH),)}


def fingerprint(scenario: object) -> Fingerprint:
    """A digest of each ingredient.

    >>> one, other = (Queue(arrivals="poisson 8 request/s", service=time) for time in ("100 ms", "50 ms"))
    >>> changes({"queue": fingerprint(one)}, {"queue": fingerprint(other)})
    ['queue: steps and completions changed, arrivals as before']
    """
    return {name: _digest(arrays) for name, arrays in ingredients(scenario).items()}


def _digest(arrays: Sequence[npt.ArrayLike]) -> str:
    found = sha256()
    for array in arrays:
        values = np.asarray(array, np.float64)
        found.update(np.nan_to_num(np.rint(values / RESOLUTION), nan=-1.0, posinf=-2.0).astype(np.int64).tobytes())
    return found.hexdigest()[:12]


def fingerprints(twins: Sequence[Twin]) -> dict[str, Fingerprint]:
    """Of each twin whose scenario has a trajectory, by title."""
    found = {twin.title: fingerprint(twin.scenario) for twin in twins}
    return {title: each for title, each in found.items() if each}


def kept() -> dict[str, Fingerprint]:
    """Those of the file beside this module."""
    found: dict[str, Fingerprint] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def changes(before: Mapping[str, Fingerprint], after: Mapping[str, Fingerprint]) -> list[str]:
    """A line for each trajectory that differs, with the ingredients that do.

    >>> changes({"a": {"arrivals": "1", "steps": "2"}, "b": {"steps": "3"}}, {"a": {"arrivals": "1", "steps": "4"}})
    ['a: steps changed, arrivals as before', 'b: gone']
    """
    lines = []
    for title in dict.fromkeys([*before, *after]):
        if title not in before or title not in after:
            lines.append(f"{title}: {'gone' if title in before else 'new'}")
            continue
        names = dict.fromkeys([*before[title], *after[title]])
        other = [name for name in names if before[title].get(name) != after[title].get(name)]
        same = [name for name in names if name not in other]
        if other:
            rest = f", {' and '.join(same)} as before" if same else ""
            lines.append(f"{title}: {' and '.join(other)} changed{rest}")
    return lines


def main(arguments: Sequence[str]) -> None:
    """Tell what changed, or keep what is."""
    from secondorder.validation.catalogue import twins

    found = fingerprints(twins())
    if "--write" in arguments:
        KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{len(found)} trajectories kept in {KEPT.name}")
        return
    lines = changes(kept(), found)
    print("\n".join(lines) if lines else f"{len(found)} trajectories as before")


if __name__ == "__main__":
    main(sys.argv[1:])
