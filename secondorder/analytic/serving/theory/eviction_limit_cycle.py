"""The limit cycle of an engine whose evicted requests restart from nothing."""

from secondorder.analytic.arguments import Real, plain, positive


def share_of_capacity(*, prompt: Real, output: Real) -> Real:
    """Share of ``cache_littles_law.max_rate`` that is left, where the newest is evicted and loses its output.

    ``(l + o/2)/(l + o)``, of equal requests of ``l`` and ``o`` tokens: all that are left in the cache have one age,
    so it is full only in the step in which they end, and what others began was wasted. *Valid when* the queue never
    empties and the run begins with an empty cache: from evenly spread ages nothing is evicted and nothing lost. With
    vLLM's rule, which keeps the output and computes it again in one step, the share is .99. *Source*: Ao, Dong, Luo
    and Simchi-Levi, arXiv 2606.15555 (2026), by its abstract.

    >>> [round(share_of_capacity(prompt=prompt, output=64), 3) for prompt in (8, 64, 256)]
    [0.556, 0.75, 0.9]
    """
    prompts, outputs = positive("prompt", prompt), positive("output", output)
    return plain((prompts + outputs / 2) / (prompts + outputs))
