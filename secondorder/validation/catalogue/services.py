"""Services on which the intervals of ``simulate`` are tried: how often they contain a truth from far longer runs."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np

from secondorder.answers.estimate import Estimate
from secondorder.answers.metric import QUANTILES
from secondorder.fleets.accelerators import accelerators
from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving import draw
from secondorder.simulate.serving.answer import searched_requests
from secondorder.simulate.serving.compiled import witness_of
from secondorder.simulate.serving.source import ServingSource, serve
from secondorder.simulate.statistics.intervals import Interval
from secondorder.simulate.statistics.outcome import NotSteady, Outcome, Steady, intervals, join
from secondorder.simulate.statistics.procedure import PRECISION, steady_state
from secondorder.simulate.statistics.runs import Section
from secondorder.simulate.statistics.search_options import WATCHED, budget_of
from secondorder.systems.system import MARGIN
from secondorder.validation.coverage import Coverage
from secondorder.validation.verdicts import Verdict, verdict
from secondorder.workloads.arrivals import Gamma, MarkovModulated, Poisson
from secondorder.workloads.lengths import Empirical, Lengths, lengths
from secondorder.workloads.models import models

FOLDS = 10
"""Parts of the seeds, each judged by a truth from the others: of 200 seeds from runs 180 times as long."""
SEEDS = 200
"""Seeds of each service."""
BACKLOG = 400_000
"""Requests at once from which the saturation of a service is found."""
SETTINGS: dict[str, Any] = {
    "max_num_seqs": 256,
    "max_num_batched_tokens": 2048,
    "gpu_memory_utilization": 0.9,
    "enable_prefix_caching": False,
    "async_scheduling": False,
}
"""Of every service whose name does not say otherwise."""
FEW, MOST_ASTRAY = 9, 5.0
"""Seeds above which the means of the controls are judged, and the standard errors that they may be off."""
TINY = 1e-12
LEAST_CELL = 0.90
"""Coverage below which no cell may lie by more than chance."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service at a ``load``, a share of its saturation; ``steady`` is False where it has no steady state."""

    name: str
    load: float
    scenario: Serving

    @property
    def steady(self) -> bool:
        return self.load < 1


def _bimodal() -> Empirical:
    """Prompts of 16,000 tokens among prompts of 200, one in twenty."""
    return Empirical(name="bimodal", input=[16_000, 200], output=[200, 200], weight=[1, 19])


def services() -> tuple[Service, ...]:
    """All of them: conversations and code, few and many slots, small and large budgets, bursts, full caches."""
    chat, code = lengths.azure_conv_2023, lengths.azure_code_2023
    bursty = partial(Gamma, burstiness=0.25)
    rows: list[tuple[str, Sequence[float], Any, Callable[..., Any], dict[str, Any]]] = [
        ("conversations", (0.3, 0.7, 0.9, 0.97, 0.99, 1.01, 1.03), chat, Poisson, {}),
        ("conversations, 8 slots", (0.7, 0.9, 0.97), chat, Poisson, {"max_num_seqs": 8}),
        ("conversations, 512 slots", (0.7, 0.95), chat, Poisson, {"max_num_seqs": 512}),
        ("conversations, budget 512", (0.7, 0.95), chat, Poisson, {"max_num_batched_tokens": 512}),
        ("code", (0.3, 0.9, 0.97), code, Poisson, {}),
        ("code, budget 8,192", (0.7, 0.95), code, Poisson, {"max_num_batched_tokens": 8192}),
        ("conversations, gamma bursts", (0.7, 0.9), chat, bursty, {}),
        ("conversations, Markov-modulated", (0.5, 0.8), chat, _modulated, {}),
        ("conversations, 4,000 blocks", (0.7, 0.9), chat, Poisson, {"num_gpu_blocks": 4000}),
        ("conversations, prefix cache", (0.7, 0.9), chat, Poisson, {"enable_prefix_caching": True}),
        ("mixture of experts", (0.7, 0.95), chat, Poisson, {"model": models.mixtral_8x7b, "tensor_parallel_size": 2}),
        ("bimodal prompts", (0.7, 0.95), _bimodal(), Poisson, {}),
    ]
    return tuple(
        Service(name=f"{name}, {load:.0%}", load=load, scenario=each)
        for name, loads, law, arrivals, fields in rows
        for load, each in _at(loads, law, arrivals, fields)
    )


