"""What a pipeline loses to its bubble, and how many microbatches it holds in memory.

``p`` stages, ``m`` microbatches, ``v`` chunks of the model a stage (``interleaving``). All formulas are exact
*when* every stage takes the same time for every microbatch, without jitter, and sends take none.

*Source*: Huang and others, GPipe (2019), section 2.3; Narayanan and others, PipeDream-2BW (2021) and Efficient
large-scale language model training on GPU clusters using Megatron-LM (2021), section 2.2.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Real, Whole, non_negative, plain, whole
from secondorder.errors import InputError, UnknownName

SCHEDULES = ("gpipe", "1f1b", "interleaved", "forward")


def bubble_fraction(*, stages: Whole, microbatches: Whole, schedule: str = "1f1b", interleaving: Whole = 1) -> Real:
    """Share of the pipeline's time in which a stage idles: ``(p-1)/(v m + p-1)``, with ``v = 1`` unless interleaved.

    *Exact* under the conditions of the module. Whole numbers, broadcast. Errors: ``InputError``. Its source is
    Narayanan and others 2021, who give it over the ideal time: ``overhead``.

    >>> round(bubble_fraction(stages=2, microbatches=16), 6)
    0.058824
    >>> round(bubble_fraction(stages=8, microbatches=32, schedule="interleaved", interleaving=4), 6)
    0.051852
    """
    p, m, v = _shape(stages, microbatches, schedule, interleaving)
    return plain((p - 1) / (v * m + p - 1))


def overhead(*, stages: Whole, microbatches: Whole, schedule: str = "1f1b", interleaving: Whole = 1) -> Real:
    """The bubble over the IDEAL time, not over the time that the pipeline takes: ``(p-1)/(v m)``.

    *Exact* under the conditions of the module. Whole numbers, broadcast. Errors: ``InputError``.

    >>> overhead(stages=2, microbatches=16)
    0.0625
    """
    p, m, v = _shape(stages, microbatches, schedule, interleaving)
    return plain((p - 1) / (v * m))


def time(
    *,
    stages: Whole,
    microbatches: Whole,
    forward: Real,
    backward: Real = 0.0,
    send: Real = 0.0,
    schedule: str = "1f1b",
    interleaving: Whole = 1,
) -> Real:
    """Time in s of a step: ``(m + (p-1)/v) (forward + backward) + sends send``.

    *Exact* under the conditions of the module; sends are ``send_delays``. ``forward`` and ``backward`` in s: of a
    microbatch on all chunks of one stage; for ``schedule="forward"`` there is no backward pass. All broadcast.
    Errors: ``InputError``.

    >>> time(stages=8, microbatches=32, forward=1.0, backward=2.0)
    117.0
    """
    p, m, v = _shape(stages, microbatches, schedule, interleaving)
    each = non_negative("forward", forward) + (0 if schedule == "forward" else non_negative("backward", backward))
    sends = send_delays(stages=stages, microbatches=microbatches, schedule=schedule, interleaving=interleaving)
    return plain((m + (p - 1) / v) * each + sends * non_negative("send", send))


def send_delays(*, stages: Whole, microbatches: Whole, schedule: str = "1f1b", interleaving: Whole = 1) -> Real:
    """How many sends lie on the critical path of a step; a send is a delay that keeps no stage busy.

    forward: ``p-1``; gpipe: ``2(p-1)``; 1f1b: ``2(p-1)(q+1) + 2 max(0, r-1)`` with ``m-1 = q p + r``, since a
    stage that holds all it may waits for the way there and back: about ``2(p-1)/p`` sends a microbatch;
    interleaved: ``2(pv-1)``, *valid when* a send takes no longer than a chunk (else a lower bound).
    *Exact* without jitter. Whole numbers, broadcast. Errors: ``InputError``. *Source*: longest paths, checked
    against the recursion for 1 to 10 stages and 1 to 49 microbatches.

    >>> [send_delays(stages=4, microbatches=25, schedule=s) for s in ("forward", "gpipe", "1f1b")]
    [3.0, 6.0, 42.0]
    """
    p, m, v = _shape(stages, microbatches, schedule, interleaving)
    rounds, left = np.divmod(m - 1, p)
    delays: dict[str, Callable[[], npt.ArrayLike]] = {
        "forward": lambda: p - 1 + 0 * m,
        "gpipe": lambda: 2 * (p - 1) + 0 * m,
        "1f1b": lambda: 2 * (p - 1) * (rounds + 1) + 2 * np.maximum(0, left - 1),
        "interleaved": lambda: 2 * (p * v - 1) + 0 * m,
    }
    return plain(delays[schedule]())


def uneven_time(*, forward: npt.ArrayLike, backward: npt.ArrayLike, microbatches: int, interleaving: int = 1) -> float:
    """Time in s of a step with stages of different speed: ``sum(w)/v + (m - 1/v) max(w)``, ``w = forward + backward``.

    *Exact* for gpipe and for a forward wave (``backward`` 0) *where* the same stage is the slowest both ways; an
    *upper bound* for 1f1b and an *approximation* for interleaved, which fill and drain behind a slow stage while
    it works. ``forward`` and ``backward`` (p): of a microbatch on all chunks of each stage, in s. Errors:
    ``InputError``. *Source*: the longest path, which stays in the slowest stage.

    >>> uneven_time(forward=[1.0, 2.0, 1.0], backward=[2.0, 4.0, 2.0], microbatches=10)
    66.0
    """
    work = non_negative("forward", np.asarray(forward, float)) + non_negative("backward", np.asarray(backward, float))
    m, v = whole("microbatches", microbatches), whole("interleaving", interleaving)
    return float(work.sum() / v + (m - 1 / v) * work.max())


def in_flight(*, stages: Whole, microbatches: Whole, schedule: str = "1f1b", interleaving: Whole = 1) -> Real:
    """The largest number of microbatches whose activations the first stage holds at once.

    gpipe: ``m``; 1f1b: ``min(p, m)``; interleaved: ``min(p + (p-1)/v, m)`` (counted in chunks of ``1/v``);
    forward: 1, since nothing is kept. *Exact*, whatever the times: the order of work decides it. Whole
    numbers, broadcast. Errors: ``InputError``.

    >>> [in_flight(stages=8, microbatches=32, schedule=s) for s in ("gpipe", "1f1b")]
    [32.0, 8.0]
    >>> in_flight(stages=8, microbatches=32, schedule="interleaved", interleaving=2)
    11.5
    """
    p, m, v = _shape(stages, microbatches, schedule, interleaving)
    held: dict[str, Callable[[], npt.ArrayLike]] = {
        "gpipe": lambda: m + 0 * p,
        "1f1b": lambda: np.minimum(p, m),
        "interleaved": lambda: np.minimum(p + (p - 1) / v, m),
        "forward": lambda: np.ones_like(p * m),
    }
    return plain(held[schedule]())


def _shape(
    stages: Whole, microbatches: Whole, schedule: str, interleaving: Whole
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if schedule not in SCHEDULES:
        raise UnknownName.among("schedule", schedule, SCHEDULES)
    p, m, v = whole("stages", stages), whole("microbatches", microbatches), whole("interleaving", interleaving)
    if schedule != "interleaved" and (v != 1).any():
        raise InputError("interleaving", given=interleaving, expected=f"1 with the schedule {schedule}")
    if schedule == "interleaved" and (m % p != 0).any():
        given = f"{microbatches} microbatches in {stages} stages"
        raise InputError("microbatches", given=given, expected="a multiple of stages with the schedule interleaved")
    return p, m, v
