"""Prefill and decode apart on SimPy: prompts are computed, their cache crosses a link, other engines go on."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import simpy

from secondorder.answers.answer import Answer
from secondorder.answers.metric import LATENCIES, Metric
from secondorder.arrays import Floats, Integers
from secondorder.scenarios.disaggregated import Disaggregated
from secondorder.scenarios.serving import Serving
from secondorder.simulate.deployment.ledger import Ledger
from secondorder.simulate.disaggregated_loop import simulate_loop
from secondorder.simulate.estimates import Amounts, estimates
from secondorder.simulate.replicate import replicated
from secondorder.simulate.serving.asks import PICO, asks
from secondorder.simulate.serving.engine import Process, arrive
from secondorder.simulate.serving.policies import Policies
from secondorder.simulate.serving.request import Ask, Slot
from secondorder.simulate.serving.single_run import engine_for
from secondorder.simulate.serving.unnamed import until_preempted
from secondorder.simulate.streams import stream
from secondorder.workloads.requests import Requests

LENGTH = 2_000
"""Requests of a replication if not given."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
METRICS = (*LATENCIES, Metric(name="transfer", unit="s", statistics=("mean",)), Metric(name="link_utilisation"))


def simulate_disaggregated(
    scenario: Disaggregated, *, seed: int = 0, replications: int = 10, requests: int = LENGTH, jobs: int = 1
) -> Answer:
    """Independent replications of the whole path of each of ``requests``, of which an eighth at each end is cut.

    A prefill replica at random computes the prompt and the first token; the cache crosses the replica's own link, first
    come first served; a decode replica at random goes on. The time to first token ends when the cache has arrived.
    ``transfer_mean`` has the wait for the link. With ``users``: ``disaggregated_loop``.
    """
    if scenario.users is not None:
        return simulate_loop(scenario, seed=seed, replications=replications, jobs=jobs)
    found = replicated(partial(_one, scenario, seed, requests), replications, jobs, least=2)
    how = f"simulated: {replications} replications of {requests:,} requests, an eighth at each end cut"
    return Answer(scenario=scenario.name, estimates=estimates(found, METRICS), how=how)


class Path:
    """The engines and links of one run, and the times of each request in ps: prompt computed, moved, finished."""

    def __init__(
        self,
        scenario: Disaggregated,
        requests: Requests,
        seed: int,
        replication: int,
        policies: Policies | None = None,
    ) -> None:
        self.scenario, self.env = scenario, simpy.Environment(initial_time=0)
        count = len(requests)
        chance = stream(seed, replication, "routing")
        self.first = chance.integers(scenario.prefill_replicas, size=count)
        self.then = chance.integers(scenario.decode_replicas, size=count)
        self.asked = list(asks(scenario.serving, requests))
        self.computed, self.moved, self.finished = (np.zeros(count, dtype=np.int64) for _ in range(3))
        self.sending = 0
        prompts, answers = Ledger(count), Ledger(count)
        prompts.listener, answers.listener = Told(self.computed, self.env, self.send), Told(self.finished, self.env)
        self.prefill = [
            engine_for(scenario.prefill, self.env, prompts, policies=policies, name=f"prefill {k}")
            for k in range(scenario.prefill_replicas)
        ]
        self.decode = [
            engine_for(scenario.decode, self.env, answers, policies=policies, name=f"decode {k}")
            for k in range(scenario.decode_replicas)
        ]
        self.links = [simpy.Resource(self.env) for _ in self.prefill]

    def run(self) -> None:
        """To the last token."""
        self.env.process(arrive(self.env, self.asked, self.begin))
        self.env.run()

    def begin(self, ask: Ask) -> None:
        """The prompt goes to its prefill replica, which is asked for one token."""
        one = Ask(index=ask.index, prompt=ask.prompt, output=1, arrival=ask.arrival)
        self.prefill[self.first[ask.index]].submit(one)

    def send(self, index: int) -> None:
        self.env.process(self.transfer(self.asked[index]))

    def transfer(self, ask: Ask) -> Process:
        """The cache waits for the link, crosses it, and the rest of the tokens are decoded where it arrives."""
        lasts = round(float(self.scenario.transfer_seconds(ask.prompt)) / PICO)
        with self.links[self.first[ask.index]].request() as turn:
            yield turn
            yield self.env.timeout(lasts)
        self.sending += lasts
        self.moved[ask.index] = self.env.now
        if ask.output == 1:
            self.finished[ask.index] = self.env.now
        else:
            self.decode[self.then[ask.index]].submit(ask, emitted=1)


class Told:
    """Notes when each slot ends, and passes its request on."""

    def __init__(
        self, times: Integers, env: simpy.Environment, passed: Callable[[int], object] = lambda _: None
    ) -> None:
        self.times, self.env, self.passed = times, env, passed

    def expects(self, slot: Slot) -> bool:
        return True

    def on_end(self, slot: Slot) -> None:
        self.times[slot.ask.index] = self.env.now
        self.passed(slot.ask.index)

    def on_cancel(self, slot: Slot) -> None:
        """Nobody gives up here."""


def _one(scenario: Disaggregated, seed: int, length: int, replication: int) -> Amounts:
    requests = scenario.serving.requests(
        length, *(stream(seed, replication, cause) for cause in ("arrivals", "lengths"))
    )

    def once(serving: Serving, policies: Policies | None) -> Path:
        path = Path(replace(scenario, serving=serving), requests, seed, replication, policies)
        path.run()
        return path

    path = until_preempted(scenario.serving, requests, once)
    cut = slice(length // 8, -length // 8)
    arrival = np.array([ask.arrival for ask in path.asked])
    later = np.asarray(requests.output_tokens) - 1
    answered = later[cut] > 0
    tpot = ((path.finished - path.moved) * PICO)[cut][answered] / later[cut][answered]
    found = _latency("ttft", ((path.moved - arrival) * PICO)[cut]) | _latency("tpot", tpot)
    found |= _latency("e2el", ((path.finished - arrival) * PICO)[cut])
    lasted = path.finished.max() * len(path.links)
    return {
        **found,
        "transfer_mean": float(((path.moved - path.computed) * PICO)[cut].mean()),
        "link_utilisation": float(path.sending / lasted),
    }


def _latency(name: str, values: Floats) -> dict[str, float]:
    if not len(values):
        return {}
    levels = np.quantile(values, list(QUANTILES.values()))
    found = {f"{name}_{label}": float(level) for label, level in zip(QUANTILES, levels, strict=True)}
    return {f"{name}_mean": float(values.mean())} | found
