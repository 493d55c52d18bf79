"""The highest rate under objectives, asked of a service or a deployment."""

from secondorder.quantities import Quantity
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.max_rate import MaxRate
from secondorder.scenarios.serving import Serving
from secondorder.validation.comparison import Comparison, compare


def max_rate(
    scenario: Serving | Deployment,
    *,
    ttft_p99: Quantity | str | None = None,
    tpot_p99: Quantity | str | None = None,
    e2el_p99: Quantity | str | None = None,
    price: Quantity | str | None = None,
    requests: int | None = None,
    seed: int = 0,
    replications: int = 10,
    jobs: int = 1,
) -> Comparison:
    """The highest rate at which the p99s meet the objectives: by the closed form, and by simulation with its interval.

    The law of the arrivals is kept, and its rate is what is sought. Every rate is simulated with the same draws:
    ``replications`` of ``requests`` each; if not given they grow until the rate is known within 1 %.
    ``solve(MaxRate(...))`` gives the closed form alone.

    Errors: ``InputError`` without an objective; ``InfeasibleError`` where no rate keeps them.
    """
    deployment = scenario if isinstance(scenario, Deployment) else Deployment(serving=scenario, replicas=1)
    question = MaxRate(
        deployment=deployment,
        ttft_p99=ttft_p99,
        tpot_p99=tpot_p99,
        e2el_p99=e2el_p99,
        price=price,
        requests=requests,
        name=scenario.name,
    )
    return compare(question, seed=seed, replications=replications, jobs=jobs)
