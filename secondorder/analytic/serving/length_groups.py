"""Requests in groups: prompts of similar length, and answers of similar length with their prompts."""

from dataclasses import fields

import numpy as np

from secondorder.analytic.remember import remembered
from secondorder.analytic.serving.runs import FINE, Edges
from secondorder.arrays import Floats
from secondorder.scenarios.serving import Serving
from secondorder.workloads.lengths import Lengths

GROUPS: Edges = (0.0, 0.4, 0.8, 1.0)
"""Cuts of the law of a prompt that belongs to its answer; prompts of one length are in one group."""

WITHIN = 4
"""Smaller parts of a part of the answers, where its own length matters."""


def engine_and_lengths(scenario: Serving) -> tuple[object, ...]:
    """All of a scenario except its arrivals: results that depend on nothing else hold at every rate."""
    apart = ("arrivals", "lengths", "goodput", "name")
    return (scenario.offered, *(getattr(scenario, field.name) for field in fields(scenario) if field.name not in apart))


def lengths_of(scenario: Serving) -> object:
    """The law of the lengths of a scenario's requests."""
    return scenario.offered


@remembered(lengths_of)
def prompt_groups(scenario: Serving) -> tuple[Floats, Floats]:
    """Lengths of prompts, rising, and their weights: a row for each group.

    One group where the answer does not depend on the prompt.
    """
    law = scenario.offered
    if isinstance(law, Lengths):
        tokens, weight = law.marginals[0].grid()
        return tokens, weight[None, :]
    inputs, _, weight = law.grid()
    tokens, place = np.unique(inputs, return_inverse=True)
    mass = np.bincount(place, weight).astype(float)
    group = _group_of(mass)
    return tokens, np.array([np.where(group == g, mass, 0.0) for g in np.unique(group)])


def _group_of(mass: Floats) -> Floats:
    middle = mass.cumsum() - mass / 2
    return np.asarray(np.searchsorted(GROUPS[1:-1], middle))


@remembered(lengths_of)
def decode_steps(scenario: Serving) -> tuple[Floats, Floats, Floats, Floats]:
    """Decode steps of the requests that have any, in groups of similar length: steps, weights, shares of the prompt
    groups.

    The shares have a row for each group of ``prompt_groups``, a column for each part. At last, a row for each part, its
    lengths in ``WITHIN`` smaller ones, over their mean.
    """
    law = scenario.offered
    if isinstance(law, Lengths):
        outputs, weight = law.marginals[1].grid(points=1024)
        member = np.ones((1, len(outputs)))
    else:
        inputs, outputs, weight = law.grid()
        place = np.unique(inputs, return_inverse=True)[1]
        group = _group_of(np.bincount(place, weight).astype(float))[place]
        member = np.array([group == g for g in np.unique(group)], float)
    kept = outputs > 1.5
    if not kept.any():
        return np.ones(1), np.ones(1), np.eye(len(member), 1), np.ones((1, WITHIN))
    order = np.argsort(outputs[kept], kind="stable")
    steps, weight, member = outputs[kept][order] - 1, weight[kept][order], member[:, kept][:, order]
    mass = np.concatenate([[0.0], weight.cumsum()])
    cuts = np.asarray(FINE) * mass[-1]
    finer = np.interp(np.arange(WITHIN * len(cuts) - WITHIN + 1) / WITHIN, np.arange(len(cuts)), cuts)
    parts = [
        np.diff(np.interp(cuts, mass, np.concatenate([[0.0], (row * weight).cumsum()]))) for row in (steps, *member)
    ]
    share, inside = np.diff(cuts), np.interp(finer, mass, np.concatenate([[0.0], (steps * weight).cumsum()]))
    means = np.maximum(parts[0] / share, 1.0)
    smaller = np.diff(inside).reshape(-1, WITHIN) / np.maximum(parts[0], 1e-300)[:, None] * WITHIN
    return means, share / share.sum(), np.array(parts[1:]) / share, smaller
