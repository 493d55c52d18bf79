"""One run of a deployment: every request ends once, and leaves its record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import simpy

from secondorder.arrays import Integers
from secondorder.scenarios.clients import Sessions
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.router import PrefixAware
from secondorder.scenarios.serving import Serving
from secondorder.simulate.deployment.autoscaler import Scaling
from secondorder.simulate.deployment.clients import Clients, picoseconds
from secondorder.simulate.deployment.fate import Fate
from secondorder.simulate.deployment.faults import processes
from secondorder.simulate.deployment.ledger import Ledger
from secondorder.simulate.deployment.replica import Replica
from secondorder.simulate.deployment.router import Reports, Rule, outstanding_now, rule_of, tokens_now
from secondorder.simulate.deployment.waiting import Plan, begin, plan_of
from secondorder.simulate.serving.asks import PICO
from secondorder.simulate.serving.policies import Policies
from secondorder.simulate.serving.single_run import tier_columns
from secondorder.simulate.serving.tiers import shared_tiers
from secondorder.simulate.serving.unnamed import until_preempted
from secondorder.simulate.streams import stream
from secondorder.workloads.requests import Requests


@dataclass(frozen=True)
class DeploymentRun:
    """One run to the end of the last request.

    ``requests`` has a row per request in order of arrival: ``arrival, first_token, finish, ended`` (s),
    ``input_tokens, output_tokens, cached_tokens, preemptions``, its ``fate``, ``attempts`` and last ``replica`` (-1:
    none), the ``session`` that it is a turn of, if there are any, with lower tiers of the cache those of a
    ``ServingRun``, and, for those that were served, the metrics ``ttft,
    tpot, e2el`` (s). ``series`` has for each replica a row for each look at its engine: ``time`` (s), ``running`` since
    the look before, ``waiting``. ``computed`` tokens are those ``delivered``, those ``wasted`` by fate, and those
    ``recomputed`` after preemptions. ``downtime``, and how long replicas were ``paid`` for, are those of all replicas
    together in s. ``blocks_held`` are blocks of the caches that are still in use at the end: none. ``until`` is when
    the last session begins, in s.
    """

    requests: pd.DataFrame
    series: pd.DataFrame
    computed: int
    delivered: int
    wasted: Mapping[Fate, int]
    downtime: float
    paid: float
    blocks_held: int = 0
    until: float = np.inf

    @property
    def recomputed(self) -> int:
        """Tokens that were computed again because their request was preempted."""
        return self.computed - self.delivered - sum(self.wasted.values())


def run(scenario: Deployment, requests: Requests, *, seed: int = 0, replication: int = 0) -> DeploymentRun:
    """Serve these requests, from empty replicas to the end of the last request and of work that is discarded.

    Clients who wait for their answers send them in order, but at times of their own. ``seed`` and ``replication`` name
    the random streams of the router, the pauses and the failures, and of turns and think times.
    """

    def once(serving: Serving, policies: Policies | None) -> DeploymentRun:
        return _run(replace(scenario, serving=serving), requests, seed, replication, policies)

    if isinstance(scenario.router, PrefixAware) or isinstance(scenario.clients, Sessions):
        return once(scenario.serving, None)
    return until_preempted(scenario.serving, requests, once)


def _run(
    scenario: Deployment, requests: Requests, seed: int, replication: int, policies: Policies | None
) -> DeploymentRun:
    for engine in {id(engine): engine for engine in scenario.engines}.values():
        engine.check(requests)
    plan = plan_of(scenario, requests, seed, replication)
    env, ledger = simpy.Environment(initial_time=0), Ledger(len(requests))
    replicas = _replicas(scenario, env, ledger, policies)
    reports = _reports(scenario, env, replicas)
    rule = _rule(scenario, reports, stream(seed, replication, "routing"))
    pauses = stream(seed, replication, "pauses before retries")
    clients = Clients(env, scenario, len(requests), replicas, rule, ledger, pauses)
    for fault in scenario.faults.events if scenario.faults else ():
        for process in processes(fault, env, replicas, clients, (seed, replication)):
            env.process(process)
    if scenario.autoscaler is not None:
        Scaling(env, scenario.autoscaler, replicas, clients)
    begin(env, scenario, plan, clients)
    _run_to_the_end(env, clients, reports)
    return _result(scenario, requests, plan, replicas, clients, ledger)


def _replicas(scenario: Deployment, env: simpy.Environment, ledger: Ledger, policies: Policies | None) -> list[Replica]:
    """The replicas that are there from the start, and those that an autoscaler may start."""
    shared = shared_tiers(scenario.serving)

    def replica(number: int, engine: Serving, on: bool) -> Replica:
        return Replica(env, number, engine, ledger, on=on, policies=policies, shared=shared)

    found = [replica(number, engine, True) for number, engine in enumerate(scenario.engines)]
    more = range(len(found), scenario.autoscaler.most if scenario.autoscaler else 0)
    return found + [replica(number, scenario.serving, False) for number in more]


def _reports(scenario: Deployment, env: simpy.Environment, replicas: Sequence[Replica]) -> Reports | None:
    interval = picoseconds(scenario.interval)
    return Reports(env, replicas, interval) if interval else None


def _rule(scenario: Deployment, reports: Reports | None, chance: np.random.Generator) -> Rule:
    if reports is None:
        return rule_of(scenario.router, chance, outstanding_now, tokens_now)
    return rule_of(
        scenario.router,
        chance,
        lambda replica: reports.outstanding[replica.number],
        lambda replica: reports.tokens[replica.number],
    )


def _run_to_the_end(env: simpy.Environment, clients: Clients, reports: Reports | None) -> None:
    while not clients.over:
        env.step()
    if reports is not None:
        reports.over = True
    env.run()


def _result(
    scenario: Deployment,
    requests: Requests,
    plan: Plan,
    replicas: Sequence[Replica],
    clients: Clients,
    ledger: Ledger,
) -> DeploymentRun:
    computed = sum(log.tokens for log in ledger.logs.values())
    frame = request_frame(replace(requests, input_tokens=plan.prompts), _columns(clients, ledger))
    frame = frame.assign(**tier_columns(scenario.serving, ledger))
    if plan.sessions:
        frame.insert(0, "session", plan.session)
    if not frame["arrival"].is_monotonic_increasing:
        frame = frame.sort_values("arrival", kind="stable", ignore_index=True)
    downtime = sum(replica.downtime for replica in replicas) * PICO
    paid = sum(replica.paid(max(clients.ended)) for replica in replicas) * PICO
    held, wasted = sum(replica.blocks_held for replica in replicas), dict(clients.wasted)
    return DeploymentRun(frame, _series(ledger), computed, clients.delivered, wasted, downtime, paid, held, plan.until)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What came of each request, one place per request in order of arrival; times in ps, -1 where there is none."""

    arrival: Integers
    first: Integers
    ended: Integers
    attempts: Integers
    replica: Integers
    cached: Integers
    preemptions: Integers
    fates: Sequence[Fate | None] | None = None
    """None: all are served."""


