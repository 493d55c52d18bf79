"""From runs of a service to an answer: its steady state, or one replay of a trace."""

from secondorder.answers.answer import Answer
from secondorder.answers.declared import SERVING
from secondorder.answers.estimate import Estimate
from secondorder.answers.metric import unit_of
from secondorder.errors import InputError, Unstable
from secondorder.quantities import Quantity
from secondorder.scenarios.serving import Serving
from secondorder.simulate.replicate import replicated
from secondorder.simulate.serving.asks import draw
from secondorder.simulate.serving.compiled import witness_of
from secondorder.simulate.serving.measures import measure
from secondorder.simulate.serving.single_run import ServingRun
from secondorder.simulate.serving.source import ServingSource, serve
from secondorder.simulate.statistics.estimates import estimates_of, how
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.statistics.outcome import NotSteady, Outcome, Unsteady
from secondorder.simulate.statistics.procedure import PRECISION, given_runs, steady_state
from secondorder.simulate.statistics.search_options import WATCHED, budget_of, check_options
from secondorder.simulate.witness import TOLD, Witness
from secondorder.workloads.arrivals import TraceArrivals
from secondorder.workloads.traces import Trace

COMPILED, BY_EVENTS = 50_000_000, 500_000
"""Requests that a search may cost by each witness, for a precision of 5 %; more for a better one."""
SHOWN = 20_000
"""Requests of the run whose records an answer keeps, at most."""


def simulate_serving(
    scenario: Serving,
    *,
    seed: int = 0,
    replications: int | None = None,
    requests: int | None = None,
    jobs: int = 1,
    precision: float | None = None,
    budget: Quantity | str | None = None,
    witness: Witness | None = None,
) -> Answer:
    """The steady state of a service, or one replay where a trace is given.

    It runs until mean, p50 and p99 of every latency are known to a relative half-width of ``precision`` (5 %), or the
    ``budget`` of time ends; without one, 50 million requests by the compiled engine and 500,000 on SimPy. See
    ``simulate.statistics.procedure``. ``replications``: this many runs, whatever their precision. ``requests``: each of
    10 runs, or ``replications``, has that length. ``jobs`` processes share the runs; without a budget of time the
    result does not depend on them. ``witness``: "kernel" or "events"; the kernel, where it can, if not given.

    Errors: ``Unstable`` when the queue grows from an empty and from a full start; ``InputError``.
    """
    check_options(seed, replications, requests, jobs, precision)
    witness = witness_of(scenario, witness)
    if isinstance(scenario.arrivals, Trace):
        return _replay(scenario, requests, witness)
    if isinstance(scenario.arrivals, TraceArrivals):
        return _given_arrivals(scenario, seed, replications or 10, requests, jobs, witness)
    wanted, threads = precision or PRECISION, witness == "kernel"
    source = ServingSource(scenario, seed, witness)
    if requests is not None:
        count = replications or 10
        found = given_runs(
            source,
            watched=WATCHED,
            length=requests,
            replications=count,
            precision=wanted,
            jobs=jobs,
            threads=threads,
        )
    else:
        found = steady_state(
            source,
            watched=WATCHED,
            budget=budget_of(searched_requests(witness), wanted, budget),
            precision=wanted,
            replications=replications,
            jobs=jobs,
            threads=threads,
        )
    return _answer(scenario, seed, found, witness)


def searched_requests(witness: Witness) -> int:
    """Requests that a search may cost by a witness, for a precision of 5 %."""
    return COMPILED if witness == "kernel" else BY_EVENTS


def _answer(scenario: Serving, seed: int, found: Outcome, witness: Witness) -> Answer:
    if isinstance(found, NotSteady) and found.kind is Unsteady.UNSTABLE:
        served = scenario.rate * (1 - found.growth)
        raise Unstable(
            f"{scenario.name}: {scenario.rate:.4g} request/s offered, {served:.4g} served, and {found.seen}; "
            "lower the rate, add replicas, or replay a trace to study the transient"
        )
    shown = serve(scenario, draw(scenario, min(SHOWN, max(found.spent // 20, 100)), seed), witness)
    return Answer(
        scenario=scenario.name,
        estimates=estimates_of(found, SERVING),
        how=f"{how(found)}; {TOLD[witness]}",
        requests=shown.requests,
        series=shown.series,
    )


# A trace, or the arrivals of one: a transient as it stands


def _replay(scenario: Serving, count: int | None, witness: Witness) -> Answer:
    assert isinstance(scenario.arrivals, Trace)
    replayed = serve(scenario, draw(scenario, _of_the_trace(len(scenario.arrivals.requests), count)), witness)
    measured = [measure(scenario, replayed, 0, len(replayed.requests))]
    how = f"simulated, transient: {len(replayed.requests):,} requests of the trace replayed once; {TOLD[witness]}"
    return _transient(scenario, measured, replayed, how)


def _given_arrivals(
    scenario: Serving, seed: int, replications: int, count: int | None, jobs: int, witness: Witness
) -> Answer:
    """Every replication has the arrivals of the trace, and lengths of its own."""
    assert isinstance(scenario.arrivals, TraceArrivals)
    length = _of_the_trace(len(scenario.arrivals), count)

    def one(replication: int) -> dict[str, float]:
        return measure(scenario, serve(scenario, draw(scenario, length, seed, replication), witness), 0, length)

    measured = replicated(one, replications, jobs)
    how = (
        f"simulated, transient: {replications} replications of the trace's own {length:,} arrivals, nothing cut; its "
        f"intervals are for these; {TOLD[witness]}"
    )
    return _transient(scenario, measured, serve(scenario, draw(scenario, length, seed), witness), how)


def _of_the_trace(total: int, count: int | None) -> int:
    if count is not None and count > total:
        raise InputError("requests", given=count, expected=f"at most the {total} of the trace")
    return count or total


def _transient(scenario: Serving, measured: list[dict[str, float]], shown: ServingRun, how: str) -> Answer:
    estimates = []
    for metric in measured[0]:
        interval = student([each[metric] for each in measured])
        estimates.append(
            Estimate(
                metric=metric,
                amount=interval.mean,
                unit=unit_of(SERVING, metric),
                source="simulated",
                low=interval.low,
                high=interval.high,
            )
        )
    return Answer(
        scenario=scenario.name, estimates=tuple(estimates), how=how, requests=shown.requests, series=shown.series
    )
