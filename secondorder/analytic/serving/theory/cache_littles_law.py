"""Little's law for the cache: the tokens that are held, and the highest rate that a cache can carry."""

import numpy as np

from secondorder.analytic.arguments import Real, plain, positive


def token_steps(prompt: Real, output: Real, *, chunk: Real | None = None, prefill_emits: bool = False) -> Real:
    """Tokens of cache that a request holds, summed over the steps of its life.

    ``g = (1 + s/c) s/2 + s o + (1 + o) o/2`` for a prompt of ``s`` tokens, read ``c`` at a time (whole if no
    ``chunk`` is given), and ``o`` later steps of a token each. With ``prefill_emits`` the step that ends the prompt
    brings the first token, as in vLLM, and ``o - 1`` takes the place of ``o``.

    *Exact*; *valid when* ``c`` divides ``s`` and nothing is computed twice. *Source*: Nie, Si and Zhou, arXiv
    2605.04595
    (2026), for the first count, known to us from its abstract and from notes.

    >>> token_steps(512, 256), token_steps(64, 64), token_steps(64, 64, prefill_emits=True)
    (164480.0, 6240.0, 6112.0)
    """
    s, o = positive("prompt", prompt), positive("output", output)
    c = s if chunk is None else positive("chunk", chunk)
    later = o - 1 if prefill_emits else o
    return plain((1 + s / c) * s / 2 + s * later + (1 + later) * later / 2)


def max_rate(*, memory: Real, step: Real, token_steps: Real) -> Real:
    """Requests per second above which no policy is stable, by the tokens that they hold.

    ``mu = M/(b E[g])`` with ``M`` tokens of cache, steps of ``b`` seconds and the mean ``E[g]`` of ``token_steps``: the
    rate times what each holds cannot exceed what there is. *Bound* from above; *valid when* steps have one length.
    A policy that keeps the cache full and loses no progress comes within a few percent of it (``full_cache_rate``);
    ``peak_reserved_rate`` and ``eviction_limit_cycle`` are far below. *Source*: as for ``token_steps``.

    >>> round(max_rate(memory=40_000, step=0.02, token_steps=164_480), 2)
    12.16
    """
    held = positive("token_steps", token_steps)
    return plain(positive("memory", memory) / (positive("step", step) * held))


def full_cache_rate(*, memory: Real, step: Real, token_steps: Real, peak: Real) -> Real:
    """Requests per second up to which a policy is stable that keeps the cache full to within a peak and loses no work.

    ``mu (1 - peak/M)``, ``peak`` the most tokens that any request holds. *Bound* from below, by our reading of the same
    source: a policy must lose no progress.

    >>> round(full_cache_rate(memory=8_000, step=1, token_steps=6_240, peak=128), 4)
    1.2615
    """
    most = max_rate(memory=memory, step=step, token_steps=token_steps)
    return plain(most * (1 - positive("peak", peak) / positive("memory", memory)))


def peak_reserved_rate(*, memory: Real, step: Real, peak: Real, steps: Real) -> Real:
    """Requests per second of an engine that reserves the peak of each request from its first step on.

    ``floor(M/peak)/(steps b)``: as many at once as fit, each for its ``steps``. *Exact* where all requests are equal.

    >>> round(peak_reserved_rate(memory=8_000, step=1, peak=128, steps=65), 4)
    0.9538
    """
    at_once = np.floor(positive("memory", memory) / positive("peak", peak))
    return plain(at_once / (positive("steps", steps) * positive("step", step)))
