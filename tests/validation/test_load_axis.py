"""The error on the load axis, where the curve of the truth is known."""

import pytest

import secondorder as so
from secondorder.errors import InputError
from secondorder.report.tables import comparison_grid
from secondorder.validation.load_axis import load_error

QUEUE = so.Queue(arrivals="poisson 9.5 request/s", service="exponential 100 ms")


@pytest.mark.parametrize("shift", [-0.03, 0.0, 0.02])
def test_the_formula_at_a_shifted_load_is_found_there(shift):
    truth = 1 / (10 - 9.5 * (1 + shift))
    order = so.solve(QUEUE).best("response_mean").order
    assert load_error(QUEUE, "response_mean", order, truth) == pytest.approx(shift, abs=2e-4)


def test_half_off_in_value_is_little_in_load_near_saturation():
    order = so.solve(QUEUE).best("response_mean").order
    error = load_error(QUEUE, "response_mean", order, 1.5 / (10 - 9.5))
    assert 0 < error < 0.02


def test_a_value_below_the_whole_curve_is_never_reached():
    order = so.solve(QUEUE).best("response_mean").order
    assert load_error(QUEUE, "response_mean", order, 0.01) is None


def test_arrivals_without_a_rate_are_refused():
    trace = so.Queue(arrivals=so.TraceArrivals([0.0, 1.0, 2.0]), service="exponential 100 ms")
    with pytest.raises(InputError, match="a law with a rate"):
        load_error(trace, "response_mean", 1, 1.0)


def test_a_comparison_gives_the_load_at_which_a_broken_formula_would_be_right():
    queue = so.Queue(arrivals="gamma 7 request/s burstiness=0.2", service="gamma 100 ms scv=0.3", servers=1)
    found = so.compare(queue, seed=1, replications=4, requests=60_000, margin=0.001)
    assert found.load_errors
    for (metric, order), error in found.load_errors.items():
        moved = so.Queue(arrivals=f"gamma {7 * (1 + error)!r} request/s burstiness=0.2", service="gamma 100 ms scv=0.3")
        reached = [each.amount for each in so.solve(moved)[metric] if each.order == order]
        assert reached == pytest.approx([found.simulated.best(metric).amount], rel=5e-3)
    notes = found.frame.dropna(subset=["order"]).note
    assert notes.str.contains("reaches the simulated value at a load").sum() == len(found.load_errors)


def test_a_comparison_without_the_load_axis_solves_nothing_more():
    queue = so.Queue(arrivals="gamma 7 request/s burstiness=0.2", service="gamma 100 ms scv=0.3")
    found = so.compare(queue, seed=1, replications=4, requests=60_000, margin=0.001, load_axis=False)
    assert not found.load_errors


def test_what_breaks_reaches_the_simulated_value_at_another_load_in_the_table_too():
    queue = so.Queue(arrivals="gamma 7 request/s burstiness=0.2", service="gamma 100 ms scv=0.3")
    found = so.compare(queue, seed=1, replications=4, requests=60_000, margin=0.001)
    assert any("at another load" in each for each in comparison_grid(found).below)
