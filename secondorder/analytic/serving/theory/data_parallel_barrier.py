"""The barrier of data-parallel attention: all replicas wait for the one with the most tokens."""

import math

from secondorder.analytic.arguments import one, one_whole
from secondorder.analytic.collectives.stragglers import standard_normal
from secondorder.errors import InputError


def idle_share(*, batch: int, mean: float, sd: float, replicas: int, correlation: float = 0.0) -> float:
    """Share of the replicas' time spent waiting for the slowest, where the time of a step is proportional to its
    tokens.

    ``s z_G/(B mu + s z_G)``, ``s = sigma sqrt(B (1 + (B - 1) r))``: ``batch`` requests of ``mean`` tokens with ``sd``
    on each of ``replicas``, correlated by ``r`` inside a replica. *Approximation* by the central limit theorem: ages
    are skewed, so the truth is higher. *Valid when* ``r`` is known: with ``r = 0`` real traces idle several times as
    much. *Source*: Chen et al., arXiv 2601.17855 (2026), from memory; the correlation is ours.

    >>> [round(idle_share(batch=64, mean=768, sd=256, replicas=G), 4) for G in (8, 32)]
    [0.056, 0.0794]
    >>> round(idle_share(batch=64, mean=768, sd=256, replicas=32, correlation=0.05), 4)
    0.1494
    """
    b = one_whole("batch", batch)
    if not 0 <= correlation <= 1:
        raise InputError("correlation", given=correlation, expected="a number from 0 to 1")
    spread = one("sd", sd) * math.sqrt(b * (1 + (b - 1) * correlation)) * float(standard_normal(count=replicas))
    return spread / (b * one("mean", mean) + spread)
