"""Random small services in which blocks are scarce, and the same once more by the naive engine."""

import os
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from sys import maxsize
from typing import Any

import numpy as np
import simpy
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from naive_engine import Ask, NaiveEngine, Settings

from secondorder.fleets.accelerators import accelerators
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Affine, Roofline, StepTime
from secondorder.simulate import serving
from secondorder.simulate.serving import request, single_run
from secondorder.simulate.serving.admissions import look_ahead, peak_reserved
from secondorder.simulate.serving.engine import Engine
from secondorder.simulate.serving.orders import SmallestVolumeFirst
from secondorder.simulate.serving.policies import MostUrgent, Policies, UnnamedFirst, whole_length
from secondorder.simulate.serving.recorder import Recorder
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Lengths
from secondorder.workloads.models import models
from secondorder.workloads.requests import Requests

MILLISECOND = 10**9
ARRIVALS, LENGTHS = Poisson("1 request/s"), Lengths(input=8, output=8)
MODEL, ACCELERATOR = models.llama_3_1_8b, accelerators.h100_sxm


TIMES = int(os.environ.get("SECONDORDER_EXAMPLES", "1"))
"""How many times the usual number of random services."""


def examples(count: int) -> settings:
    """The same examples in every run: a failure seen once is seen again; more of them by `make validate`.

    200 see a fault that one service in 40 shows with a probability of 99.4 %.
    """
    return settings(
        max_examples=TIMES * count, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
    )


# Random small services, in which blocks are scarce

ON_A_GRID = Affine(per_step=1e-3, per_prefill_token=0.0, per_decode=0.0)
"""Arrivals on the same grid come at the very instant at which a step ends."""

STEP_TIMES: list[StepTime] = [
    ON_A_GRID,
    Affine(per_step=7.3e-4 / 3, per_prefill_token=1e-4 / 7, per_decode=3.1e-5 / 11, per_context_token=1e-6 / 13),
    Affine(
        per_step=1e-3 * 2**0.5,
        per_prefill_token=1e-5 * np.e,
        per_decode=1e-4 / np.pi,
        per_context_token=1e-7 * 3**0.5,
        per_prefill_pair=1e-8 * 5**0.5,
        per_prefill_step=1e-4 * 7**0.5,
    ),
    Roofline(compute_efficiency=0.61, memory_efficiency=0.83, host_overhead="0.7 ms"),
    Roofline(compute_efficiency=0.001, host_overhead="0 s"),
]


