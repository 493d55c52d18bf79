"""Twins of several replicas: degenerate engines, of one slot and geometric answers, are exponential servers."""

from dataclasses import replace
from functools import cache
from typing import Any

from secondorder.analytic.deployment import opposite_routes
from secondorder.analytic.queues import join_shortest_queue, multiserver, multiserver_breakdowns
from secondorder.fleets.accelerators import accelerators
from secondorder.quantities import si
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.opposite_routes import OppositeRoutes
from secondorder.scenarios.replica_faults import Faults, RandomFailures
from secondorder.scenarios.router import PowerOfChoices, RandomReplica
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Affine
from secondorder.simulate.deployment import run
from secondorder.simulate.deployment.opposite_routes import numbers
from secondorder.simulate.streams import stream
from secondorder.validation.catalogue.twin import MEAN, Amounts, Twin
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Geometric, Lengths
from secondorder.workloads.models import models

STEP, STEPS = 5e-3, 200
"""Seconds of a step, and mean steps of a service of 1 s: a geometric number of steps is nearly exponential."""
SERVICE = STEP * STEPS


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


def one_deployment(scenario: Deployment, customers: int, seed: int, replication: int) -> Amounts:
    """A replication: the requests past an eighth and before the last eighth, when others still came."""
    arrivals, lengths = (stream(seed, replication, cause) for cause in ("arrivals", "lengths"))
    drawn = scenario.serving.requests(customers, arrivals, lengths)
    requests = run(scenario, drawn, seed=seed, replication=replication).requests
    return {"e2el_mean": float(requests["e2el"].iloc[customers // 8 : -customers // 8].mean())}


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


def opposite(load: float) -> OppositeRoutes:
    """Two engines in opposite order, each asked for this share of its budget."""
    return OppositeRoutes(rate=load * 768 / 608)


def virtual_station(scenario: OppositeRoutes) -> Amounts:
    return {"throughput": opposite_routes.throughput(scenario)}


def one_network(scenario: OppositeRoutes, steps: int, seed: int, replication: int) -> Amounts:
    """Requests that end in a step, over the second half of the steps: those that come, less what piles up."""
    inside = numbers(scenario, steps, seed=seed, replication=replication)
    half = steps // 2
    return {"throughput": 2 * scenario.rate - (inside[-1] - inside[half]) / (steps - half)}


def twin(title: str, claim: str, scenario: Deployment, formula: Any, customers: int, **options: Any) -> Twin:
    return Twin(
        title=title,
        claim=claim,
        suite="deployment",
        scenario=scenario,
        margins={"e2el_mean": MEAN},
        formula=formula,
        witness=one_deployment,
        customers=customers,
        **{"pace": 1.2e4, **options},
    )


@cache
def twins() -> tuple[Twin, ...]:
    """Made when they are asked for."""
    split = Deployment(serving=exponential_server(2.8), replicas=4, router=RandomReplica(), name="split")
    failures = Faults(events=(RandomFailures(mtbf="30 s", restart="5 s", exponential=True),))
    broken = Deployment(serving=exponential_server(0.5), replicas=1, faults=failures, after_failure="moved")
    return (
        twin(
            "2 choices of 100 replicas",
            "the better of two replicas picked at random: the mean field of the supermarket model",
            Deployment(serving=exponential_server(90.0), replicas=100, router=PowerOfChoices(choices=2)),
            supermarket,
            16_000,
            kind="approximation",
        ),
        twin("split over 4 replicas", "a random split over four replicas is four times M/M/1", split, apart, 4_000),
        twin(
            "pooled in 4 slots",
            "four slots behind one queue are M/M/4, far below the same split",
            replace(split, serving=exponential_server(2.8, slots=4), replicas=1, name="pooled"),
            pooled,
            4_000,
        ),
        *(
            Twin(
                title=f"opposite routes at {load:.0%}",
                claim="two engines in opposite order, the last stage first, share one virtual station's budget",
                suite="deployment",
                kind="approximation",
                scenario=opposite(load),
                margins={"throughput": 0.03},
                formula=virtual_station,
                witness=one_network,
                customers=5_000,
                pace=5e3,
            )
            for load in (0.53, 0.61)
        ),
        twin(
            "a replica that fails",
            "one replica that fails and moves its work to itself is M/M/1 with breakdowns",
            broken,
            breaking,
            4_000,
        ),
    )