def _columns(clients: Clients, ledger: Ledger) -> Columns:
    names = ("arrival", "first", "ended", "attempts", "replica", "cached", "preemptions")
    kept = (
        clients.sent,
        ledger.first_token,
        clients.ended,
        clients.attempts,
        clients.replica,
        ledger.cached,
        ledger.preemptions,
    )
    arrays = {name: np.frombuffer(column, dtype=np.int64) for name, column in zip(names, kept, strict=True)}
    return Columns(fates=clients.fates, **arrays)


def request_frame(requests: Requests, found: Columns) -> pd.DataFrame:
    """The table of requests of a ``DeploymentRun``."""
    outputs = np.asarray(requests.output_tokens)
    fates = np.array([str(fate) for fate in found.fates] if found.fates else [str(Fate.SERVED)] * len(outputs), object)
    served = fates == Fate.SERVED
    with np.errstate(invalid="ignore", divide="ignore"):
        tpot = np.where(served & (outputs > 1), (found.ended - found.first) * PICO / (outputs - 1), np.nan)
    return pd.DataFrame(
        {
            "arrival": found.arrival * PICO,
            "first_token": np.where(served, found.first * PICO, np.nan),
            "finish": np.where(served, found.ended * PICO, np.nan),
            "ended": found.ended * PICO,
            "input_tokens": requests.input_tokens,
            "output_tokens": requests.output_tokens,
            "cached_tokens": found.cached,
            "preemptions": found.preemptions,
            "fate": fates,
            "attempts": found.attempts,
            "replica": found.replica,
            "ttft": np.where(served, (found.first - found.arrival) * PICO, np.nan),
            "tpot": tpot,
            "e2el": np.where(served, (found.ended - found.arrival) * PICO, np.nan),
            **({} if requests.priorities is None else {"priority": requests.priority}),
        }
    )


def _series(ledger: Ledger) -> pd.DataFrame:
    parts = []
    for log in ledger.logs.values():
        time, running, waiting, _ = (np.frombuffer(column, dtype=np.int64) for column in log.series)
        replica = int(log.name.split(",")[0].removeprefix("replica "))
        parts.append(pd.DataFrame({"replica": replica, "time": time * PICO, "running": running, "waiting": waiting}))
    return pd.concat(parts, ignore_index=True)
