"""Twins of several replicas: degenerate engines, of one slot and geometric answers, are exponential servers."""

from dataclasses import replace
from functools import cache

from secondorder.analytic.deployment import opposite_routes, retry_equilibrium
from secondorder.analytic.queues import join_shortest_queue, multiserver, multiserver_breakdowns
from secondorder.analytic.serving import cache_feedback, least_recently_used
from secondorder.fleets.accelerators import accelerators
from secondorder.quantities import si
from secondorder.scenarios.cache_feedback import CacheFeedback
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.opposite_routes import OppositeRoutes
from secondorder.scenarios.replica_faults import Faults, RandomFailures
from secondorder.scenarios.router import PowerOfChoices, RandomReplica
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Affine
from secondorder.simulate.deployment import serve
from secondorder.simulate.deployment.cache_feedback import serve_contexts, starts_of
from secondorder.simulate.deployment.fate import Fate
from secondorder.simulate.deployment.opposite_routes import numbers
from secondorder.simulate.streams import stream
from secondorder.validation.catalogue.twin import MEAN, Amounts, Formula, Kind, Twin
from secondorder.validation.verdicts import Verdict
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Geometric, Lengths
from secondorder.workloads.models import models
from secondorder.workloads.prefixes import SharedPrefixes

STEP, STEPS = 5e-3, 200
"""Seconds of a step, and mean steps of a service of 1 s: a geometric number of steps is nearly exponential."""
SERVICE = STEP * STEPS
SIMPY, KERNEL = 1e4, 3e5
"""Requests of a few such replicas in a second of one core."""


def exponential_server(rate: float, slots: int = 1) -> Serving:
    """An engine whose requests each take a geometric number of steps of one length, ``slots`` at a time."""
    return Serving(
        model=models.llama_3_1_8b,
        accelerator=accelerators.h100_sxm,
        arrivals=Poisson(f"{rate!r} request/s"),
        lengths=Lengths(input=1, output=Geometric(STEPS)),
        max_num_seqs=slots,
        max_num_batched_tokens=2048,
        num_gpu_blocks=100_000,
        enable_prefix_caching=False,
        async_scheduling=False,
        step_time=Affine(per_step=STEP, per_prefill_token=0, per_decode=0),
    )


def agents() -> Serving:
    """An engine at a low load, whose cache holds a third of the prefixes that it is asked for."""
    return replace(
        exponential_server(1.0, slots=64),
        lengths=Lengths(input=2_048, output=16),
        prefixes=SharedPrefixes(count=200, tokens=1_792, exponent=0.5),
        enable_prefix_caching=True,
        num_gpu_blocks=9_000,
    )


