"""A load past saturation over a finite window: there is no steady state, and a fluid model gives the backlog."""

from secondorder.errors import InputError


def overload_amplification(utilisation: float) -> float:
    """The factor by which an overload amplifies a relative error of the step time in the latency.

    With offered load ``rho > 1`` over a window the k-th request waits
    ``k (1/mu - 1/rate)``: an error ``e`` of ``1/mu`` is an error ``e rho/(rho - 1)`` of the
    wait. *Exact* for a fluid. ``InputError`` for ``rho <= 1``.

    >>> round(overload_amplification(1.6), 3)
    2.667
    """
    if not utilisation > 1:
        raise InputError("utilisation", given=f"{utilisation:.3g}", expected="above 1, an overload")
    return utilisation / (utilisation - 1)


def overload_wait(rate: float, limit: float, window: float) -> tuple[float, float]:
    """Mean and p99 wait (s) of the requests of a window (s) that arrive faster than ``limit``.

    Fluid: a request that arrives at ``t`` waits ``t (rate/limit - 1)``. ``(0, 0)`` below it.

    >>> overload_wait(15.0, 10.0, 40.0)
    (10.0, 19.8)
    """
    growth = max(0.0, rate / limit - 1)
    return growth * window / 2, 0.99 * growth * window
