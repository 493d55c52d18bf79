"""Laws of how the loss of a language model falls with its parameters and its training tokens.

``N`` parameters, ``D`` tokens, ``C = 6 N D`` FLOP of training.
"""

import math

import numpy as np

from secondorder.analytic.arguments import Real, each, non_negative, plain, positive
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Rung, rung
from secondorder.arrays import Floats
from secondorder.errors import InfeasibleError
from secondorder.quantities import si
from secondorder.scenarios.scaling_law import (
    FITS,
    FLOPS_OF_INFERENCE,
    FLOPS_OF_TRAINING,
    PIVOT_PARAMETERS,
    PIVOT_TOKENS,
    Fit,
    ScalingLaw,
)

PETAFLOP_DAY = 8.64e19
"""FLOP of a PF-day, the unit of Kaplan et al. 2020."""


def rule_of_thumb(*, compute: Real, tokens_per_parameter: Real = 20.0) -> tuple[Real, Real]:
    """Parameters and tokens at a fixed ratio: ``N = sqrt(C / (6 r))``, ``D = r N``.

    *Valid when* the fits of approach 1 are: exponents of 0.5 each. ``compute`` in FLOP; all broadcast. Errors:
    ``InputError``. *Source*: Hoffmann et al. 2022, approach 1 and table 3.

    >>> [float(f"{each:.4g}") for each in rule_of_thumb(compute=5.76e23)]
    [69280000000.0, 1386000000000.0]
    """
    c, ratio = positive("compute", compute), positive("tokens_per_parameter", tokens_per_parameter)
    n = np.sqrt(c / (FLOPS_OF_TRAINING * ratio))
    return plain(n), plain(ratio * n)


def parametric_loss(*, parameters: Real, tokens: Real, fit: Fit = FITS["besiroglu_2024"]) -> Real:
    """Loss in nat for each token: ``E + A / N^alpha + B / D^beta``.

    *Valid when* ``N`` and ``D`` are near the experiments (57 M to 16 B parameters, 0.2 to 320 G tokens), and for their
    data and tokeniser. All broadcast. Errors: ``InputError``. *Source*: Hoffmann et al. 2022, equation 10;
    constants of Besiroglu et al. 2024, table 1.

    >>> round(parametric_loss(parameters=70e9, tokens=1.4e12), 3)
    1.974
    """
    n, d = positive("parameters", parameters), positive("tokens", tokens)
    return plain(fit.irreducible + fit.parameters * n**-fit.alpha + fit.tokens * d**-fit.beta)


def compute_optimum(*, compute: Real, fit: Fit = FITS["besiroglu_2024"]) -> tuple[Real, Real]:
    """Parameters and tokens of least loss for the compute ``C = 6 N D``.

    ``N = G (C/6)^(beta/(alpha+beta))``, ``D = (C/6)/N``, ``G = (alpha A / (beta B))^(1/(alpha+beta))``: where
    ``alpha A N^-alpha = beta B D^-beta`` (Lagrange). *Exact* for the parametric loss. ``compute`` in FLOP, broadcasts.
    Errors: ``InputError``. *Source*: Hoffmann et al. 2022, equation 4.

    >>> n, d = compute_optimum(compute=5.76e23)
    >>> float(f"{n:.3g}"), float(f"{d:.3g}"), round(d / n, 1)
    (72200000000.0, 1330000000000.0, 18.4)
    """
    each_token = positive("compute", compute) / FLOPS_OF_TRAINING
    both = fit.alpha + fit.beta
    scale = (fit.alpha * fit.parameters / (fit.beta * fit.tokens)) ** (1 / both)
    n = scale * each_token ** (fit.beta / both)
    return plain(n), plain(each_token / n)


def lifetime_optimum(*, loss: Real, inference_tokens: Real, fit: Fit = FITS["besiroglu_2024"]) -> tuple[Real, Real]:
    """Parameters and tokens that reach a loss with the least FLOP in training and use: ``6 N D + 2 N T``.

    Root of ``alpha A N^-alpha = (1 + T/(3 D)) beta B D^-beta`` on the curve of the loss. *Exact*, to 1e-12. ``loss`` in
    nat, ``T = inference_tokens``; both broadcast. Errors: ``InfeasibleError`` for a loss that no model
    reaches, ``InputError``. *Source*: Sardana et al., Beyond Chinchilla-optimal (2023), equation 3.

    >>> n, d = lifetime_optimum(loss=parametric_loss(parameters=70e9, tokens=1.4e12), inference_tokens=1e13)
    >>> float(f"{n:.3g}"), float(f"{d:.3g}")
    (34500000000.0, 3750000000000.0)
    """
    positive("loss", loss)
    non_negative("inference_tokens", inference_tokens)
    n = each(lambda level, used: _lifetime_parameters(level, used, fit), loss, inference_tokens)
    d = _tokens_for(np.asarray(loss, dtype=np.float64), np.asarray(n), fit)
    return n, plain(d)


def _tokens_for(loss: Floats, n: Floats, fit: Fit) -> Floats:
    return (fit.tokens / (loss - fit.irreducible - fit.parameters * n**-fit.alpha)) ** (1 / fit.beta)


