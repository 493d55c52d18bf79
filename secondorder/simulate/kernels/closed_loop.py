"""Clients that each send a request when their last one is answered, and one engine: compiled.

The scheduler is the plain one: running sequences first, then waiting prompts in chunks, each admitted when the cache
has room for all of it. An engine with ``separate`` prefill decodes nothing in a step that computes prompts.
"""

from typing import NamedTuple

import numpy as np

from secondorder.arrays import Floats, Integers
from secondorder.simulate.kernels.compilation import announced, called, compiled
from secondorder.simulate.kernels.step_seconds import StepTimes, duration


class Load(NamedTuple):
    """Prompt and output tokens of the requests in order; clients, token budget of a step, tokens of the cache."""

    prompts: Integers
    outputs: Integers
    clients: int
    budget: int
    cache: int
    separate: bool


class Served(NamedTuple):
    """Picoseconds: when each request was sent, had its first token, was done. Tokens computed and produced."""

    sent: Integers
    first: Integers
    done: Integers
    computed: Integers
    produced: Integers


def serve_closed(load: Load, times: StepTimes) -> tuple[Floats, Floats]:
    """Time to the first token and time per later token of each request, in s."""
    served = Served(*(np.zeros(len(load.prompts), np.int64) for _ in Served._fields))
    with announced(_serve):
        _serve(load, times, served, np.zeros(load.clients, np.int64))
    later = np.maximum(load.outputs - 1, 1)
    return (served.first - served.sent) / 1e12, (served.done - served.first) / later / 1e12


@compiled
def _serve(load: Load, times: StepTimes, served: Served, active: Integers) -> int:
    """Requests done: all of them, or those before a step for which the model has no time."""
    requests, now, used, running, finished = load.prompts.size, 0, 0, 0, 0
    admitted, sent = 0, min(load.clients, requests)
    while finished < requests:
        while running < load.clients and admitted < sent:
            need = load.prompts[admitted] + load.outputs[admitted]
            if running and used + need > load.cache:
                break
            active[running] = admitted
            used, running, admitted = used + need, running + 1, admitted + 1
        lasted = _step(load, times, served, active[:running])
        if lasted < 0:
            return finished
        now += lasted
        left = _leave(load, served, active, running, now)
        for place in range(left, running):
            used -= load.prompts[active[place]] + load.outputs[active[place]]
            if sent < requests:
                served.sent[sent], sent = now, sent + 1
        finished, running = finished + running - left, left
    return finished


@called
def _step(load: Load, times: StepTimes, served: Served, active: Integers) -> int:
    """Advance each active request by what the step computes of it; returns how many picoseconds the step lasts."""
    prompts = False
    for request in active:
        prompts = prompts or served.computed[request] < load.prompts[request]
    P = A = C = D = K = S = 0  # noqa: N806
    if not (prompts and load.separate):
        for request in active:
            if served.computed[request] >= load.prompts[request]:
                served.computed[request] += 1
                served.produced[request] += 1
                D, K, S = D + 1, K + served.computed[request], S + 1  # noqa: N806
    for request in active:
        chunk = min(load.prompts[request] - served.computed[request], load.budget - D - P)
        if chunk > 0 and served.produced[request] == 0:
            before = served.computed[request]
            P, A, C = P + chunk, A + chunk * before + chunk * (chunk + 1) // 2, C + before + chunk  # noqa: N806
            served.computed[request] += chunk
            if served.computed[request] == load.prompts[request]:
                served.produced[request], S = 1, S + 1  # noqa: N806
    return duration(times, P, A, C, D, K, S)


@called
def _leave(load: Load, served: Served, active: Integers, running: int, now: int) -> int:
    """Note first tokens and finishes; move the finished requests behind those that stay; returns how many stay."""
    stay = 0
    for place in range(running):
        request = active[place]
        if served.produced[request] >= 1 and served.first[request] == 0:
            served.first[request] = now
        if served.produced[request] >= load.outputs[request]:
            served.done[request] = now
        else:
            active[place], active[stay] = active[stay], request
            stay += 1
    return stay
