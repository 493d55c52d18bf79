"""A recorded training step, replayed: when each operation ends if it is delayed only by what it waits for."""

import numpy as np

from secondorder.arrays import Floats
from secondorder.workloads.step_graph import StepGraph


def replayed_ends(graph: StepGraph, seconds: Floats) -> Floats:
    """End of each operation (s) from the start of its step.

    ``end_i = max over the group of i (max over what each member waits for of its end) + seconds_i``, the longest path
    through the step; a group across replicas starts when it is ready on all of them.
    *Valid when* no operation waits for a launch or for a resource that the graph does not hold.
    ``seconds``: shape (operations, replicas, steps); the answer has the same shape.
    *Source*: Lin et al., Understanding Stragglers in Large Model Training Using What-if Analysis (2025), section 3.

    >>> from secondorder.workloads.step_graph import Group
    >>> two = StepGraph(after=((), ()), groups=(Group((0, 1), across_replicas=False),))
    >>> replayed_ends(two, np.array([[[1.0]], [[2.0]]])).ravel()
    array([1., 2.])
    """
    ends = np.empty_like(seconds)
    nothing = np.zeros(seconds.shape[1:])
    for group in graph.groups:
        before = [earlier for member in group.members for earlier in graph.after[member]]
        start = ends[before].max(axis=0) if before else nothing
        if group.across_replicas:
            start = start.max(axis=0, keepdims=True)
        for member in group.members:
            ends[member] = start + seconds[member]
    return ends


def replayed_steps(graph: StepGraph, seconds: Floats) -> Floats:
    """Time of each step (s): the last end on any replica."""
    last: Floats = replayed_ends(graph, seconds).max(axis=(0, 1))
    return last
