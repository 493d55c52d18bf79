"""The fluid equilibrium of an engine whose steps lengthen with the tokens that it holds."""

import numpy as np

from secondorder.analytic.arguments import Floats, Real, non_negative, plain, positive
from secondorder.errors import Unstable


def step(*, offered: Real, base: Real, per_token: Real) -> Real:
    """Mean seconds of a step, where it takes ``base`` and ``per_token`` for each token that is held.

    ``dT = d0/(1 - d1 sum(rate g))``, ``offered`` the sum over classes of requests per second times ``token_steps``:
    a step brings ``dT`` times that, and it is held on average. *Exact* for the mean over steps; *valid when* arrivals
    are Poisson, memory and slots unlimited, and a prompt is read in its first step. Errors: ``Unstable``.

    *Source*: Ao, Luo, Simchi-Levi and Wang, arXiv 2504.11320 (2025), from memory.

    >>> round(1e3 * step(offered=10 * 163_712, base=8e-3, per_token=5e-8), 4)    # ms
    8.7132
    """
    return plain(positive("base", base) / (1 - _load(offered, per_token)))


def held_tokens(*, offered: Real, base: Real, per_token: Real) -> Real:
    """Tokens that are held in a step, on average over the steps: ``dT sum(rate g)``.

    The average over *time* is higher by ``d1 Var(KV)/dT``: long steps hold much. As for ``step``.

    >>> round(held_tokens(offered=10 * 163_712, base=8e-3, per_token=5e-8), 1)
    14264.6
    """
    return plain(np.asarray(step(offered=offered, base=base, per_token=per_token)) * positive("offered", offered))


def _load(offered: Real, per_token: Real) -> Floats:
    load = np.asarray(positive("offered", offered) * non_negative("per_token", per_token))
    if (load >= 1).any():
        raise Unstable(f"held tokens lengthen a step by {load.max():.4g} times its length; this must be below 1")
    return load
