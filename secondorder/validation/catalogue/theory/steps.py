"""Engines whose steps grow: with the tokens held (T2), with a budget of tokens in tiles (T3, T7)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from secondorder.analytic.serving.theory import cache_littles_law, fluid_equilibrium, token_budget
from secondorder.quantities import si
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Affine
from secondorder.scenarios.tiled_step import Tiled
from secondorder.simulate.kernels.serving import run as kernel
from secondorder.simulate.serving import draw, run
from secondorder.validation.catalogue.theory.theorem import LEFT_OVER, UNLIMITED, Theorem, engine
from secondorder.validation.catalogue.twin import Amounts
from secondorder.validation.verdicts import Verdict
from secondorder.workloads.lengths import Fixed, Lengths

# T2: steps of 8 ms, and 50 ns for each token that is held


def growing(rate: float) -> Serving:
    """An engine without limits; a prompt is read at no cost in its first step."""
    step = Affine(per_step=8e-3, per_prefill_token=0, per_decode=0, per_context_token=5e-8)
    return engine(rate=rate, lengths=Lengths(input=512, output=256), step_time=step)


def fluid(scenario: Serving) -> Amounts:
    held = float(cache_littles_law.token_steps(512, 256, prefill_emits=True))
    return {"held_mean": float(fluid_equilibrium.held_tokens(offered=scenario.rate * held, base=8e-3, per_token=5e-8))}


def held_in_a_step(scenario: Serving, customers: int, seed: int, replication: int) -> Amounts:
    """Tokens held, on average over the steps past an eighth of the time, while requests still come."""
    drawn = draw(scenario, customers, seed, replication)
    series = kernel.record(scenario, drawn, leaps=False).series
    end = float(np.asarray(drawn.arrival)[-1]) / 1e-12
    time, running, _, used_twice = series.T
    kept = (time > end / 8) & (time < end) & (running > 0)
    return {"held_mean": float(used_twice[kept].mean() / 2)}


# T3 and T7: tiles of 128 tokens, 35.47 ms each


@dataclass(frozen=True, kw_only=True)
class Budget:
    """An engine that computes ``budget`` tokens in a step, in tiles; requests of ``prompt`` and ``output`` tokens.

    - ``load``: requests that come, as a share of the highest rate.
    """

    step: Tiled
    budget: int
    prompt: int = 100
    output: int = 100
    load: float = 1.5
    name: str = "budget"

    def token_rate(self, budget: int | None = None) -> float:
        step = self.step
        return float(
            token_budget.max_token_rate(
                budget=budget or self.budget,
                per_tile=si(step.per_tile),
                tile=step.tile,
                per_step=si(step.per_step),
                per_token=step.per_token,
            )
        )

    @property
    def lengths(self) -> dict[str, Any]:
        return {"prompt": self.prompt, "output": self.output, "prefill_emits": True}

    @property
    def most(self) -> float:
        return float(token_budget.max_rate(token_rate=self.token_rate(), **self.lengths))

    @property
    def rate(self) -> float:
        return self.load * self.most

    @property
    def serving(self) -> Serving:
        return engine(
            rate=self.rate,
            lengths=Lengths(input=Fixed(self.prompt), output=Fixed(self.output)),
            memory=UNLIMITED,
            max_num_batched_tokens=self.budget,
            step_time=self.step,
        )


def highest_rate(case: Budget) -> Amounts:
    return {"throughput": case.most}


def token_rate(case: Budget) -> Amounts:
    return {"token_rate": case.token_rate()}


def tile_rate(case: Budget) -> Amounts:
    """The rate of whole tiles, for any budget."""
    return {"token_rate": case.token_rate(case.step.tile)}


def growth(case: Budget) -> Amounts:
    rate = token_budget.backlog_growth(arrival_rate=case.rate, token_rate=case.token_rate(), **case.lengths)
    return {"backlog_growth": float(rate)}


def within_the_budget(case: Budget) -> Amounts:
    return {"left_over": max(0.0, 1 - 1 / case.load)}


def overloaded(case: Budget, customers: int, seed: int, replication: int) -> Amounts:
    """What leaves past a quarter of the time while requests come, and what is left over of what came."""
    drawn = draw(case.serving, customers, seed, replication)
    finish = run(case.serving, drawn).requests["finish"].to_numpy()
    end, tokens = float(np.asarray(drawn.arrival)[-1]), case.prompt + case.output - 1
    left = float(((finish > end / 4) & (finish <= end)).sum() / (0.75 * end))
    came = float((np.asarray(drawn.arrival) > end / 4).sum() / (0.75 * end))
    return {
        "throughput": left,
        "token_rate": left * tokens,
        "backlog_growth": (case.rate - left) * tokens,
        "left_over": 1 - left / came,
    }


UNITS = {"throughput": "request/s", "token_rate": "token/s", "backlog_growth": "token/s", "left_over": ""}
DAI = Tiled(per_step="11.28 ms", per_tile="35.47 ms", tile=128)
BARI = Tiled(per_tile="35.47 ms", tile=128, per_token=2e-5)


def _tiled(
    theorem: str, title: str, written: str, case: Budget, formula: Any, margin: float, **options: Any
) -> Theorem:
    (metric,) = formula(case)
    return Theorem(
        theorem=theorem,
        title=title,
        written=written,
        scenario=case,
        margins={metric: margin},
        formula=formula,
        witness=overloaded,
        customers=10_000,
        pace=4e4,
        units=UNITS,
        **options,
    )


def _fluid(rate: float, number: float) -> Theorem:
    return Theorem(
        theorem="T2",
        title=f"fluid equilibrium, {rate:g}/s",
        written="d0 sum(rate g)/(1 - d1 sum(rate g))",
        claim="steps lengthen with the tokens that are held; the mean over steps is that of the fluid",
        scenario=growing(rate),
        margins={"held_mean": 0.01},
        formula=fluid,
        witness=held_in_a_step,
        customers=20_000,
        pace=1e6,
        units={"held_mean": "token"},
        numbers={"held_mean": number},
    )


def _budgets() -> tuple[Theorem, ...]:
    mixed, full = "b/(t(b) (m_p + m_d - 1))", "steps are always full: decodes and prompts share them"
    return (
        _tiled(
            "T3",
            "budget 512, 100+100",
            mixed,
            Budget(step=DAI, budget=512),
            highest_rate,
            0.02,
            claim=full,
            numbers={"throughput": 16.799},
        ),
        _tiled(
            "T3",
            "budget 512, 129+112",
            mixed,
            Budget(step=DAI, budget=512, prompt=129, output=112),
            highest_rate,
            0.02,
            claim=full,
            numbers={"throughput": 13.929},
        ),
        _tiled(
            "T3",
            "budget 512, overload 1.1",
            "rate m - b/t(b)",
            Budget(step=DAI, budget=512, load=1.1),
            growth,
            0.1,
            claim="the backlog grows by the difference",
            numbers={"backlog_growth": 334.3},
        ),
        _tiled(
            "T3",
            "budget 512, load .95",
            "rate m < b/t(b)",
            Budget(step=DAI, budget=512, load=0.95),
            within_the_budget,
            LEFT_OVER,
            claim="stable below the budget",
            kind="label",
        ),
    )


def _tiles() -> tuple[Theorem, ...]:
    return (
        _tiled(
            "T7",
            "tiles, budget 128",
            "b/(t_lin + t_nl b)",
            Budget(step=BARI, budget=128),
            token_rate,
            0.02,
            claim="steps of whole tiles",
            numbers={"token_rate": 3365.8},
        ),
        _tiled(
            "T7",
            "tiles, budget 200",
            "b/(t_lin + t_nl b)",
            Budget(step=BARI, budget=200),
            tile_rate,
            0.05,
            claim="a budget between two tiles pays for both",
            expected=Verdict.BREAKS,
            numbers={"token_rate": 3365.8},
        ),
    )


def twins() -> tuple[Theorem, ...]:
    """T2, T3 and T7."""
    return (_fluid(10.0, 14_264.6), _fluid(60.0, 154_426), *_budgets(), *_tiles())
