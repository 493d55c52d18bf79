"""One run of a service: requests arrive, one engine serves them, each leaves its record."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import numpy as np
import pandas as pd
import simpy

from secondorder.arrays import Floats, Integers
from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving.accounts import Accounts
from secondorder.simulate.serving.asks import PICO, asks, seconds
from secondorder.simulate.serving.engine import Engine, Submit, arrive
from secondorder.simulate.serving.engine_policies import policies_of
from secondorder.simulate.serving.pipeline import Lane, PipelineEngine, lanes_of
from secondorder.simulate.serving.policies import Policies
from secondorder.simulate.serving.ranks import Ranks
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.scheduler import Scheduler
from secondorder.simulate.serving.tiered_engine import TieredEngine
from secondorder.simulate.serving.tiered_scheduler import TieredScheduler
from secondorder.simulate.serving.tiers import Tier, tiers_of
from secondorder.simulate.serving.unnamed import until_preempted
from secondorder.workloads.requests import Requests

Kind = TypeVar("Kind", bound=Scheduler)
Busy: TypeAlias = tuple[Floats, Floats]
"""When something began and ceased to be busy, in s."""


@dataclass(frozen=True)
class ServingRun:
    """One run to the end: every request is served.

    ``requests`` has a row per request in order of arrival: ``arrival, scheduled, first_token,
    finish`` (s), ``input_tokens, output_tokens, cached_tokens, preemptions`` and the metrics
    ``ttft, tpot, e2el`` (s; ``tpot`` is absent for a single output token), and ``priority``
    where they have one; with lower tiers of the cache also ``fetch``, the time for blocks from
    there (s), and how many of the ``cached_tokens`` each had (``host_tokens``). ``series`` has a
    row for each step, or leap over steps with the same requests, or idle time: its end ``time``
    (s), the sequences ``running`` in it, those ``waiting`` at its end, and the mean ``kv_usage``
    in it (share of the blocks). ``links`` are by tier the times (s) at which its link began and
    ceased to be busy with fetches, ``writes`` with what is written to it.
    """

    requests: pd.DataFrame
    series: pd.DataFrame
    steps: int
    links: Mapping[str, Busy] = field(default_factory=dict)
    writes: Mapping[str, Busy] = field(default_factory=dict)


def run(scenario: Serving, requests: Requests, *, leaps: bool = True, policies: Policies | None = None) -> ServingRun:
    """Serve these requests by the scenario's engine, from an empty start to the last token.

    Without ``leaps`` each step has a row of its own in the series; the times are the same.
    """
    arrivals, recorder = record(scenario, requests, leaps=leaps, policies=policies)
    (log,) = recorder.logs.values()
    frame = request_frame(requests, np.array(arrivals), **request_columns(recorder))
    frame = frame.assign(**tier_columns(scenario, recorder))
    series = [np.frombuffer(column, dtype=np.int64) for column in log.series]
    return ServingRun(
        frame,
        series_frame(series, scenario.data_parallel_size * (scenario.kv_blocks - 1)),
        recorder.steps,
        busy_of(log.links),
        busy_of(log.writes),
    )


def request_columns(recorder: Recorder) -> dict[str, Integers]:
    """What was recorded of each request."""
    return {
        name: np.frombuffer(column, dtype=np.int64)
        for name, column in {
            "scheduled": recorder.scheduled,
            "first": recorder.first_token,
            "finish": recorder.finish,
            "cached": recorder.cached,
            "preemptions": recorder.preemptions,
        }.items()
    }


def tier_columns(scenario: Serving, recorder: Recorder) -> dict[str, Floats | Integers]:
    """Of each request: the time for blocks of lower tiers in s, and the tokens that each tier had."""
    if scenario.cache_tiers is None:
        return {}
    none = array("q", [0]) * len(recorder.cached)
    found = {name: recorder.below.get(name, none) for name in scenario.cache_tiers.names}
    tokens = {f"{name}_tokens": np.frombuffer(each, dtype=np.int64) for name, each in found.items()}
    return {"fetch": seconds(np.frombuffer(recorder.fetch, dtype=np.int64)), **tokens}


def busy_of(links: Mapping[str, tuple["array[int]", "array[int]"]]) -> dict[str, Busy]:
    """The times in s at which each of some links began and ceased to be busy."""
    both = {name: [np.frombuffer(each, dtype=np.int64) for each in times] for name, times in links.items()}
    return {name: (seconds(starts), seconds(ends)) for name, (starts, ends) in both.items()}


def record(
    scenario: Serving,
    requests: Requests,
    *,
    leaps: bool = True,
    policies: Policies | None = None,
) -> tuple[list[int], Recorder]:
    """The same run in whole picoseconds, as the engine counts them: arrivals, and what was recorded."""

    def once(scenario: Serving, policies: Policies | None) -> tuple[list[int], Recorder]:
        return recorded(scenario, requests, leaps=leaps, policies=policies)

    return until_preempted(scenario, requests, once, policies)


def recorded(
    scenario: Serving,
    requests: Requests,
    *,
    leaps: bool = True,
    policies: Policies | None = None,
    accounts: Accounts | None = None,
) -> tuple[list[int], Recorder]:
    """The same with the identity of every block where the engine keeps prefixes.

    ``accounts``, if there are any, split the times into causes.
    """
    scenario.check(requests)
    asked = list(asks(scenario, requests))
    env, recorder = simpy.Environment(initial_time=0), Recorder(len(asked))
    submit: Submit
    if scenario.data_parallel_size > 1:
        schedulers = [scheduler_for(scenario, policies) for _ in range(scenario.data_parallel_size)]
        submit = Ranks(env, scenario, schedulers, recorder).submit
    else:
        submit = engine_for(scenario, env, recorder, leaps=leaps, policies=policies, accounts=accounts).submit
    env.process(arrive(env, asked, submit))
    env.run()
    return [ask.arrival for ask in asked], recorder


def engine_for(
    scenario: Serving,
    env: simpy.Environment,
    recorder: Recorder,
    *,
    leaps: bool = True,
    policies: Policies | None = None,
    name: str = "engine",
    accounts: Accounts | None = None,
    shared: Mapping[str, Tier] | None = None,
) -> Engine:
    """A replica of the scenario, idle; ``shared`` tiers of its cache are those of other replicas too."""
    if scenario.pipeline_parallel_size > 1:
        lanes = lanes_of([lane_for(scenario, policies) for _ in range(scenario.pipeline_parallel_size)])
        return PipelineEngine(env, lanes, scenario.stages.coefficients(scenario.placement), recorder, name=name)
    scheduler, ahead = scheduler_for(scenario, policies), scenario.settings.async_scheduling
    if isinstance(scheduler, TieredScheduler):
        scheduler.put_above(tiers_of(scenario, shared), lambda: int(env.now))
        return TieredEngine(env, scheduler, scenario.step_seconds, recorder, ahead=ahead, name=name)
    how = {"ahead": ahead, "leaps": leaps}
    return Engine(env, scheduler, scenario.step_seconds, recorder, **how, name=name, accounts=accounts)


def scheduler_for(scenario: Serving, policies: Policies | None = None) -> Scheduler:
    """The scheduler with a scenario's settings, and its engine's policies unless given.

    One block is the null block, never used.
    """
    return _made(TieredScheduler if scenario.cache_tiers else Scheduler, scenario, policies)


def lane_for(scenario: Serving, policies: Policies | None = None) -> Lane:
    """The scheduler of one of several batches under way."""
    return _made(Lane, scenario, policies)


def _made(kind: type[Kind], scenario: Serving, policies: Policies | None) -> Kind:
    return kind(
        blocks=scenario.kv_blocks - 1,
        block_size=scenario.block_size,
        max_num_seqs=scenario.settings.max_num_seqs,
        max_num_batched_tokens=scenario.settings.max_num_batched_tokens,
        long_prefill_token_threshold=scenario.long_prefill_token_threshold,
        chunked_prefill=scenario.enable_chunked_prefill,
        prefix_caching=scenario.settings.enable_prefix_caching,
        prefill_schedule_interval=scenario.prefill_schedule_interval,
        ahead=scenario.settings.async_scheduling,
        policies=policies or policies_of(scenario),
    )


def request_frame(
    requests: Requests,
    arrival: Integers,
    *,
    scheduled: Integers,
    first: Integers,
    finish: Integers,
    cached: Integers,
    preemptions: Integers,
) -> pd.DataFrame:
    """A row per request, from times in whole picoseconds."""
    urgency = {} if requests.priorities is None else {"priority": requests.priority}
    return pd.DataFrame(
        {
            "arrival": arrival * PICO,
            "scheduled": scheduled * PICO,
            "first_token": first * PICO,
            "finish": finish * PICO,
            "input_tokens": requests.input_tokens,
            "output_tokens": requests.output_tokens,
            "cached_tokens": cached,
            "preemptions": preemptions,
            **latencies(arrival, first, finish, np.asarray(requests.output_tokens)),
            **urgency,
        }
    )


def latencies(arrival: Integers, first: Integers, finish: Integers, output_tokens: Integers) -> dict[str, Floats]:
    """Latencies in s, from times in whole picoseconds; NaN is the time per output token of a single one."""
    with np.errstate(invalid="ignore", divide="ignore"):  # nothing divided by nothing, of a single output token
        tpot = (finish - first) * PICO / (output_tokens - 1)
    return {"ttft": seconds(first - arrival), "tpot": tpot, "e2el": seconds(finish - arrival)}


def series_frame(columns: Sequence[Integers], blocks: int) -> pd.DataFrame:
    """A row for each span of time, from columns in whole picoseconds and counts."""
    time, running, waiting, used = columns
    return pd.DataFrame({"time": time * PICO, "running": running, "waiting": waiting, "kv_usage": used / (2 * blocks)})
