"""The cheapest layout of a service: card, how many share a layer, precision, token budget, split, replicas, region.

Every candidate is sized by the closed forms; the cheapest ones are then simulated, all replicas behind the router and
with the same draws for each, and the number of replicas is corrected until they keep the objectives and one fewer does
not.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product

from secondorder.errors import InfeasibleError, InputError
from secondorder.executor import run_each
from secondorder.families import read_text
from secondorder.fleets.clusters import Link
from secondorder.fleets.prices import Quote, prices, quotes
from secondorder.quantities import Quantity, Rate, quantity, si
from secondorder.scenarios.capacity import Capacity
from secondorder.scenarios.objectives import NAMES as OBJECTIVES
from secondorder.scenarios.router import LeastOutstanding, Router
from secondorder.scenarios.serving import Serving
from secondorder.studies.candidates import Candidate, Found, Layout, by_cost
from secondorder.studies.layout_runs import Runs, simulated
from secondorder.studies.layout_sizes import sized, sized_split
from secondorder.studies.places import OVERHEAD, SITE, Place, placed, places_of
from secondorder.studies.points import HERE, Keeping

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
    splits: Link | str | None = None,
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
    """The layouts of a service that meet the objectives at ``rate``, the cheapest first.

    Every ``accelerators`` (those of ``rentals``, or with a known rental, if not given), tensor parallel size,
    precision and token budget of a step (``max_num_batched_tokens``; both the service's own if not given) is sized by
    the closed forms; ``contenders`` of them, the cheapest, are simulated behind ``router`` (least-outstanding); none
    for the closed forms alone. Of two that cost the same, the one farther below its objectives is first. ``rentals``
    gives prices of an accelerator-hour; else it is the lowest quote on file. ``budget``: USD/hour at most. ``keeping``
    says in which store each finished simulation is kept, and whether those that are there are taken over.

    ``splits`` is a link ("50 GB/s latency=10 us"): each layout is then also tried with prefill and decode apart, as
    ``Disaggregated`` with that link, replicas of both kinds alike and picked at random. Their closed form takes Poisson
    arrivals and no ``e2el_p99``; they run on SimPy, with 8,000 requests a run at most.

    ``regions`` of the zoo put each layout into each of them; numbers with them are factors on the price of an
    accelerator there. A candidate then has its operational carbon, of a site like ``facility`` whose servers are rated
    at ``power_overhead`` times their accelerators (``places``).

    Errors: ``InputError`` without an objective or a price, or for regions whose intensities do not compare;
    ``InfeasibleError`` where no candidate keeps the objectives.
    """
    priced = dict(_priced(accelerators, rentals))
    rule = router or LeastOutstanding()
    ask = partial(Capacity, rate=rate, router=rule, ttft_p99=ttft_p99, tpot_p99=tpot_p99, e2el_p99=e2el_p99)
    link, places = _link(splits), places_of(regions, facility, power_overhead)
    kinds = (False,) if link is None else (False, True)
    choices = product(
        priced, tensor_parallel_sizes, precisions or (serving.precision,), token_budgets or (None,), kinds
    )
    layouts = [Layout(*choice) for choice in choices]

    def size(layout: Layout) -> Candidate | str:
        price, rests_on = priced[layout.accelerator]
        asked = partial(ask, price=price, name=str(layout))
        return _sized(lambda: asked(serving=layout.of(serving)), layout, rests_on, places, link)

    sizes = list(zip(layouts, run_each(size, layouts, jobs), strict=True))
    refused = {str(layout): each for layout, each in sizes if isinstance(each, str)}
    found = [each for _, each in sizes if isinstance(each, Candidate)]
    most = math.inf if budget is None else si(quantity(budget, "USD/hour", "budget"))
    cheapest = min((place.factor for place in places), default=1.0)
    found = sorted((each for each in found if each.cost * cheapest <= most), key=by_cost)
    if not found:
        why = "; ".join(list(refused.values())[:2]) or f"the cheapest costs more than {budget}"
        raise InfeasibleError(f"no layout meets the objectives: {why}")
    runs = Runs(replications=replications, seed=seed, jobs=jobs, keeping=keeping)
    tried = [(each.scenario.name, simulated(each, rule, requests, runs)) for each in found[:contenders]]
    refused |= {name: _MISSED for name, each in tried if each is None}
    kept = [each for _, each in tried if each is not None]
    put = [each for part in (kept, found[contenders:]) for each in placed(part, places) if each.cost <= most]
    if not put:
        raise InfeasibleError(f"no layout meets the objectives in the simulation: {contenders} were tried; try more")
    return Found(tuple(put), refused)


_MISSED = "misses the objectives in the simulation, with twice the replicas of the closed form too"


def _sized(
    ask: Callable[[], Capacity], layout: Layout, rests_on: str, places: Iterable[Place], link: Link | None
) -> Candidate | str:
    """A layout by the closed forms, or why it is none."""
    try:
        question = ask()
        for place in places:
            place.check(question.serving.accelerator)
        if layout.split and link is not None:
            return sized_split(question, layout.accelerator, rests_on, link)
        return sized(question, layout.accelerator, rests_on)
    except (InfeasibleError, InputError) as error:
        if isinstance(error, InputError) and error.what in OBJECTIVES:
            raise
        return str(error)


def _link(splits: Link | str | None) -> Link | None:
    value = read_text(splits, frozenset({Link}), "splits") if isinstance(splits, str) else splits
    if value is None or isinstance(value, Link):
        return value
    raise InputError("splits", given=repr(splits), expected='a link such as "50 GB/s latency=10 us"')


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
