"""Engines whose only limit is the cache: Little's law for it (T1), classes in flight (T5), the limit cycle (T14)."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from secondorder.analytic.serving.theory import cache_littles_law, classes_in_flight, eviction_limit_cycle
from secondorder.simulate.serving.admissions import look_ahead, peak_reserved
from secondorder.simulate.serving.compiled import run_compiled
from secondorder.simulate.serving.policies import Policies
from secondorder.simulate.serving.single_run import run
from secondorder.simulate.streams import stream
from secondorder.validation.catalogue.theory.theorem import LEFT_OVER, STEP, Theorem, engine
from secondorder.validation.catalogue.twin import Amounts
from secondorder.validation.verdicts import Verdict
from secondorder.workloads.lengths import Lengths
from secondorder.workloads.requests import Requests

POLICIES = {
    "on demand": None,
    "peak reserved": Policies(admits=peak_reserved),
    "look-ahead": Policies(admits=look_ahead, until_an_end=False),
    "output lost": Policies(keeps_output=False),
}
"""By name; an engine on demand is vLLM's, and compiled."""


@dataclass(frozen=True, kw_only=True)
class Cached:
    """An engine with ``memory`` tokens of cache and steps of one length, requests of ``prompt`` and ``outputs`` tokens.

    - ``outputs``: of each class; they are equally frequent.
    - ``rate``: requests in a step, Poisson; all are there at the beginning where none is given.
    - ``policy``: one of ``POLICIES``.
    """

    memory: int
    prompt: int
    outputs: tuple[int, ...]
    rate: float | None = None
    policy: str = "on demand"
    name: str = "cached"

    @property
    def held(self) -> float:
        """Tokens that a request holds over its steps, by vLLM's count."""
        each = cache_littles_law.token_steps(self.prompt, np.array(self.outputs, float), prefill_emits=True)
        return float(np.mean(each))

    @property
    def most(self) -> float:
        """The highest rate, in requests per step."""
        return float(cache_littles_law.max_rate(memory=self.memory, step=1, token_steps=self.held))


def _served(case: Cached, requests: Requests) -> Any:
    scenario = engine(lengths=Lengths(input=case.prompt, output=max(case.outputs)), memory=case.memory)
    policies = POLICIES[case.policy]
    found = run_compiled(scenario, requests) if policies is None else run(scenario, requests, policies=policies)
    return found.requests


@cache
def _full_queue(case: Cached, customers: int) -> float:
    """Completions in a step while there are always more that wait: a straight line through the completions.

    It is deterministic, so it is computed once.
    """
    everyone = np.full(customers, case.prompt), np.full(customers, case.outputs[0])
    requests = Requests(arrival=np.zeros(customers), input_tokens=everyone[0], output_tokens=everyone[1])
    finish = np.sort(_served(case, requests)["finish"].to_numpy()) / STEP
    places = np.arange(int(0.3 * customers), int(0.9 * customers))
    return float(np.polyfit(finish[places], places, 1)[0])


def completions(case: Cached, customers: int, seed: int, replication: int) -> Amounts:
    """Completions in a step, and as a share of the highest rate."""
    found = _full_queue(case, customers)
    return {"completions": found, "share": found / case.most}


def left_over(case: Cached, customers: int, seed: int, replication: int) -> Amounts:
    """Growth of the number inside over the second half of the time, as a share of the requests that arrive in it."""
    assert case.rate is not None
    arrivals, lengths = (stream(seed, replication, cause) for cause in ("arrivals", "lengths"))
    arrival = arrivals.exponential(STEP / case.rate, customers).cumsum()
    outputs = lengths.choice(case.outputs, customers)
    found = _served(
        case, Requests(arrival=arrival, input_tokens=np.full(customers, case.prompt), output_tokens=outputs)
    )
    finish, end = found["finish"].to_numpy(), float(arrival[-1])
    late = arrival > end / 2
    return {"left_over": float(1 - ((finish > end / 2) & (finish <= end)).sum() / late.sum())}


# Formulas. The papers count a request's tokens for as many steps as it has output tokens after those of its prompt; the
# engine emits the first with the prompt, so that it does the same with a token more.


def littles_law(case: Cached) -> Amounts:
    return {"completions": case.most}


def reserved(case: Cached) -> Amounts:
    (steps,) = case.outputs
    peak = case.prompt + steps - 1
    return {
        "completions": float(cache_littles_law.peak_reserved_rate(memory=case.memory, step=1, peak=peak, steps=steps))
    }


def limit_cycle(case: Cached) -> Amounts:
    return {"share": float(eviction_limit_cycle.share_of_capacity(prompt=case.prompt, output=case.outputs[0]))}


def beyond_the_cache(case: Cached) -> Amounts:
    """By Little's law for the cache alone."""
    assert case.rate is not None
    return {"left_over": max(0.0, 1 - case.most / case.rate)}


def beyond_the_reserve(case: Cached) -> Amounts:
    """Where the ages of requests synchronise: no more than with the peak reserved."""
    assert case.rate is not None
    return {"left_over": max(0.0, 1 - reserved(case)["completions"] / case.rate)}


