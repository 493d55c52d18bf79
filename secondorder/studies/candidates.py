"""Layouts of a service that keep its objectives: what each is, costs and emits, and which no other one beats."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from secondorder.answers.answer import Answer
from secondorder.answers.costs import token_costs
from secondorder.errors import InputError, UnknownName
from secondorder.fleets.accelerators import accelerators as cards
from secondorder.quantities import pretty
from secondorder.scenarios.capacity import Capacity
from secondorder.scenarios.disaggregated import Disaggregated
from secondorder.scenarios.serving import Serving

if TYPE_CHECKING:
    import pandas as pd


class Layout(NamedTuple):
    """What a candidate is made of; without a ``token_budget`` that of the service; ``split``: prefill apart."""

    accelerator: str
    tensor_parallel_size: int
    precision: str
    token_budget: int | None = None
    split: bool = False

    def __str__(self) -> str:
        what = f"{self.tensor_parallel_size} {self.accelerator} in {self.precision}"
        what += "" if self.token_budget is None else f", {self.token_budget} tokens a step"
        return f"{what}, prefill apart" if self.split else what

    def of(self, serving: Serving) -> Serving:
        """The service in this layout."""
        budget = serving.max_num_batched_tokens if self.token_budget is None else self.token_budget
        return replace(
            serving,
            accelerator=cards[self.accelerator],
            tensor_parallel_size=self.tensor_parallel_size,
            precision=self.precision,
            max_num_batched_tokens=budget,
        )


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One layout that keeps the objectives: what it is, what it costs, and its p99s.

    ``max_num_batched_tokens`` is the token budget of a step. ``source`` says where ``replicas`` and ``p99s`` (s) come
    from: the closed forms, or the simulation. ``sized`` is the number of replicas by the closed forms, and ``work``
    that of accelerators which the load would keep busy at saturation. ``carbon`` (kgCO2e/hour) is known in a
    ``region``. ``split`` is the system where prefill and decode are apart: ``replicas`` counts both kinds.
    ``rests_on``: the price, and what else the answer rests on.
    """

    accelerator: str
    tensor_parallel_size: int
    precision: str
    max_num_batched_tokens: int
    replicas: int
    cost: float
    p99s: Mapping[str, float]
    source: str
    sized: int
    work: float
    scenario: Capacity
    rests_on: str
    region: str = ""
    carbon: float | None = None
    split: Disaggregated | None = None

    @property
    def prefill_replicas(self) -> int:
        """Replicas that compute prompts alone; 0 where all do both."""
        return 0 if self.split is None else self.split.prefill_replicas

    @property
    def counted(self) -> str:
        """Replicas: "3", or "2+1" for two of prefill and one of decode."""
        return str(self.replicas) if self.split is None else f"{self.prefill_replicas}+{self.split.decode_replicas}"

    @property
    def accelerators(self) -> int:
        """Of all replicas."""
        return self.replicas * self.tensor_parallel_size

    def by_simulation(self, replicas: int, answer: Answer, rests_on: str) -> "Candidate":
        """The same layout with as many replicas as a simulation found, and its p99s."""
        cost = self.scenario.cost_rate(replicas)
        assert cost is not None
        p99s = {metric: answer.best(metric).amount for metric in self.p99s}
        return replace(self, replicas=replicas, cost=cost * 3600, p99s=p99s, source="simulated", rests_on=rests_on)

    @property
    def utilisation(self) -> float:
        """Load over saturation by the closed forms, 1 at most."""
        return min(1.0, self.work / self.accelerators)

    @property
    def carbon_per_output_token(self) -> float | None:
        """kgCO2e, all of it over the output tokens; None where no region is given."""
        if self.carbon is None:
            return None
        return self.carbon / 3600 / (self.scenario.total_rate * self.scenario.serving.offered.mean_output)

    @property
    def token_costs(self) -> dict[str, float]:
        """USD per input token and per output token, each as if the other were free."""
        law, rate = self.scenario.serving.offered, self.scenario.total_rate
        found = token_costs(self.cost / 3600, rate, law.mean_input, law.mean_output, self.source, None)
        return {each.metric: each.amount for each in found}

    def of(self, metric: str) -> float:
        """A p99 in s, or its ``carbon``. Errors: ``InputError``."""
        if metric == "carbon":
            if self.carbon is None:
                raise InputError("carbon", given="no region", expected="a search with regions, whose grids are known")
            return self.carbon
        if metric not in self.p99s:
            raise UnknownName.among("metric", metric, [*self.p99s, "carbon"])
        return self.p99s[metric]

    @property
    def worst_share(self) -> float:
        """The largest p99 over its objective."""
        return max(self.p99s[metric] / most for metric, most in self.scenario.objectives.items())

    def __str__(self) -> str:
        what = f"{self.counted} x {self.tensor_parallel_size} {self.accelerator} in {self.precision}"
        what += f", {self.max_num_batched_tokens} tokens a step"
        what += f", {self.region}" if self.region else ""
        told = ", ".join(f"{metric} {pretty(amount, 's')}" for metric, amount in self.p99s.items())
        return f"{what}: {pretty(self.cost, 'USD/hour')}, {told} ({self.source})"


