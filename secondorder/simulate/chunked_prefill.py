"""The gaps between tokens while other prompts are computed in chunks: every step of the engine, one by one."""

from array import array
from functools import partial

import numpy as np
import simpy

from secondorder.answers.answer import Answer
from secondorder.answers.declared import SERVING
from secondorder.scenarios.chunked_prefill import ChunkedPrefill
from secondorder.scenarios.serving import Serving
from secondorder.simulate.estimates import Amounts, estimates
from secondorder.simulate.replicate import replicated
from secondorder.simulate.serving.asks import PICO, asks, draw
from secondorder.simulate.serving.engine import Engine, Process, arrive
from secondorder.simulate.serving.policies import Policies
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.single_run import scheduler_for
from secondorder.simulate.serving.step import Step
from secondorder.simulate.serving.unnamed import until_preempted
from secondorder.workloads.requests import Requests

LENGTH = 2_000
"""Requests of a replication; an eighth at each end is cut."""


class GapEngine(Engine):
    """An engine that notes when each step began, how long it took and how many sequences decoded in it."""

    def __init__(
        self, scenario: Serving, env: simpy.Environment, recorder: Recorder, policies: Policies | None = None
    ) -> None:
        ahead = scenario.settings.async_scheduling
        scheduler = scheduler_for(scenario, policies)
        super().__init__(env, scheduler, scenario.step_seconds, recorder, ahead=ahead, leaps=False)
        self.begun, self.lasted, self.decodes = (array("q") for _ in range(3))

    def compute(self, step: Step) -> Process:
        begun = int(self.env.now)
        yield from super().compute(step)
        self.begun.append(begun)
        self.lasted.append(int(self.env.now) - begun)
        self.decodes.append(step.decodes)


def simulate_chunked_prefill(
    scenario: ChunkedPrefill, *, seed: int = 0, replications: int = 10, jobs: int = 1
) -> Answer:
    """Time to first token, and the gaps between two tokens of a sequence, at the service's load.

    ``itl_max`` is the longest step in which a sequence decodes. Gaps of sequences that are preempted are not counted.
    """
    found = replicated(partial(_gaps, scenario.serving, seed), replications, jobs, least=2)
    how = f"simulated step by step: {replications} replications of {LENGTH:,} requests, an eighth at each end cut"
    return Answer(scenario=scenario.name, estimates=estimates(found, SERVING), how=how)


def _gaps(serving: Serving, seed: int, replication: int) -> Amounts:
    requests = draw(serving, LENGTH, seed, replication)

    def once(serving: Serving, policies: Policies | None) -> Amounts:
        return _gaps_of(serving, requests, policies)

    return until_preempted(serving, requests, once)


def _gaps_of(serving: Serving, requests: Requests, policies: Policies | None) -> Amounts:
    """The metrics of one run."""
    serving.check(requests)
    asked = list(asks(serving, requests))
    env, recorder = simpy.Environment(initial_time=0), Recorder(len(asked))
    engine = GapEngine(serving, env, recorder, policies)
    env.process(arrive(env, asked, engine.submit))
    env.run()
    cut = len(asked) // 8
    since, until = asked[cut].arrival, asked[-cut].arrival
    begun, lasted, decodes = (np.frombuffer(column, dtype=np.int64) for column in _columns(engine))
    kept = (begun >= since) & (begun < until) & (decodes > 0)
    gaps, tokens = lasted[kept] * PICO, decodes[kept]
    order = np.argsort(gaps)
    place = np.searchsorted(np.cumsum(tokens[order]), 0.99 * tokens.sum())
    first = np.frombuffer(recorder.first_token, dtype=np.int64)[cut:-cut]
    waits = first - np.array([ask.arrival for ask in asked])[cut:-cut]
    return {
        "ttft_mean": float(waits.mean()) * PICO,
        "itl_mean": float(gaps @ tokens) / float(tokens.sum()),
        "itl_p99": float(gaps[order][place]),
        "itl_max": float(gaps.max()),
    }


def _columns(engine: GapEngine) -> tuple["array[int]", ...]:
    return engine.begun, engine.lasted, engine.decodes