def one_deployment(scenario: Deployment, customers: int, seed: int, replication: int) -> Amounts:
    """A replication: the requests between the first and the last eighth; others still arrived after them."""
    arrivals, lengths = (stream(seed, replication, cause) for cause in ("arrivals", "lengths"))
    drawn = scenario.serving.requests(customers, arrivals, lengths)
    kept = serve(scenario, drawn, seed=seed, replication=replication).requests.iloc[customers // 8 : -customers // 8]
    found = {"e2el_mean": float(kept["e2el"].mean()), "attempts_mean": float(kept["attempts"].mean())}
    if scenario.max_outstanding is not None:
        found["refused_share"] = float((kept["fate"] == Fate.REFUSED).mean())
    if scenario.serving.shares_prefixes:
        found["prefix_hit_rate"] = float(kept["cached_tokens"].sum() / kept["input_tokens"].sum())
    return found


def supermarket(scenario: Deployment) -> Amounts:
    assert isinstance(scenario.router, PowerOfChoices)
    each = scenario.rate / scenario.replicas
    choices = scenario.router.choices
    return {
        "e2el_mean": float(
            join_shortest_queue.mean_response(arrival_rate=each, service_rate=1 / SERVICE, choices=choices)
        )
    }


def apart(scenario: Deployment) -> Amounts:
    each = scenario.rate / scenario.replicas
    return {"e2el_mean": float(multiserver.mean_response(arrival_rate=each, service_rate=1 / SERVICE))}


def pooled(scenario: Deployment) -> Amounts:
    servers = scenario.serving.settings.max_num_seqs
    response = multiserver.mean_response(arrival_rate=scenario.rate, service_rate=1 / SERVICE, servers=servers)
    return {"e2el_mean": float(response)}


def breaking(scenario: Deployment) -> Amounts:
    assert scenario.faults is not None
    failures = scenario.faults.random
    assert failures is not None
    response = multiserver_breakdowns.mean_response(
        arrival_rate=scenario.rate,
        service_rate=1 / SERVICE,
        servers=1,
        mtbf=si(failures.mtbf),
        mttr=si(failures.restart),
    )
    return {"e2el_mean": response}


def retried(scenario: Deployment) -> Amounts:
    """One replica that refuses beyond its room, and clients that come again after long pauses."""
    room = scenario.max_outstanding
    assert room is not None
    failing = retry_equilibrium.refused(service_rate=1 / SERVICE, servers=1, room=room)
    (attempts,) = retry_equilibrium.balances(rate=scenario.rate, retries=scenario.retries, failing=failing)
    share = failing(attempts)
    return {
        "attempts_mean": retry_equilibrium.attempts_mean(share, scenario.retries),
        "refused_share": share ** (scenario.retries + 1),
    }


def remembered(scenario: Deployment) -> Amounts:
    return {"prefix_hit_rate": least_recently_used.hit_ratio(scenario.serving)}


def good_state(scenario: CacheFeedback) -> Amounts:
    return {"prefix_hit_rate": cache_feedback.good_state(scenario)[0]}


def one_cache(scenario: CacheFeedback, customers: int, seed: int, replication: int) -> Amounts:
    """From an empty start, past an eighth."""
    found = serve_contexts(scenario, customers, seed=seed, replication=replication).found
    return {"prefix_hit_rate": float(found[customers // 8 :].mean())}


def opposite(load: float) -> OppositeRoutes:
    """Two engines in opposite order, each with a load of this share of its budget."""
    return OppositeRoutes(rate=load * 768 / 608)


def virtual_station(scenario: OppositeRoutes) -> Amounts:
    return {"throughput": opposite_routes.throughput(scenario)}


def one_network(scenario: OppositeRoutes, steps: int, seed: int, replication: int) -> Amounts:
    """Requests that end in a step, over the second half of the steps: those that come, less what piles up."""
    inside = numbers(scenario, steps, seed=seed, replication=replication)
    half = steps // 2
    return {"throughput": 2 * scenario.rate - (inside[-1] - inside[half]) / (steps - half)}


def twin(
    title: str,
    claim: str,
    scenario: Deployment,
    formula: Formula,
    customers: int,
    *,
    kind: Kind = "exact",
    pace: float = SIMPY,
    margins: dict[str, float] | None = None,
) -> Twin:
    return Twin(
        title=title,
        claim=claim,
        suite="deployment",
        scenario=scenario,
        formula=formula,
        witness=one_deployment,
        customers=customers,
        kind=kind,
        pace=pace,
        margins=margins or {"e2el_mean": MEAN},
    )


def _queues() -> tuple[Twin, ...]:
    """Replicas that are exponential servers, apart and pooled, and one that refuses what it has no room for."""
    split = Deployment(serving=exponential_server(2.8), replicas=4, router=RandomReplica(), name="split")
    full = Deployment(serving=exponential_server(0.7), replicas=1, max_outstanding=1, retries=2, backoff="60 s")
    return (
        twin(
            "2 choices of 50 replicas",
            "the better of two replicas picked at random: the mean field of the supermarket model",
            Deployment(serving=exponential_server(40.0), replicas=50, router=PowerOfChoices(choices=2)),
            supermarket,
            30_000,
            kind="approximation",
            pace=1e5,
        ),
        twin(
            "split over 4 replicas",
            "a random split over four replicas is four times M/M/1",
            split,
            apart,
            16_000,
            pace=KERNEL,
        ),
        twin(
            "pooled in 4 slots",
            "four slots behind one queue are M/M/4, far below the same split",
            replace(split, serving=exponential_server(2.8, slots=4), replicas=1, name="pooled"),
            pooled,
            16_000,
            pace=KERNEL,
        ),
        twin(
            "refusals and retries",
            "attempts and refusals are in balance: M/M/1/K at the rate of all attempts",
            full,
            retried,
            4_000,
            kind="approximation",
            margins={"attempts_mean": 0.04, "refused_share": 0.08},
        ),
    )


def _caches() -> tuple[Twin, ...]:
    """One replica whose prompts share a beginning: how much of it is found in the cache."""
    return (
        twin(
            "prefixes of 200 agents",
            "Che: every prefix stays for about the same time after its last use",
            Deployment(serving=agents(), replicas=1, name="agents"),
            remembered,
            8_000,
            kind="approximation",
            margins={"prefix_hit_rate": MEAN},
            pace=1e5,
        ),
        *(
            Twin(
                title=f"cache feedback at {rate:g}/s",
                claim="what waits holds the room of what might be found again: Che with M/G/1",
                suite="deployment",
                kind="approximation",
                scenario=CacheFeedback(rate=rate),
                margins={"prefix_hit_rate": 0.03},
                formula=good_state,
                witness=one_cache,
                starts=starts_of,
                customers=30_000,
                pace=5e5,
                expected=expected,
            )
            for rate, expected in ((7.0, Verdict.AGREES), (9.0, Verdict.TWO_STATES))
        ),
    )


def _opposite_routes(load: float) -> Twin:
    return Twin(
        title=f"opposite routes at {load:.0%}",
        claim="two engines in opposite order, the last stage first, share one virtual station's budget",
        suite="deployment",
        kind="approximation",
        scenario=opposite(load),
        margins={"throughput": 0.03},
        formula=virtual_station,
        witness=one_network,
        customers=20_000,
        pace=5e4,
        units={"throughput": "request/step"},
    )


def _failing() -> Twin:
    failures = Faults(events=(RandomFailures(mtbf="30 s", restart="5 s", exponential=True),))
    return twin(
        "a replica that fails",
        "one replica that fails and moves its work to itself is M/M/1 with breakdowns",
        Deployment(serving=exponential_server(0.3), replicas=1, faults=failures, after_failure="moved"),
        breaking,
        4_000,
    )


@cache
def twins() -> tuple[Twin, ...]:
    """Made when they are asked for."""
    return (*_queues(), *_caches(), _opposite_routes(0.53), _opposite_routes(0.61), _failing())
