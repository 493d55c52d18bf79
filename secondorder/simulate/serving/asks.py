"""The requests of one replication: drawn from the scenario, and in the form that an engine takes."""

from collections.abc import Iterator

import numpy as np

from secondorder.arrays import Floats, Integers
from secondorder.errors import InputError
from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving.request import Ask
from secondorder.simulate.streams import stream
from secondorder.workloads.requests import Requests

PICO = 1e-12
"""Seconds in a tick of the clock."""
LONGEST_TIME = 9e6
"""Latest arrival in s; whole picoseconds in 64 bits end at 9.2e6."""


def draw(scenario: Serving, count: int, seed: int = 0, replication: int = 0) -> Requests:
    """The requests of one replication: arrivals and lengths from streams of their own."""
    return scenario.requests(count, stream(seed, replication, "arrivals"), stream(seed, replication, "lengths"))


def clocked(requests: Requests) -> Integers:
    """Arrivals in whole picoseconds.

    Errors: ``InputError`` for an arrival past the range of the clock.
    """
    times = np.asarray(requests.arrival)
    if len(times) and times[-1] > LONGEST_TIME:
        given = f"arrivals up to {times[-1]:.3g} s"
        raise InputError("arrivals", given=given, expected=f"at most {LONGEST_TIME:.3g} s, the clock's range")
    return np.rint(times / PICO).astype(np.int64)


def seconds(ticks: Integers) -> Floats:
    """Whole picoseconds in s."""
    return np.asarray(ticks * PICO, np.float64)


def asks(scenario: Serving, requests: Requests) -> Iterator[Ask]:
    """What the engine is asked, in order of arrival, on the clock of whole picoseconds.

    Errors: ``InputError`` for an arrival past the range of the clock.
    """
    arrivals = clocked(requests).tolist()
    prompts, outputs = np.asarray(requests.input_tokens).tolist(), np.asarray(requests.output_tokens).tolist()
    priorities = requests.priority.tolist()
    for index, (arrival, prompt, output) in enumerate(zip(arrivals, prompts, outputs, strict=True)):
        prefix = _prefix(requests, index, scenario.block_size) if scenario.settings.enable_prefix_caching else ()
        yield Ask(index=index, prompt=prompt, output=output, arrival=arrival, prefix=prefix, priority=priorities[index])


def _prefix(requests: Requests, index: int, block_size: int) -> tuple[tuple[int, int], ...]:
    """The identity of each full block of a prompt.

    The trace's hash of the block in which the engine's block ends stands for the whole
    prefix up to there; the place tells the engine's blocks of one hash apart. Blocks past the
    last hash are the request's own.
    """
    if requests.hash_ids is None:
        return ()
    hashes, size = requests.hash_ids[index], requests.hash_block
    full = int(requests.input_tokens[index]) // block_size
    last = ((np.arange(full) + 1) * block_size - 1) // size
    known = last < len(hashes)
    return tuple(zip(np.asarray(hashes)[last[known]].tolist(), range(int(known.sum())), strict=True))
