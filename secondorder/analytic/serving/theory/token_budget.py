"""Engines whose steps compute a budget of tokens in whole tiles."""

import numpy as np

from secondorder.analytic.arguments import Floats, Real, non_negative, plain, positive


def tiled_step(*, tokens: Real, per_tile: Real, tile: Real, per_step: Real = 0.0, per_token: Real = 0.0) -> Real:
    """Seconds of a step over ``tokens``: ``c + a ceil(n/b0) + d n``.

    >>> round(1e3 * tiled_step(tokens=129, per_step=11.28e-3, per_tile=35.47e-3, tile=128), 2)    # ms
    82.22
    """
    n = positive("tokens", tokens)
    tiles = np.ceil(n / positive("tile", tile))
    fixed = non_negative("per_step", per_step) + non_negative("per_token", per_token) * n
    return plain(fixed + positive("per_tile", per_tile) * tiles)


def max_token_rate(*, budget: Real, per_tile: Real, tile: Real, per_step: Real = 0.0, per_token: Real = 0.0) -> Real:
    """Tokens per second of steps that are always full: ``b/t(b)``, ``t`` the tiled step.

    *Exact*; *valid when* prompts and answers share the steps so that none has room left, and memory is unlimited. The
    service is then stable if and only if less than that is asked for. Of budgets, whole tiles are the best:
    without ``per_step`` any of them reaches ``b0/(t_lin + t_nl b0)``, and a budget between two of them less.

    *Source*: Dai, Deng, Li and Peng, arXiv 2504.07347 (2025), for ``per_step``; Bari et al., arXiv 2508.01002 (2025),
    from memory, for ``per_token``.

    >>> roofline = {"per_tile": 35.47e-3, "tile": 128, "per_token": 2e-5}
    >>> round(max_token_rate(budget=128, **roofline), 1), round(max_token_rate(budget=200, **roofline), 1)
    (3365.8, 2668.8)
    """
    seconds = tiled_step(tokens=budget, per_tile=per_tile, tile=tile, per_step=per_step, per_token=per_token)
    return plain(positive("budget", budget) / np.asarray(seconds))


def max_rate(*, token_rate: Real, prompt: Real, output: Real, prefill_emits: bool = False) -> Real:
    """Requests per second: ``token_rate/(m_p + m_d)``; an answer takes ``m_d - 1`` where the prompt's step emits.

    *Exact*, as for ``max_token_rate``.

    >>> round(max_rate(token_rate=3342.909, prompt=100, output=100), 2)
    16.71
    >>> round(max_rate(token_rate=3342.909, prompt=129, output=112), 2)
    13.87
    """
    return plain(positive("token_rate", token_rate) / _tokens(prompt, output, prefill_emits))


def backlog_growth(
    *, arrival_rate: Real, token_rate: Real, prompt: Real, output: Real, prefill_emits: bool = False
) -> Real:
    """Tokens per second by which the backlog grows: what is asked for, less what is computed, or 0.

    >>> round(backlog_growth(arrival_rate=1.1 * 16.7145, token_rate=3342.9, prompt=100, output=100), 0)
    334.0
    """
    asked = positive("arrival_rate", arrival_rate) * _tokens(prompt, output, prefill_emits)
    return plain(np.maximum(asked - positive("token_rate", token_rate), 0.0))


def _tokens(prompt: Real, output: Real, prefill_emits: bool) -> Floats:
    return np.asarray(positive("prompt", prompt) + positive("output", output) - prefill_emits)