@dataclass(frozen=True)
class Found:
    """``candidates``, those that were simulated first, and the cheapest first. ``refused``: why some are none."""

    candidates: tuple[Candidate, ...]
    refused: Mapping[str, str]

    @property
    def best(self) -> Candidate:
        """The cheapest one that was simulated, or the cheapest of all."""
        return self.candidates[0]

    def pareto(self, *metrics: str) -> tuple[Candidate, ...]:
        """Those that no other one beats in the cost and in all ``metrics``, the cheapest first.

        ``metrics`` are p99s, and ``carbon`` where regions were given; of several that are equal in all of these the
        first is kept.
        """
        kept: list[tuple[tuple[float, ...], Candidate]] = []
        for each in sorted(self.candidates, key=lambda c: (c.cost, *map(c.of, metrics))):
            values = (each.cost, *map(each.of, metrics))
            if not any(all(a <= b for a, b in zip(other, values, strict=True)) for other, _ in kept):
                kept.append((values, each))
        return tuple(each for _, each in kept)

    def label(self, each: Candidate) -> str:
        """A candidate in few words: with the tokens of a step only where those of its accelerator differ."""
        parts = [f"{each.counted} x {each.tensor_parallel_size} {each.accelerator} {each.precision}"]
        if len({c.max_num_batched_tokens for c in self.candidates if c.accelerator == each.accelerator}) > 1:
            parts.append(str(each.max_num_batched_tokens))
        return " ".join([*parts, each.region]).strip()

    @property
    def frame(self) -> "pd.DataFrame":
        """One row a candidate; costs in USD/hour and USD/token, carbon in kgCO2e/hour and kgCO2e/token, p99s in s."""
        import pandas as pd

        return pd.DataFrame([record(each) for each in self.candidates])


def record(each: Candidate) -> dict[str, object]:
    """A candidate as a row."""
    layout = {
        "accelerator": each.accelerator,
        "tensor_parallel_size": each.tensor_parallel_size,
        "precision": each.precision,
        "max_num_batched_tokens": each.max_num_batched_tokens,
        "replicas": each.replicas,
        "prefill_replicas": each.prefill_replicas,
    }
    air: dict[str, object] = {}
    if each.carbon is not None:
        air = {"carbon": each.carbon, "carbon_per_output_token": each.carbon_per_output_token}
        layout["region"] = each.region
    rest = {"source": each.source, "replicas_closed_form": each.sized, "rests_on": each.rests_on}
    return {**layout, "cost": each.cost, **each.token_costs, **air, **each.p99s, **rest}


def by_cost(each: Candidate) -> tuple[float, float, float, str]:
    """The cheapest first; of these the cleanest, then the one farthest below its objectives."""
    return each.cost, each.carbon or 0.0, each.worst_share, str(each)
