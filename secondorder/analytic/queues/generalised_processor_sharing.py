"""Generalised processor sharing (Cohen 1979): requests are served at once, and more slowly the more there are.

A decode replica is one: each step gives every active sequence a token, and a step of ``k``
sequences lasts ``step_times[k-1]``. Sequences beyond the slots wait for one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, non_negative, one, one_whole, positive
from secondorder.errors import InputError, Unstable


@dataclass(frozen=True, kw_only=True)
class Occupancy:
    """The number in the system: its ``law`` for 0, ..., ``slots``, and past the slots a geometric tail.

    ``P(slots + m) = law[slots] ratio^m``. ``mean_in_system`` counts the waiting,
    ``mean_in_service`` does not; ``mean_response`` and ``mean_wait`` (for a slot) in s;
    ``prob_slots_full`` is ``P(n >= slots)``, the probability that an arrival waits.
    """

    law: Floats
    ratio: float
    mean_in_system: float
    mean_in_service: float
    mean_response: float
    mean_wait: float
    prob_slots_full: float

    def tail(self, n: int) -> float:
        """``P(number in the system > n)``.

        >>> round(occupancy(arrival_rate=0.5, mean_work=1.0, step_times=[1.0]).tail(1), 9)
        0.25
        """
        slots, n = self.law.size - 1, one_whole("n", n, 0)
        beyond = self.law[slots] / (1 - self.ratio)
        return (
            float(beyond * self.ratio ** (n + 1 - slots)) if n >= slots else float(self.law[n + 1 : -1].sum() + beyond)
        )


def occupancy(*, arrival_rate: float, mean_work: float, step_times: npt.ArrayLike) -> Occupancy:
    """The stationary number in the system, and by Little's law the mean response.

    ``pi(n) ~ prod_{k <= n} arrival_rate mean_work tau(min(k, slots)) / min(k, slots)``, ``tau(k)`` the
    time in which each of ``k`` active requests gets one unit of work. *Exact* for exponential
    work, and while slots are free for every law of that mean; with steps it is the limit of
    short steps. *Valid when* arrivals are Poisson. ``arrival_rate`` in 1/s; ``mean_work`` in units
    (tokens) a request; ``step_times`` in s, one entry a number of active requests from 1 to the
    slots; one queue at a time. Errors: ``Unstable`` where ``arrival_rate mean_work
    tau(slots)/slots >= 1``, ``InputError``.

    *Source*: Cohen, The multiple phase service network with generalized processor sharing,
    Acta Informatica 12 (1979).

    >>> steps = 0.008 + 0.0002 * np.arange(1, 17)
    >>> found = occupancy(arrival_rate=5.0, mean_work=256.0, step_times=steps)
    >>> round(found.mean_in_system, 6), round(found.mean_response, 7), round(found.prob_slots_full, 8)
    (18.518259, 3.7036518, 0.53325753)
    """
    steps = np.atleast_1d(positive("step_times", np.asarray(step_times, dtype=np.float64)))
    if steps.ndim != 1 or not steps.size:
        raise InputError(
            "step_times", given=f"shape {steps.shape}", expected="one time for each number of active requests"
        )
    rate, work = one("arrival_rate", arrival_rate), one("mean_work", mean_work)
    active = np.arange(1, steps.size + 1)
    ratios = rate * work * steps / active
    last = float(ratios[-1])
    if last >= 1:
        raise Unstable(
            f"utilisation {last:.6g} of {steps.size} slots: the queue grows without limit; "
            f"use more slots, shorter steps or an arrival rate below {rate / last:.6g} request/s"
        )
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    weights = np.exp(logs - logs.max())
    law = weights / (weights[:-1].sum() + weights[-1] / (1 - last))
    full = float(law[-1]) / (1 - last)
    waiting = full * last / (1 - last)
    serving = float(law[1:-1] @ active[:-1]) + full * steps.size
    return Occupancy(
        law=law,
        ratio=last,
        mean_in_system=serving + waiting,
        mean_in_service=serving,
        mean_response=(serving + waiting) / rate,
        mean_wait=waiting / rate,
        prob_slots_full=full,
    )


def affine_step_times(*, base: float, each: float, slots: int) -> Floats:
    """Step times ``base + each k`` in s for ``k`` = 1, ..., ``slots``, to give to ``occupancy``.

    *Valid when* a step's cost is affine in the number of active requests. ``base`` and ``each`` in
    s, ``slots`` whole. Errors: ``InputError``. *Source*: the step-time model of a decode replica.

    >>> affine_step_times(base=0.008, each=0.0002, slots=3)
    array([0.0082, 0.0084, 0.0086])
    """
    active = np.arange(1, one_whole("slots", slots) + 1)
    return np.asarray(non_negative("base", base) + non_negative("each", each) * active)