def _lifetime_parameters(loss: float, used: float, fit: Fit) -> float:
    from scipy.optimize import brentq

    gap = loss - fit.irreducible
    if gap <= 0:
        raise InfeasibleError(
            f"a loss of {loss:.6g} is at or below the irreducible {fit.irreducible:.6g}, which no model reaches; "
            "ask for a greater loss"
        )

    def slope(share: float) -> float:
        """Slope of the FLOP in ln N, up to a positive factor, where the parameters' term has this share of the gap."""
        d = (fit.tokens / (gap * (1 - share))) ** (1 / fit.beta)
        return float(
            fit.beta * (1 - share) * (1 + FLOPS_OF_INFERENCE * used / (FLOPS_OF_TRAINING * d)) - fit.alpha * share
        )

    share = float(brentq(slope, 1e-12, 1 - 1e-12, xtol=1e-15, rtol=1e-14))
    return float((fit.parameters / (gap * share)) ** (1 / fit.alpha))


def kaplan_loss(*, parameters: Real, tokens: Real) -> Real:
    """Loss in nat: ``((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D``, ``N`` without embeddings.

    ``N_c = 6.4e13``, ``D_c = 1.8e13``, ``alpha_N = 0.076``, ``alpha_D = 0.103``; of models stopped early on data that
    is used again. *Valid when* ``N`` is below 1.5 G. All broadcast. Errors: ``InputError``. *Source*: Kaplan et al.
    2020 (arXiv 2001.08361), equation 4.1 and table 2.

    >>> round(kaplan_loss(parameters=1.5e9, tokens=22e9), 3)
    2.313
    """
    n, d = positive("parameters", parameters), positive("tokens", tokens)
    return plain(((6.4e13 / n) ** (0.076 / 0.103) + 1.8e13 / d) ** 0.103)


def kaplan_optimum(*, compute: Real) -> tuple[Real, Real]:
    """Parameters (without embeddings) and tokens: ``1.3e9 C^0.73``, ``2e10 C^0.27``, ``C`` in PF-days.

    *Valid when* models are small: much of its distance to Hoffmann et al. comes from counting no embeddings
    (Pearce and Song 2024). ``compute`` in FLOP at the critical batch size, broadcasts. Errors: ``InputError``.
    *Source*: Kaplan et al. 2020, table 6.

    >>> [float(f"{each:.3g}") for each in kaplan_optimum(compute=5.76e23)]
    [804000000000.0, 216000000000.0]
    """
    days = positive("compute", compute) / PETAFLOP_DAY
    return plain(1.3e9 * days**0.73), plain(2e10 * days**0.27)


def training_time(*, compute: Real, accelerators: Real, peak: Real, mfu: Real) -> Real:
    """Seconds of training: ``C / (n peak mfu)``.

    FLOP, and FLOP/s of one accelerator; all broadcast. Errors: ``InputError``.

    >>> round(training_time(compute=5.76e23, accelerators=1024, peak=989e12, mfu=0.4) / 86400, 2)
    16.46
    """
    speed = positive("accelerators", accelerators) * positive("peak", peak) * positive("mfu", mfu)
    return plain(positive("compute", compute) / speed)


def optimum_spread(*, compute: Real, fit: Fit = FITS["besiroglu_2024"], pivoted: bool = True) -> tuple[Real, Real]:
    """Standard deviations of ``ln N`` and of ``ln(D/N)`` at the optimum, from the errors of the constants.

    First-order propagation through ``ln N = (ln(alpha A / (beta B)) + beta ln(C/6)) / (alpha + beta)``; ``D/N`` goes as
    ``N^-2``. The exponents' errors are taken as independent. ``pivoted``: ``A N0^-alpha`` and ``B D0^-beta`` are
    known at the middle of the experiments, so that ``ln A`` moves with ``alpha`` by ``ln N0``; else ``A`` and ``B``
    have their published errors by themselves, as lognormal variables. *Valid when* these are small compared with the
    exponents. The true covariance is not published: pivoted leaves out the error at the pivot itself and is the
    narrower, independent the far wider of two limits. ``compute`` in FLOP, broadcasts.

    >>> round(optimum_spread(compute=5.76e23)[0], 3), round(optimum_spread(compute=5.76e23, pivoted=False)[0], 2)
    (0.076, 1.28)
    """
    log_c = np.log(positive("compute", compute) / FLOPS_OF_TRAINING)
    both = fit.alpha + fit.beta
    log_n = (math.log(fit.alpha * fit.parameters / (fit.beta * fit.tokens)) + fit.beta * log_c) / both
    by_alpha, by_beta = (1 / fit.alpha - log_n) / both, (log_c - 1 / fit.beta - log_n) / both
    alone = 0.0
    if pivoted:
        by_alpha = by_alpha + math.log(PIVOT_PARAMETERS) / both
        by_beta = by_beta - math.log(PIVOT_TOKENS) / both
    else:
        scales = ((fit.parameters_error, fit.parameters), (fit.tokens_error, fit.tokens))
        alone = sum(math.log1p((error / scale) ** 2) for error, scale in scales) / both**2
    spread = np.sqrt((by_alpha * fit.alpha_error) ** 2 + (by_beta * fit.beta_error) ** 2 + alone)
    return plain(spread), plain(2 * spread)


