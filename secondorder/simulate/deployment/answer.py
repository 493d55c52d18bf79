"""From runs of a deployment to an answer: its steady state, or of a transient with a beginning and an end."""

from secondorder.answers.answer import Answer
from secondorder.answers.declared import DEPLOYMENT
from secondorder.errors import InputError
from secondorder.quantities import Quantity, si
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.replica_faults import RandomFailures
from secondorder.simulate.deployment.compiled import told, witness_of
from secondorder.simulate.deployment.replications import piles_up, simulate_replications
from secondorder.simulate.deployment.source import DeploymentSource, one_run
from secondorder.simulate.deployment.stories import is_story, simulate_story
from secondorder.simulate.statistics.estimates import estimates_of, how
from secondorder.simulate.statistics.outcome import NotSteady, Outcome, Steady, TooShort, Unsteady
from secondorder.simulate.statistics.procedure import PRECISION, given_runs, steady_state
from secondorder.simulate.statistics.search_options import WATCHED, budget_of, check_options
from secondorder.simulate.witness import Witness

COMPILED, BY_EVENTS = 10_000_000, 500_000
"""Requests that a search may cost by each witness, for a precision of 5 %; more for a better one."""
FAILURES = 20
"""Random failures of a kind, at least, below which nothing is concluded about a steady state with them."""
SHOWN = 20_000
"""Requests of the run whose records an answer keeps, at most."""
REPLICATIONS = 10
"""Runs of a given length, and stories, if no other number is given."""


def simulate_deployment(
    scenario: Deployment,
    *,
    seed: int = 0,
    replications: int | None = None,
    requests: int | None = None,
    jobs: int = 1,
    precision: float | None = None,
    budget: Quantity | str | None = None,
    witness: Witness | None = None,
) -> Answer:
    """The steady state of a deployment, or replications of a story.

    It runs until mean, p50 and p99 of every latency are known to a relative half-width of ``precision`` (5 %), or the
    ``budget`` of time ends; without one, 10 million requests by the compiled engines and 500,000 on SimPy. See
    ``simulate.statistics.procedure``. ``replications``: this many runs, whatever their precision. ``requests``: each of
    10 runs, or ``replications``, has that length.

    Faults at stated times and traces are stories: 10 replications from an empty start, nothing is cut, and the
    intervals are for the mean over such stories. With such faults each lasts three times as long as they do. Clients
    who wait for their answers are simulated by 10 replications, as long as the p99 of the time to first token takes.

    ``jobs`` processes share the runs; without a budget of time the result does not depend on them. ``witness``:
    "kernel" or "events"; the kernel, where it can, if not given.

    Errors: ``Unstable`` when requests pile up from an empty and from a full start. ``InputError`` where the kernel is
    asked for and faults, autoscaling, time-outs, refusals or unlike replicas are for SimPy alone.
    """
    check_options(seed, replications, requests, jobs, precision)
    witness = witness_of(scenario, witness)
    if requests is not None and requests < 100:
        raise InputError("requests", given=requests, expected="an integer of at least 100")
    if is_story(scenario):
        return simulate_story(scenario, seed, replications or REPLICATIONS, requests, jobs, witness)
    if scenario.clients is not None:
        return simulate_replications(scenario, seed, replications or REPLICATIONS, requests, jobs, witness)
    source, wanted = DeploymentSource(scenario, seed, witness), precision or PRECISION
    if requests is not None:
        found = given_runs(
            source,
            watched=WATCHED,
            length=requests,
            replications=replications or REPLICATIONS,
            precision=wanted,
            jobs=jobs,
            threads=witness == "kernel",
        )
    else:
        found = steady_state(
            source,
            watched=WATCHED,
            budget=budget_of(COMPILED if witness == "kernel" else BY_EVENTS, wanted, budget),
            precision=wanted,
            replications=replications,
            jobs=jobs,
            threads=witness == "kernel",
        )
    return _in_steady_state(scenario, seed, _with_failures(scenario, found), witness)


def _with_failures(scenario: Deployment, found: Outcome) -> Outcome:
    """The outcome; *not enough data* if the sections are too short for random failures to be among what they show."""
    events = scenario.faults.events if scenario.faults else ()
    cycles = [si(each.mtbf) + si(each.restart) for each in events if isinstance(each, RandomFailures)]
    if not cycles or not isinstance(found, Steady):
        return found
    expected = len(found.sections) * found.length / scenario.rate * len(scenario.engines) / max(cycles)
    if expected >= FAILURES:
        return found
    seen = f"about {expected:.2g} random failures fall into the runs where {FAILURES} are due"
    return TooShort(
        sections=found.sections, spent=found.spent, needed=round(found.spent * FAILURES / expected), seen=seen
    )


def _in_steady_state(scenario: Deployment, seed: int, found: Outcome, witness: Witness) -> Answer:
    if isinstance(found, NotSteady) and found.kind is Unsteady.UNSTABLE:
        raise piles_up(scenario, found.growth, found.seen)
    shown = one_run(scenario, min(SHOWN, max(found.spent // 20, 100)), seed, witness, 0)
    return Answer(
        scenario=scenario.name,
        estimates=estimates_of(found, DEPLOYMENT),
        how=f"{how(found)}; {len(scenario.engines)} replicas; {told(scenario, witness)}",
        requests=shown.requests,
        series=shown.series,
    )
