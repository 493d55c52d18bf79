"""The cheapest layout of a service: card, how many share a layer, precision, tokens of a step, replicas, region.

Every candidate is sized by the closed forms; the cheapest ones are then simulated, all replicas behind the router and
with the same draws for each, and the number of replicas is corrected until they keep the objectives and one fewer does
not.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product

from secondorder.answers.answer import Answer
from secondorder.errors import InfeasibleError, InputError
from secondorder.executor import run_each
from secondorder.fleets.prices import Quote, prices, quotes
from secondorder.quantities import Quantity, Rate, quantity, si
from secondorder.scenarios.capacity import Capacity
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.objectives import NAMES as OBJECTIVES
from secondorder.scenarios.router import LeastOutstanding, Router
from secondorder.scenarios.serving import Serving
from secondorder.studies.candidates import Candidate, Found, Layout, by_cost
from secondorder.studies.places import OVERHEAD, SITE, placed, places_of
from secondorder.studies.points import HERE, Keeping, Point, key_of, records
from secondorder.studies.records import Record, answer_of, record_of
from secondorder.verbs import simulate, solve

LONGEST = 128_000
"""Requests of a replication at most."""
CONTENDERS = 3
"""Candidates that are simulated: the cheapest by the closed forms."""


def search(
    serving: Serving,
    *,
    rate: Rate,
    ttft_p99: Quantity | str | None = None,
    tpot_p99: Quantity | str | None = None,
    e2el_p99: Quantity | str | None = None,
    accelerators: Sequence[str] = (),
    tensor_parallel_sizes: Sequence[int] = (1, 2, 4, 8),
    precisions: Sequence[str] = (),
    token_budgets: Sequence[int] = (),
    rentals: Mapping[str, Quantity | str] | None = None,
    regions: Sequence[str] | Mapping[str, float] = (),
    facility: str = SITE,
    power_overhead: float = OVERHEAD,
    budget: Quantity | str | None = None,
    router: Router | None = None,
    contenders: int = CONTENDERS,
    requests: int = 4_000,
    replications: int = 5,
    seed: int = 0,
    jobs: int = 1,
    keeping: Keeping = HERE,
) -> Found:
    """The layouts of a service that keep the objectives at ``rate``, the cheapest first.

    Every ``accelerators`` (those of ``rentals``, or with a known rental, if not given), tensor parallel size,
    precision and token budget of a step (``max_num_batched_tokens``; both the service's own if not given) is sized by
    the closed forms; ``contenders`` of them, the cheapest, are simulated behind ``router`` (least-outstanding); none
    for the closed forms alone. Of two that cost the same, the one farther below its objectives is first. ``rentals``
    gives prices of an accelerator-hour; else it is the lowest quote on file. ``budget``: USD/hour at most. ``keeping``
    says in which store each finished simulation is kept, and whether those that are there are taken over.

    ``regions`` of the zoo put each layout into each of them; numbers with them are factors on the price of an
    accelerator there. A candidate then has its operational carbon, of a site like ``facility`` whose servers are rated
    at ``power_overhead`` times their accelerators (``places``).

    Errors: ``InputError`` without an objective or a price, or for regions whose intensities do not compare;
    ``InfeasibleError`` where no candidate keeps the objectives.
    """
    priced = dict(_priced(accelerators, rentals))
    rule = router or LeastOutstanding()
    ask = partial(Capacity, rate=rate, router=rule, ttft_p99=ttft_p99, tpot_p99=tpot_p99, e2el_p99=e2el_p99)
    choices = product(priced, tensor_parallel_sizes, precisions or (serving.precision,), token_budgets or (None,))
    layouts = [Layout(*choice) for choice in choices]
    places = places_of(regions, facility, power_overhead)

    def size(layout: Layout) -> Candidate | str:
        price, rests_on = priced[layout.accelerator]
        try:
            question = ask(serving=layout.of(serving), price=price, name=str(layout))
            for place in places:
                place.check(question.serving.accelerator)
            return _sized(question, layout.accelerator, rests_on)
        except (InfeasibleError, InputError) as error:
            if isinstance(error, InputError) and error.what in OBJECTIVES:
                raise
            return str(error)

    sized = list(zip(layouts, run_each(size, layouts, jobs), strict=True))
    refused = {str(layout): each for layout, each in sized if isinstance(each, str)}
    found = [each for _, each in sized if isinstance(each, Candidate)]
    most = math.inf if budget is None else si(quantity(budget, "USD/hour", "budget"))
    cheapest = min((place.factor for place in places), default=1.0)
    found = sorted((each for each in found if each.cost * cheapest <= most), key=by_cost)
    if not found:
        why = "; ".join(list(refused.values())[:2]) or f"the cheapest costs more than {budget}"
        raise InfeasibleError(f"no layout keeps the objectives: {why}")
    runs = _Runs(replications=replications, seed=seed, jobs=jobs, keeping=keeping)
    kept = [c for each in found[:contenders] if (c := _simulated(each, rule, requests, runs))]
    put = [each for part in (kept, found[contenders:]) for each in placed(part, places) if each.cost <= most]
    if not put:
        raise InfeasibleError(f"no layout keeps the objectives in the simulation: {contenders} were tried; try more")
    return Found(tuple(put), refused)


def _priced(
    names: Iterable[str], rentals: Mapping[str, Quantity | str] | None
) -> Iterator[tuple[str, tuple[Quantity | str, str]]]:
    """The price of an hour of each accelerator, and where it is from."""
    known = rentals or {}
    rented = {quote.accelerator for _, quote in prices.items() if quote.rental is not None}
    for name in names or known or sorted(rented):
        if name in known:
            yield name, (known[name], f"the price given, {known[name]}")
            continue
        offers: list[Quote] = [quote for quote in quotes(name).values() if quote.rental is not None]
        if not offers:
            raise InputError("accelerators", given=f"{name}, which is only for sale", expected="a rental in rentals")
        best = min(offers, key=lambda quote: si(quote.rental or ""))
        source = next(iter(best.sources.values()), None)
        day = f" of {source.date}" if source else ""
        yield name, (best.rental or "", f"{best.name}{day}, {best.rental}")


def _sized(question: Capacity, card: str, rests_on: str) -> Candidate:
    """A candidate by the closed forms."""
    answer = solve(question)
    replicas = answer.best("replicas")
    found = round(replicas.amount)
    doubt = f"; {replicas.outside}" if replicas.outside else ""
    serving = question.serving
    return Candidate(
        accelerator=card,
        tensor_parallel_size=serving.tensor_parallel_size,
        precision=serving.precision,
        max_num_batched_tokens=serving.settings.max_num_batched_tokens,
        replicas=found,
        cost=_cost(question, found),
        p99s=_p99s(question, answer),
        source="closed form",
        sized=found,
        work=answer.best("utilisation").amount * found * serving.tensor_parallel_size,
        scenario=question,
        rests_on=rests_on + doubt,
    )


def _cost(question: Capacity, replicas: int) -> float:
    """USD/hour."""
    spent = question.cost_rate(replicas)
    assert spent is not None
    return spent * 3600


def _p99s(question: Capacity, answer: Answer) -> dict[str, float]:
    return {metric: answer.best(metric).amount for metric in question.objectives}


@dataclass(frozen=True, kw_only=True)
class _Runs:
    """How the layouts are simulated, and where what they gave is kept."""

    replications: int
    seed: int
    jobs: int
    keeping: Keeping

    def of(self, deployment: Deployment, requests: int) -> Answer | None:
        """What a deployment gives in runs of this length, or None where it cannot be answered."""
        told = json.dumps({"requests": requests, "replications": self.replications})
        key = key_of(deployment, self.keeping, seed=self.seed, witness="simulate", options=told)
        label = {"layout": deployment.serving.name, "replicas": str(deployment.replicas), "requests": str(requests)}
        here = replace(self.keeping, jobs=1, told=None)
        (record,) = records([Point(item=(deployment, requests), key=key, label=label)], self._record, here)
        return None if "refused" in record else answer_of(record)

    def _record(self, item: tuple[Deployment, int]) -> Record:
        deployment, requests = item
        run = partial(simulate, seed=self.seed, replications=self.replications, jobs=self.jobs)
        try:
            return record_of(run(deployment, requests=requests))
        except InfeasibleError as error:
            return {"refused": str(error)}


def _simulated(each: Candidate, router: Router, requests: int, runs: _Runs) -> Candidate | None:
    """The candidate with the fewest replicas that keep the objectives in a simulation of all of them.

    Runs are made longer until they have settled and the 95 % intervals lie on one side of the objectives; where they do
    not settle at all, there are too few replicas.
    """
    limits = each.scenario.objectives

    def at(replicas: int) -> Answer | None:
        every = Deployment(serving=_whole(each.scenario), replicas=replicas, router=router)
        length = requests
        while (answer := runs.of(every, length)) is not None and not _decided(answer, limits) and length < LONGEST:
            length *= 2
        if answer is None:
            return None
        kept = _settled(answer) and all(answer.best(metric).amount <= most for metric, most in limits.items())
        return answer if kept else None

    found = _least(cache(at), each.sized)
    if found is None:
        return None
    replicas, answer = found
    rests_on = f"{each.rests_on}; {runs.replications} runs of {requests:,} requests or more, one replica fewer misses"
    return replace(
        each,
        replicas=replicas,
        cost=_cost(each.scenario, replicas),
        p99s=_p99s(each.scenario, answer),
        source="simulated",
        rests_on=rests_on,
    )


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


def _whole(question: Capacity) -> Serving:
    """The service with the load of all replicas."""
    return replace(question.serving, arrivals=question.serving.arrivals.at(question.rate))