# The ladder


def solve_scaling_law(scenario: ScalingLaw) -> Answer:
    """``parameters``, ``tokens``, ``tokens_per_parameter`` and ``loss`` of the best training run, and what it takes.

    Order 0: 20 tokens a parameter. Order 1: the parametric loss as published in 2022. Order 2: the ``fit``
    of the scenario, with a 95 % interval from the errors of its constants, whose ends are metrics too
    (``parameters_p2_5``, ``parameters_p97_5``). ``training_time``, ``training_cost``: where accelerators and price
    are given. ``lifetime_parameters``, ``lifetime_tokens``, ``lifetime_compute``, ``lifetime_saving``: the model that
    reaches the same loss with the least FLOP over its life, where ``inference_tokens`` are given.
    """
    compute, fit = si(scenario.compute), scenario.fitted
    rows: list[Rung] = []
    for order, source, (n, d) in (
        (0, "20 tokens a parameter", rule_of_thumb(compute=compute)),
        (1, "hoffmann_2022", compute_optimum(compute=compute, fit=FITS["hoffmann_2022"])),
        (2, scenario.fit, compute_optimum(compute=compute, fit=fit)),
    ):
        judge = FITS["hoffmann_2022"] if order == 1 else fit
        rows += _optimum(float(n), float(d), order, source, judge)
    n, d = (float(value) for value in compute_optimum(compute=compute, fit=fit))
    rows = [*rows[:8], *_with_band(scenario, rows[8:])]
    rows += _training(scenario)
    if scenario.inference_tokens is not None:
        rows += _lifetime(scenario, float(parametric_loss(parameters=n, tokens=d, fit=fit)), 6 * n * d, n)
    rows.sort(key=lambda one: one.order or 0)
    ladder = f"order 0 at 20 tokens a parameter, order 1 by the fit hoffmann_2022, order 2 by the fit {scenario.fit}"
    return Answer(scenario=scenario.name, estimates=tuple(rows), how=f"{compute:.4g} FLOP; {ladder}")


def _optimum(n: float, d: float, order: int, source: str, fit: Fit) -> list[Rung]:
    note = "" if n < 1.7e10 else "extrapolated: the experiments end at 16 G parameters"
    outside = ""
    if order == 1:
        note, outside = (
            "",
            "fit hoffmann_2022, its exponents rounded in print: off from approaches 1 and 2 of the same paper",
        )
    found = {
        "parameters": (n, ""),
        "tokens": (d, "token"),
        "tokens_per_parameter": (d / n, ""),
        "loss": (float(parametric_loss(parameters=n, tokens=d, fit=fit)), ""),
    }
    return [
        rung(metric, amount, unit, source, order, outside=outside, note=note)
        for metric, (amount, unit) in found.items()
    ]


def _with_band(scenario: ScalingLaw, rows: list[Rung]) -> list[Rung]:
    if scenario.fitted.alpha_error == 0:
        return rows
    from dataclasses import replace

    log_n, log_ratio = optimum_spread(
        compute=si(scenario.compute), fit=scenario.fitted, pivoted=scenario.errors == "pivoted"
    )
    found: list[Rung] = []
    for one in rows:
        if one.metric == "loss":
            found.append(one)
            continue
        factor = math.exp(1.959964 * float(log_ratio if one.metric == "tokens_per_parameter" else log_n))
        low, high = one.amount / factor, one.amount * factor
        found.append(replace(one, low=low, high=high))
        found += [
            replace(one, metric=f"{one.metric}_{end}", amount=amount)
            for end, amount in (("p2_5", low), ("p97_5", high))
        ]
    return found


def _training(scenario: ScalingLaw) -> list[Rung]:
    rows = (
        ("training_time", scenario.training_seconds, "s", "FLOP over what the accelerators do"),
        ("training_cost", scenario.training_cost, "USD", "time, accelerators and price"),
    )
    return [rung(metric, amount, unit, source, 1) for metric, amount, unit, source in rows if amount is not None]


def _lifetime(scenario: ScalingLaw, loss: float, training: float, parameters: float) -> list[Rung]:
    assert scenario.inference_tokens is not None
    used = si(scenario.inference_tokens)
    n, d = (float(value) for value in lifetime_optimum(loss=loss, inference_tokens=used, fit=scenario.fitted))
    least = FLOPS_OF_TRAINING * n * d + FLOPS_OF_INFERENCE * n * used
    plain_cost = training + FLOPS_OF_INFERENCE * parameters * used
    rows = (
        ("lifetime_parameters", n, ""),
        ("lifetime_tokens", d, "token"),
        ("lifetime_compute", least, "FLOP"),
        ("lifetime_saving", 1 - least / plain_cost, ""),
    )
    return [rung(metric, amount, unit, "Sardana et al. 2023", 2) for metric, amount, unit in rows]
