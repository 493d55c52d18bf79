"""Layouts of a service in simulation: the fewest replicas of each that keep the objectives."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from secondorder.analytic.serving.disaggregated import limits as parts_of
from secondorder.answers.answer import Answer
from secondorder.errors import InfeasibleError
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.disaggregated import Disaggregated
from secondorder.scenarios.router import Router
from secondorder.simulate.disaggregated import simulate_disaggregated
from secondorder.studies.candidates import Candidate
from secondorder.studies.points import Keeping, Point, key_of, records
from secondorder.studies.records import Record, answer_of, record_of
from secondorder.verbs import simulate

LONGEST = 128_000
"""Requests of a replication at most."""
LONGEST_SPLIT = 8_000
"""The same where prefill and decode are apart, which runs on SimPy."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """How the layouts are simulated, and where what they gave is kept."""

    replications: int
    seed: int
    jobs: int
    keeping: Keeping

    def of(self, system: Deployment | Disaggregated, requests: int) -> Answer | None:
        """What a system gives in runs of this length, or None where it cannot be answered."""
        told = json.dumps({"requests": requests, "replications": self.replications})
        key = key_of(system, self.keeping, seed=self.seed, witness="simulate", options=told)
        label = {"layout": system.serving.name, "replicas": _count(system), "requests": str(requests)}
        here = replace(self.keeping, jobs=1, told=None)
        (record,) = records([Point(item=(system, requests), key=key, label=label)], self._record, here)
        return None if "refused" in record else answer_of(record)

    def _record(self, item: tuple[Deployment | Disaggregated, int]) -> Record:
        system, requests = item
        seed, count, jobs = self.seed, self.replications, self.jobs
        try:
            if isinstance(system, Disaggregated):
                return record_of(
                    simulate_disaggregated(system, seed=seed, replications=count, requests=requests, jobs=jobs)
                )
            return record_of(simulate(system, seed=seed, replications=count, requests=requests, jobs=jobs))
        except InfeasibleError as error:
            return {"refused": str(error)}

    def keeping_all(
        self, system: Deployment | Disaggregated, limits: Mapping[str, float], requests: int, most: int
    ) -> Answer | None:
        """The answer of a system that keeps the objectives, else None.

        Runs are made longer until they have settled and the 95 % intervals lie on one side of the objectives; where
        they do not settle at all, there are too few replicas.
        """
        length = requests
        while (answer := self.of(system, length)) is not None and not _decided(answer, limits) and length < most:
            length *= 2
        if answer is None:
            return None
        kept = _settled(answer) and all(answer.best(metric).amount <= limit for metric, limit in limits.items())
        return answer if kept else None


def _count(system: Deployment | Disaggregated) -> str:
    if isinstance(system, Disaggregated):
        return f"{system.prefill_replicas}+{system.decode_replicas}"
    return str(system.replicas)


def simulated(each: Candidate, router: Router, requests: int, runs: Runs) -> Candidate | None:
    """The candidate with the fewest replicas that keep the objectives in a simulation of all of them."""
    if each.split is not None:
        return _simulated_split(each, each.split, requests, runs)
    whole, limits = each.scenario.whole, each.scenario.objectives

    def at(replicas: int) -> Answer | None:
        return runs.keeping_all(Deployment(serving=whole, replicas=replicas, router=router), limits, requests, LONGEST)

    found = _least(cache(at), each.sized)
    if found is None:
        return None
    fewer = "one replica fewer misses" if found[0] > 1 else "one replica is enough"
    rests_on = f"{each.rests_on}; {runs.replications} runs of {requests:,} requests or more, {fewer}"
    return each.by_simulation(*found, rests_on)


def _simulated_split(each: Candidate, split: Disaggregated, requests: int, runs: Runs) -> Candidate | None:
    """The candidate with the fewest prefill replicas that keep the first token, then the fewest decode replicas.

    A first token does not depend on the decode replicas. A part that cannot carry the load by the closed form counts
    as a miss: a run of this length need not show it.
    """
    limits, first = each.scenario.objectives, min(requests, LONGEST_SPLIT)

    def kept(system: Disaggregated, judged: Mapping[str, float]) -> Answer | None:
        if parts_of(system).rate <= system.rate:
            return None
        return runs.keeping_all(system, judged, first, LONGEST_SPLIT)

    early = {metric: most for metric, most in limits.items() if metric == "ttft_p99"}
    if early:
        prefill = _least(cache(lambda n: kept(replace(split, prefill_replicas=n), early)), split.prefill_replicas)
        if prefill is None:
            return None
        split = replace(split, prefill_replicas=prefill[0])
    decode = _least(cache(lambda n: kept(replace(split, decode_replicas=n), limits)), split.decode_replicas)
    if decode is None:
        return None
    split, answer = replace(split, decode_replicas=decode[0]), decode[1]
    told = f"{runs.replications} runs of {first:,} requests or more"
    rests_on = f"{each.rests_on}; {told}, one replica fewer of either kind misses or cannot carry the load"
    found = replace(each, split=split)
    return found.by_simulation(split.prefill_replicas + split.decode_replicas, answer, rests_on)


def _least(at: Callable[[int], Answer | None], start: int) -> tuple[int, Answer] | None:
    """The fewest replicas that do, and their answer: upwards from ``start``, then by bisection below."""
    low, high = 0, start
    while (answer := at(high)) is None:
        low, high = high, high + max(1, start // 4)
        if high > 2 * start + 2:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if (found := at(middle)) is None:
            low = middle
        else:
            high, answer = middle, found
    return high, answer


def _decided(answer: Answer, limits: Mapping[str, float]) -> bool:
    """Whether runs were long enough to say if the objectives are kept."""
    rows = [(answer.best(metric), most) for metric, most in limits.items()]
    keeps = all((row.high or 0.0) <= most for row, most in rows)
    misses = any((row.low or 0.0) > most for row, most in rows)
    return _settled(answer) and (keeps or misses)


def _settled(answer: Answer) -> bool:
    """Whether runs were long enough compared with their warm-up."""
    return all(each.steady for each in answer.estimates)
