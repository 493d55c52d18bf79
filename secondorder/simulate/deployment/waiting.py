"""Clients that wait for their answers: users who think and ask again, and sessions whose turns follow each other."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import simpy

from secondorder.arrays import Integers
from secondorder.quantities import registry, si
from secondorder.scenarios.clients import Sessions, Users
from secondorder.scenarios.deployment import Deployment
from secondorder.simulate.deployment.clients import Clients
from secondorder.simulate.serving.asks import PICO, asks
from secondorder.simulate.serving.engine import Process, arrive
from secondorder.simulate.serving.request import Ask
from secondorder.simulate.streams import stream
from secondorder.workloads.requests import Requests
from secondorder.workloads.traces import Trace


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What clients will ask: ``asked`` in the order of the request table, and ``prompts`` that include all earlier
    turns.

    ``thoughts`` are times in ps: of users in the order in which they begin, of sessions before each turn (before the
    first one, from 0 on). ``session`` of each request, -1 where it is of none.
    """

    asked: Sequence[Ask]
    prompts: Integers
    session: Integers
    thoughts: Integers

    @property
    def sessions(self) -> bool:
        """Whether requests are turns of sessions."""
        return bool(len(self.session)) and bool(self.session[0] >= 0)

    @property
    def until(self) -> float:
        """When the last session begins, in s; infinity where there are none."""
        return float(self.thoughts[self.begins].max()) * PICO if self.sessions else np.inf

    @property
    def begins(self) -> Integers:
        """The places of the first turns."""
        return np.flatnonzero(np.diff(self.session, prepend=-1))


def plan_of(scenario: Deployment, requests: Requests, seed: int, replication: int) -> Plan:
    """The requests as clients will ask them. ``seed`` and ``replication`` name the streams of turns and think times."""
    if isinstance(scenario.clients, Sessions):
        return _sessions(scenario, scenario.clients, requests, seed, replication)
    count, thoughts = len(requests), np.zeros(0, np.int64)
    if isinstance(scenario.clients, Users):
        most = count + scenario.clients.count
        thoughts = thinking(si(scenario.clients.think), most, seed, replication)
    none = np.full(count, -1)
    asked = list(asks(scenario.serving, requests))
    return Plan(asked=asked, prompts=np.asarray(requests.input_tokens), session=none, thoughts=thoughts)


def thinking(mean: float, count: int, seed: int, replication: int) -> Integers:
    """Exponential think times in ps."""
    if not mean:
        return np.zeros(count, np.int64)
    seconds = stream(seed, replication, "think times").exponential(mean, count)
    return np.rint(seconds / PICO).astype(np.int64)


def _sessions(scenario: Deployment, kind: Sessions, requests: Requests, seed: int, replication: int) -> Plan:
    """One session after the other takes its turns from the requests; the last one takes what is left."""
    count, chance = len(requests), stream(seed, replication, "turns")
    turns = chance.geometric(1 / kind.turns, count)
    session = np.repeat(np.arange(count), turns)[:count]
    thoughts = thinking(si(kind.think), count, seed, replication)
    first = np.flatnonzero(np.diff(session, prepend=-1))
    arrivals = scenario.serving.arrivals.at(registry.Quantity(scenario.rate / kind.turns, "request/s"))
    assert not isinstance(arrivals, Trace)  # the scenario refuses it
    starts = arrivals.times(len(first), stream(seed, replication, "sessions"))
    thoughts[first] = np.rint(np.asarray(starts) / PICO).astype(np.int64)
    asked = grown(scenario, requests, session)
    return Plan(asked=asked, prompts=np.array([ask.prompt for ask in asked]), session=session, thoughts=thoughts)


def grown(scenario: Deployment, requests: Requests, session: Integers) -> list[Ask]:
    """The turns, each with the tokens of those before it in its prompt, as far as there is room for them."""
    room = min(min(engine.context_limit, engine.kv_tokens + 1) for engine in scenario.engines)
    found: list[Ask] = []
    history, since = 0, 0
    for ask in asks(scenario.serving, requests):
        place = ask.index
        if place == 0 or session[place] != session[place - 1] or history + ask.prompt + ask.output > room:
            history, since = 0, place
        prompt = history + ask.prompt
        history = prompt + ask.output
        found.append(
            replace(
                ask,
                prompt=prompt,
                prefix=_blocks(scenario, history, since),
                session=int(session[place]),
            )
        )
    return found


def _blocks(scenario: Deployment, tokens: int, conversation: int) -> tuple[Hashable, ...]:
    """The identities of a conversation's full blocks, the answer's included: the next turn may find them all."""
    if not scenario.serving.settings.enable_prefix_caching:
        return ()
    return tuple((conversation, place) for place in range(tokens // scenario.serving.block_size))


def begin(env: simpy.Environment, scenario: Deployment, plan: Plan, clients: Clients) -> None:
    """Start the processes of the clients."""
    if isinstance(scenario.clients, Users):
        asked, thoughts = iter(plan.asked), iter(plan.thoughts.tolist())
        for _ in range(min(scenario.clients.count, len(plan.asked))):
            env.process(use(env, asked, thoughts, clients))
    elif isinstance(scenario.clients, Sessions):
        ends = [*plan.begins[1:].tolist(), len(plan.asked)]
        for start, end in zip(plan.begins.tolist(), ends, strict=True):
            env.process(converse(env, plan.asked[start:end], plan.thoughts[start:end].tolist(), clients))
    else:
        env.process(arrive(env, plan.asked, clients.arrive))


def use(env: simpy.Environment, asked: Iterable[Ask], thoughts: Iterable[int], clients: Clients) -> Process:
    """One of the users, who take the requests in turn: think, send the next one, wait for its end."""
    for thought in thoughts:
        if thought:
            yield env.timeout(thought)
        ask = next(iter(asked), None)
        if ask is None:
            return
        yield clients.ask(ask)


def converse(env: simpy.Environment, turns: Sequence[Ask], thoughts: Sequence[int], clients: Clients) -> Process:
    """One session: each turn comes a think time after the end of the one before."""
    for ask, thought in zip(turns, thoughts, strict=True):
        yield env.timeout(thought)
        yield clients.ask(ask)