def _modulated(rate: str) -> MarkovModulated:
    """A quarter of the time at nearly three times the rate of the rest."""
    law = MarkovModulated(rate_1="2 request/s", rate_2="0.7 request/s", sojourn_1="20 s", sojourn_2="60 s")
    return law.at(rate)


def _at(
    loads: Sequence[float], law: Lengths | Empirical, arrivals: Callable[..., Any], fields: Mapping[str, Any]
) -> Iterator[tuple[float, Serving]]:
    """A service at each of the loads."""
    whole: dict[str, Any] = {"model": models.llama_3_1_8b, "accelerator": accelerators.h100_sxm, **SETTINGS, **fields}
    crowded = Serving(arrivals=Poisson("10000 request/s"), lengths=law, **whole)
    most = saturation(crowded)
    for load in loads:
        yield load, replace(crowded, arrivals=arrivals(rate=f"{load * most!r} request/s"))


def saturation(scenario: Serving) -> float:
    """Requests per second in the middle of a backlog."""
    finish = serve(scenario, draw(scenario, BACKLOG)).requests["finish"].sort_values().to_numpy()
    first, last = BACKLOG // 4, 3 * BACKLOG // 4
    return float((last - first) / (finish[last] - finish[first]))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What one seed gave: intervals of a steady state, or why there are none."""

    found: Mapping[str, Interval]
    why: str
    spent: int
    together: Section | None = field(repr=False)


def trial(service: Service, seed: int, precision: float = PRECISION) -> Trial:
    """One default run."""
    source = ServingSource(service.scenario, seed)
    limit = budget_of(searched_requests(witness_of(service.scenario)), precision)
    outcome: Outcome = steady_state(source, watched=WATCHED, budget=limit, precision=precision)
    if isinstance(outcome, Steady):
        known = {metric: each.interval for metric, each in intervals(outcome.sections).items() if metric in WATCHED}
        if all(math.isfinite(each.relative_half_width) for each in known.values()):
            return Trial(found=known, why="", spent=outcome.spent, together=join(outcome.sections))
    why = str(outcome.kind) if isinstance(outcome, NotSteady) else "not enough data"
    return Trial(found={}, why=why, spent=outcome.spent, together=None)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What many seeds of one service gave.

    ``coverage`` by metric, of the ``decided`` seeds that gave intervals; ``refusals``: how many gave none, by
    the reason; ``widths``: mean relative half-widths; ``spent``: requests of a seed, on average. ``breaks``: how many
    verdicts on a formula that equals the truth are "breaks"; ``agrees``: how many on one that is 1 % outside the margin
    are "agrees", of ``verdicts`` each. ``astray``: how far a control lies from its known mean, in standard errors.
    """

    service: Service
    decided: int
    coverage: Mapping[str, Coverage]
    widths: Mapping[str, float]
    refusals: Mapping[str, int]
    spent: float
    breaks: int
    agrees: int
    verdicts: int
    astray: float = 0.0

    @property
    def fails(self) -> str:
        """Why the cell is not as it must be; empty where it is."""
        low = [metric for metric, found in self.coverage.items() if found.bounds(0.99)[1] < LEAST_CELL]
        if low:
            return f"covers too seldom: {', '.join(low)}"
        if self.astray > MOST_ASTRAY:
            return f"a control lies {self.astray:.1f} standard errors from its known mean"
        if self.service.steady and self.refusals.get("unstable"):
            return "called unstable"
        return "" if self.service.steady or not self.decided else "called steady"


