"""One run of a deployment by the compiled engines, in the form that SimPy gives it."""

from functools import cache, singledispatch

import numpy as np
import pandas as pd

from secondorder.arrays import Integers
from secondorder.errors import InputError
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.router import (
    LeastOutstanding,
    LeastTokens,
    PowerOfChoices,
    PrefixAware,
    RandomReplica,
    RoundRobin,
    Router,
    SessionAffinity,
)
from secondorder.simulate.deployment.clients import picoseconds
from secondorder.simulate.deployment.router import rank
from secondorder.simulate.deployment.run import Columns, DeploymentRun, request_frame, run
from secondorder.simulate.kernels.deployment.state import CHOICES, FIXED, LEAST, PREFIX, Rule
from secondorder.simulate.serving.asks import PICO, clocked
from secondorder.simulate.serving.compiled import is_compiled
from secondorder.simulate.streams import stream
from secondorder.simulate.witness import TOLD, Witness, chosen
from secondorder.workloads.requests import Requests


def witness_of(scenario: Deployment, asked: Witness | None = None) -> Witness:
    """The witness that simulates a deployment: the one asked for, else the kernel where it can.

    Errors: ``InputError`` where the kernel is asked for and something happens to replicas, or to what clients sent.
    """
    return chosen(asked, lambda: not by_events(scenario), scenario.name)


def by_events(scenario: Deployment) -> str:
    """Why only SimPy simulates a deployment; nothing where the kernel can."""
    reasons = {
        "faults": scenario.faults is not None,
        "an autoscaler": scenario.autoscaler is not None,
        "clients who wait for their answers": scenario.clients is not None,
        "time-outs": scenario.timeout is not None,
        "refusals": scenario.max_outstanding is not None,
        "replicas that are not alike": not scenario.alike,
        "lower tiers of the cache": scenario.serving.cache_tiers is not None,
        "a router that the kernel does not know": type(scenario.router) not in _rule.registry,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if not found and not is_compiled(scenario.serving):
        found = ["an engine that the kernel does not know"]
    return ", ".join(found)


def told(scenario: Deployment, witness: Witness) -> str:
    """How an answer says which witness gave it, and why it was not the kernel."""
    why = by_events(scenario) if witness == "events" else ""
    return f"{TOLD[witness]}, for {why}" if why else TOLD[witness]


def serve(
    scenario: Deployment, requests: Requests, *, seed: int = 0, replication: int = 0, witness: Witness | None = None
) -> DeploymentRun:
    """One run by a witness, the kernel where it can if none is named; both give the same times and counts."""
    if witness_of(scenario, witness) == "events":
        return run(scenario, requests, seed=seed, replication=replication)
    return run_compiled(scenario, requests, seed=seed, replication=replication)


def run_compiled(scenario: Deployment, requests: Requests, *, seed: int = 0, replication: int = 0) -> DeploymentRun:
    """Serve these requests, from empty replicas to the end of the last request."""
    from secondorder.simulate.kernels.deployment.run import record_fleet

    arrivals = clocked(requests)
    found = record_fleet(
        scenario.serving,
        requests,
        arrivals,
        rule_for(scenario, requests, stream(seed, replication, "routing")),
        replicas=scenario.replicas,
        report_interval=picoseconds(scenario.interval),
    )
    count = len(requests)
    frame = request_frame(
        requests,
        Columns(
            arrival=arrivals,
            first=found.first_token,
            ended=found.finish,
            attempts=np.ones(count, np.int64),
            replica=found.replica,
            cached=found.cached.astype(np.int64),
            preemptions=found.preemptions.astype(np.int64),
        ),
    )
    series = pd.concat(
        [
            pd.DataFrame({"replica": number, "time": rows[:, 0] * PICO, "running": rows[:, 1], "waiting": rows[:, 2]})
            for number, rows in enumerate(found.series)
        ],
        ignore_index=True,
    )
    outputs, inputs = np.asarray(requests.output_tokens), np.asarray(requests.input_tokens)
    delivered = int((inputs - found.cached + outputs - 1).sum())
    paid = scenario.replicas * int(found.finish.max(initial=0)) * PICO
    return DeploymentRun(frame, series, found.tokens, delivered, {}, 0.0, paid, found.blocks_held)


# The rule of each kind of router, as data


@singledispatch
def _rule(kind: Router, scenario: Deployment, requests: Requests, chance: np.random.Generator) -> Rule:
    raise InputError("router", given=str(kind), expected="a router that the kernel knows")


def rule_for(scenario: Deployment, requests: Requests, chance: np.random.Generator) -> Rule:
    """The rule of a deployment's router for these requests."""
    return _rule(scenario.router, scenario, requests, chance)


def _fixed(replicas: Integers) -> Rule:
    return Rule(kind=FIXED, fixed=replicas)


@_rule.register
def _(kind: RoundRobin, scenario: Deployment, requests: Requests, chance: np.random.Generator) -> Rule:
    return _fixed(np.arange(len(requests)) % scenario.replicas)


@_rule.register
def _(kind: RandomReplica, scenario: Deployment, requests: Requests, chance: np.random.Generator) -> Rule:
    return _fixed((scenario.replicas * chance.random(len(requests))).astype(np.int64))


@_rule.register
def _(kind: SessionAffinity, scenario: Deployment, requests: Requests, chance: np.random.Generator) -> Rule:
    @cache
    def home(session: tuple[int | str, int]) -> int:
        return max(range(scenario.replicas), key=lambda number: rank(number, session))

    return _fixed(np.array([home(each) for each in _sessions(kind.blocks, scenario, requests)], np.int64))


def _sessions(blocks: int, scenario: Deployment, requests: Requests) -> list[tuple[int | str, int]]:
    """For each request, what tells its session from others."""
    if requests.hash_ids is None or not scenario.serving.settings.enable_prefix_caching:
        return [("alone", index) for index in range(len(requests))]
    size, theirs = scenario.serving.block_size, requests.hash_block
    found: list[tuple[int | str, int]] = []
    for index, (prompt, hashes) in enumerate(zip(np.asarray(requests.input_tokens), requests.hash_ids, strict=True)):
        shared = min(int(prompt) // size, len(hashes) * theirs // size)
        place = min(blocks, shared) - 1
        found.append((int(hashes[((place + 1) * size - 1) // theirs]), place) if shared else ("alone", index))
    return found


def _least(requests: Requests, chance: np.random.Generator, **options: float) -> Rule:
    choices = int(options.get("choices", 0))
    kind = PREFIX if "weight" in options else CHOICES if choices else LEAST
    return Rule(
        kind=kind,
        choices=choices,
        by_prompts=bool(options.get("by_prompts", 0)),
        weight=options.get("weight", 0.0),
        chance=chance.random((1 + choices) * len(requests)),
    )


@_rule.register
def _(kind: LeastOutstanding, scenario: Deployment, requests: Requests, chance: np.random.Generator) -> Rule:
    return _least(requests, chance)


@_rule.register
def _(kind: LeastTokens, scenario: Deployment, requests: Requests, chance: np.random.Generator) -> Rule:
    return _least(requests, chance, by_prompts=1)


@_rule.register
def _(kind: PowerOfChoices, scenario: Deployment, requests: Requests, chance: np.random.Generator) -> Rule:
    return _least(requests, chance, choices=kind.choices)


@_rule.register
def _(kind: PrefixAware, scenario: Deployment, requests: Requests, chance: np.random.Generator) -> Rule:
    return _least(requests, chance, weight=kind.weight)
