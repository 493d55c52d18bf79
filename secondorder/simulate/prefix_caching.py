"""A service with its cached prompts, by the engine itself: blocks of finished requests are kept and found again."""

from dataclasses import replace

from secondorder.answers.answer import Answer
from secondorder.scenarios.prefix_caching import PrefixCaching
from secondorder.simulate.serving import simulate_serving


def simulate_prefix_caching(
    scenario: PrefixCaching, *, seed: int = 0, replications: int = 10, requests: int | None = None, jobs: int = 1
) -> Answer:
    """The service whose engine keeps its blocks, for requests that know their prefixes.

    With a ``hit_ratio`` given there is nothing to find: each prompt is computed from that share on. The other
    arguments are those of ``simulate_serving``. Errors: those of ``simulate_serving``.
    """
    service = scenario.cached if scenario.hit_ratio is not None else scenario.caching
    answer = simulate_serving(service, seed=seed, replications=replications, requests=requests, jobs=jobs)
    return replace(answer, scenario=scenario.name)
