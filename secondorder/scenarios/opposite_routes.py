"""Two engines that two classes of requests visit in opposite order, both in steps of one length.

>>> routes = OppositeRoutes(rate=0.7)
>>> round(routes.load, 4), round(routes.virtual_load, 4)    # of an engine, of both last stages
(0.5542, 0.9917)
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OppositeRoutes:
    """Requests of class 1 visit engine 1, then engine 2, those of class 2 the other way round; a step has a budget.

    - ``rate``: requests of each class that come in a step, Poisson.
    - ``first``: tokens of prompt and of answer in the first stage.
    - ``last``: tokens of prompt and of answer in the last stage.
    - ``budget``: tokens that an engine computes in a step.
    - ``last_first``: whether the last stage goes before the first; else the other way round.
    - ``name``: name of the scenario in results.
    """

    rate: float
    first: tuple[int, int] = (32, 32)
    last: tuple[int, int] = (512, 32)
    budget: int = 768
    last_first: bool = True
    name: str = "opposite routes"

    @property
    def load(self) -> float:
        """Share of each engine's budget that is asked for."""
        return self.rate * (sum(self.first) + sum(self.last)) / self.budget

    @property
    def virtual_load(self) -> float:
        """Share of one engine's budget that both last stages ask for together."""
        return 2 * self.rate * sum(self.last) / self.budget
