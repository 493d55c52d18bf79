"""Prompts that begin alike: system prompts, documents and agents, some more popular than others.

>>> some = SharedPrefixes(count=3, tokens=1024, share=0.5, exponent=1.0)
>>> some.popularity.round(3)
array([0.545, 0.273, 0.182])
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Gt, Le

from secondorder.arrays import Floats, Integers
from secondorder.quantities import Count, NonNegative
from secondorder.spelling import Spelled


@dataclass(frozen=True, kw_only=True)
class SharedPrefixes(Spelled):
    """A share of the prompts begin with one of ``count`` prefixes of ``tokens`` tokens, drawn by Zipf's law.

    Prefix k is picked with probability in proportion to ``k^-exponent``, independently of all others. The prefix is
    part of the prompt: the law of the lengths is not changed, and a prompt that is shorter than its prefix is the
    beginning of it.

    - ``count``: different prefixes.
    - ``tokens``: tokens of each.
    - ``share``: share of the prompts that begin with one.
    - ``exponent``: how much more popular the first ones are; 0 for all alike.

    *Source*: Breslau, Cao, Fan, Phillips, Shenker, Web caching and Zipf-like distributions (1999): exponents of 0.6 to
    0.8 for web pages.
    """

    word: ClassVar[str] = "prefixes"
    count: Count
    tokens: Count
    share: Annotated[float, Gt(0), Le(1)] = 1.0
    exponent: NonNegative = 0.0

    @cached_property
    def popularity(self) -> Floats:
        """Probability of each prefix for a prompt that begins with one."""
        weight = np.arange(1.0, self.count + 1) ** -self.exponent
        return np.asarray(weight / weight.sum())

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Integers, ...]:
        """The prefix of each of ``count`` prompts, as ``hash_ids`` of blocks of ``tokens``: one number, or none."""
        which = rng.choice(self.count, size=count, p=self.popularity)
        none = rng.random(count) >= self.share
        empty = np.array([], dtype=np.int64)
        return tuple(empty if no else np.array([k]) for k, no in zip(which, none, strict=True))