def tried(service: Service, trials: Sequence[Trial], margin: float = MARGIN) -> Cell:
    """The trials of one service, each judged by a truth from those of all other folds."""
    decided = [(place % FOLDS, each) for place, each in enumerate(trials) if each.together is not None]
    truths = {
        fold: _values(others)
        for fold in range(FOLDS)
        if len(others := [each.together for other, each in decided if other != fold and each.together is not None]) > 1
    }
    judged = [(each.found, truths[fold]) for fold, each in decided if fold in truths]
    metrics = [metric for metric in WATCHED if all(metric in found for found, _ in judged)] if judged else []
    pairs = [(found[metric], truth[metric].amount) for metric in metrics for found, truth in judged]
    refusals = Counter(each.why for each in trials if each.why)
    return Cell(
        service=service,
        decided=len(judged),
        coverage={metric: _coverage([(found[metric], truth[metric]) for found, truth in judged]) for metric in metrics},
        widths={metric: fmean(found[metric].relative_half_width for found, _ in judged) for metric in metrics},
        refusals=dict(refusals),
        spent=fmean(each.spent for each in trials),
        breaks=sum(_verdict(truth, interval, margin) is Verdict.BREAKS for interval, truth in pairs),
        agrees=sum(
            _verdict(truth * (1 + margin + 0.01), interval, margin) is Verdict.AGREES for interval, truth in pairs
        )
        + sum(_verdict(truth * (1 - margin - 0.01), interval, margin) is Verdict.AGREES for interval, truth in pairs),
        verdicts=len(pairs),
        astray=_astray([each.together for _, each in decided if each.together is not None]),
    )


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A value from long runs; a quantile is known to its bin, from ``least`` to ``greatest``."""

    amount: float
    least: float
    greatest: float

    def held(self, interval: Interval) -> bool:
        """Whether an interval holds it."""
        assert interval.low is not None
        assert interval.high is not None
        return interval.low <= self.greatest and interval.high >= self.least


def _values(sections: Sequence[Section]) -> dict[str, Truth]:
    """The metrics of long sections together, their luck taken out: without it a truth would have to be far longer."""
    known, laws = intervals(sections), join(sections).laws
    found: dict[str, Truth] = {}
    for name, law in laws.items():
        mean = known[f"{name}_mean"].interval.mean
        found[f"{name}_mean"] = Truth(amount=mean, least=mean, greatest=mean)
        for label in QUANTILES:
            amount = known[f"{name}_{label}"].interval.mean
            place = min(int(np.searchsorted(law.greatest, amount)), len(law.greatest) - 1)
            least, greatest = min(amount, float(law.least[place])), float(law.greatest[place])
            found[f"{name}_{label}"] = Truth(amount=amount, least=least, greatest=greatest)
    return found


def _astray(sections: Sequence[Section]) -> float:
    """Standard errors by which the sum of a control lies from the one expected: the worst of all.

    Sums and not means, one a run: a run without long waits is precise enough to end early, so the mean over runs of
    such means is too low, and the sum over a run that ends by what it saw is not (Wald 1944).
    """
    worst = 0.0
    for statistic in sections[0].controls if len(sections) > FEW else ():
        controls = [each.controls[statistic] for each in sections]
        sums = np.array([each.size * each.deviation for each in controls])
        worst = max(worst, abs(float(sums.mean())) * math.sqrt(len(sums)) / max(float(sums.std(ddof=1)), TINY))
    return worst


def _coverage(pairs: Sequence[tuple[Interval, Truth]]) -> Coverage:
    return Coverage(sum(truth.held(interval) for interval, truth in pairs), len(pairs))


def _verdict(formula: float, interval: Interval, margin: float) -> Verdict:
    simulated = Estimate(
        metric="", amount=interval.mean, unit="", source="simulated", low=interval.low, high=interval.high
    )
    return verdict(formula, simulated, margin)
