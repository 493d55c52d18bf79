"""Step times of an engine whose experts lie on all of its accelerators, and whose attention ranks wait for each other.

``data_parallel_size`` ranks each have requests, a scheduler and a cache of their own, and copies of the attention and
of the dense layers; the routed experts are spread over the accelerators of all ranks. In each layer of experts the
ranks meet, so that a step lasts as long as that of the fullest rank.
"""

from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from secondorder.arrays import Real
from secondorder.quantities import si
from secondorder.scenarios.measured_roofline import (
    ACTIVATION_BYTES,
    MeasuredCoefficients,
    MeasuredRoofline,
    all_reduce_bytes,
    link_of,
    measured_seconds,
    over_pcie,
    pcie_bytes,
)
from secondorder.scenarios.steptime import Placement, TouchedWeights

Load = tuple[Real, Real, Real, Real, Real, Real]
"""What a rank computes in a step: ``P, A, C, D, K, S``."""


class RankCoefficients(NamedTuple):
    """Seconds of a step: of each rank alone, and of what all ranks' tokens pass together.

    ``experts``: of each kind the copies in a layer, those used by a token, and the seconds to read them all.
    """

    own: MeasuredCoefficients
    ranks: int
    accelerators: int
    expert_parallel: bool
    experts: tuple[tuple[int, int, float], ...]
    per_token: float
    exchanges: float
    exchange: float
    exchanged_per_token: float


def rank_coefficients(step_time: MeasuredRoofline, placement: Placement) -> RankCoefficients:
    """The numbers of ``together`` for one placement.

    *Source*: the exchange of current vLLM's default (tokens of all ranks gathered, results reduced and scattered).
    """
    model, device, ranks = placement.model, placement.accelerator, placement.data_parallel_size
    accelerators = placement.tensor_parallel_size * ranks
    whole = step_time.coefficients(placement)
    speed = device.peak_flops(placement.precision) * step_time.efficiency_of(placement.precision)
    routed = 2.0 * sum(used * size for _, used, size in model.counted.choices)
    dense = (model.flops_per_token - routed) / speed / placement.tensor_parallel_size
    always = float(model.touched_bytes(0, placement.precision)) / whole.weights.bandwidth
    weights = TouchedWeights(model, placement.precision, whole.weights.bandwidth, 0.0, always, experts=False)
    apart = model.moe_layers if ranks > 1 else 0  # layers whose results no all-reduce of the rank itself sums
    reductions = whole.reductions - apart * bool(whole.reductions)
    bandwidth = si(device.memory_bandwidth) * step_time.memory_efficiency * accelerators
    exchanged = model.hidden * ACTIVATION_BYTES
    carried = (pcie_bytes if over_pcie(device) else all_reduce_bytes)(accelerators, exchanged)
    link = link_of(device, "data_parallel_size", ranks) if accelerators > 1 else np.inf
    return RankCoefficients(
        own=whole._replace(per_token=dense, weights=weights, reductions=reductions),
        ranks=ranks,
        accelerators=accelerators,
        expert_parallel=placement.enable_expert_parallel,
        experts=tuple(
            (copies, used, size / bandwidth) for copies, used, size in model.expert_bytes(placement.precision)
        ),
        per_token=routed / step_time.grouped_efficiency / speed / accelerators,
        exchanges=float(apart),
        exchange=2 * step_time.latency_of(device, accelerators),
        exchanged_per_token=carried / link + step_time.network_seconds(device, accelerators, carried),
    )


def together(c: RankCoefficients, tokens: Real) -> Real:
    """What the ranks do together: read and compute the experts that all their tokens hit, and exchange the tokens.

    With expert parallelism each accelerator has whole experts, and the layer lasts as long as that of the fullest one:
    ``mean + sd z_n``, ``z_n`` the mean of the greatest of ``n`` standard normals, for the experts that are hit and for
    the tokens that come; else each expert is split over all, evenly.

    *Approximation*: tokens choose experts evenly and independently of each other; counts are normal.
    """
    some = np.maximum(tokens, 1.0)
    time: Real = c.per_token * tokens + c.exchanges * (c.exchange + c.exchanged_per_token * tokens)
    for copies, used, seconds in c.experts:
        hit = 1 - (1 - used / copies) ** some
        fullest: Real = 1.0
        if c.expert_parallel and c.accelerators > 1:
            each = copies / c.accelerators
            fullest = np.minimum(1 + greatest(c.accelerators) * ((1 - hit) / (hit * each)) ** 0.5, 1 / hit)
        time = time + seconds * hit * fullest
    if c.expert_parallel and c.accelerators > 1:
        _, used, _ = c.experts[0]
        arriving = some * used / c.accelerators
        spread = greatest(c.accelerators) * ((1 - 1 / c.accelerators) / arriving) ** 0.5
        time = time + c.per_token * tokens * np.minimum(spread, c.accelerators - 1.0)
    return time


def even_seconds(c: RankCoefficients, P: Real, A: Real, C: Real, D: Real, K: Real, S: Real) -> Real:
    """The step of ranks that all have this load."""
    return _number(measured_seconds(c.own, P, A, C, D, K, S) + together(c, c.ranks * (P + D)))


def step_of_loads(c: RankCoefficients, loads: Sequence[Load]) -> float:
    """The step of ranks with these loads: the longest of them, and what all do together.

    >>> import secondorder as so
    >>> chat = so.Serving(model=so.models.qwen3_30b_a3b, accelerator=so.accelerators.h100_sxm, data_parallel_size=2,
    ...     enable_expert_parallel=True, step_time=so.MeasuredRoofline(), arrivals=so.Poisson("8 request/s"),
    ...     lengths=so.lengths.azure_conv_2023)
    >>> c = chat.step_seconds.coefficients
    >>> even, uneven = ([(0, 0, 0, n, 500 * n, n) for n in batches] for batches in ((20, 20), (39, 1)))
    >>> f"{1e3 * step_of_loads(c, even):.2f} ms, {1e3 * step_of_loads(c, uneven):.2f} ms"
    '15.19 ms, 15.65 ms'
    """
    longest = max(measured_seconds(c.own, *load) for load in loads)
    return float(longest + together(c, sum(load[0] + load[3] for load in loads)))


@lru_cache
def greatest(count: int) -> float:
    """The mean of the greatest of ``count`` standard normals: ``Phi^-1((n - .375)/(n + .25))``.

    *Source*: Blom 1958; within 4 % from 2 on.

    >>> round(greatest(8), 2)
    1.43
    """
    return NormalDist().inv_cdf((count - 0.375) / (count + 0.25)) if count > 1 else 0.0


def _number(value: Real) -> Real:
    """An array as it is, a scalar of numpy as a float."""
    return value if isinstance(value, np.ndarray) and value.ndim else float(value)
