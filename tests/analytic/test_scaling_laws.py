"""Scaling laws against published numbers, blind search, and constants drawn from their errors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from secondorder.analytic.scaling_laws import (
    compute_optimum,
    kaplan_loss,
    kaplan_optimum,
    lifetime_optimum,
    optimum_spread,
    parametric_loss,
    rule_of_thumb,
    solve_scaling_law,
    training_time,
)
from secondorder.errors import InfeasibleError, InputError, UnitError, UnknownName
from secondorder.scenarios.scaling_law import FITS, ScalingLaw
from secondorder.simulate.scaling_law import simulate_scaling_law

CHINCHILLA = 5.76e23


def test_the_rule_of_thumb_gives_the_reference_values() -> None:
    n, d = rule_of_thumb(compute=CHINCHILLA)
    assert n == pytest.approx(69.3e9, rel=5e-4)
    assert d == pytest.approx(1.386e12, rel=5e-4)
    assert 6 * n * d == pytest.approx(CHINCHILLA, rel=1e-14)


@pytest.mark.parametrize("name", FITS)
@settings(max_examples=15, deadline=None)
@given(log_compute=st.floats(40, 62))
def test_the_lagrange_optimum_is_where_a_blind_search_finds_it(name: str, log_compute: float) -> None:
    fit, compute = FITS[name], float(np.exp(log_compute))
    found = minimize_scalar(
        lambda log_n: parametric_loss(parameters=np.exp(log_n), tokens=compute / 6 / np.exp(log_n), fit=fit),
        bounds=(log_compute / 2 - 12, log_compute / 2 + 10),
        method="bounded",
        options={"xatol": 1e-9},
    )
    n, d = compute_optimum(compute=compute, fit=fit)
    assert float(np.log(n)) == pytest.approx(found.x, abs=1e-3)  # the valley's floor is flat to rounding
    assert parametric_loss(parameters=n, tokens=d, fit=fit) <= found.fun * (1 + 1e-13)


def test_exponents_swapped_would_be_found_out() -> None:
    fit = FITS["hoffmann_2022"]
    n, d = compute_optimum(compute=CHINCHILLA, fit=fit)
    swapped = replace(fit, alpha=fit.beta, beta=fit.alpha)
    wrong, _ = compute_optimum(compute=CHINCHILLA, fit=swapped)
    assert parametric_loss(parameters=wrong, tokens=CHINCHILLA / 6 / wrong, fit=fit) > 1.001 * parametric_loss(
        parameters=n, tokens=d, fit=fit
    )


def test_the_corrected_fit_gives_20_tokens_a_parameter_and_the_printed_one_does_not() -> None:
    """Besiroglu et al. 2024: their fit is compatible with approaches 1 and 2, the printed constants are not."""
    n, d = compute_optimum(compute=CHINCHILLA)
    assert 15 < d / n < 25
    n, d = compute_optimum(compute=CHINCHILLA, fit=FITS["hoffmann_2022"])
    assert d / n > 70
    fit = FITS["besiroglu_2024"]
    assert fit.beta / (fit.alpha + fit.beta) == pytest.approx(0.5126, abs=1e-4)  # their exponent a


def test_use_makes_the_best_model_smaller_as_published() -> None:
    """Sardana et al. 2023, figure 1: 2 T tokens of use, the quality of a 13B: a 7B saves 1.7e22 FLOP, 17 %."""
    fit = replace(FITS["hoffmann_2022"], alpha=0.336, beta=0.283)  # the exponents that they use
    from scipy.optimize import brentq

    compute = float(np.exp(brentq(lambda c: float(compute_optimum(compute=np.exp(c), fit=fit)[0]) - 13e9, 45, 60)))
    n, d = compute_optimum(compute=compute, fit=fit)
    loss = parametric_loss(parameters=n, tokens=d, fit=fit)
    small, long = lifetime_optimum(loss=loss, inference_tokens=2e12, fit=fit)
    before, after = 6 * n * d + 2 * n * 2e12, 6 * small * long + 2 * small * 2e12
    assert small == pytest.approx(7e9, rel=0.01)
    assert before - after == pytest.approx(1.7e22, rel=0.03)
    assert 1 - after / before == pytest.approx(0.17, abs=0.006)
    assert parametric_loss(parameters=small, tokens=long, fit=fit) == pytest.approx(loss, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.floats(2.0, 3.5), st.floats(0, 1e15), st.floats(-0.5, 0.5))
def test_no_model_of_that_loss_takes_fewer_flop_over_its_life(loss: float, used: float, off: float) -> None:
    fit = FITS["besiroglu_2024"]
    n, d = lifetime_optimum(loss=loss, inference_tokens=used)
    other = n * np.exp(off)
    gap = loss - fit.irreducible - fit.parameters * other**-fit.alpha
    if gap > 0:
        tokens = (fit.tokens / gap) ** (1 / fit.beta)
        assert 6 * n * d + 2 * n * used <= (6 * other * tokens + 2 * other * used) * (1 + 1e-9)


def test_without_use_the_lifetime_optimum_is_that_of_training() -> None:
    n, d = compute_optimum(compute=CHINCHILLA)
    found = lifetime_optimum(loss=parametric_loss(parameters=n, tokens=d), inference_tokens=0.0)
    assert found == pytest.approx((n, d), rel=1e-9)
    with pytest.raises(InfeasibleError, match="no model reaches"):
        lifetime_optimum(loss=1.8, inference_tokens=0.0)


def test_kaplan_puts_compute_into_size() -> None:
    """Kaplan et al. 2020: ten times the compute, 5.4 times the parameters; a petaflop-day, 1.3 G of them."""
    assert kaplan_optimum(compute=8.64e19) == pytest.approx((1.3e9, 2e10))
    assert kaplan_optimum(compute=CHINCHILLA)[0] > 10 * compute_optimum(compute=CHINCHILLA)[0]
    assert kaplan_loss(parameters=6.4e13, tokens=1e30) == pytest.approx(1.0, rel=1e-6)
    assert kaplan_loss(parameters=1e30, tokens=1.8e13) == pytest.approx(1.0, rel=1e-6)


def test_training_time_and_cost_follow_from_flop() -> None:
    law = ScalingLaw(compute="5.76e23 FLOP", accelerators=1024, peak="989 TFLOP/s", mfu=0.4, price="2 USD/hour")
    answer = solve_scaling_law(law)
    seconds = training_time(compute=CHINCHILLA, accelerators=1024, peak=989e12, mfu=0.4)
    assert answer.best("training_time").amount == pytest.approx(seconds)
    assert answer.best("training_cost").amount == pytest.approx(seconds * 1024 * 2 / 3600)
    assert "training_time" not in solve_scaling_law(ScalingLaw(compute="5.76e23 FLOP"))


@pytest.mark.parametrize("errors", ["pivoted", "independent"])
def test_propagated_errors_agree_with_drawn_constants(errors: str) -> None:
    """First-order propagation against draws: within 5 % where errors are small, 15 % where they are a factor of 12."""
    law = ScalingLaw(compute="5.76e23 FLOP", errors=errors)
    solved, drawn = solve_scaling_law(law), simulate_scaling_law(law, seed=4)
    within = 0.05 if errors == "pivoted" else 0.15
    for metric in drawn:
        assert np.log(solved.best(metric).amount) == pytest.approx(np.log(drawn.best(metric).amount), abs=within)
    low, high = drawn.best("tokens_per_parameter_p2_5").amount, drawn.best("tokens_per_parameter_p97_5").amount
    assert low < 20 < high  # the rule of thumb lies in either band


def test_each_order_is_told_with_the_fit_that_it_is_of() -> None:
    answer = solve_scaling_law(ScalingLaw(compute="5.76e23 FLOP"))
    assert "order 1 by the fit hoffmann_2022, order 2 by the fit besiroglu_2024" in answer.how
    assert [each.source for each in answer["parameters"]] == [
        "20 tokens a parameter",
        "hoffmann_2022",
        "besiroglu_2024",
    ]
    assert "fit hoffmann_2022" in answer["parameters"][1].remark


def test_the_price_of_training_is_that_of_an_accelerator_for_an_hour() -> None:
    law = ScalingLaw(
        compute="3.6e21 FLOP", accelerators=10, peak="1e15 FLOP/s", mfu=0.5, price="2 USD/hour"
    )  # 720,000 s of 10 accelerators
    assert solve_scaling_law(law).best("training_cost").amount == pytest.approx(720_000 / 3600 * 10 * 2)
    with pytest.raises(UnitError, match='write "2 USD/hour"'):
        ScalingLaw(compute="1e21 FLOP", accelerators=10, peak="1e15 FLOP/s", mfu=0.5, price=2)  # type: ignore[arg-type]


def test_errors_taken_as_independent_are_far_too_wide_to_be_true() -> None:
    together, apart = (optimum_spread(compute=CHINCHILLA, pivoted=pivoted)[0] for pivoted in (True, False))
    assert apart > 10 * together
    near = optimum_spread(compute=1e21, pivoted=False)[0]
    assert near > 1.0  # even among the experiments themselves it would not know the size to a factor of 3


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(UnknownName, match="besiroglu_2024"):
        ScalingLaw(compute="1e23 FLOP", fit="besiroglu")
    with pytest.raises(InputError, match="fit: got hoffmann_2022, expected a fit with published errors"):
        simulate_scaling_law(ScalingLaw(compute="1e23 FLOP", fit="hoffmann_2022"))
    with pytest.raises(InputError, match="mfu: got none"):
        ScalingLaw(compute="1e23 FLOP", accelerators=8, peak="989 TFLOP/s")
    assert solve_scaling_law(ScalingLaw(compute="1e23 FLOP", fit="hoffmann_2022")).best("parameters").low is None