def classes(case: Cached) -> Amounts:
    assert case.rate is not None
    weights = [float(classes_in_flight.token_steps(case.prompt - 1, output)) for output in case.outputs]
    each = case.rate / len(weights)
    if classes_in_flight.necessary([each] * len(weights), weights, case.memory):
        return {"left_over": 0.0}
    return {"left_over": 1 - case.memory / (each * sum(weights))}


# Twins

LAW = "M/(b g)"


def _full(theorem: str, title: str, written: str, case: Cached, formula: Any, margin: float, **options: Any) -> Theorem:
    metric = "share" if formula is limit_cycle else "completions"
    return Theorem(
        theorem=theorem,
        title=title,
        written=written,
        scenario=case,
        margins={metric: margin},
        formula=formula,
        witness=completions,
        customers=4_000,
        pace=8e4 if case.policy in ("look-ahead", "output lost") else 1e6,
        units={"completions": "request/step", "share": ""},
        **options,
    )


def _label(theorem: str, title: str, case: Cached, formula: Any, **options: Any) -> Theorem:
    return Theorem(
        theorem=theorem,
        title=title,
        kind="label",
        scenario=case,
        margins={"left_over": LEFT_OVER},
        formula=formula,
        witness=left_over,
        units={"left_over": ""},
        **options,
    )


def _equal(policy: str = "on demand", output: int = 65, rate: float | None = None) -> Cached:
    return Cached(memory=8_000, prompt=64, outputs=(output,), policy=policy, rate=rate)


def _below_the_law(title: str, policy: str) -> Theorem:
    """A policy under which the engine does not reach the rate of the law: a counterexample."""
    return _full(
        "T1",
        title,
        LAW,
        _equal(policy),
        littles_law,
        0.05,
        claim="the cache could carry more, but this policy does not",
        expected=Verdict.BREAKS,
        numbers={"completions": 1.2821},
    )


def _full_queues() -> list[Theorem]:
    """T1 while requests always wait: completions in a step, by the law and by the policy's own rate."""
    full = "what is held cannot exceed what there is; an engine on demand comes within a percent of it"
    counted = "M/(b g'), first token with prompt"
    on_demand, vllm = {"completions": 1.2821}, {"completions": 1.3089}
    return [
        _full("T1", "on demand, full queue", LAW, _equal(), littles_law, 0.03, claim=full, numbers=on_demand),
        _full(
            "T1", "vLLM's count, full queue", counted, _equal(output=64), littles_law, 0.03, claim=full, numbers=vllm
        ),
        _below_the_law("peak reserved, law", "peak reserved"),
        _full(
            "T1",
            "peak reserved, own rate",
            "floor(M/(s+o))/(s/c+o)",
            _equal("peak reserved"),
            reserved,
            0.02,
            claim="as many at once as fit, each for its steps",
            numbers={"completions": 0.9538},
        ),
        _below_the_law("look-ahead, full queue", "look-ahead"),
        _below_the_law("output lost, full queue", "output lost"),
    ]


def _nine_tenths() -> list[Theorem]:
    """T1 at nine tenths of the highest rate: whether work is left over."""
    rate = 0.9 * (8_000 / 6_240)
    return [
        _label(
            "T1",
            "on demand at .9",
            _equal(rate=rate),
            beyond_the_cache,
            written="rate < mu",
            claim="below the law an engine on demand is stable",
            customers=6_000,
            pace=1e6,
        ),
        _label(
            "T1",
            "look-ahead at .9",
            _equal("look-ahead", rate=rate),
            beyond_the_reserve,
            written="ages fall in step",
            claim="first come, first served with a look-ahead lets ages fall in step, and diverges below the law",
            customers=3_000,
            pace=3e3,
        ),
    ]


def _classes(rate: float) -> Theorem:
    return _label(
        "T5",
        f"three classes at {rate:g}",
        Cached(memory=16_492, prompt=11, outputs=(20, 40, 60), rate=3 * rate),
        classes,
        written="sum(rate w) <= M",
        claim="classes of 20, 40 and 60 tokens in one cache, each at this rate in a step: 4.0621 at most",
        customers=60_000,
        pace=1e6,
    )


def _cycle(prompt: int, policy: str = "output lost") -> Theorem:
    kept = policy == "on demand"
    return _full(
        "T14",
        f"{'kept' if kept else 'lost'} output, prompt {prompt}",
        "(l + o/2)/(l + o)",
        Cached(memory=16_000, prompt=prompt, outputs=(64,), policy=policy),
        limit_cycle,
        0.03,
        claim="the newest is evicted; "
        + ("it keeps its output, so nothing falls in step" if kept else "all fall in step"),
        expected=Verdict.BREAKS if kept else Verdict.AGREES,
        numbers={"share": {8: 0.5556, 64: 0.75, 256: 0.9}[prompt]},
    )


def twins() -> tuple[Theorem, ...]:
    """T1, T5 and T14."""
    cycles = [_cycle(prompt) for prompt in (8, 64, 256)]
    return (*_full_queues(), *_nine_tenths(), _classes(3.95), _classes(4.2), *cycles, _cycle(8, "on demand"))