@dataclass(frozen=True, repr=False)
class Case:
    """A service and its requests, arrivals in picoseconds."""

    scenario: Serving
    arrivals: tuple[int, ...]
    requests: Requests
    policies: Policies | None = None
    """Those of the scenario's engine if not given."""
    priorities: tuple[int, ...] = ()
    patience: tuple[int, ...] = ()
    """Picoseconds after which each request gives up."""

    def __repr__(self) -> str:
        """All that the witness is given."""
        return f"{_settings(self.scenario)}\n{list(self._asks())}\n{self.scenario.step_time}"

    def record(self) -> Recorder:
        """By the engine under test."""
        if not (self.priorities or self.patience):
            arrivals, recorder = serving.record(self.scenario, self.requests, policies=self.policies)
            assert tuple(arrivals) == self.arrivals
            return recorder
        env, recorder = simpy.Environment(initial_time=0), Recorder(len(self.arrivals))
        engine = single_run.engine_for(self.scenario, env, recorder, policies=self.policies)
        asked = list(serving.asks(self.scenario, self.requests))
        if self.priorities:
            asked = [replace(ask, priority=self.priorities[ask.index]) for ask in asked]
        patience = dict(enumerate(self.patience))
        env.process(single_run.arrive(env, asked, lambda ask: submit(env, engine, ask, patience.get(ask.index))))
        env.run()
        return recorder

    def naive(self) -> NaiveEngine:
        """By the witness."""
        chosen = _settings(self.scenario)
        if self.policies is not None:
            chosen = replace(
                chosen,
                urgent_first=self.policies.waiting is MostUrgent,
                whole_length=self.policies.admits is whole_length,
                unnamed_first=self.policies.free_blocks is UnnamedFirst,
                cap_alone=True,
                adaptive=False,
                kept=0,
                smallest_volume_first=self.policies.waiting is SmallestVolumeFirst,
                peak_reserved=self.policies.admits is peak_reserved,
                look_ahead=self.policies.admits is look_ahead,
                keeps_output=self.policies.keeps_output,
            )
        return NaiveEngine(chosen, list(self._asks()), self.scenario.step_seconds)

    def _asks(self) -> Iterator[Ask]:
        for index, (arrival, (_, prompt, output)) in enumerate(zip(self.arrivals, self.requests, strict=True)):
            prefix = self._prefix(index, prompt // self.scenario.block_size)
            priority = int((self.priorities or self.requests.priority)[index])
            gives_up = arrival + self.patience[index] if self.patience else maxsize
            yield Ask(arrival, prompt, output, prefix, priority, gives_up)

    def _prefix(self, index: int, full: int) -> tuple[Hashable, ...]:
        """Full blocks of two prompts are the same where all hashes up to their end are."""
        if self.requests.hash_ids is None:
            return ()
        hashes, size = self.requests.hash_ids[index].tolist(), self.scenario.block_size
        chains = [tuple(hashes[: -(-(i + 1) * size // self.requests.hash_block)]) for i in range(full)]
        known = [
            (i, chain) for i, chain in enumerate(chains) if (i + 1) * size <= len(hashes) * self.requests.hash_block
        ]
        return tuple(known)


def submit(env: simpy.Environment, engine: Engine, ask: request.Ask, patience: int | None) -> None:
    """A request arrives, and gives up after its patience."""
    slot = engine.submit(ask)
    if patience is not None:
        env.timeout(patience).callbacks.append(lambda _: engine.cancel(slot))


def _settings(scenario: Serving) -> Settings:
    return Settings(
        usable=scenario.kv_blocks - 1,
        block_size=scenario.block_size,
        max_num_seqs=scenario.settings.max_num_seqs,
        max_num_batched_tokens=scenario.settings.max_num_batched_tokens,
        long_prefill_token_threshold=scenario.long_prefill_token_threshold,
        chunked_prefill=scenario.enable_chunked_prefill,
        prefix_caching=scenario.settings.enable_prefix_caching,
        async_scheduling=scenario.settings.async_scheduling,
        urgent_first=scenario.scheduling_policy == "priority",
        whole_length=scenario.scheduler_reserve_full_isl,
        unnamed_first=scenario.engine != "vllm 0.19",
        cap_alone=scenario.engine != "vllm 0.33",
        adaptive=scenario.long_prefill_token_threshold_adaptive,
        kept=int(scenario.watermark * scenario.kv_blocks),
    )


@st.composite
def arrivals(draw: st.DrawFn, count: int, step: int) -> list[int]:
    """Times in order, some of them equal."""
    gaps = draw(st.lists(st.sampled_from([0, 0, 1]) | st.integers(0, 12), min_size=count, max_size=count))
    return np.cumsum([gap * step for gap in gaps]).tolist()  # type: ignore[no-any-return]


@st.composite
def hashes(draw: st.DrawFn, prompts: list[int], size: int) -> list[list[int]]:
    """Paths in a tree of one trunk: a number stands for the whole prefix up to its block."""
    tree: dict[tuple[int, ...], int] = {}
    paths = []
    for prompt in prompts:
        end = -(-prompt // size) - draw(st.sampled_from([0, 0, 0, 1]))
        fork = draw(st.sampled_from([end, end, end, 0, 1, 2]))
        path = [int(place >= fork) for place in range(end)]
        paths.append([tree.setdefault(tuple(path[: place + 1]), len(tree)) for place in range(end)])
    return paths


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    caching: bool | None = None,
    shared: bool | None = None,
    ahead: bool | None = None,
    most_requests: int = 10,
    output: int = 40,
    cadence: bool = False,
    urgent: bool = False,
) -> Case:
    """A service so small that requests preempt each other, and requests that it can serve."""
    count = draw(st.integers(1, most_requests))
    lengths = st.tuples(st.integers(1, draw(st.sampled_from([4, 20, 50]))), st.integers(1, output))
    prompts, outputs = map(list, zip(*draw(st.lists(lengths, min_size=count, max_size=count)), strict=True))
    times = draw(arrivals(count, draw(st.sampled_from([MILLISECOND // 2, 3_141_592_653, 27_182_818_284]))))
    block_size = draw(st.integers(1, 16))
    caching = draw(st.booleans()) if caching is None else caching
    shared = caching and draw(st.sampled_from([True, True, True, True, False])) if shared is None else shared
    hash_block = draw(st.sampled_from([block_size, 1, 3, 8])) if shared else 0
    longest = max(map(sum, zip(prompts, outputs, strict=True)))
    chunked = draw(st.sampled_from([True, True, True, False]))
    engine = "vllm 0.33" if cadence else draw(st.sampled_from(["vllm 0.33", "vllm 0.33", "vllm 0.24", "vllm 0.19"]))
    scenario = Serving(
        model=MODEL,
        accelerator=ACCELERATOR,
        arrivals=ARRIVALS,
        lengths=LENGTHS,
        num_gpu_blocks=1 - (1 - longest) // block_size + draw(st.integers(0, 6) | st.integers(0, 60)),
        block_size=block_size,
        max_num_seqs=draw(st.sampled_from([1, 2, 3, 5, 20])),
        max_num_batched_tokens=draw(st.integers(1, 64)) if chunked else longest + draw(st.integers(0, 20)),
        max_model_len=longest,
        long_prefill_token_threshold=draw(st.none() | st.integers(1, 20)),
        enable_chunked_prefill=chunked,
        enable_prefix_caching=caching,
        async_scheduling=draw(st.booleans()) if ahead is None else ahead,
        engine=engine,
        long_prefill_token_threshold_adaptive=engine == "vllm 0.33" and draw(st.booleans()),
        watermark=0.0 if engine == "vllm 0.19" else draw(st.sampled_from([0.0, 0.0, 0.1])),
        scheduler_reserve_full_isl=draw(st.sampled_from([True, True, False])),
        scheduling_policy="priority" if urgent else "fcfs",
        prefill_schedule_interval=draw(st.sampled_from([2, 2, 3, 5, 9])) if cadence else 1,
        step_time=STEP_TIMES[draw(st.integers(0, len(STEP_TIMES) - 1))],
    )
    requests = Requests(
        arrival=[time * 1e-12 for time in times],
        input_tokens=prompts,
        output_tokens=outputs,
        hash_ids=tuple(map(np.array, draw(hashes(prompts, hash_block)))) if hash_block else None,
        hash_block=hash_block,
        priorities=draw(st.lists(st.integers(-1, 2), min_size=count, max_size=count)) if urgent else None,
    )
    return Case(scenario, tuple(times), requests)


# The witness

RESULTS = ("scheduled", "first_token", "finish", "preemptions", "cached")


def assert_agrees(case: Case) -> None:
    naive, recorder = case.naive(), case.record()
    jobs = naive.run()
    gone = [job.cancelled is not None for job in jobs]
    for name in RESULTS:
        found = [None if was and x < 0 else x for was, x in zip(gone, getattr(recorder, name), strict=True)]
        told = [getattr(job, name) for job in jobs]
        assert found == [0 if name == "cached" and x is None else x for x in told], name
    assert list(recorder.cancelled) == [-1 if job.cancelled is None else job.cancelled for job in jobs]
    assert recorder.steps == naive.steps


# Cases small enough to follow by hand: each step takes 1 ms


def by_hand(
    asks: list[tuple[int, int, int]],
    *,
    blocks: int = 100,
    hash_ids: tuple[list[int], ...] | None = None,
    **changes: Any,
) -> Case:
    """Requests as (arrival in ms, prompt, output), blocks of 4 tokens."""
    scenario = Serving(
        model=MODEL,
        accelerator=ACCELERATOR,
        arrivals=ARRIVALS,
        lengths=LENGTHS,
        step_time=ON_A_GRID,
        block_size=4,
        num_gpu_blocks=blocks + 1,
        enable_prefix_caching=False,
        async_scheduling=False,
    )
    requests = Requests(
        arrival=[ask[0] * 1e-3 for ask in asks],
        input_tokens=[ask[1] for ask in asks],
        output_tokens=[ask[2] for ask in asks],
        hash_ids=None if hash_ids is None else tuple(map(np.array, hash_ids)),
        hash_block=0 if hash_ids is None else 4,
    )
    return Case(replace(scenario, **changes), tuple(ask[0] * MILLISECOND for ask in asks), requests)


def milliseconds(case: Case, name: str) -> list[float]:
    """A column of the record, on which the witness agrees."""
    assert_agrees(case)
    return [time / MILLISECOND for time in getattr(case.record(), name)]
