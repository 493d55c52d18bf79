"""The best training run with constants drawn from their published errors: an interval for the optimum of a fit."""

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Estimate
from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.laws.elementary import exp, log
from secondorder.quantities import si
from secondorder.scenarios.scaling_law import (
    FLOPS_OF_TRAINING,
    PIVOT_PARAMETERS,
    PIVOT_TOKENS,
    ScalingLaw,
)
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.streams import stream

DRAWS = 20_000
"""Draws of the constants in a replication."""


def simulate_scaling_law(scenario: ScalingLaw, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Draws of the fit's constants: the median optimum and the ends of 95 % of the optima.

    ``parameters``, ``tokens``, ``tokens_per_parameter``, and of each ``_p2_5`` and ``_p97_5``, with Student's
    intervals of these quantiles over the replications. The spread is that of the constants alone: it does not show
    that another law might fit as well. Errors: ``InputError`` for a fit without published errors.
    """
    if scenario.fitted.alpha_error == 0:
        expected = "a fit with published errors of its constants, such as besiroglu_2024"
        raise InputError("fit", given=scenario.fit, expected=expected)
    found = replicated(lambda k: optima(scenario, draws=DRAWS, seed=seed, replication=k), replications, jobs, least=2)
    rows = []
    for metric, unit, place in (("parameters", "", 0), ("tokens", "token", 1), ("tokens_per_parameter", "", 2)):
        for ending, share in (("", 0.5), ("_p2_5", 0.025), ("_p97_5", 0.975)):
            interval = student([float(np.quantile(each[place], share)) for each in found])
            rows.append(
                Estimate(
                    metric=metric + ending,
                    amount=interval.mean,
                    unit=unit,
                    source="simulated",
                    low=interval.low,
                    high=interval.high,
                )
            )
    how = f"{replications} replications of {DRAWS:,} draws of the constants"
    return Answer(scenario=scenario.name, estimates=tuple(rows), how=how)


def optima(scenario: ScalingLaw, *, draws: int, seed: int = 0, replication: int = 0) -> tuple[Floats, Floats, Floats]:
    """Parameters, tokens and their ratio of the best run under each draw, by bisection on the slope of the loss."""
    fit, rng = scenario.fitted, stream(seed, replication, "constants")
    alpha = _positive(fit.alpha, fit.alpha_error, draws, rng)
    beta = _positive(fit.beta, fit.beta_error, draws, rng)
    if scenario.errors == "pivoted":
        log_a = np.log(fit.parameters) + (alpha - fit.alpha) * np.log(PIVOT_PARAMETERS)
        log_b = np.log(fit.tokens) + (beta - fit.beta) * np.log(PIVOT_TOKENS)
    else:
        log_a = _log_scale(fit.parameters, fit.parameters_error, draws, rng)
        log_b = _log_scale(fit.tokens, fit.tokens_error, draws, rng)
    log_c = float(np.log(si(scenario.compute) / FLOPS_OF_TRAINING))
    start_a, start_b = log(alpha) + log_a, log(beta) + log_b
    low, high = np.zeros(draws), np.full(draws, log_c)
    for _ in range(60):
        middle = (low + high) / 2
        too_small = start_a - alpha * middle > start_b - beta * (log_c - middle)
        low, high = np.where(too_small, middle, low), np.where(too_small, high, middle)
    log_n = (low + high) / 2
    return exp(log_n), exp(log_c - log_n), exp(log_c - 2 * log_n)


def _positive(mean: float, error: float, draws: int, rng: np.random.Generator) -> Floats:
    """Normal; an exponent at 0 or below is many errors away, and drawn as one just above."""
    return np.maximum(rng.normal(mean, error, draws), 1e-3)


def _log_scale(mean: float, error: float, draws: int, rng: np.random.Generator) -> Floats:
    """Logarithm of a lognormal variable whose median is the published value."""
    return np.asarray(rng.normal(np.log(mean), np.sqrt(np.log1p((error / mean) ** 2)), draws))
